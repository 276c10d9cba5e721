"""The parts of a large model take turns on one device: text encoder, VAE, one expert, the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ..models.low_bit import widener_for
from ..offload.placed import OffloadPolicy, Placement, Task, placed
from ..offload.stream import StreamOptions
from ..offload.working import working_bytes


def num_bytes(part: nn.Module) -> int:
    """Bytes of all weights of a part."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(part))


class Turns:
    """Gives one part at a time to a device; its weights stay at home too, so none move back.

    As a context it ends the last turn.
    """

    def __init__(self, device: str, reserve: Callable[[int], None] | None = None):
        self.device, self._reserve = torch.device(device), reserve
        self._part: nn.Module | None = None
        self._home: list[tuple[Tensor, Tensor]] = []

    def take(self, part: nn.Module, work_bytes: int = 0) -> bool:
        """Make it this part's turn, until it is another's; whether it was another's before.

        Its work needs so much besides weights.

        On the CPU turns are taken alike, though no weight moves.
        """
        if part is self._part:
            return False
        self.leave()
        self._part = part
        if self._reserve is not None and self.device.type != "cpu":
            self._reserve(num_bytes(part) + work_bytes)
        for tensor in _tensors(part):
            if tensor.device != self.device:
                self._home.append((tensor, tensor.data))
                tensor.data = tensor.data.to(self.device)
        return True

    def leave(self) -> None:
        """End the turn of whichever part it is."""
        for tensor, at_home in self._home:
            tensor.data = at_home
        self._home.clear()
        self._part = None

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *_) -> None:
        self.leave()


@dataclass(frozen=True, eq=False)
class Part:
    """A network too large for some devices, its blocks as they are visited, a call of it on
    tensors without numbers."""

    name: str
    network: nn.Module
    blocks: Sequence[nn.Module]
    rehearse: Callable[[], object]

    @contextmanager
    def placed(
        self, policy: OffloadPolicy, reserve: Callable[[int], None] | None = None
    ) -> Iterator[Placement]:
        """The part where its user wants it, whole or streaming, for calls like the rehearsal.

        Args:
            reserve: called with the bytes of VRAM that are wanted, before any is taken.

        Raises:
            ValueError: it does not fit, with the figures and what to change.
        """
        network, needs = self.network, 0
        widener = widener_for(network, network.dtype)
        if policy.streams:
            needs = working_bytes(network, self.rehearse, self.blocks, widener)
        task = Task(network, self.blocks, needs, StreamOptions(widener=widener))
        with placed(task, policy, reserve) as placement:
            yield placement

    def moved_bytes(self, placement: Placement, shots: int) -> tuple[int, int]:
        """Bytes of weights that were moved for so many shots, and would be shot by shot."""
        whole = num_bytes(self.network)
        if placement.stream is None:
            return whole, shots * whole
        stay = sum(num_bytes(self.blocks[place]) for place in placement.stream.resident)
        outside = whole - sum(map(num_bytes, self.blocks))
        moved = placement.stream.traffic.fetched_bytes + outside
        return moved, moved + (shots - 1) * (stay + outside)


def _tensors(part: nn.Module) -> chain[Tensor]:
    return chain(part.parameters(), part.buffers())
