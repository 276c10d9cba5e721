"""A film in phases is the film shot by shot, moves weights once, and goes on where it rested."""

import logging
from dataclasses import replace
from functools import cache

import pytest
import torch

from stage_core.backends.protocol import FilmJob, Nowhere, Sampling
from stage_core.backends.wan import WanShots
from stage_core.backends.wan_networks import WanSettings
from stage_core.backends.wan_tiny import KINDS, tiny_wan
from stage_core.offload.placed import Offload, OffloadPolicy
from stage_core.story.brief import ShotBrief
from stage_core.story.frames import FramePair, Keyframe, Picture, no_frames
from stage_core.story.members import Member
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

# Nine frames of the model: three latent frames.
SHOTS = tuple(Shot(name, f"Ana waits {name}", cast=("Ana",), num_frames=25) for name in "123")
FILM = FrameFormat(320, 240)
EACH = pytest.mark.parametrize("kind", KINDS)


class Resting:
    """Rests in memory."""

    def __init__(self, tensors=None):
        self.tensors, self.writes = tensors, []

    def read(self):
        return self.tensors

    def write(self, latents):
        self.tensors = latents
        self.writes.append(latents)


class Stopped(BaseException):
    pass


def picture(seed):
    generator = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(0, 256, (32, 48, 3), generator=generator).byte())


def brief(shot, memory=None):
    return ShotBrief(shot, FILM, memory or MemoryPack(), no_frames(shot))


def ends(shot, seed=1):
    return FramePair(shot.id, picture(seed), picture(seed + 1)).keyframes(shot.num_frames)


def jobs(count=3, halfways=None, num_frames=13):
    """Orders for the first shots; 13 frames are five of the model, two latent ones."""
    halfways = halfways or [Nowhere()] * count
    shots = [replace(shot, num_frames=num_frames) for shot in SHOTS[:count]]
    return [
        FilmJob(brief(shot), ends(shot, 10 * place), halfways[place])
        for place, shot in enumerate(shots)
    ]


def quiet(*step):
    pass


def film(model, keyframes, shot=SHOTS[0], memory=None):
    return model.film(brief(shot, memory), keyframes, Sampling(), quiet)


def films(model, orders, on_step=quiet):
    return [clip.frames for clip in model.film_many(orders, Sampling(), on_step)]


def switching(kind="two experts"):
    """The second expert makes the last two of four steps."""
    model = tiny_wan(kind)
    return WanShots(model.source, replace(model.sampling, boundary=0.9))


@EACH
def test_a_film_in_phases_has_the_clips_of_shot_by_shot(kind):
    together = films(switching(kind), jobs(num_frames=25))
    alone = switching(kind)
    one_by_one = [films(alone, [order])[0] for order in jobs(num_frames=25)]
    assert all(torch.equal(a, b) for a, b in zip(together, one_by_one, strict=True))


@EACH
@pytest.mark.parametrize("num_frames", [13, pytest.param(25, marks=pytest.mark.slow)])
def test_streaming_weights_give_the_same_clips(kind, num_frames):
    model, orders = switching(kind), jobs(2, num_frames=num_frames)
    whole, once = films(model, orders), model.report.moved_bytes
    settings = WanSettings(offload=OffloadPolicy(Offload.STREAMS))
    model = WanShots(model.source, model.sampling, settings)
    streamed = films(model, orders)
    assert all(torch.equal(a, b) for a, b in zip(streamed, whole, strict=True))
    # Where nothing stays, every step of every shot fetches the blocks again.
    assert model.report.moved_bytes > once
    cost, *places = model.remarks
    assert cost == str(model.report)
    assert all("streams, 0 of " in said for said in places) and len(places) > 1


def test_all_shots_pass_the_first_expert_before_the_second():
    steps = []
    films(switching(), jobs(2), lambda shot, done, total: steps.append((shot.id, done)))
    first = [(shot, done) for shot in "12" for done in (1, 2)]
    assert steps == first + [(shot, done) for shot in "12" for done in (3, 4)]


def test_weights_move_once_per_film_whatever_the_number_of_shots():
    reports = []
    for count in (1, 3):
        model = switching()
        films(model, jobs(count))
        reports.append(model.report)
    assert reports[0].moved_bytes == reports[1].moved_bytes
    assert reports[1].moved_bytes_by_shot == 3 * reports[0].moved_bytes_by_shot
    assert reports[0].moved_bytes == reports[0].moved_bytes_by_shot


def test_weights_move_once_per_film_whatever_the_number_of_takes():
    moved, made = [], []
    for count in (1, 3):
        model = switching()
        encode = model.networks.vae.network.encode
        model.networks.vae.network.encode = lambda video, e=encode: made.append(1) or e(video)
        takes = [
            replace(job, brief=replace(job.brief, shot=replace(job.brief.shot, take=take)))
            for take in range(1, count + 1)
            for job in jobs(2)
        ]
        films(model, takes)
        moved.append(model.report.moved_bytes)
    assert moved[0] == moved[1]
    # Each shot's condition once for all of its takes.
    assert len(made) == 2 + 2


def sampled(sampler):
    model = switching()
    return WanShots(model.source, replace(model.sampling, sampler=sampler))


@cache
def whole_film(sampler):
    return films(sampled(sampler), jobs())


@pytest.mark.parametrize(
    ("sampler", "after"),
    [
        *(("unipc", after) for after in (1, 2, 5, 7, 12)),
        *(("euler", after) for after in (2, 7)),
        # It remembers nothing of the steps before, so these say less.
        *(pytest.param("euler", after, marks=pytest.mark.slow) for after in (1, 5, 12)),
    ],
)
def test_a_stopped_film_goes_on_where_it_rested_with_the_same_pixels(sampler, after):
    model, whole = sampled(sampler), whole_film(sampler)
    halfways, left = [Resting() for _ in SHOTS], [after]

    def stop(*step):
        left[0] -= 1
        if not left[0]:
            raise Stopped

    with pytest.raises(Stopped):
        films(model, jobs(halfways=halfways), stop)
    steps = []
    resumed = films(model, jobs(halfways=halfways), lambda *step: steps.append(step))
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole, strict=True))
    # One phase has two steps, of which one shot has lost at most one and the one that stopped it.
    assert len(steps) <= 12 - after + 2


def test_a_rested_film_that_lacks_only_its_decoding_reads_no_words_and_moves_the_vae_alone():
    model, halfways = switching(), [Resting() for _ in SHOTS]
    whole = films(model, jobs(halfways=halfways))
    assert [len(halfway.writes) for halfway in halfways] == [2, 2, 2]
    again = switching()
    found = films(again, jobs(halfways=[Resting(halfway.tensors) for halfway in halfways]))
    assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    assert set(again.report.seconds) == {"encode", "experts", "decode"}
    vae = sum(weight.numel() for weight in again.networks.vae.network.parameters())
    assert again.report.moved_bytes == 4 * vae


@pytest.mark.parametrize("kind", ["two experts", "seeing", "led"])
def test_start_alone_end_alone_both_and_neither_are_four_clips(kind):
    model = tiny_wan(kind)
    start, end = ends(SHOTS[0])
    found = []
    for keyframes in [(start,), (end,), (start, end), ()]:
        halfway = Resting()
        films(model, [FilmJob(brief(SHOTS[0]), keyframes, halfway)])
        # Not the pixels: tiny networks make less of an end than rounding to eight bits.
        found.append(halfway.tensors["latents"])
    for place, latents in enumerate(found):
        assert not any(torch.allclose(latents, other, atol=1e-5) for other in found[:place])


def test_the_ends_of_a_clip_are_the_keyframes_themselves():
    start, end = ends(SHOTS[0])
    frames = film(tiny_wan(), (start, end)).frames
    assert torch.equal(frames[0], start.image)
    assert torch.equal(frames[-1], end.image)


def test_the_small_model_films_from_the_start_alone():
    model = tiny_wan("small")
    start, end = ends(SHOTS[0])
    both, alone = film(model, (start, end)), film(model, (start,))
    assert torch.equal(both.frames, alone.frames)
    assert not torch.equal(film(model, ()).frames, alone.frames)


def test_a_keyframe_in_the_middle_is_refused_by_a_model_of_two_ends():
    with pytest.raises(ValueError, match=r"shot 1: a keyframe at 7; .* between a start"):
        film(tiny_wan(), (Keyframe(7, picture(1)),))


@pytest.mark.parametrize(("planned", "index"), [(0, 0), (4, 0), (8, 4), (12, 4), (20, 8), (24, 8)])
def test_a_led_model_takes_a_keyframe_at_the_nearest_group_and_tells_how_near_it_came(
    planned, index
):
    model = tiny_wan("led")
    film(model, (Keyframe(planned, picture(1)),))
    (met,) = model.report.meetings
    assert (met.shot_id, met.planned, met.index) == ("1", planned, index)
    assert 0 < met.levels < 255
    told = [said for said in model.remarks if "levels from its picture" in said]
    where = f"keyframe at {planned} of 24 is moved to and filmed at {index} of the model's 8"
    assert (where in "".join(told)) == (planned in (4, 8, 20))


def test_keyframes_of_one_group_are_refused():
    with pytest.raises(ValueError, match="keyframes at 11 and 13 are less than 4 of the model's 9"):
        film(tiny_wan("led"), (Keyframe(11, picture(1)), Keyframe(13, picture(2))))


def test_a_led_model_looks_at_the_shots_cast_and_at_nobody_else():
    model, keyframes = tiny_wan("led"), ends(SHOTS[0])

    def with_reference(name, seed):
        frame = MemoryFrame(picture(seed), "reference", names=(name,))
        return film(model, keyframes, memory=MemoryPack(references=(frame,))).frames

    assert not torch.equal(with_reference("ana", 5), with_reference("Ana", 6))
    assert torch.equal(with_reference("Ben", 5), with_reference("Ben", 6))


def test_each_picture_is_seen_once_and_a_swapped_end_alone_again():
    model, seen = tiny_wan("seeing"), []
    model.networks.sight.network.register_forward_hook(lambda *_: seen.append(1))
    start, end = ends(SHOTS[0])
    film(model, (start, end))
    film(model, (start, end), SHOTS[1])
    assert len(seen) == 2
    film(model, (start, Keyframe(end.index, picture(7))))
    assert len(seen) == 3


def test_each_text_and_each_condition_is_encoded_once():
    model, made = tiny_wan(), []
    model.networks.text.network.register_forward_hook(lambda *_: made.append("text"))
    encode = model.networks.vae.network.encode
    model.networks.vae.network.encode = lambda video: made.append("video") or encode(video)
    for take in (1, 2):
        film(model, ends(SHOTS[0]), replace(SHOTS[0], take=take))
    assert made == ["text", "text", "video"]


def test_what_all_shots_avoid_is_read_once_by_each_expert():
    model, read = tiny_wan(), []
    for expert in (model.networks.high, model.networks.low):
        own = expert.read
        expert.read = lambda *given, own=own: read.append(own) or own(*given)
    together = films(model, jobs())
    assert len(read) == 2 * (3 + 1)
    alone = [film(model, job.keyframes, job.brief.shot).frames for job in jobs()]
    assert all(map(torch.equal, together, alone))


def test_too_long_a_shot_is_refused_before_any_step():
    steps = []
    orders = [*jobs(1), FilmJob(brief(replace(SHOTS[1], num_frames=400)), (), Nowhere())]
    with pytest.raises(ValueError, match=r"shot 2: 133 frames at 8 per second.* 81 well"):
        films(tiny_wan(), orders, lambda *step: steps.append(step))
    assert steps == []


def test_guidance_below_one_and_an_unknown_sampler_are_refused():
    with pytest.raises(ValueError, match=r"guidance 0\.5; use at least 1"):
        tiny_wan().film(brief(SHOTS[0]), (), Sampling(guidance=0.5), quiet)
    with pytest.raises(ValueError, match="sampler 'dpm'; there are unipc, euler"):
        replace(tiny_wan().sampling, sampler="dpm")


def test_steps_guidance_and_shift_of_a_film_take_the_place_of_the_models_own():
    model, keyframes = tiny_wan(), ends(SHOTS[0])
    own = film(model, keyframes).frames
    for sampling in (Sampling(steps=3), Sampling(guidance=1.0), Sampling(shift=12.0)):
        clip = model.film(brief(SHOTS[0]), keyframes, sampling, quiet)
        assert not torch.equal(clip.frames, own)


def test_without_guidance_nothing_is_avoided():
    model, keyframes = tiny_wan(), ends(SHOTS[0])
    found = [
        model.film(brief(replace(SHOTS[0], negative=words)), keyframes, sampling, quiet).frames
        for sampling in (Sampling(guidance=1.0), Sampling())
        for words in ("fog", "rain")
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[2], found[3])


def test_settings_are_in_the_identity():
    model = tiny_wan()
    other = WanShots(model.source, replace(model.sampling, shift=3.0))
    assert other.identity != model.identity
    assert tiny_wan(seed=1).identity != model.identity
    assert tiny_wan().identity == model.identity


def test_how_near_a_clip_came_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        film(tiny_wan(), ends(SHOTS[0]))
    said = "shot 1, take 1: the keyframe at 24 of 24 is filmed at 8 of the model's 8, "
    assert said in caplog.text and "of 255 levels from its picture" in caplog.text


def test_the_report_is_a_line_that_a_person_can_read():
    model = switching()
    films(model, jobs())
    model.report.seconds = {"encode": 1.0, "experts": 20.04}
    said = str(model.report)
    assert said.startswith("weights moved: 0.0004")
    assert "shot by shot it would be 0.001" in said
    assert "encode 1.0 s, experts 20.0 s; keyframes met within" in said


def test_a_clip_that_was_decoded_in_tiles_is_told(monkeypatch):
    model = tiny_wan()
    network = model.networks.vae.network
    decode = network.decode

    def narrow(raw):
        if not network.use_tiling:
            raise torch.OutOfMemoryError("full")
        return decode(raw)

    whole = films(model, jobs(2))
    assert not any("tiles" in said for said in model.remarks)
    monkeypatch.setattr(network, "decode", narrow)
    # Clips as small as these are one tile.
    assert all(map(torch.equal, films(model, jobs(2)), whole))
    assert any("in tiles, for want of VRAM: 1, 2" in said for said in model.remarks)


def test_all_shots_are_checked_before_a_network_is_loaded():
    loaded = []
    model = tiny_wan()
    model = WanShots(replace(model.source, load=lambda: loaded.append(1)), model.sampling)
    long = FilmJob(brief(replace(SHOTS[1], num_frames=400)), (), Nowhere())
    says = r"shot 2: .* 81 well; plan at most 243 of its 400 frames, divide it into 2 shots"
    with pytest.raises(ValueError, match=says):
        films(model, [*jobs(1), long])
    assert loaded == []


@pytest.mark.parametrize(("network", "named"), [("high", "shot 1"), ("text", "shots 1 to 2")])
def test_out_of_memory_is_one_sentence_that_names_the_shot(network, named):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model = tiny_wan()
    part = getattr(model.networks, network)
    getattr(part, "network", part).register_forward_hook(full)
    says = rf"^{named}: out of memory on cpu while filming; clips that were filmed are kept"
    with pytest.raises(MemoryError, match=says):
        films(model, jobs(2))


def test_a_member_that_the_words_name_is_looked_at_in_any_spelling():
    model, keyframes = tiny_wan("led"), ends(SHOTS[0])
    shot = replace(SHOTS[0], cast=())

    def named(name, seed):
        frame = MemoryFrame(picture(seed), "reference", names=(name,))
        told = replace(brief(shot, MemoryPack(references=(frame,))), members=(Member("J\u00f6"),))
        return model.film(told, keyframes, Sampling(), quiet).frames

    assert not torch.equal(named("J\u00f6", 5), named("JO\u0308", 6))
    assert torch.equal(named("Ben", 5), named("Ben", 6))
    assert "members" in model.reads
