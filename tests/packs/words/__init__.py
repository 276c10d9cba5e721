"""A pack for tests: random conditioning in the place of a large text encoder, small films."""

import importlib
import sys
from fractions import Fraction
from types import SimpleNamespace

import torch
from comfy_api.latest import ComfyExtension, io


class Words:
    """As much of a CLIP as a shot model asks for: the same words, the same conditioning."""

    patcher = SimpleNamespace(model_size=lambda: 10**9)

    def tokenize(self, text):
        return {"umt5xxl": text}

    def encode_from_tokens_scheduled(self, tokens):
        generator = torch.Generator().manual_seed(sum(map(ord, tokens["umt5xxl"])))
        return [[torch.randn(1, 8, 4096, generator=generator), {}]]


class WordsLoader(io.ComfyNode):
    """Gives the words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_Words", category="test", inputs=[], outputs=[io.Clip.Output()]
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(Words())


class SmallShotModel(io.ComfyNode):
    """The same Wan, which films 416 x 240 pixels."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_SmallShotModel",
            category="test",
            inputs=[io.Custom("STAGE_SHOT_MODEL").Input("model")],
            outputs=[io.Custom("STAGE_SHOT_MODEL").Output()],
        )

    @classmethod
    def grid_of(cls, inputs):
        return _pack("stage_core.backends.protocol").Grid(416 * 240, 16, Fraction(16), 4)

    @classmethod
    def reads_of(cls, inputs):
        return _pack("nodes.native.wan").READS

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        return io.NodeOutput(type(model)(model.networks, model.settings, cls.grid_of({})))


def _pack(module: str):
    # ComfyUI imports a pack under a name made of its path.
    name = next(name for name in sys.modules if name.endswith("stage-film"))
    return importlib.import_module(f"{name}.{module}")


class WordsExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self):
        return [WordsLoader, SmallShotModel]


async def comfy_entrypoint():
    """Called by ComfyUI."""
    return WordsExtension()
