"""What a panel is drawn from: marks in world space, gathered into pieces of a depth layer.

World axes: x right, y up, z away from the camera's usual place; lengths are metres. A tone is
the name of a palette colour or an RGB tuple.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Tone = str | tuple[int, int, int]

SKY, BACKGROUND, MIDGROUND, FOREGROUND = range(4)
CURVE_POINTS = 12


@dataclass(frozen=True, eq=False)
class Face:
    """A flat patch, points [N, 3]. `weight` inks its edges; `cull` hides its back side, which
    is the one whose points run counter-clockwise in the picture."""

    points: np.ndarray
    tone: Tone
    weight: float = 0.0
    cull: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """One ink stroke: two points [2, 3], or a curve [CURVE_POINTS, 3]."""

    points: np.ndarray
    weight: float = 1.0
    tone: Tone = "ink"


@dataclass(frozen=True, eq=False)
class Part:
    """A rounded convex body: the hull of balls with centres [N, 3] and radii [N]."""

    centres: np.ndarray
    radii: np.ndarray
    tone: Tone
    shaded: bool = True


@dataclass(frozen=True, eq=False)
class Mass:
    """Parts that share one outline of `ink`, drawn as a single silhouette."""

    parts: tuple[Part, ...]
    weight: float = 1.0
    ink: Tone = "ink"


Mark = Face | Line | Mass


@dataclass(frozen=True, eq=False)
class Piece:
    """Marks in drawing order, sorted against other pieces of the layer by distance of `anchor`."""

    marks: tuple[Mark, ...]
    layer: int
    anchor: tuple[float, float, float]


def piece(marks: Iterable[Mark], anchor: Sequence[float], layer: int = MIDGROUND) -> Piece:
    """The piece of these marks."""
    return Piece(tuple(marks), layer, tuple(float(v) for v in anchor))


def points(*rows: Sequence[float]) -> np.ndarray:
    """Points [N, 3] from rows."""
    return np.array(rows, dtype=np.float64)


def line(a: Sequence[float], b: Sequence[float], weight: float = 1.0, tone: Tone = "ink") -> Line:
    """The straight stroke from `a` to `b`."""
    return Line(points(a, b), weight, tone)


def curve(through: np.ndarray, weight: float = 1.0, tone: Tone = "ink") -> Line:
    """The smooth stroke through points [N, 3]: a Catmull-Rom spline."""
    through = np.asarray(through, dtype=np.float64)
    padded = np.concatenate(
        [2 * through[:1] - through[1:2], through, 2 * through[-1:] - through[-2:-1]]
    )
    place = np.linspace(0, len(through) - 1, CURVE_POINTS)
    index = np.minimum(place.astype(int), len(through) - 2)
    t = (place - index)[:, None]
    a, b, c, d = (padded[index + offset] for offset in range(4))
    spline = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
    return Line((spline + (3 * b - a - 3 * c + d) * t**3) / 2, weight, tone)


def ball(centre: Sequence[float], radius: float, tone: Tone) -> Part:
    """A single ball."""
    return Part(points(centre), np.array([radius]), tone)


def limb(a: Sequence[float], b: Sequence[float], radii: tuple[float, float], tone: Tone) -> Part:
    """A tapered capsule from `a` to `b`."""
    return Part(points(a, b), np.array(radii), tone)


def ring(
    centre: Sequence[float], radius: float, num_points: int = 20, squash: float = 1.0
) -> np.ndarray:
    """A level circle, [num_points, 3]; `squash` scales its depth."""
    angle = np.arange(num_points) * (2 * math.pi / num_points)
    x, y, z = centre
    return np.stack(
        [x + radius * np.cos(angle), np.full(num_points, y), z + squash * radius * np.sin(angle)],
        axis=1,
    )


def circle_lines(loop: np.ndarray, weight: float = 1.0, tone: Tone = "ink") -> list[Line]:
    """A closed loop [N, 3] as two smooth strokes, as a hand draws it."""
    half = len(loop) // 2
    closed = np.concatenate([loop, loop[:1]])
    return [curve(closed[: half + 1], weight, tone), curve(closed[half:], weight, tone)]


def lathe(
    centre: Sequence[float], profile: Sequence[tuple[float, float]], tone: Tone
) -> list[Part]:
    """A turned body standing on `centre`: rows of (height, radius) from the foot up."""
    x, y, z = centre
    rims = [ring((x, y + height, z), max(radius, 1e-3)) for height, radius in profile]
    flat = np.zeros(len(rims[0]) * 2)
    return [Part(np.concatenate(pair), flat, tone) for pair in itertools.pairwise(rims)]


_BOX_FACES = (
    ((0, 3, 7, 4), "side"),
    ((1, 5, 6, 2), "side"),
    ((0, 4, 5, 1), "front"),
    ((3, 2, 6, 7), "front"),
    ((4, 7, 6, 5), "top"),
    ((0, 1, 2, 3), "side"),
)


@dataclass(frozen=True)
class Coat:
    """The three tones of a box."""

    top: Tone = "light"
    front: Tone = "mid"
    side: Tone = "dark"


WOOD = Coat("wood_light", "wood", "wood_dark")
PALE = Coat("paper", "light", "mid")
DARK = Coat("mid", "dark", "deep")


def box(
    foot: Sequence[float],
    size: Sequence[float],
    coat: Coat = WOOD,
    turn: float = 0.0,
    weight: float = 1.0,
) -> list[Face]:
    """A box of `size` (x, y, z) standing on the point `foot` under its middle."""
    w, h, d = size
    corners = [
        (sx * w / 2, y, sz * d / 2)
        for y in (0.0, h)
        for sx, sz in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    placed = place(points(*corners), foot, turn)
    return [
        Face(placed[list(order)], getattr(coat, side), weight, cull=True)
        for order, side in _BOX_FACES
    ]


def place(
    local: np.ndarray, origin: Sequence[float], turn: float = 0.0, size: float = 1.0
) -> np.ndarray:
    """Local points [N, 3] scaled, turned about the upright axis and moved to `origin`.

    `turn` is in radians; a positive one turns the local z axis towards x.
    """
    c, s = math.cos(turn), math.sin(turn)
    rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return local * size @ rotation + np.asarray(origin, dtype=np.float64)


def moved(
    marks: Iterable[Mark], origin: Sequence[float], turn: float = 0.0, size: float = 1.0
) -> list[Mark]:
    """The marks scaled, turned and moved as `place` does."""
    result: list[Mark] = []
    for mark in marks:
        if isinstance(mark, Mass):
            parts = tuple(
                replace(
                    part,
                    centres=place(part.centres, origin, turn, size),
                    radii=part.radii * size,
                )
                for part in mark.parts
            )
            result.append(replace(mark, parts=parts))
        else:
            result.append(replace(mark, points=place(mark.points, origin, turn, size)))
    return result


def hatch(
    corners: np.ndarray, num_lines: int, weight: float = 0.7, tone: Tone = "ink"
) -> list[Line]:
    """Slanting strokes over the quadrilateral `corners` [4, 3], which run around it."""
    a, b, c, d = corners
    lines = []
    for i in range(num_lines):
        t = (i + 0.5) / num_lines
        slant = min(1.0, t + 0.16)
        lines.append(Line(np.stack([a + (b - a) * t, d + (c - d) * slant]), weight, tone))
    return lines
