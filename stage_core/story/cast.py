"""A cast with its pictures: what an artist collects once and shows to every film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .frames import Picture
from .members import Member, check_members, name_key
from .memory import MemoryFrame

MAX_PICTURES = 8


@dataclass(frozen=True, eq=False)
class Cast:
    """Members in order; `pictures` has the reference pictures of each by its name."""

    members: tuple[Member, ...] = ()
    pictures: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)

    def __post_init__(self):
        check_members(self.members)
        for name, pictures in self.pictures.items():
            if len(pictures) > MAX_PICTURES:
                raise ValueError(f"{len(pictures)} pictures of {name!r}; at most {MAX_PICTURES}")

    def with_member(self, member: Member, pictures: tuple[Picture, ...] = ()) -> Cast:
        """The cast with this member in place of the one of its name, if there is one.

        Without a description, or without pictures, that one's own stay.
        """
        key = name_key(member.name)
        own = next((m for m in self.members if name_key(m.name) == key), None)
        if own is None:
            return Cast((*self.members, member), {**self.pictures, member.name: pictures})
        if not member.description:
            member = replace(member, description=own.description)
        kept = dict(self.pictures)
        kept[member.name] = pictures or kept.pop(own.name, ())
        if member.name != own.name:
            kept.pop(own.name, None)
        return Cast(tuple(member if m is own else m for m in self.members), kept)

    def with_cast(self, other: Cast) -> Cast:
        """Both; who is in both is as in `other`."""
        made = self
        for member in other.members:
            made = made.with_member(member, other.pictures.get(member.name, ()))
        return made

    def references(self) -> tuple[MemoryFrame, ...]:
        """The pictures of all members for a memory pack, each under its member's name."""
        return tuple(
            MemoryFrame(picture, "reference", names=(member.name,))
            for member in self.members
            for picture in self.pictures.get(member.name, ())
        )
