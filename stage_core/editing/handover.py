"""A film as an editor takes it over: a media file per shot, sound, and the cut as lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import torch.nn.functional as F

from ..atomic import write_text
from ..media import storing, write_wave
from ..story.shot_list import ShotList
from ..story.timeline import Clip, Sound, Timeline
from .export import H264, PRORES, Codec, ExportOptions, export
from .interchange.cut import (
    Cut,
    SoundFile,
    Source,
    note_of,
    one_line,
    parts_of,
    parts_of_film,
    reels,
)
from .interchange.edl import edl
from .interchange.fcpxml import fcpxml
from .interchange.otio import otio
from .interchange.timecode import drops, editing_rate
from .render import render
from .sound import SAMPLE_RATE, resample

FILM = "film"
"""The media kind of a film that is one file, its transitions in the pictures."""
NO_MEDIA = "none"
MEDIA: Mapping[str, Codec] = {"prores": PRORES, "h264": H264, FILM: H264, NO_MEDIA: PRORES}
LISTS = ("otio", "edl", "fcpxml")
"""The kinds of lists, which are also the endings of their files."""

_ROLES = {"dialogue": "dialogue", "score": "music"}
_ZERO = "00:00:00{}00"


@dataclass(frozen=True, eq=False)
class Delivery:
    """What is handed over. `stem` begins every file's name.

    `media`: a key of MEDIA. `lists`: of LISTS. `sounds`: tracks as long as the film by name;
    `sound` is their mix, for the film as one file. `on_frame` is called with frames written and
    frames in all; raising from it cancels.
    """

    stem: str
    media: str = "prores"
    lists: tuple[str, ...] = LISTS
    sounds: Mapping[str, Sound] = field(default_factory=dict)
    sound: Sound | None = None
    on_frame: Callable[[int, int], None] | None = None


def handover_rate(rate: Fraction, lists: tuple[str, ...]) -> Fraction:
    """The rate at which a film is handed over: its own, unless a list knows no such rate."""
    return rate if set(lists) <= {"otio"} else editing_rate(rate)


def hand_over(
    timeline: Timeline, plan: ShotList, folder: Path, order: Delivery
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write media and lists into a folder; gives the files, lists first, and what to know.

    `plan` is the timeline's, at its rate. Files of the same name are replaced, each whole or not
    at all; the lists come last, so that a list never names a file that is not there.

    Raises:
        StorageError: a file cannot be written.
        ValueError: no list that was asked for can say what the film is.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sources = _sources(timeline, plan, order)
    sounds = _sounds(timeline, sources, order)
    cut = cut_of(timeline, plan, sources, tuple(file for file, _ in sounds), order)
    texts, notes = _texts(cut, order)
    files = _write_pictures(timeline, sources, folder, order)
    for file, sound in sounds if order.media != NO_MEDIA else ():
        files.append(folder / file.file)
        write_wave(files[-1], sound)
    lists = [folder / name for name in texts]
    for path, text in zip(lists, texts.values(), strict=True):
        write_text(path, text)
    return (*lists, *files), notes


def edit_list(timeline: Timeline, plan: ShotList, stem: str) -> str:
    """The cut as the text of an EDL, of a film at a rate that editing programs know."""
    order = Delivery(stem, NO_MEDIA)
    sources = _sources(timeline, plan, order)
    return "\n".join(edl(cut_of(timeline, plan, sources, (), order)))


def cut_of(
    timeline: Timeline,
    plan: ShotList,
    sources: tuple[Source, ...],
    sounds: tuple[SoundFile, ...],
    order: Delivery,
) -> Cut:
    """The edit of a timeline whose clips are these sources."""
    film, size = plan.frame_format, (plan.frame_format.width, plan.frame_format.height)
    if order.media == FILM:
        title, file = one_line(plan.title), f"{order.stem}.mp4"
        (reel,) = reels([order.stem])
        whole = Source(title, file, reel, timeline.num_frames)
        parts = parts_of_film(timeline, whole, sources)
    else:
        parts = parts_of(timeline, sources)
    return Cut(plan.title, film.rate, *size, parts, sounds)


def _sources(timeline: Timeline, plan: ShotList, order: Delivery) -> tuple[Source, ...]:
    names = [_name(clip) for clip in timeline.clips]
    notes = {shot.id: note_of(shot) for shot in plan.shots}
    return tuple(
        Source(
            one_line(f"{plan.title} {name.replace('_', ' ')}"),
            f"{order.stem}_{name}.mov",
            reel,
            len(clip.frames),
            note=notes[clip.shot_id],
        )
        for clip, name, reel in zip(timeline.clips, names, reels(names), strict=True)
    )


def _name(clip: Clip) -> str:
    """The shot and its take: '2A_t02'. A copy of a shot has a take that bears another id."""
    return clip.shot_id + clip.name[clip.name.rfind("_t") :] if "_t" in clip.name else clip.shot_id


def _sounds(
    timeline: Timeline, sources: tuple[Source, ...], order: Delivery
) -> list[tuple[SoundFile, Sound]]:
    """The clips' own sounds, each where its picture is, and the tracks of the whole film."""
    found = []
    for clip, source, first in zip(timeline.clips, sources, timeline.first_frames(), strict=True):
        if clip.sound is not None:
            sound = _as_long_as(clip, timeline.rate)
            file = source.file.removesuffix(".mov") + ".wav"
            place = first, len(clip.frames), sound.samples.shape[0]
            found.append((SoundFile(source.name, file, source.reel, *place, "effects"), sound))
    tracks = reels([*(source.reel for source in sources), *order.sounds])[len(sources) :]
    for (name, sound), reel in zip(order.sounds.items(), tracks, strict=True):
        place = 0, timeline.num_frames, sound.samples.shape[0]
        role = _ROLES.get(name, "effects")
        file = f"{order.stem}_{name}.wav"
        found.append((SoundFile(name, file, reel, *place, role), sound))
    return found


def _as_long_as(clip: Clip, rate: Fraction) -> Sound:
    """A clip's own sound at 48 kHz, cut or followed by silence, as long as its picture."""
    samples = resample(clip.sound).samples
    length = round(len(clip.frames) * SAMPLE_RATE / rate)
    return Sound(F.pad(samples, (0, length - samples.shape[1])).contiguous(), SAMPLE_RATE)


def _texts(cut: Cut, order: Delivery) -> tuple[dict[str, str], tuple[str, ...]]:
    """The lists' texts by file name, and why one of them cannot be written."""
    texts: dict[str, str] = {}
    failures: list[ValueError] = []
    for kind in order.lists:
        try:
            made = edl(cut) if kind == "edl" else ({"otio": otio, "fcpxml": fcpxml}[kind](cut),)
        except ValueError as error:
            failures.append(error)
            continue
        for number, text in enumerate(made, 1):
            part = f"_{number}" if len(made) > 1 else ""
            texts[f"{order.stem}{part}.{kind}"] = text
    if failures and not texts:
        raise failures[0]
    notes = [f"not written: {error}" for error in failures]
    if any(part.colour != "black" and part.source is None for part in cut.parts):
        notes.append("EDL and FCPXML know no fade to white: it is black there")
    return texts, tuple(notes)


def _write_pictures(
    timeline: Timeline, sources: tuple[Source, ...], folder: Path, order: Delivery
) -> list[Path]:
    """The media files of the pictures, one by one."""
    if order.media == NO_MEDIA:
        return []
    codec, zero = MEDIA[order.media], _ZERO.format(";" if drops(timeline.rate) else ":")
    if order.media == FILM:
        path = folder / f"{order.stem}.mp4"
        options = ExportOptions(order.sound, on_frame=order.on_frame, codec=codec, timecode=zero)
        export(render(timeline), path, timeline.rate, timeline.num_frames, options)
        return [path]
    total, done, paths = sum(len(clip.frames) for clip in timeline.clips), 0, []
    for clip, source in zip(timeline.clips, sources, strict=True):
        report = _counted_from(done, total, order.on_frame)
        options = ExportOptions(on_frame=report, codec=codec, timecode=zero)
        paths.append(folder / source.file)
        export(clip.frames, paths[-1], timeline.rate, len(clip.frames), options)
        done += len(clip.frames)
    return paths


def _counted_from(
    done: int, total: int, on_frame: Callable[[int, int], None] | None
) -> Callable[[int, int], None] | None:
    return on_frame and (lambda count, _: on_frame(done + count, total))
