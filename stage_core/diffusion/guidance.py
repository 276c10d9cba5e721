"""Guidance: how strongly a prediction follows its prompt."""

from __future__ import annotations

import torch
from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance that keeps the norm of every token's conditional prediction.

    Args:
        conditional, unconditional: predicted velocities, [B, N, D], same dtype and device.
        guidance: strength, at least 1; 1 returns `conditional`.

    Raises:
        ValueError: guidance below 1.

    Source: Ho and Salimans 2022, arXiv:2207.12598, eq. 6; the norm as in the STAGE release.
    """
    if not guidance >= 1:
        raise ValueError(f"guidance {guidance}; use at least 1, where 1 ignores the negative")
    if guidance == 1:
        return conditional
    combined = extrapolate(conditional, unconditional, guidance)
    norm = torch.linalg.vector_norm(combined, dim=-1, keepdim=True)
    wanted = torch.linalg.vector_norm(conditional, dim=-1, keepdim=True)
    # A token without a prediction stays zero instead of becoming 0 / 0.
    return combined * (wanted / norm.clamp_min(torch.finfo(norm.dtype).tiny))


def extrapolate(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance as it was first published, as Wan is sampled; any shape.

    Source: Ho and Salimans 2022, arXiv:2207.12598, eq. 6.
    """
    return unconditional + guidance * (conditional - unconditional)
