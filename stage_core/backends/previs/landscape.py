"""What open places are made of: hills, trees, rocks, houses, cars, boats, waves."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

import numpy as np

from .layers import (
    BACKGROUND,
    WOOD,
    Coat,
    Face,
    Mark,
    Mass,
    Part,
    Piece,
    ball,
    box,
    curve,
    line,
    moved,
    piece,
    points,
    ring,
)

HORIZON = 900.0
"""Metres to the edge of the ground."""


def cloud(x: float, y: float, rng: random.Random) -> Mass:
    """A flat cloud."""
    parts = []
    for k in range(4):
        r = rng.uniform(14, 30)
        a = x + (k - 1.5) * 34
        parts.append(
            Part(
                points((a - 18, y, HORIZON), (a + 18, y, HORIZON)),
                np.array([r, r * 0.7]),
                "low_sky",
                False,
            )
        )
    return Mass(tuple(parts), 0.0)


def ridge(rng: random.Random, z: float, height: float, tone: str, sharp: bool = True) -> Piece:
    """A row of hills or peaks across the distance."""
    step = height * (0.9 if sharp else 1.7)
    xs = np.arange(-z * 2.4, z * 2.4, step)
    tops, marks = [], []
    for i, x in enumerate(xs):
        y = height * (rng.uniform(0.55, 1.0) if i % 2 == 0 else rng.uniform(0.2, 0.5))
        tops.append((x + rng.uniform(-0.3, 0.3) * step, y, z))
    if not sharp:
        tops = [
            tuple(row)
            for row in np.concatenate(
                [curve(points(*tops[i : i + 3])).points[:-1] for i in range(0, len(tops) - 2, 2)]
            )
        ]
    outline = [(-z * 2.4, -2, z), *tops, (z * 2.4, -2, z)]
    marks.append(Face(points(*outline), tone))
    marks.extend(line(a, b, 1.1) for a, b in itertools.pairwise(tops))
    if sharp:
        for a, b in zip(tops[::2], tops[1::2], strict=False):
            shade = points(
                a, b, (b[0] * 0.6 + a[0] * 0.4, 0, z), (a[0] + step * 0.1, a[1] * 0.45, z)
            )
            marks.append(Face(shade, "dark" if tone == "mid" else "mid"))
    return piece(marks, (0, 0, z), BACKGROUND)


def tree(at: tuple[float, float, float], height: float, rng: random.Random) -> Piece:
    """A broad tree."""
    marks: list[Mark] = [_trunk(height, rng)]
    parts = []
    for i in range(7):
        angle = i * 2.4
        r = height * rng.uniform(0.12, 0.17)
        spread = height * 0.16 * (0.4 if i > 4 else 1)
        middle = (spread * math.cos(angle), height * (0.6 + 0.05 * i), spread * math.sin(angle))
        parts.append(ball(middle, r, "leaf"))
    marks.append(Mass(tuple(parts), 1.1))
    return piece(moved(marks, at), at)


def bare_tree(at: tuple[float, float, float], height: float, rng: random.Random) -> Piece:
    """A tree without leaves."""
    marks: list[Mark] = [_trunk(height, rng)]
    for _ in range(9):
        y, side = height * rng.uniform(0.3, 0.5), rng.choice((-1, 1))
        reach, rise = height * rng.uniform(0.12, 0.3), height * rng.uniform(0.2, 0.42)
        tip = (side * reach, y + rise, rng.uniform(-0.5, 0.5))
        marks.append(curve(points((0, y, 0), (tip[0] * 0.4, y + 0.12 * height, 0), tip), 2.0))
    return piece(moved(marks, at), at)


def _trunk(height: float, rng: random.Random) -> Mass:
    top = points((rng.uniform(-0.1, 0.1), height * 0.5, 0))
    radii = np.array([0.004] * 8 + [0.02]) * height
    return Mass(
        (Part(np.concatenate([ring((0, 0, 0), 0.035 * height, 8), top]), radii, "dark"),), 1.1
    )


def fir(at: tuple[float, float, float], height: float, rng: random.Random) -> Piece:
    """A fir tree in three tiers."""
    parts = []
    for low, wide in ((0.15, 0.2), (0.38, 0.155), (0.62, 0.1)):
        rim = ring((0, height * low, 0), height * wide, 10)
        tip = points((0, height * min(1.0, low + 0.42), 0))
        parts.append(Part(np.concatenate([rim, tip]), np.full(11, 0.02), "leaf"))
    trunk = Part(
        np.concatenate([ring((0, 0, 0), 0.02 * height, 8), points((0, height * 0.3, 0))]),
        np.full(9, 0.01 * height),
        "dark",
    )
    return piece(moved([Mass((trunk,), 1.0), Mass(tuple(parts), 1.1)], at, rng.uniform(0, 1)), at)


def rock(
    at: tuple[float, float, float], size: float, rng: random.Random, tone: str = "mid"
) -> Piece:
    """A boulder."""
    rows = [
        (rng.uniform(-0.7, 0.7), rng.uniform(0.0, 0.75), rng.uniform(-0.5, 0.5)) for _ in range(9)
    ]
    body = Part(np.array(rows) * size, np.full(9, 0.06 * size), tone)
    return piece(moved([Mass((body,), 1.1)], at), at)


def building(
    at: tuple[float, float, float], size: tuple[float, float, float], rng: random.Random
) -> Piece:
    """A house front with rows of windows, some of them lit, and a ground floor."""
    w, h, d = size
    marks: list[Mark] = [*box((0, 0, 0), size, Coat("mid", "light", rng.choice(("mid", "light"))))]
    wide, tall = 1.0, 1.5
    floors = [f * 3.0 + 3.9 for f in range(int((h - 4.2) / 3.0) + 1) if f * 3.0 + 5.4 < h]
    # The front looks at the camera, the flank at the street.
    flank = 1 if at[0] < 0 else -1
    for y in floors:
        for i in range(max(1, int(w / 2.4))):
            x = -w / 2 + (i + 0.5) * w / max(1, int(w / 2.4))
            marks.append(
                _pane(
                    rng, [(x - wide / 2, y, -d / 2 - 0.02), (x + wide / 2, y, -d / 2 - 0.02)], tall
                )
            )
        for i in range(max(1, int(d / 2.8))):
            z = -d / 2 + (i + 0.5) * d / max(1, int(d / 2.8))
            x = flank * (w / 2 + 0.02)
            ends = [(x, y, z - wide / 2 * -flank), (x, y, z + wide / 2 * -flank)]
            marks.append(_pane(rng, ends[::-1], tall))
    x = flank * (w / 2 + 0.03)
    for i in range(max(1, int(d / 4.5))):
        z = -d / 2 + (i + 0.5) * d / max(1, int(d / 4.5))
        ends = [(x, 0.4, z + 1.4 * flank), (x, 0.4, z - 1.4 * flank)]
        marks.append(_pane(rng, ends[::-1], 2.2))
        awning = points(
            (x, 3.2, z + 1.6),
            (x + flank * 1.0, 2.7, z + 1.6),
            (x + flank * 1.0, 2.7, z - 1.6),
            (x, 3.2, z - 1.6),
        )
        marks.append(Face(awning, "dark", 0.9))
    return piece(moved(marks, at), (at[0], h / 2, at[2] + d / 2 * 0.2))


def _pane(rng: random.Random, ends: list, tall: float) -> Face:
    (a, b) = ends
    up = np.array([0, tall, 0])
    lit = rng.random() < 0.55
    return Face(
        np.stack([a, np.array(a) + up, np.array(b) + up, b]),
        "window" if lit else "dark",
        0.6,
        cull=True,
    )


def lamp_post(at: tuple[float, float, float]) -> Piece:
    """A street lamp that hangs over the road."""
    arm = 1.1 if at[0] < 0 else -1.1
    marks = [
        line((0, 0, 0), (0, 4.6, 0), 2.4),
        curve(points((0, 4.6, 0), (arm * 0.4, 5.0, 0), (arm, 4.9, 0)), 1.8),
        Mass((ball((arm, 4.78, 0), 0.17, "glow"),), 1.0),
    ]
    return piece(moved(marks, at), at)


def car(at: tuple[float, float, float], turn: float = 0.0) -> Piece:
    """A parked car."""
    marks: list[Mark] = []
    for x in (-0.72, 0.72):
        for z in (-1.25, 1.25):
            rim = ring((0, 0, 0), 0.33, 12)[:, [1, 0, 2]]
            tyre = np.concatenate(
                [rim + np.array([x - 0.09, 0.33, z]), rim + np.array([x + 0.09, 0.33, z])]
            )
            marks.append(Mass((Part(tyre, np.full(24, 0.01), "deep"),), 1.0))
    marks += box((0, 0.3, 0), (1.7, 0.52, 4.1), Coat("mid", "dark", "dark"))
    marks += box((0, 0.82, 0.1), (1.5, 0.5, 2.1), Coat("mid", "window", "window"))
    for x in (-0.6, 0.6):
        marks.append(Mass((ball((x, 0.6, -2.06), 0.11, "glow"),), 0.9))
    return piece(moved(marks, at, turn), at)


def tufts(rng: random.Random, count: int, spread: float = 14.0) -> Iterable[Mark]:
    """Tufts of grass around the scene."""
    for _ in range(count):
        x, z = rng.uniform(-spread, spread), rng.uniform(-9, 26)
        for lean in (-0.09, 0.02, 0.1):
            yield line((x, 0, z), (x + lean, rng.uniform(0.12, 0.3), z), 0.9)


def path(width: float, rng: random.Random) -> list[Mark]:
    """A winding path of half width `width`."""
    sway = rng.uniform(-1.5, 1.5)
    zs = np.array([-14.0, -4, 3, 12, 26, 60])
    left = np.stack([-width + sway * np.sin(zs / 7), 0 * zs, zs], axis=1)
    right = left + np.array([2 * width, 0, 0])
    face = np.concatenate([curve(left).points, curve(right).points[::-1]])
    return [Face(face, "pale"), curve(left, 1.0), curve(right, 1.0)]


def fence(x: float) -> Iterable[Piece]:
    """A fence along the view, `x` metres to the right."""
    marks: list[Mark] = []
    for i in range(14):
        z = -8 + 2.2 * i
        marks += box((x, 0, z), (0.1, 1.1, 0.1), WOOD)
        for y in (0.5, 0.9):
            marks.append(line((x, y, z), (x, y, z + 2.2), 1.5))
    yield piece(marks, (x, 0, 10))


def stall(at: tuple[float, float, float], sign: int, rng: random.Random) -> Piece:
    """A market stall on the side `sign`, its counter towards the middle."""
    marks: list[Mark] = [*box((0, 0, 0), (1.4, 0.85, 2.4), WOOD)]
    for z in (-1.2, 1.2):
        for x in (-0.7, 0.7):
            marks.append(line((x, 0, z), (x, 2.5, z), 1.8))
    for i in range(6):
        a, b = -1.4 + 0.467 * i, -0.933 + 0.467 * i
        roof = points(
            (sign * 0.9, 2.9, a),
            (-sign * 1.1, 2.25, a),
            (-sign * 1.1, 2.25, b),
            (sign * 0.9, 2.9, b),
        )
        stripe = "paper" if i % 2 else "dark"
        valance = points(
            (-sign * 1.1, 2.25, a),
            (-sign * 1.1, 1.98, a),
            (-sign * 1.1, 1.98, b),
            (-sign * 1.1, 2.25, b),
        )
        marks += [Face(roof, stripe, 0.9), Face(valance, stripe, 0.9)]
    fruit = tuple(
        ball(
            (rng.uniform(-0.5, 0.5), 0.92, rng.uniform(-1, 1)),
            0.1,
            rng.choice(("light", "mid", "leaf")),
        )
        for _ in range(9)
    )
    return piece(moved([*marks, Mass(fruit, 0.8)], at), at)


def waves(rng: random.Random, near: float, count: int) -> Iterable[Mark]:
    """Short strokes of waves from `near` metres into the distance."""
    for i in range(count):
        z = near + 1.6 * i**1.55
        for _ in range(5):
            x, w = rng.uniform(-1, 1) * (12 + z), rng.uniform(0.8, 3.0) * (1 + z / 40)
            yield curve(points((x - w, 0.01, z), (x, 0.02, z - 0.12 * w), (x + w, 0.01, z)), 0.8)


def sail(at: tuple[float, float, float]) -> Piece:
    """A sailing boat."""
    hull = points((-9, 1.5, 0), (-6, -0.5, 0), (7, -0.5, 0), (10, 2, 0))
    sail = points((0, 2.5, 0), (0, 18, 0), (9, 3.5, 0))
    return piece(moved([Face(hull, "dark", 1.0), Face(sail, "paper", 1.0)], at), at, BACKGROUND)
