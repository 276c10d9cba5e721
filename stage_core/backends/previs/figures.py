"""People: a skeleton in a pose, clothed in masses; silhouette and gesture instead of faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .heads import draw_head
from .layers import (
    BACKGROUND,
    FOREGROUND,
    Face,
    Mark,
    Mass,
    Part,
    Piece,
    curve,
    limb,
    piece,
    ring,
)
from .looks import Look
from .palette import mix
from .poses import Pose, bend

WEIGHT = 1.7
UPPER_ARM, FOREARM = 0.165, 0.15
THIGH = SHIN = 0.25


@dataclass(frozen=True)
class Figure:
    """One person: who, where the feet stand, facing (radians, 0 away from the camera's usual
    place, pi towards it), and the pose in body heights. `dark`: a silhouette close to the lens.
    """

    look: Look
    position: tuple[float, float, float]
    facing: float
    pose: Pose
    dark: bool = False


@dataclass(frozen=True, eq=False)
class Body:
    """Joints of a posed figure in world space; right, up and forward are the head's axes."""

    figure: Figure
    joints: dict[str, np.ndarray]
    right: np.ndarray
    up: np.ndarray
    forward: np.ndarray

    @property
    def head(self) -> np.ndarray:
        """Middle of the head."""
        return self.joints["head"]

    @property
    def head_radius(self) -> float:
        """Half the height of the head, in metres."""
        return 0.073 * self.figure.look.height * (1.2 if self.figure.look.child else 1.0)

    def bounds(self) -> np.ndarray:
        """Points that bound the figure, [N, 3]."""
        reach = self.up * self.head_radius
        return np.stack([self.head + reach, self.head - reach, *self.joints.values()])


def body(figure: Figure) -> Body:
    """The joints of the figure in its pose."""
    pose = figure.pose
    pelvis, chest = np.array(pose.pelvis), np.array(pose.chest)
    spine = chest - pelvis
    spine = spine / np.linalg.norm(spine)
    across = np.array([math.cos(pose.twist), 0, -math.sin(pose.twist)])
    across = across - spine * float(across @ spine)
    across = across / np.linalg.norm(across)
    front = np.cross(across, spine)
    local = {"pelvis": pelvis, "chest": chest}
    for side, sign, hand, foot in (
        ("r", 1.0, pose.hand_r, pose.foot_r),
        ("l", -1.0, pose.hand_l, pose.foot_l),
    ):
        shoulder = chest - spine * 0.026 + across * (sign * figure.look.shoulders * 0.86)
        raised = hand[1] > shoulder[1] + 0.16
        hint = np.array([sign, -0.1, 0.2] if raised else [sign * 0.55, -0.6, 0.0]) - front * 0.6
        elbow, hand_reached = bend(shoulder, np.array(hand), (UPPER_ARM, FOREARM), hint)
        hip = pelvis + np.array([sign * figure.look.hips * 0.55, 0.0, 0.0])
        knee, foot_reached = bend(
            hip, np.array(foot), (THIGH, SHIN), np.array([sign * 0.16, 0.12, 1.0])
        )
        for name, joint in (
            ("shoulder_", shoulder),
            ("elbow_", elbow),
            ("hand_", hand_reached),
            ("hip_", hip),
            ("knee_", knee),
            ("foot_", foot_reached),
        ):
            local[name + side] = joint
    yaw, nod = pose.look
    head_right = np.array([math.cos(yaw), 0, -math.sin(yaw)])
    forward = np.array(
        [math.sin(yaw) * math.cos(nod), math.sin(nod), math.cos(yaw) * math.cos(nod)]
    )
    head_up = np.cross(forward, head_right)
    local["head"] = chest + spine * 0.06 + front * 0.012 + head_up * 0.038
    return _in_world(figure, local, (head_right, head_up, forward))


def _in_world(figure: Figure, local: dict[str, np.ndarray], head_axes: tuple) -> Body:
    c, s = math.cos(figure.facing), math.sin(figure.facing)
    rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    origin = np.asarray(figure.position)
    size = figure.look.height
    joints = {name: joint * size @ rotation + origin for name, joint in local.items()}
    return Body(figure, joints, *(axis @ rotation for axis in head_axes))


def draw_figure(who: Body, eye: Sequence[float], pixels: float) -> Piece:
    """The figure as a piece of the midground.

    `eye` is the camera's position, which decides what hides what; `pixels` is the head's height
    in the panel, which decides how much is drawn of clothes and face.
    """
    eye = np.asarray(eye, dtype=np.float64)
    groups = [
        *(_leg(who, eye, side) for side in "rl"),
        _torso(who, eye, pixels),
        *(_arm(who, eye, side, pixels) for side in "rl"),
    ]
    hair, head = draw_head(who, eye, pixels)
    torso = _away(eye, who.joints["chest"], who.joints["pelvis"])
    crown = _away(eye, who.head)
    groups += [(max(torso, crown) + 0.1, hair), (crown - 0.05, head)]
    marks = [mark for _, group in sorted(groups, key=lambda g: -g[0]) for mark in group]
    if who.figure.dark:
        return piece([_darkened(mark) for mark in marks], who.joints["pelvis"], FOREGROUND)
    return piece([_halo(marks), *marks], who.joints["pelvis"])


def _halo(marks: list[Mark]) -> Mass:
    """Bare paper around a figure, which parts it from the lines behind it."""
    parts = (part for mark in marks if isinstance(mark, Mass) for part in mark.parts)
    bare = tuple(replace(part, tone="pale", shaded=False) for part in parts)
    return Mass(bare, 4.0, "pale")


Group = tuple[float, list[Mark]]


def _away(eye: np.ndarray, *joints: np.ndarray) -> float:
    return float(np.mean([np.linalg.norm(joint - eye) for joint in joints]))


def _darkened(mark: Mark) -> Mark:
    if not isinstance(mark, Mass):
        return replace(mark, tone="ink")
    parts = tuple(
        replace(
            part, tone="deep" if isinstance(part.tone, str) else mix(part.tone, (30, 28, 32), 0.66)
        )
        for part in mark.parts
    )
    return replace(mark, parts=parts)


def _leg(who: Body, eye: np.ndarray, side: str) -> Group:
    j, h, look = who.joints, who.figure.look.height, who.figure.look
    hip, knee, foot = j["hip_" + side], j["knee_" + side], j["foot_" + side]
    facing = who.figure.facing
    forward = np.array([math.sin(facing), 0.0, math.cos(facing)])
    # A foot far behind its knee stands on its toes.
    lift = min(1.0, max(0.0, float((knee - foot) @ forward) / (0.2 * h)))
    floor = who.figure.position[1] + 0.014 * h
    toe = foot + (forward * (0.085 - 0.05 * lift) - np.array([0, 0.02 + 0.02 * lift, 0])) * h
    toe[1] = max(toe[1], floor)
    heel = foot - (forward * 0.02 + np.array([0, 0.018, 0])) * h
    ankle = foot + np.array([0, 0.012 * h, 0])
    thick = look.bulk * h
    parts = (
        limb(hip, knee, (0.054 * thick, 0.039 * thick), look.trousers),
        limb(knee, ankle, (0.039 * thick, 0.025 * h), look.trousers),
        Part(np.stack([heel, foot, toe]), np.array([0.021, 0.023, 0.016]) * h, "deep"),
    )
    # What hangs over the legs hides them; thighs of a sitter may still come before the trunk.
    behind = 1.0 if look.garment in ("coat", "dress") else 0.12
    return _away(eye, hip, knee) + behind, [Mass(parts, WEIGHT)]


def _torso(who: Body, eye: np.ndarray, pixels: float) -> Group:
    j, h, look = who.joints, who.figure.look.height, who.figure.look
    chest, pelvis = j["chest"], j["pelvis"]
    spine = (chest - pelvis) / np.linalg.norm(chest - pelvis)
    across = (j["shoulder_r"] - j["shoulder_l"]) / np.linalg.norm(j["shoulder_r"] - j["shoulder_l"])
    front = np.cross(across, spine)
    waist = pelvis + (chest - pelvis) * 0.34 + front * 0.004 * h
    ribs = chest - spine * 0.10 * h
    bulk = look.bulk * h
    sides = [waist + across * 0.046 * h, waist - across * 0.046 * h]
    upper = Part(
        np.stack(
            [
                j["shoulder_r"],
                j["shoulder_l"],
                chest - front * 0.01 * h,
                ribs + across * 0.06 * h,
                ribs - across * 0.06 * h,
                *sides,
            ]
        ),
        np.array([0.03 * bulk, 0.03 * bulk, 0.042 * h, *[0.053 * bulk] * 2, *[0.046 * bulk] * 2]),
        look.accent,
    )
    neck = limb(chest, who.head - who.up * 0.035 * h, (0.034 * h, 0.031 * h), "skin")
    hips = [pelvis + across * look.hips * 0.5 * h, pelvis - across * look.hips * 0.5 * h]
    worn = look.trousers if look.garment == "shirt" else look.accent
    lower = Part(np.stack([*sides, *hips]), np.array([0.046, 0.046, 0.056, 0.056]) * bulk, worn)
    parts = [neck, lower, *_hem(who, hips, across), upper]
    marks: list[Mark] = [Mass(tuple(parts), WEIGHT)]
    if pixels > 22 and float(front @ (eye - chest)) > 0:
        marks.extend(_lapels(who, (across, spine, front), waist))
    return _away(eye, chest, pelvis), marks


def _hem(who: Body, hips: list[np.ndarray], across: np.ndarray) -> list[Part]:
    look, h = who.figure.look, who.figure.look.height
    length, flare = {
        "coat": (0.2, 0.03),
        "dress": (0.17, 0.055),
        "jacket": (0.05, 0.008),
        "shirt": (0.0, 0.0),
    }[look.garment]
    if not length:
        return []
    edges = []
    for side, hip, sign in zip("rl", hips, (1, -1), strict=True):
        thigh = who.joints["knee_" + side] - who.joints["hip_" + side]
        edges.append(hip + thigh * (length / THIGH) + across * (sign * flare * h))
    radii = np.array([0.056, 0.056, 0.036, 0.036]) * h * look.bulk
    return [Part(np.stack([*hips, *edges]), radii, look.accent)]


def _lapels(who: Body, axes: tuple, waist: np.ndarray) -> list[Mark]:
    across, spine, front = axes
    chest, h = who.joints["chest"], who.figure.look.height
    notch = chest - spine * 0.11 * h + front * 0.066 * h
    hem = waist + front * 0.052 * h
    marks: list[Mark] = [curve(np.stack([notch, (notch + hem) / 2 + front * 0.004 * h, hem]), 0.8)]
    for sign in (1, -1):
        collar = chest + spine * 0.026 * h + across * (0.036 * sign * h) + front * 0.02 * h
        throat = chest - spine * 0.02 * h + across * (0.034 * sign * h) + front * 0.048 * h
        marks.append(curve(np.stack([collar, throat, notch]), 1.0))
    return marks


def _arm(who: Body, eye: np.ndarray, side: str, pixels: float) -> Group:
    j, h, look = who.joints, who.figure.look.height, who.figure.look
    shoulder, elbow, hand = j["shoulder_" + side], j["elbow_" + side], j["hand_" + side]
    thick = look.bulk * h
    along = (hand - elbow) / max(float(np.linalg.norm(hand - elbow)), 1e-9)
    sleeve = (
        limb(shoulder, elbow, (0.036 * thick, 0.029 * thick), look.accent),
        limb(elbow, hand - along * 0.01 * h, (0.029 * thick, 0.022 * thick), look.accent),
    )
    knuckles, tips = hand + along * 0.025 * h, hand + along * 0.055 * h
    palm = [Part(np.stack([hand, knuckles, tips]), np.array([0.015, 0.02, 0.012]) * h, "skin")]
    if pixels > 40:
        thumb_side = np.cross(along, np.array([0.0, 1.0, 0.0])) + np.array([0.0, 0.6, 0.0])
        thumb = hand + along * 0.03 * h + thumb_side * 0.022 * h
        palm.append(limb(hand + along * 0.008 * h, thumb, (0.010 * h, 0.008 * h), "skin"))
    marks: list[Mark] = [Mass(tuple(palm), 1.2), Mass(sleeve, WEIGHT)]
    return _away(eye, shoulder, elbow, hand) - 0.03, marks


def shadow_of(who: Body) -> Piece:
    """The shadow at a figure's feet."""
    feet = (who.joints["foot_r"] + who.joints["foot_l"]) / 2
    h = who.figure.look.height
    spread = 0.14 * h + 0.5 * abs(float(who.joints["foot_r"][0] - who.joints["foot_l"][0]))
    loop = ring((feet[0] + 0.12 * h, 0.004, feet[2] + 0.02), spread, 14, 0.55)
    # Floors have their anchors deeper still, so that they come first from every angle.
    return piece([Face(loop, "shadow")], (feet[0], -1.0, feet[2] + 20.0), BACKGROUND)
