"""Text in pictures: any script a font at hand can write, wrapped, cut to length, slanted."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ..media import import_pillow

ELLIPSIS = "..."
UNKNOWN = "?"
_PROBED = 16
_SLANT = 0.2
_NEVER_DRAWN = "\u0378"
"""A code point that Unicode has not given out: every font shows its box for a missing letter."""

_WORDS = re.compile(r"\S+|\s+")
_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/PrivateFrameworks/FontServices.framework/Resources/Reserved",
    "C:/Windows/Fonts",
    "~/AppData/Local/Microsoft/Windows/Fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "~/Library/Fonts",
)
# In order of preference; each is looked for by the beginning of its file name.
_FALLBACK_FONTS = (
    "LiberationSans-Regular",
    "Helvetica.",
    "arial.",
    "NotoSansCJK-Regular",
    "NotoSansCJKsc-Regular",
    "SourceHanSans-Regular",
    "NotoSansSC",
    "NotoSansJP",
    "NotoSansKR",
    "PingFang",
    "Hiragino Sans GB",
    "\u30d2\u30e9\u30ae\u30ce\u89d2\u30b4\u30b7\u30c3\u30af W3",
    "AppleSDGothicNeo",
    "STHeiti",
    "msyh",
    "simsun",
    "YuGothM",
    "YuGothR",
    "meiryo",
    "msgothic",
    "malgun",
    "NotoSerifCJK-Regular",
    "wqy-",
    "DroidSansFallback",
    "ipag",
    "NanumGothic",
    "Arial Unicode",
    "DejaVuSans.",
    "NotoSans-Regular",
    "NotoSansArabic-Regular",
    "NotoSansHebrew-Regular",
    "NotoSansDevanagari-Regular",
    "NotoSansThai-Regular",
    "segoeui.",
    "Nirmala",
    "seguiemj",
)


@dataclass(frozen=True)
class Hand:
    """A way of writing: size in pixels, colour, upright or slanted."""

    size: int
    ink: tuple[int, int, int]
    slanted: bool = False

    @property
    def line_height(self) -> int:
        """Pixels from one line to the next."""
        return round(self.size * 1.32)


def plain(text: str) -> str:
    """The text on one line, without characters that print nothing."""
    spaced = " ".join(text.split())
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn"))
    return unicodedata.normalize("NFC", "".join(kept))


def has_letters(text: str) -> bool:
    """Whether the fonts at hand have at least half of the letters of a text."""
    fonts = [_own_font(_PROBED), *filter(None, (_font_at(p, _PROBED) for p in _fallback_paths()))]
    letters = [letter for letter in text if letter.isalnum()]
    found = sum(_letter(letter, fonts)[1] != UNKNOWN for letter in letters)
    return 2 * found >= len(letters)


def text_width(text: str, hand: Hand) -> int:
    """Pixels from the left to the right of a line."""
    return round(sum(font.getlength(run) for font, run in _runs(text, hand.size)))


def shorten(text: str, width: int, hand: Hand) -> str:
    """The text, or as much of its beginning as fits `width` with an ellipsis."""
    if text_width(text, hand) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle].rstrip() + ELLIPSIS, hand) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + ELLIPSIS


def wrap(text: str, width: int, hand: Hand, num_lines: int) -> list[str]:
    """The text in at most `num_lines` lines of `width`, the last with an ellipsis if it must.

    Lines break at spaces, and anywhere in a word that is wider than a line, as scripts without
    spaces are.
    """
    lines, rest = [], plain(text)
    while rest and len(lines) < num_lines - 1:
        line = _first_line(rest, width, hand)
        lines.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return [*lines, shorten(rest, width, hand)] if rest else lines


def write(draw: Any, place: tuple[int, int], text: str, hand: Hand) -> int:
    """Write one line with its upper left corner at `place`; `draw` is a Pillow ImageDraw.

    Returns:
        The place right of the text.
    """
    left, top = place
    if hand.slanted:
        _write_slanted(draw, place, text, hand)
        return left + text_width(text, hand)
    across = float(left)
    for font, run in _runs(text, hand.size):
        # One base line for all fonts: they put it at different heights below the top.
        draw.text((across, top + hand.size), run, fill=hand.ink, font=font, anchor="ls")
        across += font.getlength(run)
    return round(across)


def _write_slanted(draw: Any, place: tuple[int, int], text: str, hand: Hand) -> None:
    from PIL import Image, ImageDraw

    lean = round(hand.size * _SLANT) + 1
    size = text_width(text, hand) + 2 * lean, hand.line_height + hand.size // 4
    mask = Image.new("L", size, 0)
    upright = Hand(hand.size, (255, 255, 255))
    pencil = ImageDraw.Draw(mask)
    across = float(lean)
    for font, run in _runs(text, upright.size):
        pencil.text((across, hand.size), run, fill=255, font=font, anchor="ls")
        across += font.getlength(run)
    # Leans around the base line, so that slanted and upright text stand in one line.
    matrix = (1, _SLANT, -_SLANT * hand.size, 0, 1, 0)
    mask = mask.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    draw.bitmap((place[0] - lean, place[1]), mask, fill=hand.ink)


def _first_line(text: str, width: int, hand: Hand) -> str:
    if text_width(text, hand) <= width:
        return text
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle], hand) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    space = text.rfind(" ", 0, low + 1)
    return text[:space] if space > 0 else text[:low]


def _runs(text: str, size: int) -> list[tuple[Any, str]]:
    """The text in pieces, each with the font that has its letters."""
    letters = [letter for word in _WORDS.findall(text) for letter in _word_letters(word, size)]
    runs = []
    for font, group in groupby(letters, key=lambda letter: letter[0]):
        runs.append((font, "".join(character for _, character in group)))
    return runs


@lru_cache(maxsize=4096)
def _word_letters(word: str, size: int) -> tuple[tuple[Any, str], ...]:
    """Each letter of a word with its font: one font for the whole word wherever there is one."""
    own = _own_font(size)
    if all(_has(own, character) for character in word):
        return tuple((own, character) for character in word)
    fonts = [own, *filter(None, (_font_at(path, size) for path in _fallback_paths()))]
    for font in fonts[1:]:
        if all(_has(font, character) for character in word):
            return tuple((font, character) for character in word)
    letters = tuple(_letter(character, fonts) for character in word)
    # A word that nobody can write is one question mark, not a row of them.
    return letters if any(letter != UNKNOWN for _, letter in letters) else letters[:1]


def _letter(character: str, fonts: list[Any]) -> tuple[Any, str]:
    bare = unicodedata.normalize("NFD", character)[0]
    for candidate in (character, bare):
        for font in fonts:
            if _has(font, candidate):
                return font, candidate
    return fonts[0], UNKNOWN


@lru_cache(maxsize=8192)
def _has(font: Any, character: str) -> bool:
    if character.isspace() or unicodedata.combining(character):
        return True
    mask, missing = font.getmask(character), font.getmask(_NEVER_DRAWN)
    return mask.size != missing.size or bytes(mask) != bytes(missing)


@lru_cache(maxsize=64)
def _own_font(size: int) -> Any:
    import_pillow()
    from PIL import ImageFont

    return ImageFont.load_default(size)


@lru_cache(maxsize=256)
def _font_at(path: Path, size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(str(path), size)
    except OSError:
        return None


@lru_cache(maxsize=1)
def _fallback_paths() -> tuple[Path, ...]:
    """Font files of this machine for letters the built-in font has not, best first."""
    files = []
    for folder in _FONT_FOLDERS:
        root = Path(folder).expanduser()
        if root.is_dir():
            files += [p for p in root.rglob("*") if p.suffix.lower() in (".ttf", ".otf", ".ttc")]
    found = []
    for name in _FALLBACK_FONTS:
        # File systems of macOS give accents and voiced kana as letters of their own.
        begins = unicodedata.normalize("NFC", name).casefold()
        matches = (p for p in files if _font_name(p).startswith(begins))
        found += sorted(matches)[:1]
    return tuple(found)


def _font_name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.name).casefold()
