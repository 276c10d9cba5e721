"""Queries or keys made ready for attention, in one pass: RMS norm, rotary embedding, packing.

The packing is into the part of a buffer that several streams of tokens share, so that nothing
has to be concatenated afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from . import launch
from .cubins import Program
from .cuda_source import COMMON
from .pieces import NUMBERS_AT_ONCE

_MOST_THREADS, _WIDEST_HEAD, _WIDEST = 512, 1024, 16384
_ACROSS_EACH = 2

Rotation = Tensor | tuple[Tensor, Tensor]
"""Rotary factors of all tokens: complex64 [N, D / 2], or their cosines and sines, float32"""

_Turns = tuple[Tensor | None, Tensor | None]


def qk_norm_rope_pack(
    tokens: Tensor, weight: Tensor, rotation: Rotation | None, out: Tensor, eps: float = 1e-6
) -> None:
    """Write normalised and turned heads into `out`, which may be a part of a joint buffer.

    Args:
        tokens: [B, N, heads * D], queries or keys as a linear layer gives them.
        weight: of the norm; [D] of each head alone, [heads * D] across all heads.
        rotation: of pairs of neighbouring channels; None for tokens without a place.
        out: [B, N, heads, D] in the dtype of the tokens, of any strides: for instance
            `joint[:, start:start + N]`. All of it is written.

    Raises:
        ValueError: shapes that do not fit each other, before a kernel reads them. The reference
            broadcasts what PyTorch does.
    """
    turns, sines = rotation if isinstance(rotation, tuple) else (rotation, None)
    if launch.fuses(tokens, weight, turns, sines, out):
        _write(tokens, weight, turns, sines, out, eps)
    else:
        reference(tokens, weight, rotation, out, eps)


def reference(
    tokens: Tensor, weight: Tensor, rotation: Rotation | None, out: Tensor, eps: float = 1e-6
) -> None:
    """What `qk_norm_rope_pack` is, in plain PyTorch."""
    turns, sines = rotation if isinstance(rotation, tuple) else (rotation, None)
    length, *heads = out.shape[1:]
    if tokens.numel() <= NUMBERS_AT_ONCE:
        out.copy_(_turned(_normed(tokens, weight, heads, eps), turns, sines))
        return
    most = max(1, NUMBERS_AT_ONCE * length // tokens.numel())
    for start in range(0, length, most):
        place = slice(start, start + most)
        its = (None if turn is None else turn[place] for turn in (turns, sines))
        out[:, place].copy_(_turned(_normed(tokens[:, place], weight, heads, eps), *its))


def _normed(tokens: Tensor, weight: Tensor, heads: list[int], eps: float) -> Tensor:
    """Tokens as [B, N, heads, D]; the norm is of one head, or of all before they are told apart."""
    if weight.shape[0] == heads[1]:
        return functional.rms_norm(tokens.unflatten(2, heads), weight.shape, weight, eps)
    return functional.rms_norm(tokens, weight.shape, weight, eps).unflatten(2, heads)


def _turned(heads: Tensor, turns: Tensor | None, sines: Tensor | None) -> Tensor:
    """Pairs of channels of [B, N, heads, D] turned by [N, D / 2], in float32."""
    if turns is None:
        return heads
    turns = turns[:, None]
    pairs = heads.float().unflatten(-1, (-1, 2)).contiguous()
    if sines is None:
        return torch.view_as_real(torch.view_as_complex(pairs) * turns).flatten(-2)
    sines = sines[:, None]
    one, two = pairs.unbind(-1)
    turned = [one * turns - two * sines, one * sines + two * turns]
    return torch.stack(turned, dim=-1).flatten(-2)


def _check(tokens: Tensor, weight: Tensor, turns: _Turns, out: Tensor) -> None:
    batch, length, heads, width = out.shape
    both, half = heads * width, (length, width // 2)
    if tokens.shape != (batch, length, both) or tokens.dtype != out.dtype:
        raise ValueError(
            f"tokens {tuple(tokens.shape)} of {tokens.dtype} do not fit into "
            f"{tuple(out.shape)} of {out.dtype}"
        )
    if weight.shape not in ((width,), (both,)):
        raise ValueError(f"a norm's weight {tuple(weight.shape)}; it is [{width}] or [{both}]")
    for turn in turns:
        if turn is not None and turn.shape != half:
            raise ValueError(
                f"rotary factors {tuple(turn.shape)}; they are [{length}, {width // 2}]"
            )


_SOURCE = (
    COMMON
    + r"""
// Cosines and sines of four pairs from channel `at` on; they lie mixed, or apart.
__device__ __forceinline__ void places(
    const float* turns, const float* sines, int at, float* cosine, float* sine)
{
#if TURNED == 1
    const Eight mixed = read_often(turns + at);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        cosine[j] = mixed.at[2 * j];
        sine[j] = mixed.at[2 * j + 1];
    }
#elif TURNED == 2
    const uint4 c = __ldg(reinterpret_cast<const uint4*>(turns + at / 2));
    const uint4 s = __ldg(reinterpret_cast<const uint4*>(sines + at / 2));
    const unsigned words[8] = {c.x, c.y, c.z, c.w, s.x, s.y, s.z, s.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        cosine[j] = __uint_as_float(words[j]);
        sine[j] = __uint_as_float(words[4 + j]);
    }
#endif
}

// A norm spans SPAN channels, which LANES threads share, EACH taking eight at a time.
extern "C" __global__ void __launch_bounds__(THREADS) qk_norm_rope_pack(
    const ELEMENT* __restrict__ tokens, const FACTOR* __restrict__ weight,
    const float* __restrict__ turns, const float* __restrict__ sines,
    ELEMENT* __restrict__ out, long long in_batch, long long in_row,
    long long out_batch, long long out_row, long long out_head, long long num_tokens, float eps)
{
    const int row = blockIdx.x, length = (int)num_tokens;
    const int batch = row / length, token = row % length;
    const int lane = threadIdx.x % LANES;
    tokens += batch * in_batch + token * in_row;
    out += batch * out_batch + token * out_row;
#if TURNED == 1
    turns += (long long)token * HEAD_WIDTH;
#elif TURNED == 2
    turns += (long long)token * (HEAD_WIDTH / 2);
    sines += (long long)token * (HEAD_WIDTH / 2);
#endif
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        const int norm = round * (THREADS / LANES) + threadIdx.x / LANES;
        Packed<ELEMENT> kept[EACH];
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int at = (lane + i * LANES) * 8;
            if (norm * SPAN < WIDTH && at < SPAN) {
                kept[i] = read_once(tokens + norm * SPAN + at);
                const Eight value = widened(kept[i]);
#pragma unroll
                for (int j = 0; j < 8; j++) squares += value.at[j] * value.at[j];
            }
        }
#if LANES == THREADS
        __shared__ float partial[32];
        squares = sum_of_block(squares, partial);
#else
        squares = sum_of_lanes(squares, LANES);
#endif
        const float inverse = rsqrtf(squares / SPAN + eps);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int at = (lane + i * LANES) * 8;
            if (norm * SPAN < WIDTH && at < SPAN) {
                Eight value = widened(kept[i]);
                const Eight factor = read_often(weight + at);
#pragma unroll
                for (int j = 0; j < 8; j++) value.at[j] *= inverse * factor.at[j];
                const int channel = norm * SPAN + at;
#if TURNED
                float cosine[4], sine[4];
                places(turns, sines, channel % HEAD_WIDTH, cosine, sine);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float real = value.at[2 * j], imaginary = value.at[2 * j + 1];
                    value.at[2 * j] = real * cosine[j] - imaginary * sine[j];
                    value.at[2 * j + 1] = real * sine[j] + imaginary * cosine[j];
                }
#endif
                write(out + channel / HEAD_WIDTH * out_head + channel % HEAD_WIDTH,
                      narrowed<ELEMENT>(value));
            }
        }
    }
}
"""
)

PROGRAM = Program("qk_norm_rope_pack", _SOURCE)


def macros(tokens: Tensor, weight: Tensor, turns: _Turns, out: Tensor) -> tuple[str, ...]:
    """What makes the variant of the source for these tensors, as the compiler takes it."""
    width, span = tokens.shape[2], weight.shape[0]
    vectors = span // launch.LANE_ELEMENTS
    if span == out.shape[3]:
        # Lanes that share a head are a power of two, so that they are neighbours in a warp.
        lanes = min(launch.WARP, 1 << (vectors - 1).bit_length())
        threads = launch.threads_for(out.shape[2] * lanes, _MOST_THREADS)
    else:
        lanes = threads = launch.threads_for(-(-vectors // _ACROSS_EACH), _MOST_THREADS)
    return (
        f"THREADS={threads}",
        f"WIDTH={width}",
        f"LANES={lanes}",
        f"SPAN={span}",
        f"HEAD_WIDTH={out.shape[3]}",
        f"EACH={-(-vectors // lanes)}",
        f"ROUNDS={-(-(width // span) // (threads // lanes))}",
        f"ELEMENT={launch.ELEMENTS[tokens.dtype]}",
        f"FACTOR={launch.ELEMENTS[weight.dtype]}",
        f"TURNED={sum(turn is not None for turn in turns)}",
    )


def _run(tokens: Tensor, weight: Tensor, turns: _Turns, out: Tensor, eps: float) -> bool:
    """Whether a kernel did it."""
    _check(tokens, weight, turns, out)
    heads, width = out.shape[2:]
    fits = width % launch.LANE_ELEMENTS == 0 and width <= _WIDEST_HEAD
    if not fits or heads * width > _WIDEST or not out.numel() or not launch.aligned(out):
        return False
    kinds = [turn.dtype for turn in turns if turn is not None]
    if kinds not in ([], [torch.complex64], [torch.float32, torch.float32]):
        return False
    variant = macros(tokens, weight, turns, out)
    kernel = launch.kernel(PROGRAM, variant, tokens.device)
    if kernel is None:
        return False
    tokens, weight = launch.rows(tokens), launch.rows(weight)
    real = (
        torch.view_as_real(turn.resolve_conj()).flatten(1) if turn.is_complex() else turn
        for turn in turns
        if turn is not None
    )
    first, second = (*(turn.contiguous() for turn in real), None, None)[:2]
    sizes = (*tokens.stride()[:2], *out.stride()[:3], tokens.shape[1], eps)
    blocks = tokens.shape[0] * tokens.shape[1]
    return kernel.run(blocks, (tokens, weight, first, second, out, *sizes))


@torch.library.custom_op(
    f"{launch.NAMESPACE}::qk_norm_rope_pack",
    mutates_args=("out",),
    schema="(Tensor tokens, Tensor weight, Tensor? turns, Tensor? sines, Tensor(a!) out, float eps)"
    " -> ()",
)
def _write(
    tokens: Tensor,
    weight: Tensor,
    turns: Tensor | None,
    sines: Tensor | None,
    out: Tensor,
    eps: float,
) -> None:
    if not _run(tokens, weight, (turns, sines), out, eps):
        reference(tokens, weight, turns if sines is None else (turns, sines), out, eps)


@_write.register_fake
def _nothing_new(*_: object) -> None:
    return None
