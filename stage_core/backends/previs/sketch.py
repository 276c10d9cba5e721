"""The embedded storyboard model: panels drawn by rule, in ink and marker."""

from __future__ import annotations

from dataclasses import replace

from ...story.brief import ShotBrief
from ...story.frames import HALVES, FramePair, Picture
from ...story.shot_list import Shot
from ..protocol import OnStep, Sampling
from .staging import GRID, stage_shot
from .unread import is_understood, unread_words

_TOLD = 6
"""So many unknown words are told of a film."""


class Sketch:
    """Draws a shot's start and end frame as a storyboard artist would rough them out.

    A pure function of the fields it reads, of the film's aspect and of the seeds; needs no
    weights, and does not read memory, since a place and a name always look the same.
    """

    identity = "sketch-2"
    reads = frozenset(("description", "scene", "cast", "members", "scale", "angle", "movement"))
    reads |= {"drawing", "film_seed"}
    grid = GRID

    def __init__(self):
        self._unread: dict[str, None] = {}
        self._foreign: dict[str, None] = {}

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        """The pair; given halves come back as they are, the others are drawn."""
        shot = brief.shot
        pair = replace(brief.given, shot_id=shot.id)
        missing = [half for half in HALVES if half not in brief.given.given]
        on_step(shot, 0, len(missing))
        staged = stage_shot(brief, sampling) if missing else None
        if missing:
            self._note(shot)
        for done, half in enumerate(missing, 1):
            picture = Picture.of(staged.panel(float(HALVES.index(half))))
            pair = replace(pair, **{half: picture})
            on_step(shot, done, len(missing))
        return pair

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the words of the shots drawn here asked for that the sketch cannot draw."""
        remarks = []
        if words := list(self._unread):
            more = " and more" if len(words) > _TOLD else ""
            remarks.append(f"the sketch has no word for: {', '.join(words[:_TOLD])}{more}")
        if shots := list(self._foreign):
            more = " and more" if len(shots) > _TOLD else ""
            which = f"shot{'s' if len(shots) > 1 else ''} {', '.join(shots[:_TOLD])}{more}"
            remarks.append(f"the sketch reads English and knows no word of {which}")
        return tuple(remarks)

    def _note(self, shot: Shot) -> None:
        self._unread |= dict.fromkeys(unread_words(shot))
        if not is_understood(shot):
            self._foreign[shot.id] = None
