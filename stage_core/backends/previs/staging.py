"""A shot staged once: a place, people in it, a camera on its path; panels at any moment."""

from __future__ import annotations

import functools
import hashlib
import math
import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...story.brief import ShotBrief
from ...story.cinematography import CameraAngle, CameraMovement, ShotScale
from ...story.shot_list import Shot
from ..protocol import Grid, Sampling, drawing_seed
from . import drawing, foreground, inserts
from .camera import ARC, TRUCK, Camera, CameraPath
from .establishing import establishing_path
from .exteriors import exterior
from .figures import Body, Figure, body, draw_figure, shadow_of
from .framing import Subject, framing_of, set_up
from .furniture import in_the_way
from .interiors import ROOMS, interior
from .landmarks import view_of
from .layers import Piece, moved, piece
from .looks import Look, stranger
from .palette import Palette, darkened, name_number, palette_of
from .poses import SEATED, Action, action_of, between, mirrored
from .props import NATURAL_SIZE, prop_marks
from .reading import Reading, read_shot
from .supports import light_of, supports

GRID = Grid(area=832 * 480, multiple=32)
_RISING = ("pedestal", "tilt", "dolly")
_FARTHEST = 1.5**0.5
"""How much farther off a camera that dollies gets than it is in the middle of its way."""
_IDLE = ("stand", "idle", "listen", "wait", "talk", "look")


@dataclass(frozen=True)
class Actor:
    """A person with a place to stand, a facing in radians, and something to do."""

    look: Look
    position: tuple[float, float, float]
    facing: float
    action: Action
    prop: str = ""

    def at(self, share: float) -> Body:
        """The posed body when `share` of the action is done, from 0 to 1."""
        ahead = self.action.stride * (share - 0.5)
        x, y, z = self.position
        place = (x + ahead * math.sin(self.facing), y, z + ahead * math.cos(self.facing))
        facing = self.facing + self.action.turn * share
        return body(Figure(self.look, place, facing, self.action.pose(share)))


@dataclass(frozen=True, eq=False)
class StagedShot:
    """A shot laid out in space; `panel` draws it at any moment.

    `size` is (width, height). `pieces` do not change during the shot. `first_share` is how much
    of the action is done when the shot starts; `light` is where the only light of a dark room is.
    """

    size: tuple[int, int]
    palette: Palette
    path: CameraPath
    pieces: tuple[Piece, ...]
    actors: tuple[Actor, ...]
    hand: int
    far: float
    first_share: float = 0.0
    held: tuple[foreground.Held, ...] = ()
    light: tuple[float, float, float] | None = None

    def panel(self, progress: float) -> Tensor:
        """The picture at `progress`, 0 the start frame, 1 the end frame; [H, W, 3] uint8."""
        camera = self.path.at(progress)
        pieces = list(self.pieces)
        for who in self._bodies(progress):
            pieces.append(shadow_of(who))
            pieces.append(draw_figure(who, camera.position, self._head_pixels(who, camera)))
        pieces.extend(self._carried(progress))
        for held in self.held:
            pieces.extend(held.pieces(camera, progress))
        view = drawing.View(camera, self.palette, self.size, self.hand, self.far, self.light)
        return torch.from_numpy(drawing.draw_panel(pieces, view))

    def _share(self, progress: float) -> float:
        return self.first_share + (1 - self.first_share) * progress

    def _bodies(self, progress: float) -> list[Body]:
        return [actor.at(self._share(progress)) for actor in self.actors]

    def _head_pixels(self, who: Body, camera: Camera) -> float:
        depth = max(float(camera.seen(who.head)[2]), 0.1)
        return 2 * who.head_radius * camera.focal * self.size[1] / depth

    def _carried(self, progress: float) -> list[Piece]:
        pieces = []
        for actor in self.actors:
            if not actor.prop:
                continue
            who = actor.at(self._share(progress))
            palm = who.joints["hand_r"] * 0.5 + who.joints["hand_l"] * 0.5
            if np.linalg.norm(who.joints["hand_r"] - who.joints["hand_l"]) > 0.3:
                palm = who.joints["hand_r"]
            ahead = np.array([math.sin(actor.facing), 0.3, math.cos(actor.facing)])
            marks = prop_marks(actor.prop, progress)
            size = NATURAL_SIZE[actor.prop] * 1.25
            at = palm + ahead * 0.05
            # Sorted a little before its bearer, whom it stands in front of.
            pieces.append(piece(moved(marks, at, actor.facing + math.pi, size), at + ahead * 0.2))
        return pieces


def stage_shot(brief: ShotBrief, sampling: Sampling) -> StagedShot:
    """The shot of the brief laid out in space: a pure function of the fields that the sketch
    reads, of the film's aspect and of the seeds."""
    shot = brief.shot
    reading = read_shot(shot, brief.members)
    size = GRID.size(brief.frame_format)
    palette = palette_of(reading.kind, reading.time, reading.interior)
    rng = random.Random(drawing_seed(shot, sampling))
    if shot.scale is ShotScale.INSERT:
        return _stage_insert(shot, reading, size, palette, rng)
    return _Stage(shot, reading, size, palette, rng).staged(_place_seed(shot, reading, sampling))


def _place_seed(shot: Shot, reading: Reading, sampling: Sampling) -> int:
    """Equal for all shots of a place, whatever the hour, so that it keeps its layout."""
    place = " ".join(shot.scene.place[:4000].casefold().split()) or reading.kind
    text = f"{sampling.seed} {place} {reading.interior}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


@functools.lru_cache(maxsize=4)
def _set(kind: str, indoors: bool, time: str, seed: int, landmark: str) -> tuple[Piece, ...]:
    return tuple(interior(kind, seed) if indoors else exterior(kind, time, seed, landmark))


def _stage_insert(
    shot: Shot, reading: Reading, size: tuple[int, int], palette: Palette, rng: random.Random
) -> StagedShot:
    lead = reading.look(0) if reading.named and reading.people else None
    held = inserts.Insert(reading.prop or "box", lead, reading.by_hand or bool(lead), shot.drawing)
    azimuth = rng.choice((-0.22, 0.22)) * (-1) ** shot.drawing
    camera = inserts.insert_camera(shot.angle, azimuth)
    breadth = inserts.EXTENT * size[0] / size[1]
    path = CameraPath(camera, inserts.TARGET, shot.movement, breadth, inserts.EXTENT)
    pieces = tuple(inserts.table_top(reading, rng))
    if reading.light:
        pieces += inserts.pool_of_light()
    return StagedShot(size, palette, path, pieces, (), rng.randrange(256), 60.0, 0.0, (held,))


class _Stage:
    """Puts people and the camera of one shot into a place."""

    def __init__(
        self,
        shot: Shot,
        reading: Reading,
        size: tuple[int, int],
        palette: Palette,
        rng: random.Random,
    ):
        self._shot, self._reading, self._size = shot, reading, size
        self._palette, self._rng = palette, rng
        self._aspect = size[0] / size[1]
        self._framing = framing_of(shot.scale, reading.interior, self._aspect)
        self._side = 1 if shot.drawing % 2 else -1

    def staged(self, place_seed: int) -> StagedShot:
        shot, reading = self._shot, self._reading
        variation = random.Random(place_seed + 1009 * shot.drawing + len(shot.scale.value))
        azimuth = self._azimuth(variation)
        actors, partner = self._cast(azimuth)
        path = self._path(actors, azimuth)
        place = _set(reading.kind, reading.interior, reading.time, place_seed, reading.landmark)
        pieces = [p for p in place if not (reading.interior and in_the_way(p, path))]
        stands = [(a.position, a.facing, a.look.height, a.action) for a in actors]
        pieces.extend(supports(stands, reading, self._framing.extent))
        light, lit = light_of(stands, reading)
        pieces.extend(lit)
        if not self._establishes(actors):
            pieces.extend(self._foreground(path, variation))
        moving = shot.movement not in (CameraMovement.STATIC, CameraMovement.HANDHELD)
        return StagedShot(
            self._size,
            darkened(self._palette) if light else self._palette,
            path,
            tuple(pieces),
            tuple(actors),
            self._rng.randrange(256),
            34.0 if reading.interior else 150.0,
            0.55 if moving and not any(a.action.stride for a in actors) else 0.0,
            self._held(partner),
            light,
        )

    def _path(self, actors: list[Actor], azimuth: float) -> CameraPath:
        shot, extent = self._shot, self._framing.extent
        if self._establishes(actors):
            view = view_of(self._reading.kind, self._reading.landmark)
            lens = (shot.scale, shot.angle, self._aspect)
            return establishing_path(view, lens, shot.movement, azimuth)
        subject = self._subject(actors)
        camera = self._composed(set_up(self._framing, shot.angle, subject, azimuth), actors)
        aim = subject.at(camera.position[1] if not camera.pitch else subject.top - extent / 3)
        breadth, sweep = extent * self._aspect, None
        if self._reading.interior and shot.movement.kind == "truck":
            breadth = min(breadth, 4 * self._half_room())
        if self._reading.interior and shot.movement.kind == "arc":
            sweep = min(ARC, 2 * self._most_aside())
        return CameraPath(camera, aim, shot.movement, breadth, extent, sweep)

    def _establishes(self, actors: list[Actor]) -> bool:
        """Whether the shot is about its open place."""
        wide = self._shot.scale in (ShotScale.EXTREME_WIDE, ShotScale.WIDE)
        past = self._shot.angle is CameraAngle.OVER_THE_SHOULDER
        return wide and not (actors or past or self._reading.interior)

    def _azimuth(self, variation: random.Random) -> float:
        """How far round the camera stands; the same in all shots of a scene of equal scale."""
        angle = math.radians(variation.choice((9, 14, 20, 26))) * variation.choice((-1, 1))
        if self._reading.kind in ("street", "corridor", "train", "market", "church"):
            angle *= 0.45
        if self._reading.interior:
            most = self._most_aside()
            if self._shot.movement.kind == "arc":
                most -= min(ARC / 2, most)
            angle = max(-most, min(most, angle))
        return angle

    def _most_aside(self) -> float:
        """How far round the camera may come to stay between the side walls."""
        kind, wide = self._shot.movement.kind, self._half_room()
        reach = self._framing.extent * self._framing.focal
        if kind == "dolly":
            reach *= _FARTHEST
        if kind == "truck":
            wide -= TRUCK / 2 * min(self._framing.extent * self._aspect, 4 * wide)
        return math.asin(min(1.0, wide / reach))

    def _half_room(self) -> float:
        return ROOMS[self._reading.kind].width / 2 - 0.5

    def _cast(self, azimuth: float) -> tuple[list[Actor], Look | None]:
        """The people before the camera, the lead first, and the one it looks past or from."""
        people = [
            (self._reading.look(i), action) for i, (_, action) in enumerate(self._reading.people)
        ]
        partner = None
        if self._shot.angle in (CameraAngle.OVER_THE_SHOULDER, CameraAngle.POINT_OF_VIEW):
            partner = people.pop(1)[0] if len(people) > 1 else None
        places = self._places(len(people))
        return [
            self._actor(i, person, place, azimuth)
            for i, (person, place) in enumerate(zip(people, places, strict=True))
        ], partner

    def _places(self, count: int) -> list[tuple[float, float]]:
        """Where the people stand: the lead in the middle of the closer scales."""
        if count < 2:
            return [(0.0, 0.0)] * count
        gap = self._framing.spacing
        if any(action == "embrace" for _, action in self._reading.people):
            gap = 0.34
        if self._reading.together and self._walk():
            gap = 0.62
        close = self._framing.extent < 0.5 and gap > 0.4
        row = [((i - (count - 1) / 2) * gap * self._order(), 0.16 * (i % 2)) for i in range(count)]
        if not close:
            return row
        beside = (
            (0.42, 0.55),
            (-0.48, 0.8),
            (0.9, 1.1),
            (-0.95, 1.2),
            (1.3, 1.6),
            (-1.4, 1.7),
            (0.1, 2.2),
        )
        return [(0.0, 0.0), *((x * self._order(), z) for x, z in beside[: count - 1])]

    def _walk(self) -> bool:
        """Whether somebody goes somewhere."""
        return any(action_of(name or "idle").stride for _, name in self._reading.people)

    def _order(self) -> int:
        """Which side the first of the cast takes: lasting, so that screen direction holds."""
        names = [name for name, _ in self._reading.people]
        numbers = [name_number(name, "side") for name in names[:2]]
        return self._side * (1 if numbers == sorted(numbers) else -1)

    def _actor(
        self, index: int, person: tuple[Look, str], place: tuple[float, float], azimuth: float
    ) -> Actor:
        look, name = person
        x, z = place
        action = action_of(name or self._rng.choice(_IDLE))
        if self._rng.random() < 0.5 and not action.holds and name.partition("+")[0] not in SEATED:
            action = replace(action, start=mirrored(action.start), end=mirrored(action.end))
        count = len(self._reading.people)
        ahead = -1 if x > 0.01 else 1
        if abs(x) < 0.01:
            ahead = self._side * self._rng.choice((-1, 1))
        angle = 0.62 if count == 1 else 0.85
        if action.stride or name in ("embrace", "fight", "give"):
            angle = 1.2
        if self._shot.movement.kind == "truck" and action.stride:
            ahead, angle = (1 if self._shot.movement.direction == "right" else -1), 1.5
        if self._reading.together and self._walk():
            # All go one way, towards the camera or away from it, next to each other.
            ahead, angle = self._side, 0.35
        if self._framing.extent < 0.5:
            angle = min(angle, 1.6 * self._framing.extent)
        if self._shot.angle in (CameraAngle.OVER_THE_SHOULDER, CameraAngle.POINT_OF_VIEW):
            angle = 0.1
        facing = math.pi - ahead * angle - azimuth
        if self._reading.away:
            facing = -azimuth + ahead * 0.3
        if action.stride:
            action = replace(action, stride=self._stride(action.stride, facing + azimuth))
        if self._shot.scale is ShotScale.EXTREME_CLOSE_UP:
            action = replace(action, end=between(action.start, action.end, 0.35))
        prop = self._reading.prop if action.holds and index == 0 else ""
        return Actor(look, (x, 0.0, z), facing, action, prop if prop in NATURAL_SIZE else "")

    def _stride(self, stride: float, facing: float) -> float:
        """The way that somebody goes: so far that the close scales do not lose the face."""
        if self._shot.scale in (ShotScale.CLOSE_UP, ShotScale.EXTREME_CLOSE_UP):
            return 0.0
        if self._framing.extent > 0.7:
            return stride
        breadth = self._framing.extent * self._aspect
        return min(stride, 0.35 * breadth / max(abs(math.sin(facing)), 0.01))

    def _subject(self, actors: list[Actor]) -> Subject:
        if not actors:
            return Subject(1.74, 0.0, (0.0, 0.0 if self._reading.interior else 5.0))
        # A figure that sits or kneels by the end is framed where it ends.
        ends = [actor.at(1.0) for actor in actors]
        tops = [float(end.bounds()[:, 1].max()) for end in ends]
        if self._framing.extent < 0.7:
            return Subject(tops[0], 0.0, (float(ends[0].head[0]), float(ends[0].head[2])))
        middle = sum(actor.position[0] for actor in actors) / len(actors)
        return Subject(max(tops), 0.0, (middle, 0.0))

    def _composed(self, camera: Camera, actors: list[Actor]) -> Camera:
        """The subject off the middle, with room to look into."""
        if self._shot.angle is CameraAngle.OVER_THE_SHOULDER:
            return replace(camera, shift=(0.16 * self._side * self._aspect / 1.73, camera.shift[1]))
        if len(actors) != 1 or self._shot.angle in (
            CameraAngle.OVERHEAD,
            CameraAngle.POINT_OF_VIEW,
        ):
            return camera
        # Positive when the figure looks to the right of the picture.
        looking = math.sin(actors[0].facing - camera.yaw)
        share = 0.2 if self._framing.extent > 3 else 0.1 if self._framing.extent > 0.3 else 0.03
        shift = -math.copysign(share * min(self._aspect, 1.8), looking)
        return replace(camera, shift=(shift, camera.shift[1]))

    def _foreground(self, path: CameraPath, variation: random.Random) -> list[Piece]:
        wide = self._framing.extent > 1.2
        moving = self._shot.movement.kind in ("truck", "arc", "pedestal", "dolly")
        plain = self._shot.angle in (
            CameraAngle.OVERHEAD,
            CameraAngle.OVER_THE_SHOULDER,
            CameraAngle.POINT_OF_VIEW,
        )
        close = self._framing.extent < 0.9
        if plain or close or self._shot.movement.kind == "pan" or not (wide or moving):
            return []
        side = -1 if path.middle.shift[0] > 0 else 1
        kind = self._shot.movement.kind
        shape = "low" if kind in ("truck", "arc") else "tall" if kind in _RISING else "side"
        # Whoever shows their feet near the lower edge would lose them behind it.
        if shape == "low" and self._framing.feet is not None and self._framing.feet < 0.1:
            return []
        return foreground.frame(self._reading, path, (side, shape, self._aspect), variation)

    def _held(self, partner: Look | None) -> tuple[foreground.Held, ...]:
        held: list[foreground.Held] = []
        if self._shot.angle is CameraAngle.OVER_THE_SHOULDER:
            look = partner or stranger("someone", 0)
            held.append(foreground.Shoulder(look, -self._side, self._framing, self._aspect))
        if self._shot.angle is CameraAngle.POINT_OF_VIEW:
            held.append(foreground.OwnHands(partner, self._aspect, self._shot.drawing))
        if self._reading.weather in ("rain", "snow") and not self._reading.interior:
            held.append(foreground.Weather(self._reading.weather, self._aspect))
        return tuple(held)
