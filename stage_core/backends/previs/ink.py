"""The artist's hand: strokes with wobble and varying weight, silhouettes, marker on paper.

Geometry is made for all marks of a panel at once. Everything is a pure function of its
arguments; the hand's irregularities come from one table that every panel shares.
"""

from __future__ import annotations

import functools
import math
import random

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SUPERSAMPLE = 2
_HANDS = 256
_STROKE_POINTS = 7
_HULL_POINTS = 32
_HATCHES = 11


@functools.cache
def _wobble(num_points: int) -> np.ndarray:
    """Smooth unit deviations along a stroke for each of the hand's moods, [_HANDS, num_points]."""
    rng = random.Random(20240)
    t = np.linspace(0, 1, num_points)
    rows = []
    for _ in range(_HANDS):
        bow, wave, quick = rng.gauss(0, 0.6), rng.gauss(0, 0.45), rng.gauss(0, 0.2)
        phase = rng.uniform(0, 2 * math.pi)
        rows.append(
            bow * np.sin(math.pi * t)
            + wave * np.sin(2 * math.pi * t + phase)
            + quick * np.sin(5 * math.pi * t + phase)
        )
    return np.array(rows)


@functools.cache
def _pressure(num_points: int) -> np.ndarray:
    """Relative weight along a stroke, from set-down through swell to lift, [_HANDS, points]."""
    rng = random.Random(911)
    t = np.linspace(0, 1, num_points)
    rows = []
    for _ in range(_HANDS):
        swell = rng.uniform(0.3, 0.7)
        body = 1.15 - 0.5 * np.abs(t - swell)
        ends = np.minimum(1, 0.35 + np.minimum(t * 5, (1 - t) * 3.2))
        rows.append(body * ends)
    return np.array(rows)


@functools.cache
def _edge_wobble() -> np.ndarray:
    """Relative radius around a silhouette, [_HANDS, _HULL_POINTS]."""
    rng = random.Random(577)
    angle = np.arange(_HULL_POINTS) * (2 * math.pi / _HULL_POINTS)
    rows = [
        sum(
            rng.gauss(0, 1 / order) * np.sin(order * angle + rng.uniform(0, 2 * math.pi))
            for order in (2, 3, 5)
        )
        for _ in range(_HANDS)
    ]
    return np.array(rows)


_ANGLE = np.arange(_HULL_POINTS) * (2 * math.pi / _HULL_POINTS)
_COMPASS = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1)


def clipped(segments: np.ndarray, bounds: tuple[float, float, float, float]) -> np.ndarray:
    """Segments [S, 2, 2] cut to `bounds` (left, top, right, bottom); NaN where nothing is left.

    Source: Liang and Barsky 1984, on all segments at once.
    """
    left, top, right, bottom = bounds
    start, delta = segments[:, 0], segments[:, 1] - segments[:, 0]
    low, high = np.zeros(len(segments)), np.ones(len(segments))
    for axis, least, most in ((0, left, right), (1, top, bottom)):
        d = np.where(np.abs(delta[:, axis]) < 1e-9, 1e-9, delta[:, axis])
        enter = (least - start[:, axis]) / d
        leave = (most - start[:, axis]) / d
        low = np.maximum(low, np.minimum(enter, leave))
        high = np.minimum(high, np.maximum(enter, leave))
    result = np.stack([start + low[:, None] * delta, start + high[:, None] * delta], axis=1)
    result[low >= high] = np.nan
    return result


def straight_strokes(segments: np.ndarray, weight: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Outlines [S, 2 * points, 2] of hand-drawn straight strokes that overshoot a little.

    Args:
        segments: both ends in pixels, [S, 2, 2].
        weight: full width in pixels, [S].
        hand: which irregularity, [S], in 0 to 255.
    """
    delta = segments[:, 1] - segments[:, 0]
    length = np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-6)[:, None]
    along = delta / length
    over = np.minimum(0.035 * length, 2.2 * weight[:, None] + 1.0)
    start, end = segments[:, 0] - along * over * 0.6, segments[:, 1] + along * over
    t = np.linspace(0, 1, _STROKE_POINTS)[None, :, None]
    path = start[:, None] * (1 - t) + end[:, None] * t
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)[:, None]
    reach = np.minimum(0.008 * length + 0.5, 3.0)
    path = path + normal * (_wobble(_STROKE_POINTS)[hand] * reach)[..., None]
    return _outlines(path, normal, weight, hand)


def curved_strokes(paths: np.ndarray, weight: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Outlines [S, 2 P, 2] of strokes along paths [S, P, 2]; else as `straight_strokes`."""
    tangent = np.gradient(paths, axis=1)
    size = np.maximum(np.hypot(tangent[..., 0], tangent[..., 1]), 1e-6)[..., None]
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1) / size
    length = np.hypot(*np.diff(paths, axis=1).transpose(2, 0, 1)).sum(axis=1)
    reach = np.minimum(0.006 * length + 0.3, 2.2)[:, None]
    wobbled = paths + normal * (_wobble(paths.shape[1])[hand] * reach)[..., None]
    return _outlines(wobbled, normal, weight, hand)


def _outlines(
    paths: np.ndarray, normal: np.ndarray, weight: np.ndarray, hand: np.ndarray
) -> np.ndarray:
    half = (_pressure(paths.shape[1])[hand] * weight[:, None] / 2)[..., None]
    return np.concatenate([paths + normal * half, (paths - normal * half)[:, ::-1]], axis=1)


def hulls(centres: np.ndarray, radii: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Outlines [M, points, 2] of the hulls of M sets of circles.

    For every compass direction the farthest circle gives the outline's point, so the points
    are in order and the outline is convex but for the hand's wobble.

    Args:
        centres: in pixels, [M, N, 2]; radii: [M, N]; hand: [M], in 0 to 255.
    """
    reach = centres @ _COMPASS.T + radii[..., None]
    farthest = reach.argmax(axis=1)
    rows = np.arange(len(centres))[:, None]
    spread = reach.max(axis=1)
    breadth = (spread + np.roll(spread, _HULL_POINTS // 2, axis=1)).min(axis=1)
    uneven = _edge_wobble()[hand] * np.minimum(0.007 * breadth, 1.5)[:, None]
    radius = radii[rows, farthest] + uneven
    return centres[rows, farthest] + radius[..., None] * _COMPASS


def grown(outline: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Outlines [M, points, 2] grown by an ink line heavier away from the light, up left."""
    shade = np.maximum(0, _COMPASS @ np.array([0.55, 0.83]))
    return outline + (weight[:, None] * (0.62 + 0.75 * shade))[..., None] * _COMPASS


def lit(outline: np.ndarray, share: float = 0.34) -> np.ndarray:
    """The part of outlines [M, points, 2] that the light, from up left, reaches."""
    away = np.array([0.83, 0.56])
    depth = np.maximum(0, _COMPASS @ away - 0.12)
    extent = (outline @ away).max(axis=1) - (outline @ away).min(axis=1)
    return outline - (extent[:, None] * share * depth)[..., None] * away


def shadow_hatching(
    outline: np.ndarray, inner: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slanting strokes over the shadow between `outline` and its lit part `inner`.

    Returns:
        Thin triangles [M, S, 6] as x, y pairs, and which of them are long enough to draw, [M, S].
    """
    facing = np.flatnonzero(_COMPASS @ np.array([0.83, 0.56]) > 0.2)
    foot, tip, length = _evenly(outline[:, facing], inner[:, facing])
    along = tip - foot
    depth = np.hypot(along[..., 0], along[..., 1])
    # The hand does not stop exactly at the light, and slants.
    tip = foot + along * 0.94 + np.array([0.18, -0.1]) * depth[..., None]
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    half = across / np.maximum(depth, 1e-6)[..., None] * (0.5 * weight)[:, None, None]
    triangles = np.concatenate([foot - half, foot + half, tip], axis=2)
    return triangles, (depth > 14) & (depth < 420) & (length > 6 * _HATCHES)


def _evenly(rim: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [M, S, 2] at equal steps along the paths `rim` [M, P, 2], their partners on `edge`,
    and the paths' lengths [M, 1].

    Compass directions would not do: their points crowd where an outline bends.
    """
    steps_along = np.hypot(*np.diff(rim, axis=1).transpose(2, 0, 1)).cumsum(axis=1)
    walk = np.concatenate([np.zeros((len(rim), 1)), steps_along], axis=1)
    length = np.maximum(walk[:, -1:], 1e-6)
    wanted = (np.arange(_HATCHES) + 0.5) / _HATCHES * length
    passed = (walk[:, :, None] <= wanted[:, None]).sum(axis=1)
    at = np.clip(passed - 1, 0, rim.shape[1] - 2)
    rows = np.arange(len(rim))[:, None]
    span = np.maximum(walk[rows, at + 1] - walk[rows, at], 1e-6)
    t = np.clip((wanted - walk[rows, at]) / span, 0, 1)[..., None]
    foot = rim[rows, at] * (1 - t) + rim[rows, at + 1] * t
    return foot, edge[rows, at] * (1 - t) + edge[rows, at + 1] * t, length


class Canvas:
    """A sheet at twice the panel's size, on which everything is drawn without smoothing."""

    def __init__(self, size: tuple[int, int], colour: Colour):
        self.size = size
        self._image = Image.new("RGB", tuple(side * SUPERSAMPLE for side in size), colour)
        self._draw = ImageDraw.Draw(self._image)

    def fill(self, outline: list[float], colour: Colour) -> None:
        """Fill the polygon x0, y0, x1, y1, ... in pixels of the sheet."""
        self._draw.polygon(outline, fill=colour)

    def panel(self) -> np.ndarray:
        """The smoothed picture on paper, [H, W, 3] uint8."""
        light = np.array(self._image.reduce(SUPERSAMPLE), dtype=np.uint16)
        light *= _paper(self.size)
        light >>= 8
        return light.astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _paper(size: tuple[int, int]) -> np.ndarray:
    """Light that paper tooth and marker streaks let through, in 256ths, [H, W, 3] uint16."""
    width, height = size
    rng = random.Random(73)
    tooth = np.frombuffer(rng.randbytes(width * height), dtype=np.uint8).reshape(height, width)
    coarse = Image.frombytes("L", (64, 64), rng.randbytes(64 * 64)).resize(size, Image.BICUBIC)
    streaks = Image.frombytes("L", (12, 97), rng.randbytes(12 * 97)).resize(size, Image.BICUBIC)
    light = (
        256.0
        - 7.0 * (tooth / 255.0) ** 2
        - 5.0 * np.asarray(coarse) / 255.0
        - 6.0 * np.asarray(streaks) / 255.0
    )
    # All channels alike, written out: numpy is slow to spread one over three.
    return np.repeat(light.round().astype(np.uint16)[..., None], 3, axis=2)
