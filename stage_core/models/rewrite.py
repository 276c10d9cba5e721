"""Safetensors files made of the tensors of other files, byte by byte: none is held in memory.

The format: eight bytes with the length of a JSON header, little-endian; the header, which gives
name, dtype, shape and place of every tensor; their bytes, without a gap.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_METADATA = "__metadata__"
_ALIGNMENT = 8
_PIECE_BYTES = 2**24


@dataclass(frozen=True)
class Source:
    """Where the bytes of a tensor are, from `begin` of a file or given, and what they mean."""

    bytes_of: Path | bytes
    dtype: str
    shape: tuple[int, ...]
    begin: int
    num_bytes: int

    @classmethod
    def of_number(cls, number: float) -> Source:
        """A scalar in float32."""
        return cls(struct.pack("<f", number), "F32", (), 0, 4)

    @property
    def item_bytes(self) -> int:
        return self.num_bytes // max(1, math.prod(self.shape))


def located(tensors: Mapping[str, tuple[Path, str]]) -> dict[str, Source]:
    """Where tensors lie in files that `open_weights` has accepted, by its `Weights.tensors`."""
    headers = {file: _header(file) for file in {file for file, _ in tensors.values()}}
    found = {}
    for name, (file, inside) in tensors.items():
        first, header = headers[file]
        entry = header[inside]
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        found[name] = Source(file, entry["dtype"], shape, first + begin, end - begin)
    return found


def rewrite(path: Path, tensors: Mapping[str, Source], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of these tensors."""
    # Wider numbers first, so that every tensor begins at a multiple of its number's width.
    order = sorted(tensors, key=lambda name: -tensors[name].item_bytes)
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name in order:
        source = tensors[name]
        begin, end = end, end + source.num_bytes
        header[name] = {
            "dtype": source.dtype,
            "shape": source.shape,
            "data_offsets": (begin, end),
        }
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as written:
        written.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            for piece in _pieces(tensors[name]):
                written.write(piece)


def _pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source.bytes_of, bytes):
        yield source.bytes_of
        return
    left = source.num_bytes
    with source.bytes_of.open("rb") as stored:
        stored.seek(source.begin)
        while left:
            piece = stored.read(min(left, _PIECE_BYTES))
            if not piece:
                raise ValueError(f"{source.bytes_of} ends {left} bytes too early")
            left -= len(piece)
            yield piece


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors of a file begin, and what is said of each."""
    with file.open("rb") as stored:
        (length,) = struct.unpack("<Q", stored.read(8))
        return 8 + length, json.loads(stored.read(length))
