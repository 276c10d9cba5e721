"""From a board to the cut of its film, to be rendered or handed over."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch

from .backends.protocol import ShotModel, StoryboardModel
from .editing.finish import Finish, finish
from .editing.interchange.cut import at_rate
from .pipeline import edit, fill
from .story.shot_list import ShotList
from .story.storyboard import Storyboard
from .story.timeline import Clip, Timeline


def cut(
    board: Storyboard,
    how: Finish,
    fill_in: tuple[StoryboardModel, ShotModel],
    marked: bool = True,
    rate: Fraction | None = None,
) -> tuple[Timeline, ShotList]:
    """The film of a board and its plan, both at another rate when one is given.

    Filmed shots are finished, the others filled in by a sketch and an animatic; all of it is
    made as it plays. `marked` puts a strip on fill-ins that says so.

    Raises:
        ValueError: a shot too short for its transitions.
    """
    plan = board.shot_list if rate is None else at_rate(board.shot_list, rate)
    finished = finish(replace(board, shot_list=plan), how)
    return edit(fill(finished, *fill_in, marked)), plan


def planned(board: Storyboard, rate: Fraction | None = None) -> tuple[Timeline, ShotList]:
    """As `cut`, of empty frames: where the shots lie in time, and which takes they are."""
    plan = board.shot_list if rate is None else at_rate(board.shot_list, rate)
    nothing = torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
    clips = {}
    for shot in plan.shots:
        take, frames = board.clips.get(shot.id), nothing.expand(shot.num_frames, -1, -1, -1)
        name = take.name if take else ""
        clips[shot.id] = Clip(shot.id, frames, plan.frame_format.rate, name=name)
    return edit(Storyboard(plan, clips=clips)), plan
