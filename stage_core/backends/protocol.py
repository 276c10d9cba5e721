"""What a model that draws pairs, or films shots, offers to the rest of the engine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from ..story.brief import ShotBrief
from ..story.frames import FramePair, Keyframe
from ..story.shot_list import FrameFormat, Shot
from ..story.timeline import Clip

_NO_ROOM = "can't allocate memory"

OnStep = Callable[[Shot, int, int], None]
"""Called with the shot, steps done and steps in all; an exception raised in it cancels."""


@dataclass(frozen=True)
class Sampling:
    """Settings of a sampler; None means the model's own. Fields are only ever appended."""

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    shift: float | None = None


@dataclass(frozen=True)
class Grid:
    """The sizes and lengths that a model makes.

    `area`: pixels of its own picture; sides are multiples of `multiple`. `rate`: its own frames
    per second, None for a model that draws stills. Lengths are `stride` n + `first` frames.
    """

    area: int
    multiple: int
    rate: Fraction | None = None
    stride: int = 1
    first: int = 1

    def size(self, frame_format: FrameFormat) -> tuple[int, int]:
        """Width and height of the model's own picture nearest to the film's aspect."""
        aspect = float(frame_format.aspect)
        sides = math.sqrt(self.area * aspect), math.sqrt(self.area / aspect)
        return tuple(max(1, round(side / self.multiple)) * self.multiple for side in sides)

    def num_frames(self, shot: Shot, frame_format: FrameFormat) -> int:
        """The model's own length, at its own rate, nearest to the shot's planned seconds."""
        frames = Fraction(shot.num_frames) / frame_format.rate * (self.rate or frame_format.rate)
        return max(1, round((frames - self.first) / self.stride)) * self.stride + self.first

    def place(self, index: int, shot: Shot, frame_format: FrameFormat) -> int:
        """The frame of the model's own clip for a planned frame: the nearest whole stride.

        Halves go up, as in `conform`: so a film shows a keyframe at its planned frame.
        """
        last, own_last = shot.num_frames - 1, self.num_frames(shot, frame_format) - 1
        if index >= last > 0:
            return own_last
        strides = Fraction(index * own_last, max(1, last) * self.stride)
        return int(strides + Fraction(1, 2)) * self.stride


class StoryboardModel(Protocol):
    """Draws the start and the end frame of one shot.

    `identity` changes when weights, adapters or numerics change. `reads` names the fields of
    `Shot` and of `ShotBrief` that the result depends on, and 'film_seed' where the film's seed
    matters beyond the shot's own.
    """

    identity: str
    reads: frozenset[str]
    grid: Grid

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair | None:
        """The pair, of size `grid.size`; given halves come back as they are. None: not asked."""
        ...


class ShotModel(Protocol):
    """Films one shot between its keyframes; `identity`, `reads` and `grid` as above.

    A model that films through keyframes between the ends has 'between' in `reads`; the others
    are given the ends alone.
    """

    identity: str
    reads: frozenset[str]
    grid: Grid

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip | None:
        """The clip, at `grid.rate`, or None: not asked for. Its frames may be made while they
        are read, so `on_step` may be called, and raise, in an iteration over them."""
        ...


class Halfway(Protocol):
    """Where a shot's latents rest between two phases, so that a crash loses one phase at most."""

    def read(self) -> dict[str, Tensor] | None:
        """What was written for this very shot, pictures, settings and seed; else None."""
        ...

    def write(self, latents: dict[str, Tensor]) -> None:
        """Keep these, on disk, until the shot's clip is kept."""
        ...


class Nowhere:
    """Rests nothing: for a film that is made in one go."""

    def read(self) -> None:
        """Nothing was written."""
        return None

    def write(self, latents: dict[str, Tensor]) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, eq=False)
class FilmJob:
    """One shot to film, and where it may rest between phases."""

    brief: ShotBrief
    keyframes: tuple[Keyframe, ...]
    halfway: Halfway


class PhasedShotModel(ShotModel, Protocol):
    """A shot model whose parts take turns in VRAM: each phase does all shots before the next."""

    def film_many(
        self, jobs: Sequence[FilmJob], sampling: Sampling, on_step: OnStep
    ) -> Iterator[Clip]:
        """The clips in the order of the jobs, each given as soon as it is decoded.

        The same clips as `film` makes, one by one, bit for bit.
        """
        ...


@contextmanager
def within_room(shots: Sequence[Shot], device: str, advice: str) -> Iterator[None]:
    """Where RAM or VRAM does not suffice for these shots, it is said with the way out.

    Raises:
        MemoryError: in place of torch's own error.
    """
    try:
        yield
    except RuntimeError as error:
        # On the CPU torch has no class of its own for it.
        if not isinstance(error, torch.OutOfMemoryError) and _NO_ROOM not in str(error):
            raise
        first, last = shots[0].id, shots[-1].id
        named = f"shot {first}" if first == last else f"shots {first} to {last}"
        raise MemoryError(f"{named}: out of memory on {device} {advice}") from None


def drawing_seed(shot: Shot, sampling: Sampling) -> int:
    """The seed of a shot's drawing noise, in [0, 2^63).

    A shot's own seed is used literally for the first, others are made from it.
    """
    return _shot_seed(shot, sampling, "drawing", shot.drawing)


def filming_seed(shot: Shot, sampling: Sampling) -> int:
    """The seed of a shot's filming noise, in [0, 2^63), from the shot's own as a drawing's."""
    return _shot_seed(shot, sampling, "take", shot.take)


def _shot_seed(shot: Shot, sampling: Sampling, kind: str, count: int) -> int:
    if shot.seed is not None and count == 1:
        return shot.seed % 2**63
    seed = f"{sampling.seed} {shot.copy_of or shot.id}" if shot.seed is None else f"{shot.seed}"
    text = f"{seed} {kind} {count}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 2**63
