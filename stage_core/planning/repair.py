"""JSON out of the answer of a language model, also where it is slightly wrong.

Mended is only what can have one meaning: words and fences around it, comments, missing or doubled
commas, other quotation marks, quotation marks inside a text, raw line ends, names without marks,
Python's True and None. What the text stops in the middle of is given with a mark that says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import PlanError

MAX_CHARACTERS = 2**20
_MAX_DEPTH = 32
# So many brackets are tried, and so many characters read in vain; prose has few brackets and its
# tries end soon, and a hostile text could have a million that each are read to its end.
_MAX_STARTS, _MAX_IN_VAIN = 1000, 2**20
_START = re.compile(r"[{\[]")
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_LEFT_OUT = re.compile(
    r"\.\.|\u2026|\b(?:remaining|rest|others?|continues?|omitted|skipped|so on|etc|similar)\b", re.I
)
_CLOSERS = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u300c": "\u300d"}
_OPEN = "".join(_CLOSERS)
_NAME = re.compile(r"[^\W\d]\w*")
_NAMED = rf"(?:[{_OPEN}][^{_OPEN}\n]{{1,60}}[{_OPEN}\u201d\u300d]|[^\W\d]\w*)\s*:"
# What may stand after the closing mark of a text, by where the text stands.
_AFTER = {
    "value": re.compile(rf"\s*(?:\Z|[}}\]]|//|/\*|,\s*(?:\Z|[}}\]]|//|/\*|{_NAMED})|{_NAMED})"),
    "entry": re.compile(rf"\s*(?:\Z|\]|//|/\*|,\s*(?:\Z|[\]{{\[{_OPEN}]|//|/\*))"),
}
_BARE = re.compile(r"[^\s,:{}\[\]][^,:{}\[\]\n]*")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""}


@dataclass(frozen=True, eq=False)
class Found:
    """A value of JSON in a text.

    `unfinished` holds the identities of the objects and lists in which the text stops.
    """

    value: Any
    unfinished: frozenset[int] = frozenset()


def json_values(text: str) -> list[Found]:
    """The objects and lists that stand in a text, in order, whatever stands around them.

    Raises:
        PlanError: the text is too long; or one of them begins well and cannot be read, with line.
    """
    if len(text) > MAX_CHARACTERS:
        raise PlanError(f"the answer has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    found: list[Found] = []
    place = in_vain = 0
    for _ in range(_MAX_STARTS):
        start = _START.search(text, place)
        if start is None or in_vain > _MAX_IN_VAIN:
            break
        for read in (_strict, _tolerant):
            value, place = read(text, start.start())
            if value is not None:
                found.append(value)
                break
            in_vain += place - start.start()
        else:
            place = start.end()
    return found


def _strict(text: str, place: int) -> tuple[Found | None, int]:
    """The value that begins at a place and is well written, and how far was read."""
    try:
        value, end = json.JSONDecoder(parse_constant=_no_number).raw_decode(text, place)
    except json.JSONDecodeError as error:
        return None, error.pos
    except (ValueError, RecursionError):
        return None, len(text)
    return None if _is_deep(value) else Found(value), end


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than is read."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for part in level
            if isinstance(part, (dict, list))
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, (dict, list)) for part in level)


def _tolerant(text: str, place: int) -> tuple[Found | None, int]:
    """The value that begins at a place and can be mended, and how far was read."""
    reader = _Reader(text, place)
    made: list[Any] = []
    try:
        reader.value(made.append, "entry")
    except _Ended:
        return Found(made[0], frozenset(map(id, reader.open))), len(text)
    except _Unreadable as error:
        # Brackets of prose hold no names; an object that has some was meant to be read.
        if not reader.has_names:
            return None, reader.place
        raise PlanError(str(error), text.count("\n", 0, reader.place) + 1) from None
    return Found(made[0]), reader.place


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


class _Ended(Exception):
    """The text stops."""


class _Unreadable(Exception):
    """What stands here has no certain meaning."""


class _Reader:
    """Reads one value from a place on. `open` are the objects and lists not closed yet."""

    def __init__(self, text: str, place: int):
        self.text, self.place = text, place
        self.open: list[Any] = []
        self.has_names = False

    def value(self, put: Callable[[Any], None], where: str) -> None:
        """Read a value; objects and lists are handed to `put` before they are filled."""
        mark = self._next()
        if mark in "{[":
            if len(self.open) == _MAX_DEPTH:
                raise _Unreadable("the JSON is nested too deeply")
            made: Any = {} if mark == "{" else []
            put(made)
            self.open.append(made)
            self.place += 1
            (self._object if mark == "{" else self._list)(made)
            self.open.pop()
        elif mark in _CLOSERS:
            self._text(put, where)
        else:
            put(self._bare())

    def _object(self, made: dict[str, Any]) -> None:
        while (mark := self._next()) != "}":
            if mark == ",":
                self.place += 1
                continue
            name = self._name(mark)
            if self._next() != ":":
                raise _Unreadable(f"{name!r:.60} has no value")
            self.place += 1
            self.has_names = True

            def put(value: Any, name: str = name) -> None:
                made[name] = value

            self.value(put, "value")
            if self._next() not in f",}}{_OPEN}" and not self._begins_name():
                raise _Unreadable(f"what follows {name!r:.60} is neither a comma nor an end")
        self.place += 1

    def _list(self, made: list[Any]) -> None:
        while (mark := self._next()) != "]":
            if mark == ",":
                self.place += 1
                continue
            if mark in ":}":
                raise _Unreadable(f"{mark!r} stands in a list")
            self.value(made.append, "entry")
        self.place += 1

    def _next(self) -> str:
        """The next character that means something."""
        blank = _BLANK.match(self.text, self.place)
        if _LEFT_OUT.search(blank[0]):
            raise _Unreadable("a comment says that something is left out")
        self.place = blank.end()
        if self.place == len(self.text):
            raise _Ended
        return self.text[self.place]

    def _begins_name(self) -> bool:
        return re.compile(_NAMED).match(self.text, self.place) is not None

    def _name(self, mark: str) -> str:
        if mark in _CLOSERS:
            names: list[str] = []
            self._text(names.append, "name")
            return names[0]
        bare = _NAME.match(self.text, self.place)
        if bare is None:
            rest = self.text[self.place : self.place + 20]
            raise _Unreadable(f"{rest!r} stands where a name and its value should")
        self.place = bare.end()
        return bare[0]

    def _text(self, put: Callable[[str], None], where: str) -> None:
        closer = _CLOSERS[self.text[self.place]]
        # Who opens with one mark may close with the usual one.
        marks = re.compile(rf"\\|{closer}" if closer in "'\"" else rf"\\|[{closer}\"]")
        parts, self.place = [], self.place + 1
        while match := marks.search(self.text, self.place):
            parts.append(self.text[self.place : match.start()])
            self.place = match.end()
            if match[0] == "\\":
                parts.append(self._escaped())
            elif where == "name" or _AFTER[where].match(self.text, self.place):
                put("".join(parts))
                return
            else:
                parts.append(match[0])
        put("".join(parts) + self.text[self.place :])
        self.place = len(self.text)
        raise _Ended

    def _escaped(self) -> str:
        mark = self.text[self.place : self.place + 1]
        self.place += 1
        code = re.compile(r"[0-9a-fA-F]{4}").match(self.text, self.place) if mark == "u" else None
        if code is None:
            return _ESCAPES.get(mark, mark)
        pair = re.compile(r"[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
        whole = pair.match(self.text, self.place)
        self.place = (whole or code).end()
        return json.loads(f'"\\u{(whole or code)[0]}"')

    def _bare(self) -> Any:
        match = _BARE.match(self.text, self.place)
        if match is None:
            raise _Unreadable(f"{self.text[self.place]!r} stands where a value should")
        self.place = match.end()
        if self.place == len(self.text):
            raise _Ended
        word = match[0].split("//")[0].strip()
        if _NUMBER.fullmatch(word):
            return float(word) if "." in word else int(word)
        if word.casefold() in ("nan", "infinity", "-infinity") or set(word) <= set(".\u2026"):
            raise _Unreadable(f"{word!r:.60} is no value")
        return _WORDS.get(word.casefold(), word)
