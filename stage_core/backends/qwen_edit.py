"""STEP2 over Qwen-Image-Edit: the start and the end frame of a shot, drawn as one tall picture.

What is drawn rests on the words, on the previous end frame, which the text encoder sees, and on
the memory pack, of which the transformer sees every frame. The pack's scale decides the mode:
FULL as released, RELEASED with the released code's pyramid, PAPER ranked and tiled as in
arXiv:2512.12372, for which the released weights may not have been trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..diffusion.canvas import PATCH, pair_noise, patchify, split_pair, stack_pair, unpatchify
from ..diffusion.flow import Velocity, hold
from ..diffusion.guidance import guide
from ..diffusion.sampling import OnSamplerStep, euler
from ..diffusion.schedule import stretched_sigmas
from ..encoding.dual import (
    VAE_SIDE,
    EncoderAreas,
    Once,
    fitted,
    held_canvas,
    pack_tokens,
    read_at,
)
from ..encoding.positions import canvas_positions, text_positions
from ..encoding.prompts import negative_prompt, shot_prompt
from ..encoding.pyramid import shrink
from ..encoding.ranking import Likeness, Ranker, by_relevance, patch_descriptor
from ..models.modulation import NoiseLevel
from ..models.qwen_image import QwenImage
from ..models.qwen_layers import JointTokens
from ..offload.placed import PlaceReport
from ..packages import need_packages
from ..story.brief import ShotBrief
from ..story.frames import FramePair, Picture
from ..story.memory import MemoryFrame, MemoryPack, MemoryScale
from ..story.shot_list import FrameFormat
from .protocol import Grid, OnStep, Sampling, drawing_seed, within_room
from .qwen_networks import (
    DEFAULTS,
    QwenFiles,
    QwenNetworks,
    QwenSettings,
    QwenSource,
    open_networks,
)

STEPS = 20
GUIDANCE = 4.0
SHIFT = 2.2
GRID = Grid(area=1536 * 864, multiple=16)
_RELEASED = Sampling(steps=STEPS, guidance=GUIDANCE, shift=SHIFT)
_LATENT_CHANNELS = 16
_KEPT_PICTURES = 512
_LESS_ROOM = (
    "while drawing; pairs that were drawn are kept, and less memory of earlier frames, such as the "
    "scale paper or a smaller capacity, needs less"
)

Attempt = Callable[[Callable[[], list[Tensor]]], list[Tensor]]
"""Calls what it is given, and gives what that gives."""


def _once(call: Callable[[], list[Tensor]]) -> list[Tensor]:
    return call()


@dataclass(frozen=True, eq=False)
class DrawingOrder:
    """All that drawing one canvas depends on, besides the transformer.

    `noise` and `known` are canvases [1, 16, 2h, w], `held` a mask [1, 1, 2h, 1], true where the
    canvas is `known`. `memory` are latents [1, 16, h, w] of any size, `positive` and `negative`
    are prompts [1, L, D], `sigmas` the noise levels of the sampler. `negative` is None where the
    guidance is 1, which needs none. `seed`: for samplers that add noise on their way.
    """

    noise: Tensor
    known: Tensor
    held: Tensor
    memory: tuple[Tensor, ...]
    positive: Tensor
    negative: Tensor | None
    sigmas: Tensor
    guidance: float
    seed: int = 0


class QwenEdit:
    """Draws pairs with the networks of a `QwenSource`; a given half is held.

    `ranker` orders memory frames, None for the pack's own order, or for likeness to the newest
    frame where the pack's scale is that of the paper. `own` are steps, guidance and shift where a
    drawing's sampling leaves them open.
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
        ranker: Ranker | None = None,
        own: Sampling = _RELEASED,
    ):
        self.identity = _identity(networks.identity, ranker, own)
        self.grid = grid
        self.networks, self._ranker, self._own = networks, ranker, own
        self._likeness = Likeness(patch_descriptor, "patches")
        self._latents: Once[Tensor] = Once(_KEPT_PICTURES)

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
        own = self._own
        steps = own.steps if sampling.steps is None else sampling.steps
        shift = own.shift if sampling.shift is None else sampling.shift
        sigmas = stretched_sigmas(steps, shift)
        width, height = self.grid.size(brief.frame_format)
        shape = (1, _LATENT_CHANNELS, height // VAE_SIDE, width // VAE_SIDE)
        memory = self._ranked(brief).shown(brief.shot)
        seen = memory[0].picture if memory else None
        guidance = own.guidance if sampling.guidance is None else sampling.guidance
        encode = self.networks.text_encoder.encode
        positive = encode(shot_prompt(brief), seen)
        # The negative is read with the same picture, so that guidance is about the words.
        negative = None if guidance == 1 else encode(negative_prompt(brief), seen)
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
            guidance,
            seed,
        )

    def denoise(self, order: DrawingOrder, on_step: OnSamplerStep) -> Tensor:
        """The canvas [1, 16, 2h, w] of an order."""
        transformer = self.networks.transformer
        sizes = _sizes(order)
        placement = self.networks.turns.draw(lambda: _rehearsed(transformer, *sizes), sizes)
        return denoise(transformer, order, on_step, placement.attempt)

    def _ranked(self, brief: ShotBrief) -> MemoryPack:
        pack, ranker = brief.memory, self._ranker
        if ranker is None and pack.scale is MemoryScale.PAPER:
            ranker = self._likeness
        newest = (pack.recent or pack.references)[:1]
        if ranker is None or not newest:
            return pack
        return by_relevance(pack, brief.shot, ranker.relevance(newest[0].picture))

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


def memory_cost(pack: MemoryPack, frame_format: FrameFormat) -> tuple[int, int]:
    """Tokens of a full memory pack at every step, and those of the pair that is drawn with it."""
    size = GRID.size(frame_format)
    pair = 2 * (size[0] // (VAE_SIDE * PATCH)) * (size[1] // (VAE_SIDE * PATCH))
    return pack_tokens(pack, size, EncoderAreas()), pair


def denoise(
    transformer: QwenImage,
    order: DrawingOrder,
    on_step: OnSamplerStep,
    attempt: Attempt = _once,
) -> Tensor:
    """The canvas [1, 16, 2h, w] of an order, in the transformer's dtype and on its device.

    Args:
        attempt: makes a prediction, again where VRAM ran out and can be had.

    Raises:
        ValueError: guidance below 1.
    """
    device, dtype = transformer.device, transformer.dtype
    noise, known = order.noise.to(device, dtype), order.known.to(device, dtype)
    velocity = hold(_velocity(transformer, order, attempt), known, noise, order.held.to(device))
    return euler(velocity, noise, order.sigmas, on_step)


def _sizes(order: DrawingOrder) -> tuple[int, ...]:
    """How many noise levels an order has, tokens of pictures, and tokens of each of its texts."""
    latents = (order.noise, *order.memory)
    texts = (text for text in (order.positive, order.negative) if text is not None)
    count = sum(one.shape[2] * one.shape[3] for one in latents) // PATCH**2
    return len(order.sigmas) - 1, count, *(text.shape[1] for text in texts)


def _rehearsed(transformer: QwenImage, steps: int, count: int, *lengths: int) -> list[Tensor]:
    """One prediction of an order of these sizes, of tensors without numbers.

    Beside what is computed there is what all blocks made of all noise levels.
    """
    config, dtype = transformer.config, transformer.dtype

    def rotation(length: int) -> Tensor:
        half = config.attention_head_dim // 2
        return torch.empty(length, half, dtype=torch.complex64, device="meta")

    def empty(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    sequences = [
        JointTokens(
            empty(1, count, config.in_channels),
            empty(1, length, config.width),
            (rotation(length), rotation(count)),
        )
        for length in lengths
    ]
    embedding = empty(config.num_times, config.width)
    made = [block.levels([embedding] * steps) for block in transformer.transformer_blocks]
    levels = [NoiseLevel(embedding, blocks) for blocks in zip(*made, strict=True)]
    return transformer.forward_many(sequences, levels[0])


def _velocity(transformer: QwenImage, order: DrawingOrder, attempt: Attempt) -> Velocity:
    """Of a canvas [1, 16, 2h, w]: guided, memory frames seen in every prediction."""
    device, dtype = transformer.device, transformer.dtype
    height, width = order.noise.shape[2:]
    context = [patchify(latents.to(device, dtype)) for latents in order.memory]
    sizes = [(m.shape[2] // PATCH, m.shape[3] // PATCH) for m in order.memory]
    positions = canvas_positions(height // (2 * PATCH), width // PATCH, sizes)
    prompts = []
    for text in (order.positive, order.negative)[: 1 if order.guidance == 1 else 2]:
        places = text_positions(positions, text.shape[1])
        rotation = transformer.rotation(places.to(device), positions.to(device))
        prompts.append((transformer.words(text.to(device, dtype)), rotation))
    levels = _levels(transformer, order.sigmas)

    def velocity(canvas: Tensor, sigma: float) -> Tensor:
        tokens = patchify(canvas)
        count, sequence = tokens.shape[1], torch.cat([tokens, *context], dim=1)
        joint = [JointTokens(sequence, words, rotation, count) for words, rotation in prompts]
        found = attempt(lambda: transformer.forward_many(joint, levels[sigma]))
        predicted = [velocities[:, :count] for velocities in found]
        return unpatchify(guide(predicted[0], predicted[-1], order.guidance), height)

    return velocity


def _levels(transformer: QwenImage, sigmas: Tensor) -> dict[float, NoiseLevel]:
    """The noise levels that a sampler predicts at, by sigma."""
    levels = sigmas[:-1].tolist()
    # Rounded to the tokens' dtype before the division, as the weights were trained.
    times = torch.tensor([1000 * sigma for sigma in levels]).to(transformer.dtype) / 1000
    return dict(zip(levels, transformer.levels(times), strict=True))


class QwenEditOnDemand:
    """A QwenEdit whose weights are read when the first pair is drawn, and not for those kept."""

    reads = QwenEdit.reads

    def __init__(
        self,
        source: QwenSource,
        grid: Grid = GRID,
        ranker: Ranker | None = None,
        own: Sampling = _RELEASED,
    ):
        self.identity = _identity(source.identity, ranker, own)
        self.grid = grid
        self._source, self._ranker, self._own = source, ranker, own
        self._model: QwenEdit | None = None

    @property
    def places(self) -> dict[str, PlaceReport]:
        """Where the weights of each network were in the last film, after `rest`."""
        return dict(self._model.networks.turns.reports) if self._model else {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """`places` in words."""
        return tuple(map(str, self.places.values()))

    def rest(self) -> None:
        """Gives the device back after a film; the weights stay in RAM."""
        if self._model is not None:
            self._model.networks.turns.rest()

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        """As QwenEdit.

        Raises:
            MemoryError: RAM or VRAM does not suffice.
            ValueError: a file is of another model, by name.
        """
        if brief.given.complete:
            return brief.given
        with within_room((brief.shot,), self._source.settings.offload.device, _LESS_ROOM):
            if self._model is None:
                networks = self._source.load()
                self._model = QwenEdit(networks, self.grid, self._ranker, self._own)
            return self._model.draw(brief, sampling, on_step)


def load_qwen_edit(
    files: QwenFiles,
    settings: QwenSettings = DEFAULTS,
    ranker: Ranker | None = None,
    own: Sampling = _RELEASED,
) -> QwenEditOnDemand:
    """The storyboard model of these files, of which only headers are read now.

    Args:
        own: steps, guidance and shift where a drawing's sampling leaves them open.

    Raises:
        MissingPackageError: diffusers or transformers is not installed.
        ValueError: a file is missing or cut short; the message names it.
    """
    need_packages("the storyboard model")
    return QwenEditOnDemand(open_networks(files, settings), ranker=ranker, own=own)


def _identity(networks: str, ranker: Ranker | None, own: Sampling) -> str:
    """Of networks alone, or with what else decides: the order of memory, sampling of their own."""
    if ranker is not None:
        networks = hashlib.sha256(f"{networks} {ranker.identity}".encode()).hexdigest()
    if own != _RELEASED:
        networks = hashlib.sha256(f"{networks} {own}".encode()).hexdigest()
    return f"qwen-edit-{networks[:16]}"
