"""The memory pack: the frames of earlier shots that are shown to a model drawing the next one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest

from .frames import FramePair, Picture
from .members import name_key
from .shot_list import Shot


class MemoryScale(Enum):
    """How much smaller memory frames are shown at later places (places count from 0).

    FULL: all at full size. RELEASED: side 1 / 2^max(0, place - 1), the pyramid of the released
    code. PAPER: area 1 / 2^(place + 1), arXiv 2512.12372, progressive spatial tiling.
    """

    FULL = "full"
    RELEASED = "released"
    PAPER = "paper"

    def side(self, place: int) -> float:
        """Length of a frame's side at `place`, relative to a full frame, in (0, 1]."""
        if self is MemoryScale.RELEASED:
            return 0.5 ** max(0, place - 1)
        if self is MemoryScale.PAPER:
            return 0.5 ** ((place + 1) / 2)
        return 1.0


@dataclass(frozen=True, eq=False)
class MemoryFrame:
    """One remembered picture.

    `origin` is the id of the shot it comes from, None for a reference. `names` are the cast
    members it shows. `role` is 'reference', 'start' or 'end'. `side` is the length of its side
    where it is shown, relative to a full frame.
    """

    picture: Picture
    role: str
    origin: str | None = None
    names: tuple[str, ...] = ()
    side: float = 1.0

    def __post_init__(self):
        if self.role not in ("reference", "start", "end"):
            raise ValueError(f"memory role {self.role!r}; use 'reference', 'start' or 'end'")


@dataclass(frozen=True, eq=False)
class MemoryPack:
    """References, which are never evicted, and the frames of earlier shots, newest first.

    `capacity` limits how many frames a model sees at once; references and the previous end
    frame come first. `cast` has the pictures of the film's cast, which only shots see that name
    the member.
    """

    references: tuple[MemoryFrame, ...] = ()
    recent: tuple[MemoryFrame, ...] = ()
    capacity: int = 8
    scale: MemoryScale = MemoryScale.FULL
    cast: tuple[MemoryFrame, ...] = ()

    def __post_init__(self):
        if not 1 <= self.capacity <= 64:
            raise ValueError(f"memory capacity {self.capacity}; use 1 to 64")
        if len(self.references) >= self.capacity and self.references:
            raise ValueError(
                f"{len(self.references)} references in a memory pack of capacity {self.capacity} "
                f"leave no room for the previous shot; use capacity {len(self.references) + 1}"
            )

    def remember(self, pair: FramePair, cast: tuple[str, ...] = ()) -> MemoryPack:
        """The pack with both frames of a pair, its end frame newest."""
        halves = (("end", pair.end), ("start", pair.start))
        frames = tuple(
            MemoryFrame(picture, role, pair.shot_id, cast)
            for role, picture in halves
            if picture is not None
        )
        return replace(self, recent=frames + self.recent)

    def with_cast_of(self, names: Iterable[str]) -> MemoryPack:
        """The pack for a shot that names these: their pictures are references, as far as they fit.

        One picture of each comes before a second of any, and room for the previous shot stays.
        """
        if not self.cast:
            return self
        pictures = [
            [frame for frame in self.cast if name_key(name) in map(name_key, frame.names)]
            for name in names
        ]
        in_turn = (frame for row in zip_longest(*pictures) for frame in row if frame)
        room = max(0, self.capacity - 1 - len(self.references))
        return replace(self, references=self.references + tuple(in_turn)[:room], cast=())

    def shown(self, shot: Shot) -> tuple[MemoryFrame, ...]:
        """What a model drawing `shot` sees, in order, each with the side of its place.

        Place 0 is the newest frame, the previous shot's end (for the first shot the first
        reference), since every encoder reads it. Then frames that show the shot's cast, then
        the newest; references stand before frames of shots of equal claim.
        """
        cast = set(map(name_key, shot.cast))

        def in_cast(frame: MemoryFrame) -> bool:
            return not cast.isdisjoint(map(name_key, frame.names))

        first, rest = self.recent[:1], self.references + self.recent[1:]
        ordered = first + tuple(sorted(rest, key=in_cast, reverse=True))
        room = self.capacity - len(self.references)
        chosen = []
        for frame in ordered:
            if frame.role != "reference":
                if room == 0:
                    continue
                room -= 1
            chosen.append(frame)
        return tuple(
            replace(frame, side=self.scale.side(place)) for place, frame in enumerate(chosen)
        )

    def digest(self, shot: Shot) -> str:
        """Digest of all that `shown` gives for this shot: pictures, names, order and sides."""
        return _digest(self.shown(shot), self.scale)

    def reference_digest(self) -> str:
        """Digest of what the artist decided: references, their names, capacity and scale."""
        digest = hashlib.sha256(f"{self.capacity}:".encode())
        digest.update(_digest(self.references, self.scale).encode())
        return digest.hexdigest()


def _digest(frames: tuple[MemoryFrame, ...], scale: MemoryScale) -> str:
    rows = [f"{f.picture.digest} {f.role} {f.side} {list(f.names)}" for f in frames]
    return hashlib.sha256("\n".join([scale.value, *rows]).encode()).hexdigest()
