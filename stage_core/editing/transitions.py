"""Dissolves and fades, one frame at a time."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

_LEVELS = {"black": 0, "white": 255}


def mix(first: Tensor, second: Tensor, weight: Fraction) -> Tensor:
    """`first` with `second` laid over it at `weight` in [0, 1]; uint8, rounded once."""
    if weight <= 0:
        return first
    if weight >= 1:
        return second
    return first.float().lerp_(second.float(), float(weight)).round_().to(torch.uint8)


def dissolve(outgoing: Tensor, incoming: Tensor, index: int, num_frames: int) -> Tensor:
    """Frame `index` of a dissolve of `num_frames`.

    The weights are (index + 1) / (num_frames + 1): every frame shows both shots, and the frames
    just before and after it show one alone.
    """
    return mix(outgoing, incoming, Fraction(index + 1, num_frames + 1))


def fade_out(frame: Tensor, colour: str, index: int, num_frames: int) -> Tensor:
    """Frame `index` of the last `num_frames` of a shot that goes to `colour`.

    The last of them is the full colour, also when it is the only one.
    """
    return mix(frame, _plain(frame, colour), Fraction(index + 1, num_frames))


def fade_in(frame: Tensor, colour: str, index: int, num_frames: int) -> Tensor:
    """Frame `index` of the first `num_frames` of a shot that comes out of `colour`.

    The mirror of `fade_out`: the first of them is the full colour.
    """
    return mix(frame, _plain(frame, colour), Fraction(num_frames - index, num_frames))


def _plain(frame: Tensor, colour: str) -> Tensor:
    return torch.full_like(frame, _LEVELS[colour])
