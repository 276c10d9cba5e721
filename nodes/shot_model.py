"""Shot Model: Wan over ComfyUI's own loaders, with the sampling settings on the node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ..stage_core.backends.protocol import Grid
from . import host, lineage
from .native.wan import MEMORY_READS, READS, SAMPLERS, SCHEDULES, NativeWan, NativeWanSettings
from .native.wan_checks import LARGE_MULTIPLE, SMALL_MULTIPLE, NativeWanNetworks
from .sockets import ShotModelSocket

TWO_MODELS, FOUR_STEPS = "Wan 2.2 14B", "Wan 2.2 14B, 4 steps"
ONE_MODEL, SMALL_MODEL = "Wan 2.1 14B", "Wan 2.2 5B"
VACE_MODEL = "Wan VACE"
SIZES = {"480p": 832 * 480, "720p": 1280 * 720}
# The 5B makes sides of multiples of 32; 1280x704 is its own 720p.
_SMALL_SIZES = {"480p": 832 * 480, "720p": 1280 * 704}
_RATE, _SMALL_RATE, _STRIDE = Fraction(16), Fraction(24), 4
_MOST_GUIDANCE = 30.0
_HIGH, _LOW = re.compile(r"high[ _-]?noise", re.I), re.compile(r"low[ _-]?noise", re.I)


def wan_numbers(
    steps: int, guidance: float, shift: float, most_guidance: float = _MOST_GUIDANCE
) -> list[io.Input]:
    """Steps, guidance and shift of a Wan, whichever engine samples it."""
    return [
        io.Int.Input("steps", default=steps, min=1, max=200, tooltip="Sampler steps of each shot."),
        io.Float.Input(
            "guidance",
            default=guidance,
            min=1.0,
            max=most_guidance,
            step=0.1,
            tooltip="How strongly the words are followed; 1, for 4-step LoRAs, ignores the "
            "negative and takes half the time. For shots with a start frame alone, 3.5 is usual "
            "with Wan 2.2 14B.",
        ),
        io.Float.Input(
            "shift",
            default=shift,
            min=0.1,
            max=100.0,
            step=0.1,
            tooltip="How much of the steps goes to the rough motion. It takes the place of a "
            "ModelSampling node.",
        ),
    ]


def wan_low_guidance(guidance: float, most_guidance: float = _MOST_GUIDANCE) -> io.Input:
    """The guidance of the second of two experts."""
    return io.Float.Input(
        "guidance_low",
        default=guidance,
        min=1.0,
        max=most_guidance,
        step=0.1,
        tooltip="The guidance of the low-noise model.",
    )


def wan_extent(size: str, longest: int) -> list[io.Input]:
    """The area that a Wan films, and the most frames of a shot."""
    return [
        io.Combo.Input(
            "size",
            options=list(SIZES),
            default=size,
            tooltip="The area that is filmed, in the film's aspect. Pictures of another aspect "
            "are cropped at the centre, never stretched.",
        ),
        io.Int.Input(
            "longest",
            default=longest,
            min=5,
            max=1001,
            step=_STRIDE,
            tooltip="The model's own frames, 16 per second (5B: 24), that it films well in one "
            "piece. Longer shots are refused.",
        ),
    ]


def _experts(switch_at: int, guidance: float) -> list[io.Input]:
    return [
        io.Int.Input(
            "switch_at",
            default=switch_at,
            min=1,
            max=199,
            tooltip="So many steps are made by model_high; then model_low takes over.",
        ),
        wan_low_guidance(guidance),
    ]


def _choices(sampler: str, size: str, longest: int) -> list[io.Input]:
    return [
        io.Combo.Input(
            "sampler", options=SAMPLERS, default=sampler, tooltip="A sampler of ComfyUI's."
        ),
        io.Combo.Input(
            "schedule", options=SCHEDULES, default="simple", tooltip="A scheduler of ComfyUI's."
        ),
        *wan_extent(size, longest),
    ]


INPUTS = [
    io.Model.Input(
        "model_high",
        tooltip="An image-to-video Wan from any loader: of Wan 2.2 14B the high-noise model.",
    ),
    io.Clip.Input("clip", tooltip="Its text encoder, umt5_xxl: CLIPLoader, type wan."),
    io.Vae.Input("vae", tooltip="wan_2.1_vae for 14B models, wan2.2_vae for the 5B."),
    # ComfyUI's templates: video_wan2_2_14B_flf2v, whose second graph is that of 4 steps,
    # wan2.1_flf2v_720_f16, video_wan2_2_5B_ti2v, video_wan_vace_flf2v. No template has a VACE of
    # two experts: at its shift the noise falls below 0.875, where its authors change over, with
    # step 11.
    io.DynamicCombo.Input(
        "settings",
        options=[
            io.DynamicCombo.Option(
                TWO_MODELS,
                [*wan_numbers(20, 4.0, 8.0), *_experts(10, 4.0), *_choices("euler", "480p", 81)],
            ),
            io.DynamicCombo.Option(
                FOUR_STEPS,
                [*wan_numbers(4, 1.0, 5.0), *_experts(2, 1.0), *_choices("euler", "480p", 81)],
            ),
            io.DynamicCombo.Option(
                ONE_MODEL, [*wan_numbers(20, 3.0, 8.0), *_choices("uni_pc", "720p", 81)]
            ),
            io.DynamicCombo.Option(
                SMALL_MODEL, [*wan_numbers(20, 5.0, 8.0), *_choices("uni_pc", "720p", 121)]
            ),
            io.DynamicCombo.Option(
                VACE_MODEL,
                [*wan_numbers(20, 6.0, 8.0), *_experts(11, 6.0), *_choices("uni_pc", "480p", 81)],
            ),
        ],
        tooltip="The official graphs' settings for a model; each can be changed. 4 steps needs "
        "the 4-step LoRA on both models. VACE films through keyframes at any time and looks at the "
        "memory pack's references of the shot's cast.",
    ),
    io.Model.Input(
        "model_low",
        optional=True,
        tooltip="Of Wan 2.2 14B the low-noise model. Empty: model_high makes all steps.",
    ),
    io.ClipVision.Input(
        "clip_vision",
        optional=True,
        tooltip="For Wan 2.1 models, which see the frames through it: clip_vision_h. Wan 2.2 has "
        "no use for it.",
    ),
]


class ShotModel(io.ComfyNode):
    """Wan over MODEL, CLIP and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ShotModel",
            display_name="Shot Model",
            category=host.CATEGORY,
            description="Wan on ComfyUI's own loaders: films a shot from its start frame to its "
            "end frame.",
            search_aliases=["wan", "flf2v", "i2v", "first last frame", "video model", "stage"],
            hidden=[io.Hidden.dynprompt],
            inputs=list(INPUTS),
            outputs=[ShotModelSocket.Output("shot_model", tooltip="For the Shot Sampler.")],
        )

    @classmethod
    def grid_of(cls, inputs: Mapping[str, Any]) -> Grid:
        """The grid of the model that these inputs make."""
        return _grid(inputs.get("settings"), inputs.get("settings.size"))

    @classmethod
    def reads_of(cls, inputs: Mapping[str, Any]) -> frozenset[str]:
        """What the model that these inputs make reads of a brief."""
        return MEMORY_READS if inputs.get("settings") == VACE_MODEL else READS

    @classmethod
    def execute(cls, model_high, clip, vae, settings, model_low=None, clip_vision=None):
        chosen = dict(settings)
        name, size = chosen.pop("settings"), chosen.pop("size")
        if model_low is not None and "switch_at" not in chosen:
            raise ValueError(f"the settings of {name} know one model; leave model_low empty")
        _check_names(cls)
        networks = NativeWanNetworks(model_high, model_low, clip, vae, clip_vision)
        grid = _grid(name, size)
        model = NativeWan(networks, NativeWanSettings(**chosen), grid)
        if networks.is_vace != (name == VACE_MODEL):
            kind = "a Wan VACE" if networks.is_vace else "no Wan VACE"
            raise ValueError(
                f"model_high is {kind} and the settings are for {name}; choose its own"
            )
        host.say(f"{name}, {grid.rate} frames per second")
        return io.NodeOutput(model)


def _grid(name: Any, size: Any) -> Grid:
    """A size that arrives by wire counts as the first: the wire's own nodes are in every key."""
    size = size if size in list(SIZES) else next(iter(SIZES))
    if name == SMALL_MODEL:
        return Grid(_SMALL_SIZES[size], LARGE_MULTIPLE, _SMALL_RATE, _STRIDE)
    return Grid(SIZES[size], SMALL_MULTIPLE, _RATE, _STRIDE)


def _check_names(node: type[io.ComfyNode]) -> None:
    """Networks and sizes of both experts are the same: only their files' names tell them apart."""
    high, low = (
        {name for name, _ in lineage.files_above(node, socket, "model")}
        for socket in ("model_high", "model_low")
    )
    for name in sorted(high):
        if _LOW.search(name):
            raise ValueError(f"{name} is at model_high; it belongs to model_low")
    for name in sorted(low):
        if _HIGH.search(name):
            raise ValueError(f"{name} is at model_low; it belongs to model_high")
    if high and high == low:
        raise ValueError(
            f"model_high and model_low are both made from {', '.join(sorted(high))}; load the "
            "high-noise and the low-noise file, or leave model_low empty"
        )
