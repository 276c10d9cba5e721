"""The five verbs: plan, draw, film, fill, edit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from torch import Tensor

from .backends.protocol import (
    FilmJob,
    Nowhere,
    OnStep,
    PhasedShotModel,
    Sampling,
    ShotModel,
    StoryboardModel,
)
from .editing.conform import conform
from .editing.strips import mark
from .planning.planner import plan
from .story.cinematography import CUT, TransitionKind
from .story.frames import FramePair, Keyframe
from .story.memory import MemoryPack
from .story.shot_list import Shot
from .story.storyboard import Storyboard
from .story.timeline import Clip, MadeFrames, Timeline

__all__ = ["draw", "edit", "fill", "film", "film_jobs", "film_together", "jobs_of", "plan"]


def draw(
    board: Storyboard,
    model: StoryboardModel,
    memory: MemoryPack,
    sampling: Sampling,
    on_step: OnStep,
) -> tuple[Storyboard, MemoryPack]:
    """Draw the pairs in film order; each joins the memory that the next one is drawn with."""
    for shot in board.shot_list.shots:
        brief = board.brief(shot, memory)
        pair = model.draw(brief, sampling, on_step)
        if pair:
            # A start that continues is given by the previous shot, not by the artist: when that
            # shot changes, this one must follow.
            pair = replace(pair, given=pair.given - brief.borrowed)
            board, memory = board.with_pair(pair), memory.remember(pair, shot.cast)
    return board, memory


def film(
    board: Storyboard,
    model: ShotModel,
    memory: MemoryPack,
    sampling: Sampling,
    on_step: OnStep,
) -> Storyboard:
    """Film every shot that has a keyframe, each from its own pictures alone."""
    (filmed,) = film_together((board,), model, memory, sampling, on_step)
    return filmed


def film_together(
    boards: Iterable[Storyboard],
    model: ShotModel,
    memory: MemoryPack,
    sampling: Sampling,
    on_step: OnStep,
) -> Iterator[Storyboard]:
    """The boards filmed, each as soon as it is: other takes of a film, in phases with the first."""
    boards = tuple(boards)
    orders = [jobs_of(board, memory, model) for board in boards]
    together = tuple(chain.from_iterable(orders))
    with closing(film_jobs(together, model, sampling, on_step)) as clips:
        for board, own in zip(boards, orders, strict=True):
            for clip in islice(clips, len(own)):
                if clip:
                    board = board.with_clip(clip)
            yield board


def jobs_of(board: Storyboard, memory: MemoryPack, model: ShotModel) -> tuple[FilmJob, ...]:
    """The order for every shot that has a keyframe which the model can use."""
    orders = ((shot, _used_keyframes(board, shot, model)) for shot in board.shot_list.shots)
    return tuple(
        FilmJob(board.brief(shot, memory), keyframes, Nowhere())
        for shot, keyframes in orders
        if keyframes
    )


def film_jobs(
    jobs: Sequence[FilmJob],
    model: ShotModel | PhasedShotModel,
    sampling: Sampling,
    on_step: OnStep,
) -> Iterator[Clip | None]:
    """What the model gives for each job, in order: in phases where it can, else one by one."""
    if hasattr(model, "film_many"):
        yield from model.film_many(jobs, sampling, on_step)
        return
    for job in jobs:
        yield model.film(job.brief, job.keyframes, sampling, on_step)


def fill(
    board: Storyboard, sketch: StoryboardModel, animatic: ShotModel, marked: bool = True
) -> Storyboard:
    """The board with every shot filmed: as it is, else an animatic of its pair, else of a sketch.

    Fill-ins are made, sketches too, while they are played. `marked` puts a thin strip on them that
    says so.
    """
    plan, fill_ins = board.shot_list, _FillIns(board, sketch, animatic)
    for shot in plan.shots:
        if shot.id in board.clips:
            continue
        drawn = board.pair(shot.id).complete
        # At the film's size first: fitting it afterwards could crop the strip.
        clip = conform(fill_ins.clip(shot), shot.num_frames, plan.frame_format)
        if marked:
            text = f"{shot.id}  drawn, not filmed" if drawn else f"{shot.id}  sketch, not drawn"
            clip = replace(clip, frames=mark(clip.frames, text))
        board = board.with_clip(clip)
    return board


def edit(board: Storyboard) -> Timeline:
    """The cut of a board in which every shot has a clip: each conformed to the plan, in order.

    Raises:
        ValueError: a shot without a clip, or too short for its transitions.
    """
    shots, frame_format = board.shot_list.shots, board.shot_list.frame_format
    missing = [shot.id for shot in shots if shot.id not in board.clips]
    if missing:
        raise ValueError(f"shots without a clip: {', '.join(missing)}; fill the board first")
    clips = tuple(conform(board.clips[s.id], s.num_frames, frame_format) for s in shots)
    out = shots[-1].transition
    # There is nothing to dissolve into after the last shot.
    out = CUT if out.kind is TransitionKind.DISSOLVE else out
    between = (shot.transition for shot in shots[:-1])
    return Timeline(frame_format.rate, clips, (CUT, *between, out))


@dataclass(eq=False)
class _FillIns:
    """What plays in the place of shots that are not filmed."""

    board: Storyboard
    sketch: StoryboardModel
    animatic: ShotModel
    _last: FramePair | None = None

    def clip(self, shot: Shot) -> Clip:
        """A clip of which nothing is made yet."""
        grid = self.animatic.grid
        num_frames = grid.num_frames(shot, self.board.shot_list.frame_format)
        return Clip(shot.id, MadeFrames(num_frames, partial(self._film, shot)), grid.rate)

    def _film(self, shot: Shot) -> Iterator[Tensor]:
        board = self.board.with_pair(self._pair(shot))
        brief, keyframes = (
            board.brief(shot, MemoryPack()),
            _used_keyframes(board, shot, self.animatic),
        )
        yield from self.animatic.film(brief, keyframes, self._sampling, _quietly).frames

    def _pair(self, shot: Shot) -> FramePair:
        """The shot's own pair, what is missing of it sketched; the last one is remembered."""
        board, shots = self.board, self.board.shot_list.shots
        if board.pair(shot.id).complete or shot.id in board.clips:
            return board.pair(shot.id)
        if self._last is None or self._last.shot_id != shot.id:
            place = shots.index(shot)
            if shot.continues and place:
                board = board.with_pair(self._pair(shots[place - 1]))
            brief = board.brief(shot, MemoryPack())
            self._last = self.sketch.draw(brief, self._sampling, _quietly)
        return self._last

    @property
    def _sampling(self) -> Sampling:
        return Sampling(seed=self.board.shot_list.seed)


def _used_keyframes(board: Storyboard, shot: Shot, model: ShotModel) -> tuple[Keyframe, ...]:
    between = "between" in model.reads
    return board.all_keyframes(shot) if between else board.keyframes(shot)


def _quietly(*_) -> None:
    """Fill-ins are made while the film is rendered, which has a progress of its own."""
