"""How Wan is sampled: the authors' settings, and what a transformer predicts under them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from ..diffusion.flow import Velocity
from ..diffusion.guidance import extrapolate
from ..diffusion.sampling import Step, euler_step, unipc_step
from ..diffusion.schedule import shifted_sigmas, trained_sigmas
from ..encoding.dual import Once
from ..models.wan import Prompt, Wan
from .protocol import Grid, Sampling
from .wan_conditions import STRIDE, Condition
from .wan_networks import WanSource

_STEPS: dict[str, Step] = {"unipc": unipc_step, "euler": euler_step}


@dataclass(frozen=True, eq=False)
class WanOrder:
    """All that a prediction depends on besides transformer, latents and settings.

    `shape`: of the latents. `words`: to follow and to avoid, [1, L, D] each. `sights`: what the
    image encoder saw in the keyframes, [1, P, D], or None.
    """

    shape: tuple[int, ...]
    words: tuple[Tensor, ...]
    sights: Tensor | None
    condition: Condition


@dataclass(frozen=True)
class WanSampling:
    """A model's own settings of the sampler.

    `guidance` is that of either expert. The second takes over below the noise level `boundary`.
    Shots of more than `longest` frames are refused.
    """

    grid: Grid
    steps: int
    guidance: tuple[float, float]
    shift: float
    longest: int
    boundary: float = 0.0
    sampler: str = "unipc"

    def __post_init__(self):
        if self.sampler not in _STEPS:
            raise ValueError(f"sampler {self.sampler!r}; there are {', '.join(_STEPS)}")

    def overridden(self, sampling: Sampling) -> WanSampling:
        """These settings where `sampling` leaves them open."""
        guidance = self.guidance if sampling.guidance is None else (sampling.guidance,) * 2
        if not min(guidance) >= 1:
            raise ValueError(
                f"guidance {min(guidance)}; use at least 1, where 1 ignores the negative"
            )
        return replace(
            self,
            steps=self.steps if sampling.steps is None else sampling.steps,
            guidance=guidance,
            shift=self.shift if sampling.shift is None else sampling.shift,
        )

    @property
    def step(self) -> Step:
        """The sampler's step."""
        return _STEPS[self.sampler]

    def levels(self) -> list[float]:
        """The noise levels of all steps and the last, 0."""
        sigmas = trained_sigmas if self.sampler == "unipc" else shifted_sigmas
        return sigmas(self.steps, self.shift).tolist()

    def timestep(self, sigma: float) -> float:
        """What the transformer is told of a noise level: of its own sampler a whole number."""
        return float(int(1000 * sigma)) if self.sampler == "unipc" else 1000 * sigma

    def switch_at(self) -> int:
        """After how many steps the second expert takes over."""
        times = [self.timestep(sigma) for sigma in self.levels()[:-1]]
        return sum(timestep >= 1000 * self.boundary for timestep in times)


_LARGE = Grid(area=832 * 480, multiple=16, rate=Fraction(16), stride=STRIDE)
_SMALL = Grid(area=1280 * 704, multiple=32, rate=Fraction(24), stride=STRIDE)
# As the authors sample. Wan 2.2: wan/configs of Wan-Video/Wan2.2, i2v_A14B and ti2v_5B.
TWO_EXPERTS = WanSampling(_LARGE, 40, (3.5, 3.5), 5.0, 81, boundary=0.9)
SMALL = WanSampling(_SMALL, 50, (5.0, 5.0), 5.0, 121)
# Wan 2.1 from a start, at 480p, and from two ends: generate.py of Wan-Video/Wan2.1.
ONE_EXPERT = WanSampling(_LARGE, 40, (5.0, 5.0), 3.0, 81)
TWO_ENDS = WanSampling(_LARGE, 50, (5.0, 5.0), 16.0, 81)
# Wan 2.1 VACE: vace_wan_inference.py of ali-vilab/VACE. Wan 2.2 VACE Fun: predict_i2v.py in
# examples/wan2.2_vace_fun of aigc-apps/VideoX-Fun, with its shift for UniPC.
LED = WanSampling(_LARGE, 50, (5.0, 5.0), 16.0, 81)
LED_BY_TWO = WanSampling(_LARGE, 50, (5.0, 5.0), 12.0, 81, boundary=0.875)


# With an adapter that was trained to need no more.
FEW_STEPS = {"steps": 4, "guidance": (1.0, 1.0), "shift": 5.0, "sampler": "euler"}


def own_sampling(source: WanSource) -> WanSampling:
    """The settings that the authors sample this model with."""
    if source.led:
        return LED_BY_TWO if source.two_experts else LED
    if source.holds_start:
        return SMALL
    if source.two_experts:
        return TWO_EXPERTS
    # Only the model of two ends tells the pictures that it sees apart.
    return ONE_EXPERT if source.config.pos_embed_seq_len is None else TWO_ENDS


class Prompts:
    """What an expert has read, with the keys and values that its blocks keep there.

    Only of the last two: what a shot follows and what it avoids, which others mostly avoid too.
    """

    def __init__(self, expert: Wan):
        self._expert = expert
        self._read: Once[Prompt] = Once(2)

    def of(self, order: WanOrder, guidance: float) -> list[Prompt]:
        """The prompts of an order, one for each branch of guidance; orders stay while these do."""
        sights = order.sights
        return [
            self._read.get((id(words), id(sights)), partial(self._expert.read, words, sights))
            for words in _followed(order, guidance)
        ]


def velocity(
    expert: Wan, order: WanOrder, settings: WanSampling, prompts: Prompts, guidance: float
) -> Velocity:
    """Of latents [1, C, T, h, w] in float32, where the transformer is; guided."""
    device, condition = expert.device, order.condition
    followed = prompts.of(order, guidance)
    rotation = expert.rotation(torch.arange(order.shape[2]), *order.shape[3:])
    beside = condition.beside if condition.beside is None else condition.beside.to(device)

    def predict(latents: Tensor, sigma: float) -> Tensor:
        # A start that stands in the latents is without noise.
        times = [settings.timestep(sigma)]
        times = times if condition.start is None else [0.0, *times]
        given = with_start(latents, condition)
        if beside is not None:
            given = torch.cat([given, beside], dim=1)
        noisy = torch.tensor(times, dtype=torch.float32, device=device)
        predicted = expert(given.to(expert.dtype), noisy, followed, rotation)
        if guidance == 1:
            return predicted[0].float()
        return extrapolate(*predicted, guidance).float()

    return predict


def rehearsal(expert: Wan, order: WanOrder, guidance: float) -> Callable[[], object]:
    """A prediction on tensors without numbers, which tells how much memory one needs."""
    width, beside, times = expert.config.width, order.condition.beside, order.shape[2]
    channels = order.shape[1] + (0 if beside is None else beside.shape[1])

    def empty(*shape: int, dtype: torch.dtype = expert.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    tokens = times * math.prod(order.shape[3:]) // math.prod(expert.config.patch_size)
    places = empty(tokens, expert.config.attention_head_dim // 2, dtype=torch.float32)

    def predict() -> object:
        # New prompts each time: the keys and values that blocks make of them count as well.
        prompts = [
            Prompt(
                empty(1, words.shape[1], width),
                None if order.sights is None else empty(1, order.sights.shape[1], width),
            )
            for words in _followed(order, guidance)
        ]
        latents = empty(1, channels, *order.shape[2:])
        given = empty(1 if order.condition.start is None else 2, dtype=torch.float32)
        return expert(latents, given, prompts, (places, places))

    return predict


def with_start(latents: Tensor, condition: Condition) -> Tensor:
    """The latents with the condition's start in its place, where it has one."""
    if condition.start is None:
        return latents
    return torch.cat([condition.start.to(latents), latents[:, :, 1:]], dim=2)


def _followed(order: WanOrder, guidance: float) -> tuple[Tensor, ...]:
    """The words of each branch: without guidance nothing is avoided."""
    return order.words[:1] if guidance == 1 else order.words
