"""A real ComfyUI for tests: found, started with this pack, given prompts, followed, stopped.

Trees come from COMFYUI_PATH (several with the path separator), else from ~/comfy/ComfyUI*,
where comfy-cli installs. Their Python is COMFYUI_PYTHON, else the tree's .venv or venv. Nothing
is written into a tree: a server works in a base directory of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stage_core.board_file import BOARD_FILE

PACK = Path(__file__).resolve().parent.parent
PACKS = Path(__file__).resolve().parent / "packs"
PACK_NAME = "stage-film"
COUNTED = PACKS / "counted_model"
WORKFLOWS = tuple(sorted((PACK / "workflows").glob("*.json")))
BLUEPRINTS = tuple(sorted((PACK / "subgraphs").glob("*.json")))

# What a user's copy of the pack has, and nothing a developer's checkout adds to it.
_CARRIED = ("__init__.py", "pyproject.toml", "nodes", "stage_core", "workflows", "locales")
_CARRIED += ("subgraphs",)
# A returning user: the front end then opens none of its first-run dialogs.
_SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.30.0",
    "Comfy.Release.Status": "skipped",
}
_TEXT, _PREVIEWS = 3, (1, 4)


@dataclass(frozen=True)
class Tree:
    """A ComfyUI folder and the Python that starts it."""

    folder: Path
    python: Path

    @property
    def version(self) -> str:
        text = (self.folder / "comfyui_version.py").read_text(encoding="utf-8")
        return re.search(r'"(.+)"', text)[1]

    def __str__(self) -> str:
        return f"ComfyUI {self.version}"


def looked_at() -> tuple[Path, ...]:
    """The folders where ComfyUI is looked for."""
    given = os.environ.get("COMFYUI_PATH")
    if given:
        return tuple(Path(path).expanduser() for path in given.split(os.pathsep) if path)
    home = Path.home() / "comfy"
    return tuple(sorted(home.glob("ComfyUI*"))) or (home / "ComfyUI",)


def trees() -> tuple[Tree, ...]:
    """The ComfyUI trees that can be started here, the newest first."""
    found = []
    for folder in looked_at():
        inside = ("bin/python", "Scripts/python.exe")
        own = [folder / venv / name for venv in (".venv", "venv") for name in inside]
        given = os.environ.get("COMFYUI_PYTHON")
        pythons = [Path(given)] if given else [path for path in own if path.exists()]
        if (folder / "main.py").exists() and pythons:
            found.append(Tree(folder, pythons[0]))
    number = lambda tree: tuple(int(part) for part in re.findall(r"\d+", tree.version))  # noqa: E731
    return tuple(sorted(found, key=number, reverse=True))


NO_TREE = f"no ComfyUI with a Python of its own in {', '.join(map(str, looked_at()))}"


def weights_of(workflow: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, address and folder of the model files that an editor-format graph names."""
    inside = workflow.get("definitions", {}).get("subgraphs", ())
    nodes = [node for graph in (workflow, *inside) for node in graph["nodes"]]
    return [file for node in nodes for file in node["properties"].get("models", ())]


def without_weights(paths: Iterable[Path]) -> list[Path]:
    """Those of these editor-format graphs that run as they are."""
    return [path for path in paths if not weights_of(json.loads(path.read_text("utf-8")))]


@dataclass
class Run:
    """What happened to one prompt; `texts` are progress texts by node id, in order."""

    status: str = ""
    error: str = ""
    executed: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    previews: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)

    def text(self, node_id: str) -> str:
        """The last progress text of a node, or nothing."""
        return self.texts.get(node_id, [""])[-1]


class Comfy:
    """A ComfyUI server on a free loopback port, ready for prompts; made by `comfy`."""

    def __init__(self, tree: Tree, base: Path, process: subprocess.Popen, port: int):
        self.tree, self.base, self.process = tree, base, process
        self.url = f"http://127.0.0.1:{port}"

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return (self.base / "comfyui.log").read_text(encoding="utf-8", errors="replace")

    @property
    def output(self) -> Path:
        """The output folder."""
        return self.base / "output"

    def fetch(self, path: str) -> bytes:
        """The body of a GET; urllib's HTTPError when it is refused."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return json.loads(self.fetch(path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a POST, also to one that is refused."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return json.loads(error.read() or b"{}")

    def run(
        self,
        prompt: Mapping[str, Any],
        interrupt: Callable[[Run], bool] = lambda run: False,
        timeout: float = 120,
    ) -> Run:
        """Queue an API prompt and follow it to its end; `interrupt` says when to cancel it."""
        run = Run()
        self._part_films()
        asyncio.run(asyncio.wait_for(self._follow(prompt, run, interrupt), timeout))
        return run

    def _part_films(self) -> None:
        """Put links in the place of the films' folders: what one film has, another does not find
        there, so that a test may make the same film twice and compare."""
        stage, films = self.output / "stage", self.output / "films"
        films.mkdir(parents=True, exist_ok=True)
        for folder in stage.iterdir() if stage.exists() else ():
            if (folder / BOARD_FILE).is_file() and not folder.is_symlink():
                folder.rename(films / folder.name)
                folder.symlink_to(films / folder.name, target_is_directory=True)

    def run_headless(self, prompt: Mapping[str, Any], timeout: float = 120) -> dict[str, Any]:
        """Queue an API prompt without a client id; its history entry when it is done."""
        answer = self.post("/prompt", {"prompt": prompt})
        assert "prompt_id" in answer, answer
        return self._history(answer["prompt_id"], timeout)

    async def _follow(self, prompt, run: Run, interrupt) -> None:
        import aiohttp

        client = uuid.uuid4().hex
        socket_url = f"{self.url}/ws?clientId={client}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(socket_url, max_msg_size=0) as events,
        ):
            body = {"prompt": prompt, "client_id": client}
            answer = await asyncio.to_thread(self.post, "/prompt", body)
            if "prompt_id" not in answer or answer.get("node_errors"):
                run.status, run.error = "rejected", json.dumps(answer)
                return
            asked = False
            async for message in events:
                _note(message.data, answer["prompt_id"], run)
                if run.status:
                    break
                if not asked and interrupt(run):
                    asked = True
                    await asyncio.to_thread(self.post, "/interrupt", {})
        entry = await asyncio.to_thread(self._history, answer["prompt_id"], 10)
        run.outputs = entry.get("outputs", {})

    def _history(self, prompt_id: str, timeout: float) -> dict[str, Any]:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry:
                return entry
            time.sleep(0.2)
        raise TimeoutError(f"prompt {prompt_id} not done after {timeout} s:\n{self.log[-3000:]}")


@contextmanager
def comfy(
    tree: Tree, base: Path, *options: str, packs: tuple[Path, ...] = (), **settings: Any
) -> Iterator[Comfy]:
    """A running server with this pack and `packs`; `settings` are the front end's, with "_" for
    the dots. `base` may be that of an earlier server: a restart."""
    _furnish(base, packs, {name.replace("_", "."): value for name, value in settings.items()})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = f"sqlite:///{base / 'user' / 'comfyui.db'}"
    command = [tree.python, tree.folder / "main.py", "--cpu", "--port", str(port)]
    command += ["--base-directory", base, "--database-url", database]
    # Without the paid nodes the front end calls no other machine.
    command += ["--disable-auto-launch", "--disable-api-nodes", *options]
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    with (base / "comfyui.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tree.folder, env={**os.environ, **offline}, stdout=log, stderr=log
        )
        try:
            server = Comfy(tree, base, process, port)
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)


def to_api(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, Any]:
    """An editor-format graph without subgraphs, primitives or bypassed nodes as an API prompt."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] not in object_info:
            continue
        inputs = widget_values(node, object_info[node["type"]])
        for slot in node.get("inputs", ()):
            if slot.get("link") is not None:
                inputs[slot["name"]] = sources[slot["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def shortened(text: str) -> str:
    """The same script with shots of half a second and short transitions."""
    text = re.sub(r"[\d.]+s(?=[\],])", "0.5s", text)
    text = re.sub(r"\d+ frames", "4 frames", text)
    return re.sub(r"^> DISSOLVE TO:$", "> DISSOLVE TO: 4 frames", text, flags=re.M)


def widget_values(node: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an editor-format node's widgets, by name, as far as `info` knows them.

    A widget inside a choice, named `choice.widget`, is known where the choice has such.
    """
    known = {name: kind for group in info["input"].values() for name, (kind, *_) in group.items()}
    return {
        name: value
        for name, value in node.get("widgets_values_named", {}).items()
        if name in known or known.get(name.split(".")[0]) == "COMFY_DYNAMICCOMBO_V3"
    }


def _note(data: str | bytes, prompt_id: str, run: Run) -> None:
    """Write one message of the web socket into `run`."""
    if isinstance(data, bytes):
        kind = int.from_bytes(data[:4], "big")
        if kind in _PREVIEWS:
            run.previews += 1
        elif kind == _TEXT:
            length = int.from_bytes(data[4:8], "big")
            node_id, text = data[8 : 8 + length].decode(), data[8 + length :].decode()
            run.texts.setdefault(node_id, []).append(text)
        return
    event = json.loads(data)
    kind, about = event["type"], event.get("data", {})
    if about.get("prompt_id", prompt_id) != prompt_id:
        return
    if kind == "execution_cached":
        run.cached += about["nodes"]
    elif kind == "executing" and about.get("node"):
        run.executed.append(about["node"])
    elif kind in ("execution_success", "execution_interrupted", "execution_error"):
        run.status = kind.removeprefix("execution_")
        run.error = about.get("exception_message", "")


def _furnish(base: Path, packs: tuple[Path, ...], settings: Mapping[str, Any]) -> None:
    for name in ("models", "input", "output", "temp", "user/default"):
        (base / name).mkdir(parents=True, exist_ok=True)
    nodes = base / "custom_nodes"
    shutil.rmtree(nodes, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__")
    for name in _CARRIED:
        source, target = PACK / name, nodes / PACK_NAME / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=skip)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for pack in packs:
        shutil.copytree(pack, nodes / pack.name, ignore=skip)
    for path in WORKFLOWS:
        # The files that a workflow names are offered, though they are empty: nothing is missing.
        for file in weights_of(json.loads(path.read_text(encoding="utf-8"))):
            folder = base / "models" / file["directory"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file["name"]).touch()
    text = json.dumps({**_SETTINGS, **settings})
    (base / "user/default/comfy.settings.json").write_text(text, encoding="utf-8")


def _wait_until_ready(server: Comfy, timeout: float = 180) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            server.get("/object_info")
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"{server.tree} did not start:\n{server.log[-3000:]}")


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
