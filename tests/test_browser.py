"""The workflows in the front end, in both renderers: with a ComfyUI behind it, and without."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import time
import zlib
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .browser import FrontEnd, chromium, front_end, launched, recorded_server
from .live import (
    BLUEPRINTS,
    PACK,
    PACK_NAME,
    WORKFLOWS,
    Comfy,
    shortened,
    without_weights,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

RENDERERS = {"classic": False, "Nodes 2.0": True}
NEEDED = ("playwright", "aiohttp", "comfyui_frontend_package")
each_runnable = pytest.mark.parametrize(
    "path", without_weights(WORKFLOWS), ids=lambda path: path.stem
)
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


@pytest.fixture(scope="module")
def live(server, browser):
    with front_end(browser, server.url, "STAGE_Script") as page:
        yield server, page


@pytest.fixture(scope="module", params=RENDERERS)
def renderer_of_all(request):
    return request.param


@pytest.fixture(scope="module", params=WORKFLOWS, ids=lambda path: path.stem)
def shown(request, recorded, renderer_of_all):
    """A page with a workflow in it, opened once for all tests that only look, and its graph."""
    return recorded, opened(recorded, request.param, renderer_of_all)


def opened(page: FrontEnd, path: Path, renderer: str) -> dict[str, Any]:
    """The workflow of a file, opened in the page."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    page.use_vue_nodes(RENDERERS[renderer])
    page.open(workflow, path.stem)
    assert page.unknown() == [] and page.dialogs() == []
    return workflow


def values_of(workflow: dict[str, Any]) -> dict[Any, Any]:
    """The values of the widgets of every node, by its id."""
    return {node["id"]: node.get("widgets_values") for node in workflow["nodes"]}


def test_a_workflow_opens_as_it_was_saved(shown):
    page, saved = shown
    kept = page.graph()
    assert values_of(kept) == values_of(saved)
    assert sorted(kept["links"]) == sorted(saved["links"])


def test_no_node_lies_on_another(shown):
    page, _ = shown
    assert_apart(page.boxes())


# A sheet of two shots, as a node tells of it.
SHEET = {
    "images": [{"filename": "sheet.png", "subfolder": "", "type": "temp"}],
    "stage_panels": [
        {
            "filename": "sheet.png",
            "title": "Two Doors",
            "told": 1.0,
            "size": [800, 400],
            "panels": [
                {"id": "3", "status": "filmed", "box": [0, 0, 400, 400]},
                {"id": "2A", "status": "drawn", "box": [400, 0, 800, 400]},
            ],
        }
    ],
}
# As the sampler tells, later and without a sheet.
FILMED = {
    "images": SHEET["images"],
    "stage_panels": [
        {"title": "Two Doors", "told": 2.0, "panels": [{"id": "2A", "status": "filmed"}]}
    ],
}
# Of another film, from a workflow that is not open now.
ANOTHER_SHEET = {
    "stage_panels": [
        {
            "filename": "another.png",
            "title": "Old Rain",
            "size": [400, 400],
            "panels": [{"id": "2A", "status": "filmed", "box": [0, 0, 400, 400]}],
        }
    ]
}
COLOURS = {"3": (255, 0, 0), "2A": (0, 0, 255)}


# Previews of a node, each a picture of its own, and then its result if there is one: all at once,
# as for a page that was busy meanwhile.
_RUN = """([id, previews, output, run = 'x']) => {
  const send = (kind, detail) => app.api.dispatchEvent(new CustomEvent(kind, {detail}))
  for (const data of previews) {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0))
    const of = {nodeId: id, displayNodeId: id, parentNodeId: id, realNodeId: id, jobId: 'x'}
    send('b_preview_with_metadata', {...of, blob: new Blob([bytes], {type: 'image/png'})})
  }
  if (output) send('executed', {node: id, display_node: id, prompt_id: run, output})
  // As a run does again and again.
  app.canvas.setDirty(true, true)
}"""


def show_sheet(page: FrontEnd) -> None:
    """Have the front end show a sheet on STEP2 Storyboard whose shots are fields of colour."""
    picture = Image.new("RGB", (800, 400))
    for panel in SHEET["stage_panels"][0]["panels"]:
        picture.paste(COLOURS[panel["id"]], tuple(panel["box"]))
    answer = {"body": png(picture), "content_type": "image/png"}
    page.page.route("**/view?*", lambda route: route.fulfill(**answer))
    (node_id,) = page.nodes("STAGE_STEP2Storyboard")
    page.page.evaluate(_RUN, [node_id, [], SHEET])
    assert_shows_its_result(page, node_id)


def png(picture: Image.Image, info: PngInfo | None = None) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", pnginfo=info)
    return data.getvalue()


def click_on(page: FrontEnd, colour: tuple[int, int, int]) -> None:
    """Click into the middle of the largest field of a colour on the screen."""
    with Image.open(io.BytesIO(page.page.screenshot())) as screen:
        seen = numpy.asarray(screen.convert("RGB"))
    rows, columns = numpy.nonzero((seen == colour).all(-1))
    assert len(rows) > 100, "the sheet is not to be seen"
    page.page.mouse.click(int(numpy.median(columns)), int(numpy.median(rows)))
    page.page.wait_for_timeout(300)


def select(page: FrontEnd, node_type: str) -> None:
    page.page.evaluate(
        "type => app.canvas.selectNode(app.graph._nodes.find(node => node.type == type))", node_type
    )
    page.page.wait_for_timeout(200)


def badges_on(page: FrontEnd, node_type: str) -> list[str]:
    """What the badges say of the only node of a type."""
    found = """type => app.graph._nodes.find(node => node.type == type).badges
      .map(badge => (typeof badge == 'function' ? badge() : badge).text)"""
    return page.page.evaluate(found, node_type)


@each_renderer
def test_a_click_on_the_sheet_puts_the_shot_into_the_selected_node(recorded, renderer):
    errors = []
    recorded.page.on("pageerror", lambda error: errors.append(str(error)))
    opened(recorded, PACK / "workflows" / "swap_keyframe.json", renderer)
    show_sheet(recorded)
    recorded.settle()
    before = recorded.widget("STAGE_PickShot", "shot")
    select(recorded, "STAGE_ReplaceKeyframes")
    for shot, colour in COLOURS.items():
        click_on(recorded, colour)
        assert recorded.widget("STAGE_ReplaceKeyframes", "shot") == shot
    assert recorded.widget("STAGE_PickShot", "shot") == before
    badges = partial(badges_on, recorded, "STAGE_ReplaceKeyframes")
    assert "drawn" in badges()
    recorded.page.evaluate(_RUN, ["999", [], ANOTHER_SHEET])
    assert "drawn" in badges()
    (sampler,) = recorded.nodes("STAGE_DualEncoderShotSampler")
    recorded.page.evaluate(_RUN, [sampler, [], FILMED, renderer])
    assert "filmed" in badges()
    # What the host has kept of the drawing node is told again, after what came later.
    (drawing,) = recorded.nodes("STAGE_STEP2Storyboard")
    recorded.page.evaluate(_RUN, [drawing, [], SHEET, renderer])
    assert "filmed" in badges()
    assert errors == []


@each_renderer
def test_a_click_with_nothing_to_take_it_changes_nothing(recorded, renderer):
    opened(recorded, PACK / "workflows" / "swap_keyframe.json", renderer)
    show_sheet(recorded)
    recorded.settle()
    kept = values_of(recorded.graph())
    click_on(recorded, COLOURS["2A"])
    assert values_of(recorded.graph()) == kept


@each_renderer
def test_a_result_takes_the_place_of_the_previews_however_late_it_is_seen(recorded, renderer):
    opened(recorded, PACK / "workflows" / "swap_keyframe.json", renderer)
    show_sheet(recorded)
    (node_id,) = recorded.nodes("STAGE_STEP2Storyboard")
    preview = base64.b64encode(png(Image.new("RGB", (64, 32)))).decode()
    recorded.page.evaluate(_RUN, [node_id, [preview], None])
    waited_for(recorded, node_id, lambda media: any(one.startswith("blob:") for one in media))
    recorded.page.evaluate(_RUN, [node_id, [preview, preview], SHEET])
    assert_shows_its_result(recorded, node_id)
    # Nor does one come back, or go, later: front ends drop previews after 0.4 s.
    recorded.page.wait_for_timeout(800)
    assert ["sheet.png" in one for one in recorded.media(node_id)] == [True]


# As a browser gives the front end a file that is dropped on the canvas.
_DROP = """async ([data, name]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0))
  await app.handleFile(new File([bytes], name, {type: 'image/png'}))
}"""


@each_renderer
def test_a_sheet_dropped_on_the_canvas_opens_its_graph(recorded, renderer):
    path = PACK / "workflows" / "swap_keyframe.json"
    dropped = json.loads(path.read_text(encoding="utf-8"))
    opened(recorded, PACK / "workflows" / "quickstart.json", renderer)
    info = PngInfo()
    # As the host writes it: the sheet's board in a chunk beside the graph's.
    info.add_text("workflow", json.dumps(dropped))
    info.add_text("stage_storyboard", json.dumps({"schema": "stage.Archive.1"}))
    sheet = base64.b64encode(png(Image.new("RGB", (8, 8)), info)).decode()
    recorded.page.evaluate(_DROP, [sheet, "sheet.png"])
    recorded.settle()
    assert values_of(recorded.graph()) == values_of(dropped)


# As a browser tells of a file that is dropped on the canvas.
_DROP_EVENT = """name => {
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File(['a board'], name, {type: 'application/zip'}))
  const canvas = app.canvas.canvas, {left, top} = canvas.getBoundingClientRect()
  const at = {clientX: left + 300, clientY: top + 200, bubbles: true, cancelable: true}
  canvas.dispatchEvent(new DragEvent('drop', {...at, dataTransfer}))
}"""


@each_renderer
def test_a_saved_board_dropped_on_the_canvas_is_loaded_by_a_node(recorded, renderer):
    opened(recorded, PACK / "workflows" / "quickstart.json", renderer)
    sent = []

    def keep(route):
        sent.append(re.search(rb'filename="(.+?)"', route.request.post_data_buffer)[1].decode())
        route.fulfill(json={"name": sent[-1], "subfolder": "", "type": "input"})

    taken = {"input": {"required": {"file": ["COMBO", {"options": ["Two Doors.stage.zip"]}]}}}
    info = {"STAGE_LoadStoryboard": taken}
    recorded.page.route("**/upload/image", keep)
    recorded.page.route(
        "**/object_info/STAGE_LoadStoryboard", lambda route: route.fulfill(json=info)
    )
    recorded.page.evaluate(_DROP_EVENT, "Two Doors.stage.zip")
    recorded.page.wait_for_function(
        "() => app.graph._nodes.some(node => node.type == 'STAGE_LoadStoryboard')"
    )
    assert sent == [recorded.widget("STAGE_LoadStoryboard", "file")] == ["Two Doors_2.stage.zip"]
    recorded.page.wait_for_timeout(300)
    said = recorded.page.locator(".p-toast-message").all_inner_texts()
    assert not any("Two Doors" in text for text in said)


def test_the_picture_of_a_help_page_is_shown(recorded):
    opened(recorded, PACK / "workflows" / "quickstart.json", "Nodes 2.0")
    select(recorded, "STAGE_Script")
    recorded.page.get_by_test_id("info-button").click()
    picture = recorded.page.locator("img[src$='docs/STAGE_Script.jpg']")
    picture.wait_for()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")


@pytest.mark.comfy
@each_renderer
@each_runnable
def test_run_films_once_and_shows_it_on_the_nodes(live, path, renderer):
    server, page = live
    need_renderer(server, renderer)
    opened(page, path, renderer)
    make_small(page, f"{path.stem} {renderer}")
    before, stitchers = page.boxes(), page.nodes("STAGE_ShotStitcher")
    run = page.run()
    assert run["errors"] == [] and page.unknown() == [] and page.dialogs() == []
    made = page.nodes("STAGE_STEP2Storyboard") + page.nodes("STAGE_DualEncoderShotSampler")
    counts = re.search(r"filmed (\d+) of (\d+)", run["texts"][made[-1]][-1])
    assert counts[1] == counts[2] != "0"
    for node_id in made + stitchers + page.nodes("SaveVideo"):
        assert_shows_its_result(page, node_id)
    page.settle()
    assert_apart(page.boxes())
    if renderer == "classic":
        # It would hang out of the node first, and the node then grow over what lies below.
        now = page.boxes()
        assert [now[i] for i in stitchers] == [before[i] for i in stitchers], "no room for the film"
    again = page.run()
    # ComfyUI 0.8.0 puts the text that its own preview shows into that node's inputs.
    executed = set(again["executed"]) - set(page.nodes("PreviewAny"))
    assert again["errors"] == [] and executed == set()
    for node_type in filter(page.nodes, ("STAGE_EditShot", "STAGE_CompareTakes")):
        assert "filmed" in badges_on(page, node_type)


@pytest.mark.comfy
@pytest.mark.parametrize("path", without_weights(BLUEPRINTS), ids=lambda path: path.stem)
def test_a_blueprint_films(live, path):
    server, page = live
    blueprint = opened(page, path, "classic")
    (node,) = blueprint["nodes"]
    text = shortened(page.widget(node["type"], "text"))
    page.set_widgets(node["type"], title=path.stem, text=text, width=416, height=240, rate="16")
    run = page.run()
    assert run["errors"] == [] and page.unknown() == []
    (film,) = (server.output / "stage").glob(f"{path.stem}*")
    shots = json.loads((film / "board.json").read_text(encoding="utf-8"))["shot_list"]["shots"]
    assert len(list(film.glob("*.mkv"))) == len(shots) > 2


@pytest.mark.comfy
def test_a_workflow_opens_from_the_template_browser(live):
    _, page = live
    page.use_vue_nodes(False)
    page.open_template(PACK_NAME, "quickstart")
    assert page.unknown() == [] and len(page.nodes("STAGE_ShotStitcher")) == 1


def make_small(page: FrontEnd, title: str) -> None:
    """Set the script to a small film of short shots, with a title and a seed of its own."""
    text, size = shortened(page.widget("STAGE_Script", "text")), {"width": 416, "height": 240}
    # Of the seed of a film beside it, it would have takes already.
    seed = zlib.crc32(title.encode())
    page.set_widgets("STAGE_Script", title=title, text=text, rate="16", seed=seed, **size)
    page.set_widgets("STAGE_DirectorBrief", num_shots=3, seconds=2)


def assert_shows_its_result(page: FrontEnd, node_id: str) -> None:
    """The node comes to show one picture or video: its result, not a preview of it."""
    waited_for(page, node_id, lambda media: ["filename=" in one for one in media] == [True])


def waited_for(page: FrontEnd, node_id: str, wanted: Callable[[list[str]], bool]) -> None:
    """Wait until a node shows what is wanted."""
    media, end = page.media(node_id), time.monotonic() + 30
    while not wanted(media):
        assert time.monotonic() < end, f"node {node_id} shows {media}"
        page.page.wait_for_timeout(100)
        media = page.media(node_id)


def need_renderer(server: Comfy, renderer: str) -> None:
    if RENDERERS[renderer] and int(server.tree.version.split(".")[1]) < 33:
        pytest.skip(f"{server.tree} has Nodes 2.0 as an early preview only")


def assert_apart(boxes: dict[str, list[float]]) -> None:
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"nodes {one} and {other} overlap: {a}, {b}"
