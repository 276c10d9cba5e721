from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.timeline import Clip, Sound, Timeline, overlap

RATE = Fraction(24)


def dissolve(num_frames):
    return Transition(TransitionKind.DISSOLVE, num_frames)


def fade(num_frames):
    return Transition(TransitionKind.FADE, num_frames)


def clip(name, num_frames):
    return Clip(name, torch.zeros(num_frames, 1, 1, 3, dtype=torch.uint8), RATE)


def timeline(lengths, transitions):
    clips = tuple(clip(str(place + 1), length) for place, length in enumerate(lengths))
    return Timeline(RATE, clips, tuple(transitions))


def test_clips_joined_by_cuts_begin_where_the_one_before_ends():
    film = timeline([10, 20, 30], [CUT] * 4)
    assert film.first_frames() == (0, 10, 30)
    assert film.num_frames == 60
    assert film.seconds == Fraction(5, 2)


def test_a_dissolve_overlaps_and_shortens_while_a_fade_does_not():
    film = timeline([10, 20, 30], [fade(2), dissolve(4), fade(6), fade(3)])
    assert film.first_frames() == (0, 6, 26)
    assert film.num_frames == 56


@given(st.lists(st.tuples(st.integers(8, 40), st.integers(0, 4)), min_size=1, max_size=6))
def test_the_last_clip_ends_with_the_film(shots):
    between = [dissolve(n) if n else CUT for _, n in shots[:-1]]
    film = timeline([length for length, _ in shots], [CUT, *between, CUT])
    assert film.first_frames()[-1] + shots[-1][0] == film.num_frames
    assert film.num_frames == sum(n for n, _ in shots) - sum(overlap(t) for t in between)


def test_transitions_may_fill_a_clip_but_not_exceed_it():
    timeline([10, 6, 10], [CUT, dissolve(3), dissolve(3), CUT])
    with pytest.raises(ValueError, match="shot 2: 6 frames are too few for the 7 frames"):
        timeline([10, 6, 10], [CUT, dissolve(3), dissolve(4), CUT])


@pytest.mark.parametrize("count", [1, 3])
def test_there_is_one_more_transition_than_clips(count):
    with pytest.raises(ValueError, match="one more transition than clips"):
        timeline([10], [CUT] * count)


@pytest.mark.parametrize("ends", [(dissolve(2), CUT), (CUT, dissolve(2))])
def test_a_film_cannot_begin_or_end_with_a_dissolve(ends):
    with pytest.raises(ValueError, match="use a fade"):
        timeline([10], ends)


def test_a_clip_has_frames_and_a_rate():
    with pytest.raises(ValueError, match="shot 1: a clip without frames"):
        clip("1", 0)
    with pytest.raises(ValueError, match="0 frames per second"):
        Clip("1", torch.zeros(1, 1, 1, 3, dtype=torch.uint8), Fraction(0))


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (torch.zeros(3, 10), 48_000, "1 or 2"),
        (torch.zeros(10), 48_000, "1 or 2"),
        (torch.zeros(1, 10), 100, "8000 to 192000"),
        (torch.zeros(1, 10, dtype=torch.int16), 48_000, "float32"),
    ],
)
def test_sound_of_another_form_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        Sound(samples, rate)
