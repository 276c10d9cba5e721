"""What a computation needs besides weights, found without computing.

The network runs on the meta device, where tensors have shapes and no numbers: a peak of gigabytes
is known in a fraction of a second, of whatever the network does now.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .stream import Widener

T = TypeVar("T")


def working_bytes(
    network: nn.Module,
    call: Callable[[], object],
    blocks: Sequence[nn.Module] = (),
    widener: Widener | None = None,
) -> int:
    """The most that a call which uses the network has in tensors, apart from weights.

    Args:
        call: computes with the network and with arguments from `on_meta`.
        blocks: those whose weights the `widener` will make wide while they are visited. Wide
            weights do not count either: a plan has room for them.

    Attention is taken to be of a kind that makes no matrix of tokens by tokens.
    """
    used = _Used(network, call, blocks, widener)
    named = (*used.named_parameters(), *used.named_buffers())
    weights = {name: on_meta(tensor) for name, tensor in named}
    with torch.no_grad(), _LeanAttention():
        return functional_call(used, weights, ())


def on_meta(value: T) -> T:
    """The same value with tensors that have no numbers: tensors, containers, dataclasses."""
    return each_tensor(value, lambda tensor: torch.empty_like(tensor, device="meta"))


def each_tensor(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same value with its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(each_tensor(one, change) for one in value)
    if isinstance(value, dict):
        return {key: each_tensor(one, change) for key, one in value.items()}
    if is_dataclass(value):
        changed = {f.name: each_tensor(getattr(value, f.name), change) for f in fields(value)}
        return replace(value, **changed)
    return value


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors at a time of those that are made in a call."""
    with _Meter() as meter:
        call()
    return meter.peak


class _Meter(TorchDispatchMode):
    """Adds up memory when an operation makes it, and takes it off when nobody holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = {
            tensor.untyped_storage()
            for tensor in tree_leaves((args, kwargs))
            if isinstance(tensor, Tensor)
        }
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage not in given and storage not in self._known:
                    self._add(storage)
        return made

    def _add(self, storage: Any) -> None:
        self._known.add(storage)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._take_off, storage.nbytes())

    def _take_off(self, num_bytes: int) -> None:
        self._now -= num_bytes


class _LeanAttention(TorchFunctionMode):
    """Attention as the kernels of a GPU do it: the result, and nothing on the way to it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is functional.scaled_dot_product_attention:
            query, _, value = (*args, *(kwargs or {}).values())[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return function(*args, **(kwargs or {}))


class _Used(nn.Module):
    """A call as a network, so that its weights can be others for a while."""

    def __init__(
        self,
        network: nn.Module,
        call: Callable[[], object],
        blocks: Sequence[nn.Module],
        widener: Widener | None,
    ):
        super().__init__()
        self.network = network
        self._call, self._widener = call, widener
        self._layers = [tuple(block.modules()) for block in blocks]

    def forward(self) -> int:
        """The most bytes at a time that the call makes."""
        if self._widener is None:
            return peak_bytes(self._call)
        try:
            for layers in self._layers:
                # Without numbers, so a room for each block takes nothing.
                room = self._widener.num_bytes(layers)
                self._widener.widen(layers, torch.empty(room, dtype=torch.uint8, device="meta"))
            return peak_bytes(self._call)
        finally:
            for layers in self._layers:
                self._widener.narrow(layers)
