"""Weights in local files, put straight into the networks they belong to.

Reads safetensors: one file, one shard of several, or a folder; with the prefixes and the
eight-bit scales of the layouts in use. A file that does not fit, or that stores its weights in a
way that we do not compute, is refused before it is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import comfy_formats, low_bit

SCALE = ".scale_weight"
WEIGHT = ".weight"
_SHARD = re.compile(r"(.*?)(\d{5})-of-(\d{5})\.safetensors$")
_OTHER_SCALE = ".weight_scale"
_NOT_WEIGHTS = ("scaled_fp8", ".scale_input", ".input_scale", comfy_formats.NOTE)
_SAMPLE_BYTES = 2**16
_SAMPLES = 64
_WIDE = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_INSTEAD = (
    "which is not computed here; use the file in bf16 or scaled fp8, or load it with ComfyUI's own "
    "loader for the Storyboard Model or Shot Model node"
)


@dataclass(frozen=True)
class Weights:
    """The tensors of one network, in files and not read yet.

    `tensors` says where each is found: its file and its name there. `path` is what the user named
    and `what` it is expected to be, for messages. `formats` are those of weights that have a note
    of it in the file, see `comfy_formats`.
    """

    path: Path
    what: str
    tensors: Mapping[str, tuple[Path, str]]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, rename: Callable[[str], str | None]) -> Weights:
        """The same tensors under other names; those renamed to None are left out."""
        names = {name: rename(name) for name in self.tensors}
        kept = {name: new for name, new in names.items() if new is not None}
        return replace(
            self,
            tensors={new: self.tensors[name] for name, new in kept.items()},
            shapes={new: self.shapes[name] for name, new in kept.items()},
            formats={new: self.formats[n] for n, new in kept.items() if n in self.formats},
        )

    def within(self, prefixes: Iterable[str]) -> Weights:
        """The tensors below the first of these prefixes that there is, without it; else all."""
        for prefix in prefixes:
            if any(name.startswith(prefix) for name in self.tensors):
                return self.renamed(
                    lambda name, prefix=prefix: (
                        name.removeprefix(prefix) if name.startswith(prefix) else None
                    )
                )
        return self

    def check(self, expected: Mapping[str, tuple[int, ...]]) -> None:
        """Compare names and shapes with those of a network; scales of eight bits may be there.

        Raises:
            ValueError: tensors are missing, unknown or of another shape; or see `check_formats`.
        """
        self.check_formats()
        found = {name: shape for name, shape in self.shapes.items() if not name.endswith(SCALE)}
        wrong = {
            "missing": expected.keys() - found.keys(),
            "unknown": found.keys() - expected.keys(),
            "of another shape": {n for n in expected.keys() & found if expected[n] != found[n]},
        }
        says = [f"{len(names)} {how} ({min(names)})" for how, names in wrong.items() if names]
        if says:
            raise ValueError(f"{self.path} is not {self.what}: of its tensors {', '.join(says)}")

    def check_formats(self) -> None:
        """Nothing, where every weight is its numbers, or these times a scale that fits it.

        Raises:
            ValueError: one is not, by its name in the file.
        """
        for name, kind in sorted(self.formats.items()):
            if kind not in comfy_formats.COMPUTED:
                raise self._refusal(name, f"as {kind}")
        for name, shape in sorted(self.shapes.items()):
            scale = self.shapes.get(_scale_of(name))
            if scale is not None and not low_bit.fits(scale, shape):
                raise self._refusal(name, f"with scales {list(scale)} for numbers {list(shape)}")

    def read(self) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Every tensor as it is in the file, one after another: name, tensor, scale or None."""
        scales = {
            name.removesuffix(SCALE) + WEIGHT: tensor
            for name, tensor in self._read(name for name in self.tensors if name.endswith(SCALE))
        }
        for name, tensor in self._read(name for name in self.tensors if not name.endswith(SCALE)):
            yield name, tensor, scales.get(name)

    def tensor(self, name: str) -> tuple[Tensor, Tensor | None]:
        """One tensor as it is in the file, and its scale or None."""
        (_, tensor), *_ = self._read([name])
        scales = [scale for _, scale in self._read({_scale_of(name)} & self.tensors.keys())]
        return tensor, scales[0] if scales else None

    def load_into(
        self,
        network: nn.Module,
        dtype: torch.dtype | None,
        device: str,
        quantised: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """Give a network of `empty` its weights, one at a time, so that none is there twice.

        Eight-bit weights of `low_bit` layers stay so; all others become `dtype`, None for that
        of the file. Of `low_bit` layers those whose weight's name is `quantised` become eight
        bits.

        Raises:
            ValueError: see `check`; or numbers of a weight or a scale are of an unknown dtype.
        """
        self.check({name: tuple(t.shape) for name, t in network.state_dict().items()})
        for name, tensor, scale in self.read():
            owner, _, leaf = name.rpartition(".")
            module = network.get_submodule(owner)
            if leaf == "weight" and not _is_computed(tensor, scale):
                beside = "without a scale" if scale is None else f"with scales in {_kind(scale)}"
                raise self._refusal(name, f"as {_kind(tensor)} {beside}")
            low = isinstance(module, low_bit.Linear) and leaf == "weight"
            if low and tensor.dtype in low_bit.EIGHT_BITS:
                module.weight = _fixed(tensor.to(device))
                module.scale_weight = None if scale is None else scale.to(device)
                continue
            wide = low_bit.dequantise(tensor, scale).to(device, dtype)
            setattr(module, leaf, wide if leaf in module._buffers else _fixed(wide))
            if low and quantised(name):
                module.quantise()
        network.to(device)  # The buffers that no file holds.

    def _refusal(self, name: str, how: str) -> ValueError:
        file, stored = self.tensors[name]
        return ValueError(f"{file} stores {stored} {how}, {_INSTEAD}")

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.tensors[name][0], []).append(name)
        for file, inside in by_file.items():
            with _opened(file, self.what) as stored:
                for name in inside:
                    yield name, stored.get_tensor(self.tensors[name][1])


def empty(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` makes, its weights without storage; buffers are as it made them.

    On the meta device whole, buffers that no file holds, such as rotary frequencies, would be
    lost.
    """
    with _WeightsOnMeta():
        return build().requires_grad_(False).eval()


def open_weights(path: Path, what: str) -> Weights:
    """The tensors in a file, in all shards of a file, or in the one network of a folder.

    Only headers are read, and what ComfyUI notes of formats. Names of scales are made one, what
    is no weight is left out.

    Args:
        what: what the file should be, with its article, for messages.

    Raises:
        ValueError: no such file, not a safetensors file, cut short, or a shard is missing.
    """
    tensors, shapes, metadata, formats = {}, {}, {}, {}
    for file in weight_files(path, what):
        with _opened(file, what) as stored:
            metadata.update(stored.metadata() or {})
            formats.update(comfy_formats.formats(stored))
            for name in stored.keys():  # noqa: SIM118 (not a mapping)
                tensors[name] = (file, name)
                shapes[name] = tuple(stored.get_slice(name).get_shape())
    return Weights(path, what, tensors, shapes, metadata, formats).renamed(_one_name)


def weight_files(path: Path, what: str) -> list[Path]:
    """The files that belong to `path`: itself, its shards, or those in a folder.

    Raises:
        ValueError: there is none, there are several networks, or a shard is missing.
    """
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        series = {_series(file) for file in files}
        if len(series) != 1:
            raise ValueError(
                f"{path} holds {len(series)} networks in safetensors files; it should hold {what}"
            )
        path = files[0]
    if not path.is_file():
        raise ValueError(f"there is no file {path}; it should be {what}")
    shard = _SHARD.match(path.name)
    if shard is None:
        return [path]
    stem, _, count = shard.groups()
    files = [
        path.with_name(f"{stem}{number:05d}-of-{count}.safetensors")
        for number in range(1, int(count) + 1)
    ]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(f"{path.parent} lacks {', '.join(missing)} of {what} in {count} files")
    return files


def read_config(path: Path) -> dict[str, Any] | None:
    """The config.json beside a file or in a folder, None where there is none.

    Raises:
        ValueError: it is not a JSON object.
    """
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{file} should hold a JSON object")
    return config


def fingerprint(weights: Weights) -> str:
    """Digest of size, header and 64 samples of each file, in hexadecimal; names do not count.

    All of 40 GB would take half a minute; weights that were trained on differ everywhere.
    """
    digest = hashlib.sha256()
    for file in sorted({file for file, _ in weights.tensors.values()}):
        size = file.stat().st_size
        digest.update(f"{size} ".encode())
        with file.open("rb") as stored:
            for sample in range(_SAMPLES):
                stored.seek(sample * max(0, size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(stored.read(_SAMPLE_BYTES))
    return digest.hexdigest()


@contextmanager
def _opened(file: Path, what: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            yield stored
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} cannot be read as a safetensors file, or is cut short ({error}); "
            f"it should be {what}"
        ) from None


def _one_name(name: str) -> str | None:
    if name.endswith(_NOT_WEIGHTS):
        return None
    if name.endswith(_OTHER_SCALE):
        return name.removesuffix(_OTHER_SCALE) + SCALE
    return name


def _scale_of(name: str) -> str:
    return name.removesuffix(WEIGHT) + SCALE


def _is_computed(weight: Tensor, scale: Tensor | None) -> bool:
    """Whether the numbers of a weight are what they say; packed ones come as integers."""
    if scale is None:
        return weight.is_floating_point()
    return (weight.is_floating_point() or weight.dtype is torch.int8) and scale.dtype in _WIDE


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _series(file: Path) -> str:
    shard = _SHARD.match(file.name)
    return shard.group(1) if shard else file.name


class _WeightsOnMeta(TorchFunctionMode):
    """Layers make their weights by torch.empty, and buffers otherwise."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def _fixed(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
