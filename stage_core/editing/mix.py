"""The film's sound: clips' own, dialogue and score, placed in time and mixed to its length."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..story.cinematography import TransitionKind
from ..story.shot_list import duration
from ..story.timeline import Sound, Timeline
from .sound import SAMPLE_RATE, resample

# Long enough to hear no click at a cut, too short to be heard itself.
_AT_A_CUT = Fraction(1, 100)
_AT_THE_END_OF_THE_FILM = Fraction(1)
# A clip is a frame or two longer or shorter than its shot by nature: models have grids.
_UNHEARD = Fraction(1, 8)
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,6})?)", re.ASCII)
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*s", re.ASCII)
_OFFSET = re.compile(r"(.+?)\s*([+-])\s*(\d{1,6}(?:\.\d{1,6})?)\s*(s|f)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Cue:
    """Sound that begins at a time of the film, in seconds, and lasts `room` seconds at most.

    It is faded over `fade_in` and `fade_out` seconds at its ends.
    """

    sound: Sound
    at: Fraction
    name: str
    room: Fraction | None = None
    fade_in: Fraction = _AT_A_CUT
    fade_out: Fraction = _AT_A_CUT


@dataclass(frozen=True, eq=False)
class Mix:
    """The sound of a film, None for a silent one, and what was done to it, in words."""

    sound: Sound | None
    notes: tuple[str, ...] = ()


def mix(timeline: Timeline, cues: Sequence[Cue]) -> Mix:
    """The cues as one track at 48 kHz, exactly as long as the film's picture.

    What is longer is faded out over its last second, or at the end of its room; what is shorter
    is followed by silence. A sum above full level is turned down as a whole. All of it is in
    the notes.

    Raises:
        ValueError: a cue that begins before or after the film.
    """
    if not cues:
        return Mix(None)
    notes: list[str] = []
    length = _samples(timeline.seconds)
    track = torch.zeros(max(cue.sound.samples.shape[0] for cue in cues), length)
    for cue in cues:
        if not 0 <= cue.at < timeline.seconds:
            raise ValueError(
                f"{cue.name} begins at {float(cue.at):.2f} s; the film has 0 to "
                f"{float(timeline.seconds):.2f} s"
            )
        _add(cue, timeline.seconds, track[:, _samples(cue.at) :], notes)
    peak = float(track.abs().max())
    if peak > 1:
        track /= peak
        down = 20 * math.log10(peak)
        notes.append(f"the mix is turned down by {down:.1f} dB, to stay within full level")
    return Mix(Sound(track, SAMPLE_RATE), tuple(notes))


def own_sounds(timeline: Timeline) -> tuple[Cue, ...]:
    """The clips' own sounds where their pictures are: they dissolve and fade with them."""
    cues = []
    places = zip(timeline.clips, timeline.first_frames(), strict=True)
    for index, (clip, first) in enumerate(places):
        if clip.sound is not None:
            fades = (
                _AT_A_CUT
                if edge.kind is TransitionKind.CUT
                else duration(edge.num_frames, timeline.rate)
                for edge in timeline.transitions[index : index + 2]
            )
            at, room = (duration(n, timeline.rate) for n in (first, len(clip.frames)))
            cues.append(Cue(clip.sound, at, f"the sound of shot {clip.shot_id}", room, *fades))
    return tuple(cues)


def find_time(text: str, timeline: Timeline) -> Fraction:
    """The second of the film that a place such as '3', '2A+0.5s', '2A-6f' or '0:12' names.

    A shot is named by its id and begins with its first frame, dissolves included. Nothing is the
    beginning of the film.

    Raises:
        ValueError: neither a shot of this film nor a time.
    """
    text = text.strip()
    starts = {
        clip.shot_id.casefold(): duration(first, timeline.rate)
        for clip, first in zip(timeline.clips, timeline.first_frames(), strict=True)
    }
    if not text:
        return Fraction(0)
    if text.casefold() in starts:
        return starts[text.casefold()]
    clock, seconds = _CLOCK.fullmatch(text), _SECONDS.fullmatch(text)
    if clock:
        hours, minutes, rest = clock.groups()
        return 3600 * Fraction(hours or 0) + 60 * int(minutes) + Fraction(rest)
    if seconds:
        return Fraction(seconds[1])
    offset = _OFFSET.fullmatch(text)
    if offset and offset[1].casefold() in starts:
        size = Fraction(offset[3]) / (timeline.rate if offset[4] == "f" else 1)
        return starts[offset[1].casefold()] + (size if offset[2] == "+" else -size)
    ids = ", ".join(clip.shot_id for clip in timeline.clips[:40])
    raise ValueError(f"{text!r} is no time such as 0:12 and no shot; this film has {ids}")


def _add(cue: Cue, film_seconds: Fraction, track: Tensor, notes: list[str]) -> None:
    """Adds a cue to what is left of the film's track from its place on, cut to its room."""
    samples = resample(cue.sound).samples
    long, left = Fraction(samples.shape[1], SAMPLE_RATE), film_seconds - cue.at
    room, fade_out = cue.room if cue.room is not None else left, cue.fade_out
    if long > room:
        if cue.room is None:
            fade_out = min(_AT_THE_END_OF_THE_FILM, room)
            notes.append(f"{cue.name} is {_longer(long - room)} than the film and is faded out")
        elif long - room > _UNHEARD:
            notes.append(f"{cue.name} is {_longer(long - room)} than the shot and is faded out")
    samples = samples[:, : min(_samples(room), track.shape[1])]
    length = samples.shape[1]
    rise, fall = (_rise(min(length // 2, _samples(s))) for s in (cue.fade_in, fade_out))
    # In three pieces, since a gain for every sample would be another track in memory.
    begun, ending = len(rise), length - len(fall)
    track[:, :begun] += samples[:, :begun] * rise
    track[:, begun:ending] += samples[:, begun:ending]
    track[:, ending:length] += samples[:, ending:] * fall.flip(0)


def _rise(num_samples: int) -> Tensor:
    """A quarter of a sine: two sounds that cross keep their power, as two pictures do."""
    return torch.sin((torch.arange(num_samples) + 0.5) * (math.pi / 2 / max(1, num_samples)))


def _samples(seconds: Fraction) -> int:
    return round(seconds * SAMPLE_RATE)


def _longer(seconds: Fraction) -> str:
    return f"{float(seconds):.2f} s longer"
