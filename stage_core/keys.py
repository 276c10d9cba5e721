"""What finds a drawing or a take again, and what a person is told that it is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

from .backends.protocol import (
    Sampling,
    ShotModel,
    StoryboardModel,
    drawing_seed,
    filming_seed,
)
from .story.brief import ShotBrief, negative_of
from .story.frames import Keyframe
from .story.members import Member
from .story.shot_list import Scene


def drawing_key(model: StoryboardModel, brief: ShotBrief, sampling: Sampling) -> str:
    """What finds a pair again: the model, what it reads of the brief, its settings and seed.

    Frames remembered from other shots are left out: with them, a comma in the first shot would
    draw all later ones again. The artist's references, their names and the pack's policy count.
    """
    return key_of(
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
    num_frames = model.grid.num_frames(brief.shot, brief.frame_format)
    # Where they are filmed: at another rate of the film they stay there.
    places = (model.grid.place(k.index, brief.shot, brief.frame_format) for k in keyframes)
    pictures = (k.picture.digest for k in keyframes)
    return key_of(
        {
            "kind": "take",
            "model": model.identity,
            "size": model.grid.size(brief.frame_format),
            "frames": num_frames,
            "keyframes": [
                (place / max(1, num_frames - 1), picture)
                for place, picture in zip(places, pictures, strict=True)
            ],
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
        if name == "between":
            # They are among the keyframes.
            continue
        if name == "members" and not brief.members:
            # Shots that name nobody of the cast keep the keys they had before there was one.
            continue
        values = [getattr(owner, name) for owner in (brief, brief.shot) if hasattr(owner, name)]
        if name == "negative" and all(values):
            # Models once left out the film's where the shot has its own.
            values = [negative_of(brief)]
        fields[name] = [str(value) for value in values]
    return fields


def said_of(
    brief: ShotBrief, reads: Iterable[str], sampling: Sampling, seed: int
) -> dict[str, str]:
    """What a result is made from, in words, to be compared with another one."""
    owners = (brief, brief.shot)
    words = {
        name: "; ".join(filter(None, (_word(getattr(it, name, "")) for it in owners)))
        for name in sorted(set(reads) - {"memory", "film_seed", "between"})
    }
    settings = {name: str(value) for name, value in vars(sampling).items() if value is not None}
    return {**words, **settings, "seed": str(seed)}


def _word(value: Any) -> str:
    if isinstance(value, Scene):
        return ", ".join(filter(None, (value.place, value.time_of_day)))
    if isinstance(value, Member):
        return value.words or value.name
    if isinstance(value, tuple):
        return ", ".join(map(_word, value))
    return str(value.value if isinstance(value, Enum) else value)


def key_of(parts: dict[str, Any]) -> str:
    """The digest of parts that JSON can hold, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
