"""STEP2 over ComfyUI's own Qwen-Image-Edit: the host samples, patches weights and has the VRAM.

What is encoded, in which order and with which noise is the engine's; every network is the host's.
Changes to how the transformer is called lie on a clone of MODEL, for one drawing.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, replace
from typing import Any

import comfy.ldm.qwen_image.model
import comfy.ldm.wan.vae
import comfy.model_base
import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.text_encoders.qwen_image
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...stage_core.backends.protocol import Grid, Sampling
from ...stage_core.backends.qwen_edit import GRID, GUIDANCE, SHIFT, STEPS, DrawingOrder, QwenEdit
from ...stage_core.diffusion.canvas import PATCH, patchify, unpatchify
from ...stage_core.diffusion.guidance import guide
from ...stage_core.diffusion.sampling import OnSamplerStep
from ...stage_core.encoding.dual import EncoderAreas, Once, read_at, vision_pixels
from ...stage_core.encoding.positions import canvas_positions, text_positions
from ...stage_core.encoding.prompts import Template, Templates, with_picture
from ...stage_core.encoding.ranking import Likeness, Ranker
from ...stage_core.story.brief import ShotBrief
from ...stage_core.story.frames import Picture
from .preview import Preview

RELEASED = "released"
SCHEDULES = [RELEASED, *comfy.samplers.KSampler.SCHEDULERS]
SAMPLERS = comfy.samplers.KSampler.SAMPLERS
_POSITIONS = "diffusion_model.pe_embedder"
_TIMES = "diffusion_model.time_text_embed.time_proj"
_VISION = "qwen25_7b.transformer.preprocess_embed"
_LATENT_CHANNELS = 16
_KEPT_PICTURES = 64
_AREAS = EncoderAreas()


@dataclass(frozen=True)
class NativeSettings:
    """The sampler's settings; `schedule` is RELEASED or the name of a scheduler of the host."""

    steps: int = STEPS
    guidance: float = GUIDANCE
    shift: float = SHIFT
    sampler: str = "euler"
    schedule: str = RELEASED


class NativeQwenEdit(QwenEdit):
    """Draws pairs with any sampler of the host; a given half is held."""

    def __init__(
        self,
        networks: HostNetworks,
        settings: NativeSettings,
        grid: Grid = GRID,
        ranker: Ranker | None = None,
    ):
        super().__init__(networks, grid, ranker)
        self.settings = settings

    @torch.no_grad()
    def order(self, brief: ShotBrief, sampling: Sampling) -> DrawingOrder:
        """As the engine's, with the settings of the node where `sampling` leaves them open."""
        own = self.settings
        chosen = replace(
            sampling,
            steps=own.steps if sampling.steps is None else sampling.steps,
            guidance=own.guidance if sampling.guidance is None else sampling.guidance,
            shift=own.shift if sampling.shift is None else sampling.shift,
        )
        order = super().order(brief, chosen)
        if own.schedule == RELEASED:
            return order
        levels = shifted(self.networks.transformer.model, chosen.shift)
        return replace(
            order, sigmas=comfy.samplers.calculate_sigmas(levels, own.schedule, chosen.steps)
        )

    def denoise(self, order: DrawingOrder, on_step: OnSamplerStep) -> Tensor:
        """The canvas [1, 16, 2h, w] of an order, sampled by the host."""
        transformer, settings = self.networks.transformer, self.settings
        return transformer.denoise(order, settings.sampler, settings.shift, on_step)


@dataclass(frozen=True, eq=False)
class HostNetworks:
    """The host's networks of one storyboard model, in the place of the engine's own."""

    transformer: HostTransformer
    vae: HostVAE
    text_encoder: HostTextEncoder
    identity: str
    vae_area: int | None = _AREAS.vae


class HostTransformer:
    """The MODEL, sampled with the positions and the guidance of the release."""

    def __init__(self, model: ModelPatcher):
        self.model = model

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes."""
        cast = self.model.get_model_object("manual_cast_dtype")
        return cast or self.model.model.get_dtype()

    def denoise(
        self, order: DrawingOrder, sampler: str, shift: float, on_step: OnSamplerStep
    ) -> Tensor:
        """The canvas [1, 16, 2h, w] of an order, normalised, in float32 on the CPU."""
        latent_format = self.model.get_model_object("latent_format")
        memory = [latent_format.process_out(m.float()[:, :, None]) for m in order.memory]
        known = torch.zeros_like(order.known)[:, :, None]
        if order.held.any():
            known = latent_format.process_out(order.known[:, :, None])
        free = (~order.held).float().expand(-1, -1, -1, known.shape[-1])
        preview = Preview(self.model)

        def after_step(step: int, data: Tensor, latents: Tensor, total: int) -> None:
            preview.show(data)
            on_step(step + 1, total)

        canvas = comfy.sample.sample_custom(
            drawing(self.model, order, shift, self.dtype),
            # As the release draws it, in the dtype in which the transformer sees it.
            order.noise.to(self.dtype).float()[:, :, None],
            order.guidance,
            comfy.samplers.sampler_object(sampler),
            order.sigmas,
            _conditioning(order.positive, memory),
            # Without guidance the host predicts once a step, and never looks at the negative.
            _conditioning(order.positive if order.negative is None else order.negative, memory),
            known,
            noise_mask=free[:, :, None] if order.held.any() else None,
            callback=after_step,
            disable_pbar=True,
            seed=order.seed,
        )
        return latent_format.process_in(canvas.float().cpu())[:, :, 0]


class HostVAE:
    """The VAE, with latents normalised as the transformer sees them."""

    def __init__(self, vae: VAE, latent_format: Any):
        self._vae, self._format = vae, latent_format

    def encode(self, image: Tensor) -> Tensor:
        """Latents [1, 16, H/8, W/8] of pixels [H, W, 3] uint8, sides multiples of 8."""
        latents = self._vae.encode(image[None].float() / 255).float().cpu()
        return self._format.process_in(latents)[:, :, 0]

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [1, 3, 8h, 8w] in [0, 1] of latents [1, 16, h, w]."""
        pixels = self._vae.decode(self._format.process_out(latents.float()[:, :, None]))
        return rearrange(pixels[..., :3].float().cpu(), "1 1 h w c -> 1 c h w").clamp(0, 1)


class HostTextEncoder:
    """The CLIP, asked with the templates of the checkpoint and one picture at its final size."""

    def __init__(self, clip: CLIP, templates: Templates):
        self._clip, self._templates = clip, templates
        self._encoded: Once[Tensor] = Once(4)

    def encode(self, words: str, picture: Picture | None) -> Tensor:
        """What the transformer reads, [1, L, D]: the last hidden states after the final norm."""
        key = words, picture.digest if picture else None
        return self._encoded.get(key, lambda: self._encode(words, picture))

    def _encode(self, words: str, picture: Picture | None) -> Tensor:
        template, images = self._templates.words_only, []
        if picture is not None:
            template = self._templates.with_picture
            # The host would resize it bilinearly; at this size it leaves it alone.
            seen = vision_pixels(read_at(picture.image, _AREAS.vision))
            images = [seen[None].float() / 255]
            words = with_picture(words, 1, self._templates.picture)
        tokens = self._tokens(template.text.replace("{}", words), images)
        tokens = {name: [row[: template.longest] for row in rows] for name, rows in tokens.items()}
        return _hidden_states(self._clip, tokens, self._dropped(template))

    def _dropped(self, template: Template) -> int:
        """How many leading tokens are left out; the host by itself leaves out the instruction."""
        if template.drop is not None:
            return template.drop
        (rows,) = self._tokens(template.text.split("{}")[0], []).values()
        return len(rows[0])

    def _tokens(self, text: str, images: list[Tensor]) -> dict[str, list[list[tuple]]]:
        return self._clip.tokenize(text, images=images, llama_template="{}")


class ReleasedPositions(nn.Module):
    """Rotary factors at the positions of the release, whatever positions the host has in mind.

    The host's differ where a side is odd, or a memory frame larger than the canvas.
    `pictures`: positions [N, 3] of all tokens but text.
    """

    def __init__(self, embed: nn.Module, pictures: Tensor):
        super().__init__()
        self.embed, self.pictures = embed, pictures

    def forward(self, ids: Tensor) -> Tensor:
        """Factors for the host's positions [B, L + N, 3], of which only the number counts."""
        text = text_positions(self.pictures, ids.shape[1] - len(self.pictures))
        places = torch.cat([text, self.pictures]).to(ids.device, torch.float32)
        return self.embed(places.expand(ids.shape[0], -1, -1))


class ReleasedTimes(nn.Module):
    """Sinusoids of times rounded as in training: in thousands, in the dtype of the latents."""

    def __init__(self, project: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.project, self.dtype = project, dtype

    def forward(self, times: Tensor) -> Tensor:
        """Of times [B] in [0, 1]."""
        return self.project(((1000 * times).to(self.dtype) / 1000).to(times.dtype))


def drawing(
    model: ModelPatcher, order: DrawingOrder, shift: float, dtype: torch.dtype
) -> ModelPatcher:
    """A clone of MODEL that draws an order as the release does; MODEL itself stays as it is."""
    height, width = order.noise.shape[2:]
    sizes = [(m.shape[2] // PATCH, m.shape[3] // PATCH) for m in order.memory]
    pictures = canvas_positions(height // (2 * PATCH), width // PATCH, sizes)
    embed, project = model.get_model_object(_POSITIONS), model.get_model_object(_TIMES)
    clone = model.clone()
    clone.add_object_patch(_POSITIONS, ReleasedPositions(embed, pictures))
    clone.add_object_patch(_TIMES, ReleasedTimes(project, dtype))
    clone.add_object_patch("model_sampling", shifted(model, shift))
    clone.set_model_sampler_cfg_function(_guided)
    return clone


def shifted(model: ModelPatcher, shift: float) -> Any:
    """The noise levels that schedulers of the host begin from, at a shift."""

    class Levels(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    levels = Levels(model.model.model_config)
    levels.set_parameters(shift=shift, multiplier=1.0)
    return levels


def native_networks(
    model: ModelPatcher, clip: CLIP, vae: VAE, templates: Templates
) -> HostNetworks:
    """MODEL, CLIP and VAE as the networks of a storyboard model.

    Raises:
        ValueError: one of them is not of Qwen-Image-Edit.
    """
    _check(model, clip, vae)
    latent_format = model.get_model_object("latent_format")
    return HostNetworks(
        HostTransformer(model),
        HostVAE(vae, latent_format),
        HostTextEncoder(seeing_once(clip), templates),
        # Where the weights come from is in the graph, and known to who runs it.
        "native-comfyui",
    )


def seeing_once(clip: CLIP) -> CLIP:
    """A clone of CLIP whose vision tower sees each picture once, by content, not once a prompt."""
    clone, seen = clip.clone(), Once(_KEPT_PICTURES)
    see = clone.patcher.get_model_object(_VISION)

    def once(embed: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        def features() -> tuple[Tensor, Tensor]:
            found, grid = see(embed, device=device)
            return found.cpu(), grid

        pixels = embed["data"].cpu().contiguous().numpy()
        return seen.get(hashlib.sha256(pixels).digest(), features)

    clone.patcher.add_object_patch(_VISION, once)
    return clone


def likeness(clip_vision: Any) -> Likeness:
    """Ranks memory frames by what a CLIP_VISION sees in them, and in the newest."""

    def describe(picture: Picture) -> Tensor:
        # Whole, not a square of its middle: who stands at the edge of a frame counts.
        seen = clip_vision.encode_image(picture.image[None].float() / 255, crop=False)
        return functional.normalize(seen["image_embeds"][0].float().cpu(), dim=0)

    return Likeness(describe, "CLIP_VISION")


def _check(model: ModelPatcher, clip: CLIP, vae: VAE) -> None:
    network = getattr(model.model, "diffusion_model", None)
    known = comfy.ldm.qwen_image.model.QwenImageTransformer2DModel
    if not isinstance(model.model, comfy.model_base.QwenImage) or not isinstance(network, known):
        raise ValueError(
            f"MODEL is {type(model.model).__name__}, which sees no reference pictures as "
            "Qwen-Image-Edit does; load a Qwen-Image-Edit or STEP2 transformer"
        )
    if hasattr(network.time_text_embed, "addition_t_embedding"):
        raise ValueError("MODEL is Qwen-Image-Layered; load a Qwen-Image-Edit or STEP2 transformer")
    encoder = clip.cond_stage_model
    wanted = comfy.text_encoders.qwen_image.QwenImageTEModel
    parameters = inspect.signature(type(encoder).encode_token_weights).parameters
    if not isinstance(encoder, wanted) or "template_end" not in parameters:
        raise ValueError(
            f"CLIP is {type(encoder).__name__}, not the Qwen2.5-VL of Qwen-Image-Edit; load "
            "qwen_2.5_vl_7b with CLIPLoader and its type qwen_image"
        )
    inside = vae.first_stage_model
    if vae.latent_channels != _LATENT_CHANNELS or not isinstance(inside, comfy.ldm.wan.vae.WanVAE):
        raise ValueError(
            f"VAE is {type(inside).__name__} with {vae.latent_channels} latent channels; "
            f"Qwen-Image-Edit needs the {_LATENT_CHANNELS} of qwen_image_vae"
        )


def _hidden_states(clip: CLIP, tokens: dict[str, Any], dropped: int) -> Tensor:
    """As CLIP.encode_from_tokens, which has no way to say how many tokens are left out."""
    encoder = clip.cond_stage_model
    encoder.reset_clip_options()
    # Older hosts estimate the memory without looking at the tokens.
    sized = inspect.signature(clip.load_model).parameters
    clip.load_model(*[tokens] if sized else [])
    encoder.set_clip_options({"execution_device": clip.patcher.load_device})
    hidden, *_ = encoder.encode_token_weights(tokens, template_end=dropped)
    return hidden.float().cpu()


def _conditioning(text: Tensor, memory: list[Tensor]) -> list[list[Any]]:
    seen = {"reference_latents": memory, "reference_latents_method": "index"} if memory else {}
    return [[text, seen]]


def _guided(predictions: dict[str, Any]) -> Tensor:
    """Guidance per token, for the host's `cond` and `uncond` [B, 16, 1, 2h, w].

    They are velocities times sigma, which the norm does not mind.
    """
    conditional, unconditional = predictions["cond"], predictions["uncond"]
    tokens = [patchify(latents[:, :, 0]) for latents in (conditional, unconditional)]
    guided = guide(*tokens, predictions["cond_scale"])
    return unpatchify(guided, conditional.shape[3])[:, :, None]
