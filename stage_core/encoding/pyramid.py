"""Memory frames at the scale their place allows, so that a long memory stays affordable."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..diffusion.canvas import PATCH


def shrunk_size(height: int, width: int, side: float) -> tuple[int, int]:
    """Height and width of latents whose sides are shown at `side` in (0, 1]; even, at least 2."""
    if side == 1:
        return height, width
    lowered = (int(length * side) // PATCH * PATCH for length in (height, width))
    return tuple(max(PATCH, length) for length in lowered)


def shrink(latents: Tensor, side: float) -> Tensor:
    """Latents [B, C, h, w], normalised, with sides shown at `side`; bilinear, not smoothed.

    The same for the pyramid of the released code and for progressive spatial tiling of
    arXiv:2512.12372: the two differ only in which side belongs to which place.
    """
    size = shrunk_size(*latents.shape[2:], side)
    if size == tuple(latents.shape[2:]):
        return latents
    return functional.interpolate(latents, size, mode="bilinear", align_corners=False)
