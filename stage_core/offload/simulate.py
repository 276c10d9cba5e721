"""What a schedule of copies and computations takes: one link, one processor, a ring of slots."""

from __future__ import annotations

from collections.abc import Sequence

_SWEEPS, _UNTIL_STEADY = 8, 4


def sweep_seconds(compute: Sequence[float], copies: Sequence[float], slots: int) -> float:
    """Seconds of one sweep over the blocks, once sweeps follow each other steadily.

    Args:
        compute: seconds that each block computes.
        copies: seconds that its weights take over the link, 0 for a block that stays.
        slots: blocks that stream and are there at the same time; a copy needs a free one, and
            a block frees its own when it has computed.
    """
    now = link_free = 0.0
    freed: list[float] = []
    ends = []
    for _ in range(_SWEEPS):
        for work, copy in zip(compute, copies, strict=True):
            if copy:
                slot_free = freed[-slots] if len(freed) >= slots else 0.0
                link_free = max(link_free, slot_free) + copy
                now = max(now, link_free)
            now += work
            if copy:
                freed.append(now)
        ends.append(now)
    return (ends[-1] - ends[_UNTIL_STEADY - 1]) / (_SWEEPS - _UNTIL_STEADY)
