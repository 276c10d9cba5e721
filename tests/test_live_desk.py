"""The director's desk in a real ComfyUI: nothing is made for a choice, an order or another disk."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
from PIL import Image

from .live import Comfy, Run, comfy

pytestmark = [pytest.mark.comfy, pytest.mark.timeout(300)]

SCRIPT = {"look": "", "negative": "", "width": 128, "height": 80, "rate": "16", "seed": 3}
STORY = """Title: Two Doors

INT. OFFICE - DAY

[[shot: wide, 0.5s]]
IDA opens a door.

[[shot: medium, 0.5s]]
IDA looks at the second door.

[[shot: close-up, 0.5s]]
The handle turns.
"""


def of(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"STAGE_{class_type}", "inputs": inputs}


def script(title: str = "") -> dict[str, Any]:
    return of("Script", text=STORY, title=title, format="auto", **SCRIPT)


def graph(*desk: dict[str, Any], first: dict[str, Any] | None = None) -> dict[str, Any]:
    """Script or another first node, the desk's nodes, drawing, filming and saving, in a line."""
    board = of("STEP2Storyboard", shots="", redraw="what I changed")
    film = of("DualEncoderShotSampler", shots="", takes=1, film="what changed", film_at_most=-1)
    nodes = [first or script(), *desk, board, film, of("SaveStoryboard", name="")]
    for place, node in enumerate(nodes[1:]):
        node["inputs"]["storyboard"] = [str(place), 0]
    return {str(place): node for place, node in enumerate(nodes)}


def filmed(prompt: dict[str, Any], run: Run) -> int:
    assert run.status == "success", run.error
    sampler = next(
        i for i, n in prompt.items() if n["class_type"] == "STAGE_DualEncoderShotSampler"
    )
    return int(re.search(r"filmed (\d+) of", run.text(sampler))[1])


def run(server: Comfy, *desk: dict[str, Any]) -> int:
    prompt = graph(*desk)
    return filmed(prompt, server.run(prompt))


def test_a_reroll_an_old_take_and_another_order_film_what_they_should(server):
    assert run(server) == 3
    assert run(server, of("EditShot", shot="3", take=2)) == 1
    assert run(server, of("EditShot", shot="3", take=1)) == 0
    assert run(server, of("Arrange", order="3, 1, 2, 2")) == 0
    prompt = graph()
    compare = of("CompareTakes", shot="3", take="2", drawing="", storyboard=["2", 0])
    chosen = server.run({**prompt, "compare": compare})
    assert filmed(prompt, chosen) == 0
    assert "drawings: 1, takes: 2; uses 3_d01, 3_t02" in chosen.text("compare")


def test_a_saved_board_and_its_sheet_open_on_another_machine(server, tmp_path):
    # A film of its own: the sheet has the graph that it was made with, which may be an earlier one.
    prompt = graph(first=script("Elsewhere"))
    saved = server.run(prompt)
    assert saved.status == "success", saved.error
    (sheet,) = saved.outputs["3"]["images"]
    folder = server.output / "stage"
    with Image.open(folder / sheet["filename"]) as image:
        assert json.loads(image.text["prompt"]).keys() == prompt.keys()
        assert json.loads(image.text["stage_storyboard"])["shots"].keys() == {"1", "2", "3"}
    file = max(folder.glob("Elsewhere*.stage.zip")).name
    (tmp_path / "input").mkdir()
    shutil.copy(folder / file, tmp_path / "input")
    shutil.copy(folder / sheet["filename"], tmp_path / "input" / "sheet.png")
    with comfy(server.tree, tmp_path) as elsewhere:
        for name, count in ((file, 0), ("sheet.png", 0)):
            prompt = graph(first=of("LoadStoryboard", file=name, title=""))
            assert filmed(prompt, elsewhere.run(prompt)) == count
        prompt = graph(first=of("LoadStoryboard", file="../x.stage.zip", title=""))
        assert elsewhere.run(prompt).status == "rejected"
