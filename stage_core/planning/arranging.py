"""Shots in another order: some left out, some repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..story.cinematography import TransitionKind
from ..story.shot_list import Shot, ShotList
from .ids import with_copies


def copies(plan: ShotList, order: str) -> tuple[ShotList, tuple[str, ...]]:
    """The shots in the order of their ids, `1, 3-5, 2, 2`, and for each the id it had before.

    Raises:
        ValueError: an id that no shot has, no ids at all, or a shot too short for its transitions.
    """
    sources: list[str] = []
    for part in re.split(r"[,;\n]", order):
        chosen = plan.select(part) or ()
        sources += [shot_id for shot_id in plan.ids if shot_id in chosen]
    ids = with_copies(sources, plan.ids)
    shots = []
    for shot_id, source in zip(ids, sources, strict=True):
        shot = plan.shot(source)
        if shot_id != source:
            shot = replace(shot, id=shot_id, copy_of=shot.copy_of or shot.id)
        shots.append(shot)
    arranged = replace(plan, shots=tuple(shots))
    check_transitions(arranged)
    return arranged, tuple(sources)


def check_transitions(plan: ShotList) -> None:
    """Raises ValueError for a shot with fewer frames than its transitions take in this order."""
    tight = too_tight(plan.shots)
    if tight is not None:
        raise ValueError(tight[1])


def too_tight(shots: Sequence[Shot]) -> tuple[int, str] | None:
    """The place of the first shot with fewer frames than its transitions take, and that in words.

    None where every shot is long enough.
    """
    into = 0
    for place, shot in enumerate(shots):
        out = shot.transition.num_frames
        # Nothing follows the last shot to dissolve into: the film ends with a cut.
        is_last = place == len(shots) - 1
        out = 0 if is_last and shot.transition.kind is TransitionKind.DISSOLVE else out
        if into + out > shot.num_frames:
            return place, (
                f"shot {shot.id}: {shot.num_frames} frames are too few for the {into + out} frames "
                "of its transitions; lengthen the shot or shorten them"
            )
        into = out
    return None
