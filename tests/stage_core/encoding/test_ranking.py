"""Memory frames in order of relevance."""

import torch

from stage_core.encoding.ranking import Likeness, by_relevance, patch_descriptor, similarity
from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryFrame, MemoryPack
from stage_core.story.shot_list import Shot

SHOT = Shot("9", "Ana waits", cast=("Ana",))


def grey(level):
    return Picture.of(torch.full((4, 4, 3), level, dtype=torch.uint8))


def pack():
    reference = MemoryFrame(grey(5), "reference")
    memory = MemoryPack((reference,), capacity=4)
    for number, level in enumerate((90, 10, 50)):
        memory = memory.remember(FramePair(str(number), grey(level), grey(level + 1)))
    return memory


def brightness(shot, picture):
    return float(picture.image[0, 0, 0])


def levels(frames):
    return [int(frame.picture.image[0, 0, 0]) for frame in frames]


def test_the_newest_frame_stays_first_and_the_others_follow_by_relevance():
    assert levels(by_relevance(pack(), SHOT, brightness).recent) == [51, 91, 90, 50, 11, 10]


def test_without_a_newest_frame_the_first_reference_stays_first():
    references = tuple(MemoryFrame(grey(level), "reference") for level in (5, 20, 30))
    ranked = by_relevance(MemoryPack(references), SHOT, brightness)
    assert levels(ranked.shown(SHOT)) == [5, 30, 20]


def test_what_does_not_fit_is_the_least_relevant():
    shown = by_relevance(pack(), SHOT, brightness).shown(SHOT)
    assert levels(shown) == [51, 5, 91, 90]


def test_frames_of_the_cast_come_before_more_relevant_ones():
    memory = pack().remember(FramePair("4", grey(1), grey(2)), ("Ana",))
    memory = memory.remember(FramePair("5", None, grey(60)))
    assert levels(by_relevance(memory, SHOT, brightness).shown(SHOT))[:3] == [60, 2, 1]


def test_equal_relevance_keeps_the_order_of_the_pack():
    memory = pack()
    assert levels(by_relevance(memory, SHOT, lambda *_: 0.0).recent) == levels(memory.recent)


def test_a_picture_is_most_like_itself_however_bright():
    generator = torch.Generator().manual_seed(0)
    image, other = torch.rand(2, 36, 64, 3, generator=generator)
    one, dim, else_ = (patch_descriptor(Picture.of(p)) for p in (image, image * 0.5, other))
    assert similarity(one, one) > 0.999
    assert similarity(one, dim) > 0.99 > similarity(one, else_)


def test_likeness_describes_every_picture_once():
    described = []

    def describe(picture):
        described.append(picture.digest)
        return torch.nn.functional.normalize(picture.image[0, 0].float(), dim=0)

    likeness = Likeness(describe, "mean")
    for _ in range(2):
        assert likeness.relevance(grey(90))(SHOT, grey(10)) > 0.999
    assert sorted(described) == sorted({grey(90).digest, grey(10).digest})
