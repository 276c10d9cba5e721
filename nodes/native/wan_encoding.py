"""Words and pictures of shots as conditions of Wan, by the host's own nodes, once by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.utils
import node_helpers
import torch
from comfy_extras.nodes_wan import (
    Wan22ImageToVideoLatent,
    WanFirstLastFrameToVideo,
    WanVaceToVideo,
)
from torch import Tensor
from torch.nn import functional

from ...stage_core.encoding.dual import Once, fitted
from ...stage_core.encoding.video_prompts import video_negative, video_prompt
from ...stage_core.story.brief import ShotBrief
from ...stage_core.story.frames import Picture
from .wan_checks import NativeWanNetworks, check_sight_width, check_text_width
from .wan_sampling import Order

_GREY, _WHITE = 0.5, 1.0
_NOTHING = [[None, {}]]
_KEPT_TEXTS = 64
_KEPT_SIGHTS = 64
_KEPT_CONDITIONS = 8
_Use = Callable[[str], None]
"""Called with the name of a network that is about to be used."""
_Sights = tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Plates:
    """What a shot is filmed from: pictures at places of its `num_frames`, and those of its cast.

    `width`, `height`: of the clip.
    """

    pictures: dict[int, Picture]
    references: tuple[Picture, ...]
    num_frames: int
    width: int
    height: int

    @property
    def start(self) -> Picture | None:
        """The picture of the first frame."""
        return self.pictures.get(0)

    @property
    def end(self) -> Picture | None:
        """The picture of the last frame."""
        return self.pictures.get(self.num_frames - 1) if self.num_frames > 1 else None

    @property
    def key(self) -> tuple:
        """Equal for plates that make equal conditions."""
        places = tuple((index, self.pictures[index].digest) for index in sorted(self.pictures))
        references = tuple(picture.digest for picture in self.references)
        return places, references, self.num_frames, self.width, self.height

    @property
    def num_bytes(self) -> int:
        """Bytes of the clip's latents, of most models: 16 numbers for 4 frames of 8 by 8 pixels."""
        return self.num_frames // 4 * (self.width // 8) * (self.height // 8) * 16 * 4 + 1

    def seen(self, picture: Picture) -> Tensor:
        """A picture [1, H, W, 3] that fills the frame, in [0, 1]."""
        return fitted(picture.image, self.width, self.height).unsqueeze(0).float().div(255)


class Encoders:
    """The encoders of a model; what they have made is kept for as long as it may be used."""

    def __init__(self, networks: NativeWanNetworks):
        self.networks = networks
        self._texts: Once[list] = Once(_KEPT_TEXTS)
        self._sights: Once[Any] = Once(_KEPT_SIGHTS)
        self._references: Once[Tensor] = Once(_KEPT_SIGHTS)
        self._conditions: Once[tuple[dict, dict]] = Once(_KEPT_CONDITIONS)

    def texts(self, brief: ShotBrief, use: _Use) -> tuple[list, list]:
        """The prompt and the negative of a shot."""
        return self._text(video_prompt(brief), use), self._text(video_negative(brief), use)

    def order(
        self, texts: tuple[list, list], sights: _Sights, plates: Plates, seed: int, use: _Use
    ) -> Order:
        """All that sampling a shot depends on, of what `texts` and `sights` gave for it."""

        def encode() -> tuple[dict, dict]:
            use("vae")
            if self.networks.is_vace:
                return self._through_keyframes(plates)
            if self.networks.start_only:
                return self._held_start(plates)
            return self._filled_between(plates, sights)

        values, latent = self._conditions.get(plates.key, encode)
        positive, negative = (node_helpers.conditioning_set_values(t, values) for t in texts)
        return Order(
            positive,
            negative,
            latent["samples"],
            latent.get("noise_mask"),
            seed,
        )

    def sights(self, plates: Plates, use: _Use) -> _Sights:
        """What the image encoder sees in the start and in the end; None where it sees nothing."""
        return tuple(self._sight(picture, plates, use) for picture in (plates.start, plates.end))

    def _sight(self, picture: Picture | None, plates: Plates, use: _Use) -> Any:
        if picture is None or not self.networks.sees_frames:
            return None

        def encode() -> Any:
            use("clip_vision")
            # The whole picture, squeezed to the encoder's square, as the model was trained.
            seen = self.networks.clip_vision.encode_image(plates.seen(picture), crop=False)
            check_sight_width(self.networks, seen.penultimate_hidden_states.shape[-1])
            return seen

        return self._sights.get((picture.digest, plates.width, plates.height), encode)

    def _text(self, words: str, use: _Use) -> list:
        clip = self.networks.clip

        def encode() -> list:
            use("clip")
            conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(words))
            check_text_width(self.networks, conditioning[0][0].shape[-1])
            return conditioning

        return self._texts.get(words, encode)

    def _filled_between(self, plates: Plates, sights: _Sights) -> tuple[dict, dict]:
        """One pass of the VAE over the ends with grey between, as released."""
        start, end = (
            None if picture is None else plates.seen(picture)
            for picture in (plates.start, plates.end)
        )
        positive, _, latent = WanFirstLastFrameToVideo.execute(
            _NOTHING,
            _NOTHING,
            self.networks.vae,
            plates.width,
            plates.height,
            plates.num_frames,
            1,
            start_image=start,
            end_image=end,
            clip_vision_start_image=sights[0],
            clip_vision_end_image=sights[1],
        ).result
        return positive[0][1], latent

    def _held_start(self, plates: Plates) -> tuple[dict, dict]:
        """The start in its place in the latents, held while the rest is sampled."""
        (latent,) = Wan22ImageToVideoLatent.execute(
            self.networks.vae,
            plates.width,
            plates.height,
            plates.num_frames,
            1,
            start_image=plates.seen(plates.start),
        ).result
        return {}, latent

    def _through_keyframes(self, plates: Plates) -> tuple[dict, dict]:
        """VACE: the pictures at their places in a grey film, and where it is to be filled; before
        it in time the references, each a film of one frame that is kept whole."""
        film = torch.full((plates.num_frames, plates.height, plates.width, 3), _GREY)
        mask = torch.ones(film.shape[:3])
        for index, picture in plates.pictures.items():
            film[index], mask[index] = plates.seen(picture)[0], 0.0
        positive, _, latent, _ = WanVaceToVideo.execute(
            _NOTHING,
            _NOTHING,
            self.networks.vae,
            plates.width,
            plates.height,
            plates.num_frames,
            1,
            1.0,
            control_video=film,
            control_masks=mask,
        ).result
        values, samples = dict(positive[0][1]), latent["samples"]
        (frames,), (kept,) = values["vace_frames"], values["vace_mask"]
        # The host's node takes one reference; the released model any number, in a row.
        shown = [self._reference(picture, plates) for picture in plates.references]
        frames = torch.cat([*(it.to(frames) for it in shown), frames], dim=2)
        kept, samples = (_longer(tensor, len(shown)) for tensor in (kept, samples))
        return {**values, "vace_frames": [frames], "vace_mask": [kept]}, {"samples": samples}

    def _reference(self, picture: Picture, plates: Plates) -> Tensor:
        """Latents [1, 2C, 1, h, w] of a whole picture on white, and of nothing to be changed."""

        def encode() -> Tensor:
            width, height = plates.width, plates.height
            latents = self.networks.vae.encode(_whole_on_white(picture.image, width, height))
            nothing = comfy.latent_formats.Wan21().process_out(torch.zeros_like(latents))
            return torch.cat([latents, nothing], dim=1)

        return self._references.get((picture.digest, plates.width, plates.height), encode)


def _whole_on_white(image: Tensor, width: int, height: int) -> Tensor:
    """A picture [H, W, 3] uint8, whole and upright in a white frame [1, height, width, 3]."""
    scale = min(width / image.shape[1], height / image.shape[0])
    wide, high = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    pixels = image.float().div(255).movedim(-1, 0).unsqueeze(0)
    pixels = comfy.utils.common_upscale(pixels, wide, high, "bilinear", "disabled")
    left, top = (width - wide) // 2, (height - high) // 2
    edges = (left, width - wide - left, top, height - high - top)
    return functional.pad(pixels, edges, value=_WHITE).movedim(1, -1)


def _longer(tensor: Tensor, num_references: int) -> Tensor:
    """[1, C, T, h, w] with so many more latents of zeros before it in time."""
    return functional.pad(tensor, (0, 0, 0, 0, num_references, 0))
