"""What a shot's words put into its place: a landmark, things on the table, a single light."""

from __future__ import annotations

import re

_LANDMARKS = (
    ("tower", r"tower|skyscrapers?|high-rise|office block"),
    ("lighthouse", r"lighthouse"),
    ("church", r"church|cathedral|chapel|abbey|steeple|belfry"),
    ("castle", r"castle|fortress|palace|citadel"),
    ("house", r"house|cottage|cabin|hut|barn|farmhouse|mansion|villa|inn"),
    ("train", r"train|locomotive|railway"),
    ("boat", r"boats?|ships?"),
)
_WARES = (
    ("pot", r"pots?|kettle|cauldron"),
    ("bowl", r"bowls?|soup"),
    ("cup", r"cups?|mugs?|coffee|tea"),
    ("plate", r"plates?|dinner|breakfast|supper"),
    ("papers", r"papers|letters|documents|manuscript"),
    ("bottle", r"bottles?"),
)
_LIGHTS = (
    ("fire", r"fire|fireplace|firelight|hearth|embers"),
    ("candle", r"candles?|candlelight|candlelit"),
    ("lamp", r"lamp|lamplight|lamplit|lantern"),
    ("window", r"moonlight|moonlit|light (?:of|from|through) the window"),
)


def landmark_in(kind: str, words: str) -> str:
    """What an open place of this kind is known by, where the words name something that can
    stand there: a key of `landmarks.LANDMARK_VIEWS`, or empty."""
    found = _earliest(_LANDMARKS, words)
    if kind == "market":
        return ""
    if kind == "harbour" or (kind == "sea") != (found == "boat"):
        return found if found == "lighthouse" else ""
    return found


def wares_in(text: str) -> tuple[str, ...]:
    """What stands on the table, in the order of the words, a plural twice; at most four."""
    found = sorted(
        (match.start(), name, 2 if match.group().endswith("s") else 1)
        for name, pattern in _WARES
        for match in [re.search(rf"\b(?:{pattern})\b", text)]
        if match
    )
    return tuple(name for _, name, count in found for _ in range(count))[:4]


def light_in(text: str) -> str:
    """The only light that the words name: 'fire', 'candle', 'lamp', 'window', or empty."""
    return next((name for name, pattern in _LIGHTS if re.search(rf"\b(?:{pattern})\b", text)), "")


def _earliest(table: tuple[tuple[str, str], ...], words: str) -> str:
    found = [
        (match.start(), name)
        for name, pattern in table
        for match in [re.search(rf"\b(?:{pattern})\b", words)]
        if match
    ]
    return min(found)[1] if found else ""
