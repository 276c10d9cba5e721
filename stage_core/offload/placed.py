"""A network run where its user wants it: in VRAM whole, or streaming through what there is."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor, nn

from .machine import free_vram_bytes, lockable_bytes
from .plan import (
    SLOTS,
    Demand,
    Means,
    Plan,
    all_resident,
    most_resident,
    peak_bytes,
    plan,
    refusal,
)
from .slab import own_tensors, pack
from .stream import Stream, StreamOptions, streamed

T = TypeVar("T")
Reserve = Callable[[int], None]
"""Makes room for so many bytes of VRAM, which other parts of the program may hold."""

# Of free VRAM, for what kernels and the allocator need beside tensors.
_HEADROOM = 0.06
_PLAIN = StreamOptions()
_log = logging.getLogger(__name__)


class Offload(Enum):
    """What a user says of the machine."""

    AUTO = "auto"
    FITS = "fits"
    STREAMS = "streams"
    LITTLE_RAM = "streams with little RAM"


@dataclass(frozen=True)
class OffloadPolicy:
    """Where a network's weights may be while it runs.

    AUTO keeps in VRAM what fits and streams the rest from page-locked RAM. FITS keeps all, or
    fails. STREAMS leaves VRAM to others. LITTLE_RAM does as AUTO without page-locked copies:
    weights come from where they are, such as files that are mapped. `vram_bytes` is what the
    network and its work may take, None for what is free, or in STREAMS for the least that will
    do. On the CPU, AUTO and FITS leave everything in place, and others stream as to a GPU.
    """

    mode: Offload = Offload.AUTO
    vram_bytes: int | None = None
    device: str = "cpu"

    def __post_init__(self):
        if self.vram_bytes is not None and self.vram_bytes <= 0:
            raise ValueError(f"{self.vram_bytes} bytes of VRAM; allow more than none")

    @property
    def streams(self) -> bool:
        """Whether there is anything to do; else the network runs where it is."""
        return self.device != "cpu" or self.mode in (Offload.STREAMS, Offload.LITTLE_RAM)


@dataclass(frozen=True, eq=False)
class Task:
    """A network, the modules in it that follow one another, and what its work needs.

    `working_bytes`: see `working.working_bytes`. `locks`: whether it works so often that to lock
    pages of RAM for it pays.
    """

    network: nn.Module
    blocks: Sequence[nn.Module]
    working_bytes: int
    options: StreamOptions = _PLAIN
    locks: bool = True


@dataclass(frozen=True)
class PlaceReport:
    """Where a network's weights were, and what that took.

    `planned_bytes` of VRAM were predicted at most; `peak_bytes` is what it came to, None where
    nothing measures it. `resident` of so many `blocks` stay as planned. All are 0 where nothing
    had to be done.
    """

    network: str
    mode: str
    device: str
    blocks: int = 0
    resident: int = 0
    planned_bytes: int = 0
    peak_bytes: int | None = None
    fetched_bytes: int = 0

    def __str__(self) -> str:
        if not self.blocks:
            return f"{self.network}: {self.mode}, weights stay on {self.device}"
        says = f"{self.network}: {self.mode}, {self.resident} of {self.blocks} blocks stay on "
        says += f"{self.device}, predicted peak {_gigabytes(self.planned_bytes)}"
        if self.peak_bytes is not None:
            says += f", real {_gigabytes(self.peak_bytes)}"
        return f"{says}, {_gigabytes(self.fetched_bytes)} fetched"


@dataclass(eq=False)
class Placement:
    """A network in place. `demand`, `plan` and `stream` are None where nothing had to be done.

    `working_bytes`: what its work needs, of `room_bytes` that it may take in all; None where it
    takes the least that will do, for which it asks `reserve`. `begun_bytes` of VRAM were in use
    before it was there, `peak_bytes` more are the most so far.
    """

    device: torch.device
    mode: Offload = Offload.AUTO
    demand: Demand | None = None
    plan: Plan | None = None
    stream: Stream | None = None
    working_bytes: int = 0
    room_bytes: int | None = None
    reserve: Reserve | None = None
    begun_bytes: int = 0
    peak_bytes: int = 0

    def begin_turn(self) -> None:
        """From now on what is used of the device's memory counts as this network's."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def end_turn(self) -> None:
        """Others use the device from now on."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) - self.begun_bytes
            self.peak_bytes = max(self.peak_bytes, peak)

    def work(self, working_bytes: int) -> None:
        """What the work needs from now on; for more than before fewer blocks stay.

        Raises:
            ValueError: there is no room with every block streamed, with the figures.
        """
        more = working_bytes - self.working_bytes
        if self.stream is None or more <= 0:
            return
        demand = replace(self.demand, working_bytes=self.demand.working_bytes + more)
        if self.room_bytes is not None:
            self._fit(demand, self.room_bytes)
        elif self.reserve is not None:
            self.reserve(_with_headroom(working_bytes))
        self.working_bytes, self.demand = working_bytes, demand
        stay = self.stream.resident
        most = peak_bytes(self.demand, stay, self.stream.num_slots)
        self.plan = replace(self.plan, resident=stay, peak_bytes=most)

    def attempt(self, call: Callable[[], T]) -> T:
        """What `call` gives, again with fewer blocks in VRAM when that runs out."""
        return self.stream.attempt(call) if self.stream else call()

    def fit(self, vram_bytes: int) -> None:
        """Take so much VRAM from now on, with fewer blocks or more: others need it, or leave it.

        Raises:
            ValueError: it is not enough with every block streamed, with the figures.
        """
        if self.stream is not None:
            self._fit(self.demand, vram_bytes)

    def report(self, network: str) -> PlaceReport:
        """What was chosen and how it went, up to the end of the last turn."""
        where = network, self.mode.value, str(self.device)
        if self.plan is None or self.stream is None:
            return PlaceReport(*where)
        return PlaceReport(
            *where,
            blocks=len(self.plan.tiers),
            resident=len(self.plan.resident),
            planned_bytes=self.plan.peak_bytes,
            peak_bytes=self.peak_bytes if self.device.type == "cuda" else None,
            fetched_bytes=self.stream.traffic.fetched_bytes,
        )

    def _fit(self, demand: Demand, vram_bytes: int) -> None:
        for slots in range(self.stream.num_slots, SLOTS[0] - 1, -1):
            most = most_resident(demand, vram_bytes, slots)
            if most is not None:
                self.stream.resize(most, slots)
                return
        raise ValueError(refusal(demand, vram_bytes))


@contextmanager
def placed(
    task: Task, policy: OffloadPolicy, reserve: Reserve | None = None
) -> Iterator[Placement]:
    """The network on the policy's device for a while; afterwards all is as it was.

    Args:
        reserve: called with the bytes of VRAM that are wanted, before any is taken, so that
            another program part can make room.

    Raises:
        ValueError: it does not fit, with the figures and what to change.
    """
    device = torch.device(policy.device)
    if not policy.streams:
        yield Placement(device, policy.mode)
        return
    chosen = choose(task, policy, reserve)
    _log.info(
        "%s: %d of %d blocks stay on %s, %d slots, predicted peak %s",
        policy.mode.value,
        len(chosen.resident),
        len(chosen.tiers),
        device,
        chosen.slots,
        _gigabytes(chosen.peak_bytes),
    )
    begun = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    outside, room = _outside(task), _room(policy, chosen)
    with _moved(outside, device), streamed(task.blocks, chosen, device, task.options) as stream:
        demand = _demand(task, policy)
        placement = Placement(
            device, policy.mode, demand, chosen, stream, task.working_bytes, room, reserve, begun
        )
        placement.begin_turn()
        try:
            yield placement
        finally:
            placement.end_turn()


def choose(task: Task, policy: OffloadPolicy, reserve: Reserve | None = None) -> Plan:
    """The plan for a task on this machine.

    Raises:
        ValueError: see `placed`.
    """
    demand = _demand(task, policy)
    everything = all_resident(demand)
    if reserve is not None:
        wanted = everything.peak_bytes
        if not _keeps(policy):
            wanted = min(wanted, peak_bytes(demand, frozenset(), SLOTS[-1]))
        reserve(min(_with_headroom(wanted), policy.vram_bytes or sys.maxsize))
    budget = _budget(policy, everything.peak_bytes)
    if policy.mode is Offload.FITS:
        if everything.peak_bytes > budget:
            raise ValueError(
                f"the network and its work need {_gigabytes(everything.peak_bytes)} of VRAM and "
                f"{_gigabytes(budget)} are free; let it stream, or allow more"
            )
        return everything
    return plan(demand, Means(budget, _lockable(task, policy)), _keeps(policy))


def _keeps(policy: OffloadPolicy) -> bool:
    """Whether blocks stay as far as there is room, and not the fewest that will do."""
    if policy.vram_bytes is not None:
        return True
    return policy.device != "cpu" and policy.mode is not Offload.STREAMS


def _demand(task: Task, policy: OffloadPolicy) -> Demand:
    packed = [pack(block, task.options.left_out) for block in task.blocks]
    widener, wide = task.options.widener, 0
    if widener is not None:
        wide = max(widener.num_bytes(one.layers) for one in packed)
    return Demand(
        tuple(one.num_bytes for one in packed),
        sum(tensor.numel() * tensor.element_size() for tensor in _outside(task)),
        task.working_bytes + wide,
        mapped=policy.mode is Offload.LITTLE_RAM,
    )


def _budget(policy: OffloadPolicy, wanted: int) -> int:
    if policy.device == "cpu":
        return wanted if policy.vram_bytes is None else policy.vram_bytes
    free = int((1 - _HEADROOM) * free_vram_bytes(torch.device(policy.device)))
    return free if policy.vram_bytes is None else min(free, policy.vram_bytes)


def _room(policy: OffloadPolicy, chosen: Plan) -> int | None:
    """What a network may take that runs by this plan; None for the least that will do."""
    if not _keeps(policy):
        return None
    # What is free may have become less since it was chosen.
    return max(chosen.peak_bytes, _budget(policy, chosen.peak_bytes))


def _with_headroom(num_bytes: int) -> int:
    """The free VRAM of which `_budget` is so much."""
    return math.ceil(num_bytes / (1 - _HEADROOM))


def _lockable(task: Task, policy: OffloadPolicy) -> int:
    if policy.mode is Offload.LITTLE_RAM or policy.device == "cpu" or not task.locks:
        return 0
    kept = task.options.slabs
    return lockable_bytes() + (kept.num_bytes if kept else 0)


def _outside(task: Task) -> list[Tensor]:
    """Weights and buffers of the network that are of no block."""
    inside = {id(layer) for block in task.blocks for layer in block.modules()}
    found = {
        id(tensor): tensor
        for layer in task.network.modules()
        if id(layer) not in inside
        for _, tensor in own_tensors(layer)
    }
    return list(found.values())


@contextmanager
def _moved(tensors: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    homes = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = tensor.data.to(device)
        yield
    finally:
        for tensor, home in zip(tensors, homes, strict=True):
            tensor.data = home


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
