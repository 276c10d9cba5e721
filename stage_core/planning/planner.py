"""Text into a shot list: exactly the shots that the text has, in its order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Protocol

from ..errors import AnswerError, PlanError
from ..story.cinematography import (
    CUT,
    CameraAngle,
    CameraMovement,
    ShotScale,
    Transition,
    TransitionKind,
)
from ..story.located import parsed, shot_list_in
from ..story.members import Member
from ..story.shot_list import MAX_SHOTS, UNTITLED, FrameFormat, Shot, ShotList
from .answer import looks_like_answer, read_answer
from .arranging import too_tight
from .director import retry_request
from .drafts import Draft, Length, Outline, TransitionDraft, spoken_characters
from .elements import text_lines
from .fountain import read_fountain
from .ids import with_ids
from .naming import with_cast
from .records import read_records
from .table import is_table, read_table
from .wording import camera_movement, opening_terms


class Planner(Protocol):
    """Reads one kind of text.

    Raises:
        PlanError: the text cannot be read; nothing is planned of a part of it.
    """

    def __call__(self, text: str) -> Outline: ...


PLANNERS: Mapping[str, Planner] = {
    "fountain": read_fountain,
    "table": read_table,
    "records": read_records,
    "answer": read_answer,
}
FORMATS = ("auto", *PLANNERS)

_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[{\]])")
_OWN_JSON = re.compile(r'\s*\{\s*"schema"\s*:\s*"stage\.')
_TRANSITION_LENGTH = Length(Fraction(1))


@dataclass(frozen=True)
class PlanSettings:
    """What the text leaves open. Title, theme, look and negative go before the text's own, and
    so does the look of a member of `cast`.

    Where no length is given a shot lasts `default_seconds` and the time to read its dialogue.
    `num_shots`: a text with another number is refused; 0 takes any.
    """

    frame_format: FrameFormat = field(default_factory=FrameFormat)
    title: str = ""
    theme: str = ""
    look: str = ""
    negative: str = ""
    seed: int = 0
    format: str = "auto"
    default_seconds: Fraction = Fraction(3)
    characters_per_second: int = 15
    num_shots: int = 0
    cast: tuple[Member, ...] = ()

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format!r} is not known; use {', '.join(FORMATS)}")
        if not 0 < self.default_seconds <= 600:
            raise ValueError(f"shots of {self.default_seconds} s; use more than 0, at most 600")
        if self.characters_per_second < 1:
            raise ValueError(f"{self.characters_per_second} characters per second; use at least 1")


def plan(
    text: str, settings: PlanSettings | None = None, earlier: ShotList | None = None
) -> ShotList:
    """The shots of a text: a screenplay or prose, a table, records, or a shot list's own JSON.

    What a shot gets by default depends on its own text and scene alone, so adding, moving or
    deleting a shot changes no other. From `earlier`, the film's last plan, ids are taken and
    nothing else. A shot list in JSON keeps its own frame format and seed.

    Raises:
        PlanError: the text cannot be read, has no shots, or not so many as were asked for; names
            the line where there is one. AnswerError where the text is a language model's answer.
    """
    settings = settings or PlanSettings()
    text = text.lstrip("\ufeff")
    _check_unicode(text)
    if not text.strip():
        raise PlanError("the text is empty; write a paragraph for each shot")
    kind = detect(text) if settings.format == "auto" else settings.format
    if kind != "answer" or _OWN_JSON.match(text):
        return _read(text, kind, settings, earlier)
    try:
        return _read(text, kind, settings, earlier)
    except PlanError as error:
        raise AnswerError(str(error), retry_request(settings.num_shots)) from None


def _read(text: str, kind: str, settings: PlanSettings, earlier: ShotList | None) -> ShotList:
    own = kind == "records" or _OWN_JSON.match(text)
    shot_list = _own_json(text) if own else None
    if shot_list is None:
        answered = kind == "answer"
        outline = read_answer(text, settings.num_shots) if answered else PLANNERS[kind](text)
        shot_list = _plan(outline, settings, earlier)
    if settings.num_shots not in (0, len(shot_list.shots)):
        raise PlanError(
            f"the text has {len(shot_list.shots)} shots, and {settings.num_shots} were asked for"
        )
    said = {name: getattr(settings, name) for name in ("title", "theme", "look", "negative")}
    shot_list = replace(shot_list, **{name: value for name, value in said.items() if value.strip()})
    shot_list = with_cast(shot_list, settings.cast)
    # JSON escapes may spell half a character too; there the text itself has no line for it.
    _check_unicode(shot_list.to_json(), known_line=False)
    return shot_list


def detect(text: str) -> str:
    """The format of a text: 'answer', 'records', 'table' or 'fountain', for everything else."""
    if looks_like_answer(text) and not _OWN_JSON.match(text):
        return "answer"
    if _JSON.match(text):
        return "records"
    return "table" if is_table(text_lines(text)) else "fountain"


def _own_json(text: str) -> ShotList | None:
    data = parsed(text)
    if isinstance(data, dict) and "schema" in data:
        return shot_list_in(data, text)
    return None


def _plan(outline: Outline, settings: PlanSettings, earlier: ShotList | None) -> ShotList:
    drafts = outline.drafts
    if not drafts:
        raise PlanError("the text has no shots; write a paragraph of action for each")
    if len(drafts) > MAX_SHOTS:
        raise PlanError(f"{len(drafts)} shots; a film has at most {MAX_SHOTS}")
    _check_order(drafts)
    # A copy that Arrange made has the words of its original, and no text of its own to be known by.
    originals = [shot for shot in earlier.shots if not shot.copy_of] if earlier else ()
    known = [(s.id, s.description or s.dialogue or s.prompt) for s in originals]
    ids = with_ids([d.wording for d in drafts], [d.id for d in drafts], known)
    shots = tuple(
        _shot(draft, shot_id, settings) for draft, shot_id in zip(drafts, ids, strict=True)
    )
    tight = too_tight(shots)
    if tight is not None:
        raise PlanError(tight[1], drafts[tight[0]].line or None)
    try:
        return ShotList(
            title=outline.title or UNTITLED,
            theme=outline.theme,
            look=outline.look,
            negative=outline.negative,
            frame_format=settings.frame_format,
            shots=shots,
            seed=settings.seed,
            cast=outline.cast,
        )
    except ValueError as error:
        raise PlanError(str(error)) from None


def _shot(draft: Draft, shot_id: str, settings: PlanSettings) -> Shot:
    rate = settings.frame_format.rate
    scale, angle = opening_terms(draft.description)
    movement = draft.movement or camera_movement(draft.description)
    reading = Fraction(spoken_characters(draft.dialogue), settings.characters_per_second)
    length = draft.length or Length(settings.default_seconds + reading)
    try:
        return Shot(
            id=shot_id,
            description=draft.description,
            scene=draft.scene,
            cast=draft.cast,
            dialogue=draft.dialogue,
            beat=draft.beat,
            scale=draft.scale or scale or _usual_scale(draft),
            angle=draft.angle or angle or CameraAngle.EYE_LEVEL,
            movement=movement or CameraMovement.STATIC,
            num_frames=length.frames_at(rate),
            transition=_transition(draft.transition, rate),
            prompt=draft.prompt,
            negative=draft.negative,
            continues=draft.continues,
            keep=draft.keep,
            seed=draft.seed,
            drawing=draft.drawing,
            take=draft.take,
        )
    except ValueError as error:
        raise PlanError(str(error), draft.line or None) from None


def _usual_scale(draft: Draft) -> ShotScale:
    """The scale that shows a place without people, one person, or several."""
    return (ShotScale.WIDE, ShotScale.MEDIUM, ShotScale.MEDIUM_WIDE)[min(len(draft.cast), 2)]


def _transition(draft: TransitionDraft | None, rate: Fraction) -> Transition:
    if draft is None or draft.kind is TransitionKind.CUT:
        return CUT
    length = draft.length or _TRANSITION_LENGTH
    return Transition(draft.kind, length.frames_at(rate), draft.colour)


def _check_order(drafts: Sequence[Draft]) -> None:
    if drafts[0].continues:
        raise PlanError("the first shot has no shot before it to continue", drafts[0].line or None)
    # Ids name files, and some file systems do not tell 2a from 2A.
    first: dict[str, Draft] = {}
    for draft in drafts:
        if draft.id and (twin := first.setdefault(draft.id.casefold(), draft)) is not draft:
            where = f" on line {twin.line}" if twin.line else ""
            raise PlanError(
                f"shot id {draft.id!r} is taken by the shot{where}; ids are unique",
                draft.line or None,
            )


def _check_unicode(text: str, known_line: bool = True) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1 if known_line else None
        raise PlanError("half a character (a lone surrogate) that no file can hold", line) from None
