"""A theme covered as a classical scene is, without any model.

An establishing shot, shot and reverse shot, an insert, a reaction, a close; longer films go round
the middle again and come closer each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..story.cinematography import CameraAngle, CameraMovement, ShotScale
from ..story.members import Member, MemberKind, name_key
from ..story.shot_list import FrameFormat, Scene, Shot, ShotList
from ..story.subjects import Subject, each_once, is_person, living_in, people_in
from .director import FilmOrder
from .drafts import Length
from .people import names_in_capitals

_TITLE_CHARACTERS = 60
_TITLE_WORDS = 8
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
_JOINTS = "in|on|at|of|and|with|by|from|that|who|when|while|as|into|through|must"
_LAST_JOINT = re.compile(
    rf"\S+\s.*(?=\s(?:{_JOINTS})\b|(?<!s)\s(?:for|to)\b|\s[a-z]+s\s(?:for|to)\b)"
)
_LOOSE_END = re.compile(rf"\s(?:its|{_ARTICLE})(?:\s\S+)?$")
_THING = re.compile(
    r"\b(?:(?!is\b|was\b|as\b|across\b|towards\b)[a-z]+(?:s|ed|ing)|with|for|buy|break|bring|find|get|"
    r"give|hide|hold|keep|leave|let|lose|make|need|open|read|save|see|send|steal|take|want|write) "
    rf"(?:one|its|{_ARTICLE}) (?P<thing>(?:[a-z-]+ ){{0,2}}?[a-z-]+)"
    rf"(?=[,.;:]|$| (?:{_JOINTS}|for|to|or|where|out|off|up|down|away|back|home|over|under|"
    r"is|was|has|looks|waits|walks|goes|comes|takes|finds|lies|stands|sits)\b)"
)


@dataclass(frozen=True)
class _Setup:
    """A camera set-up and what it shows; `who` are the places in the cast of those in it.

    `words` has the people as {a} and {b}, the thing as {thing}, and the theme as {theme} where
    nothing else says where all this is, as {about} where nothing says what the thing is either,
    and what of it is about no people as {before}. `alone` is said of {a} in a film of one person.
    """

    beat: str
    words: str
    scale: ShotScale
    angle: CameraAngle
    movement: CameraMovement
    who: tuple[int, ...] = ()
    alone: str = ""


_ESTABLISH = _Setup(
    "establish",
    "{place}, before anything happens. {before}",
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
        "{a} comes and looks about. {theme}",
    ),
    _Setup(
        "reverse shot",
        "{b} looks back at {a}. {theme}",
        ShotScale.MEDIUM,
        CameraAngle.OVER_THE_SHOULDER,
        CameraMovement.STATIC,
        (1, 0),
        "{a} turns and waits. {theme}",
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
        "{a} waits for what must come. {theme}",
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
        "{a} understands. {theme}",
    ),
)
_CLOSE = _Setup(
    "close",
    "{a} and {b} stay behind, small in the place. {theme}",
    ShotScale.WIDE,
    CameraAngle.EYE_LEVEL,
    CameraMovement.DOLLY_OUT,
    (0, 1),
    "{a} stays behind, small in the place. {theme}",
)


def coverage(order: FilmOrder, frame_format: FrameFormat) -> ShotList:
    """The plan of this film by the rules of coverage: exactly as many shots as are asked for.

    The people are the cast's characters, then the names that the theme writes in capitals, then
    those it mentions otherwise, such as a nurse or two brothers, else an animal. Where there is
    one alone, nobody else is in the film.
    """
    theme = " ".join(order.theme.split()).rstrip(".!?") + "."
    people, scene = _people(order), _scene(order, theme)
    company = (*people, *_mentioned(theme, people))[:2] or ("somebody", "somebody else")
    words = _words(order, company, scene, _sentence(theme))
    setups = _setups(order.shots)
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
        for number, setup in enumerate(setups if len(company) > 1 else map(_alone, setups), 1)
    )
    look = order.look.strip()
    return ShotList(_title(theme), theme, look, "", frame_format, shots, cast=order.cast)


def _mentioned(theme: str, names: Sequence[str]) -> Iterator[str]:
    """Whom the theme mentions without a name, one by one."""
    text = theme.casefold()
    known = set(map(name_key, names))
    for who in each_once(people_in(text) or living_in(text)):
        if name_key(who.noun) not in known:
            yield from _each(who)


def _each(who: Subject) -> tuple[str, ...]:
    if who.count == 1:
        return (f"the {who.one}",)
    return f"one {who.one}", f"{'the other' if who.count == 2 else 'another'} {who.one}"


def _alone(setup: _Setup) -> _Setup:
    """The set-up of a film of one person, whom nobody looks at or past."""
    past = setup.angle is CameraAngle.OVER_THE_SHOULDER
    return replace(
        setup,
        beat="shot" if setup.beat == "reverse shot" else setup.beat,
        words=setup.alone or setup.words,
        angle=CameraAngle.EYE_LEVEL if past else setup.angle,
        who=setup.who and (0,),
    )


def _words(order: FilmOrder, company: Sequence[str], scene: Scene, theme: str) -> dict[str, str]:
    """What stands for the marks in the words of a set-up."""
    things = _named(order.cast, MemberKind.PROP)
    return {
        "theme": "" if scene.place else theme,
        "about": "" if scene.place and things else theme,
        "before": "" if scene.place else _without_people(theme),
        "place": _sentence(scene.place) or "The whole place",
        "a": company[0],
        "b": company[-1],
        "thing": (*things, *_things(theme, scene), "the thing it is all about")[0],
    }


def _things(theme: str, scene: Scene) -> Iterator[str]:
    """What the theme says that somebody has, wants or handles."""
    for match in _THING.finditer(theme):
        thing = match["thing"]
        hour = re.search(rf"\b(?:{_HOURS}|time)$", thing)
        if not (hour or thing == scene.place or is_person(thing.split()[-1])):
            yield f"the {thing}"


def _without_people(theme: str) -> str:
    """The clauses of the theme that are about no people; all of it where there are none."""
    clauses = [
        clause
        for clause in re.split(r",\s+", theme.rstrip("."))
        if not (names_in_capitals(clause) or people_in(clause.casefold()))
    ]
    return f"{_sentence(', '.join(clauses))}." if clauses else theme


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
    """The theme where it is short, else its first clause, else its first words up to a joint."""
    clauses = (clause.strip() for clause in re.split(r"[,.:;]\s|[.:;]$", theme))
    clause = next(filter(None, clauses), theme)
    for words in (theme, clause):
        if len(words) <= _TITLE_CHARACTERS:
            return words.rstrip(".,:;") or theme
    words = _LOOSE_END.sub("", " ".join(clause.split()[:_TITLE_WORDS]))
    joint = _LAST_JOINT.match(words)
    return joint[0] if joint else words


def _people(order: FilmOrder) -> list[str]:
    names = _named(order.cast, MemberKind.CHARACTER)
    known = {name_key(name) for name in names}
    more = (n for n in names_in_capitals(order.theme) if name_key(n) not in known)
    return [*names, *more][:2]


def _named(members: Sequence[Member], kind: MemberKind) -> list[str]:
    return [member.name for member in members if member.kind is kind]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
