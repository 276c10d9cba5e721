"""One panel from pieces: far to near, each mark projected, hazed and inked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import ink
from .camera import NEAR, Camera
from .layers import BACKGROUND, FOREGROUND, MIDGROUND, SKY, Face, Line, Mass, Part, Piece
from .palette import Colour, Palette, mix

_LAYER_WEIGHT = {SKY: 0.9, BACKGROUND: 1.25, MIDGROUND: 1.5, FOREGROUND: 2.0}
_MARGIN = 60


@dataclass(frozen=True)
class View:
    """How a panel is drawn: camera, colours, size (width, height) in pixels.

    `hand` picks the irregularities of the artist's hand; `far` is the distance in metres at
    which things have faded halfway into haze. Where `light` is given, a place in a dark room,
    things fade by their distance from it instead, in three flat steps.
    """

    camera: Camera
    palette: Palette
    size: tuple[int, int]
    hand: int = 0
    far: float = 30.0
    light: tuple[float, float, float] | None = None

    @property
    def unit(self) -> float:
        """Pixels of the sheet in one frame height."""
        return self.size[1] * ink.SUPERSAMPLE

    def pixels(self, seen: np.ndarray) -> np.ndarray:
        """Points before the lens [..., 3] in pixels of the sheet [..., 2]."""
        flat = self.camera.picture(seen)
        middle = np.array(self.size) * (ink.SUPERSAMPLE / 2)
        return middle + flat * np.array([self.unit, -self.unit])


def draw_panel(pieces: Sequence[Piece], view: View) -> np.ndarray:
    """The panel, [H, W, 3] uint8. Layers are drawn back to front, and within one the farther."""
    canvas = ink.Canvas(view.size, view.palette.colour("sky"))
    camera = view.camera
    forward, position = camera.axes()[2], np.asarray(camera.position)

    def order(item: Piece) -> tuple[int, float]:
        return item.layer, -float(forward @ (np.asarray(item.anchor) - position))

    sheet = _Sheet(view)
    for item in sorted(pieces, key=order):
        sheet.add(item, -order(item)[1])
    sheet.ink(canvas)
    return canvas.panel()


class _Sheet:
    """Gathers the marks of a panel, so that geometry is made for all of them at once."""

    def __init__(self, view: View):
        self._view = view
        self._marks: list[tuple[object, float, float]] = []
        self._points: list[np.ndarray] = []

    def add(self, item: Piece, depth: float) -> None:
        distance = max(0.0, depth - 1.5)
        haze = 0.8 * distance / (distance + self._view.far)
        if item.layer in (SKY, FOREGROUND):
            haze = 0.0
        elif self._view.light is not None:
            haze = _dimness(item, self._view.light)
        weight = _LAYER_WEIGHT[item.layer] * self._view.unit / 480
        for mark in item.marks:
            self._marks.append((mark, haze, weight))
            if isinstance(mark, Mass):
                self._points.extend(part.centres for part in mark.parts)
            else:
                self._points.append(mark.points)

    def ink(self, canvas: ink.Canvas) -> None:
        """Draw all marks in the order in which they were added."""
        if not self._marks:
            return
        seen = self._view.camera.seen(np.concatenate(self._points))
        points = _Points(seen, self._view.pixels(seen))
        strokes, curves, bodies = _Strokes(self._view), _Curves(self._view), _Bodies(self._view)
        faces = _Faces(self._view)
        jobs: list[Callable[[], Iterable]] = []
        first = 0
        for mark, haze, weight in self._marks:
            if isinstance(mark, Mass):
                span = slice(first, first + sum(len(part.centres) for part in mark.parts))
                jobs.append(bodies.add(mark, points, span, _Tint(haze, weight)))
            else:
                span = slice(first, first + len(mark.points))
                if isinstance(mark, Face):
                    shown = faces.add(mark, points, span, haze)
                    if shown is not None:
                        jobs.append(shown)
                    if shown is not None and mark.weight:
                        jobs.append(strokes.loop(mark, span, _Tint(haze, weight)))
                elif len(mark.points) == 2:
                    jobs.append(strokes.add(mark, span, _Tint(haze, weight)))
                else:
                    jobs.append(curves.add(mark, points, span, _Tint(haze, weight)))
            first = span.stop
        strokes.finish(seen)
        curves.finish()
        bodies.finish()
        for job in jobs:
            for outline, colour in job():
                canvas.fill(outline, colour)


def _dimness(item: Piece, light: tuple[float, float, float]) -> float:
    """How much of a piece the dark takes."""
    mark = item.marks[0]
    rows = mark.parts[0].centres if isinstance(mark, Mass) else mark.points
    distance = float(np.linalg.norm(rows.mean(axis=0) - light))
    return 0.0 if distance < 1.75 else 0.34 if distance < 3.0 else 0.6


class _Points:
    """The points of all marks, before the lens and in pixels, also as lists: a loop over a few
    numbers is faster without numpy."""

    def __init__(self, seen: np.ndarray, flat: np.ndarray):
        self.seen, self.flat = seen, flat
        self.depths: list[float] = seen[:, 2].tolist()
        self.pixels: list[list[float]] = flat.tolist()


class _Tint(NamedTuple):
    """How much a mark fades into the distance, and the weight of its layer's line."""

    haze: float
    weight: float


def _hazed(palette: Palette, tone: str | Colour, haze: float) -> Colour:
    # An accent fades less, so that a character is known at any distance.
    share = haze if isinstance(tone, str) else haze * 0.25
    return mix(palette.colour(tone), palette.colours["haze"], share)


def _area(rows: list[list[float]]) -> float:
    x, y = rows[-1]
    total = 0.0
    for a, b in rows:
        total += x * b - y * a
        x, y = a, b
    return total


def _before_lens(seen: np.ndarray) -> np.ndarray:
    """The polygon's part in front of the lens: Sutherland and Hodgman 1974, one plane."""
    kept, rows = [], seen.tolist()
    for a, b in zip(rows, rows[1:] + rows[:1], strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            share = (NEAR - a[2]) / (b[2] - a[2])
            kept.append([x + (y - x) * share for x, y in zip(a, b, strict=True)])
    return np.array(kept).reshape(-1, 3)


class _Faces:
    """Flat patches of a panel."""

    def __init__(self, view: View):
        self._view = view
        self._right, self._bottom = (side * ink.SUPERSAMPLE for side in view.size)

    def add(self, mark: Face, points: _Points, span: slice, haze: float):
        """What draws the face, or None where it is not seen."""
        rows = points.pixels[span]
        if min(points.depths[span]) < NEAR:
            kept = _before_lens(points.seen[span])
            if len(kept) < 3:
                return None
            rows = self._view.pixels(kept).tolist()
        xs, ys = zip(*rows, strict=True)
        if max(xs) < 0 or max(ys) < 0 or min(xs) > self._right or min(ys) > self._bottom:
            return None
        if mark.cull and _area(rows) <= 0:
            return None
        colour = _hazed(self._view.palette, mark.tone, haze)
        outline = [value for row in rows for value in row]
        return lambda: ((outline, colour),)


class _Strokes:
    """Straight strokes of a panel."""

    def __init__(self, view: View):
        self._view = view
        self._ends: list[tuple[int, int]] = []
        self._weights: list[float] = []
        self._outlines: list = []

    def add(self, mark: Line, span: slice, tint: _Tint):
        return self._job([(span.start, span.start + 1)], mark.weight * tint.weight, mark.tone, tint)

    def loop(self, mark: Face, span: slice, tint: _Tint):
        """The edges of a face."""
        last = span.stop - 1
        edges = [(last, span.start), *((i, i + 1) for i in range(span.start, last))]
        return self._job(edges, mark.weight * tint.weight, "ink", tint)

    def _job(self, edges: list[tuple[int, int]], weight: float, tone: str | Colour, tint: _Tint):
        first = len(self._ends)
        self._ends.extend(edges)
        self._weights.extend([weight] * len(edges))
        span = slice(first, first + len(edges))
        colour = _hazed(self._view.palette, tone, tint.haze)
        return lambda: ((o, colour) for o in self._outlines[span] if o is not None)

    def finish(self, points: np.ndarray) -> None:
        if not self._ends:
            return
        seen = points[np.array(self._ends)]
        depth = seen[..., 2]
        behind = (depth < NEAR).all(axis=1)
        span = np.where(np.abs(depth[:, 1] - depth[:, 0]) < 1e-9, 1e-9, depth[:, 1] - depth[:, 0])
        cut = np.clip((NEAR - depth[:, 0]) / span, 0, 1)[:, None]
        meeting = seen[:, 0] + cut * (seen[:, 1] - seen[:, 0])
        start = np.where(depth[:, :1] < NEAR, meeting, seen[:, 0])
        end = np.where(depth[:, 1:] < NEAR, meeting, seen[:, 1])
        flat = self._view.pixels(np.stack([start, end], axis=1))
        width, height = (side * ink.SUPERSAMPLE for side in self._view.size)
        flat = ink.clipped(flat, (-_MARGIN, -_MARGIN, width + _MARGIN, height + _MARGIN))
        flat[behind] = np.nan
        shown = np.isfinite(flat).all(axis=(1, 2))
        hand = (np.arange(len(flat)) * 37 + self._view.hand) % 256
        rows = ink.straight_strokes(flat[shown], np.array(self._weights)[shown], hand[shown])
        self._outlines = _scattered(rows, shown)


class _Curves:
    """Curved strokes of a panel."""

    def __init__(self, view: View):
        self._view = view
        self._paths: list[np.ndarray] = []
        self._weights: list[float] = []
        self._shown: list[bool] = []
        self._outlines: list = []

    def add(self, mark: Line, points: _Points, span: slice, tint: _Tint):
        place = len(self._paths)
        flat = points.flat[span]
        self._paths.append(flat)
        self._weights.append(mark.weight * tint.weight)
        self._shown.append(min(points.depths[span]) >= NEAR and _near_frame(flat, 0.0, self._view))
        colour = _hazed(self._view.palette, mark.tone, tint.haze)
        return lambda: ((o, colour) for o in (self._outlines[place],) if o is not None)

    def finish(self) -> None:
        if not self._paths:
            return
        shown = np.array(self._shown)
        hand = (np.arange(len(shown)) * 53 + self._view.hand) % 256
        rows = ink.curved_strokes(
            np.stack(self._paths)[shown], np.array(self._weights)[shown], hand[shown]
        )
        self._outlines = _scattered(rows, shown)


def _near_frame(flat: np.ndarray, reach: float, view: View) -> bool:
    width, height = (side * ink.SUPERSAMPLE for side in view.size)
    edge = reach + _MARGIN
    left, top = flat.min(axis=0).tolist()
    right, bottom = flat.max(axis=0).tolist()
    return right > -edge and bottom > -edge and left < width + edge and top < height + edge


def _scattered(rows: np.ndarray, shown: np.ndarray) -> list:
    result: list = [None] * len(shown)
    for place, row in zip(np.flatnonzero(shown).tolist(), _rows(rows), strict=True):
        result[place] = row
    return result


class _Bodies:
    """Silhouettes of a panel: ink, shadow tone, light tone and hatching of every part."""

    def __init__(self, view: View):
        self._view = view
        self._centres: list[np.ndarray] = []
        self._radii: list[np.ndarray] = []
        self._weights: list[float] = []
        self._inks: list = []
        self._whole: list = []
        self._lit: list = []
        self._hatches: list = []

    def add(self, mass: Mass, points: _Points, span: slice, tint: _Tint):
        first, at = len(self._centres), span.start
        tones: list[tuple[int, Part]] = []
        for part in mass.parts:
            rows = slice(at, at + len(part.centres))
            at = rows.stop
            nearest = min(points.depths[rows])
            if nearest < NEAR:
                continue
            radii = part.radii * (self._view.camera.focal * self._view.unit) / points.seen[rows, 2]
            flat = points.flat[rows]
            if not _near_frame(flat, float(radii.max()), self._view):
                continue
            tones.append((len(self._centres), part))
            self._centres.append(flat)
            self._radii.append(radii)
            self._weights.append(mass.weight * tint.weight)
        return lambda: self._job(mass, tones, slice(first, first + len(tones)), tint.haze)

    def _job(self, mass: Mass, tones: list[tuple[int, Part]], span: slice, haze: float):
        palette = self._view.palette
        shade, edge = palette.colours["deep"], _hazed(palette, mass.ink, haze)
        if mass.weight:
            yield from ((outline, edge) for outline in self._inks[span])
        for place, part in tones:
            colour = _hazed(palette, part.tone, haze)
            if not part.shaded:
                yield self._whole[place], colour
                continue
            yield self._whole[place], mix(colour, shade, 0.42)
            yield self._lit[place], colour
            dark = mix(colour, shade, 0.78)
            yield from ((triangle, dark) for triangle in self._hatches[place])

    def finish(self) -> None:
        if not self._centres:
            return
        most = max(len(c) for c in self._centres)
        # A set is filled up with its own last circle, which does not change its hull.
        centres = np.stack([_filled(c, most) for c in self._centres])
        radii = np.stack([_filled(r, most) for r in self._radii])
        hand = (np.arange(len(centres)) * 29 + self._view.hand) % 256
        outlines = ink.hulls(centres, radii, hand)
        weight = np.array(self._weights)
        inner = ink.lit(outlines)
        self._whole, self._lit = _rows(outlines), _rows(inner)
        self._inks = _rows(ink.grown(outlines, weight))
        triangles, drawn = ink.shadow_hatching(outlines, inner, weight * 0.8)
        self._hatches = [()] * len(triangles)
        for place in np.flatnonzero(drawn.any(axis=1)):
            self._hatches[place] = triangles[place][drawn[place]].tolist()


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.minimum(np.arange(count), len(values) - 1)]


def _rows(outlines: np.ndarray) -> list[list[float]]:
    """Outlines [M, points, 2] as lists x0, y0, x1, y1, ..."""
    return outlines.reshape(len(outlines), 2 * outlines.shape[1]).tolist()
