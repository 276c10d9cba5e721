"""What Shot Stitcher and Handover have in common: how clips are finished, what is heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ..stage_core.backends.previs.animatic import Animatic
from ..stage_core.backends.previs.sketch import Sketch
from ..stage_core.cutting import cut
from ..stage_core.editing.finish import Finish
from ..stage_core.editing.mix import Cue, Mix, find_time, mix, own_sounds
from ..stage_core.media import sound_of
from ..stage_core.story.shot_list import ShotList
from ..stage_core.story.storyboard import Storyboard
from ..stage_core.story.timeline import Timeline
from .native.enhance import Interpolator, knows_interpolation, send_back, upscaler

AT = "a shot such as 3, a time after it such as 2A+0.5s, or a time of the film such as 0:12"

SOUND_INPUTS = [
    io.Audio.Input(
        "dialogue",
        optional=True,
        tooltip="What is said. Every sound of a batch has a place of its own in dialogue_at; "
        "Place Sound joins single ones.",
    ),
    io.String.Input(
        "dialogue_at",
        default="",
        optional=True,
        tooltip=f"Where the dialogue begins: {AT}. Several with commas, one for each sound of "
        "the batch. Empty: with the film.",
    ),
    io.Audio.Input(
        "score",
        optional=True,
        tooltip="Music or atmosphere. What is longer than the film fades out with it.",
    ),
    io.String.Input(
        "score_at",
        default="",
        optional=True,
        tooltip=f"Where the score begins: {AT}. Empty: with the film.",
    ),
]
FINISH_INPUTS = [
    io.Boolean.Input(
        "match_colours",
        default=False,
        optional=True,
        tooltip="Brings filmed shots to the colours of their drawn frames, and says how far they "
        "were from them before and after.",
    ),
    io.UpscaleModel.Input(
        "upscale_model",
        optional=True,
        tooltip="Makes the frames of filmed shots larger before they are fitted to the film.",
    ),
]
if knows_interpolation():
    FINISH_INPUTS.append(
        io.Custom("INTERP_MODEL").Input(
            "interp_model",
            optional=True,
            tooltip="Makes the frames that a shot filmed at a lower rate has not, such as 24 a "
            "second from 16. Empty: frames are repeated.",
        )
    )
CUT_INPUTS = [*SOUND_INPUTS, *FINISH_INPUTS]


@dataclass
class Cutting:
    """A board on its way to a film; `notes` collects what there is to know, each once.

    `inputs` are those of CUT_INPUTS that are there. Used as a context: at its end the models for
    frames give their VRAM back.
    """

    board: Storyboard
    inputs: Mapping[str, Any]
    subtitles: bool = False
    mark_fill_ins: bool = True
    notes: dict[str, None] = field(default_factory=dict)

    def __enter__(self) -> Cutting:
        return self

    def __exit__(self, *error: object) -> None:
        if (model := self.inputs.get("upscale_model")) is not None:
            send_back(model)

    def note(self, text: str) -> None:
        """Keeps a sentence for the person at the node."""
        self.notes[text] = None

    def timeline(self, rate: Fraction | None = None) -> tuple[Timeline, ShotList]:
        """The cut, every shot of it filmed or filled in, and its plan; at another rate if asked."""
        fill_in = Sketch(), Animatic(subtitles=self.subtitles)
        return cut(self.board, self._finish(), fill_in, self.mark_fill_ins, rate)

    def sounds(self, timeline: Timeline) -> dict[str, tuple[Cue, ...]]:
        """What is heard in the film, placed in time: dialogue and score, where there are any.

        Raises:
            ValueError: a place that is none, or not as many places as sounds.
        """
        found = {}
        for name in ("dialogue", "score"):
            places = self.inputs.get(f"{name}_at", "")
            found[name] = cues_of(name, self.inputs.get(name), places, timeline, self.note)
        return {name: cues for name, cues in found.items() if cues}

    def mixed(self, timeline: Timeline) -> Mix:
        """The film's whole sound: the clips' own, dialogue and score."""
        cues = [cue for cues in self.sounds(timeline).values() for cue in cues]
        made = mix(timeline, [*own_sounds(timeline), *cues])
        for text in made.notes:
            self.note(text)
        return made

    def _finish(self) -> Finish:
        upscale, interpolation = (self.inputs.get(n) for n in ("upscale_model", "interp_model"))
        return Finish(
            upscaler(upscale) if upscale is not None else None,
            Interpolator(interpolation) if interpolation is not None else None,
            self.inputs.get("match_colours", False),
            self.note,
        )


def cues_of(
    name: str, audio: Any, places: str, timeline: Timeline, note: Callable[[str], None]
) -> tuple[Cue, ...]:
    """The sounds of an AUDIO, or of none, each at its place; `note` is told what was mended.

    Raises:
        ValueError: a place that is none, or not as many places as sounds.
    """
    if audio is None:
        return ()
    waveforms, listed = audio["waveform"], places.split(",")
    if len(listed) != len(waveforms):
        raise ValueError(
            f"{len(listed)} places for {len(waveforms)} sounds of {name}; give each its own, with "
            "commas between"
        )
    cues = []
    for place, samples in zip(listed, waveforms, strict=True):
        title = f"{name} at {place.strip()}" if place.strip() else name
        sound, notes = sound_of(samples, audio["sample_rate"], title)
        for text in notes:
            note(text)
        cues.append(Cue(sound, find_time(place, timeline), title))
    return tuple(cues)
