"""What the `storyboard.json` of a saved storyboard says, read as untrusted text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..errors import PlanError
from ..story.frames import HALVES
from ..story.located import line_of, lines_in, parsed, shot_list_in
from ..story.shot_list import ShotList
from ..story.storyboard import MOST_BETWEEN

SCHEMA = "stage.Archive.1"

_HEX = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_-]{1,80}\.(png|mkv)")
_SOUND_FILE = re.compile(r"[A-Za-z0-9_-]{1,80}\.wav")
_RATE = re.compile(r"[0-9]{1,9}(/[1-9][0-9]{0,8})?")
_FRAME = re.compile(r"[1-9][0-9]{0,4}")
_DIGITS = "64 hexadecimal digits"
_MAX_TEXT = 1000
_MAX_FRAMES = 100_000
_MAX_SIDE = 8192


@dataclass(frozen=True)
class DrawingEntry:
    """A drawing: what finds it again, its pictures by half with the digests of their pixels.

    `given` are the halves that it was drawn around, `painted` those changed since.
    """

    key: str
    model: str
    memory: str
    count: int
    given: frozenset[str]
    painted: frozenset[str]
    files: Mapping[str, str]
    pixels: Mapping[str, str]
    line: int

    @property
    def names(self) -> tuple[str, ...]:
        """The files it consists of."""
        return tuple(self.files.values())

    @property
    def given_on_board(self) -> frozenset[str]:
        """The halves that the artist gave, so that a model asked for the rest finds this drawing.

        A pair that no model drew is given whole: asked for a half, a model would draw it anew.
        """
        whole = self.key.startswith("given ") and len(self.files) == len(HALVES)
        return frozenset(HALVES) if whole else self.given


@dataclass(frozen=True)
class BetweenEntry:
    """Keyframes between the ends of a shot, by the number of their frame as text: their pictures
    with the digests of their pixels."""

    files: Mapping[str, str]
    pixels: Mapping[str, str]
    line: int

    @property
    def names(self) -> tuple[str, ...]:
        """The files it consists of."""
        return tuple(self.files.values())


@dataclass(frozen=True)
class SoundEntry:
    """The file of a take's own sound."""

    file: str
    sha256: str


@dataclass(frozen=True)
class TakeEntry:
    """A take: what finds it again, the pictures it was filmed between, its film and its sound,
    None for a silent one.

    `between`: frame and digest of the pictures it was filmed through, None if nobody looked.
    """

    key: str
    model: str
    count: int
    keyframes: tuple[str, ...]
    num_frames: int
    size: tuple[int, int]
    rate: Fraction
    file: str
    sha256: str
    sound: SoundEntry | None
    between: tuple[tuple[int, str], ...] | None
    line: int

    @property
    def names(self) -> tuple[str, ...]:
        """The files it consists of."""
        return (self.file, self.sound.file) if self.sound else (self.file,)


@dataclass(frozen=True)
class Manifest:
    """A saved storyboard: its plan, and what of each shot is in use, by the shot's id."""

    shot_list: ShotList
    drawings: Mapping[str, DrawingEntry]
    takes: Mapping[str, TakeEntry]
    between: Mapping[str, BetweenEntry]

    def entries(self) -> Iterator[DrawingEntry | TakeEntry | BetweenEntry]:
        """All drawings, takes and keyframes between."""
        yield from self.drawings.values()
        yield from self.takes.values()
        yield from self.between.values()


def read_manifest(text: str) -> Manifest:
    """What a stranger's `storyboard.json` says, if all of it is sound.

    Raises:
        PlanError: anything else, with the line.
    """
    record = parsed(text)
    if not isinstance(record, dict):
        raise PlanError("a saved storyboard is a JSON object", 1)
    schema = record.get("schema")
    if schema != SCHEMA:
        raise PlanError(
            f"schema {schema!r:.60} is not {SCHEMA!r}; a newer version of STAGE may have written "
            "it: update STAGE, or save it there as a shot list",
            line_of(text, "schema"),
        )
    _only(record, ("schema", "shot_list", "shots"), "the storyboard", 1)
    plan = shot_list_in(record.get("shot_list"), text, "shot_list")
    drawings, takes, between = {}, {}, {}
    first = line_of(text, "shots")
    shots = _object(record.get("shots", {}), "shots", first)
    lines, ids = lines_in(text, "shots"), frozenset(plan.ids)
    for shot_id, made in shots.items():
        line = lines.get(shot_id, first)
        if shot_id not in ids:
            raise PlanError(f"no shot {shot_id!r:.60}; the plan has {', '.join(plan.ids)}", line)
        where = f"shot {shot_id}"
        _only(_object(made, where, line), ("drawing", "take", "between"), where, line)
        if "drawing" in made:
            drawings[shot_id] = _Fields.of(made["drawing"], f"{where}: drawing", line).drawing()
        if "take" in made:
            takes[shot_id] = _Fields.of(made["take"], f"{where}: take", line).take()
        if "between" in made:
            between[shot_id] = _Fields.of(made["between"], f"{where}: between", line).between()
    return Manifest(plan, drawings, takes, between)


@dataclass(frozen=True)
class _Fields:
    """An object of the file, its fields read with a sentence for each that is wrong."""

    record: Mapping[str, Any]
    where: str
    line: int

    @classmethod
    def of(cls, record: Any, where: str, line: int) -> _Fields:
        return cls(_object(record, where, line), where, line)

    def drawing(self) -> DrawingEntry:
        names = ("key", "model", "memory", "count", "given", "painted", "files", "pixels")
        _only(self.record, names, self.where, self.line)
        files, pixels = (self._by_half(name) for name in ("files", "pixels"))
        given, painted = (frozenset(self._texts(name, 2)) for name in ("given", "painted"))
        if set(files) != set(pixels) or not given | painted <= set(files) or not files:
            self._refuse("files, pixels, given and painted do not name the same halves")
        self._check_pictures(files, pixels)
        words = (self._text(name) for name in ("key", "model", "memory"))
        count = self._whole("count", 9999)
        return DrawingEntry(*words, count, given, painted, files, pixels, self.line)

    def take(self) -> TakeEntry:
        names = ("key", "model", "count", "keyframes", "num_frames", "size", "rate", "file")
        _only(self.record, (*names, "sha256", "sound", "between"), self.where, self.line)
        size = self.record.get("size")
        if not isinstance(size, list) or len(size) != 2:
            self._refuse(f"size is {size!r:.60}; it should be [width, height]")
        sides = tuple(
            _Fields({"size": n}, self.where, self.line)._whole("size", _MAX_SIDE) for n in size
        )
        rate = self._match("rate", self._text("rate"), _RATE, "24 or 24000/1001")
        if not 0 < Fraction(rate) <= 1000:
            self._refuse(f"rate is {rate}; use more than 0, at most 1000")
        return TakeEntry(
            self._text("key"),
            self._text("model"),
            self._whole("count", 9999),
            self._texts("keyframes", 64),
            self._whole("num_frames", _MAX_FRAMES),
            sides,
            Fraction(rate),
            self._match("file", self._text("file"), _FILE, "a file name such as 3_t01.mkv"),
            self._sha256(),
            self._sound(),
            self._through(),
            self.line,
        )

    def between(self) -> BetweenEntry:
        _only(self.record, ("files", "pixels"), self.where, self.line)
        files, pixels = (self._by_frame(name) for name in ("files", "pixels"))
        if set(files) != set(pixels) or not files:
            self._refuse("files and pixels do not name the same frames")
        self._check_pictures(files, pixels)
        return BetweenEntry(files, pixels, self.line)

    def _check_pictures(self, files: Mapping[str, str], pixels: Mapping[str, str]) -> None:
        for file in files.values():
            self._match("files", file, _FILE, "a file name such as 3_d01_start.png")
        for digest in pixels.values():
            self._match("pixels", digest, _HEX, _DIGITS)

    def _through(self) -> tuple[tuple[int, str], ...] | None:
        """Frame and digest of each keyframe that a take was filmed through."""
        if "between" not in self.record:
            return None
        places = self.record["between"]
        if not isinstance(places, list) or len(places) > MOST_BETWEEN:
            self._refuse(
                f"between is {places!r:.60}; it should be a list of at most {MOST_BETWEEN}"
            )
        for place in places:
            if not isinstance(place, list) or len(place) != 2:
                self._refuse(f"between has {place!r:.60}; it should be [frame, digest]")
        pairs = [_Fields({"between": i, "of": d}, self.where, self.line) for i, d in places]
        return tuple(
            (it._whole("between", _MAX_FRAMES), it._match("between", it._text("of"), _HEX, _DIGITS))
            for it in pairs
        )

    def _sound(self) -> SoundEntry | None:
        if "sound" not in self.record:
            return None
        sound = _Fields.of(self.record["sound"], f"{self.where}: sound", self.line)
        _only(sound.record, ("file", "sha256"), sound.where, sound.line)
        file = sound._match("file", sound._text("file"), _SOUND_FILE, "a name such as 3_t01.wav")
        return SoundEntry(file, sound._sha256())

    def _sha256(self) -> str:
        return self._match("sha256", self._text("sha256"), _HEX, "64 hexadecimal digits")

    def _refuse(self, reason: str) -> None:
        raise PlanError(f"{self.where}: {reason}", self.line)

    def _text(self, name: str) -> str:
        value = self.record.get(name)
        if not isinstance(value, str) or len(value) > _MAX_TEXT or not _is_whole(value):
            self._refuse(f"{name} is {value!r:.60}; it should be a text of at most {_MAX_TEXT}")
        return value

    def _texts(self, name: str, most: int) -> tuple[str, ...]:
        values = self.record.get(name)
        if not isinstance(values, list) or len(values) > most:
            self._refuse(f"{name} is {values!r:.60}; it should be a list of at most {most}")
        return tuple(_Fields({name: v}, self.where, self.line)._text(name) for v in values)

    def _whole(self, name: str, most: int) -> int:
        value = self.record.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            self._refuse(f"{name} is {value!r:.60}; it should be a whole number, 1 to {most}")
        return value

    def _by_half(self, name: str) -> dict[str, str]:
        values = _object(self.record.get(name), f"{self.where}: {name}", self.line)
        _only(values, HALVES, f"{self.where}: {name}", self.line)
        inside = _Fields(values, f"{self.where}: {name}", self.line)
        return {half: inside._text(half) for half in HALVES if half in values}

    def _by_frame(self, name: str) -> dict[str, str]:
        values = _object(self.record.get(name), f"{self.where}: {name}", self.line)
        if len(values) > MOST_BETWEEN:
            self._refuse(f"{name} has {len(values)} frames; at most {MOST_BETWEEN}")
        for frame in values:
            self._match(name, frame, _FRAME, "a frame by its number, from 1")
        inside = _Fields(values, f"{self.where}: {name}", self.line)
        return {frame: inside._text(frame) for frame in values}

    def _match(self, name: str, value: str, pattern: re.Pattern[str], should: str) -> str:
        if not pattern.fullmatch(value):
            self._refuse(f"{name} is {value!r:.60}; it should be {should}")
        return value


def _is_whole(text: str) -> bool:
    """Whether no half of a surrogate pair is in it, which no file can keep."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _object(value: Any, where: str, line: int) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PlanError(f"{where} is {type(value).__name__}, not an object", line)
    return value


def _only(record: Mapping[str, Any], known: tuple[str, ...], where: str, line: int) -> None:
    unknown = sorted(set(record) - set(known))
    if unknown:
        raise PlanError(f"{where} has the unknown field {unknown[0]!r:.60}", line)
