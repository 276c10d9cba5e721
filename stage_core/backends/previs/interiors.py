"""Rooms: a box of walls with windows and doors, and furniture that says what it is for."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .furniture import furniture
from .layers import (
    BACKGROUND,
    Face,
    Line,
    Mark,
    Piece,
    hatch,
    line,
    piece,
    points,
)

BEHIND = -15.0
"""How far the room reaches behind the camera's usual place, so that no view leaves it."""


@dataclass(frozen=True)
class Room:
    """Width, place of the back wall, and height of a kind of room; what stands in it.

    `floor` is 'boards', 'tiles' or 'plain'; `openings` are what the back wall shows, from left
    to right; `rows` is what repeats along the side walls.
    """

    width: float
    back: float
    height: float
    floor: str
    openings: tuple[str, ...]
    pieces: tuple[tuple[str, float, float], ...]
    rows: str = ""


ROOMS: dict[str, Room] = {
    "office": Room(
        7.6,
        3.2,
        2.9,
        "tiles",
        ("window", "window", "board"),
        (("desk", -1.5, 1.9), ("desk", 1.9, 1.5), ("plant", 3.2, 2.6), ("cabinet", -3.3, 2.6)),
        "desk",
    ),
    "kitchen": Room(
        5.6,
        2.4,
        2.7,
        "tiles",
        ("cupboard", "window", "cupboard"),
        (
            ("counter", -1.2, 2.0),
            ("stove", 0.5, 2.0),
            ("fridge", 2.2, 1.9),
            ("table", 1.7, 0.6),
            ("pendant", 0.9, 0.7),
        ),
        "counter",
    ),
    "bedroom": Room(
        5.8,
        2.6,
        2.7,
        "boards",
        ("picture", "window", "picture"),
        (("bed", -1.6, 1.3), ("cabinet", 0.2, 2.3), ("lamp", 1.0, 2.2), ("wardrobe", 2.3, 2.2)),
        "cabinet",
    ),
    "living": Room(
        7.0,
        3.0,
        2.8,
        "boards",
        ("picture", "window", "door"),
        (
            ("sofa", -1.5, 2.1),
            ("lamp", -3.0, 2.3),
            ("shelf", 3.0, 2.5),
            ("low table", -1.3, 1.0),
            ("plant", 1.2, 2.6),
        ),
        "shelf",
    ),
    "corridor": Room(3.6, 9.0, 2.8, "tiles", ("door",), (("plant", 1.4, 4.0),), "doors"),
    "church": Room(
        10.0, 10.0, 7.5, "tiles", ("arch", "arch", "arch"), (("altar", 0.0, 7.5),), "pews"
    ),
    "bar": Room(
        7.2,
        3.0,
        3.0,
        "boards",
        ("bottles", "bottles", "window"),
        (
            ("bar", -1.3, 1.9),
            ("stool", -2.2, 1.2),
            ("stool", -0.4, 1.2),
            ("table", 2.1, 0.9),
            ("pendant", -1.3, 1.7),
            ("pendant", 2.1, 0.9),
        ),
        "table",
    ),
    "train": Room(3.2, 5.5, 2.4, "plain", ("door",), (), "seats"),
    "car": Room(2.4, 1.6, 1.75, "plain", ("windscreen",), (("dash", 0.0, 1.1),), ""),
    "hospital": Room(
        6.4,
        2.8,
        2.8,
        "tiles",
        ("window", "curtain", "door"),
        (("bed", -1.5, 1.6), ("cabinet", -2.9, 2.2), ("lamp", 2.4, 2.2)),
        "cabinet",
    ),
    "school": Room(
        7.8,
        4.0,
        3.2,
        "boards",
        ("books", "board", "books"),
        (("desk", 1.8, 2.4), ("table", -1.9, 1.2)),
        "shelf",
    ),
    "warehouse": Room(
        10.0,
        6.0,
        5.2,
        "plain",
        ("high window", "gate", "high window"),
        (("crates", -2.8, 2.4), ("crates", 3.0, 3.4), ("drum", 1.7, 2.0)),
        "crates",
    ),
    "ship": Room(
        5.6,
        4.5,
        2.7,
        "tiles",
        ("port", "gate", "port"),
        (("console", -1.7, 2.6), ("console", 1.8, 2.6)),
        "console",
    ),
}


def interior(kind: str, seed: int) -> list[Piece]:
    """The pieces of a room of this kind; the same seed gives the same room."""
    rng = random.Random(seed)
    room = ROOMS[kind]
    flip = rng.choice((-1, 1))
    pieces = [piece(_shell(room, flip), (0, -50, 60), BACKGROUND)]
    for name, x, z in room.pieces:
        at = (x * flip + rng.uniform(-0.15, 0.15), 0.0, z + rng.uniform(-0.1, 0.1))
        pieces.append(furniture(name, at, 0.0, rng))
    if room.rows:
        pieces.extend(_rows(room, rng))
    return pieces


def _rows(room: Room, rng: random.Random) -> Iterable[Piece]:
    side = room.width / 2 - 0.4
    if room.rows == "pews":
        for i in range(7):
            for x in (-2.6, 2.6):
                yield furniture("pew", (x, 0.0, 4.6 - 1.5 * i), 0.0, rng)
        return
    first, gap = (4.2, 1.7) if room.rows == "seats" else (-1.4, 2.6)
    for i in range(5):
        for sign in (-1, 1):
            name = "seat" if room.rows == "seats" else room.rows
            if name == "doors":
                continue
            at = (sign * (side - rng.uniform(0, 0.2)), 0.0, first - gap * i)
            yield furniture(name, at, -sign * np.pi / 2 if name != "seat" else 0.0, rng)


def _shell(room: Room, flip: int) -> list[Mark]:
    w, z, h = room.width / 2, room.back, room.height
    floor = points((-w, 0, BEHIND), (-w, 0, z), (w, 0, z), (w, 0, BEHIND))
    marks: list[Mark] = [Face(floor, "floor")]
    marks.extend(_floor_lines(room))
    if room.openings.count("window") and room.rows not in ("pews", "seats"):
        for spot in (z - 2.3, z - 6.5):
            patch = points(
                (-w + 0.5, 0, spot),
                (-w + 0.5, 0, spot + 1.3),
                (-w + 2.5, 0, spot + 0.5),
                (-w + 2.5, 0, spot - 0.8),
            )
            marks.append(Face(patch, "light"))
    ceiling = points((-w, h, BEHIND), (w, h, BEHIND), (w, h, z), (-w, h, z))
    marks.append(Face(ceiling, "light", 0.0, cull=True))
    for i in range(6):
        far, near = z - 0.6 - 2.4 * i, z - 1.8 - 2.4 * i
        strip = points(
            (-0.5, h - 0.01, near),
            (0.5, h - 0.01, near),
            (0.5, h - 0.01, far),
            (-0.5, h - 0.01, far),
        )
        marks.append(Face(strip, "glow" if room.floor == "tiles" else "mid", 0.8, cull=True))
    for sign in (-1, 1):
        marks.extend(_wall(room, "left" if sign < 0 else "right"))
    marks.extend(_wall(room, "back"))
    count = len(room.openings)
    for i, name in enumerate(room.openings[::flip]):
        middle = room.width * ((i + 0.5) / count - 0.5)
        marks.extend(_opening(_Spot(room, "back", middle), name))
    return marks


def _quad(room: Room, wall: str, u: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
    """A rectangle on a wall, facing into the room; `u` runs to the right along the back wall
    and away from the camera along the side walls."""
    (a, b), (low, high) = u, y
    w, z = room.width / 2, room.back
    if wall == "back":
        return points((a, low, z), (a, high, z), (b, high, z), (b, low, z))
    if wall == "left":
        return points((-w, low, a), (-w, high, a), (-w, high, b), (-w, low, b))
    return points((w, low, b), (w, high, b), (w, high, a), (w, low, a))


def _wall(room: Room, wall: str) -> list[Mark]:
    h = room.height
    u = (-room.width / 2, room.width / 2) if wall == "back" else (BEHIND, room.back)
    tone = {"back": "wall", "left": "pale", "right": "light"}[wall]
    marks: list[Mark] = [Face(_quad(room, wall, u, (0, h)), tone, 1.1, cull=True)]
    marks.append(Face(_quad(room, wall, u, (0, 0.11)), "mid", 0.7, cull=True))
    if wall == "right":
        # The far corner turns away from the light.
        marks.extend(
            hatch(_quad(room, wall, (room.back - 0.8, room.back), (0.3, h - 0.1)), 16, 0.6)
        )
    if room.rows == "pews":
        spots, name = [7.0 - 3.4 * i for i in range(6)], "arch"
    elif room.rows == "seats":
        spots, name = [4.4 - 1.7 * i for i in range(9)], "wide window"
    elif room.rows == "doors":
        spots, name = [7.0 - 2.6 * i for i in range(7)], "door"
    else:
        spots, name = (
            [room.back - 2.3, room.back - 6.5, room.back - 10.5],
            "window" if wall == "left" else "picture",
        )
    if wall != "back":
        for spot in spots:
            marks.extend(_opening(_Spot(room, wall, spot), name))
    return marks


@dataclass(frozen=True)
class _Spot:
    """A place on a wall; panels are measured from it, along the wall and up from the floor."""

    room: Room
    wall: str
    middle: float

    def panel(
        self, u: tuple[float, float], y: tuple[float, float], tone: str, weight: float = 1.0
    ) -> Face:
        left, right = (self.middle + value for value in u)
        return Face(_quad(self.room, self.wall, (left, right), y), tone, weight, cull=True)


def _opening(spot: _Spot, name: str) -> list[Mark]:
    h = spot.room.height
    windows = {
        "window": (0.72, 0.85, min(h - 0.35, 2.35)),
        "wide window": (0.68, 0.85, 1.75),
        "high window": (1.2, h - 1.9, h - 0.6),
        "port": (0.6, 1.0, 1.9),
    }
    if name in windows:
        return _window(spot, windows[name], curtains=name == "window")
    if name in ("bottles", "books"):
        return list(_shelves(spot, name))
    if name == "arch":
        return [
            spot.panel((i * 0.12 - 0.5, 0.5 - i * 0.12), (1.6 + i * 0.1, h - 2.4 + i * 0.42), tone)
            for i, tone in enumerate(("paper", "window", "window", "glow"))
        ]
    return [
        spot.panel((u0, u1), (y0, y1), tone, weight)
        for u0, u1, y0, y1, tone, weight in _PANELS[name]
    ]


def _window(spot: _Spot, size: tuple[float, float, float], curtains: bool) -> list[Mark]:
    half, low, high = size
    marks: list[Mark] = [
        spot.panel((-half - 0.09, half + 0.09), (low - 0.09, high + 0.09), "paper", 1.2)
    ]
    bar = low + (high - low) * 0.42
    for u in ((-half, -0.03), (0.03, half)):
        marks.append(spot.panel(u, (low, bar), "window", 0.9))
        marks.append(spot.panel(u, (bar + 0.05, high), "window", 0.9))
    marks.append(spot.panel((-half - 0.16, half + 0.16), (low - 0.16, low - 0.09), "light"))
    if curtains:
        for u in ((-half - 0.34, 0.06 - half), (half - 0.06, half + 0.34)):
            marks.append(spot.panel(u, (low - 0.5, high + 0.14), "mid"))
    return marks


_PANELS: dict[str, tuple[tuple[float, float, float, float, str, float], ...]] = {
    "door": (
        (-0.52, 0.52, 0, 2.14, "paper", 1.2),
        (-0.45, 0.45, 0, 2.07, "mid", 1.0),
        (-0.33, 0.33, 1.15, 1.9, "light", 0.8),
        (-0.33, 0.33, 0.2, 0.95, "light", 0.8),
        (0.33, 0.4, 0.98, 1.08, "ink", 0.0),
    ),
    "picture": (
        (-0.42, 0.42, 1.3, 1.95, "dark", 1.1),
        (-0.34, 0.34, 1.38, 1.87, "paper", 0.7),
        (-0.34, 0.34, 1.38, 1.55, "mid", 0.5),
    ),
    "board": (
        (-0.95, 0.95, 1.0, 2.1, "dark", 1.1),
        (-0.88, 0.88, 1.07, 2.03, "paper", 0.8),
        (-0.7, -0.1, 1.7, 1.76, "mid", 0.0),
        (-0.7, 0.2, 1.52, 1.57, "mid", 0.0),
        (0.3, 0.7, 1.25, 1.65, "light", 0.6),
    ),
    "cupboard": tuple((u, u + 0.58, 1.5, 2.2, "light", 1.0) for u in (-0.88, -0.29, 0.3)),
    "gate": (
        (-1.3, 1.3, 0, 2.5, "dark", 1.3),
        *((-1.2, 1.2, y, y + 0.42, "mid", 0.8) for y in (0.1, 0.6, 1.1, 1.6)),
    ),
    "curtain": tuple(
        (u, u + 0.3, 0.25, 2.3, tone, 0.8)
        for u, tone in zip((-0.9, -0.6, -0.3, 0.0, 0.3, 0.6), ("light", "paper") * 3, strict=True)
    ),
    "windscreen": ((-1.0, 1.0, 0.85, 1.5, "window", 1.4), (-0.15, 0.15, 1.38, 1.5, "deep", 0.8)),
}


def _shelves(spot: _Spot, name: str) -> Iterable[Mark]:
    bottles = name == "bottles"
    yield spot.panel((-0.95, 0.95), (0.9 if bottles else 0.1, 2.3), "dark", 1.1)
    rng = random.Random(41)
    for y in (1.05, 1.5, 1.95) if bottles else (0.2, 0.72, 1.24, 1.76):
        x = -0.86
        while x < 0.8:
            wide = rng.uniform(0.07, 0.12)
            tall = rng.uniform(0.2, 0.32) if bottles else rng.uniform(0.3, 0.42)
            tone = rng.choice(("light", "mid", "paper"))
            yield spot.panel((x, x + wide), (y, y + tall), tone, 0.6)
            x += wide + (0.07 if bottles else 0.015)


def _floor_lines(room: Room) -> list[Line]:
    w, z = room.width / 2, room.back
    if room.floor == "plain":
        return [line((-w, 0, z - 2.5 * i), (w, 0, z - 2.5 * i), 0.6) for i in range(7)]
    step = 0.55 if room.floor == "boards" else 0.9
    count = int(room.width / step)
    lines = [
        line((-w + step * (i + 0.5), 0, BEHIND), (-w + step * (i + 0.5), 0, z), 0.7)
        for i in range(count)
    ]
    if room.floor == "tiles":
        return lines + [line((-w, 0, z - 0.9 * i), (w, 0, z - 0.9 * i), 0.6) for i in range(1, 19)]
    joints = random.Random(7)
    for i in range(count - 1):
        x = -w + step * (i + 0.5)
        for _ in range(5):
            at = joints.uniform(-9, z)
            lines.append(line((x, 0, at), (x + step, 0, at), 0.6))
    return lines
