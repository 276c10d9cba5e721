"""What a reader finds in a text: shots as written, before defaults and ids."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from fractions import Fraction

from ..story.cinematography import CameraAngle, CameraMovement, ShotScale, TransitionKind
from ..story.members import Member
from ..story.shot_list import Scene


@dataclass(frozen=True)
class Length:
    """A length as written: seconds, which last at every rate, or frames of the film."""

    value: Fraction
    in_frames: bool = False

    def frames_at(self, rate: Fraction) -> int:
        """Frames of a film at `rate`, rounded to the nearest, halves up."""
        if self.in_frames:
            return int(self.value)
        return math.floor(self.value * rate + Fraction(1, 2))


@dataclass(frozen=True)
class TransitionDraft:
    """A transition as written; without a length it takes one second."""

    kind: TransitionKind
    length: Length | None = None
    colour: str = "black"


@dataclass(frozen=True)
class Draft:
    """A shot as its text gives it. None and an empty id: the text does not say.

    `line` counts from 1 and is 0 where the text has no lines to speak of.
    """

    line: int = 0
    id: str = ""
    description: str = ""
    scene: Scene = field(default_factory=Scene)
    cast: tuple[str, ...] = ()
    dialogue: str = ""
    beat: str = ""
    scale: ShotScale | None = None
    angle: CameraAngle | None = None
    movement: CameraMovement | None = None
    length: Length | None = None
    transition: TransitionDraft | None = None
    prompt: str = ""
    negative: str = ""
    continues: bool = False
    keep: bool = False
    seed: int | None = None
    drawing: int = 1
    take: int = 1

    @property
    def wording(self) -> str:
        """The words by which the shot is known again in a later version of its text."""
        return self.description or self.dialogue or self.prompt


@dataclass(frozen=True)
class Outline:
    """A text as read: its shots in order and what it says about the whole film."""

    drafts: tuple[Draft, ...]
    title: str = ""
    theme: str = ""
    look: str = ""
    negative: str = ""
    cast: tuple[Member, ...] = ()


def spoken_characters(dialogue: str) -> int:
    """How many characters are spoken: without names, and without what stands in parentheses."""
    return sum(len(words_spoken(line)) for line in dialogue.split("\n"))


def words_spoken(line: str) -> str:
    """The words of one line `NAME: words`, without the name and the parentheticals."""
    name, colon, words = line.partition(": ")
    spoken = words if colon and len(name) <= 60 else line
    return re.sub(r"\([^()]{0,200}\)", "", spoken).strip()


def speaker(line: str) -> str:
    """The name before the words of one line of dialogue, or an empty string."""
    name, colon, _ = line.partition(": ")
    return name.strip() if colon and len(name) <= 60 else ""
