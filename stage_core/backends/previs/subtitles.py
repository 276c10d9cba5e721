"""Dialogue drawn into the picture: what is said when, wrapped and outlined."""

from __future__ import annotations

import unicodedata

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Shares of the picture's height, and of its width for the length of a line.
TEXT_HEIGHT = 0.05
BOTTOM = 0.05
LINE_WIDTH = 0.86
MAX_LINES = 2


class Subtitles:
    """The dialogue of one shot over pictures of one size.

    Long speeches are shown in parts of two lines, each for a time in proportion to its length.
    """

    def __init__(self, dialogue: str, width: int, height: int):
        size = max(8.0, TEXT_HEIGHT * height)
        self._font = ImageFont.load_default(size)
        self._stroke = max(1, round(size / 10))
        self._parts = tuple(
            part
            for speech in dialogue.splitlines()
            for part in self._in_parts(_printable(speech), LINE_WIDTH * width)
        )

    def text_at(self, progress: float) -> str:
        """What is to be read at `progress` in [0, 1] of the shot; empty without dialogue."""
        total = sum(len(part) for part in self._parts)
        for part in self._parts:
            progress -= len(part) / total
            if progress <= 0:
                return part
        return self._parts[-1] if self._parts else ""

    def over(self, picture: Tensor, progress: float) -> Tensor:
        """A copy of `picture` [H, W, 3] uint8 with the text of this moment at its bottom."""
        text = self.text_at(progress)
        if not text:
            return picture
        image = Image.fromarray(picture.numpy())
        place = image.width / 2, image.height * (1 - BOTTOM)
        ImageDraw.Draw(image).multiline_text(
            place,
            text,
            fill="white",
            font=self._font,
            anchor="md",
            align="center",
            stroke_width=self._stroke,
            stroke_fill="black",
        )
        return torch.from_numpy(np.array(image))

    def _in_parts(self, speech: str, width: float) -> list[str]:
        lines = self._wrapped(speech, width)
        return [
            "\n".join(lines[place : place + MAX_LINES]) for place in range(0, len(lines), MAX_LINES)
        ]

    def _wrapped(self, speech: str, width: float) -> list[str]:
        lines: list[str] = []
        line = ""
        for word in speech.split():
            joined = f"{line} {word}".strip()
            if self._font.getlength(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            *full, line = self._broken(word, width)
            lines.extend(full)
        return [*lines, line] if line else lines

    def _broken(self, word: str, width: float) -> list[str]:
        """A word in pieces that fit: scripts without spaces have words as long as a speech."""
        pieces = [""]
        for character in word:
            if pieces[-1] and self._font.getlength(pieces[-1] + character) > width:
                pieces.append("")
            pieces[-1] += character
        return pieces


def _printable(text: str) -> str:
    """`text` without control characters and lone surrogates, which no font can draw."""
    kept = (" " if c.isspace() else c for c in text)
    return "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cs", "Cn"))
