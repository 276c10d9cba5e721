"""Sound brought to the film's sample rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import torch

from ..media import import_av
from ..story.timeline import Sound

SAMPLE_RATE = 48_000
"""Samples per second of every film."""

_RESAMPLED_AT_ONCE = 2**20


def resample(sound: Sound, sample_rate: int = SAMPLE_RATE) -> Sound:
    """The same sound at another sample rate; no time is lost or gained."""
    if sound.sample_rate == sample_rate:
        return sound
    av = import_av()
    layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
    resampler = av.AudioResampler("fltp", layout, sample_rate)
    length = round(Fraction(sound.samples.shape[1] * sample_rate, sound.sample_rate))
    made, done = torch.zeros(sound.samples.shape[0], length), 0
    for frame in chain(_frames(sound, layout), [None]):
        for resampled in resampler.resample(frame):
            piece = torch.from_numpy(resampled.to_ndarray())[:, : length - done]
            made[:, done : done + piece.shape[1]] = piece
            done += piece.shape[1]
    return Sound(made, sample_rate)


def _frames(sound: Sound, layout: str) -> Iterator[Any]:
    """The sound in frames of PyAV, none of them long."""
    av, first = import_av(), 0
    for piece in sound.samples.split(_RESAMPLED_AT_ONCE, dim=1):
        frame = av.AudioFrame.from_ndarray(piece.contiguous().numpy(), "fltp", layout)
        frame.sample_rate, frame.pts = sound.sample_rate, first
        frame.time_base = Fraction(1, sound.sample_rate)
        yield frame
        first += piece.shape[1]
