"""Two files of weights compared tensor by tensor, each allowed the rounding of its own dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import low_bit
from .checkpoint import SCALE, Weights


@dataclass
class Comparison:
    """How many tensors are equal, or equal within rounding, and which are not.

    `different` has the largest difference of each; `missing` are in the first file only,
    `unknown` in the second only. `dtypes` are those of rounded tensors.
    """

    equal: int = 0
    rounded: int = 0
    different: dict[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    dtypes: set[str] = field(default_factory=set)

    @property
    def same(self) -> bool:
        """Whether both hold the same weights, as far as rounding lets one tell."""
        return not (self.different or self.missing or self.unknown)

    def __str__(self) -> str:
        says = [f"{self.equal} tensors are equal"]
        if self.rounded:
            says.append(f"{self.rounded} within the rounding of {', '.join(sorted(self.dtypes))}")
        if self.different:
            worst = max(self.different, key=self.different.__getitem__)
            by = self.different[worst]
            says.append(f"{len(self.different)} differ ({worst} by {by:.3g})")
        for how, names in (("missing", self.missing), ("unknown", self.unknown)):
            if names:
                says.append(f"{len(names)} are {how} ({names[0]})")
        return ", ".join(says)


def compare(base: Weights, other: Weights, on_tensor: Callable[[int, int], None]) -> Comparison:
    """Compare all tensors, two at a time in memory; `on_tensor` gets how many are done, of all.

    Raises:
        ValueError: see `Weights.check_formats`.
    """
    for weights in (base, other):
        weights.check_formats()
    names = [{name for name in w.tensors if not name.endswith(SCALE)} for w in (base, other)]
    common = sorted(names[0] & names[1])
    found = Comparison(
        missing=tuple(sorted(names[0] - names[1])), unknown=tuple(sorted(names[1] - names[0]))
    )
    for done, name in enumerate(common, start=1):
        _note(found, name, base.tensor(name), other.tensor(name))
        on_tensor(done, len(common))
    return found


_Stored = tuple[Tensor, "Tensor | None"]


def _note(found: Comparison, name: str, one: _Stored, two: _Stored) -> None:
    if one[0].shape != two[0].shape:
        found.different[name] = float("inf")
        return
    values = [low_bit.dequantise(*stored).float() for stored in (one, two)]
    apart = (values[0] - values[1]).abs()
    if not apart.any():
        found.equal += 1
    elif (apart <= _step(*one, values[0]) + _step(*two, values[0])).all():
        found.rounded += 1
        # Of the two the one of fewer bits is what rounds.
        coarse = max(one[0].dtype, two[0].dtype, key=lambda dtype: sum(_steps(dtype)))
        found.dtypes.add(str(coarse).removeprefix("torch."))
    else:
        found.different[name] = float(apart.nan_to_num(float("inf")).max())


def _step(tensor: Tensor, scale: Tensor | None, values: Tensor) -> Tensor:
    """How far apart neighbouring numbers of a stored tensor are, near `values`."""
    relative, least = _steps(tensor.dtype)
    smallest = torch.full((), least)
    if scale is not None:
        ones = torch.ones(tensor.shape, dtype=scale.dtype)
        smallest = smallest * low_bit.dequantise(ones, scale).float()
    return torch.maximum(values.abs() * relative, smallest)


def _steps(dtype: torch.dtype) -> tuple[float, float]:
    """From a number to the next: in parts of it, and at least."""
    if not dtype.is_floating_point:
        return 0.0, 1.0
    kind = torch.finfo(dtype)
    return kind.eps, kind.smallest_normal * kind.eps
