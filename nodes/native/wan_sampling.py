"""The steps of Wan in ComfyUI's own samplers: which model makes which, and where it stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.sample
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from torch import Tensor

from ...stage_core.backends.protocol import Sampling
from .preview import Preview
from .wan_checks import NativeWanNetworks

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
SCHEDULES = comfy.samplers.KSampler.SCHEDULERS
Report = Callable[[int], None]
"""Called with the steps done."""


@dataclass(frozen=True)
class NativeWanSettings:
    """The sampler's settings; shots of more frames than `longest` are refused.

    Of two models the second takes over after `switch_at` steps, with a guidance of its own.
    """

    steps: int
    guidance: float
    shift: float
    sampler: str
    schedule: str
    longest: int
    switch_at: int = 0
    guidance_low: float = 1.0

    def overridden(self, sampling: Sampling) -> NativeWanSettings:
        """These settings where `sampling` leaves them open."""
        steps = self.steps if sampling.steps is None else sampling.steps
        guidance = self.guidance, self.guidance_low
        high, low = guidance if sampling.guidance is None else (sampling.guidance,) * 2
        return replace(
            self,
            steps=steps,
            guidance=high,
            shift=self.shift if sampling.shift is None else sampling.shift,
            switch_at=round(self.switch_at * steps / self.steps),
            guidance_low=low,
        )


@dataclass(frozen=True, eq=False)
class Order:
    """All that sampling depends on but the settings.

    `latents` [1, C, T, h, w] are to be sampled on; of VACE the first in time are pictures shown
    beside the shot and no part of it.
    """

    positive: list
    negative: list
    latents: Tensor
    noise_mask: Tensor | None
    seed: int


@dataclass(frozen=True, eq=False)
class Phase:
    """The steps that one model makes; `name` tells it from the other."""

    name: str
    model: ModelPatcher
    guidance: float
    first: int
    last: int


def phases(networks: NativeWanNetworks, settings: NativeWanSettings) -> tuple[Phase, ...]:
    """What the models make, in order.

    Raises:
        ValueError: two models, one of which would make no step.
    """
    steps, switch_at = settings.steps, settings.switch_at
    if networks.low is None:
        return (Phase("model_high", networks.high, settings.guidance, 0, steps),)
    if not 0 < switch_at < steps:
        raise ValueError(
            f"switch_at {switch_at} of {steps} steps leaves one of the two models none; use 1 to "
            f"{steps - 1}, or leave model_low empty"
        )
    return (
        Phase("model_high", networks.high, settings.guidance, 0, switch_at),
        Phase("model_low", networks.low, settings.guidance_low, switch_at, steps),
    )


def sampled(order: Order, phase: Phase, settings: NativeWanSettings, report: Report) -> Tensor:
    """The latents after the steps of a phase, with the noise that is left in them."""
    (model,) = ModelSamplingSD3().patch(phase.model, settings.shift)
    return comfy.sample.sample(
        model,
        _noise(order) if phase.first == 0 else torch.zeros(order.latents.shape),
        settings.steps,
        phase.guidance,
        settings.sampler,
        settings.schedule,
        order.positive,
        order.negative,
        comfy.sample.fix_empty_latent_channels(model, order.latents),
        disable_noise=phase.first > 0,
        start_step=phase.first,
        last_step=phase.last,
        force_full_denoise=phase.last == settings.steps,
        noise_mask=order.noise_mask,
        callback=_callback(phase, model, report),
        disable_pbar=True,
        seed=order.seed,
    )


def _noise(order: Order) -> Tensor:
    # As the host's own samplers draw it, but leaving the global generator alone.
    generator = torch.Generator().manual_seed(order.seed)
    return torch.randn(order.latents.shape, generator=generator)


def _callback(phase: Phase, model: ModelPatcher, report: Report) -> Callable:
    preview, told = Preview(model), [phase.first]

    def callback(step: int, denoised: Tensor, noisy: Tensor, total: int) -> None:
        # Some samplers of the host report a step twice, or one more than there are.
        done = min(phase.first + step + 1, phase.last)
        if done > told[0]:
            told[0] = done
            report(done)
        middle = denoised.shape[2] // 2
        preview.show(denoised[:, :, middle : middle + 1])

    return callback
