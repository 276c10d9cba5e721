"""Equal weights are known as such through the rounding of eight bits, others are not."""

import pytest
import torch

from stage_core.models import low_bit
from stage_core.models.checkpoint import open_weights
from stage_core.models.compare import compare

from ..vectors import save

WIDTH = 128


def weight():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(8, WIDTH, generator=generator) / WIDTH**0.5).bfloat16()


def compared(path, base, other):
    files = [save(path / f"{k}.safetensors", t) for k, t in enumerate((base, other))]
    return compare(*(open_weights(file, "weights") for file in files), lambda *_: None)


def cast(one):
    return {"a.weight": one.to(torch.float8_e4m3fn)}


def scaled(one):
    scale = one.abs().max().float() / 448
    return {"a.weight": (one / scale).to(torch.float8_e4m3fn), "a.scale_weight": scale}


def in_blocks(one):
    small, scale = low_bit.quantise(one)
    return {"a.weight": small, "a.scale_weight": scale}


def halved(one):
    return {"a.weight": one.half()}


def whole(one):
    scale = one.abs().amax() / 120  # Not 127: the scale itself is rounded.
    return {"a.weight": (one / scale).round().to(torch.int8), "a.scale_weight": scale}


EIGHT_BITS = [cast, scaled, in_blocks, whole]


def test_the_same_weights_are_equal(tmp_path):
    base = {"a.weight": weight(), "a.bias": torch.ones(8)}
    found = compared(tmp_path, base, base)
    assert (found.equal, found.rounded, found.same) == (2, 0, True)


@pytest.mark.parametrize("rounding", EIGHT_BITS)
def test_weights_rounded_to_eight_bits_are_the_same_within_their_rounding(tmp_path, rounding):
    found = compared(tmp_path, {"a.weight": weight()}, rounding(weight()))
    assert (found.equal, found.rounded, found.same) == (0, 1, True)
    assert ("int8" if rounding is whole else "float8_e4m3fn") in str(found)


@pytest.mark.parametrize("rounding", [*EIGHT_BITS, halved])
def test_weights_that_were_trained_on_are_different(tmp_path, rounding):
    trained = weight() * 1.5
    found = compared(tmp_path, {"a.weight": weight()}, rounding(trained))
    assert list(found.different) == ["a.weight"]
    assert not found.same


def test_sixteen_bits_let_smaller_changes_show_than_eight(tmp_path):
    changed = weight() * 1.03
    assert compared(tmp_path, {"a.weight": weight()}, cast(changed)).same
    assert not compared(tmp_path, {"a.weight": weight()}, halved(changed)).same


def test_other_names_and_shapes_and_numbers_that_are_none_are_different(tmp_path):
    base = {"a.weight": weight(), "only": torch.ones(1), "b": torch.ones(2), "c": torch.ones(1)}
    other = {"a.weight": weight(), "new": torch.ones(1), "b": torch.ones(3)}
    found = compared(tmp_path, base, {**other, "c": torch.tensor([float("nan")])})
    assert (found.missing, found.unknown) == (("only",), ("new",))
    assert found.different.keys() == {"b", "c"}


def test_formats_that_are_not_computed_are_refused_and_not_called_different(tmp_path):
    noted = torch.tensor(list(b'{"format": "mxfp8"}'), dtype=torch.uint8)
    other = {"a.weight": weight().to(torch.float8_e4m3fn), "a.comfy_quant": noted}
    with pytest.raises(ValueError, match=r"1\.safetensors stores a\.weight as mxfp8"):
        compared(tmp_path, {"a.weight": weight()}, other)
