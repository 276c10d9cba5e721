"""The colours of a filmed clip, brought to those of the drawn frames it was filmed between."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Beyond these a fit says more about another picture than about another colour.
_LEAST_GAIN, _MOST_GAIN = 0.5, 2.0
_LEAST_CORRELATION = 0.8
_MOST_LEVELS = 32.0


@dataclass(frozen=True, eq=False)
class ColourFit:
    """Gain and offset [3] of each channel; `error` in levels of 255, before and after it."""

    gain: Tensor
    offset: Tensor
    error_before: float = 0.0
    error_after: float = 0.0

    def between(self, other: ColourFit, weight: float) -> ColourFit:
        """The fit at `weight` in [0, 1] of the way to another."""
        gain = self.gain.lerp(other.gain, weight)
        return ColourFit(gain, self.offset.lerp(other.offset, weight))

    def applied(self, picture: Tensor) -> Tensor:
        """A picture [H, W, 3] uint8 with these colours."""
        made = picture.float() * self.gain + self.offset
        return made.round_().clamp_(0, 255).to(torch.uint8)


def fit_colours(picture: Tensor, wanted: Tensor) -> ColourFit | None:
    """The gain and offset that bring a picture nearest to `wanted`, both [H, W, 3] uint8.

    Least squares in each channel, so the mean squared error never grows. None where the two do
    not show the same.
    """
    own, goal = picture.reshape(-1, 3).double(), wanted.reshape(-1, 3).double()
    own_mean, goal_mean = own.mean(dim=0), goal.mean(dim=0)
    own_spread, goal_spread = own - own_mean, goal - goal_mean
    common, power = (own_spread * goal_spread).mean(dim=0), own_spread.square().mean(dim=0)
    powers = power.sum(), goal_spread.square().mean(dim=0).sum()
    if not any(powers):
        # Two plain pictures have nothing in common but their levels.
        is_same = (goal_mean - own_mean).abs().max() <= _MOST_LEVELS
    else:
        # Where one of them is plain this is 0 / 0, which is no likeness.
        is_same = common.sum() / (powers[0] * powers[1]).sqrt() >= _LEAST_CORRELATION
    if not is_same:
        return None
    gain = torch.where(power > 0, common / power.clamp_min(1e-9), torch.ones(3).double())
    gain = gain.clamp(_LEAST_GAIN, _MOST_GAIN)
    fit = ColourFit(gain.float(), (goal_mean - gain * own_mean).float())
    after = mean_error(fit.applied(picture), wanted)
    return replace(fit, error_before=mean_error(picture, wanted), error_after=after)


def mean_error(first: Tensor, second: Tensor) -> float:
    """Mean absolute difference of two pictures uint8, in levels of 255."""
    return float((first.float() - second.float()).abs().mean())
