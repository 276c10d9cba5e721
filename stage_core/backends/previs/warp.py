"""Similarity transforms of the picture plane, and pictures seen through them."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Width of the soft edge of a picture that gives way to another, relative to half the frame.
FEATHER = 0.12


@dataclass(frozen=True)
class Similarity:
    """The map p -> turn * p + shift of the picture plane, in complex numbers x + iy.

    Points are measured from the picture's centre in picture widths, y downwards, so that a
    similarity means the same at every size. `abs(turn)` is the scale, its phase the rotation.
    """

    turn: complex = 1 + 0j
    shift: complex = 0j

    def __call__(self, point: complex) -> complex:
        return self.turn * point + self.shift

    def part(self, progress: float) -> Similarity:
        """`progress` of the way from standing still to this map; -1 gives the inverse.

        Scale and rotation change geometrically about the one point that stays in place, so
        `part(a)` after `part(b)` is `part(a + b)`.
        """
        turn = cmath.exp(progress * cmath.log(self.turn))
        # Without a turn no point stays in place, and the quotient below has no digits left.
        if abs(self.turn - 1) < 1e-7:
            return Similarity(turn, progress * self.shift)
        return Similarity(turn, self.shift * (turn - 1) / (self.turn - 1))

    def farthest(self, aspect: float) -> float:
        """How far, in widths, the corner moves that moves most; `aspect` is width over height."""
        corners = [complex(x, y / aspect) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
        return max(abs(self(corner) - corner) for corner in corners)


def zoom_about(point: complex, scale: float) -> Similarity:
    """The map that enlarges by `scale` and leaves `point` where it is."""
    return Similarity(complex(scale), point * (1 - scale))


def sampling_grid(
    maps: Sequence[Similarity], picture_size: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Where each map sends the pixels of a window, in `grid_sample`'s coordinates, [B, h, w, 2].

    Args:
        picture_size: height and width of the picture that is to be sampled, in pixels.
        size: height and width of the window, in pixels of the picture and about its centre.
    """
    (height, width), (rows, columns) = picture_size, size
    aspect = width / height
    x, y = columns / width, rows / height / aspect
    theta = [
        [
            [m.turn.real * x, -m.turn.imag * y, 2 * m.shift.real],
            [m.turn.imag * x * aspect, m.turn.real * y * aspect, 2 * m.shift.imag * aspect],
        ]
        for m in maps
    ]
    shape = [len(maps), 1, rows, columns]
    return functional.affine_grid(torch.tensor(theta), shape, align_corners=False)


def seen_through(picture: Tensor, view: Similarity) -> Tensor:
    """`picture` [C, H, W] with the pixel at p taken from `view(p)`; beyond its edges mirrored."""
    size = picture.shape[-2:]
    return _sample(picture[None], sampling_grid([view], size, size))[0]


@dataclass(frozen=True, eq=False)
class Morph:
    """All pictures between two that show the same thing from two places.

    `pictures` [2, 3, H, W] float are start and end, `motion` sends a point of the start to where
    the end shows it, `brighter` [3, 1, 1] is how much brighter the end shows the same.
    """

    pictures: Tensor
    motion: Similarity
    brighter: Tensor

    @classmethod
    def between(cls, start: Tensor, end: Tensor, motion: Similarity) -> Morph:
        """The morph of [3, H, W] float pictures; how much brighter the end is, is measured."""
        size = start.shape[-2:]
        grid = sampling_grid([motion], size, size)
        both = (_reach(grid) <= 1).float()
        change = (_sample(end[None], grid)[0] - start) * both[0]
        brighter = change.sum((1, 2), keepdim=True) / both.sum().clamp_min(1)
        return cls(torch.stack([start, end]), motion, brighter)

    def at(self, progress: float) -> Tensor:
        """The picture at `progress` in [0, 1]: [3, H, W].

        Each picture is moved to where the camera is by then and the two dissolve, but where
        only one has pixels it stands alone.
        """
        if self.motion == Similarity():
            return torch.lerp(*self.pictures, progress)
        size = self.pictures.shape[-2:]
        views = self.motion.part(-progress), self.motion.part(1 - progress)
        grid = sampling_grid(views, size, size)
        share = _share_of_end(grid, progress)
        dissolved = torch.lerp(*_sample(self.pictures, grid), share)
        # A picture that stands alone takes the light that the dissolve has by then, so that
        # no seam shows beside its edge.
        return dissolved.addcmul_(self.brighter, progress - share)


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(
        pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def _reach(grid: Tensor) -> Tensor:
    """How far out each point lies, [B, h, w]: 1 is the edge of the picture."""
    x, y = grid.abs().unbind(-1)
    return torch.maximum(x, y)


def _share_of_end(grid: Tensor, progress: float) -> Tensor:
    """How much of the end picture each pixel shows, [H, W] in [0, 1]; `grid`: start, then end."""
    # The edge softens as it comes into the frame: at the very ends only one picture is seen.
    feathers = min(1.0, 4 * progress), min(1.0, 4 * (1 - progress))
    start, end = (
        ((1 - reach) / max(FEATHER * feather, 1e-3)).clamp_(0, 1)
        for reach, feather in zip(_reach(grid), feathers, strict=True)
    )
    # What a picture cannot show is left to the other; where both cannot, they dissolve.
    claim_start = start * (1 - progress * end) + 1e-4 * (1 - progress)
    claim_end = end * (1 - (1 - progress) * start) + 1e-4 * progress
    return claim_end / (claim_start + claim_end)
