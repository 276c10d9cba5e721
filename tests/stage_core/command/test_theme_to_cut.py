"""From a theme by a language model to a film, and all that is handed over with it."""

import json

import pytest
from PIL import Image

from stage_core.__main__ import main
from stage_core.editing.sheet import first_frames
from stage_core.planning.planner import plan
from stage_core.stories import read_story

from ..answers import GOOD, QUICK
from ..editing.lists import agreed_cut

pytest.importorskip("opentimelineio")


@pytest.mark.usefixtures("small_sketches")
def test_film_sheet_pdf_and_edit_lists_of_a_theme_agree_frame_for_frame(stub, tmp_path, capsys):
    # Prose, then an answer that stops, then one in a fence with a friendly word.
    stub.says("I would love to help!", GOOD[: len(GOOD) // 2], QUICK)
    story = ["plan", "A well", "--shots", "3", "--llm", stub.url]
    assert main([*story, "--out", str(tmp_path / "plan.md")]) == 0
    assert len(stub.asked) == 3
    made = ["make", str(tmp_path / "plan.md"), "--out", str(tmp_path / "film.mp4")]
    made += ["--board", str(tmp_path / "board"), "--handover", str(tmp_path / "cut")]
    made += ["--report", str(tmp_path / "report.json"), "--size", "64x36", "--media", "h264"]
    assert main(made) == 0
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    cut = agreed_cut(tmp_path / "film.mp4", tmp_path / "cut")
    assert cut == [[0, 12, 0, "1", 0], [8, 20, 4, "2", 0], [20, 32, 0, "3", 0]]
    assert [[shot["id"], shot["first_frame"]] for shot in report["shots"]] == [
        [shot, first] for first, _, _, shot, _ in cut
    ]
    board = tmp_path / "board"
    drawn = plan(read_story(str(board / "storyboard.json")))
    assert first_frames(drawn) == {shot: first for first, _, _, shot, _ in cut}
    with Image.open(board / "sheet.png") as sheet:
        assert sheet.width > 400
    assert (board / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert "board: 3 pairs, sheet.png, sheet.pdf" in capsys.readouterr().err
