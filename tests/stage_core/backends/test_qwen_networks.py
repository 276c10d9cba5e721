"""Both encoders against the authors' numbers, and the files that the networks come from."""

import json
import logging
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from stage_core.backends.qwen_edit import load_qwen_edit
from stage_core.backends.qwen_encoders import QwenTextEncoder
from stage_core.backends.qwen_networks import QwenFiles, QwenSettings, open_networks
from stage_core.encoding.dual import EncoderAreas
from stage_core.encoding.prompts import Template, Templates
from stage_core.errors import MissingPackageError
from stage_core.models.checkpoint import Weights
from stage_core.story.frames import Picture

from ..vectors import (
    FOLDER,
    case,
    largest,
    manifest,
    needs_vectors,
    networks,
    released_folder,
    save,
    tensors,
)

AutoencoderKLQwenImage = pytest.importorskip("diffusers").AutoencoderKLQwenImage
convert_wan_vae_to_diffusers = pytest.importorskip(
    "diffusers.loaders.single_file_utils"
).convert_wan_vae_to_diffusers
pytest.importorskip("transformers")
pytestmark = needs_vectors
TEXT = manifest().get("text", {"prompts": [], "images": []})
SETTINGS = QwenSettings(dtype=torch.float32, areas=EncoderAreas(None, None))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return networks(tmp_path_factory.mktemp("released"), SETTINGS)


@pytest.fixture
def folder(tmp_path):
    return released_folder(tmp_path / "weights")


def opened(files, settings=SETTINGS):
    with torch.no_grad():
        return open_networks(files, settings).load()


def picture(index):
    return Picture.of(case("text_io", "image")[str(index)])


def see(encoder, words, index, monkeypatch):
    """The vectors give the picture as the vision tower's processor gets it, without a bucket."""
    monkeypatch.setattr("stage_core.backends.qwen_encoders.read_at", lambda image, area: image)
    with torch.no_grad():
        return encoder.encode(words, picture(index))


VAE_CASES = sorted({name.split(".")[0] for name in tensors("vae_io")}) if manifest() else []


@pytest.mark.parametrize("which", VAE_CASES)
@torch.no_grad()
def test_latents_and_pixels_of_the_vae_are_the_authors(loaded, which):
    stored = case("vae_io", which)
    pixels, vae = stored["pixels"], loaded.vae
    latents = vae.normalised(pixels)
    assert largest(latents, stored["latents"][:, :, 0]) < 1e-5
    assert largest(vae.decode(latents), stored["roundtrip_pixels"]) < 1e-4
    noise = stored["noise_latents"][:, :, 0]
    assert largest(vae.decode(noise), stored["noise_pixels"]) < 1e-4


@torch.no_grad()
def test_the_tall_canvas_decoded_whole_is_another_picture(loaded):
    stored = case("sampling", next(iter(manifest()["sampling"])))
    halves = [stored[f"latents_{half}"][:, :, 0] for half in ("start", "end")]
    apart = torch.cat([loaded.vae.decode(half) for half in halves], dim=2)
    wanted = torch.cat([stored[f"pixels_{half}"] for half in ("start", "end")], dim=1)
    assert largest(apart[0], wanted) < 1e-4
    assert largest(loaded.vae.decode(torch.cat(halves, dim=2))[0], wanted) > 0.01


@pytest.mark.parametrize("index", range(len(TEXT["images"])))
def test_prompts_with_a_picture_become_the_authors_embeddings(loaded, index, monkeypatch):
    stored, encoder = case("text_io", f"with_image{index}"), loaded.text_encoder
    for words, wanted in ((TEXT["prompts"][0], "embed"), (TEXT["negative_prompt"], "neg_embed")):
        assert largest(see(encoder, words, index, monkeypatch), stored[wanted]) < 1e-4


@pytest.mark.parametrize("index", range(len(TEXT["prompts"])))
def test_prompts_without_a_picture_become_the_authors_embeddings(loaded, index):
    stored, encoder = case("text_io", f"text_only{index}"), loaded.text_encoder
    with torch.no_grad():
        for words, wanted in (
            (TEXT["prompts"][index], "embed"),
            (TEXT["negative_prompt"], "neg_embed"),
        ):
            assert largest(encoder.encode(words, None), stored[wanted]) < 1e-4


def test_words_counted_without_rows_and_columns_would_be_noticed(loaded, monkeypatch):
    monkeypatch.setattr(
        "stage_core.backends.qwen_encoders.vision_language_positions",
        lambda ids, *_: torch.arange(len(ids)).expand(3, 1, -1),
    )
    encoder = loaded.text_encoder
    fresh = QwenTextEncoder(encoder.network, encoder._tokenize, encoder._templates, None)
    found = see(fresh, TEXT["prompts"][0], 0, monkeypatch)
    assert largest(found, case("text_io", "with_image0")["embed"]) > 0.1


def test_the_released_lora_reaches_the_text_encoder_too(tmp_path, monkeypatch):
    made = networks(tmp_path, SETTINGS, lora=True)
    stored = case("lora_io", "text")
    for words, wanted in ((TEXT["prompts"][0], "embed"), (TEXT["negative_prompt"], "neg_embed")):
        assert largest(see(made.text_encoder, words, 0, monkeypatch), stored[wanted]) < 1e-4
    count = sum(hasattr(module, "adapters") for module in made.text_encoder.network.modules())
    assert count == manifest()["lora"]["n_text_modules"]


def test_every_picture_is_seen_once_and_every_prompt_encoded_once(loaded, monkeypatch):
    encoder, seen = loaded.text_encoder, []
    fresh = QwenTextEncoder(encoder.network, encoder._tokenize, encoder._templates, None)
    handle = encoder.network.visual.register_forward_hook(lambda *_: seen.append(1))
    for words in ("one", " ", "two", " ", "one"):
        see(fresh, words, 0, monkeypatch)
    handle.remove()
    assert len(seen) == 1


def test_special_tokens_in_the_words_that_stand_for_pictures_are_refused(loaded, monkeypatch):
    with pytest.raises(ValueError, match="7 picture tokens for a grid of 2x3"):
        see(loaded.text_encoder, "a <|image_pad|>", 0, monkeypatch)


def single_files(folder, tmp_path):
    """The same weights as ComfyUI keeps them: one file a part, other prefixes, Wan's VAE names."""
    parts = {}
    for part, prefix, name in (
        ("transformer", "model.diffusion_model.", "dit"),
        ("text_encoder", "", "text_encoder"),
        ("vae", "", "vae"),
    ):
        place = tmp_path / part
        place.mkdir()
        stored = {f"{prefix}{key}": tensor for key, tensor in tensors(name).items()}
        parts[part] = save(place / "any_name.safetensors", stored)
        config = folder / {"transformer": "unet"}.get(part, part) / "config.json"
        shutil.copy(config, place / "config.json")
    return QwenFiles(tokenizer=folder / "tokenizer", templates=folder, **parts)


def newer_text_names(folder):
    """The text encoder as newer libraries save it, with index and shards."""
    renamed = {
        name
        if name.startswith("lm_head")
        else name.replace("visual.", "model.visual.")
        if name.startswith("visual.")
        else name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in tensors("text_encoder").items()
    }
    (folder / "text_encoder" / "model.safetensors").unlink()
    items = sorted(renamed.items())
    for number, part in enumerate((items[::2], items[1::2]), start=1):
        save(folder / "text_encoder" / f"model-0000{number}-of-00002.safetensors", dict(part))
    (folder / "unet").rename(folder / "transformer")


def same_weights(found, wanted):
    pairs = [
        (found.transformer, wanted.transformer),
        (found.vae.network, wanted.vae.network),
        (found.text_encoder.network, wanted.text_encoder.network),
    ]
    return all(
        torch.equal(tensor, other.state_dict()[name])
        for one, other in pairs
        for name, tensor in one.state_dict().items()
    )


def test_single_files_give_the_same_networks(loaded, folder, tmp_path):
    assert same_weights(opened(single_files(folder, tmp_path)), loaded)


def wan_names():
    """Names of Wan's VAE, which ComfyUI's file of this one has, by those of diffusers."""
    ends = [f".{end}" for end in ("weight", "bias", "gamma")]
    inner = [f"residual.{n}" for n in (0, 2, 3, 6)]
    inner += ["shortcut", "resample.1", "time_conv"]
    layers = ["conv1", "conv2"]
    for coder, way, count in (("encoder", "downsamples", 11), ("decoder", "upsamples", 15)):
        layers += [f"{coder}.{way}.{n}.{part}" for n in range(count) for part in inner]
        layers += [f"{coder}.middle.{n}.{part}" for n in (0, 2) for part in inner]
        layers += [f"{coder}.{part}" for part in ("conv1", "head.0", "head.2")]
        layers += [f"{coder}.middle.1.{part}" for part in ("norm", "to_qkv", "proj")]
    names = [layer + end for layer in layers for end in ends]
    return convert_wan_vae_to_diffusers({name: name for name in names})


def test_a_vae_with_the_names_of_wan_gives_the_same_network(folder):
    config = {"base_dim": 4, "z_dim": 16}
    torch.manual_seed(0)
    wanted = AutoencoderKLQwenImage(**config).state_dict()
    names = wan_names()
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save(file, {names[name]: tensor for name, tensor in wanted.items()})
    (folder / "vae" / "config.json").write_text(json.dumps(config))
    found = opened(QwenFiles.in_folder(folder)).vae.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_a_folder_of_diffusers_gives_the_same_networks(loaded, folder):
    newer_text_names(folder)
    assert same_weights(opened(QwenFiles.in_folder(folder)), loaded)


def test_a_scaled_eight_bit_text_encoder_is_widened(loaded, folder):
    stored = dict(tensors("text_encoder"))
    layer = "model.layers.0.mlp.up_proj"
    small = (stored[f"{layer}.weight"] * 4).to(torch.float8_e4m3fn)
    stored |= {f"{layer}.weight": small, f"{layer}.scale_weight": torch.tensor(0.25)}
    save(folder / "text_encoder" / "model.safetensors", stored)
    made = opened(QwenFiles.in_folder(folder)).text_encoder.network
    assert torch.equal(made.language_model.layers[0].mlp.up_proj.weight, small.float() / 4)


def test_identity_changes_with_files_and_settings_and_with_nothing_else(loaded, folder, tmp_path):
    files = QwenFiles.in_folder(folder)
    assert opened(files).identity == loaded.identity
    assert opened(files, replace(SETTINGS, eight_bit_blocks=True)).identity != loaded.identity
    assert opened(replace(files, templates=None)).identity != loaded.identity
    lora = replace(files, loras=(FOLDER / "lora.safetensors",))
    assert opened(lora).identity != loaded.identity


def test_the_template_of_a_loras_metadata_is_used_before_any_other(folder):
    made = Templates(Template("x{}", 1), Template("y{}", 1))
    save(folder / "lora.safetensors", tensors("lora"), made.to_metadata())
    encoder = opened(QwenFiles.in_folder(folder)).text_encoder
    assert encoder._templates == made


def test_without_a_released_template_our_own_wording_is_used_and_said(folder, caplog):
    with caplog.at_level(logging.WARNING):
        opened(replace(QwenFiles.in_folder(folder), templates=None))
    assert "prompts get our own wording" in caplog.text


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_a_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(ValueError, match=f"{part}.*should (be|hold)"):
        opened(QwenFiles.in_folder(folder))


def test_a_folder_without_the_tokenizer_is_named(folder):
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"tokenizer (does not hold the Qwen2|holds a) tokenizer"):
        opened(QwenFiles.in_folder(folder))


@pytest.mark.parametrize(
    ("part", "other", "what"),
    [
        ("unet/unet", "vae", "a Qwen-Image transformer"),
        ("vae/diffusion_pytorch_model", "dit", "a Qwen-Image VAE"),
        ("text_encoder/model", "vae", "a Qwen2.5-VL text encoder"),
    ],
)
def test_the_weights_of_another_network_are_refused_by_name(folder, part, other, what):
    shutil.copy(FOLDER / f"{other}.safetensors", folder / f"{part}.safetensors")
    with pytest.raises(ValueError, match=f"{part.split('/')[0]} is not {what}: of its tensors"):
        opened(QwenFiles.in_folder(folder))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_format_that_is_not_computed_is_refused_before_weights_are_read(folder, part):
    file = next((folder / part).glob("*.safetensors"))
    stored = load_file(file)
    name = next(name for name in stored if name.endswith("_proj.weight") or "to_q" in name)
    noted = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    save(file, {**stored, name.replace(".weight", ".comfy_quant"): noted})
    with pytest.raises(ValueError, match=rf"{file.name} stores {name} as nvfp4"):
        open_networks(QwenFiles.in_folder(folder), SETTINGS)


def test_a_transformer_of_another_kind_is_refused(folder):
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "use_layer3d_rope": True}))
    with pytest.raises(ValueError, match="transformer with use_layer3d_rope"):
        opened(QwenFiles.in_folder(folder))


def test_the_vae_of_wan_is_refused_where_its_config_says_so(folder):
    file = folder / "vae" / "config.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "_class_name": "AutoencoderKLWan"}))
    with pytest.raises(ValueError, match="vae is of class AutoencoderKLWan; it should be a Qwen"):
        opened(QwenFiles.in_folder(folder))


def test_identity_is_known_before_any_weight_is_read(loaded, folder, monkeypatch):
    monkeypatch.setattr(Weights, "read", fail)
    assert open_networks(QwenFiles.in_folder(folder), SETTINGS).identity == loaded.identity


def fail(*_):
    raise AssertionError("weights were read")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no folder unet or transformer"):
        QwenFiles.in_folder(tmp_path)


@pytest.mark.parametrize("missing", ["diffusers", "transformers"])
def test_a_missing_package_is_named_before_anything_is_read(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    nowhere = QwenFiles(*(tmp_path / part for part in ("a", "b", "c", "d")))
    with pytest.raises(MissingPackageError, match=f"-m pip install {missing}$"):
        load_qwen_edit(nowhere)
