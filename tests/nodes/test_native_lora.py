"""The presets of Shot Model, and the 4-step one with LoRA files through core's own loader."""

import pytest
import torch
from safetensors.torch import save_file

from .small_wan import inner, wan

pytestmark = pytest.mark.comfy
RANK, ALPHA = 4, 2.0
LAYERS = ("self_attn.q", "self_attn.o", "cross_attn.v", "ffn.0")
# (steps, guidance, shift, switch_at, guidance_low, sampler) of ComfyUI's own graphs:
# video_wan2_2_14B_flf2v in both its forms, wan2.1_flf2v_720_f16, video_wan2_2_5B_ti2v,
# video_wan_vace_14B_ref2v. That one has one expert; two of VACE change over where the authors'
# code does, below a noise of 0.875, which is after step 11 of 20 at shift 8.
OFFICIAL = {
    "Wan 2.2 14B": (20, 4.0, 8.0, 10, 4.0, "euler"),
    "Wan 2.2 14B, 4 steps": (4, 1.0, 5.0, 2, 1.0, "euler"),
    "Wan 2.1 14B": (20, 3.0, 8.0, None, None, "uni_pc"),
    "Wan 2.2 5B": (20, 5.0, 8.0, None, None, "uni_pc"),
    "Wan VACE": (20, 6.0, 8.0, 11, 6.0, "uni_pc"),
}


def presets(node):
    """The defaults of the widgets of every choice of settings."""
    inputs = node("STAGE_ShotModel").GET_SCHEMA().inputs
    options = next(slot for slot in inputs if slot.id == "settings").options
    return {option.key: {slot.id: slot.default for slot in option.inputs} for option in options}


def test_every_preset_is_that_of_the_official_graph(node):
    names = ("steps", "guidance", "shift", "switch_at", "guidance_low", "sampler")
    found = {
        key: tuple(values.get(name) for name in names) for key, values in presets(node).items()
    }
    assert found == OFFICIAL
    assert all(values["schedule"] == "simple" for values in presets(node).values())


def named(layout, block, layer):
    """The names of the two matrices of a layer, and of its scale where the layout has one."""
    plain = f"diffusion_model.blocks.{block}.{layer}"
    flat = f"lora_unet_blocks_{block}_{layer.replace('.', '_')}"
    down, up = {
        "down and up": (f"{plain}.lora_down.weight", f"{plain}.lora_up.weight"),
        "A and B": (f"{plain}.lora_A.weight", f"{plain}.lora_B.weight"),
        "flat": (f"{flat}.lora_down.weight", f"{flat}.lora_up.weight"),
    }[layout]
    return down, up, f"{flat if layout == 'flat' else plain}.alpha"


@pytest.fixture
def lora(tmp_path, monkeypatch):
    """Writes a LoRA of a layout for a model of this seed and loads it as core does."""
    import folder_paths

    import nodes

    folders = {**folder_paths.folder_names_and_paths, "loras": ([str(tmp_path)], {".safetensors"})}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)

    def lora(model, layout, seed):
        generator, tensors = torch.Generator().manual_seed(seed), {}
        for block in range(2):
            for layer in LAYERS:
                down, up, alpha = named(layout, block, layer)
                tensors[down] = torch.randn(RANK, 128, generator=generator) * 0.3
                tensors[up] = torch.randn(128, RANK, generator=generator) * 0.3
                tensors[alpha] = torch.tensor(ALPHA)
        file = f"wan_4_steps_{seed}_{layout.replace(' ', '_')}.safetensors"
        save_file(tensors, tmp_path / file)
        (patched,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, file, 1.0)
        assert len(patched.patches) == 2 * len(LAYERS)
        return patched

    return lora


def test_the_4_step_preset_films_with_lora_files_of_every_layout(node, make, film, order, lora):
    values = presets(node)["Wan 2.2 14B, 4 steps"]
    settings = {name: value for name, value in values.items() if name != "size"}
    models = wan(36, seed=1), wan(36, seed=2)
    plain = film(make(models, **settings), order())
    clips, steps = [], []
    for layout in ("down and up", "A and B", "flat"):
        pair = [lora(model, layout, seed) for seed, model in enumerate(models)]
        model = make(tuple(pair), **settings)
        clips.append(film(model, order(), lambda shot, done, total: steps.append((done, total))))
    assert set(steps) == {(done, 4) for done in range(5)}
    assert all(torch.equal(clip, clips[0]) for clip in clips)
    assert not torch.equal(inner(clips[0]), inner(plain))
    assert torch.equal(film(make(models, **settings), order()), plain)
