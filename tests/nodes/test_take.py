"""Shot Take: what another graph filmed is kept, found again, and kept apart."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from .test_nodes import SCRIPT, STORY

pytestmark = pytest.mark.comfy
SLOTS = {"start": 0, "end": 1, "prompt": 2, "length": 4, "seed": 8}


@pytest.fixture
def boards(node, output):
    """Makes the drawn board of a script."""

    def boards(text=STORY, **changes):
        plan = node("STAGE_Script").execute(text=text, **{**SCRIPT, **changes}).result[0]
        widgets = {"shots": "", "redraw": "what I changed"}
        return node("STAGE_STEP2Storyboard").execute(storyboard=plan, **widgets).result[0]

    return boards


@pytest.fixture
def board(boards):
    return boards()


@pytest.fixture
def take(pack, node, monkeypatch):
    """Runs Shot Take under a sampler that reads these outputs of Pick Shot."""
    cls = node("STAGE_ShotTake")
    monkeypatch.setattr(pack.nodes.lineage, "running_node", lambda: "1")
    texts = []
    monkeypatch.setattr(pack.nodes.host, "say", texts.append)

    def take(board, shot_id, images=None, cfg=4.0, reads=("start", "end", "prompt"), rate=16.0):
        links = {name: ["3", SLOTS[name]] for name in reads}
        nodes = {
            "1": {"class_type": "STAGE_ShotTake", "inputs": {"images": ["2", 0]}},
            "2": {"class_type": "Sampler", "inputs": {"cfg": cfg, **links}},
            "3": {
                "class_type": "STAGE_PickShot",
                "inputs": {"shot": shot_id},
                "is_changed": pack.nodes.films.takes_made(),
            },
        }
        prompt = SimpleNamespace(get_node=nodes.__getitem__)
        monkeypatch.setattr(cls, "hidden", SimpleNamespace(dynprompt=prompt))
        inputs = {"storyboard": board, "shot": board.shot_list.shot(shot_id), "rate": rate}
        wanted = cls.check_lazy_status(**inputs, images=None)
        if wanted and images is None:
            return wanted
        return cls.execute(**inputs, images=images if wanted else None).result[0]

    take.texts = texts
    return take


def frames(level, count=5):
    noise = torch.rand(count, 16, 24, 3, generator=torch.Generator().manual_seed(int(level * 100)))
    return noise.mul(255).round() / 255


def stacked(clip):
    return torch.stack(list(clip.frames))


def test_what_was_made_once_is_not_even_computed_again(take, board):
    assert take(board, "2") == ["images"]
    kept = take(board, "2", frames(0.1))
    again = take(board, "2")
    assert set(again.clips) == {"2"} and again.clips["2"].name == kept.clips["2"].name == "2_t01"


def test_images_are_kept_losslessly_first_and_last_as_filmed(take, board):
    clip = take(board, "2", frames(0.3)).clips["2"]
    assert torch.equal(stacked(clip), frames(0.3).mul(255).round().byte())


def test_the_board_has_every_shot_of_this_graph_and_none_of_another(take, board):
    take(board, "1", frames(0.1))
    take(board, "2", frames(0.2))
    assert set(take(board, "3", frames(0.3)).clips) == {"1", "2", "3"}
    assert set(take(board, "3", frames(0.4), cfg=5.0).clips) == {"3"}
    assert "3 of 3 shots are filmed" in take.texts[-2]


def test_a_board_keeps_the_clips_that_another_sampler_filmed(take, board):
    first = take(board, "1", frames(0.1))
    mixed = take(first, "2", frames(0.2), cfg=5.0)
    assert set(mixed.clips) == {"1", "2"}


def test_a_swapped_keyframe_is_made_again(node, take, board):
    take(board, "2", frames(0.1))
    red = torch.ones(1, 48, 64, 3)
    inputs = {"storyboard": board, "shot": "2", "end": red}
    swapped = node("STAGE_ReplaceKeyframes").execute(**inputs).result[0]
    assert take(swapped, "2") == ["images"]
    assert set(take(board, "2").clips) == {"2"}


@pytest.mark.parametrize(("reads", "is_made_again"), [(("start",), False), (("length",), True)])
def test_only_what_the_graph_reads_of_a_shot_makes_it_again(take, boards, reads, is_made_again):
    take(boards(), "2", frames(0.1), reads=reads)
    longer = boards(STORY.replace("medium, 0.25s", "medium, 0.5s"))
    assert (take(longer, "2", reads=reads) == ["images"]) == is_made_again


def test_another_take_is_made_and_has_a_name_of_its_own(take, boards):
    first = take(boards(), "2", frames(0.1), reads=("start",))
    again = boards(STORY.replace("medium, 0.25s", "medium, 0.25s, take 2"))
    second = take(again, "2", frames(0.2), reads=("start",))
    assert (first.clips["2"].name, second.clips["2"].name) == ("2_t01", "2_t02")


def test_a_shot_to_keep_is_not_made_again_by_another_graph(take, boards):
    approved = take(boards(), "2", frames(0.1)).clips["2"].name
    kept = boards(STORY.replace("medium, 0.25s", "medium, 0.25s, keep"))
    assert kept.shot_list.shot("2").keep
    assert take(kept, "2", cfg=9.0).clips["2"].name == approved


def test_another_rate_plays_the_same_take(pack, take, board):
    take(board, "2", frames(0.1))
    clip = take(board, "2", rate=23.976).clips["2"]
    assert (clip.name, clip.rate) == ("2_t01", Fraction(24000, 1001))
    exact = pack.nodes.take.exact_rate
    assert (exact(16.0), exact(12.5)) == (Fraction(16), Fraction(25, 2))


def test_pick_shot_goes_on_after_every_stored_take(node, take, board):
    cls = node("STAGE_PickShot")
    picked, marks = [], []
    for level in range(3):
        marks.append(str(cls.fingerprint_inputs(storyboard=None, shot="")))
        shot = cls.execute(storyboard=board, shot="").result[-1]
        picked.append(shot.id)
        take(board, shot.id, frames(level / 10))
    assert picked == ["1", "2", "3"] and len(set(marks)) == 3
    assert set(take(board, "1").clips) == {"1", "2", "3"}


def test_images_that_are_not_finite_are_refused_and_nothing_is_kept(take, board, output):
    with pytest.raises(ValueError, match="images holds values that are not finite"):
        take(board, "2", frames(0.1) * float("nan"))
    assert not list((output / "stage").rglob("*.mkv"))


def test_images_without_a_graph_are_refused(pack, node, board, monkeypatch):
    cls = node("STAGE_ShotTake")
    monkeypatch.setattr(pack.nodes.lineage, "running_node", lambda: None)
    inputs = {"storyboard": board, "shot": board.shot_list.shot("1"), "rate": 16.0}
    with pytest.raises(ValueError, match="images comes from no node"):
        cls.execute(**inputs, images=frames(0.1))


def test_rate_and_size_of_the_film_change_no_take_that_does_not_read_them(take, board):
    take(board, "2", frames(0.1))
    plan = board.shot_list
    smaller = replace(plan.frame_format, width=32, height=24)
    other = replace(board, shot_list=replace(plan, frame_format=smaller))
    assert set(take(other, "2").clips) == {"2"}
