"""Wan on ComfyUI's own classes with small random weights: networks, models, orders, films."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

LARGE_AREA = 96 * 64


class Cancelled(BaseException):
    """Not an Exception, as an interrupt of the host is none."""


class Words:
    """In the place of the text encoder: random conditioning, the same for the same words."""

    patcher = SimpleNamespace(model_size=lambda: 1000)

    def __init__(self, width=4096, name="umt5xxl"):
        self.width, self.name, self.asked = width, name, []

    def tokenize(self, text):
        return {self.name: text}

    def encode_from_tokens_scheduled(self, tokens):
        (text,) = tokens.values()
        self.asked.append(text)
        generator = torch.Generator().manual_seed(sum(map(ord, text)))
        return [[torch.randn(1, 8, self.width, generator=generator), {}]]


class Sight:
    """In the place of the image encoder: counts, and gives a value of each picture's own."""

    patcher = SimpleNamespace(model_size=lambda: 10)

    def __init__(self, width=1280):
        self.width, self.seen = width, 0

    def encode_image(self, image, crop):
        assert not crop
        self.seen += 1
        states = image.mean().expand(1, 257, self.width).clone()
        return SimpleNamespace(penultimate_hidden_states=states)


def filled(network, seed, scale=0.05):
    """The state of a network with small random weights."""
    generator = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator) * scale
        for name, tensor in state.items()
    }


def wan(channels, seed=1, latents=16, kind="t2v", **more):
    """A MODEL of the host's loader: two blocks of random weights; as 'vace' one more block."""
    import comfy.ldm.wan.model as classes
    import comfy.ops
    import comfy.sd

    cls = classes.VaceWanModel if kind == "vace" else classes.WanModel
    more |= {"vace_layers": 1, "vace_in_dim": 96} if kind == "vace" else {}
    network = cls(
        model_type=kind,
        in_dim=channels,
        dim=128,
        ffn_dim=128,
        out_dim=latents,
        num_heads=1,
        num_layers=2,
        cross_attn_norm=True,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        **more,
    )
    options = {"dtype": torch.float32}
    return comfy.sd.load_diffusion_model_state_dict(filled(network, seed), model_options=options)


@pytest.fixture(scope="session")
def large_vae(pack):
    import comfy.ldm.wan.vae
    import comfy.sd

    sizes = {"dim": 16, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    more = {"attn_scales": [], "temperal_downsample": [False, True, True], "dropout": 0.0}
    network = comfy.ldm.wan.vae.WanVAE(**sizes, **more)
    return comfy.sd.VAE(sd=filled(network, 3, 0.2), dtype=torch.float32)


@pytest.fixture(scope="session")
def small_vae(pack):
    import comfy.ldm.wan.vae2_2
    import comfy.sd

    full = comfy.ldm.wan.vae2_2.WanVAE
    with pytest.MonkeyPatch.context() as patch:
        # The host builds this one at its full size, whatever the file holds.
        patch.setattr(
            comfy.ldm.wan.vae2_2, "WanVAE", lambda **c: full(**{**c, "dim": 16, "dec_dim": 16})
        )
        sizes = {"z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": []}
        more = {"temperal_downsample": [False, True, True], "dropout": 0.0}
        network = comfy.ldm.wan.vae2_2.WanVAE(**sizes, **more)
        return comfy.sd.VAE(sd=filled(network, 4, 0.2), dtype=torch.float32)


@pytest.fixture(scope="session")
def experts(pack):
    return wan(36, seed=1), wan(36, seed=2)


@pytest.fixture(scope="session")
def make(pack, experts, large_vae):
    """Makes a shot model of small pictures and few steps."""
    module, checks = pack.nodes.native.wan, pack.nodes.native.wan_checks
    Grid = pack.stage_core.backends.protocol.Grid

    def make(models=experts, clip=None, vae=large_vae, sight=None, grid=None, **settings):
        high, low = models
        networks = checks.NativeWanNetworks(high, low, clip or Words(), vae, sight)
        usual = {"steps": 2, "switch_at": 1, "guidance": 2.0, "guidance_low": 2.0, "shift": 5.0}
        usual |= {"sampler": "euler", "schedule": "simple", "longest": 17}
        grid = grid or Grid(LARGE_AREA, 16, Fraction(16), 4)
        return module.NativeWan(networks, module.NativeWanSettings(**{**usual, **settings}), grid)

    return make


@pytest.fixture(scope="session")
def model(make):
    return make()


@pytest.fixture(scope="session")
def order(pack):
    """A brief and the keyframes of a shot of so many frames at 16 per second."""
    story = pack.stage_core.story
    Shot, Format = story.shot_list.Shot, story.shot_list.FrameFormat

    def order(num_frames=5, halves=("start", "end"), seeds=(1, 2), **fields):
        shot = replace(Shot("2", "Ida waits", num_frames=num_frames), **fields)
        pair = story.frames.FramePair(shot.id)
        for half, seed in zip(("start", "end"), seeds, strict=True):
            if half in halves:
                pair = replace(pair, **{half: picture(pack, seed)})
        memory = story.memory.MemoryPack()
        brief = story.brief.ShotBrief(shot, Format(96, 64, Fraction(16)), memory, pair)
        return brief, pair.keyframes(num_frames)

    return order


def picture(pack, seed, height=64, width=200):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator).byte()
    return pack.stage_core.story.frames.Picture.of(pixels)


@pytest.fixture(scope="session")
def film(pack):
    Sampling = pack.stage_core.backends.protocol.Sampling

    def film(model, order, on_step=lambda *step: None, **sampling):
        with torch.inference_mode():
            clip = model.film(*order, Sampling(**sampling), on_step)
        return clip.frames

    return film


@pytest.fixture(scope="session")
def filmed(film, model, order):
    return film(model, order())


def inner(frames):
    """What the model has filmed: the ends are the keyframes."""
    return frames[1:-1]
