"""The weights of one block in one piece, and the block computing from there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ALIGNMENT = 256


@dataclass(frozen=True, eq=False)
class Piece:
    """One weight or buffer of a block: the tensor itself, what it held, and its place in bytes."""

    tensor: Tensor
    home: Tensor
    start: int

    @property
    def num_bytes(self) -> int:
        return self.home.numel() * self.home.element_size()

    def view(self, slab: Tensor) -> Tensor:
        """This weight where it lies in a slab."""
        inside = slab[self.start : self.start + self.num_bytes]
        return inside.view(self.home.dtype).view(self.home.shape)


@dataclass(frozen=True, eq=False)
class Packed:
    """A block whose weights can be taken from any slab of `num_bytes`; see `pack`.

    `layers` are its modules that have weights of their own there.
    """

    layers: tuple[nn.Module, ...]
    pieces: tuple[Piece, ...]
    num_bytes: int

    def write(self, slab: Tensor) -> None:
        """Copy the weights as they were found into a slab, [num_bytes] of uint8, in RAM."""
        for piece in self.pieces:
            piece.view(slab).copy_(piece.home)

    def views(self, slab: Tensor) -> tuple[Tensor, ...]:
        """The weights in a slab, in the order of the pieces."""
        return tuple(piece.view(slab) for piece in self.pieces)

    def bind(self, views: tuple[Tensor, ...]) -> None:
        """Let the block compute with these."""
        for piece, view in zip(self.pieces, views, strict=True):
            piece.tensor.data = view

    def restore(self) -> None:
        """Let the block have its weights as they were found."""
        for piece in self.pieces:
            piece.tensor.data = piece.home


def pack(module: nn.Module, left_out: Collection[str] = ()) -> Packed:
    """The layout of a block's weights and buffers in a slab.

    Args:
        left_out: children of the block by their path, such as "img_mod"; they stay where they are.

    Raises:
        ValueError: there are none, or they are not in RAM.
    """
    pieces, layers, known, end = [], [], set(), 0
    for path, layer in module.named_modules():
        if any(path == left or path.startswith(f"{left}.") for left in left_out):
            continue
        for name, tensor in own_tensors(layer):
            if id(tensor) in known:
                continue
            if tensor.device.type != "cpu":
                raise ValueError(
                    f"the weight {path}.{name} of a block is on {tensor.device}; load it on cpu"
                )
            known.add(id(tensor))
            layers.append(layer)
            pieces.append(Piece(tensor, tensor.data, end))
            end = _aligned(end + pieces[-1].num_bytes)
    if not end:
        raise ValueError(f"a block of {type(module).__name__} has no weights to stream")
    return Packed(tuple(dict.fromkeys(layers)), tuple(pieces), end)


def own_tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers of a layer, without those of its children."""
    yield from layer.named_parameters(recurse=False)
    yield from layer.named_buffers(recurse=False)


def new_slab(num_bytes: int, device: torch.device, alignment: int = ALIGNMENT) -> Tensor:
    """Room for a slab, [num_bytes] of uint8, aligned; nothing has touched it yet."""
    room = torch.empty(num_bytes + alignment, dtype=torch.uint8, device=device)
    first = -room.data_ptr() % alignment
    return room[first : first + num_bytes]


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT
