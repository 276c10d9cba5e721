"""A network run where its user wants it: in VRAM whole, or streaming through what there is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor, nn

from .machine import free_vram_bytes, lockable_bytes
from .plan import Demand, Means, Plan, all_resident, most_resident, peak_bytes, plan
from .slab import own_tensors, pack
from .stream import Stream, StreamOptions, streamed

T = TypeVar("T")
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

    `working_bytes`: see `working.working_bytes`.
    """

    network: nn.Module
    blocks: Sequence[nn.Module]
    working_bytes: int
    options: StreamOptions = _PLAIN


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

    `working_bytes`: what its work needs, of `room_bytes` that it may take in all. `begun_bytes` of
    VRAM were in use before it was there, `peak_bytes` more are the most so far.
    """

    device: torch.device
    mode: Offload = Offload.AUTO
    demand: Demand | None = None
    plan: Plan | None = None
    stream: Stream | None = None
    working_bytes: int = 0
    room_bytes: int = 0
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
            ValueError: there is no room with every block streamed.
        """
        more = working_bytes - self.working_bytes
        if self.stream is None or more <= 0:
            return
        self.working_bytes = working_bytes
        self.demand = replace(self.demand, working_bytes=self.demand.working_bytes + more)
        if self.plan.resident:
            self.fit(self.room_bytes)
        stay = self.stream.resident
        most = peak_bytes(self.demand, stay, self.stream.num_slots)
        self.plan = replace(self.plan, resident=stay, peak_bytes=most)

    def attempt(self, call: Callable[[], T]) -> T:
        """What `call` gives, again with fewer blocks in VRAM when that runs out."""
        return self.stream.attempt(call) if self.stream else call()

    def fit(self, vram_bytes: int) -> None:
        """Take so much VRAM from now on, with fewer blocks or more: others need it, or leave it.

        Raises:
            ValueError: it is not enough with every block streamed.
        """
        if self.stream is None or self.demand is None:
            return
        most = most_resident(self.demand, vram_bytes, self.stream.num_slots)
        if most is None:
            raise ValueError(
                f"{_gigabytes(vram_bytes)} of VRAM do not suffice with every block streamed"
            )
        self.stream.resize(most)

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


@contextmanager
def placed(
    task: Task, policy: OffloadPolicy, reserve: Callable[[int], None] | None = None
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
    room = max(chosen.peak_bytes, _budget(policy, chosen.peak_bytes))
    begun = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    outside = _outside(task)
    with _moved(outside, device), streamed(task.blocks, chosen, device, task.options) as stream:
        demand = _demand(task, policy)
        placement = Placement(
            device, policy.mode, demand, chosen, stream, task.working_bytes, room, begun
        )
        placement.begin_turn()
        try:
            yield placement
        finally:
            placement.end_turn()


def choose(task: Task, policy: OffloadPolicy, reserve: Callable[[int], None] | None = None) -> Plan:
    """The plan for a task on this machine.

    Raises:
        ValueError: see `placed`.
    """
    demand = _demand(task, policy)
    everything = all_resident(demand)
    if reserve is not None:
        reserve(min(everything.peak_bytes, policy.vram_bytes or everything.peak_bytes))
    budget = _budget(policy, everything.peak_bytes)
    if policy.mode is Offload.FITS:
        if everything.peak_bytes > budget:
            raise ValueError(
                f"the network and its work need {_gigabytes(everything.peak_bytes)} of VRAM and "
                f"{_gigabytes(budget)} are free; let it stream, or allow more"
            )
        return everything
    means = Means(budget, _lockable(task, policy))
    keep = policy.vram_bytes is not None or not (
        policy.device == "cpu" or policy.mode is Offload.STREAMS
    )
    return plan(demand, means, keep)


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


def _lockable(task: Task, policy: OffloadPolicy) -> int:
    if policy.mode is Offload.LITTLE_RAM or policy.device == "cpu":
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
