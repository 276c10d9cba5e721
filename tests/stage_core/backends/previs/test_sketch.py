"""What the embedded storyboard model draws, measured."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from stage_core.backends.previs.furniture import in_the_way
from stage_core.backends.previs.interiors import ROOMS
from stage_core.backends.previs.palette import accent
from stage_core.backends.previs.reading import read_shot
from stage_core.backends.previs.sketch import Sketch
from stage_core.backends.previs.staging import stage_shot
from stage_core.backends.previs.unread import is_understood, unread_words
from stage_core.backends.protocol import Sampling
from stage_core.planning.planner import plan
from stage_core.stories import read_story, story_names
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.frames import FramePair, Picture, no_frames, pixel_digest
from stage_core.story.members import Member
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Scene, Shot

from .figure_box import figure_box

OFFICE = Scene("OFFICE", True, "DAY")
FOREST = Scene("FOREST", False, "DAY")
SEEDS = (0, 7)
FILM = FrameFormat(832, 480)


def order(frame_format=FILM, **fields) -> ShotBrief:
    """A brief for one shot of these fields."""
    settings = {"description": "Maya waits.", "scene": OFFICE, "cast": ("Maya",)}
    shot = Shot("1", **{**settings, **fields})
    return ShotBrief(shot, frame_format, MemoryPack(), no_frames(shot))


def no_step(shot, done, total):
    """Nobody watches."""


def staged(seed=0, **fields):
    return stage_shot(order(**fields), Sampling(seed))


def height(shot, progress):
    _, top, _, bottom = figure_box(shot, progress)
    return bottom - top


def shift_between(start, end, most=240):
    """How many pixels to the right the content of a strip [h, W] lies in `end`."""
    a, b = (strip - strip.mean() for strip in (start, end))
    width = a.shape[1]

    def agreement(shift):
        left, right = max(0, shift), min(width, width + shift)
        u, v = b[:, left:right], a[:, left - shift : right - shift]
        return (u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum() + 1e-9)

    return max(range(-most, most + 1, 4), key=agreement)


def grey(panel):
    return panel.double().mean(dim=2).numpy()


def test_pair_is_a_pure_function_of_brief_and_seed():
    first = Sketch().draw(order(), Sampling(3), no_step)
    assert first.digests == Sketch().draw(order(), Sampling(3), no_step).digests
    assert first.digests != Sketch().draw(order(), Sampling(4), no_step).digests


def test_another_process_draws_the_same_pixels():
    program = (
        "from stage_core.backends.previs.staging import stage_shot;"
        "from stage_core.backends.protocol import Sampling;"
        "from stage_core.story.brief import ShotBrief;"
        "from stage_core.story.frames import no_frames, pixel_digest;"
        "from stage_core.story.memory import MemoryPack;"
        "from stage_core.story.shot_list import FrameFormat, Scene, Shot;"
        "shot = Shot('1', 'Maya waits.', Scene('OFFICE', True, 'DAY'), ('Maya',));"
        "brief = ShotBrief(shot, FrameFormat(), MemoryPack(), no_frames(shot));"
        "print(pixel_digest(stage_shot(brief, Sampling(0)).panel(0.5)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.strip() == pixel_digest(staged().panel(0.5))


def test_draw_gives_the_first_and_last_panel():
    pair = Sketch().draw(order(), Sampling(0), no_step)
    shot = staged()
    assert torch.equal(pair.start.image, shot.panel(0.0))
    assert torch.equal(pair.end.image, shot.panel(1.0))


def test_another_drawing_is_another_composition():
    first, second = (grey(staged(drawing=number).panel(0.0)) for number in (1, 2))
    # Paper and wobble alone change a panel by less than 2 grey levels on average.
    assert np.abs(first - second).mean() > 8


def test_reads_names_all_fields_that_change_the_picture():
    base = staged().panel(0.0)
    changed = {
        "beat": "A pause.",
        "dialogue": "MAYA: No.",
        "num_frames": 48,
        "prompt": "oil painting",
        "negative": "blur",
        "take": 2,
    }
    assert not set(changed) & Sketch.reads
    assert torch.equal(base, staged(**changed).panel(0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scene", [OFFICE, FOREST], ids=lambda scene: scene.place)
def test_figure_grows_over_the_scales_in_order(seed, scene):
    scales = [scale for scale in ShotScale if scale is not ShotScale.INSERT]
    heights = [height(staged(seed, scale=scale, scene=scene), 0.5) for scale in scales]
    assert all(b > 1.1 * a for a, b in itertools.pairwise(heights))


def test_full_shot_shows_the_figure_from_head_to_toe():
    _, top, _, bottom = figure_box(staged(scale=ShotScale.FULL), 0.0)
    assert top > 0 and bottom < 480 and bottom - top > 0.7 * 480


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("movement", "sign"), [("pan right", -1), ("pan left", 1)])
def test_pan_moves_the_background_the_other_way(seed, movement, sign):
    shot = staged(
        seed, scale=ShotScale.WIDE, movement=CameraMovement(movement), cast=(), description=""
    )
    strips = [grey(shot.panel(progress))[120:300] for progress in (0.35, 0.65)]
    assert sign * shift_between(*strips) > 30


@pytest.mark.parametrize("scale", ["wide", "medium", "close-up"])
@pytest.mark.parametrize("seed", SEEDS)
def test_dolly_in_grows_the_figure_more_than_the_background(seed, scale):
    fields = {"scale": ShotScale(scale), "movement": CameraMovement.DOLLY_IN}
    shot = staged(seed, **fields)
    growth = height(shot, 1.0) / height(shot, 0.0)
    assert growth > 1.25
    behind = np.array([[0.0, 1.0, 30.0], [0.0, 2.0, 30.0]])
    start, end = (shot.path.at(p).picture(shot.path.at(p).seen(behind)) for p in (0.0, 1.0))
    assert (end[1] - end[0])[1] / (start[1] - start[0])[1] < growth


def test_dolly_out_shrinks_the_figure():
    shot = staged(scale=ShotScale.MEDIUM, movement=CameraMovement.DOLLY_OUT)
    assert height(shot, 1.0) < height(shot, 0.0) / 1.25


def test_zoom_scales_near_and_far_alike():
    shot = staged(scale=ShotScale.MEDIUM, movement=CameraMovement.ZOOM_IN)
    world = np.array([[0.3, 1.0, 0.0], [2.0, 2.0, 25.0]])
    start, end = (
        shot.path.at(p).picture(shot.path.at(p).seen(world)) - np.array(shot.path.at(p).shift)
        for p in (0.0, 1.0)
    )
    assert np.allclose(end, 1.5 * start)


@pytest.mark.parametrize(
    ("movement", "axis", "sign"),
    [("tilt up", 1, -1), ("tilt down", 1, 1), ("pedestal up", 1, -1), ("truck right", 0, -1)],
)
def test_camera_moves_the_field_against_its_own_direction(movement, axis, sign):
    path = staged(movement=CameraMovement(movement)).path
    far = np.array([[0.0, 1.0, 20.0]])
    start, end = (path.at(p).picture(path.at(p).seen(far))[0, axis] for p in (0.0, 1.0))
    assert sign * (end - start) > 0.01


def test_truck_shifts_the_near_more_than_the_far():
    path = staged(movement=CameraMovement.TRUCK_RIGHT).path
    world = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 20.0]])
    start, end = (path.at(p).picture(path.at(p).seen(world))[:, 0] for p in (0.0, 1.0))
    near, far = np.abs(end - start)
    assert near > 2 * far


def test_static_camera_leaves_the_place_alone_while_the_action_goes_on():
    shot = staged(scale=ShotScale.WIDE, description="Maya raises her arms.")
    start, end = grey(shot.panel(0.0)), grey(shot.panel(1.0))
    left, top, right, bottom = (round(v) for v in figure_box(shot, 1.0))
    changed = np.abs(end - start) > 12
    inside = changed[max(0, top - 30) : bottom + 30, left - 60 : right + 60].sum()
    assert inside > 200
    assert changed.sum() - inside < 0.02 * changed.size


def test_scene_keeps_its_layout_over_shots():
    settings = {"scale": ShotScale.WIDE, "cast": (), "scene": OFFICE}
    first = order(description="The room is empty.", **settings)
    second = order(description="Nobody is there.", **settings)
    second = dataclasses.replace(second, shot=dataclasses.replace(second.shot, id="9"))
    a, b = (grey(stage_shot(brief, Sampling(0)).panel(0.0)) for brief in (first, second))
    other = order(description="Empty.", scale=ShotScale.WIDE, cast=(), scene=Scene("LAB", True))
    c = grey(stage_shot(other, Sampling(0)).panel(0.0))
    assert np.abs(a - b).mean() < 0.25 * np.abs(a - c).mean()


def test_name_wears_its_colour_in_every_shot():
    colour = np.array(accent("Maya"))
    for fields in ({"scale": ShotScale.FULL}, {"scale": ShotScale.CLOSE_UP, "scene": FOREST}):
        panel = staged(**fields, cast=("Tom", "Maya"), description="Maya waits.").panel(0.0)
        near = np.abs(panel.numpy().astype(int) - colour).max(axis=2) < 24
        assert near.sum() > 40
    assert accent("MAYA ") == accent("maya")


def test_close_up_shows_whom_the_words_name():
    shown = staged(scale=ShotScale.CLOSE_UP, cast=("Tom", "Maya"), description="Maya waits.")
    alone = staged(scale=ShotScale.CLOSE_UP, cast=("Maya",), description="Maya waits.")
    assert shown.actors[0].look == alone.actors[0].look


def test_usual_casts_wear_different_colours():
    for names in ("Maya Tom", "Anna Ben", "Mark Sarah", "Leo Nora Jack Yuki", "Mara Jonas"):
        assert len({accent(name) for name in names.split()}) == len(names.split())


@pytest.mark.parametrize("half", ["start", "end"])
def test_given_half_stays_as_it_is(half):
    brief = order()
    own = Picture.of(torch.full((32, 48, 3), 77, dtype=torch.uint8))
    given = FramePair("1", **{half: own}, given=frozenset({half}))
    pair = Sketch().draw(dataclasses.replace(brief, given=given), Sampling(0), no_step)
    assert getattr(pair, half) is own and pair.complete and pair.given == {half}


def test_step_callback_cancels_between_the_panels():
    calls = []

    def stop(shot, done, total):
        calls.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sketch().draw(order(), Sampling(0), stop)
    assert calls == [(0, 2), (1, 2)]


@pytest.mark.parametrize("scale", ShotScale, ids=lambda scale: scale.value)
def test_every_scale_and_angle_is_drawn_for_any_number_of_people(scale):
    # Two of four numbers of people with each angle: every scale and every angle has all four.
    turn = list(ShotScale).index(scale)
    for place, angle in enumerate(CameraAngle, turn):
        for count in ((0, 2), (1, 5))[place % 2]:
            cast = ("Maya", "Tom", "Anna", "Ben", "Nora")[:count]
            brief = order(scale=scale, angle=angle, cast=cast, description="They talk.")
            # A quarter of the size: 126 panels are drawn here.
            small = dataclasses.replace(stage_shot(brief, Sampling(0)), size=(208, 120))
            panel = small.panel(0.5)
            assert panel.shape == (120, 208, 3) and panel.dtype == torch.uint8
            assert panel.float().std() > 8


@pytest.mark.parametrize("movement", CameraMovement, ids=lambda movement: movement.value)
def test_every_movement_changes_the_picture(movement):
    shot = staged(movement=movement, scale=ShotScale.WIDE, scene=FOREST)
    assert np.abs(grey(shot.panel(0.0)) - grey(shot.panel(1.0))).mean() > 0.3


@pytest.mark.parametrize("size", [(480, 832), (1000, 1000), (1920, 803), (333, 217)])
def test_any_film_size_gives_a_panel_of_the_grid(size):
    film = FrameFormat(*size)
    panel = stage_shot(order(film), Sampling(0)).panel(1.0)
    assert (panel.shape[1], panel.shape[0]) == Sketch.grid.size(film)


@pytest.mark.parametrize(
    "text",
    ["", "\u5979\u5728\u7b49\u5f85", "\U0001f48d\U0001f57a", "Maya runs. " * 10_000, "((([[[\\"],
    ids=["empty", "chinese", "emoji", "long", "brackets"],
)
def test_any_description_is_drawn(text):
    place = Scene(text, None, text)
    for cast in ((), (text,)):
        panel = staged(description=text, scene=place, cast=cast).panel(0.0)
        assert panel.float().std() > 8


@pytest.mark.parametrize("thing", ["ring box", "letter", "key", "cup", "unheard-of gadget"])
def test_insert_shows_a_thing_large_in_the_middle(thing):
    scene = {"scale": ShotScale.INSERT, "cast": ()}
    shown = grey(staged(description=f"The {thing}.", **scene).panel(1.0))
    middle = shown[140:340, 260:580]
    assert middle.std() > 1.5 * shown[:, :100].std()


def test_who_walks_in_a_close_scale_keeps_the_face_in_the_picture():
    for seed in range(6):
        shot = staged(
            seed,
            scale=ShotScale.MEDIUM_CLOSE_UP,
            scene=FOREST,
            description="Maya comes a step nearer.",
            movement=CameraMovement.TRUCK_RIGHT,
        )
        for progress in (0.0, 1.0):
            camera, head = shot.path.at(progress), shot.actors[0].at(progress).head
            across = float(camera.picture(camera.seen(head))[0])
            assert abs(across) < 0.5 * FILM.width / FILM.height


@pytest.mark.parametrize("movement", ["dolly out", "truck left", "truck right", "arc left"])
@pytest.mark.parametrize("place", ["living room", "kitchen", "corridor", "library"])
def test_a_camera_in_a_room_stays_between_its_walls_and_before_its_cupboards(place, movement):
    fields = {"scale": ShotScale.WIDE, "movement": CameraMovement(movement)}
    for seed in range(4):
        shot = staged(seed, scene=Scene(place, True), **fields)
        half = ROOMS[read("", place, True).kind].width / 2
        for progress in (0.0, 0.5, 1.0):
            camera = shot.path.at(progress)
            assert abs(camera.position[0]) < half - 0.3
            assert not any(in_the_way(item, shot.path) for item in shot.pieces)


@pytest.mark.parametrize("angle", [CameraAngle.HIGH, CameraAngle.EYE_LEVEL, CameraAngle.LOW])
def test_a_face_shows_under_a_hat(angle):
    """Three quarters of the skin that is seen of a bare head are seen under a hat as well."""
    seen = {}
    for hair in ("bald", "a hat"):
        brief = order(scale=ShotScale.CLOSE_UP, angle=angle, scene=FOREST, description="Tom waits.")
        tom = Member("Tom", description=f"a man with {hair}")
        brief = dataclasses.replace(brief, members=(tom,))
        brief = dataclasses.replace(brief, shot=dataclasses.replace(brief.shot, cast=("Tom",)))
        shot = stage_shot(brief, Sampling(0))
        skin = np.array(shot.palette.colour("skin"))
        panel = shot.panel(0.5).numpy().astype(int)
        seen[hair] = (np.abs(panel - skin).max(axis=2) < 10).sum()
    assert seen["a hat"] > 0.75 * seen["bald"]


def read(description, place="", interior=None, **fields):
    return read_shot(Shot("1", description, Scene(place, interior), **fields))


def test_whom_the_words_mention_stands_in_the_picture_doing_what_they_say():
    people = read("An old keeper waits. The baker and two children run towards the keeper.").people
    assert people == (("old keeper", "wait"), ("baker", "run"), *[("child", "run")] * 2)
    assert read("Somebody faces somebody else.").people == (("someone", ""), ("other someone", ""))
    assert read("She waits.").people == (("woman", "wait"),)


def test_a_hand_that_handles_something_is_not_all_there_is():
    assert read("The old gadget, and a hand that reaches for it.").prop == "box"
    assert read("A coin, and a hand that reaches for it.").prop == "coin"
    assert read("A hand opens slowly.").prop == "hand"


def test_a_stranger_looks_alike_in_every_order_and_old_people_stay_old():
    first = read("A nurse faces an old woman.")
    second = read("The old woman looks back at the nurse.")
    assert (first.look(0), first.look(1)) == (second.look(1), second.look(0))
    woman = read("The woman smiles.").look(0)
    assert first.look(1).hair_tone == "hair_grey"
    assert first.look(1) == dataclasses.replace(woman, hair_tone="hair_grey")
    brothers = read("Two brothers wait.")
    assert brothers.look(0) != brothers.look(1)


def test_what_nothing_is_known_of_plays_in_the_open():
    assert (read("A cat.").kind, read("A cat.").interior) == ("field", False)
    assert read("A cat.", "Krkr").interior is False
    assert read("A cat on a sofa.").interior and read("A cat.", "Krkr", True).interior
    assert read("A cat.", "moon").kind == "space"


@pytest.mark.parametrize(
    ("words", "weather"),
    [("A raincoat.", ""), ("Rain falls.", "rain"), ("A snowman.", ""), ("It is snowing.", "snow")],
)
def test_weather_is_a_word_and_not_a_part_of_one(words, weather):
    assert read(words).weather == weather


def test_words_of_hours_tables_and_hands_end_where_they_end():
    assert read("A knight and his darkroom.").time == "day"
    assert not read("A bare barn.").at_table and not read("The whole place.").by_hand
    assert read("He sits at the bar, opening a box.").at_table


def test_what_the_sketch_has_no_word_for_is_told():
    sketch = Sketch()
    sketch.draw(order(description="A cat waits.", scene=Scene("Krkr")), Sampling(0), no_step)
    assert sketch.remarks == ("the sketch has no word for: cat, krkr",)
    sketch = Sketch()
    text = "Der Hund schl\u00e4ft hier."
    sketch.draw(order(description=text, scene=OFFICE), Sampling(0), no_step)
    assert sketch.remarks == ("the sketch reads English and knows no word of shot 1",)


def test_of_the_sample_stories_every_word_is_known():
    for name in story_names():
        for shot in plan(read_story(name)).shots:
            assert unread_words(shot) == () and is_understood(shot)
