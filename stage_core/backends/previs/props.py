"""Things for inserts and hands: each about one unit wide, standing on the origin."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .flat_props import FLAT_PROPS
from .hands import hand
from .layers import (
    DARK,
    PALE,
    WOOD,
    Face,
    Mark,
    Mass,
    Part,
    box,
    circle_lines,
    curve,
    lathe,
    limb,
    line,
    points,
    ring,
)

NATURAL_SIZE: dict[str, float] = {
    "ring": 0.09, "letter": 0.24, "phone": 0.16, "key": 0.09, "gun": 0.22, "cup": 0.11,
    "glass": 0.13, "bottle": 0.22, "book": 0.22, "lamp": 0.3, "candle": 0.16, "photo": 0.18,
    "knife": 0.28, "flower": 0.36, "watch": 0.08, "coin": 0.05, "map": 0.4, "suitcase": 0.5,
    "laptop": 0.36, "umbrella": 0.9, "bag": 0.36, "box": 0.26,
}  # fmt: skip
"""Width in metres of what a figure can carry."""


def prop_marks(kind: str, opened: float = 0.0) -> list[Mark]:
    """The marks of a prop; `opened`, from 0 to 1, is how far its action has come."""
    return _PROPS[kind](opened)


def _ring(opened: float) -> list[Mark]:
    marks: list[Mark] = [
        *box((0, 0, 0), (0.8, 0.3, 0.6), DARK, weight=1.6),
        *box((0, 0.3, 0), (0.7, 0.05, 0.5), PALE),
    ]
    angle = math.radians(12 + 88 * opened)
    # The lid swings about the back edge of the box.
    up, back = math.sin(angle), math.cos(angle)
    hinge = np.array([0, 0.32, 0.3])
    lid = (
        np.array(
            [(-0.4, 0, 0), (0.4, 0, 0), (0.4, up * 0.6, -back * 0.6), (-0.4, up * 0.6, -back * 0.6)]
        )
        + hinge
    )
    thick = np.array([0, 0.1 * back, 0.1 * up])
    if opened > 0.35:
        marks += [Face(lid + thick, "deep", 1.6), Face(lid, "mid", 1.6)]
        loop = [
            (0.17 * math.cos(a), 0.36 + 0.17 + 0.17 * math.sin(a), -0.02)
            for a in np.linspace(0, 2 * math.pi, 16, endpoint=False)
        ]
        marks += circle_lines(points(*loop), 5.0)
        marks += circle_lines(points(*loop), 2.4, "glow")
        stone = points(
            (-0.07, 0.72, -0.03), (0, 0.82, -0.03), (0.07, 0.72, -0.03), (0, 0.64, -0.03)
        )
        marks.append(Face(stone, "white", 1.5))
        return marks
    return [*marks, *box((0, 0.31, 0), (0.84, 0.2, 0.64), DARK, weight=1.6)]


def _cup(_: float) -> list[Mark]:
    handle = points((0.34, 0.58, 0), (0.6, 0.56, 0), (0.58, 0.26, 0), (0.3, 0.2, 0))
    marks: list[Mark] = [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.44), (0.03, 0.5)), "light")), 1.4),
        curve(handle, 6.0),
        curve(handle, 3.0, "white"),
    ]
    marks.append(
        Mass(tuple(lathe((0, 0.03, 0), ((0, 0.22), (0.2, 0.33), (0.7, 0.4)), "white")), 1.6)
    )
    marks += [Face(ring((0, 0.73, 0), 0.36), "deep"), *circle_lines(ring((0, 0.73, 0), 0.39), 1.3)]
    for x in (-0.1, 0.08):
        marks.append(
            curve(
                points((x, 0.8, 0), (x + 0.08, 0.95, 0), (x - 0.05, 1.1, 0), (x + 0.05, 1.28, 0)),
                1.0,
            )
        )
    return marks


def _glass(_: float) -> list[Mark]:
    return [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.26), (0.03, 0.05), (0.42, 0.04)), "light")), 1.3),
        Mass(tuple(lathe((0, 0.42, 0), ((0, 0.06), (0.16, 0.26), (0.6, 0.24)), "white")), 1.5),
        Mass(
            tuple(lathe((0, 0.46, 0), ((0, 0.06), (0.12, 0.23), (0.3, 0.245)), (150, 60, 66))), 0.8
        ),
        *circle_lines(ring((0, 1.02, 0), 0.24), 1.2),
    ]


def _bottle(_: float) -> list[Mark]:
    return [
        Mass(
            tuple(lathe((0, 0, 0), ((0, 0.22), (0.7, 0.22), (0.9, 0.08), (1.2, 0.07)), "leaf")), 1.6
        ),
        Mass(tuple(lathe((0, 0.2, 0), ((0, 0.225), (0.34, 0.225)), "white")), 1.0),
    ]


def _lamp(_: float) -> list[Mark]:
    return [
        Mass(
            tuple(lathe((0, 0, 0), ((0, 0.3), (0.08, 0.26), (0.14, 0.07), (0.55, 0.06)), "mid")),
            1.5,
        ),
        Mass(tuple(lathe((0, 0.55, 0), ((0, 0.5), (0.5, 0.26)), "glow")), 1.6),
    ]


def _candle(_: float) -> list[Mark]:
    flame = Part(points((0, 0.98, 0), (0.02, 1.2, 0)), np.array([0.075, 0.01]), "glow", False)
    return [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.4), (0.06, 0.44)), "mid")), 1.5),
        Mass(tuple(lathe((0, 0.06, 0), ((0, 0.14), (0.78, 0.13)), "white")), 1.5),
        line((0, 0.84, 0), (0, 0.94, 0), 1.6),
        Mass((flame,), 1.3),
    ]


def _door(opened: float) -> list[Mark]:
    face = points((-0.9, 0, 0.3), (-0.9, 1.6, 0.3), (0.8, 1.6, 0.3), (0.8, 0, 0.3))
    plate = points((-0.15, 0.25, 0.27), (-0.15, 1.15, 0.27), (0.13, 1.15, 0.27), (0.13, 0.25, 0.27))
    hole = ring((0, 0.45, 0.0), 0.05, 10)[:, [0, 2, 1]] + np.array([0, 0.45, 0.26])
    drop = -0.22 * opened
    lever = Part(points((0, 0.85, 0.05), (0.5, 0.85 + drop, 0.0)), np.array([0.07, 0.06]), "light")
    edge = points((0.8, 0, 0.3), (0.8, 1.6, 0.3), (1.1, 1.6, 0.5), (1.1, 0, 0.5))
    return [
        Face(face, "mid", 1.6),
        Face(edge, "deep", 1.3),
        Face(plate, "light", 1.4),
        Face(hole, "ink"),
        Mass((lever,), 1.6),
    ]


def _suitcase(_: float) -> list[Mark]:
    handle = points((-0.18, 0.7, 0), (-0.14, 0.84, 0), (0.14, 0.84, 0), (0.18, 0.7, 0))
    marks: list[Mark] = [curve(handle, 4.0), *box((0, 0, 0), (1.1, 0.7, 0.34), WOOD, weight=1.6)]
    return [
        *marks,
        *(line((x, 0.02, -0.18), (x, 0.68, -0.18), 2.4) for x in (-0.32, 0.32)),
        *box((0, 0.6, -0.18), (0.16, 0.08, 0.02), PALE),
    ]


def _laptop(_: float) -> list[Mark]:
    screen = points((-0.55, 0.05, 0.3), (-0.55, 0.75, 0.5), (0.55, 0.75, 0.5), (0.55, 0.05, 0.3))
    inner = (screen - screen.mean(axis=0)) * 0.88 + screen.mean(axis=0) - (0, 0, 0.01)
    marks: list[Mark] = [
        *box((0, 0, 0), (1.1, 0.05, 0.7), PALE, weight=1.5),
        Face(screen, "deep", 1.6),
        Face(inner, "glow", 1.0),
    ]
    marks += [line((-0.45, 0.06, z), (0.45, 0.06, z), 1.6, "mid") for z in (0.2, 0.11, 0.02)]
    a, b = inner[1] * 0.7 + inner[2] * 0.3, inner[0] * 0.7 + inner[3] * 0.3
    return [
        *marks,
        *(
            line(a * (1 - t) + b * t, (a * (1 - t) + b * t) + (0.4 - 0.2 * t, 0, 0), 1.4)
            for t in (0.2, 0.4, 0.6)
        ),
    ]


def _umbrella(_: float) -> list[Mark]:
    rim = [
        (0.6 * math.cos(a), 0.62, 0.6 * math.sin(a))
        for a in np.linspace(0, 2 * math.pi, 16, endpoint=False)
    ]
    canopy = Part(
        points(*rim, (0, 1.05, 0), (0.3, 0.93, 0), (-0.3, 0.93, 0)), np.full(19, 0.01), "dark"
    )
    return [
        line((0, 0.0, 0), (0, 1.0, 0), 3.0),
        Mass((canopy,), 1.5),
        *(
            curve(points(rim[i], (rim[i][0] * 0.6, 0.9, rim[i][2] * 0.6), (0, 1.05, 0)), 0.9)
            for i in (9, 11, 13, 15)
        ),
        curve(points((0, 0, 0), (0.02, -0.1, 0), (0.1, -0.1, 0), (0.12, 0, 0)), 3.0),
    ]


def _bag(_: float) -> list[Mark]:
    body = Part(
        points((-0.4, 0.1, 0), (0.4, 0.1, 0), (-0.3, 0.55, 0), (0.3, 0.55, 0)),
        np.array([0.12, 0.12, 0.08, 0.08]),
        "mid",
    )
    return [
        curve(points((-0.2, 0.6, 0), (-0.14, 0.9, 0), (0.14, 0.9, 0), (0.2, 0.6, 0)), 3.4),
        Mass((body,), 1.7),
        curve(points((-0.38, 0.5, -0.1), (0, 0.42, -0.13), (0.38, 0.5, -0.1)), 1.4),
    ]


def _box(_: float) -> list[Mark]:
    marks: list[Mark] = [*box((0, 0, 0), (0.95, 0.55, 0.65), WOOD, 0.25, 1.6)]
    for x, y, z in ((0.2, 0.62, 0.0), (-0.22, 0.64, 0.02)):
        marks.append(Mass((limb((0, 0.57, 0), (x, y, z), (0.03, 0.09), "white"),), 1.3))
    c, s = math.cos(0.25), math.sin(0.25)
    for t in (-0.33, 0.33):
        marks.append(line((t * s, 0.56, t * c), (-t * s, 0.56, -t * c), 2.4))
        marks.append(line((t * c, 0.56, -t * s), (-t * c, 0.56, t * s), 2.4))
    front = np.array([-0.33 * s, 0, -0.33 * c])
    return [*marks, line(front + np.array([0, 0.55, 0]), front + np.array([0, 0.02, 0]), 2.6)]


def _hand(opened: float) -> list[Mark]:
    return hand(np.array([0.0, 0.4, 0.1]), np.array([0.35, 0.5, -1.5]), "cloth", 0.7 - 0.6 * opened)


_PROPS: dict[str, Callable[[float], list[Mark]]] = {
    **FLAT_PROPS,
    "ring": _ring,
    "cup": _cup,
    "glass": _glass,
    "bottle": _bottle,
    "lamp": _lamp,
    "candle": _candle,
    "door": _door,
    "suitcase": _suitcase,
    "laptop": _laptop,
    "umbrella": _umbrella,
    "bag": _bag,
    "box": _box,
    "hand": _hand,
}
