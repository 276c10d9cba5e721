"""The five verbs: plan, draw, film, fill, edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .backends.protocol import (
    FilmJob,
    Nowhere,
    OnStep,
    Sampling,
    ShotModel,
    StoryboardModel,
)
from .editing.conform import conform
from .editing.sheet import mark
from .planning.planner import plan
from .story.cinematography import CUT, TransitionKind
from .story.frames import Keyframe
from .story.memory import MemoryPack
from .story.shot_list import Shot
from .story.storyboard import Storyboard
from .story.timeline import Clip, Timeline

__all__ = ["draw", "edit", "fill", "film", "film_jobs", "jobs_of", "plan"]


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
            borrowed = brief.given.given - board.pair(shot.id).given
            pair = replace(pair, given=pair.given - borrowed)
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
    for clip in film_jobs(jobs_of(board, memory, model), model, sampling, on_step):
        if clip:
            board = board.with_clip(clip)
    return board


def jobs_of(board: Storyboard, memory: MemoryPack, model: ShotModel) -> tuple[FilmJob, ...]:
    """The order for every shot that has a keyframe which the model can use."""
    orders = ((shot, _used_keyframes(board, shot, model)) for shot in board.shot_list.shots)
    return tuple(
        FilmJob(board.brief(shot, memory), keyframes, Nowhere())
        for shot, keyframes in orders
        if keyframes
    )


def film_jobs(
    jobs: Sequence[FilmJob], model: ShotModel, sampling: Sampling, on_step: OnStep
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

    Fill-ins are made while they are played. `marked` puts a thin strip on them that says so.
    """
    plan, memory, sampling = board.shot_list, MemoryPack(), Sampling(seed=board.shot_list.seed)
    for shot in plan.shots:
        if shot.id in board.clips:
            continue
        drawn = board.pair(shot.id).complete
        if not drawn:
            board = board.with_pair(sketch.draw(board.brief(shot, memory), sampling, _quietly))
        brief, keyframes = board.brief(shot, memory), _used_keyframes(board, shot, animatic)
        clip = animatic.film(brief, keyframes, sampling, _quietly)
        # At the film's size first: fitting it afterwards could crop the strip.
        clip = conform(clip, shot.num_frames, plan.frame_format)
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


def _used_keyframes(board: Storyboard, shot: Shot, model: ShotModel) -> tuple[Keyframe, ...]:
    between = "between" in model.reads
    return board.all_keyframes(shot) if between else board.keyframes(shot)


def _quietly(*_) -> None:
    """Fill-ins are made while the film is rendered, which has a progress of its own."""
