"""Flat props, on a board that is tilted towards the camera so that they are seen from level too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from .layers import (
    PALE,
    Face,
    Line,
    Mark,
    Mass,
    ball,
    box,
    circle_lines,
    curve,
    line,
)

_TILT = math.radians(24)


def _flat(rows: list[tuple[float, float]] | np.ndarray, lift: float = 0.02) -> np.ndarray:
    """An outline lying on a board that is tilted towards the camera."""
    flat = np.asarray(rows, dtype=np.float64)
    s, c = math.sin(_TILT), math.cos(_TILT)
    return np.stack([flat[:, 0], lift + (flat[:, 1] + 0.5) * s, flat[:, 1] * c - lift * s], axis=1)


def _sheet(w: float, h: float, tone: str = "white", lift: float = 0.02, turn: float = 0.0) -> Face:
    rows = np.array([(-w, -h), (-w, h), (w, h), (w, -h)]) / 2
    c, s = math.cos(turn), math.sin(turn)
    return Face(_flat(rows @ np.array([[c, s], [-s, c]]), lift), tone, 1.4)


def _rule(x0: float, x1: float, y: float, weight: float = 1.0, lift: float = 0.03) -> Mark:
    a, b = _flat([(x0, y), (x1, y)], lift)
    return line(a, b, weight)


def _disc(x: float, y: float, radius: float, lift: float = 0.02) -> np.ndarray:
    angle = np.arange(20) * (math.pi / 10)
    return _flat(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1), lift)


def _letter(_: float) -> list[Mark]:
    marks: list[Mark] = [
        _sheet(0.9, 0.55, "light", 0.0, 0.35),
        _sheet(0.62, 0.86, "white", 0.05, -0.06),
    ]
    for i in range(8):
        marks.append(_rule(-0.22, 0.2 - 0.05 * (i % 3), 0.3 - 0.085 * i, 1.3, 0.06))
    marks.append(curve(_flat([(0.0, -0.35), (0.06, -0.31), (0.1, -0.37), (0.2, -0.32)], 0.06), 1.5))
    return marks


def _phone(opened: float) -> list[Mark]:
    marks: list[Mark] = [
        _sheet(0.52, 1.0, "deep", 0.05),
        _sheet(0.44, 0.84, "glow" if opened > 0.3 else "mid", 0.07),
    ]
    if opened > 0.3:
        marks += [_sheet(0.3, 0.12, "white", 0.09), _rule(-0.1, 0.1, 0.0, 1.4, 0.1)]
    return marks


def _key(_: float) -> list[Mark]:
    outer, inner = _disc(-0.32, 0.1, 0.2, 0.06), _disc(-0.32, 0.1, 0.1, 0.07)
    shaft = _flat(
        [
            (-0.14, 0.14),
            (0.5, 0.14),
            (0.5, -0.08),
            (0.42, -0.08),
            (0.42, 0.0),
            (0.36, 0.0),
            (0.36, -0.08),
            (0.28, -0.08),
            (0.28, 0.06),
            (-0.14, 0.06),
        ],
        0.06,
    )
    return [
        Face(shaft, "mid", 1.6),
        Face(outer, "mid"),
        *circle_lines(outer, 1.8),
        Face(inner, "floor"),
        *circle_lines(inner, 1.4),
    ]


def _gun(_: float) -> list[Mark]:
    rows = [
        (-0.5, 0.3),
        (0.42, 0.3),
        (0.48, 0.22),
        (0.46, 0.1),
        (0.3, 0.06),
        (0.42, -0.38),
        (0.2, -0.4),
        (0.1, 0.0),
        (-0.06, -0.02),
        (-0.1, 0.1),
        (-0.5, 0.12),
    ]
    guard = _flat([(-0.06, 0.06), (-0.02, -0.1), (0.1, -0.1), (0.13, 0.02)], 0.07)
    return [
        Face(_flat(rows, 0.06), "deep", 1.6),
        curve(guard, 2.2),
        _rule(-0.46, 0.3, 0.2, 1.0, 0.08),
    ]


def _book(_: float) -> list[Mark]:
    marks: list[Mark] = []
    for s in (-1, 1):
        cover = _flat([(0, -0.42), (0, 0.42), (s * 0.66, 0.4), (s * 0.66, -0.44)], 0.02)
        page = np.concatenate(
            [
                _flat([(0, -0.4), (0, 0.4)], 0.06),
                _flat([(s * 0.2, 0.43), (s * 0.6, 0.38), (s * 0.6, -0.42), (s * 0.2, -0.37)], 0.1),
            ]
        )
        marks += [Face(cover, "dark", 1.6), Face(page, "white", 1.3)]
        marks += [_rule(s * 0.1, s * 0.52, 0.26 - 0.1 * i, 0.9, 0.12) for i in range(6)]
    return marks


def _photo(_: float) -> list[Mark]:
    marks: list[Mark] = [
        _sheet(0.84, 1.0, "white", 0.04, -0.08),
        Face(_flat([(-0.34, -0.22), (-0.3, 0.42), (0.36, 0.38), (0.32, -0.26)], 0.05), "mid", 1.0),
    ]
    for x, tone in ((-0.1, "dark"), (0.14, "deep")):
        marks.append(Face(_disc(x, 0.14, 0.085, 0.06), tone))
        marks.append(
            Face(
                _flat(
                    [(x - 0.15, -0.23), (x - 0.1, 0.02), (x + 0.1, 0.02), (x + 0.15, -0.24)], 0.06
                ),
                tone,
            )
        )
    return marks


def _knife(_: float) -> list[Mark]:
    blade = _flat([(-0.62, 0.02), (-0.4, 0.13), (0.14, 0.13), (0.14, -0.03), (-0.44, -0.03)], 0.06)
    grip = _flat([(0.14, 0.14), (0.62, 0.1), (0.64, -0.06), (0.14, -0.05)], 0.07)
    return [Face(blade, "white", 1.5), _rule(-0.5, 0.12, 0.05, 0.8, 0.07), Face(grip, "deep", 1.6)]


def _flower(_: float) -> list[Mark]:
    marks: list[Mark] = [curve(_flat([(0.3, -0.75), (0.06, -0.3), (0, 0.16)], 0.06), 3.4, "leaf")]
    for s in (-1, 1):
        marks.append(
            Face(
                _flat(
                    [
                        (0.1, -0.36),
                        (0.1 + s * 0.2, -0.2),
                        (0.1 + s * 0.34, -0.26),
                        (0.1 + s * 0.16, -0.36),
                    ],
                    0.07,
                ),
                "leaf",
                1.1,
            )
        )
    petals = []
    for i in range(6):
        a = i * math.pi / 3
        x, y, z = _flat([(0.17 * math.cos(a), 0.36 + 0.17 * math.sin(a))], 0.1)[0]
        petals.append(ball((x, y, z), 0.15, (206, 74, 84)))
    x, y, z = _flat([(0, 0.36)], 0.2)[0]
    return [*marks, Mass(tuple(petals), 1.5), Mass((ball((x, y, z), 0.11, (232, 168, 90)),), 1.2)]


def _watch(opened: float) -> list[Mark]:
    marks: list[Mark] = [
        Face(_disc(0, 0, 0.5, 0.04), "dark"),
        *circle_lines(_disc(0, 0, 0.5, 0.04), 2.0),
    ]
    marks += [Face(_disc(0, 0, 0.41, 0.06), "white"), *circle_lines(_disc(0, 0, 0.41, 0.06), 1.2)]
    for i in range(12):
        c, s = math.cos(i * math.pi / 6), math.sin(i * math.pi / 6)
        a, b = _flat([(0.33 * c, 0.33 * s), (0.38 * c, 0.38 * s)], 0.07)
        marks.append(line(a, b, 1.6))
    for length, angle, weight in ((0.3, 1.57 - 1.4 * opened, 2.0), (0.2, 0.5, 3.0)):
        a, b = _flat([(0, 0), (length * math.cos(angle), length * math.sin(angle))], 0.08)
        marks.append(line(a, b, weight))
    return marks


def _coin(_: float) -> list[Mark]:
    marks: list[Mark] = [
        Face(_disc(0.04, -0.03, 0.46, 0.02), "dark"),
        *circle_lines(_disc(0.04, -0.03, 0.46, 0.02), 1.4),
    ]
    marks += [
        Face(_disc(0, 0, 0.46, 0.06), (206, 172, 96)),
        *circle_lines(_disc(0, 0, 0.46, 0.06), 1.8),
        *circle_lines(_disc(0, 0, 0.37, 0.07), 0.9),
    ]
    marks.append(
        Face(
            _flat(
                [
                    (-0.14, -0.2),
                    (-0.12, 0.16),
                    (0.06, 0.24),
                    (0.14, 0.06),
                    (0.08, -0.02),
                    (0.14, -0.2),
                ],
                0.08,
            ),
            (150, 118, 58),
            1.0,
        )
    )
    return marks


def _map(_: float) -> list[Mark]:
    marks: list[Mark] = []
    for i in range(4):
        x, lift = -0.7 + 0.35 * i, 0.03 + 0.05 * (i % 2)
        back = 0.03 + 0.05 * ((i + 1) % 2)
        low, high = (
            _flat([(x, -0.45), (x, 0.45)], lift),
            _flat([(x + 0.35, 0.45), (x + 0.35, -0.45)], back),
        )
        marks.append(Face(np.concatenate([low, high]), "white" if i % 2 else "pale", 1.3))
    marks.append(curve(_flat([(-0.6, -0.3), (-0.2, 0.1), (0.1, -0.1), (0.5, 0.3)], 0.1), 1.4))
    marks.append(curve(_flat([(-0.5, 0.35), (-0.3, 0.0), (0.2, 0.2), (0.6, -0.3)], 0.1), 0.9))
    for s in (1, -1):
        a, b = _flat([(0.44 - 0.07, 0.28 - 0.07 * s), (0.44 + 0.07, 0.28 + 0.07 * s)], 0.12)
        marks.append(line(a, b, 3.0, (190, 60, 52)))
    return marks


def _pane(opened: float) -> list[Mark]:
    """A misted window pane on which a finger has drawn a house; its smoke comes last."""

    def upright(rows: Iterable[tuple[float, float]], lift: float = 0.0) -> np.ndarray:
        return np.array([(0.66 * x, 0.66 * y + 0.06, 0.2 - lift) for x, y in rows])

    def panel(half: float, low: float, high: float, tone: str, lift: float) -> Face:
        rows = [(-half, low), (-half, high), (half, high), (half, low)]
        return Face(upright(rows, lift), tone, 1.5)

    marks: list[Mark] = [
        *box((0, 0, 0.16), (1.55, 0.06, 0.42), PALE, weight=1.4),
        panel(1.05, 0.0, 1.45, "paper", 0.0),
        panel(0.92, 0.12, 1.34, "window", 0.01),
    ]
    strokes = [
        ((-0.34, 0.3), (-0.34, 0.66)),
        ((-0.34, 0.66), (0.0, 0.95)),
        ((0.0, 0.95), (0.36, 0.65)),
        ((0.36, 0.65), (0.35, 0.3)),
        ((0.35, 0.3), (-0.36, 0.3)),
        ((-0.05, 0.3), (-0.05, 0.52)),
        ((-0.05, 0.52), (0.1, 0.52)),
        ((0.1, 0.52), (0.1, 0.3)),
        ((0.2, 0.8), (0.2, 0.98)),
    ]
    marks += [Line(upright(ends, 0.02), 4.5, "deep") for ends in strokes]
    smoke = [(0.2, 1.0), (0.3, 1.08), (0.22, 1.16), (0.2 + 0.2 * opened, 1.2 + 0.08 * opened)]
    return [*marks, curve(upright(smoke, 0.02), 4.0, "deep")]


FLAT_PROPS: dict[str, Callable[[float], list[Mark]]] = {
    "letter": _letter,
    "phone": _phone,
    "key": _key,
    "gun": _gun,
    "book": _book,
    "photo": _photo,
    "pane": _pane,
    "knife": _knife,
    "flower": _flower,
    "watch": _watch,
    "coin": _coin,
    "map": _map,
}
