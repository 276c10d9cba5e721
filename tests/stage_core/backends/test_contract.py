"""What every model that draws or films owes to the rest of the engine."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
import torch

from stage_core.backends.load import (
    SHOT_MODELS,
    STORYBOARD_MODELS,
    load_shot_model,
    load_storyboard_model,
)
from stage_core.backends.protocol import Sampling
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import (
    CameraAngle,
    CameraMovement,
    ShotScale,
    Transition,
    TransitionKind,
)
from stage_core.story.frames import FramePair, Keyframe, Picture, no_frames
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

# Models of files, here of the real classes with few and random weights.
WAN = ("wan two experts", "wan led")


def new_shot_model(name):
    if name not in WAN:
        return load_shot_model(name)
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package)
    from stage_core.backends.wan_tiny import tiny_wan

    return tiny_wan(name.removeprefix("wan "), steps=2)


storyboard_model = cache(load_storyboard_model)
shot_model = cache(new_shot_model)
DRAWING = pytest.mark.parametrize("name", STORYBOARD_MODELS)
FILMING = pytest.mark.parametrize("name", (*SHOT_MODELS, *WAN))
SHOT = Shot(
    "2A", "Ana waits by the window", Scene("kitchen", True, "night"), ("Ana",), num_frames=17
)
FILM = FrameFormat(320, 180, Fraction(24))
OTHER_FIELDS = {
    "description": "a dog runs along the beach",
    "scene": Scene("beach", False, "day"),
    "cast": ("Ben", "Cleo"),
    "dialogue": "BEN: Come here.",
    "beat": "the chase",
    "scale": ShotScale.CLOSE_UP,
    "angle": CameraAngle.LOW,
    "movement": CameraMovement.PAN_LEFT,
    "transition": Transition(TransitionKind.FADE, 6),
    "prompt": "a lighthouse",
    "negative": "fog",
    "continues": True,
    "keep": True,
    "theme": "patience",
    "look": "charcoal",
}


class Cancelled(BaseException):
    """Not an Exception, as an interrupt from the keyboard is none."""


def quiet(shot, done, total):
    pass


def check_cancelled(make):
    """The exception comes out as it is, and no step is reported after it."""
    reports = []

    def cancel(*step):
        reports.append(step)
        raise Cancelled

    with pytest.raises(Cancelled):
        make(cancel)
    assert len(reports) == 1


def picture(seed=0, height=36, width=64):
    generator = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(0, 256, (height, width, 3), generator=generator).byte())


def memory(seed=0):
    ana = MemoryFrame(picture(seed + 1, 60, 40), "reference", names=("Ana",))
    before = FramePair("1", picture(seed + 2), picture(seed + 3))
    return MemoryPack(references=(ana,)).remember(before, ("Ana",))


def order(shot=SHOT, given=None, film=FILM, pack=None, **words):
    pack = memory() if pack is None else pack
    return ShotBrief(shot, film, pack, given or no_frames(shot), **words)


def unread(model, fields):
    """What a shot, the plan's words and memory may change to without the model reading it."""
    changes = {name: value for name, value in fields.items() if name not in model.reads}
    words = {name: changes.pop(name) for name in ("theme", "look") if name in changes}
    pack = memory() if "memory" in model.reads else memory(seed=50)
    return changes, words, pack


def draw(name, brief, sampling=Sampling(), on_step=quiet):  # noqa: B008 (frozen)
    return storyboard_model(name).draw(brief, sampling, on_step)


def film(name, brief=None, keyframes=None, sampling=Sampling(), on_step=quiet):  # noqa: B008
    brief = brief or order()
    keyframes = both_ends(brief.shot) if keyframes is None else keyframes
    clip = shot_model(name).film(brief, keyframes, sampling, on_step)
    return clip, torch.stack(list(clip.frames))


def both_ends(shot=SHOT):
    return FramePair(shot.id, picture(7), picture(8)).keyframes(shot.num_frames)


@cache
def drawn(name):
    return draw(name, order())


@cache
def filmed(name):
    return film(name)[1]


@DRAWING
@pytest.mark.parametrize("film_format", [FILM, FrameFormat(90, 160)])
def test_a_pair_has_the_size_of_the_models_grid(name, film_format):
    pair = draw(name, order(film=film_format))
    width, height = storyboard_model(name).grid.size(film_format)
    assert pair.shot_id == SHOT.id
    assert pair.complete
    for half in (pair.start, pair.end):
        assert half.image.shape == (height, width, 3)
        assert half.image.dtype == torch.uint8


@DRAWING
def test_drawing_again_gives_the_same_pair(name):
    assert draw(name, order()).digests == drawn(name).digests


@DRAWING
def test_a_new_model_of_the_same_identity_draws_the_same_pair(name):
    model = load_storyboard_model(name)
    assert model.identity == storyboard_model(name).identity
    assert model.draw(order(), Sampling(), quiet).digests == drawn(name).digests


@DRAWING
def test_start_and_end_differ(name):
    assert len(set(drawn(name).digests)) == 2


@DRAWING
@pytest.mark.parametrize(
    ("brief", "sampling"),
    [
        (order(replace(SHOT, drawing=2)), Sampling()),
        (order(replace(SHOT, seed=12)), Sampling()),
        (order(), Sampling(seed=1)),
        (order(replace(SHOT, description="a dog runs along the beach")), Sampling()),
    ],
    ids=["drawing", "shot seed", "film seed", "description"],
)
def test_another_drawing_seed_or_description_is_another_pair(name, brief, sampling):
    found = draw(name, brief, sampling)
    assert all(a != b for a, b in zip(found.digests, drawn(name).digests, strict=True))


@DRAWING
def test_memory_changes_the_pair_where_the_model_reads_it(name):
    same = draw(name, order(pack=memory(seed=50))).digests == drawn(name).digests
    assert same == ("memory" not in storyboard_model(name).reads)


@DRAWING
def test_fields_that_a_model_does_not_read_change_no_pair(name):
    changes, words, pack = unread(storyboard_model(name), {**OTHER_FIELDS, "take": 2})
    shot = replace(SHOT, **changes)
    assert draw(name, order(shot, pack=pack, **words)).digests == drawn(name).digests


@DRAWING
def test_size_rate_and_length_of_the_film_change_no_pair(name):
    larger = FrameFormat(640, 360, Fraction(12))
    found = draw(name, order(replace(SHOT, num_frames=60), film=larger))
    assert found.digests == drawn(name).digests


@DRAWING
@pytest.mark.parametrize("halves", [{"start"}, {"end"}, {"start", "end"}])
def test_given_halves_come_back_as_they_are(name, halves):
    ends = {half: picture(20, 50, 70) for half in halves}
    given = FramePair(SHOT.id, **ends, given=frozenset(halves))
    pair = draw(name, order(given=given))
    assert pair.complete
    assert pair.given == halves
    for half in halves:
        assert torch.equal(getattr(pair, half).image, picture(20, 50, 70).image)


@DRAWING
def test_drawing_writes_to_no_input(name):
    pack, given = memory(), FramePair(SHOT.id, picture(20), given=frozenset({"start"}))
    held = [frame.picture.image for frame in pack.references + pack.recent] + [given.start.image]
    before = [image.clone() for image in held]
    draw(name, order(given=given, pack=pack))
    assert all(torch.equal(image, copy) for image, copy in zip(held, before, strict=True))


@DRAWING
def test_drawing_counts_its_steps_up_to_all(name):
    steps = []
    draw(name, order(), on_step=lambda *step: steps.append(step))
    check_steps(steps)


@DRAWING
def test_drawing_is_cancelled_within_a_step(name):
    check_cancelled(lambda cancel: draw(name, order(), on_step=cancel))


@DRAWING
def test_drawing_leaves_the_global_generator_alone(name):
    state = torch.random.get_rng_state()
    load_storyboard_model(name).draw(order(), Sampling(), quiet)
    assert torch.equal(torch.random.get_rng_state(), state)


@FILMING
@pytest.mark.parametrize(
    ("num_frames", "film_format"),
    [(17, FILM), (2, FILM), (30, FrameFormat(90, 160, Fraction(30000, 1001)))],
)
def test_a_clip_has_size_rate_and_length_of_the_models_grid(name, num_frames, film_format):
    shot, grid = replace(SHOT, num_frames=num_frames), shot_model(name).grid
    width, height = grid.size(film_format)
    ends = FramePair(shot.id, picture(7, height, width), picture(8, height, width))
    clip, frames = film(name, order(shot, film=film_format), ends.keyframes(num_frames))
    assert clip.shot_id == shot.id
    assert clip.rate == grid.rate
    assert len(clip.frames) == grid.num_frames(shot, film_format)
    assert frames.shape == (len(clip.frames), height, width, 3)
    assert frames.dtype == torch.uint8


@FILMING
def test_filming_again_gives_the_same_clip(name):
    assert torch.equal(film(name)[1], filmed(name))


@FILMING
def test_a_clip_plays_twice_alike(name):
    clip, frames = film(name)
    assert torch.equal(torch.stack(list(clip.frames)), frames)


@FILMING
def test_a_new_model_of_the_same_identity_films_the_same_clip(name):
    model = new_shot_model(name)
    clip = model.film(order(), both_ends(), Sampling(), quiet)
    assert model.identity == shot_model(name).identity
    assert torch.equal(torch.stack(list(clip.frames)), filmed(name))


@FILMING
@pytest.mark.parametrize("end", [0, 1])
def test_one_keyframe_is_enough_and_each_changes_the_clip(name, end):
    keyframes = both_ends()
    alone = film(name, keyframes=keyframes[end : end + 1])[1]
    swapped = [*keyframes]
    swapped[end] = Keyframe(keyframes[end].index, picture(9))
    assert alone.shape == filmed(name).shape
    assert not torch.equal(film(name, keyframes=tuple(swapped))[1], filmed(name))


@FILMING
def test_a_clip_begins_and_ends_nearest_to_its_keyframes(name):
    smooth = [Picture.of(torch.full((36, 64, 3), level, dtype=torch.uint8)) for level in (40, 200)]
    keyframes = FramePair(SHOT.id, *smooth).keyframes(SHOT.num_frames)
    frames = film(name, keyframes=keyframes)[1].float()
    # Of a plain picture every codec and every resampling keeps the level.
    assert (frames[0] - 40).abs().max() <= 2
    assert (frames[-1] - 200).abs().max() <= 2


@FILMING
def test_fields_that_a_model_does_not_read_change_no_clip(name):
    changes, words, pack = unread(shot_model(name), {**OTHER_FIELDS, "drawing": 2})
    shot = replace(SHOT, **changes)
    assert torch.equal(film(name, order(shot, pack=pack, **words))[1], filmed(name))


@FILMING
def test_a_film_of_another_rate_and_size_but_the_same_seconds_has_the_same_clip(name):
    shot = replace(SHOT, num_frames=33)
    slower = order(shot, film=FILM)
    faster = order(replace(shot, num_frames=66), film=FrameFormat(640, 360, Fraction(48)))
    assert torch.equal(film(name, slower)[1], film(name, faster)[1])


@FILMING
def test_filming_writes_to_no_input(name):
    pack, keyframes = memory(), both_ends()
    held = [frame.picture.image for frame in pack.references + pack.recent]
    held += [keyframe.image for keyframe in keyframes]
    before = [image.clone() for image in held]
    film(name, order(pack=pack), keyframes)
    assert all(torch.equal(image, copy) for image, copy in zip(held, before, strict=True))


@FILMING
def test_filming_counts_its_steps_up_to_all(name):
    steps = []
    film(name, on_step=lambda *step: steps.append(step))
    check_steps(steps)


@FILMING
def test_filming_is_cancelled_within_a_step(name):
    check_cancelled(lambda cancel: film(name, on_step=cancel))


@pytest.mark.parametrize("load", [load_storyboard_model, load_shot_model])
def test_an_unknown_model_is_answered_with_the_known_ones(load):
    with pytest.raises(ValueError, match=r"'sora'; there are .*tiny"):
        load("sora")


def check_steps(steps):
    """Steps are counted for the shot without a gap, from at most 1 to all of them."""
    shots, done, total = zip(*steps, strict=True)
    assert set(shots) == {SHOT}
    assert len(set(total)) == 1
    assert list(done) == list(range(done[0], total[0] + 1))
    assert done[0] in (0, 1)
