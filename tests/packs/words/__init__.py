"""A pack for tests: random conditioning in the place of a large text encoder."""

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


class WordsExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self):
        return [WordsLoader]


async def comfy_entrypoint():
    """Called by ComfyUI."""
    return WordsExtension()
