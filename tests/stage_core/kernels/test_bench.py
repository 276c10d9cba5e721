"""What the benchmark of the kernels counts."""

from itertools import islice
from types import ModuleType

import torch

from stage_core.bench import kernel_speed, kernels
from stage_core.bench.kernel_cases import cases
from stage_core.kernels import nvrtc


def test_every_operator_counts_what_it_reads_and_writes():
    x = torch.empty(10, 4, dtype=torch.bfloat16, device="meta")
    assert kernels.bytes_of(lambda: x + x) == 3 * 80
    assert kernels.bytes_of(lambda: x.view(4, 10).transpose(0, 1)) == 0
    assert kernels.bytes_of(lambda: torch.empty_like(x)) == 0
    assert kernels.bytes_of(lambda: x[:2].copy_(x[4:6])) == 2 * 16
    assert kernels.bytes_of(lambda: x.float()) == 80 + 160


def test_fused_operations_move_less_than_half_of_what_their_references_move():
    for case in cases("meta"):
        assert case.num_bytes < 0.6 * kernels.bytes_of(case.plain), case.name


def test_the_cases_are_what_they_say():
    # The weights, which come last, are large.
    for case in islice(cases("cpu", qwen_tokens=3, wan_tokens=3), 5):
        case.fused()
        case.plain()


def test_without_a_compiler_the_other_figures_are_given(monkeypatch):
    def none():
        raise nvrtc.KernelError("none here")

    monkeypatch.setattr(nvrtc, "library_files", lambda folders: [])
    monkeypatch.setattr(nvrtc, "compiler", none)
    said = []
    rows = kernels.measure(said.append)
    assert all(row.met is not False for row in rows)
    assert said == ["passes over memory", "starting"]


def test_speeds_are_compared_with_the_copy_plain_pytorch_and_compiled_code(monkeypatch):
    few = islice(cases("cpu", qwen_tokens=3, wan_tokens=3), 5)
    monkeypatch.setattr(kernel_speed, "cases", lambda device: few)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(kernel_speed, "_copied", lambda device: 1e9)
    monkeypatch.setattr(kernel_speed, "_kitchen", lambda: ModuleType("comfy_kitchen"))
    # Ours, plain, compiled, and comfy-kitchen's where it has the operations; the first moves a
    # thousandth of what the copy does in its time.
    times = [1e-3, 8e-3, 2e-3, 3e-3]
    monkeypatch.setattr(kernel_speed, "seconds_of", lambda device, *those: times[: len(those)])
    rows = {row.name: row for row in kernel_speed.speeds(lambda text: None)}
    case = "norm, rotation, packing: Wan, across heads"
    assert rows["copy within the GPU"].value == 1
    assert rows[f"{case}: of the copy"].value == rows[f"{case}: speed"].value
    assert (
        rows[f"{case}: against plain PyTorch"].value == 8
        and rows[f"{case}: against plain PyTorch"].met
    )
    assert rows["queries and keys of Wan"].value == 2 and not rows["queries and keys of Wan"].met
    assert abs(rows["against torch.compile, geometric mean"].value - 2) < 1e-9
    theirs = "against comfy-kitchen"
    assert rows[f"norm, rotation, packing: Qwen-Image, each head: {theirs}"].value == 3
    assert f"{case}: {theirs}" not in rows
