"""Copies of blocks in RAM from where they move fastest: page-locked, where there is a GPU."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Hashable, Iterable
from contextlib import suppress

import torch
from torch import Tensor

from .slab import Packed, new_slab

_PAGE = 4096
_CPU = torch.device("cpu")
_log = logging.getLogger(__name__)


class HostSlabs:
    """Slabs in RAM of the blocks of one network, whose weights do not change meanwhile.

    Locking pages takes seconds for every ten gigabytes: who streams a network again and again,
    once for each shot, keeps the slabs between. They are freed by `close`, or with this object.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._locked: list[Tensor] = []
        self._slabs: dict[Hashable, Tensor] = {}
        self._no_more = False
        # At the end of the program the system frees them, and the GPU's library may be gone.
        weakref.finalize(self, _unlock, self._locked).atexit = False

    @property
    def num_bytes(self) -> int:
        """RAM that copies of blocks take."""
        return sum(slab.numel() for slab in self._slabs.values())

    def keep(self, blocks: Iterable[Packed]) -> None:
        """Free all copies but those of these blocks."""
        kept = {_key(packed) for packed in blocks}
        for key in self._slabs.keys() - kept:
            self.free(self._slabs.pop(key))

    def copy_of(self, packed: Packed) -> Tensor | None:
        """A slab with the block's weights; None where no more RAM can be locked."""
        key = _key(packed)
        if key not in self._slabs:
            slab = self.new(packed.num_bytes)
            if slab is None:
                return None
            packed.write(slab)
            self._slabs[key] = slab
        return self._slabs[key]

    def new(self, num_bytes: int) -> Tensor | None:
        """An empty slab; None where no more RAM can be locked."""
        if self._device.type == "cpu":
            return new_slab(num_bytes, _CPU)
        return None if self._no_more else self._lock(num_bytes)

    def free(self, slab: Tensor) -> None:
        """Take back a slab, to which no copy is under way."""
        held = [locked for locked in self._locked if locked.data_ptr() == slab.data_ptr()]
        _unlock(held)
        self._locked[:] = [
            locked for locked in self._locked if locked.data_ptr() != slab.data_ptr()
        ]

    def close(self) -> None:
        """Free all slabs."""
        self._slabs.clear()
        _unlock(self._locked)

    def _lock(self, num_bytes: int) -> Tensor | None:
        # Not by torch's own allocator, which rounds 680 MB up to a gigabyte.
        pages = -(-num_bytes // _PAGE) * _PAGE
        slab = new_slab(pages, _CPU, _PAGE)
        if int(torch.cuda.cudart().cudaHostRegister(slab.data_ptr(), pages, 0)):
            self._no_more = True
            held = sum(locked.numel() for locked in self._locked)
            _log.warning(
                "no more than %d MB of RAM could be page-locked; other weights move slower",
                held // 10**6,
            )
            with suppress(RuntimeError):
                # Else the next kernel, whichever it is, is told of this error.
                torch.zeros(1, device=self._device)
            return None
        self._locked.append(slab)
        return slab[:num_bytes]


def _key(packed: Packed) -> Hashable:
    return (packed.num_bytes, *(piece.home.data_ptr() for piece in packed.pieces))


def _unlock(slabs: list[Tensor]) -> None:
    if slabs:
        runtime = torch.cuda.cudart()
        for slab in slabs:
            runtime.cudaHostUnregister(slab.data_ptr())
        slabs.clear()
