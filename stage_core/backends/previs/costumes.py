"""What the words of a cast say about how somebody looks: clothes, colours, hair, build."""

from __future__ import annotations

import re
from typing import Any

from .palette import ACCENTS, GREY_ACCENT, Colour

_MAX_CHARACTERS = 4000
_RED, _BLUE, _YELLOW, _GREEN, _PURPLE, _ORANGE, _TEAL, _PINK, _OLIVE, _INDIGO = ACCENTS
_COLOURS: dict[str, Colour] = {
    **dict.fromkeys(("red", "scarlet", "crimson", "maroon"), _RED),
    **dict.fromkeys(("blue", "navy", "denim"), _BLUE),
    **dict.fromkeys(("yellow", "golden", "mustard", "ochre"), _YELLOW),
    **dict.fromkeys(("green", "emerald"), _GREEN),
    **dict.fromkeys(("purple", "violet", "lilac"), _PURPLE),
    "orange": _ORANGE,
    **dict.fromkeys(("teal", "turquoise", "cyan"), _TEAL),
    **dict.fromkeys(("pink", "rose"), _PINK),
    **dict.fromkeys(("olive", "khaki"), _OLIVE),
    "indigo": _INDIGO,
    **dict.fromkeys(("brown", "leather", "tan"), (132, 92, 60)),
    **dict.fromkeys(("beige", "cream", "sand"), (206, 188, 156)),
    **dict.fromkeys(("black", "dark"), (58, 56, 62)),
    **dict.fromkeys(("white", "ivory"), (236, 232, 222)),
    **dict.fromkeys(("grey", "gray", "silver"), GREY_ACCENT),
}
_GARMENTS = {
    "coat": "coat overcoat raincoat oilskin oilskins cloak robe parka trenchcoat cape mantle",
    "dress": "dress gown skirt sari kimono frock",
    "jacket": "jacket blazer suit hoodie uniform vest sweater jumper cardigan armour armor "
    "overalls pullover",
    "shirt": "shirt blouse apron tunic t-shirt undershirt",
}
_GARMENT_OF = {word: garment for garment, words in _GARMENTS.items() for word in words.split()}
_HAIR = "hair|braids?|bun|bob|curls|beard|ponytail|plaits?|locks|mane"
_HAIR_SHAPES = (
    ("hat", r"hat|cap|helmet|hood|bonnet|beret|turban|headscarf"),
    ("bun", r"bun|braid(?:s|ed)?|ponytail|plaits?|pinned"),
    ("curly", r"curly|curls|afro|frizzy"),
    ("bob", r"bob|chin-length"),
    ("crop", r"bald|shaved|shaven|cropped|crew cut|buzz cut"),
    ("long", rf"long(?:\W+\w+){{0,2}}\W+(?:{_HAIR})"),
    ("short", rf"short(?:\W+\w+){{0,2}}\W+(?:{_HAIR})"),
)
_HAIR_TONES = (
    ("hair_grey", "grey|gray|white|silver"),
    ("hair_light", "blond|blonde|fair|golden|platinum"),
    ("hair_mid", "red|ginger|auburn|brown|chestnut|copper"),
    ("hair_dark", "black|dark|raven"),
)
_WOMAN = re.compile(
    r"\b(?:(?P<yes>woman|girl|lady|female|she|her)|man|boy|gentleman|male|he|his)\b"
)
_CHILD = re.compile(r"\b(?:boy|girl|child|kid|toddler|baby)\b")
_OLD = re.compile(r"\b(?:old|elderly|aged)\b(?! (?:coat|jacket|dress|hat|clothes|suit|shirt))")
_BUILDS = ((1.14, r"stout|heavy|heavyset|fat|broad|burly|plump"), (0.9, r"thin|slim|slender|lean"))
_HEIGHTS = ((1.05, r"tall|towering"), (0.93, r"tiny|petite|small|short(?= (?:man|woman|old))"))


def people_words(costume: str) -> tuple[bool | None, bool, bool]:
    """Whether the words speak of a woman (None: they do not say), of a child, of somebody old."""
    text = costume[:_MAX_CHARACTERS].casefold()
    found = _WOMAN.search(text)
    woman = None if found is None else bool(found["yes"])
    return woman, bool(_CHILD.search(text)), bool(_OLD.search(text))


def looks_in(costume: str) -> dict[str, Any]:
    """The fields of a look that the words settle; heights and bulks are factors."""
    text = costume[:_MAX_CHARACTERS].casefold()
    found = {
        "accent": _colour(text),
        "garment": next(
            (_GARMENT_OF[w] for w in re.findall(r"[\w-]+", text) if w in _GARMENT_OF), None
        ),
        "hair": _first(_HAIR_SHAPES, text),
        "hair_tone": next((t for t, words in _HAIR_TONES if _is_hair(words, text)), None),
        "bulk": _first(_BUILDS, text),
        "height": _first(_HEIGHTS, text),
    }
    return {name: value for name, value in found.items() if value is not None}


def _first(table: tuple[tuple[Any, str], ...], text: str) -> Any:
    return next((value for value, words in table if re.search(rf"\b(?:{words})\b", text)), None)


def _is_hair(words: str, text: str) -> bool:
    """Whether one of the words stands right before hair: `grey, tightly bound braid`."""
    return re.search(rf"\b(?:{words})(?:[\s-]+\w+){{0,2}}[\s-]+(?:{_HAIR})\b", text) is not None


def _colour(text: str) -> Colour | None:
    """The colour of a garment, else the first that is not that of hair, eyes or skin."""
    colours, garments = "|".join(_COLOURS), "|".join(map(re.escape, _GARMENT_OF))
    worn = re.search(rf"\b({colours})(?:[\s-]+\w+){{0,2}}[\s-]+(?:{garments})\b", text)
    if worn:
        return _COLOURS[worn[1]]
    for found in re.finditer(rf"\b({colours})\b(?P<after>(?:[\s-]+\w+){{0,3}})", text):
        if not re.search(rf"\b(?:{_HAIR}|eyes?|skin|eyed|haired)\b", found["after"]):
            return _COLOURS[found[1]]
    return None
