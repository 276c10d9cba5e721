"""A model's identity from the graph above it."""

from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.comfy


@dataclass
class Prompt:
    """As much of ComfyUI's DynamicPrompt as the walk needs."""

    nodes: dict[str, Any] = field(default_factory=dict)

    def get_node(self, node_id: str) -> dict[str, Any]:
        return self.nodes[node_id]


def graph(strength=1.0, names="1 2 3", loader=None, class_type="Lora") -> tuple[Prompt, list]:
    """A model with a LoRA over a loader, under the node ids of `names`."""
    top, middle, bottom = names.split()
    nodes = {
        top: {"class_type": "ShotModel", "inputs": {"model": [middle, 0], "vae": [bottom, 2]}},
        middle: {"class_type": class_type, "inputs": {"model": [bottom, 0], "strength": strength}},
        bottom: {"class_type": "Loader", "inputs": {"name": "wan.safetensors"}, **(loader or {})},
    }
    return Prompt(nodes), [top, 0]


@pytest.fixture
def name(pack):
    return lambda *args, **more: pack.nodes.lineage.ancestry(*graph(*args, **more))


def test_node_ids_do_not_matter(name):
    assert name(names="1 2 3") == name(names="70 2:5 9")


def test_constants_classes_and_fingerprints_matter(name):
    changed = [
        name(strength=0.9),
        name(class_type="OtherLora"),
        name(loader={"is_changed": ["the file is another"]}),
        name(loader={"inputs": {"name": "other.safetensors"}}),
    ]
    assert len({name(), *changed}) == 5


def test_how_long_a_shot_may_be_changes_no_model(name):
    wan = {"class_type": "STAGE_ShotModel", "inputs": {"settings.longest": 81, "settings.steps": 4}}
    longer = {**wan, "inputs": {**wan["inputs"], "settings.longest": 121}}
    slower = {**wan, "inputs": {**wan["inputs"], "settings.steps": 20}}
    assert name(loader=wan) == name(loader=longer) != name(loader=slower)


def test_slots_matter(pack):
    prompt, link = graph()
    before = pack.nodes.lineage.ancestry(prompt, link)
    prompt.nodes["1"]["inputs"]["vae"] = ["3", 1]
    assert pack.nodes.lineage.ancestry(prompt, link) != before
    assert pack.nodes.lineage.ancestry(prompt, ["1", 1]) != pack.nodes.lineage.ancestry(
        prompt, ["1", 0]
    )


def test_a_weight_file_of_another_size_is_another_model(pack, name, tmp_path, monkeypatch):
    import folder_paths

    folders = {"diffusion_models": ([str(tmp_path)], {".safetensors"})}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    (tmp_path / "wan.safetensors").write_bytes(b"1234")
    small = name()
    (tmp_path / "wan.safetensors").write_bytes(b"12345")
    assert name() != small


def test_an_object_among_the_constants_is_named_by_its_type(name):
    assert name(strength=object()) == name(strength=object())


def test_the_walk_ends_at_pick_shot(name):
    story = {"class_type": "STAGE_PickShot", "inputs": {"shot": "2"}}
    other = {**story, "inputs": {"shot": "3"}, "is_changed": ["takes made so far"]}
    assert name(loader=story) == name(loader=other)


def test_a_model_that_is_not_linked_keeps_its_own_identity(pack):
    sketch, node = pack.nodes.storyboard.Sketch, pack.nodes.storyboard.STEP2Storyboard
    report = pack.nodes.host.Report("draws")
    model = pack.nodes.lineage.model_on(node, "storyboard_model", None, sketch, report)
    assert model.model.identity == model.identity == sketch().identity
    assert (model.reads, model.grid) == (sketch().reads, sketch().grid)


def test_a_model_that_is_not_loaded_makes_nothing(pack):
    lineage, Grid = pack.nodes.lineage, pack.stage_core.backends.protocol.Grid
    story = pack.stage_core.story
    report = pack.nodes.host.Report("films")
    model = lineage.NodeModel("name", frozenset(), Grid(256, 16), None, report)
    plan = story.shot_list.ShotList(shots=(story.shot_list.Shot("1"),))
    brief = story.storyboard.Storyboard(plan).brief(plan.shots[0], story.memory.MemoryPack())
    with pytest.raises(RuntimeError, match="shot 1"):
        model.film(brief, (), None, None)


class Phased:
    """A shot model that films in phases and says how many shots went together."""

    remarks = ("filmed in phases",)

    def __init__(self):
        self.together = []

    def film_many(self, jobs, sampling, on_step):
        self.together.append(len(jobs))
        for half in (1, 2):
            for job in jobs:
                on_step(job.brief.shot, half, 2)
        yield from (clip_of(job) for job in jobs)


class ByShot:
    """A shot model that films one shot at a time."""

    def film(self, brief, keyframes, sampling, on_step):
        on_step(brief.shot, 1, 2)
        on_step(brief.shot, 2, 2)
        return clip_of(SimpleNamespace(brief=brief))


def clip_of(job):
    from stage_core.story.timeline import Clip

    return Clip(job.brief.shot.id, torch.zeros(2, 4, 4, 3, dtype=torch.uint8), Fraction(8))


@pytest.fixture
def wrapped(pack, monkeypatch):
    """A model on a node, with what the node's bar and its line of text show."""
    shown = []
    monkeypatch.setattr(pack.nodes.host, "say", shown.append)

    def wrapped(model):
        report = pack.nodes.host.Report("films")
        Grid = pack.stage_core.backends.protocol.Grid
        on_node = pack.nodes.lineage.NodeModel("name", frozenset(), Grid(256, 16), model, report)
        return on_node, report, shown

    return wrapped


@pytest.fixture
def jobs(pack):
    """Jobs for three shots."""
    story, protocol = pack.stage_core.story, pack.stage_core.backends.protocol
    shots = tuple(story.shot_list.Shot(str(n)) for n in (1, 2, 3))
    board = story.storyboard.Storyboard(story.shot_list.ShotList(shots=shots))
    memory = story.memory.MemoryPack()
    briefs = [board.brief(shot, memory) for shot in shots]
    return [protocol.FilmJob(brief, (), protocol.Nowhere()) for brief in briefs]


@pytest.mark.parametrize("model", [Phased(), ByShot()], ids=["phased", "by shot"])
def test_the_bar_goes_up_to_the_end_whichever_way_a_model_films(wrapped, jobs, model):
    on_node, report, shown = wrapped(model)
    report.expect(3, "3 to film")
    values = []

    def on_step(*step):
        report.on_step(*step)
        values.append(report._value)

    clips = list(on_node.film_many(jobs, None, on_step))
    assert [clip.shot_id for clip in clips] == ["1", "2", "3"]
    assert values == [500, 1000, 1500, 2000, 2500, 3000]
    assert any(text.startswith("films shot 1, 1 of 3") for text in shown)
    assert on_node.remarks == getattr(model, "remarks", ())


def test_a_model_with_phases_gets_all_shots_at_once_and_none_when_there_are_none(wrapped, jobs):
    on_node, report, _ = wrapped(Phased())
    assert len(list(on_node.film_many(jobs, None, report.on_step))) == 3
    assert list(on_node.film_many([], None, report.on_step)) == []
    assert on_node.model.together == [3]


def test_a_second_take_of_a_shot_counts_after_the_first(wrapped, jobs):
    on_node, report, _ = wrapped(Phased())
    report.expect(6, "6 to film")
    for _ in range(2):
        list(on_node.film_many(jobs, None, report.on_step))
    assert report._value == 6000
