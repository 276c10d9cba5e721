"""Conforming: both ends pinned, evenly spread, never stretched."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stage_core.editing.conform import conform, cover, nearest
from stage_core.editing.transitions import mix
from stage_core.story.shot_list import FrameFormat
from stage_core.story.timeline import Clip

FILM = FrameFormat(16, 16, Fraction(24))
LENGTHS = st.integers(1, 200)


def numbered(num_frames, height=16, width=16):
    """Frame k is filled with the level k."""
    levels = torch.arange(num_frames, dtype=torch.uint8)
    return levels[:, None, None, None].expand(num_frames, height, width, 3)


def levels(clip):
    return [int(frame[0, 0, 0]) for frame in clip.frames]


def spread(num_own, num_frames):
    return [nearest(index, num_own, num_frames) for index in range(num_frames)]


@settings(deadline=None)
@given(LENGTHS, st.integers(2, 200))
def test_ends_are_pinned_and_time_never_runs_back(num_own, num_frames):
    places = spread(num_own, num_frames)
    assert (places[0], places[-1]) == (0, num_own - 1)
    assert places == sorted(places)


@settings(deadline=None)
@given(LENGTHS, LENGTHS)
def test_between_the_ends_repeats_and_drops_differ_by_at_most_one(num_own, num_frames):
    places = spread(num_own, num_frames)
    if num_frames >= num_own:
        counts = [n for place, n in Counter(places).items() if 0 < place < num_own - 1]
    else:
        counts = [after - before for before, after in pairwise(places)]
    assert not counts or max(counts) - min(counts) <= 1


@settings(deadline=None)
@given(LENGTHS)
def test_equal_lengths_are_the_identity(num_frames):
    assert spread(num_frames, num_frames) == list(range(num_frames))


def test_twice_the_length_shows_every_frame_twice():
    assert spread(36, 72) == [place for place in range(36) for _ in range(2)]


def test_clip_comes_out_at_the_film_rate_size_and_length_every_time_it_is_played():
    clip = conform(Clip("1", numbered(5, 32, 16), Fraction(12)), 9, FILM)
    assert clip.rate == 24
    assert len(clip.frames) == 9
    for _ in range(2):
        assert levels(clip) == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert all(frame.shape == (16, 16, 3) for frame in clip.frames)


def test_frames_of_the_film_size_pass_untouched():
    frames = numbered(3)
    assert next(iter(conform(Clip("1", frames, Fraction(24)), 3, FILM).frames)).data_ptr() == (
        frames[0].data_ptr()
    )


def test_repeated_frame_is_resized_once():
    shown = list(conform(Clip("1", numbered(2, 8, 8), Fraction(12)), 6, FILM).frames)
    assert len({frame.data_ptr() for frame in shown}) == 2


def test_blending_mixes_the_neighbours_in_proportion():
    clip = Clip("1", numbered(2) * 240, Fraction(12))
    assert levels(conform(clip, 5, FILM, between=mix)) == [0, 60, 120, 180, 240]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(2, 60))
def test_blending_pins_the_ends_and_is_linear_in_time(num_own, num_frames):
    # A film one frame short of the clip's own time keeps that time.
    assume(2 * (num_own - 1) - (num_frames - 1) != 1)
    shown = levels(conform(Clip("1", numbered(num_own), Fraction(12)), num_frames, FILM, mix))
    exact = [index * (num_own - 1) / (num_frames - 1) for index in range(num_frames)]
    assert len(shown) == num_frames
    assert max(abs(a - b) for a, b in zip(shown, exact, strict=True)) <= 0.5001


@pytest.mark.parametrize("seconds", [1, 3, 5])
def test_from_16_to_24_frames_a_second_every_third_frame_is_the_clips_own(seconds):
    # What Wan makes of so many seconds, and what is planned of them.
    num_own, num_frames = 16 * seconds + 1, 24 * seconds
    asked = []

    def between(first, second, place):
        asked.append(place)
        return first

    clip = Clip("1", numbered(num_own), Fraction(16))
    shown = levels(conform(clip, num_frames, FILM, between))
    assert shown[0] == 0 and shown[-1] == num_own - 1
    assert shown[:-1:3] == list(range(0, num_own - 1, 2))
    assert set(asked) == {Fraction(1, 3), Fraction(2, 3)}


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(2, 60), st.integers(2, 60))
def test_cover_gives_the_size_asked_for(height, width, to_height, to_width):
    frame = torch.full((height, width, 3), 77, dtype=torch.uint8)
    covered = cover(frame, to_width, to_height)
    assert covered.shape == (to_height, to_width, 3)
    assert (covered == 77).all()


def test_cover_crops_the_middle_and_does_not_stretch():
    # A disc in the middle of a wide frame stays a disc, as high as it is wide.
    y, x = torch.meshgrid(torch.arange(60) - 29.5, torch.arange(120) - 59.5, indexing="ij")
    disc = ((x**2 + y**2).sqrt() < 20).to(torch.uint8)[..., None].expand(60, 120, 3) * 255
    covered = cover(disc, 30, 30)[..., 0].float()
    # Pillow rounds between its passes, so single pixels of the edge may differ a little.
    assert (covered - covered.T).abs().mean() < 1
    assert (covered - covered.flip(1)).abs().mean() < 1
    # Radius 20 at half the size: pi 10^2 pixels of 900.
    assert covered.mean() / 255 * 900 == pytest.approx(314, rel=0.03)


def test_source_is_closed_when_the_film_stops_early():
    closed = []

    class Source:
        def __len__(self):
            return 4

        def __iter__(self):
            try:
                yield from numbered(4)
            finally:
                closed.append(True)

    playing = iter(conform(Clip("1", Source(), Fraction(12)), 8, FILM).frames)
    next(playing)
    playing.close()
    assert closed == [True]


def test_clip_that_ends_before_its_length_is_named():
    class Short:
        def __len__(self):
            return 4

        def __iter__(self):
            yield from numbered(2)

    with pytest.raises(ValueError, match="shot 2A"):
        list(conform(Clip("2A", Short(), Fraction(12)), 8, FILM).frames)


def test_no_frames_in_the_film_are_refused():
    with pytest.raises(ValueError, match="shot 1: 0 frames"):
        conform(Clip("1", numbered(2), Fraction(12)), 0, FILM)
