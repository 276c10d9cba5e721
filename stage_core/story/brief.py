"""Everything a model may know about one shot."""

from __future__ import annotations

from dataclasses import dataclass

from .frames import FramePair
from .members import Member
from .memory import MemoryPack
from .shot_list import FrameFormat, Shot


@dataclass(frozen=True, eq=False)
class ShotBrief:
    """The order for one shot: the plan's words, the film's format, memory, what is fixed.

    `given` holds the halves of the pair that a model must keep as they are. `members` are those
    of the film's cast that the shot names; `look` has their looks before the film's.
    """

    shot: Shot
    frame_format: FrameFormat
    memory: MemoryPack
    given: FramePair
    theme: str = ""
    look: str = ""
    negative: str = ""
    members: tuple[Member, ...] = ()
