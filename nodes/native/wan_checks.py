"""Which Wan it is, and whether text encoder, VAE and second model belong to it; before sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE

from ...stage_core.backends.protocol import Grid

TEXT_ENCODER = "CLIPLoader, type wan, with umt5_xxl"
SMALL_MULTIPLE, LARGE_MULTIPLE = 16, 32
_UMT5 = "umt5"
_LATENT_CHANNELS = {16: "wan_2.1_vae", 48: "wan2.2_vae"}
# Noisy latents, their mask and the latents of the frames; the 5B holds its start in the latents.
_CHANNELS = {16: 36, 48: 48}


@dataclass(frozen=True, eq=False)
class NativeWanNetworks:
    """The host's networks of one shot model. `low` takes over from `high` when there is one."""

    high: ModelPatcher
    low: ModelPatcher | None
    clip: CLIP
    vae: VAE
    clip_vision: Any = None

    def num_bytes(self, network: str) -> int:
        """Bytes of the weights of a network, by the name of its socket; 0 where nobody knows."""
        models = {"model_high": self.high, "model_low": self.low}
        # Encoders that run elsewhere, as some packs have them, are no weights of this machine.
        patcher = models.get(network) or getattr(getattr(self, network, None), "patcher", None)
        return patcher.model_size() if patcher else 0

    @property
    def latent_channels(self) -> int:
        """16, or 48 for the 5B."""
        return self.high.get_model_object("latent_format").latent_channels

    @property
    def start_only(self) -> bool:
        """Whether the model films from the start frame alone."""
        return self.latent_channels == 48

    @property
    def is_vace(self) -> bool:
        """Whether the model films through keyframes at any time and looks at references."""
        return is_vace(self.high)

    @property
    def sees_frames(self) -> bool:
        """Whether the model reads the meaning of the frames through an image encoder."""
        return getattr(self.high.get_model_object("diffusion_model"), "img_emb", None) is not None


def is_vace(model: ModelPatcher) -> bool:
    """Whether a model reads keyframes and references beside the noise."""
    return hasattr(model.get_model_object("diffusion_model"), "vace_patch_embedding")


def check_networks(networks: NativeWanNetworks, grid: Grid) -> None:
    """Raises ValueError, in one sentence, for parts that do not belong together."""
    _check_model("model_high", networks.high)
    if networks.low is not None:
        _check_experts(networks)
    _check_vae(networks)
    if networks.start_only != (grid.multiple == LARGE_MULTIPLE):
        kind = "Wan 2.2 5B" if networks.start_only else "a 14B Wan"
        raise ValueError(f"model_high is {kind} and the settings are not; choose its own there")
    if networks.sees_frames and networks.clip_vision is None:
        raise ValueError(
            "model_high is a Wan 2.1 model, which also sees the frames through an image encoder; "
            "connect clip_vision: CLIPVisionLoader with clip_vision_h"
        )
    tokens = networks.clip.tokenize("")
    if not any(name.startswith(_UMT5) for name in tokens):
        raise ValueError(
            f"clip is a text encoder of another model ({', '.join(tokens)}); Wan needs "
            f"{TEXT_ENCODER}"
        )


def check_text_width(networks: NativeWanNetworks, width: int) -> None:
    """Raises ValueError for text of another width than the model reads."""
    wanted = networks.high.get_model_object("diffusion_model").text_dim
    if width != wanted:
        raise ValueError(
            f"clip gives text {width} wide and model_high reads {wanted}; connect {TEXT_ENCODER}"
        )


def check_sight_width(networks: NativeWanNetworks, width: int) -> None:
    """Raises ValueError for an image encoder of another width than the model reads."""
    wanted = networks.high.get_model_object("diffusion_model").img_emb.proj[0].weight.shape[0]
    if width != wanted:
        raise ValueError(
            f"clip_vision gives pictures {width} wide and model_high reads {wanted}; connect "
            "CLIPVisionLoader with clip_vision_h"
        )


def _check_model(socket: str, model: ModelPatcher) -> None:
    network = model.get_model_object("diffusion_model")
    latents = model.get_model_object("latent_format").latent_channels
    if not hasattr(network, "patch_embedding") or latents not in _CHANNELS:
        raise ValueError(
            f"{socket} is no Wan but a {type(model.model).__name__}; load an image-to-video Wan, "
            "such as wan2.2_i2v_high_noise_14B"
        )
    channels, wanted = network.patch_embedding.weight.shape[1], _CHANNELS[latents]
    if channels == wanted or is_vace(model):
        return
    if channels == latents:
        raise ValueError(
            f"{socket} is a text-to-video model: its patch embedding takes {channels} channels, "
            f"that of an image-to-video model {wanted}; load one with i2v or flf2v in its name"
        )
    raise ValueError(
        f"{socket} is a Wan for another use: its patch embedding takes {channels} channels, that "
        f"of an image-to-video model {wanted}; load one with i2v or flf2v in its name"
    )


def _check_experts(networks: NativeWanNetworks) -> None:
    high, low = networks.high, networks.low
    _check_model("model_low", low)
    if networks.start_only:
        raise ValueError("model_high is Wan 2.2 5B, which is one model; leave model_low empty")
    if networks.latent_channels != low.get_model_object("latent_format").latent_channels:
        raise ValueError("model_low is Wan 2.2 5B and model_high is not; load the low-noise 14B")
    if networks.is_vace != is_vace(low):
        vace, other = ("high", "low") if networks.is_vace else ("low", "high")
        raise ValueError(
            f"model_{vace} is a Wan VACE and model_{other} is not; load the two of one kind"
        )
    if high.model is low.model:
        raise ValueError(
            "model_high and model_low are the same model; load the high-noise file in one loader "
            "and the low-noise file in another, or leave model_low empty"
        )


def _check_vae(networks: NativeWanNetworks) -> None:
    vae, channels = networks.vae, networks.latent_channels
    if vae.latent_dim != 3:
        raise ValueError(f"vae is not for video; load {_LATENT_CHANNELS[channels]}")
    if vae.latent_channels != channels:
        raise ValueError(
            f"vae makes latents of {vae.latent_channels} channels and model_high reads "
            f"{channels}; load {_LATENT_CHANNELS[channels]}"
        )
