"""The tiny models: what a trained model's results depend on, theirs depend on as well."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from stage_core.backends.protocol import Sampling
from stage_core.backends.tiny import TinyShots, TinyStoryboard
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.frames import FramePair, Picture, no_frames
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

STORYBOARD, SHOTS = TinyStoryboard(), TinyShots()
SHOT = Shot("1", "a fox crosses the snow", cast=("Fox",), num_frames=24)


def quiet(shot, done, total):
    pass


def order(shot=SHOT, given=None, pack=MemoryPack(), **words):  # noqa: B008 (frozen)
    return ShotBrief(shot, FrameFormat(), pack, given or no_frames(shot), **words)


def draw(brief=None, **settings):
    sampling = Sampling(**{"steps": 3, **settings})
    return STORYBOARD.draw(brief or order(), sampling, quiet)


def film(brief=None, keyframes=(), **settings):
    sampling = Sampling(**{"steps": 3, **settings})
    return SHOTS.film(brief or order(), keyframes, sampling, quiet).frames


@cache
def drawn():
    return draw()


@cache
def filmed():
    return film()


def gradient(flipped=False):
    ramp = torch.linspace(0, 1, 64)[None, :, None].expand(36, 64, 3)
    return Picture.of(ramp.flip(1) if flipped else ramp)


CHANGED = [
    order(replace(SHOT, description="a fox crosses the snoW")),
    order(replace(SHOT, scene=Scene("hill"))),
    order(replace(SHOT, cast=("Owl",))),
    order(replace(SHOT, scale=ShotScale.WIDE)),
    order(replace(SHOT, angle=CameraAngle.LOW)),
    order(replace(SHOT, movement=CameraMovement.PAN_LEFT)),
    order(replace(SHOT, prompt="a fox")),
    order(replace(SHOT, negative="birds")),
    order(negative="birds"),
    order(theme="winter"),
    order(look="ink"),
]


@pytest.mark.parametrize("brief", CHANGED)
def test_every_word_counts_in_pairs_and_clips(brief):
    assert draw(brief).digests != drawn().digests
    assert not torch.equal(film(brief), filmed())


def test_one_letter_in_a_long_prompt_counts():
    words = ["word"] * 500
    changed = [*words[:250], "work", *words[250:-1]]
    pairs = [draw(order(replace(SHOT, description=" ".join(w)))) for w in (words, changed)]
    assert pairs[0].digests != pairs[1].digests


@pytest.mark.parametrize("text", ["", "\u96ea\U0001f98a", "\udcff"])
def test_any_text_is_drawn(text):
    assert draw(order(replace(SHOT, description=text))).complete


def test_a_given_start_changes_the_end_that_is_drawn():
    given = FramePair("1", gradient(), given=frozenset({"start"}))
    assert draw(order(given=given)).end.digest != drawn().end.digest


def test_memory_beyond_its_first_frame_is_seen():
    packs = [
        MemoryPack().remember(FramePair("0", gradient(flipped), gradient()))
        for flipped in (False, True)
    ]
    pairs = [draw(order(pack=pack)) for pack in packs]
    assert pairs[0].digests != pairs[1].digests


@pytest.mark.parametrize("setting", [{"steps": 2}, {"guidance": 1.0}, {"shift": 1.0}])
def test_settings_count(setting):
    assert draw(**setting).digests != drawn().digests
    assert not torch.equal(film(**setting), filmed())


def test_another_take_is_another_clip_and_another_drawing_is_not():
    assert not torch.equal(film(order(replace(SHOT, take=2))), filmed())
    assert torch.equal(film(order(replace(SHOT, drawing=2))), filmed())


@pytest.mark.parametrize("setting", [{"guidance": 0.5}, {"steps": 1}, {"shift": 0.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=r"use|needs"):
        draw(**setting)


def test_held_keyframes_are_recognised_at_both_ends_of_a_clip():
    keyframes = FramePair("1", gradient(), gradient(flipped=True)).keyframes(SHOT.num_frames)
    columns = film(keyframes=keyframes).float().mean(dim=(1, 3))
    assert columns[0, -1] - columns[0, 0] > 200
    assert columns[-1, 0] - columns[-1, -1] > 200


def test_the_films_negative_counts_beside_the_shots_own():
    own = replace(SHOT, negative="rain")
    found = [draw(order(own, negative=film)).digests for film in ("", "fog")]
    assert found[0] != found[1]
    assert found[1] == draw(order(replace(SHOT, negative="rain, fog"))).digests
