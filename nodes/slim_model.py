"""Slim Model: a third of Qwen-Image need not be loaded."""

from __future__ import annotations

from comfy_api.latest import io

from . import host
from .native.slim import saved_bytes, slim


class SlimModel(io.ComfyNode):
    """The same pictures from a MODEL of two thirds the size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_SlimModel",
            display_name="Slim Model",
            category=host.CATEGORY,
            description="A third of Qwen-Image's weights sees nothing but the noise level. What "
            "they give is computed once for a schedule, so they are not loaded again. The "
            "pictures stay the same.",
            search_aliases=["low vram", "modulation", "qwen image", "stage"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Qwen-Image or Qwen-Image-Edit, after its LoRAs. Any other model "
                    "passes through unchanged, with the reason below the node.",
                )
            ],
            outputs=[io.Model.Output("model", tooltip="The same model, a third smaller.")],
        )

    @classmethod
    def execute(cls, model):
        try:
            slimmed = slim(model)
        except ValueError as reason:
            host.say(f"MODEL is unchanged: {reason}")
            return io.NodeOutput(model)
        host.say(f"{saved_bytes(slimmed) / 2**30:.1f} GiB of weights are not loaded")
        return io.NodeOutput(slimmed)
