"""Filmed clips on their way into the film: drawn frames at the cuts, colours, frames between."""

import weakref
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.editing.colour import fit_colours, mean_error
from stage_core.editing.conform import cover
from stage_core.editing.finish import Finish, finish
from stage_core.editing.render import render
from stage_core.editing.transitions import mix
from stage_core.pipeline import edit
from stage_core.story.frames import FramePair, Picture
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Clip

FILM = FrameFormat(32, 16, Fraction(24))


def picture(seed, height=24, width=48):
    """A smooth picture with contrast."""
    noise = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(seed))
    size = {"size": (height, width), "mode": "bicubic"}
    image = torch.nn.functional.interpolate(noise[None], **size)[0].movedim(0, -1)
    return image.clamp(0, 1).mul(255).to(torch.uint8)


def filmed(start, end, frames, num_frames=24, rate=Fraction(16)):
    """A board of one shot, drawn and filmed."""
    plan = ShotList(frame_format=FILM, shots=(Shot("1", num_frames=num_frames),))
    pair = FramePair("1", Picture.of(start), Picture.of(end))
    return Storyboard(plan).with_pair(pair).with_clip(Clip("1", frames, rate, name="1_t01"))


def move(start, end, num_frames, error=0):
    """A clip from one picture to another, every frame wrong by `error` levels."""
    steps = [mix(start, end, Fraction(i, num_frames - 1)) for i in range(num_frames)]
    return torch.stack(steps).int().add(error).clamp(0, 255).to(torch.uint8)


def played(board, how):
    return list(render(edit(finish(board, how))))


def test_the_frames_at_the_cuts_are_the_drawn_frames_themselves():
    start, end = picture(1), picture(2)
    shown = played(filmed(start, end, move(start, end, 17, error=3)), Finish())
    assert len(shown) == 24
    assert torch.equal(shown[0], cover(start, 32, 16))
    assert torch.equal(shown[-1], cover(end, 32, 16))
    assert not torch.equal(shown[1], cover(start, 32, 16))


def test_a_clip_that_ends_elsewhere_is_shown_as_filmed_and_said():
    start, end, other = picture(1), picture(2), picture(3)
    notes = []
    board = filmed(start, end, move(start, other, 17))
    shown = played(board, Finish(on_note=notes.append))
    assert torch.equal(shown[-1], cover(other, 32, 16))
    assert len(notes) == 1 and "shot 1 ends" in notes[0] and "shown as filmed" in notes[0]


def test_a_dark_scene_is_not_taken_for_another_because_it_is_dark():
    start, end, other = (picture(seed) // 12 for seed in (1, 2, 3))
    shown = played(filmed(start, end, move(start, other, 17)), Finish())
    assert torch.equal(shown[-1], cover(other, 32, 16))


def test_finishing_keeps_the_take_and_leaves_what_is_not_filmed():
    start, end = picture(1), picture(2)
    board = filmed(start, end, move(start, end, 17))
    shots = (*board.shot_list.shots, Shot("2"))
    board = replace(board, shot_list=replace(board.shot_list, shots=shots))
    finished = finish(board, Finish())
    assert set(finished.clips) == {"1"} and finished.clips["1"].name == "1_t01"
    assert len(finished.clips["1"].frames) == 24 and finished.clips["1"].rate == 24


@settings(deadline=None, max_examples=30)
@given(st.floats(0.6, 1.6), st.floats(-30, 30), st.integers(0, 5))
def test_fitted_colours_are_never_further_away(gain, offset, seed):
    own = picture(seed)
    wanted = (own.float() * gain + offset).round().clamp(0, 255).to(torch.uint8)
    fit = fit_colours(own, wanted)

    def squared(image):
        return float((image.float() - wanted.float()).square().mean())

    # Rounding to whole levels may cost a twelfth of a squared level.
    assert squared(fit.applied(own)) <= squared(own) + 1 / 12 + 1e-6
    assert fit.error_before == mean_error(own, wanted)


def test_a_plain_change_of_colour_is_undone():
    own = picture(1) // 2 + 40
    wanted = (own.float() * 1.2 - 10).round().to(torch.uint8)
    fit = fit_colours(own, wanted)
    assert fit.error_before > 5 and fit.error_after < 0.5


def test_another_picture_is_not_matched():
    assert fit_colours(picture(1), picture(2)) is None
    assert fit_colours(picture(1), 255 - picture(1)) is None


def test_a_plain_frame_is_matched_to_a_plain_one_of_nearly_its_levels_alone():
    black, grey = (torch.full_like(picture(1), level) for level in (0, 12))
    assert fit_colours(black, picture(1)) is None and fit_colours(picture(1), black) is None
    assert fit_colours(black, black + 255) is None
    assert fit_colours(black, grey).error_after == 0


def test_matching_says_the_error_before_and_after():
    start, end, notes = picture(1), picture(2), []
    board = filmed(start, end, move(start, end, 17, error=12))
    matched = played(board, Finish(match_colours=True, on_note=notes.append))
    plain = played(board, Finish())
    wanted = move(start, end, 24)
    # In the middle, where no frame is pinned.
    errors = [mean_error(frames[12], cover(wanted[12], 32, 16)) for frames in (plain, matched)]
    assert errors[1] < errors[0] / 2
    assert "before" in notes[0] and "after" in notes[0]


def test_frames_between_are_made_from_their_neighbours_of_the_same_clip_alone():
    asked = []

    def between(first, second, weight):
        asked.append((int(first[0, 0, 0]), int(second[0, 0, 0]), weight))
        return first

    frames = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 16, 32, 3)
    plan = ShotList(frame_format=FILM, shots=(Shot("1", num_frames=7), Shot("2", num_frames=7)))
    board = Storyboard(plan)
    for shot_id, level in (("1", 0), ("2", 100)):
        board = board.with_clip(Clip(shot_id, frames + level, Fraction(16)))
    played(board, Finish(between=between))
    # 16 into 24: three steps for two frames, that is every second of times three.
    gaps = [(a % 100, b % 100, w) for a, b, w in asked]
    third, two_thirds = Fraction(1, 3), Fraction(2, 3)
    assert gaps == 2 * [(0, 1, two_thirds), (1, 2, third), (2, 3, two_thirds), (3, 4, third)]
    assert all((a < 100) == (b < 100) for a, b, _ in asked)


@pytest.mark.parametrize("rate", [24, 30])
def test_a_clip_that_is_fast_enough_keeps_its_own_frames(rate):
    def between(first, second, weight):
        raise AssertionError("no frame is missing")

    start = picture(1)
    frames = start.expand(rate + 1, -1, -1, -1)
    assert (
        len(played(filmed(start, start, frames, 24, Fraction(rate)), Finish(between=between))) == 24
    )


def test_upscaling_is_asked_for_frames_as_they_were_filmed():
    sizes = []

    def upscale(frame):
        sizes.append(tuple(frame.shape))
        return frame.repeat_interleave(2, 0).repeat_interleave(2, 1)

    start = picture(1, 8, 16)
    board = filmed(start, start, start.expand(5, -1, -1, -1), num_frames=5)
    shown = played(board, Finish(upscale=upscale))
    assert sizes == [(8, 16, 3)] * 5
    assert torch.equal(shown[2], start.repeat_interleave(2, 0).repeat_interleave(2, 1))


@pytest.mark.parametrize("how", [Finish(), Finish(match_colours=True), Finish(between=mix)])
def test_no_more_than_a_few_frames_are_held(how):
    alive = weakref.WeakSet()

    class Frames:
        def __len__(self):
            return 100

        def __iter__(self):
            for _ in range(100):
                frame = torch.zeros(16, 32, 3, dtype=torch.uint8)
                alive.add(frame)
                yield frame

    board = filmed(picture(1), picture(2), Frames(), num_frames=130)
    assert max(len(alive) for _ in render(edit(finish(board, how)))) <= 4
