"""The transformers against diffusers' classes."""

from dataclasses import asdict, replace

import pytest
import torch

from stage_core.kernels import pieces, qk_norm_rope_pack
from stage_core.models.checkpoint import empty
from stage_core.models.wan import Prompt, Wan
from stage_core.models.wan_layers import WanConfig
from stage_core.models.wan_vace import VaceConfig, WanVace
from stage_core.offload.working import working_bytes

SIZES = {
    "num_layers": 3,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "ffn_dim": 20,
    "text_dim": 10,
    "freq_dim": 8,
}
BETWEEN = WanConfig(**SIZES)
SEEING = replace(BETWEEN, image_dim=14, added_kv_proj_dim=24, pos_embed_seq_len=10)
SMALL = replace(BETWEEN, in_channels=48, out_channels=48)
LED = VaceConfig(**SIZES, vace_layers=(0, 2))
CONFIGS = pytest.mark.parametrize("config", [BETWEEN, SEEING, SMALL, LED])
TIMES, HEIGHT, WIDTH = 3, 4, 6
# The library takes the last 512 words for the prompt, and all before them for pictures.
WORDS = 512


def ours(config):
    return (WanVace if isinstance(config, VaceConfig) else Wan)(config)


def theirs(config):
    library = pytest.importorskip("diffusers")
    led = isinstance(config, VaceConfig)
    made = library.WanVACETransformer3DModel if led else library.WanTransformer3DModel
    torch.manual_seed(0)
    network = made(**{**asdict(config), "patch_size": (1, 2, 2)})
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return network.eval()


def both(config):
    library, own = theirs(config), ours(config)
    own.load_state_dict(library.state_dict())
    return library, own.eval()


def noise(channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, TIMES, HEIGHT, WIDTH, generator=generator)


def words(seed):
    return torch.randn(1, WORDS, 10, generator=torch.Generator().manual_seed(seed))


def rotation(network):
    return network.rotation(torch.arange(TIMES), HEIGHT, WIDTH)


@CONFIGS
def test_parameters_have_the_names_and_shapes_of_diffusers_class(config):
    own = empty(lambda: ours(config)).state_dict()
    library = theirs(config).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in library.items()}


def test_released_sizes_give_the_released_number_of_parameters():
    # Their model cards say 14B and 5B.
    large = empty(lambda: Wan(WanConfig()))
    sizes = {"num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336}
    small = empty(lambda: Wan(WanConfig(**sizes, in_channels=48, out_channels=48)))
    assert sum(weight.numel() for weight in large.parameters()) == 14_288_901_184
    assert sum(weight.numel() for weight in small.parameters()) == 4_999_787_712


@torch.no_grad()
@pytest.mark.parametrize("config", [BETWEEN, SMALL])
def test_velocities_equal_those_of_diffusers_class_for_every_prompt(config):
    library, own = both(config)
    latents, time = noise(config.in_channels), torch.tensor([417.0])
    prompts = [own.read(words(1)), own.read(words(2))]
    found = own(latents, time, prompts, rotation(own))
    for seed, velocity in zip((1, 2), found, strict=True):
        wanted = library(latents, time, words(seed)).sample
        assert (velocity - wanted).abs().max() < 1e-4


@torch.no_grad()
def test_velocities_from_pictures_equal_those_of_diffusers_class():
    library, own = both(SEEING)
    latents, time = noise(36), torch.tensor([900.0])
    sights = torch.randn(2, 5, 14, generator=torch.Generator().manual_seed(3))
    wanted = library(latents, time, words(1), sights).sample
    prompt = own.read(words(1), sights.reshape(1, 10, 14))
    (found,) = own(latents, time, [prompt], rotation(own))
    assert (found - wanted).abs().max() < 1e-4


@torch.no_grad()
def test_a_time_of_the_first_frame_equals_diffusers_time_for_every_token():
    library, own = both(SMALL)
    latents, times = noise(48), torch.tensor([0.0, 417.0, 417.0])
    wanted = library(latents, times.repeat_interleave(6)[None], words(1)).sample
    (found,) = own(latents, times[:2], [own.read(words(1))], rotation(own))
    assert (found - wanted).abs().max() < 1e-4


@torch.no_grad()
def test_velocities_of_a_led_video_equal_those_of_diffusers_class():
    library, own = both(LED)
    latents, control, time = noise(16), noise(96, seed=4), torch.tensor([417.0])
    prompts = [own.read(words(1)), own.read(words(2))]
    found = own(torch.cat([latents, control], dim=1), time, prompts, rotation(own))
    for seed, velocity in zip((1, 2), found, strict=True):
        wanted = library(latents, time, words(seed), control_hidden_states=control).sample
        assert (velocity - wanted).abs().max() < 1e-4


@torch.no_grad()
@CONFIGS
def test_tokens_in_pieces_give_the_same_velocities(config, monkeypatch):
    own = both(config)[1]
    channels = config.in_channels + getattr(config, "vace_in_channels", 0)
    times = torch.tensor([0.0, 417.0] if config is SMALL else [417.0])

    def run():
        return own(noise(channels), times, [own.read(words(1))], rotation(own))[0]

    whole = run()
    for module in (pieces, qk_norm_rope_pack):
        monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 100)
    assert (run() - whole).abs().max() < 1e-5


@pytest.mark.parametrize("count", [1, 2])
def test_a_step_needs_little_more_than_six_times_its_tokens(count):
    config = replace(WanConfig(), num_layers=1)
    network = empty(lambda: Wan(config)).to(torch.bfloat16)
    times, height, width = 6, 90, 160
    tokens = times * height * width // 4

    def meta(*shape, dtype=torch.bfloat16):
        return torch.empty(shape, dtype=dtype, device="meta")

    def call():
        prompts = [Prompt(meta(1, WORDS, config.width), None) for _ in range(count)]
        places = meta(tokens, config.attention_head_dim // 2, dtype=torch.float32)
        level = meta(1, dtype=torch.float32)
        return network(meta(1, 36, times, height, width), level, prompts, (places, places))

    # Every further prompt holds its own tokens; diffusers' block needs eleven times its tokens.
    needs = working_bytes(network, call) / (2 * tokens * config.width)
    assert needs < 5.5 + count


@torch.no_grad()
def test_keys_and_values_of_a_prompt_are_made_once():
    own = both(SEEING)[1]
    made = []
    for block in own.blocks:
        block.attn2.to_k.register_forward_hook(lambda *_: made.append(1))
    prompt = own.read(words(1), torch.randn(1, 5, 14))
    first, second = (
        own(noise(36), torch.tensor([time]), [prompt], rotation(own)) for time in (900.0, 100.0)
    )
    assert len(made) == 3
    assert not torch.equal(first[0], second[0])


@torch.no_grad()
def test_every_block_is_visited_once_for_all_prompts():
    own = both(LED)[1]
    visits = []
    for block in (*own.blocks, *own.vace_blocks):
        block.register_forward_hook(lambda *_: visits.append(1))
    own(noise(112), torch.tensor([5.0]), [own.read(words(s)) for s in (1, 2)], rotation(own))
    assert len(visits) == 5


@torch.no_grad()
def test_bfloat16_stays_near_diffusers_class():
    library, own = both(BETWEEN)
    library, own = library.bfloat16(), own.bfloat16()
    latents, time, text = noise(36).bfloat16(), torch.tensor([417.0]), words(1).bfloat16()
    wanted = library(latents, time, text).sample
    (found,) = own(latents, time, [own.read(text)], rotation(own))
    # A velocity has a size of about 10 here; bfloat16 keeps eight bits of it.
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_control_layers_that_do_not_begin_at_the_first_are_refused():
    with pytest.raises(ValueError, match=r"control layers \(1, 2\); the first is 0"):
        replace(LED, vace_layers=(1, 2))
