"""Both kinds of model over the tiny networks: the whole path of a large one, in a moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ..diffusion.canvas import pair_noise, patchify, split_pair, stack_pair, unpatchify
from ..diffusion.flow import hold
from ..diffusion.guidance import guide
from ..diffusion.sampling import euler
from ..diffusion.schedule import shifted_sigmas, stretched_sigmas
from ..encoding.positions import picture_positions
from ..models.tiny import LATENT_CHANNELS, TinyNetworks, tiny_networks
from ..story.brief import ShotBrief, negative_of
from ..story.frames import FramePair, Keyframe, Picture, as_pixels
from ..story.shot_list import Shot
from ..story.timeline import Clip
from .protocol import Grid, OnStep, Sampling, drawing_seed, filming_seed

STEPS = 4
GUIDANCE = 4.0
DRAWING_SHIFT = 2.2
FILMING_SHIFT = 5.0
_VAE_SIDE = 8
_PROMPT = {"description", "scene", "cast", "scale", "angle", "movement", "prompt", "theme", "look"}
_READS = frozenset(_PROMPT | {"negative"})


class TinyStoryboard:
    """Draws the start and the end frame together on one canvas; a given half is held."""

    identity = "tiny-storyboard-1"
    reads = _READS | {"memory"}
    grid = Grid(area=256 * 144, multiple=16)

    def __init__(self):
        self.networks = tiny_networks(seed=1)

    @torch.no_grad()
    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        """The pair; its pixels depend on the words, memory, given halves and the shot's seed."""
        given = brief.given
        if given.complete:
            return given
        width, height = self.grid.size(brief.frame_format)
        order = self._order(brief, (height // _VAE_SIDE, width // _VAE_SIDE), sampling)
        sigmas = stretched_sigmas(*_steps_and_shift(sampling, DRAWING_SHIFT))
        tokens = _denoise(self.networks, order, sigmas, _progress(brief.shot, on_step))
        # Each half is decoded alone: large decoders see across the seam and would blend them.
        start, end = split_pair(unpatchify(tokens, 2 * height // _VAE_SIDE))
        return FramePair(
            brief.shot.id,
            given.start or _picture(self.networks, start),
            given.end or _picture(self.networks, end),
            given.given,
        )

    def _order(self, brief: ShotBrief, size: tuple[int, int], sampling: Sampling) -> _Order:
        """The order for a canvas of two frames of `size`, height and width of the latents."""
        networks, shape = self.networks, (1, LATENT_CHANNELS, *size)
        halves = (brief.given.start, brief.given.end)
        known = [_latents(networks, half, *size) if half else torch.zeros(shape) for half in halves]
        held = torch.tensor([half is not None for half in halves])
        memory = brief.memory.shown(brief.shot)
        shown = [
            _latents(networks, frame.picture, *self._memory_size(frame.picture, frame.side))
            for frame in memory
        ]
        seen = [_pixels(memory[0].picture)] if memory else []
        rows, columns = size[0] // 2, size[1] // 2
        return _Order(
            noise=patchify(stack_pair(pair_noise(shape, drawing_seed(brief.shot, sampling)))),
            known=patchify(stack_pair(torch.stack(known))),
            held=held.repeat_interleave(rows * columns)[None, :, None],
            positions=picture_positions(0, 2 * rows, columns),
            context=[patchify(latents) for latents in shown],
            context_positions=[
                picture_positions(place, latents.shape[2] // 2, latents.shape[3] // 2)
                for place, latents in enumerate(shown, start=1)
            ],
            words=_words(networks, brief, seen, sampling),
        )

    def _memory_size(self, picture: Picture, side: float) -> tuple[int, int]:
        """Height and width of the latents of a memory frame, in its own aspect."""
        ratio = side * math.sqrt(self.grid.area / (picture.height * picture.width))
        step = self.grid.multiple
        sides = (max(1, round(s * ratio / step)) * step for s in (picture.height, picture.width))
        return tuple(s // _VAE_SIDE for s in sides)


class TinyShots:
    """Films between any of start and end: latents of every fourth frame, keyframes held."""

    identity = "tiny-shots-1"
    reads = _READS
    grid = Grid(area=192 * 112, multiple=16, rate=Fraction(8), stride=4)

    def __init__(self):
        self._networks = tiny_networks(seed=2)

    @torch.no_grad()
    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip; its first and last frame are the keyframes as the networks see them."""
        shot, grid = brief.shot, self.grid
        num_frames = grid.num_frames(shot, brief.frame_format)
        width, height = (side // _VAE_SIDE for side in grid.size(brief.frame_format))
        shape = ((num_frames - 1) // grid.stride + 1, LATENT_CHANNELS, height, width)
        order = self._order(brief, keyframes, shape, sampling)
        sigmas = shifted_sigmas(*_steps_and_shift(sampling, FILMING_SHIFT))
        tokens = _denoise(self._networks, order, sigmas, _progress(shot, on_step))
        latents = unpatchify(rearrange(tokens, "1 (t n) d -> t n d", t=shape[0]), height)
        rows = rearrange(latents, "t c h w -> c (h w) t")
        rows = functional.interpolate(rows, num_frames, mode="linear", align_corners=True)
        latents = rearrange(rows, "c (h w) t -> t 1 c h w", h=height)
        frames = torch.stack([_picture(self._networks, frame).image for frame in latents])
        return Clip(shot.id, frames, grid.rate)

    def _order(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        shape: tuple[int, int, int, int],
        sampling: Sampling,
    ) -> _Order:
        """The order for latents of `shape` [T, C, h, w]."""
        times, _, height, width = shape
        known, held = torch.zeros(shape), torch.zeros(times, dtype=torch.bool)
        for keyframe in keyframes:
            # A keyframe counts frames of the film; the model has a rate of its own.
            time = round(keyframe.index / (brief.shot.num_frames - 1) * (times - 1))
            known[time] = _latents(self._networks, keyframe.picture, height, width)
            held[time] = True
        generator = torch.Generator().manual_seed(filming_seed(brief.shot, sampling))
        rows, columns = height // 2, width // 2
        return _Order(
            noise=_joined(patchify(torch.randn(shape, generator=generator))),
            known=_joined(patchify(known)),
            held=held.repeat_interleave(rows * columns)[None, :, None],
            positions=torch.cat([picture_positions(t, rows, columns) for t in range(times)]),
            context=[],
            context_positions=[],
            words=_words(self._networks, brief, [_pixels(k.picture) for k in keyframes], sampling),
        )


@dataclass(frozen=True, eq=False)
class _Words:
    """Text tokens [1, L, D] to follow and to avoid, and how strongly."""

    positive: Tensor
    negative: Tensor
    guidance: float


@dataclass(frozen=True, eq=False)
class _Order:
    """All that a denoising run depends on, as tokens [1, N, 64].

    `held` [1, N, 1] says where `known` is fixed; `positions` [N, 3]. Context tokens are seen and
    not changed.
    """

    noise: Tensor
    known: Tensor
    held: Tensor
    positions: Tensor
    context: list[Tensor]
    context_positions: list[Tensor]
    words: _Words


def _denoise(
    networks: TinyNetworks, order: _Order, sigmas: Tensor, on_step: Callable[[int, int], None]
) -> Tensor:
    """The tokens [1, N, 64] of the data."""
    count = order.noise.shape[1]
    positions = torch.cat([order.positions, *order.context_positions])
    words = order.words

    def predict(tokens: Tensor, sigma: float, text: Tensor) -> Tensor:
        sequence = torch.cat([tokens, *order.context], dim=1)
        return networks.transformer(sequence, positions, text, sigma)[:, :count]

    def velocity(tokens: Tensor, sigma: float) -> Tensor:
        conditional = predict(tokens, sigma, words.positive)
        if words.guidance == 1:
            return conditional
        return guide(conditional, predict(tokens, sigma, words.negative), words.guidance)

    held = hold(velocity, order.known, order.noise, order.held)
    return euler(held, order.noise, sigmas, on_step)


def _words(
    networks: TinyNetworks, brief: ShotBrief, pictures: list[Tensor], sampling: Sampling
) -> _Words:
    """The brief's words, read anew with every picture."""

    def encode(text: str) -> Tensor:
        return torch.cat([networks.text_encoder(text, seen) for seen in pictures or [None]], dim=1)

    guidance = GUIDANCE if sampling.guidance is None else sampling.guidance
    return _Words(encode(_prompt(brief)), encode(negative_of(brief)), guidance)


def _prompt(brief: ShotBrief) -> str:
    shot, scene = brief.shot, brief.shot.scene
    inside = {True: "inside", False: "outside", None: ""}[scene.interior]
    camera = f"{shot.scale.value}, {shot.angle.value}, {shot.movement.value}"
    setting = " ".join(filter(None, (inside, scene.place, scene.time_of_day)))
    made = (camera, setting, ", ".join(shot.cast), shot.description, brief.theme)
    words = (shot.prompt,) if shot.prompt else made
    return ". ".join(filter(None, (*words, brief.look)))


def _steps_and_shift(sampling: Sampling, shift: float) -> tuple[int, float]:
    steps = STEPS if sampling.steps is None else sampling.steps
    return steps, shift if sampling.shift is None else sampling.shift


def _progress(shot: Shot, on_step: OnStep) -> Callable[[int, int], None]:
    return lambda done, total: on_step(shot, done, total)


def _joined(tokens: Tensor) -> Tensor:
    """The tokens of pictures [T, N, D] as one sequence [1, T N, D]."""
    return rearrange(tokens, "t n d -> 1 (t n) d")


def _pixels(picture: Picture) -> Tensor:
    """The picture as [1, 3, H, W] float32 in [0, 1]."""
    return rearrange(picture.image, "h w c -> 1 c h w") / 255


def _latents(networks: TinyNetworks, picture: Picture, height: int, width: int) -> Tensor:
    """Latents [1, 16, height, width] of the picture, resized without regard to its aspect."""
    size = (_VAE_SIDE * height, _VAE_SIDE * width)
    pixels = functional.interpolate(_pixels(picture), size, mode="bilinear", antialias=True)
    return networks.vae.encode(pixels)


def _picture(networks: TinyNetworks, latents: Tensor) -> Picture:
    """The picture of latents [1, 16, h, w]."""
    return Picture.of(as_pixels(rearrange(networks.vae.decode(latents), "1 c h w -> h w c")))
