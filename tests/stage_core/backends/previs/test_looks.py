import pytest
import torch

from stage_core.backends.load import load_storyboard_model
from stage_core.backends.previs.costumes import looks_in
from stage_core.backends.previs.looks import look_of
from stage_core.backends.previs.palette import ACCENTS, accent
from stage_core.backends.previs.reading import read_shot
from stage_core.backends.protocol import Sampling
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.members import Member, MemberKind
from stage_core.story.memory import MemoryPack
from stage_core.story.storyboard import Storyboard

RED, YELLOW = ACCENTS[0], ACCENTS[2]


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        ("grey braid, yellow oilskin coat", {"accent": YELLOW, "garment": "coat", "hair": "bun"}),
        ("short red hair and a blue dress", {"accent": ACCENTS[1], "garment": "dress"}),
        ("green eyes, red scarf", {"accent": RED}),
        ("a man with a helmet and a leather jacket", {"hair": "hat", "garment": "jacket"}),
        ("long white hair", {"hair": "long", "hair_tone": "hair_grey"}),
        ("", {}),
        ("kind and patient", {}),
    ],
)
def test_costumes_are_read_from_words(words, looks):
    found = looks_in(words)
    assert {name: found.get(name) for name in looks} == looks
    assert bool(found) == bool(looks)


def test_what_the_words_do_not_say_comes_from_the_name():
    plain, dressed = look_of("Ida"), look_of("Ida", "red coat")
    assert dressed.accent == RED != accent("Ida") and dressed.garment == "coat"
    assert (dressed.hair, dressed.height, dressed.bulk) == (plain.hair, plain.height, plain.bulk)


def test_words_say_who_somebody_is():
    assert look_of("Robin", "a boy of nine").child and not look_of("Robin").child
    assert look_of("Ada", "tall man").shoulders > look_of("Ada").shoulders
    assert look_of("Ada", "old sailor").hair_tone == "hair_grey"
    assert look_of("Ada", "stout").bulk > look_of("Ada").bulk


def test_a_prop_in_the_cast_of_a_shot_is_no_figure():
    shot = plan("| description | cast |\n|---|---|\n| A room. | Ida, Lamp |").shots[0]
    members = (Member("Lamp", MemberKind.PROP), Member("Ida", description="red coat"))
    reading = read_shot(shot, members)
    assert [name for name, _ in reading.people] == ["Ida"]
    assert reading.look(0) == look_of("Ida", "red coat")


def test_a_sketch_wears_what_the_cast_says():
    panels = []
    for words in ("red coat", "yellow coat"):
        cast = (Member("Ida", description=words),)
        film = Storyboard(plan("Ida waits in a field.", PlanSettings(cast=cast)))
        brief = film.brief(film.shot_list.shots[0], MemoryPack())
        pair = load_storyboard_model("sketch").draw(brief, Sampling(), lambda *_: None)
        panels.append(pair.start.image.float())
    red, green = ((panels[0] - panels[1])[..., channel] for channel in (0, 1))
    # Yellow has more green in it, and only the coat differs.
    assert green.abs().max() > 60 and green.sum() < 0
    assert 0 < (red.abs() + green.abs() > 0).float().mean() < 0.2
    assert torch.equal(panels[0][0], panels[1][0])
