"""The camera of a shot of a place without people: its landmark stays in the frame."""

from __future__ import annotations

import math
from dataclasses import replace

from ...story.cinematography import CameraAngle, CameraMovement, ShotScale
from .camera import Camera, CameraPath
from .landmarks import View

_FOCAL = 1.25
_CLOSER = 0.68
"""What a wide shot spans of what an extreme wide one does."""
_BEHIND = 14.0
"""Metres that places are built before their middle; no farther does the camera go back."""


def establishing_path(
    view: View,
    lens: tuple[ShotScale, CameraAngle, float],
    movement: CameraMovement,
    azimuth: float,
) -> CameraPath:
    """The camera's path for a view of a place.

    Args:
        lens: scale, wide or extreme wide; angle; and the frame's width over its height.
        azimuth: how far the camera stands to the right, in radians.
    """
    scale, angle, aspect = lens
    if scale is ShotScale.WIDE:
        view = replace(view, extent=view.extent * _CLOSER)
    tilts = movement.kind == "tilt"
    most = math.asin(min(1.0, view.aisle / (_FOCAL * view.extent)))
    azimuth = max(-most, min(most, azimuth))
    sweep = None
    if angle is CameraAngle.OVERHEAD:
        camera = _above(view, azimuth)
    elif angle is CameraAngle.HIGH:
        camera = _from_high(view, scale, azimuth)
        sweep = math.atan(0.28 / camera.focal)
    elif angle is CameraAngle.LOW or tilts:
        eye = 0.5 if angle is CameraAngle.LOW else 1.6
        camera, sweep = _looking_up(view, azimuth, eye, tilts)
    else:
        camera = _at_eye_level(view, azimuth)
    if angle is CameraAngle.DUTCH:
        camera = replace(camera, roll=math.radians(13 if azimuth >= 0 else -13))
    aim = (view.at[0], min(0.4 * view.top, 0.4 * view.extent), view.at[2])
    height = math.dist(camera.position, aim) / camera.focal
    breadth = height * aspect
    if movement.kind == "truck":
        breadth = min(breadth, 5 * view.aisle)
    return CameraPath(camera, aim, movement, breadth, height, sweep if tilts else None)


def _stand(view: View, away: float, azimuth: float, height: float) -> tuple[float, float, float]:
    x, _, z = view.at
    return (x + away * math.sin(azimuth), height, z - away * math.cos(azimuth))


def _at_eye_level(view: View, azimuth: float) -> Camera:
    away = min(_FOCAL * view.extent, view.at[2] + _BEHIND)
    # The ground takes the lower quarter of the picture; uprights stay upright.
    shift = (1.6 / view.extent) - 0.25
    return Camera(
        _stand(view, away, azimuth, 1.6), -azimuth, 0.0, 0.0, away / view.extent, (0.0, shift)
    )


def _looking_up(view: View, azimuth: float, eye: float, tilts: bool) -> tuple[Camera, float]:
    """The camera near the ground, and how far it may tilt: from the foot of the landmark in
    the lower third of the picture to its top against the sky."""
    away = min((0.6 if tilts else 0.8) * view.extent, view.at[2] + _BEHIND)
    rise = math.atan((view.top - eye) / away)
    focal = 1.0 if tilts else min(1.1, max(0.62, 0.74 / math.tan(max(rise, 0.1))))
    low = math.atan((0.2 if tilts else 0.34) / focal)
    high = max(rise - math.atan(0.22 / focal), low + math.radians(11))
    sweep = high - low
    pitch = low + 0.9 * sweep if tilts else low
    return Camera(_stand(view, away, azimuth, eye), -azimuth, pitch, 0.0, focal), sweep


def _from_high(view: View, scale: ShotScale, azimuth: float) -> Camera:
    """The camera above the roofs; from far off it keeps the horizon at the top of the picture."""
    far = scale is ShotScale.EXTREME_WIDE
    pitch = math.atan(((0.39 if far else 0.45) - view.skyline) / _FOCAL)
    height = max(0.85 * view.top, (0.42 if far else 0.6) * view.extent)
    # What is flat lies in the middle of the picture, what is tall stands up from its foot.
    foot = 0.04 + 0.4 * min(1.0, view.top / view.extent)
    away = height / math.tan(pitch + math.atan(foot / _FOCAL))
    return Camera(_stand(view, away, azimuth, height), -azimuth, -pitch, 0.0, _FOCAL)


def _above(view: View, azimuth: float) -> Camera:
    x, _, z = view.at
    height = view.top + _FOCAL * view.extent
    return Camera((x, height, z), -azimuth, -math.pi / 2, 0.0, _FOCAL)
