"""A Fountain screenplay, or plain prose, into shots.

- A paragraph of action is a shot; centred text is action.
- Dialogue and lyrics stay with the shot before them. Directly after a heading or a transition,
  or after a shot note that stands alone, they are a shot of their own.
- `[[shot 2A: close-up, low angle, dolly in, 3s, keep]]` sets the shot whose paragraph or speech
  it stands in, also on a line of its own directly above it or below; alone between blank lines
  it sets the next shot. A note of nothing but such items, `[[close-up, 3s]]`, is one too. Other
  notes are left out.
- A synopsis is the beat of the shots below it, up to the next synopsis, section or heading.
- A transition leads out of the shot before it; before the first shot, and for `FADE IN:` after
  a fade, there is nothing to do. Every transition without a name for how it looks is a cut.
- Voices off (V.O., O.S., O.C.) speak, but are not in the picture and so not in the cast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import PlanError
from ..story.cinematography import TransitionKind
from ..story.shot_list import Scene
from .drafts import Draft, Outline, TransitionDraft
from .elements import Element, Kind, Line, elements, plain, text_lines, title_page
from .headings import parse_heading, readable
from .naming import read_cast
from .people import Speakers
from .terms import add_values, find_transition, is_camera_talk, parse_items

_SHOT_NOTE = re.compile(r"\s*shot\b(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_OFF = re.compile(
    r"\(\s*(?:V\.?\s?O|O\.?\s?S|O\.?\s?C|OFF|VOIX OFF|VOZ EN OFF)\b"
    r"|[(\uff08]\s*(?:\u753b\u5916\u97f3|\u756b\u5916\u97f3|\u65c1\u767d)|^\u65c1\u767d$",
    re.IGNORECASE,
)
_NOT_MADE = re.compile(r"\b(?:WIPE|IRIS|MORPH)\b", re.IGNORECASE)


@dataclass
class _Open:
    """A shot that may still get dialogue, notes and a transition."""

    line: int
    scene: Scene
    beat: str
    description: str = ""
    speeches: list[str] = field(default_factory=list)
    cues: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Reader:
    """The place in the script, as its elements go by."""

    shots: list[_Open] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    notes: list[Line] = field(default_factory=list)
    scene: Scene = field(default_factory=Scene)
    beat: str = ""
    closed: bool = True

    def take(self, element: Element) -> None:
        if element.kind is Kind.HEADING:
            self.scene, self.beat, self.closed = parse_heading(element.text), "", True
        elif element.kind in (Kind.SYNOPSIS, Kind.SECTION):
            self.beat = plain(element.text) if element.kind is Kind.SYNOPSIS else ""
        elif element.kind is Kind.TRANSITION:
            self._transition(element)
        elif element.kind is Kind.NOTE or not (element.text or element.cue):
            self.notes += [note for note in element.notes if _shot_words(note[1]) is not None]
        else:
            self._shot(element)

    def _shot(self, element: Element) -> None:
        speaks = element.kind is not Kind.ACTION
        if not speaks or self.closed or self.notes:
            self.shots.append(_Open(element.line, self.scene, self.beat))
            self.closed = False
        shot = self.shots[-1]
        if speaks:
            self._speech(shot, element)
        else:
            shot.description = element.text
        for line, note in (*self.notes, *element.notes):
            words = _shot_words(note)
            if words is not None:
                add_values(shot.values, _note_values(words, line), line)
        self.notes = []

    def _speech(self, shot: _Open, element: Element) -> None:
        words = [line.lstrip("~").strip() for line in element.text.split("\n")]
        text = plain(" ".join(word for word in words if word))
        if element.kind is Kind.LYRIC:
            shot.speeches.append(text)
            return
        name = readable(
            re.sub(r"[(\uff08][^()\uff08\uff09]*[)\uff09]", "", element.cue).rstrip("^ ").strip()
        )
        name = name.rstrip(":") or "?"
        self.speakers.append(name)
        shot.speeches.append(f"{name}: {text}")
        if not _OFF.search(element.cue):
            shot.cues.append(name)

    def _transition(self, element: Element) -> None:
        self.closed = True
        found = _transition_of(element)
        if not self.shots:
            return
        values = self.shots[-1].values
        before = values.get("transition")
        if before and before.kind is found.kind:
            # The note that names the kind too also knows the length.
            return
        add_values(values, {"transition": found}, element.line)


def read_fountain(text: str) -> Outline:
    """The shots of a screenplay.

    Raises:
        PlanError: a note that cannot be read, or that no shot follows.
    """
    page, lines = title_page(text_lines(text))
    reader = _Reader()
    for element in elements(lines):
        reader.take(element)
    if reader.notes:
        raise PlanError(
            "no shot follows this shot note; put it in or above a paragraph", reader.notes[0][0]
        )
    speakers = Speakers(reader.speakers)
    return Outline(
        drafts=tuple(_draft(shot, speakers) for shot in reader.shots),
        title=plain(page.get("title", "")),
        theme=page.get("theme", page.get("logline", "")),
        look=page.get("look", page.get("style", "")),
        negative=page.get("negative", page.get("negative prompt", "")),
        cast=read_cast(page.get("cast", "")),
    )


def _draft(shot: _Open, speakers: Speakers) -> Draft:
    return Draft(
        line=shot.line,
        description=shot.description,
        scene=shot.scene,
        cast=speakers.cast_of(shot.description, shot.cues),
        dialogue="\n".join(shot.speeches),
        beat=shot.beat,
        **shot.values,
    )


def _shot_words(note: str) -> str | None:
    """What a note says of its shot; None for a note that is for people only."""
    match = _SHOT_NOTE.match(note)
    if match:
        return match["rest"]
    return note if is_camera_talk(note) else None


def _note_values(rest: str, line: int) -> dict[str, Any]:
    """What a shot note says: ` 2A: close-up, 3s`, ` 2A`, `: close-up`, ` close-up, 3s`."""
    head, colon, items = rest.partition(":")
    shot_id = head.strip()
    if not colon and not re.fullmatch(r"[A-Za-z]{0,3}\d{1,6}[A-Za-z]{0,3}", shot_id):
        return parse_items(rest, line)
    if not shot_id:
        return parse_items(items, line)
    if not _ID.fullmatch(shot_id):
        raise PlanError(
            f"{shot_id!r:.60} is no shot id; a shot note reads [[shot 2A: close-up, 3s]]",
            line,
        )
    return {"id": shot_id, **parse_items(items, line)}


def _transition_of(element: Element) -> TransitionDraft:
    try:
        found = find_transition(re.sub(r"^(?:slow|quick)\s+", "", element.text, flags=re.I))
    except ValueError as error:
        raise PlanError(str(error), element.line) from None
    if found:
        return found
    if _NOT_MADE.search(element.text):
        raise PlanError(
            f"{element.text!r:.60} is no transition that is made here; known are cut, dissolve, "
            "fade",
            element.line,
        )
    words = element.text.casefold()
    if "dissolve" in words or "fade" in words:
        kind = TransitionKind.FADE if "fade" in words else TransitionKind.DISSOLVE
        return TransitionDraft(kind, None, "white" if "white" in words else "black")
    return TransitionDraft(TransitionKind.CUT)
