"""Colour: marker tones by place and time of day, and one accent for each name."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass

Colour = tuple[int, int, int]

ACCENTS: tuple[Colour, ...] = (
    (206, 64, 52),
    (42, 110, 178),
    (228, 160, 32),
    (40, 134, 98),
    (138, 78, 160),
    (226, 112, 44),
    (32, 150, 168),
    (206, 92, 138),
    (126, 144, 46),
    (82, 84, 176),
)
GREY_ACCENT: Colour = (134, 130, 124)
"""Worn by people whom the description mentions but the cast does not name."""


_ACCENT_SALT = "accent 18444"
"""Of 20000 salts the one that spreads frequent first names best over the accents."""


@functools.lru_cache(maxsize=8192)
def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` of `b`, from 0 to 1."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def name_number(name: str, purpose: str) -> int:
    """A lasting number for a name, the same in every film, in [0, 2^32)."""
    text = f"{purpose}:{' '.join(name.casefold().split())}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def accent(name: str) -> Colour:
    """The colour that a character wears in every shot."""
    return ACCENTS[name_number(name, _ACCENT_SALT) % len(ACCENTS)]


@dataclass(frozen=True)
class Palette:
    """Colours by the names that marks use.

    `haze` is what far things fade into, `glow` what lit windows and lamps show.
    """

    colours: dict[str, Colour]

    def colour(self, tone: str | Colour) -> Colour:
        """The colour of a tone's name, or the colour itself."""
        return self.colours[tone] if isinstance(tone, str) else tone


@dataclass(frozen=True)
class _Light:
    paper: Colour
    shade: Colour
    sky: Colour
    low_sky: Colour
    glow: Colour
    depth: float = 1.0


_INK: Colour = (30, 28, 32)
_EVERYWHERE: dict[str, Colour] = {
    "ink": _INK,
    "white": (250, 248, 242),
    "hair_dark": (52, 46, 48),
    "hair_mid": (118, 92, 72),
    "hair_light": (196, 170, 122),
    "hair_grey": (168, 166, 164),
}
_TIMES = {
    "day": _Light(
        (247, 243, 234), (104, 102, 104), (222, 230, 234), (243, 241, 233), (255, 253, 244)
    ),
    "dawn": _Light(
        (247, 238, 230), (116, 98, 108), (206, 208, 222), (246, 216, 196), (255, 240, 214)
    ),
    "dusk": _Light(
        (246, 230, 212), (104, 82, 94), (196, 160, 164), (244, 188, 132), (255, 226, 150), 1.1
    ),
    "night": _Light(
        (176, 184, 204), (40, 46, 72), (52, 62, 96), (84, 96, 132), (252, 226, 150), 1.12
    ),
}
_TIME_WORDS = (
    (
        "night",
        r"\b(?:(?:mid)?nights?|nightfall|night-?time|moon|moonli(?:t|ght)|dark|darkness|evening|"
        r"nachts?|noche|nuit|notte|noite)\b|[\u591c\u665a]",
    ),
    (
        "dusk",
        r"\b(?:dusk|sunset|golden (?:hour|light)|twilight|magic hour|afternoon late|"
        r"late afternoon|abend|d\u00e4mmerung|cr\u00e9puscule|atardecer)\b|\u9ec4\u660f",
    ),
    (
        "dawn",
        r"\b(?:dawn|sunrise|morning early|early morning|daybreak|first light|morgengrauen|aube|"
        r"amanecer)\b|[\u6668\u66d9]",
    ),
)
_TINTS: dict[str, Colour] = {
    "forest": (70, 104, 74),
    "field": (112, 118, 66),
    "desert": (170, 122, 72),
    "beach": (150, 128, 88),
    "sea": (58, 104, 130),
    "harbour": (78, 100, 116),
    "snow": (108, 132, 158),
    "mountain": (92, 108, 132),
    "street": (106, 102, 104),
    "market": (142, 104, 78),
    "space": (52, 58, 92),
    "office": (98, 108, 116),
    "kitchen": (130, 112, 84),
    "bedroom": (126, 100, 96),
    "living": (128, 106, 82),
    "corridor": (96, 106, 106),
    "church": (112, 98, 88),
    "bar": (122, 80, 58),
    "train": (90, 104, 116),
    "car": (84, 90, 98),
    "hospital": (98, 124, 124),
    "school": (118, 112, 84),
    "warehouse": (104, 98, 90),
    "ship": (76, 92, 112),
}


def time_of(words: str) -> str:
    """'day', 'night', 'dawn' or 'dusk', as casefolded `words` say; day when they do not."""
    return next((time for time, said in _TIME_WORDS if re.search(said, words)), "day")


def palette_of(kind: str, time: str, interior: bool) -> Palette:
    """The palette of a kind of place at a time of day."""
    light = _TIMES[time]
    tint = _TINTS.get(kind, (108, 104, 98))
    if interior and time == "night":
        # Lamps are on: lighter and warmer than outside, darker than by day.
        light = _Light((214, 200, 180), (58, 54, 68), (34, 42, 72), (60, 70, 104), light.glow, 1.12)
    shade = mix(light.shade, tint, 0.6)
    pale = mix(light.paper, tint, 0.07)
    d = light.depth
    night_ground = 0.5 if time == "night" and not interior else 0.0
    colours = {
        "paper": light.paper,
        "pale": pale,
        "light": mix(pale, shade, 0.26 * d),
        "mid": mix(pale, shade, 0.5 * d),
        "dark": mix(pale, shade, 0.82 * d),
        "deep": mix(shade, _INK, 0.52),
        "wood_light": mix(mix(pale, shade, 0.26 * d), (176, 128, 84), 0.3),
        "wood": mix(mix(pale, shade, 0.5 * d), (150, 100, 62), 0.3),
        "wood_dark": mix(mix(pale, shade, 0.82 * d), (96, 62, 42), 0.3),
        "wall": mix(pale, shade, 0.14 * d),
        "floor": mix(pale, shade, 0.38 * d),
        "shadow": mix(mix(pale, shade, 0.6), _INK, 0.14),
        "water": mix(mix(light.sky, (58, 104, 130), 0.72), shade, 0.06),
        "ground": mix(mix(pale, tint, 0.30 * d), shade, 0.1 + night_ground),
        "leaf": mix(mix(pale, tint, 0.62 * d), shade, 0.1 + night_ground),
        "sky": mix(shade, _INK, 0.4) if interior else light.sky,
        "low_sky": light.low_sky,
        "haze": mix(light.low_sky, pale, 0.35) if not interior else mix(pale, shade, 0.1),
        "glow": light.glow,
        "window": light.glow
        if time in ("night", "dusk") and not interior
        else mix(light.sky, shade, 0.18),
        "skin": mix(light.paper, (236, 226, 214), 0.5),
        "cloth": mix(shade, _INK, 0.25),
        "cloth_light": mix(pale, shade, 0.55),
    }
    return Palette({**_EVERYWHERE, **colours, **_pools(colours["floor"], light.glow)})


def _pools(floor: Colour, glow: Colour) -> dict[str, Colour]:
    """Light on the floor round a lamp, in two flat tones."""
    return {"pool_edge": mix(floor, glow, 0.14), "pool": mix(floor, glow, 0.5)}


def darkened(palette: Palette) -> Palette:
    """The palette of a room with a single light: what lies off it fades into the dark."""
    dark = mix(palette.colours["deep"], palette.colours["sky"], 0.3)
    return Palette({**palette.colours, "haze": dark})
