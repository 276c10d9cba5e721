"""The value that travels through the graph: a shot list with what has been made for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from .brief import ShotBrief
from .frames import FramePair, Keyframe, Picture, no_frames
from .memory import MemoryPack
from .shot_list import Shot, ShotList
from .timeline import Clip

MOST_BETWEEN = 32
"""Keyframes that a shot has between its start and its end, at most."""

_Value = TypeVar("_Value")


class ShotStatus(Enum):
    """How far a shot is."""

    PLANNED = "planned"
    DRAWN = "drawn"
    FILMED = "filmed"


@dataclass(frozen=True, eq=False)
class Storyboard:
    """A shot list with the pairs and clips made so far, both by shot id.

    `between`: by shot id, keyframes that the artist gave after the start and before the end, in
    order. They belong to the shot and not to a drawing, since no model draws them. One beyond the
    end of a shot that has become shorter stays, to be used when the shot is longer again.
    """

    shot_list: ShotList
    pairs: Mapping[str, FramePair] = field(default_factory=dict)
    clips: Mapping[str, Clip] = field(default_factory=dict)
    between: Mapping[str, tuple[Keyframe, ...]] = field(default_factory=dict)

    def with_pair(self, pair: FramePair) -> Storyboard:
        """The board with this pair; a clip filmed from other pictures leaves it."""
        self.shot_list.shot(pair.shot_id)
        pairs = {**self.pairs, pair.shot_id: pair}
        if pair.digests == self.pair(pair.shot_id).digests:
            return replace(self, pairs=pairs)
        return replace(self, pairs=pairs, clips=_without(self.clips, pair.shot_id))

    def with_between(self, shot_id: str, keyframes: Iterable[Keyframe]) -> Storyboard:
        """The board with these keyframes between the ends of a shot, and no others there; a clip
        filmed through others leaves it.

        Raises:
            ValueError: two at one frame, one at the start, or more than MOST_BETWEEN.
        """
        shot = self.shot_list.shot(shot_id)
        ordered = tuple(sorted(keyframes, key=lambda keyframe: keyframe.index))
        _check_between(shot, [keyframe.index for keyframe in ordered])
        between = {**_without(self.between, shot_id), **({shot_id: ordered} if ordered else {})}
        if _places(ordered) == _places(self.between.get(shot_id, ())):
            return replace(self, between=between)
        return replace(self, between=between, clips=_without(self.clips, shot_id))

    def with_clip(self, clip: Clip) -> Storyboard:
        """The board with this clip."""
        self.shot_list.shot(clip.shot_id)
        return replace(self, clips={**self.clips, clip.shot_id: clip})

    def pair(self, shot_id: str) -> FramePair:
        """The pair of a shot, without frames when nothing is drawn."""
        return self.pairs.get(shot_id) or no_frames(self.shot_list.shot(shot_id))

    def status(self, shot_id: str) -> ShotStatus:
        """How far a shot is."""
        if shot_id in self.clips:
            return ShotStatus.FILMED
        return ShotStatus.DRAWN if self.pair(shot_id).complete else ShotStatus.PLANNED

    def brief(self, shot: Shot, memory: MemoryPack) -> ShotBrief:
        """The order for one shot. A shot that continues is given the previous end frame, unless
        the artist gave it a start of its own."""
        plan = self.shot_list
        given, borrowed = self.pair(shot.id).only_given(), frozenset()
        end_before = self.previous_end(shot) if shot.continues else None
        if end_before is not None and given.start is None:
            borrowed = frozenset({"start"})
            given = replace(given, start=end_before, given=given.given | borrowed)
        members = plan.members_of(shot)
        return ShotBrief(
            shot=shot,
            frame_format=plan.frame_format,
            memory=memory.with_cast_of(member.name for member in members),
            given=given,
            theme=plan.theme,
            look=plan.look_of(shot),
            negative=plan.negative,
            members=members,
            borrowed=borrowed,
        )

    def keyframes(self, shot: Shot) -> tuple[Keyframe, ...]:
        """The frames of a shot's pair that are there, at their places in the planned shot."""
        return self.pair(shot.id).keyframes(shot.num_frames)

    def all_keyframes(self, shot: Shot) -> tuple[Keyframe, ...]:
        """The frames of the pair that are there and those between them, in order."""
        inside = (k for k in self.between.get(shot.id, ()) if k.index < shot.num_frames - 1)
        return tuple(sorted((*self.keyframes(shot), *inside), key=lambda it: it.index))

    def beyond(self, shot: Shot) -> tuple[Keyframe, ...]:
        """The keyframes that lie at or beyond the last frame of a shot that was longer once."""
        return tuple(k for k in self.between.get(shot.id, ()) if k.index >= shot.num_frames - 1)

    def previous_end(self, shot: Shot) -> Picture | None:
        """The end frame of the shot before `shot`, or None."""
        place = self.shot_list.ids.index(shot.id)
        return self.pair(self.shot_list.ids[place - 1]).end if place else None


def _without(values: Mapping[str, _Value], shot_id: str) -> dict[str, _Value]:
    return {other: value for other, value in values.items() if other != shot_id}


def _places(keyframes: Iterable[Keyframe]) -> list[tuple[int, str]]:
    return [(keyframe.index, keyframe.picture.digest) for keyframe in keyframes]


def _check_between(shot: Shot, indices: list[int]) -> None:
    if len(indices) > MOST_BETWEEN:
        raise ValueError(
            f"shot {shot.id}: {len(indices)} keyframes between start and end; use at most "
            f"{MOST_BETWEEN}"
        )
    for index, before in zip(indices, (0, *indices), strict=False):
        if index <= before:
            raise ValueError(
                f"shot {shot.id}: a keyframe at {index} after one at {before}; give each a frame "
                "of its own after the start, which is frame 0"
            )
