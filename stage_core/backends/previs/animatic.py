"""The embedded shot model: moves a camera over the keyframes of a shot by rule."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from ...story.brief import ShotBrief
from ...story.cinematography import CameraMovement
from ...story.frames import FramePair, Keyframe, pixel_digest
from ...story.shot_list import Shot
from ...story.timeline import Clip
from ..protocol import Grid, OnStep, Sampling, filming_seed
from .registration import similarity_between
from .sketch import Sketch, stage_shot
from .subtitles import Subtitles
from .warp import Morph, Similarity, one_thread, seen_through, zoom_about

# How much closer a single picture is seen at the near end of its move.
CLOSER = 1.08
# Sway of a hand-held camera, relative to the picture's sides. The zoom keeps edges out of sight.
HAND_REACH, HAND_CLOSER = 0.012, 1.04

# Where the camera has gone when a movement is over. Sideways it closes in on the edge ahead:
# so it moves and never looks beyond the picture.
_AT_THE_END_OF = {
    "in": lambda aspect: zoom_about(0, 1 / CLOSER),
    "out": lambda aspect: zoom_about(0, CLOSER),
    "right": lambda aspect: zoom_about(0.5, 1 / CLOSER),
    "left": lambda aspect: zoom_about(-0.5, 1 / CLOSER),
    "up": lambda aspect: zoom_about(-0.5j / aspect, 1 / CLOSER),
    "down": lambda aspect: zoom_about(0.5j / aspect, 1 / CLOSER),
}
_OPPOSITE = {"in": "out", "out": "in", "right": "left", "left": "right", "up": "down", "down": "up"}

Rule = Callable[[float], Tensor]
"""The picture, [H, W, 3] uint8, at a progress in [0, 1] of the shot."""


class Animatic:
    """Films between two keyframes, or over one, on twos: 12 pictures a second.

    Its own sketches are drawn again from every place on the camera's way. Other pairs are moved
    into each other by the similarity found between them and dissolve where they differ.
    `subtitles`: dialogue is drawn into all frames but the keyframes themselves.
    """

    grid = Grid(area=832 * 480, multiple=32, rate=Fraction(12))

    def __init__(self, subtitles: bool = False):
        self.subtitles = subtitles
        self.identity = "animatic-1-subtitles" if subtitles else "animatic-1"
        reads = Sketch.reads | {"seed"}
        self.reads = frozenset(reads | {"dialogue"} if subtitles else reads)

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip, of the start's size, or of the end's where there is no start.

        Its frames are made while they are read. An end of another size is cropped to fit.

        Raises:
            ValueError: no keyframe, or more than one at index 0 or after it.
        """
        pair = _pair(brief.shot, keyframes)
        num_frames = self.grid.num_frames(brief.shot, brief.frame_format)
        shoot = partial(self._shoot, brief, pair, sampling, on_step)
        return Clip(brief.shot.id, _Frames(num_frames, shoot), self.grid.rate)

    def _shoot(
        self, brief: ShotBrief, pair: FramePair, sampling: Sampling, on_step: OnStep
    ) -> Iterator[Tensor]:
        num_frames = self.grid.num_frames(brief.shot, brief.frame_format)
        exact = {k.index: k.image for k in pair.keyframes(num_frames)}
        height, width, _ = exact[min(exact)].shape
        exact = {index: _fitted(image, width, height) for index, image in exact.items()}
        with one_thread():
            rule = _rule(brief, pair, tuple(exact.values()), sampling)
        subtitles = Subtitles(brief.shot.dialogue if self.subtitles else "", width, height)
        for index in range(num_frames):
            progress = index / (num_frames - 1)
            frame = exact.get(index)
            if frame is None:
                with one_thread():
                    frame = subtitles.over(rule(_eased(progress)), progress)
            on_step(brief.shot, index + 1, num_frames)
            yield frame


@dataclass(frozen=True, eq=False)
class _Frames:
    """Frames that are made anew in every iteration."""

    num_frames: int
    make: Callable[[], Iterator[Tensor]]

    def __len__(self) -> int:
        return self.num_frames

    def __iter__(self) -> Iterator[Tensor]:
        return self.make()


def _pair(shot: Shot, keyframes: tuple[Keyframe, ...]) -> FramePair:
    starts = [keyframe.picture for keyframe in keyframes if keyframe.index == 0]
    ends = [keyframe.picture for keyframe in keyframes if keyframe.index > 0]
    if not keyframes:
        raise ValueError(f"shot {shot.id}: no keyframe; the animatic needs a start or an end frame")
    if len(starts) > 1 or len(ends) > 1:
        places = ", ".join(str(keyframe.index) for keyframe in keyframes)
        raise ValueError(
            f"shot {shot.id}: keyframes at {places}; the animatic takes one start, at index 0, "
            "and one end"
        )
    return FramePair(shot.id, *(pictures[0] if pictures else None for pictures in (starts, ends)))


def _fitted(image: Tensor, width: int, height: int) -> Tensor:
    """`image` cut to the aspect and brought to the size; itself where it has that size."""
    if image.shape == (height, width, 3):
        return image
    fitted = ImageOps.fit(Image.fromarray(image.numpy()), (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(fitted))


def _rule(
    brief: ShotBrief, pair: FramePair, images: tuple[Tensor, ...], sampling: Sampling
) -> Rule:
    """How the frames between the keyframes `images` come about."""
    if not pair.complete:
        return _move_over(brief, images[0], sampling, backwards=pair.start is None)
    sketched = _own_sketch(brief, pair, sampling)
    if sketched is not None:
        return sketched
    start, end = images
    motion = Similarity() if torch.equal(start, end) else similarity_between(start, end)
    morph = Morph.between(_planes(start), _planes(end), motion)
    return lambda progress: _pixels(morph.at(progress))


def _own_sketch(brief: ShotBrief, pair: FramePair, sampling: Sampling) -> Rule | None:
    """The sketch this pair was drawn from, at any progress; None for other pictures."""
    if (pair.start.width, pair.start.height) != Sketch.grid.size(brief.frame_format):
        return None
    staged = stage_shot(brief, sampling)
    ends = zip((0.0, 1.0), pair.digests, strict=True)
    own = all(pixel_digest(staged.panel(progress)) == digest for progress, digest in ends)
    return staged.panel if own else None


def _move_over(brief: ShotBrief, image: Tensor, sampling: Sampling, backwards: bool) -> Rule:
    """A gentle move, as the shot's movement says, from the picture or `backwards` from its end."""
    movement = brief.shot.movement
    if movement is CameraMovement.STATIC:
        return lambda progress: image
    aspect = image.shape[1] / image.shape[0]
    planes = _planes(image)
    if movement is CameraMovement.HANDHELD:
        seconds = float(brief.shot.num_frames / brief.frame_format.rate)
        sway = _sway(aspect, seconds, filming_seed(brief.shot, sampling))
        return lambda progress: _pixels(seen_through(planes, sway(progress)))
    direction = _OPPOSITE[movement.direction] if backwards else movement.direction
    far = _AT_THE_END_OF[direction](aspect)
    return lambda progress: _pixels(
        seen_through(planes, far.part(1 - progress if backwards else progress))
    )


def _sway(aspect: float, seconds: float, seed: int) -> Callable[[float], Similarity]:
    """The view of a hand-held camera at each progress; at rest at both ends."""
    chance = random.Random(seed)
    # Two swings per axis, so that the sway does not look like a pendulum.
    swings = [
        (share, hertz * chance.uniform(0.8, 1.25), chance.uniform(0, math.tau))
        for share, hertz in ((0.6, 0.4), (0.4, 0.9)) * 2
    ]

    def view(progress: float) -> Similarity:
        rest = math.sin(math.pi * progress) ** 2
        time = math.tau * seconds * progress
        waves = [share * math.sin(hertz * time + phase) for share, hertz, phase in swings]
        shift = HAND_REACH * complex(waves[0] + waves[1], (waves[2] + waves[3]) / aspect)
        return Similarity(complex(HAND_CLOSER**-rest), rest * shift)

    return view


def _eased(progress: float) -> float:
    """Smooth progress, without speed at both ends."""
    return progress * progress * (3 - 2 * progress)


def _planes(image: Tensor) -> Tensor:
    return rearrange(image, "h w c -> c h w").float().contiguous()


def _pixels(planes: Tensor) -> Tensor:
    return rearrange(planes.round_().clamp_(0, 255).to(torch.uint8), "c h w -> h w c").contiguous()
