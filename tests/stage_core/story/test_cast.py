import pytest
import torch

from stage_core.planning.naming import read_cast, unknown_names, with_cast
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.cast import MAX_PICTURES, Cast
from stage_core.story.frames import Picture
from stage_core.story.members import Member, MemberKind, joined
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import Scene, Shot, ShotList
from stage_core.story.storyboard import Storyboard

IDA = Member("Ida", MemberKind.CHARACTER, "grey braid.")
LAMP = Member("Brass Lamp", MemberKind.PROP, "cracked glass")
PIER = Member("Pier", MemberKind.PLACE, "wet stones")
SHOTS = (
    Shot("1", "Rain.", scene=Scene("the old pier")),
    Shot("2", "IDA waits."),
    Shot("3", "She lifts the brass lamp.", cast=("ida",)),
)
FILM = ShotList("F", look="ink", shots=SHOTS, cast=(IDA, LAMP, PIER))


def picture(value):
    return Picture.of(torch.full((4, 4, 3), value, dtype=torch.uint8))


def names(members):
    return [member.name for member in members]


def test_a_shot_names_members_by_cast_place_and_words():
    assert [names(FILM.members_of(shot)) for shot in SHOTS] == [
        ["Pier"],
        ["Ida"],
        ["Ida", "Brass Lamp"],
    ]


def test_a_rose_is_not_rose_and_a_name_inside_a_word_is_none():
    rose = Member("Rose")
    assert not rose.is_named((), "A rose in a vase. Rosewater.")
    assert rose.is_named((), "Then Rose laughs.") and rose.is_named((), "ROSE laughs.")
    assert not Member("Arm", MemberKind.PROP).is_named((), "A farm.")


def test_names_of_scripts_without_spaces_are_found():
    assert Member("\u5c0f\u660e").is_named((), "\u96e8\u4e2d\u5c0f\u660e\u8dd1\u6765")


def test_the_look_of_a_shot_has_those_it_names_before_the_film():
    assert FILM.look_of(SHOTS[2]) == "Ida: grey braid. Brass Lamp: cracked glass. ink"
    assert ShotList("F", look="ink", shots=SHOTS).look_of(SHOTS[2]) == "ink"


def test_a_brief_has_the_members_and_their_pictures_only():
    pictures = {"Ida": (picture(1), picture(2)), "Pier": (picture(3),)}
    pack = MemoryPack(cast=Cast((IDA, PIER), pictures).references())
    board = Storyboard(FILM)
    first, second = (board.brief(shot, pack) for shot in SHOTS[:2])
    assert [frame.names for frame in first.memory.references] == [("Pier",)]
    assert [frame.names for frame in second.memory.references] == [("Ida",), ("Ida",)]
    assert second.members == (IDA,) and second.look.startswith("Ida: grey braid")
    assert first.memory.reference_digest() != second.memory.reference_digest()


def test_one_picture_of_each_comes_before_a_second_of_any():
    frames = tuple(
        MemoryFrame(picture(i), "reference", names=(name,)) for i, name in enumerate("AAABBC")
    )
    shown = MemoryPack(capacity=5, cast=frames).with_cast_of("ABC").references
    assert [frame.names[0] for frame in shown] == ["A", "B", "C", "A"]
    assert MemoryPack(capacity=1, cast=frames).with_cast_of("ABC").references == ()


def test_a_cast_grows_and_keeps_what_is_not_said_again():
    cast = Cast().with_member(IDA, (picture(1),)).with_member(LAMP)
    again = cast.with_member(Member("IDA"))
    assert again.members == (Member("IDA", MemberKind.CHARACTER, IDA.description), LAMP)
    assert [len(p) for p in again.pictures.values()] == [0, 1]
    both = Cast((PIER,)).with_cast(cast)
    assert names(both.members) == ["Pier", "Ida", "Brass Lamp"]
    assert len(both.references()) == 1


def test_a_cast_of_two_of_a_name_or_too_many_pictures_is_refused():
    with pytest.raises(ValueError, match="'Ida' and 'IDA'; a name counts once"):
        Cast((IDA, Member("IDA")))
    with pytest.raises(ValueError, match="at most 8"):
        Cast((IDA,), {"Ida": (picture(1),) * (MAX_PICTURES + 1)})
    for name in ("", " Ida", "a\nb", "x" * 81):
        with pytest.raises(ValueError, match="no name in a cast"):
            Member(name)
    with pytest.raises(ValueError, match="at most 4000"):
        Member("Ida", description="x" * 4001)


def test_an_unknown_name_is_reported_with_the_nearest():
    shots = (Shot("1", cast=("Idda", "Ida")), Shot("2", cast=("Idda", "Zebulon")))
    assert unknown_names(ShotList("F", shots=shots)) == ()
    assert unknown_names(ShotList("F", shots=shots, cast=(IDA,))) == (
        "shots 1, 2 name 'Idda', who is not in the cast; did you mean 'Ida'?",
        "shot 2 names 'Zebulon', who is not in the cast; describe them there to keep their look",
    )


def test_a_plan_with_a_cast_has_the_characters_that_its_words_name():
    found = plan("Ida lifts the brass lamp.\n\nRain.", PlanSettings(cast=(IDA, LAMP)))
    assert [shot.cast for shot in found.shots] == [("Ida",), ()]
    assert found.cast == (IDA, LAMP) and with_cast(found, (IDA, LAMP)) == found


def test_the_settings_describe_before_the_text_does():
    text = "Title: T\nCast: Ida (character): red hat; Bo: tall\n\nIda and Bo."
    assert plan(text).cast == (
        Member("Ida", description="red hat"),
        Member("Bo", description="tall"),
    )
    assert plan(text, PlanSettings(cast=(IDA,))).cast[0] == IDA
    assert joined((Member("Ida"),), (IDA,)) == (IDA,)


def test_a_title_page_that_only_lists_names_describes_nobody():
    assert read_cast("Ida, Bo") == ()
    with pytest.raises(ValueError, match=r"'Cast:'.*member kind"):
        read_cast("Ida (ghost): pale")


def test_a_film_without_a_cast_is_read_as_it_was_written_before():
    old = FILM.to_json().replace("ShotList.2", "ShotList.1")
    record = old[: old.rindex(',\n "cast"')] + "\n}"
    assert ShotList.from_json(record) == ShotList("F", look="ink", shots=SHOTS)
