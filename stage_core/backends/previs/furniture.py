"""Furniture: each piece stands on its own origin, its front towards the camera's usual place."""

from __future__ import annotations

import random

import numpy as np

from .camera import CameraPath
from .layers import (
    DARK,
    MIDGROUND,
    PALE,
    WOOD,
    Coat,
    Face,
    Mark,
    Mass,
    Part,
    Piece,
    box,
    circle_lines,
    lathe,
    line,
    moved,
    piece,
    points,
    ring,
)

_LOW = 1.2
"""Metres; what is lower is looked over."""
_NEAR = 2.7


def furniture(name: str, at: tuple[float, float, float], turn: float, rng: random.Random) -> Piece:
    """The piece of furniture of this name, turned and placed, with its shadow on the floor."""
    marks = moved(_FURNITURE[name](rng), at, turn)
    low = [
        mark.points for mark in marks if isinstance(mark, Face) and mark.points[:, 1].max() < 0.01
    ]
    if low:
        # The shadow falls to the right of whatever touches the floor.
        foot = np.concatenate(low)
        (x0, _, z0), (x1, _, z1) = foot.min(axis=0), foot.max(axis=0)
        shade = points(
            (x0, 0.002, z0 - 0.06),
            (x0, 0.002, z1),
            (x1 + 0.3, 0.002, z1 + 0.05),
            (x1 + 0.22, 0.002, z0 - 0.02),
        )
        marks.insert(0, Face(shade, "shadow"))
    return piece(marks, (at[0], 0.5, at[2]))


def in_the_way(item: Piece, path: CameraPath) -> bool:
    """Whether a piece stands so near before the camera, somewhere on its way, that it would hide
    a good part of the picture."""
    if item.layer != MIDGROUND or _height(item) < _LOW:
        return False
    for progress in (0.0, 0.5, 1.0):
        right, _, ahead = path.at(progress).seen(np.array(item.anchor))
        if -_NEAR < ahead < _NEAR and abs(right) < _NEAR:
            return True
    return False


def _height(item: Piece) -> float:
    rows = [
        points
        for mark in item.marks
        for points in (
            [part.centres for part in mark.parts] if isinstance(mark, Mass) else [mark.points]
        )
    ]
    return max(float(points[:, 1].max()) for points in rows)


def furniture_marks(name: str) -> list[Mark]:
    """The marks of a plain piece of furniture about its own origin."""
    return _FURNITURE[name](random.Random(0))


def _legs(w: float, d: float, h: float) -> list[Mark]:
    return [m for x in (-w, w) for z in (d, -d) for m in box((x, 0, z), (0.06, h, 0.06), DARK)]


def table(width: float = 1.3, height: float = 0.74) -> list[Mark]:
    """A plain table about its own middle."""
    return [
        *_legs(width / 2 - 0.08, 0.3, height - 0.05),
        *box((0, height - 0.05, 0), (width, 0.05, 0.76)),
    ]


def _desk(rng: random.Random) -> list[Mark]:
    return [
        *box((-0.52, 0, 0), (0.4, 0.7, 0.62)),
        *box((0.62, 0, 0), (0.06, 0.7, 0.62)),
        *box((0, 0.7, 0), (1.5, 0.05, 0.76)),
        *box((0.1, 0.75, 0.1), (0.5, 0.36, 0.04), Coat("mid", "deep", "deep")),
        *box((-0.5, 0.75, -0.05), (0.24, rng.uniform(0.04, 0.16), 0.3), PALE),
    ]


def chair() -> list[Mark]:
    """A chair whose sitter looks along z, about its own middle."""
    return [
        *_legs(0.19, 0.18, 0.42),
        *box((0, 0.5, -0.2), (0.42, 0.42, 0.04)),
        *box((0, 0.42, 0), (0.44, 0.05, 0.42)),
    ]


def _sofa(_: random.Random) -> list[Mark]:
    return [
        *box((0, 0, 0.34), (2.0, 0.84, 0.22), Coat("light", "mid", "dark")),
        *box((0, 0, 0), (1.9, 0.42, 0.7), Coat("light", "mid", "dark")),
        *box((-0.94, 0, 0), (0.2, 0.62, 0.8)),
        *box((0.94, 0, 0), (0.2, 0.62, 0.8)),
    ]


def _bed(_: random.Random) -> list[Mark]:
    return [
        *box((0, 0, 0.98), (1.7, 1.05, 0.08), DARK),
        *box((0, 0, 0), (1.6, 0.34, 1.95)),
        *box((0, 0.34, 0), (1.6, 0.16, 1.9), PALE),
        *box((-0.4, 0.5, 0.7), (0.6, 0.12, 0.36), PALE),
        *box((0.4, 0.5, 0.7), (0.6, 0.12, 0.36), PALE),
    ]


def _shelf(rng: random.Random) -> list[Mark]:
    marks: list[Mark] = [*box((0, 0, 0), (1.1, 1.95, 0.34))]
    for y in (0.2, 0.65, 1.1, 1.5):
        x = -0.48
        while x < 0.42:
            wide, tall = rng.uniform(0.05, 0.1), rng.uniform(0.24, 0.36)
            back = points(
                (x, y, -0.18),
                (x, y + tall, -0.18),
                (x + wide, y + tall, -0.18),
                (x + wide, y, -0.18),
            )
            marks.append(Face(back, rng.choice(("light", "paper", "dark")), 0.5, cull=True))
            x += wide + 0.01
    return marks


def _lamp(_: random.Random) -> list[Mark]:
    shade = Mass(tuple(lathe((0, 1.2, 0), ((0, 0.26), (0.34, 0.15)), "glow")), 1.0)
    return [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.15), (0.03, 0.13)), "dark")), 1.0),
        line((0, 0, 0), (0, 1.25, 0), 2.0),
        shade,
    ]


def _pendant(_: random.Random) -> list[Mark]:
    shade = Mass(tuple(lathe((0, 1.85, 0), ((0, 0.26), (0.22, 0.07)), "glow")), 1.0)
    return [line((0, 2.0, 0), (0, 2.9, 0), 1.2), shade]


def plant(rng: random.Random, height: float = 1.3) -> list[Mark]:
    """A potted plant with broad leaves."""
    marks: list[Mark] = []
    for _ in range(9):
        angle, lean = rng.uniform(0, 6.28), rng.uniform(0.2, 0.55)
        tip = (lean * np.cos(angle), height * rng.uniform(0.6, 1.0), lean * np.sin(angle))
        leaf = Part(
            points((tip[0] * 0.35, height * 0.45, tip[2] * 0.35), np.array(tip) * 0.85, tip),
            np.array([0.03, 0.075, 0.015]),
            "leaf",
        )
        marks.append(Mass((leaf,), 0.9))
    return [*marks, Mass(tuple(lathe((0, 0, 0), ((0, 0.14), (0.36, 0.2)), "mid")), 1.0)]


def _crates(_: random.Random) -> list[Mark]:
    return [
        *box((0, 0, 0.2), (1.2, 1.0, 1.0)),
        *box((0.15, 1.0, 0.25), (0.8, 0.7, 0.7), PALE, 0.2),
        *box((-0.75, 0, -0.5), (0.7, 0.6, 0.7), WOOD, -0.3),
    ]


def _bar(_: random.Random) -> list[Mark]:
    return [*box((0, 0, 0), (3.0, 1.02, 0.5), DARK), *box((0, 1.02, -0.04), (3.1, 0.06, 0.64))]


def _stool(_: random.Random) -> list[Mark]:
    return [
        line((0, 0, 0), (0, 0.7, 0), 2.2),
        Mass(tuple(lathe((0, 0.68, 0), ((0, 0.17), (0.08, 0.18)), "mid")), 1.0),
        *circle_lines(ring((0, 0.25, 0), 0.14), 1.0),
    ]


_FURNITURE = {
    "desk": _desk,
    "table": lambda _: table(),
    "sofa": _sofa,
    "bed": _bed,
    "shelf": _shelf,
    "lamp": _lamp,
    "pendant": _pendant,
    "plant": plant,
    "crates": _crates,
    "bar": _bar,
    "stool": _stool,
    "low table": lambda _: table(1.0, 0.42),
    "cabinet": lambda _: [
        *box((0, 0, 0), (0.7, 0.95, 0.45)),
        *box((0, 0.5, -0.23), (0.6, 0.36, 0.01), PALE),
    ],
    "wardrobe": lambda _: [
        *box((0, 0, 0), (1.3, 2.1, 0.6)),
        line((0, 0.1, -0.31), (0, 2.0, -0.31)),
    ],
    "counter": lambda _: [
        *box((0, 0, 0), (1.9, 0.88, 0.6), PALE),
        *box((0, 0.88, -0.02), (1.96, 0.05, 0.66)),
        *(line((x, 0.05, -0.31), (x, 0.85, -0.31), 0.8) for x in (-0.32, 0.32)),
    ],
    "stove": lambda _: [
        *box((0, 0, 0), (0.7, 0.92, 0.6), DARK),
        *box((0, 0.3, -0.31), (0.5, 0.36, 0.01), PALE),
    ],
    "fridge": lambda _: [
        *box((0, 0, 0), (0.75, 1.85, 0.7), PALE),
        line((-0.37, 1.2, -0.36), (0.37, 1.2, -0.36)),
    ],
    "altar": lambda _: [
        *box((0, 0, 0), (3.4, 0.3, 2.0)),
        *box((0, 0.3, 0), (1.8, 0.95, 0.7), PALE),
        *box((0, 1.4, 0.6), (0.12, 2.2, 0.12), DARK),
        *box((0, 2.8, 0.6), (1.1, 0.12, 0.12), DARK),
    ],
    "pew": lambda _: [
        *box((0, 0, -0.25), (3.2, 0.95, 0.08)),
        *box((0, 0.38, 0), (3.2, 0.06, 0.4)),
    ],
    "seat": lambda _: [
        *box((0, 0, 0), (0.95, 0.45, 0.5), DARK),
        *box((0, 0.45, 0.25), (0.95, 0.72, 0.12), WOOD),
    ],
    "console": lambda _: [
        *box((0, 0, 0), (1.4, 0.8, 0.6), DARK),
        *box((0, 0.8, 0.15), (1.3, 0.5, 0.1), Coat("mid", "window", "dark")),
    ],
    "drum": lambda _: [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.3), (0.9, 0.3)), "mid")), 1.0),
        *circle_lines(ring((0, 0.9, 0), 0.29), 0.9),
    ],
    "dash": lambda _: [
        *box((0, 0.6, 0), (2.2, 0.25, 0.5), DARK),
        *circle_lines(ring((-0.45, 0.9, -0.3), 0.2), 2.4),
    ],
}
