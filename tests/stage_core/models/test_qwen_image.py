"""The transformer against diffusers' class and against the authors' numbers."""

from dataclasses import asdict

import pytest
import torch

from stage_core.encoding.positions import picture_positions, text_positions
from stage_core.models import low_bit
from stage_core.models.checkpoint import empty, open_weights
from stage_core.models.qwen_image import QwenImage, QwenImageConfig, rotary_factors

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


def library_network(config):
    library = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = library.QwenImageTransformer2DModel(**asdict(config))
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
