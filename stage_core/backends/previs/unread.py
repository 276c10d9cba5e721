"""What a shot's words ask for that the sketch has no drawing of, to be told to the artist."""

from __future__ import annotations

import re

from ...story.members import name_key
from ...story.shot_list import Shot
from ...story.subjects import living_in, people_in
from .details import landmark_in, wares_in
from .vocabulary import (
    ANY_VERB,
    EXTERIORS,
    INDOORS,
    INTERIORS,
    MAX_CHARACTERS,
    PROPS,
    WEATHERS,
    first_named,
)

_TABLES = (INTERIORS, EXTERIORS, INDOORS, PROPS)
_ENGLISH = re.compile(r"\b(?:the|and|of|are|with|before|his|her|it|there|nobody|nothing)\b")
_FEW_WORDS = 4
_NEVER_DRAWN = frozenset(
    (
        *("air", "beam", "breath", "camera", "cloud", "day", "echo", "eye", "face", "frame"),
        *("frost", "glow", "heat", "light", "lights", "mist", "moon", "music", "night", "other"),
        *("others", "picture", "rest", "scene", "sea", "shadow", "shadows", "silence", "sky"),
        *("smile", "smoke", "sound", "star", "stars", "steam", "story", "street", "sun", "view"),
        *("voice", "wave", "waves", "wind", "world"),
    )
)


def unread_words(shot: Shot) -> tuple[str, ...]:
    """Animals, other subjects and the place of a shot, where the sketch does not know them."""
    text = shot.description[:MAX_CHARACTERS].casefold()
    names = {name_key(word) for name in shot.cast for word in (name, *name.split())}
    living = [
        who.noun.removeprefix("other ")
        for who in living_in(text)
        if not (_known(who.words) or name_key(who.noun) in names or who.noun in _NEVER_DRAWN)
    ]
    place = shot.scene.place[:MAX_CHARACTERS].casefold()
    # A place in another script, or in many words, would say little to the artist here.
    far = [place] if re.fullmatch(r"[a-z-]+(?: [a-z-]+){0,2}", place) and not _place(place) else []
    return tuple(dict.fromkeys((*living, *far)))


def is_understood(shot: Shot) -> bool:
    """Whether the description seems to be English, or has any word that the sketch knows."""
    text = shot.description[:MAX_CHARACTERS].casefold()
    if _ENGLISH.search(text) or (text.isascii() and len(text.split()) < _FEW_WORDS):
        return True
    found = people_in(text) or living_in(text) or ANY_VERB.search(text)
    return bool(found or _known(text) or not re.search(r"[^\W\d_]", text))


def _known(text: str) -> bool:
    """Whether a place, a thing, a landmark or the weather is among the words."""
    weather = any(re.search(rf"\b(?:{said})\b", text) for _, said in WEATHERS)
    named = any(first_named(table, text) for table in _TABLES)
    return bool(named or weather or wares_in(text) or landmark_in("field", text))


def _place(place: str) -> bool:
    return _known(f"on the {place}")
