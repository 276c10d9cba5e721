"""Place Sound: one sound after the other, each at its shot."""

from __future__ import annotations

from comfy_api.latest import io

from ..stage_core.cutting import planned
from ..stage_core.editing.mix import mix
from ..stage_core.story.storyboard import Storyboard
from . import host
from .cutting import AT, cues_of
from .sockets import StoryboardSocket

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The film; its shots name places in time."),
    io.Audio.Input("audio", tooltip="What is heard, such as one line of dialogue."),
    io.String.Input(
        "at",
        default="",
        tooltip=f"Where it begins: {AT}. Several with commas, one for each sound of a batch. "
        "Empty: with the film.",
    ),
    io.Audio.Input(
        "placed_before",
        optional=True,
        tooltip="What other Place Sound nodes have placed; it plays too.",
    ),
]
OUTPUTS = [
    io.Audio.Output(
        "audio",
        tooltip="All that was placed, as long as the film: for the dialogue or the score of Shot "
        "Stitcher, or for another Place Sound.",
    )
]


class PlaceSound(io.ComfyNode):
    """Adds a sound to those of a film."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_PlaceSound",
            display_name="Place Sound",
            category=host.CATEGORY,
            description="Puts a sound at a shot or a time of the film. Several in a row give all "
            "lines of a dialogue, or music and effects, as one AUDIO.",
            search_aliases=["audio", "dialogue", "voice", "music", "mix", "stage"],
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, audio, at: str, placed_before=None):
        timeline, _ = planned(storyboard)
        notes: list[str] = []
        cues = cues_of("sound", audio, at, timeline, notes.append)
        cues += cues_of("what was placed before", placed_before, "", timeline, notes.append)
        made = mix(timeline, cues)
        host.say("; ".join([*notes, *made.notes]) or f"sounds in the film: {len(cues)}")
        sound = made.sound
        waveform = {"waveform": sound.samples.unsqueeze(0), "sample_rate": sound.sample_rate}
        return io.NodeOutput(waveform)
