"""The workflows in the front end, in both renderers: with a ComfyUI behind it, and without."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from .browser import FrontEnd, chromium, front_end, launched, recorded_server
from .live import PACK_NAME, WORKFLOWS, Comfy, comfy, looked_at, trees, weights_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NO_TREE = f"no ComfyUI with a Python of its own in {', '.join(map(str, looked_at()))}"
RENDERERS = {"classic": False, "Nodes 2.0": True}
NEEDED = ("playwright", "aiohttp", "comfyui_frontend_package")
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
runnable = [path for path in WORKFLOWS if not weights_of(json.loads(path.read_text("utf-8")))]
each_runnable = pytest.mark.parametrize("path", runnable, ids=lambda path: path.stem)
each_renderer = pytest.mark.parametrize("renderer", RENDERERS)


@pytest.fixture(scope="module")
def browser():
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if chromium() is None:
        pytest.skip("no Chromium: set CHROMIUM, or run `playwright install chromium`")
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def recorded(browser):
    with recorded_server() as url, front_end(browser, url, "STAGE_Script") as page:
        yield page


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def live(request, browser, tmp_path_factory):
    if request.param is None:
        pytest.skip(NO_TREE)
    with (
        comfy(request.param, tmp_path_factory.mktemp("comfy")) as server,
        front_end(browser, server.url, "STAGE_Script") as page,
    ):
        yield server, page


def opened(page: FrontEnd, path: Path, renderer: str) -> dict[str, Any]:
    """The workflow of a file, opened in the page."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    page.use_vue_nodes(RENDERERS[renderer])
    page.open(workflow, path.stem)
    assert page.unknown() == [] and page.dialogs() == []
    return workflow


@each_renderer
@each_workflow
def test_a_workflow_opens_as_it_was_saved(recorded, path, renderer):
    saved = opened(recorded, path, renderer)
    values = {node["id"]: node.get("widgets_values") for node in saved["nodes"]}
    kept = recorded.graph()
    assert {node["id"]: node.get("widgets_values") for node in kept["nodes"]} == values
    assert sorted(kept["links"]) == sorted(saved["links"])


@each_renderer
@each_workflow
def test_no_node_lies_on_another(recorded, path, renderer):
    opened(recorded, path, renderer)
    assert_apart(recorded.boxes())


@pytest.mark.comfy
@each_renderer
@each_runnable
def test_run_films_once_and_shows_it_on_the_nodes(live, path, renderer):
    server, page = live
    need_renderer(server, renderer)
    opened(page, path, renderer)
    make_small(page, f"{path.stem} {renderer}")
    run = page.run()
    assert run["errors"] == [] and page.unknown() == [] and page.dialogs() == []
    made = page.nodes("STAGE_STEP2Storyboard") + page.nodes("STAGE_DualEncoderShotSampler")
    counts = re.search(r"filmed (\d+) of (\d+)", run["texts"][made[-1]][-1])
    assert counts[1] == counts[2] != "0"
    for node_id in made + page.nodes("STAGE_ShotStitcher") + page.nodes("SaveVideo"):
        (address,) = page.media(node_id)
        assert "filename=" in address, "the result itself, not a preview of it"
    assert_apart(page.boxes())
    # The classic renderer gives nodes that show a video a new input, so those run again.
    again = page.run()
    assert again["errors"] == [] and not set(made) & set(again["executed"])


@pytest.mark.comfy
def test_a_workflow_opens_from_the_template_browser(live):
    _, page = live
    page.use_vue_nodes(False)
    page.open_template(PACK_NAME, "quickstart")
    assert page.unknown() == [] and len(page.nodes("STAGE_ShotStitcher")) == 1


def make_small(page: FrontEnd, title: str) -> None:
    """Set the script to a small film of short shots, with a title of its own."""
    text = re.sub(r"[\d.]+s\]\]", "1s]]", page.widget("STAGE_Script", "text"))
    page.set_widgets("STAGE_Script", title=title, text=text, width=416, height=240, rate="16")


def need_renderer(server: Comfy, renderer: str) -> None:
    if RENDERERS[renderer] and int(server.tree.version.split(".")[1]) < 33:
        pytest.skip(f"{server.tree} has Nodes 2.0 as an early preview only")


def assert_apart(boxes: dict[str, list[float]]) -> None:
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"nodes {one} and {other} overlap: {a}, {b}"
