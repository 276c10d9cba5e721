"""Rectified flow: data and noise joined by a straight line, sigma 0 at data and 1 at noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""The change of latents per unit of sigma, from the latents and their sigma."""


def mix(data: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """The point at `sigma` on the line from `data` to `noise`; a tensor of sigmas broadcasts."""
    return (1 - sigma) * data + sigma * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """The velocity along the line, which a model learns to predict; the same at every sigma."""
    return noise - data


def data_from_velocity(latents: Tensor, velocity: Tensor, sigma: float | Tensor) -> Tensor:
    """The data at the end of the line through `latents` at `sigma` with this velocity."""
    return latents - sigma * velocity


def hold(velocity: Velocity, data: Tensor, noise: Tensor, held: Tensor) -> Velocity:
    """`velocity`, but where `held` is true that of the line from `noise` to `data`.

    A sampler that starts at `noise` then passes through exactly the latents the model saw in
    training for known data, and ends on `data` there.

    Args:
        data, noise: of the shape of the latents; `data` is not read where `held` is false.
        held: bool, broadcasts to the latents.
    """
    known = velocity_target(data, noise)

    def held_velocity(latents: Tensor, sigma: float) -> Tensor:
        return torch.where(held, known, velocity(latents, sigma))

    return held_velocity
