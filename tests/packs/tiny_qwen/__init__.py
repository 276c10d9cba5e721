"""A pack for tests: ComfyUI's Qwen2.5-VL and VAE with small random networks, and small pictures."""

import importlib
import math
import sys
from dataclasses import replace

import comfy.sd
import comfy.text_encoders.qwen_image as qwen_image
import torch
from comfy.ldm.wan.vae import WanVAE
from comfy.sd1_clip import SDClipModel
from comfy_api.latest import ComfyExtension, io

_WIDTH = 3584
_ROWS = 997


class TinyText(torch.nn.Module):
    """What a prompt shows of itself and its picture: a random vector for each token."""

    def __init__(self, config, dtype, device, operations):
        super().__init__()
        self.num_layers = 1
        self.table = torch.nn.Embedding(_ROWS, _WIDTH)
        self.patch = torch.nn.Linear(3, _WIDTH)

    def get_input_embeddings(self):
        return lambda tokens, out_dtype: self.table(tokens % _ROWS).to(out_dtype)

    def preprocess_embed(self, embed, device):
        pixels = embed["data"].to(device).movedim(-1, 1)
        tokens = torch.nn.functional.avg_pool2d(pixels, 28)[0].flatten(1).T
        return self.patch(tokens), None

    def forward(self, x, attention_mask=None, embeds=None, **options):
        return embeds, None


class TinyClipModel(SDClipModel):
    """As Qwen25_7BVLIModel."""

    def __init__(self, device="cpu", dtype=None, attention_mask=True, model_options=None):
        super().__init__(
            device=device,
            layer="last",
            textmodel_json_config={},
            dtype=dtype,
            special_tokens={"pad": 151643},
            layer_norm_hidden_state=False,
            model_class=TinyText,
            enable_attention_masks=attention_mask,
            return_attention_masks=attention_mask,
            model_options=model_options or {},
        )


class TinyEncoder(qwen_image.QwenImageTEModel):
    """As QwenImageTEModel, which drops tokens, over the tiny network."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        options = {**(model_options or {}), "qwen25_7b_class": TinyClipModel}
        super().__init__(device=device, dtype=dtype, model_options=options)


class Target:
    params, clip, tokenizer = {}, TinyEncoder, qwen_image.QwenImageTokenizer


class TinyEncoders(io.ComfyNode):
    """CLIP and VAE of random weights, the same each time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_TinyEncoders",
            category="test",
            inputs=[],
            outputs=[io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        with torch.inference_mode(False), torch.random.fork_rng():
            torch.manual_seed(1)
            clip = comfy.sd.CLIP(Target)
            sizes = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": []}
            shape = WanVAE(
                dim=16, z_dim=16, temperal_downsample=[False, True, True], dropout=0.0, **sizes
            ).state_dict()
            vae = comfy.sd.VAE(sd={name: _random(name, t) for name, t in shape.items()})
        return io.NodeOutput(clip, vae)


class SmallPicture:
    """As the pack's Grid, for a model of 128 x 80 pixels."""

    @staticmethod
    def size(frame_format):
        return _engine("stage_core.backends.protocol").Grid(128 * 80, 16).size(frame_format)


class SmallStoryboardModel(io.ComfyNode):
    """The same model with smaller pictures, its own and those of memory."""

    grid = SmallPicture

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TEST_SmallStoryboardModel",
            category="test",
            inputs=[io.Custom("STAGE_STORYBOARD_MODEL").Input("model")],
            outputs=[io.Custom("STAGE_STORYBOARD_MODEL").Output()],
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        networks = replace(model.networks, vae_area=128 * 80)
        return io.NodeOutput(type(model)(networks, model.settings, SmallPicture))


def _random(name: str, like: torch.Tensor) -> torch.Tensor:
    if name.endswith("gamma"):
        return torch.ones(like.shape)
    return torch.randn(like.shape) / math.sqrt(max(1, like[0].numel()))


def _engine(module: str):
    # ComfyUI imports a pack under a name made of its path.
    name = next(name for name in sys.modules if name.endswith("stage-film"))
    return importlib.import_module(f"{name}.{module}")


class TinyExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TinyEncoders, SmallStoryboardModel]


async def comfy_entrypoint() -> TinyExtension:
    """ComfyUI's way in."""
    return TinyExtension()
