"""The director's desk: one shot edited, the shots arranged, another result of a shot chosen.

Nothing is drawn or filmed here. What was made before is found in the film's folder, so going
back to it costs nothing; notes say in a sentence each what is left to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..ledger import Record
from ..planning.arranging import check_transitions, copies
from ..planning.drafts import Length, TransitionDraft
from ..planning.terms import SHOT_TERMS, parse_items, parse_length, parse_transition
from ..project import DRAWING, TAKE, Project
from ..story.cinematography import CUT, Transition, TransitionKind
from ..story.frames import FramePair, Keyframe, no_frames
from ..story.shot_list import Shot, ShotList
from ..story.storyboard import Storyboard

CLEARED = "-"
"""Written for a field, it empties it; an empty text leaves the field as it is."""

Desk = tuple[Storyboard, tuple[str, ...]]
"""The board as it is now, and notes for the person at the desk."""

_TEXTS = ("description", "dialogue", "prompt", "negative")
_COUNTS = ("drawing", "take")
_YES_NO = {"yes": True, "no": False}
_USUAL_TRANSITION = Length(1)
_NUMBER = re.compile(r"_[dt](\d+)(?:-\d+)?$")


def read_changes(words: Mapping[str, str], note: str = "") -> dict[str, Any]:
    """What is to change of a shot, by field of a draft, from what a person wrote for each.

    `words` has texts by the fields' names: description, dialogue, prompt, negative, scale,
    angle, movement, length, transition, keep, continues, seed, drawing, take. `note` is written
    as in a script, `close-up, low angle, 3s, take 2`, and goes before `words`.

    Raises:
        ValueError: a word that is no value of its field.
    """
    changes = {name: _read(name, text.strip()) for name, text in words.items() if text.strip()}
    return {**changes, **parse_items(note, 1)}


def edit_shot(
    board: Storyboard, shot_id: str, changes: Mapping[str, Any], project: Project
) -> Desk:
    """The board with one shot changed and all others as they are.

    Pictures and clips on the board stay, so words changed after drawing reach filming alone.
    With another drawing or take, the one of that number is put on the board if it was made
    before; else the old one leaves the board, to be made by whatever comes next.

    Raises:
        ValueError: no such shot, with the ids there are; a value that a shot cannot have.
    """
    plan = board.shot_list
    shot = plan.shot(shot_id.strip())
    edited = replace(shot, **_as_fields(changes, plan))
    if edited.continues and plan.ids[0] == shot.id:
        raise ValueError(f"shot {shot.id} is the first; there is no shot before it to continue")
    plan = plan.with_shot(edited)
    check_transitions(plan)
    board, notes = replace(board, shot_list=plan), []
    if edited.drawing != shot.drawing and any(board.pair(shot.id).digests):
        board, more = _redrawn(board, edited, project)
        notes += more
    if edited.take != shot.take and shot.id in board.clips:
        board, more = _retaken(board, edited, project)
        notes += more
    return board, tuple(notes)


def arrange(board: Storyboard, order: str, project: Project) -> Desk:
    """The board with its shots in the order of their ids, `1, 3-5, 2, 2`; empty: as it is.

    A shot that is not named leaves the film, one named again is a copy under an id of its own,
    with the pictures and takes of its original. A shot that continues keeps the start frame it
    has when another shot comes before it now.

    Raises:
        ValueError: an id that no shot has, or a shot too short for its transitions now.
    """
    if not order.strip():
        return board, ()
    old = board.shot_list
    plan, sources = copies(old, order)
    pairs = {
        shot.id: replace(board.pairs[source], shot_id=shot.id)
        for shot, source in zip(plan.shots, sources, strict=True)
        if source in board.pairs
    }
    clips = {
        shot.id: replace(board.clips[source], shot_id=shot.id)
        for shot, source in zip(plan.shots, sources, strict=True)
        if source in board.clips
    }
    between = {
        shot.id: board.between[source]
        for shot, source in zip(plan.shots, sources, strict=True)
        if source in board.between
    }
    arranged, notes = Storyboard(plan, pairs, clips, between), []
    for shot, source, before in zip(plan.shots, sources, (None, *sources), strict=False):
        if shot.continues and before != _before(old, source):
            arranged, note = _detached(arranged, shot, project.pair_in_use(source, ""))
            notes.append(note)
    return arranged, (*notes, *_dropped(old, sources))


def choose(
    board: Storyboard, shot_id: str, drawing: str, take: str, project: Project
) -> Storyboard:
    """The board with an earlier drawing or take of a shot in use; an empty text leaves either.

    `drawing` and `take` are numbers, `2`, or names as in the film's folder, `3_t02-2`. A take
    brings the drawing it was filmed between, if that is still there, and the keyframes that it was
    filmed through.

    Raises:
        ValueError: no such shot; no such result, with those there are.
    """
    shot = board.shot_list.shot(shot_id.strip())
    if drawing.strip():
        pair = project.drawing(_named(project, DRAWING, shot, drawing).name)
        board = _using(board, shot, "drawing", pair.name)
        board = board.with_pair(replace(pair, shot_id=shot.id))
    if take.strip():
        record = _named(project, TAKE, shot, take)
        pair = _filmed_between(project, shot, record)
        if pair is not None and pair.digests != board.pair(shot.id).digests:
            board = _using(board, shot, "drawing", pair.name).with_pair(pair)
        board = _through(board, shot, record, project)
        clip = replace(project.take(record.name), shot_id=shot.id)
        board = _using(board, shot, "take", record.name).with_clip(clip)
    return board


def results(project: Project, kind: str, shot: Shot) -> tuple[Record, ...]:
    """The records of a shot's sound drawings or takes, those of its original too, oldest first."""
    found = (r for r in project.ledger.records(kind) if r.shot_id in (shot.id, shot.copy_of))
    read = project.drawing if kind == DRAWING else project.take
    return tuple(record for record in found if read(record.name) is not None)


def number_of(name: str) -> int:
    """The number of a drawing or take by its name: 2 of `3A_t02-4`; 1 where there is none."""
    match = _NUMBER.search(name)
    return min(9999, max(1, int(match[1]))) if match else 1


def _read(name: str, text: str) -> Any:
    if name in _TEXTS:
        return "" if text == CLEARED else text
    if name in SHOT_TERMS:
        return SHOT_TERMS[name].parse(text)
    if name == "length":
        return parse_length(text)
    if name == "transition":
        return parse_transition(text)
    if name == "seed" and text == CLEARED:
        return None
    if name in (*_COUNTS, "seed"):
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise ValueError(f"{name} is {text!r:.40}; it should be a whole number")
        return int(text)
    if text not in _YES_NO:
        raise ValueError(f"{name} is {text!r:.40}; it should be yes or no")
    return _YES_NO[text]


def _as_fields(changes: Mapping[str, Any], plan: ShotList) -> dict[str, Any]:
    """The changes as fields of a shot, lengths counted in frames of the film."""
    values, rate = dict(changes), plan.frame_format.rate
    if "length" in values:
        values["num_frames"] = values.pop("length").frames_at(rate)
    if "transition" in values:
        draft: TransitionDraft = values["transition"]
        length = draft.length or _USUAL_TRANSITION
        is_cut = draft.kind is TransitionKind.CUT
        values["transition"] = (
            CUT if is_cut else Transition(draft.kind, length.frames_at(rate), draft.colour)
        )
    return values


def _redrawn(board: Storyboard, shot: Shot, project: Project) -> tuple[Storyboard, list[str]]:
    old, found = board.pair(shot.id), None
    for record in reversed(results(project, DRAWING, shot)):
        if number_of(record.name) == shot.drawing and record.key.partition(" ")[0] != "given":
            found = project.drawing(record.name)
            break
    if found is None:
        note = f"drawing {shot.drawing} of shot {shot.id} is not drawn yet; STEP2 Storyboard does"
        return board.with_pair(old.only_given()), [note]
    # What the artist gave stays given, whatever is drawn around it.
    given = {half: getattr(old, half) for half in old.given}
    name = "" if given else found.name
    pair = replace(found, shot_id=shot.id, name=name, given=found.given | old.given, **given)
    return board.with_pair(pair), []


def _retaken(board: Storyboard, shot: Shot, project: Project) -> tuple[Storyboard, list[str]]:
    ends = [keyframe.picture.digest for keyframe in board.keyframes(shot)]
    inside = [k for k in board.all_keyframes(shot) if k in board.between.get(shot.id, ())]
    between = [[keyframe.index, keyframe.picture.digest] for keyframe in inside]
    for record in reversed(results(project, TAKE, shot)):
        same = record.fields["keyframes"] == ends
        # A model that does not look at what is between has not written any down.
        same = same and record.fields.get("between") in (None, between)
        if same and number_of(record.name) == shot.take:
            clip = project.take(record.name)
            return board.with_clip(replace(clip, shot_id=shot.id)), []
    clips = {shot_id: clip for shot_id, clip in board.clips.items() if shot_id != shot.id}
    note = f"take {shot.take} of shot {shot.id} is not filmed yet; the Shot Sampler does"
    return replace(board, clips=clips), [note]


def _before(plan: ShotList, shot_id: str) -> str | None:
    place = plan.ids.index(shot_id)
    return plan.ids[place - 1] if place else None


def _detached(board: Storyboard, shot: Shot, in_use: FramePair | None) -> tuple[Storyboard, str]:
    """The board in which a shot that continues stands after another shot than before."""
    start = board.pair(shot.id).start
    # Only a start that was borrowed from the shot before belongs to this drawing's key.
    if start is None and in_use is not None and "start" in in_use.given:
        start = in_use.start
    if start is None:
        plan = board.shot_list.with_shot(replace(shot, continues=False))
        return replace(board, shot_list=plan), f"shot {shot.id} continues no other shot here"
    pair = board.pairs.get(shot.id, no_frames(shot))
    pair = replace(pair, start=start, given=pair.given | {"start"})
    board = replace(board, pairs={**board.pairs, shot.id: pair})
    return board, f"shot {shot.id} keeps its start frame, though another shot comes before it"


def _dropped(plan: ShotList, sources: tuple[str, ...]) -> Iterator[str]:
    left_out = [shot_id for shot_id in plan.ids if shot_id not in sources]
    if left_out:
        yield f"left out: {', '.join(left_out)}; what was made for them is kept"


def _using(board: Storyboard, shot: Shot, count: str, name: str) -> Storyboard:
    """The board whose plan asks for the drawing or take of this name, by its number."""
    plan = board.shot_list
    shot = replace(plan.shot(shot.id), **{count: number_of(name)})
    return replace(board, shot_list=plan.with_shot(shot))


def _named(project: Project, kind: str, shot: Shot, text: str) -> Record:
    """The result that a person means: by its name, or the newest of its number."""
    wanted, records = text.strip().casefold(), results(project, kind, shot)
    for record in reversed(records):
        by_number = wanted.isdecimal() and int(wanted) == number_of(record.name)
        if by_number or wanted == record.name.casefold():
            return record
    what = "drawing" if kind == DRAWING else "take"
    there = ", ".join(record.name for record in records) or "none"
    raise ValueError(f"shot {shot.id} has no {what} {text.strip()!r:.60}; there are: {there}")


def _through(board: Storyboard, shot: Shot, take: Record, project: Project) -> Storyboard:
    """The board with the keyframes that a take was filmed through, where its model looked."""
    places = take.fields.get("between")
    if places is None:
        return board
    found = [(index, project.find_picture(digest)) for index, digest in places]
    if not all(picture for _, picture in found):
        return board
    return board.with_between(shot.id, [Keyframe(index, picture) for index, picture in found])


def _filmed_between(project: Project, shot: Shot, take: Record) -> FramePair | None:
    """The drawing whose pictures a take was filmed between, as this shot's."""
    for record in reversed(results(project, DRAWING, shot)):
        pair = project.drawing(record.name)
        if [digest for digest in pair.digests if digest] == take.fields["keyframes"]:
            return replace(pair, shot_id=shot.id)
    return None
