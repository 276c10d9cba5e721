"""A hand with its sleeve, for inserts and points of view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layers import (
    Mark,
    Mass,
    Part,
    Tone,
    limb,
)


def hand(origin: np.ndarray, reach: np.ndarray, sleeve: Tone, curl: float = 0.4) -> list[Mark]:
    """A right hand that comes from `reach` behind its knuckles at `origin`, palm down.

    Args:
        origin, reach: [3], in the unit of the scene; the length of `reach` is the forearm's.
        curl: 0 for straight fingers, 1 for a closed hand.
    """
    size = float(np.linalg.norm(reach)) / 2.2
    back = reach / (size * 2.2)
    side = np.cross(back, (0.0, 1.0, 0.0))
    side = side / max(float(np.linalg.norm(side)), 1e-9)
    down = np.cross(side, back)
    down = down if down[1] < 0 else -down

    def at(along: float, across: float, below: float = 0.0) -> np.ndarray:
        return origin - back * (along * size) + side * (across * size) + down * (below * size)

    palm = Part(
        np.stack([at(0.0, 0.22), at(0.0, -0.22), at(-0.62, 0.14), at(-0.62, -0.14)]),
        np.array([0.13, 0.12, 0.13, 0.12]) * size,
        "skin",
    )
    wrist = limb(at(-0.6, 0.0), at(-1.0, 0.0), (0.17 * size, 0.18 * size), "skin")
    arm = limb(at(-0.95, 0.0), at(-2.6, 0.0), (0.24 * size, 0.36 * size), sleeve)
    cuff = limb(at(-1.0, 0.0), at(-1.15, 0.0), (0.23 * size, 0.25 * size), sleeve)
    digits = [_thumb(at, size, curl), *_fingers(at, size, curl)]
    return [Mass((arm,), 1.7), *digits, Mass((palm, wrist), 1.4), Mass((cuff,), 1.6)]


def _thumb(at: Callable[..., np.ndarray], size: float, curl: float) -> Mass:
    ball, knee, tip = at(-0.42, 0.26, 0.05), at(-0.1, 0.44, 0.16), at(0.24, 0.34, 0.26 + 0.1 * curl)
    parts = (
        limb(ball, knee, (0.12 * size, 0.1 * size), "skin"),
        limb(knee, tip, (0.1 * size, 0.07 * size), "skin"),
    )
    return Mass(parts, 1.3)


def _fingers(at: Callable[..., np.ndarray], size: float, curl: float) -> list[Mark]:
    fingers: list[Mark] = []
    for length, across in ((0.5, 0.24), (0.56, 0.08), (0.52, -0.08), (0.42, -0.23)):
        root = at(0.0, across)
        knee = at(length * 0.55, across * 1.05, -0.05 + 0.16 * curl)
        tip = at(length * (1.0 - 0.45 * curl), across * 0.95, 0.1 + 0.42 * curl)
        parts = (
            limb(root, knee, (0.1 * size, 0.085 * size), "skin"),
            limb(knee, tip, (0.085 * size, 0.062 * size), "skin"),
        )
        fingers.append(Mass(parts, 1.2))
    return fingers
