"""The cut: transitions, exact lengths, one clip open at a time."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.editing.render import render
from stage_core.editing.transitions import dissolve, fade_in, fade_out
from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.timeline import Clip, Timeline


def flat(level, num_frames=1):
    return torch.full((num_frames, 4, 4, 3), level, dtype=torch.uint8)


def dissolve_of(num_frames):
    return Transition(TransitionKind.DISSOLVE, num_frames) if num_frames else CUT


def fade_of(num_frames, colour="black"):
    return Transition(TransitionKind.FADE, num_frames, colour) if num_frames else CUT


def film(clips, transitions):
    clips = tuple(Clip(str(i), frames, Fraction(24)) for i, frames in enumerate(clips))
    return Timeline(Fraction(24), clips, tuple(transitions))


def levels(timeline):
    return [int(frame[0, 0, 0]) for frame in render(timeline)]


def test_dissolve_moves_evenly_and_never_shows_one_shot_alone():
    shown = [int(dissolve(flat(0)[0], flat(200)[0], k, 3)[0, 0, 0]) for k in range(3)]
    assert shown == [50, 100, 150]


def test_fades_meet_in_the_full_colour():
    assert [int(fade_out(flat(120)[0], "black", k, 3)[0, 0, 0]) for k in range(3)] == [80, 40, 0]
    assert [int(fade_in(flat(120)[0], "white", k, 3)[0, 0, 0]) for k in range(3)] == [255, 210, 165]


def test_cut_shows_every_frame_once():
    shown = film(
        [torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 4, 4, 3)] * 2, [CUT] * 3
    )
    assert levels(shown) == [0, 1, 2, 0, 1, 2]


def test_dissolve_overlaps_the_end_of_one_shot_with_the_start_of_the_next():
    shown = levels(film([flat(0, 5), flat(200, 4)], [CUT, dissolve_of(3), CUT]))
    assert shown == [0, 0, 50, 100, 150, 200]


def test_film_may_come_out_of_black_and_go_to_white():
    shown = levels(film([flat(100, 5)], [fade_of(2), fade_of(2, "white")]))
    assert shown == [0, 50, 100, 178, 255]


@st.composite
def timelines(draw):
    count = draw(st.integers(1, 5))
    edges = [draw(st.integers(0, 4)) for _ in range(count + 1)]
    kinds = [draw(st.sampled_from([dissolve_of, fade_of])) for _ in edges]
    kinds[0] = kinds[-1] = fade_of
    extra = [draw(st.integers(0, 3)) for _ in range(count)]
    lengths = [max(1, edges[i] + edges[i + 1] + extra[i]) for i in range(count)]
    clips = [flat(40 * i, length) for i, length in enumerate(lengths)]
    return film(clips, [kind(n) for kind, n in zip(kinds, edges, strict=True)])


@settings(deadline=None)
@given(timelines())
def test_film_has_exactly_the_planned_frames_minus_overlaps(timeline):
    shown = levels(timeline)
    lengths = sum(len(clip.frames) for clip in timeline.clips)
    dissolved = [t for t in timeline.transitions if t.kind is TransitionKind.DISSOLVE]
    assert len(shown) == timeline.num_frames == lengths - sum(t.num_frames for t in dissolved)


@settings(deadline=None)
@given(timelines())
def test_each_shot_entered_by_a_cut_begins_where_the_timeline_says(timeline):
    shown = levels(timeline)
    for index, place in enumerate(timeline.first_frames()):
        out = timeline.transitions[index + 1]
        if (
            timeline.transitions[index] is CUT
            and len(timeline.clips[index].frames) > out.num_frames
        ):
            assert shown[place] == 40 * index


class Watched:
    """Frames that say how many of them, and of their kind, are open."""

    open_now = most_open = 0

    def __init__(self, num_frames):
        self.num_frames = num_frames

    def __len__(self):
        return self.num_frames

    def __iter__(self):
        Watched.open_now += 1
        Watched.most_open = max(Watched.most_open, Watched.open_now)
        try:
            yield from flat(9, self.num_frames)
        finally:
            Watched.open_now -= 1


def test_one_clip_is_open_at_a_time_and_none_after_stopping():
    timeline = film(
        [Watched(4), Watched(5), Watched(4)], [CUT, dissolve_of(2), dissolve_of(2), CUT]
    )
    assert len(list(render(timeline))) == 9
    assert (Watched.most_open, Watched.open_now) == (1, 0)
    frames = render(timeline)
    next(frames)
    assert Watched.open_now == 1
    frames.close()
    assert Watched.open_now == 0


def test_clip_that_lies_about_its_length_is_named():
    lying = Watched(4)
    timeline = film([lying], [CUT, CUT])
    lying.__class__ = type("Lying", (Watched,), {"__iter__": lambda self: iter(flat(1, 3))})
    with pytest.raises(ValueError, match="shot 0: its clip gave 3 of 4"):
        list(render(timeline))
