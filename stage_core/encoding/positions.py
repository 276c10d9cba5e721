"""Rotary coordinates: where tokens of canvas, memory frames and text stand for an attention.

A token has three integers: frame, row and column. Source: Qwen-Image, arXiv:2508.02324, and
Qwen2.5-VL, arXiv:2502.13923; checked against the STAGE release.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import repeat
from torch import Tensor


def picture_positions(frame: int, rows: int, columns: int) -> Tensor:
    """Positions of every token of a picture, row by row, [rows columns, 3], centred on 0.

    Of an odd number of rows or columns one more is negative: 5 are -3 to 1.
    """
    axes = (
        torch.tensor([frame]),
        torch.arange(rows) - (rows + 1) // 2,
        torch.arange(columns) - (columns + 1) // 2,
    )
    return torch.cartesian_prod(*axes)


def canvas_positions(rows: int, columns: int, memory: Sequence[tuple[int, int]] = ()) -> Tensor:
    """Positions of a pair's tokens, then of its memory frames', [N, 3].

    The pair is one picture of twice the height, so that nothing but the row tells start from
    end: start is above 0 and end below. Memory frames are pictures number 1, 2, ...

    Args:
        rows, columns: tokens of one frame of the pair.
        memory: rows and columns of the tokens of each memory frame.
    """
    pictures = [(2 * rows, columns), *memory]
    return torch.cat([picture_positions(frame, *size) for frame, size in enumerate(pictures)])


def text_positions(pictures: Tensor, length: int) -> Tensor:
    """Positions [length, 3] of text on the diagonal, beyond the largest of the pictures [N, 3]."""
    first = pictures[:, 1:].max() + 1
    return repeat(first + torch.arange(length), "l -> l axes", axes=3)


def vision_language_positions(
    token_ids: Sequence[int], picture_token: int, grid: tuple[int, int]
) -> Tensor:
    """Positions [3, 1, L] of a prompt with at most one picture, as Qwen2.5-VL counts them.

    Words count up on all axes; a picture's tokens share the place where it begins, plus their row
    and column, and words go on after its longer side.

    Args:
        picture_token: the id that stands for each token of the picture.
        grid: rows and columns of the picture's tokens.

    Raises:
        ValueError: another number of picture tokens than the grid has.
    """
    length, count = len(token_ids), sum(token == picture_token for token in token_ids)
    if count == 0:
        return repeat(torch.arange(length), "l -> axes 1 l", axes=3)
    rows, columns = grid
    if count != rows * columns:
        raise ValueError(f"{count} picture tokens for a grid of {rows}x{columns}")
    first = list(token_ids).index(picture_token)
    words = repeat(torch.arange(first), "l -> axes l", axes=3)
    picture = torch.cartesian_prod(torch.tensor([0]), torch.arange(rows), torch.arange(columns))
    rest = repeat(torch.arange(length - first - count), "l -> axes l", axes=3)
    parts = [words, first + picture.T, first + max(rows, columns) + rest]
    return torch.cat(parts, dim=1)[:, None]
