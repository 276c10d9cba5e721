"""Slim Model on ComfyUI's own Qwen-Image class: the same pictures from two thirds the weights."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.comfy

SIZES = {"num_layers": 3, "attention_head_dim": 16, "num_attention_heads": 4}
SIZES |= {"joint_attention_dim": 32, "axes_dims_rope": [4, 6, 6], "in_channels": 64}
SIGMAS = torch.tensor([1.0, 0.7, 0.3, 0.0])
MODULATION = "diffusion_model.transformer_blocks.1.img_mod.1.weight"
ATTENTION = "diffusion_model.transformer_blocks.1.attn.to_q.weight"


@pytest.fixture(scope="module")
def slim(pack):
    return pack.nodes.native.slim


@pytest.fixture
def model(pack):
    """A MODEL with three random blocks, as a core loader gives it."""
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.QwenImage({"image_model": "qwen_image", **SIZES})
    config.set_inference_dtype(torch.bfloat16, None)
    network = config.get_model({}, "").requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=generator).mul(0.2).to(weight.dtype)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu)


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(model, sigmas=SIGMAS, method="index", sampler="euler", guidance=4.0):
    """Latents that the host samples, with a memory frame."""
    import comfy.sample
    import comfy.samplers

    seen = {"reference_latents": [noise(1, 1, 16, 1, 4, 6)], "reference_latents_method": method}
    words = [[[noise(seed, 1, 5, 32), seen]] for seed in (2, 3)]
    start = noise(4, 1, 16, 1, 8, 6)
    with torch.inference_mode():
        return comfy.sample.sample_custom(
            model,
            start,
            guidance,
            comfy.samplers.sampler_object(sampler),
            sigmas,
            *words,
            torch.zeros_like(start),
            disable_pbar=True,
            seed=5,
        )


def table_of(model):
    return model.object_patches["diffusion_model.transformer_blocks.0.img_mod"]._table


def with_patch(model, *keys):
    """A clone with a LoRA on these weights."""
    import comfy.lora

    patches = {}
    for key in keys:
        rows, columns = model.model.state_dict()[key].shape
        layer = {"x.lora_up.weight": noise(6, rows, 2), "x.lora_down.weight": noise(7, 2, columns)}
        patches |= comfy.lora.load_lora(layer, {"x": key}, log_missing=False)
    clone = model.clone()
    assert set(clone.add_patches(patches, 0.3)) == set(keys)
    return clone


def block_parameters(model):
    """Parameters of the blocks that a loaded MODEL has, those of their norms too."""
    import comfy.model_management

    comfy.model_management.load_models_gpu([model])
    return sum(p.numel() for p in model.model.diffusion_model.transformer_blocks.parameters())


@pytest.mark.parametrize("method", ["index", "index_timestep_zero"])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpm_2"])
def test_a_slim_model_draws_the_same_bits(slim, model, method, sampler):
    wanted = drawn(model, method=method, sampler=sampler)
    assert torch.equal(drawn(slim.slim(model), method=method, sampler=sampler), wanted)
    assert torch.equal(drawn(model, method=method, sampler=sampler), wanted)


def test_a_third_of_the_blocks_is_not_loaded(slim, model):
    thin = slim.slim(model)
    whole = block_parameters(model)
    assert block_parameters(thin) / whole == pytest.approx(2 / 3, abs=0.01)
    assert thin.model_size() == model.model_size() - slim.saved_bytes(thin)
    assert block_parameters(model) == whole


def test_a_schedule_is_computed_once_for_all_shots(slim, model):
    thin = slim.slim(model)
    drawn(thin)
    made = table_of(thin).num_made
    # Three levels, for words and for pictures, one at a time or both branches together.
    assert made in (6, 12)
    drawn(thin.clone())
    assert table_of(thin).num_made == made
    drawn(thin, torch.tensor([1.0, 0.5, 0.0]))
    assert made < table_of(thin).num_made < 2 * made


@pytest.mark.parametrize("keys", [(MODULATION,), (MODULATION, ATTENTION)])
def test_a_lora_before_or_after_changes_the_picture_as_ever(slim, model, keys):
    plain = drawn(model)
    wanted = drawn(with_patch(model, *keys))
    assert not torch.equal(wanted, plain)
    assert torch.equal(drawn(slim.slim(with_patch(model, *keys))), wanted)
    thin = slim.slim(model)
    assert torch.equal(drawn(thin), plain)
    # Now it is loaded slim: its weights are still there under their names.
    assert torch.equal(drawn(with_patch(thin, *keys)), wanted)
    assert torch.equal(drawn(with_patch(model, *keys)), wanted)
    assert torch.equal(drawn(model), plain)


def test_the_model_itself_stays_as_it_was(slim, model):
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    block = model.model.diffusion_model.transformer_blocks[0]
    layers, norm = block.img_mod, block.img_norm1
    thin = slim.slim(model)
    drawn(thin)
    assert model.model.state_dict().keys() == before.keys()
    thin.unpatch_model(thin.offload_device)
    after = model.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert block.img_mod is layers and block.img_norm1 is norm
    assert block._modulate == type(block)._modulate.__get__(block)
    assert not model.object_patches and not table_of(thin)._now


def test_storyboards_are_drawn_with_it_unchanged(pack, slim, model):
    native = pack.nodes.native.qwen_edit
    edit = pack.stage_core.backends.qwen_edit
    order = edit.DrawingOrder(
        noise(1, 1, 16, 8, 6),
        torch.zeros(1, 16, 8, 6),
        torch.zeros(1, 1, 8, 1, dtype=torch.bool),
        (noise(2, 1, 16, 4, 6),),
        noise(3, 1, 5, 32),
        noise(4, 1, 4, 32),
        SIGMAS,
        4.0,
    )

    def canvas(patcher):
        with torch.inference_mode():
            transformer = native.HostTransformer(patcher)
            return transformer.denoise(order, "euler", 2.2, lambda *_: None)

    thin = slim.slim(model)
    wanted = canvas(model)
    assert torch.equal(canvas(thin), wanted)
    made = table_of(thin).num_made
    assert torch.equal(canvas(thin), wanted)
    assert table_of(thin).num_made == made


class Packed(torch.nn.Parameter):
    """Stands for weights that the host stores in a way of its own."""


def test_weights_stored_in_another_way_are_widened_by_the_host(slim, model):
    wanted, patched = drawn(model), with_patch(model, MODULATION)
    for block in model.model.diffusion_model.transformer_blocks:
        for layer in (block.img_mod[1], block.txt_mod[1]):
            layer.weight = Packed(layer.weight.data, requires_grad=False)
    assert torch.equal(drawn(slim.slim(model)), wanted)
    assert not layer.comfy_cast_weights
    with pytest.raises(ValueError, match=r"a LoRA changes .*1\.img_mod, whose .* as Packed"):
        slim.slim(patched)


@pytest.mark.parametrize("leaf", ["weight", "bias"])
def test_a_lora_that_comes_after_on_such_weights_is_refused_and_never_left_out(slim, model, leaf):
    wanted = drawn(model)
    for block in model.model.diffusion_model.transformer_blocks:
        for layer in (block.img_mod[1], block.txt_mod[1]):
            layer.weight = Packed(layer.weight.data, requires_grad=False)
    thin = slim.slim(model)
    assert torch.equal(drawn(thin), wanted)
    changed = thin.clone()
    name = MODULATION.replace("weight", leaf)
    difference = torch.ones_like(model.model.state_dict()[name])
    assert changed.add_patches({name: ("diff", (difference,))}) == [name]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a LoRA changes .*1\.img_mod, whose .* as Packed"):
            drawn(changed)
    assert torch.equal(drawn(thin), wanted)


def test_what_cannot_be_slim_is_refused_with_the_reason(slim, model):
    with pytest.raises(ValueError, match="Module is not Qwen-Image"):
        slim.slim(SimpleNamespace(model=torch.nn.Module()))
    with pytest.raises(ValueError, match="slim already"):
        slim.slim(slim.slim(model))
    other = model.clone()
    other.add_object_patch("diffusion_model.transformer_blocks.0", torch.nn.Identity())
    with pytest.raises(ValueError, match=r"replaced diffusion_model\.transformer_blocks\.0"):
        slim.slim(other)
    compiled = model.clone()
    compiled.add_wrapper_with_key("apply_model", "torch.compile", lambda *_: None)
    with pytest.raises(ValueError, match="is compiled"):
        slim.slim(compiled)


def test_the_node_hands_on_what_it_cannot_change_and_says_why(node, model, monkeypatch, pack):
    said = []
    monkeypatch.setattr(pack.nodes.slim_model.host, "say", said.append)
    other = SimpleNamespace(model=torch.nn.Module())
    assert node("STAGE_SlimModel").execute(other).args[0] is other
    assert said == ["MODEL is unchanged: Module is not Qwen-Image"]
    assert node("STAGE_SlimModel").execute(model).args[0] is not model
    assert said[1].endswith("GiB of weights are not loaded")


def test_blocks_norm_and_modulate_in_one_pass_unless_they_are_of_another_make(slim, model):
    place = "diffusion_model.transformer_blocks.0._modulate"
    assert isinstance(slim.slim(model).object_patches[place], slim.Modulated)
    model.model.diffusion_model.transformer_blocks[0].txt_norm2.eps = 1e-3
    wanted, other = drawn(model), slim.slim(model)
    assert place not in other.object_patches
    assert torch.equal(drawn(other), wanted)
