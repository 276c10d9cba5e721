"""A shot in words for a video model: what happens first, then how it is seen, then the look."""

from __future__ import annotations

from ..story.brief import ShotBrief, joined_words
from ..story.cinematography import CameraAngle, CameraMovement, ShotScale
from ..story.shot_list import Shot

READS = frozenset(
    {"description", "scene", "scale", "angle", "movement", "prompt", "look", "negative"}
)
NEGATIVE = (
    "oversaturated colours, overexposed, blurred details, subtitles, captions, watermark, logo, "
    "frozen picture, grey and flat, low quality, compression artefacts, flicker, deformed body, "
    "extra or fused fingers, badly drawn hands, badly drawn face, extra limbs, walking backwards"
)
_MOVES = {
    CameraMovement.STATIC: "The camera stands still",
    CameraMovement.PAN_RIGHT: "The camera pans slowly to the right",
    CameraMovement.PAN_LEFT: "The camera pans slowly to the left",
    CameraMovement.TILT_UP: "The camera tilts slowly up",
    CameraMovement.TILT_DOWN: "The camera tilts slowly down",
    CameraMovement.DOLLY_IN: "The camera moves slowly closer",
    CameraMovement.DOLLY_OUT: "The camera moves slowly back",
    CameraMovement.TRUCK_RIGHT: "The camera travels sideways to the right",
    CameraMovement.TRUCK_LEFT: "The camera travels sideways to the left",
    CameraMovement.PEDESTAL_UP: "The camera rises slowly",
    CameraMovement.PEDESTAL_DOWN: "The camera sinks slowly",
    CameraMovement.ZOOM_IN: "The lens zooms in slowly",
    CameraMovement.ZOOM_OUT: "The lens zooms out slowly",
    CameraMovement.ARC_RIGHT: "The camera circles the subject to the right",
    CameraMovement.ARC_LEFT: "The camera circles the subject to the left",
    CameraMovement.HANDHELD: "The camera is handheld and sways a little",
}
_ANGLES = {
    CameraAngle.EYE_LEVEL: "at eye level",
    CameraAngle.LOW: "seen from below",
    CameraAngle.HIGH: "seen from above",
    CameraAngle.OVER_THE_SHOULDER: "over the shoulder",
    CameraAngle.OVERHEAD: "straight from overhead",
    CameraAngle.DUTCH: "with a tilted horizon",
    CameraAngle.POINT_OF_VIEW: "from the person's own point of view",
}
_SCALES = {ShotScale.INSERT: "Insert of a detail"}


def video_prompt(brief: ShotBrief) -> str:
    """The prompt of a shot: the artist's own, else one made from its fields; then the look."""
    written = (brief.shot.prompt,) if brief.shot.prompt.strip() else _sentences(brief.shot)
    parts = filter(None, (part.strip() for part in (*written, brief.look)))
    return " ".join(part if part[-1] in ".!?" else f"{part}." for part in parts)


def video_negative(brief: ShotBrief) -> str:
    """What the shot should not show: its own words or the usual faults, then the film's."""
    return joined_words(brief.shot.negative or NEGATIVE, brief.negative)


def _sentences(shot: Shot) -> tuple[str, ...]:
    """What is done comes first: a video model gives the first words the most weight."""
    place = ", ".join(filter(None, (shot.scene.place, shot.scene.time_of_day)))
    scale = _SCALES.get(shot.scale, f"{shot.scale.value.capitalize()} shot")
    return shot.description, _MOVES[shot.movement], f"{scale} {_ANGLES[shot.angle]}", place
