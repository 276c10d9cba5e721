"""Dual-Encoder Shot Sampler over a model that films in phases."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from ..stage_core.small_film import leave_alone
from .test_nodes import SCRIPT, STORY

pytestmark = pytest.mark.comfy
WIDGETS = {"shots": "", "takes": 1, "film": "what changed", "film_at_most": -1}


@pytest.fixture
def drawn(node, output):
    """A drawn board of three shots."""
    plan = node("STAGE_Script").execute(text=STORY, **SCRIPT).result[0]
    widgets = {"storyboard": plan, "shots": "", "redraw": "what I changed"}
    return node("STAGE_STEP2Storyboard").execute(**widgets).result[0]


@pytest.fixture
def film(pack, node, monkeypatch):
    """Films a board by a phased model in the place of the animatic; `texts` is what is said."""
    clip_of, Grid = pack.stage_core.story.timeline.Clip, pack.stage_core.backends.protocol.Grid
    texts, halves, calls = [], [], []
    monkeypatch.setattr(pack.nodes.host, "say", texts.append)

    class Phased:
        identity, reads, grid = "phased", frozenset(), Grid(64 * 48, 16, Fraction(8))
        remarks = ("weights moved once",)

        def film_many(self, jobs, sampling, on_step):
            calls.append(len(jobs))
            for job in jobs:
                if job.halfway.read() is None:
                    film.stop(job.brief.shot.id)
                    job.halfway.write({"latents": torch.zeros(1)})
                    halves.append(job.brief.shot.id)
            for job in jobs:
                on_step(job.brief.shot, 2, 2)
                frames = torch.zeros(3, 48, 64, 3, dtype=torch.uint8)
                yield clip_of(job.brief.shot.id, frames, self.grid.rate)

    def film(board, **inputs):
        widgets = {**WIDGETS, **inputs}
        return node("STAGE_DualEncoderShotSampler").execute(storyboard=board, **widgets).result[0]

    monkeypatch.setattr(pack.nodes.shot_sampler, "Animatic", Phased)
    film.stop, film.texts, film.halves, film.calls = lambda shot_id: None, texts, halves, calls
    return film


def test_what_was_stopped_between_phases_is_said_and_goes_on(film, drawn):
    def stop(shot_id):
        if shot_id == "3":
            raise KeyboardInterrupt

    film.stop = stop
    with pytest.raises(KeyboardInterrupt):
        film(drawn)
    film.stop = lambda shot_id: None
    film.texts.clear()
    assert set(film(drawn).clips) == {"1", "2", "3"}
    assert film.texts[0].startswith("3 to film, 2 of them half filmed, 3 shots")
    assert film.halves == ["1", "2", "3"]


def test_all_takes_go_through_the_model_together(film, drawn):
    assert set(film(drawn, takes=3).clips) == {"1", "2", "3"}
    assert film.halves == ["1", "2", "3"] * 3 and film.calls == [9]
    assert "filmed 3 of 3 shots, 0 from takes; 6 other takes" in film.texts[-1]
    assert any(text.startswith("9 to film, 3 shots") for text in film.texts)
    film(drawn, takes=4)
    assert film.calls == [9, 3]


def test_what_the_model_has_to_say_is_in_the_summary_of_what_it_filmed(film, drawn):
    film(drawn)
    assert film.texts[-1].endswith("filmed 3 of 3 shots, 0 from takes; weights moved once")
    film(drawn)
    assert film.texts[-1].endswith("filmed 0 of 3 shots, 3 from takes")


def test_a_memory_pack_that_the_model_does_not_read_is_said_to_be_ignored(node, film, drawn):
    (memory, _) = (
        node("STAGE_MemoryPackBuilder")
        .execute(policy="full", capacity=8, storyboard=drawn)
        .result[:2]
    )
    film(drawn, memory_pack=memory)
    assert film.texts[-1].endswith("the memory pack is ignored: this model reads none")


def test_what_had_to_make_room_is_said_and_is_nothing_of_the_film(pack, film, drawn):
    film(drawn, takes=2)
    title = drawn.shot_list.title
    project = pack.nodes.films.open_film(title)
    project.limit_bytes = 1
    leave_alone(project.folder)
    third = replace(drawn.shot_list.shot("1"), take=3)
    board = film(replace(drawn, shot_list=drawn.shot_list.with_shot(third)))
    said = "unused takes removed, the film's exceed 9.31e-10 GB: 1_t02, 2_t02, 3_t02"
    assert film.texts[-1].endswith(said)
    assert all(len(list(clip.frames)) == 3 for clip in board.clips.values())


def test_a_take_is_played_to_its_middle_once(pack, film, drawn, monkeypatch):
    sampler, played = pack.nodes.shot_sampler, []
    playing = sampler.playing
    monkeypatch.setattr(sampler, "playing", lambda it: played.append(it.path.stem) or playing(it))
    film(drawn)
    assert played == ["1_t01", "2_t01", "3_t01"]
    film(drawn, takes=2)
    assert played[3:] == ["1_t02", "2_t02", "3_t02"]
