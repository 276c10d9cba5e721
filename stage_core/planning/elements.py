"""The elements of a Fountain screenplay, each with its line.

Source: fountain.io/syntax, version 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from ..errors import PlanError
from .headings import heading_text
from .wording import opening_terms

Line = tuple[int, str]

_TITLE_WORDS = """title credit author authors source notes contact copyright revision date draft
theme logline look style negative format"""
_FOREIGN_KEYS = {
    **dict.fromkeys(("titel", "titre", "titulo", "t\u00edtulo", "titolo"), "title"),
    **dict.fromkeys(("\u7247\u540d", "\u6807\u9898", "\u6a19\u984c", "\u5267\u540d"), "title"),
    **dict.fromkeys(("autor", "autorin", "auteur", "autore", "autora"), "author"),
    **dict.fromkeys(("\u4f5c\u8005", "\u7f16\u5267", "\u7de8\u5287"), "author"),
    **dict.fromkeys(("thema", "th\u00e8me", "tema", "\u4e3b\u9898", "\u4e3b\u984c"), "theme"),
    **dict.fromkeys(("stil", "estilo", "stile", "\u98ce\u683c", "\u98a8\u683c"), "look"),
}
"""What title pages in German, French, Spanish, Italian and Chinese say, in English."""
_TITLE_KEYS = {*_TITLE_WORDS.split(), "draft date", "written by", "negative prompt"}
_KEY = re.compile(r"(?P<key>[^\W\d_][\w ]{0,30}?)\s*[:\uff1a]\s*(?P<value>.*)")
# A name of Chinese script, a colon, and what is said; what ends in a verb of saying is prose.
_SAID = re.compile(
    r"(?P<cue>[\u4e00-\u9fff\u00b7]{1,6}"
    r"(?<![\u8bf4\u8aaa\u9053\u5199\u5beb\u7740\u8457\u95ee\u554f\u558a\u7b54\u53eb\u662f\u4e86])"
    r"(?:[(\uff08][^()\uff08\uff09]{1,20}[)\uff09])?)[:\uff1a]\s*(?P<words>\S.*)"
)
_TRANSITION = re.compile(
    r"(?:(?:slow |quick )?(?:fade (?:out|in|up|to black|to white|from black|from white|to)"
    r"|(?:lap |cross[ -]?)?dissolve(?: to)?|cross ?fade(?: to)?"
    r"|(?:smash |hard |match |jump |time |quick )?cut(?: to(?: black)?)?))\s*(?P<end>[.:]?)",
    re.IGNORECASE,
)
_WIDE = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_EMPHASIS = re.compile(r"(?<!\\)(\*{1,3}|_)(?=[^\s*_])(.{1,400}?)(?<=[^\s\\])\1")


class Kind(Enum):
    """What a part of a screenplay is."""

    HEADING = auto()
    ACTION = auto()
    DIALOGUE = auto()
    LYRIC = auto()
    TRANSITION = auto()
    SYNOPSIS = auto()
    SECTION = auto()
    NOTE = auto()


@dataclass(frozen=True)
class Element:
    """A part of a screenplay, with the notes that stand in it.

    `cue` is the line above a speech as written; `text` of a dialogue has a line per written line.
    """

    kind: Kind
    line: int
    text: str = ""
    cue: str = ""
    notes: tuple[Line, ...] = ()


def text_lines(text: str) -> list[Line]:
    """The lines of a text, numbered from 1, with any of the three line ends."""
    return list(enumerate(re.split(r"\r\n|\r|\n", text), start=1))


def title_page(lines: list[Line]) -> tuple[dict[str, str], list[Line]]:
    """What the title page says, by casefolded key, and the lines below it.

    A first block is a title page when its first key is a usual one, so that `NOTE: ...` or
    `FADE IN:` at the top of a text stays what it is.
    """
    first = next((i for i, (_, text) in enumerate(lines) if text.strip()), len(lines))
    match = _KEY.fullmatch(lines[first][1].strip()) if first < len(lines) else None
    if match is None or _title_key(match) not in _TITLE_KEYS:
        return {}, lines
    values: dict[str, str] = {}
    key = ""
    for place in range(first, len(lines)):
        text = lines[place][1]
        if not text.strip():
            return values, lines[place:]
        match = _KEY.fullmatch(text.strip())
        if match and not text[0].isspace():
            key = _title_key(match)
            values[key] = match["value"].strip()
        elif text[0].isspace():
            values[key] = f"{values[key]} {text.strip()}".strip()
        else:
            return values, lines[place:]
    return values, []


def _title_key(match: re.Match[str]) -> str:
    key = match["key"].casefold()
    return _FOREIGN_KEYS.get(key, key)


def elements(lines: list[Line]) -> Iterator[Element]:
    """The elements below the title page, in order.

    Raises:
        PlanError: a boneyard or a shot note that does not end.
    """
    for block in _blocks(_without_boneyard(lines)):
        lines_left, notes = _without_notes(block)
        yield from _with_notes(list(_block_elements(lines_left)), notes)


def _without_boneyard(lines: list[Line]) -> list[Line]:
    """The lines without `/* ... */`; a line that only the boneyard filled is gone, not blank."""
    kept: list[Line] = []
    opened = 0
    for number, text in lines:
        rest, was_open = "", bool(opened)
        place = 0
        while place < len(text):
            mark = text.find("*/" if opened else "/*", place)
            if not opened:
                rest += text[place:mark] if mark >= 0 else text[place:]
                opened = number if mark >= 0 else 0
            elif mark >= 0:
                opened = 0
            if mark < 0:
                break
            was_open, place = True, mark + 2
        if rest.strip() or not was_open:
            kept.append((number, rest))
    if opened:
        raise PlanError("a boneyard opens with /* and never ends; close it with */", opened)
    return kept


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    """Runs of lines without a blank one; two spaces keep a speech together across one."""
    block: list[Line] = []
    for number, text in lines:
        if text.strip() or (text == "  " and len(block) > 1 and _cue(block[0][1].strip())):
            block.append((number, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _without_notes(block: list[Line]) -> tuple[list[Line], list[Line]]:
    text = "\n".join(line for _, line in block)
    kept, notes, place = "", [], 0
    while (start := text.find("[[", place)) >= 0:
        end = text.find("]]", start)
        number = block[text.count("\n", 0, start)][0]
        if end < 0:
            if re.match(r"\[\[\s*shot\b", text[start:], re.IGNORECASE):
                raise PlanError("a shot note opens with [[ and never ends; close it", number)
            break
        note = text[start + 2 : end]
        notes.append((number, note))
        kept += text[place:start] + "\n" * note.count("\n")
        place = end + 2
    kept += text[place:]
    lines = [
        (number, line)
        for (number, old), line in zip(block, kept.split("\n"), strict=True)
        if line.strip() or not old.strip()
    ]
    return lines, notes


def _with_notes(found: list[Element], notes: list[Line]) -> Iterator[Element]:
    """The elements of a block, each note with the shot it stands in or directly before."""
    shots = [e for e in found if e.kind in (Kind.ACTION, Kind.DIALOGUE, Kind.LYRIC)]
    if not shots:
        yield from found
        yield from (Element(Kind.NOTE, line, notes=((line, text),)) for line, text in notes)
        return
    owned: dict[int, list[Line]] = {}
    for note in notes:
        # An element reaches to the line before the next one.
        starts = [e.line for e in shots[1:]] + [1 << 60]
        owner = next(e for e, next_line in zip(shots, starts, strict=True) if note[0] < next_line)
        owned.setdefault(id(owner), []).append(note)
    for element in found:
        mine = tuple(owned.get(id(element), ()))
        yield Element(element.kind, element.line, element.text, element.cue, mine)


def _block_elements(block: list[Line]) -> Iterator[Element]:
    action: list[Line] = []
    for place, (number, raw) in enumerate(block):
        text = raw.strip()
        if not action and place + 1 < len(block) and (cue := _cue(text)):
            speech = "\n".join(line.strip() for _, line in block[place + 1 :])
            yield Element(Kind.DIALOGUE, number, speech, cue)
            return
        said = _SAID.fullmatch(text)
        special = _special(text, alone=len(block) == 1)
        if said and special is None:
            yield from [_action(action)] if action else []
            action = []
            yield Element(Kind.DIALOGUE, number, said["words"], said["cue"])
            continue
        if special is None:
            action.append((number, text[1:] if text.startswith("!") else text))
            continue
        if action:
            yield _action(action)
            action = []
        if special[0]:
            yield Element(special[0], number, special[1])
    if action:
        yield _action(action)


def _special(text: str, alone: bool) -> tuple[Kind | None, str] | None:
    """The kind and text of a line that is an element by itself; kind None for a page break."""
    if re.fullmatch(r"={3,}", text):
        return None, ""
    if text.startswith("="):
        return Kind.SYNOPSIS, text[1:].strip()
    if re.match(r"#{1,6}\s*[^\s#]", text):
        return Kind.SECTION, text.lstrip("#").strip()
    if text.startswith("~"):
        return Kind.LYRIC, text[1:].strip()
    if text.startswith(">"):
        if text.endswith("<"):
            return Kind.ACTION, plain(text[1:-1].strip())
        return Kind.TRANSITION, text[1:].strip()
    heading = heading_text(text)
    if heading is not None:
        return Kind.HEADING, heading
    return (Kind.TRANSITION, text) if alone and _is_transition(text) else None


def _is_transition(text: str) -> bool:
    if text.isupper() and text.endswith("TO:"):
        return True
    match = _TRANSITION.fullmatch(text) if len(text) < 60 else None
    return match is not None and (text.isupper() or bool(match["end"]))


def _cue(text: str) -> str:
    """The cue that a line above other lines is, without its mark of force, or empty."""
    if text.startswith("@") and len(text) > 1:
        return text[1:].strip()
    name = re.sub(r"\([^()]*\)", "", text).rstrip("^ ").strip() if len(text) < 120 else ""
    if not name.isupper() or len(name) > 60 or name[0] in "!.#=>~[":
        return ""
    if name[-1] in "!?:;,-\u2013\u2014" or re.search(r"[^\W\d_]{4,}\.$", name):
        return ""
    if heading_text(name) is not None or _is_transition(name) or any(opening_terms(name)):
        return ""
    return text


def _action(lines: list[Line]) -> Element:
    text = lines[0][1]
    for _, line in lines[1:]:
        # Chinese and Japanese lines continue without a space.
        wide = _WIDE.fullmatch(text[-1:]) and _WIDE.fullmatch(line[:1])
        text += line if wide else f" {line}"
    return Element(Kind.ACTION, lines[0][0], plain(text.strip()))


def plain(text: str) -> str:
    """Text without emphasis marks, escapes and the gaps that notes leave."""
    for _ in range(3):
        text, count = _EMPHASIS.subn(r"\2", text)
        if not count:
            break
    return re.sub(r"[ \t]{2,}", " ", re.sub(r"\\([*_])", r"\1", text)).strip()
