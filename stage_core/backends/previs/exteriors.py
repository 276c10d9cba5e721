"""Open places: sky, far shapes, ground with perspective, and what stands on it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np

from .landmarks import View, boat, landmark_piece, lanterns, quay, view_of
from .landscape import (
    HORIZON,
    bare_tree,
    building,
    car,
    cloud,
    fence,
    fir,
    lamp_post,
    path,
    ridge,
    rock,
    sail,
    stall,
    tree,
    tufts,
    waves,
)
from .layers import (
    BACKGROUND,
    MIDGROUND,
    SKY,
    WOOD,
    Coat,
    Face,
    Mark,
    Mass,
    Part,
    Piece,
    box,
    curve,
    line,
    moved,
    piece,
    points,
    ring,
)


def exterior(kind: str, time: str, seed: int, landmark: str = "") -> list[Piece]:
    """The pieces of an open place of this kind, with its landmark if it has one; the same seed
    gives the same place."""
    rng = random.Random(seed)
    sky = piece(_sky(kind, time, rng), (0, 0, 3000), SKY)
    pieces = [sky, *_PLACES[kind](rng)]
    if landmark:
        # What is low and long is not hidden by a few trees.
        if kind != "street" and landmark != "train":
            pieces = [item for item in pieces if not _hides(item, view_of(kind, landmark))]
        pieces.append(landmark_piece(landmark, random.Random(seed)))
    return pieces


def _hides(item: Piece, view: View) -> bool:
    """Whether something near stands before the landmark."""
    x, _, z = item.anchor
    breadth = 2.0 + 0.2 * view.extent
    return item.layer == MIDGROUND and 2 < z < view.at[2] + 8 and abs(x - view.at[0]) < breadth


def _sky(kind: str, time: str, rng: random.Random) -> list[Mark]:
    far = HORIZON
    low = points((-9 * far, -60, far), (-9 * far, 95, far), (9 * far, 95, far), (9 * far, -60, far))
    marks: list[Mark] = [Face(low, "low_sky")]
    if kind == "space" or time == "night":
        for _ in range(60):
            x, y = rng.uniform(-800, 800), rng.uniform(90, 620)
            marks.append(
                Mass(
                    (
                        Part(
                            points((x, y, far)),
                            np.array([rng.choice((0.8, 1.2, 1.8))]),
                            "white",
                            False,
                        ),
                    ),
                    0.0,
                )
            )
    x, y = rng.choice((-1, 1)) * rng.uniform(150, 320), {"day": 330, "night": 280}.get(time, 70)
    if time != "day" or kind in ("desert", "space"):
        marks.append(Mass((Part(points((x, y, far)), np.array([30.0]), "glow", False),), 0.9))
    if kind == "space":
        marks.append(Mass((Part(points((-x, 240, far)), np.array([120.0]), "mid"),), 1.0))
        return marks
    for i in range(5):
        middle = (i - 2) * 300 + rng.uniform(-90, 90)
        marks.append(cloud(middle, rng.uniform(170, 330), rng))
    return marks


def _ground(tone: str = "ground", lines: Iterable[Mark] = ()) -> Piece:
    far = HORIZON
    face = points((-9 * far, 0, -90), (-9 * far, 0, far), (9 * far, 0, far), (9 * far, 0, -90))
    edge = line((-3 * far, 0, far * 0.98), (3 * far, 0, far * 0.98), 0.9)
    return piece([Face(face, tone), edge, *lines], (0, -50, 500), BACKGROUND)


def _strip(x0: float, x1: float, tone: str, weight: float = 0.0, y: float = 0.0) -> list[Mark]:
    face = points((x0, y, -60), (x0, y, 400), (x1, y, 400), (x1, y, -60))
    return (
        [Face(face, tone), line(face[0], face[1], weight), line(face[3], face[2], weight)]
        if weight
        else [Face(face, tone)]
    )


def _scatter(
    rng: random.Random, count: int, near: float, far: float, clear: float
) -> Iterable[tuple[float, float, float]]:
    """Places on the ground, none of them between the camera and the middle of the scene."""
    for _ in range(count):
        z = near + (far - near) * rng.random()
        x = rng.uniform(clear, clear + 0.35 * abs(z) + 7.0) * rng.choice((-1, 1))
        yield (x, 0.0, z)


def _forest(rng: random.Random) -> Iterable[Piece]:
    yield _ground("ground", [*path(1.3, rng), *tufts(rng, 46)])
    yield ridge(rng, 90, 26, "mid", sharp=False)
    for i, at in enumerate(_scatter(rng, 34, 2.5, 42, 2.3)):
        yield (tree if i % 3 else fir)(at, rng.uniform(6, 10), rng)
    for at in _scatter(rng, 8, -9, 1.0, 3.2):
        yield tree(at, rng.uniform(7, 9), rng)
    yield rock((rng.choice((-2.0, 2.0)), 0, 1.8), 0.8, rng)


def _field(rng: random.Random) -> Iterable[Piece]:
    yield _ground("ground", [*path(1.0, rng), *tufts(rng, 60)])
    yield ridge(rng, 260, 42, "mid", sharp=False)
    yield ridge(rng, 130, 13, "leaf", sharp=False)
    side = rng.choice((-1, 1))
    yield tree((side * 4.2, 0, 5.0), 5.6, rng)
    for at in _scatter(rng, 9, 18, 70, 6.0):
        yield tree(at, rng.uniform(4, 7), rng)
    yield from fence(-side * 3.4)


def _street(rng: random.Random) -> Iterable[Piece]:
    road = [
        *_strip(-3.6, 3.6, "mid", 1.3),
        *_strip(-3.9, -3.6, "paper", 0.7),
        *_strip(3.6, 3.9, "paper", 0.7),
    ]
    for i in range(26):
        z = -14 + 4.0 * i
        dash = points((-0.08, 0, z), (-0.08, 0, z + 2.0), (0.08, 0, z + 2.0), (0.08, 0, z))
        road.append(Face(dash, "paper"))
    for i in range(24):
        z = -12 + 2.2 * i
        road += [line((s * 3.9, 0, z), (s * 7.5, 0, z), 0.6) for s in (-1, 1)]
    yield _ground("light", road)
    for sign in (-1, 1):
        z = -16.0
        while z < 75:
            deep, wide, tall = rng.uniform(7, 11), rng.uniform(8, 12), rng.uniform(8, 19)
            yield building(
                (sign * (7.6 + wide / 2), 0, z + deep / 2), (wide, tall, deep - 0.2), rng
            )
            z += deep
    for i in range(7):
        yield building((-36 + 12 * i, 0, 96), (11, rng.uniform(16, 40), 8), rng)
    for z in (-5.0, 7.0, 19.0, 31.0):
        yield lamp_post((-4.3 if rng.random() < 0.5 else 4.3, 0, z))
    for z, sign in ((4.5, 1), (11.0, -1), (17.5, 1), (26.0, -1)):
        yield car((sign * 2.7, 0, z + rng.uniform(-1, 1)))


def _market(rng: random.Random) -> Iterable[Piece]:
    yield _ground(
        "light",
        [line((-30, 0, -10 + 1.6 * i), (30, 0, -10 + 1.6 * i), 0.6) for i in range(22)]
        + [line((-12 + 1.6 * i, 0, -12), (-12 + 1.6 * i, 0, 60), 0.6) for i in range(16)],
    )
    for sign in (-1, 1):
        for i in range(8):
            yield stall((sign * rng.uniform(3.2, 3.7), 0, -6.5 + 3.4 * i), sign, rng)
    for i in range(4):
        z = 2.5 + 6.0 * i
        yield piece(lanterns((-2.6, 3.3, z), (2.6, 3.3, z + 0.6), 7), (0, 3, z))
    for i in range(6):
        yield building((-28 + 11 * i, 0, 34), (10.5, rng.uniform(8, 14), 8), rng)
    yield from (
        piece(box((x, 0, z), (0.6, 0.5, 0.5)), (x, 0, z)) for x, z in ((-2.1, 2.6), (2.3, 3.4))
    )


def _beach(rng: random.Random) -> Iterable[Piece]:
    xs = np.linspace(-60, 60, 13)
    shore = np.stack([xs, 0 * xs, 6.5 + np.sin(xs / 6 + rng.uniform(0, 6)) * 1.1], axis=1)
    line_of = curve(shore).points
    far = points((900, 0, HORIZON), (-900, 0, HORIZON))
    foam = [curve(shore + np.array([0, 0, d]), w) for d, w in ((0.0, 1.2), (1.3, 0.8))]
    yield _ground(
        "pale",
        [
            Face(np.concatenate([line_of, far]), "water"),
            *foam,
            *waves(rng, 8.5, 13),
            *tufts(rng, 8),
        ],
    )
    yield ridge(rng, 500, 60, "mid", sharp=False) if rng.random() < 0.5 else sail((120, 0, 300))
    for at in _scatter(rng, 5, -4, 5, 3.0):
        yield rock(at, rng.uniform(0.5, 1.1), rng)


def _sea(rng: random.Random) -> Iterable[Piece]:
    yield _ground("water", waves(rng, 3.0, 17))
    yield sail((rng.choice((-1, 1)) * 60, 0, 170))
    deck: list[Mark] = [*box((0, -0.6, -5.5), (5.2, 0.6, 16.0), WOOD)]
    deck += [
        line((-2.6, 0.01, -13 + 0.55 * i), (2.6, 0.01, -13 + 0.55 * i), 0.8) for i in range(28)
    ]
    yield piece(deck, (0, -25, 30), BACKGROUND)
    for x in (-2.5, 2.5):
        for i in range(5):
            z = 2.3 - 3.2 * i
            post = Part(points((x, -0.5, z), (x, 0.95, z)), np.array([0.13, 0.12]), "dark")
            yield piece(
                [
                    Mass((post,), 1.1),
                    curve(points((x, 0.85, z), (x, 0.5, z - 1.6), (x, 0.85, z - 3.2)), 1.4),
                ],
                (x, 0, z),
            )


def _harbour(rng: random.Random) -> Iterable[Piece]:
    far = HORIZON
    yield _ground("water", ())
    # Nearer water has less haze over it: flat bands, as a marker lays them.
    for z, anchor in ((210.0, 160), (70.0, 85)):
        band = points((-9 * far, 0, -90), (-9 * far, 0, z), (9 * far, 0, z), (9 * far, 0, -90))
        marks: list[Mark] = [Face(band, "water")]
        yield piece(
            marks + ([*waves(rng, -6.0, 16)] if z < 100 else []), (0, -50, anchor), BACKGROUND
        )
    yield ridge(rng, 300, 40, "mid", sharp=False)
    wall = [*box((0, -0.5, 44), (150, 1.0, 30), Coat("light", "dark", "mid"))]
    yield piece(wall, (0, -25, 60), BACKGROUND)
    deck: list[Mark] = [*box((0, -0.6, 7.0), (4.4, 0.6, 44.0), WOOD)]
    deck += [
        line((-2.2, 0.01, -14.5 + 0.6 * i), (2.2, 0.01, -14.5 + 0.6 * i), 0.7) for i in range(72)
    ]
    yield piece(deck, (0, -25, 40), BACKGROUND)
    for x, z in ((x, 2.5 + 6.5 * i) for x in (-2.1, 2.1) for i in range(-2, 4)):
        post = Part(points((x, -0.5, z), (x, 0.8, z)), np.array([0.15, 0.14]), "dark")
        yield piece([Mass((post,), 1.1)], (x, 0, z))
    for i in range(7):
        side, z = (-1) ** i, 4.5 + 2.8 * i + rng.uniform(-0.5, 0.5)
        at = (side * (4.0 + (2.6 if i % 3 == 2 else 0.0)), -0.25, z)
        yield piece(moved(boat(rng.uniform(4.6, 6.2)), at, rng.uniform(-0.2, 0.2), 1.1), at)
    yield from quay(29.0, rng)
    for i in range(11):
        tall = rng.uniform(6, 11)
        yield building((-52 + 10.4 * i, 0.5, 44), (10.0, tall, 8), rng)


def _desert(rng: random.Random) -> Iterable[Piece]:
    ripples = []
    for i in range(24):
        z, x, w = -7 + 1.25 * i, rng.uniform(-9, 9), rng.uniform(1.5, 5)
        ripples.append(
            curve(points((x - w, 0, z), (x, 0, z + rng.uniform(-0.5, 0.5)), (x + w, 0, z)), 0.8)
        )
    yield _ground("ground", ripples)
    yield ridge(rng, 320, 52, "mid", sharp=True)
    yield ridge(rng, 120, 13, "light", sharp=False)
    yield ridge(rng, 55, 5, "pale", sharp=False)
    for at in _scatter(rng, 7, 0, 26, 3.0):
        yield rock(at, rng.uniform(0.4, 1.3), rng)


def _snow(rng: random.Random) -> Iterable[Piece]:
    tracks = [
        line((0.16 * (-1) ** i, 0, -9 + 0.7 * i), (0.16 * (-1) ** i, 0, -8.7 + 0.7 * i), 1.4)
        for i in range(40)
    ]
    drifts = [
        curve(points((x - 5, 0, z), (x, 0.25, z + 0.5), (x + 5, 0, z)), 0.8)
        for x, z in ((rng.uniform(-16, 16), rng.uniform(-6, 30)) for _ in range(16))
    ]
    yield _ground("paper", [*tracks, *drifts])
    yield ridge(rng, 300, 95, "light", sharp=True)
    yield bare_tree((rng.choice((-1, 1)) * 4.0, 0, 5.0), 6.0, rng)
    for at in _scatter(rng, 18, 6, 50, 4.0):
        yield fir(at, rng.uniform(4, 8), rng)


def _mountain(rng: random.Random) -> Iterable[Piece]:
    yield _ground("ground", [*path(0.9, rng), *tufts(rng, 30)])
    yield ridge(rng, 420, 210, "light", sharp=True)
    yield ridge(rng, 200, 70, "mid", sharp=True)
    for at in _scatter(rng, 16, -3, 34, 2.6):
        yield rock(at, rng.uniform(0.6, 2.2), rng)
    for at in _scatter(rng, 7, 12, 44, 6.0):
        yield fir(at, rng.uniform(4, 7), rng)


def _space(rng: random.Random) -> Iterable[Piece]:
    craters: list[Mark] = []
    for _ in range(20):
        x, z, r = rng.uniform(-22, 22), rng.uniform(-8, 44), rng.uniform(0.4, 2.4)
        rim = ring((x, 0, z), r)
        craters += [Face(rim, "mid"), curve(rim[:11], 1.2), curve(rim[10:], 0.8)]
    yield _ground("light", craters)
    yield ridge(rng, 260, 48, "mid", sharp=True)
    for at in _scatter(rng, 11, -3, 26, 2.6):
        yield rock(at, rng.uniform(0.4, 1.4), rng, "light")


_PLACES: dict[str, Callable[[random.Random], Iterable[Piece]]] = {
    "forest": _forest,
    "field": _field,
    "street": _street,
    "market": _market,
    "beach": _beach,
    "sea": _sea,
    "harbour": _harbour,
    "desert": _desert,
    "snow": _snow,
    "mountain": _mountain,
    "space": _space,
}
