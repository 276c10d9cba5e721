"""Files of weights: every layout reaches the network, every wrong file is refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stage_core.models import low_bit
from stage_core.models.checkpoint import empty, fingerprint, open_weights, read_config
from stage_core.models.qwen_image import QwenImage

from ..vectors import save
from .test_qwen_image import SMALL

WHAT = "a Qwen-Image transformer"


def weights():
    torch.manual_seed(0)
    return QwenImage(SMALL).state_dict()


def loaded(path, ops=nn, prefixes=(), quantised=lambda name: False):
    network = empty(lambda: QwenImage(SMALL, ops))
    open_weights(path, WHAT).within(prefixes).load_into(network, torch.float32, "cpu", quantised)
    return network


LAYER = "transformer_blocks.0.attn.to_q"
PREFIX = "model.diffusion_model."
REFUSED = "which is not computed here; use the file in bf16 or scaled fp8, or load it with"
CONVROT = "int8_tensorwise with convrot"
UNREADABLE = "a format that its note does not name"
NOTES = {
    "nvfp4": {"format": "nvfp4"},
    "mxfp8": {"format": "mxfp8", "full_precision_matrix_mult": True},
    "one_that_comes_later": {"format": "one_that_comes_later"},
    CONVROT: {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 256},
    f"{CONVROT} ": {"format": "int8_tensorwise", "params": {"convrot": True}},
    UNREADABLE: {"group_size": 16},
}


def note(noted):
    """What ComfyUI puts beside a layer's weight."""
    return torch.tensor(list(json.dumps(noted).encode()), dtype=torch.uint8)


def headed(path, stored, noted):
    """A file whose header has the notes."""
    save_file(stored, path, {"_quantization_metadata": json.dumps({"layers": noted})})
    return path


def same(network, stored):
    found = network.state_dict()
    return all(torch.equal(found[name], tensor) for name, tensor in stored.items())


def test_a_file_reaches_the_network_as_it_is(tmp_path):
    file = save(tmp_path / "x.safetensors", weights())
    assert same(loaded(file), weights())


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
def test_prefixes_are_taken_off_and_other_networks_of_the_file_left_out(tmp_path, prefix):
    stored = {prefix + name: tensor for name, tensor in weights().items()}
    file = save(tmp_path / "x.safetensors", {**stored, "vae.conv.weight": torch.zeros(1)})
    prefixes = ("model.diffusion_model.", "diffusion_model.")
    assert same(loaded(file, prefixes=prefixes), weights())


@pytest.mark.parametrize(
    "named", ["x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors", "."]
)
def test_any_shard_or_the_folder_brings_all_shards(tmp_path, named):
    items = list(weights().items())
    for number, part in enumerate((items[:30], items[30:]), start=1):
        save(tmp_path / f"x-0000{number}-of-00002.safetensors", dict(part))
    assert same(loaded(tmp_path / named), weights())


def test_eight_bit_files_stay_in_eight_bits_with_or_without_scales(tmp_path):
    stored, scaled = weights(), "transformer_blocks.0.attn.to_q"
    cast = "transformer_blocks.0.attn.to_k"
    wanted = {}
    for layer, scale in ((scaled, torch.tensor(0.25)), (cast, torch.tensor(1.0))):
        small = (stored[f"{layer}.weight"] / scale).to(torch.float8_e4m3fn)
        stored[f"{layer}.weight"], wanted[layer] = small, small.float() * scale
    stored[f"{scaled}.weight_scale"] = torch.tensor(0.25)
    stored[f"{scaled}.comfy_quant"] = note({"format": "float8_e4m3fn"})
    stored[f"{scaled}.input_scale"] = stored[f"{cast}.scale_input"] = torch.tensor(3.0)
    stored["scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
    network = loaded(save(tmp_path / "x.safetensors", stored), low_bit)
    for layer, weight in wanted.items():
        found = network.get_submodule(layer)
        assert found.weight.dtype is torch.float8_e4m3fn
        assert torch.equal(
            found(torch.eye(48)).T - found.bias[:, None],
            (torch.nn.functional.linear(torch.eye(48), weight, found.bias).T - found.bias[:, None]),
        )
    plain = loaded(tmp_path / "x.safetensors")
    assert torch.equal(plain.get_submodule(scaled).weight, wanted[scaled])


@pytest.mark.parametrize("kind", NOTES)
def test_a_format_that_is_not_computed_is_refused_by_layer_before_weights_are_read(tmp_path, kind):
    stored = {**weights(), f"{LAYER}.comfy_quant": note(NOTES[kind])}
    file = save(tmp_path / "x.safetensors", stored)
    with pytest.raises(ValueError) as refused:
        open_weights(file, WHAT).check_formats()
    said = f"{file} stores {LAYER}.weight as {kind.strip()}, {REFUSED}"
    assert str(refused.value).startswith(said)
    with pytest.raises(ValueError, match=REFUSED):
        loaded(file)


@pytest.mark.parametrize("bytes_of_a_note", [b"", b"{", b"\xff", b"[]", b"null"])
def test_a_note_that_cannot_be_read_is_refused(tmp_path, bytes_of_a_note):
    noted = torch.tensor(list(bytes_of_a_note), dtype=torch.uint8)
    file = save(tmp_path / "x.safetensors", {**weights(), f"{LAYER}.comfy_quant": noted})
    with pytest.raises(ValueError, match=UNREADABLE):
        loaded(file)


@pytest.mark.parametrize("named", [LAYER, PREFIX + LAYER])
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_notes_in_the_header_count_more_than_those_beside_the_weights(tmp_path, prefix, named):
    stored = {prefix + name: tensor for name, tensor in weights().items()}
    good, bad = {"format": "float8_e4m3fn"}, {"format": "nvfp4"}
    file = tmp_path / "x.safetensors"
    headed(file, {**stored, f"{prefix}{LAYER}.comfy_quant": note(good)}, {named: bad})
    if prefix or named == LAYER:
        with pytest.raises(ValueError, match=rf"{LAYER}\.weight as nvfp4, {REFUSED}"):
            loaded(file, prefixes=[PREFIX])
    else:
        assert same(loaded(file), weights())
    headed(file, {**stored, f"{prefix}{LAYER}.comfy_quant": note(bad)}, {prefix + LAYER: good})
    assert same(loaded(file, prefixes=[PREFIX]), weights())


@pytest.mark.parametrize("header", ["{", "[]", "{}", '{"layers": [1]}'])
def test_a_header_of_notes_that_cannot_be_read_is_refused(tmp_path, header):
    save_file(weights(), tmp_path / "x.safetensors", {"_quantization_metadata": header})
    with pytest.raises(ValueError, match=UNREADABLE):
        loaded(tmp_path / "x.safetensors")


def test_formats_of_other_networks_in_the_file_do_not_matter(tmp_path):
    stored = {PREFIX + name: tensor for name, tensor in weights().items()}
    other = {"clip.a.weight": torch.zeros(1), "clip.a.comfy_quant": note({"format": "nvfp4"})}
    file = save(tmp_path / "x.safetensors", {**stored, **other})
    assert same(loaded(file, prefixes=[PREFIX]), weights())


@pytest.mark.parametrize("beside", [{"format": "int8_tensorwise", "convrot": False}, None])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (48, 1)])
def test_plain_eight_bit_integers_are_multiplied_by_their_scales(tmp_path, shape, beside):
    stored, generator = weights(), torch.Generator().manual_seed(1)
    small = torch.randint(-128, 128, (48, 48), dtype=torch.int8, generator=generator)
    scale = torch.rand(shape, generator=generator)
    wanted = small.double() * (scale.double() if scale.numel() > 1 else scale.item())
    stored |= {f"{LAYER}.weight": small, f"{LAYER}.weight_scale": scale}
    stored |= {f"{LAYER}.comfy_quant": note(beside)} if beside else {}
    file = save(tmp_path / "x.safetensors", stored)
    for ops in (nn, low_bit):
        assert torch.equal(loaded(file, ops).get_submodule(LAYER).weight, wanted.float())


@pytest.mark.parametrize("shape", [(48,), (1, 48), (48, 2), (24, 1), (48, 5, 1), (48, 3, 16), (0,)])
def test_scales_that_do_not_fit_a_weight_are_refused_by_name(tmp_path, shape):
    stored = weights()
    stored[f"{LAYER}.weight"] = stored[f"{LAYER}.weight"].to(torch.float8_e4m3fn)
    stored[f"{LAYER}.weight_scale"] = torch.ones(shape)
    file = save(tmp_path / "x.safetensors", stored)
    for ops in (nn, low_bit):
        with pytest.raises(ValueError) as refused:
            loaded(file, ops)
        said = f"{file} stores {LAYER}.weight with scales {list(shape)} for numbers [48, 48], "
        assert str(refused.value).startswith(said + REFUSED)


@pytest.mark.parametrize("shape", [(), (1,), (48, 1), (48, 3, 1), (1, 1, 1)])
def test_scales_that_fit_are_those_that_widen(shape):
    weight, scale = torch.randn(48, 48), torch.rand(shape)
    assert low_bit.fits(scale.shape, weight.shape)
    each = scale.expand(48, 1) if scale.ndim < 2 else scale.reshape(scale.shape[0], -1)
    each = each.repeat_interleave(48 // each.shape[1], dim=1)
    assert torch.equal(low_bit.dequantise(weight, scale), weight * each)


@pytest.mark.parametrize(
    ("number", "scale", "said"),
    [
        (torch.int8, None, "int8 without a scale"),
        (torch.uint8, None, "uint8 without a scale"),
        (torch.uint8, torch.float32, "uint8 with scales in float32"),
        (torch.float8_e4m3fn, torch.uint8, "float8_e4m3fn with scales in uint8"),
        (torch.float8_e4m3fn, torch.float8_e8m0fnu, "float8_e4m3fn with scales in float8_e8m0fnu"),
    ],
)
def test_numbers_that_stand_for_others_are_refused_without_a_note(tmp_path, number, scale, said):
    stored = weights()
    stored[f"{LAYER}.weight"] = stored[f"{LAYER}.weight"].to(number)
    if scale is not None:
        stored[f"{LAYER}.weight_scale"] = torch.ones(1).to(scale)
    file = save(tmp_path / "x.safetensors", stored)
    for ops in (nn, low_bit):
        with pytest.raises(ValueError, match=rf"{LAYER}\.weight as {said}, {REFUSED}"):
            loaded(file, ops)


def test_layers_asked_for_become_eight_bits_on_the_way(tmp_path):
    file = save(tmp_path / "x.safetensors", weights())
    network = loaded(file, low_bit, quantised=lambda name: "img_mlp" in name)
    assert network.transformer_blocks[0].img_mlp.net[2].weight.dtype is torch.float8_e4m3fn
    assert network.img_in.weight.dtype is torch.float32


def test_a_network_has_no_storage_before_its_weights_but_keeps_its_buffers():
    class Rotary(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("frequencies", torch.arange(2.0), persistent=False)

    made = empty(Rotary)
    assert made.weight.is_meta
    assert made.frequencies.tolist() == [0.0, 1.0]


def test_weights_of_another_network_are_refused_before_they_are_read(tmp_path):
    stored = weights()
    del stored["img_in.bias"]
    stored["txt_in.weight"] = torch.zeros(1, 1)
    stored["guidance.weight"] = torch.zeros(1)
    file = save(tmp_path / "x.safetensors", stored)
    with pytest.raises(ValueError) as refused:
        loaded(file)
    assert str(refused.value) == (
        f"{file} is not {WHAT}: of its tensors 1 missing (img_in.bias), "
        "1 unknown (guidance.weight), 1 of another shape (txt_in.weight)"
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"no file .*gone.safetensors; it should be {WHAT}"):
        open_weights(tmp_path / "gone.safetensors", WHAT)


@pytest.mark.parametrize("content", [b"", b"not weights at all", None])
def test_a_truncated_or_other_file_is_named(tmp_path, content):
    file = save(tmp_path / "x.safetensors", weights())
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=r"x\.safetensors cannot be read as a safetensors file"):
        open_weights(file, WHAT)


def test_a_missing_shard_is_named(tmp_path):
    file = save(tmp_path / "x-00001-of-00003.safetensors", weights())
    with pytest.raises(ValueError, match=r"lacks x-00002-of-00003\.safetensors, x-00003"):
        open_weights(file, WHAT)


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_a_folder_of_no_or_several_networks_is_refused(tmp_path, names):
    for name in names:
        save(tmp_path / f"{name}.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match=f"holds {len(names)} networks"):
        open_weights(tmp_path, WHAT)


def test_a_fingerprint_changes_with_any_part_of_the_weights(tmp_path):
    before = fingerprint(open_weights(save(tmp_path / "x.safetensors", weights()), WHAT))
    changed = {name: tensor + 1e-3 for name, tensor in weights().items()}
    after = fingerprint(open_weights(save(tmp_path / "x.safetensors", changed), WHAT))
    again = fingerprint(open_weights(save(tmp_path / "x.safetensors", weights()), WHAT))
    assert before == again != after


def test_a_config_is_read_beside_a_file_and_must_be_an_object(tmp_path):
    file = save(tmp_path / "x.safetensors", weights())
    assert read_config(file) is None
    (tmp_path / "config.json").write_text('{"num_layers": 2}')
    assert read_config(file) == read_config(tmp_path) == {"num_layers": 2}
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json should hold a JSON object"):
        read_config(file)
