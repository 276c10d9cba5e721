"""The example workflows as files: their wires, widgets, notes and thumbnails."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stage_core.story.shot_list import ShotList

from .browser import RECORDED
from .live import BLUEPRINTS, WORKFLOWS, weights_of, widget_values

SURFACE = Path(__file__).resolve().parent / "nodes" / "surface"
FOREIGN = re.compile(
    r"(/(home|root|Users)/|[A-Za-z]:\\\\|file://|hf_\w{20}|sk-\w{20}|api.?key)", re.I
)
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@cache
def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def installed(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that the server runs: all but the notes."""
    return [node for node in workflow["nodes"] if node["type"] != "MarkdownNote"]


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} >= {"quickstart", "swap_keyframe"}


@each_workflow
def test_every_wire_joins_two_slots_of_its_type(path):
    workflow = read(path)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, output, target, place, kind in workflow["links"]:
        start, end = nodes[source]["outputs"][output], nodes[target]["inputs"][place]
        assert link in start["links"] and end["link"] == link
        assert start["type"] == kind and accepts(end["type"], kind)
    wired = [slot["link"] for node in nodes.values() for slot in node.get("inputs", ())]
    assert sorted(filter(None, wired)) == sorted(link[0] for link in workflow["links"])


@each_workflow
def test_nodes_have_the_slots_that_the_host_knows(path):
    for node in installed(read(path)):
        info = recorded()[node["type"]]
        names = {slot["name"].split(".")[0] for slot in node["inputs"]}
        assert names <= set(inputs_of(info)), node["type"]
        assert [slot["type"] for slot in node["outputs"]] == info["output"], node["type"]


@each_workflow
def test_widget_values_are_ones_that_the_node_takes(path):
    for node in installed(read(path)):
        info, values = recorded()[node["type"]], node.get("widgets_values_named", {})
        assert list(values.values()) == node.get("widgets_values", [])
        # The front end's own widget beside a seed: a shared graph makes the same again.
        assert values.pop("control_after_generate", "fixed") == "fixed"
        assert widget_values(node, info) == values
        for name, spec in inputs_of(info).items():
            assert name not in values or takes(spec, values[name]), (node["type"], name)


@each_workflow
def test_a_workflow_explains_itself(path):
    notes = [node for node in read(path)["nodes"] if node["type"] == "MarkdownNote"]
    assert notes and all(len(note["widgets_values"][0]) > 80 for note in notes)


@each_workflow
def test_a_workflow_names_nothing_of_the_machine_it_was_made_on(path):
    assert not FOREIGN.search(path.read_text(encoding="utf-8"))
    assert not {node["type"] for node in read(path)["nodes"]} & {"LoadImage", "LoadVideo"}


@each_workflow
def test_a_workflow_has_a_thumbnail(path):
    image = pytest.importorskip("PIL.Image")
    thumbnail = path.with_suffix(".jpg")
    assert thumbnail.stat().st_size < 100_000
    with image.open(thumbnail) as picture:
        assert picture.format == "JPEG" and 300 <= picture.width <= 800


@each_workflow
def test_a_film_is_saved_under_its_title_and_has_room_on_its_node(path):
    nodes = {node["type"]: node for node in installed(read(path))}
    if "STAGE_ShotStitcher" not in nodes:
        return
    prefix = nodes["SaveVideo"]["widgets_values"][0]
    assert prefix.startswith("video/") and prefix != "video/stage"
    script = nodes["STAGE_Script"]
    title = re.search("Title: (.+)", script["widgets_values"][0])[1]
    # A text that comes by wire has a title of its own.
    by_wire = any(slot["name"] == "text" and slot["link"] for slot in script["inputs"])
    assert prefix == f"video/{title}" or by_wire
    width, height = nodes["STAGE_ShotStitcher"]["size"]
    # As measured in the classic renderer: sockets, widgets and the line of text, then the film.
    assert height >= 284 + width * 480 / 832


@cache
def num_clips(plan: ShotList) -> int:
    """Of the film of a plan; several workflows have one script."""
    from stage_core import pipeline
    from stage_core.backends.load import load_shot_model, load_storyboard_model
    from stage_core.story.storyboard import Storyboard

    models = load_storyboard_model("sketch"), load_shot_model("animatic")
    return len(pipeline.edit(pipeline.fill(Storyboard(plan), *models)).clips)


@each_workflow
@pytest.mark.usefixtures("small_sketches")
def test_the_script_of_a_workflow_is_a_film(path):
    pytest.importorskip("torch")
    from stage_core import pipeline
    from stage_core.planning.planner import PlanSettings

    (script,) = (node for node in read(path)["nodes"] if node["type"] == "STAGE_Script")
    text = widget_values(script, recorded()["STAGE_Script"])["text"]
    plan = pipeline.plan(text, PlanSettings())
    assert num_clips(plan) == len(plan.shots) > 2


@each_workflow
def test_ids_of_shots_in_widgets_are_in_the_script(path):
    pytest.importorskip("torch")
    from stage_core import pipeline
    from stage_core.planning.planner import PlanSettings

    named = {}
    for node in installed(read(path)):
        if node["type"].startswith("STAGE_"):
            named[node["type"]] = widget_values(node, recorded()[node["type"]])
    plan = pipeline.plan(named.pop("STAGE_Script")["text"], PlanSettings())
    used = {values["shot"] for values in named.values() if values.get("shot")}
    assert used <= set(plan.ids)


@pytest.mark.parametrize("path", (*WORKFLOWS, *BLUEPRINTS), ids=lambda path: path.stem)
def test_model_files_that_are_named_are_those_that_their_nodes_load(path):
    graph = read(path)
    for inside in (graph, *graph.get("definitions", {}).get("subgraphs", ())):
        for node in inside["nodes"]:
            for file in node["properties"].get("models", ()):
                assert file["name"] in node["widgets_values"]
                assert file["url"].startswith("https://huggingface.co/")
                assert file["url"].endswith("/" + file["name"])


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one_node_made_of_known_ones(path):
    graph = read(path)
    (node,), (inside,) = graph["nodes"], graph["definitions"]["subgraphs"]
    assert node["type"] == inside["id"]
    parts = {part["type"] for part in inside["nodes"]}
    assert parts <= set(recorded())
    loaders = {part for part in parts if part.endswith("Loader")}
    assert len(weights_of(graph)) >= len(loaders), "files that nobody finds"
    assert [slot["name"] for slot in node["inputs"]] == [slot["name"] for slot in inside["inputs"]]
    assert not FOREIGN.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_can_be_found(path):
    graph = read(path)
    (inside,) = graph["definitions"]["subgraphs"]
    assert inside["category"] == "STAGE" and len(inside["description"]) > 40
    assert graph["extra"]["BlueprintDescription"] == inside["description"]
    assert "stage" in graph["extra"]["BlueprintSearchAliases"]


def test_what_was_recorded_of_our_nodes_is_their_frozen_surface():
    frozen = {}
    for path in SURFACE.glob("*.json"):
        frozen |= read(path)
    ours = {name for name in recorded() if name.startswith("STAGE_")}
    assert ours == set(frozen)
    for name in ours:
        assert set(inputs_of(recorded()[name])) == {slot["name"] for slot in frozen[name]["inputs"]}
        assert recorded()[name]["output"] == [slot["type"] for slot in frozen[name]["outputs"]]


def accepts(slot: str, kind: str) -> bool:
    """Whether a slot of this type takes a wire of that kind; a type may be several, or any."""
    return slot == "*" or kind in slot.split(",")


def inputs_of(info: dict[str, Any]) -> dict[str, list[Any]]:
    """The inputs of a node class, sockets and widgets, from its `/object_info`."""
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def takes(spec: list[Any], value: Any) -> bool:
    """Whether a widget may have a value."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if isinstance(kind, list) or kind == "COMBO":
        return value in (kind if isinstance(kind, list) else options["options"])
    if kind == "COMFY_DYNAMICCOMBO_V3":
        return value in [option["key"] for option in options["options"]]
    if kind in ("INT", "FLOAT", "FLOAT,INT"):
        return options["min"] <= value <= options["max"]
    return isinstance(value, {"STRING": str, "BOOLEAN": bool}[kind])
