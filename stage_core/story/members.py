"""Who and what a film shows again and again: its characters, props and places, in words."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .cinematography import Term

MAX_MEMBERS = 200
MAX_NAME = 80
MAX_DESCRIPTION = 4000


class MemberKind(Term):
    """What a member of the cast is."""

    CHARACTER = ("character", "person", "people", "actor", "role", "animal", "creature")
    PROP = ("prop", "object", "thing", "item")
    PLACE = ("place", "location", "set", "setting")


@dataclass(frozen=True)
class Member:
    """One of the cast. `description`, its fixed look, goes into every shot that names it."""

    name: str
    kind: MemberKind = MemberKind.CHARACTER
    description: str = ""

    def __post_init__(self):
        if not 1 <= len(self.name) <= MAX_NAME or self.name != " ".join(self.name.split()):
            raise ValueError(
                f"{self.name!r:.100} is no name in a cast; use 1 to {MAX_NAME} characters on one "
                "line, without spaces around them"
            )
        if len(self.description) > MAX_DESCRIPTION:
            raise ValueError(
                f"the description of {self.name!r} has {len(self.description)} characters; "
                f"at most {MAX_DESCRIPTION}"
            )

    @property
    def words(self) -> str:
        """Name and look for a prompt, or an empty string where nothing is described."""
        look = " ".join(self.description.split()).rstrip(".")
        return f"{self.name}: {look}" if look else ""

    def is_named(self, cast: Iterable[str], text: str) -> bool:
        """Whether a shot with this cast and this text names the member.

        A character's name counts as it is written or in capitals, since a rose is not Rose; a
        prop's or a place's in any case.
        """
        if name_key(self.name) in {name_key(name) for name in cast}:
            return True
        name, text = (unicodedata.normalize("NFC", words) for words in (self.name, text))
        if name.upper() == name.lower():
            # A script without capitals may write words without spaces.
            return len(name) > 1 and name in text
        exact = self.kind is MemberKind.CHARACTER
        spellings = (name, name.upper()) if exact else (name,)
        pattern = "|".join(re.escape(spelling) for spelling in spellings)
        flags = 0 if exact else re.IGNORECASE
        return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, flags) is not None


def name_key(name: str) -> str:
    """Equal for all spellings of one name: ANNA, Anna."""
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


def check_members(members: Sequence[Member]) -> None:
    """Refuse a cast that is too large or names somebody twice.

    Raises:
        ValueError: with the name that is there twice, or the number.
    """
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"a cast of {len(members)}; at most {MAX_MEMBERS}")
    seen: dict[str, str] = {}
    for member in members:
        twin = seen.setdefault(name_key(member.name), member.name)
        if twin is not member.name:
            raise ValueError(f"the cast has {twin!r} and {member.name!r}; a name counts once")


def joined(first: Sequence[Member], more: Sequence[Member]) -> tuple[Member, ...]:
    """Both casts; who is in both is as in the first, described by the second if it is not there."""
    known = {name_key(member.name): member for member in first}
    for member in more:
        own = known.setdefault(name_key(member.name), member)
        if not own.description:
            known[name_key(member.name)] = Member(own.name, own.kind, member.description)
    return tuple(known.values())


def nearest_name(name: str, members: Iterable[Member]) -> str:
    """The name in the cast that is most like `name`, or an empty string."""
    names = {name_key(member.name): member.name for member in members}
    near = difflib.get_close_matches(name_key(name), names, n=1, cutoff=0.5)
    return names[near[0]] if near else ""
