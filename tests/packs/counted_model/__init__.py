"""A pack for tests: a shot model whose loader counts how often it runs.

It films as the embedded animatic does, `seconds` more slowly for each frame.
"""

import importlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import ComfyExtension, io


class CountedShotModel(io.ComfyNode):
    """Makes a shot model, and a line in output/loads.txt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_CountedShotModel",
            category="test",
            inputs=[io.Float.Input("seconds", default=0.0, min=0.0, max=1.0, step=0.01)],
            outputs=[io.Custom("STAGE_SHOT_MODEL").Output()],
        )

    @classmethod
    def execute(cls, seconds: float) -> io.NodeOutput:
        with (Path(folder_paths.get_output_directory()) / "loads.txt").open("a") as file:
            file.write("loaded\n")
        # ComfyUI imports a pack under a name made of its path.
        engine = next(name for name in sys.modules if name.endswith("stage-film"))
        load = importlib.import_module(f"{engine}.stage_core.backends.load")
        return io.NodeOutput(Slow(load.load_shot_model("animatic"), seconds))


@dataclass(frozen=True)
class Slow:
    """A shot model that takes its time for every frame."""

    model: Any
    seconds: float

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def reads(self) -> frozenset[str]:
        return self.model.reads

    @property
    def grid(self) -> Any:
        return self.model.grid

    def film(self, brief, keyframes, sampling, on_step):
        clip = self.model.film(brief, keyframes, sampling, on_step)
        return replace(clip, frames=SlowFrames(clip.frames, self.seconds))


@dataclass(frozen=True)
class SlowFrames:
    """Frames, each of which takes so many seconds more."""

    frames: Any
    seconds: float

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self):
        for frame in self.frames:
            time.sleep(self.seconds)
            yield frame


class CountedExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [CountedShotModel]


async def comfy_entrypoint() -> CountedExtension:
    """ComfyUI's way in."""
    return CountedExtension()
