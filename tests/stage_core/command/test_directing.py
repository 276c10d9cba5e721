"""Cast and coverage in use: what a changed look makes again, and a plan without a model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stage_core.__main__ import main
from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.backends.protocol import Sampling
from stage_core.encoding.prompts import shot_prompt
from stage_core.encoding.video_prompts import video_prompt
from stage_core.keys import drawing_key, filming_key
from stage_core.pipeline import draw
from stage_core.planning.planner import PlanSettings, plan
from stage_core.project import Project
from stage_core.sharing.cast_folder import write_cast_folder
from stage_core.stories import read_story
from stage_core.story.cast import Cast
from stage_core.story.frames import Picture
from stage_core.story.members import Member, MemberKind
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat
from stage_core.story.storyboard import Storyboard
from stage_core.takes import KeptDrawings

SAMPLING = Sampling()
IDA = Member("Ida", MemberKind.CHARACTER, "woman in a red coat, grey braid")
LAMP = Member("Lamp", MemberKind.PROP, "brass")
STORY = "Ida waits on the pier.\n\nRain on the stones.\n\nThe lamp swings. Bo runs."
SMALL = PlanSettings(FrameFormat(64, 48), title="F")
MODELS = [load_storyboard_model("tiny"), load_storyboard_model("sketch")]


def board(*cast, text=STORY):
    return Storyboard(plan(text, replace(SMALL, cast=cast)))


def picture(value):
    return Picture.of(torch.full((4, 4, 3), value, dtype=torch.uint8))


def changed(model, before, after, pack=None, later=None):
    """The ids of the shots whose pairs are drawn again when one board becomes the other."""
    keys = [
        [drawing_key(model, film.brief(shot, memory), SAMPLING) for shot in film.shot_list.shots]
        for film, memory in ((before, pack or MemoryPack()), (after, later or MemoryPack()))
    ]
    ids = before.shot_list.ids
    return [i for i, *pair in zip(ids, *keys, strict=True) if pair[0] != pair[1]]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.identity)
def test_a_changed_look_draws_only_the_shots_that_name_the_member(model):
    film = board(IDA, LAMP)
    assert changed(model, film, board(replace(IDA, description="green hat"), LAMP)) == ["1"]
    assert changed(model, film, board(IDA, replace(LAMP, description="glass"))) == ["3"]
    assert changed(model, film, film) == []


def test_a_changed_look_films_only_the_shots_that_name_the_member():
    model = load_shot_model("tiny")
    boards = board(IDA), board(replace(IDA, description="green hat"))
    keys = [
        [filming_key(model, b.brief(s, MemoryPack()), (), SAMPLING) for s in b.shot_list.shots]
        for b in boards
    ]
    assert [a == b for a, b in zip(*keys, strict=True)] == [False, True, True]


def test_a_changed_picture_draws_only_the_shots_that_name_the_member():
    model, film = MODELS[0], board(IDA, LAMP)
    packs = [
        MemoryPack(cast=Cast((IDA, LAMP), {"Ida": (picture(v),)}).references()) for v in (1, 2)
    ]
    assert changed(model, film, film, *packs) == ["1"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.identity)
def test_a_film_without_a_cast_is_found_under_the_keys_it_had(model):
    # A member whom no shot names leaves every key as it was.
    assert changed(model, board(), board(Member("Zed", description="tall"))) == []


def test_looks_are_in_the_prompts_of_every_model():
    film = board(IDA, LAMP)
    briefs = [film.brief(shot, MemoryPack()) for shot in film.shot_list.shots]
    for words in (shot_prompt, video_prompt):
        assert ["red coat" in words(brief) for brief in briefs] == [True, False, False]
        assert ["Lamp: brass" in words(brief) for brief in briefs] == [False, False, True]
    own = board(IDA, text="Ida waits. [[shot: take 2]]").shot_list
    shot = replace(own.shots[0], prompt="Ida alone")
    assert "red coat" in shot_prompt(Storyboard(own).brief(shot, MemoryPack()))


def test_a_kept_film_draws_again_what_a_new_look_changes(tmp_path):
    project, drawn = Project(tmp_path), []
    for look in ("red coat", "red coat", "green dress"):
        film = board(replace(IDA, description=look))
        kept = KeptDrawings(load_storyboard_model("sketch"), project)
        draw(film, kept, MemoryPack(), SAMPLING, lambda *_: None)
        drawn.append(kept.drawn)
    assert drawn == [["1", "2", "3"], [], ["1"]]


def test_a_plan_without_a_model_becomes_a_film_with_a_cast(tmp_path, capsys):
    write_cast_folder(Cast((IDA, LAMP), {"Ida": (picture(9),)}), tmp_path / "cast")
    cast = ("--cast", str(tmp_path / "cast"))
    plan_file, film = tmp_path / "plan.md", tmp_path / "film.mp4"
    theme = "IDA finds a lamp."
    assert (
        main(["plan", theme, "--shots", "3", "--seconds", "3", "--out", str(plan_file), *cast]) == 0
    )
    found = plan(read_story(str(plan_file)))
    assert found.cast == (IDA, LAMP) and [shot.num_frames for shot in found.shots] == [24] * 3
    tiny = ("--storyboard-model", "tiny", "--shot-model", "tiny", "--size", "64x48")
    report = tmp_path / "report.json"
    again = ["make", str(plan_file), "--out", str(film), "--report", str(report), *tiny, *cast]
    assert main(again) == 0 and film.exists()
    write_cast_folder(Cast((replace(LAMP, description="glass"),)), tmp_path / "cast")
    assert main(again) == 0
    drawn = [shot["drawn"] for shot in json.loads(report.read_text(encoding="utf-8"))["shots"]]
    names_it = ["lamp" in shot.description.casefold() for shot in found.shots]
    assert drawn == names_it


def test_a_name_that_is_not_in_the_cast_is_said(tmp_path, capsys):
    write_cast_folder(Cast((IDA,)), tmp_path / "cast")
    story = tmp_path / "story.md"
    story.write_text("IDDA waits.", encoding="utf-8")
    board_command = ["board", str(story), "--out", str(tmp_path / "b"), "--size", "64x48"]
    assert main([*board_command, "--cast", str(tmp_path / "cast")]) == 0
    assert "'Idda', who is not in the cast; did you mean 'Ida'?" in capsys.readouterr().err


def test_plans_are_named_by_their_title_and_never_written_over(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["plan", "A/B: a theme.", "--title", "A/B?", "--shots", "2"]) == 0
    assert {path.name for path in Path().glob("*.md")} == {"A_B_.md", "A_B_ 2.md"}
    assert main(["plan", "T", "--out", "plan.json", "--shots", "2"]) == 0
    assert len(plan(read_story("plan.json")).shots) == 2
    assert main(["plan", "T", "--out", "plan.json"]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--llm", "gpt-9"], "no address and no folder"),
        (["--shots", "999"], "999 shots"),
        (["--cast", "nowhere"], "holds no cast"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_sentence(options, message, capsys, tmp_path):
    assert main(["plan", "T", "--out", str(tmp_path / "p.md"), *options]) == 1
    assert message in capsys.readouterr().err


def test_a_length_that_is_none_is_answered_with_one(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "T", "--seconds", "abc"])
    assert "'abc' is no number of seconds, such as 30" in capsys.readouterr().err
