"""Tiny random Wan models on disk, as diffusers, the authors and ComfyUI keep them."""

import json

from safetensors.torch import save_file

from stage_core.backends.wan_tiny import tiny_networks
from stage_core.models.wan_names import authors_name

VAE_CONFIG = {"base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
HEADS = {"num_attention_heads": 2}


def diffusers_folder(folder, kind="two experts", seed=0, index=None):
    """With the boundary in its index."""
    networks = tiny_networks(kind, seed)
    for name, part in (("transformer", networks.high), ("transformer_2", networks.low)):
        if part is not None:
            save(folder / name / "diffusion_pytorch_model", part.state_dict(), config(networks))
    vae = networks.vae.network
    save(folder / "vae" / "diffusion_pytorch_model", vae.state_dict(), dict(vae.config))
    save(folder / "text_encoder" / "model", text(networks), text_config(networks))
    if networks.sight:
        sight = networks.sight.network
        state = {f"vision_model.{name}": tensor for name, tensor in sight.state_dict().items()}
        save(folder / "image_encoder" / "model", state, sight.config.to_dict())
    tokenizer(folder / "tokenizer")
    written = json.dumps({"boundary_ratio": 0.85} if index is None else index)
    (folder / "model_index.json").write_text(written)
    return folder


def comfy_folder(folder, kind="two experts", seed=0):
    """Single files with the authors' names, the blocks in scaled eight bits."""
    networks = tiny_networks(kind, seed)
    for name, part in (("high", networks.high), ("low", networks.low)):
        if part is not None:
            stored = {
                f"model.diffusion_model.{authors_name(key)}": tensor
                for key, tensor in eight_bits(part.state_dict()).items()
            }
            save(folder / "diffusion_models" / f"wan2.2_i2v_{name}_noise_14B", stored)
    (folder / "diffusion_models" / "config.json").write_text(json.dumps(config(networks)))
    vae = networks.vae.network
    save(folder / "vae" / "wan_2.1_vae", vae.state_dict(), dict(vae.config))
    save(folder / "text_encoders" / "umt5_xxl", text(networks), text_config(networks))
    tokenizer(folder / "tokenizer")
    return folder


def eight_bits(state):
    """Weights of attention and feed-forward at a scale of a half."""
    import torch

    stored = {}
    for name, tensor in state.items():
        if name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2:
            stored[name] = (tensor * 2).to(torch.float8_e4m3fn)
            stored[name.removesuffix("weight") + "scale_weight"] = torch.tensor(0.5)
        else:
            stored[name] = tensor
    return stored


def save(path, tensors, stored_config=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.safetensors")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)
    if stored_config is not None:
        (path.parent / "config.json").write_text(json.dumps(stored_config))
    return file


def config(networks):
    return HEADS | {"vace_layers": list(getattr(networks.high.config, "vace_layers", ()))}


def text(networks):
    """As saved: the words' embedding under its shared name."""
    return {
        "shared.weight" if name == "embed_tokens.weight" else f"encoder.{name}": tensor
        for name, tensor in networks.text.network.state_dict().items()
    }


def text_config(networks):
    return networks.text.network.config.to_dict()


def tokenizer(folder):
    """Words of one letter."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2}
    words |= {chr(number): number for number in range(33, 127)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
