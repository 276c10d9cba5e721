"""Wan on ComfyUI's own classes with small random weights: conditions, clips, wrong pairings."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from stage_core.encoding.dual import fitted

from .small_wan import LARGE_AREA, Cancelled, Sight, Words, inner, wan

pytestmark = pytest.mark.comfy
TWO, FOUR, ONE, SMALL = "Wan 2.2 14B", "Wan 2.2 14B, 4 steps", "Wan 2.1 14B", "Wan 2.2 5B"
VACE = "Wan VACE"


def test_a_clip_has_the_size_and_length_of_the_grid(film, model, order):
    # 18 frames are nearest to 17, which is 4 n + 1.
    assert film(model, order(num_frames=18)).shape == (17, 64, 96, 3)


def test_the_ends_of_a_clip_are_the_keyframes_cropped_to_cover(filmed, order):
    _, keyframes = order()
    for frame, keyframe in zip((filmed[0], filmed[-1]), keyframes, strict=True):
        assert torch.equal(frame, fitted(keyframe.image, 96, 64))


def test_the_same_order_gives_the_same_bytes_also_from_another_object(film, make, filmed, order):
    assert torch.equal(film(make(), order()), filmed)


def test_filming_again_on_kept_encodings_gives_the_same_bytes(film, model, filmed, order):
    assert torch.equal(film(model, order()), filmed)


@pytest.mark.parametrize(
    "change",
    [{"take": 2}, {"seed": 5}, {"description": "Ida runs"}, {"seeds": (1, 3)}, {"seeds": (3, 2)}],
    ids=["take", "seed", "description", "end", "start"],
)
def test_another_take_seed_word_or_end_is_another_clip(film, model, filmed, order, change):
    assert not torch.equal(inner(film(model, order(**change))), inner(filmed))


@pytest.mark.parametrize("half", ["start", "end"])
def test_one_end_is_enough(film, model, filmed, order, half):
    alone = film(model, order(halves=(half,)))
    assert alone.shape == filmed.shape and not torch.equal(inner(alone), inner(filmed))


def test_without_a_keyframe_it_is_refused(film, model, order):
    with pytest.raises(ValueError, match="shot 2 has no start or end frame"):
        film(model, order(halves=()))


def test_a_shot_too_long_is_refused_with_the_numbers(film, model, order):
    says = r"shot 2: 37 frames at 16 per second.* 17 well; plan at most 17 of its 37 .* into 3 "
    with pytest.raises(ValueError, match=says):
        film(model, order(num_frames=37))


def test_both_models_film(film, make, experts, filmed, order):
    high, low = experts
    swapped = film(make((low, high)), order())
    alone = film(make((high, None)), order())
    assert not torch.equal(inner(swapped), inner(filmed))
    assert not torch.equal(inner(alone), inner(filmed))


def test_two_halves_of_one_model_film_as_the_whole(pack, film, make, order):
    # Euler keeps no history, so nothing may be lost where the second model takes over.
    high = wan(36, seed=1)
    whole = film(make((high, None), steps=4), order())
    halves = film(make((high, wan(36, seed=1)), steps=4, switch_at=2), order())
    assert (whole.int() - halves.int()).abs().max() <= 1


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m", "euler_ancestral"])
def test_steps_are_counted_up_to_all(film, make, order, sampler):
    steps = []
    film(make(steps=4, switch_at=2, sampler=sampler), order(), steps_of(steps))
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def steps_of(steps):
    """Notes each number of steps once: filming begins with several things to encode."""
    return lambda shot, *step: steps.append(step) if step not in steps[-1:] else None


def test_filming_is_cancelled_within_a_step(film, model, order):
    reports = []

    def cancel(*step):
        reports.append(step)
        if step[1] == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        film(model, order(), cancel)
    assert [step[1] for step in reports if step[1]] == [1]


def test_the_host_is_interrupted_inside_a_step(film, model, order):
    import comfy.model_management as host

    def stop(shot, done, total):
        host.interrupt_current_processing(done == 1)

    with pytest.raises(host.InterruptProcessingException):
        film(model, order(take=9), stop)


def test_filming_leaves_the_global_generator_alone(film, model, order):
    state = torch.random.get_rng_state()
    film(model, order(take=3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_filming_leaves_the_models_as_they_were(film, model, experts, order):
    before = [(dict(m.object_patches), dict(m.model_options)) for m in experts]
    film(model, order(take=4))
    assert [(dict(m.object_patches), dict(m.model_options)) for m in experts] == before


def test_the_condition_is_the_hosts_own(pack, film, make, large_vae, order):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3
    from comfy_extras.nodes_wan import WanFirstLastFrameToVideo

    import nodes

    video = pack.stage_core.encoding.video_prompts
    protocol = pack.stage_core.backends.protocol
    high, low = wan(36, seed=1), wan(36, seed=2)
    brief, keyframes = order(seed=7)
    ends = [fitted(k.image, 96, 64)[None].float() / 255 for k in keyframes]
    words = Words()
    texts = [
        words.encode_from_tokens_scheduled(words.tokenize(text))
        for text in (video.video_prompt(brief), video.video_negative(brief))
    ]
    with torch.inference_mode():
        positive, negative, latent = WanFirstLastFrameToVideo.execute(
            *texts, large_vae, 96, 64, 5, 1, start_image=ends[0], end_image=ends[1]
        ).result
        rough, fine = (ModelSamplingSD3().patch(m, 5.0)[0] for m in (high, low))
        sampler = nodes.KSamplerAdvanced()
        common = ("euler", "simple", positive, negative)
        (latent,) = sampler.sample(rough, "enable", 7, 2, 2.0, *common, latent, 0, 1, "enable")
        (latent,) = sampler.sample(fine, "disable", 7, 2, 2.0, *common, latent, 1, 10000, "disable")
        wanted = large_vae.decode(latent["samples"])[0].clamp(0, 1).mul(255).round().byte()
    assert protocol.filming_seed(brief.shot, protocol.Sampling()) == 7
    assert torch.equal(inner(film(make(), (brief, keyframes))), inner(wanted))


def test_of_a_swapped_end_only_the_end_is_seen_again(film, make, large_vae, order):
    sight, words = Sight(), Words()
    first = wan(36, kind="i2v", flf_pos_embed_token_number=514)
    model = make((first, None), words, large_vae, sight)
    before = film(model, order())
    assert (sight.seen, len(words.asked)) == (2, 2)
    swapped = film(model, order(seeds=(1, 3)))
    assert (sight.seen, len(words.asked)) == (3, 2)
    assert not torch.equal(inner(before), inner(swapped))


def test_the_small_model_films_from_its_start_alone(pack, film, make, small_vae, order):
    Grid = pack.stage_core.backends.protocol.Grid
    small = wan(48, latents=48)
    model = make((small, None), vae=small_vae, grid=Grid(LARGE_AREA, 32, Fraction(24), 4))
    both = film(model, order(num_frames=6))
    assert both.shape == (9, 64, 96, 3)
    assert torch.equal(film(model, order(num_frames=6, halves=("start",))), both)
    other = film(model, order(num_frames=6, seeds=(3, 2)))
    assert not torch.equal(other[1:], both[1:])
    with pytest.raises(ValueError, match="shot 2 has no start frame"):
        film(model, order(num_frames=6, halves=("end",)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: {"models": (wan(16), None)}, "model_high is a text-to-video model.* 16 .* 36"),
        (lambda: {"models": (wan(36), wan(16))}, "model_low is a text-to-video model"),
        (lambda: {"models": (wan(52), None)}, "model_high is a Wan for another use.* 52"),
        (lambda: {"models": (wan(48, latents=48), None)}, "vae makes latents of 16 .* 48"),
        (lambda: {"models": (wan(36), wan(48, latents=48))}, "model_low is Wan 2.2 5B"),
        (lambda: {"models": [wan(36)] * 2}, "the same model"),
        (lambda: {"models": (wan(36, kind="i2v"), None)}, "connect clip_vision"),
        (lambda: {"clip": Words(name="t5xxl")}, "another model .t5xxl."),
        (lambda: {"switch_at": 2}, "switch_at 2 of 2 steps"),
    ],
)
def test_a_wrong_pairing_is_refused_at_once_in_words(make, wrong, says):
    with pytest.raises(ValueError, match=says):
        make(**wrong())


def test_settings_of_the_other_family_are_refused(pack, make):
    Grid = pack.stage_core.backends.protocol.Grid
    with pytest.raises(ValueError, match="a 14B Wan and the settings are not"):
        make(grid=Grid(LARGE_AREA, 32, Fraction(24), 4))


def test_text_and_sight_of_another_width_are_refused_before_sampling(film, make, order):
    with pytest.raises(ValueError, match=r"text 64 wide .* 4096"):
        film(make(clip=Words(64)), order())
    with pytest.raises(ValueError, match=r"pictures 768 wide .* 1280"):
        film(make((wan(36, kind="i2v"), None), sight=Sight(768)), order())


@pytest.mark.parametrize(
    ("name", "size", "found"),
    [
        (TWO, "480p", (832, 480, 16)),
        (ONE, "720p", (1280, 720, 16)),
        (SMALL, "720p", (1280, 704, 24)),
    ],
)
def test_the_grid_is_known_from_the_graph(pack, node, name, size, found):
    Format = pack.stage_core.story.shot_list.FrameFormat
    grid = node("STAGE_ShotModel").grid_of({"settings": name, "settings.size": size})
    width, height, rate = found
    assert (*grid.size(Format(width, height)), grid.rate) == (width, height, rate)


def test_each_choice_of_settings_makes_a_model(pack, node, experts, large_vae, small_vae):
    cls = node("STAGE_ShotModel")
    options = next(slot for slot in cls.GET_SCHEMA().inputs if slot.id == "settings").options
    assert [option.key for option in options] == [TWO, FOUR, ONE, SMALL, VACE]
    for option in options[:-1]:
        values = {"settings": option.key} | {slot.id: slot.default for slot in option.inputs}
        is_small = option.key == SMALL
        parts = {"model_high": wan(48, latents=48) if is_small else experts[0], "clip": Words()}
        parts |= {"vae": small_vae if is_small else large_vae, "settings": values}
        two = {"model_low": experts[1]} if "switch_at" in values else {}
        (made,) = cls.execute(**parts, **two).result
        inputs = {"settings": option.key, "settings.size": values["size"]}
        assert made.grid == cls.grid_of(inputs) and made.reads == cls.reads_of(inputs)
        if not two:
            with pytest.raises(ValueError, match="know one model"):
                cls.execute(**parts, model_low=experts[1])


@pytest.mark.parametrize(
    ("high", "low", "says"),
    [
        ("wan_low_noise.safetensors", "wan_high_noise.safetensors", "belongs to model_low"),
        ("wan.safetensors", "Wan-HighNoise-Q8.gguf", "belongs to model_high"),
        ("wan.safetensors", "wan.safetensors", "both made from wan.safetensors"),
    ],
)
def test_swapped_and_identical_experts_are_told_by_their_files(
    pack, node, experts, large_vae, monkeypatch, high, low, says
):
    nodes = {
        "1": {"inputs": {"model_high": ["2", 0], "model_low": ["3", 0]}},
        "2": {"inputs": {"model": ["4", 0], "strength": 1.0}},
        "3": {"inputs": {"unet_name": low}},
        "4": {"inputs": {"unet_name": high}},
    }
    cls = node("STAGE_ShotModel")
    prompt = SimpleNamespace(get_node=nodes.__getitem__)
    monkeypatch.setattr(cls, "hidden", SimpleNamespace(dynprompt=prompt))
    monkeypatch.setattr(pack.nodes.lineage, "running_node", lambda: "1")
    monkeypatch.setattr(pack.nodes.host, "say", print)
    with pytest.raises(ValueError, match=says):
        pack.nodes.shot_model._check_names(cls)
