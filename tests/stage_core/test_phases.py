"""Filming in phases: each phase does all shots, and what is stopped between them goes on."""

import os
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from stage_core.backends.protocol import FilmJob, Grid, Nowhere, Sampling, filming_seed
from stage_core.halfway import STALE_SECONDS, HalfwayFile, remove_stale
from stage_core.pipeline import film, film_together
from stage_core.project import Project
from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Clip
from stage_core.takes import KeptTakes, Refilm

SAMPLING = Sampling(seed=0)


class Halves:
    """Films in two halves and then decodes; tells which half of which shot it made."""

    identity, reads = "halves", frozenset({"description"})
    grid = Grid(16 * 16, 2, Fraction(8))

    def __init__(self):
        self.made = []

    def film(self, brief, keyframes, sampling, on_step):
        return next(self.film_many([FilmJob(brief, keyframes, Nowhere())], sampling, on_step))

    def film_many(self, jobs, sampling, on_step):
        resting = [job.halfway.read() or {} for job in jobs]
        for half in (1, 2):
            for place, job in enumerate(jobs):
                shot = job.brief.shot
                if len(resting[place]) >= half:
                    continue
                on_step(shot, half, 2)
                seed = filming_seed(shot, sampling) + half
                noise = torch.randn(3, generator=torch.Generator().manual_seed(seed))
                resting[place] = {**resting[place], f"half{half}": noise}
                job.halfway.write(resting[place])
                self.made.append((shot.id, half))
        for place, job in enumerate(jobs):
            on_step(job.brief.shot, 2, 2)
            self.made.append((job.brief.shot.id, "clip"))
            colour = sum(resting[place].values()).mul(40).abs().byte()
            yield Clip(job.brief.shot.id, colour.expand(5, 16, 16, 3), self.grid.rate)


def board(*changes):
    """Three shots, drawn; `changes` give other pictures to shots, by id."""
    shots = tuple(Shot(str(n), f"shot {n}", num_frames=12) for n in (1, 2, 3))
    plan = ShotList(title="film", frame_format=FrameFormat(16, 16), shots=shots)
    pairs = {shot.id: FramePair(shot.id, grey(int(shot.id)), grey(9)) for shot in shots}
    pairs |= {shot_id: FramePair(shot_id, grey(50), grey(9)) for shot_id in changes}
    return Storyboard(plan, pairs)


def grey(value):
    return Picture.of(torch.full((16, 16, 3), value, dtype=torch.uint8))


def ignore(*_):
    pass


def stop_at(shot_id, half):
    def stop(shot, done, total):
        if (shot.id, done) == (shot_id, half):
            raise KeyboardInterrupt

    return stop


def run(folder, on_step=ignore, what=None, **choices):
    """What was made in this run, and the board, None when it was stopped."""
    model = Halves()
    takes = KeptTakes(model, Project(folder), **choices)
    try:
        return model.made, film(what or board(), takes, MemoryPack(), SAMPLING, on_step)
    except KeyboardInterrupt:
        return model.made, None


def pixels(filmed):
    return {shot_id: torch.stack(list(clip.frames)) for shot_id, clip in filmed.clips.items()}


def test_every_phase_makes_all_shots_before_the_next(tmp_path):
    made, filmed = run(tmp_path)
    halves = [("1", 1), ("2", 1), ("3", 1), ("1", 2), ("2", 2), ("3", 2)]
    assert made == [*halves, ("1", "clip"), ("2", "clip"), ("3", "clip")]
    assert list(filmed.clips) == ["1", "2", "3"]


def test_phases_make_the_same_clips_as_shot_by_shot(tmp_path):
    whole, single = board(), Halves()
    _, filmed = run(tmp_path)
    for shot in whole.shot_list.shots:
        brief, keyframes = whole.brief(shot, MemoryPack()), whole.keyframes(shot)
        clip = single.film(brief, keyframes, SAMPLING, ignore)
        assert torch.equal(torch.stack(list(filmed.clips[shot.id].frames)), clip.frames)


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (("1", 1), [("1", 1), ("2", 1), ("3", 1), ("1", 2), ("2", 2), ("3", 2)]),
        (("3", 1), [("3", 1), ("1", 2), ("2", 2), ("3", 2)]),
        (("1", 2), [("1", 2), ("2", 2), ("3", 2)]),
        (("3", 2), [("3", 2)]),
    ],
)
def test_what_is_stopped_goes_on_and_loses_one_phase_of_one_shot(tmp_path, stop, left):
    whole = pixels(run(tmp_path / "whole")[1])
    assert run(tmp_path / "film", stop_at(*stop))[1] is None
    made, filmed = run(tmp_path / "film")
    assert [half for half in made if half[1] != "clip"] == left
    assert all(torch.equal(frames, whole[shot]) for shot, frames in pixels(filmed).items())


def test_a_clip_is_kept_before_the_next_is_decoded(tmp_path):
    class StopsDecoding(Halves):
        def film_many(self, jobs, sampling, on_step):
            yield from list(super().film_many(jobs[:2], sampling, on_step))
            raise KeyboardInterrupt

    takes = KeptTakes(StopsDecoding(), Project(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        film(board(), takes, MemoryPack(), SAMPLING, ignore)
    assert sorted(path.name for path in tmp_path.glob("*.mkv")) == ["1_t01.mkv", "2_t01.mkv"]
    assert takes.filmed == ["1", "2"]


def test_latents_are_removed_with_the_take_they_became(tmp_path):
    run(tmp_path, stop_at("1", 2))
    assert len(list(tmp_path.glob("*.halfway.*"))) == 3
    run(tmp_path)
    assert not list(tmp_path.glob("*.halfway.*"))


def test_a_found_take_is_not_sent_to_the_model_and_clips_stay_in_order(tmp_path):
    run(tmp_path)
    made, filmed = run(tmp_path, what=board("2"))
    assert made == [("2", 1), ("2", 2), ("2", "clip")]
    assert list(filmed.clips) == ["1", "2", "3"]


def test_a_swapped_picture_does_not_go_on_from_latents_of_the_other(tmp_path):
    run(tmp_path, stop_at("1", 2))
    made, _ = run(tmp_path, what=board("2"))
    assert ("2", 1) in made and ("1", 1) not in made


def test_equal_shots_are_filmed_once(tmp_path):
    twin = Shot("1B", "shot 1", num_frames=12, copy_of="1")
    plan = board().shot_list
    plan = replace(plan, shots=(*plan.shots, twin))
    copied = Storyboard(plan, {**board().pairs, "1B": FramePair("1B", grey(1), grey(9))})
    takes = KeptTakes(Halves(), Project(tmp_path))
    assert takes.to_film(copied, MemoryPack(), SAMPLING) == ("1", "2", "3")
    made, filmed = run(tmp_path, what=copied)
    assert {shot for shot, _ in made} == {"1", "2", "3"}
    assert filmed.clips["1B"].name == filmed.clips["1"].name == "1_t01"
    assert filmed.clips["1B"].shot_id == "1B"


def test_limits_and_choices_hold_in_phases(tmp_path):
    assert run(tmp_path, at_most=0)[0] == []
    assert {shot for shot, _ in run(tmp_path, at_most=2)[0]} == {"1", "2"}
    assert {shot for shot, _ in run(tmp_path, at_most=2)[0]} == {"3"}
    assert {shot for shot, _ in run(tmp_path, refilm=Refilm.EVERYTHING)[0]} == {"1", "2", "3"}
    chosen = run(tmp_path, refilm=Refilm.EVERYTHING, shots=frozenset({"2"}))
    assert {shot for shot, _ in chosen[0]} == {"2"} and len(chosen[1].clips) == 3


def test_other_takes_go_through_the_phases_with_the_first(tmp_path):
    first, model = board(), Halves()
    shots = tuple(replace(shot, take=2) for shot in first.shot_list.shots)
    second = replace(first, shot_list=replace(first.shot_list, shots=shots))
    takes = KeptTakes(model, Project(tmp_path))
    together = film_together((first, second), takes, MemoryPack(), SAMPLING, ignore)
    one = next(together)
    assert model.made[:6] == [(shot, 1) for shot in "123123"]
    # The film's own takes are kept before the others are decoded.
    assert takes.filmed == ["1", "2", "3"]
    assert {clip.name for clip in one.clips.values()} == {"1_t01", "2_t01", "3_t01"}
    (other,) = together
    assert {clip.name for clip in other.clips.values()} == {"1_t02", "2_t02", "3_t02"}


def test_half_filmed_shots_are_known_without_filming(tmp_path):
    run(tmp_path, stop_at("3", 1))
    takes = KeptTakes(Halves(), Project(tmp_path))
    assert takes.to_film(board(), MemoryPack(), SAMPLING) == ("1", "2", "3")
    assert takes.half_filmed(board(), MemoryPack(), SAMPLING) == ("1", "2")
    assert takes.half_filmed(board("2"), MemoryPack(), SAMPLING) == ("1",)


def test_a_model_that_remembers_does_not_go_on_with_other_memories(tmp_path):
    class Remembers(Halves):
        reads = frozenset({"memory"})

    takes = KeptTakes(Remembers(), Project(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        film(board(), takes, MemoryPack(), SAMPLING, stop_at("1", 2))
    more = MemoryPack().remember(FramePair("0", grey(1), grey(2)))
    assert takes.half_filmed(board(), MemoryPack(), SAMPLING) == ("1", "2", "3")
    assert takes.half_filmed(board(), more, SAMPLING) == ()


@pytest.fixture
def rest(tmp_path):
    """A file in which latents rest."""
    rest = HalfwayFile.of(tmp_path, "2A_t01", "key" * 10)
    rest.write({"latents": torch.randn(2, 3), "steps": torch.tensor(4)})
    return rest


def test_latents_that_were_read_do_not_lie_in_the_file(rest):
    read = rest.read()
    before = {name: tensor.tolist() for name, tensor in read.items()}
    # Windows neither replaces nor removes a file that is mapped; here a change would shine through.
    with rest.path.open("r+b") as file:
        file.write(b"\xff" * rest.path.stat().st_size)
    assert {name: tensor.tolist() for name, tensor in read.items()} == before


def test_latents_come_back_bit_for_bit(tmp_path):
    rest = HalfwayFile.of(tmp_path / "film", "2A_t01", "key" * 10)
    latents = torch.randn(1, 16, 2, 3, 4, dtype=torch.bfloat16).transpose(3, 4)
    assert rest.read() is None
    rest.write({"latents": latents, "steps": torch.tensor(7)})
    read = rest.read()
    assert torch.equal(read["latents"], latents) and int(read["steps"]) == 7
    rest.remove()
    rest.remove()
    assert rest.read() is None


def test_damaged_cut_or_foreign_latents_are_left_aside(rest):
    content = rest.path.read_bytes()
    for damaged in (content[:-5], content[:-3] + b"\xff\x01\x02", b"", b"no tensors"):
        rest.path.write_bytes(damaged)
        assert rest.read() is None
    rest.path.write_bytes(content)
    assert rest.read() is not None
    assert replace(rest, key="key" * 10 + "!").read() is None


def test_latents_nobody_films_on_are_swept_after_two_weeks(rest):
    fresh = HalfwayFile.of(rest.path.parent, "3_t01", "other")
    fresh.write({"latents": torch.zeros(1)})
    then = fresh.path.stat().st_mtime - STALE_SECONDS - 60
    os.utime(rest.path, (then, then))
    remove_stale(rest.path.parent)
    assert not rest.path.exists() and fresh.path.exists()
