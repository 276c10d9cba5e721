"""The value that travels through the graph: a shot list with what has been made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .brief import ShotBrief
from .frames import FramePair, Keyframe, Picture, no_frames
from .memory import MemoryPack
from .shot_list import Shot, ShotList
from .timeline import Clip


class ShotStatus(Enum):
    """How far a shot is."""

    PLANNED = "planned"
    DRAWN = "drawn"
    FILMED = "filmed"


@dataclass(frozen=True, eq=False)
class Storyboard:
    """A shot list with the pairs and clips made so far, both by shot id."""

    shot_list: ShotList
    pairs: Mapping[str, FramePair] = field(default_factory=dict)
    clips: Mapping[str, Clip] = field(default_factory=dict)

    def with_pair(self, pair: FramePair) -> Storyboard:
        """The board with this pair; a clip filmed from other pictures leaves it."""
        self.shot_list.shot(pair.shot_id)
        pairs = {**self.pairs, pair.shot_id: pair}
        if pair.digests == self.pair(pair.shot_id).digests:
            return replace(self, pairs=pairs)
        clips = {shot_id: clip for shot_id, clip in self.clips.items() if shot_id != pair.shot_id}
        return replace(self, pairs=pairs, clips=clips)

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
        given = self.pair(shot.id).only_given()
        if shot.continues and given.start is None:
            given = replace(given, start=self.previous_end(shot))
            if given.start is not None:
                given = replace(given, given=given.given | {"start"})
        return ShotBrief(
            shot, plan.frame_format, memory, given, plan.theme, plan.look, plan.negative
        )

    def keyframes(self, shot: Shot) -> tuple[Keyframe, ...]:
        """The frames of a shot's pair that are there, at their places in the planned shot."""
        return self.pair(shot.id).keyframes(shot.num_frames)

    def previous_end(self, shot: Shot) -> Picture | None:
        """The end frame of the shot before `shot`, or None."""
        place = self.shot_list.ids.index(shot.id)
        return self.pair(self.shot_list.ids[place - 1]).end if place else None
