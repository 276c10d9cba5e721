"""The embedded storyboard model: panels drawn by rule, in ink and marker."""

from __future__ import annotations

from dataclasses import replace

from ...story.brief import ShotBrief
from ...story.frames import HALVES, FramePair, Picture
from ..protocol import OnStep, Sampling
from .staging import GRID, stage_shot


class Sketch:
    """Draws a shot's start and end frame as a storyboard artist would rough them out.

    A pure function of the fields it reads, of the film's aspect and of the seeds; needs no
    weights, and does not read memory, since a place and a name always look the same.
    """

    identity = "sketch-1"
    reads = frozenset(("description", "scene", "cast", "members", "scale", "angle", "movement"))
    reads |= {"drawing", "film_seed"}
    grid = GRID

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        """The pair; given halves come back as they are, the others are drawn."""
        shot = brief.shot
        pair = replace(brief.given, shot_id=shot.id)
        missing = [half for half in HALVES if half not in brief.given.given]
        on_step(shot, 0, len(missing))
        staged = stage_shot(brief, sampling) if missing else None
        for done, half in enumerate(missing, 1):
            picture = Picture.of(staged.panel(float(HALVES.index(half))))
            pair = replace(pair, **{half: picture})
            on_step(shot, done, len(missing))
        return pair
