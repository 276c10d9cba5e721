"""A pack for tests: Load Storyboard Model and Load Shot Model make pictures of a few pixels."""

import importlib
import sys
from pathlib import Path

from comfy_api.latest import ComfyExtension, io


class SmallLoaders(io.ComfyNode):
    """From now on both nodes have small grids, and prompts are read by this tokenizer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_SmallLoaders",
            category="test",
            inputs=[io.String.Input("tokenizer")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, tokenizer) -> io.NodeOutput:
        # ComfyUI imports a pack under a name made of its path.
        pack = next(name for name in sys.modules if name.endswith("stage-film"))
        loaders = importlib.import_module(f"{pack}.nodes.load_models")
        protocol = importlib.import_module(f"{pack}.stage_core.backends.protocol")
        loaders.LoadStoryboardModel.grid = protocol.Grid(64 * 48, 16)
        loaders.SIZES.update(dict.fromkeys(loaders.SIZES, 48 * 32))
        loaders.TOKENIZER = Path(tokenizer)
        return io.NodeOutput()


class SmallExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [SmallLoaders]


async def comfy_entrypoint() -> SmallExtension:
    """ComfyUI's way in."""
    return SmallExtension()
