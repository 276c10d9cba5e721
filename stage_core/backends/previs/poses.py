"""Gestures: where pelvis, chest, hands and feet of a figure are, and how one becomes another."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """Places in body heights, in the figure's own axes: x its right, y up, z where it faces.

    `chest` is the root of the neck. `look` turns the head to the right and up, `twist` the
    shoulders to the right, in radians.
    """

    pelvis: Point = (0.0, 0.53, 0.0)
    chest: Point = (0.0, 0.825, 0.005)
    hand_r: Point = (0.165, 0.50, 0.05)
    hand_l: Point = (-0.16, 0.505, 0.04)
    foot_r: Point = (0.075, 0.045, 0.03)
    foot_l: Point = (-0.065, 0.045, -0.02)
    look: tuple[float, float] = (0.0, 0.0)
    twist: float = 0.0


def between(a: Pose, b: Pose, share: float) -> Pose:
    """The pose `share` of the way from `a` to `b`."""

    def mixed(x, y):
        if isinstance(x, tuple):
            return tuple(mixed(u, v) for u, v in zip(x, y, strict=True))
        return x + (y - x) * share

    return Pose(**{f.name: mixed(getattr(a, f.name), getattr(b, f.name)) for f in fields(Pose)})


def mirrored(pose: Pose) -> Pose:
    """The pose with left and right exchanged."""

    def flip(point: Point) -> Point:
        return (-point[0], point[1], point[2])

    return Pose(
        flip(pose.pelvis),
        flip(pose.chest),
        flip(pose.hand_l),
        flip(pose.hand_r),
        flip(pose.foot_l),
        flip(pose.foot_r),
        (-pose.look[0], pose.look[1]),
        -pose.twist,
    )


def bend(
    root: np.ndarray, tip: np.ndarray, lengths: tuple[float, float], hint: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The middle joint and the reached tip of a two-bone limb that bends towards `hint`."""
    a, b = lengths
    reach = tip - root
    distance = float(np.linalg.norm(reach))
    limit = min(max(distance, abs(a - b) + 1e-6), (a + b) * 0.999)
    along = reach / max(distance, 1e-9)
    near = (a * a - b * b + limit * limit) / (2 * limit)
    out = hint - along * float(hint @ along)
    out = out / max(float(np.linalg.norm(out)), 1e-9)
    elbow = root + along * near + out * math.sqrt(max(a * a - near * near, 0.0))
    return elbow, root + along * limit


STAND = Pose()
EASY = Pose(
    pelvis=(0.018, 0.525, 0.0),
    chest=(-0.005, 0.82, 0.0),
    hand_r=(0.13, 0.53, 0.07),
    hand_l=(-0.17, 0.49, 0.03),
    foot_l=(-0.105, 0.045, 0.05),
)
POCKET = replace(EASY, hand_r=(0.115, 0.54, 0.04), hand_l=(-0.115, 0.545, 0.05))
CROSSED = replace(EASY, hand_r=(-0.06, 0.70, 0.115), hand_l=(0.07, 0.685, 0.12))
SIT = Pose(
    pelvis=(0.0, 0.29, -0.06),
    chest=(0.0, 0.585, -0.035),
    hand_r=(0.08, 0.345, 0.14),
    hand_l=(-0.08, 0.345, 0.13),
    foot_r=(0.075, 0.045, 0.22),
    foot_l=(-0.07, 0.045, 0.17),
)
KNEEL = Pose(
    pelvis=(0.0, 0.29, -0.03),
    chest=(0.0, 0.58, 0.01),
    hand_r=(0.10, 0.50, 0.24),
    hand_l=(-0.09, 0.33, 0.16),
    foot_r=(-0.07, 0.05, -0.27),
    foot_l=(-0.06, 0.045, 0.19),
    look=(0.0, 0.28),
)
WALK = Pose(
    pelvis=(0.0, 0.515, 0.0),
    chest=(0.0, 0.808, 0.035),
    hand_r=(0.15, 0.52, -0.13),
    hand_l=(-0.14, 0.55, 0.17),
    foot_r=(0.045, 0.045, 0.19),
    foot_l=(-0.045, 0.085, -0.2),
    twist=-0.2,
)
WALK_ON = mirrored(WALK)
RUN = Pose(
    pelvis=(0.0, 0.51, 0.0),
    chest=(0.0, 0.79, 0.11),
    hand_r=(0.12, 0.60, -0.16),
    hand_l=(-0.06, 0.72, 0.24),
    foot_r=(0.04, 0.16, 0.26),
    foot_l=(-0.04, 0.24, -0.31),
    look=(0.0, -0.05),
    twist=-0.35,
)
RUN_ON = mirrored(RUN)
POINT = replace(EASY, hand_r=(0.17, 0.83, 0.33), look=(0.2, 0.0), twist=-0.15)
REACH = Pose(
    pelvis=(0.0, 0.52, 0.0),
    chest=(0.0, 0.80, 0.07),
    hand_r=(0.08, 0.72, 0.36),
    hand_l=(-0.16, 0.50, 0.0),
    foot_r=(0.06, 0.045, 0.12),
    foot_l=(-0.06, 0.06, -0.10),
    twist=-0.2,
)
OFFER = replace(EASY, hand_r=(0.07, 0.66, 0.26), hand_l=(-0.04, 0.64, 0.24))
EMBRACE = Pose(
    chest=(0.0, 0.82, 0.035),
    hand_r=(0.06, 0.74, 0.21),
    hand_l=(-0.05, 0.66, 0.22),
    foot_r=(0.06, 0.045, 0.04),
    look=(0.35, -0.15),
)
HOLD = replace(EASY, hand_r=(0.05, 0.64, 0.18), hand_l=(-0.05, 0.635, 0.17), look=(0.0, -0.4))
LOOK_UP = replace(EASY, look=(0.15, 0.5))
LOOK_DOWN = replace(EASY, look=(0.05, -0.5), chest=(-0.003, 0.815, 0.02))
LOOK_BACK = replace(EASY, look=(1.15, 0.05), twist=0.45)
SHADE_EYES = replace(EASY, hand_r=(0.055, 0.925, 0.12), look=(0.1, 0.1))
ARMS_UP = Pose(hand_r=(0.2, 1.06, 0.05), hand_l=(-0.2, 1.08, 0.04), look=(0.0, 0.25))
WAVE = replace(EASY, hand_r=(0.21, 1.0, 0.1))
PHONE = replace(EASY, hand_r=(0.075, 0.895, 0.045), look=(0.1, -0.05))
DRINK = replace(EASY, hand_r=(0.03, 0.845, 0.12), look=(0.0, 0.12))
WEEP = replace(
    EASY,
    hand_r=(0.035, 0.875, 0.10),
    hand_l=(-0.035, 0.87, 0.10),
    look=(0.0, -0.45),
    chest=(0.0, 0.81, 0.03),
)
GASP = replace(
    STAND, hand_r=(0.015, 0.865, 0.105), hand_l=(-0.13, 0.56, 0.08), chest=(0, 0.822, -0.02)
)
THINK = replace(EASY, hand_r=(0.02, 0.85, 0.10), hand_l=(0.03, 0.62, 0.12), look=(0.1, -0.15))
TALK = replace(EASY, hand_r=(0.17, 0.66, 0.20), hand_l=(-0.13, 0.60, 0.15))
PUNCH = replace(
    REACH, hand_r=(0.03, 0.80, 0.34), hand_l=(-0.09, 0.74, 0.14), foot_l=(-0.08, 0.05, -0.16)
)
AIM = replace(
    STAND, hand_r=(0.03, 0.80, 0.31), hand_l=(-0.02, 0.79, 0.29), foot_l=(-0.11, 0.045, -0.08)
)
CROUCH = Pose(
    pelvis=(0.0, 0.24, -0.06),
    chest=(0.0, 0.49, 0.08),
    hand_r=(0.09, 0.32, 0.20),
    hand_l=(-0.09, 0.30, 0.20),
    foot_r=(0.08, 0.045, 0.06),
    foot_l=(-0.08, 0.06, -0.08),
    look=(0.0, 0.15),
)
BOW = replace(
    STAND,
    chest=(0.0, 0.74, 0.19),
    hand_r=(0.10, 0.45, 0.14),
    hand_l=(-0.1, 0.45, 0.14),
    look=(0, -0.7),
)
PRAY = replace(KNEEL, hand_r=(0.01, 0.55, 0.16), hand_l=(-0.01, 0.55, 0.16), look=(0.0, -0.35))
LIE = Pose(
    pelvis=(0.0, 0.32, 0.0),
    chest=(0.0, 0.36, -0.29),
    hand_r=(0.13, 0.36, 0.0),
    hand_l=(-0.03, 0.42, -0.12),
    foot_r=(0.06, 0.31, 0.46),
    foot_l=(-0.06, 0.31, 0.46),
    look=(0.0, 1.3),
)
SIT_WORK = replace(
    SIT,
    chest=(0.0, 0.575, 0.02),
    hand_r=(0.10, 0.44, 0.22),
    hand_l=(-0.09, 0.44, 0.21),
    look=(0, -0.25),
)
SIT_LEAN = replace(
    SIT, chest=(0.0, 0.58, 0.05), hand_r=(0.05, 0.42, 0.22), hand_l=(-0.05, 0.42, 0.21)
)
DANCE = Pose(
    pelvis=(0.03, 0.52, 0.0),
    chest=(-0.02, 0.81, 0.02),
    hand_r=(0.27, 0.86, 0.08),
    hand_l=(-0.26, 0.68, 0.12),
    foot_r=(0.04, 0.045, 0.03),
    foot_l=(-0.15, 0.09, -0.08),
    look=(-0.3, 0.1),
    twist=0.3,
)
CLIMB = Pose(
    chest=(0.0, 0.82, 0.05),
    hand_r=(0.11, 1.08, 0.16),
    hand_l=(-0.12, 0.86, 0.18),
    foot_r=(0.08, 0.07, 0.03),
    foot_l=(-0.08, 0.28, 0.18),
    look=(0.0, 0.5),
)


@dataclass(frozen=True)
class Action:
    """What a figure does in a shot: a pose at its start and at its end.

    `stride` is how far the figure moves ahead, in metres; `turn` how far it turns, in radians;
    `holds`: its right hand carries the prop of the shot.
    """

    start: Pose
    end: Pose
    stride: float = 0.0
    turn: float = 0.0
    holds: bool = False

    def pose(self, progress: float) -> Pose:
        """The pose at `progress` of the shot, from 0 to 1."""
        return between(self.start, self.end, progress)


ACTIONS: dict[str, Action] = {
    "stand": Action(STAND, replace(POCKET, look=(0.75, 0.05), twist=0.25)),
    "rise": Action(SIT, STAND),
    "sit down": Action(STAND, SIT),
    "sit": Action(SIT, SIT_LEAN),
    "work": Action(SIT_WORK, replace(SIT_WORK, hand_r=(0.14, 0.47, 0.18), look=(0.15, 0.0))),
    "kneel": Action(STAND, KNEEL, holds=True),
    "walk": Action(WALK, WALK_ON, stride=0.75),
    "run": Action(RUN, RUN_ON, stride=1.3),
    "point": Action(EASY, POINT),
    "reach": Action(EASY, REACH),
    "open": Action(EASY, REACH),
    "give": Action(HOLD, OFFER, holds=True),
    "embrace": Action(REACH, EMBRACE),
    "hold": Action(replace(HOLD, look=(0.1, 0.0)), HOLD, holds=True),
    "read": Action(HOLD, replace(HOLD, look=(0.2, 0.2)), holds=True),
    "look": Action(EASY, LOOK_BACK),
    "look up": Action(EASY, LOOK_UP),
    "look down": Action(EASY, LOOK_DOWN),
    "watch": Action(EASY, SHADE_EYES),
    "turn": Action(EASY, LOOK_BACK, turn=0.9),
    "raise": Action(EASY, ARMS_UP),
    "wave": Action(EASY, WAVE),
    "phone": Action(PHONE, replace(PHONE, look=(-0.3, 0.15), hand_l=(-0.12, 0.62, 0.1))),
    "drink": Action(replace(HOLD, look=(0.0, 0.0)), DRINK, holds=True),
    "weep": Action(LOOK_DOWN, WEEP),
    "gasp": Action(STAND, GASP),
    "think": Action(EASY, THINK),
    "talk": Action(EASY, TALK),
    "fight": Action(EASY, PUNCH, stride=0.3),
    "aim": Action(EASY, AIM, holds=True),
    "crouch": Action(STAND, CROUCH),
    "bow": Action(STAND, BOW),
    "pray": Action(KNEEL, PRAY),
    "lie": Action(LIE, replace(LIE, look=(0.5, 1.1))),
    "dance": Action(DANCE, mirrored(DANCE)),
    "climb": Action(CLIMB, mirrored(CLIMB)),
    "idle": Action(EASY, replace(EASY, look=(0.6, 0.05), twist=0.2, hand_r=(0.14, 0.62, 0.15))),
    "listen": Action(POCKET, replace(CROSSED, look=(0.35, -0.15))),
    "wait": Action(CROSSED, replace(POCKET, look=(-0.7, 0.05), twist=-0.2)),
}


def action_of(name: str) -> Action:
    """The action of this name; 'sit+read' does with the arms of a sitter what 'read' does."""
    seat, _, doing = name.partition("+")
    if not doing:
        return ACTIONS[seat]
    action = ACTIONS[doing]
    start, end = (_seated(pose) for pose in (action.start, action.end))
    return replace(action, start=start, end=end, stride=0.0, turn=0.0)


def _seated(pose: Pose) -> Pose:
    sunk = SIT.chest[1] - STAND.chest[1]

    def lowered(point: Point) -> Point:
        return (point[0], max(point[1] + sunk, 0.36), point[2] + 0.02)

    chest = (pose.chest[0], SIT.chest[1], pose.chest[2])
    return replace(
        SIT, chest=chest, hand_r=lowered(pose.hand_r), hand_l=lowered(pose.hand_l), look=pose.look
    )


SEATED = frozenset(("sit", "work", "rise", "sit down"))
