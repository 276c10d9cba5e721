"""What a shot's words ask for: kind of place, weather, people, gestures, props."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...story.members import Member, MemberKind, name_key
from ...story.shot_list import Scene, Shot
from ...story.subjects import Subject, each_once, people_in
from .details import landmark_in, light_in, wares_in
from .looks import Look, look_of, stranger
from .palette import time_of
from .vocabulary import (
    ANY_VERB,
    COMMON_THINGS,
    EXTERIORS,
    INDOORS,
    INTERIORS,
    MAX_CHARACTERS,
    THINGS,
    VERBS,
    WEATHERS,
    first_named,
)

MAX_FIGURES = 8

_JOINED = re.compile(r"(?:\s\w+)?(?:,|,? and|,? with)\s")
_AWAY = re.compile(
    r"\b(walks? away|from behind|back to (?:us|the camera)|(?:his|her|their) backs?|faces? the "
    r"(?:sea|window|horizon|view|sunset)|leaves)\b"
)
_AT_TABLE = re.compile(
    r"\b(desks?|tables?|counters?|bar|typ(?:es?|ing)|writ(?:es?|ing)|piano|dinner|breakfast|"
    r"laptop)\b"
)
_HAND = re.compile(
    r"\b(?:(?:hand|hold|gripp?|pick|take?|reach|open|putt?|slide?|give?|offer|clutch|turn)"
    r"(?:s|es|ed|ing)?|plac(?:es|ed|ing))\b"
)
_HANDLES = re.compile(
    r"\bhands?(?: that)? (?:reach|take|hold|grab|lift|touch|pick|push|carry|catch)(?:es|s)?\b"
)
_PRONOUNS = {
    "he": Subject(0, 0, "man", "man"),
    "she": Subject(0, 0, "woman", "woman"),
    "they": Subject(0, 0, "someone", "someone", 2),
}
_PRONOUN = re.compile(rf"\b(?:{'|'.join(_PRONOUNS)})\b")

_TOGETHER = re.compile(r"\b(hand in hand|arm in arm|side by side|together)\b")
_DOORWAY = re.compile(r"\b(doorway|threshold|in the door|at the door)\b")

_IN_A_SEAT = (
    "read",
    "hold",
    "phone",
    "drink",
    "weep",
    "think",
    "talk",
    "give",
    "point",
    "look",
    "look down",
    "look up",
    "reach",
    "open",
)


@dataclass(frozen=True)
class Reading:
    """The picture that a shot's words describe.

    `people`: names of the cast, or words for strangers, with what each does (a key of
    `poses.ACTIONS`, or empty). `named`: whether they are cast. `together`: they go the same way.
    `wares`: what stands on the table. `light`: the only light of a dark room. `costumes`: how the
    film's cast describes those people, by name.
    """

    kind: str
    interior: bool
    time: str
    weather: str
    people: tuple[tuple[str, str], ...]
    named: bool
    away: bool
    at_table: bool
    prop: str
    by_hand: bool
    landmark: str = ""
    together: bool = False
    doorway: bool = False
    wares: tuple[str, ...] = ()
    light: str = ""
    costumes: Mapping[str, str] = field(default_factory=dict)

    def look(self, index: int) -> Look:
        """How the person at this place looks."""
        name = self.people[index][0]
        if self.named:
            return look_of(name, self.costumes.get(name, ""))
        return stranger(name, [name for name, _ in self.people[:index]].count(name))


def read_shot(shot: Shot, members: Sequence[Member] = ()) -> Reading:
    """What the words of the shot ask for; words that it does not know change nothing.

    Args:
        members: those of the film's cast that the shot names.
    """
    described = {name_key(member.name): member for member in members}
    cast = tuple(name for name in shot.cast if _is_person(described.get(name_key(name))))
    text = shot.description[:MAX_CHARACTERS].casefold()
    kind, interior = _place(shot.scene, text)
    heading = f"{shot.scene.place} {shot.scene.time_of_day}"[:MAX_CHARACTERS].casefold()
    people = _cast_actions(cast[:MAX_FIGURES], text) or _strangers(text)
    if _DOORWAY.search(text):
        # Who is only heard is still in the room that the door leads to.
        people = tuple(p for p in people if _short(p[0]) in text) or people
    words = f"{heading} {text}"
    time = time_of(shot.scene.time_of_day.casefold() or heading or text)
    return Reading(
        kind,
        interior,
        time,
        next((w for w, said in WEATHERS if re.search(rf"\b(?:{said})\b", words)), ""),
        people,
        bool(cast),
        bool(_AWAY.search(text)),
        bool(_AT_TABLE.search(text)),
        _prop(text),
        bool(_HAND.search(text)),
        "" if interior else landmark_in(kind, words),
        bool(_TOGETHER.search(text)),
        bool(_DOORWAY.search(text)),
        wares_in(text),
        light_in(text) if interior and time in ("night", "dusk") else "",
        {name: described[key].description for name in cast if (key := name_key(name)) in described},
    )


def _prop(text: str) -> str:
    """What the words show: of a hand that handles something unknown, that."""
    prop = first_named(THINGS, text) or first_named(COMMON_THINGS, text)
    return "box" if prop == "hand" and _HANDLES.search(text) else prop


def _is_person(member: Member | None) -> bool:
    return member is None or member.kind is MemberKind.CHARACTER


def _place(scene: Scene, text: str) -> tuple[str, bool]:
    place = scene.place[:MAX_CHARACTERS].casefold()
    for words in (f"on the {place}" if place else "", "" if place else text):
        inside, outside = first_named(INTERIORS, words), first_named(EXTERIORS, words)
        if scene.interior is True and (inside or outside):
            return inside or "living", True
        if scene.interior is False and (inside or outside):
            return outside or "street", False
        if inside or outside:
            return (outside, False) if outside else (inside, True)
    room = "living" if scene.interior else first_named(INDOORS, f"{place} {text}")
    # What nothing is known of plays in the open, which could be anywhere.
    return (room, True) if room and scene.interior is not False else ("field", False)


def _cast_actions(cast: tuple[str, ...], text: str) -> tuple[tuple[str, str], ...]:
    """The cast with what each does, whom the words name first in front.

    Each verb belongs to the cast member named last before it, or else to the first of the cast.
    """
    mentions = sorted(
        (found.start(), found.end(), index)
        for index, name in enumerate(cast)
        if name.strip()
        for found in re.finditer(rf"\b{re.escape(_short(name))}\b", text)
    )
    actions = _actions(mentions, len(cast), text)
    # Whom the words name first is whom the shot is about.
    first = {index: start for start, _, index in reversed(mentions)}
    leads = sorted(range(len(cast)), key=lambda index: first.get(index, len(text)))
    return tuple((cast[index], actions[index]) for index in leads)


def _strangers(text: str) -> tuple[tuple[str, str], ...]:
    """Whom the words mention without a name, each with what it does."""
    mentioned = people_in(text) or tuple(
        replace(_PRONOUNS[found[0]], start=found.start(), end=found.end())
        for found in _PRONOUN.finditer(text)
    )
    groups = each_once(mentioned)
    places = {group.noun: place for place, group in enumerate(groups)}
    mentions = [(who.start, who.end, places[who.noun]) for who in mentioned]
    actions = _actions(mentions, len(groups), text)
    people = [
        (group.one, action)
        for group, action in zip(groups, actions, strict=True)
        for _ in range(group.count)
    ]
    return tuple(people[:MAX_FIGURES])


def _actions(mentions: list[tuple[int, int, int]], count: int, text: str) -> list[str]:
    """What each of so many people does, whom the words mention from a start to an end."""
    actions = [""] * count
    for found in ANY_VERB.finditer(text):
        verb = VERBS[int(found.lastgroup[1:])][0]
        for owner in _owners(mentions, found.start(), text) if count else ():
            if not actions[owner]:
                actions[owner] = verb
            elif actions[owner] in ("sit", "work") and verb in _IN_A_SEAT:
                actions[owner] = f"sit+{verb}"
    if "embrace" in actions or re.search(r"\b(together|each other|both|they)\b", text):
        lead = next((a for a in actions if a), "")
        actions = [action or lead for action in actions]
    return actions


def _owners(mentions: list[tuple[int, int, int]], place: int, text: str) -> list[int]:
    """Who does what the verb at `place` says: the last named before it, and whoever is joined
    to that name by 'and' or a comma."""
    before = [mention for mention in mentions if mention[0] <= place]
    if not before:
        return [0]
    owners = [before[-1][2]]
    for (_, end, index), (start, _, _) in zip(before[-2::-1], before[:0:-1], strict=True):
        if not _JOINED.fullmatch(text[end:start]):
            break
        owners.append(index)
    return owners


def _short(name: str) -> str:
    words = name.casefold().split()
    return words[0] if words else ""
