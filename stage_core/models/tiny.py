"""A small network of the shape of the large ones: a VAE, a text encoder that sees, an MMDiT.

Its weights are random but seeded, so it makes abstract fields of colour, which nevertheless
depend on all that a trained model's pictures depend on.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 64
HEADS = 4
LATENT_CHANNELS = 16
MAX_TEXT_TOKENS = 48
_PATCH = 32
_BLOCK = 8
_COLOURS = ((1, 1, 1), (1, 0, -1), (1, -2, 1))
_LOWEST = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1))
# Colour axis (brightness first), vertical and horizontal frequency of each latent channel.
_WAVES = tuple((0, *uv) for uv in _LOWEST) + tuple((c, *uv) for c in (1, 2) for uv in _LOWEST[:4])
_AXES = (4, 6, 6)
_THETA = 1000.0
# Random queries and keys barely agree, so that unsharpened attention would average all tokens.
_SHARPNESS = 3.0


class _Unset:
    """A layer without weights yet: torch's initialisation would move its global generator."""

    def reset_parameters(self):
        """Leaves the weights to `tiny_networks`."""


class _Linear(_Unset, nn.Linear):
    pass


class _Embedding(_Unset, nn.Embedding):
    pass


class TinyVAE(nn.Module):
    """Pixels to latents of an eighth of each side, and back, blurred: 16 of 192 numbers stay.

    A convolution with the lowest frequencies of 8x8 blocks, more of brightness than of colour,
    each scaled to the variance of 1 that a trained VAE's latents have.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("basis", torch.stack([_wave(*wave) for wave in _WAVES]))
        spread = [(5.0 if colour == 0 else 2.0) / (1 + u + v) for colour, u, v in _WAVES]
        self.register_buffer("spread", torch.tensor(spread)[:, None, None, None])

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents [B, 16, H/8, W/8] of pixels [B, 3, H, W] in [0, 1]."""
        return functional.conv2d(2 * pixels - 1, self.basis / self.spread, stride=_BLOCK)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, 8h, 8w] in [0, 1] of latents [B, 16, h, w]."""
        waves = functional.conv_transpose2d(latents, self.basis * self.spread, stride=_BLOCK)
        return (waves / 2 + 0.5).clamp(0, 1)


class TinyTextEncoder(nn.Module):
    """A prompt, and a picture it may speak of, as tokens that know of each other."""

    def __init__(self):
        super().__init__()
        self.bytes = _Embedding(256, WIDTH)
        self.patches = _Linear(3 * _PATCH * _PATCH, WIDTH)
        self.qkv = _Linear(WIDTH, 3 * WIDTH)
        self.out = _square()
        self.mlp = _mlp()

    def forward(self, prompt: str, picture: Tensor | None = None) -> Tensor:
        """Tokens [1, L, D] of `prompt`, then those of a picture [1, 3, H, W] in [0, 1].

        A long prompt is averaged into 48 tokens, so that every byte of it counts.
        """
        tokens = self._words(prompt)
        if picture is not None:
            tokens = torch.cat([tokens, self._patches(picture)], dim=1)
        tokens = tokens + self.out(_attend(*_heads(self.qkv(_norm(tokens)))))
        return _norm(tokens + self.mlp(_norm(tokens)))

    def _words(self, prompt: str) -> Tensor:
        # The leading space gives the empty prompt, which guidance needs, a token.
        codes = torch.tensor([list(f" {prompt}".encode("utf-8", "replace"))])
        length = codes.shape[1]
        words = self.bytes(codes) + _sinusoids(torch.arange(length), WIDTH)
        if length <= MAX_TEXT_TOKENS:
            return words
        # An average of n independent bytes shrinks by the root of n.
        mean = functional.adaptive_avg_pool1d(words.mT, MAX_TEXT_TOKENS).mT
        return mean * math.sqrt(length / MAX_TEXT_TOKENS)

    def _patches(self, picture: Tensor) -> Tensor:
        size = (3 * _PATCH, 5 * _PATCH)
        seen = functional.interpolate(picture, size, mode="bilinear", antialias=True)
        patches = rearrange(
            2 * seen - 1, "b c (h ph) (w pw) -> b (h w) (c ph pw)", ph=_PATCH, pw=_PATCH
        )
        return self.patches(patches)


class TinyTransformer(nn.Module):
    """Predicts velocities: text and pictures in one attention, each with weights of its own."""

    def __init__(self, num_blocks: int = 2):
        super().__init__()
        self.tokens_in = _Linear(4 * LATENT_CHANNELS, WIDTH)
        self.time = nn.Sequential(_square(), nn.SiLU(), _square(), nn.SiLU())
        self.blocks = nn.ModuleList(_JointBlock() for _ in range(num_blocks))
        self.out_modulation = _Linear(WIDTH, 2 * WIDTH)
        self.tokens_out = _Linear(WIDTH, 4 * LATENT_CHANNELS)

    def forward(self, tokens: Tensor, positions: Tensor, text: Tensor, sigma: float) -> Tensor:
        """Velocities [1, N, 64] of all picture tokens.

        Args:
            tokens: [1, N, 64], those to be denoised and those of memory frames.
            positions: [N, 3], frame, row and column.
            text: [1, L, D], from TinyTextEncoder.
            sigma: the noise level of the tokens to be denoised.
        """
        time = self.time(_sinusoids(torch.tensor([1000 * sigma]), WIDTH))  # [1, D]
        rotation = _rotation(torch.cat([positions, _text_positions(positions, text.shape[1])]))
        picture = self.tokens_in(tokens)
        for block in self.blocks:
            picture, text = block(picture, text, time, rotation)
        shift, scale = rearrange(self.out_modulation(time), "b (two d) -> two b 1 d", two=2)
        return self.tokens_out(_norm(picture) * (1 + scale) + shift)


class TinyNetworks(nn.Module):
    """The three networks with the weights of one seed."""

    def __init__(self):
        super().__init__()
        self.vae = TinyVAE()
        self.text_encoder = TinyTextEncoder()
        self.transformer = TinyTransformer()


def tiny_networks(seed: int) -> TinyNetworks:
    """Networks whose weights depend on `seed` alone; torch's own generator is left untouched."""
    networks = TinyNetworks().requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in networks.named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        else:
            fan_in = 1 if "bytes" in name else weight[0].numel()
            weight.normal_(0, 1 / math.sqrt(fan_in), generator=generator)
    return networks


class _Stream(nn.Module):
    """What a block owns for one of its two kinds of tokens."""

    def __init__(self):
        super().__init__()
        self.modulation = _Linear(WIDTH, 6 * WIDTH)
        self.qkv = _Linear(WIDTH, 3 * WIDTH)
        self.out = _square()
        self.mlp = _mlp()

    def modulations(self, time: Tensor) -> Tensor:
        """Shift, scale and gate of attention, then of the MLP, [6, 1, 1, D]."""
        return rearrange(self.modulation(time), "b (six d) -> six b 1 d", six=6)


class _JointBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.picture = _Stream()
        self.text = _Stream()

    def forward(
        self, picture: Tensor, text: Tensor, time: Tensor, rotation: Tensor
    ) -> tuple[Tensor, Tensor]:
        streams = ((self.picture, picture), (self.text, text))
        modulations = [stream.modulations(time) for stream, _ in streams]
        heads = [
            _heads(stream.qkv(_norm(tokens) * (1 + scale) + shift))
            for (stream, tokens), (shift, scale, *_) in zip(streams, modulations, strict=True)
        ]
        query, key, value = (torch.cat(both, dim=2) for both in zip(*heads, strict=True))
        mixed = _attend(_rotate(query, rotation), _rotate(key, rotation), value)
        shares = mixed.split([picture.shape[1], text.shape[1]], dim=1)
        results = []
        for (stream, tokens), share, (_, _, gate, shift, scale, mlp_gate) in zip(
            streams, shares, modulations, strict=True
        ):
            tokens = tokens + gate * stream.out(share)
            tokens = tokens + mlp_gate * stream.mlp(_norm(tokens) * (1 + scale) + shift)
            results.append(tokens)
        return tuple(results)


def _wave(colour: int, vertical: int, horizontal: int) -> Tensor:
    """A wave of unit norm in a block of 8x8 pixels, [3, 8, 8]; two different ones are orthogonal.

    Source: Ahmed, Natarajan and Rao 1974, Discrete Cosine Transform.
    """
    places = (torch.arange(_BLOCK) + 0.5) * math.pi / _BLOCK
    rows, columns = torch.cos(vertical * places), torch.cos(horizontal * places)
    wave = torch.einsum("c,h,w->chw", torch.tensor(_COLOURS[colour]).float(), rows, columns)
    return wave / wave.norm()


def _square() -> nn.Linear:
    return _Linear(WIDTH, WIDTH)


def _mlp() -> nn.Sequential:
    return nn.Sequential(_Linear(WIDTH, 4 * WIDTH), nn.GELU(), _Linear(4 * WIDTH, WIDTH))


def _norm(tokens: Tensor) -> Tensor:
    return functional.layer_norm(tokens, tokens.shape[-1:])


def _heads(qkv: Tensor) -> Tensor:
    """Query, key and value, each [B, heads, N, D / heads]."""
    return rearrange(qkv, "b n (three heads d) -> three b heads n d", three=3, heads=HEADS)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    # Norms that a rotation keeps: with a mean taken off, positions would not be relative.
    query, key = (functional.rms_norm(heads, heads.shape[-1:]) for heads in (query, key))
    mixed = functional.scaled_dot_product_attention(_SHARPNESS * query, key, value)
    return rearrange(mixed, "b heads n d -> b n (heads d)")


def _sinusoids(places: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of `places` [N] at falling frequencies, [N, width]."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / half)
    angles = places[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _text_positions(positions: Tensor, length: int) -> Tensor:
    """Places of text tokens, [L, 3]: on the diagonal of all axes, after every picture."""
    first = positions.max() + 1
    return repeat(first + torch.arange(length), "l -> l axes", axes=3)


def _rotation(positions: Tensor) -> Tensor:
    """Rotary factors [N, D / heads / 2], complex, the axes one after another."""
    angles = [
        positions[:, axis, None] * _THETA ** (-torch.arange(0, size, 2) / size)
        for axis, size in enumerate(_AXES)
    ]
    angles = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(angles), angles)


def _rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    pairs = torch.view_as_complex(
        rearrange(heads, "b h n (d two) -> b h n d two", two=2).contiguous()
    )
    return rearrange(torch.view_as_real(pairs * rotation), "b h n d two -> b h n (d two)")
