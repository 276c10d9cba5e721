"""The plan of a film: frame format, scenes, shots in order; reads and writes JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from enum import Enum
from fractions import Fraction
from typing import Any

from ..errors import PlanError
from .cinematography import (
    CUT,
    CameraAngle,
    CameraMovement,
    ShotScale,
    Transition,
    TransitionKind,
)
from .members import Member, MemberKind, check_members

SCHEMA = "stage.ShotList.2"
# From each older schema to the next, with the fields that came with it.
_NEXT: dict[str, tuple[str, dict[str, Any]]] = {"stage.ShotList.1": (SCHEMA, {"cast": []})}
UNTITLED = "Untitled"
MAX_JSON_CHARACTERS = 16 * 2**20
MAX_SHOTS = 10_000
_RATE = re.compile(r"[0-9]{1,20}([./][0-9]{1,20})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


def duration(num_frames: int, rate: Fraction) -> Fraction:
    """Seconds that `num_frames` last at `rate` frames per second."""
    return Fraction(num_frames) / rate


@dataclass(frozen=True)
class FrameFormat:
    """Size in pixels and frames per second of the finished film."""

    width: int = 832
    height: int = 480
    rate: Fraction = Fraction(24)

    def __post_init__(self):
        if not (16 <= self.width <= 8192 and 16 <= self.height <= 8192):
            raise ValueError(
                f"a film of {self.width}x{self.height} pixels; each side has 16 to 8192"
            )
        if not 1 <= self.rate <= 240:
            raise ValueError(f"{self.rate} frames per second; use 1 to 240")

    @property
    def aspect(self) -> Fraction:
        """Width over height."""
        return Fraction(self.width, self.height)


@dataclass(frozen=True)
class Scene:
    """Where and when a shot plays: what a screenplay's scene heading says."""

    place: str = ""
    interior: bool | None = None
    time_of_day: str = ""


@dataclass(frozen=True)
class Shot:
    """One shot of the plan; everything made for it carries its `id`.

    `dialogue` has a line per speech, `NAME: words`. `num_frames` counts frames of the film.
    `transition` leads into the next shot. `prompt` overrides what models make of the other
    fields; `negative` goes before the film's. `continues`: starts on the previous shot's end
    frame. `keep`: approved, never drawn or filmed again unasked. `seed`: when not None, used
    literally for the first drawing and take, and others are made from it. `drawing` and `take`
    count from 1; the next number is another picture, another film of the same pictures.
    `copy_of`: the id of the shot that this one repeats; its noise is drawn under that id, so it
    shares drawings and takes for as long as nothing else of it changes.
    """

    id: str
    description: str = ""
    scene: Scene = Scene()
    cast: tuple[str, ...] = ()
    dialogue: str = ""
    beat: str = ""
    scale: ShotScale = ShotScale.MEDIUM
    angle: CameraAngle = CameraAngle.EYE_LEVEL
    movement: CameraMovement = CameraMovement.STATIC
    num_frames: int = 72
    transition: Transition = CUT
    prompt: str = ""
    negative: str = ""
    continues: bool = False
    keep: bool = False
    seed: int | None = None
    drawing: int = 1
    take: int = 1
    copy_of: str = ""

    def __post_init__(self):
        for name in (self.id, self.copy_of or self.id):
            if not _ID.fullmatch(name):
                raise ValueError(
                    f"shot id {name!r}: use 1 to 32 letters, digits, '-' and '_', such as '2A'"
                )
        if not 2 <= self.num_frames <= 100_000:
            raise ValueError(f"shot {self.id}: {self.num_frames} frames; use 2 to 100000")
        if not (1 <= self.drawing <= 9999 and 1 <= self.take <= 9999):
            raise ValueError(
                f"shot {self.id}: drawing {self.drawing}, take {self.take}; both count from 1 "
                "to 9999"
            )
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise ValueError(f"shot {self.id}: seed {self.seed}; use 0 to 2^64 - 1")


@dataclass(frozen=True)
class ShotList:
    """The shots of a film in order. `look` and `negative` go into every prompt, the look of a
    member of `cast` into those of the shots that name it.

    `seed` is the film's; a shot's own noise depends on it, on the shot's id and on the number
    of its drawing or take.
    """

    title: str = UNTITLED
    theme: str = ""
    look: str = ""
    negative: str = ""
    frame_format: FrameFormat = FrameFormat()
    shots: tuple[Shot, ...] = ()
    seed: int = 0
    cast: tuple[Member, ...] = ()

    def __post_init__(self):
        check_members(self.cast)
        if not self.shots:
            raise ValueError(f"{self.title!r} has no shots; a film needs at least one")
        if len(self.shots) > MAX_SHOTS:
            raise ValueError(f"{self.title!r} has {len(self.shots)} shots; at most {MAX_SHOTS}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed {self.seed}; use 0 to 2^64 - 1")
        seen: dict[str, str] = {}
        for shot in self.shots:
            # Ids name files, and some file systems do not tell 2a from 2A.
            twin = seen.get(shot.id.casefold())
            if twin is not None:
                raise ValueError(f"two shots have the ids {twin!r} and {shot.id!r}; ids are unique")
            seen[shot.id.casefold()] = shot.id

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all shots in film order."""
        return tuple(shot.id for shot in self.shots)

    def shot(self, shot_id: str) -> Shot:
        """The shot of this id.

        Raises:
            ValueError: no shot has it; the message names the ids there are.
        """
        for shot in self.shots:
            if shot.id == shot_id:
                return shot
        raise ValueError(f"no shot {shot_id!r}; this film has {_listed(self.ids)}")

    def members_of(self, shot: Shot) -> tuple[Member, ...]:
        """The members of the film's cast that a shot names: in its cast, place or words."""
        text = "\n".join((shot.scene.place, shot.description, shot.prompt))
        return tuple(member for member in self.cast if member.is_named(shot.cast, text))

    def look_of(self, shot: Shot) -> str:
        """How a shot looks, for its prompt: the members that it names, then the whole film."""
        words = [member.words for member in self.members_of(shot) if member.words]
        return ". ".join([*words, self.look] if self.look else words)

    def with_shot(self, shot: Shot) -> ShotList:
        """The same list with the shot of this id replaced."""
        self.shot(shot.id)
        return replace(self, shots=tuple(shot if s.id == shot.id else s for s in self.shots))

    def select(self, text: str) -> frozenset[str] | None:
        """The ids that a choice such as '3, 5-7' names; None, which means all, when it is empty.

        Raises:
            ValueError: an id that no shot has, or a range that runs backwards.
        """
        chosen: set[str] = set()
        for part in text.replace(";", ",").split(","):
            part = part.strip()
            if not part:
                continue
            first, last = self._range(part)
            if last < first:
                raise ValueError(f"shots {part!r} run backwards; the film has {_listed(self.ids)}")
            chosen.update(self.ids[first : last + 1])
        return frozenset(chosen) or None

    def _range(self, part: str) -> tuple[int, int]:
        """First and last place of 'id' or of 'id-id'; ids themselves may hold a hyphen."""
        if part in self.ids:
            return self.ids.index(part), self.ids.index(part)
        for cut in (place for place, letter in enumerate(part) if letter == "-"):
            first, last = part[:cut].strip(), part[cut + 1 :].strip()
            if first in self.ids and last in self.ids:
                return self.ids.index(first), self.ids.index(last)
        raise ValueError(f"no shots {part!r}; this film has {_listed(self.ids)}")

    def to_json(self) -> str:
        """The list as JSON text, with its schema version; `from_json` gives an equal value."""
        record = {"schema": SCHEMA, **_encode(self)}
        return json.dumps(record, ensure_ascii=False, indent=1)

    @staticmethod
    def from_json(text: str) -> ShotList:
        """The list that `to_json` wrote. Reads untrusted text: nothing is loaded or executed.

        Raises:
            PlanError: no JSON, another schema, an unknown field, a value of the wrong type.
        """
        return shot_list_from_record(load_json(text))


def _listed(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:40]) + (f" and {len(ids) - 40} more" if len(ids) > 40 else "")


def load_json(text: str) -> Any:
    """Parse untrusted JSON.

    Raises:
        PlanError: too long, too deep, not JSON, or with a NaN or an infinity.
    """
    if len(text) > MAX_JSON_CHARACTERS:
        raise PlanError(
            f"the JSON has {len(text)} characters; at most {MAX_JSON_CHARACTERS} are read"
        )

    def refuse(constant: str):
        raise PlanError(f"the JSON holds {constant}, which is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise PlanError(f"not valid JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise PlanError("the JSON is nested too deeply") from None
    except PlanError:
        raise
    except ValueError:
        raise PlanError("the JSON holds a number of too many digits") from None


def shot_list_from_record(record: Any) -> ShotList:
    """A shot list from parsed JSON; raises PlanError as `ShotList.from_json` does."""
    if not isinstance(record, dict):
        raise PlanError("a shot list is a JSON object")
    schema = record.get("schema")
    body = {key: value for key, value in record.items() if key != "schema"}
    while isinstance(schema, str) and schema in _NEXT:
        schema, added = _NEXT[schema]
        body = {**added, **body}
    if schema != SCHEMA:
        raise PlanError(
            f"schema {schema!r} is not {SCHEMA!r}; a newer version of STAGE may have written it"
        )
    return _decode(ShotList, body, "shot list")


def _encode(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _encode(getattr(value, f.name)) for f in fields(value)}
    return value


_NESTED: dict[str, type] = {
    "FrameFormat": FrameFormat,
    "Scene": Scene,
    "Transition": Transition,
    "ShotScale": ShotScale,
    "CameraAngle": CameraAngle,
    "CameraMovement": CameraMovement,
    "TransitionKind": TransitionKind,
    "MemberKind": MemberKind,
}
_PLAIN = {
    "str": str,
    "int": int,
    "bool": bool,
    "int | None": (int, type(None)),
    "bool | None": (bool, type(None)),
}


def _decode(kind: type, record: Any, where: str) -> Any:
    if not isinstance(record, dict):
        raise PlanError(f"{where} is {type(record).__name__}, not an object")
    types = {f.name: str(f.type) for f in fields(kind)}
    unknown = sorted(set(record) - set(types))
    if unknown:
        raise PlanError(f"{where} has the unknown field {unknown[0]!r}")
    values = {
        name: _decode_field(types[name], value, f"{where}: {name}")
        for name, value in record.items()
    }
    try:
        return kind(**values)
    except PlanError:
        raise
    except (TypeError, ValueError) as error:
        raise PlanError(f"{where}: {error}") from None


def _decode_field(annotation: str, value: Any, where: str) -> Any:
    if annotation.startswith("tuple["):
        if not isinstance(value, list):
            raise PlanError(f"{where} is {type(value).__name__}, not a list")
        if len(value) > MAX_SHOTS:
            raise PlanError(f"{where} has {len(value)} entries; at most {MAX_SHOTS}")
        return tuple(_decode_item(annotation, item, f"{where} {i}") for i, item in enumerate(value))
    if annotation == "Fraction":
        return _fraction(value, where)
    nested = _NESTED.get(annotation)
    if nested is None:
        _check_type(annotation, value, where)
        return value
    if issubclass(nested, Enum):
        _check_type("str", value, where)
        try:
            return nested.parse(value)
        except ValueError as error:
            raise PlanError(f"{where}: {error}") from None
    return _decode(nested, value, where)


def _decode_item(annotation: str, item: Any, where: str) -> Any:
    if annotation.startswith("tuple[Shot"):
        return _decode(Shot, item, where)
    if annotation.startswith("tuple[Member"):
        return _decode(Member, item, where)
    _check_type("str", item, where)
    return item


def _check_type(annotation: str, value: Any, where: str) -> None:
    # bool is an int to Python, never to a person.
    wrong_bool = isinstance(value, bool) and "bool" not in annotation
    if wrong_bool or not isinstance(value, _PLAIN[annotation]):
        raise PlanError(f"{where} is {value!r:.60}; it should be {annotation}")
    if isinstance(value, str) and _SURROGATE.search(value):
        raise PlanError(f"{where} holds half of a surrogate pair, which no file can keep")


def _fraction(value: Any, where: str) -> Fraction:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        # Bounded before it is parsed: Fraction('1e999999999') would fill the memory.
        if not _RATE.fullmatch(str(value)):
            raise ValueError
        return Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise PlanError(f"{where} is {value!r:.60}; use 24 or '24000/1001'") from None
