"""Wan over ComfyUI's own classes: films between two frames; the host samples and has the VRAM.

Condition and mask channels are made by the host's own nodes. For the 14B models the released
condition is one pass of the VAE over start, grey and end, so both ends are encoded together; the
image encoder of Wan 2.1 sees each end apart. Everything is encoded once, by content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.sample
import comfy.samplers
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from comfy_extras.nodes_wan import Wan22ImageToVideoLatent, WanFirstLastFrameToVideo
from einops import rearrange
from torch import Tensor

from ...stage_core.backends.protocol import Grid, OnStep, Sampling, filming_seed
from ...stage_core.encoding.dual import Once, fitted
from ...stage_core.encoding.video_prompts import READS, video_negative, video_prompt
from ...stage_core.story.brief import ShotBrief
from ...stage_core.story.frames import HALVES, Keyframe, as_pixels
from ...stage_core.story.shot_list import Shot
from ...stage_core.story.timeline import Clip
from .preview import Preview
from .wan_checks import WanNetworks, check_networks, check_sight_width, check_text_width

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
SCHEDULES = comfy.samplers.KSampler.SCHEDULERS
_Report = Callable[[int], None]
_KEPT_TEXTS = 16
_KEPT_SIGHTS = 64
_KEPT_CONDITIONS = 8


@dataclass(frozen=True)
class WanSettings:
    """The sampler's settings; shots of more frames than `longest` are refused.

    Of two models the second takes over after `switch_at` steps, with a guidance of its own.
    """

    steps: int
    guidance: float
    shift: float
    sampler: str
    schedule: str
    longest: int
    switch_at: int = 0
    guidance_low: float = 1.0

    def overridden(self, sampling: Sampling) -> WanSettings:
        """These settings where `sampling` leaves them open."""
        steps = self.steps if sampling.steps is None else sampling.steps
        guidance = self.guidance, self.guidance_low
        high, low = guidance if sampling.guidance is None else (sampling.guidance,) * 2
        return replace(
            self,
            steps=steps,
            guidance=high,
            shift=self.shift if sampling.shift is None else sampling.shift,
            switch_at=round(self.switch_at * steps / self.steps),
            guidance_low=low,
        )


class NativeWan:
    """Films a shot from its start frame, its end frame or both."""

    # The node that films names the model by the graph above it.
    identity = "ComfyUI Wan"
    reads = READS

    def __init__(self, networks: WanNetworks, settings: WanSettings, grid: Grid):
        """Raises ValueError, in one sentence, for networks that do not belong together."""
        check_networks(networks, grid)
        _phases(networks, settings)
        self.networks, self.settings, self.grid = networks, settings, grid
        self._texts: Once[list] = Once(_KEPT_TEXTS)
        self._sights: Once[Any] = Once(_KEPT_SIGHTS)
        self._conditions: Once[tuple[dict, dict]] = Once(_KEPT_CONDITIONS)

    @torch.no_grad()
    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip; its first and last frame are the keyframes themselves, where the model has
        filmed towards them.

        Raises:
            ValueError: no keyframe that this model can start from, or too long a shot.
        """
        shot, settings = brief.shot, self.settings.overridden(sampling)
        num_frames = self._num_frames(brief)
        ends = self._ends(shot, keyframes)
        on_step(shot, 0, settings.steps)
        order = self._order(brief, ends, num_frames, filming_seed(shot, sampling))
        report = lambda done: on_step(shot, done, settings.steps)  # noqa: E731
        latents = self._denoise(order, settings, report)
        images = rearrange(self.networks.vae.decode(latents), "1 t h w c -> t h w c")
        frames = torch.stack([as_pixels(image[..., :3]) for image in images])
        width, height = self.grid.size(brief.frame_format)
        for half, picture in ends.items():
            frames[0 if half == "start" else -1] = fitted(picture.image, width, height)
        return Clip(shot.id, frames, self.grid.rate)

    def _num_frames(self, brief: ShotBrief) -> int:
        num_frames = self.grid.num_frames(brief.shot, brief.frame_format)
        if num_frames > self.settings.longest:
            raise ValueError(
                f"shot {brief.shot.id}: {num_frames} frames at {self.grid.rate} per second, and "
                f"this model films {self.settings.longest} well; shorten or divide the shot, or "
                "raise 'longest'"
            )
        return num_frames

    def _ends(self, shot: Shot, keyframes: tuple[Keyframe, ...]) -> dict[str, Keyframe]:
        """The keyframes by half, as far as the model films towards them."""
        places = {0: "start", shot.num_frames - 1: "end"}
        ends = {places.get(keyframe.index, ""): keyframe for keyframe in keyframes}
        if "" in ends:
            raise ValueError(
                f"shot {shot.id}: a keyframe at {ends[''].index}; Wan films between a start and "
                "an end frame"
            )
        if self.networks.start_only:
            ends.pop("end", None)
        if not ends:
            wanted = "start frame" if self.networks.start_only else "start or end frame"
            raise ValueError(f"shot {shot.id} has no {wanted}, and this model films from one")
        return ends

    def _order(
        self, brief: ShotBrief, ends: dict[str, Keyframe], num_frames: int, seed: int
    ) -> _Order:
        width, height = self.grid.size(brief.frame_format)
        images = {
            half: fitted(keyframe.image, width, height).unsqueeze(0).float().div(255)
            for half, keyframe in ends.items()
        }
        digests = tuple(ends[h].picture.digest if h in ends else "" for h in HALVES)
        texts = [self._text(words) for words in (video_prompt(brief), video_negative(brief))]
        sights = {half: self._sight(images[half], ends[half]) for half in ends}
        make = self._held_start if self.networks.start_only else self._filled_between
        values, latent = self._conditions.get(
            (digests, width, height, num_frames), lambda: make(images, sights, num_frames)
        )
        positive, negative = (node_helpers.conditioning_set_values(t, values) for t in texts)
        return _Order(positive, negative, latent["samples"], latent.get("noise_mask"), seed)

    def _text(self, words: str) -> list:
        clip = self.networks.clip

        def encode() -> list:
            conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(words))
            check_text_width(self.networks, conditioning[0][0].shape[-1])
            return conditioning

        return self._texts.get(words, encode)

    def _sight(self, image: Tensor, keyframe: Keyframe) -> Any:
        """What the image encoder sees in one end, or None where the model has none."""
        if not self.networks.sees_frames:
            return None

        def encode() -> Any:
            # The whole picture, squeezed to the encoder's square, as the model was trained.
            seen = self.networks.clip_vision.encode_image(image, crop=False)
            check_sight_width(self.networks, seen.penultimate_hidden_states.shape[-1])
            return seen

        key = keyframe.picture.digest, tuple(image.shape)
        return self._sights.get(key, encode)

    def _filled_between(
        self, images: dict[str, Tensor], sights: dict[str, Any], num_frames: int
    ) -> tuple[dict, dict]:
        """One pass of the VAE over the ends with grey between, as released."""
        _, height, width, _ = next(iter(images.values())).shape
        nothing = [[None, {}]]
        positive, _, latent = WanFirstLastFrameToVideo.execute(
            nothing,
            nothing,
            self.networks.vae,
            width,
            height,
            num_frames,
            1,
            start_image=images.get("start"),
            end_image=images.get("end"),
            clip_vision_start_image=sights.get("start"),
            clip_vision_end_image=sights.get("end"),
        ).result
        return positive[0][1], latent

    def _held_start(
        self, images: dict[str, Tensor], sights: dict[str, Any], num_frames: int
    ) -> tuple[dict, dict]:
        """The start in its place in the latents, held while the rest is sampled."""
        _, height, width, _ = images["start"].shape
        (latent,) = Wan22ImageToVideoLatent.execute(
            self.networks.vae, width, height, num_frames, 1, start_image=images["start"]
        ).result
        return {}, latent

    def _denoise(self, order: _Order, settings: WanSettings, report: _Report) -> Tensor:
        """The latents [1, C, T, h, w] of an order, sampled by the host."""
        # As the host's own samplers draw it, but leaving the global generator alone.
        generator = torch.Generator().manual_seed(order.seed)
        noise = torch.randn(order.latents.shape, generator=generator)
        for phase in _phases(self.networks, settings):
            latents = _sampled(phase, order, settings, noise, report)
            order, noise = replace(order, latents=latents), torch.zeros_like(noise)
        return order.latents


@dataclass(frozen=True, eq=False)
class _Order:
    """All that sampling depends on but the settings; `latents` [1, C, T, h, w]."""

    positive: list
    negative: list
    latents: Tensor
    noise_mask: Tensor | None
    seed: int


@dataclass(frozen=True, eq=False)
class _Phase:
    """The steps that one model makes."""

    model: ModelPatcher
    guidance: float
    first: int
    last: int


def _phases(networks: WanNetworks, settings: WanSettings) -> tuple[_Phase, ...]:
    steps, switch_at = settings.steps, settings.switch_at
    if networks.low is None:
        return (_Phase(networks.high, settings.guidance, 0, steps),)
    if not 0 < switch_at < steps:
        raise ValueError(
            f"switch_at {switch_at} of {steps} steps leaves one of the two models none; use 1 to "
            f"{steps - 1}, or leave model_low empty"
        )
    return (
        _Phase(networks.high, settings.guidance, 0, switch_at),
        _Phase(networks.low, settings.guidance_low, switch_at, steps),
    )


def _sampled(
    phase: _Phase, order: _Order, settings: WanSettings, noise: Tensor, report: _Report
) -> Tensor:
    """The latents after the steps of a phase, with the noise that is left in them."""
    (model,) = ModelSamplingSD3().patch(phase.model, settings.shift)
    return comfy.sample.sample(
        model,
        noise,
        settings.steps,
        phase.guidance,
        settings.sampler,
        settings.schedule,
        order.positive,
        order.negative,
        comfy.sample.fix_empty_latent_channels(model, order.latents),
        disable_noise=phase.first > 0,
        start_step=phase.first,
        last_step=phase.last,
        force_full_denoise=phase.last == settings.steps,
        noise_mask=order.noise_mask,
        callback=_callback(phase, model, report),
        disable_pbar=True,
        seed=order.seed,
    )


def _callback(phase: _Phase, model: ModelPatcher, report: _Report) -> Callable:
    preview, told = Preview(model), [phase.first]

    def callback(step: int, denoised: Tensor, noisy: Tensor, total: int) -> None:
        # Some samplers of the host report a step twice, or one more than there are.
        done = min(phase.first + step + 1, phase.last)
        if done > told[0]:
            told[0] = done
            report(done)
        middle = denoised.shape[2] // 2
        preview.show(denoised[:, :, middle : middle + 1])

    return callback
