"""comfy-kitchen, where ComfyUI has brought it: it widens weights where our kernel cannot.

Which is faster follows from the bytes that a weight moves. Ours reads it once and writes it once,
into its slot: three for a number. That of comfy-kitchen makes a tensor of its own, to be copied:
seven, and needs no compiler. Plain PyTorch moves eleven to nineteen. So it comes second.
"""

from __future__ import annotations

import functools
from types import ModuleType

import torch
from torch import Tensor

from .launch import warn

# Scales that change where they are rounded to fewer bits.
_TRIED = (1 / 3, 0.7, 1.0039, 3e-4)


def widen(weight: Tensor, scale: Tensor | None, out: Tensor) -> bool:
    """Whether comfy-kitchen has written `weight * scale` into `out`, as the reference would."""
    kitchen = _kitchen()
    if kitchen is None or scale is None or scale.numel() != 1 or not out.is_cuda:
        return False
    try:
        if not same_numbers(kitchen, weight.dtype, scale.dtype, out.dtype, out.device):
            return False
        out.copy_(kitchen.dequantize_per_tensor_fp8(weight.contiguous(), scale, out.dtype))
    except Exception as error:
        # Another project's code, of any age: whatever it lacks, the reference does the same work.
        warn(f"comfy-kitchen: {error}")
        return False
    return True


@functools.cache
def same_numbers(
    kitchen: ModuleType,
    narrow: torch.dtype,
    scaled: torch.dtype,
    wide: torch.dtype,
    device: torch.device,
) -> bool:
    """Whether weights of these dtypes become what the reference makes of them, bit for bit."""
    if narrow.itemsize != 1:
        return False
    every = torch.arange(256, dtype=torch.uint8, device=device).view(narrow)
    for tried in _TRIED:
        scale = torch.tensor(tried, dtype=scaled, device=device)
        wanted = (every.to(scaled) * scale).to(wide)
        found = kitchen.dequantize_per_tensor_fp8(every, scale, wide)
        if not torch.equal(found.nan_to_num(7.0), wanted.nan_to_num(7.0)):
            return False
    return True


@functools.cache
def _kitchen() -> ModuleType | None:
    """The package, if it has code for this machine's GPU."""
    try:
        import comfy_kitchen

        return comfy_kitchen if comfy_kitchen.registry.is_available("cuda") else None
    except (ImportError, AttributeError, OSError, RuntimeError):
        return None
