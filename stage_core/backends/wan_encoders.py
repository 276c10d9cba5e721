"""What goes into Wan's transformer and comes out of it: words, pictures, videos as latents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..encoding.dual import VISION_DEVIATION, VISION_MEAN, Once

# Numbers that the VAE has at a time for each pixel, and more for each frame: counted on shapes.
_NUMBERS_OF_PIXEL, _NUMBERS_OF_FRAME = 5400, 4
_TOKENS = 512
_KEPT_WORDS = 64
_KEPT_SIGHTS = 64


class WanVAE:
    """Videos to normalised latents and back, in the file's dtype; the first frame is apart.

    `num_tiled` videos were decoded in tiles so far, for want of VRAM.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.num_tiled = 0
        config = network.config
        self.channels: int = config.z_dim
        self.side: int = config.scale_factor_spatial
        self.stride: int = config.scale_factor_temporal
        self._mean, self._deviation = (
            torch.tensor(values)[None, :, None, None, None]
            for values in (config.latents_mean, config.latents_std)
        )

    def work_bytes(self, num_frames: int, width: int, height: int) -> int:
        """What decoding a video of this size takes besides weights, which encoding does not."""
        count = (_NUMBERS_OF_PIXEL + _NUMBERS_OF_FRAME * num_frames) * width * height
        return count * next(self.network.parameters()).element_size()

    def encode(self, video: Tensor) -> Tensor:
        """Latents [1, C, T, h, w], float32 on the CPU, of a video [1, 3, F, H, W] in [-1, 1]."""
        weight = next(self.network.parameters())
        latents = self.network.encode(video.to(weight)).latent_dist.mode().float().cpu()
        return (latents - self._mean.to(latents)) * (1.0 / self._deviation.to(latents))

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [F, H, W, 3] in [0, 1] of latents [1, C, T, h, w]."""
        latents = latents.to(next(self.network.parameters()))
        raw = latents / (1.0 / self._deviation.to(latents)) + self._mean.to(latents)
        video = self._whole(raw)
        video = self._in_tiles(raw) if video is None else video
        return rearrange((video.float() * 0.5 + 0.5).clamp(0, 1), "1 c t h w -> t h w c")

    def _whole(self, raw: Tensor) -> Tensor | None:
        """The video in one piece; None where VRAM does not suffice, and nothing of it is left."""
        try:
            return self.network.decode(raw).sample
        except torch.OutOfMemoryError:
            return None

    def _in_tiles(self, raw: Tensor) -> Tensor:
        """The video tile by tile: its seams are blended, so it is not quite the same."""
        self.num_tiled += 1
        if raw.is_cuda:
            torch.cuda.empty_cache()
        self.network.enable_tiling()
        try:
            return self.network.decode(raw).sample
        finally:
            self.network.disable_tiling()


class WanText:
    """Words as UMT5 reads them, each text once.

    `network` is the encoder alone; `tokenize` gives the tokens of a text with their end.
    """

    def __init__(self, network: nn.Module, tokenize: Callable[[str], list[int]]):
        self.network, self._tokenize = network, tokenize
        self._encoded: Once[Tensor] = Once(_KEPT_WORDS)

    def has(self, words: str) -> bool:
        """Whether these words were read and are remembered."""
        return words in self._encoded

    def encode(self, words: str) -> Tensor:
        """What the transformer reads, [1, 512, D] on the CPU: beyond the words zeros."""
        return self._encoded.get(words, lambda: self._encode(words))

    def rehearse(self) -> None:
        """The longest text, without numbers, which tells how much memory one needs."""
        self.network(input_ids=torch.zeros(1, _TOKENS, dtype=torch.long, device="meta"))

    def _encode(self, words: str) -> Tensor:
        ids = self._tokenize(" ".join(words.split()))
        # A longer text loses its end, but not the token that ends it.
        ids = ids[: _TOKENS - 1] + ids[-1:] if len(ids) > _TOKENS else ids
        tokens = torch.tensor([ids], device=next(self.network.parameters()).device)
        # Without the padding that the library adds and masks: the numbers are the same.
        hidden = self.network(input_ids=tokens).last_hidden_state
        return functional.pad(hidden, (0, 0, 0, _TOKENS - hidden.shape[1])).cpu()


class WanSight:
    """What a picture shows, as the image encoder of Wan 2.1 sees it; each picture once."""

    def __init__(self, network: nn.Module):
        self.network = network
        self._seen: Once[Tensor] = Once(_KEPT_SIGHTS)

    def has(self, digest: str) -> bool:
        """Whether a picture of this digest was seen and is remembered."""
        return digest in self._seen

    def see(self, digest: str, image: Tensor) -> Tensor:
        """The last hidden states but one, [1, P, D] on the CPU, of pixels [H, W, 3] uint8.

        `digest` stands for the picture.
        """
        return self._seen.get(digest, lambda: self._see(image))

    def _see(self, image: Tensor) -> Tensor:
        side = self.network.config.image_size
        pixels = rearrange(image, "h w c -> 1 c h w").float() / 255
        # The whole picture, squeezed to a square, as the model was trained.
        pixels = functional.interpolate(
            pixels, (side, side), mode="bicubic", align_corners=False, antialias=True
        ).clamp(0, 1)
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (VISION_MEAN, VISION_DEVIATION))
        seen = ((pixels - mean) / deviation).to(next(self.network.parameters()))
        return self.network(seen, output_hidden_states=True).hidden_states[-2].cpu()
