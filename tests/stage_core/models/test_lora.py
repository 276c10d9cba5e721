"""Adapters of every layout reach their layers and leave the layers' own weights alone."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from stage_core.models import low_bit
from stage_core.models.checkpoint import open_weights
from stage_core.models.lora import LowRank, attach, layer_key, read_lora
from stage_core.models.qwen_image import QwenImage

from ..vectors import FOLDER, case, largest, manifest, needs_vectors, save, tensors, transformer
from .test_qwen_image import SMALL, run

LAYER = "transformer_blocks.1.attn.to_q"
CASE = "two_frames_three_controls"
LAYOUTS = {
    "release": ("lora_unet_{under}.lora_down.0.weight", "lora_unet_{under}.lora_up.0.weight"),
    "kohya": ("lora_unet_{under}.lora_down.weight", "lora_unet_{under}.lora_up.weight"),
    "diffusers": ("transformer.{dots}.lora_A.weight", "transformer.{dots}.lora_B.weight"),
    "peft": (
        "base_model.model.{dots}.lora_A.default.weight",
        "base_model.model.{dots}.lora_B.default.weight",
    ),
    "comfy": (
        "diffusion_model.{dots}.lora_down.weight",
        "diffusion_model.{dots}.lora_up.weight",
    ),
    "plain": ("{dots}.lora.down.weight", "{dots}.lora.up.weight"),
}


def network():
    torch.manual_seed(0)
    return QwenImage(SMALL).requires_grad_(False)


def factors(rank=4, width=48):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rank, width, generator=generator), torch.randn(
        width, rank, generator=generator
    )


def read(path):
    return read_lora(open_weights(path, "a LoRA"))


def written(path, layout, layer=LAYER, **extra):
    down, up = factors()
    names = [n.format(dots=layer, under=layer.replace(".", "_")) for n in LAYOUTS[layout]]
    return save(path / "lora.safetensors", {names[0]: down, names[1]: up, **extra})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_adapter_of_each_layout_changes_its_layer_by_its_product(tmp_path, layout):
    made = network()
    layer, (down, up) = made.get_submodule(LAYER), factors()
    before, tokens = layer.weight.clone(), torch.randn(2, 48)
    assert attach(read(written(tmp_path, layout)), [made]) == 1
    wanted = functional.linear(tokens, before + up @ down, layer.bias)
    assert torch.allclose(layer(tokens), wanted, atol=1e-4)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "path",
    [
        "lora_unet_model_language_model_layers_3_mlp_up_proj",
        "text_encoders.qwen25_7b.transformer.model.layers.3.mlp.up_proj",
        "model.language_model.layers.3.mlp.up_proj",
        "language_model.layers.3.mlp.up_proj",
        "lora_te_layers_3_mlp_up_proj",
    ],
)
def test_layers_of_the_text_encoder_have_one_key_in_all_layouts(path):
    assert layer_key(path) == "layers_3_mlp_up_proj"


def test_the_files_alpha_counts_and_is_pointed_out(tmp_path, caplog):
    alpha = {"lora_unet_transformer_blocks_1_attn_to_q.alpha": torch.tensor(2.0)}
    with caplog.at_level(logging.WARNING):
        lora = read(written(tmp_path, "release", **alpha))
    assert lora.layers["transformer_blocks_1_attn_to_q"].scale == 0.5
    assert "alpha is not the rank in 1 of 1" in caplog.text


def test_an_alpha_in_the_metadata_of_diffusers_counts_for_all_layers(tmp_path):
    file = written(tmp_path, "diffusers")
    settings = {"lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 8}'}
    lora = read(save(tmp_path / "with.safetensors", load_file(file), settings))
    assert lora.layers["transformer_blocks_1_attn_to_q"].scale == 2.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("small", [False, True])
def test_an_adapter_joins_a_weight_where_it_is_widened_and_stands_beside_a_wide_one(
    tmp_path, dtype, small
):
    layer, tokens = low_bit.Linear(48, 48).requires_grad_(False), torch.randn(2, 48).to(dtype)
    layer.to(dtype)
    if small:
        layer.quantise()
    made, (down, up) = nn.Module(), factors()
    made.transformer_blocks = nn.ModuleDict({"1": nn.ModuleDict({"to_q": layer})})
    plain, before = layer(tokens), layer.weight.clone()
    attach(read(written(tmp_path, "plain", layer="transformer_blocks.1.to_q")), [made])
    assert torch.equal(layer.weight.float(), before.float())
    if small:
        wide = low_bit.dequantise(layer.weight, layer.scale_weight)
        wide.addmm_(up.to(dtype), down.to(dtype))
        wanted = functional.linear(tokens, wide, layer.bias)
    else:
        outer = functional.linear(functional.linear(tokens, down.to(dtype)), up.to(dtype))
        wanted = plain + outer
    assert torch.equal(layer(tokens), wanted) and not torch.equal(plain, wanted)


def test_a_second_branch_is_an_alternative_and_left_out(tmp_path):
    down, up = factors()
    second = {
        "lora_unet_transformer_blocks_1_attn_to_q.lora_down.1.weight": down + 1,
        "lora_unet_transformer_blocks_1_attn_to_q.lora_up.1.weight": up + 1,
    }
    lora = read(written(tmp_path, "release", **second))
    assert torch.equal(lora.layers["transformer_blocks_1_attn_to_q"].down, down)


def test_adapters_add_up_and_strength_0_is_none(tmp_path):
    made, lora = network(), read(written(tmp_path, "comfy"))
    layer, tokens = made.get_submodule(LAYER), torch.randn(2, 48)
    plain = layer(tokens)
    attach(lora, [made])
    once = layer(tokens)
    attach(lora, [made], strength=0.5)
    assert torch.allclose(layer(tokens) - plain, 1.5 * (once - plain), atol=1e-4)
    for module in made.modules():
        if isinstance(module, LowRank):
            module.strength = 0.0
    assert torch.equal(layer(tokens), plain)


def test_a_lora_that_fits_nothing_is_refused(tmp_path):
    lora = read(written(tmp_path, "comfy", layer="double_blocks.0.img_attn.qkv"))
    with pytest.raises(ValueError, match=r"lora\.safetensors fits nothing here: none of its 1"):
        attach(lora, [network()])


def test_adapters_and_keys_that_match_no_layer_are_counted(tmp_path, caplog):
    down, up = factors()
    extra = {"x.lora_A.weight": down, "x.lora_B.weight": up, "y.dora_scale": up}
    with caplog.at_level(logging.WARNING):
        assert attach(read(written(tmp_path, "comfy", **extra)), [network()]) == 1
    assert "1 of 2 adapters and 1 other keys match no layer" in caplog.text


def test_a_file_without_adapters_is_refused(tmp_path):
    file = save(tmp_path / "x.safetensors", {"img_in.weight": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"x\.safetensors is not a LoRA: none of its keys"):
        read(file)


@pytest.mark.parametrize("lost", ["lora_down", "lora_up"])
def test_an_adapter_without_one_of_its_factors_is_refused(tmp_path, lost):
    down, up = factors()
    sides = {"x.lora_down.weight": down, "x.lora_up.weight": up}
    del sides[f"x.{lost}.weight"]
    with pytest.raises(ValueError, match="lacks one of its two factors"):
        read(save(tmp_path / "x.safetensors", sides))


def test_an_adapter_of_another_size_than_its_layer_is_refused(tmp_path):
    lora = read(written(tmp_path, "comfy", layer="img_in"))
    with pytest.raises(ValueError, match="layer of 48 inputs and 48 outputs; this model's has 64"):
        attach(lora, [network()])


@needs_vectors
@pytest.mark.parametrize(
    ("wanted", "strength"), [("dit.output_branch0", 1.0), ("dit.output_branch0_mult0.5", 0.5)]
)
def test_velocities_with_the_released_layout_are_the_authors(wanted, strength):
    made = transformer()
    matched = attach(read(FOLDER / "lora.safetensors"), [made], strength)
    assert matched == manifest()["lora"]["n_dit_modules"]
    assert largest(run(made, CASE), tensors("lora_io")[wanted]) < 1e-4


@needs_vectors
def test_attached_adapters_give_what_merged_ones_give():
    made = transformer()
    attach(read(FOLDER / "lora.safetensors"), [made])
    assert largest(run(made, CASE), tensors("lora_io")["dit.output_merged"]) < 1e-4


@needs_vectors
@pytest.mark.parametrize(
    ("alpha", "strength", "wanted"),
    [
        (1.0, 1.0, "y_branch0"),
        (1.0, 0.6, "y_branch0_mult0.6"),
        (0.5, 1.0, "y_merged_alpha_half"),
        (0.5, 0.6, "y_merged_alpha_half_mult0.6"),
    ],
)
def test_one_layer_with_its_adapter_is_the_authors(tmp_path, alpha, strength, wanted):
    stored = case("lora_io", "linear")
    lora = {n.removeprefix("lora."): t for n, t in stored.items() if n.startswith("lora.")}
    lora["alpha"] = stored["lora.alpha"] * alpha
    file = save(tmp_path / "x.safetensors", {f"lora_unet_only.{n}": t for n, t in lora.items()})
    made = nn.Module()
    made.only = nn.Linear(*stored["weight"].T.shape).requires_grad_(False)
    made.only.load_state_dict({"weight": stored["weight"], "bias": stored["bias"]})
    attach(read(file), [made], strength)
    assert largest(made.only(stored["x"]), stored[wanted]) < 1e-5


@pytest.mark.parametrize("stabilised", [False, True])
@pytest.mark.parametrize("where", ["metadata", "beside"])
def test_ranks_are_stabilised_where_the_file_says_so(tmp_path, where, stabilised):
    down, up = factors(rank=4)
    stored = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    settings = {"lora_alpha": 6, "use_rslora": stabilised}
    metadata = {}
    if where == "metadata":
        written = {f"transformer.{name}": value for name, value in settings.items()}
        metadata["lora_adapter_metadata"] = json.dumps(written)
    else:
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    path = save(tmp_path / "adapter_model.safetensors", stored, metadata)
    (found,) = read(path).layers.values()
    # Alpha 6 of rank 4: by the rank, or by its root.
    assert found.scale == (3 if stabilised else 1.5)


@pytest.mark.parametrize("said", ["[]", "5", '{"transformer.lora_alpha": null}', "{"])
def test_settings_that_say_nothing_are_left_out(tmp_path, said):
    down, up = factors(rank=4)
    stored = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    path = save(tmp_path / "x.safetensors", stored, {"lora_adapter_metadata": said})
    (found,) = read(path).layers.values()
    assert found.scale == 1


def test_peft_settings_of_another_file_do_not_count(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 6, "use_rslora": true}')
    (found,) = read(written(tmp_path, "peft")).layers.values()
    assert found.scale == 1
