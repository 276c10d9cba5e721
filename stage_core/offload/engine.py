"""What moves a block's weights: a thread, or the copy engine of a GPU.

Both take copies in order, each into a slot that is free after a mark of what was computed, and
let computations wait for them without stopping the program, except where a thread does the work.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from .host import HostSlabs
from .slab import Packed, new_slab

_STAGING_BUFFERS = 2
_log = logging.getLogger(__name__)

Mark = Any
"""A place in the order of computations, from `CopyEngine.mark`."""


class Fetch:
    """A copy that was asked for, of a block into a slab."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.cancelled = False
        self.error: BaseException | None = None
        self.arrived: Any = None

    def wait(self) -> None:
        """Until the copy is done, or in the queue of the GPU.

        Raises:
            Exception: what went wrong with it, such as a lost device.
        """
        self.done.wait()
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        """Not begun, it is skipped; else this waits until it is done or in the GPU's queue."""
        self.cancelled = True
        self.done.wait()


class CopyEngine(Protocol):
    """Copies blocks into slabs. `wait_seconds` were spent waiting for them by the program."""

    wait_seconds: float

    def mark(self) -> Mark:
        """After what has been computed so far."""

    def fetch(self, packed: Packed, locked: Tensor | None, place: Tensor, after: Mark) -> Fetch:
        """Begin to copy a block, from its slab in RAM or from its own tensors."""

    def arrive(self, fetch: Fetch) -> None:
        """What is computed from now on finds the copy done."""

    def drop(self, fetch: Fetch) -> None:
        """Nobody wants this copy: its slab may be used for another, or be freed."""

    def close(self) -> None:
        """Finish what has begun and free what is held, also after a failure."""


class ThreadEngine:
    """Copies from RAM to RAM by a thread, for networks that compute on the CPU."""

    def __init__(self) -> None:
        self.wait_seconds = 0.0
        self._worker = _Worker()

    def mark(self) -> Mark:
        return None

    def fetch(self, packed: Packed, locked: Tensor | None, place: Tensor, after: Mark) -> Fetch:
        def copy(fetch: Fetch) -> None:
            if locked is None:
                packed.write(place)
            else:
                place.copy_(locked)

        return self._worker.submit(copy)

    def arrive(self, fetch: Fetch) -> None:
        begun = time.perf_counter()
        fetch.wait()
        self.wait_seconds += time.perf_counter() - begun

    def drop(self, fetch: Fetch) -> None:
        fetch.cancel()

    def close(self) -> None:
        self._worker.close()


class CudaEngine:
    """One asynchronous copy for a block, on one stream beside that of the computations.

    From page-locked slabs the program only asks for it; other blocks go through page-locked
    buffers which a thread fills.
    """

    def __init__(self, device: torch.device, slabs: HostSlabs) -> None:
        self.wait_seconds = 0.0
        self._device, self._slabs = device, slabs
        self._stream = torch.cuda.Stream(device)
        self._worker = _Worker()
        self._staging: list[tuple[Tensor, Any]] = []

    def mark(self) -> Mark:
        return torch.cuda.current_stream(self._device).record_event()

    def fetch(self, packed: Packed, locked: Tensor | None, place: Tensor, after: Mark) -> Fetch:
        if locked is None:
            return self._worker.submit(lambda fetch: self._stage(packed, place, after, fetch))
        fetch = Fetch()
        self._copy(locked, place, after, fetch)
        fetch.done.set()
        return fetch

    def arrive(self, fetch: Fetch) -> None:
        begun = time.perf_counter()
        fetch.wait()
        self.wait_seconds += time.perf_counter() - begun
        torch.cuda.current_stream(self._device).wait_event(fetch.arrived)

    def drop(self, fetch: Fetch) -> None:
        fetch.cancel()
        if fetch.arrived is not None:
            torch.cuda.current_stream(self._device).wait_event(fetch.arrived)

    def close(self) -> None:
        self._worker.close()
        try:
            self._stream.synchronize()
        except RuntimeError as error:
            _log.warning("the GPU was lost while weights moved: %s", error)
        for slab, _ in self._staging:
            self._slabs.free(slab)
        self._staging.clear()

    def _stage(self, packed: Packed, place: Tensor, after: Mark, fetch: Fetch) -> None:
        staged, free = self._buffer(packed.num_bytes)
        if free is not None:
            free.synchronize()  # Of this thread, not of the program.
        packed.write(staged[: packed.num_bytes])
        self._copy(staged[: packed.num_bytes], place, after, fetch)
        self._staging.append((staged, fetch.arrived))

    def _buffer(self, num_bytes: int) -> tuple[Tensor, Any]:
        """One that is large enough, and the copy that has to leave it first."""
        if len(self._staging) >= _STAGING_BUFFERS:
            for place, (slab, _) in enumerate(self._staging):
                if slab.numel() >= num_bytes:
                    return self._staging.pop(place)
        slab = self._slabs.new(num_bytes)
        return new_slab(num_bytes, torch.device("cpu")) if slab is None else slab, None

    def _copy(self, source: Tensor, place: Tensor, after: Mark, fetch: Fetch) -> None:
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(after)
            place.copy_(source, non_blocking=True)
            fetch.arrived = self._stream.record_event()


def engine_for(device: torch.device, slabs: HostSlabs) -> CopyEngine:
    """What moves weights to a device.

    Args:
        slabs: where the RAM comes from that copies to a GPU go through.

    Raises:
        ValueError: neither a CUDA device nor the CPU.
    """
    if device.type == "cpu":
        return ThreadEngine()
    if device.type == "cuda":
        return CudaEngine(device, slabs)
    raise ValueError(f"weights cannot stream to a device of type {device.type}; use cuda or cpu")


class _Worker:
    """A thread that does one thing after another."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Fetch, Callable[[Fetch], None]] | None]
        self._jobs = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stage-weights", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Fetch], None]) -> Fetch:
        fetch = Fetch()
        self._jobs.put((fetch, job))
        return fetch

    def close(self) -> None:
        """What was not begun is not done."""
        self._stopped.set()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        # Copies are made of tensors that may take part in training elsewhere.
        with torch.no_grad():
            while (waiting := self._jobs.get()) is not None:
                self._do(*waiting)
                del waiting

    def _do(self, fetch: Fetch, job: Callable[[Fetch], None]) -> None:
        try:
            if not (fetch.cancelled or self._stopped.is_set()):
                job(fetch)
        except Exception as error:
            # Raised where the program waits for this copy.
            fetch.error = error
        finally:
            fetch.done.set()
