"""The paper that sheets and strips are drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..media import import_pillow

PAPER = (251, 249, 244)
GREY = (126, 121, 113)
RULE = (214, 209, 199)
EMPTY = (240, 237, 230)
PANEL_GAP = 8


@contextmanager
def drawing_on(pixels: Tensor, ground: tuple[int, int, int] = PAPER) -> Iterator[tuple[Any, Any]]:
    """A plain Pillow picture and its ImageDraw; what is drawn lands in `pixels`, [H, W, 3] uint8,
    when the block ends."""
    numpy, image_module, _ = import_pillow()
    from PIL import ImageDraw

    image = image_module.new("RGB", (pixels.shape[1], pixels.shape[0]), ground)
    yield image, ImageDraw.Draw(image)
    pixels.copy_(torch.from_numpy(numpy.array(image)))
