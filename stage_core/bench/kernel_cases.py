"""What the kernels do in our models, at real sizes, and in odd ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from ..kernels import dequantise, gate_residual_norm_modulate, qk_norm_rope_pack
from ..kernels.cubins import Program

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""Of the GPUs that artists have, from Turing to Blackwell."""

Variant = tuple[Program, tuple[str, ...]]
_BF16, _FP16, _FP32 = torch.bfloat16, torch.float16, torch.float32
_QWEN, _WAN = (24, 128), (40, 128)


@dataclass(frozen=True, eq=False)
class Case:
    """One operation of a model; `fused` and `plain` do it, the first by a kernel where one can.

    `moved` are the tensors that must be read or written once, `unit` is the one that is counted
    as a pass, and `most_passes` how many of them are enough. `kitchen` does it with the operations
    that comfy-kitchen has, None where it has none for it.
    """

    name: str
    fused: Callable[[], object]
    plain: Callable[[], object]
    moved: tuple[Tensor, ...]
    unit: Tensor
    most_passes: float
    kitchen: Callable[[ModuleType], object] | None = None

    @property
    def num_bytes(self) -> int:
        """Of all that is moved."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.moved)


def cases(
    device: torch.device | str, qwen_tokens: int = 8192, wan_tokens: int = 16384
) -> Iterator[Case]:
    """What a block of Qwen-Image and one of Wan do with so many tokens; random, made one by one.

    Their largest weights are those of the models at the usual numbers of tokens, else in
    proportion.
    """
    qwen_rows = 3 * qwen_tokens // 2
    yield _norm("Qwen-Image", device, qwen_tokens, 3072, _BF16)
    yield _norm("Qwen-Image, two noise levels", device, qwen_tokens, 3072, _BF16, ranges=2)
    yield _norm("Wan", device, wan_tokens, 5120, _FP32)
    yield _heads("Qwen-Image, each head", device, qwen_tokens, _QWEN, across=False)
    yield _heads("Wan, across heads", device, wan_tokens, _WAN, across=True)
    yield _weight("a scale for 64 inputs", device, (qwen_rows, 3072), (qwen_rows, 48, 1), _BF16)
    yield _weight("one scale", device, (27 * wan_tokens // 32, 5120), (1,), _FP32)


def variants() -> list[Variant]:
    """Programs as our models and some odd sizes need them."""
    made = [*_norm_variants(), *_heads_variants(), *_weight_variants()]
    return list(dict.fromkeys(made))


def _norm(
    name: str,
    device: torch.device | str,
    tokens: int,
    width: int,
    dtype: torch.dtype,
    ranges: int = 1,
) -> Case:
    x, y, total, out = (_random(device, (1, tokens, width)) for _ in range(4))
    gate, scale, shift = (_random(device, (1, ranges, width), dtype) for _ in range(3))
    norm = gate_residual_norm_modulate.Modulation(scale, shift)
    arguments = (x, y, gate, norm, tokens // 2)

    def kitchen(package: ModuleType) -> object:
        return package.adaln(torch.addcmul(x, gate, y), scale, shift)

    return Case(
        f"gate, residual, norm, modulation: {name}",
        lambda: gate_residual_norm_modulate.gate_residual_norm_modulate(*arguments),
        lambda: gate_residual_norm_modulate.reference(*arguments),
        (x, y, gate, scale, shift, total, out),
        x,
        4.1,
        kitchen if ranges == 1 and dtype is _BF16 else None,
    )


def _heads(
    name: str,
    device: torch.device | str,
    length: int,
    heads: tuple[int, int],
    across: bool,
) -> Case:
    tokens = _random(device, (1, length, heads[0] * heads[1]))
    weight = _random(device, (heads[0] * heads[1] if across else heads[1],))
    turns = _random(device, (length, heads[1] // 2), torch.complex64)
    joint = _random(device, (1, length + 512, *heads))
    out = joint[:, 512:]
    arguments = (tokens, weight, turns, out)
    matrices = torch.stack([turns.real, -turns.imag, turns.imag, turns.real], dim=-1)
    matrices = matrices.unflatten(-1, (2, 2))[None, :, None]

    def kitchen(package: ModuleType) -> object:
        return out.copy_(package.rms_rope1(tokens.unflatten(2, heads), matrices, weight))

    return Case(
        f"norm, rotation, packing: {name}",
        lambda: qk_norm_rope_pack.qk_norm_rope_pack(*arguments),
        lambda: qk_norm_rope_pack.reference(*arguments),
        (tokens, weight, turns, out),
        tokens,
        2.1,
        None if across else kitchen,
    )


def _weight(
    name: str,
    device: torch.device | str,
    shape: tuple[int, int],
    scales: tuple[int, ...],
    dtype: torch.dtype,
) -> Case:
    weight = _random(device, shape).to(torch.float8_e4m3fn)
    scale, slot = _random(device, scales, dtype), _random(device, shape)

    def kitchen(package: ModuleType) -> object:
        return slot.copy_(package.dequantize_per_tensor_fp8(weight, scale, slot.dtype))

    return Case(
        f"weight of eight bits: {name}",
        lambda: dequantise.dequantise(weight, scale, slot),
        lambda: dequantise.reference(weight, scale, slot),
        (weight, scale, slot),
        slot,
        1.6,
        kitchen if scale.numel() == 1 else None,
    )


def _random(
    device: torch.device | str, shape: tuple[int, ...], dtype: torch.dtype = _BF16
) -> Tensor:
    return torch.randn(shape, dtype=dtype, device=device)


def _empty(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _norm_variants() -> list[Variant]:
    made = []
    for width, dtype, factors in (
        (3072, _BF16, _BF16),
        (5120, _BF16, _FP32),
        (5120, _FP32, _FP32),
        (16384, _FP32, _FP32),
        (40, _FP16, _FP16),
    ):
        x, row = _empty(1, 1, width, dtype=dtype), _empty(1, 1, width, dtype=factors)
        weight = _empty(width, dtype=factors)
        for y, gate, scale in (
            *((x, row, row), (None, None, row)),
            *((x, row, None), (x, None, row), (x, row, weight)),
        ):
            macros = gate_residual_norm_modulate.macros(x, y, gate, scale)
            made.append((gate_residual_norm_modulate.PROGRAM, macros))
    return made


def _heads_variants() -> list[Variant]:
    made = []
    for heads, width, across, dtype in (
        (*_QWEN, False, _BF16),
        (*_WAN, True, _BF16),
        (*_WAN, True, _FP32),
        (2, 1024, False, _FP32),
        (3, 40, False, _FP16),
    ):
        tokens = _empty(1, 1, heads * width, dtype=dtype)
        weight = _empty(heads * width if across else width, dtype=dtype)
        out = tokens.unflatten(2, (heads, width))
        for turns in ((tokens, None), (tokens, tokens), (None, None))[: 3 if across else 1]:
            macros = qk_norm_rope_pack.macros(tokens, weight, turns, out)
            made.append((qk_norm_rope_pack.PROGRAM, macros))
    return made


def _weight_variants() -> list[Variant]:
    made = []
    for width, scales, dtype, slot in (
        (3072, (8, 48, 1), _BF16, _BF16),
        (12288, (8, 192, 1), _BF16, _BF16),
        (5120, (1,), _FP32, _BF16),
        (13824, (1,), _FP32, _FP16),
        (40, (8, 1), _FP16, _FP32),
    ):
        weight, out = (_empty(8, width, dtype=kind) for kind in (torch.float8_e4m3fn, slot))
        macros = dequantise.macros(weight, _empty(*scales, dtype=dtype), out)
        made.append((dequantise.PROGRAM, macros))
    return made
