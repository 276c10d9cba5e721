"""A shared cast: what is kept comes back, and what a stranger made is refused in one sentence."""

import json

import pytest
import torch

from stage_core import media
from stage_core.errors import PlanError, StorageError
from stage_core.sharing import cast_folder
from stage_core.sharing.cast_folder import (
    CAST_FILE,
    MAX_BYTES,
    cast_stamp,
    read_cast_folder,
    write_cast_folder,
)
from stage_core.story.cast import Cast
from stage_core.story.frames import Picture
from stage_core.story.members import Member, MemberKind

IDA = Member("Ida", MemberKind.CHARACTER, "grey braid")
PIER = Member("Old \u6865 / pier", MemberKind.PLACE, "wet")
PICTURE = Picture.of(torch.arange(48, dtype=torch.uint8).reshape(4, 4, 3))
CAST = Cast((IDA, PIER), {"Ida": (PICTURE,)})


def kept(tmp_path, cast=CAST):
    write_cast_folder(cast, tmp_path / "harbour")
    return tmp_path / "harbour"


def made(tmp_path, **changes):
    """A folder whose cast.json a stranger wrote."""
    member = {"name": "Ida", "kind": "character", "description": "", "pictures": []}
    record = {"schema": "stage.Cast.1", "members": [{**member, **changes}]}
    (tmp_path / CAST_FILE).write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


def test_a_kept_cast_comes_back_with_its_pictures(tmp_path):
    back = read_cast_folder(kept(tmp_path))
    assert back.members == CAST.members
    assert [picture.digest for picture in back.pictures["Ida"]] == [PICTURE.digest]


def test_keeping_again_loses_nobody_and_writes_no_picture_over(tmp_path):
    folder = kept(tmp_path)
    before = {path: path.read_bytes() for path in folder.glob("*.png")}
    other = Picture.of(torch.zeros(4, 4, 3, dtype=torch.uint8))
    write_cast_folder(Cast((Member("ida"), Member("Bo")), {"ida": (other,)}), folder)
    back = read_cast_folder(folder)
    assert [member.name for member in back.members] == ["ida", PIER.name, "Bo"]
    assert back.members[0].description == "grey braid"
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list(folder.glob("*.png"))) == 2


def test_the_stamp_of_a_cast_changes_with_its_files(tmp_path):
    folder = kept(tmp_path)
    before = cast_stamp(folder)
    write_cast_folder(CAST, folder)
    assert before and before == cast_stamp(folder)
    write_cast_folder(Cast((Member("Bo"),)), folder)
    assert cast_stamp(folder) != before
    assert cast_stamp(tmp_path / "nowhere") == ""


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/x.png", "a/x.png", "..\\x.png", "C:x.png", "x\x00.png", "..", ""]
)
def test_a_picture_outside_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(PlanError, match=r"no file of the cast's own folder|none of \.png"):
        read_cast_folder(made(tmp_path, pictures=[name]))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    outside = tmp_path / "secret.png"
    media.write_picture(outside, PICTURE.image)
    (tmp_path / "cast").mkdir()
    (tmp_path / "cast" / "x.png").symlink_to(outside)
    with pytest.raises(PlanError, match="link out"):
        read_cast_folder(made(tmp_path / "cast", pictures=["x.png"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "no name in a cast"),
        ({"name": 3}, "name is 3; it should be text"),
        ({"kind": "ghost"}, "'ghost' is no member kind"),
        ({"power": 9}, "unknown field 'power'"),
        ({"pictures": "x.png"}, "no list of file names"),
        ({"pictures": ["x.png"] * 9}, "9 pictures; at most 8"),
        ({"pictures": ["x.gif"]}, "none of .png"),
        ({"pictures": ["gone.png"]}, "gone.png is missing"),
        ({"description": "x" * 4001}, "at most 4000"),
    ],
)
def test_a_bad_member_is_answered_in_one_sentence(tmp_path, changes, message):
    with pytest.raises((PlanError, StorageError)) as caught:
        read_cast_folder(made(tmp_path, **changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "a list 'members'"),
        ('{"schema": "stage.Cast.2", "members": []}', "newer version"),
        ('{"schema": "stage.Cast.1", "members": [1]}', "member 1 is int"),
        ('{"schema": "stage.Cast.1", "members": [NaN]}', "NaN"),
        ('{"schema": "stage.Cast.1",\n "members": [', "line 2"),
        ("[" * 100_000, "nested too deeply"),
        (
            '{"schema": "stage.Cast.1", "members": [{"name": "A"}, {"name": "a"}]}',
            "'A' and 'a'; a name counts once",
        ),
        (" " * (MAX_BYTES + 1), "a cast has at most"),
    ],
)
def test_a_file_that_is_no_cast_is_refused(tmp_path, text, message):
    (tmp_path / CAST_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=message):
        read_cast_folder(tmp_path)


def test_files_that_only_pretend_to_be_pictures_are_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(StorageError, match="no PNG picture"):
        read_cast_folder(made(tmp_path, pictures=["x.png"]))


def test_a_picture_that_would_be_huge_is_refused_before_it_is_unpacked(tmp_path):
    media.write_picture(tmp_path / "x.png", torch.zeros(1, 9000, 3, dtype=torch.uint8))
    with pytest.raises(PlanError, match="9000x1 pixels"):
        read_cast_folder(made(tmp_path, pictures=["x.png"]))


def test_a_picture_named_often_is_unpacked_once_and_does_not_stay_in_memory(tmp_path, monkeypatch):
    media.write_picture(tmp_path / "x.png", PICTURE.image)
    folder, reads = made(tmp_path, pictures=["x.png"] * 8), []
    read_picture = media.read_picture
    monkeypatch.setattr(
        media, "read_picture", lambda path: reads.append(path) or read_picture(path)
    )
    pictures = read_cast_folder(folder).pictures["Ida"]
    assert len(pictures) == 8 and len(reads) == 1
    assert torch.equal(pictures[0].image, PICTURE.image) and len(reads) == 2


def test_pictures_that_are_huge_together_are_refused_before_one_is_unpacked(tmp_path, monkeypatch):
    for name in ("x.png", "y.png"):
        media.write_picture(tmp_path / name, PICTURE.image)
    monkeypatch.setattr(cast_folder, "MAX_PIXELS", 31)
    monkeypatch.setattr(media, "read_picture", None)
    with pytest.raises(PlanError, match="have 32 pixels together; at most 31"):
        read_cast_folder(made(tmp_path, pictures=["x.png", "y.png"]))


def test_a_folder_without_a_cast_is_named(tmp_path):
    with pytest.raises(StorageError, match="holds no cast"):
        read_cast_folder(tmp_path / "nowhere")
