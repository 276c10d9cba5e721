from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryFrame, MemoryPack, MemoryScale
from stage_core.story.shot_list import Shot


def picture(value):
    return Picture.of(torch.full((2, 2, 3), value, dtype=torch.uint8))


def reference(value, *names):
    return MemoryFrame(picture(value), "reference", names=names)


def pair(shot_id, value):
    return FramePair(shot_id, picture(value), picture(value + 1))


def places(pack, shot):
    return [(frame.origin or "reference", frame.role) for frame in pack.shown(shot)]


def film(num_shots, capacity=8, casts=(), references=(), scale=MemoryScale.FULL):
    """A pack after shots '1', '2', ... with the cast of each, if any."""
    pack = MemoryPack(references, capacity=capacity, scale=scale)
    for place in range(num_shots):
        cast = casts[place] if place < len(casts) else ()
        pack = pack.remember(pair(str(place + 1), 2 * place), cast)
    return pack


def test_the_newest_pair_comes_first_and_its_end_before_its_start():
    assert places(film(2), Shot("3")) == [
        ("2", "end"),
        ("2", "start"),
        ("1", "end"),
        ("1", "start"),
    ]


def test_place_0_is_the_previous_end_even_before_the_cast():
    pack = film(2, casts=[("Ana",), ("Ben",)], references=(reference(99, "Ana"),))
    shown = places(pack, Shot("3", cast=("ANA",)))
    assert shown[0] == ("2", "end")
    assert shown[1:4] == [("reference", "reference"), ("1", "end"), ("1", "start")]
    assert shown[4] == ("2", "start")


def test_a_name_counts_in_any_spelling():
    pack = film(2, references=(reference(98, "Ben"), reference(99, "JO\u0308  DE")))
    assert pack.shown(Shot("3", cast=("j\u00f6 de",)))[1].picture.digest == picture(99).digest


def test_place_0_of_the_first_shot_is_the_first_reference():
    pack = MemoryPack((reference(1, "Ana"), reference(2, "Ben")))
    assert [frame.picture.digest for frame in pack.shown(Shot("1"))] == [
        picture(1).digest,
        picture(2).digest,
    ]


def test_among_frames_of_equal_claim_references_come_first_then_the_newest():
    pack = film(2, references=(reference(99, "Ana"),))
    shown = places(pack, Shot("3"))
    assert shown[:2] == [("2", "end"), ("reference", "reference")]
    assert shown[2:] == [("2", "start"), ("1", "end"), ("1", "start")]


@given(st.integers(0, 6), st.integers(0, 3), st.integers(4, 8), st.booleans())
def test_references_are_never_evicted_and_capacity_is_kept(shots, references, capacity, in_cast):
    pack = film(
        shots,
        capacity,
        casts=[("Ana",)] * shots,
        references=tuple(reference(100 + k) for k in range(references)),
    )
    shown = pack.shown(Shot("9", cast=("Ana",) if in_cast else ()))
    assert len(shown) == min(capacity, references + 2 * shots)
    assert sum(frame.role == "reference" for frame in shown) == references


def test_frames_of_the_cast_push_newer_frames_out_of_a_full_pack():
    pack = film(4, capacity=3, casts=[("Ana",), (), (), ()])
    assert places(pack, Shot("5", cast=("Ana",))) == [("4", "end"), ("1", "end"), ("1", "start")]


def test_half_a_pair_is_half_remembered():
    pack = MemoryPack().remember(FramePair("1", end=picture(1)))
    assert places(pack, Shot("2")) == [("1", "end")]


def test_remembering_gives_a_new_pack():
    pack = MemoryPack()
    assert pack.remember(pair("1", 1)) is not pack
    assert pack.recent == ()


def test_paper_areas_halve_and_sum_to_less_than_one_frame():
    areas = [MemoryScale.PAPER.side(place) ** 2 for place in range(64)]
    assert areas[:3] == pytest.approx([1 / 2, 1 / 4, 1 / 8])
    assert sum(areas[:52]) < 1


def test_released_sides_are_1_1_then_halve_and_sum_to_less_than_7_thirds_of_a_frame():
    sides = [MemoryScale.RELEASED.side(place) for place in range(64)]
    assert sides[:5] == [1, 1, 1 / 2, 1 / 4, 1 / 8]
    assert sum(side**2 for side in sides) <= 7 / 3


@pytest.mark.parametrize("scale", MemoryScale)
def test_frames_are_shown_at_the_side_of_their_place(scale):
    shown = film(3, scale=scale).shown(Shot("4"))
    assert [frame.side for frame in shown] == [scale.side(place) for place in range(6)]


@pytest.mark.parametrize("capacity", [0, 65])
def test_capacity_out_of_range_is_refused(capacity):
    with pytest.raises(ValueError, match="use 1 to 64"):
        MemoryPack(capacity=capacity)


def test_references_leave_room_for_the_previous_shot():
    with pytest.raises(ValueError, match="use capacity 3"):
        MemoryPack((reference(1), reference(2)), capacity=2)


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="memory role 'extra'"):
        MemoryFrame(picture(1), "extra")


def test_the_digest_follows_all_that_is_shown():
    def made():
        return film(2, casts=[("Ana",)], references=(reference(99, "Ana"),))

    shot, pack = Shot("3", cast=("Ana",)), made()
    others = [
        pack.digest(Shot("3")),
        replace(pack, scale=MemoryScale.PAPER).digest(shot),
        replace(pack, capacity=3).digest(shot),
        replace(pack, references=(reference(98, "Ana"),)).digest(shot),
        replace(pack, references=(reference(99, "Ben"),)).digest(shot),
        pack.remember(pair("2", 50)).digest(shot),
    ]
    assert pack.digest(shot) == made().digest(shot)
    assert len({pack.digest(shot), *others}) == 1 + len(others)


def test_the_digest_of_the_references_does_not_follow_the_film():
    references = (reference(99, "Ana"),)
    assert film(1, references=references).reference_digest() == (
        film(3, references=references).reference_digest()
    )
    renamed = film(1, references=(reference(99, "Ben"),))
    assert renamed.reference_digest() != film(1, references=references).reference_digest()
