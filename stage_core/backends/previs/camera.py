"""The camera: where it stands, what it sees where, and how it moves during a shot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...story.cinematography import CameraMovement

NEAR = 0.06
"""Metres; nothing nearer to the lens is drawn."""
TRUCK = 0.42
"""How far a camera trucks, in breadths of the frame."""
ARC = math.radians(44)
_PLUMB = math.radians(70)


@dataclass(frozen=True)
class Camera:
    """A perspective view of the world.

    Angles in radians: `yaw` turns right, `pitch` up, `roll` tilts the picture clockwise.
    `focal` is in frame heights; `shift` moves the picture's content right and up by fractions
    of the frame height without changing the vanishing points, as a view camera does.
    """

    position: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    focal: float = 1.5
    shift: tuple[float, float] = (0.0, 0.0)

    def axes(self) -> np.ndarray:
        """Unit vectors right, up and forward as rows, [3, 3]."""
        sy, cy = math.sin(self.yaw), math.cos(self.yaw)
        sp, cp = math.sin(self.pitch), math.cos(self.pitch)
        return np.array([[cy, 0, -sy], [-sy * sp, cp, -cy * sp], [sy * cp, sp, cy * cp]])

    def seen(self, world: np.ndarray) -> np.ndarray:
        """World points [..., 3] as right, up and forward of the lens, in metres."""
        return (world - np.asarray(self.position)) @ self.axes().T

    def world(self, seen: np.ndarray) -> np.ndarray:
        """The inverse of `seen`."""
        return np.asarray(seen, dtype=np.float64) @ self.axes() + np.asarray(self.position)

    def picture(self, seen: np.ndarray) -> np.ndarray:
        """Points before the lens [..., 3] as offsets right and up of the picture's middle, in
        frame heights, [..., 2]."""
        depth = np.maximum(seen[..., 2:], NEAR)
        flat = self.focal * seen[..., :2] / depth + np.asarray(self.shift)
        if not self.roll:
            return flat
        c, s = math.cos(self.roll), math.sin(self.roll)
        return flat @ np.array([[c, -s], [s, c]])


def aimed(
    position: tuple[float, float, float], target: tuple[float, float, float], focal: float
) -> Camera:
    """The camera at `position` with `target` in the middle of the picture."""
    dx, dy, dz = (t - p for t, p in zip(target, position, strict=True))
    return Camera(position, math.atan2(dx, dz), math.atan2(dy, math.hypot(dx, dz)), 0.0, focal)


@dataclass(frozen=True)
class CameraPath:
    """A camera that moves around its set-up `middle` while it looks at `subject`.

    `breadth` and `height` measure the frame at the subject, in metres. `sweep` is how far a tilt
    or an arc turns, in radians; without it half a frame, or `ARC`.
    """

    middle: Camera
    subject: tuple[float, float, float]
    movement: CameraMovement
    breadth: float
    height: float
    sweep: float | None = None

    def at(self, progress: float) -> Camera:
        """The camera at `progress`, 0 at the start of the shot, 1 at its end."""
        sign = -1.0 if self.movement.direction in ("left", "down", "out") else 1.0
        step = (progress - 0.5) * sign
        return _MOVES[self.movement.kind](self, step, progress)

    def _pan(self, step: float, _: float) -> Camera:
        if self.middle.pitch < -_PLUMB:
            # Turning about the upright axis would spin a view from straight above.
            x, y = self.middle.shift
            across = 0.42 * self.breadth / self.height * step
            return replace(self.middle, shift=(x - across, y))
        angle = math.atan(0.42 * self.breadth / self._distance)
        return replace(self.middle, yaw=self.middle.yaw + step * angle)

    def _tilt(self, step: float, _: float) -> Camera:
        # Both directions have the composed view at their upper end, which holds the head.
        angle = self.sweep or math.atan(0.5 * self.height / self._distance)
        return replace(self.middle, pitch=self.middle.pitch + (step - 0.4) * angle)

    def _dolly(self, step: float, _: float) -> Camera:
        ratio = 1.5 ** (-step)
        offset = np.asarray(self.middle.position) - np.asarray(self.subject)
        return replace(self.middle, position=tuple(np.asarray(self.subject) + offset * ratio))

    def _zoom(self, step: float, _: float) -> Camera:
        return replace(self.middle, focal=self.middle.focal * 1.5**step)

    def _truck(self, step: float, _: float) -> Camera:
        return self._carried(step * TRUCK * self.breadth, 0.0)

    def _pedestal(self, step: float, _: float) -> Camera:
        # At closer scales the composed view is near the lower end, so that no head is cut off.
        middle = 0.3 if self.height < 3 else 0.0
        rise = (step + middle) * 0.4 * self.height
        lowest = 0.08 - self.middle.position[1]
        return self._carried(0.0, max(rise, lowest))

    def _arc(self, step: float, _: float) -> Camera:
        angle = step * (self.sweep or ARC)
        x, y, z = (p - s for p, s in zip(self.middle.position, self.subject, strict=True))
        c, s = math.cos(angle), math.sin(angle)
        around = (x * c - z * s, y, x * s + z * c)
        position = tuple(a + b for a, b in zip(around, self.subject, strict=True))
        return replace(self.middle, position=position, yaw=self.middle.yaw - angle)

    def _handheld(self, _: float, progress: float) -> Camera:
        # Slow unequal swings read as a body that breathes and shifts its weight.
        sway = math.sin(5.1 * progress + 0.6)
        bob = math.sin(8.3 * progress + 2.0)
        held = self._carried(0.035 * self.breadth * sway, 0.03 * self.height * bob)
        angle = math.atan(0.05 * self.height / self._distance)
        return replace(
            held,
            yaw=held.yaw + angle * bob,
            pitch=held.pitch + angle * sway,
            roll=held.roll + math.radians(2.2) * math.sin(4.0 * progress - 1.7),
        )

    def _static(self, _: float, __: float) -> Camera:
        return self.middle

    @property
    def _distance(self) -> float:
        return math.dist(self.middle.position, self.subject)

    def _carried(self, right: float, up: float) -> Camera:
        across = self.middle.axes()[0] * right
        x, y, z = (p + a for p, a in zip(self.middle.position, across, strict=True))
        return replace(self.middle, position=(x, y + up, z))


_MOVES = {
    "static": CameraPath._static,
    "pan": CameraPath._pan,
    "tilt": CameraPath._tilt,
    "dolly": CameraPath._dolly,
    "zoom": CameraPath._zoom,
    "truck": CameraPath._truck,
    "pedestal": CameraPath._pedestal,
    "arc": CameraPath._arc,
    "handheld": CameraPath._handheld,
}
