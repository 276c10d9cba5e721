"""Between the host's IMAGE, float pixels [B, H, W, C] in [0, 1], and the engine's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from ..stage_core.editing.conform import cover
from ..stage_core.editing.strips import padded, strip
from ..stage_core.story.frames import Picture

_GREY = 0.5
_COLUMNS = 6


def pictures(images: Tensor, socket: str) -> tuple[Picture, ...]:
    """The pictures of a batch; grey becomes RGB, transparency lies on middle grey.

    Raises:
        ValueError: no pixels, values that are not finite, or not 1 to 4 channels.
    """
    images = images.unsqueeze(0) if images.ndim == 3 else images
    if images.ndim != 4 or 0 in images.shape or images.shape[3] > 4:
        raise ValueError(
            f"{socket} has the shape {tuple(images.shape)}; it should be [B, H, W, 1 to 4]"
        )
    if not torch.isfinite(images).all():
        raise ValueError(
            f"{socket} holds values that are not finite; the node that made the picture failed"
        )
    return tuple(Picture.of(_opaque(image)) for image in images)


def to_image(pixels: Tensor) -> Tensor:
    """Pixels [H, W, 3] uint8 as an IMAGE of one."""
    return pixels.unsqueeze(0).float().div(255)


def to_batch(pixels: Sequence[Tensor]) -> Tensor:
    """Pictures [H, W, 3] uint8 as one IMAGE batch, all at the size of the first."""
    height, width, _ = pixels[0].shape
    return torch.cat([to_image(cover(image, width, height)) for image in pixels])


def crop(pixels: Tensor, aspect: Fraction) -> Tensor:
    """The middle of a picture [H, W, 3] that has the aspect, width over height, at its size."""
    height, width, _ = pixels.shape
    new_width = max(1, min(width, round(height * aspect)))
    new_height = max(1, min(height, round(width / aspect)))
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return pixels[top : top + new_height, left : left + new_width]


def rows(pixels: Sequence[Tensor], labels: Sequence[str]) -> Tensor:
    """Pictures [H, W, 3] uint8 over their labels, six in a row, as one picture."""
    firsts = range(0, len(pixels), _COLUMNS)
    strips = [strip(pixels[i : i + _COLUMNS], labels[i : i + _COLUMNS]) for i in firsts]
    return torch.cat(padded(strips))


def _opaque(image: Tensor) -> Tensor:
    image = image.float().clamp(0, 1)
    channels = image.shape[2]
    if channels in (2, 4):
        colour, alpha = image[..., :-1], image[..., -1:]
        image = colour * alpha + _GREY * (1 - alpha)
    return image.expand(-1, -1, 3) if channels < 3 else image
