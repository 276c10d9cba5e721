"""Templates are found where the user has them, and used with the tokens they were trained with."""

import json
import logging
import zipfile
from dataclasses import replace

import pytest

from stage_core.encoding.prompts import (
    OWN,
    Template,
    Templates,
    find_templates,
    negative_prompt,
    shot_prompt,
    with_picture,
)
from stage_core.story.brief import ShotBrief
from stage_core.story.frames import no_frames
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

from ..vectors import FOLDER, needs_vectors

SHOT = Shot("1", "Ana waits", Scene("kitchen", True, "night"), ("Ana",))


def letters(text):
    return list(text.encode())


def texts():
    entries = json.loads((FOLDER / "templates.json").read_text(encoding="utf-8"))
    return [entries[name]["template"] for name in ("with_image", "text_only")]


def brief(shot=SHOT, **words):
    return ShotBrief(shot, FrameFormat(), MemoryPack(), no_frames(shot), **words)


def released(folder):
    (folder / "prompts.py").write_text(
        "\n".join(f"TEXT_{n} = {text!r}" for n, text in enumerate(texts())), encoding="utf-8"
    )
    return find_templates(folder)


def test_words_stand_where_the_template_says_even_with_braces_in_them():
    ids = Template("a{}b").token_ids("{}", letters)
    assert bytes(ids) == b"a{}b"


def test_a_long_prompt_is_cut_where_the_template_says():
    assert len(Template("a{}b", longest=5).token_ids("c" * 9, letters)) == 5


def test_without_a_number_all_before_the_words_is_dropped():
    assert Template("abc{}d").dropped(letters) == 3
    assert Template("abc{}d", drop=2).dropped(letters) == 2


def test_a_template_without_a_place_for_the_words_is_refused():
    with pytest.raises(ValueError, match="with 0 places"):
        Template("abc")


def test_templates_come_back_from_metadata_as_they_were():
    made = Templates(Template("a{}", 4), Template("b{}", 2, 9), released=True)
    assert Templates.from_metadata(made.to_metadata()) == made
    assert Templates.from_metadata({"format": "pt"}) is None


UNREADABLE = (
    "{",
    "[]",
    '{"with_picture": {"text": "a{}"}}',
    '{"with_picture": {"text": 5}, "words_only": {"text": "a{}"}, "released": true}',
    '{"with_picture": {"text": "a{}", "drop": "4"}, "words_only": {"text": "a{}"}, "released": 1}',
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_metadata_that_cannot_be_read_are_refused(text):
    with pytest.raises(ValueError, match=r"stage\.templates of this checkpoint cannot be read"):
        Templates.from_metadata({"stage.templates": text})


def test_a_folder_without_the_released_text_gives_none(tmp_path, caplog):
    (tmp_path / "other.py").write_text("X = 'You are {}'\n")
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with caplog.at_level(logging.WARNING):
        assert find_templates(tmp_path) is None
    assert "broken.zip" in caplog.text


def test_a_damaged_archive_is_passed_over_and_named(tmp_path, caplog):
    place = tmp_path / "damaged.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prompts.py", "X = 'You are {}'\n" * 99)
    stored = bytearray(place.read_bytes())
    # After the header of thirty bytes and the name: what is there can no longer be inflated.
    stored[40:60] = b"\xff" * 20
    place.write_bytes(stored)
    with caplog.at_level(logging.WARNING):
        assert find_templates(tmp_path) is None
    assert "damaged.zip" in caplog.text


def test_our_own_wording_asks_for_start_above_end():
    for template in (OWN.with_picture, OWN.words_only):
        assert template.text.index("above") < template.text.index("below")


def test_a_shot_becomes_a_prompt_in_the_models_layout():
    words = shot_prompt(brief(theme="patience", look="charcoal"))
    assert words.startswith("Current shot: \n")
    for part in ("inside kitchen night", "Ana", "Ana waits", "patience", "charcoal"):
        assert part in words


def test_a_prompt_of_ones_own_replaces_what_is_made_from_the_fields():
    assert shot_prompt(brief(replace(SHOT, prompt="a lighthouse"))) == (
        "Current shot: \na lighthouse"
    )
    laid_out = "Current shot: \na lighthouse\n Current shot time: 2"
    assert shot_prompt(brief(replace(SHOT, prompt=laid_out))) == laid_out


def test_the_shots_negative_comes_before_the_films_and_a_space_stands_for_none():
    assert negative_prompt(brief()) == " "
    assert negative_prompt(brief(negative="fog")) == "fog"
    assert negative_prompt(brief(replace(SHOT, negative="rain"), negative="fog")) == "rain, fog"


def test_one_picture_stands_before_the_words():
    assert with_picture("go", 2) == (
        "Picture 1: <|vision_start|><|image_pad|><|image_pad|><|vision_end|>go"
    )


@needs_vectors
def test_released_templates_are_found_in_a_source_file_and_keep_their_drop_index(tmp_path):
    found = released(tmp_path)
    assert found.released
    assert [found.with_picture.text, found.words_only.text] == texts()
    assert (found.with_picture.drop, found.words_only.drop) == (64, 34)
    assert found.words_only.longest == 1024 + 34


@needs_vectors
def test_released_templates_are_found_inside_an_archive_and_in_text_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr("deep/prompts.py", f"A = {texts()[0]!r}")
        archive.writestr("deep/words.txt", texts()[1])
    assert find_templates(tmp_path).released


@needs_vectors
def test_a_tidied_template_is_not_taken_for_the_released_one(tmp_path):
    tidied = texts()[0].replace("\n<|im_start|>user", " <|im_start|>user")
    (tmp_path / "prompts.txt").write_bytes(tidied.encode())
    assert find_templates(tmp_path) is None


@needs_vectors
def test_one_released_template_is_used_where_the_other_is_missing(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(texts()[0].encode())
    found = find_templates(tmp_path)
    assert found.with_picture.drop == 64
    assert found.words_only == OWN.words_only
    assert not found.released
