"""Wan VACE on ComfyUI's own classes with small random weights: keyframes at any time, cast."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from stage_core.encoding.dual import fitted

from .small_wan import Words, inner, picture, wan

pytestmark = pytest.mark.comfy
SETTINGS = {"steps": 2, "guidance": 2.0, "shift": 5.0, "switch_at": 1, "guidance_low": 2.0}
SETTINGS |= {"sampler": "euler", "schedule": "simple", "size": "480p", "longest": 17}


@pytest.fixture(scope="session")
def vace(pack):
    return wan(16, seed=5, kind="vace")


@pytest.fixture
def model(make, vace):
    return make((vace, None))


@pytest.fixture
def through(pack, order):
    """A brief and keyframes at these places of a shot of 13 frames."""

    def through(*places, memory=None, cast=("Ida",), num_frames=13, **fields):
        frames = pack.stage_core.story.frames
        brief, _ = order(num_frames=num_frames, cast=cast, **fields)
        brief = replace(brief, memory=memory or brief.memory)
        return brief, tuple(frames.Keyframe(n, picture(pack, n + 1)) for n in places)

    return through


@pytest.fixture
def cast(pack):
    """A memory pack of pictures with these names."""

    def cast(*names):
        story = pack.stage_core.story.memory
        return story.MemoryPack(
            tuple(
                story.MemoryFrame(picture(pack, 90 + n, 80, 40), "reference", names=(name,))
                for n, name in enumerate(names)
            )
        )

    return cast


def by_the_host(pack, model, brief, keyframes, references):
    """What the host's own nodes film in a graph, with one reference at most."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3
    from comfy_extras.nodes_wan import TrimVideoLatent, WanVaceToVideo

    import nodes

    video, words = pack.stage_core.encoding.video_prompts, Words()
    texts = [
        words.encode_from_tokens_scheduled(words.tokenize(text))
        for text in (video.video_prompt(brief), video.video_negative(brief))
    ]
    film, mask = torch.full((13, 64, 96, 3), 0.5), torch.ones(13, 64, 96)
    for keyframe in keyframes:
        film[keyframe.index] = fitted(keyframe.image, 96, 64).float() / 255
        mask[keyframe.index] = 0
    vae = model.networks.vae
    positive, negative, latent, trim = WanVaceToVideo.execute(
        *texts,
        vae,
        96,
        64,
        13,
        1,
        1.0,
        control_video=film,
        control_masks=mask,
        reference_image=references,
    ).result
    (patched,) = ModelSamplingSD3().patch(model.networks.high, 5.0)
    (latent,) = nodes.KSampler().sample(
        patched, brief.shot.seed, 2, 2.0, "euler", "simple", positive, negative, latent
    )
    (latent,) = TrimVideoLatent.execute(latent, trim).result
    return vae.decode(latent["samples"])[0].clamp(0, 1).mul(255).round().byte()


def test_the_condition_is_the_hosts_own(pack, film, model, through):
    order = through(0, 4, 12, seed=7)
    with torch.inference_mode():
        wanted = by_the_host(pack, model, *order, None)
    assert torch.equal(inner(film(model, order)), inner(wanted))


def test_one_reference_is_the_hosts_own_whole_on_white(pack, film, model, through, cast):
    order = through(0, 12, memory=cast("Ida"), seed=7)
    (frame,) = order[0].memory.references
    # 40 x 80 pixels are 32 x 64 in a frame of 96 x 64.
    shown = torch.ones(1, 64, 96, 3)
    pixels = frame.picture.image.float().div(255).movedim(-1, 0)[None]
    small = torch.nn.functional.interpolate(pixels, size=(64, 32), mode="bilinear")
    shown[:, :, 32:64] = small.movedim(1, -1)
    with torch.inference_mode():
        wanted = by_the_host(pack, model, *order, shown)
    assert torch.equal(inner(film(model, order)), inner(wanted))


def test_keyframes_go_to_the_nearest_end_of_a_latent_and_it_is_said(film, model, through):
    snapped = film(model, through(0, 5, 12))
    # 5 of 12 is nearest to 4, the pictures being other ones than at 4.
    moved = "the keyframe at 5 of 12 is moved to and filmed at 4 of the model's 12, "
    assert moved in model.remarks[0] and "of 255 levels from its picture" in model.remarks[0]
    assert snapped.shape == (13, 64, 96, 3)
    film(model, through(0, 4, 12))
    assert "the keyframe at 4 of 12 is filmed at 4 of the model's 12, " in model.remarks[0]


def test_the_ends_are_the_keyframes_and_the_middle_is_filmed(film, model, through):
    order = through(0, 4, 12)
    frames = film(model, order)
    start, middle, end = (fitted(keyframe.image, 96, 64) for keyframe in order[1])
    assert torch.equal(frames[0], start) and torch.equal(frames[-1], end)
    assert not torch.equal(frames[4], middle)


def test_any_keyframe_alone_is_enough_and_each_matters(film, model, through):
    films = [film(model, through(*places)) for places in ((0,), (8,), (12,), (0, 8), (0, 4, 8))]
    for place, one in enumerate(films):
        assert not any(torch.equal(inner(one), inner(other)) for other in films[:place])


def test_the_shots_cast_is_shown_to_the_model_and_nobody_else(film, model, through, cast):
    alone = film(model, through(0, 12))
    ida = film(model, through(0, 12, memory=cast("Ida")))
    assert ida.shape == alone.shape and not torch.equal(inner(ida), inner(alone))
    assert torch.equal(film(model, through(0, 12, memory=cast("Ida", "Jon"))), ida)
    assert torch.equal(film(model, through(0, 12, memory=cast("Jon"))), alone)
    both = film(model, through(0, 12, memory=cast("Ida", "Jon"), cast=("JON", "ida")))
    assert both.shape == alone.shape and not torch.equal(inner(both), inner(ida))


def test_a_reference_is_encoded_once_for_the_film(film, model, through, cast, monkeypatch):
    vae, encoded = model.networks.vae, []
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
    film(model, through(0, 12, memory=cast("Ida")))
    assert encoded.count(1) == 1
    film(model, through(0, 8, memory=cast("Ida")))
    assert encoded.count(1) == 1


def test_two_models_of_vace_film_with_references(film, make, vace, through, cast):
    model = make((vace, wan(16, seed=6, kind="vace")))
    order = through(0, 12, memory=cast("Ida"))
    one = film(model, order)
    assert one.shape == (13, 64, 96, 3)
    assert not torch.equal(inner(one), inner(film(make((vace, None)), order)))


def test_keyframes_too_near_or_outside_are_refused(film, model, through):
    with pytest.raises(ValueError, match="keyframes at 4 and 5 are less than 4"):
        film(model, through(0, 4, 5))
    with pytest.raises(ValueError, match="a keyframe at 13 of 13 frames; use 0 to 12"):
        film(model, through(0, 13))
    with pytest.raises(ValueError, match="has no keyframe"):
        film(model, through())


def test_a_model_between_two_frames_refuses_a_third(film, make, through):
    with pytest.raises(ValueError, match=r"a keyframe at 4; .* Wan VACE through keyframes"):
        film(make(), through(0, 4, 12))


def test_only_one_kind_of_model_films_a_shot(make, vace):
    with pytest.raises(ValueError, match="model_high is a Wan VACE and model_low is not"):
        make((vace, wan(36)))
    with pytest.raises(ValueError, match="model_low is a Wan VACE and model_high is not"):
        make((wan(36), vace))


def test_the_node_knows_from_the_graph_that_vace_reads_memory(node, vace, large_vae, experts):
    cls, parts = node("STAGE_ShotModel"), {"clip": Words(), "vae": large_vae}
    settings = {"settings": "Wan VACE", **SETTINGS}
    (made,) = cls.execute(model_high=vace, settings=settings, **parts).result
    assert made.reads == cls.reads_of({"settings": "Wan VACE"}) >= {"memory", "cast"}
    assert "memory" not in cls.reads_of({"settings": "Wan 2.2 14B"})
    with pytest.raises(ValueError, match=r"a Wan VACE and the settings are for Wan 2.2 14B"):
        cls.execute(model_high=vace, settings={**settings, "settings": "Wan 2.2 14B"}, **parts)
    with pytest.raises(ValueError, match="no Wan VACE and the settings are for Wan VACE"):
        cls.execute(model_high=experts[0], settings=settings, **parts)


def test_a_swapped_keyframe_between_films_that_shot_and_no_other(pack, model, tmp_path):
    story, takes = pack.stage_core.story, pack.stage_core.takes
    Sampling, ignore = pack.stage_core.backends.protocol.Sampling, lambda *step: None
    shots = tuple(story.shot_list.Shot(str(n), f"Ida waits {n}", num_frames=13) for n in (1, 2))
    size = story.shot_list.FrameFormat(96, 64, Fraction(16))
    board = story.storyboard.Storyboard(story.shot_list.ShotList(frame_format=size, shots=shots))
    for n, shot in enumerate(shots):
        halves = (picture(pack, 2 * n + half) for half in (0, 1))
        board = board.with_pair(story.frames.FramePair(shot.id, *halves))

    def film(board):
        kept = takes.KeptTakes(model, pack.stage_core.project.Project(tmp_path))
        with torch.inference_mode():
            board = pack.stage_core.pipeline.film(
                board, kept, story.memory.MemoryPack(), Sampling(), ignore
            )
        return board, kept.filmed

    def given(board, seed):
        return board.with_between("2", [story.frames.Keyframe(4, picture(pack, seed))])

    bare, filmed = film(board)
    assert filmed == ["1", "2"]
    through, filmed = film(given(board, 50))
    assert filmed == ["2"] and "shot 2, take 1: the keyframe at 4" in model.remarks[0]
    frames = [torch.stack(list(each.clips["2"].frames)) for each in (bare, through)]
    assert not torch.equal(inner(frames[0]), inner(frames[1]))
    assert film(given(through, 51))[1] == ["2"] and film(given(board, 50))[1] == []
