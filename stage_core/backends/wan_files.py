"""Where the parts of a Wan model lie in a folder: as released, as in diffusers, as for ComfyUI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

_ENDING = ".safetensors"
# ComfyUI's own folders, in which single files may lie.
_FOLDERS = (".", "diffusion_models", "unet", "text_encoders", "vae", "clip_vision", "loras")
_ADAPTER = re.compile(r"lora|lightx2v|distill", re.IGNORECASE)
_TRANSFORMER = re.compile(r"wan|noise|diffusion_pytorch_model", re.IGNORECASE)
_ELSE = re.compile(r"vae|umt5|t5xxl|clip_vision|text_encoder", re.IGNORECASE)
_FEW_STEPS = re.compile(r"lightx2v|lightning|distill|[4-8][ _-]?steps?", re.IGNORECASE)
_HIGH = re.compile(r"(?<![a-z])high(?![a-z])|high-?noise", re.IGNORECASE)
_LOW = re.compile(r"(?<![a-z])low(?![a-z])|low-?noise", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class _Part:
    """A part by its folder in diffusers, by what is in the name of its single file, in words, and
    the single file that one can get."""

    name: str
    pattern: str
    what: str
    single: str


_VAE = _Part(
    "vae",
    r"vae",
    "a Wan VAE",
    "wan_2.1_vae.safetensors, for the 5B wan2.2_vae.safetensors",
)
_TEXT = _Part(
    "text_encoder",
    r"umt5",
    "the UMT5 text encoder",
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
)


@dataclass(frozen=True)
class WanFiles:
    """The parts: files, or folders with one network each; `tokenizer` is a folder, or None where
    the text encoder's file holds it, as ComfyUI's does.

    `low` is the expert for little noise, where there are two; `loras` and `low_loras` are each
    expert's own. `boundary`: the noise level at which the folder says that the second takes over.
    """

    transformer: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path | None
    low: Path | None = None
    image_encoder: Path | None = None
    loras: tuple[Path, ...] = ()
    low_loras: tuple[Path, ...] = ()
    boundary: float | None = None

    def __post_init__(self):
        if self.low is None:
            return
        if _LOW.search(self.transformer.name) and _HIGH.search(self.low.name):
            raise ValueError(
                f"{self.transformer.name} and {self.low.name} are the wrong way round: the "
                "high-noise model comes first"
            )

    @property
    def needs_few_steps(self) -> bool:
        """Whether the adapters' names say that they were trained for a few steps."""
        names = [lora.name for lora in (*self.loras, *self.low_loras)]
        return any(map(_FEW_STEPS.search, names))

    @classmethod
    def in_folder(cls, folder: Path) -> WanFiles:
        """The parts of a folder, in any of the three layouts, also mixed.

        Raises:
            ValueError: a part is missing, is there twice, or is a pickle, by name.
        """
        singles = _singles(folder)
        transformer, low = _transformers(folder, singles)
        text_encoder = _part(folder, singles, _TEXT)
        files = cls(
            transformer,
            _part(folder, singles, _VAE),
            text_encoder,
            _tokenizer(folder, text_encoder),
            low,
            _sight(folder, singles),
            boundary=_boundary(folder),
        )
        return files.with_loras(filter(_is_adapter, singles))

    def with_loras(self, loras: Iterable[Path]) -> WanFiles:
        """With these adapters, each for the expert that its name tells.

        Raises:
            ValueError: there are two experts, and a name tells neither.
        """
        loras = tuple(loras)
        if self.low is None:
            return replace(self, loras=loras)
        for lora in loras:
            if bool(_HIGH.search(lora.name)) == bool(_LOW.search(lora.name)):
                raise ValueError(
                    f"{lora.name}: for which of the two experts it is should be in its name, "
                    "high_noise or low_noise"
                )
        low = tuple(lora for lora in loras if _LOW.search(lora.name))
        return replace(self, loras=tuple(x for x in loras if x not in low), low_loras=low)


def _singles(folder: Path) -> list[Path]:
    """Single files, of shards the first, in a folder and in ComfyUI's folders below it."""
    places = [place for name in _FOLDERS if (place := folder / name).is_dir()]
    files = sorted({file for place in places for file in place.glob(f"*{_ENDING}")})
    return [file for file in files if not _SHARD.search(file.stem) or "-00001-" in file.stem]


def _transformers(folder: Path, singles: list[Path]) -> tuple[Path, Path | None]:
    found = _found(folder, singles)
    high = [path for path in found if _HIGH.search(path.name)]
    low = [path for path in found if _LOW.search(path.name)]
    if len(high) == len(low) == 1 and len(found) == 2:
        return high[0], low[0]
    if len(found) == 2 and found[0].name == "transformer":
        return found[0], found[1]
    if len(found) == 1 and not low:
        return found[0], None
    names = ", ".join(path.name for path in found) or "none"
    raise ValueError(
        f"{folder} should hold the transformer of one Wan model, or the high-noise and the "
        f"low-noise one of Wan 2.2; it holds {names}"
    )


def _found(folder: Path, singles: list[Path]) -> list[Path]:
    for names in (("transformer", "transformer_2"), ("high_noise_model", "low_noise_model")):
        found = [folder / name for name in names if any((folder / name).glob(f"*{_ENDING}"))]
        if found:
            return found
    return [
        file
        for file in singles
        if _TRANSFORMER.search(file.stem)
        and not (_is_adapter(file) or _ELSE.search(file.stem))
        and file.parent.name not in ("vae", "text_encoders", "clip_vision")
    ]


def _is_adapter(file: Path) -> bool:
    return file.parent.name == "loras" or bool(_ADAPTER.search(file.stem))


def _part(folder: Path, singles: list[Path], part: _Part) -> Path:
    """The part's folder as diffusers has it, or the single file that is named for it."""
    pattern = re.compile(part.pattern, re.IGNORECASE)
    fits = [f for f in singles if pattern.search(f.stem) or f.parent == folder / part.name]
    # Among the files of other models those of Wan have it in their names.
    fits = [file for file in fits if "wan" in file.stem.lower()] if len(fits) > 1 else fits
    if len(fits) > 1:
        names = ", ".join(file.name for file in fits)
        raise ValueError(f"{folder} should hold {part.what} once; it holds {names}")
    if fits:
        return fits[0]
    if any((folder / part.name).glob(f"*{_ENDING}")):
        return folder / part.name
    for file in folder.glob("*.pth"):
        if pattern.search(file.stem):
            raise ValueError(
                f"{file.name} is a pickle, which may run any code, and is not read; put "
                f"{part.single} into {folder} instead"
            )
    raise ValueError(f"{folder} lacks {part.what}: a folder {part.name}, or {part.single}")


def _sight(folder: Path, singles: list[Path]) -> Path | None:
    if any((folder / "image_encoder").glob(f"*{_ENDING}")):
        return folder / "image_encoder"
    return next((file for file in singles if "clip_vision" in file.stem.lower()), None)


def _tokenizer(folder: Path, text_encoder: Path) -> Path | None:
    places = (folder / "tokenizer", folder / "google" / "umt5-xxl")
    found = next((place for place in places if place.is_dir()), None)
    if found is None and text_encoder.is_dir():
        raise ValueError(
            f"{folder} lacks a folder tokenizer: that of any Wan model for diffusers, or of "
            "google/umt5-xxl"
        )
    return found


def _boundary(folder: Path) -> float | None:
    file = folder / "model_index.json"
    try:
        stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from None
    found = stored.get("boundary_ratio") if isinstance(stored, dict) else None
    return None if found is None else float(found)
