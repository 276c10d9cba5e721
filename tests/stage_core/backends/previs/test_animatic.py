"""The animatic: exact ends, lazy frames, and pictures between that are where the camera is."""

import cmath
import functools
import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch.nn import functional

from stage_core.backends.previs.animatic import CLOSER, Animatic
from stage_core.backends.previs.registration import similarity_between
from stage_core.backends.previs.sketch import Sketch, stage_shot
from stage_core.backends.previs.subtitles import Subtitles
from stage_core.backends.previs.warp import Similarity, sampling_grid, zoom_about
from stage_core.backends.protocol import Sampling
from stage_core.story.brief import ShotBrief
from stage_core.story.cinematography import CameraMovement
from stage_core.story.frames import FramePair, Keyframe, Picture
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot
from stage_core.threads import one_thread

HEIGHT, WIDTH = 120, 208


@functools.lru_cache
@one_thread()
def world(seed: int, height: int = 480, width: int = 832) -> torch.Tensor:
    """A photograph-like picture, [3, height, width] in [0, 255]: noise of all scales, shapes."""
    chance = torch.Generator().manual_seed(seed)
    light = torch.linspace(-0.3, 0.3, height)[:, None].expand(3, height, width).clone()
    for octave in range(1, 8):
        noise = torch.randn(1, 3, 2**octave + 1, 2**octave + 1, generator=chance)
        light += 0.6**octave * functional.interpolate(noise, (height, width), mode="bicubic")[0]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(30):
        place = torch.rand(3, generator=chance) * torch.tensor([height, width, 90])
        colour = 2 * torch.rand(3, 1, 1, generator=chance) - 1
        across, down = (x - place[1]).abs(), (y - place[0]).abs()
        disc = (across**2 + down**2).sqrt() < place[2]
        box = torch.maximum(across, 2 * down) < place[2]
        light = torch.where(disc if place[2] > 40 else box, 0.4 * light + colour, light)
    return (0.5 + 0.25 * light).clamp(0, 1) * 255


@one_thread()
def seen(place: torch.Tensor, camera: Similarity, size=(HEIGHT, WIDTH)) -> torch.Tensor:
    """The picture whose pixel at p shows the place at camera(p), two of the place's pixels wide."""
    height, width = 2 * size[0], 2 * size[1]
    scaled = Similarity(camera.turn, camera.shift * width / place.shape[2])
    grid = sampling_grid([scaled], place.shape[1:], (height, width))
    fine = functional.grid_sample(place[None], grid, mode="bicubic", align_corners=False)
    return functional.avg_pool2d(fine, 2)[0].round().clamp(0, 255).byte().permute(1, 2, 0)


def move(scale=1.0, degrees=0.0, x=0.0, y=0.0) -> Similarity:
    return Similarity(cmath.rect(scale, math.radians(degrees)), complex(x, y))


def order(num_frames=18, **fields) -> ShotBrief:
    """The order for a shot whose clip has `num_frames` / 2 frames."""
    shot = Shot("2A", num_frames=num_frames, **fields)
    return ShotBrief(shot, FrameFormat(WIDTH, HEIGHT), MemoryPack(), FramePair("2A"))


def ignore(shot, done, total):
    pass


def clip_of(start, end, brief=None, model=None):
    brief, model = brief or order(), model or Animatic()
    last = brief.shot.num_frames - 1
    keyframes = [
        Keyframe(index, Picture.of(image))
        for index, image in ((0, start), (last, end))
        if image is not None
    ]
    return model.film(brief, tuple(keyframes), Sampling(), ignore)


def frames_of(*arguments) -> list[torch.Tensor]:
    return list(clip_of(*arguments).frames)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB."""
    error = (image.float() - truth.float()).square().mean().item()
    return 10 * math.log10(255**2 / max(error, 1e-3))


def dissolve(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    return ((start.float() + end.float()) / 2).round().byte()


MOVES = {
    "zoom in": move(1.3),
    "zoom out": move(1 / 1.3),
    "pan": move(x=-0.3),
    "rotation": move(degrees=7),
    "mix": move(1.2, -5, 0.08, 0.04),
}


@pytest.mark.parametrize("motion", MOVES.values(), ids=MOVES)
def test_middle_of_a_known_move_beats_a_plain_dissolve_by_six_decibels(motion):
    place = world(1)
    start, end = seen(place, Similarity()), seen(place, motion.part(-1))
    middle = frames_of(start, end)[4]
    truth = seen(place, motion.part(-0.5))
    assert psnr(middle, truth) > psnr(dissolve(start, end), truth) + 6


@pytest.mark.parametrize("motion", MOVES.values(), ids=MOVES)
def test_registration_finds_a_known_move_within_a_pixel(motion):
    place = world(2)
    found = similarity_between(seen(place, Similarity()), seen(place, motion.part(-1)))
    corners = [complex(x, y) for x in (-0.35, 0.35) for y in (-0.2, 0.2)]
    assert max(abs(found(p) - motion(p)) for p in corners) < 1 / WIDTH


def test_registration_survives_exposure_noise_and_a_changed_subject():
    place, motion = world(1), move(1.25, 0, 0.05, 0.0)
    start, end = seen(place, Similarity()), seen(place, motion.part(-1))
    noise = 5 * torch.randn(end.shape, generator=torch.Generator().manual_seed(0))
    end = (0.8 * end + 20 + noise).clamp(0, 255).byte()
    end[40:100, 70:130] = seen(world(2), Similarity())[40:100, 70:130]
    found = similarity_between(start, end)
    assert abs(found(0.3) - motion(0.3)) < 3 / WIDTH


def test_registration_finds_the_same_again():
    pictures = [seen(world(2), motion) for motion in (Similarity(), move(1.2, 3))]
    assert similarity_between(*pictures) == similarity_between(*pictures)


def test_unrelated_pictures_dissolve():
    start, end = seen(world(1), Similarity()), seen(world(2), Similarity())
    frames = frames_of(start, end)
    assert similarity_between(start, end) == Similarity()
    assert (frames[4].float() - dissolve(start, end).float()).abs().max() <= 1


def test_pictures_without_any_texture_dissolve():
    frames = frames_of(
        torch.zeros(HEIGHT, WIDTH, 3).byte(), torch.full((HEIGHT, WIDTH, 3), 200).byte()
    )
    assert all((frame == frame[0, 0]).all() for frame in frames)
    assert [frame[0, 0, 0].item() for frame in frames] == sorted(f[0, 0, 0].item() for f in frames)


def test_equal_keyframes_hold_still():
    image = seen(world(1), Similarity())
    assert all(torch.equal(frame, image) for frame in frames_of(image, image.clone()))


@pytest.mark.parametrize("motion", [*MOVES.values(), move(x=-0.3, y=0.2)])
def test_no_dark_borders_appear(motion):
    bright = world(2) / 4 + 150
    start, end = seen(bright, Similarity()), seen(bright, motion.part(-1))
    darkest = min(start.min(), end.min()).item()
    assert min(frame.min().item() for frame in frames_of(start, end)) > darkest - 20


def test_exposure_changes_evenly_over_the_whole_frame():
    place, motion = world(1), move(x=-0.4)
    start, end = seen(place, Similarity()), seen(place, motion.part(-1))
    dim = (0.5 * end).byte()
    # With a seam, the part only the end shows would be as dark as the end from the first frame.
    early, plain = frames_of(start, dim)[1].float(), frames_of(start, end)[1].float()
    right = slice(WIDTH - 4, WIDTH)
    assert (plain[:, right] - early[:, right]).mean() < 0.3 * (end.float() - dim.float()).mean()


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (121, 207), (17, 40), (64, 8)])
def test_first_and_last_frame_are_the_keyframes_bit_for_bit(size):
    start, end = seen(world(1), Similarity(), size), seen(world(2), Similarity(), size)
    frames = frames_of(start, end)
    assert torch.equal(frames[0], start) and torch.equal(frames[-1], end)
    assert {tuple(frame.shape) for frame in frames} == {(*size, 3)}
    assert {frame.dtype for frame in frames} == {torch.uint8}


def test_an_end_of_another_size_is_cropped_to_the_size_of_the_start():
    start = seen(world(1), Similarity())
    end = torch.zeros(100, 300, 3, dtype=torch.uint8)
    end[:, 70:230] = 200
    frames = frames_of(start, end)
    assert frames[-1].shape == start.shape
    # 100 x 300 is cropped to 100 x 173, so the band of 160 is kept and a little dark beside it.
    assert (frames[-1][:, WIDTH // 2] == 200).all() and (frames[-1][:, 0] == 0).all()


@pytest.mark.parametrize(
    "num_frames, rate", [(72, Fraction(24)), (50, Fraction(25)), (2, Fraction(24))]
)
def test_length_and_rate_follow_the_grid(num_frames, rate):
    brief = order(num_frames)
    brief = ShotBrief(brief.shot, FrameFormat(WIDTH, HEIGHT, rate), brief.memory, brief.given)
    image = torch.zeros(16, 16, 3, dtype=torch.uint8)
    clip = clip_of(image, image, brief)
    assert clip.rate == 12
    assert (
        len(clip.frames)
        == len(list(clip.frames))
        == Animatic.grid.num_frames(brief.shot, brief.frame_format)
    )


def test_frames_play_twice_alike_and_leave_the_keyframes_alone():
    start, end = seen(world(1), Similarity()), seen(world(1), move(1.2))
    copies = start.clone(), end.clone()
    brief = order(movement=CameraMovement.HANDHELD, dialogue="ANN: Hello.")
    clip = clip_of(start, end, brief, Animatic(subtitles=True))
    again = clip_of(start, end, brief, Animatic(subtitles=True))
    assert all(torch.equal(a, b) for a, b in zip(clip.frames, clip.frames, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(clip.frames, again.frames, strict=True))
    assert torch.equal(start, copies[0]) and torch.equal(end, copies[1])


def test_a_cancelled_film_stops_within_a_step():
    steps = []

    def cancel(shot, done, total):
        steps.append((shot.id, done, total))
        if done == 3:
            raise KeyboardInterrupt

    image = seen(world(1), Similarity())
    clip = Animatic().film(order(), (Keyframe(0, Picture.of(image)),), Sampling(), cancel)
    assert steps == []
    with pytest.raises(KeyboardInterrupt):
        list(clip.frames)
    assert steps == [("2A", 1, 9), ("2A", 2, 9), ("2A", 3, 9)]


@pytest.mark.parametrize("movement", CameraMovement)
def test_one_keyframe_is_moved_over_gently_and_kept_exact(movement):
    image = seen(world(1), Similarity())
    brief = order(movement=movement)
    forwards, backwards = frames_of(image, None, brief), frames_of(None, image, brief)
    assert torch.equal(forwards[0], image) and torch.equal(backwards[-1], image)
    still = movement is CameraMovement.STATIC
    assert all(torch.equal(frame, image) for frame in forwards + backwards) == still


def test_one_keyframe_of_a_dolly_in_ends_closer_and_of_a_pan_right_looks_right():
    place = world(1)
    image = seen(place, Similarity())
    closer = frames_of(image, None, order(movement=CameraMovement.DOLLY_IN))[-1]
    right = frames_of(image, None, order(movement=CameraMovement.PAN_RIGHT))[-1]
    left = frames_of(None, image, order(movement=CameraMovement.PAN_RIGHT))[0]
    assert abs(similarity_between(image, closer).turn) == pytest.approx(CLOSER, abs=0.01)
    # What stands in the middle moves to the left while the camera turns right.
    assert similarity_between(image, right)(0).real < -0.02
    assert similarity_between(left, image)(0).real < -0.02


def test_another_take_sways_otherwise():
    image = seen(world(1), Similarity())
    first = frames_of(image, None, order(movement=CameraMovement.HANDHELD, take=1))
    second = frames_of(image, None, order(movement=CameraMovement.HANDHELD, take=2))
    assert not torch.equal(first[4], second[4])


def test_the_camera_rests_at_both_ends():
    place, motion = world(1), move(x=-0.3)
    frames = frames_of(seen(place, Similarity()), seen(place, motion.part(-1)), order(24))
    pairs = [*itertools.pairwise(frames)]
    first, middle, last = (
        abs(similarity_between(*pairs[place]).shift) for place in (0, len(pairs) // 2, -1)
    )
    assert first < 0.4 * middle and last < 0.4 * middle


def test_no_keyframe_or_two_starts_are_refused_and_the_shot_is_named():
    picture = Picture.of(torch.zeros(16, 16, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="shot 2A: no keyframe"):
        Animatic().film(order(), (), Sampling(), ignore)
    with pytest.raises(ValueError, match="shot 2A: keyframes at 0, 0"):
        Animatic().film(order(), (Keyframe(0, picture),) * 2, Sampling(), ignore)


def test_own_sketches_are_drawn_again_from_every_place_on_the_way():
    brief = order(8, movement=CameraMovement.DOLLY_IN, description="Ann waits in the office.")
    pair = Sketch().draw(brief, Sampling(), ignore)
    clip = Animatic().film(brief, pair.keyframes(8), Sampling(), ignore)
    staged = stage_shot(brief, Sampling())
    expected = [staged.panel(p * p * (3 - 2 * p)) for p in (0, 1 / 3, 2 / 3, 1)]
    assert all(torch.equal(a, b) for a, b in zip(clip.frames, expected, strict=True))


def test_a_sketch_with_another_end_is_not_drawn_again():
    brief = order(8, movement=CameraMovement.DOLLY_IN, description="Ann waits in the office.")
    pair = Sketch().draw(brief, Sampling(), ignore)
    frames = frames_of(pair.start.image, pair.start.image.flip(1), brief)
    assert torch.equal(frames[0], pair.start.image)
    assert torch.equal(frames[-1], pair.start.image.flip(1))


def test_reading_dialogue_is_told_only_with_subtitles():
    plain, titled = Animatic(), Animatic(subtitles=True)
    assert titled.identity != plain.identity
    assert titled.reads - plain.reads <= {"dialogue"} and "dialogue" in titled.reads
    assert Sketch.reads <= plain.reads


def test_subtitles_are_at_the_bottom_of_all_frames_but_the_keyframes():
    start, end = seen(world(1), Similarity()), seen(world(2), Similarity())
    brief = order(dialogue="ANN: Did you lock the door?")
    plain = frames_of(start, end, brief)
    titled = frames_of(start, end, brief, Animatic(subtitles=True))
    differs = [not torch.equal(a, b) for a, b in zip(plain, titled, strict=True)]
    assert differs == [False, *[True] * 7, False]
    assert torch.equal(plain[4][: HEIGHT // 2], titled[4][: HEIGHT // 2])


def test_subtitles_show_every_word_in_order_and_within_the_frame():
    speech = "ANN: " + " ".join(f"word{n}" for n in range(60))
    subtitles = Subtitles(speech + "\nBOB: Yes.", WIDTH, HEIGHT)
    parts = list(dict.fromkeys(subtitles.text_at(k / 500) for k in range(501)))
    assert " ".join(parts).split() == (speech + " BOB: Yes.").split()
    assert max(part.count("\n") for part in parts) == 1
    black = torch.zeros(HEIGHT, WIDTH, 3, dtype=torch.uint8)
    drawn = subtitles.over(black, 0.5)
    assert drawn.max() > 200 and drawn[:, :8].max() == 0 and drawn[-2:].max() == 0


@pytest.mark.parametrize(
    "speech", ["\u4f60\u597d" * 80, "\U0001f600", "\ud800", "\x00\x07", "", "\u202e\u0301"]
)
def test_subtitles_of_any_characters_are_drawn_or_left_out(speech):
    black = torch.zeros(HEIGHT, WIDTH, 3, dtype=torch.uint8)
    assert Subtitles(speech, WIDTH, HEIGHT).over(black, 0.5).shape == black.shape


def test_parts_of_a_move_add_up_to_the_move():
    for motion in (*MOVES.values(), zoom_about(0.5, 1.2)):
        halves = motion.part(0.5)
        assert halves(halves(0.3 + 0.1j)) == pytest.approx(motion(0.3 + 0.1j))
        assert motion.part(-1)(motion(0.3)) == pytest.approx(0.3)


def through(*places, brief=None):
    """A clip through pictures of different places, at these frames of a shot of 18."""
    place = [seen(world(1 + n % 2), move(x=0.1 * n)) for n in range(len(places))]
    keyframes = tuple(Keyframe(i, Picture.of(p)) for i, p in zip(places, place, strict=True))
    return place, list(Animatic().film(brief or order(), keyframes, Sampling(), ignore).frames)


def test_keyframes_between_are_met_and_the_ends_stay():
    # 17 frames of the plan are 8 of the clip: 6 is nearest to 3, 13 to 6.
    pictures, frames = through(0, 6, 13, 17)
    assert len(frames) == 9
    for place, picture in zip((0, 3, 6, 8), pictures, strict=True):
        assert torch.equal(frames[place], picture)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(frames))


def test_one_so_near_an_end_that_it_would_be_the_end_gives_way():
    pictures, frames = through(0, 1, 17)
    assert torch.equal(frames[0], pictures[0]) and torch.equal(frames[-1], pictures[2])
    assert all(torch.equal(a, b) for a, b in zip(frames, through_ends(pictures), strict=True))


def through_ends(pictures):
    return frames_of(pictures[0], pictures[2])


def test_without_an_end_the_last_picture_is_held():
    pictures, frames = through(0, 8)
    assert all(torch.equal(frame, pictures[1]) for frame in frames[4:])
    assert not torch.equal(frames[3], pictures[1])
