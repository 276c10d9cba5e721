"""References work on a part of the tokens at a time: their wide copies are never of all."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

NUMBERS_AT_ONCE = 2**22


def in_pieces(function: Callable[..., Tensor], *tokens: Tensor, times: int = 1) -> Tensor:
    """A function of each token alone, of tensors [B, N, D], applied to some tokens at a time.

    To so many `times` as many as usual: a product of matrices is slow on few.
    """
    length, numbers = tokens[0].shape[1], tokens[0].numel()
    least = max(1, times * NUMBERS_AT_ONCE * length // max(1, numbers))
    if length <= least:
        return function(*tokens)
    # All of one length: a library may round a product of few rows otherwise.
    each = -(-length // -(-length // least))
    made = None
    for start in range(0, length, each):
        place = slice(start, start + each)
        some = function(*(tensor[:, place] for tensor in tokens))
        # Joined at the end, pieces and result would be there at once.
        made = some.new_empty(some.shape[0], length, some.shape[2]) if made is None else made
        made[:, place] = some
    return made
