"""What the noise level alone decides in a transformer, made once for each level and kept.

A third of Qwen-Image's weights see nothing but the noise level. What they give for a schedule is
a few megabytes a step, the same for every shot, so the weights need not be in VRAM after that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

KEPT_LEVELS = 64


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """One noise level as the layers of a transformer see it.

    `embedding` is what they all begin from, [B, D]. `blocks` is what each block makes of it, in
    the transformer's own form; None where blocks are to make it themselves.
    """

    embedding: Tensor
    blocks: tuple[Any, ...] | None = None


class ModulationTable:
    """Noise levels by weights and exact time; the least recently used beyond `capacity` go.

    `made` counts the levels that were computed, so that a film can be seen to compute each once.
    """

    def __init__(self, capacity: int = KEPT_LEVELS):
        self.capacity = capacity
        self.made = 0
        self._levels: OrderedDict[Hashable, NoiseLevel] = OrderedDict()

    def levels(
        self, weights: Hashable, times: Tensor, make: Callable[[Tensor], Sequence[NoiseLevel]]
    ) -> list[NoiseLevel]:
        """The levels at `times` [T], of which `make` computes those that are not kept.

        Args:
            weights: names the weights that make them, adapters and their strength included.
        """
        keys = [(weights, times.dtype, time) for time in times.tolist()]
        missing = list(dict.fromkeys(key for key in keys if key not in self._levels))
        if missing:
            made = make(torch.tensor([time for *_, time in missing], dtype=times.dtype))
            self._levels.update(zip(missing, made, strict=True))
            self.made += len(missing)
        for key in keys:
            self._levels.move_to_end(key)
        found = [self._levels[key] for key in keys]
        while len(self._levels) > max(self.capacity, len(set(keys))):
            self._levels.popitem(last=False)
        return found


def applied_on(module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What a module gives for each input, with its weights on the inputs' device meanwhile.

    One input after another, as in a step: several at once may be rounded otherwise.
    """
    device = inputs[0].device
    named = (*module.named_parameters(), *module.named_buffers())
    weights = {name: tensor.to(device, non_blocking=True) for name, tensor in named}
    return [functional_call(module, weights, (one,)) for one in inputs]
