"""Samplers: from noise to data along the velocities that a model predicts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

from .flow import Velocity

OnSamplerStep = Callable[[int, int], None]
"""Called after every step with the steps done and in all; an exception raised in it cancels."""


def euler(velocity: Velocity, noise: Tensor, sigmas: Tensor, on_step: OnSamplerStep) -> Tensor:
    """Data, by one step along the velocity at the beginning of every interval of `sigmas`.

    Every step is computed in float32 and rounded to the dtype of `noise`, which a model sees.

    Args:
        noise: latents at `sigmas[0]`, any shape; not written to.
        sigmas: falling noise levels, one more than steps.
    """
    latents, levels = noise, sigmas.tolist()
    for done, (sigma, following) in enumerate(pairwise(levels), start=1):
        latents = _advance(latents, velocity(latents, sigma), following - sigma)
        on_step(done, len(levels) - 1)
    return latents


def heun(velocity: Velocity, noise: Tensor, sigmas: Tensor, on_step: OnSamplerStep) -> Tensor:
    """As `euler`, along the mean of the velocities at both ends of an interval.

    Two predictions a step for an error of second order. The last step, to 0, is an Euler step:
    no model was trained to predict at 0.

    Source: Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """
    latents, levels = noise, sigmas.tolist()
    for done, (sigma, following) in enumerate(pairwise(levels), start=1):
        slope = velocity(latents, sigma)
        if following > 0:
            ahead = _advance(latents, slope, following - sigma)
            slope = (slope.float() + velocity(ahead, following).float()) / 2
        latents = _advance(latents, slope, following - sigma)
        on_step(done, len(levels) - 1)
    return latents


def _advance(latents: Tensor, slope: Tensor, interval: float) -> Tensor:
    return (latents.float() + interval * slope.float()).to(latents.dtype)
