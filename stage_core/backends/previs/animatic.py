"""The embedded shot model: moves a camera over the keyframes of a shot by rule."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from ...encoding.dual import Once
from ...story.brief import ShotBrief
from ...story.cinematography import CameraMovement
from ...story.frames import FramePair, Keyframe, Picture, pixel_digest
from ...story.timeline import Clip, MadeFrames
from ...threads import one_thread
from ..protocol import Grid, OnStep, Sampling, filming_seed
from .registration import similarity_between
from .sketch import Sketch, stage_shot
from .subtitles import Subtitles
from .warp import Morph, Similarity, seen_through, zoom_about

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

# A few numbers for every two pictures, found in a tenth of a second: a clip is played for its
# preview, for a sheet and in the film.
_MOTIONS: Once[Similarity] = Once(1024)

Rule = Callable[[float], Tensor]
"""The picture, [H, W, 3] uint8, at a progress in [0, 1] of the shot."""


class Animatic:
    """Films through keyframes, or over one, on twos: 12 pictures a second.

    Its own sketches are drawn again from every place on the camera's way. Other pairs are moved
    into each other by the similarity found between them and dissolve where they differ; so do
    pictures between a start and an end, each at the frame of the clip nearest to its own.
    `subtitles`: dialogue is drawn into all frames but the keyframes themselves.
    """

    grid = Grid(area=832 * 480, multiple=32, rate=Fraction(12))

    def __init__(self, subtitles: bool = False):
        self.subtitles = subtitles
        self.identity = "animatic-1-subtitles" if subtitles else "animatic-1"
        reads = Sketch.reads | {"seed", "between"}
        self.reads = frozenset(reads | {"dialogue"} if subtitles else reads)

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip, of the size of the first keyframe.

        Its frames are made while they are read. Keyframes of another size are cropped to fit.

        Raises:
            ValueError: no keyframe, or two at one index.
        """
        placed = self._placed(brief, keyframes)
        num_frames = self.grid.num_frames(brief.shot, brief.frame_format)
        shoot = partial(self._shoot, brief, placed, sampling, on_step)
        return Clip(brief.shot.id, MadeFrames(num_frames, shoot), self.grid.rate)

    def _placed(self, brief: ShotBrief, keyframes: tuple[Keyframe, ...]) -> dict[int, Picture]:
        """The pictures by the frame of the clip that they become, in order.

        Two so near that they would become the same frame: an end goes before, else the earlier.
        """
        shot = brief.shot
        if not keyframes:
            raise ValueError(f"shot {shot.id}: no keyframe; the animatic needs at least one frame")
        indices = [keyframe.index for keyframe in keyframes]
        if len(set(indices)) < len(indices):
            places = ", ".join(map(str, indices))
            raise ValueError(f"shot {shot.id}: keyframes at {places}; use one at each frame")
        placed: dict[int, Picture] = {}
        for keyframe in sorted(keyframes, key=lambda it: 0 < it.index < shot.num_frames - 1):
            place = self.grid.place(keyframe.index, shot, brief.frame_format)
            placed.setdefault(place, keyframe.picture)
        return dict(sorted(placed.items()))

    def _shoot(
        self,
        brief: ShotBrief,
        placed: Mapping[int, Picture],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Iterator[Tensor]:
        num_frames = self.grid.num_frames(brief.shot, brief.frame_format)
        first = next(iter(placed.values()))
        exact = {
            index: _fitted(picture.image, first.width, first.height)
            for index, picture in placed.items()
        }
        with one_thread():
            if set(exact) <= {0, num_frames - 1}:
                pair = FramePair(brief.shot.id, placed.get(0), placed.get(num_frames - 1))
                rule = _rule(brief, pair, tuple(exact.values()), sampling)
            else:
                rule = _through({_eased(i / (num_frames - 1)): it for i, it in exact.items()})
        words = brief.shot.dialogue if self.subtitles else ""
        subtitles = Subtitles(words, first.width, first.height)
        for index in range(num_frames):
            progress = index / (num_frames - 1)
            frame = exact.get(index)
            if frame is None:
                with one_thread():
                    frame = subtitles.over(rule(_eased(progress)), progress)
            on_step(brief.shot, index + 1, num_frames)
            yield frame


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
    return _morph(*images)


def _morph(start: Tensor, end: Tensor) -> Rule:
    digests = pixel_digest(start), pixel_digest(end)
    motion = _MOTIONS.get(digests, lambda: _motion(start, end))
    morph = Morph.between(_planes(start), _planes(end), motion)
    return lambda progress: _pixels(morph.at(progress))


def _motion(start: Tensor, end: Tensor) -> Similarity:
    return Similarity() if torch.equal(start, end) else similarity_between(start, end)


def _through(stops: Mapping[float, Tensor]) -> Rule:
    """Moves from picture to picture, each at its progress; the first and the last are held where
    the shot begins before, or ends after them."""
    places = list(stops)
    # Frames come in order, so one leg is open at a time.
    leg = lru_cache(maxsize=1)(lambda n: _morph(stops[places[n]], stops[places[n + 1]]))

    def rule(progress: float) -> Tensor:
        behind = bisect_right(places, progress)
        if behind in (0, len(places)):
            return stops[places[max(0, behind - 1)]]
        begin, end = places[behind - 1], places[behind]
        return leg(behind - 1)((progress - begin) / (end - begin))

    return rule


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
