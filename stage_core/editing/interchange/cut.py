"""The cut as editing programs see it: parts that follow each other, and joins over the cuts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import PurePosixPath

from ...story.cinematography import CUT, Transition, TransitionKind
from ...story.shot_list import Shot, ShotList
from ...story.timeline import Timeline

_NOTE_CHARACTERS = 1000
_REEL_CHARACTERS = 8
# Reels that a CMX list means something else by: black, and anything without a reel.
_RESERVED_REELS = ("", "BL", "AX")
# What neither XML nor a line of text can hold.
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Source:
    """The moving picture of one shot: its file, relative to the lists, and its frames.

    `reel` is its name in a CMX list, at most 8 characters. `first` counts frames in the file.
    """

    name: str
    file: str
    reel: str
    num_frames: int
    first: int = 0
    note: str = ""


@dataclass(frozen=True)
class Part:
    """What plays from one cut to the next; without a source it is `colour`.

    A join of `before` and `after` frames dissolves from the part before into this one, around
    the cut where this part begins. Both sources have the frames that this takes beyond the cut.
    """

    source: Source | None
    source_in: int
    num_frames: int
    before: int = 0
    after: int = 0
    colour: str = "black"

    @property
    def join(self) -> int:
        """Frames of the dissolve into this part; 0 for a cut."""
        return self.before + self.after


@dataclass(frozen=True)
class SoundFile:
    """A file of sound that plays from frame `first` of the film, `num_frames` long.

    `role` is Final Cut Pro's word for what it is: dialogue, effects or music.
    """

    name: str
    file: str
    reel: str
    first: int
    num_frames: int
    num_channels: int
    role: str = "dialogue"


@dataclass(frozen=True)
class Cut:
    """A film as an edit: its parts fill it from the first to the last frame."""

    title: str
    rate: Fraction
    width: int
    height: int
    parts: tuple[Part, ...]
    sounds: tuple[SoundFile, ...] = ()

    @property
    def num_frames(self) -> int:
        """Length of the film in frames."""
        return sum(part.num_frames for part in self.parts)

    @property
    def firsts(self) -> tuple[int, ...]:
        """The frame of the film at which each part begins, joins aside."""
        places, place = [], 0
        for part in self.parts:
            places.append(place)
            place += part.num_frames
        return tuple(places)


def parts_of(timeline: Timeline, sources: Sequence[Source]) -> tuple[Part, ...]:
    """The parts of a film whose clips are these sources, dissolves and fades as joins.

    A dissolve lies inside its two clips, half on each side of the cut. A fade of N frames is a
    dissolve of N - 1 into the plain colour, which then stands for the one frame that is full
    colour: so `transitions.py` renders it, and so it is exactly.

    Raises:
        ValueError: a clip so short that its transitions leave no frame of its own.
    """
    parts: list[Part] = []
    last = len(sources)
    for index, source in enumerate(sources):
        into, out = timeline.transitions[index : index + 2]
        head, tail = _own_side(into, incoming=True), _own_side(out, incoming=False)
        part = Part(source, head, source.num_frames - head - tail, *_join(into))
        if part.num_frames < 1:
            raise ValueError(
                f"{source.name}: its {source.num_frames} frames are all transition, which no edit "
                "list can say; make the shot longer"
            )
        if _fades(into) and index == 0:
            # The film begins with the full colour: there is nothing before it to dissolve from.
            parts.append(replace(_plain(into, 1), before=0))
        parts.append(part)
        if _fades(out):
            parts.append(_plain(out, 1 if index + 1 == last else 2))
    return tuple(parts)


def parts_of_film(timeline: Timeline, film: Source, shots: Sequence[Source]) -> tuple[Part, ...]:
    """The parts of a film that is one file, transitions in its pictures: cut at every shot.

    `shots` give names and notes.
    """
    firsts = list(timeline.first_frames())
    for index, into in enumerate(timeline.transitions[:-1]):
        firsts[index] += _join(into)[0] if not _fades(into) else 0
    ends = [*firsts[1:], timeline.num_frames]
    return tuple(
        Part(replace(film, name=shot.name, note=shot.note), first, end - first)
        for shot, first, end in zip(shots, firsts, ends, strict=True)
    )


def at_rate(plan: ShotList, rate: Fraction) -> ShotList:
    """The plan at another rate: every shot begins and ends on the frame nearest in time."""
    ratio = rate / plan.frame_format.rate
    if ratio == 1:
        return plan
    shots, first, into = [], 0, 0
    for shot in plan.shots:
        end = first + shot.num_frames
        overlap = shot.transition.num_frames if _dissolves(shot.transition) else 0
        length = max(2, round(end * ratio) - round(first * ratio))
        if overlap:
            wanted = round(end * ratio) - round((end - overlap) * ratio)
        else:
            wanted = max(1, round(shot.transition.num_frames * ratio))
        transition = _of_length(shot.transition, min(wanted, length - into))
        shots.append(replace(shot, num_frames=length, transition=transition))
        first, into = end - overlap, transition.num_frames
    return replace(plan, frame_format=replace(plan.frame_format, rate=rate), shots=tuple(shots))


def note_of(shot: Shot) -> str:
    """What a marker says of a shot: how it is framed, what happens, what is said; one line."""
    framing = f"{shot.scale.value}, {shot.angle.value}, {shot.movement.value}"
    text = f"{shot.id} ({framing}): {shot.description} {shot.dialogue}"
    return one_line(text)


def one_line(text: str) -> str:
    """The text without line breaks and without what XML cannot hold, cut at 1000 characters."""
    text = " ".join(_UNWRITABLE.sub("", text).split())
    return text if len(text) <= _NOTE_CHARACTERS else f"{text[: _NOTE_CHARACTERS - 3]}..."


def reels(names: Sequence[str]) -> tuple[str, ...]:
    """Names of at most 8 capital letters and digits, no two alike, each as near as may be."""
    made: dict[str, None] = {}
    for name in names:
        wanted = re.sub(r"[^A-Z0-9_]", "", name.upper())
        reel, count = wanted[:_REEL_CHARACTERS], 1
        while reel in made or reel in _RESERVED_REELS:
            count += 1
            reel = f"{wanted[: _REEL_CHARACTERS - 1 - len(str(count))]}_{count}"
        made[reel] = None
    return tuple(made)


def url(file: str) -> str:
    """The name of a file beside the list as a relative URL."""
    return PurePosixPath(f"/{file}").as_uri().removeprefix("file:///")


def _dissolves(transition: Transition) -> bool:
    return transition.kind is TransitionKind.DISSOLVE


def _fades(transition: Transition) -> bool:
    return transition.kind is TransitionKind.FADE


def _join(into: Transition) -> tuple[int, int]:
    """Frames before and after the cut at which the incoming clip is seen to appear."""
    if _fades(into):
        return 0, into.num_frames - 1
    before = into.num_frames // 2
    return before, into.num_frames - before


def _own_side(transition: Transition, incoming: bool) -> int:
    """Frames at this end of a clip that lie on the other side of the cut."""
    if _fades(transition):
        return 1
    before, after = _join(transition)
    return before if incoming else after


def _plain(fade: Transition, num_frames: int) -> Part:
    """The colour between a fade out and a fade in, or at an end of the film."""
    return Part(None, 0, num_frames, fade.num_frames - 1, 0, fade.colour)


def _of_length(transition: Transition, num_frames: int) -> Transition:
    if transition.kind is TransitionKind.CUT or num_frames < 1:
        return CUT
    return replace(transition, num_frames=num_frames)
