"""Inserts: one thing fills the frame, with a hand where a hand belongs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from ...story.cinematography import CameraAngle
from .camera import Camera, aimed
from .hands import hand
from .layers import BACKGROUND, Face, Piece, line, moved, piece, points, ring
from .looks import Look
from .props import prop_marks
from .reading import Reading

EXTENT = 1.5
"""Height of the frame at the thing, in widths of the thing."""
TARGET = (0.0, 0.42, 0.0)
# From straight above most things would show only their lids.
_ELEVATIONS = {
    CameraAngle.LOW: -0.04,
    CameraAngle.HIGH: 0.95,
    CameraAngle.OVERHEAD: 1.22,
}


def insert_camera(angle: CameraAngle, azimuth: float) -> Camera:
    """The camera of an insert: a long lens, looking down a little at eye level."""
    elevation = _ELEVATIONS.get(angle, 0.5)
    focal = 1.5 if angle is CameraAngle.LOW else 2.2
    distance = focal * EXTENT
    away = distance * math.cos(elevation)
    position = (
        TARGET[0] + away * math.sin(azimuth),
        max(0.12, TARGET[1] + distance * math.sin(elevation)),
        TARGET[2] - away * math.cos(azimuth),
    )
    camera = aimed(position, TARGET, focal)
    roll = math.radians(13) if angle is CameraAngle.DUTCH else 0.0
    return Camera(position, camera.yaw, camera.pitch, roll, focal)


@dataclass(frozen=True)
class Insert:
    """The thing, the hand that handles it if any, and how it moves."""

    prop: str
    lead: Look | None
    by_hand: bool
    drawing: int

    def pieces(self, camera: Camera, progress: float) -> list[Piece]:
        """The thing and the hand at `progress`, from 0 to 1."""
        sleeve = self.lead.accent if self.lead else "cloth"
        side = 1 if self.drawing % 2 else -1
        if self.prop == "hand":
            origin = np.array([side * (0.15 - 0.25 * progress), 0.42, 0.1 * progress])
            marks = hand(origin, np.array([side * 1.3, 0.1, -0.8]), sleeve, 0.75 - 0.65 * progress)
            return [piece(marks, origin)]
        thing = moved(prop_marks(self.prop, progress), (0, 0, 0), 0.14 * side)
        pieces = [piece(thing, (0, 0.3, 0))]
        if self.by_hand:
            start, end = np.array([side * 1.25, 0.34, -0.75]), np.array([side * 0.66, 0.3, -0.26])
            origin = start + (end - start) * progress
            marks = hand(origin, np.array([side * 0.95, 0.3, -0.9]), sleeve, 0.25 + 0.35 * progress)
            pieces.append(piece(marks, origin))
        return pieces


def pool_of_light() -> tuple[Piece, ...]:
    """The light of a lamp on the table, round the thing."""
    loops = ((1.5, "pool_edge"), (1.15, "pool"))
    marks = [Face(ring((0.1, 0.002, 0.1), radius, 28, 0.85), tone) for radius, tone in loops]
    shade = ring((0.32, 0.004, 0.14), 0.62, 20, 0.6)
    return (piece([*marks, Face(shade, "shadow")], (0, 0, 19), BACKGROUND),)


def table_top(reading: Reading, rng: random.Random) -> list[Piece]:
    """What the thing stands on, and soft shapes of the place behind."""
    tone = "floor" if reading.interior else "ground"
    near, far = -6.0, 2.6 if reading.interior else 300.0
    top = points((-9, 0, near), (-9, 0, far), (9, 0, far), (9, 0, near))
    marks = [Face(top * (1 if reading.interior else 30, 1, 1), tone, 1.4)]
    for i in range(11):
        z = -3.6 + 0.62 * i + rng.uniform(-0.05, 0.05)
        marks.append(line((-9, 0.001, z), (9, 0.001, z), 0.7))
    shadow = [
        (0.16 + 0.75 * math.cos(a), 0.004, 0.12 + 0.42 * math.sin(a)) for a in np.linspace(0, 6, 16)
    ]
    marks.append(Face(points(*shadow), "shadow"))
    back = [
        Face(
            points((-60, -30, 14), (-60, 30, 14), (60, 30, 14), (60, -30, 14)),
            "wall" if reading.interior else "low_sky",
        )
    ]
    for i in range(4):
        x, w = -6 + 4 * i + rng.uniform(-1, 1), rng.uniform(1.0, 2.2)
        low, high = rng.uniform(-3, 0), rng.uniform(2.5, 6)
        shape = points((x, low, 13.8), (x, high, 13.8), (x + w, high, 13.8), (x + w, low, 13.8))
        back.append(Face(shape, ("light", "window", "mid", "light")[i]))
    return [piece(back, (0, 0, 40), BACKGROUND), piece(marks, (0, 0, 20), BACKGROUND)]
