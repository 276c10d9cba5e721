"""How ComfyUI notes in a file the formats of its layers, and which of these we compute.

A layer has a tensor `comfy_quant` beside its weight, JSON as bytes, or its place in the JSON of
the file's header, which counts more. Layers without a note are as their numbers are.

Source: ComfyUI 0.33, QUANTIZATION.md, `comfy.utils.convert_old_quants`, `comfy.ops`.
"""

from __future__ import annotations

import json
from typing import Any

NOTE = ".comfy_quant"
# Of these a weight is its numbers times its scale.
COMPUTED = ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise")
_HEADER = "_quantization_metadata"
_WEIGHT = ".weight"
_NETWORK = "diffusion_model."
_UNREADABLE = "a format that its note does not name"
_ROTATION = "convrot"


def formats(stored: Any) -> dict[str, str]:
    """What format the weights in an open safetensors file have, in words, of those with a note.

    Notes are read, and no weights.
    """
    names = set(stored.keys())
    header = _header((stored.metadata() or {}).get(_HEADER))
    found = {}
    for name in names:
        layer = name.removesuffix(_WEIGHT)
        if layer == name:
            continue
        # ComfyUI looks in the header again after it has taken the network's prefix off.
        said = next((key for key in (layer, layer.rpartition(_NETWORK)[2]) if key in header), None)
        if said is not None:
            found[name] = _in_words(header[said])
        elif layer + NOTE in names:
            found[name] = _in_words(_json(_bytes(stored.get_tensor(layer + NOTE))))
        elif None in header:
            found[name] = _UNREADABLE
    return found


def _header(text: str | None) -> dict[str | None, Any]:
    """Notes by layers; that of None counts for all, where the JSON cannot be read."""
    if text is None:
        return {}
    noted = _json(text)
    layers = noted.get("layers") if isinstance(noted, dict) else None
    return layers if isinstance(layers, dict) else {None: None}


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _bytes(note: Any) -> bytes:
    return bytes(note.flatten().tolist())


def _in_words(note: Any) -> str:
    kind = note.get("format") if isinstance(note, dict) else None
    if not isinstance(kind, str):
        return _UNREADABLE
    inner = note.get("params")
    inner = inner if isinstance(inner, dict) else {}
    rotated = note.get(_ROTATION, inner.get(_ROTATION, False))
    return f"{kind} with {_ROTATION}" if rotated else kind
