"""What Wan films towards: keyframes in their places, as the released models expect them.

Three kinds: two ends with nothing between (image to video), a start that stands in the latents
(the 5B), and a video with gaps (VACE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from ..encoding.dual import vae_pixels
from ..encoding.video_prompts import READS
from ..story.brief import ShotBrief
from ..story.frames import Keyframe
from .protocol import Grid
from .wan_encoders import WanVAE
from .wan_keyframes import anywhere, at_the_ends

STRIDE = 4
# The mask of the led model is folded, so many pixels of a side to a latent, into channels.
_FOLDED = 8


@dataclass(frozen=True, order=True)
class Length:
    """A clip's frames and size in pixels."""

    num_frames: int
    width: int
    height: int

    @property
    def times(self) -> int:
        """How many latent frames there are."""
        return (self.num_frames - 1) // STRIDE + 1


@dataclass(frozen=True, eq=False)
class Condition:
    """What a transformer is given beside the noisy latents.

    `beside`: channels [1, C, T, h, w] joined to the latents. `start`: latents [1, C, 1, h, w]
    that stand clean in the place of the first. `references`: latents of as many pictures come
    before those of the video and are dropped after sampling.
    """

    beside: Tensor | None = None
    start: Tensor | None = None
    references: int = 0


class Conditioning(Protocol):
    """How one kind of Wan is told what to film towards; `reads` are the fields of the brief."""

    reads: frozenset[str]

    def placed(
        self, brief: ShotBrief, keyframes: Sequence[Keyframe], grid: Grid
    ) -> dict[int, Keyframe]:
        """The keyframes by the frame of the clip that they become."""
        ...

    def condition(
        self,
        vae: WanVAE,
        images: Mapping[int, Tensor],
        references: Sequence[Tensor],
        length: Length,
    ) -> Condition:
        """The condition for images [H, W, 3] uint8 by their frame, and pictures to look like."""
        ...


class Between:
    """The start, the end, both or neither; grey between; one pass of the VAE over all of it."""

    reads = READS

    def placed(
        self, brief: ShotBrief, keyframes: Sequence[Keyframe], grid: Grid
    ) -> dict[int, Keyframe]:
        """Raises ValueError for a keyframe that is no end."""
        num_frames = grid.num_frames(brief.shot, brief.frame_format)
        return at_the_ends(brief.shot, keyframes, num_frames)

    def condition(
        self,
        vae: WanVAE,
        images: Mapping[int, Tensor],
        references: Sequence[Tensor],
        length: Length,
    ) -> Condition:
        """Four channels that say which frames are known, then the latents of the video."""
        latents = vae.encode(video_of(images, length))
        known = known_channels(images, length.num_frames)
        mask = known.to(latents)[..., None, None].expand(-1, -1, -1, *latents.shape[3:])
        return Condition(torch.cat([mask, latents], dim=1))


class HeldStart:
    """The start, or nothing: the model was not trained to film towards an end."""

    reads = READS

    def placed(
        self, brief: ShotBrief, keyframes: Sequence[Keyframe], grid: Grid
    ) -> dict[int, Keyframe]:
        """The start alone; other keyframes are left to whoever cuts the clip."""
        starts = [keyframe for keyframe in keyframes if keyframe.index == 0]
        return dict(enumerate(starts[:1]))

    def condition(
        self,
        vae: WanVAE,
        images: Mapping[int, Tensor],
        references: Sequence[Tensor],
        length: Length,
    ) -> Condition:
        """The start, encoded as a video of one frame."""
        if not images:
            return Condition()
        return Condition(start=vae.encode(_video(vae_pixels(images[0]))))


class Led:
    """Keyframes anywhere, and pictures of the cast."""

    reads = READS | {"memory", "cast", "members", "between"}

    def placed(
        self, brief: ShotBrief, keyframes: Sequence[Keyframe], grid: Grid
    ) -> dict[int, Keyframe]:
        """At the start or at the last frame of a group of four, which have latents of their own.

        Raises:
            ValueError: two keyframes in one group.
        """
        return anywhere(brief, keyframes, grid)

    def condition(
        self,
        vae: WanVAE,
        images: Mapping[int, Tensor],
        references: Sequence[Tensor],
        length: Length,
    ) -> Condition:
        """Latents of what is known and of what is not, then the folded mask; pictures first."""
        video = video_of(images, length)
        made = torch.ones(length.num_frames)
        made[list(images)] = 0
        mask = made[None, None, :, None, None]
        latents = torch.cat([vae.encode(video * (1 - mask)), vae.encode(video * mask)], dim=1)
        shown = [vae.encode(_video(on_white(image, length))) for image in references]
        shown = [torch.cat([picture, torch.zeros_like(picture)], dim=1) for picture in shown]
        # Of the frames of a group, one near its middle stands for all, as the model was trained.
        sampled = functional.interpolate(made[None, None], length.times, mode="nearest-exact")
        sampled = torch.cat([torch.zeros(1, 1, len(shown)), sampled], dim=2).to(latents)
        folded = sampled[..., None, None].expand(-1, _FOLDED**2, -1, *latents.shape[3:])
        joined = torch.cat([torch.cat([*shown, latents], dim=2), folded], dim=1)
        return Condition(joined, references=len(shown))


def known_channels(images: Mapping[int, Tensor], num_frames: int) -> Tensor:
    """Which of the four frames of every latent frame are known, [1, 4, T], 1 or 0.

    The first latent frame has one frame, which counts four times.
    """
    known = torch.zeros(1, num_frames)
    known[:, list(images)] = 1
    frames = torch.cat([known[:, :1].expand(-1, STRIDE), known[:, 1:]], dim=1)
    return rearrange(frames, "b (t four) -> b four t", four=STRIDE)


def video_of(images: Mapping[int, Tensor], length: Length) -> Tensor:
    """A video [1, 3, F, H, W] in [-1, 1] of images [H, W, 3] uint8 at their frames, grey else."""
    video = torch.zeros(1, 3, length.num_frames, length.height, length.width)
    for index, image in images.items():
        video[:, :, index] = vae_pixels(image)
    return video


def on_white(image: Tensor, length: Length) -> Tensor:
    """A picture [1, 3, H, W] in [-1, 1], all of it, on white, of pixels [h, w, 3] uint8."""
    high, wide = image.shape[:2]
    scale = min(length.height / high, length.width / wide)
    sides = int(high * scale), int(wide * scale)
    pixels = functional.interpolate(
        vae_pixels(image), sides, mode="bilinear", align_corners=False, antialias=scale < 1
    )
    white = torch.ones(1, 3, length.height, length.width)
    top, left = (length.height - sides[0]) // 2, (length.width - sides[1]) // 2
    white[:, :, top : top + sides[0], left : left + sides[1]] = pixels
    return white


def _video(picture: Tensor) -> Tensor:
    return repeat(picture, "b c h w -> b c 1 h w")
