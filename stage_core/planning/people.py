"""Who is in a shot: names in cues, and names that the action writes in capitals.

A name that speaks anywhere in the script is known wherever the action mentions it. A name that
never speaks counts in its own paragraph only, and only where capitals must mean a person: it
is introduced with an age (`BORIS (40s)`), begins a sentence (`BORIS waits`), stands beside a
person (`with BORIS`), or is a role (`a WAITER`). Capitals for sounds, things and camera words
are none of these. So a paragraph of action that is added, moved or taken out changes the cast
of no other shot.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..story.members import name_key
from ..story.subjects import is_one_person
from .headings import readable


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_TITLES = _word_set("MR MRS MS DR ST PROF SGT CAPT LT COL")
_NOT_PEOPLE = _word_set(
    """INT EXT EST CUT FADE DISSOLVE POV CU ECU MCU WS MS LS OTS VO OS OC MOS ANGLE INSERT CLOSE
    CLOSE-UP CLOSEUP UP ON OFF WIDE LONG FULL MEDIUM EXTREME SHOT VIEW TIGHT LOW HIGH DUTCH
    OVERHEAD AERIAL POINT OF OVER SHOULDER THE A AN AND OR IN INTO OUT TO AT BY FROM WITH FOR IT
    IS BACK BLACK WHITE SUPER TITLE TITLES CARD MONTAGE SERIES END BEGIN FLASHBACK INTERCUT DAY
    NIGHT DAWN DUSK MORNING EVENING LATER CONTINUOUS SAME NOW THEN SUDDENLY SILENCE DARKNESS
    NOTHING EVERYTHING EVERYONE SOMEONE NOBODY NO YES OK BANG BOOM CRASH KNOCK THUD CLICK RING
    RINGS BEEP BUZZ SLAM SLAMS SCREAM SCREAMS THUNDER LIGHTNING RAIN WIND SNOW FIRE WATER BLOOD
    SMOKE GUNSHOT GUNSHOTS EXPLOSION MUSIC SOUND SOUNDS NOISE LIGHT LIGHTS CAMERA TV CCTV DNA FBI
    CIA USA UK EU NYC DVD CD PC ID AM PM SOS HE SHE WE THEY YOU HIS HER THIS THAT"""
)
_DETERMINERS = _word_set(
    "a an the his her their our my your its this that these those some any no each every another "
    "two three four five six several many one"
)
_COMPANY = _word_set("and with beside behind toward towards facing opposite near to at on")
_INTRODUCED = re.compile(r"\s*(?:\((?=[^()]{0,40}\d)|,\s*(?:\w+\s+){0,2}(?:mid-)?\d{1,2}s?\b)")
_VERB_AFTER = re.compile(r"(?:['\u2019][Ss])?,?\s+(?=\w)")


class Speakers:
    """The names that speak in a script, to be found in its action."""

    def __init__(self, names: Iterable[str]):
        self._names = {name_key(name): readable(name) for name in names}
        spellings = {
            unicodedata.normalize("NFC", spelling)
            for name in self._names.values()
            if len(name) > 1
            for spelling in (name, name.upper())
        }
        # Scripts without capitals may write words without spaces, so their names are found
        # inside words as well; all others begin and end with a word.
        self._uncased = sorted(name for name in spellings if name.upper() == name.lower())
        self._by_first_word: dict[str, list[str]] = defaultdict(list)
        for name in sorted(spellings.difference(self._uncased)):
            if first := re.match(r"\w+", name):
                self._by_first_word[first[0]].append(name)

    def _mentions(self, text: str) -> Iterator[tuple[int, int]]:
        for word in re.finditer(r"\w+", text):
            for name in self._by_first_word.get(word[0], ()):
                end = word.start() + len(name)
                if text.startswith(name, word.start()) and not re.match(r"\w", text[end : end + 1]):
                    yield word.start(), end
        for name in self._uncased:
            for match in re.finditer(re.escape(name), text):
                yield match.span()

    def cast_of(self, action: str, cues: Iterable[str] = ()) -> tuple[str, ...]:
        """Everyone in a shot once, in order: whom the action names, then who speaks."""
        action = unicodedata.normalize("NFC", action)
        found = [*_capitals_for_people(action), *self._mentions(action)]
        cast: dict[str, str] = {}
        taken = 0
        # At one place the longest name counts: ANNA MARIA, not ANNA.
        for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
            if start >= taken:
                name = readable(action[start:end])
                cast.setdefault(name_key(name), self._names.get(name_key(name), name))
                taken = end
        for name in cues:
            cast.setdefault(name_key(name), self._names.get(name_key(name), readable(name)))
        return tuple(cast.values())


def names_in_capitals(text: str) -> tuple[str, ...]:
    """What a short text writes in capitals, each once: in a theme those are its people."""
    names = (readable(text[start:end]) for start, end, _ in _capital_runs(text))
    return tuple(dict.fromkeys(names))


def _capitals_for_people(text: str) -> Iterator[tuple[int, int]]:
    """Where capitals in `text` must mean a person, as (start, end)."""
    person_before = 0
    for start, end, before in _capital_runs(text):
        words = text[start:end].split()
        last = words[-1].rstrip(".")
        introduced = _INTRODUCED.match(text, end)
        if before.casefold() in _DETERMINERS:
            person = introduced or is_one_person(last)
        else:
            beside = before.casefold() in _COMPANY and before != before.upper()
            follows_person = person_before and text[person_before:start].strip() in ("and", ",")
            person = (
                introduced
                or beside
                or follows_person
                or _called_to(before)
                or (_begins_sentence(text, start) and _acts(text, end))
            )
        if person:
            person_before = end
            yield start, end


def _called_to(before: str) -> bool:
    # CLOSE ON ANNA: the only preposition in capitals that camera talk puts before people.
    return before == "ON"


def _capital_runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Neighbouring words in capitals as (start, end, word before); stop words end a run."""
    run: tuple[int, int] | None = None
    before = previous = ""
    for match in _WORD.finditer(text):
        word, start, end = match[0], match.start(), match.end()
        if word.endswith(("'S", "\u2019S", "'s", "\u2019s")):
            word, end = word[:-2], end - 2
        capital = len(word) > 1 and word.isupper() and word not in _NOT_PEOPLE
        capital = capital or (word in _TITLES and text[end : end + 2] == ". ")
        joined = run is not None and _joins(text, run, start)
        if run and not (capital and joined):
            yield (*run, before)
            run = None
        if capital:
            before = before if run else previous
            run = (run[0] if run else start, end)
        previous = match[0]
    if run:
        yield (*run, before)


def _joins(text: str, run: tuple[int, int], start: int) -> bool:
    between = text[run[1] : start]
    return between == " " or (between == ". " and text[run[0] : run[1]] in _TITLES)


def _begins_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 8) : start].rstrip(" \n\t\"'(\u201c\u2018")
    return start == 0 or not before or before[-1] in ".!?:;\u2026\u2013\u2014-"


def _acts(text: str, end: int) -> bool:
    """Whether a lower-case word follows, as the verb follows the subject."""
    match = _VERB_AFTER.match(text, end)
    return match is not None and text[match.end()].islower()
