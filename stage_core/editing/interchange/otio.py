"""The cut as OpenTimelineIO: JSON of the schemas Timeline.1, Track.1, Clip.1 and their like."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from .cut import Cut, Part, SoundFile, one_line, url
from .timecode import one_hour

Record = dict[str, Any]


def otio(cut: Cut) -> str:
    """The text of an .otio file, at any rate; media are named relative to it.

    Source: the OpenTimelineIO file format, opentimelineio.readthedocs.io, schema versions as of
    0.14, which later readers upgrade.
    """
    picture = _track("Video", "Video", _pictures(cut))
    sounds = [_track(sound.name, "Audio", _sound(sound, cut.rate)) for sound in cut.sounds]
    timeline = _named("Timeline.1", one_line(cut.title)) | {
        "global_start_time": _time(one_hour(cut.rate), cut.rate),
        "tracks": _named("Stack.1", "tracks")
        | {"source_range": None, "effects": [], "markers": [], "children": [picture, *sounds]},
    }
    return json.dumps(timeline, indent=1) + "\n"


def _pictures(cut: Cut) -> list[Record]:
    children = []
    for part in cut.parts:
        if part.join:
            children.append(
                _named("Transition.1", "Cross Dissolve")
                | {
                    "transition_type": "SMPTE_Dissolve",
                    "in_offset": _time(part.before, cut.rate),
                    "out_offset": _time(part.after, cut.rate),
                }
            )
        children.append(_part(part, cut.rate))
    return children


def _part(part: Part, rate: Fraction) -> Record:
    item = {"effects": [], "markers": []}
    if part.source is None:
        item["source_range"] = _range(0, part.num_frames, rate)
        if part.colour == "black":
            return _named("Gap.1", "black") | item
        solid = _named("GeneratorReference.1", part.colour) | {
            "available_range": None,
            "generator_kind": "SolidColor",
            "parameters": {"color": part.colour},
        }
        return _named("Clip.1", part.colour) | item | {"media_reference": solid}
    source, first = part.source, part.source.first + part.source_in
    item["source_range"] = _range(first, part.num_frames, rate)
    if source.note:
        marker = {"color": "GREEN", "marked_range": _range(first, 0, rate), "comment": source.note}
        item["markers"] = [_named("Marker.2", source.note) | marker]
    media = _media(source.name, source.file, _range(source.first, source.num_frames, rate))
    return _named("Clip.1", source.name) | item | {"media_reference": media}


def _sound(sound: SoundFile, rate: Fraction) -> list[Record]:
    plain = {"effects": [], "markers": []}
    whole = _range(0, sound.num_frames, rate)
    media = _media(sound.name, sound.file, whole)
    clip = _named("Clip.1", sound.name) | plain | {"source_range": whole, "media_reference": media}
    if not sound.first:
        return [clip]
    gap = _named("Gap.1", "silence") | plain | {"source_range": _range(0, sound.first, rate)}
    return [gap, clip]


def _media(name: str, file: str, available: Record) -> Record:
    reference = {"target_url": url(file), "available_range": available}
    return _named("ExternalReference.1", name) | reference


def _track(name: str, kind: str, children: list[Record]) -> Record:
    fields = {"kind": kind, "source_range": None, "effects": [], "markers": []}
    return _named("Track.1", name) | fields | {"children": children}


def _named(schema: str, name: str) -> Record:
    return {"OTIO_SCHEMA": schema, "metadata": {}, "name": name}


def _range(first: int, num_frames: int, rate: Fraction) -> Record:
    times = {"start_time": _time(first, rate), "duration": _time(num_frames, rate)}
    return {"OTIO_SCHEMA": "TimeRange.1"} | times


def _time(frames: int, rate: Fraction) -> Record:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(rate), "value": float(frames)}
