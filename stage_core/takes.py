"""Models that first look for what was made before: a drawing, or a take, in the film's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import torch

from .backends.protocol import (
    Grid,
    OnStep,
    Sampling,
    ShotModel,
    StoryboardModel,
    drawing_seed,
    filming_seed,
)
from .project import Made, Project
from .story.brief import ShotBrief
from .story.frames import FramePair, Keyframe, Picture
from .story.memory import MemoryPack
from .story.shot_list import Shot
from .story.storyboard import Storyboard
from .story.timeline import Clip


class Redraw(Enum):
    """Which pairs are drawn again: those of changed shots; also those whose remembered frames
    have changed; all."""

    CHANGED = "what I changed"
    REMEMBERING = "and what remembers it"
    EVERYTHING = "everything"


class Refilm(Enum):
    """Which shots are filmed again: those that changed; only those without any take; all."""

    CHANGED = "what changed"
    MISSING = "only what is missing"
    EVERYTHING = "everything"


class _Wrapped:
    """What a model that wraps another says of itself: the same."""

    model: StoryboardModel | ShotModel

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def reads(self) -> frozenset[str]:
        return self.model.reads

    @property
    def grid(self) -> Grid:
        return self.model.grid


@dataclass
class KeptDrawings(_Wrapped):
    """A storyboard model that draws only what is not in the film's folder yet.

    `shots`: the ids asked for, None for all; the others come back as they were, if they were.
    A shot to `keep` is drawn again only when asked for by its id. `drawn` lists what was drawn.
    """

    model: StoryboardModel
    project: Project
    redraw: Redraw = Redraw.CHANGED
    shots: frozenset[str] | None = None
    drawn: list[str] = field(default_factory=list)

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair | None:
        """The kept pair, or a new one, kept at once; None when there is none and none is asked."""
        found = self.find(brief, sampling)
        if not self.must_draw(brief, found):
            return found
        pair = self.model.draw(brief, sampling, on_step)
        self.drawn.append(brief.shot.id)
        made = Made(
            drawing_key(self.model, brief, sampling),
            self.model.identity,
            brief.shot.drawing,
            memory=brief.memory.digest(brief.shot),
        )
        return self.project.keep_pair(pair, made)

    def find(self, brief: ShotBrief, sampling: Sampling) -> FramePair | None:
        """What there is for this shot without drawing: given, kept, or approved earlier."""
        if brief.given.complete:
            return brief.given
        memory = brief.memory.digest(brief.shot)
        in_use = self.project.pair_in_use(brief.shot.id, memory)
        if brief.shot.keep and in_use is not None:
            return in_use
        found = self.project.find_pair(drawing_key(self.model, brief, sampling), memory)
        return found if found or self._asks_for(brief.shot) else in_use

    def must_draw(self, brief: ShotBrief, found: FramePair | None) -> bool:
        """Whether the shot is drawn, given what `find` gave."""
        shot = brief.shot
        if brief.given.complete or not self._asks_for(shot):
            return False
        if found is None:
            return True
        if shot.keep and self.shots is None:
            return False
        remembers = self.redraw is Redraw.REMEMBERING and found.older_memory
        return remembers or self.redraw is Redraw.EVERYTHING

    def to_draw(self, board: Storyboard, memory: MemoryPack, sampling: Sampling) -> tuple[str, ...]:
        """The ids of the shots that `pipeline.draw` would draw, found without drawing.

        A shot to be drawn stands for itself as a picture nobody has yet, so that what continues
        from it, or remembers it, is counted too.
        """
        waiting = []
        for shot in board.shot_list.shots:
            brief = board.brief(shot, memory)
            pair = self.find(brief, sampling)
            if self.must_draw(brief, pair):
                waiting.append(shot.id)
                pair = FramePair(shot.id, *(_undrawn(shot.id, half) for half in ("start", "end")))
            if pair is not None:
                board, memory = board.with_pair(pair), memory.remember(pair, shot.cast)
        return tuple(waiting)

    def _asks_for(self, shot: Shot) -> bool:
        return self.shots is None or shot.id in self.shots


@dataclass
class KeptTakes(_Wrapped):
    """A shot model that films only what is not in the film's folder yet.

    `shots`: the ids asked for, None for all. `at_most`: so many shots are filmed, None for no
    limit; the others come back if they are there. A shot to `keep` is filmed again only
    when its pictures change or it is asked for by its id. `filmed` lists what was filmed.
    """

    model: ShotModel
    project: Project
    refilm: Refilm = Refilm.CHANGED
    shots: frozenset[str] | None = None
    at_most: int | None = None
    filmed: list[str] = field(default_factory=list)

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip | None:
        """The kept take, or a new one, kept at once; None when there is none and none is asked."""
        found = self.find(brief, keyframes, sampling)
        if not self.must_film(brief, found) or len(self.filmed) == self.at_most:
            return found
        clip = self.model.film(brief, keyframes, sampling, on_step)
        key = filming_key(self.model, brief, keyframes, sampling)
        pictures = tuple(keyframe.picture.digest for keyframe in keyframes)
        made = Made(key, self.model.identity, brief.shot.take, keyframes=pictures)
        kept = self.project.keep_take(clip, made)
        self.filmed.append(brief.shot.id)
        self.project.evict()
        return kept

    def find(
        self, brief: ShotBrief, keyframes: tuple[Keyframe, ...], sampling: Sampling
    ) -> Clip | None:
        """What there is for this shot without filming: kept, or approved earlier."""
        shot, pictures = brief.shot, tuple(keyframe.picture.digest for keyframe in keyframes)
        if shot.keep:
            approved = self.project.take_in_use(shot.id, pictures)
            if approved is not None:
                return approved
        found = self.project.find_take(filming_key(self.model, brief, keyframes, sampling))
        if found is None and self.refilm is Refilm.MISSING:
            return self.project.take_in_use(shot.id)
        return found

    def must_film(self, brief: ShotBrief, found: Clip | None) -> bool:
        """Whether the shot is filmed, given what `find` gave."""
        if self.shots is not None and brief.shot.id not in self.shots:
            return False
        if found is None:
            return True
        return self.refilm is Refilm.EVERYTHING and not (brief.shot.keep and self.shots is None)

    def to_film(self, board: Storyboard, memory: MemoryPack, sampling: Sampling) -> tuple[str, ...]:
        """The ids of the shots that `pipeline.film` would film, found without filming."""
        waiting = []
        for shot in board.shot_list.shots:
            brief, keyframes = board.brief(shot, memory), board.keyframes(shot)
            if keyframes and self.must_film(brief, self.find(brief, keyframes, sampling)):
                waiting.append(shot.id)
        return tuple(waiting[: self.at_most])


def drawing_key(model: StoryboardModel, brief: ShotBrief, sampling: Sampling) -> str:
    """What finds a pair again: the model, what it reads of the brief, its settings and seed.

    Frames remembered from other shots are left out: with them, a comma in the first shot would
    draw all later ones again. The artist's references, their names and the pack's policy count.
    """
    return _key(
        {
            "kind": "drawing",
            "model": model.identity,
            "size": model.grid.size(brief.frame_format),
            "reads": _read_fields(brief, model.reads),
            "given": brief.given.digests,
            **_settings(sampling, drawing_seed(brief.shot, sampling), model.reads),
        }
    )


def filming_key(
    model: ShotModel, brief: ShotBrief, keyframes: tuple[Keyframe, ...], sampling: Sampling
) -> str:
    """What finds a take again: the model with its own length and size, the keyframes' pixels,
    what it reads of the brief, its settings and seed; never the film's rate or size."""
    last = max(1, brief.shot.num_frames - 1)
    return _key(
        {
            "kind": "take",
            "model": model.identity,
            "size": model.grid.size(brief.frame_format),
            "frames": model.grid.num_frames(brief.shot, brief.frame_format),
            "keyframes": [(k.index / last, k.picture.digest) for k in keyframes],
            "reads": _read_fields(brief, model.reads),
            **_settings(sampling, filming_seed(brief.shot, sampling), model.reads),
        }
    )


def _settings(sampling: Sampling, seed: int, reads: frozenset[str]) -> dict[str, Any]:
    # The film's seed reaches most models only through the shot's own, which may be explicit.
    film_seed = sampling.seed if "film_seed" in reads else None
    settings = {name: value for name, value in vars(sampling).items() if name != "seed"}
    return {"seed": seed, "film_seed": film_seed, "sampling": settings}


def _read_fields(brief: ShotBrief, reads: Iterable[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in reads:
        if name == "memory":
            fields[name] = brief.memory.reference_digest()
            continue
        values = [getattr(owner, name) for owner in (brief, brief.shot) if hasattr(owner, name)]
        fields[name] = [str(value) for value in values]
    return fields


def _key(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _undrawn(shot_id: str, half: str) -> Picture:
    """A stand-in, told apart from every picture by its digest, for one not drawn yet."""
    blank = Picture.of(torch.zeros(1, 1, 3, dtype=torch.uint8))
    return replace(blank, digest=f"undrawn {shot_id} {half}")
