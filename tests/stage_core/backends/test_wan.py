"""The shot model against diffusers' pipelines, and its phases against one shot at a time."""

from dataclasses import asdict, replace

import pytest
import torch
from einops import rearrange

from stage_core.backends.protocol import FilmJob, Nowhere, Sampling, filming_seed
from stage_core.backends.wan import WanShots
from stage_core.backends.wan_conditions import Between, Led, Length
from stage_core.backends.wan_tiny import tiny_wan
from stage_core.encoding.dual import fitted, vae_pixels
from stage_core.encoding.video_prompts import video_negative, video_prompt
from stage_core.story.brief import ShotBrief
from stage_core.story.frames import FramePair, Keyframe, Picture, no_frames
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

# Nine frames of the model: three latent frames.
SHOT = Shot("2A", "Ana waits", cast=("Ana",), num_frames=25)
FILM = FrameFormat(320, 240)
STEPS = {"unipc": 6, "euler": 3}


class Resting(Nowhere):
    """Shows what was written last."""

    def write(self, latents):
        self.tensors = latents


def picture(seed, width=48, height=32):
    generator = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(0, 256, (height, width, 3), generator=generator).byte())


def pack(*references):
    frames = (MemoryFrame(shown, "reference", names=("Ana",)) for shown in references)
    return MemoryPack(references=tuple(frames))


def brief(shot=SHOT, memory=None):
    return ShotBrief(shot, FILM, memory or MemoryPack(), no_frames(shot))


def ends(shot=SHOT, seed=1):
    pair = FramePair(shot.id, picture(seed), picture(seed + 1))
    return pair.keyframes(shot.num_frames)


def job(shot=SHOT, keyframes=None, halfway=None, memory=None):
    keyframes = ends(shot) if keyframes is None else keyframes
    return FilmJob(brief(shot, memory), keyframes, halfway or Nowhere())


def quiet(*step):
    pass


def latents(model, order, sampling=Sampling()):  # noqa: B008 (frozen)
    """Those of the last step, which the model lets rest."""
    halfway = Resting()
    list(model.film_many([replace(order, halfway=halfway)], sampling, quiet))
    return halfway.tensors["latents"]


def unlike(model):
    """With experts far from each other in guidance, at a boundary in the middle."""
    changed = {"guidance": (3.0, 2.0), "boundary": 0.8, "shift": 3.0}
    return WanShots(model.source, replace(model.sampling, **changed))


def sampled_by(model, sampler):
    settings = replace(model.sampling, sampler=sampler, steps=STEPS[sampler])
    return WanShots(model.source, settings)


def scheduler(settings):
    if settings.sampler == "unipc":
        return diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=settings.shift
        )

    class Even(diffusers.FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps=None, device=None):
            super().set_timesteps(sigmas=settings.levels()[:-1], device=device)

    return Even()


def library_transformer(network):
    name = (
        "WanVACETransformer3DModel" if "Vace" in type(network).__name__ else "WanTransformer3DModel"
    )
    made = getattr(diffusers, name)(**asdict(network.config))
    made.load_state_dict(network.state_dict())
    return made.eval()


def pipeline(model, **more):
    """The library's pipeline over the same networks."""
    networks = model.networks
    low = networks.low and library_transformer(networks.low)
    kind = diffusers.WanVACEPipeline if model.source.led else diffusers.WanImageToVideoPipeline
    boundary = model.sampling.boundary if low else None
    made = kind(
        tokenizer=None,
        text_encoder=None,
        vae=networks.vae.network,
        scheduler=scheduler(model.sampling),
        transformer=library_transformer(networks.high),
        transformer_2=low,
        boundary_ratio=boundary,
        **more,
    )
    made.set_progress_bar_config(disable=True)
    return made


def common(model, order, references=0):
    """What every pipeline is called with."""
    settings, text, told = model.sampling, model.networks.text, order.brief
    width, height = model.grid.size(FILM)
    num_frames = model.grid.num_frames(told.shot, FILM)
    vae = model.networks.vae
    times = (num_frames - 1) // 4 + 1 + references
    shape = 1, vae.channels, times, height // vae.side, width // vae.side
    generator = torch.Generator().manual_seed(filming_seed(told.shot, Sampling()))
    low = {"guidance_scale_2": settings.guidance[1]} if model.networks.low else {}
    with torch.no_grad():
        return {
            "prompt_embeds": text.encode(video_prompt(told)),
            "negative_prompt_embeds": text.encode(video_negative(told)),
            "height": height,
            "width": width,
            "num_frames": num_frames,
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance[0],
            "latents": torch.randn(shape, generator=generator),
            "output_type": "latent",
            **low,
        }


def pixels(keyframe, model):
    """In [-1, 1], which the library leaves as it is."""
    return vae_pixels(fitted(keyframe.image, *model.grid.size(FILM)))


class AsOurs:
    """In the place of the library's image processor: the pixels that our image encoder reads."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, images, return_tensors):
        return self

    def to(self, device):
        return {"pixel_values": self.seen}


def image_pipeline(model, order):
    networks = model.networks
    made = pipeline(model, expand_timesteps=model.source.holds_start)
    if networks.sight:
        read = []
        hook = networks.sight.network.register_forward_pre_hook(
            lambda _, given: read.append(given[0])
        )
        list(model.film_many([order], Sampling(steps=1), quiet))
        hook.remove()
        made.image_encoder, made.image_processor = networks.sight.network, AsOurs(torch.cat(read))
    return made


@pytest.mark.parametrize("sampler", STEPS)
@pytest.mark.parametrize(
    ("kind", "count"), [("two experts", 1), ("two experts", 2), ("seeing", 2), ("small", 1)]
)
def test_latents_equal_those_of_the_image_to_video_pipeline(kind, count, sampler):
    model = unlike(sampled_by(tiny_wan(kind), sampler))
    order = job(keyframes=ends()[:count])
    made = image_pipeline(model, order)
    images = [pixels(keyframe, model) for keyframe in order.keyframes]
    last = {"last_image": images[1]} if count == 2 else {}
    wanted = made(image=images[0], **last, **common(model, order)).frames
    assert (latents(model, order) - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("sampler", STEPS)
@pytest.mark.parametrize("references", [0, 2])
def test_latents_equal_those_of_the_vace_pipeline(references, sampler):
    model = unlike(sampled_by(tiny_wan("led"), sampler))
    shown = [picture(seed) for seed in range(20, 20 + references)]
    keyframes = (*ends(), Keyframe(11, picture(9)))
    order = job(keyframes=keyframes, memory=pack(*shown))
    video, mask = led_video(model, {0: keyframes[0], 4: keyframes[2], 8: keyframes[1]})
    # The library puts every further picture before the ones it has.
    pictures = [still(image) for image in reversed(shown)]
    made = pipeline(model)
    given = common(model, order, references)
    given["reference_images"] = pictures or None
    wanted = made(video=video, mask=mask, **given).frames
    assert (latents(model, order) - wanted).abs().max() < 1e-4


def still(image):
    from PIL import Image

    return Image.fromarray(image.image.numpy())


def led_video(model, placed):
    """As the library takes a video and its mask, [1, F, 3, H, W]."""
    width, height = model.grid.size(FILM)
    video, mask = torch.zeros(1, 9, 3, height, width), torch.ones(1, 9, 3, height, width)
    for index, keyframe in placed.items():
        video[:, index], mask[:, index] = pixels(keyframe, model), 0
    return video, mask


@torch.no_grad()
@pytest.mark.parametrize("places", [(0,), (0, 8)])
def test_masks_and_condition_channels_equal_the_image_to_video_pipelines(places):
    model = tiny_wan()
    made, images = pipeline(model), [picture(1).image, picture(2).image]
    given = [vae_pixels(image) for image in images[: len(places)]]
    noise = torch.zeros(1, 16, 3, 4, 6)
    last = given[1] if len(places) == 2 else None
    _, wanted = made.prepare_latents(
        given[0], 1, 16, 32, 48, 9, torch.float32, "cpu", None, noise, last
    )
    placed = dict(zip(places, images, strict=False))
    found = Between().condition(model.networks.vae, placed, [], Length(9, 48, 32))
    assert torch.equal(found.beside, wanted)


@torch.no_grad()
def test_masks_and_condition_channels_equal_the_vace_pipelines():
    model = tiny_wan("led")
    made, keyframes = pipeline(model), {0: Keyframe(0, picture(1)), 4: Keyframe(4, picture(2))}
    video, mask = (rearrange(v, "b f c h w -> b c f h w") for v in led_video(model, keyframes))
    none = [[]]
    wanted = torch.cat(
        [
            made.prepare_video_latents(video, mask, none, None, "cpu"),
            made.prepare_masks(mask, none),
        ],
        dim=1,
    )
    images = {index: keyframe.image for index, keyframe in keyframes.items()}
    found = Led().condition(model.networks.vae, images, [], Length(9, 48, 32))
    assert torch.equal(found.beside, wanted)
