"""The desk's nodes: a shot edited, arranged, compared, a board saved and loaded."""

import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from .test_nodes import SCRIPT as WIDGETS
from .test_nodes import STORY

pytestmark = pytest.mark.comfy

SCRIPT = {**WIDGETS, "text": STORY}


@pytest.fixture
def plan(run):
    return run("Script", **SCRIPT)[0]


@pytest.fixture
def films(run):
    """Draws and films a board; gives it with what the sampler said of it."""

    def films(board):
        return run(
            "DualEncoderShotSampler", storyboard=run("STEP2Storyboard", storyboard=board)[0]
        )[0]

    return films


@pytest.fixture
def filmed(films, plan):
    return films(plan)


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    """Makes ComfyUI work in other folders, as on another machine."""
    import folder_paths

    def move(name):
        for kind in ("output", "input"):
            folder = tmp_path / name / kind
            folder.mkdir(parents=True, exist_ok=True)
            monkeypatch.setattr(folder_paths, f"{kind}_directory", str(folder))
        return tmp_path / name

    return move


def test_widgets_that_are_left_alone_change_nothing(run, filmed):
    (board,) = run("EditShot", storyboard=filmed, shot="2")
    assert board.shot_list == filmed.shot_list and board.clips.keys() == filmed.clips.keys()


def test_a_reroll_of_a_shot_changes_it_and_nothing_else(run, films, plan, filmed, said):
    (board,) = run("EditShot", storyboard=plan, shot="3", take=2)
    films(board)
    assert said[-1].startswith("filmed 1 of 3 shots, 2 from takes")
    films(run("EditShot", storyboard=plan, shot="3", take=1)[0])
    assert said[-1].startswith("filmed 0 of 3 shots, 3 from takes")


def test_every_widget_reaches_the_shot(run, plan):
    (board,) = run(
        "EditShot", storyboard=plan, shot="2", description="new", scale="full", angle="low",
        movement="arc left", length="1s", transition="dissolve 2 frames", keep="yes", drawing=4,
        take=5, prompt="p", negative="n", seed=6, dialogue="IDA: no", continues="yes",
        note="insert",
    )  # fmt: skip
    shot = board.shot_list.shot("2")
    assert (shot.description, shot.prompt, shot.negative, shot.dialogue) == (
        *("new", "p", "n"),
        "IDA: no",
    )
    assert (shot.scale.value, shot.angle.value, shot.movement.value) == (
        *("insert", "low"),
        "arc left",
    )
    assert (shot.num_frames, shot.transition.num_frames, shot.drawing, shot.take, shot.seed) == (
        *(16, 2, 4),
        *(5, 6),
    )
    assert shot.keep and shot.continues
    (back,) = run("EditShot", storyboard=board, shot="2", seed=-2, prompt="-", keep="no")
    shot = back.shot_list.shot("2")
    assert shot.seed is None and shot.prompt == "" and not shot.keep


def test_reordering_films_none(run, films, plan, filmed, said):
    (board,) = run("Arrange", storyboard=plan, order="3, 1, 2, 2")
    assert said[-1] == "order: 3, 1, 2, 4"
    films(board)
    assert said[-1].startswith("filmed 0 of 4 shots, 4 from takes")
    films(run("Arrange", storyboard=filmed, order="2")[0])
    assert said[-1].startswith("filmed 0 of 1 shot, 1 from takes")


def test_takes_are_compared_and_an_old_one_chosen(run, films, plan, filmed, said):
    second = films(run("EditShot", storyboard=plan, shot="3", take=2)[0])
    board, image, video, report = run("CompareTakes", storyboard=second, shot="3", take="1")
    assert board.clips["3"].name == "3_t01" and "drawings: 1, takes: 2" in said[-1]
    assert image.shape[0] == 1 and video.get_dimensions()[1] == 216
    assert "* 3_t01" in report and "seed" in report
    with pytest.raises(ValueError, match="there are: 3_t01, 3_t02"):
        run("CompareTakes", storyboard=second, shot="3", take="7")
    nothing = run("CompareTakes", storyboard=plan, shot="1")
    assert type(nothing[2]).__name__ == "VideoFromFile"


def test_a_saved_board_films_nothing_on_another_machine(run, films, plan, said, folders):
    here = folders("here")
    filmed = films(plan)
    assert run("SaveStoryboard", storyboard=filmed)[0].shot_list == plan.shot_list
    run("SaveStoryboard", storyboard=filmed, name="../../out: %date%")
    files = {path.name for path in (here / "output" / "stage").iterdir() if path.is_file()}
    assert {"Two Doors_00001.stage.zip", "Two Doors_00001.pdf"} <= files
    assert any(name.startswith("Two Doors_00001_sheet") for name in files)
    assert len(files) == 6 and not list(here.glob("*.zip"))
    elsewhere = folders("elsewhere")
    file = "Two Doors_00001.stage.zip"
    (elsewhere / "input" / file).write_bytes((here / "output" / "stage" / file).read_bytes())
    (board,) = run("LoadStoryboard", file=file)
    assert said[-1] == "Two Doors: 3 shots, 3 drawn, 3 filmed"
    films(board)
    assert said[-1].startswith("filmed 0 of 3 shots, 3 from takes")


def test_what_may_be_opened_is_offered(node, folders, run, plan):
    base = folders("here")
    for name in ("a.stage.zip", "b.png", "c.json", "d.zip", "e.txt"):
        (base / "input" / name).touch()
    run("SaveStoryboard", storyboard=plan)
    file = next(s for s in node("STAGE_LoadStoryboard").GET_SCHEMA().inputs if s.id == "file")
    saved = "stage/Two Doors_00001.stage.zip [output]"
    assert file.options == ["a.stage.zip", "b.png", "c.json", saved]
    assert run("LoadStoryboard", file=saved)[0].shot_list == plan.shot_list


@pytest.mark.parametrize("file", ["../x.stage.zip", "/etc/passwd", "../../x [output]", "gone.json"])
def test_no_choice_leads_out_of_the_folders(run, folders, file):
    base = folders("here")
    (base / "x.stage.zip").touch()
    with pytest.raises(OSError, match=r"leads out|not in ComfyUI's"):
        run("LoadStoryboard", file=file)


def test_a_link_out_of_the_input_folder_is_not_followed(run, folders, tmp_path):
    base = folders("here")
    (tmp_path / "x.json").write_text("[]")
    (base / "input" / "x.json").symlink_to(tmp_path / "x.json")
    with pytest.raises(OSError, match="leads out"):
        run("LoadStoryboard", file="x.json")


def test_a_plan_in_json_is_loaded(run, plan, folders):
    (folders("here") / "input" / "plan.json").write_text(plan.shot_list.to_json())
    assert run("LoadStoryboard", file="plan.json")[0].shot_list == plan.shot_list


@pytest.mark.parametrize("disabled", [False, True])
def test_a_sheet_carries_graph_and_board(
    run, node, plan, films, folders, said, monkeypatch, disabled
):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_metadata", disabled)
    base, cls = folders("here"), node("STAGE_SaveStoryboard")
    hidden = SimpleNamespace(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": []}})
    monkeypatch.setattr(cls, "hidden", hidden)
    board = films(plan)
    run("SaveStoryboard", storyboard=board)
    (saved,) = run.ui["images"]
    sheet = base / "output" / saved["subfolder"] / saved["filename"]
    with Image.open(sheet) as image:
        text = image.text
    if disabled:
        assert text == {}
        return
    assert json.loads(text["workflow"]) == {"nodes": []} and json.loads(text["prompt"])
    (base / "input" / "sheet.png").write_bytes(sheet.read_bytes())
    (back,) = run("LoadStoryboard", file="sheet.png")
    assert back.shot_list == board.shot_list and back.clips.keys() == board.clips.keys()
    elsewhere = folders("elsewhere")
    (elsewhere / "input" / "sheet.png").write_bytes(sheet.read_bytes())
    (back,) = run("LoadStoryboard", file="sheet.png")
    assert back.shot_list == board.shot_list and back.clips == {}
    assert "not on this machine: the drawing of shot 1" in said[-1]


def test_the_sheet_on_the_node_says_where_the_shots_are(run, filmed):
    run("STEP2Storyboard", storyboard=filmed)
    (page,) = run.ui["stage_panels"]
    assert page["filename"] == run.ui["images"][0]["filename"]
    assert page["title"] == filmed.shot_list.title
    assert [panel["id"] for panel in page["panels"]] == ["1", "2", "3"]
    json.dumps(run.ui)


def test_who_has_filmed_says_so_later_than_who_has_drawn(run, plan):
    def told():
        (film,) = run.ui["stage_panels"]
        json.dumps(run.ui)
        statuses = {panel["id"]: panel["status"] for panel in film["panels"]}
        return film["title"], film["told"], statuses

    board = run("STEP2Storyboard", storyboard=plan)[0]
    title, early, statuses = told()
    assert set(statuses.values()) == {"drawn"}
    board = run("DualEncoderShotSampler", storyboard=board, shots="2")[0]
    assert len(run.ui["images"]) == 1
    assert told()[0] == title and told()[1] > early
    assert told()[2] == {"1": "drawn", "2": "filmed", "3": "drawn"}
    run("CompareTakes", storyboard=board, shot="2")
    assert told()[2] == {"1": "drawn", "2": "filmed", "3": "drawn"}


def test_replaced_keyframes_are_seen_on_a_sheet_and_kept_nowhere_by_it(run, filmed, output):
    picture = torch.rand(1, 48, 64, 3)
    folder = set(output.rglob("*"))
    run("ReplaceKeyframes", storyboard=filmed, shot="2", end=picture)
    (page,), (image,) = run.ui["stage_panels"], run.ui["images"]
    assert page["filename"] == image["filename"] and image["type"] == "temp"
    statuses = {panel["id"]: panel["status"] for panel in page["panels"]}
    assert statuses == {"1": "filmed", "2": "drawn", "3": "filmed"}
    assert set(output.rglob("*")) == folder


def test_a_repaint_of_what_the_film_does_not_use_is_said(run, plan, output, said):
    folder = output / "stage" / plan.shot_list.title
    old = run("STEP2Storyboard", storyboard=plan)[0]
    other = replace(plan, shot_list=replace(plan.shot_list, seed=7))
    run("STEP2Storyboard", storyboard=other)
    assert "painted" not in said[-1]
    before = (folder / "1_d01_start.png").read_bytes()
    paint(folder / "1_d01_start.png")
    run("STEP2Storyboard", storyboard=other)
    told = "; 1_d01_start.png was painted over, but the film uses 1_d01-2_start.png"
    assert said[-1].endswith(told)
    again = run("STEP2Storyboard", storyboard=plan)[0]
    assert "painted" not in said[-1] and again.pair("1").digests != old.pair("1").digests
    (folder / "1_d01_start.png").write_bytes(before)
    run("STEP2Storyboard", storyboard=other)
    assert "painted" not in said[-1]


def paint(path):
    """Paint over a picture, as its owner does after the film was drawn."""
    Image.new("RGB", (64, 48), (255, 0, 0)).save(path)


def test_one_of_a_thing_is_said_as_one(run, films, plan, said):
    alone = replace(plan, shot_list=replace(plan.shot_list, shots=plan.shot_list.shots[:1]))
    run("ShotStitcher", storyboard=films(alone))
    assert any(text.startswith("filmed 1 of 1 shot, ") for text in said)
    assert said[-1].startswith("1 shot, ")


def test_a_stranger_s_file_is_refused_and_leaves_nothing(run, folders):
    base = folders("here")
    with zipfile.ZipFile(base / "input" / "bad.stage.zip", "w") as made:
        made.writestr("../../out.png", b"")
    with pytest.raises(ValueError, match=r"holds '../../out.png'"):
        run("LoadStoryboard", file="bad.stage.zip")
    assert list(base.rglob("*.png")) == []
