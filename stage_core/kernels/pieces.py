"""References work on a part of the tokens at a time: their wide copies are never of all."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

NUMBERS_AT_ONCE = 2**24


def in_pieces(function: Callable[..., Tensor], *tokens: Tensor) -> Tensor:
    """A function of each token alone, of tensors [B, N, D], applied to some tokens at a time."""
    length, numbers = tokens[0].shape[1], tokens[0].numel()
    least = max(1, NUMBERS_AT_ONCE * length // max(1, numbers))
    if length <= least:
        return function(*tokens)
    made = None
    for start in range(0, length, least):
        place = slice(start, start + least)
        some = function(*(tensor[:, place] for tensor in tokens))
        # Joined at the end, pieces and result would be there at once.
        made = some.new_empty(some.shape[0], length, some.shape[2]) if made is None else made
        made[:, place] = some
    return made
