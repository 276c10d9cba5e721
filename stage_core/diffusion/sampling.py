"""Samplers: from noise to data along the velocities that a model predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .flow import Velocity, data_from_velocity

OnSamplerStep = Callable[[int, int], None]
"""Called after every step with the steps done and in all; an exception raised in it cancels."""

# At pure noise the logarithm of the signal is infinite, and a multistep sampler divides by it.
# One millionth less, in float32 as other implementations round it.
_MOST_NOISE = 1 - 17 * 2**-24


@dataclass(frozen=True, eq=False)
class SamplerState:
    """Where a sampler stands after `done` steps, all that it needs to go on.

    `past` is what a multistep sampler keeps of earlier steps, in the sampler's own order.
    """

    latents: Tensor
    done: int = 0
    past: tuple[Tensor, ...] = ()

    def to(self, device: str) -> SamplerState:
        """The state with its tensors on a device."""
        past = tuple(tensor.to(device) for tensor in self.past)
        return SamplerState(self.latents.to(device), self.done, past)

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors, for a file."""
        past = {f"past_{place}": tensor for place, tensor in enumerate(self.past)}
        return {"latents": self.latents, "done": torch.tensor(self.done), **past}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> SamplerState:
        """The state that gave these tensors."""
        past = (tensors[f"past_{place}"] for place in range(len(tensors) - 2))
        return cls(tensors["latents"], int(tensors["done"]), tuple(past))


Step = Callable[[Velocity, SamplerState, list[float]], SamplerState]
"""One step of a sampler, from the state and all noise levels."""


def sample(
    step: Step, velocity: Velocity, state: SamplerState, levels: list[float], until: int
) -> SamplerState:
    """The state after `until` steps in all; the steps before those of `state` are not made again.

    A run in parts, each with a velocity of its own, is bit for bit the run in one.
    """
    while state.done < until:
        state = step(velocity, state, levels)
    return state


def euler_step(velocity: Velocity, state: SamplerState, levels: list[float]) -> SamplerState:
    """A step of `euler`."""
    sigma, following = levels[state.done : state.done + 2]
    slope = velocity(state.latents, sigma)
    return SamplerState(_advance(state.latents, slope, following - sigma), state.done + 1)


def unipc_step(velocity: Velocity, state: SamplerState, levels: list[float]) -> SamplerState:
    """A step of a predictor and corrector of second order; the last one is of first order.

    One prediction a step: that at the end of a step also corrects the step. About as good as
    Euler with twice the steps. `past` holds the corrected latents of the step before, then the
    data predicted in the last two steps.

    Source: Zhao et al. 2023, arXiv:2302.04867, the variant B2(h) = e^h - 1, predicting data.
    """
    done, last = state.done, len(levels) - 2
    near = [min(level, _MOST_NOISE) for level in levels[max(0, done - 2) : done + 2]]
    sigma, latents = near[-2], state.latents.float()
    data = data_from_velocity(latents, velocity(state.latents, sigma).float(), sigma)
    if state.past:
        latents = _corrected(state.past, data, near[:-1])
    known = (*state.past[1:], data)[-2:]
    # With nothing behind it, or with the whole rest before it, a step is of first order.
    order = 2 if 0 < done < last else 1
    following = _predicted(latents, known[-order:], near[-order - 1 :])
    return SamplerState(following.to(state.latents.dtype), done + 1, (latents, *known))


def euler(velocity: Velocity, noise: Tensor, sigmas: Tensor, on_step: OnSamplerStep) -> Tensor:
    """Data, by one step along the velocity at the beginning of every interval of `sigmas`.

    Every step is computed in float32 and rounded to the dtype of `noise`, which a model sees.

    Args:
        noise: latents at `sigmas[0]`, any shape; not written to.
        sigmas: falling noise levels, one more than steps.
    """
    levels, state = sigmas.tolist(), SamplerState(noise)
    for done in range(1, len(levels)):
        state = euler_step(velocity, state, levels)
        on_step(done, len(levels) - 1)
    return state.latents


def _advance(latents: Tensor, slope: Tensor, interval: float) -> Tensor:
    return (latents.float() + interval * slope.float()).to(latents.dtype)


def _predicted(latents: Tensor, known: tuple[Tensor, ...], levels: list[float]) -> Tensor:
    """Latents at the last of `levels`, from those at the level before it.

    `known` is the data predicted at all levels but the last, in float32.
    """
    sigma, following = levels[-2:]
    grown = math.expm1(-(_log_signal(following) - _log_signal(sigma)))
    ahead = (following / sigma) * latents - (1 - following) * grown * known[-1]
    if len(known) == 1:
        return ahead
    ratio = _ratio(levels)
    return ahead - (1 - following) * grown * 0.5 * ((known[0] - known[1]) / ratio)


def _corrected(past: tuple[Tensor, ...], data: Tensor, levels: list[float]) -> Tensor:
    """Latents at the last of `levels`, now that the data predicted there is known.

    Source: equation 9 of the paper, with the two weights written out.
    """
    before, *known = past
    sigma, following = levels[-2:]
    step = _log_signal(following) - _log_signal(sigma)
    grown = math.expm1(-step)
    change = data - known[-1]
    if len(known) == 1:
        bent = 0.5 * change
    else:
        first = grown / -step - 1
        moments = first / grown, 2 * (first / -step - 0.5) / grown
        ratio = _ratio(levels)
        back = (moments[1] - moments[0]) / (ratio - 1)
        bent = back * ((known[0] - known[1]) / ratio) + (moments[0] - back) * change
    ahead = (following / sigma) * before - (1 - following) * grown * known[-1]
    return ahead - (1 - following) * grown * bent


def _ratio(levels: list[float]) -> float:
    """How far back the level before a step lies, in units of the step."""
    earlier, sigma, following = (_log_signal(level) for level in levels[-3:])
    return (earlier - sigma) / (following - sigma)


def _log_signal(sigma: float) -> float:
    """Logarithm of the ratio of data to noise."""
    return math.log((1 - sigma) / sigma) if sigma > 0 else math.inf
