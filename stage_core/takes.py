"""Models that first look for what was made before: a drawing, or a take, in the film's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import ClassVar, TypeVar

import torch

from .backends.protocol import (
    FilmJob,
    Grid,
    Nowhere,
    OnStep,
    Sampling,
    ShotModel,
    StoryboardModel,
    drawing_seed,
    filming_seed,
)
from .halfway import HalfwayFile
from .keys import drawing_key, filming_key, key_of, said_of
from .neighbours import Neighbours
from .pipeline import film_jobs, jobs_of
from .project import DRAWING, TAKE, Made, Project
from .story.brief import ShotBrief
from .story.frames import FramePair, Keyframe, Picture
from .story.memory import MemoryPack
from .story.shot_list import Shot
from .story.storyboard import Storyboard
from .story.timeline import Clip

_Result = TypeVar("_Result", FramePair, Clip)


class Redraw(Enum):
    """Which pairs are drawn again: those of changed shots; also those whose remembered frames
    have changed; all."""

    CHANGED = "what I changed"
    REMEMBERING = "and what remembers it"
    EVERYTHING = "everything"


class Reason(Enum):
    """Why a shot is drawn."""

    NEW = "new"
    CHANGED = "changed"
    REMEMBERS = "remembering frames that changed"
    ASKED = "asked for"


class Refilm(Enum):
    """Which shots are filmed again: those that changed; only those without any take; all."""

    CHANGED = "what changed"
    MISSING = "only what is missing"
    EVERYTHING = "everything"


class _Wrapped:
    """What a model that wraps another says of itself: the same."""

    model: StoryboardModel | ShotModel
    neighbours: Neighbours | None
    _kind: ClassVar[str]

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def reads(self) -> frozenset[str]:
        return self.model.reads

    @property
    def grid(self) -> Grid:
        return self.model.grid

    @property
    def told_of_neighbours(self) -> tuple[str, ...]:
        """What came from other films, for the person in front; empty for nothing."""
        return self.neighbours.told(self._kind) if self.neighbours else ()

    def _brought(self, shot: Shot, find: Callable[[], _Result | None]) -> _Result | None:
        """What is found, in the film's own folder if it was another film's."""
        return self.neighbours.settle(shot, find) if self.neighbours else find()


@dataclass
class KeptDrawings(_Wrapped):
    """A storyboard model that draws only what is not in the film's folder yet.

    `shots`: the ids asked for, None for all; the others come back as they were, if they were.
    A shot to `keep` is drawn again only when asked for by its id. `drawn` lists what was drawn.
    What the folder lacks is looked for in the `neighbours`, if there are any, and brought over.
    """

    model: StoryboardModel
    project: Project
    redraw: Redraw = Redraw.CHANGED
    shots: frozenset[str] | None = None
    drawn: list[str] = field(default_factory=list)
    neighbours: Neighbours | None = None
    _kind = DRAWING

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair | None:
        """The kept pair, or a new one, kept at once; None when there is none and none is asked."""
        found = self._brought(brief.shot, partial(self.find, brief, sampling))
        if not self.must_draw(brief, found):
            return found
        pair = self.model.draw(brief, sampling, on_step)
        self.drawn.append(brief.shot.id)
        made = Made(
            drawing_key(self.model, brief, sampling),
            self.model.identity,
            brief.shot.drawing,
            memory=brief.memory.digest(brief.shot),
            settings=said_of(brief, self.model.reads, sampling, drawing_seed(brief.shot, sampling)),
        )
        return self.project.keep_pair(pair, made)

    def find(self, brief: ShotBrief, sampling: Sampling) -> FramePair | None:
        """What there is for this shot without drawing: given, kept, or approved earlier."""
        if brief.given.complete:
            return brief.given
        # What a model does not look at is never too old for it.
        memory = brief.memory.digest(brief.shot) if "memory" in self.model.reads else ""
        in_use = self.project.pair_in_use(brief.shot.id, memory)
        # It may be older than what the artist has given since.
        in_use = in_use and in_use.with_given(brief.given_by_artist)
        if brief.shot.keep and in_use is not None:
            return in_use
        key = drawing_key(self.model, brief, sampling)
        found = self.project.find_pair(key, memory)
        if found is None and self._looks_beside(brief.shot, in_use):
            found = self.neighbours.find_pair(key, memory)
        # The same words, pictures and noise are the same result, whichever shot it was made for.
        found = replace(found, shot_id=brief.shot.id) if found else None
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
        """The ids of the shots that `pipeline.draw` would draw, found without drawing."""
        return tuple(self.reasons(board, memory, sampling))

    def reasons(
        self, board: Storyboard, memory: MemoryPack, sampling: Sampling
    ) -> dict[str, Reason]:
        """Why each shot that `pipeline.draw` would draw is drawn, by id, found without drawing.

        A shot to be drawn stands for itself as a picture nobody has yet, so that what continues
        from it, or remembers it, is counted too.
        """
        waiting = {}
        for shot in board.shot_list.shots:
            brief = board.brief(shot, memory)
            pair = self.find(brief, sampling)
            if self.must_draw(brief, pair):
                waiting[shot.id] = self._reason(brief, pair)
                pair = FramePair(shot.id, *(_undrawn(shot.id, half) for half in ("start", "end")))
            if pair is not None:
                board, memory = board.with_pair(pair), memory.remember(pair, shot.cast)
        return waiting

    def _looks_beside(self, shot: Shot, in_use: FramePair | None) -> bool:
        """Whether another film's drawing is as good: one asked for anew is not."""
        wanted = self.redraw is not Redraw.EVERYTHING or shot.keep
        return bool(self.neighbours and wanted and (in_use is None or self._asks_for(shot)))

    def _reason(self, brief: ShotBrief, found: FramePair | None) -> Reason:
        if found is not None:
            return Reason.ASKED if self.redraw is Redraw.EVERYTHING else Reason.REMEMBERS
        earlier = self.project.pair_in_use(brief.shot.id, brief.memory.digest(brief.shot))
        return Reason.CHANGED if earlier else Reason.NEW

    def _asks_for(self, shot: Shot) -> bool:
        return self.shots is None or shot.id in self.shots


@dataclass
class KeptTakes(_Wrapped):
    """A shot model that films only what is not in the film's folder yet.

    `shots`: the ids asked for, None for all. `at_most`: so many shots are filmed, None for no
    limit; the others come back if they are there. A shot to `keep` is filmed again only
    when its pictures change or it is asked for by its id. `filmed` lists what was filmed,
    `removed` the unused takes that had to make room for it. What the folder lacks is looked for
    in the `neighbours`, if there are any, and brought over.
    """

    model: ShotModel
    project: Project
    refilm: Refilm = Refilm.CHANGED
    shots: frozenset[str] | None = None
    at_most: int | None = None
    filmed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    neighbours: Neighbours | None = None
    _using: set[str] = field(default_factory=set)
    _kind = TAKE

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip | None:
        """The kept take, or a new one, kept at once; None when there is none and none is asked."""
        job = FilmJob(brief, keyframes, Nowhere())
        return next(self.film_many((job,), sampling, on_step))

    def film_many(
        self, jobs: Sequence[FilmJob], sampling: Sampling, on_step: OnStep
    ) -> Iterator[Clip | None]:
        """What `film` gives for each job, in order. What must be filmed is found first and goes to
        the model together; between its phases latents rest in the film's folder."""
        found = [self._brought_take(job, sampling) for job in jobs]
        self._using.update(clip.name for clip in found if clip)
        made = self._to_make(jobs, found, sampling)
        keys = {it.key for it in made.values()}
        rests = {place: self._rest(jobs[place], made[place]) for place in made}
        resting = [replace(jobs[place], halfway=rests[place]) for place in made]
        clips = film_jobs(resting, self.model, sampling, on_step)
        for place, (job, clip) in enumerate(zip(jobs, found, strict=True)):
            if place in made:
                clip = self._keep(next(clips), made[place])
                rests[place].remove()
            elif self._made(job, sampling).key in keys:
                # A copy of a shot filmed just now.
                clip = self.find(job.brief, job.keyframes, sampling)
            yield clip

    def _brought_take(self, job: FilmJob, sampling: Sampling) -> Clip | None:
        find = partial(self.find, job.brief, job.keyframes, sampling)
        return self._brought(job.brief.shot, find)

    def _to_make(
        self, jobs: Sequence[FilmJob], found: Sequence[Clip | None], sampling: Sampling
    ) -> dict[int, Made]:
        """How each shot to be filmed will be kept, by its place; of equal ones the first."""
        made: dict[str, tuple[int, Made]] = {}
        for place, (job, clip) in enumerate(zip(jobs, found, strict=True)):
            if self.must_film(job.brief, clip):
                it = self._made(job, sampling)
                made.setdefault(it.key, (place, it))
        room = None if self.at_most is None else max(0, self.at_most - len(self.filmed))
        return dict(list(made.values())[:room])

    def _made(self, job: FilmJob, sampling: Sampling) -> Made:
        key = filming_key(self.model, job.brief, job.keyframes, sampling)
        ends, between = self._pictures(job.brief.shot, job.keyframes)
        seed = filming_seed(job.brief.shot, sampling)
        said = said_of(job.brief, self.model.reads, sampling, seed)
        return Made(key, self.model.identity, job.brief.shot.take, "", ends, said, between)

    def _pictures(
        self, shot: Shot, keyframes: tuple[Keyframe, ...]
    ) -> tuple[tuple[str, ...], tuple[tuple[int, str], ...] | None]:
        """The digests of the ends, and those between by frame, None for a model without them."""
        if "between" not in self.model.reads:
            return tuple(k.picture.digest for k in keyframes), None
        inside = [k for k in keyframes if 0 < k.index < shot.num_frames - 1]
        ends = tuple(k.picture.digest for k in keyframes if k not in inside)
        return ends, tuple((k.index, k.picture.digest) for k in inside)

    def _rest(self, job: FilmJob, made: Made) -> HalfwayFile:
        shot, key = job.brief.shot, made.key
        if "memory" in self.model.reads:
            # A take is found whatever is remembered now, but is not filmed half from each.
            key = key_of({"take": key, "memory": job.brief.memory.digest(shot)})
        stem = f"{shot.id}_t{shot.take:02d}"
        return HalfwayFile.of(self.project.folder, stem, key)

    def _keep(self, clip: Clip, made: Made) -> Clip:
        kept = self.project.keep_take(clip, made)
        self.filmed.append(clip.shot_id)
        # The board file tells what was in use before this run, not what it is making.
        self._using.add(kept.name)
        self.removed += self.project.evict(self._using)
        return kept

    def find(
        self, brief: ShotBrief, keyframes: tuple[Keyframe, ...], sampling: Sampling
    ) -> Clip | None:
        """What there is for this shot without filming: kept, or approved earlier."""
        shot = brief.shot
        if shot.keep:
            approved = self.project.take_in_use(shot.id, *self._pictures(shot, keyframes))
            if approved is not None:
                return approved
        key = filming_key(self.model, brief, keyframes, sampling)
        found = self.project.find_take(key)
        if found is None and self.refilm is Refilm.MISSING:
            found = self.project.take_in_use(shot.id)
        wanted = self.refilm is not Refilm.EVERYTHING or shot.keep
        if found is None and self.neighbours and wanted:
            found = self.neighbours.find_take(key)
        return replace(found, shot_id=shot.id) if found else None

    def must_film(self, brief: ShotBrief, found: Clip | None) -> bool:
        """Whether the shot is filmed, given what `find` gave."""
        if self.shots is not None and brief.shot.id not in self.shots:
            return False
        if found is None:
            return True
        return self.refilm is Refilm.EVERYTHING and not (brief.shot.keep and self.shots is None)

    def to_film(self, board: Storyboard, memory: MemoryPack, sampling: Sampling) -> tuple[str, ...]:
        """The ids of the shots that `pipeline.film` would film, found without filming."""
        return tuple(job.brief.shot.id for job, _ in self._waiting(board, memory, sampling))

    def half_filmed(
        self, board: Storyboard, memory: MemoryPack, sampling: Sampling
    ) -> tuple[str, ...]:
        """Those of `to_film` that rest between two phases, since their filming was stopped."""
        waiting = self._waiting(board, memory, sampling)
        return tuple(j.brief.shot.id for j, made in waiting if self._rest(j, made).path.exists())

    def _waiting(
        self, board: Storyboard, memory: MemoryPack, sampling: Sampling
    ) -> list[tuple[FilmJob, Made]]:
        jobs = jobs_of(board, memory, self.model)
        found = [self.find(job.brief, job.keyframes, sampling) for job in jobs]
        return [(jobs[place], it) for place, it in self._to_make(jobs, found, sampling).items()]


def _undrawn(shot_id: str, half: str) -> Picture:
    """A stand-in, told apart from every picture by its digest, for one not drawn yet."""
    blank = Picture.of(torch.zeros(1, 1, 3, dtype=torch.uint8))
    return replace(blank, digest=f"undrawn {shot_id} {half}")
