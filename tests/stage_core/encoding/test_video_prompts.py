"""A shot in words for a video model."""

from dataclasses import replace

import pytest

from stage_core.encoding.video_prompts import NEGATIVE, READS, video_negative, video_prompt
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.frames import no_frames
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

SHOT = Shot("1", "Ida climbs the ladder.", Scene("HARBOUR", False, "NIGHT"))


def brief(shot=SHOT, **words):
    return ShotBrief(shot, FrameFormat(), MemoryPack(), no_frames(shot), **words)


def test_what_happens_comes_first_and_the_look_last():
    text = video_prompt(brief(look="charcoal"))
    assert text.startswith("Ida climbs the ladder. The camera stands still.")
    assert text.endswith("HARBOUR, NIGHT. charcoal.")


@pytest.mark.parametrize(
    ("field", "terms"),
    [("movement", CameraMovement), ("angle", CameraAngle), ("scale", ShotScale)],
)
def test_every_term_has_words_of_its_own(field, terms):
    texts = {video_prompt(brief(replace(SHOT, **{field: term}))) for term in terms}
    assert len(texts) == len(terms)


def test_the_artists_prompt_replaces_the_fields_and_keeps_the_look():
    written = replace(SHOT, prompt="A lighthouse in fog")
    assert video_prompt(brief(written, look="ink")) == "A lighthouse in fog. ink."


def test_the_shots_negative_replaces_the_usual_one_and_the_films_is_added():
    assert video_negative(brief()) == NEGATIVE
    own = replace(SHOT, negative="rain")
    assert video_negative(brief(own, negative="cars")) == "rain, cars"


def test_only_the_fields_that_are_read_change_the_words():
    other = {"cast": ("Ben",), "dialogue": "BEN: No.", "beat": "the chase", "continues": True}
    assert not READS & set(other)
    assert video_prompt(brief(replace(SHOT, **other), theme="patience")) == video_prompt(brief())
