"""The transformer against diffusers' class and against the authors' numbers."""

from dataclasses import asdict, replace

import pytest
import torch

from stage_core.encoding.positions import picture_positions, text_positions
from stage_core.models import low_bit
from stage_core.models.checkpoint import empty, open_weights
from stage_core.models.lora import Factors, Lora, attach
from stage_core.models.qwen_image import QwenImage, is_level_only, rotary_factors
from stage_core.models.qwen_layers import JointTokens, QwenImageConfig

from ..vectors import FOLDER, case, config, largest, manifest, needs_vectors, transformer

SMALL = QwenImageConfig(
    num_layers=2,
    attention_head_dim=16,
    num_attention_heads=3,
    joint_attention_dim=20,
    axes_dims_rope=(4, 6, 6),
)
CASES = pytest.mark.parametrize("name", manifest().get("dit_forward", {}))


def positions(shapes):
    return torch.cat([picture_positions(k, *shape[1:]) for k, shape in enumerate(shapes)])


def run(network, name, dtype=torch.float32):
    inputs = case("dit_forward", name)
    places = positions(manifest()["dit_forward"][name]["img_shapes"])
    text = inputs["encoder_hidden_states"].to(dtype)
    rotation = network.rotation(text_positions(places, text.shape[1]), places)
    with torch.no_grad():
        return network(
            inputs["hidden_states"].to(dtype), text, inputs["timestep"].to(dtype), rotation
        )


def library_network(config, **more):
    library = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = library.QwenImageTransformer2DModel(**{**asdict(config), **more})
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return network.eval()


def test_parameters_have_the_names_and_shapes_of_diffusers_class():
    ours = empty(lambda: QwenImage(SMALL)).state_dict()
    theirs = library_network(SMALL).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_released_sizes_give_the_released_number_of_tensors_and_parameters():
    network = empty(lambda: QwenImage(QwenImageConfig()))
    assert len(network.state_dict()) == 1933
    assert sum(weight.numel() for weight in network.parameters()) == 20_430_401_088


@torch.no_grad()
def test_velocities_equal_those_of_diffusers_class():
    theirs = library_network(SMALL)
    ours = QwenImage(SMALL)
    ours.load_state_dict(theirs.state_dict())
    shapes = [(1, 6, 5), (1, 3, 7)]
    tokens, text = torch.randn(1, 51, 64), torch.randn(1, 4, 20)
    time = torch.tensor([0.4])
    expected = theirs(
        hidden_states=tokens, encoder_hidden_states=text, timestep=time, img_shapes=[shapes]
    ).sample
    places = positions(shapes)
    found = ours(tokens, text, time, ours.rotation(text_positions(places, 4), places))
    assert largest(found, expected) < 1e-4


@needs_vectors
@CASES
def test_rotary_factors_are_the_authors(name):
    inputs, axes = case("dit_forward", name), config().axes_dims_rope
    places = positions(manifest()["dit_forward"][name]["img_shapes"])
    words = text_positions(places, inputs["encoder_hidden_states"].shape[1])
    for found, wanted in ((places, "rope_img"), (words, "rope_txt")):
        assert largest(torch.view_as_real(rotary_factors(found, axes)), inputs[wanted]) < 1e-6


@needs_vectors
@CASES
def test_velocities_are_the_authors(name):
    wanted = case("dit_forward", name)["output"]
    assert largest(run(transformer(), name), wanted) < 1e-4


def cases_with(output):
    """The cases that have this output: the vectors need not give it for all."""
    found = [name for name in manifest()["dit_forward"] if output in case("dit_forward", name)]
    assert found
    return found


@needs_vectors
def test_bfloat16_stays_near_the_authors():
    network = transformer(torch.bfloat16)
    for name in cases_with("output_bf16"):
        wanted = case("dit_forward", name)["output_bf16"]
        # Two right implementations differ by up to 0.03: the order of operations is not the same.
        assert largest(run(network, name, torch.bfloat16), wanted) < 0.06


@needs_vectors
def test_eight_bit_blocks_give_the_authors_velocities():
    network = empty(lambda: QwenImage(config(), low_bit))
    weights = open_weights(FOLDER / "dit.safetensors", "the vectors' transformer")
    weights.load_into(
        network, torch.float32, "cpu", lambda name: name.startswith("transformer_blocks.")
    )
    assert network.transformer_blocks[0].attn.to_q.weight.dtype is torch.float8_e4m3fn
    for name in cases_with("output_fp8"):
        assert largest(run(network, name), case("dit_forward", name)["output_fp8"]) < 1e-4


@needs_vectors
@CASES
def test_two_pictures_instead_of_one_tall_one_are_told_apart(name):
    first, *rest = manifest()["dit_forward"][name]["img_shapes"]
    half = [1, first[1] // 2, first[2]]
    network, inputs = transformer(), case("dit_forward", name)
    places = positions([half, half, *rest])
    text = inputs["encoder_hidden_states"]
    rotation = network.rotation(text_positions(places, text.shape[1]), places)
    with torch.no_grad():
        found = network(inputs["hidden_states"], text, inputs["timestep"], rotation)
    assert largest(found, inputs["output"]) > 0.01


def test_axes_that_do_not_fill_a_head_are_refused():
    with pytest.raises(ValueError, match="do not add up to 128"):
        QwenImageConfig(axes_dims_rope=(16, 56, 48))


def random_network(dtype=torch.bfloat16, ops=torch.nn, **sizes):
    torch.manual_seed(0)
    network = QwenImage(replace(SMALL, **sizes), ops).requires_grad_(False).to(dtype)
    for weight in network.parameters():
        weight.normal_(std=0.2)
    return network


def joint(network, seed=0, num_noisy=None, rows=(6, 3)):
    """Tokens of a canvas and of a memory frame, five columns wide."""
    generator = torch.Generator().manual_seed(seed)
    places = positions([(1, count, 5) for count in rows])
    text = torch.randn(1, 4, 20, generator=generator).to(network.dtype)
    tokens = torch.randn(1, len(places), 64, generator=generator).to(network.dtype)
    rotation = network.rotation(text_positions(places, 4), places)
    return text, JointTokens(tokens, network.words(text), rotation, num_noisy)


def plain(network, text, one, time):
    return network(one.tokens, text, time, one.rotation)


@torch.no_grad()
@pytest.mark.parametrize("ops", [torch.nn, low_bit])
def test_levels_of_a_table_give_the_bits_of_the_plain_path(ops):
    network = random_network(ops=ops)
    if ops is low_bit:
        for block in network.transformer_blocks:
            for layer in block.level_layers():
                layer.quantise()
    times = torch.tensor([1.0, 0.5, 0.02], dtype=network.dtype)
    text, one = joint(network)
    for time, level in zip(times, network.levels(times), strict=True):
        wanted = plain(network, text, one, time[None])
        assert torch.equal(network.forward_many([one], level)[0], wanted)
    assert network.num_levels_made == 3
    network.levels(times.flip(0))
    assert network.num_levels_made == 3


@torch.no_grad()
@pytest.mark.parametrize("name", ["attn.to_k", "attn.add_v_proj", "attn.to_out.0", "img_mlp.net.2"])
def test_a_layer_that_another_program_puts_in_place_is_used(name):
    # As PEFT and quantisers do.
    network = random_network(torch.float32)
    block, places = network.transformer_blocks[0], picture_positions(0, 3, 4)
    rotation = network.rotation(text_positions(places, 5), places)
    given = torch.randn(1, 12, 64), torch.randn(1, 5, 20), torch.tensor([0.5]), rotation
    before = network(*given)
    block.set_submodule(name, torch.nn.Linear(*block.get_submodule(name).weight.T.shape))
    assert not torch.equal(network(*given), before)


def gates(network, times):
    """What a level gives to the pictures of each block, in part."""
    return [block.pictures[0].gate for block in network.levels(times)[0].blocks]


@torch.no_grad()
def test_levels_are_computed_again_when_an_adapter_on_them_changes():
    network = random_network(torch.float32)
    key = "transformer_blocks_1_img_mod_1"
    width = SMALL.width
    factors = Factors(torch.randn(2, width), torch.randn(6 * width, 2), 1.0)
    times = torch.tensor([0.5])
    before = gates(network, times)
    attach(Lora("test", {key: factors}, 0), [network])
    found = gates(network, times)
    assert torch.equal(found[0], before[0])
    assert not torch.equal(found[1], before[1])
    (adapter,) = network.transformer_blocks[1].img_mod[1].adapters
    adapter.strength = 0.0
    assert torch.equal(gates(network, times)[1], before[1])
    assert network.num_levels_made == 3


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sequences_in_one_visit_of_each_block_are_as_each_alone(dtype):
    network = random_network(dtype)
    (level,) = network.levels(torch.tensor([0.4], dtype=dtype))
    sequences = [joint(network, seed, rows=rows)[1] for seed, rows in ((0, (6, 3)), (1, (4,)))]
    together = network.forward_many(sequences, level)
    for one, found in zip(sequences, together, strict=True):
        assert torch.equal(network.forward_many([one], level)[0], found)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_in_chunks_give_the_bits_of_whole_ones(monkeypatch, dtype):
    network = random_network(dtype)
    text, one = joint(network)
    time = torch.tensor([0.4], dtype=dtype)
    wanted = plain(network, text, one, time)
    monkeypatch.setattr("stage_core.models.qwen_layers._CHUNK", 16)
    assert torch.equal(plain(network, text, one, time), wanted)


@torch.no_grad()
def test_memory_at_time_zero_is_that_of_diffusers_class():
    theirs = library_network(SMALL, zero_cond_t=True)
    ours = QwenImage(replace(SMALL, zero_cond_t=True))
    ours.load_state_dict(theirs.state_dict())
    shapes, time = [(1, 6, 5), (1, 3, 5)], torch.tensor([0.4])
    text, one = joint(ours, num_noisy=30)
    expected = theirs(
        hidden_states=one.tokens, encoder_hidden_states=text, timestep=time, img_shapes=[shapes]
    ).sample
    (level,) = ours.levels(time)
    found = ours.forward_many([one], level)[0]
    assert largest(found, expected) < 1e-4
    # Without a memory frame nothing is at time zero.
    text, alone = joint(ours, rows=(6,))
    expected = theirs(
        hidden_states=alone.tokens,
        encoder_hidden_states=text,
        timestep=time,
        img_shapes=[shapes[:1]],
    ).sample
    assert largest(plain(ours, text, alone, time), expected) < 1e-4


def test_what_the_table_replaces_is_a_third_of_a_released_block():
    block = empty(lambda: QwenImage(QwenImageConfig(num_layers=1))).transformer_blocks[0]
    sizes = {f"block.{name}": weight.numel() for name, weight in block.named_parameters()}
    replaced = sum(size for name, size in sizes.items() if is_level_only(name))
    assert replaced / sum(sizes.values()) == pytest.approx(1 / 3, abs=0.001)
