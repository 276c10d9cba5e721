"""A theme covered as a classical scene is, without any model.

An establishing shot, shot and reverse shot, an insert, a reaction, a close; longer films go round
the middle again and come closer each time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..story.cinematography import CameraAngle, CameraMovement, ShotScale
from ..story.members import Member, MemberKind, name_key
from ..story.shot_list import FrameFormat, Scene, Shot, ShotList
from .director import FilmOrder
from .drafts import Length
from .people import names_in_capitals, roles_in

_TITLE_CHARACTERS = 60
_TITLE_WORDS = 5
_ARTICLE = r"(?:a|an|the|his|her|their|an old|some)"
_HOURS = "night|midnight|dawn|dusk|morning|evening|afternoon|noon|sunset|sunrise|twilight|day"
_PLACE = re.compile(
    rf"\b(?i:in|at|on|by|near|inside|outside|through|across|above|below) {_ARTICLE} "
    r"(?P<place>(?:[a-z-]+ ){0,2}?[a-z-]+)"
    r"(?=[,.;:]|$| [A-Z]| (?:must|where|when|who|and|or|to|that|while|as|at|on|in|with|by|for)\b)"
)
_TIME = re.compile(
    rf"\b(?P<time>(?:(?:\w+y|winter|summer|autumn|spring|cold|hot|late|early) )?(?:{_HOURS}))\b"
)
_SMALL = frozenset(
    ("a", "an", "the", "in", "on", "at", "of", "to", "and", "with", "by", "for", "his")
)


@dataclass(frozen=True)
class _Setup:
    """A camera set-up and what it shows; `who` are the places in the cast of those in it.

    `words` has the people as {a} and {b}, the thing as {thing}, and the theme as {theme} where
    nothing else says where all this is, as {about} where nothing says what the thing is either.
    """

    beat: str
    words: str
    scale: ShotScale
    angle: CameraAngle
    movement: CameraMovement
    who: tuple[int, ...] = ()


_ESTABLISH = _Setup(
    "establish",
    "{place}, before anything happens. {theme}",
    ShotScale.EXTREME_WIDE,
    CameraAngle.HIGH,
    CameraMovement.PAN_RIGHT,
)
_MIDDLE = (
    _Setup(
        "shot",
        "{a} faces {b}. {theme}",
        ShotScale.MEDIUM_WIDE,
        CameraAngle.OVER_THE_SHOULDER,
        CameraMovement.DOLLY_IN,
        (0, 1),
    ),
    _Setup(
        "reverse shot",
        "{b} looks back at {a}. {theme}",
        ShotScale.MEDIUM,
        CameraAngle.OVER_THE_SHOULDER,
        CameraMovement.STATIC,
        (1, 0),
    ),
    _Setup(
        "insert",
        "{thing}, and a hand that reaches for it. {about}",
        ShotScale.INSERT,
        CameraAngle.HIGH,
        CameraMovement.STATIC,
    ),
    _Setup(
        "reaction",
        "{a} sees it and stands still. {theme}",
        ShotScale.CLOSE_UP,
        CameraAngle.EYE_LEVEL,
        CameraMovement.DOLLY_IN,
        (0,),
    ),
)
_CLOSER = (
    _Setup(
        "shot",
        "{a} comes a step nearer. {theme}",
        ShotScale.MEDIUM_CLOSE_UP,
        CameraAngle.EYE_LEVEL,
        CameraMovement.TRUCK_RIGHT,
        (0,),
    ),
    _Setup(
        "reverse shot",
        "{b} waits for the answer. {theme}",
        ShotScale.MEDIUM_CLOSE_UP,
        CameraAngle.LOW,
        CameraMovement.TRUCK_LEFT,
        (1,),
    ),
    _Setup(
        "insert",
        "{thing}, very near. {about}",
        ShotScale.INSERT,
        CameraAngle.OVERHEAD,
        CameraMovement.ZOOM_IN,
    ),
    _Setup(
        "reaction",
        "{b} understands. {theme}",
        ShotScale.EXTREME_CLOSE_UP,
        CameraAngle.EYE_LEVEL,
        CameraMovement.STATIC,
        (1,),
    ),
)
_CLOSE = _Setup(
    "close",
    "{a} and {b} stay behind, small in the place. {theme}",
    ShotScale.WIDE,
    CameraAngle.EYE_LEVEL,
    CameraMovement.DOLLY_OUT,
    (0, 1),
)


def coverage(order: FilmOrder, frame_format: FrameFormat) -> ShotList:
    """The plan of this film by the rules of coverage: exactly as many shots as are asked for.

    The people are the cast's characters, then the names that the theme writes in capitals, then
    the roles that it names, such as a boy or a nurse.
    """
    theme = " ".join(order.theme.split()).rstrip(".!?") + "."
    people, scene = _people(order), _scene(order, theme)
    words = _words(order, people, scene, theme)
    length = Length(order.seconds_each).frames_at(frame_format.rate)
    shots = tuple(
        Shot(
            id=str(number),
            description=_sentence(setup.words.format(**words).strip()),
            scene=scene,
            cast=tuple(people[place] for place in setup.who if place < len(people)),
            beat=setup.beat,
            scale=setup.scale,
            angle=setup.angle,
            movement=setup.movement,
            num_frames=max(2, length),
        )
        for number, setup in enumerate(_setups(order.shots), 1)
    )
    look = order.look.strip()
    return ShotList(_title(theme), theme, look, "", frame_format, shots, cast=order.cast)


def _words(order: FilmOrder, people: Sequence[str], scene: Scene, theme: str) -> dict[str, str]:
    """What stands for the marks in the words of a set-up."""
    roles = (f"the {role}" for role in roles_in(order.theme))
    first, second, *_ = (*people, *roles, "somebody", "somebody else")
    things = _named(order.cast, MemberKind.PROP)
    return {
        "theme": "" if scene.place else theme,
        "about": "" if scene.place and things else theme,
        "place": _sentence(scene.place) or "The whole place",
        "a": first,
        "b": second,
        "thing": (*things, "The thing it is all about")[0],
    }


def _scene(order: FilmOrder, theme: str) -> Scene:
    """Where and when the theme plays: the cast's place, else what the theme plainly says."""
    hour = _TIME.search(theme)
    places = (match["place"] for match in _PLACE.finditer(theme))
    said = (place for place in places if not re.search(rf"\b(?:{_HOURS})$", place))
    place = next(iter(_named(order.cast, MemberKind.PLACE)), "") or next(said, "")
    return Scene(place, time_of_day=hour["time"] if hour else "")


def _setups(count: int) -> tuple[_Setup, ...]:
    """The set-ups of so many shots: the first establishes, the last closes."""
    if count == 1:
        return (_ESTABLISH,)
    rounds = (*_MIDDLE, *_CLOSER)
    middle = (rounds[place % len(rounds)] for place in range(count - 2))
    return (_ESTABLISH, *middle, _CLOSE)


def _title(theme: str) -> str:
    words = theme.split()
    if len(theme) > _TITLE_CHARACTERS:
        words = words[:_TITLE_WORDS]
        while words[-1] in _SMALL and len(words) > 1:
            words.pop()
    return " ".join(words).rstrip(".,:;")


def _people(order: FilmOrder) -> list[str]:
    names = _named(order.cast, MemberKind.CHARACTER)
    known = {name_key(name) for name in names}
    more = (n for n in names_in_capitals(order.theme) if name_key(n) not in known)
    return [*names, *more][:2]


def _named(members: Sequence[Member], kind: MemberKind) -> list[str]:
    return [member.name for member in members if member.kind is kind]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
