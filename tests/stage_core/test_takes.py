"""What is made again, and what is found: the laws of drawings, takes and the film's folder."""

import multiprocessing
import os
import time
import zlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from stage_core.atomic import remove_older
from stage_core.backends.protocol import Grid, Sampling, drawing_seed, filming_seed
from stage_core.errors import StorageError
from stage_core.keys import drawing_key
from stage_core.ledger import Ledger, Record
from stage_core.media import read_picture, write_picture
from stage_core.pipeline import draw, film
from stage_core.project import TAKE, Made, Project, folder_name
from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Clip
from stage_core.takes import KeptDrawings, KeptTakes, Redraw, Refilm

from .small_film import leave_alone

SAMPLING = Sampling(seed=0)
GRID = Grid(32 * 18, 2, Fraction(8))


class Fields:
    """Draws fields of noise that depend on all it reads; quick, so that many films can be made."""

    identity, reads, grid = "fields", frozenset({"description", "memory"}), GRID

    def draw(self, brief, sampling, on_step):
        on_step(brief.shot, 0, 1)
        shown = [frame.picture.digest for frame in brief.memory.shown(brief.shot)]
        words = (brief.shot.description, drawing_seed(brief.shot, sampling), shown)
        halves = {half: field(words, half) for half in ("start", "end")}
        fixed = {half: getattr(brief.given, half) for half in brief.given.given}
        return FramePair(brief.shot.id, **{**halves, **fixed}, given=brief.given.given)

    def film(self, brief, keyframes, sampling, on_step):
        on_step(brief.shot, 0, 1)
        pictures = [keyframe.picture.digest for keyframe in keyframes]
        picture = field((pictures, filming_seed(brief.shot, sampling)), "film")
        frames = picture.image.expand(
            self.grid.num_frames(brief.shot, brief.frame_format), -1, -1, -1
        )
        return Clip(brief.shot.id, frames, self.grid.rate)


def field(*parts):
    generator = torch.Generator().manual_seed(zlib.crc32(repr(parts).encode()))
    return Picture.of(torch.randint(0, 256, (18, 32, 3), generator=generator, dtype=torch.uint8))


def ignore(*_):
    pass


def three_shots(**changes):
    shots = tuple(Shot(str(n), f"shot {n}", num_frames=12) for n in (1, 2, 3))
    return ShotList(title="film", frame_format=FrameFormat(256, 144), shots=shots, **changes)


def change(plan, shot_id, **fields):
    return plan.with_shot(replace(plan.shot(shot_id), **fields))


class Film:
    """Draws and films a plan in one folder, and tells what was made."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, plan, memory=None, redraw=Redraw.CHANGED, refilm=Refilm.CHANGED, **choices):
        project = Project(self.folder)
        drawings = KeptDrawings(Fields(), project, redraw, choices.get("shots"))
        takes = KeptTakes(Fields(), project, refilm, choices.get("shots"), choices.get("at_most"))
        board, memory = Storyboard(plan), memory or MemoryPack()
        self.counted = drawings.to_draw(board, memory, SAMPLING)
        board, memory = draw(board, drawings, memory, SAMPLING, ignore)
        for pair in choices.get("swaps", ()):
            board = board.with_pair(replace(board.pair(pair.shot_id), **vars_of(pair)))
        self.counted_films = takes.to_film(board, memory, SAMPLING)
        board = film(board, takes, memory, SAMPLING, ignore)
        self.board = project.save(board)
        return drawings.drawn, takes.filmed


def vars_of(pair):
    halves = {half: getattr(pair, half) for half in pair.given}
    return {**halves, "given": pair.given, "name": ""}


def grey(value):
    return Picture.of(torch.full((18, 32, 3), value, dtype=torch.uint8))


@pytest.fixture
def made(tmp_path):
    """A film whose three shots are drawn and filmed."""
    one = Film(tmp_path / "film")
    assert one.run(three_shots()) == (["1", "2", "3"], ["1", "2", "3"])
    return one


def test_a_second_run_makes_nothing(made):
    assert made.run(three_shots()) == ([], [])


def test_a_changed_description_makes_one_shot_and_marks_what_remembers_it(made):
    plan = change(three_shots(), "2", description="something else")
    assert made.run(plan) == (["2"], ["2"])
    older = [pair.shot_id for pair in made.board.pairs.values() if pair.older_memory]
    assert older == ["3"]


def test_a_model_that_looks_at_no_memory_has_none_that_is_older(tmp_path):
    class Blind(Fields):
        reads = frozenset({"description"})

    project = Project(tmp_path)
    for plan in (three_shots(), change(three_shots(), "1", description="something else")):
        drawings = KeptDrawings(Blind(), project, Redraw.REMEMBERING)
        board, _ = draw(Storyboard(plan), drawings, MemoryPack(), SAMPLING, ignore)
    assert drawings.drawn == ["1"]
    assert not any(pair.older_memory for pair in board.pairs.values())


def test_going_back_is_free(made):
    made.run(change(three_shots(), "2", description="something else"))
    assert made.run(three_shots()) == ([], [])
    assert not any(pair.older_memory for pair in made.board.pairs.values())


def test_what_continues_from_a_changed_shot_is_made_again(tmp_path):
    one = Film(tmp_path)
    plan = change(three_shots(), "2", continues=True)
    one.run(plan)
    assert one.board.pair("2").start.digest == one.board.pair("1").end.digest
    assert one.board.pair("2").given == frozenset()
    assert one.run(change(plan, "1", description="new")) == (["1", "2"], ["1", "2"])
    assert one.counted == ("1", "2")


def test_redraw_what_remembers_it_draws_later_shots_too(made):
    plan = change(three_shots(), "2", description="something else")
    assert made.run(plan, redraw=Redraw.REMEMBERING)[0] == ["2", "3"]
    assert made.counted == ("2", "3")


def reasons(film, plan, redraw=Redraw.CHANGED):
    drawings = KeptDrawings(Fields(), Project(film.folder), redraw)
    found = drawings.reasons(Storyboard(plan), MemoryPack(), SAMPLING)
    return {shot: reason.value for shot, reason in found.items()}


def test_why_a_shot_is_drawn_is_known_before(made):
    plan = change(three_shots(), "2", description="something else")
    plan = replace(plan, shots=(*plan.shots, Shot("4", "shot 4", num_frames=12)))
    changed = {"2": "changed", "4": "new"}
    assert reasons(made, plan) == changed
    remembering = {"2": "changed", "3": "remembering frames that changed", "4": "new"}
    assert reasons(made, plan, Redraw.REMEMBERING) == remembering
    assert set(reasons(made, three_shots(), Redraw.EVERYTHING).values()) == {"asked for"}


def test_redraw_everything_keeps_what_it_replaces(made):
    before = set((made.folder).iterdir())
    assert made.run(three_shots(), redraw=Redraw.EVERYTHING)[0] == ["1", "2", "3"]
    assert before <= set(made.folder.iterdir())


def test_size_transition_and_rate_at_equal_seconds_make_nothing(made):
    plan = three_shots()
    larger = replace(plan, frame_format=FrameFormat(1280, 720))
    assert made.run(larger) == ([], [])
    twice = tuple(replace(shot, num_frames=24) for shot in plan.shots)
    faster = replace(plan, frame_format=FrameFormat(256, 144, Fraction(48)), shots=twice)
    assert made.run(faster) == ([], [])


def test_a_swapped_keyframe_films_one_shot(made):
    swap = FramePair("2", end=grey(40), given=frozenset({"end"}))
    assert made.run(three_shots(), swaps=[swap]) == ([], ["2"])
    assert made.run(three_shots(), swaps=[swap]) == ([], [])
    assert made.run(three_shots()) == ([], [])


@pytest.mark.parametrize(
    ("changes", "shots"),
    [({}, frozenset({"1"})), ({"keep": True}, None)],
    ids=["not asked", "keep"],
)
def test_a_given_frame_stands_on_a_shot_that_is_not_drawn_again(made, changes, shots):
    plan = change(three_shots(), "2", **changes)
    board = Storyboard(plan).with_pair(FramePair("2", grey(40), given=frozenset({"start"})))
    drawings = KeptDrawings(Fields(), Project(made.folder), shots=shots)
    counted = drawings.to_draw(board, MemoryPack(), SAMPLING)
    pair = draw(board, drawings, MemoryPack(), SAMPLING, ignore)[0].pair("2")
    assert drawings.drawn == list(counted) == []
    assert pair.digests == (grey(40).digest, made.board.pair("2").end.digest)
    assert pair.given == {"start"} and not pair.name


def test_an_approved_shot_keeps_its_start_when_the_shot_before_changes(tmp_path):
    one = Film(tmp_path)
    plan = change(three_shots(), "2", continues=True)
    one.run(plan)
    before = one.board.pair("2")
    plan = change(change(plan, "2", keep=True), "1", description="new")
    assert one.run(plan)[0] == ["1"]
    assert one.board.pair("2").digests == before.digests


def test_a_repainted_picture_counts_as_a_swap(made):
    path = made.folder / f"{made.board.pair('2').name}_end.png"
    write_picture(path, 255 - read_picture(path))
    assert made.run(three_shots()) == ([], ["2"])
    assert made.board.pair("2").given == {"end"}


def test_a_damaged_picture_is_drawn_again_and_never_shown(made):
    path = made.folder / f"{made.board.pair('2').name}_end.png"
    path.write_bytes(path.read_bytes()[:100])
    assert made.run(three_shots()) == (["2"], [])


def test_one_flipped_byte_in_a_take_films_it_again(made):
    path = made.folder / f"{made.board.clips['2'].name}.mkv"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert made.run(three_shots()) == ([], ["2"])


def test_one_flipped_byte_in_a_record_films_it_again(made):
    path = made.folder / f"{made.board.clips['2'].name}.json"
    path.write_text(path.read_text().replace('"num_frames": ', '"num_frames": 1'), encoding="utf-8")
    assert made.run(three_shots()) == ([], ["2"])


def test_an_approved_shot_is_never_made_again_unasked(made):
    kept = change(three_shots(), "2", keep=True, description="something else")
    assert made.run(kept) == ([], [])
    assert made.run(kept, redraw=Redraw.EVERYTHING, refilm=Refilm.EVERYTHING) == (
        ["1", "3"],
        ["1", "3"],
    )
    asked = made.run(kept, redraw=Redraw.EVERYTHING, shots=frozenset({"2"}))
    assert asked == (["2"], ["2"])


def test_only_what_is_missing_leaves_changed_shots_as_filmed(made):
    plan = change(three_shots(), "2", description="something else")
    plan = replace(plan, shots=(*plan.shots, Shot("4", "new", num_frames=12)))
    assert made.run(plan, refilm=Refilm.MISSING)[1] == ["4"]


def test_at_most_so_many_shots_are_filmed(tmp_path):
    one = Film(tmp_path)
    assert one.run(three_shots(), at_most=0)[1] == []
    assert one.run(three_shots(), at_most=2)[1] == ["1", "2"]
    assert one.run(three_shots(), at_most=2)[1] == ["3"]


def test_only_the_chosen_shots_are_made(tmp_path):
    one = Film(tmp_path)
    assert one.run(three_shots(), shots=frozenset({"2"})) == (["2"], ["2"])


def test_another_take_or_drawing_leaves_the_first_on_disk(made):
    assert made.run(change(three_shots(), "2", take=2)) == ([], ["2"])
    assert made.board.clips["2"].name == "2_t02"
    assert made.run(change(three_shots(), "2", drawing=2)) == (["2"], ["2"])
    assert made.board.pair("2").name == "2_d02"
    assert made.run(three_shots()) == ([], [])


def test_a_new_reference_draws_again(made):
    reference = MemoryFrame(grey(90), "reference", names=("Anna",))
    assert made.run(three_shots(), MemoryPack((reference,)))[0] == ["1", "2", "3"]


def test_only_shots_without_a_seed_of_their_own_follow_the_films_seed():
    board = Storyboard(change(three_shots(), "1", seed=7))
    briefs = [board.brief(shot, MemoryPack()) for shot in board.shot_list.shots[:2]]
    keys = [
        [drawing_key(Fields(), brief, Sampling(seed=seed)) for seed in (0, 1)] for brief in briefs
    ]
    assert keys[0][0] == keys[0][1]
    assert keys[1][0] != keys[1][1]


def test_an_interrupted_film_resumes(tmp_path):
    project = Project(tmp_path)
    drawings = KeptDrawings(Fields(), project)

    def stop_in_third(shot, step, steps):
        if shot.id == "3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(Storyboard(three_shots()), drawings, MemoryPack(), SAMPLING, stop_in_third)
    assert Film(tmp_path).run(three_shots())[0] == ["3"]


class Failing:
    """A shot model whose frames fail on the way, as a full disk or a crash would make them."""

    identity, reads, grid = "failing", frozenset(), Grid(256 * 144, 16, Fraction(8))

    def __init__(self, error):
        self.error = error

    def film(self, brief, keyframes, sampling, on_step):
        model = self

        class Frames:
            def __len__(self):
                return 5

            def __iter__(self):
                yield torch.zeros(16, 16, 3, dtype=torch.uint8)
                raise model.error

        return Clip(brief.shot.id, Frames(), Fraction(8))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("vram")])
def test_a_take_that_fails_leaves_no_file_and_keeps_the_others(made, error):
    before = sorted(made.folder.iterdir())
    takes = KeptTakes(Failing(error), Project(made.folder))
    with pytest.raises((StorageError, RuntimeError)):
        film(made.board, takes, MemoryPack(), SAMPLING, ignore)
    assert sorted(made.folder.iterdir()) == before


def test_a_full_disk_is_named_and_leaves_no_half_take(tmp_path, full_disk):
    noise = torch.randint(0, 256, (4, 72, 128, 3), dtype=torch.uint8)
    with full_disk(), pytest.raises(StorageError, match=r"1_t01\.mkv cannot be written"):
        Project(tmp_path).keep_take(Clip("1", noise, Fraction(8)), Made("key", "noise"))
    assert list(tmp_path.iterdir()) == []


def another_process(target, folder):
    """A process that writes into a folder, and what it says meanwhile; a copy of this one where
    the system can make one, which is quicker than to begin anew."""
    can_copy = "fork" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if can_copy else None)
    hears, says = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(folder, says))
    process.start()
    return process, hears


class Slow:
    """Frames that take their time, and say when each is wanted."""

    def __init__(self, says):
        self.says = says

    def __len__(self):
        return 200

    def __iter__(self):
        for _ in range(len(self)):
            self.says.send("frame")
            time.sleep(0.05)
            yield torch.zeros(64, 64, 3, dtype=torch.uint8)


def film_slowly(folder, says):
    Project(folder).keep_take(Clip("1", Slow(says), Fraction(8)), Made("key", "slow"))


def film_three_shots(folder, says):
    says.send("begins")
    Film(folder).run(three_shots())


def test_a_writer_killed_in_the_middle_leaves_no_take(tmp_path):
    writer, hears = another_process(film_slowly, tmp_path)
    for _ in range(3):
        assert hears.recv()
    writer.kill()
    writer.join()
    assert writer.exitcode != 0
    project = Project(tmp_path)
    assert project.find_take("key") is None
    assert Film(tmp_path).run(three_shots())[1] == ["1", "2", "3"]
    for path in tmp_path.glob(".*"):
        os.utime(path, (0, 0))
    project.evict()
    assert not list(tmp_path.glob(".*"))


def test_two_processes_in_one_folder_leave_a_sound_film(tmp_path):
    other, hears = another_process(film_three_shots, tmp_path)
    assert hears.recv()
    Film(tmp_path).run(three_shots())
    other.join()
    assert other.exitcode == 0
    assert Film(tmp_path).run(three_shots()) == ([], [])


def test_eviction_removes_old_takes_but_never_one_in_use(made):
    made.run(change(three_shots(), "2", take=2))
    project = Project(made.folder, limit_bytes=0)
    leave_alone(made.folder)
    assert project.evict() == ("2_t01",)
    assert Project(made.folder).told_of_removed(()) == ()
    (said,) = Project(made.folder).told_of_removed(("2_t01",))
    assert said == "unused takes removed, the film's exceed 20 GB: 2_t01"
    assert made.run(change(three_shots(), "2", take=2)) == ([], [])


def filmed_within(folder, plan, limit_bytes, sampling=SAMPLING):
    """The board and the takes removed when a folder may hold so many bytes."""
    project = Project(folder, limit_bytes)
    board, memory = draw(
        Storyboard(plan), KeptDrawings(Fields(), project), MemoryPack(), sampling, ignore
    )
    takes = KeptTakes(Fields(), project)
    return film(board, takes, memory, sampling, ignore), takes.removed


def test_a_film_above_the_limit_keeps_all_that_it_has_just_filmed(tmp_path):
    board, removed = filmed_within(tmp_path, three_shots(), limit_bytes=1)
    assert [len(list(board.clips[shot_id].frames)) for shot_id in ("1", "2", "3")] == [4, 4, 4]
    assert removed == []


def test_an_earlier_take_that_a_run_has_found_again_is_not_evicted(made):
    made.run(change(three_shots(), "1", take=2))
    leave_alone(made.folder)
    plan = change(three_shots(), "3", take=2)
    board, removed = filmed_within(made.folder, plan, limit_bytes=1)
    assert len(list(board.clips["1"].frames)) == 4
    # What the film used last stays until it is known to use something else.
    assert removed == []
    Project(made.folder).save(board)
    leave_alone(made.folder)
    assert Project(made.folder, limit_bytes=1).evict() == ("3_t01", "1_t02")


def test_what_another_run_is_filming_is_not_evicted(tmp_path):
    theirs, _ = filmed_within(tmp_path, three_shots(), 10**9, Sampling(seed=1))
    _, removed = filmed_within(tmp_path, three_shots(), 1, Sampling(seed=2))
    assert removed == []
    assert [len(list(clip.frames)) for clip in theirs.clips.values()] == [4, 4, 4]
    leave_alone(tmp_path)
    assert len(Project(tmp_path, limit_bytes=1).evict()) == 6


def used(folder):
    Project(folder).evict(["2_t01"])


def read(folder):
    assert Project(folder).take("2_t01") is not None


@pytest.mark.parametrize("use", [used, read])
def test_an_old_take_that_another_run_uses_is_not_evicted(tmp_path, use):
    filmed_within(tmp_path, three_shots(), 10**9)
    leave_alone(tmp_path)
    use(tmp_path)
    assert Project(tmp_path, limit_bytes=1).evict() == ("1_t01", "3_t01")


@pytest.mark.parametrize(
    "text",
    ["{", '{"schema": "stage.Board.9", "in_use": {}}', '{"schema": "stage.Board.1", "in_use": []}'],
)
def test_a_board_file_that_cannot_be_understood_evicts_nothing_and_is_kept(made, text):
    path = made.folder / "board.json"
    path.write_text(text, encoding="utf-8")
    assert Project(made.folder, limit_bytes=1).evict() == ()
    Project(made.folder).save(made.board)
    assert (made.folder / "board.unread.json").read_text(encoding="utf-8") == text
    path.write_text("again", encoding="utf-8")
    Project(made.folder).save(made.board)
    assert (made.folder / "board.unread-2.json").read_text(encoding="utf-8") == "again"


def test_a_board_file_that_cannot_be_read_is_never_written_over(made):
    path = made.folder / "board.json"
    path.unlink()
    path.mkdir()
    for act in (Project(made.folder).evict, lambda: Project(made.folder).save(made.board)):
        with pytest.raises(StorageError, match=r"board\.json cannot be read"):
            act()


def test_sweeping_goes_on_when_another_process_was_quicker(tmp_path):
    class Listed:
        def glob(self, pattern):
            return [tmp_path / "gone", tmp_path / "old"]

    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (0, 0))
    remove_older(Listed(), "*", 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["..", ".", "", "a/b.mkv", "board.json", 5])
def test_a_forged_record_names_no_file_but_a_result_of_its_folder(tmp_path, name):
    stamp = {"file": name, "sha256": "", "bytes": 0, "mtime_ns": 0}
    Ledger(tmp_path).write(Record("1_t01", TAKE, "1", "key", 1, {"film": stamp}, {}))
    assert Ledger(tmp_path).get("1_t01") is None


def test_own_writing_is_no_foreign_change_but_a_deleted_take_is(made):
    project = Project(made.folder)
    assert project.ledger.foreign_changes() == ()
    made.run(change(three_shots(), "2", take=2))
    assert project.ledger.foreign_changes() == ()
    (made.folder / "2_t02.mkv").unlink()
    assert len(project.ledger.foreign_changes()) == 1


def test_a_damaged_board_file_is_left_aside_not_fatal(made):
    (made.folder / "board.json").write_text("{", encoding="utf-8")
    assert Project(made.folder).earlier() is None
    assert made.run(three_shots()) == ([], [])
    assert Project(made.folder).earlier() == three_shots()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("The Ring", "The Ring"),
        ("../../etc", "_.._etc"),
        ("a:b?c", "a_b_c"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("dots...", "dots"),
        ("\u6620\u753b", "\u6620\u753b"),
        ("", "Untitled"),
        ("..", "Untitled"),
        ("\n", "Untitled"),
    ],
)
def test_a_title_names_a_folder_on_every_system(title, name):
    assert folder_name(title) == name


def test_a_long_title_is_cut_between_characters():
    assert folder_name("\u6620" * 500) == "\u6620" * 40
