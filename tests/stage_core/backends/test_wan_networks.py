"""Wan's files in every layout give the same networks, and files that do not fit are refused."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from stage_core.backends.load import load_shot_model
from stage_core.backends.protocol import Sampling
from stage_core.backends.wan import load_wan
from stage_core.backends.wan_files import WanFiles
from stage_core.backends.wan_networks import WanSettings, open_networks
from stage_core.backends.wan_tiny import tiny_networks
from stage_core.errors import MissingPackageError
from stage_core.models.wan_names import authors_name
from stage_core.story.brief import ShotBrief
from stage_core.story.frames import FramePair, Picture, no_frames
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
from .wan_folders import (
    comfy_folder,
    diffusers_folder,
    save,
)

FLOAT = WanSettings(dtype=torch.float32)


@pytest.fixture
def folder(tmp_path):
    return diffusers_folder(tmp_path / "wan")


def opened(folder, settings=FLOAT):
    return open_networks(WanFiles.in_folder(folder), settings).load()


def same(one, two):
    state = one.state_dict()
    return state.keys() == two.state_dict().keys() and all(
        torch.equal(tensor, state[name]) for name, tensor in two.state_dict().items()
    )


def check_same(found, wanted):
    assert same(found.high, wanted.high)
    assert (found.low is None) == (wanted.low is None)
    assert found.low is None or same(found.low, wanted.low)
    assert same(found.vae.network, wanted.vae.network)
    assert same(found.text.network, wanted.text.network)
    assert found.sight is None or same(found.sight.network, wanted.sight.network)


@pytest.mark.parametrize("kind", ["two experts", "seeing", "small", "led"])
def test_a_folder_of_diffusers_gives_its_networks(tmp_path, kind):
    found = opened(diffusers_folder(tmp_path / "wan", kind))
    wanted = tiny_networks(kind)
    assert found.high.config == wanted.high.config
    check_same(found, wanted)


@pytest.mark.parametrize("kind", ["two experts", "seeing", "led"])
def test_the_authors_folders_and_names_give_the_same_networks(tmp_path, kind):
    folder, wanted = diffusers_folder(tmp_path / "wan", kind), tiny_networks(kind)
    places = ("high_noise_model", "low_noise_model") if wanted.low else (".",)
    for place, expert in zip(places, (wanted.high, wanted.low), strict=False):
        as_released(folder / place, expert, folder / "transformer" / "config.json")
    for name in ("transformer", "transformer_2"):
        shutil.rmtree(folder / name, ignore_errors=True)
    check_same(opened(folder), wanted)


def as_released(folder, network, config):
    """In two shards, of the authors' names."""
    stored = [(authors_name(key), tensor) for key, tensor in network.state_dict().items()]
    assert "head.modulation" in dict(stored)
    for number in (1, 2):
        shard = f"diffusion_pytorch_model-0000{number}-of-00002"
        save(folder / shard, dict(stored[number - 1 :: 2]))
    shutil.copy(config, folder)


def test_single_files_for_comfyui_stay_in_their_eight_bits(tmp_path):
    found = opened(comfy_folder(tmp_path / "models"))
    wanted = tiny_networks()
    weight = found.high.blocks[0].attn1.to_q
    assert weight.weight.dtype is torch.float8_e4m3fn
    small = (wanted.high.blocks[0].attn1.to_q.weight * 2).to(torch.float8_e4m3fn)
    assert torch.equal(weight.weight.float(), small.float())
    assert float(weight.scale_weight) == 0.5
    assert torch.equal(found.low.proj_out.weight, wanted.low.proj_out.weight)
    assert same(found.text.network, wanted.text.network)


def test_time_norms_and_modulation_stay_in_float32(folder):
    network = opened(folder, WanSettings()).high
    assert network.blocks[0].attn1.to_q.weight.dtype is torch.bfloat16
    assert network.condition_embedder.time_embedder.linear_1.weight.dtype is torch.float32
    assert network.blocks[0].scale_shift_table.dtype is torch.float32
    wanted = tiny_networks().high.blocks[0].norm2.weight
    assert torch.equal(network.blocks[0].norm2.weight, wanted)


def test_a_model_of_files_films(folder):
    model = load_shot_model(str(folder))
    shot = Shot("1", "Ana waits", num_frames=3)
    brief = ShotBrief(shot, FrameFormat(32, 16), MemoryPack(), no_frames(shot))
    picture = Picture.of(torch.zeros(16, 32, 3))
    # Of its real size this takes a minute: the networks are tiny, the pictures are not.
    model.grid = replace(model.grid, area=32 * 32)
    clip = model.film(
        brief, FramePair("1", picture).keyframes(3), Sampling(steps=2), lambda *_: None
    )
    assert clip.frames.shape == (5, 16, 48, 3)


def test_the_boundary_is_that_of_the_folder(folder):
    assert load_wan(WanFiles.in_folder(folder), FLOAT).sampling.boundary == 0.85


def test_identity_changes_with_files_and_settings_and_with_nothing_else(folder, tmp_path):
    identity = load_wan(WanFiles.in_folder(folder), FLOAT).identity
    again = diffusers_folder(tmp_path / "again")
    assert load_wan(WanFiles.in_folder(again), FLOAT).identity == identity
    assert load_wan(WanFiles.in_folder(again), WanSettings()).identity != identity
    other = diffusers_folder(tmp_path / "other", seed=1)
    assert load_wan(WanFiles.in_folder(other), FLOAT).identity != identity


def lora(folder, name, layer, **more):
    generator = torch.Generator().manual_seed(len(name))
    factors = {
        f"{layer}.lora_down.weight": torch.randn(4, 24, generator=generator),
        f"{layer}.lora_up.weight": torch.randn(24, 4, generator=generator),
        **more,
    }
    return save(folder / name, factors)


LAYERS = (
    "diffusion_model.blocks.1.self_attn.q",
    "lora_unet_blocks_1_self_attn_q",
    "transformer.blocks.1.attn1.to_q",
    "base_model.model.blocks.1.self_attn.q",
)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_adapter_of_each_layout_reaches_its_layer_of_its_expert(folder, layer):
    for noise in ("high", "low"):
        lora(folder / "loras", f"wan2.2_i2v_style_{noise}_noise", layer)
    found = opened(folder)
    for expert in (found.high, found.low):
        changed = [name for name, part in expert.named_modules() if hasattr(part, "adapters")]
        assert changed == ["blocks.1.attn1.to_q"]
    high, low = (e.blocks[1].attn1.to_q.adapters[0].up for e in (found.high, found.low))
    assert not torch.equal(high, low)


def test_changes_of_whole_weights_beside_an_adapter_are_added(folder):
    ones = torch.ones(24)
    changes = {
        "diffusion_model.blocks.1.self_attn.k.diff_b": ones,
        "diffusion_model.blocks.1.cross_attn.norm_q.diff": 2 * ones,
        "diffusion_model.blocks.0.diff_m": torch.ones(1, 6, 24),
    }
    for noise in ("high", "low"):
        lora(folder, f"wan_lora_{noise}_noise", LAYERS[0], **changes)
    found, wanted = opened(folder).low.blocks, tiny_networks().low.blocks
    pairs = [
        (found[1].attn1.to_k.bias, wanted[1].attn1.to_k.bias + 1),
        (found[1].attn2.norm_q.weight, wanted[1].attn2.norm_q.weight + 2),
        (found[0].scale_shift_table, wanted[0].scale_shift_table + 1),
    ]
    assert all(torch.equal(one, two) for one, two in pairs)


def test_a_change_of_a_weight_that_there_is_not_is_left_out_and_told(folder, caplog):
    for noise in ("high", "low"):
        change = {"diffusion_model.blocks.7.diff_m": torch.ones(1, 6, 24)}
        lora(folder, f"wan_lora_{noise}_noise", LAYERS[0], **change)
    opened(folder)
    assert "1 changes of weights that this model lacks" in caplog.text


@pytest.mark.parametrize("name", ["Wan2.2-Lightning_I2V-4steps-lora_{}_fp16", "lora_{}-noise_v1"])
def test_adapters_are_told_apart_by_either_spelling(folder, name):
    for noise in ("HIGH", "LOW"):
        lora(folder, name.format(noise), LAYERS[0])
    files = WanFiles.in_folder(folder)
    assert [path.stem for path in files.loras] == [name.format("HIGH")]
    assert [path.stem for path in files.low_loras] == [name.format("LOW")]


def test_an_adapter_for_few_steps_brings_its_own_sampling(folder):
    own = load_wan(WanFiles.in_folder(folder), FLOAT).sampling
    for noise in ("high", "low"):
        lora(folder, f"wan2.2_i2v_lightx2v_4steps_lora_v1_{noise}_noise", LAYERS[0])
    few = load_wan(WanFiles.in_folder(folder), FLOAT).sampling
    assert (few.steps, few.guidance, few.shift, few.sampler) == (4, (1.0, 1.0), 5.0, "euler")
    assert few.boundary == own.boundary
    # As in the official graph: two steps each.
    assert replace(few, boundary=0.9).switch_at() == 2


def test_an_adapter_that_is_for_neither_expert_is_refused(folder):
    lora(folder, "my_lora", LAYERS[0])
    with pytest.raises(ValueError, match=r"my_lora\.safetensors: for which of the two experts"):
        WanFiles.in_folder(folder)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("transformer", "should hold the transformer of one Wan model.*holds none"),
        ("vae", "lacks a Wan VAE: a folder vae"),
        ("text_encoder", "lacks the UMT5 text encoder: a folder text_encoder, or umt5_xxl"),
        ("tokenizer", "lacks a folder tokenizer"),
    ],
)
def test_a_missing_part_is_named(folder, part, message):
    shutil.rmtree(folder / part)
    shutil.rmtree(folder / "transformer_2")
    with pytest.raises(ValueError, match=message):
        WanFiles.in_folder(folder)


@pytest.mark.parametrize(
    ("part", "name", "instead"),
    [
        ("text_encoder", "models_t5_umt5-xxl-enc-bf16.pth", "umt5_xxl_fp8_e4m3fn_scaled"),
        ("vae", "Wan2.1_VAE.pth", "wan_2.1_vae"),
    ],
)
def test_a_pickle_is_not_read_and_what_to_get_is_named(folder, part, name, instead):
    shutil.rmtree(folder / part)
    (folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{name} is a pickle, .* put {instead}"):
        WanFiles.in_folder(folder)


def test_one_of_two_experts_is_not_enough(tmp_path):
    folder = comfy_folder(tmp_path)
    next((folder / "diffusion_models").glob("*high*")).unlink()
    with pytest.raises(ValueError, match=r"or the high-noise and the low-noise one of Wan 2\.2"):
        WanFiles.in_folder(folder)


def test_experts_the_wrong_way_round_are_refused(tmp_path):
    files = WanFiles.in_folder(comfy_folder(tmp_path))
    with pytest.raises(ValueError, match="are the wrong way round: the high-noise model comes"):
        replace(files, transformer=files.low, low=files.transformer)


def test_experts_that_are_the_same_are_refused(folder):
    shutil.copytree(folder / "transformer", folder / "transformer_2", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="hold the same weights; one should be the high-noise"):
        opened(folder)


def with_channels(folder, channels):
    """The transformers with another patch embedding."""
    for name, seed in (("transformer", 0), ("transformer_2", 1)):
        state = dict(tiny_networks(seed=seed).high.state_dict())
        state["patch_embedding.weight"] = torch.randn(24, channels, 1, 2, 2)
        save(folder / name / "diffusion_pytorch_model", state)
    return folder


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            16,
            "a text-to-video Wan: its patch embedding takes 16 channels, that of image to video 36",
        ),
        (20, "a Wan for another use: its patch embedding takes 20 channels"),
    ],
)
def test_a_transformer_for_another_use_is_told_by_its_patch_embedding(folder, channels, message):
    with pytest.raises(ValueError, match=message):
        opened(with_channels(folder, channels))


def test_a_vae_of_another_family_is_told_by_its_channels(folder, tmp_path):
    other = diffusers_folder(tmp_path / "small", "small")
    shutil.rmtree(folder / "vae")
    shutil.copytree(other / "vae", folder / "vae")
    with pytest.raises(ValueError, match="is the VAE of another model: it has 48 channels"):
        opened(folder)


def test_a_model_that_sees_frames_needs_its_image_encoder(tmp_path):
    folder = diffusers_folder(tmp_path, "seeing")
    shutil.rmtree(folder / "image_encoder")
    with pytest.raises(ValueError, match="sees the frames through an image encoder; add the fold"):
        opened(folder)


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("transformer", "a Wan transformer: among its"),
        ("vae", "a Wan VAE: of its tensors"),
        ("text_encoder", "a UMT5 text encoder: of its tensors"),
    ],
)
def test_the_weights_of_another_network_are_refused_by_name(folder, part, what):
    file = next((folder / part).glob("*.safetensors"))
    save(file.with_suffix(""), {"conv.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match=f"{part} is not {what}|{part}/.* is not {what}"):
        opened(folder)


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
def test_a_format_that_is_not_computed_is_refused_before_weights_are_read(folder, part):
    file = next((folder / part).glob("*.safetensors"))
    stored = load_file(file)
    layer = next(name for name in stored if name.endswith("q.weight")).removesuffix(".weight")
    noted = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    save(file.with_suffix(""), {**stored, f"{layer}.comfy_quant": noted})
    with pytest.raises(ValueError, match=rf"{file.name} stores {layer}\.weight as nvfp4"):
        open_networks(WanFiles.in_folder(folder), FLOAT)


def test_an_unreadable_index_is_named(folder):
    (folder / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match=r"model_index\.json cannot be read as JSON"):
        WanFiles.in_folder(folder)


def test_a_missing_package_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    nowhere = WanFiles(*(tmp_path / part for part in ("a", "b", "c", "d")))
    with pytest.raises(MissingPackageError, match="diffusers and transformers; install them with"):
        open_networks(nowhere, FLOAT)
