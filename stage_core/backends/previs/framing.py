"""Where the camera stands for a scale and an angle, as camera departments mean them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...story.cinematography import CameraAngle, ShotScale
from .camera import Camera, aimed


@dataclass(frozen=True)
class Framing:
    """What a scale shows of a standing person of 1.74 m.

    `extent`: metres of the subject's plane over the frame's height; `focal`: in frame heights;
    `head_room`: from the top of the head to the top of the frame, in frame heights; or, where
    `feet` is not None, the room under the feet.
    """

    extent: float
    focal: float
    head_room: float
    feet: float | None = None
    spacing: float = 0.95


FRAMINGS: dict[ShotScale, Framing] = {
    ShotScale.EXTREME_WIDE: Framing(12.5, 1.25, 0.0, 0.17, 1.0),
    ShotScale.WIDE: Framing(4.3, 1.35, 0.0, 0.14),
    ShotScale.FULL: Framing(2.1, 1.5, 0.0, 0.07),
    ShotScale.MEDIUM_WIDE: Framing(1.46, 1.65, 0.08, spacing=0.8),
    ShotScale.MEDIUM: Framing(0.98, 1.8, 0.08, spacing=0.66),
    ShotScale.MEDIUM_CLOSE_UP: Framing(0.66, 2.0, 0.09, spacing=0.52),
    ShotScale.CLOSE_UP: Framing(0.41, 2.3, 0.06, spacing=0.5),
    ShotScale.EXTREME_CLOSE_UP: Framing(0.14, 2.6, -0.38, spacing=0.5),
    ShotScale.INSERT: Framing(0.3, 2.0, 0.2),
}
"""From the widest to the closest; the extents fall strictly."""

_ROOM_EXTENT = 8.0
"""The most that an interior shows, lest the ceiling become a lid in the middle of the picture."""
_LOWEST = 0.14


@dataclass(frozen=True)
class Subject:
    """What the camera looks at: the top of the head, the feet, and the middle of the group."""

    top: float
    feet: float
    middle: tuple[float, float]

    def at(self, height: float) -> tuple[float, float, float]:
        """The point at `height` over the middle."""
        return (self.middle[0], height, self.middle[1])


def framing_of(scale: ShotScale, interior: bool, aspect: float) -> Framing:
    """The framing of a scale; a room limits the widest, a portrait frame widens the group's."""
    framing = FRAMINGS[scale]
    if interior and framing.extent > _ROOM_EXTENT:
        framing = replace(framing, extent=_ROOM_EXTENT, focal=1.0)
    if aspect < 1 and framing.feet is None:
        framing = replace(framing, spacing=framing.spacing * 0.7)
    return framing


def set_up(framing: Framing, angle: CameraAngle, subject: Subject, azimuth: float) -> Camera:
    """The camera for the middle of the shot; `azimuth` is how far it stands to the right."""
    if framing.feet is not None:
        framing = replace(framing, extent=framing.extent * max(1.0, subject.top / 1.76))
    middle = subject.top - framing.extent * (0.5 - framing.head_room)
    if framing.feet is not None:
        middle = subject.feet + framing.extent * (0.5 - framing.feet)
    target = subject.at(middle)
    if angle is CameraAngle.OVERHEAD:
        return _overhead(framing, subject, azimuth)
    if angle is CameraAngle.LOW:
        return _pitched(replace(framing, focal=framing.focal * 0.72), target, azimuth, -0.36)
    if angle is CameraAngle.HIGH:
        # From far off a gentler slope keeps the horizon at the top edge of the picture.
        return _pitched(framing, target, azimuth, math.radians(36 if framing.extent < 3 else 23))
    eye = min(max(subject.top - 0.16, 0.6), 1.6)
    if angle is CameraAngle.DUTCH:
        camera = _level(framing, target, azimuth, eye - 0.12)
        return replace(camera, roll=math.radians(13 if azimuth >= 0 else -13))
    return _level(framing, target, azimuth, eye)


def _stand(distance: float, target: tuple, azimuth: float, height: float) -> tuple:
    return (
        target[0] + distance * math.sin(azimuth),
        height,
        target[2] - distance * math.cos(azimuth),
    )


def _level(framing: Framing, target: tuple, azimuth: float, eye: float) -> Camera:
    """A level camera that frames by shifting its lens, so that uprights stay upright."""
    distance = framing.focal * framing.extent
    position = _stand(distance, target, azimuth, eye)
    shift = (eye - target[1]) / framing.extent
    return Camera(position, -azimuth, 0.0, 0.0, framing.focal, (0.0, shift))


def _pitched(framing: Framing, target: tuple, azimuth: float, elevation: float) -> Camera:
    distance = framing.focal * framing.extent
    height = target[1] + distance * math.sin(elevation)
    away = distance * math.cos(elevation)
    if height < _LOWEST:
        # The ground is in the way: the camera lies on it, at the same distance.
        height = _LOWEST
        away = math.sqrt(max(distance**2 - (target[1] - height) ** 2, (0.5 * distance) ** 2))
    return aimed(_stand(away, target, azimuth, height), target, framing.focal)


def _overhead(framing: Framing, subject: Subject, azimuth: float) -> Camera:
    height = subject.top + framing.focal * framing.extent
    position = (subject.middle[0], height, subject.middle[1])
    return Camera(position, -azimuth, -math.pi / 2, 0.0, framing.focal)
