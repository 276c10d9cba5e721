"""Director Brief and Cast in a real ComfyUI: a theme becomes a drawn film without any model."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from PIL import Image

from stage_core.editing.sheet import first_frames
from stage_core.story.shot_list import shot_list_from_record

from .stage_core.answers import QUICK
from .stage_core.editing.lists import agreed_cut

pytestmark = [pytest.mark.comfy, pytest.mark.timeout(300)]

THEME = "In the kitchen, IDA must decide whether to let BO take the lamp."


def member(name: str, description: str, **more: Any) -> dict[str, Any]:
    inputs = {"name": name, "kind": "character", "description": description}
    return {"class_type": "STAGE_Cast", "inputs": {**inputs, "load": "", "save": "", **more}}


def prompt(look: str) -> dict[str, Any]:
    """A film of three shots from a theme, with a cast of two, of whom one looks like this."""
    script = {"title": "Directed", "look": "", "negative": "", "width": 416, "height": 240}
    script |= {"rate": "16", "seed": 0, "format": "auto", "text": ["brief", 1]}
    brief = {"theme": THEME, "num_shots": 3, "seconds": 3.0, "look": "", "language": "English"}
    red = {"width": 64, "height": 64, "batch_size": 1, "color": 0xFF0000}
    return {
        "red": {"class_type": "EmptyImage", "inputs": red},
        "ida": member("Ida", look, image=["red", 0]),
        "bo": member("Bo", "blue jacket", cast=["ida", 0], save="two"),
        "brief": {"class_type": "STAGE_DirectorBrief", "inputs": {**brief, "cast": ["bo", 0]}},
        "script": {
            "class_type": "STAGE_Script",
            "inputs": {**script, "num_shots": ["brief", 2], "cast": ["bo", 0]},
        },
        "memory": {
            "class_type": "STAGE_MemoryPackBuilder",
            "inputs": {"policy": "full", "capacity": 8, "cast": ["bo", 0]},
        },
        "board": {
            "class_type": "STAGE_STEP2Storyboard",
            "inputs": {
                "storyboard": ["script", 0],
                "memory_pack": ["memory", 0],
                "shots": "",
                "redraw": "what I changed",
            },
        },
    }


def asked_and_answered(answer: str) -> dict[str, Any]:
    """Everything in one queue: a node in the place of a language model answers the brief, and of
    that come film, sheet, PDF and all edit lists."""
    brief = {"theme": "A well.", "num_shots": 3, "seconds": 0.0, "look": "", "language": "English"}
    script = {"title": "Answered", "look": "", "negative": "", "width": 64, "height": 36}
    script |= {"rate": "24", "seed": 0, "format": "answer", "num_shots": ["brief", 2]}
    model = {"string": ["brief", 0], "regex_pattern": ".+", "replace": answer, "dotall": True}
    redraw = {"shots": "", "redraw": "what I changed"}
    film = {"shots": "", "takes": 1, "film": "what changed", "film_at_most": -1}
    lists = {"media": "H.264, a file per shot", "lists": "OTIO, EDL and FCPXML"}
    stitch = {"mark_fill_ins": True, "subtitles": False}
    nodes = {
        "brief": ("STAGE_DirectorBrief", brief),
        "model": ("RegexReplace", model),
        "script": ("STAGE_Script", {**script, "text": ["model", 0]}),
        "board": ("STAGE_STEP2Storyboard", {"storyboard": ["script", 0], **redraw}),
        "takes": ("STAGE_DualEncoderShotSampler", {"storyboard": ["board", 0], **film}),
        "film": ("STAGE_ShotStitcher", {"storyboard": ["takes", 0], **stitch}),
        "lists": ("STAGE_Handover", {"storyboard": ["takes", 0], **lists}),
        "sheet": ("STAGE_SaveStoryboard", {"storyboard": ["takes", 0], "name": ""}),
    }
    return {i: {"class_type": kind, "inputs": inputs} for i, (kind, inputs) in nodes.items()}


def drawn(server, asked: dict[str, Any]) -> int:
    run = server.run(asked)
    assert run.status == "success", run.error
    return int(re.search(r"dr\w+ (\d+) of", run.text("board"))[1])


def test_a_theme_and_a_cast_become_a_board_and_a_new_look_draws_who_wears_it(server):
    assert drawn(server, prompt("red coat")) == 3
    folder = server.output / "stage"
    board = json.loads((folder / "Directed" / "board.json").read_text("utf-8"))
    plan = board["shot_list"]
    assert [member["name"] for member in plan["cast"]] == ["Ida", "Bo"]
    kept = json.loads((folder / "cast" / "two" / "cast.json").read_text("utf-8"))
    assert len(kept["members"]) == 2 and len(kept["members"][0]["pictures"]) == 1
    naming = [s for s in plan["shots"] if "Ida" in s["cast"] or "Ida" in s["description"]]
    assert 0 < len(naming) < 3
    assert drawn(server, prompt("green dress")) == len(naming)
    assert drawn(server, prompt("red coat")) == 0


def test_one_queue_from_a_theme_gives_film_sheet_pdf_and_lists_that_agree(server):
    run = server.run(asked_and_answered(QUICK))
    assert run.status == "success", run.error
    folder = server.output / "stage"
    (shown,) = run.outputs["film"]["images"]
    film = server.base / "temp" / shown["subfolder"] / shown["filename"]
    cut = agreed_cut(film, folder / "Answered" / "handover")
    assert cut == [[0, 12, 0, "1", 0], [8, 20, 4, "2", 0], [20, 32, 0, "3", 0]]
    (sheet,) = run.outputs["sheet"]["images"]
    with Image.open(folder / sheet["filename"]) as image:
        plan = json.loads(image.text["stage_storyboard"])["shot_list"]
    starts = first_frames(shot_list_from_record(plan))
    assert starts == {shot: first for first, _, _, shot, _ in cut}
    (pdf,) = folder.glob("Answered_*.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")


def test_an_answer_that_stops_fails_at_the_script_with_what_to_send_back(server):
    run = server.run(asked_and_answered(QUICK[: len(QUICK) // 2]))
    assert run.status == "error" and "board" not in run.executed
    assert "stops in shot" in run.error and "exactly 3 shots" in run.error


def test_an_answer_with_another_number_of_shots_is_refused_with_what_to_send_back(server):
    asked = prompt("red coat")
    answer = {"shots": [{"description": "A door."}]}
    asked["script"]["inputs"] |= {"text": json.dumps(answer), "format": "answer"}
    run = server.run(asked)
    assert run.status != "success" and "exactly 3 shots" in str(run.error)
