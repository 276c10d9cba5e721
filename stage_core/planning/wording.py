"""What the words of an action paragraph say about the camera, read conservatively.

All of it depends on the paragraph alone, so a shot stays the same wherever it stands.
"""

from __future__ import annotations

import re

from ..story.cinematography import CameraAngle, CameraMovement, ShotScale

_SINGLE = "wide|full|medium|insert|detail|establishing|overhead|aerial|pov"
_PHRASES = (
    "extreme wide|very wide|medium wide|medium long|medium close-up|medium close up|"
    "extreme close-up|extreme close up|close-up|close up|closeup|close on|tight on|long shot|"
    "insert on|low angle|high angle|dutch angle|dutch tilt|over the shoulder|point of view|"
    "bird's eye view|bird's eye"
)
_OPENING = re.compile(
    rf"(?P<term>{_PHRASES}|{_SINGLE})\b(?P<noun>\s+(?:shot|angle|view)\b)?"
    r"(?P<end>\s*[:\u2013\u2014]|\s+-|(?=\s+(?:on|of)\b)|\s*[.,](?=\s|$)|$|)",
    re.IGNORECASE,
)
_POSSESSIVE_POV = re.compile(r"[^\W\d_][\w .'\u2019-]{0,60}['\u2019][Ss] POV\b")
_OWN_NAMES = {"tight on": ShotScale.CLOSE_UP, "long shot": ShotScale.WIDE}

_VERBS = {
    "pans": "pan",
    "tilts": "tilt",
    "dollies": "dolly",
    "pushes": "push",
    "pulls": "pull",
    "tracks": "track",
    "trucks": "truck",
    "zooms": "zoom",
    "cranes": "crane",
    "booms": "boom",
    "orbits": "orbit",
    "arcs": "arc",
    "circles": "arc",
    "slides": "slide",
    "moves": "move",
}
_CAMERA = re.compile(
    rf"\b(?P<who>camera|we)\s+(?:\w+ly\s+)?(?P<verb>{'|'.join(_VERBS)}|"
    rf"{'|'.join(sorted(set(_VERBS.values())))})\b"
    r"(?:\s+(?:\w+ly\s+)?(?:to the\s+)?"
    r"(?P<where>in|out|back|backwards?|forwards?|left|right|up|down|inward|outward)\b)?",
    re.IGNORECASE,
)
_STILL = re.compile(
    r"\bcamera (?:is |stays |remains |holds )(?:still|static|locked)", re.IGNORECASE
)
_HANDHELD = re.compile(r"\bhand-?held camera\b|\bcamera is hand-?held\b", re.IGNORECASE)
_WHERE = {
    "backward": "back",
    "backwards": "back",
    "forward": "in",
    "forwards": "in",
    "inward": "in",
    "outward": "out",
}


def opening_terms(text: str) -> tuple[ShotScale | None, CameraAngle | None]:
    """Scale and angle that the first words name: `CLOSE ON the ring`, `Wide shot: the sea`.

    A phrase counts in capitals, before a colon or a dash, or with `shot`, `angle` or `view`
    after it; `close on` and the like count as they are. `Wide eyes stare` names nothing.
    """
    scale = angle = None
    place = 0
    while match := _OPENING.match(text, place):
        if not _is_camera_talk(match):
            break
        term = re.sub(r"\s+", " ", match["term"].casefold())
        found = _OWN_NAMES.get(term) or ShotScale.find(term)
        scale, angle = scale or found, angle or CameraAngle.find(term)
        place = match.end() + len(re.match(r"[\s,:\u2013\u2014-]*", text[match.end() :])[0])
    if angle is None and _POSSESSIVE_POV.match(text):
        angle = CameraAngle.POINT_OF_VIEW
    return scale, angle


def _is_camera_talk(match: re.Match[str]) -> bool:
    term, end = match["term"], match["end"].strip()
    if match["noun"] or end in (":", "-", "\u2013", "\u2014"):
        return True
    follows = match.string[match.end() :]
    if term.isupper():
        # WIDE OPEN is no scale, whereas POV and INSERT stand before anything.
        return bool(end) or not re.match(r"\s+[A-Z]{2}", follows) or len(term) > 6
    if " " not in term and "-" not in term:
        return False
    return bool(re.search(r" (?:on|up)$|-up$", term, re.I)) and (
        bool(end) or term.casefold().endswith(" on") or bool(re.match(r"\s+(?:on|of)\b", follows))
    )


def camera_movement(text: str) -> CameraMovement | None:
    """The first movement that the text plainly gives the camera: `the camera dollies in`.

    `we` moves the camera only with a direction: `we push in`, but not `we push the cart`.
    """
    if _STILL.search(text):
        return CameraMovement.STATIC
    if _HANDHELD.search(text):
        return CameraMovement.HANDHELD
    for match in _CAMERA.finditer(text):
        verb = match["verb"].casefold()
        verb = _VERBS.get(verb, verb)
        where = (match["where"] or "").casefold()
        if not where and match["who"].casefold() == "we":
            continue
        found = CameraMovement.find(f"{verb} {_WHERE.get(where, where)}".strip())
        if found:
            return found
    return None
