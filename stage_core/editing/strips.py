"""Pictures side by side, cards for what has no picture, and the mark on frames of a film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..media import import_pillow, playing
from ..story.timeline import Frames
from .conform import cover
from .lettering import Hand, plain, shorten, wrap, write
from .paper import GREY, PANEL_GAP, RULE, drawing_on
from .slate import INK

STRIP_HEIGHT = 216
_CARD = (384, 216)
_CARD_MARGIN = 22
_CARD_LINES = 6


def strip(images: Sequence[Tensor], labels: Sequence[str], height: int = STRIP_HEIGHT) -> Tensor:
    """Pictures [H, W, 3] uint8 side by side at one height, each over its label."""
    _, image_module, _ = import_pillow()
    hand = Hand(max(12, height // 14), INK)
    panels = [at_height(image, height) for image in images]
    width = sum(panel.shape[1] for panel in panels) + PANEL_GAP * (len(images) + 1)
    sheet = torch.empty(height + hand.line_height + 3 * PANEL_GAP, width, 3, dtype=torch.uint8)
    with drawing_on(sheet) as (canvas, draw):
        left = PANEL_GAP
        for panel, label in zip(panels, labels, strict=True):
            picture = image_module.fromarray(panel.contiguous().numpy())
            canvas.paste(picture, (left, PANEL_GAP))
            text = shorten(plain(label), picture.width, hand)
            write(draw, (left, height + 2 * PANEL_GAP), text, hand)
            left += picture.width + PANEL_GAP
    return sheet


def at_height(image: Tensor, height: int) -> Tensor:
    """A picture [H, W, 3] uint8 as `strip` shows it at this height; one that is so comes back."""
    return cover(image, max(16, round(height * image.shape[1] / image.shape[0])), height)


def padded(pixels: Sequence[Tensor]) -> list[Tensor]:
    """Pages [H, W, 3] uint8 at the size of the largest, in the colour of their own paper."""
    height, width = (max(page.shape[side] for page in pixels) for side in (0, 1))
    pages = []
    for page in pixels:
        paper = page[-1, -1].expand(height, width, 3).clone()
        paper[: page.shape[0], : page.shape[1]] = page
        pages.append(paper)
    return pages


def card(title: str, words: str) -> Tensor:
    """A card with a title over some words, [216, 384, 3] uint8: in place of a picture."""
    width, height = _CARD
    room = width - 2 * _CARD_MARGIN
    large, small = Hand(26, INK), Hand(16, GREY)
    pixels = torch.empty(height, width, 3, dtype=torch.uint8)
    with drawing_on(pixels) as (_, draw):
        draw.rectangle([0, 0, width - 1, height - 1], outline=RULE, width=2)
        write(draw, (_CARD_MARGIN, 18), shorten(plain(title), room, large), large)
        top = 18 + large.line_height + 10
        for line in wrap(words, room, small, _CARD_LINES):
            write(draw, (_CARD_MARGIN, top), line, small)
            top += small.line_height
    return pixels


def mark(frames: Frames, text: str) -> Frames:
    """The same frames with a thin strip along the bottom that says `text`, made as they play."""
    return _Marked(frames, plain(text))


@dataclass(frozen=True, eq=False)
class _Marked(Frames):
    frames: Frames
    text: str

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Tensor]:
        strip = None
        with playing(self.frames) as pictures:
            for picture in pictures:
                if strip is None:
                    strip = self._strip(*picture.shape[:2])
                high = strip.shape[0]
                marked = picture.clone()
                # The picture shines through a little: a mark, not a cut.
                under = marked[-high:].to(torch.int16)
                marked[-high:] = torch.where(strip > 0, strip, under // 4).to(torch.uint8)
                yield marked

    def _strip(self, height: int, width: int) -> Tensor:
        """The letters, [strip height, W, 3] int16 on zero."""
        hand = Hand(max(9, height // 34), (236, 232, 222))
        strip = torch.empty(min(height, round(hand.size * 1.7)), width, 3, dtype=torch.uint8)
        with drawing_on(strip, (0, 0, 0)) as (_, draw):
            text = shorten(self.text, width - 2 * hand.size, hand)
            write(draw, (hand.size, round(hand.size * 0.16)), text, hand)
        return strip.to(torch.int16)
