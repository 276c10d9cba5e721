"""The signs of a storyboard sheet: camera movements as arrows, status as a dot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..story.cinematography import CameraMovement
from ..story.storyboard import ShotStatus

_OVERSAMPLED = 4
_STROKE = 0.13
_HEAD = 0.5

INK = (43, 41, 38)
ACCENT = (176, 58, 42)

Point = tuple[float, float]


def draw_movement(draw: Any, place: tuple[int, int], size: int, movement: CameraMovement) -> None:
    """The sign of a camera movement, `size` pixels square with its upper left corner at `place`.

    Arrows point where the camera goes: curved for a pan, tilt or arc, on a rail for a truck or
    pedestal, tapering into or out of the picture for a dolly, four from the corners for a zoom.
    """
    sign = _Sign()
    _SIGNS[movement.kind](sign, movement.direction)
    draw.bitmap(place, sign.mask(size), fill=INK)


def draw_status(draw: Any, place: tuple[int, int], size: int, status: ShotStatus) -> None:
    """An empty, half or full dot: planned, drawn, filmed."""
    sign = _Sign()
    sign.line(_circle(0.6, 0, 360))
    if status is ShotStatus.FILMED:
        sign.shape(_circle(0.6, 0, 360))
    if status is ShotStatus.DRAWN:
        sign.shape(_circle(0.6, 90, 270))
    draw.bitmap(place, sign.mask(size), fill=INK)


def draw_link(draw: Any, place: tuple[int, int], size: int) -> None:
    """The arrow of a shot that starts on the frame where the one before it ended."""
    sign = _Sign()
    sign.arrow([(-0.95, -0.55), (-0.95, 0.1), (0.6, 0.1)])
    draw.bitmap(place, sign.mask(size), fill=ACCENT)


@dataclass
class _Sign:
    """Strokes and shapes in a square from -1 to 1, y downwards."""

    lines: list[list[Point]] = field(default_factory=list)
    shapes: list[list[Point]] = field(default_factory=list)

    def line(self, points: list[Point]) -> None:
        self.lines.append(points)

    def shape(self, points: list[Point]) -> None:
        self.shapes.append(points)

    def arrow(self, points: list[Point], head: float = _HEAD) -> None:
        """A line with a head whose tip lies at its last point."""
        (tip_x, tip_y), (x, y) = points[-1], points[-2]
        length = math.hypot(tip_x - x, tip_y - y)
        along, across = (tip_x - x) / length, (tip_y - y) / length
        base_x, base_y = tip_x - head * along, tip_y - head * across
        wing_x, wing_y = 0.55 * head * across, -0.55 * head * along
        tail = [point for point in points[:-1] if math.dist(point, points[-1]) > head]
        self.line([*tail, (base_x, base_y)])
        self.shape(
            [(tip_x, tip_y), (base_x + wing_x, base_y + wing_y), (base_x - wing_x, base_y - wing_y)]
        )

    def mask(self, size: int) -> Any:
        """The sign with smooth edges, as a Pillow picture of mode L."""
        from PIL import Image, ImageDraw

        side = size * _OVERSAMPLED
        mask = Image.new("L", (side, side), 0)
        pencil = ImageDraw.Draw(mask)
        # A margin of a tenth keeps round ends and heads inside.
        for points in self.lines:
            line = [((x * 0.9 + 1) * side / 2, (y * 0.9 + 1) * side / 2) for x, y in points]
            pencil.line(line, fill=255, width=round(_STROKE * side / 2), joint="curve")
        for points in self.shapes:
            shape = [((x * 0.9 + 1) * side / 2, (y * 0.9 + 1) * side / 2) for x, y in points]
            pencil.polygon(shape, fill=255)
        return mask.resize((size, size), Image.Resampling.LANCZOS)


def _circle(radius: float, first: float, last: float, middle: Point = (0, 0)) -> list[Point]:
    """An arc, degrees clockwise on the page from the right."""
    steps = 24
    angles = (math.radians(first + (last - first) * i / steps) for i in range(steps + 1))
    return [(middle[0] + radius * math.cos(a), middle[1] + radius * math.sin(a)) for a in angles]


def _turned(points: list[Point], direction: str) -> list[Point]:
    """Points of a sign that goes right, for one that goes left, up or down."""
    turn: dict[str, Callable[[Point], Point]] = {
        "right": lambda p: p,
        "left": lambda p: (-p[0], p[1]),
        "up": lambda p: (p[1], -p[0]),
        "down": lambda p: (p[1], p[0]),
    }
    return [turn[direction](point) for point in points]


def _static(sign: _Sign, direction: str) -> None:
    sign.line([(-0.6, -0.45), (0.6, -0.45), (0.6, 0.45), (-0.6, 0.45), (-0.6, -0.45), (0, -0.45)])


def _swing(sign: _Sign, direction: str) -> None:
    sign.arrow(_turned(_circle(1.15, 218, 322, (0, 0.85)), direction))


def _rail(sign: _Sign, direction: str) -> None:
    sign.arrow(_turned([(-0.95, -0.1), (0.95, -0.1)], direction))
    sign.line(_turned([(-0.8, 0.42), (0.8, 0.42)], direction))


def _dolly(sign: _Sign, direction: str) -> None:
    # Seen from behind the camera: what goes into the picture gets narrower.
    if direction == "in":
        sign.shape([(-0.55, 0.95), (0.55, 0.95), (0.16, -0.2), (-0.16, -0.2)])
        sign.shape([(0, -0.95), (0.55, -0.2), (-0.55, -0.2)])
    else:
        sign.shape([(-0.16, -0.9), (0.16, -0.9), (0.36, 0.1), (-0.36, 0.1)])
        sign.shape([(0, 0.95), (0.9, 0.1), (-0.9, 0.1)])


def _zoom(sign: _Sign, direction: str) -> None:
    for x in (-1, 1):
        for y in (-1, 1):
            outer, inner = (0.9 * x, 0.9 * y), (0.18 * x, 0.18 * y)
            sign.arrow([outer, inner] if direction == "in" else [inner, outer])


def _arc(sign: _Sign, direction: str) -> None:
    sign.arrow([(x if direction == "right" else -x, y) for x, y in _circle(0.75, 150, 390)])


def _handheld(sign: _Sign, direction: str) -> None:
    sign.line([(x / 12, 0.32 * math.sin(x / 12 * 2.5 * math.pi)) for x in range(-12, 13)])


_SIGNS: dict[str, Callable[[_Sign, str], None]] = {
    "static": _static,
    "pan": _swing,
    "tilt": _swing,
    "truck": _rail,
    "pedestal": _rail,
    "dolly": _dolly,
    "zoom": _zoom,
    "arc": _arc,
    "handheld": _handheld,
}
