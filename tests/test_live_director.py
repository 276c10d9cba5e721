"""Director Brief and Cast in a real ComfyUI: a theme becomes a drawn film without any model."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .live import comfy, trees
from .test_live import NO_TREE

pytestmark = [pytest.mark.comfy, pytest.mark.timeout(300)]

THEME = "In the kitchen, IDA must decide whether to let BO take the lamp."


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def server(request, tmp_path_factory):
    if request.param is None:
        pytest.skip(NO_TREE)
    with comfy(request.param, tmp_path_factory.mktemp("comfy")) as running:
        yield running


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


def test_an_answer_with_another_number_of_shots_is_refused_with_what_to_send_back(server):
    asked = prompt("red coat")
    answer = {"shots": [{"description": "A door."}]}
    asked["script"]["inputs"] |= {"text": json.dumps(answer), "format": "answer"}
    run = server.run(asked)
    assert run.status != "success" and "exactly 3 shots" in str(run.error)
