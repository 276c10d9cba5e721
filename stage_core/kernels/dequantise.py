"""Weights of eight bits widened into a slot, where adapters join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from . import kitchen, launch
from .cubins import Program
from .cuda_source import COMMON

_MOST_THREADS = 256


@dataclass(frozen=True, eq=False)
class Adapter:
    """A change of a weight [out, in]: `strength * up @ down`, of [out, rank] and [rank, in]."""

    up: Tensor
    down: Tensor
    strength: float


def dequantise(
    weight: Tensor, scale: Tensor | None, out: Tensor, adapters: Sequence[Adapter] = ()
) -> None:
    """Write `weight * scale` into `out`, then add the adapters one by one.

    Args:
        weight: [out, ...], of eight bits, or any other dtype that has a scale or none.
        scale: one number, one per output [out, 1], or one per output and block of inputs
            [out, blocks, 1]; the product is rounded to its dtype, as the release does it. None
            is 1.
        out: of the shape of the weight.
        adapters: their products are rounded to the dtype of `out` with the sum, once each.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    _check(weight, scale, out, adapters)
    if launch.fuses(out, scale) and weight.is_cuda:
        _write(weight, scale, out)
    else:
        reference(weight, scale, out)
    for adapter in adapters:
        # A product of matrices is the library's: it adds to the slot with one rounding.
        up, down = adapter.up.to(out.dtype), adapter.down.to(out.dtype)
        out.addmm_(up, down, alpha=adapter.strength)


def reference(weight: Tensor, scale: Tensor | None, out: Tensor) -> None:
    """What `dequantise` is without adapters, in plain PyTorch."""
    if scale is None:
        out.copy_(weight)
        return
    wide = weight.to(scale.dtype)
    if scale.ndim == 3:
        wide = rearrange(wide, "o (b i) -> o b i", b=scale.shape[1])
    elif scale.ndim == 2:
        scale = scale.view(-1, *(1,) * (wide.ndim - 1))
    out.copy_((wide * scale).reshape(weight.shape))


def _check(weight: Tensor, scale: Tensor | None, out: Tensor, adapters: Sequence[Adapter]) -> None:
    if weight.shape != out.shape:
        raise ValueError(
            f"a weight {tuple(weight.shape)} does not fit into a slot {tuple(out.shape)}"
        )
    if scale is not None and scale.numel() > 1:
        first = weight.shape[0]
        blocks = scale.ndim == 3 and weight.ndim == 2 and scale.shape[::2] == (first, 1)
        if not (scale.shape == (first, 1) or (blocks and weight.shape[1] % scale.shape[1] == 0)):
            raise ValueError(f"scales {tuple(scale.shape)} for a weight {tuple(weight.shape)}")
    for adapter in adapters:
        sizes = adapter.up.shape[0], adapter.down.shape[1]
        if weight.shape != sizes or adapter.up.shape[1] != adapter.down.shape[0]:
            raise ValueError(
                f"an adapter {tuple(adapter.up.shape)} @ {tuple(adapter.down.shape)} "
                f"for a weight {tuple(weight.shape)}"
            )


_SOURCE = (
    COMMON
    + r"""
// e4m3 has the bits of a float whose exponent is 120 too small, but for its one kind of NaN.
__device__ __forceinline__ float from_e4m3(unsigned byte)
{
    const unsigned size = byte & 0x7fu, sign = (byte & 0x80u) << 24;
    const float value = __uint_as_float(size << 20) * 0x1p120f;
    return __uint_as_float((size == 0x7fu ? 0x7fc00000u : __float_as_uint(value)) | sign);
}

__device__ __forceinline__ float rounded(Fp32, float wide) { return wide; }
__device__ __forceinline__ float rounded(Bf16, float wide)
{
    return low_of(Bf16(), two(Bf16(), wide, 0.0f));
}
__device__ __forceinline__ float rounded(Fp16, float wide) { return from_fp16(fp16_bits(wide)); }

__device__ __forceinline__ float one(const Fp32* at) { return *at; }
__device__ __forceinline__ float one(const Bf16* at) { return low_of(Bf16(), at->bits); }
__device__ __forceinline__ float one(const Fp16* at) { return from_fp16(at->bits); }

__device__ __forceinline__ void widen(unsigned low, unsigned high, float scale, ELEMENT* out)
{
    Eight wide;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        wide.at[j] = rounded(SCALE(), from_e4m3(low >> 8 * j & 0xffu) * scale);
        wide.at[j + 4] = rounded(SCALE(), from_e4m3(high >> 8 * j & 0xffu) * scale);
    }
    write(out, narrowed<ELEMENT>(wide));
}

// One block for each row of the weight; SHARED channels in a row have one scale.
extern "C" __global__ void __launch_bounds__(THREADS) dequantise(
    const unsigned char* __restrict__ weight, const SCALE* __restrict__ scale,
    ELEMENT* __restrict__ out)
{
    weight += (long long)blockIdx.x * WIDTH;
    out += (long long)blockIdx.x * WIDTH;
#if SCALES
    scale += (long long)blockIdx.x * SCALES;
#endif
    for (int at = threadIdx.x * 16; at < WIDTH; at += THREADS * 16) {
#if WIDTH % 16 == 0
        const uint4 bytes = __ldcs(reinterpret_cast<const uint4*>(weight + at));
        widen(bytes.x, bytes.y, one(scale + at / SHARED), out + at);
        widen(bytes.z, bytes.w, one(scale + (at + 8) / SHARED), out + at + 8);
#else
#pragma unroll
        for (int part = at; part < at + 16 && part < WIDTH; part += 8) {
            const uint2 bytes = __ldcs(reinterpret_cast<const uint2*>(weight + part));
            widen(bytes.x, bytes.y, one(scale + part / SHARED), out + part);
        }
#endif
    }
}
"""
)

PROGRAM = Program("dequantise", _SOURCE)


def macros(weight: Tensor, scale: Tensor, out: Tensor) -> tuple[str, ...]:
    """What makes the variant of the source for these tensors, as the compiler takes it."""
    width = weight[0].numel()
    scales = 0 if scale.numel() == 1 else scale.shape[1]
    return (
        f"THREADS={launch.threads_for(-(-width // 16), _MOST_THREADS)}",
        f"WIDTH={width}",
        f"SCALES={scales}",
        f"SHARED={width // max(scales, 1)}",
        f"ELEMENT={launch.ELEMENTS[out.dtype]}",
        f"SCALE={launch.ELEMENTS[scale.dtype]}",
    )


def _run(weight: Tensor, scale: Tensor | None, out: Tensor) -> bool:
    """Whether a kernel did it."""
    if weight.dtype != torch.float8_e4m3fn or not weight.numel():
        return False
    if not out.is_contiguous() or out.data_ptr() % launch.ALIGNMENT:
        return False
    scale = out.new_ones(1) if scale is None else scale.contiguous()
    width = weight[0].numel()
    if width % launch.LANE_ELEMENTS or (scale.ndim == 3 and width // scale.shape[1] % 8):
        return False
    variant = macros(weight, scale, out)
    kernel = launch.kernel(PROGRAM, variant, weight.device)
    if kernel is None:
        return False
    weight = weight.contiguous()
    weight = weight.clone() if weight.data_ptr() % launch.ALIGNMENT else weight
    return kernel.run(weight.shape[0], (weight, scale, out))


@torch.library.custom_op(
    f"{launch.NAMESPACE}::dequantise",
    mutates_args=("out",),
    schema="(Tensor weight, Tensor? scale, Tensor(a!) out) -> ()",
)
def _write(weight: Tensor, scale: Tensor | None, out: Tensor) -> None:
    if not (_run(weight, scale, out) or kitchen.widen(weight, scale, out)):
        reference(weight, scale, out)


@_write.register_fake
def _nothing_new(*_: object) -> None:
    return None
