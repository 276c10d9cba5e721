"""Shots of places, light in dark rooms, and what stands at the edge of the frame, measured."""

import dataclasses
import itertools

import numpy as np
import pytest

from stage_core.backends.previs.landmarks import LANDMARK_VIEWS, PLACE_VIEWS
from stage_core.backends.previs.layers import FOREGROUND
from stage_core.backends.previs.staging import stage_shot
from stage_core.backends.protocol import Sampling
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.frames import no_frames
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

from .figure_box import figure_box

TOWER = Scene("OFFICE TOWER", False, "DUSK")
HARBOUR = Scene("HARBOUR", False, "NIGHT")
OFFICE = Scene("OFFICE", True, "NIGHT")


def staged(description="", scene=TOWER, cast=(), size=(832, 480), **fields):
    shot = Shot("1", description=description, scene=scene, cast=cast, **fields)
    brief = ShotBrief(shot, FrameFormat(*size), MemoryPack(), no_frames(shot))
    return stage_shot(brief, Sampling(0))


def seen(shot, points, progress):
    """Where points lie, in frame heights from the picture's middle, and how far before the lens."""
    camera = shot.path.at(progress)
    before = camera.seen(np.array(points, dtype=float))
    return camera.picture(before), before[:, 2]


def grey(shot, progress):
    return shot.panel(progress).numpy().mean(axis=2)


@pytest.mark.parametrize("scale", [ShotScale.EXTREME_WIDE, ShotScale.WIDE], ids=lambda s: s.value)
@pytest.mark.parametrize(
    ("scene", "view"),
    [(TOWER, LANDMARK_VIEWS["tower"]), (HARBOUR, PLACE_VIEWS["harbour"])],
    ids=["tower", "harbour"],
)
def test_shot_of_a_place_shows_its_landmark_at_both_ends(scale, scene, view):
    x, _, z = view.at
    upright = [(x, height, z) for height in np.linspace(0, view.top, 13)]
    angles = [angle for angle in CameraAngle if angle is not CameraAngle.OVER_THE_SHOULDER]
    for angle, movement in itertools.product(angles, CameraMovement):
        shot = staged(scale=scale, angle=angle, movement=movement, scene=scene)
        for progress in (0.0, 1.0):
            places, depth = seen(shot, upright, progress)
            inside = (np.abs(places[:, 0]) < 0.86) & (np.abs(places[:, 1]) < 0.5) & (depth > 0)
            assert inside.any(), (angle, movement, progress)


@pytest.mark.parametrize("movement", ["tilt up", "tilt down"])
def test_tilt_on_a_tower_goes_between_its_foot_and_its_top(movement):
    shot = staged(
        "A tower.",
        scale=ShotScale.EXTREME_WIDE,
        angle=CameraAngle.LOW,
        movement=CameraMovement(movement),
    )
    x, _, z = LANDMARK_VIEWS["tower"].at
    ends = (0.0, 1.0) if movement == "tilt up" else (1.0, 0.0)
    foot = seen(shot, [(x, 0, z)], ends[0])[0][0, 1]
    top = seen(shot, [(x, LANDMARK_VIEWS["tower"].top, z)], ends[1])[0][0, 1]
    assert -0.5 < foot < -1 / 6
    assert 0.1 < top < 0.45


def test_words_put_a_landmark_into_an_open_place():
    field = Scene("FIELD", False, "DAY")
    fields = {"scene": field, "scale": ShotScale.EXTREME_WIDE}
    for landmark in ("house", "church", "castle", "lighthouse", "train"):
        named, empty = staged(f"A {landmark}.", **fields), staged("Nothing.", **fields)
        assert len(named.pieces) != len(empty.pieces)
        assert named.path != empty.path


@pytest.mark.parametrize("scene", [OFFICE, TOWER, HARBOUR], ids=lambda scene: scene.place)
@pytest.mark.parametrize("movement", ["dolly in", "dolly out", "pedestal up", "zoom in"])
def test_foreground_leaves_nine_tenths_of_the_breadth_free(scene, movement):
    shot = staged(
        "Maya waits.", scene, ("Maya",), scale=ShotScale.WIDE, movement=CameraMovement(movement)
    )
    shot = dataclasses.replace(shot, size=(416, 240))
    rest = tuple(piece for piece in shot.pieces if piece.layer != FOREGROUND)
    plain = dataclasses.replace(shot, pieces=rest)
    covered = [
        ((np.abs(grey(shot, p) - grey(plain, p)) > 12).mean(axis=0) > 0.25).mean()
        for p in (0.0, 1.0)
    ]
    assert 0 < max(covered) < 0.1


@pytest.mark.parametrize("scale", list(ShotScale)[:-1], ids=lambda scale: scale.value)
@pytest.mark.parametrize("movement", ["pedestal up", "pedestal down"])
def test_pedestal_keeps_the_subject_in_the_frame(scale, movement):
    shot = staged("Maya waits.", OFFICE, ("Maya",), scale=scale, movement=CameraMovement(movement))
    for progress in (0.0, 1.0):
        left, top, right, bottom = figure_box(shot, progress)
        assert top < 450 and bottom > 30 and left < 800 and right > 30


def test_people_hand_in_hand_walk_the_same_way():
    words = "Maya and Tom cross the street hand in hand."
    first, second = staged(words, TOWER, ("Maya", "Tom"), scale=ShotScale.WIDE).actors
    assert first.facing == second.facing and first.action.stride == second.action.stride > 0
    assert 0.3 < abs(first.position[0] - second.position[0]) < 0.8


def test_single_lamp_leaves_the_rest_of_the_room_dark():
    fields = {"scene": OFFICE, "cast": ("Maya",), "scale": ShotScale.WIDE}
    dark = staged("Maya writes at the desk by the light of a single lamp.", **fields)
    plain = staged("Maya writes at the desk.", **fields)
    assert dark.light is not None and plain.light is None
    a, b = grey(dark, 0.0), grey(plain, 0.0)
    assert a[:120].mean() < 0.75 * b[:120].mean()
    assert a.max() > 0.9 * b.max()


def test_doorway_shows_only_whom_the_words_name():
    fields = {"scene": OFFICE, "cast": ("Maya", "Tom"), "scale": ShotScale.MEDIUM}
    assert len(staged("Tom stops in the doorway.", **fields).actors) == 1
    assert len(staged("Tom stops.", **fields).actors) == 2
