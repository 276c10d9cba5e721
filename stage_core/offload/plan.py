"""Where the weights of a network of blocks live: arithmetic, on numbers alone.

Blocks that do not fit stream through a few slots, once in every sweep over the network. What a
sweep costs at least is max(compute, streamed bytes / link), and it costs no more when blocks that
stay lie evenly between those that stream and there are three slots: with two, copies wait for
computations near the point where both take as long (up to a tenth; see `simulate`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from .simulate import sweep_seconds

SLOTS = (2, 3)


class HostTier(Enum):
    """Where a block that is not in VRAM waits, from fast to slow."""

    LOCKED = "page-locked"
    PAGED = "pageable"
    MAPPED = "file"


# Bytes a second of a 16-lane PCIe 4 link, of one thread that fills a staging buffer, of an SSD.
SPEEDS = {HostTier.LOCKED: 25e9, HostTier.PAGED: 8e9, HostTier.MAPPED: 3e9}


@dataclass(frozen=True)
class Demand:
    """What a network needs.

    `block_bytes`: of every block's weights, packed. `other_bytes`: weights outside of blocks.
    `working_bytes`: the most that one step has in VRAM besides weights. `compute_seconds` of a
    sweep, 0 where it is not known. `mapped`: the weights lie in files that are mapped, not in RAM.
    """

    block_bytes: tuple[int, ...]
    other_bytes: int
    working_bytes: int
    compute_seconds: float = 0.0
    mapped: bool = False

    def __post_init__(self):
        if not self.block_bytes or min(self.block_bytes) <= 0:
            raise ValueError("a network to be placed has no blocks, or blocks without weights")


@dataclass(frozen=True)
class Means:
    """What a machine has: VRAM for all of this network, RAM that may be page-locked, speeds."""

    vram_bytes: int
    lockable_bytes: int
    speeds: Mapping[HostTier, float] = field(default_factory=lambda: dict(SPEEDS))


@dataclass(frozen=True)
class Plan:
    """Blocks that stay in VRAM; the others stream through `slots` slots from their tier.

    `peak_bytes` of VRAM and `sweep_seconds` are predictions.
    """

    resident: frozenset[int]
    slots: int
    tiers: tuple[HostTier, ...]
    peak_bytes: int
    sweep_seconds: float


def plan(demand: Demand, means: Means, keep: bool = True) -> Plan:
    """The fastest way to run the network with these means.

    Args:
        keep: whether blocks may stay in VRAM.

    Raises:
        ValueError: even with every block streamed it needs more VRAM.
    """
    plans = [found for slots in SLOTS if (found := _with_slots(demand, means, slots, keep))]
    if not plans:
        raise ValueError(refusal(demand, means.vram_bytes))
    if not demand.compute_seconds:
        # Where that is not known the third slot is worth the block that stays less for it.
        return plans[-1]
    return min(plans, key=lambda found: (found.sweep_seconds, found.peak_bytes))


def refusal(demand: Demand, vram_bytes: int) -> str:
    """Why so much VRAM is too little even with every block streamed, and what to do."""
    least = peak_bytes(demand, frozenset(), SLOTS[0])
    return (
        f"the network needs {_gigabytes(least)} of VRAM with every block streamed, "
        f"{_gigabytes(demand.working_bytes)} of them for pictures and text, and may have "
        f"{_gigabytes(vram_bytes)}; allow more, or make the picture or memory smaller"
    )


def resident_among(num_blocks: int, num_resident: int) -> frozenset[int]:
    """The blocks that stay, of which there are so many, spread as evenly as those that stream."""
    return frozenset(range(num_blocks)) - set(spread(num_blocks, num_blocks - num_resident))


def all_resident(demand: Demand) -> Plan:
    """Every block in VRAM."""
    everything = frozenset(range(len(demand.block_bytes)))
    tier = HostTier.MAPPED if demand.mapped else HostTier.PAGED
    tiers = (tier,) * len(everything)
    return Plan(everything, 0, tiers, peak_bytes(demand, everything, 0), demand.compute_seconds)


def spread(num_blocks: int, num_streamed: int) -> tuple[int, ...]:
    """Indices of the blocks that stream, as evenly as whole numbers can be, the end included."""
    return tuple(
        i
        for i in range(num_blocks)
        if (i + 1) * num_streamed // num_blocks > i * num_streamed // num_blocks
    )


def peak_bytes(demand: Demand, resident: Collection[int], slots: int) -> int:
    """VRAM in use at most."""
    streamed = [num for i, num in enumerate(demand.block_bytes) if i not in resident]
    stay = sum(demand.block_bytes[i] for i in resident)
    ring = slots * max(streamed, default=0)
    return demand.other_bytes + demand.working_bytes + stay + ring


def most_resident(demand: Demand, vram_bytes: int, slots: int) -> int | None:
    """How many blocks may stay, the others spread evenly; None where not even none may."""
    count = len(demand.block_bytes)
    if peak_bytes(demand, range(count), 0) <= vram_bytes:
        return count
    # Fewer than the slots would stream for nothing: they would all have their own.
    for num_streamed in range(min(slots + 1, count), count + 1):
        resident = resident_among(count, count - num_streamed)
        if peak_bytes(demand, resident, slots) <= vram_bytes:
            return count - num_streamed
    return None


def _with_slots(demand: Demand, means: Means, slots: int, keep: bool) -> Plan | None:
    """The plan with the most resident blocks; None where not even none fits."""
    count = len(demand.block_bytes)
    most = most_resident(demand, means.vram_bytes, slots)
    if most is None:
        return None
    if keep and most == count:
        return all_resident(demand)
    streamed = spread(count, count - most if keep else count)
    resident = frozenset(range(count)) - set(streamed)
    tiers = _tiers(demand, means, streamed)
    seconds = _predicted(demand, means, streamed, tiers, slots)
    return Plan(resident, slots, tiers, peak_bytes(demand, resident, slots), seconds)


def _tiers(demand: Demand, means: Means, streamed: tuple[int, ...]) -> tuple[HostTier, ...]:
    """Page-locked are as many streamed blocks as may be, spread evenly: slow ones lie between."""
    slow = HostTier.MAPPED if demand.mapped else HostTier.PAGED
    tiers = [slow] * len(demand.block_bytes)
    for num_slow in range(len(streamed) + 1):
        left = set(spread(len(streamed), num_slow))
        locked = [block for place, block in enumerate(streamed) if place not in left]
        if sum(demand.block_bytes[i] for i in locked) <= means.lockable_bytes:
            for i in locked:
                tiers[i] = HostTier.LOCKED
            break
    return tuple(tiers)


def _predicted(
    demand: Demand, means: Means, streamed: tuple[int, ...], tiers: tuple[HostTier, ...], slots: int
) -> float:
    count = len(demand.block_bytes)
    copies = [0.0] * count
    for i in streamed:
        copies[i] = demand.block_bytes[i] / means.speeds[tiers[i]]
    return sweep_seconds([demand.compute_seconds / count] * count, copies, slots)


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
