"""Where a clip of Wan meets the keyframes of its shot, and how near it comes to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from ..story.brief import ShotBrief
from ..story.frames import Keyframe
from ..story.shot_list import Shot
from .protocol import Grid

MOST_REFERENCES = 4
"""So many pictures of the cast a model looks at."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Meeting:
    """How near the take of a shot came to a keyframe, before its ends were set to their pictures.

    Frame `index` of the clip, whose last is `last`, became keyframe `planned` of the shot, whose
    last frame is `planned_last`; on average `levels` of 255 lie between them.
    """

    shot_id: str
    take: int
    planned: int
    planned_last: int
    index: int
    last: int
    levels: float

    @property
    def is_moved(self) -> bool:
        """Whether it is filmed at another time of the shot than planned."""
        return self.planned * self.last != self.index * self.planned_last

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to tell: an end in its place is set to its picture."""
        return self.index in (0, self.last) and not self.is_moved

    def __str__(self) -> str:
        return (
            f"shot {self.shot_id}, take {self.take}: the keyframe at {self.planned} of "
            f"{self.planned_last} is {'moved to and ' * self.is_moved}filmed at {self.index} of "
            f"the model's {self.last}, {self.levels:.1f} of 255 levels from its picture"
        )


def checked_length(brief: ShotBrief, grid: Grid, longest: int) -> int:
    """How many frames the model makes of a shot.

    Raises:
        ValueError: more than `longest`; says into what to divide the shot.
    """
    shot, film = brief.shot, brief.frame_format
    num_frames = grid.num_frames(shot, film)
    if num_frames <= longest:
        return num_frames
    most = max(1, int(Fraction(longest) / grid.rate * film.rate))
    raise ValueError(
        f"shot {shot.id}: {num_frames} frames at {grid.rate} per second, and this model films "
        f"{longest} well; plan at most {most} of its {shot.num_frames} frames, divide it into "
        f"{-(-shot.num_frames // most)} shots that continue each other, or raise 'longest'"
    )


def at_the_ends(shot: Shot, keyframes: Sequence[Keyframe], num_frames: int) -> dict[int, Keyframe]:
    """The keyframes by the frame of a clip of `num_frames` that they become.

    Raises:
        ValueError: a keyframe that is no end of the shot.
    """
    places = {shot.num_frames - 1: num_frames - 1, 0: 0}
    for keyframe in keyframes:
        if keyframe.index not in places:
            raise ValueError(
                f"shot {shot.id}: a keyframe at {keyframe.index}; this Wan films between a "
                "start and an end frame, and Wan VACE through keyframes at any time"
            )
    return {places[keyframe.index]: keyframe for keyframe in keyframes}


def anywhere(brief: ShotBrief, keyframes: Sequence[Keyframe], grid: Grid) -> dict[int, Keyframe]:
    """The keyframes by the frame of the model's clip at which the nearest latent ends.

    The first latent is one frame by itself; anywhere else a keyframe would share its latent with
    frames that are still to be made.

    Raises:
        ValueError: a keyframe outside of the shot, or two that would share a latent.
    """
    shot, film = brief.shot, brief.frame_format
    places: dict[int, Keyframe] = {}
    for keyframe in sorted(keyframes, key=lambda it: it.index):
        if not 0 <= keyframe.index < shot.num_frames:
            raise ValueError(
                f"shot {shot.id}: a keyframe at {keyframe.index} of {shot.num_frames} frames; "
                f"use 0 to {shot.num_frames - 1}"
            )
        index = grid.place(keyframe.index, shot, film)
        if index in places:
            raise ValueError(
                f"shot {shot.id}: the keyframes at {places[index].index} and {keyframe.index} are "
                f"less than {grid.stride} of the model's {grid.num_frames(shot, film)} frames "
                "apart; leave one out"
            )
        places[index] = keyframe
    return places


def meetings(
    shot: Shot,
    placed: Mapping[int, Keyframe],
    frames: Tensor,
    images: Mapping[int, Tensor],
) -> tuple[Meeting, ...]:
    """How near the frames [T, H, W, 3] uint8 of a clip are to the keyframes placed in it, logged.

    `images`: the keyframes in the clip's size, [H, W, 3] uint8, by the frame of the clip.
    """
    found = tuple(
        Meeting(
            shot.id,
            shot.take,
            keyframe.index,
            shot.num_frames - 1,
            index,
            len(frames) - 1,
            float((frames[index].float() - images[index].float()).abs().mean()),
        )
        for index, keyframe in sorted(placed.items())
    )
    for meeting in found:
        _log.info("%s", meeting)
    return found
