"""Sound and handover in a real ComfyUI, over its web interface alone."""

from __future__ import annotations

import json
from typing import Any

import av
import pytest

opentimelineio = pytest.importorskip("opentimelineio")

pytestmark = [pytest.mark.comfy, pytest.mark.timeout(300)]

SCRIPT = """INT. ROOM - DAY

[[shot: wide, 0.5s]]
IDA opens a door.

[[shot: close-up, 0.5s]]
The handle turns.
"""


def prompt_of(**delivery: Any) -> dict[str, Any]:
    """From script to a film with a line in the second shot, handed over."""
    widgets = {"text": SCRIPT, "title": "Live", "look": "", "negative": "", "rate": "16"}
    widgets |= {"width": 64, "height": 48, "seed": 0, "format": "auto"}
    board, line = ["plan", 0], {"dialogue": ["placed", 0]}
    nodes = {
        "plan": ("STAGE_Script", widgets),
        "audio": ("EmptyAudio", {"duration": 0.2, "sample_rate": 44100, "channels": 2}),
        "placed": (
            "STAGE_PlaceSound",
            {"storyboard": board, "audio": ["audio", 0], "at": "2+0.1s"},
        ),
        "film": (
            "STAGE_ShotStitcher",
            {"storyboard": board, "mark_fill_ins": False, "subtitles": False, **line},
        ),
        "handover": ("STAGE_Handover", {"storyboard": board, **delivery, **line}),
        "text": ("PreviewAny", {"source": ["film", 1]}),
        "files": ("PreviewAny", {"source": ["handover", 0]}),
    }
    return {i: {"class_type": kind, "inputs": inputs} for i, (kind, inputs) in nodes.items()}


def test_a_film_is_handed_over_with_its_sound(server):
    media, lists = "H.264, a file per shot", "OTIO, EDL and FCPXML"
    run = server.run(prompt_of(media=media, lists=lists))
    assert run.status == "success", run.error
    assert "FCM: NON-DROP FRAME" in json.dumps(run.outputs["text"])
    folder = server.output / "stage" / "Live" / "handover"
    kinds = sorted(path.suffix for path in folder.iterdir())
    assert kinds == [".edl", ".fcpxml", ".mov", ".mov", ".otio", ".wav"]
    assert all(path.name in json.dumps(run.outputs["files"]) for path in folder.iterdir())
    read = opentimelineio.adapters.read_from_file(str(folder / "Live.otio"))
    assert read.duration().to_frames() == 24 and read.duration().rate == 24
    (shown,) = run.outputs["film"]["images"]
    with av.open(str(server.base / "temp" / shown["subfolder"] / shown["filename"])) as container:
        assert len(container.streams.audio) == 1


def test_the_socket_for_interpolation_is_there_where_the_host_has_such_models(server):
    info = server.get("/object_info")
    there = "interp_model" in info["STAGE_ShotStitcher"]["input"]["optional"]
    assert there == ("FrameInterpolate" in info)
