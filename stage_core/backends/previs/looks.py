"""How a character looks: accent colour, build, hair and clothes, from the name and the cast."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .costumes import looks_in, people_words
from .layers import Tone
from .palette import GREY_ACCENT, accent, name_number

_WOMEN = frozenset(
    [
        "woman",
        "women",
        "girl",
        "mother",
        "mom",
        "mum",
        "sister",
        "daughter",
        "wife",
        "bride",
        "queen",
        "princess",
        "lady",
        "nurse",
        "waitress",
        "aunt",
        "grandmother",
        "grandma",
        "actress",
        "heroine",
        "witch",
        "mrs",
        "ms",
        "miss",
        "madam",
        "anne",
        "ann",
        "alice",
        "jane",
        "claire",
        "sophie",
        "emily",
        "chloe",
        "grace",
        "kate",
        "ruth",
        "helen",
        "elizabeth",
        "sarah",
        "hannah",
        "susan",
        "lily",
        "rose",
        "iris",
        "mary",
        "may",
        "mei",
        "yuki",
        "rachel",
        "rebecca",
        "judith",
        "carol",
        "karen",
        "nancy",
        "amy",
        "zoe",
        "beth",
        "elise",
        "louise",
        "marie",
        "juliet",
        "scarlett",
        "ingrid",
        "astrid",
        "margaret",
        "dorothy",
        "ellen",
        "joan",
        "june",
        "eve",
        "esther",
        "deborah",
        "abigail",
        "charlotte",
        "violet",
        "ivy",
        "hazel",
        "irene",
        "noor",
        "fatou",
        "aylin",
    ]
)
_MEN = frozenset(
    [
        "luca",
        "joshua",
        "noah",
        "elijah",
        "ezra",
        "mika",
        "sasha",
        "nikita",
        "andrea",
        "ilya",
        "papa",
    ]
)
_CHILDREN = frozenset(
    ["boy", "girl", "child", "kid", "son", "daughter", "baby", "toddler", "children", "kids"]
)
_OLD = frozenset(["old", "elder", "grandmother", "grandma", "grandfather", "grandpa"])


@dataclass(frozen=True)
class Look:
    """A character's lasting appearance. `height` is in metres, `shoulders` and `hips` are half
    widths in body heights, `bulk` thickens limbs and trunk."""

    accent: Tone
    height: float = 1.74
    shoulders: float = 0.108
    hips: float = 0.078
    bulk: float = 1.0
    hair: str = "short"
    hair_tone: Tone = "hair_dark"
    garment: str = "jacket"
    trousers: Tone = "cloth"
    child: bool = False


def look_of(name: str, costume: str = "") -> Look:
    """The look of the character of this name, the same in every shot of every film.

    Args:
        costume: how the cast describes the character; what it does not say comes from the name.
    """
    look, said = _dressed(name, accent(name), costume), looks_in(costume)
    for measure in ("height", "bulk"):
        said[measure] = getattr(look, measure) * said.get(measure, 1.0)
    return replace(look, **said)


def stranger(word: str, index: int) -> Look:
    """The look of an unnamed person whom a description calls `word`, in grey.

    It comes from the noun, so that the old woman and the woman wear the same; `index` counts
    those of the same word.
    """
    noun = word if word.startswith("other ") else word.split()[-1]
    return _dressed(f"{noun} {index}", GREY_ACCENT, word)


def _dressed(name: str, colour: Tone, costume: str = "") -> Look:
    words = set(re.findall(r"[^\W\d_]+", name.casefold()))
    first = next(iter(re.findall(r"[^\W\d_]+", name.casefold())), "")
    woman = bool(words & _WOMEN) or (first.endswith(("a", "woman")) and first not in _MEN)
    said_woman, said_child, said_old = people_words(costume)
    woman = woman if said_woman is None else said_woman
    child = said_child or bool(words & _CHILDREN)
    number = name_number(name, "look")

    def pick(choices: tuple, digit: int):
        return choices[number // 7**digit % len(choices)]

    hair_tones = ("hair_dark", "hair_dark", "hair_mid", "hair_light")
    height = pick((1.62, 1.66, 1.70), 2) if woman else pick((1.74, 1.79, 1.84), 2)
    return Look(
        accent=colour,
        height=height * (0.72 if child else 1.0),
        shoulders=0.1 if woman or child else 0.116,
        hips=0.082 if woman else 0.074,
        bulk=pick((0.92, 1.0, 1.0, 1.1), 3) * (0.94 if woman else 1.04),
        hair=pick(("long", "bob", "bun", "curly"), 0)
        if woman
        else pick(("short", "crop", "curly", "hat"), 0),
        hair_tone="hair_grey" if said_old or words & _OLD else pick(hair_tones, 1),
        garment=pick(("coat", "dress", "jacket"), 4)
        if woman
        else pick(("jacket", "shirt", "coat"), 4),
        trousers=pick(("cloth", "deep", "cloth_light"), 5),
        child=child,
    )
