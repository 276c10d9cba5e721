"""A storyboard as a PDF."""

import re
from dataclasses import replace

import pytest

from stage_core.editing import lettering
from stage_core.editing.sheet import NO_FONT, draw_sheet, panels
from stage_core.editing.sheet_pdf import SHOTS_PER_PAGE, write_pdf
from stage_core.errors import StorageError
from stage_core.story.shot_list import Shot, ShotList
from stage_core.story.storyboard import ShotStatus, Storyboard

CHINESE = "\u96e8\u4e2d\u7684\u706f\u5854"


def board(num_shots, description="A door"):
    shots = tuple(Shot(str(n), description) for n in range(1, num_shots + 1))
    return Storyboard(ShotList(title="Two Doors", shots=shots))


@pytest.mark.parametrize(("num_shots", "pages"), [(1, 1), (6, 1), (7, 2), (13, 3)])
def test_six_shots_stand_on_a_page(tmp_path, num_shots, pages):
    path = tmp_path / "sheet.pdf"
    assert write_pdf(path, board(num_shots)) == pages
    data = path.read_bytes()
    assert data.startswith(b"%PDF-")
    # An appended page comes with a new tree of pages, which counts them all.
    assert max(map(int, re.findall(rb"/Count (\d+)", data))) == pages


def test_pages_are_a4_on_their_side(tmp_path):
    write_pdf(tmp_path / "sheet.pdf", board(SHOTS_PER_PAGE))
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", (tmp_path / "sheet.pdf").read_bytes())
    assert [float(side) for side in box.groups()] == pytest.approx([842, 595], abs=1)


def test_a_pdf_that_cannot_be_written_is_not_there(tmp_path, full_disk):
    with full_disk(), pytest.raises(StorageError):
        write_pdf(tmp_path / "sheet.pdf", board(3))
    assert not list(tmp_path.iterdir())


def test_a_text_that_no_font_has_is_replaced_by_the_id_and_a_note(monkeypatch):
    lettering._fallback_paths.cache_clear()
    monkeypatch.setattr(lettering, "_FONT_FOLDERS", ())
    try:
        assert not lettering.has_letters(CHINESE) and lettering.has_letters("A door, 3")
        unwritten = draw_sheet(board(1, CHINESE))
        said = draw_sheet(board(1, NO_FONT.format("1")))
        assert unwritten.equal(said)
    finally:
        lettering._fallback_paths.cache_clear()


def test_fonts_are_found_by_their_names_on_every_system(monkeypatch, tmp_path):
    # As macOS gives a name: the voiced kana as two letters.
    hiragino = "\u30d2\u30e9\u30ad\u3099\u30ce\u89d2\u30b3\u3099\u30b7\u30c3\u30af W3.ttc"
    names = ["NotoSansCJK-Regular.ttc", hiragino, "msyh.ttc", "other.ttf"]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(lettering, "_FONT_FOLDERS", (str(tmp_path),))
    lettering._fallback_paths.cache_clear()
    try:
        assert [path.name for path in lettering._fallback_paths()] == names[:3]
    finally:
        lettering._fallback_paths.cache_clear()


def test_panels_are_where_the_sheet_shows_the_shots():
    one = board(7)
    sheet, found = draw_sheet(one), panels(one)
    assert [panel.shot_id for panel in found] == list(one.shot_list.ids)
    assert {panel.status for panel in found} == {ShotStatus.PLANNED}
    for panel in found:
        left, top, right, bottom = panel.box
        changed = replace(one.shot_list.shot(panel.shot_id), description="Z", continues=True)
        other = draw_sheet(replace(one, shot_list=one.shot_list.with_shot(changed)))
        rows, columns = (other != sheet).any(-1).nonzero(as_tuple=True)
        # The link of a shot that continues stands in the gutter before it.
        assert left - 30 <= columns.min() and columns.max() < right
        assert top <= rows.min() and rows.max() < bottom
