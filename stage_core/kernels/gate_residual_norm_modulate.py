"""What stands between two halves of a transformer block, in one pass over the tokens.

A gated result joins the residual stream; the stream is normalised and modulated by the noise
level. Op by op each of those reads and writes all tokens again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from . import launch
from .cubins import Program
from .cuda_source import COMMON
from .pieces import in_pieces

_MOST_THREADS, _WIDEST = 512, 16384
_VECTORS_EACH = 2


@dataclass(frozen=True, eq=False)
class Modulation:
    """Normalised tokens become `tokens * (1 + scale) + shift`.

    Both [B or 1, R, D]; R is 1, or 2 where the tokens of a sequence have two noise levels: then
    the first row is for those before the token that is called `split`, the second for the rest.
    Factors in the dtype of the tokens modulate the norm as it is rounded to it; wider ones make
    all of it wider, rounded at the end.
    """

    scale: Tensor
    shift: Tensor
    eps: float = 1e-6


@dataclass(frozen=True, eq=False)
class Affine:
    """The weight and the bias [D] of a layer norm, computed in float32."""

    scale: Tensor
    shift: Tensor
    eps: float = 1e-6


def norm_modulate(x: Tensor, norm: Modulation | Affine, split: int = 0) -> Tensor:
    """Tokens [B, N, D] normalised over D, and modulated; in their dtype.

    Raises:
        ValueError: factors that do not fit the tokens, before a kernel reads them. The reference
            broadcasts what PyTorch does.
    """
    if not launch.fuses(x, norm.scale, norm.shift):
        return _normed(x, norm, split)
    return _norm_modulate(x, norm.scale, norm.shift, split, norm.eps)


def gate_residual(x: Tensor, y: Tensor, gate: Tensor | None, split: int = 0) -> Tensor:
    """`x + gate * y` of tokens [B, N, D], in their dtype; without a gate their sum.

    `gate` is [B or 1, R, D], R as in `Modulation`.

    Raises:
        ValueError: see `norm_modulate`.
    """
    if not launch.fuses(x, y, gate):
        return _added(x, y, gate, split)
    return _gate_residual(x, y, gate, split)


def gate_residual_norm_modulate(
    x: Tensor, y: Tensor, gate: Tensor | None, norm: Modulation | Affine, split: int = 0
) -> tuple[Tensor, Tensor]:
    """`gate_residual`, and `norm_modulate` of it: the norm is that of the sum as it is stored.

    Raises:
        ValueError: see `norm_modulate`.
    """
    if not launch.fuses(x, y, gate, norm.scale, norm.shift):
        return reference(x, y, gate, norm, split)
    return _gate_residual_norm_modulate(x, y, gate, norm.scale, norm.shift, split, norm.eps)


def reference(
    x: Tensor, y: Tensor, gate: Tensor | None, norm: Modulation | Affine, split: int = 0
) -> tuple[Tensor, Tensor]:
    """What `gate_residual_norm_modulate` is, in plain PyTorch."""
    total = _added(x, y, gate, split)
    return total, _normed(total, norm, split)


def _added(x: Tensor, y: Tensor, gate: Tensor | None, split: int) -> Tensor:
    if gate is None:
        return x + y
    if gate.shape[1] == 2:
        halves = _halves(split, (x, y), (gate,))
        return torch.cat([_added(*half, 0) for half in halves], dim=1)
    if gate.dtype == x.dtype:
        return torch.addcmul(x, gate, y).to(x.dtype)
    wide = torch.promote_types(x.dtype, gate.dtype)
    return in_pieces(lambda some, its: (some.to(wide) + gate * its).to(x.dtype), x, y)


def _normed(x: Tensor, norm: Modulation | Affine, split: int) -> Tensor:
    width, scale, shift = x.shape[-1:], norm.scale, norm.shift
    if isinstance(norm, Affine):
        affine = scale.float(), shift.float()
        return in_pieces(
            lambda some: functional.layer_norm(some.float(), width, *affine, norm.eps).to(x.dtype),
            x,
        )
    if scale.shape[1] == 2:
        halves = _halves(split, (x,), (scale, shift))
        return torch.cat(
            [_normed(some, Modulation(*its, norm.eps), 0) for some, *its in halves], dim=1
        )
    if scale.dtype == x.dtype:
        normed = functional.layer_norm(x, width, eps=norm.eps)
        return torch.addcmul(shift, normed, 1 + scale).to(x.dtype)
    wide = torch.promote_types(x.dtype, scale.dtype)

    def shifted(some: Tensor) -> Tensor:
        normed = functional.layer_norm(some.to(wide), width, eps=norm.eps)
        return (normed * (1 + scale) + shift).to(x.dtype)

    return in_pieces(shifted, x)


def _halves(
    split: int, tokens: tuple[Tensor, ...], factors: tuple[Tensor, ...]
) -> list[tuple[Tensor, ...]]:
    return [
        (*(value[:, part] for value in tokens), *(factor[:, row] for factor in factors))
        for part, row in (
            (slice(None, split), slice(0, 1)),
            (slice(split, None), slice(1, 2)),
        )
    ]


def _check(
    x: Tensor,
    y: Tensor | None,
    gate: Tensor | None,
    norm: Modulation | Affine | None,
    split: int,
) -> None:
    shape = batch, tokens, width = x.shape
    if not 0 <= split <= tokens:
        raise ValueError(f"split {split} is not between 0 and the {tokens} tokens")
    if y is not None and y.shape != shape:
        raise ValueError(f"tokens {tuple(shape)} and {tuple(y.shape)} cannot be added")
    if isinstance(norm, Affine):
        if norm.scale.shape != (width,) or norm.shift.shape != (width,):
            raise ValueError(f"weight and bias of a norm of {width} are [{width}]")
    elif norm is not None:
        factor = norm.scale.shape
        _check_factor(factor, batch, width)
        if norm.shift.shape != factor:
            raise ValueError(f"scale {tuple(factor)} and shift {tuple(norm.shift.shape)} differ")
    if gate is not None:
        _check_factor(gate.shape, batch, width)


def _check_factor(shape: tuple[int, ...], batch: int, width: int) -> None:
    if len(shape) != 3 or shape[0] not in (1, batch) or shape[1] not in (1, 2) or shape[2] != width:
        raise ValueError(f"a factor {tuple(shape)}; it is [1 or {batch}, 1 or 2, {width}]")


_SOURCE = (
    COMMON
    + r"""
// Rows of factors: batches lie `batch` elements apart, the two ranges of tokens `range`.
extern "C" __global__ void __launch_bounds__(THREADS) gate_residual_norm_modulate(
    const ELEMENT* __restrict__ x, const ELEMENT* __restrict__ y, const GATE* __restrict__ gate,
    const FACTOR* __restrict__ scale, const FACTOR* __restrict__ shift,
    ELEMENT* __restrict__ total, ELEMENT* __restrict__ out,
    long long x_batch, long long x_row, long long y_batch, long long y_row,
    long long gate_batch, long long gate_range, long long scale_batch, long long scale_range,
    long long shift_batch, long long shift_range, long long num_tokens,
    long long split, float eps)
{
    const int row = blockIdx.x, tokens = (int)num_tokens;
    const int batch = row / tokens, token = row % tokens;
    const int range = token >= (int)split;
    x += batch * x_batch + token * x_row;
    const long long place = (long long)row * WIDTH;
    Packed<ELEMENT> kept[EACH];
    float sum = 0.0f;
#if RESIDUAL
    Packed<ELEMENT> joins[EACH];
    y += batch * y_batch + token * y_row;
    total += place;
#endif
#if GATED
    gate += batch * gate_batch + range * gate_range;
#endif
    // All loads are under way before the first number is needed.
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int at = (threadIdx.x + i * THREADS) * 8;
        if (at < WIDTH) {
            kept[i] = read_once(x + at);
#if RESIDUAL
            joins[i] = read_once(y + at);
#endif
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int at = (threadIdx.x + i * THREADS) * 8;
        if (at < WIDTH) {
#if RESIDUAL
            Eight value = widened(kept[i]);
            const Eight change = widened(joins[i]);
#if GATED
            const Eight factor = read_often(gate + at);
#endif
#pragma unroll
            for (int j = 0; j < 8; j++) {
#if GATED
                value.at[j] += factor.at[j] * change.at[j];
#else
                value.at[j] += change.at[j];
#endif
            }
            kept[i] = narrowed<ELEMENT>(value);
            write(total + at, kept[i]);
#endif
#if NORM
            const Eight stored = widened(kept[i]);
#pragma unroll
            for (int j = 0; j < 8; j++) sum += stored.at[j];
#endif
        }
    }
#if NORM
    __shared__ float of_sums[32], of_squares[32];
    const float mean = sum_of_block(sum, of_sums) / WIDTH;
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if ((threadIdx.x + i * THREADS) * 8 < WIDTH) {
            const Eight value = widened(kept[i]);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float off = value.at[j] - mean;
                squares += off * off;
            }
        }
    }
    const float inverse = rsqrtf(sum_of_block(squares, of_squares) / WIDTH + eps);
    scale += batch * scale_batch + range * scale_range;
    shift += batch * shift_batch + range * shift_range;
    out += place;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int at = (threadIdx.x + i * THREADS) * 8;
        if (at < WIDTH) {
            Eight value = widened(kept[i]);
            const Eight factor = read_often(scale + at), offset = read_often(shift + at);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float normed = (value.at[j] - mean) * inverse;
#if AFFINE
                value.at[j] = normed * factor.at[j] + offset.at[j];
#else
                value.at[j] = normed * (1.0f + factor.at[j]) + offset.at[j];
#endif
            }
            write(out + at, narrowed<ELEMENT>(value));
        }
    }
#endif
}
"""
)

PROGRAM = Program("gate_residual_norm_modulate", _SOURCE)


def macros(
    x: Tensor, y: Tensor | None, gate: Tensor | None, scale: Tensor | None
) -> tuple[str, ...]:
    """What makes the variant of the source for these tensors, as the compiler takes it."""
    vectors = x.shape[-1] // launch.LANE_ELEMENTS
    threads = launch.threads_for(-(-vectors // _VECTORS_EACH), _MOST_THREADS)
    element = launch.ELEMENTS[x.dtype]
    return (
        f"THREADS={threads}",
        f"WIDTH={x.shape[-1]}",
        f"EACH={-(-vectors // threads)}",
        f"ELEMENT={element}",
        f"GATE={element if gate is None else launch.ELEMENTS[gate.dtype]}",
        f"FACTOR={element if scale is None else launch.ELEMENTS[scale.dtype]}",
        f"RESIDUAL={int(y is not None)}",
        f"GATED={int(gate is not None)}",
        f"NORM={int(scale is not None)}",
        f"AFFINE={int(scale is not None and scale.ndim == 1)}",
    )


def _run(
    x: Tensor,
    y: Tensor | None,
    gate: Tensor | None,
    norm: Modulation | Affine | None,
    split: int,
) -> tuple[Tensor | None, Tensor | None] | None:
    """The sum and the norm of it, those that are asked for; None where no kernel does it."""
    _check(x, y, gate, norm, split)
    width = x.shape[-1]
    scale, shift = (norm.scale, norm.shift) if norm else (None, None)
    if width % launch.LANE_ELEMENTS or not 0 < width <= _WIDEST or not x.numel():
        return None
    if (y is not None and y.dtype != x.dtype) or (norm and scale.dtype != shift.dtype):
        return None
    variant = macros(x, y, gate, scale)
    kernel = launch.kernel(PROGRAM, variant, x.device)
    if kernel is None:
        return None
    x, y = launch.rows(x), None if y is None else launch.rows(y)
    gate, scale, shift = (None if f is None else launch.rows(f) for f in (gate, scale, shift))
    total, out = (None if f is None else x.new_empty(x.shape) for f in (y, scale))
    strides = (*x.stride()[:2], *((0, 0) if y is None else y.stride()[:2]))
    strides += tuple(step for factor in (gate, scale, shift) for step in _strides(factor))
    sizes = (*strides, x.shape[1], split, norm.eps if norm else 0.0)
    tensors = (x, y, gate, scale, shift, total, out)
    ran = kernel.run(x.shape[0] * x.shape[1], (*tensors, *sizes))
    return (total, out) if ran else None


def _strides(factor: Tensor | None) -> tuple[int, int]:
    """From one batch and from one range of tokens to the next; 0 where all share one row."""
    if factor is None or factor.ndim == 1:
        return 0, 0
    return tuple(factor.stride(dim) if factor.shape[dim] > 1 else 0 for dim in (0, 1))


def _as_norm(scale: Tensor, shift: Tensor, eps: float) -> Modulation | Affine:
    return (Affine if scale.ndim == 1 else Modulation)(scale, shift, eps)


@torch.library.custom_op(
    f"{launch.NAMESPACE}::norm_modulate",
    mutates_args=(),
    schema="(Tensor x, Tensor scale, Tensor shift, SymInt split, float eps) -> Tensor",
)
def _norm_modulate(x: Tensor, scale: Tensor, shift: Tensor, split: int, eps: float) -> Tensor:
    norm = _as_norm(scale, shift, eps)
    made = _run(x, None, None, norm, split)
    return made[1] if made else _normed(x, norm, split)


@torch.library.custom_op(
    f"{launch.NAMESPACE}::gate_residual",
    mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor? gate, SymInt split) -> Tensor",
)
def _gate_residual(x: Tensor, y: Tensor, gate: Tensor | None, split: int) -> Tensor:
    made = _run(x, y, gate, None, split)
    return made[0] if made else _added(x, y, gate, split)


@torch.library.custom_op(
    f"{launch.NAMESPACE}::gate_residual_norm_modulate",
    mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor? gate, Tensor scale, Tensor shift, SymInt split, float eps)"
    " -> (Tensor, Tensor)",
)
def _gate_residual_norm_modulate(
    x: Tensor,
    y: Tensor,
    gate: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    split: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    norm = _as_norm(scale, shift, eps)
    return _run(x, y, gate, norm, split) or reference(x, y, gate, norm, split)


@_norm_modulate.register_fake
@_gate_residual.register_fake
def _like_tokens(x: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape)


@_gate_residual_norm_modulate.register_fake
def _twice_like_tokens(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape)
