"""Wan's weights as they are named in files: by the authors, by diffusers, and in adapters."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from .checkpoint import Weights
from .lora import Lora, layer_key
from .low_bit import EIGHT_BITS
from .wan_layers import WanConfig
from .wan_vace import VaceConfig

PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_HEAD_WIDTH = 128
# How changes of whole weights end in the adapters of lightx2v, and the weights that they change.
_DIFFERENCES = {".diff_b": ".bias", ".diff_m": ".modulation", ".diff": ".weight"}
# Of diffusers' names and of the authors', in the order in which they are tried.
_AUTHORS = (
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    ("condition_embedder.image_embedder.norm1.", "img_emb.proj.0."),
    ("condition_embedder.image_embedder.ff.net.0.proj.", "img_emb.proj.1."),
    ("condition_embedder.image_embedder.ff.net.2.", "img_emb.proj.3."),
    ("condition_embedder.image_embedder.norm2.", "img_emb.proj.4."),
    ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".to_out.0.", ".o."),
    (".add_k_proj.", ".k_img."),
    (".add_v_proj.", ".v_img."),
    (".norm_added_k.", ".norm_k_img."),
    (".norm2.", ".norm3."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".proj_in.", ".before_proj."),
    (".proj_out.", ".after_proj."),
    (".scale_shift_table", ".modulation"),
)
# What stands at the beginning only, where the same words mean something else further on.
_AUTHORS_HEAD = (("proj_out.", "head.head."), ("scale_shift_table", "head.modulation"))

_log = logging.getLogger(__name__)


def authors_name(name: str) -> str:
    """What the authors call the weight that diffusers calls `name`."""
    for ours, theirs in _AUTHORS_HEAD:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    for ours, theirs in _AUTHORS:
        name = name.replace(ours, theirs)
    return name


def named_as_diffusers(weights: Weights, names: Iterable[str]) -> Weights:
    """Weights of either layout under those of diffusers' `names` that they have."""
    new = {}
    for name in names:
        new[authors_name(name)] = name
        scaled = re.sub(r"\.weight$", ".scale_weight", name)
        new[authors_name(scaled)] = scaled
    if all(name in weights.tensors for name in names):
        return weights
    return weights.renamed(lambda name: new.get(name, name))


def named_layers(lora: Lora, layers: Iterable[str]) -> Lora:
    """An adapter of either layout, by diffusers' names of the `layers` that there are."""
    new = {layer_key(authors_name(f"{layer}.").removesuffix(".")): layer for layer in layers}

    def named(key: str) -> str:
        # In other models' adapters these words are the name of a layer.
        key = key.removeprefix("transformer_")
        return layer_key(new[key]) if key in new else key

    return replace(lora, layers={named(key): factors for key, factors in lora.layers.items()})


def without_differences(lora: Weights) -> tuple[Weights, Weights]:
    """The adapters of a file, and the changes of whole weights that lie beside them."""
    endings = tuple(_DIFFERENCES)
    return (
        lora.renamed(lambda name: None if name.endswith(endings) else name),
        lora.within(PREFIXES).renamed(lambda name: name if name.endswith(endings) else None),
    )


def add_differences(changes: Weights, network: nn.Module) -> None:
    """Add the changes of biases, norms and modulations that some adapters bring.

    Those that belong to no weight of the network, or to one of another size, are reported as a
    warning: adapters of Wan 2.1 are in use with 2.2, which has no image encoder.
    """
    left = 0
    weights = network.state_dict()
    names = {authors_name(name): name for name in weights}
    for stored, change, _ in changes.read():
        ending = next(ending for ending in _DIFFERENCES if stored.endswith(ending))
        theirs = stored.removesuffix(ending) + _DIFFERENCES[ending]
        name = names.get(theirs, theirs)
        wanted = weights.get(name)
        if wanted is None or wanted.dtype in EIGHT_BITS or wanted.numel() != change.numel():
            left += 1
            continue
        owner, _, leaf = name.rpartition(".")
        changed = wanted.float() + change.float().reshape(wanted.shape)
        weight = nn.Parameter(changed.to(wanted.dtype), requires_grad=False)
        setattr(network.get_submodule(owner), leaf, weight)
    if left:
        _log.warning("%s: %d changes of weights that this model lacks", changes.path, left)


def config_of(weights: Weights, stored: Mapping[str, Any]) -> WanConfig:
    """The sizes of a transformer: from the shapes of its weights, what they do not tell from
    `stored`, the contents of a config.json.

    Raises:
        ValueError: it is not a Wan transformer.
    """
    sizes = _sizes(weights)
    if sizes is None:
        raise ValueError(
            f"{weights.path} is not {weights.what}: among its {len(weights.tensors)} tensors are "
            "not those of Wan"
        )
    width = sizes.pop("width")
    heads = stored.get("num_attention_heads", stored.get("num_heads", width // _HEAD_WIDTH))
    sizes |= {
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "eps": stored.get("eps", WanConfig.eps),
    }
    control = _shape(weights, "vace_patch_embedding.weight")
    if control is None:
        return WanConfig(**sizes)
    # The released models have them at equal distances.
    beside = _count(weights, "vace_blocks.")
    apart = max(1, sizes["num_layers"] // max(1, beside))
    layers = stored.get("vace_layers", range(0, sizes["num_layers"], apart))
    return VaceConfig(**sizes, vace_layers=tuple(layers)[:beside], vace_in_channels=control[1])


def _sizes(weights: Weights) -> dict[str, Any] | None:
    """What the shapes tell, with the width of a token; None where they are not Wan's."""
    patches = _shape(weights, "patch_embedding.weight")
    blocks = _count(weights, "blocks.")
    ends = _shape(weights, "proj_out.weight")
    wide = _shape(weights, "blocks.0.ffn.net.0.proj.weight")
    words = _shape(weights, "condition_embedder.text_embedder.linear_1.weight")
    waves = _shape(weights, "condition_embedder.time_embedder.linear_1.weight")
    if not (blocks and patches and ends and wide and words and waves) or len(patches) != 5:
        return None
    sight = _shape(weights, "condition_embedder.image_embedder.norm1.weight")
    added = _shape(weights, "blocks.0.attn2.add_k_proj.weight")
    places = _shape(weights, "condition_embedder.image_embedder.pos_embed")
    return {
        "width": patches[0],
        "num_layers": blocks,
        "ffn_dim": wide[0],
        "in_channels": patches[1],
        "out_channels": ends[0] // math.prod(patches[2:]),
        "text_dim": words[1],
        "freq_dim": waves[1],
        "patch_size": patches[2:],
        "image_dim": sight and sight[0],
        "added_kv_proj_dim": added and added[1],
        "pos_embed_seq_len": places and places[1],
    }


def _shape(weights: Weights, name: str) -> tuple[int, ...] | None:
    """By either of its names."""
    shapes = weights.shapes
    found = shapes.get(name)
    return shapes.get(authors_name(name)) if found is None else found


def _count(weights: Weights, prefix: str) -> int:
    return len({name.split(".")[1] for name in weights.tensors if name.startswith(prefix)})
