"""How much a picture has to do with a shot's words, as a CLIP in a local folder sees it.

Source: Radford et al. 2021, arXiv:2103.00020; the ranking is that of arXiv:2512.12372.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ..encoding.dual import VISION_DEVIATION, VISION_MEAN, Once, fitted
from ..encoding.ranking import Relevance, similarity
from ..errors import MissingPackageError
from ..media import sha256
from ..models.checkpoint import fingerprint, open_weights, read_config
from ..story.frames import Picture
from ..story.shot_list import Shot

_CLIP = "a CLIP model"
_KIND = "clip"
_INSTALL = 'pip install "stage-film[diffusers]"'
_KEPT_PICTURES, _KEPT_TEXTS = 4096, 64
_SMALL_FILES = (".json", ".txt")


@dataclass(frozen=True, eq=False)
class _Encoder:
    """The model and its tokenizer; `side` of the square that it sees."""

    network: Any
    tokenizer: Any
    side: int


class ClipRelevance:
    """Ranks pictures by their likeness to a shot's words; each is looked at once, by content.

    The weights are read when the first picture is ranked.
    """

    def __init__(self, folder: Path):
        """Open the folder, as transformers lays it out.

        Raises:
            ValueError: it does not hold a CLIP model.
        """
        weights, config = open_weights(folder, _CLIP), read_config(folder) or {}
        if config.get("model_type") != _KIND:
            kind = config.get("model_type", "nothing")
            raise ValueError(f"{folder} holds {kind} by its config.json; it should hold {_CLIP}")
        small = sorted(file for file in folder.iterdir() if file.suffix in _SMALL_FILES)
        parts = [fingerprint(weights), *(f"{file.name} {sha256(file)}" for file in small)]
        self.identity = f"clip {hashlib.sha256(' '.join(parts).encode()).hexdigest()}"
        self._folder, self._encoder = folder, None
        self._pictures: Once[Tensor] = Once(_KEPT_PICTURES)
        self._texts: Once[Tensor] = Once(_KEPT_TEXTS)

    def relevance(self, newest: Picture) -> Relevance:
        """Likeness of words and picture, whatever shot comes before."""
        return self._relevance

    def _relevance(self, shot: Shot, picture: Picture) -> float:
        words = shot_words(shot)
        text = self._texts.get(words, lambda: self._read(words))
        return similarity(text, self._pictures.get(picture.digest, lambda: self._see(picture)))

    @torch.no_grad()
    def _read(self, words: str) -> Tensor:
        encoder = self._loaded()
        longest = encoder.network.config.text_config.max_position_embeddings
        tokens = encoder.tokenizer(words, truncation=True, max_length=longest, return_tensors="pt")
        return _unit(encoder.network.get_text_features(**tokens))

    @torch.no_grad()
    def _see(self, picture: Picture) -> Tensor:
        encoder = self._loaded()
        pixels = fitted(picture.image, encoder.side, encoder.side).float() / 255
        pixels = (pixels - torch.tensor(VISION_MEAN)) / torch.tensor(VISION_DEVIATION)
        return _unit(encoder.network.get_image_features(rearrange(pixels, "h w c -> 1 c h w")))

    def _loaded(self) -> _Encoder:
        if self._encoder is None:
            self._encoder = _load(self._folder)
        return self._encoder


def shot_words(shot: Shot) -> str:
    """What a picture is compared with: what is seen where, and who; CLIP reads 77 tokens."""
    made = (shot.description, shot.scene.place, ", ".join(shot.cast))
    return shot.prompt or ". ".join(filter(None, made))


def _load(folder: Path) -> _Encoder:
    try:
        import transformers
    except ImportError:
        raise MissingPackageError(
            f"ranking by CLIP needs transformers; install it with {_INSTALL}"
        ) from None
    local = {"local_files_only": True}
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, **local)
        network = transformers.CLIPModel.from_pretrained(folder, use_safetensors=True, **local)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder} does not hold {_CLIP}: {reason}") from None
    return _Encoder(network.eval(), tokenizer, network.config.vision_config.image_size)


def _unit(found: Any) -> Tensor:
    """A unit vector [D] of features [1, D], which newer libraries wrap."""
    features = getattr(found, "pooler_output", found)
    return functional.normalize(features[0].float(), dim=0)
