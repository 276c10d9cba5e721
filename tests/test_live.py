"""The pack in a real ComfyUI: loads, runs, films again only what changed, survives a restart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .browser import RECORDED
from .live import (
    BLUEPRINTS,
    COUNTED,
    NO_TREE,
    PACK,
    PACK_NAME,
    Comfy,
    Run,
    comfy,
    shortened,
    to_api,
    trees,
)

pytestmark = [pytest.mark.comfy, pytest.mark.timeout(300)]

# Sockets of kinds that came to ComfyUI after 0.8.
NEWER = {"interp_model"}
SMALL = {"width": 416, "height": 240, "rate": "16"}


def workflow(name: str) -> dict[str, Any]:
    return json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


def prompt_of(server: Comfy, name: str, title: str) -> dict[str, Any]:
    """A workflow of the pack as an API prompt, for a small and short film of this title."""
    prompt = to_api(workflow(name), server.get("/object_info"))
    script = prompt[the(prompt, "STAGE_Script")]["inputs"]
    script |= {"title": title, "text": shortened(script["text"]), **SMALL}
    return prompt


def of_one_shot(server: Comfy, title: str) -> dict[str, Any]:
    """The quickstart with a script of a single shot."""
    prompt = prompt_of(server, "quickstart", title)
    script = prompt[the(prompt, "STAGE_Script")]["inputs"]
    script["text"] = "INT. ROOM - DAY\n\n[[shot: insert, static, 0.5s]]\nA letter."
    return prompt


def the(prompt: dict[str, Any], class_type: str) -> str:
    """The id of the only node of a class."""
    (node_id,) = (i for i, node in prompt.items() if node["class_type"] == class_type)
    return node_id


def filmed(prompt: dict[str, Any], run: Run) -> int | None:
    """How many shots the sampler says it filmed; None when it did not run."""
    assert run.status == "success", run.error
    text = run.text(the(prompt, "STAGE_DualEncoderShotSampler"))
    found = re.search(r"filmed (\d+) of", text)
    return int(found[1]) if found else None


def num_shots(server: Comfy, title: str) -> int:
    board = json.loads((server.output / "stage" / title / "board.json").read_text("utf-8"))
    return len(board["shot_list"]["shots"])


def with_counted_model(prompt: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The prompt with the test pack's model on the sampler's lazy socket."""
    counted = {"class_type": "TEST_CountedShotModel", "inputs": {"seconds": seconds}}
    sampler = the(prompt, "STAGE_DualEncoderShotSampler")
    inputs = {**prompt[sampler]["inputs"], "shot_model": ["counted", 0]}
    return {**prompt, "counted": counted, sampler: {**prompt[sampler], "inputs": inputs}}


def test_the_pack_loads_without_a_warning(server):
    about_us = [line for line in server.log.splitlines() if PACK_NAME in line]
    assert len(about_us) == 1 and "FAILED" not in about_us[0], server.log
    ours = [
        i for i, node in server.get("/object_info").items() if PACK_NAME in node["python_module"]
    ]
    assert all(node_id.startswith("STAGE_") for node_id in ours) and len(ours) >= 7


def test_the_nodes_are_those_recorded_for_tests_without_comfyui(server):
    recorded, now = json.loads(RECORDED.read_text("utf-8")), server.get("/object_info")
    ours = {name for name in now if name.startswith("STAGE_")}
    assert ours == {name for name in recorded if name.startswith("STAGE_")}
    for name in ours:
        orders = [inputs_of_every_host(nodes[name]) for nodes in (now, recorded)]
        assert orders[0] == orders[1], "python -m tests.record"


def inputs_of_every_host(node: dict[str, Any]) -> dict[str, list[str]]:
    """The names of a node's inputs in order, without those that older hosts do not know."""
    order = node["input_order"].items()
    return {group: [name for name in names if name not in NEWER] for group, names in order}


@pytest.mark.parametrize("name", ["quickstart", "swap_keyframe"])
def test_a_workflow_saves_a_film(server, name):
    prompt = prompt_of(server, name, f"By API {name}")
    run = server.run(prompt)
    assert run.status == "success", run.error
    (saved,) = run.outputs[the(prompt, "SaveVideo")]["images"]
    assert (server.output / saved["subfolder"] / saved["filename"]).stat().st_size > 10_000


def test_the_same_graph_runs_nothing_again(server):
    prompt = prompt_of(server, "quickstart", "Twice")
    assert filmed(prompt, server.run(prompt)) == num_shots(server, "Twice")
    again = server.run(prompt)
    assert again.status == "success" and not again.executed


def test_a_swapped_keyframe_films_one_shot_and_going_back_none(server):
    first = prompt_of(server, "quickstart", "Swapped")
    server.run(first)
    swapped = prompt_of(server, "swap_keyframe", "Swapped")
    assert filmed(swapped, server.run(swapped)) == 1
    # None: the host still has the first graph's results, and nothing runs at all.
    assert filmed(first, server.run(first)) in (0, None)


def test_an_interrupt_keeps_the_shots_filmed_before_it(server):
    title = "Interrupted"
    prompt = with_counted_model(prompt_of(server, "quickstart", title), seconds=0.05)
    folder = server.output / "stage" / title
    run = server.run(prompt, interrupt=lambda run: (folder / "2_t01.mkv").exists())
    assert run.status == "interrupted"
    assert [path.name for path in sorted(folder.glob("*.mkv"))] == ["1_t01.mkv", "2_t01.mkv"]
    assert filmed(prompt, server.run(prompt)) == num_shots(server, title) - 2


def test_a_prompt_without_a_client_is_filmed(server):
    entry = server.run_headless(of_one_shot(server, "Headless"))
    assert entry["status"]["status_str"] == "success", entry["status"]


def test_two_films_in_one_graph_do_not_disturb_each_other(server):
    first, second = (of_one_shot(server, title) for title in ("First", "Second"))
    # Of the same seed it would have the first film's takes.
    second[the(second, "STAGE_Script")]["inputs"]["seed"] = 1
    text = re.sub(r'\["(\d+)", (\d)\]', r'["1\1", \2]', json.dumps(second))
    both = first | {f"1{node_id}": node for node_id, node in json.loads(text).items()}
    run = server.run(both)
    assert run.status == "success", run.error
    sampler = the(first, "STAGE_DualEncoderShotSampler")
    assert run.text(sampler) == run.text(f"1{sampler}") != ""


@pytest.mark.parametrize(
    "title", ["../../Above", "/etc/film", "Gr\u00f6\u00dfe \u6620\u753b \U0001f3ac"]
)
def test_no_title_leads_out_of_the_output_folder(server, title):
    outside = (server.base, PACK.parent)
    before = [set(folder.iterdir()) for folder in outside]
    stage = server.output / "stage"
    films = set(stage.iterdir()) if stage.exists() else set()
    prompt = of_one_shot(server, title)
    assert filmed(prompt, server.run(prompt)) == 1
    assert [set(folder.iterdir()) for folder in outside] == before
    (film,) = set(stage.iterdir()) - films
    assert (film / "board.json").exists()


def test_templates_are_listed_and_served_with_their_pictures(server):
    names = server.get("/api/workflow_templates")[PACK_NAME]
    assert {"quickstart", "swap_keyframe"} <= set(names)
    for name in names:
        base = f"/api/workflow_templates/{PACK_NAME}/{name}"
        assert json.loads(server.fetch(f"{base}.json"))["nodes"]
        assert server.fetch(f"{base}.jpg").startswith(b"\xff\xd8")


def test_blueprints_are_offered(server):
    ours = [b for b in server.get("/global_subgraphs").values() if PACK_NAME in str(b["info"])]
    assert {blueprint["name"] for blueprint in ours} == {path.stem for path in BLUEPRINTS}


def test_every_node_has_a_help_page(server):
    nodes = server.get("/object_info")
    for node_id in (name for name in nodes if name.startswith("STAGE_")):
        page = server.fetch(f"/extensions/{PACK_NAME}/docs/{node_id}.md").decode()
        assert nodes[node_id]["display_name"] in page


def test_a_restart_films_nothing_and_loads_no_model(tmp_path):
    if not trees():
        pytest.skip(NO_TREE)
    newest, loads = trees()[0], tmp_path / "output" / "loads.txt"
    with comfy(newest, tmp_path, packs=(COUNTED,)) as server:
        prompt = with_counted_model(prompt_of(server, "quickstart", "Restart"), seconds=0)
        assert filmed(prompt, server.run(prompt)) == num_shots(server, "Restart")
        assert count_lines(loads) == 1
    # Without the host's cache every node runs each time, and still nothing is filmed.
    with comfy(newest, tmp_path, "--cache-none", packs=(COUNTED,)) as server:
        assert [filmed(prompt, server.run(prompt)) for _ in range(2)] == [0, 0]
        assert count_lines(loads) == 1


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
