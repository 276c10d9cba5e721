"""The cast of a plan: who of it a text names, names that nobody has, and a line of text for it.

In a script the cast stands on the title page, a semicolon between two:
`Cast: Ida (character): grey braid, yellow oilskin; Lamp (prop): brass, cracked glass`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import PlanError
from ..story.members import Member, MemberKind, joined, name_key, nearest_name
from ..story.shot_list import Shot, ShotList
from .columns import unescape

_MARKS_OF_NAMES = r"[();:|]"
_MARKS_OF_WORDS = r"[;|\n]"
_ENTRY = re.compile(r"(?:&#[0-9]{1,7};|[^;])+")
_PARTS = re.compile(r"(?P<name>[^:]+?)\s*(?:\((?P<kind>[^():]*)\)\s*)?:(?P<words>.*)", re.DOTALL)


def with_cast(shot_list: ShotList, members: Sequence[Member]) -> ShotList:
    """The plan with these members before its own, and in each shot the characters it names."""
    if not members:
        return shot_list
    people = [member for member in members if member.kind is MemberKind.CHARACTER]
    shots = tuple(_with_people(shot, people) for shot in shot_list.shots)
    return replace(shot_list, shots=shots, cast=joined(members, shot_list.cast))


def unknown_names(shot_list: ShotList) -> tuple[str, ...]:
    """A sentence for each name in a shot that is not in the film's cast, if the film has one."""
    known = {name_key(member.name) for member in shot_list.cast}
    shots: dict[str, list[str]] = {}
    for shot in shot_list.shots if known else ():
        for name in shot.cast:
            if name_key(name) not in known:
                shots.setdefault(name, []).append(shot.id)
    return tuple(_unknown(name, ids, shot_list.cast) for name, ids in shots.items())


def cast_line(members: Sequence[Member], escaped: Callable[[str, str], str]) -> str:
    """The members as one line, which `read_cast` reads.

    Args:
        escaped: writes a text with the characters of a pattern, and those that no line can hold,
            by number.
    """
    return "; ".join(
        f"{escaped(member.name, _MARKS_OF_NAMES)} ({member.kind.value}): "
        f"{escaped(member.description, _MARKS_OF_WORDS)}".strip()
        for member in members
    )


def read_cast(line: str) -> tuple[Member, ...]:
    """The members that a line names; entries without a colon describe nobody and are left out.

    Raises:
        PlanError: no kind of member, or a name that is no name.
    """
    found = (_PARTS.fullmatch(entry.strip()) for entry in _ENTRY.findall(line))
    try:
        return tuple(_member(match) for match in found if match)
    except ValueError as error:
        raise PlanError(f"the line 'Cast:': {error}") from None


def _member(match: re.Match[str]) -> Member:
    kind = MemberKind.parse(match["kind"]) if match["kind"] else MemberKind.CHARACTER
    name, words = (unescape(match[part].strip()) for part in ("name", "words"))
    return Member(name, kind, words)


def _with_people(shot: Shot, people: Sequence[Member]) -> Shot:
    named = {name_key(name) for name in shot.cast}
    text = f"{shot.description}\n{shot.prompt}"
    more = (m.name for m in people if name_key(m.name) not in named and m.is_named((), text))
    return replace(shot, cast=(*shot.cast, *more))


def _unknown(name: str, ids: Sequence[str], members: Sequence[Member]) -> str:
    near = nearest_name(name, members)
    hint = f"did you mean {near!r}?" if near else "describe them there to keep their look"
    shots = f"shot {ids[0]} names" if len(ids) == 1 else f"shots {', '.join(ids[:40])} name"
    return f"{shots} {name!r:.90}, who is not in the cast; {hint}"
