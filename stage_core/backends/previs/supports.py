"""What belongs to the people of a shot: seats, tables and what is on them, a door, a lamp."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .furniture import chair, furniture_marks, table
from .layers import (
    BACKGROUND,
    MIDGROUND,
    PALE,
    Face,
    Mark,
    Mass,
    Part,
    Piece,
    ball,
    box,
    circle_lines,
    curve,
    lathe,
    line,
    moved,
    piece,
    points,
    ring,
)
from .poses import Action
from .reading import Reading

Place = tuple[float, float, float]
Stand = tuple[Place, float, float, Action]
"""Where someone is, the facing in radians, the height in metres, and the action."""

_TABLE, _COUNTER, _SEAT = 0.72, 0.94, 0.42


def supports(stands: Sequence[Stand], reading: Reading, extent: float) -> list[Piece]:
    """What the people sit or lie on and have before them; `extent` is the frame's height."""
    pieces: list[Piece] = []
    for index, stand in enumerate(stands):
        pieces.extend(_support(stand, reading, reading.wares if index == 0 else ()))
    if stands and reading.doorway and extent < 2.2:
        pieces.append(_door(stands[0]))
    upright = stands and not any(_seated(s) or _lying(s) or s[3].stride for s in stands)
    if upright and reading.wares and 0.6 < extent < 1.6:
        pieces.append(_counter(stands[0], reading.wares))
    if len(stands) > 1 and reading.wares and _seated(stands[0]) and not reading.at_table:
        (a, b) = (np.array(stand[0]) for stand in stands[:2])
        at = (a + b) / 2 - (0, 0, 0.12)
        marks = [*box((0, 0, 0), (0.4, _SEAT, 0.36)), *moved(_wares(reading.wares), (0, _SEAT, 0))]
        pieces.append(piece(moved(marks, at), at - (0, 0, 0.3)))
    return pieces


def _seated(stand: Stand) -> bool:
    action = stand[3]
    pelvis = min(action.start.pelvis[1], action.end.pelvis[1])
    return 0.28 < pelvis < 0.3 and action.end.foot_r[2] > 0


def _lying(stand: Stand) -> bool:
    end = stand[3].end
    return abs(end.chest[1] - end.pelvis[1]) < 0.1


def _before(stand: Stand, distance: float, height: float = 0.0) -> Place:
    (x, _, z), facing, _, _ = stand
    return (x + distance * math.sin(facing), height, z + distance * math.cos(facing))


def _support(stand: Stand, reading: Reading, wares: tuple[str, ...]) -> list[Piece]:
    place, facing, h, _ = stand
    if _lying(stand):
        marks: list[Mark] = box((0, 0, 0.1 * h), (0.95, 0.285 * h, 1.25 * h), turn=0.0)
        return [piece(moved(marks, place, facing), (place[0], 0, place[2] + 0.6))]
    if not _seated(stand):
        return []
    back = _before(stand, -0.06 * h)
    seat: list[Mark] = chair()
    if not reading.interior:
        seat = box((0, 0, 0), (0.5, _SEAT, 0.46))
    anchor = _before(stand, -0.06 * h - 0.3, 0.4)
    pieces = [piece(moved(seat, back, facing, h / 1.74), anchor, MIDGROUND)]
    if reading.at_table:
        front = _before(stand, 0.36 * h)
        marks = [*table(1.3, _TABLE), *moved(_wares(wares), (0, _TABLE, 0))]
        if reading.light in ("lamp", "candle") and wares is reading.wares:
            # On the side away from the camera, where it hides no face.
            side = -math.copysign(0.5, math.sin(facing))
            marks += moved(_LIGHTS[reading.light](), (side, _TABLE, 0.12))
        pieces.append(piece(moved(marks, front, facing), front))
    return pieces


def _counter(stand: Stand, wares: tuple[str, ...]) -> Piece:
    """A counter at the side to which someone looks, so that it hides nobody."""
    (x, _, z), facing, _, _ = stand
    side = math.copysign(1.0, math.sin(facing))
    at = (x + side * 0.86, 0.0, z + 0.05)
    size = 1.5 if wares == ("pot",) else 1.0
    near = (-side * 0.34, _COUNTER, 0.0)
    marks: list[Mark] = [
        *box((0, 0, 0), (1.3, _COUNTER - 0.06, 0.44)),
        *box((0, _COUNTER - 0.06, 0), (1.4, 0.06, 0.54), PALE),
        *moved(_wares(wares), near, 0.0, size),
    ]
    return piece(moved(marks, at), at)


def _door(stand: Stand) -> Piece:
    """A wall with an open door behind someone who has just come through it."""
    (x, _, z), facing, _, _ = stand
    marks: list[Mark] = []
    for left, right in ((-4.5, -0.62), (0.62, 4.5)):
        wall = points((left, 0, 0), (left, 3.4, 0), (right, 3.4, 0), (right, 0, 0))
        marks.append(Face(wall, "wall"))
    lintel = points((-0.62, 2.2, 0), (-0.62, 3.4, 0), (0.62, 3.4, 0), (0.62, 2.2, 0))
    hall = points((-0.62, 0, 0), (-0.62, 2.2, 0), (0.62, 2.2, 0), (0.62, 0, 0))
    marks += [Face(lintel, "wall"), Face(hall, "dark")]
    for u in (-0.68, 0.68):
        marks += box((u, 0, -0.02), (0.14, 2.24, 0.06), PALE)
    marks += box((0, 2.2, -0.02), (1.5, 0.14, 0.06), PALE)
    leaf = points((0.62, 0, 0), (0.62, 2.18, 0), (1.25, 2.18, -0.78), (1.25, 0, -0.78))
    marks.append(Face(leaf, "mid", 1.1))
    for low, high in ((0.2, 0.95), (1.15, 1.95)):
        rows = ((0.74, low, -0.15), (0.74, high, -0.15), (1.12, high, -0.62), (1.12, low, -0.62))
        marks.append(Face(points(*rows), "light", 0.8))
    return piece(moved(marks, (x, 0, z + 0.5), 0.12 * math.sin(facing)), (x, 1, z + 0.7))


def light_of(stands: Sequence[Stand], reading: Reading) -> tuple[Place | None, list[Piece]]:
    """Where the only light of a dark room is, if the words name one, and what gives it: the
    lamp, and a pool of light on the floor."""
    if not reading.light:
        return None, []
    at_table = bool(stands) and _seated(stands[0]) and reading.at_table
    x, _, z = stands[0][0] if stands else (0.0, 0.0, 0.8)
    if at_table:
        at = _before(stands[0], 0.5, 1.0)
    else:
        # Behind the back, out of the way of whatever someone handles.
        side = -math.copysign(1.0, math.sin(stands[0][1])) if stands else 1.0
        at = (x + 0.75 * side, 1.3, z + 0.5)
    pieces = [_pool(at, 2.1, "pool_edge", 19.0), _pool(at, 1.35, "pool", 18.5)]
    if not at_table and reading.light != "window":
        foot = (at[0], 0.0, at[2])
        marks = _LIGHTS[reading.light]()
        if reading.light == "lamp":
            marks = furniture_marks("lamp")
        elif reading.light == "candle":
            marks = [*table(0.6, _TABLE), *moved(marks, (0, _TABLE, 0))]
        pieces.append(piece(moved(marks, foot), (at[0], 0.5, at[2])))
    return at, pieces


def _pool(at: Place, radius: float, tone: str, behind: float) -> Piece:
    loop = ring((at[0], 0.003, at[2]), radius, 24, 0.8)
    return piece([Face(loop, tone)], (at[0], -1.2, at[2] + behind + 4.0), BACKGROUND)


def _desk_lamp() -> list[Mark]:
    return [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.09), (0.03, 0.08)), "dark")), 1.0),
        curve(points((0, 0.03, 0), (0.06, 0.3, 0), (-0.1, 0.44, 0)), 2.0),
        Mass(tuple(lathe((-0.12, 0.32, 0), ((0, 0.13), (0.14, 0.06)), "glow")), 1.0),
    ]


def _candle() -> list[Mark]:
    return [
        Mass(tuple(lathe((0, 0, 0), ((0, 0.06), (0.02, 0.06)), "dark")), 0.9),
        Mass(tuple(lathe((0, 0.02, 0), ((0, 0.022), (0.18, 0.02)), "paper")), 0.9),
        Mass((Part(points((0, 0.23, 0), (0, 0.3, 0)), np.array([0.024, 0.006]), "glow", False),)),
    ]


def _hearth() -> list[Mark]:
    flames = tuple(
        Part(points((u, 0.12, -0.3), (u * 0.8, top, -0.3)), np.array([0.13, 0.02]), "glow", False)
        for u, top in ((-0.22, 0.45), (0.0, 0.62), (0.2, 0.4))
    )
    mouth = points((-0.5, 0, -0.27), (-0.5, 0.8, -0.27), (0.5, 0.8, -0.27), (0.5, 0, -0.27))
    return [
        *box((0, 0, 0), (1.5, 1.15, 0.5)),
        *box((0, 1.15, 0), (1.7, 0.1, 0.6), PALE),
        Face(mouth, "deep", 1.1),
        Mass(flames, 0.8),
    ]


_LIGHTS = {"lamp": _desk_lamp, "candle": _candle, "fire": _hearth}


def _wares(names: tuple[str, ...]) -> list[Mark]:
    """Things side by side on the origin."""
    marks: list[Mark] = []
    for i, name in enumerate(names):
        place = ((i - (len(names) - 1) / 2) * 0.26, 0.0, -0.06 * (i % 2))
        marks += moved(_WARES[name](), place)
    return marks


def _steam(height: float, reach: float) -> list[Mark]:
    return [
        curve(
            points(
                (u, height, 0),
                (u + 0.04, height + reach * 0.35, 0),
                (u - 0.03, height + reach * 0.7, 0),
                (u + 0.03, height + reach, 0),
            ),
            1.6,
            "white",
        )
        for u in (-0.05, 0.02, 0.08)
    ]


def _pot() -> list[Mark]:
    rim = ring((0, 0.26, 0), 0.2)
    ears = [ball((u, 0.2, 0), 0.022, "dark") for u in (-0.215, 0.215)]
    return [
        Mass((*lathe((0, 0, 0), ((0, 0.17), (0.26, 0.2)), "mid"), *ears), 1.2),
        Face(rim, "deep"),
        *circle_lines(rim, 1.2),
        *_steam(0.3, 0.42),
    ]


def _bowl() -> list[Mark]:
    rim = ring((0, 0.08, 0), 0.105)
    body = lathe((0, 0, 0), ((0, 0.05), (0.08, 0.11)), "paper")
    return [Mass(tuple(body), 1.1), Face(rim, "glow"), *circle_lines(rim, 1.0), *_steam(0.1, 0.2)]


def _cup() -> list[Mark]:
    rim = ring((0, 0.12, 0), 0.04)
    body = lathe((0, 0, 0), ((0, 0.032), (0.12, 0.044)), "white")
    band = lathe((0, 0.04, 0), ((0, 0.039), (0.04, 0.042)), "wood_dark")
    return [Mass((*body, *band), 1.1), Face(rim, "deep")]


def _plate() -> list[Mark]:
    rim = ring((0, 0.02, 0), 0.12)
    return [Face(rim, "white", 1.0), Face(ring((0, 0.025, 0), 0.075), "light", 0.7)]


def _papers() -> list[Mark]:
    marks: list[Mark] = []
    for i, turn in enumerate((-0.3, 0.1, 0.4)):
        sheet = points((-0.1, 0, -0.14), (-0.1, 0, 0.14), (0.1, 0, 0.14), (0.1, 0, -0.14))
        rows = [line((-0.07, 0.002, v), (0.06, 0.002, v), 0.5) for v in (-0.08, -0.02, 0.04)]
        marks += moved([Face(sheet, "white", 0.9), *rows], (0, 0.004 * i, 0), turn)
    return marks


def _bottle() -> list[Mark]:
    profile = ((0, 0.04), (0.17, 0.04), (0.21, 0.014), (0.29, 0.014))
    return [Mass(tuple(lathe((0, 0, 0), profile, "leaf")), 1.1)]


_WARES = {
    "pot": _pot,
    "bowl": _bowl,
    "cup": _cup,
    "plate": _plate,
    "papers": _papers,
    "bottle": _bottle,
}
