"""Latents of a shot that rest between two phases of filming, in a file of the film's folder."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .atomic import remove_older, replacing
from .errors import StorageError

ENDING = ".halfway.safetensors"
STALE_SECONDS = 14 * 24 * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HalfwayFile:
    """Where the latents of one take rest; `key` is what finds the take."""

    path: Path
    key: str

    @classmethod
    def of(cls, folder: Path, stem: str, key: str) -> HalfwayFile:
        """The file of a take: `2A_t02` and its key make `2A_t02_8c1f20b77d04.halfway...`."""
        return cls(folder / f"{stem}_{key[:12]}{ENDING}", key)

    def read(self) -> dict[str, Tensor] | None:
        """The tensors as they were written for this key, or None: none, damaged, another key."""
        # Comes with every diffusion library; a film that is made in one go does without.
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                stored = file.metadata() or {}
                # Copied: while a tensor lies in the file, Windows neither replaces nor removes it.
                names = list(file.keys())
                tensors = {name: file.get_tensor(name).clone() for name in names}
        except (SafetensorError, OSError) as error:
            _log.warning("%s is not used: %s", self.path, error)
            return None
        if stored.get("key") != self.key or stored.get("digest") != _digest(tensors):
            _log.warning("%s is not used: it is damaged, or of another take", self.path)
            return None
        return tensors

    def write(self, latents: dict[str, Tensor]) -> None:
        """Keep the tensors, whole or not at all.

        Raises:
            StorageError: the folder cannot be written to.
        """
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in latents.items()}
        content = save(tensors, {"key": self.key, "digest": _digest(tensors)})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write to {self.path.parent}: {error.strerror}") from error
        with replacing(self.path) as temporary:
            temporary.write_bytes(content)

    def remove(self) -> None:
        """Forget what was written."""
        self.path.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Remove latents that have waited for two weeks to be filmed on."""
    remove_older(folder, f"*{ENDING}", STALE_SECONDS)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}:".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()
