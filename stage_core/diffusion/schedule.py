"""Sigma schedules: the noise levels a sampler visits, from 1 (noise) down to 0 (data)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def shifted_sigmas(steps: int, shift: float) -> Tensor:
    """Noise levels of `steps` sampler steps, [steps + 1] float32, from 1 to 0.

    They start as 1, 1 - 1/steps, ..., 1/steps and are moved by `shift_sigmas`.

    Raises:
        ValueError: fewer than 1 step, or a shift that is not positive.
    """
    if steps < 1:
        raise ValueError(f"{steps} sampler steps; use at least 1")
    return _ended(shift_sigmas(_even(steps), shift))


def stretched_sigmas(steps: int, shift: float, terminal: float = 0.02) -> Tensor:
    """As `shifted_sigmas`, but stretched so that the last level before 0 is `terminal`.

    Qwen-Image was trained to finish from 0.02, whatever the number of steps.

    Raises:
        ValueError: fewer than 2 steps (the first level is 1 and cannot be the last as well), a
            shift that is not positive, or a terminal outside (0, 1).
    """
    if steps < 2:
        raise ValueError(f"{steps} sampler steps; a schedule that ends at {terminal} needs 2")
    if not 0 < terminal < 1:
        raise ValueError(f"terminal noise level {terminal}; use a value between 0 and 1")
    clean = 1 - shift_sigmas(_even(steps), shift)
    return _ended(1 - clean * ((1 - terminal) / clean[-1]))


def trained_sigmas(steps: int, shift: float) -> Tensor:
    """As `shifted_sigmas`, but in float64 and even between 1 and 1/1000, the last level Wan saw.

    Wan rounds 1000 sigma down to whole timesteps, so the last bits of a level count.

    Raises:
        ValueError: fewer than 1 step, or a shift that is not positive.
    """
    if steps < 1:
        raise ValueError(f"{steps} sampler steps; use at least 1")
    _check_shift(shift)
    # In the order of operations of the library that most are used to, for the same reason.
    even = torch.arange(steps, dtype=torch.float64) * ((1 / 1000 - 1) / steps) + 1
    sigmas = shift * even / (1 + (shift - 1) * even)
    sigmas[0] = 1
    return _ended(sigmas)


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """`sigmas` moved towards noise by a shift above 1, towards data by one below 1.

    Source: Esser et al. 2024, arXiv:2403.03206, eq. 23, with t for sigma.

    Raises:
        ValueError: a shift that is not positive.
    """
    _check_shift(shift)
    # This form of the denominator keeps 0 and 1 exactly where they are.
    return shift * sigmas / (shift * sigmas + (1 - sigmas))


def _check_shift(shift: float) -> None:
    if not 0 < shift < math.inf:
        raise ValueError(f"schedule shift {shift}; use a positive number, 1 for none")


def _even(steps: int) -> Tensor:
    return torch.linspace(1, 1 / steps, steps, dtype=torch.float32)


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
