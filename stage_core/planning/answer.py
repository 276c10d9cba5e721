"""The storyboard in the answer of a language model that was asked with `director.instruction`.

Names and values that are only called otherwise are understood, and what is no part of a
storyboard is left out: an answer cannot approve a shot, set a seed or choose a take. All of it is
text; nothing in it is followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..errors import PlanError
from ..story.cinematography import CameraMovement, Term, TransitionKind
from ..story.members import Member, MemberKind, joined
from .columns import Cells, column_named, draft_from
from .director import EXAMPLE
from .drafts import Draft, Outline, TransitionDraft
from .elements import text_lines
from .repair import Found, json_values
from .table import is_table, read_table
from .terms import SHOT_TERMS, find_transition, parse_length
from .wording import camera_movement

_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINKS = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_LOOKS_LIKE = re.compile(
    r"[\"'\u201c](?:shots|shot_?list|storyboard|scenes)[\"'\u201d]\s*:\s*[\[{]|```(?:json)?\s*[\[{]",
    re.IGNORECASE,
)
_SHOTS = ("shots", "shot list", "shotlist", "storyboard", "panels", "scenes", "sequence")
_FILM = {
    "title": ("title", "name", "film title"),
    "theme": ("theme", "logline", "premise", "story", "synopsis"),
    "look": ("look", "style", "visual style", "aesthetic"),
}
_MEMBERS = {
    MemberKind.CHARACTER: ("characters", "cast", "members", "people"),
    MemberKind.PROP: ("props", "objects"),
    MemberKind.PLACE: ("places", "locations", "sets"),
}
_NUMBERS = ("shot", "shot number", "number", "shot id", "id", "no", "index")
_NAMES = ("name", "character", "id")
_COLUMNS_READ = """scale angle movement description seconds frames scene place interior cast
dialogue beat transition prompt"""
_READ = frozenset((*_COLUMNS_READ.split(), "time of day"))
_ENDS = {
    "start": ("start", "start frame", "first frame", "starts with", "starting frame"),
    "end": ("end", "end frame", "last frame", "ends with", "ending frame"),
}
_STILL = frozenset(("none", "no movement", "fixed", "locked off", "locked", "n/a", "no"))
_SECONDS = re.compile(r"(?P<number>\d{1,4}(?:\.\d{1,4})?)\s*(?:s|sec|secs|seconds?)?\.?", re.I)
_NUMBERED = re.compile(r"(?:shot |scene |panel )?\d{1,4}")
_MAX_NESTED = 3

Record = Mapping[str, Any]


def looks_like_answer(text: str) -> bool:
    """Whether a text holds the storyboard of a language model, whatever stands around it."""
    # Scenes with prompts of videos are StoryMem's own script.
    return _LOOKS_LIKE.search(text) is not None and "video_prompts" not in text


def read_answer(text: str, num_shots: int = 0) -> Outline:
    """The shots of an answer. `num_shots` were asked for, 0 where it was left open.

    Raises:
        PlanError: there is no storyboard in it, more than one, only a part of one, or a shot that
            cannot be read.
    """
    text = _THOUGHT.split(text)[-1]
    if _THINKS.search(text):
        raise PlanError("the answer stops while the model is still thinking")
    plans = list(_plans(json_values(text)))
    if not plans:
        return _table_in(text)
    plans = [plan for plan in plans if not _is_example(plan[1])]
    if not plans:
        raise PlanError("the answer only repeats the example")
    if plans[-1][2]:
        # What the text stops in was meant to be the answer, whatever was tried before it.
        plans = plans[-1:]
    asked = [plan for plan in plans if len(plan[1]) == num_shots]
    plans = asked if num_shots and asked else plans
    if any(plan[:2] != plans[0][:2] for plan in plans):
        raise PlanError(f"the answer holds {len(plans)} storyboards that differ; send one")
    film, shots, unfinished = plans[-1]
    _check_whole(shots, unfinished, num_shots)
    cast = _members(film)
    return Outline(
        drafts=tuple(_draft(shot, number, cast) for number, shot in enumerate(shots, 1)),
        **{name: _words(_get(film, names)) for name, names in _FILM.items()},
        cast=cast,
    )


def _plans(values: list[Found]) -> Iterator[tuple[Record, list[Record], frozenset[int]]]:
    """Each storyboard in the values: the film's own record, its shots, and what is unfinished."""
    single: list[Record] = []
    unfinished: frozenset[int] = frozenset()
    for found in values:
        plan = _plan_in(found.value, _MAX_NESTED)
        if plan is not None:
            yield (*plan, found.unfinished)
        elif _is_shot(found.value):
            single.append(found.value)
            unfinished |= found.unfinished
    if single:
        yield {}, single, unfinished


def _plan_in(value: Any, depth: int) -> tuple[Record, list[Record]] | None:
    if isinstance(value, list) and value and all(_is_shot(item) for item in value):
        return {}, value
    if not isinstance(value, dict) or not depth:
        return None
    for shots in (_listed(value.get(name)) for name in _named(value, _SHOTS)):
        if not isinstance(shots, list):
            continue
        inner = [_get(shot, ("shots",)) for shot in shots if isinstance(shot, dict)]
        if shots and len(inner) == len(shots) and all(isinstance(part, list) for part in inner):
            # Scenes with shots in them: the film is all of them in order.
            shots = [shot for part in inner for shot in part]
        shots = [{"description": shot} if isinstance(shot, str) else shot for shot in shots]
        if all(isinstance(shot, dict) for shot in shots):
            return value, shots
    if (shots := _listed(value)) is not value and all(map(_is_shot, shots)):
        return {}, shots
    found = (_plan_in(part, depth - 1) for part in value.values() if isinstance(part, dict))
    plan = next((plan for plan in found if plan is not None), None)
    return plan and ({**value, **plan[0]}, plan[1])


def _listed(value: Any) -> Any:
    """The shots of an object in which each has its number as its name, as a list."""
    numbered = isinstance(value, dict) and [_NUMBERED.fullmatch(_plain(key)) for key in value]
    return list(value.values()) if numbered and all(numbered) else value


def _is_example(shots: list[Record]) -> bool:
    example = [shot["description"] for shot in EXAMPLE["shots"]]
    return [shot.get("description") for shot in shots] == example


def _is_shot(value: Any) -> bool:
    """Whether this is the record of a shot, and not of a character, who has a name."""
    if not isinstance(value, dict) or "name" in map(_plain, value):
        return False
    return any(_column(key) in ("description", "prompt") for key in value)


def _check_whole(shots: list[Record], unfinished: frozenset[int], num_shots: int) -> None:
    if not shots:
        raise PlanError("the list of shots is empty")
    numbers = [_words(_get(shot, _NUMBERS)) for shot in shots]
    for pair in pairwise(numbers):
        if all(re.fullmatch(r"[0-9]{1,4}", number) for number in pair):
            first, second = map(int, pair)
            if second > first + 1:
                raise PlanError(f"after shot {first} follows shot {second}")
    if not unfinished:
        return
    # Brackets alone may be missing; a number or a sentence may go on.
    if any(id(shot) in unfinished for shot in shots):
        raise PlanError(f"the answer stops in shot {len(shots)}")
    if len(shots) != num_shots:
        raise PlanError(f"the answer stops after shot {len(shots)}")


def _table_in(text: str) -> Outline:
    rows = "\n".join(line for _, line in text_lines(text) if line.strip().startswith("|"))
    if not is_table(text_lines(rows)):
        raise PlanError("the answer holds no storyboard: no JSON object with 'shots'")
    return read_table(rows)


def _draft(shot: Record, number: int, cast: Sequence[Member]) -> Draft:
    words = _columns(shot)
    words["description"] = _description(shot, words)
    if not words["description"]:
        raise PlanError(f"shot {number} has no description")
    if "cast" not in words:
        people = (member for member in cast if member.kind is MemberKind.CHARACTER)
        named = [person.name for person in people if person.is_named((), words["description"])]
        words |= {"cast": ", ".join(named)} if named else {}
    try:
        # All that one field says about the camera: "wide shot, low angle, static".
        camera = words.get("movement", "").casefold()
        for name, kind in SHOT_TERMS.items():
            said = _term_within(kind, camera) if not words.get(name) else None
            words[name] = said.value if said else _term(kind, words.get(name, ""))
        words["seconds"] = _seconds(words.get("seconds", ""))
        words["transition"], transition = "", _transition(words.get("transition", ""))
        draft = draft_from(Cells(0, words, {}))
    except ValueError as error:
        raise PlanError(f"shot {number}: {error}") from None
    return Draft(**{**vars(draft), "transition": transition, "prompt": ""})


def _columns(shot: Record) -> dict[str, str]:
    """The words of a shot by column; a column's own name counts before its other names."""
    words: dict[str, str] = {}
    for key in sorted(shot, key=lambda key: _plain(key) not in _READ):
        column = _column(key)
        if column in _READ and not words.get(column):
            words[column] = _lines(shot[key]) if column == "dialogue" else _words(shot[key])
    return words


def _description(shot: Record, words: Mapping[str, str]) -> str:
    action = [
        text
        for key, value in shot.items()
        if _column(key) == "description" and (text := _words(value))
    ]
    parts = list(dict.fromkeys(action)) or [words.get("prompt", "")]
    if not re.search(r"\w", parts[0]):
        return ""
    for label, names in _ENDS.items():
        if end := _words(_get(shot, names)):
            parts.append(f"{label.capitalize()}: {end.rstrip('.')}.")
    return " ".join(filter(None, parts))


def _term(kind: type[Term], text: str) -> str:
    """The term that a text names, as the tables write it; empty where it names none."""
    bare = re.sub(r"\([^()]*\)", " ", text).strip(" .")
    if not bare:
        return ""
    if kind is CameraMovement and bare.casefold() in _STILL:
        return CameraMovement.STATIC.value
    found = kind.find(text) or kind.find(bare) or kind.find(re.split(r"[,;/]| then ", bare)[0])
    if found is None and kind is CameraMovement:
        found = camera_movement(f"The camera {bare}")
    if found is None:
        found = _term_within(kind, bare.casefold()) or kind.parse(text)
    return found.value


def _term_within(kind: type[Term], text: str) -> Term | None:
    """The one member whose longest name stands in the text as words, or None."""
    named = {
        name: member
        for member in kind
        for name in (member.value, *member.aliases)
        if len(name) > 2 and re.search(rf"\b{re.escape(name)}\b", text)
    }
    longest = max(map(len, named), default=0)
    members = {member for name, member in named.items() if len(name) == longest}
    return members.pop() if len(members) == 1 else None


def _seconds(text: str) -> str:
    match = _SECONDS.fullmatch(text)
    if match is None and text:
        parse_length(text)
    return match["number"] if match else text


def _transition(text: str) -> TransitionDraft | None:
    try:
        found = find_transition(text)
    except ValueError:
        found = None
    if found is not None:
        return found
    for kind in (TransitionKind.DISSOLVE, TransitionKind.FADE):
        if kind.value in text.casefold():
            return TransitionDraft(kind, None, "white" if "white" in text.casefold() else "black")
    return None


def _members(film: Record) -> tuple[Member, ...]:
    found: tuple[Member, ...] = ()
    for kind, names in _MEMBERS.items():
        for entry in _entries(_get(film, names)):
            try:
                found = joined(found, (_member(entry, kind),))
            except ValueError as error:
                raise PlanError(f"the characters: {error}") from None
    return found


def _entries(value: Any) -> Iterator[Record]:
    """Each member as a record, of a list, of names with descriptions, or of `Name: look`."""
    if isinstance(value, dict):
        value = [
            {**look, "name": name} if isinstance(look, dict) else {"name": name, "look": look}
            for name, look in value.items()
        ]
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, str):
            name, _, look = entry.partition(":")
            entry = {"name": name, "look": look}
        if isinstance(entry, dict) and _words(_get(entry, _NAMES)):
            yield entry


def _member(entry: Record, kind: MemberKind) -> Member:
    said = _words(_get(entry, ("kind", "type")))
    aside = {*_named(entry, _NAMES), *_named(entry, ("kind", "type", "role"))}
    looks = (_words(value) for key, value in entry.items() if key not in aside)
    name = _words(_get(entry, _NAMES))
    return Member(name, MemberKind.find(said) or kind, ", ".join(filter(None, looks)))


def _get(record: Record, names: tuple[str, ...]) -> Any:
    return next((record[key] for key in _named(record, names)), None)


def _named(record: Record, names: tuple[str, ...]) -> list[str]:
    """The keys of a record that mean one of the names, the first name first."""
    return sorted(
        (key for key in record if _plain(key) in names), key=lambda key: names.index(_plain(key))
    )


def _column(key: str) -> str | None:
    return column_named(_plain(key))


def _plain(key: str) -> str:
    return re.sub(r"[\s_\-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).strip().casefold()


def _words(value: Any) -> str:
    """A value as one line of words; what has no words is left out."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return ", ".join(filter(None, map(_words, value)))
    if isinstance(value, dict):
        return _words(_get(value, _NAMES)) or ", ".join(filter(None, map(_words, value.values())))
    return ""


def _lines(value: Any) -> str:
    """Dialogue, a line for each speech, `NAME: words`."""
    if isinstance(value, dict):
        speaker = _words(_get(value, ("speaker", "character", "name", "who")))
        spoken = _words(_get(value, ("line", "text", "words", "dialogue", "says")))
        return f"{speaker}: {spoken}" if speaker and spoken else spoken
    if isinstance(value, list):
        return "\n".join(filter(None, map(_lines, value)))
    return "\n".join(filter(None, (_words(line) for line in str(value or "").split("\n"))))
