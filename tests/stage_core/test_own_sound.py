"""A clip's own sound: kept with its take, heard in the film, saved and loaded with the board."""

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest
import torch

from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.cutting import cut
from stage_core.editing.finish import Finish
from stage_core.editing.mix import mix, own_sounds
from stage_core.errors import PlanError, StorageError
from stage_core.project import Made, Project
from stage_core.sharing.archive import describe, load, load_sheet, save
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Sound

from .small_film import Noise, SmallFilm, leave_alone, three_shots

FILL_IN = load_storyboard_model("sketch"), load_shot_model("animatic")
SAMPLE_RATE = 32_000


class Loud(Noise):
    """Films shot 2 with a sound, the others silent."""

    def film(self, brief, keyframes, sampling, on_step):
        clip = super().film(brief, keyframes, sampling, on_step)
        return replace(clip, sound=hum()) if brief.shot.id == "2" else clip


def hum(seconds=0.5):
    """A sound whose samples 24 bits hold exactly."""
    levels = torch.arange(2 * round(seconds * SAMPLE_RATE)).remainder(64) / 128
    return Sound(levels.reshape(2, -1), SAMPLE_RATE)


@pytest.fixture
def here(tmp_path):
    return SmallFilm(tmp_path / "here", shot_model=Loud())


@pytest.fixture
def there(tmp_path):
    return SmallFilm(tmp_path / "there", shot_model=Loud())


@pytest.fixture
def made(here):
    return here.make(Storyboard(three_shots()))[0]


@pytest.fixture
def file(here, made, tmp_path):
    save(made, here.project, tmp_path / "film.stage.zip")
    return tmp_path / "film.stage.zip"


def damage(film):
    path = film.project.folder / "2_t01.wav"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def is_whole(clip):
    return torch.equal(clip.sound.samples, hum().samples) and clip.sound.sample_rate == SAMPLE_RATE


def heard(board):
    timeline, _ = cut(board, Finish(), FILL_IN)
    return mix(timeline, own_sounds(timeline)).sound


def test_a_take_has_the_sound_it_was_filmed_with_after_a_restart(here, made):
    assert is_whole(made.clips["2"])
    found = SmallFilm(here.project.folder).make(Storyboard(made.shot_list))
    assert found[1:] == ([], []) and is_whole(found[0].clips["2"])
    assert found[0].clips["1"].sound is None and found[0].clips["3"].sound is None
    assert [path.name for path in here.project.folder.glob("*.wav")] == ["2_t01.wav"]


def test_boards_of_one_take_share_its_sound(here, made):
    assert here.project.take("2_t01").sound is made.clips["2"].sound


def test_a_film_of_takes_with_sound_has_it_where_its_shot_is(made):
    sound = heard(made)
    # Every shot lasts half a second, at 48 kHz.
    levels = [float(part.abs().max()) for part in sound.samples.split(24_000, dim=1)]
    assert levels[0] == levels[2] == 0 and levels[1] > 0.3


def test_a_silent_film_stays_silent(tmp_path):
    assert heard(SmallFilm(tmp_path).make(Storyboard(three_shots()))[0]) is None


@pytest.mark.parametrize(
    "harm", [damage, lambda film: next(film.project.folder.glob("*.wav")).unlink()]
)
def test_a_damaged_sound_leaves_the_take_silent_says_so_and_films_nothing(here, made, caplog, harm):
    harm(here)
    again = SmallFilm(here.project.folder, shot_model=Loud())
    board, *made_again = again.make(Storyboard(made.shot_list))
    assert made_again == [[], []] and board.clips["2"].sound is None
    assert "take 2_t01 plays without its sound" in caplog.text and heard(board) is None


def test_a_sound_that_cannot_be_written_leaves_nothing_of_the_take(tmp_path, made, monkeypatch):
    def full(path, sound):
        raise StorageError("no space left")

    monkeypatch.setattr("stage_core.media.write_wave", full)
    project = Project(tmp_path / "other")
    with pytest.raises(StorageError, match="no space"):
        project.keep_take(made.clips["2"], Made("key", "model"))
    assert list(project.folder.iterdir()) == []


def test_eviction_counts_a_sound_and_removes_it_with_its_take(here, made):
    board = here.make(here.edit(made, "2", take="2")[0])[0]
    assert is_whole(board.clips["2"])
    folder = here.project.folder
    leave_alone(folder)
    films = sum(path.stat().st_size for path in folder.glob("*.mkv"))
    assert Project(folder, limit_bytes=films).evict() == ("2_t01",)
    assert [path.name for path in folder.glob("*.wav")] == ["2_t02.wav"]


def test_a_changed_sound_is_a_foreign_change(here, made):
    assert here.project.ledger.foreign_changes() == ()
    damage(here)
    assert len(here.project.ledger.foreign_changes()) == 1


# Saved and loaded.


def opened(file, film):
    return load(file, lambda title: film.project)


def rewritten(saved, data=None, **sound):
    """The file with other bytes for the sound, or another description of it."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members["storyboard.json"])
    if data is not None:
        members["2_t01.wav"] = data
        record["shots"]["2"]["take"]["sound"]["sha256"] = hashlib.sha256(data).hexdigest()
    record["shots"]["2"]["take"]["sound"].update(sound)
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in {**members, "storyboard.json": json.dumps(record)}.items():
            archive.writestr(name, content)
    return saved


def test_a_saved_board_has_its_sounds_on_another_machine(file, there):
    board = opened(file, there).board
    assert is_whole(board.clips["2"]) and board.clips["1"].sound is None
    assert there.make(board)[1:] == ([], [])
    before = sorted(there.project.folder.iterdir())
    opened(file, there)
    assert sorted(there.project.folder.iterdir()) == before


def test_a_damaged_sound_stays_at_home_and_the_rest_is_saved(here, made, there, tmp_path):
    damage(here)
    save(made, here.project, tmp_path / "film.stage.zip")
    assert opened(tmp_path / "film.stage.zip", there).board.clips["2"].sound is None


def test_loading_mends_a_sound_that_is_damaged_here(file, here):
    damage(here)
    loaded = opened(file, here)
    assert is_whole(loaded.board.clips["2"])
    assert is_whole(here.make(Storyboard(loaded.board.shot_list))[0].clips["2"])


def test_a_sheet_finds_the_sound_in_the_folder(here, made, tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("stage_storyboard", json.dumps(describe(made, here.project)))
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png", pnginfo=info)
    loaded = load_sheet(tmp_path / "sheet.png", lambda title: here.project)
    assert loaded.missing == [] and is_whole(loaded.board.clips["2"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": b"#EXTM3U\nfile:///etc/passwd\n"}, "2_t01.wav .* is no WAV file"),
        ({"data": b"RIFF\x04\0\0\0WAVE"}, "is no WAV file"),
        ({"sha256": "0" * 64}, "not the sound that the board describes"),
        ({"file": "../x.wav"}, r"file is '\.\./x\.wav'"),
        ({"file": "2_t01.mkv"}, "file is '2_t01.mkv'"),
        ({"file": "9_t01.wav"}, "lacks 9_t01.wav"),
        ({"path": "x"}, "sound has the unknown field 'path'"),
    ],
)
def test_a_strangers_sound_that_is_not_sound_is_refused(file, there, change, message):
    with pytest.raises(PlanError, match=message):
        opened(rewritten(file, **change), there)
    assert not list(there.project.folder.glob("*.*"))
