"""What a pair costs when many were drawn before it, with a transformer of any size.

Everything is the storyboard model's own but its encoders, which give random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ..backends.protocol import Grid, OnStep, Sampling
from ..backends.qwen_edit import QwenEdit
from ..backends.qwen_networks import QwenNetworks
from ..encoding.dual import VAE_SIDE
from ..models.qwen_image import QwenImage
from ..offload.placed import Placement
from ..pipeline import draw
from ..story.brief import ShotBrief
from ..story.frames import FramePair, Picture
from ..story.memory import MemoryPack, MemoryScale
from ..story.shot_list import FrameFormat, Shot, ShotList
from ..story.storyboard import Storyboard
from .gpu_networks import Bench, in_place, seconds_of
from .rows import Row
from .subjects import TEXT_WIDTH

EARLY_SHOT, NUM_SHOTS = 2, 16
# The pack is full at the early shot, so that both shots do the same work if nothing else grows.
PACK = MemoryPack(capacity=2 * (EARLY_SHOT - 1), scale=MemoryScale.PAPER)
_QUICK = Sampling(steps=2)
_TEXT_TOKENS = 512
_CHANNELS = 16
_ROUNDS = 3


def drawn_history(bench: Bench) -> Iterator[Row]:
    """The time of the last of some shots over that of an early one, both drawn again in turns."""
    scale = bench.scale
    shots = tuple(Shot(str(n), f"Ana waits by window {n}") for n in range(1, NUM_SHOTS + 1))
    board = Storyboard(ShotList(frame_format=FrameFormat(*scale.frame), shots=shots))

    def on_step(shot: Shot, step: int, steps: int) -> None:
        bench.on_row(f"history, shot {shot.id} of {NUM_SHOTS}")

    subject = bench.subject("Qwen", scale.fewest)
    with in_place(bench, subject) as place:
        model = _Drawing(subject.network, place, scale.frame)
        draw(board, model, PACK, _QUICK, on_step)
        rounds = [model.seconds(on_step) for _ in range(_ROUNDS)]
    early, late = map(min, zip(*rounds, strict=True))
    label = f"history, {scale.frame[0]}x{scale.frame[1]}, shot {NUM_SHOTS}"
    yield Row(f"{label}: time", late, "s")
    yield Row(f"{label}: time over shot {EARLY_SHOT}", late / early, "x")


class _Drawing(QwenEdit):
    """The storyboard model with a transformer that is in place and no encoders."""

    def __init__(self, transformer: QwenImage, place: Placement, frame: tuple[int, int]):
        encoders = _Encoders()
        networks = QwenNetworks(transformer, encoders, _Words(), "random", None, _ItsTurn(place))
        super().__init__(networks, Grid(area=frame[0] * frame[1], multiple=16))
        self._device = place.device
        self._briefs: list[ShotBrief] = []

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        self._briefs.append(brief)
        return super().draw(brief, sampling, on_step)

    def seconds(self, on_step: OnStep) -> list[float]:
        """Of the early shot and of the last, drawn again."""
        again = super().draw  # In a comprehension super() has no class.
        briefs = self._briefs[EARLY_SHOT - 1], self._briefs[NUM_SHOTS - 1]
        return [seconds_of(lambda b=one: again(b, _QUICK, on_step), self._device) for one in briefs]


class _ItsTurn:
    """The transformer's, always."""

    def __init__(self, place: Placement):
        self._place = place

    def draw(self, rehearse: Callable[[], object], sizes: tuple[int, ...]) -> Placement:
        return self._place


class _Words:
    """Random words."""

    def __init__(self):
        self._generator = torch.Generator().manual_seed(0)

    def encode(self, words: str, picture: Picture | None) -> Tensor:
        return torch.randn(1, _TEXT_TOKENS, TEXT_WIDTH, generator=self._generator)


class _Encoders:
    """Random latents of pictures, and pictures of a kind of latents."""

    def __init__(self):
        self._generator = torch.Generator().manual_seed(0)

    def encode(self, image: Tensor) -> Tensor:
        height, width = (side // VAE_SIDE for side in image.shape[:2])
        return torch.randn(1, _CHANNELS, height, width, generator=self._generator)

    def decode(self, latents: Tensor) -> Tensor:
        grey = latents[:, :3].float().cpu().sigmoid()
        return functional.interpolate(grey, scale_factor=VAE_SIDE)
