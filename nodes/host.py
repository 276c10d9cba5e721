"""The running ComfyUI: what its versions lack, progress and cancelling, folders and files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy import model_management
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

from ..stage_core.errors import StorageError
from ..stage_core.project import folder_name
from ..stage_core.story.shot_list import Shot

CATEGORY = "STAGE"
_SECONDS_BETWEEN = {"bar": 0.1, "text": 0.5, "preview": 0.5}
# The bar counts whole numbers, so a shot is so many of them.
_SHOT_UNITS = 1000
_PREVIEW_SIDE = 512
_SECONDS_UNTIL_PREVIEWS = 2


def schema(**fields) -> io.Schema:
    """The schema of a node, without the fields that this ComfyUI does not know yet."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


def running_node() -> str | None:
    """The id of the node that runs, or None outside of a run."""
    context = get_executing_context()
    return context.node_id if context else None


def running_prompt() -> Mapping[str, Any]:
    """The nodes of the prompt that runs, by id, as they were queued; none outside of a run."""
    context = get_executing_context()
    if context is None:
        return {}
    from server import PromptServer

    running, _ = PromptServer.instance.prompt_queue.get_current_queue_volatile()
    return next((item[2] for item in running if item[1] == context.prompt_id), {})


def say(text: str) -> None:
    """Show a line of text on the node that runs."""
    node_id = running_node()
    if node_id is None:
        return
    # Imported here because only a running host has a server.
    from server import PromptServer

    PromptServer.instance.send_progress_text(text, node_id)


def device() -> str:
    """Where ComfyUI computes, as torch names it, where our own engine can too; else the CPU."""
    found = model_management.get_torch_device()
    return str(found) if found.type == "cuda" else "cpu"


def reserve(num_bytes: int) -> None:
    """Have ComfyUI give up models of its own until so much VRAM is free."""
    if device() != "cpu":
        model_management.free_memory(num_bytes, model_management.get_torch_device())


class Report:
    """What one run tells the person in front of it: a bar, a line with the time left, previews.

    Every call stops the run when the person has asked for it. `verb` is as in 'draws'.
    """

    def __init__(self, verb: str):
        self._verb = verb
        self._total, self._finished = 1, 0
        self._shares: dict[tuple[str, int], float] = {}
        self._bar = ProgressBar(_SHOT_UNITS)
        self._value, self._started = 0, time.monotonic()
        self._last = dict.fromkeys(_SECONDS_BETWEEN, 0.0)
        self._previewed = False

    def expect(self, total: int, text: str) -> None:
        """Say what will be done before the first step: `total` shots, in words."""
        self._total = max(1, total)
        self._started = time.monotonic()
        self._update(0)
        say(text)

    def begin(self, *shots: Shot) -> None:
        """The next shots that are really made, together; those before are done."""
        self._finished += len(self._shares)
        self._shares = dict.fromkeys(map(_take, shots), 0.0)
        self._last["text"] = 0.0
        self.on_step(shots[0], 0, 1)

    def on_step(self, shot: Shot, done: int, steps: int) -> None:
        """`done` of `steps` of a shot."""
        throw_exception_if_processing_interrupted()
        self._shares[_take(shot)] = done / max(1, steps)
        fraction = (self._finished + sum(self._shares.values())) / self._total
        self._update(fraction)
        if self._is_due("text"):
            left, number = self._time_left(fraction), list(self._shares).index(_take(shot)) + 1
            step = f", step {done} of {steps}" if len(self._shares) > 1 else ""
            number = f"{self._finished + number} of {self._total}"
            say(f"{self._verb} shot {shot.id}, {number}{step}{left}")

    def on_frame(self, done: int, total: int) -> None:
        """`done` of `total` frames of the film."""
        throw_exception_if_processing_interrupted()
        self._update(done / total)
        if self._is_due("text"):
            say(f"{self._verb} frame {done} of {total}{self._time_left(done / total)}")

    def watch(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """The frames as they come, some of them shown on the node."""
        for frame in frames:
            throw_exception_if_processing_interrupted()
            self.show(frame)
            yield frame

    def show(self, image: Tensor) -> None:
        """Preview [H, W, 3] uint8 pixels on the node, if the last preview is a while ago.

        A run that is over soon has none.
        """
        if self._elapsed() >= _SECONDS_UNTIL_PREVIEWS and self._is_due("preview"):
            self._preview(image, _PREVIEW_SIDE)

    def finish(self, image: Tensor, text: str) -> None:
        """End with the result, [H, W, 3] uint8, at its full size, and a line of text.

        A front end without our script keeps the last preview and shows it in place of the node's
        output, or beside it, so that preview has to be the result.
        """
        self._value = self._total * _SHOT_UNITS
        if self._previewed:
            self._preview(image, None)
        say(text)

    def _update(self, fraction: float) -> None:
        self._value = round(fraction * self._total * _SHOT_UNITS)
        if self._is_due("bar"):
            self._bar.update_absolute(self._value, self._total * _SHOT_UNITS)

    def _preview(self, image: Tensor, side: int | None) -> None:
        self._previewed = True
        picture = ("JPEG", Image.fromarray(image.numpy()), side)
        self._bar.update_absolute(self._value, self._total * _SHOT_UNITS, picture)

    def _time_left(self, fraction: float) -> str:
        elapsed = self._elapsed()
        if fraction <= 0 or elapsed < 2:
            return ""
        seconds = round(elapsed / fraction - elapsed)
        return f", {seconds // 60} min left" if seconds >= 120 else f", {seconds} s left"

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _is_due(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._last[kind] < _SECONDS_BETWEEN[kind]:
            return False
        self._last[kind] = now
        return True


def _take(shot: Shot) -> tuple[str, int]:
    """What tells apart what is made together: a run may film several takes of a shot."""
    return shot.id, shot.take


def film_folder(title: str) -> Path:
    """Where a film of this title keeps its drawings and takes: inside ComfyUI's output folder.

    Raises:
        StorageError: a link leads out of the output folder.
    """
    root = Path(folder_paths.get_output_directory()).resolve() / "stage"
    folder = root / folder_name(title)
    if not folder.resolve().is_relative_to(root.parent):
        raise StorageError(f"{folder} leads out of ComfyUI's output folder; remove that link")
    return folder


def new_video(title: str) -> tuple[Path, ui.PreviewVideo]:
    """A fresh name for a film in ComfyUI's temporary folder, and what shows it on the node."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        folder_name(title), folder_paths.get_temp_directory()
    )
    file = f"{name}_{counter:05}_.mp4"
    saved = ui.SavedResult(file, subfolder, io.FolderType.temp)
    return Path(folder) / file, ui.PreviewVideo([saved])
