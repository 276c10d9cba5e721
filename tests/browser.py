"""ComfyUI's front end in Chromium for tests, on a live server or on a recorded one.

Chromium is CHROMIUM, else one on the PATH, else the one that Playwright installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

RECORDED = Path(__file__).resolve().parent / "data" / "object_info.json"
WEB = Path(__file__).resolve().parents[1] / "nodes" / "web"

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--use-gl=swiftshader")

_READY = """type => {
  window.app ??= window.comfyAPI?.app?.app
  return Boolean(window.app?.graph && window.LiteGraph?.registered_node_types[type])
}"""

# What the front end is told about runs, kept where the test can read it.
_LISTEN = """() => {
  const seen = window.seen = {executed: [], cached: [], texts: {}, errors: [], done: 0}
  const on = (type, note) => app.api.addEventListener(type, event => note(event.detail))
  on('executing', id => id && seen.executed.push(String(id?.node ?? id)))
  on('execution_cached', data => seen.cached.push(...data.nodes))
  on('progress_text', data => (seen.texts[data.nodeId] ??= []).push(data.text))
  on('execution_error', data => seen.errors.push(data.exception_message))
  on('execution_interrupted', () => seen.errors.push('interrupted'))
  on('execution_success', () => seen.done += 1)
}"""

_UNKNOWN = """() => app.graph._nodes
  .filter(node => !LiteGraph.registered_node_types[node.type] || node.has_errors)
  .map(node => node.type)"""

_DIALOGS = """() => [...document.querySelectorAll('[role=dialog], .p-dialog, .comfy-modal')]
  .filter(element => element.checkVisibility() && element.innerText.trim())
  .map(element => element.innerText.trim().slice(0, 300))"""

# Boxes in graph units, title included: those on screen with Nodes 2.0, the canvas's without.
_BOXES = """const boxes = () => {
  const {scale, offset} = app.canvas.ds, origin = app.canvas.canvas.getBoundingClientRect()
  return app.graph._nodes.map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`)
    if (!element) {
      const [x, y, width, height] = node.getBounding()
      return {id: String(node.id), type: node.type, box: [x, y, x + width, y + height]}
    }
    const r = element.getBoundingClientRect()
    const x = (r.left - origin.left) / scale - offset[0]
    const y = (r.top - origin.top) / scale - offset[1]
    return {id: String(node.id), type: node.type,
            box: [x, y, x + r.width / scale, y + r.height / scale]}
  })
};"""

# Until nothing has moved for a while: some time, and some frames of a slow machine.
_REST = f"""async milliseconds => {{ {_BOXES}
  let before = '', frames = 0, since = 0
  for (const begun = performance.now(); performance.now() - begun < 20000;) {{
    await new Promise(requestAnimationFrame)
    const now = JSON.stringify(boxes().map(({{box}}) => box.map(Math.round)))
    if (now != before) [before, frames, since] = [now, 0, performance.now()]
    else if (++frames > 5 && performance.now() - since > milliseconds) return
  }}
}}"""

_NODES = """type => app.graph._nodes.filter(node => node.type == type)
  .map(node => String(node.id))"""

_SET = """([type, values]) => {
  for (const node of app.graph._nodes.filter(node => node.type == type))
    for (const [name, value] of Object.entries(values)) {
      const widget = node.widgets.find(widget => widget.name == name)
      widget.value = value
      widget.callback?.(value)
    }
}"""

_WIDGET = """([type, name]) => app.graph._nodes.find(node => node.type == type)
  .widgets.find(widget => widget.name == name).value"""

# Names of files, or of previews that are in no file.
_MEDIA = """id => {
  const element = document.querySelector(`[data-node-id="${id}"]`)
  const node = app.graph.getNodeById(id), shown = element ?? node.videoContainer
  const media = [...(shown?.querySelectorAll('img, video') ?? [])]
  if (!element) media.push(...(node.imgs ?? []))
  return media.map(one => one.currentSrc || one.src || one.querySelector('source').src)
}"""

_FIT = """() => {
  const boxes = app.graph._nodes.map(node => node.getBounding())
  const left = Math.min(...boxes.map(b => b[0])), right = Math.max(...boxes.map(b => b[0] + b[2]))
  const top = Math.min(...boxes.map(b => b[1])), low = Math.max(...boxes.map(b => b[1] + b[3]))
  const {width, height} = app.canvas.canvas.getBoundingClientRect()
  const scale = Math.min(1.2, (width - 140) / (right - left), (height - 140) / (low - top))
  app.canvas.ds.scale = scale
  app.canvas.ds.offset = [width / 2 / scale - (left + right) / 2 + 20,
                          height / 2 / scale - (top + low) / 2 + 20]
  app.canvas.setDirty(true, true)
}"""


def chromium() -> str | None:
    """The path of a Chromium that can be driven, or None."""
    given = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = given or next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as driver:
            own = driver.chromium.executable_path
        found = own if Path(own).exists() else None
    return found


class FrontEnd:
    """The front end in one page of a browser; made by `front_end`."""

    def __init__(self, page: Any):
        self.page = page

    def use_vue_nodes(self, enabled: bool) -> None:
        """Choose the renderer: Nodes 2.0, or the classic canvas."""
        self.page.evaluate(
            "on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", enabled
        )

    def open(self, workflow: Mapping[str, Any], name: str = "test") -> None:
        """Load an editor-format graph as the current one, and show all of it."""
        self.page.evaluate(
            "([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, name]
        )
        self.settle()

    def settle(self, milliseconds: int = 300) -> None:
        """Fit the graph to the window and let the page come to rest, for so long."""
        self.page.evaluate(_REST, milliseconds)
        self.page.evaluate(_FIT)
        self.page.evaluate(_REST, milliseconds)

    def unknown(self) -> list[str]:
        """Types of the nodes that are not installed or that are marked as faulty."""
        return self.page.evaluate(_UNKNOWN)

    def dialogs(self) -> list[str]:
        """What open dialogs say."""
        return self.page.evaluate(_DIALOGS)

    def boxes(self) -> dict[str, list[float]]:
        """Left, top, right and bottom of every node, as shown, by its id."""
        found = self.page.evaluate(f"() => {{ {_BOXES} return boxes() }}")
        return {node["id"]: node["box"] for node in found}

    def nodes(self, node_type: str) -> list[str]:
        """The ids of the nodes of a type."""
        return self.page.evaluate(_NODES, node_type)

    def set_widgets(self, node_type: str, **values: Any) -> None:
        """Set widgets of the nodes of a type, as typing into them does."""
        self.page.evaluate(_SET, [node_type, values])

    def widget(self, node_type: str, name: str) -> Any:
        """The value of a widget of the first node of a type."""
        return self.page.evaluate(_WIDGET, [node_type, name])

    def media(self, node_id: str) -> list[str]:
        """The addresses of the pictures and videos on a node; those of previews are blobs."""
        return self.page.evaluate(_MEDIA, node_id)

    def open_template(self, pack: str, name: str) -> None:
        """Open a pack's template as a person does: in the template browser."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_text(pack, exact=True).first.click()
        dialog.get_by_text(name, exact=True).first.click()
        dialog.wait_for(state="hidden")
        self.settle()

    def graph(self) -> dict[str, Any]:
        """The graph as the front end would save it."""
        # As text: Playwright would turn what is undefined into null.
        return json.loads(self.page.evaluate("() => JSON.stringify(app.graph.serialize())"))

    def prompt(self) -> dict[str, Any]:
        """The graph as the front end would queue it."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def run(self, timeout: float = 120) -> dict[str, Any]:
        """Press Run and wait for the end: executed, cached, texts by node id, errors."""
        self.page.evaluate(_LISTEN)
        self.page.evaluate("() => { app.queuePrompt(0) }")
        over = (
            "() => seen.done || seen.errors.length || Object.keys(app.lastNodeErrors ?? {}).length"
        )
        self.page.wait_for_function(over, timeout=timeout * 1000)
        refused = self.page.evaluate("() => app.lastNodeErrors ?? {}")
        seen = self.page.evaluate("() => seen")
        return {**seen, "errors": seen["errors"] + [json.dumps(e) for e in refused.values()]}


@contextmanager
def launched() -> Iterator[Any]:
    """A running Chromium. One at a time: Playwright cannot be started twice in a thread."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def front_end(browser: Any, url: str, ready_type: str = "PreviewImage") -> Iterator[FrontEnd]:
    """The front end at `url` in a page of its own, ready. Other machines are not asked."""
    host = urlparse(url).netloc

    def answer(route):
        here = urlparse(route.request.url).netloc in (host, "")
        route.continue_() if here else route.abort()

    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    try:
        page.route("**/*", answer)
        page.goto(url, wait_until="domcontentloaded", timeout=60_000)
        page.wait_for_function(_READY, arg=ready_type, timeout=60_000)
        page.wait_for_timeout(1000)
        yield FrontEnd(page)
    finally:
        page.close()


@contextmanager
def recorded_server() -> Iterator[str]:
    """The built front end without a ComfyUI: its URL, with `/object_info` as recorded."""
    from aiohttp import web

    address: Future[str] = Future()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve():
        runner = web.AppRunner(_application(web), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], daemon=True)
    thread.start()
    try:
        yield address.result(30)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()


def _application(web: Any) -> Any:
    import comfyui_frontend_package

    static = Path(comfyui_frontend_package.__file__).parent / "static"
    answers = {
        "object_info": json.loads(RECORDED.read_text(encoding="utf-8")),
        "users": {"storage": "server", "migrated": True},
        "settings": {"Comfy.TutorialCompleted": True, "Comfy.InstalledVersion": "1.30.0"},
        "system_stats": {"system": {"argv": [], "comfyui_version": "0"}, "devices": []},
        "queue": {"queue_running": [], "queue_pending": []},
        "prompt": {"exec_info": {"queue_remaining": 0}},
        "extensions": [f"/extensions/stage-film/{path.name}" for path in WEB.glob("*.js")],
        **{name: [] for name in ("embeddings", "models", "userdata")},
    }

    async def api(request):
        # Whatever else is asked for is something that a host may have none of.
        return web.json_response(answers.get(request.match_info["path"], {}))

    async def events(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "recorded"}
        await socket.send_json({"type": "status", "data": status})
        async for _ in socket:
            pass
        return socket

    async def index(_):
        return web.FileResponse(static / "index.html")

    application = web.Application()
    application.router.add_get("/ws", events)
    application.router.add_get("/", index)
    application.router.add_route("*", "/api/{path:.*}", api)
    application.router.add_static("/extensions/stage-film", WEB)
    application.router.add_static("/", static)
    return application
