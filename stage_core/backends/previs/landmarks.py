"""What an open place is known by: towers, churches, boats, trains, strings of lanterns."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .layers import (
    BACKGROUND,
    DARK,
    PALE,
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
    lathe,
    line,
    moved,
    piece,
    points,
)

Place = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """What an establishing shot looks at: a point on the ground, the height of what stands
    there, and the metres that the frame's height spans from far off. `skyline` is what far
    peaks need over the horizon, in frame heights; `aisle` how far the camera may stand aside."""

    at: Place
    top: float
    extent: float
    skyline: float = 0.0
    aisle: float = 40.0


PLACE_VIEWS: dict[str, View] = {
    "forest": View((0, 0, 14), 9, 17),
    "field": View((0, 0, 9), 6, 13),
    "street": View((0, 0, 30), 17, 27, aisle=2.4),
    "market": View((0, 0, 9), 5, 12, aisle=1.6),
    "beach": View((0, 0, 9), 4, 14),
    "sea": View((0, 0, 20), 6, 16),
    "harbour": View((0, 0, 14), 5.5, 20),
    "desert": View((0, 0, 40), 13, 26, 0.1),
    "snow": View((0, 0, 12), 7, 15, 0.12),
    "mountain": View((0, 0, 22), 6, 24, 0.3),
    "space": View((0, 0, 30), 10, 22, 0.1),
}
LANDMARK_VIEWS: dict[str, View] = {
    "tower": View((0, 0, 46), 60, 84, aisle=2.4),
    "lighthouse": View((5, 0, 34), 24, 34),
    "church": View((3, 0, 34), 27, 38, aisle=4.0),
    "castle": View((-4, 0, 62), 34, 50),
    "house": View((-3, 0, 22), 8.5, 15),
    "train": View((0, 0, 60), 4.4, 32),
    "boat": View((-2, 0, 22), 6, 13),
}


def view_of(kind: str, landmark: str) -> View:
    """What an establishing shot of this kind of place looks at."""
    view = LANDMARK_VIEWS.get(landmark) or PLACE_VIEWS[kind]
    return replace(view, aisle=min(view.aisle, PLACE_VIEWS[kind].aisle))


def landmark_piece(name: str, rng: random.Random) -> Piece:
    """The landmark of this name, where its view looks."""
    view = LANDMARK_VIEWS[name]
    marks = _LANDMARKS[name](rng)
    return piece(moved(marks, view.at, rng.uniform(-0.1, 0.1)), view.at)


def _panes(rng: random.Random, size: Sequence[float], foot: float, lit: float) -> list[Mark]:
    """Rows of windows round a box of `size` that stands `foot` above the ground."""
    w, h, d = size
    marks: list[Mark] = []
    for floor in range(int((h - 1.5) / 3.6)):
        y = foot + 1.0 + 3.6 * floor
        for span, z, flip in ((w, d, 1), (d, w, -1)):
            count = max(1, int(span / 2.4))
            for i in range(count):
                u = span * ((i + 0.5) / count - 0.5)
                rows = [(u - 0.7, y), (u - 0.7, y + 2.0), (u + 0.7, y + 2.0), (u + 0.7, y)]
                tone = "window" if rng.random() < lit else "dark"
                if flip > 0:
                    sides = [[(a, b, -z / 2 - 0.03) for a, b in rows]]
                else:
                    sides = [
                        [(-z / 2 - 0.03, b, -a) for a, b in rows],
                        [(z / 2 + 0.03, b, a) for a, b in rows],
                    ]
                marks += [Face(points(*side), tone, 0.5, cull=True) for side in sides]
    return marks


def _tower(rng: random.Random) -> list[Mark]:
    tiers = ((0.0, (17.0, 46.0, 14.0)), (46.0, (11.0, 9.0, 9.0)))
    marks: list[Mark] = []
    for foot, size in tiers:
        marks += box((0, foot, 0), size, Coat("light", "mid", "dark"), weight=1.4)
        marks += _panes(rng, size, foot + (3.4 if not foot else 0.0), 0.5)
    lobby = points((-5, 0, -7.1), (-5, 3.4, -7.1), (5, 3.4, -7.1), (5, 0, -7.1))
    marks.append(Face(lobby, "glow", 1.1, cull=True))
    marks += [line((x, 0, -7.2), (x, 3.4, -7.2), 0.9) for x in (-2.5, 0.0, 2.5)]
    marks += box((0, 3.4, -7.6), (12.0, 0.5, 1.6), DARK)
    return [*marks, line((0, 55, 0), (0, 60, 0), 2.2), Mass((ball((0, 60, 0), 0.4, "glow"),), 0.8)]


def _roofed(size: Sequence[float], rise: float, tone: str) -> list[Mark]:
    """Walls of `size` under a roof whose ridge runs from left to right."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    ends = [
        Face(points((u, h, -d), (u, h, d), (u, h + rise, 0)), shade, 1.0)
        for u, shade in ((w, "dark"), (-w, "mid"))
    ]
    walls = box((0, 0, 0), size, Coat("light", "paper", "mid"), 0, 1.2)
    low, out, eaves = h - 0.2, w + 0.5, -d - 0.5
    roof = ((-out, low, eaves), (-out, h + rise, 0), (out, h + rise, 0), (out, low, eaves))
    return [*ends, *walls, Face(points(*roof), tone, 1.2)]


def _house(rng: random.Random) -> list[Mark]:
    puffs = [(2.8 + 0.4 * i, 8.8 + 0.9 * i, 0.6) for i in range(3)]
    smoke = tuple(ball(at, rng.uniform(0.4, 0.7), "low_sky") for at in puffs)
    # The walls and the roof stand before the chimney.
    marks: list[Mark] = [Mass(smoke, 0.6), *box((2.8, 4.6, 0.6), (0.9, 3.6, 0.9), DARK)]
    marks += _roofed((9.0, 4.4, 6.0), 3.3, "wood_dark")
    for x in (-3.0, 3.0):
        rows = ((x - 0.8, 1.4), (x - 0.8, 3.0), (x + 0.8, 3.0), (x + 0.8, 1.4))
        marks.append(Face(points(*((a, b, -3.05) for a, b in rows)), "window", 1.0, cull=True))
        marks.append(line((x, 1.4, -3.1), (x, 3.0, -3.1), 0.8))
    rows = ((-0.6, 0.0), (-0.6, 2.3), (0.6, 2.3), (0.6, 0.0))
    marks.append(Face(points(*((a, b, -3.05) for a, b in rows)), "dark", 1.1, cull=True))
    return marks


def _pyramid(half: float, foot: float, top: float) -> list[Mark]:
    rim = [(-half, foot, -half), (half, foot, -half), (half, foot, half), (-half, foot, half)]
    sides = zip(rim, [*rim[1:], rim[0]], ("mid", "dark", "dark", "light"), strict=True)
    return [Face(points(a, (0, top, 0), b), tone, 1.1, cull=True) for a, b, tone in sides]


def _church(rng: random.Random) -> list[Mark]:
    marks: list[Mark] = moved(_roofed((14, 7, 8), 4.6, "dark"), (8, 0, 1))
    for x in (3.6, 6.6, 9.6, 12.6):
        rows = ((-0.5, 2.0), (-0.5, 4.4), (0.0, 5.3), (0.5, 4.4), (0.5, 2.0))
        marks.append(Face(points(*((x + a, b, -3.06) for a, b in rows)), "window", 0.9))
    marks += box((0, 0, 0), (5.4, 15, 5.4), Coat("light", "pale", "mid"), 0, 1.4)
    for low, high, tone in ((0.0, 3.2, "dark"), (10.5, 13.0, "deep")):
        rows = ((-0.9, low), (-0.9, high), (0.0, high + 1.1), (0.9, high), (0.9, low))
        marks.append(Face(points(*((a, b, -2.75) for a, b in rows)), tone, 1.1))
    return [
        *marks,
        *_pyramid(2.9, 15.0, 25.0),
        line((0, 25, 0), (0, 27, 0), 2.0),
        line((-0.6, 26.2, 0), (0.6, 26.2, 0), 2.0),
    ]


def _round_tower(at: Place, radius: float, height: float, roof: float) -> list[Mark]:
    cone = np.concatenate([lathe((0, 0, 0), ((height, radius * 1.25),) * 2, "dark")[0].centres])
    tip = np.concatenate([cone, points((0, height + roof, 0))])
    marks: list[Mark] = [
        Mass(tuple(lathe((0, 0, 0), ((0, radius), (height, radius))[:2], "mid")), 1.2),
        Mass((Part(tip, np.full(len(tip), 0.02), "dark"),), 1.2),
    ]
    for y in (0.35, 0.7):
        slit = [(-0.25, y * height), (-0.25, y * height + 1.6), (0.25, y * height + 1.6)]
        rows = [*slit, (0.25, y * height)]
        marks.append(Face(points(*((a, b, -radius - 0.05) for a, b in rows)), "window", 0.8))
    return moved(marks, at)


def _castle(_: random.Random) -> list[Mark]:
    marks: list[Mark] = [*_round_tower((0, 0, 8), 4.0, 24.0, 10.0)]
    marks += box((0, 0, 4), (26, 11, 8), Coat("light", "mid", "dark"), 0, 1.3)
    for i in range(11):
        marks += box((-12.2 + 2.44 * i, 11, 0.6), (1.3, 1.3, 1.0), Coat("light", "mid", "dark"))
    gate = ((-2.0, 0.0), (-2.0, 4.2), (0.0, 5.8), (2.0, 4.2), (2.0, 0.0))
    marks.append(Face(points(*((a, b, -0.06) for a, b in gate)), "deep", 1.2))
    for x, tall in ((-13, 17.0), (13, 15.0)):
        marks += _round_tower((x, 0, 1), 3.0, tall, 7.0)
    return marks


def _lighthouse(_: random.Random) -> list[Mark]:
    rims = [(y, 2.6 - 0.055 * y) for y in (0.0, 5.0, 10.0, 15.0, 19.0)]
    parts = [
        lathe((0, 0, 0), pair, (206, 64, 52) if i % 2 else "paper")[0]
        for i, pair in enumerate(itertools.pairwise(rims))
    ]
    lamp = lathe((0, 0, 0), ((19.4, 1.1), (21.6, 1.1)), "glow")
    cap = lathe((0, 0, 0), ((21.6, 1.5), (23.4, 0.1)), "dark")
    rail = lathe((0, 0, 0), ((19.0, 2.1), (19.4, 2.1)), "dark")
    return [Mass((*parts,), 1.2), Mass((*rail, *lamp, *cap), 1.0)]


def _train(_: random.Random) -> list[Mark]:
    marks: list[Mark] = []
    for z in (-0.8, 0.8):
        marks.append(line((-150, 0.05, z), (150, 0.05, z), 1.0))
    # From both ends to the middle, so that the nearer car covers the farther.
    for i in (-3, 3, -2, 2, -1, 1, 0):
        x = i * 13.4
        marks += box((x, 0.5, 0), (12.8, 0.5, 2.4), DARK)
        coat = Coat("mid", (206, 64, 52), (150, 44, 40))
        marks += box((x, 1.0, 0), (13.0, 2.7, 2.8), coat, weight=1.2)
        for k in range(6):
            u = x - 5.2 + 2.08 * k
            rows = ((u - 0.6, 2.0), (u - 0.6, 3.1), (u + 0.6, 3.1), (u + 0.6, 2.0))
            pane = points(*((a, b, -1.43) for a, b in rows))
            marks.append(Face(pane, "glow", 0.7, cull=True))
    return marks


def boat(tall: float = 5.4) -> list[Mark]:
    """A fishing boat on the water, its bow along z, with a mast of `tall` metres."""
    rim = [(-1.05, 0.8, -2.5), (1.05, 0.8, -2.5), (1.1, 0.8, 1.2), (0, 1.1, 3.4), (-1.1, 0.8, 1.2)]
    keel = [(-0.5, -0.1, -2.2), (0.5, -0.1, -2.2), (0.0, -0.1, 2.4)]
    hull = Part(points(*rim, *keel), np.full(8, 0.05), "wood_dark")
    well = [(x * 0.8, y + 0.07, z * 0.86) for x, y, z in rim]
    ties = [line((0, tall, 0.5), end, 0.8) for end in ((0, 1.1, 3.4), (0, 1.0, -2.5))]
    return [
        Mass((hull,), 1.3),
        Face(points(*well), "wood_light", 0.9),
        *box((0, 0.85, -1.3), (1.2, 1.1, 1.2), PALE),
        line((0, 0.8, 0.5), (0, tall, 0.5), 2.4),
        curve(points((0, 1.9, 0.5), (0.2, 2.2, -0.8), (0, 2.5, -2.2)), 2.0),
        *ties,
    ]


def lanterns(a: Sequence[float], b: Sequence[float], count: int) -> list[Mark]:
    """A string of paper lanterns that hangs between two points."""
    start, end = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    sag = np.array([0, 0.12 * math.dist(a, b), 0])
    marks: list[Mark] = [curve(np.stack([start, (start + end) / 2 - sag, end]), 0.9)]
    balls = []
    for i in range(count):
        t = (i + 0.5) / count
        hung = start + (end - start) * t - sag * 4 * t * (1 - t) - (0, 0.2, 0)
        balls.append(ball(hung, 0.24, "glow"))
    return [*marks, Mass(tuple(balls), 0.9)]


def quay(z: float, rng: random.Random) -> list[Piece]:
    """Market stalls with lanterns along a quay that begins at `z`."""
    pieces: list[Piece] = []
    for i in range(9):
        x = (i - 4) * 4.2 + rng.uniform(-0.4, 0.4)
        marks: list[Mark] = [*box((0, 0.5, 0), (3.0, 0.9, 1.0), WOOD)]
        marks += [line((u, 0.5, 0), (u, 3.2, 0), 1.6) for u in (-1.5, 1.5)]
        for k in range(6):
            left, right = -1.8 + 0.6 * k, -1.2 + 0.6 * k
            roof = ((left, 2.6, -1.0), (left, 3.4, 0.8), (right, 3.4, 0.8), (right, 2.6, -1.0))
            marks.append(Face(points(*roof), "paper" if k % 2 else "dark", 0.8))
        marks += lanterns((-1.7, 2.5, -1.0), (1.7, 2.5, -1.0), 4)
        pieces.append(piece(moved(marks, (x, 0, z + 1.6)), (x, 1, z + 1.6)))
        # What the lanterns draw on the water.
        rows = [(x + rng.uniform(-0.5, 0.5), z - 1.2 - 1.5 * k, 1.3 - 0.3 * k) for k in range(3)]
        shine = [line((u - w, 0.02, v), (u + w, 0.02, v), 2.2, "glow") for u, v, w in rows]
        pieces.append(piece(shine, (x, -50, z + 40), BACKGROUND))
    return pieces


_LANDMARKS: dict[str, Callable[[random.Random], list[Mark]]] = {
    "tower": _tower,
    "lighthouse": _lighthouse,
    "church": _church,
    "castle": _castle,
    "house": _house,
    "train": _train,
    "boat": lambda _: moved(boat(), (0, 0, 0), 1.1, 1.2),
}
