"""Everything a model may know about one shot."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .frames import FramePair, Picture
from .members import Member, name_key
from .memory import MemoryPack
from .shot_list import FrameFormat, Shot


@dataclass(frozen=True, eq=False)
class ShotBrief:
    """The order for one shot: the plan's words, the film's format, memory, what is fixed.

    `given` holds the halves of the pair that a model must keep as they are. `members` are those
    of the film's cast that the shot names; `look` has their looks before the film's. `borrowed`
    are those of the given halves that come from the previous shot, and not from the artist.
    """

    shot: Shot
    frame_format: FrameFormat
    memory: MemoryPack
    given: FramePair
    theme: str = ""
    look: str = ""
    negative: str = ""
    members: tuple[Member, ...] = ()
    borrowed: frozenset[str] = frozenset()

    @property
    def given_by_artist(self) -> FramePair:
        """What is given without what is borrowed."""
        return replace(self.given, given=self.given.given - self.borrowed).only_given()


def negative_of(brief: ShotBrief) -> str:
    """What a shot should not show: its own words, then the film's; empty where nothing is said."""
    return joined_words(brief.shot.negative, brief.negative)


def joined_words(*parts: str) -> str:
    """Words for one prompt, with commas between them."""
    return ", ".join(filter(None, (part.strip() for part in parts)))


def references_of(brief: ShotBrief) -> tuple[Picture, ...]:
    """The artist's pictures of the members that a shot has in its cast or names in its words.

    What earlier shots looked like is not among them.
    """
    members = (member.name for member in brief.members)
    named = set(map(name_key, (*brief.shot.cast, *members)))
    return tuple(
        frame.picture
        for frame in brief.memory.references
        if named & set(map(name_key, frame.names))
    )
