"""STEP2 over Qwen-Image-Edit: the start and the end frame of a shot, drawn as one tall picture.

What is drawn rests on the words, on the previous end frame, which the text encoder sees, and on
the memory pack, of which the transformer sees every frame. The pack's scale decides the mode:
FULL as released, RELEASED with the released code's pyramid, PAPER ranked and tiled as in
arXiv:2512.12372, for which the released weights may not have been trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..diffusion.canvas import PATCH, pair_noise, patchify, split_pair, stack_pair, unpatchify
from ..diffusion.flow import Velocity, hold
from ..diffusion.guidance import guide
from ..diffusion.sampling import OnSamplerStep, euler
from ..diffusion.schedule import stretched_sigmas
from ..encoding.dual import VAE_SIDE, Once, fitted, held_canvas, read_at
from ..encoding.positions import canvas_positions, text_positions
from ..encoding.prompts import negative_prompt, shot_prompt
from ..encoding.pyramid import shrink
from ..encoding.ranking import Relevance, by_relevance, patch_descriptor, similarity
from ..models.qwen_image import QwenImage
from ..story.brief import ShotBrief
from ..story.frames import FramePair, Picture
from ..story.memory import MemoryFrame, MemoryPack, MemoryScale
from .protocol import Grid, OnStep, Sampling, drawing_seed
from .qwen_networks import DEFAULTS, QwenFiles, QwenNetworks, QwenSettings, load_networks

STEPS = 20
GUIDANCE = 4.0
SHIFT = 2.2
GRID = Grid(area=1536 * 864, multiple=16)
_LATENT_CHANNELS = 16
_KEPT_PICTURES = 128
_KEPT_DESCRIPTORS = 4096


@dataclass(frozen=True, eq=False)
class DrawingOrder:
    """All that drawing one canvas depends on, besides the transformer.

    `noise` and `known` are canvases [1, 16, 2h, w], `held` a mask [1, 1, 2h, 1], true where the
    canvas is `known`. `memory` are latents [1, 16, h, w] of any size, `positive` and `negative`
    are prompts [1, L, D], `sigmas` the noise levels of the sampler. `seed`: for samplers that add
    noise on their way.
    """

    noise: Tensor
    known: Tensor
    held: Tensor
    memory: tuple[Tensor, ...]
    positive: Tensor
    negative: Tensor
    sigmas: Tensor
    guidance: float
    seed: int = 0


class QwenEdit:
    """Draws pairs with the networks of `load_networks`; a given half is held.

    `relevance` orders memory frames, None for the pack's own order, or for likeness to the newest
    frame where the pack's scale is that of the paper.
    """

    reads = frozenset(
        {
            *("description", "scene", "cast", "scale", "angle", "movement", "prompt", "negative"),
            *("theme", "look", "memory"),
        }
    )

    def __init__(
        self,
        networks: QwenNetworks,
        grid: Grid = GRID,
        relevance: Relevance | None = None,
    ):
        self.identity = f"qwen-edit-{networks.identity[:16]}"
        self.grid = grid
        self.networks, self._relevance = networks, relevance
        self._latents: Once[Tensor] = Once(_KEPT_PICTURES)
        self._descriptors: Once[Tensor] = Once(_KEPT_DESCRIPTORS)

    @torch.no_grad()
    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        """The pair; its pixels depend on the words, memory, given halves and the shot's seed."""
        given, shot = brief.given, brief.shot
        if given.complete:
            return given
        order = self.order(brief, sampling)
        canvas = self.denoise(order, lambda done, total: on_step(shot, done, total))
        # Each half is decoded alone: the decoder's attention would blend them everywhere.
        start, end = split_pair(canvas)
        return FramePair(
            shot.id,
            given.start or self._picture(start),
            given.end or self._picture(end),
            given.given,
        )

    @torch.no_grad()
    def order(self, brief: ShotBrief, sampling: Sampling) -> DrawingOrder:
        """What there is to draw for a shot: everything encoded, no sampler step made."""
        steps = STEPS if sampling.steps is None else sampling.steps
        shift = SHIFT if sampling.shift is None else sampling.shift
        sigmas = stretched_sigmas(steps, shift)
        width, height = self.grid.size(brief.frame_format)
        shape = (1, _LATENT_CHANNELS, height // VAE_SIDE, width // VAE_SIDE)
        memory = self._ranked(brief).shown(brief.shot)
        seen = memory[0].picture if memory else None
        encoder = self.networks.text_encoder
        # The negative is read with the same picture, so that guidance is about the words.
        positive, negative = (
            encoder.encode(words, seen) for words in (shot_prompt(brief), negative_prompt(brief))
        )
        seed = drawing_seed(brief.shot, sampling)
        known, held = held_canvas(
            brief.given, lambda half: self._encoded(half, (width, height)), shape
        )
        return DrawingOrder(
            stack_pair(pair_noise(shape, seed)),
            known,
            held,
            tuple(self._shown(frame) for frame in memory),
            positive,
            negative,
            sigmas,
            GUIDANCE if sampling.guidance is None else sampling.guidance,
            seed,
        )

    def denoise(self, order: DrawingOrder, on_step: OnSamplerStep) -> Tensor:
        """The canvas [1, 16, 2h, w] of an order."""
        return denoise(self.networks.transformer, order, on_step)

    def _ranked(self, brief: ShotBrief) -> MemoryPack:
        pack, relevance = brief.memory, self._relevance
        if relevance is None and pack.scale is MemoryScale.PAPER:
            first = (pack.recent or pack.references)[:1]
            relevance = self._likeness(first[0].picture) if first else None
        return by_relevance(pack, brief.shot, relevance) if relevance else pack

    def _likeness(self, newest: Picture) -> Relevance:
        def describe(picture: Picture) -> Tensor:
            return self._descriptors.get(picture.digest, lambda: patch_descriptor(picture))

        return lambda shot, picture: similarity(describe(newest), describe(picture))

    def _shown(self, frame: MemoryFrame) -> Tensor:
        """Latents of a memory frame at its side."""
        return shrink(self._encoded(frame.picture, None), frame.side)

    def _encoded(self, picture: Picture, size: tuple[int, int] | None) -> Tensor:
        """Latents of a picture that fills `size`, None for the size of memory; once for each."""

        def encode() -> Tensor:
            image = picture.image
            image = read_at(image, self.networks.vae_area) if size is None else fitted(image, *size)
            return self.networks.vae.encode(image).to("cpu", self.networks.transformer.dtype)

        return self._latents.get((picture.digest, size), encode)

    def _picture(self, latents: Tensor) -> Picture:
        pixels = self.networks.vae.decode(latents)
        return Picture.of(rearrange(pixels, "1 c h w -> h w c"))


def denoise(transformer: QwenImage, order: DrawingOrder, on_step: OnSamplerStep) -> Tensor:
    """The canvas [1, 16, 2h, w] of an order, in the transformer's dtype and on its device.

    Raises:
        ValueError: guidance below 1.
    """
    device, dtype = transformer.device, transformer.dtype
    noise, known = order.noise.to(device, dtype), order.known.to(device, dtype)
    velocity = hold(_velocity(transformer, order), known, noise, order.held.to(device))
    return euler(velocity, noise, order.sigmas, on_step)


def _velocity(transformer: QwenImage, order: DrawingOrder) -> Velocity:
    """Of a canvas [1, 16, 2h, w]: guided, memory frames seen in every prediction."""
    device, dtype = transformer.device, transformer.dtype
    height, width = order.noise.shape[2:]
    context = [patchify(latents.to(device, dtype)) for latents in order.memory]
    sizes = [(m.shape[2] // PATCH, m.shape[3] // PATCH) for m in order.memory]
    positions = canvas_positions(height // (2 * PATCH), width // PATCH, sizes)
    prompts = []
    for text in (order.positive, order.negative):
        places = text_positions(positions, text.shape[1])
        rotation = transformer.rotation(places.to(device), positions.to(device))
        prompts.append((text.to(device, dtype), rotation))
    if order.guidance == 1:
        prompts.pop()

    def velocity(canvas: Tensor, sigma: float) -> Tensor:
        tokens = patchify(canvas)
        sequence = torch.cat([tokens, *context], dim=1)
        # Rounded to the tokens' dtype before the division, as the weights were trained.
        time = torch.tensor([1000 * sigma], dtype=torch.float32).to(device, dtype) / 1000
        predicted = [
            transformer(sequence, text, time, rotation)[:, : tokens.shape[1]]
            for text, rotation in prompts
        ]
        return unpatchify(guide(predicted[0], predicted[-1], order.guidance), height)

    return velocity


def load_qwen_edit(files: QwenFiles, settings: QwenSettings = DEFAULTS) -> QwenEdit:
    """The storyboard model of these files.

    Raises:
        MissingPackageError: diffusers or transformers is not installed; nothing is read then.
        ValueError: a file is missing, cut short or of another model; the message names it.
    """
    return QwenEdit(load_networks(files, settings))
