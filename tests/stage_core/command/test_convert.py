"""Converted files keep every number, have ComfyUI's names, and carry their prompt templates."""

import json
import subprocess
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from stage_core.backends.qwen_networks import QwenFiles, QwenSettings, open_networks
from stage_core.command.convert import check, comfy_layer, convert_lora, convert_transformer
from stage_core.encoding.prompts import Templates
from stage_core.models.lora import layer_key

from ...live import looked_at, trees
from ..vectors import FOLDER, needs_vectors, released_folder, save

BLOCK = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.add_q_proj", "attn.add_k_proj"),
    *("attn.add_v_proj", "attn.to_out.0", "attn.to_add_out", "img_mlp.net.0.proj"),
    *("img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2", "img_mod.1", "txt_mod.1"),
)
TEXT_LAYER = tuple(f"self_attn.{n}_proj" for n in "qkvo") + tuple(
    f"mlp.{n}_proj" for n in ("gate", "up", "down")
)
NAMES = [f"transformer_blocks.1.{name}" for name in BLOCK]
NAMES += [f"model.language_model.layers.0.{name}" for name in TEXT_LAYER]


def quiet(*_):
    pass


def released_lora(path, names=NAMES, **extra):
    """A LoRA in the layout of the release, with two branches."""
    tensors = {}
    for number, name in enumerate(names):
        layer = f"lora_unet_{name.replace('.', '_')}"
        tensors[f"{layer}.alpha"] = torch.tensor(float(number))
        for branch in range(2):
            tensors[f"{layer}.lora_down.{branch}.weight"] = torch.full((2, 4), number + branch)
            tensors[f"{layer}.lora_up.{branch}.weight"] = torch.full((4, 2), -float(number))
    return save(path / "lora.safetensors", {**tensors, **extra})


def metadata(path):
    with safe_open(path, "pt") as stored:
        return stored.metadata()


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_gets_the_name_it_has_in_comfyui(name):
    prefix = "diffusion_model."
    if "language_model" in name:
        name = name.removeprefix("model.language_model.")
        prefix = "text_encoders.qwen25_7b.transformer.model."
    assert comfy_layer(layer_key(f"lora_unet_{name.replace('.', '_')}")) == prefix + name


@pytest.mark.parametrize("name", ["single_blocks_0_attn_to_q", "transformer_blocks_1_ff", "visual"])
def test_a_layer_that_neither_network_has_gets_no_name(name):
    assert comfy_layer(name) is None


def test_the_first_branch_and_alpha_of_every_layer_are_kept_as_they_are(tmp_path):
    source = released_lora(tmp_path, lora_unet_other_thing=torch.ones(1))
    made = convert_lora(source, tmp_path / "loras")
    assert made.path.name == "stage_step2_lora_comfyui.safetensors"
    assert (made.transformer, made.text_encoder, made.left_out) == (14, 7, 1)
    found = load_file(made.path)
    assert len(found) == 3 * len(NAMES)
    layer = "diffusion_model.transformer_blocks.1.attn.to_v"
    assert found[f"{layer}.alpha"] == 2
    assert (found[f"{layer}.lora_down.weight"] == 2).all()
    assert (found[f"{layer}.lora_up.weight"] == -2).all()


def test_an_alpha_from_the_metadata_of_diffusers_becomes_tensors(tmp_path):
    layer = "transformer.transformer_blocks.0.attn.to_q"
    tensors = {
        f"{layer}.lora_A.weight": torch.ones(2, 4),
        f"{layer}.lora_B.weight": torch.ones(4, 2),
    }
    said = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8}), "by": "Ana"}
    made = convert_lora(save(tmp_path / "snow.safetensors", tensors, said), tmp_path)
    assert made.path.name == "snow_lora_comfyui.safetensors"
    assert load_file(made.path)["diffusion_model.transformer_blocks.0.attn.to_q.alpha"] == 8
    assert metadata(made.path) == {"format": "pt", "by": "Ana"}


def test_a_lora_of_another_model_and_half_an_adapter_are_refused(tmp_path):
    with pytest.raises(ValueError, match="none of its 5 keys names a layer"):
        convert_lora(released_lora(tmp_path, ["double_blocks.0.img_attn"]), tmp_path / "out")
    half = {"transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 4)}
    with pytest.raises(ValueError, match="lacks one of its two factors"):
        convert_lora(save(tmp_path / "half.safetensors", half), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_vectors
@pytest.mark.parametrize("kind", ["beside", "archive", "file"])
def test_the_released_templates_come_into_the_metadata_with_drop_index_and_picture(tmp_path, kind):
    folder = released_folder(tmp_path / "step2", lora=True)
    texts = [text.rename(tmp_path / text.name) for text in folder.glob("*.txt")]
    place = None
    if kind == "beside":
        for text in texts:
            text.rename(folder / text.name)
    else:
        place = tmp_path / "source.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for text in texts:
                archive.write(text, text.name)
    if kind == "file":
        place = tmp_path / "with_image.txt"
    made = convert_lora(folder, tmp_path / "loras", place)
    found = Templates.from_metadata(metadata(made.path))
    assert found == made.templates
    assert found.with_picture.drop == 64
    assert found.picture == "Picture 1: <|vision_start|>{}<|vision_end|>"
    assert found.released is (kind != "file")


def test_a_place_without_the_released_templates_is_refused_and_none_is_needed(tmp_path):
    source = released_lora(tmp_path)
    assert convert_lora(source, tmp_path).templates is None
    (tmp_path / "other.py").write_text("TEMPLATE = 'You draw {}'")
    with pytest.raises(ValueError, match=r"other\.py holds no released prompt template"):
        convert_lora(source, tmp_path, tmp_path / "other.py")
    with pytest.raises(ValueError, match=r"there is no .*gone\.zip"):
        convert_lora(source, tmp_path, tmp_path / "gone.zip")


@needs_vectors
def test_the_shards_of_a_transformer_become_one_file_of_the_same_numbers(tmp_path):
    folder = released_folder(tmp_path / "step2")
    (folder / "unet" / "unet.safetensors").unlink()
    original = load_file(FOLDER / "dit.safetensors")
    names = sorted(original)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        prefixed = {f"model.diffusion_model.{name}": original[name] for name in part}
        save(folder / "unet" / f"unet-0000{number}-of-00002.safetensors", prefixed)
    made = convert_transformer(folder, tmp_path / "out")
    found = load_file(made)
    assert found.keys() == original.keys()
    assert all(torch.equal(found[name], original[name]) for name in names)
    assert Templates.from_metadata(metadata(made)).released


def test_what_is_no_transformer_or_a_file_for_comfyui_already_is_refused(tmp_path):
    (tmp_path / "unet").mkdir()
    file = save(tmp_path / "unet" / "a.safetensors", {"lm_head.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="is not a Qwen-Image transformer"):
        convert_transformer(tmp_path, tmp_path)
    scaled = {"txt_norm.weight": torch.ones(1), "a.scale_weight": torch.ones(1)}
    save(file, scaled)
    with pytest.raises(ValueError, match="use its file as it is"):
        convert_transformer(tmp_path, tmp_path)


@needs_vectors
def test_a_folder_draws_alike_with_its_lora_and_with_the_converted_one(tmp_path):
    folder = released_folder(tmp_path / "step2", lora=True)
    made = convert_lora(folder, tmp_path / "loras")
    files = QwenFiles.in_folder(folder)
    settings = QwenSettings(dtype=torch.float32)
    outputs = []
    for loras in (files.loras, (made.path,), ()):
        network = open_networks(replace(files, loras=loras), settings).load().transformer
        linear = network.transformer_blocks[0].attn.to_q
        outputs.append(linear(torch.ones(1, linear.in_features)))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@needs_vectors
def test_a_check_says_that_a_lora_should_fit_its_base_and_that_nobody_has_run_it(tmp_path):
    folder = released_folder(tmp_path / "step2", lora=True)
    weights = load_file(FOLDER / "dit.safetensors")
    linear = "transformer_blocks.0.attn.to_q.weight"
    stored = {**weights, linear: weights[linear].to(torch.float8_e4m3fn)}
    stored = {f"model.diffusion_model.{name}": tensor for name, tensor in stored.items()}
    checkpoint = save(tmp_path / "fp8.safetensors", stored)
    said = check(folder, checkpoint, folder, quiet)
    assert f"{len(weights) - 1} tensors are equal, 1 within the rounding of float8_e4m3fn" in said
    assert said.endswith("unproven until someone runs it")


@needs_vectors
def test_a_check_refuses_another_base_and_layers_of_another_size(tmp_path):
    folder = released_folder(tmp_path / "step2")
    weights = load_file(FOLDER / "dit.safetensors")
    weights["txt_norm.weight"] += 1
    checkpoint = save(tmp_path / "other.safetensors", weights)
    with pytest.raises(ValueError, match=r"1 differ \(txt_norm\.weight by 1\).* may not fit"):
        check(folder, checkpoint, None, quiet)
    wide = released_lora(tmp_path, ["transformer_blocks.0.attn.to_q"])
    with pytest.raises(ValueError, match=r"to_q of size \(4, 4\)"):
        check(folder, checkpoint, wide, quiet)


LOADING = """
import sys
sys.path.insert(0, sys.argv[1])
import comfy.cli_args
comfy.cli_args.args.cpu = True
import comfy.lora, comfy.ops, comfy.utils
import comfy.text_encoders.qwen_image as text
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from types import SimpleNamespace
import torch

class Model(torch.nn.Module):
    model_config = SimpleNamespace(unet_config={})
    def __init__(self):
        super().__init__()
        self.diffusion_model = QwenImageTransformer2DModel(
            num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6), device="meta", operations=comfy.ops.disable_weight_init,
        )

clip = text.QwenImageTEModel(
    device="meta", dtype=torch.bfloat16,
    model_options={"qwen25_7b_model_config": {"num_hidden_layers": 1, "intermediate_size": 512}},
)
names = comfy.lora.model_lora_keys_unet(Model(), {})
names = comfy.lora.model_lora_keys_clip(clip, names)
lora = comfy.utils.load_torch_file(sys.argv[2], safe_load=True)
patches = comfy.lora.load_lora(lora, names)
targets = [k if isinstance(k, str) else k[0] for k in patches]
alphas = [patch.weights[2] for patch in patches.values()]
print(len(patches), sum(k.startswith("diffusion_model.") for k in targets), sum(alphas))
"""


@pytest.mark.comfy
@pytest.mark.parametrize("tree", trees() or [None], ids=str)
def test_comfyui_loads_every_key_of_a_converted_lora(tmp_path, tree):
    if tree is None:
        pytest.skip(f"no ComfyUI with a Python of its own in {looked_at()}")
    made = convert_lora(released_lora(tmp_path), tmp_path)
    done = subprocess.run(
        [tree.python, "-c", LOADING, tree.folder, made.path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "lora key not loaded" not in done.stderr
    assert done.stdout.split() == ["21", "14", str(float(sum(range(21))))]
