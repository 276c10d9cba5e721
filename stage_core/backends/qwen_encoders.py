"""The libraries' encoders of Qwen-Image-Edit: pixels to latents and back, prompts to embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from ..encoding.dual import VAE_SIDE, Once, merged, read_at, vae_pixels, vision_patches
from ..encoding.positions import vision_language_positions
from ..encoding.prompts import PICTURE_TOKEN, Templates, with_picture
from ..story.frames import Picture

_KEPT_PICTURES = 64
# Numbers that the VAE has at a time for each pixel: counted on shapes.
_NUMBERS_READ, _NUMBERS_SHOWN = 1000, 1800

Turn = Callable[[], None]
"""Gives a network the device to itself."""


def _nobodys(*_: int) -> None:
    """All networks are where they compute."""


class QwenVAE:
    """Pixels to normalised latents of an eighth of each side, and back, in the file's dtype.

    `turn` is called before the network is, with the bytes that its work takes at most.
    """

    def __init__(self, network: nn.Module, turn: Callable[[int], None] = _nobodys):
        self.network = network
        self._turn = turn
        weight = next(network.parameters())
        self._mean, deviation = (
            torch.tensor(values, dtype=weight.dtype, device=weight.device)[None, :, None, None]
            for values in (network.config.latents_mean, network.config.latents_std)
        )
        self._factor = 1.0 / deviation

    def encode(self, image: Tensor) -> Tensor:
        """Latents [1, 16, H/8, W/8] of pixels [H, W, 3] uint8, sides multiples of 8."""
        return self.normalised(vae_pixels(image))

    def normalised(self, pixels: Tensor) -> Tensor:
        """As `encode`, of pixels [1, 3, H, W] in [-1, 1]."""
        self._begin(_NUMBERS_READ * pixels[:, 0].numel())
        clip = rearrange(pixels.to(self._mean), "b c h w -> b c 1 h w")
        distribution = self.network.encode(clip).latent_dist
        return (distribution.mode()[:, :, 0] - self._mean) * self._factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [1, 3, 8h, 8w] in [0, 1] of latents [1, 16, h, w]."""
        self._begin(_NUMBERS_SHOWN * latents[:, 0].numel() * VAE_SIDE**2)
        raw = latents.to(self._mean) / self._factor + self._mean
        clip = self.network.decode(rearrange(raw, "b c h w -> b c 1 h w")).sample
        return (clip[:, :, 0] * 0.5 + 0.5).clamp(0, 1)

    def _begin(self, count: int) -> None:
        """Have the device, for work with so many numbers."""
        self._turn(count * self._mean.element_size())


class QwenTextEncoder:
    """A prompt, read together with the picture it is about.

    Every picture is seen once by the vision tower, every prompt is encoded once for its picture.
    `turn` is called before the network is.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenize: Callable[[str], list[int]],
        templates: Templates,
        area: int | None,
        turn: Turn = _nobodys,
    ):
        self.network = network
        self._turn = turn
        self._tokenize, self._templates, self._area = tokenize, templates, area
        (self._picture_token,) = tokenize(PICTURE_TOKEN)
        self._seen: Once[tuple[Tensor, tuple[int, int]]] = Once(_KEPT_PICTURES)
        self._encoded: Once[Tensor] = Once(4)

    def encode(self, words: str, picture: Picture | None) -> Tensor:
        """What the transformer reads, [1, L, D]: the last hidden states after the final norm.

        Raises:
            ValueError: the words hold tokens that stand for a picture.
        """
        key = words, picture.digest if picture else None
        return self._encoded.get(key, lambda: self._encode(words, picture))

    def _encode(self, words: str, picture: Picture | None) -> Tensor:
        self._turn()
        template, grid, features = self._templates.words_only, (0, 0), None
        if picture is not None:
            template = self._templates.with_picture
            features, grid = self._seen.get(picture.digest, lambda: self._see(picture))
            words = with_picture(words, len(features), self._templates.picture)
        ids = template.token_ids(words, self._tokenize)
        # Given explicitly: recent libraries otherwise count all tokens as words, without a word.
        positions = vision_language_positions(ids, self._picture_token, grid)
        device = next(self.network.parameters()).device
        tokens = torch.tensor([ids], device=device)
        embeddings = self.network.get_input_embeddings()(tokens)
        if features is not None:
            embeddings[tokens == self._picture_token] = features
        hidden = self.network.language_model(
            inputs_embeds=embeddings, position_ids=positions.to(device), use_cache=False
        ).last_hidden_state
        return hidden[:, template.dropped(self._tokenize) :]

    def _see(self, picture: Picture) -> tuple[Tensor, tuple[int, int]]:
        """The picture's tokens [N, D], and their rows and columns."""
        patches, grid = vision_patches(read_at(picture.image, self._area))
        weight = next(self.network.visual.parameters())
        sizes = torch.tensor([[1, *grid]], device=weight.device)
        found = self.network.get_image_features(patches.to(weight), sizes)
        return torch.cat(tuple(getattr(found, "pooler_output", found))), merged(grid)
