"""Memory frames in order of relevance, given a measure of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ..story.frames import Picture
from ..story.memory import MemoryFrame, MemoryPack
from ..story.shot_list import Shot
from .dual import Once

Relevance = Callable[[Shot, Picture], float]
"""How much a picture has to do with a shot: a text-image similarity, for example."""

_GRID = (9, 16)
_KEPT_DESCRIPTORS = 4096


class Ranker(Protocol):
    """Judges remembered frames; `identity` changes when its judgement may."""

    identity: str

    def relevance(self, newest: Picture) -> Relevance:
        """The measure of relevance for a shot that follows on this picture."""
        ...


class Likeness:
    """Relevance is likeness to the newest picture, each picture described once, by content.

    `describe` gives a unit vector [D] of a picture.
    """

    def __init__(self, describe: Callable[[Picture], Tensor], identity: str):
        self.identity = identity
        self._describe = describe
        self._described: Once[Tensor] = Once(_KEPT_DESCRIPTORS)

    def relevance(self, newest: Picture) -> Relevance:
        """Of any shot: only the pictures count."""
        return lambda shot, picture: similarity(self._vector(newest), self._vector(picture))

    def _vector(self, picture: Picture) -> Tensor:
        return self._described.get(picture.digest, lambda: self._describe(picture))


def by_relevance(pack: MemoryPack, shot: Shot, relevance: Relevance) -> MemoryPack:
    """The pack with the most relevant frames first.

    The frame that every encoder reads stays: the newest, without one the first reference.
    `MemoryPack.shown` puts frames of the shot's cast before others and keeps this order among
    frames of equal claim.
    """

    def descending(frames: tuple[MemoryFrame, ...]) -> tuple[MemoryFrame, ...]:
        scores = {f.picture.digest: relevance(shot, f.picture) for f in frames}
        return tuple(sorted(frames, key=lambda f: scores[f.picture.digest], reverse=True))

    fixed = 0 if pack.recent else 1
    return replace(
        pack,
        references=pack.references[:fixed] + descending(pack.references[fixed:]),
        recent=pack.recent[:1] + descending(pack.recent[1:]),
    )


def patch_descriptor(picture: Picture) -> Tensor:
    """What a picture looks like from afar, without a model: a unit vector [D].

    The mean colours of 9 x 16 patches, less their mean, so that similarity is not brightness.
    """
    pixels = rearrange(picture.image, "h w c -> 1 c h w").float()
    patches = functional.adaptive_avg_pool2d(pixels, _GRID).flatten(2)
    return functional.normalize((patches - patches.mean(dim=2, keepdim=True)).flatten(), dim=0)


def similarity(one: Tensor, other: Tensor) -> float:
    """Cosine of two unit vectors [D], in [-1, 1]."""
    return float(torch.dot(one, other))
