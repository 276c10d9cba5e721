"""comfy-kitchen takes over where our kernel cannot run, and only with the reference's numbers."""

from types import ModuleType

import pytest
import torch

from stage_core.kernels import dequantise as k3
from stage_core.kernels import kitchen

BF16, E4M3, CPU = torch.bfloat16, torch.float8_e4m3fn, torch.device("cpu")


class Slot:
    """Says that it is on a GPU, and holds what is copied into it."""

    is_cuda, dtype, device = True, BF16, CPU

    def copy_(self, tensor):
        self.held = tensor


def package(change=1.0):
    """In the place of comfy-kitchen, with its function's arguments; `change` makes it wrong."""

    def dequantize_per_tensor_fp8(x, scale, output_type):
        return (x.to(scale.dtype) * (scale * change)).to(output_type)

    made = ModuleType("comfy_kitchen")
    made.dequantize_per_tensor_fp8 = dequantize_per_tensor_fp8
    return made


def widened(monkeypatch, given, scale):
    monkeypatch.setattr(kitchen, "_kitchen", lambda: given)
    slot, weight = Slot(), torch.randn(4, 8).to(E4M3)
    wanted = torch.empty(4, 8, dtype=BF16)
    k3.reference(weight, scale, wanted)
    return kitchen.widen(weight, scale, slot), getattr(slot, "held", None), wanted


def test_its_numbers_are_taken_where_they_are_the_references(monkeypatch):
    done, held, wanted = widened(monkeypatch, package(), torch.tensor([0.3]))
    assert done and torch.equal(held, wanted)


@pytest.mark.parametrize("given", [None, package(1.01), ModuleType("another")])
def test_without_it_or_with_other_numbers_or_another_version_it_is_left_alone(monkeypatch, given):
    done, held, _ = widened(monkeypatch, given, torch.tensor([0.3]))
    assert not done and held is None


@pytest.mark.parametrize("scale", [None, torch.ones(4, 1), torch.ones(4, 2, 1)])
def test_more_than_one_scale_is_not_its_work(monkeypatch, scale):
    done, *_ = widened(monkeypatch, package(), scale)
    assert not done


def test_the_package_itself_is_asked_in_its_own_words():
    real = pytest.importorskip("comfy_kitchen")
    assert kitchen.same_numbers(real, E4M3, BF16, BF16, CPU)
    # Its plain path rounds the scale first, which would be other numbers.
    assert not kitchen.same_numbers(real, E4M3, torch.float32, BF16, CPU)
    assert kitchen._kitchen() is None or torch.cuda.is_available()
