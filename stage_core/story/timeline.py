"""Moving pictures in time: frames, sound, the clip of a shot, the timeline of a film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from .cinematography import Transition, TransitionKind
from .shot_list import duration


class Frames(Protocol):
    """Pictures in order: a tensor [T, H, W, 3] uint8, or a file or a rule that gives them as it
    plays. Every iteration starts at the first frame and yields [H, W, 3] uint8."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


@dataclass(frozen=True, eq=False)
class MadeFrames(Frames):
    """Frames that are made anew, by `make`, in every iteration."""

    num_frames: int
    make: Callable[[], Iterator[Tensor]]

    def __len__(self) -> int:
        return self.num_frames

    def __iter__(self) -> Iterator[Tensor]:
        return self.make()


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples [C, S], float32 in [-1, 1], C one or two channels, at `sample_rate` per second."""

    samples: Tensor
    sample_rate: int

    def __post_init__(self):
        if self.samples.ndim != 2 or self.samples.shape[0] not in (1, 2):
            raise ValueError(
                f"sound of shape {tuple(self.samples.shape)}; it should be [1 or 2, samples]"
            )
        if not 8000 <= self.sample_rate <= 192_000:
            raise ValueError(f"{self.sample_rate} samples per second; use 8000 to 192000")
        if self.samples.dtype != torch.float32:
            raise ValueError(f"sound of {self.samples.dtype}; it should be float32")


@dataclass(frozen=True, eq=False)
class Clip:
    """The moving picture of one shot at its own rate, size and length.

    `name` is the take's name in the film's folder, empty while it is kept nowhere.
    """

    shot_id: str
    frames: Frames
    rate: Fraction
    sound: Sound | None = None
    name: str = ""

    def __post_init__(self):
        if len(self.frames) < 1:
            raise ValueError(f"shot {self.shot_id}: a clip without frames")
        if self.rate <= 0:
            raise ValueError(f"shot {self.shot_id}: a clip at {self.rate} frames per second")


@dataclass(frozen=True, eq=False)
class Timeline:
    """A film's clips in order at one rate, with the transitions in, between and out.

    A dissolve overlaps its two clips and shortens the film; a fade does not.
    """

    rate: Fraction
    clips: tuple[Clip, ...]
    transitions: tuple[Transition, ...]

    def __post_init__(self):
        if len(self.transitions) != len(self.clips) + 1:
            raise ValueError(
                f"{len(self.clips)} clips with {len(self.transitions)} transitions; "
                "there is one more transition than clips"
            )
        for end in (self.transitions[0], self.transitions[-1]):
            if end.kind is TransitionKind.DISSOLVE:
                raise ValueError("a film cannot begin or end with a dissolve; use a fade")
        for place, clip in enumerate(self.clips):
            edges = self.transitions[place : place + 2]
            busy = sum(edge.num_frames for edge in edges)
            if busy > len(clip.frames):
                raise ValueError(
                    f"shot {clip.shot_id}: {len(clip.frames)} frames are too few for the "
                    f"{busy} frames of its transitions"
                )

    def first_frames(self) -> tuple[int, ...]:
        """Where each clip begins in the film, in frames."""
        places, place = [], 0
        for clip, into in zip(self.clips, self.transitions[:-1], strict=True):
            place -= overlap(into)
            places.append(place)
            place += len(clip.frames)
        return tuple(places)

    @property
    def num_frames(self) -> int:
        """Length of the film in frames."""
        return sum(len(c.frames) for c in self.clips) - sum(overlap(t) for t in self.transitions)

    @property
    def seconds(self) -> Fraction:
        """Length of the film in seconds."""
        return duration(self.num_frames, self.rate)


def overlap(transition: Transition) -> int:
    """Frames by which a transition shortens the film."""
    return transition.num_frames if transition.kind is TransitionKind.DISSOLVE else 0
