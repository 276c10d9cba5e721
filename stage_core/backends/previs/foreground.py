"""What stands before the lens: framing shapes, the shoulder looked past, one's own hands."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from .camera import Camera, CameraPath
from .figures import Figure, body, draw_figure
from .framing import Framing
from .hands import hand
from .layers import FOREGROUND, Face, Line, Mark, Mass, Part, Piece, curve, piece
from .looks import Look
from .poses import EASY
from .reading import Reading

_HEAD = 0.5
"""Height in the frame of the head that the camera looks past."""


class Held(Protocol):
    """What is drawn anew in every panel because it belongs to the camera or moves by itself."""

    def pieces(self, camera: Camera, progress: float) -> list[Piece]:
        """The pieces at `progress`, from 0 to 1, before this camera."""
        ...


@dataclass(frozen=True)
class Shoulder:
    """Back of the head and shoulder of the person the camera looks past, on `side`."""

    look: Look
    side: int
    framing: Framing
    aspect: float

    def pieces(self, camera: Camera, progress: float) -> list[Piece]:
        focal = camera.focal
        # So near that the head fills half of the frame's height; smaller where that would be
        # behind the subject.
        far = min(0.25 * focal / _HEAD, 0.62 * self.framing.extent * self.framing.focal)
        size = far * _HEAD / (0.25 * focal)
        unit = far / focal
        x = (self.side * 0.31 * min(self.aspect, 1.8) - camera.shift[0]) * unit
        y = (0.06 - camera.shift[1]) * unit
        head = camera.world(np.array([x, y, far]))
        look = replace(self.look, height=1.76 * size)
        feet = head - np.array([0, 0.93 * look.height, 0])
        facing = camera.yaw - self.side * 0.28
        figure = Figure(look, tuple(feet), facing, EASY, dark=True)
        drawn = draw_figure(body(figure), camera.position, 200.0)
        return [replace(drawn, layer=FOREGROUND)]


@dataclass(frozen=True)
class OwnHands:
    """The hands of the person through whose eyes the camera looks."""

    look: Look | None
    aspect: float
    drawing: int

    def pieces(self, camera: Camera, progress: float) -> list[Piece]:
        sleeve = self.look.accent if self.look else "cloth"
        far, unit = 0.55, 0.55 / camera.focal
        marks: list[Mark] = []
        for side in (-1, 1):
            leads = side == (1 if self.drawing % 2 else -1)
            lift = 0.05 * progress if leads else 0.0
            wide = min(self.aspect, 1.9) * 0.5
            tip = np.array([side * wide * 0.56, -0.33 + lift, 0.0]) * unit
            root = np.array([side * wide * 0.95, -0.66, 0.0]) * unit
            shift = np.array([*camera.shift, 0.0]) * unit
            origin = camera.world(tip - shift + (0, 0, far + 0.05))
            arm = camera.world(root - shift + (0, 0, far - 0.05)) - origin
            marks.extend(hand(origin, arm, sleeve, 0.35))
        return [piece([*_lids(camera, self.aspect), *marks], camera.position, FOREGROUND)]


def _lids(camera: Camera, aspect: float) -> list[Mark]:
    """The dark rims of one's own sight: the corners of the frame, rounded off."""
    far = 0.3
    unit = far / camera.focal
    wide = aspect / 2
    marks: list[Mark] = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            bend = [
                (sx * (wide - 0.4 * (1 - math.cos(a))), sy * (0.5 - 0.26 * (1 - math.sin(a))))
                for a in np.linspace(0, math.pi / 2, 12)
            ]
            rows = [(sx * wide * 1.1, sy * 0.6), *bend]
            flat = np.array([(x - camera.shift[0], y - camera.shift[1], 0.0) for x, y in rows])
            marks.append(Face(camera.world(flat * unit + (0, 0, far)), "deep"))
    return marks


@dataclass(frozen=True)
class Weather:
    """Rain or snow before the lens."""

    kind: str
    aspect: float

    def pieces(self, camera: Camera, progress: float) -> list[Piece]:
        rng = random.Random(31)
        rain = self.kind == "rain"
        fall = (1.9 if rain else 0.35) * progress
        count = 70 if rain else 60
        rows = np.array([[rng.random(), rng.random(), rng.uniform(0.8, 3.0)] for _ in range(count)])
        unit = rows[:, 2:] / camera.focal
        x = (rows[:, 0] - 0.5) * 1.2 * self.aspect - camera.shift[0]
        y = 0.65 - (rows[:, 1] * 1.3 + fall) % 1.3 - camera.shift[1]
        seen = np.concatenate([np.stack([x, y], axis=1) * unit, rows[:, 2:]], axis=1)
        if not rain:
            flakes = camera.world(seen)[:, None]
            sizes = 0.007 * unit
            parts = [Part(f, r, "white", False) for f, r in zip(flakes, sizes, strict=True)]
            return [piece([Mass(tuple(parts), 0.0)], camera.position, FOREGROUND)]
        streaks = np.stack([seen, seen + np.array([0.02, 0.11, 0.0]) * unit], axis=1)
        marks = [Line(ends, 0.55, "pale") for ends in camera.world(streaks)]
        return [piece(marks, camera.position, FOREGROUND)]


def frame(
    reading: Reading, path: CameraPath, lay: tuple[int, str, float], rng: random.Random
) -> list[Piece]:
    """Dark shapes at an edge of the picture that give it depth.

    Args:
        path: the shapes stand at the edge of its widest view, and leave the closer ones.
        lay: side (-1 left, 1 right), 'low' or 'side', and the frame's width over its height.
    """
    side, shape, aspect = lay
    camera = _widest(path)
    distance = math.dist(camera.position, path.subject)
    far = max(0.45, (0.62 if shape == "low" else 0.45) * distance)
    unit = far / camera.focal
    drawer = _BuiltEdge if reading.interior else _EDGES.get(reading.kind, _StreetEdge)
    marks = drawer(side, aspect, rng).marks(shape)

    def placed(rows: np.ndarray) -> np.ndarray:
        flat = np.concatenate([rows - np.asarray(camera.shift), np.zeros((len(rows), 1))], axis=1)
        return camera.world(flat * unit + (0, 0, far))

    return [
        piece([mark(placed) for mark in marks], camera.world(np.array([0, 0, far])), FOREGROUND)
    ]


def _widest(path: CameraPath) -> Camera:
    """The camera of the path that sees the most; the middle one if all see alike."""
    if path.movement.kind not in ("dolly", "zoom"):
        return path.middle
    return path.at(1.0 if path.movement.direction == "out" else 0.0)


class _Edge:
    def __init__(self, side: int, aspect: float, rng: random.Random):
        self._side, self._wide, self._rng = side, aspect / 2, rng

    def _face(self, rows, tone="deep", weight=0.0):
        flat = np.array(rows, dtype=np.float64)
        return lambda placed: Face(placed(flat), tone, weight)

    def _stroke(self, rows, weight: float, tone="deep"):
        flat = np.array(rows, dtype=np.float64)
        return lambda placed: curve(placed(flat), weight, tone)

    def marks(self, shape: str) -> list:
        """Functions that give the marks, once told how to put picture points into the world."""
        return {"low": self._low, "tall": self._tall, "side": self._frame}[shape]()

    def _frame(self) -> list:
        return self._tall()


class _BuiltEdge(_Edge):
    """The jamb of an open door with its hinges, or the back of a chair."""

    def _tall(self) -> list:
        s, w = self._side, self._wide

        def strip(x0: float, x1: float, y0: float, y1: float, tone: str):
            rows = [(s * (w - x0), y0), (s * (w - x0), y1), (s * (w - x1), y1), (s * (w - x1), y0)]
            return self._face(rows, tone)

        hinges = [strip(0.082, 0.055, y, y + 0.1, "mid") for y in (-0.34, 0.2)]
        pins = [
            self._stroke([(s * (w - 0.069), y), (s * (w - 0.069), y + 0.1)], 0.8)
            for y in (-0.34, 0.2)
        ]
        return [
            strip(0.1, -0.9, -2.5, 2.5, "deep"),
            strip(0.108, 0.094, -2.5, 2.5, "light"),
            *hinges,
            *pins,
        ]

    def _low(self) -> list:
        s, w = self._side, self._wide
        left, right = s * w * 0.86 - 0.17, s * w * 0.86 + 0.17
        rail = [(left - 0.02, -0.39), (left, -0.31), (right, -0.31), (right + 0.02, -0.39)]
        posts = [
            [(x - 0.022, -1.5), (x - 0.012, -0.3), (x + 0.012, -0.3), (x + 0.022, -1.5)]
            for x in (left, right)
        ]
        slats = [
            self._stroke([(left + t * (right - left), y) for y in (-1.5, -0.36)], 3.0)
            for t in (0.25, 0.5, 0.75)
        ]
        return [*slats, *map(self._face, posts), self._face(rail)]


class _StreetEdge(_Edge):
    """A street lamp at the edge, or a railing."""

    def _tall(self) -> list:
        s, w = self._side, self._wide
        x = s * (w - 0.07)
        post = [(x - 0.013, -2.5), (x - 0.013, 0.33), (x + 0.013, 0.33), (x + 0.013, -2.5)]
        cup = [(x - 0.045, 0.43), (x - 0.028, 0.33), (x + 0.028, 0.33), (x + 0.045, 0.43)]
        cap = [(x - 0.055, 0.43), (x, 0.48), (x + 0.055, 0.43)]
        foot = [(x - 0.024, -2.5), (x - 0.024, -0.3), (x + 0.024, -0.3), (x + 0.024, -2.5)]
        rims = [self._stroke([(x + dx, 0.33), (x + dx * 1.6, 0.43)], 1.0) for dx in (-0.028, 0.028)]
        return [
            self._face(post),
            self._face(foot),
            self._face(cup, "glow"),
            self._face(cap),
            *rims,
        ]

    def _low(self) -> list:
        s, w = self._side, self._wide
        rail = [(s * w * 1.6, -0.38), (s * (w - 0.3), -0.38)]
        posts = [
            self._stroke([(s * (w + d), -1.5), (s * (w + d), -0.35)], 5.0)
            for d in (-0.3, -0.1, 0.1, 0.3, 0.5)
        ]
        lower = [(a, b - 0.07) for a, b in rail]
        return [*posts, self._stroke(rail, 5.0), self._stroke(lower, 3.0)]


class _PierEdge(_Edge):
    """A mooring post with its rope."""

    def _tall(self) -> list:
        s, w = self._side, self._wide
        x = s * (w - 0.08)
        post = [(x - 0.05, -2.5), (x - 0.05, -0.2), (x - 0.03, -0.16), (x + 0.03, -0.16)]
        rope = [(x, -0.25), (s * (w + 0.08), -0.34), (s * (w + 0.3), -0.26)]
        turns = [
            self._stroke([(x - 0.05, y), (x, y - 0.015), (x + 0.05, y)], 2.6, "light")
            for y in (-0.25, -0.275, -0.3)
        ]
        right = [(x + 0.05, -0.2), (x + 0.05, -2.5)]
        return [self._face([*post, *right]), *turns, self._stroke(rope, 3.0)]

    def _low(self) -> list:
        return self._tall()


class _LeafyEdge(_Edge):
    """A branch from above, a trunk, or grass."""

    def _frame(self) -> list:
        s, w = self._side, self._wide
        branch = [
            (s * (w + 0.4), 0.5),
            (s * (w - 0.12), 0.4),
            (s * (w - 0.5), 0.36),
            (s * (w - 0.72), 0.29),
        ]
        leaves = self._leaves(34, lambda t: (s * (w + 0.1 - 0.8 * t), 0.45 - 0.14 * t))
        return [self._stroke(branch, 7.0), *leaves, *self._grass(s * w, 0.34)]

    def _tall(self) -> list:
        s, w = self._side, self._wide
        trunk = [
            (s * (w - 0.05), -2.5),
            (s * (w - 0.08), -0.4),
            (s * (w - 0.12), 0.3),
            (s * (w - 0.06), 2.5),
            (s * (w + 0.9), 2.5),
            (s * (w + 0.9), -2.5),
        ]
        bark = self._stroke(
            [(s * (w + 0.02), -0.6), (s * w, 0.0), (s * (w - 0.01), 0.5)], 1.0, "mid"
        )
        return [self._face(trunk), bark, *self._grass(s * w, 0.3)]

    def _low(self) -> list:
        s, w = self._side, self._wide
        return [*self._grass(s * w - s * 0.1, 0.5), *self._grass(-s * w, 0.3)]

    def _leaves(self, count: int, along) -> list:
        rng = self._rng
        marks = []
        for _ in range(count):
            x, y = along(rng.random())
            y += rng.uniform(-0.09, 0.13)
            a, r = rng.uniform(0, 6.28), rng.uniform(0.035, 0.06)
            dx, dy = r * math.cos(a), r * math.sin(a)
            leaf = [
                (x - dx, y - dy),
                (x - dy * 0.4, y + dx * 0.4),
                (x + dx, y + dy),
                (x + dy * 0.4, y - dx * 0.4),
            ]
            marks.append(self._face(leaf))
        return marks

    def _grass(self, x: float, spread: float) -> list:
        rng = self._rng
        blades = []
        for _ in range(16):
            at, lean = x + rng.uniform(-spread, spread), rng.uniform(-0.06, 0.06)
            tall = rng.uniform(0.08, 0.24)
            blades.append(
                self._face([(at - 0.014, -0.6), (at + lean, -0.5 + tall), (at + 0.014, -0.6)])
            )
            blades.append(
                self._face(
                    [(at - 0.014, -0.59), (at + 0.014, -0.59), (at + 0.02, -1.7), (at - 0.02, -1.7)]
                )
            )
        return blades


class _RockyEdge(_Edge):
    """A wall of rock, or a boulder."""

    def _tall(self) -> list:
        s, w, rng = self._side, self._wide, self._rng
        edge = [(s * (w - 0.04 - 0.1 * rng.random()), y) for y in (-0.5, -0.3, -0.12, 0.1, 0.3)]
        wall = [
            (s * (w - 0.14), -2.5),
            *edge,
            (s * (w + 0.02), 0.42),
            (s * (w + 0.9), 0.7),
            (s * (w + 0.9), -2.5),
        ]
        crack = self._stroke(
            [(s * (w - 0.02), 0.3), (s * (w - 0.05), 0.05), (s * (w - 0.01), -0.3)], 1.0, "mid"
        )
        return [self._face(wall), crack]

    def _low(self) -> list:
        s, w = self._side, self._wide
        rows = ((-0.5, -1.5), (-0.3, -0.42), (-0.12, -0.34), (0.14, -0.36), (0.5, -1.5))
        return [self._face([(s * w + s * x, y) for x, y in rows])]


_EDGES = {
    "harbour": _PierEdge,
    "sea": _PierEdge,
    "forest": _LeafyEdge,
    "field": _LeafyEdge,
    "mountain": _RockyEdge,
    "beach": _RockyEdge,
    "snow": _RockyEdge,
    "desert": _RockyEdge,
    "space": _RockyEdge,
}
