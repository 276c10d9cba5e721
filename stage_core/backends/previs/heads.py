"""Heads: an egg of skull and jaw, a shape of hair, and shadows where a face would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .layers import Face, Mark, Mass, Part, curve

if TYPE_CHECKING:
    from .figures import Body


def draw_head(who: Body, eye: np.ndarray, pixels: float) -> tuple[list[Mark], list[Mark]]:
    """The hair behind the neck, and the head, `pixels` high in the panel, that hides it."""
    shape = _Shape(who)
    to_eye = (eye - who.head) / max(float(np.linalg.norm(eye - who.head)), 1e-9)
    frontal = float(who.forward @ to_eye)
    face = [Mass(shape.skull(), 1.4)]
    if pixels > 22 and frontal > -0.1:
        face.extend(shape.features(float(who.right @ to_eye), pixels))
    behind, over = shape.hair(to_eye)
    return behind, [*face, *over]


class _Shape:
    """Builds marks in the head's own axes, in units of half its height."""

    def __init__(self, who: Body):
        self._who = who
        self._look = who.figure.look
        self._unit = who.head_radius
        self._axes = np.stack([who.right, who.up, who.forward])

    def _at(self, *rows: tuple[float, float, float]) -> np.ndarray:
        return np.array(rows) * self._unit @ self._axes + self._who.head

    def _part(self, rows: tuple, radii: tuple, tone, shaded: bool = True) -> Part:
        return Part(self._at(*rows), np.array(radii) * self._unit, tone, shaded)

    def skull(self) -> tuple[Part, ...]:
        """The egg of the head with jaw, nose and ears."""
        ears = tuple(
            self._part(((s * 0.72, 0.02, -0.08), (s * 0.7, -0.2, -0.04)), (0.15, 0.1), "skin")
            for s in (1, -1)
        )
        egg = self._part(
            (
                (0, 0.27, -0.12),
                (0, 0.3, 0.16),
                (0.2, -0.3, 0.26),
                (-0.2, -0.3, 0.26),
                (0, -0.68, 0.42),
            ),
            (0.72, 0.67, 0.5, 0.5, 0.27),
            "skin",
        )
        nose = self._part(((0, 0.12, 0.72), (0, -0.2, 0.9)), (0.08, 0.1), "skin", False)
        return (*ears, egg, nose)

    def features(self, side: float, pixels: float) -> list[Mark]:
        """Shadows under brow, nose and lip, so that a face says where it looks and no more;
        `side` is how far the head's right shows."""
        marks: list[Mark] = []
        for s in (1, -1):
            # The far eye goes behind the bridge of the nose in profile.
            if s * side > -0.66:
                marks.extend(self._socket(s, pixels))
        nose = self._loop(
            (-0.15, -0.17, 0.86), (0.0, -0.13, 0.97), (0.15, -0.17, 0.86), (0.0, -0.33, 0.84)
        )
        marks.append(Face(nose, "mid"))
        if pixels > 45:
            lean = 0.11 if side > 0 else -0.11
            bridge = self._at(
                (lean, 0.12, 0.8), (lean * 1.2, -0.08, 0.88), (lean * 1.4, -0.22, 0.86)
            )
            lip = self._loop(
                (-0.16, -0.53, 0.73), (0.0, -0.5, 0.78), (0.16, -0.53, 0.73), (0.0, -0.6, 0.73)
            )
            marks += [curve(bridge, 0.9), Face(lip, "mid")]
        return marks

    def _socket(self, s: int, pixels: float) -> list[Mark]:
        """The shadow of an eye's socket, and its brow."""
        socket = self._loop(
            (s * 0.1, 0.1, 0.8),
            (s * 0.32, 0.22, 0.78),
            (s * 0.53, 0.1, 0.62),
            (s * 0.34, -0.05, 0.72),
        )
        brow = self._at((s * 0.1, 0.21, 0.83), (s * 0.32, 0.29, 0.79), (s * 0.56, 0.2, 0.62))
        return [Face(socket, "mid"), curve(brow, 3.0 if pixels > 300 else 1.6)]

    def _loop(self, *rows: tuple[float, float, float]) -> np.ndarray:
        """A smooth closed loop through four points."""
        closed = self._at(*rows, rows[0], rows[1])
        return curve(closed, 1.0).points[:-2]

    def hair(self, to_eye: np.ndarray) -> tuple[list[Mark], list[Mark]]:
        """Masses behind the head and over it, for an eye in the direction `to_eye`."""
        local = self._axes @ to_eye
        behind: list[Part] = []
        over: list[Part] = []
        for place, (rows, radius) in enumerate(self._locks()):
            part = self._part(rows, (radius,) * len(rows), self._look.hair_tone)
            # The first lock, the top of the head, is seen but from far below.
            shown = local[1] > -0.45 if place == 0 else float(rows.mean(axis=0) @ local) > 0.14
            (over if shown else behind).append(part)
        if self._look.hair == "hat":
            brim_over = float(local[1]) < -0.15
            hat = self._hat(local)
            over.extend(reversed(hat) if brim_over else hat)
        return [Mass(tuple(m), 1.3) for m in (behind,) if m], [
            Mass(tuple(m), 1.3) for m in (over,) if m
        ]

    def _locks(self) -> list[tuple[np.ndarray, float]]:
        """Convex locks of hair: points [N, 3] and the radius around them.

        The hair ends at a plane that rises towards the brow. Since a hull would cover the face,
        the scalp is cut into top, temples and back, each of which is convex.
        """
        style = self._look.hair
        scalp = _SCALP[_HAIRLINE.get(style, -0.06) < _SCALP @ _GROWTH]
        x, y, z = scalp.T
        cuts = (
            (y > 0.54),
            (x < -0.16) & (z > -0.15),
            (x > 0.16) & (z > -0.15),
            (x < 0.05) & (z < 0.05),
            (x > -0.05) & (z < 0.05),
        )
        locks = [(scalp[cut], 0.03) for cut in cuts]
        if style in _LENGTHS:
            low, wide = _LENGTHS[style]
            for s in (1, -1):
                back = (
                    (s * 0.72, 0.3, -0.1),
                    (s * 0.05, 0.4, -0.7),
                    (s * wide, low, -0.15),
                    (s * 0.05, low - 0.08, -0.5),
                )
                lock = ((s * 0.72, 0.42, 0.1), (s * 0.78, 0.0, 0.02), (s * wide, low * 0.8, 0.05))
                locks += [(np.array(back), 0.16), (np.array(lock), 0.11)]
        if style == "bun":
            locks.append((np.array([[0, 0.8, -0.72]]), 0.36))
        if style == "curly":
            picked = _SCALP[::5]
            locks += [(row[None] * 1.06, 0.24) for row in picked if row @ _GROWTH > 0.0]
        return locks

    def _hat(self, to_eye: np.ndarray) -> list[Part]:
        """Brim and crown, for an eye in the direction `to_eye` of the head's own axes."""
        # High and narrow enough that eyes show under it from above too.
        brim = _disc(1.06, 1.08, 0.62)
        if to_eye[1] < 0:
            # From below the far half is behind the head, over which the hat is drawn.
            brim = brim[brim[:, ::2] @ to_eye[::2] > -0.05]
        crown = np.concatenate([_disc(0.76, 0.84, 0.64), _disc(0.6, 0.7, 1.16)])
        return [
            self._part(brim, (0.05,) * len(brim), "cloth"),
            self._part(crown, (0.08,) * 24, "cloth"),
        ]


def _disc(width: float, depth: float, height: float) -> np.ndarray:
    angle = np.arange(12) * (np.pi / 6)
    return np.stack([width * np.cos(angle), np.full(12, height), depth * np.sin(angle)], axis=1)


def _scalp() -> np.ndarray:
    """Points all over a skull a little larger than the head, [N, 3]."""
    tilt = np.linspace(-1.0, 1.5, 9)[:, None]
    turn = (np.arange(18) * (np.pi / 9))[None]
    x = 0.81 * np.cos(tilt) * np.cos(turn)
    y = 0.27 + 0.77 * np.sin(tilt) + 0 * turn
    z = -0.03 + 0.87 * np.cos(tilt) * np.sin(turn)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)


_SCALP = _scalp()
_GROWTH = np.array([0, 0.78, -0.62])
_HAIRLINE = {"crop": 0.08, "bun": 0.0, "hat": 0.1}
_LENGTHS = {"long": (-1.35, 0.6), "bob": (-0.55, 0.78)}
