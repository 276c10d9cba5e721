"""Shot Take: what another graph filmed is kept, found again, and kept apart."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
import torch

from .test_nodes import SCRIPT, STORY

pytestmark = pytest.mark.comfy
SLOTS = {"start": 0, "end": 1, "prompt": 2, "length": 4, "width": 6, "seed": 8, "memory": 9}


@pytest.fixture
def boards(node, output):
    """Makes the drawn board of a script."""

    def boards(text=STORY, **changes):
        plan = node("STAGE_Script").execute(text=text, **{**SCRIPT, **changes}).result[0]
        widgets = {"shots": "", "redraw": "what I changed"}
        return node("STAGE_STEP2Storyboard").execute(storyboard=plan, **widgets).result[0]

    return boards


@pytest.fixture
def board(boards):
    return boards()


@pytest.fixture
def take(pack, node, monkeypatch):
    """Runs Shot Take under a sampler that reads these outputs of Pick Shot."""
    cls = node("STAGE_ShotTake")
    monkeypatch.setattr(pack.nodes.lineage, "running_node", lambda: "1")
    texts = []
    monkeypatch.setattr(pack.nodes.host, "say", texts.append)

    def take(
        board,
        shot_id,
        images=None,
        cfg=4.0,
        reads=("start", "end", "prompt"),
        rate=16.0,
        sizes_of="as planned",
        audio=None,
        voice=None,
        **more,
    ):
        links = {name: ["3", SLOTS[name]] for name in reads}
        nodes = {
            "1": {"class_type": "STAGE_ShotTake", "inputs": {"images": ["2", 0]}},
            "2": {"class_type": "Sampler", "inputs": {"cfg": cfg, **links}},
            "3": {
                "class_type": "STAGE_PickShot",
                "inputs": {"shot": shot_id, "sizes_of": sizes_of},
                "is_changed": pack.nodes.films.takes_made(),
            },
        }
        if voice is not None:
            nodes["1"]["inputs"]["audio"] = ["4", 0]
            nodes["4"] = {"class_type": "Voice", "inputs": {"words": voice, "seconds": ["3", 4]}}
        prompt = SimpleNamespace(get_node=nodes.__getitem__)
        monkeypatch.setattr(cls, "hidden", SimpleNamespace(dynprompt=prompt))
        inputs = {"storyboard": board, "shot": board.shot_list.shot(shot_id), "rate": rate, **more}
        wanted = cls.check_lazy_status(**inputs, images=None)
        if wanted and images is None:
            return wanted
        arrived = {"images": images, "audio": audio}
        return cls.execute(**inputs, **{name: arrived[name] for name in wanted}).result[0]

    take.texts = texts
    return take


def frames(level, count=5):
    noise = torch.rand(count, 16, 24, 3, generator=torch.Generator().manual_seed(int(level * 100)))
    return noise.mul(255).round() / 255


def stacked(clip):
    return torch.stack(list(clip.frames))


def test_what_was_made_once_is_not_even_computed_again(take, board):
    assert take(board, "2") == ["images"]
    kept = take(board, "2", frames(0.1))
    again = take(board, "2")
    assert set(again.clips) == {"2"} and again.clips["2"].name == kept.clips["2"].name == "2_t01"


def test_images_are_kept_losslessly_first_and_last_as_filmed(take, board):
    clip = take(board, "2", frames(0.3)).clips["2"]
    assert torch.equal(stacked(clip), frames(0.3).mul(255).round().byte())


def test_the_board_has_every_shot_of_this_graph_and_none_of_another(take, board):
    take(board, "1", frames(0.1))
    take(board, "2", frames(0.2))
    assert set(take(board, "3", frames(0.3)).clips) == {"1", "2", "3"}
    assert set(take(board, "3", frames(0.4), cfg=5.0).clips) == {"3"}
    assert "3 of 3 shots filmed" in take.texts[-2]


def test_a_film_under_another_title_has_what_was_made_of_it(pack, take, boards):
    for shot_id in ("1", "2"):
        take(boards(), shot_id, frames(0.1))
    renamed, picks = boards(title="Renamed"), pack.nodes.films.takes_made()
    assert take(renamed, "3") == ["images"]
    folder = pack.nodes.host.film_folder("Renamed")
    assert not list(folder.glob("*.mkv"))
    assert set(take(renamed, "1").clips) == {"1", "2"}
    assert "; 2 from the film Two Doors" in take.texts[-1]
    # Pick Shot looks again, and goes on with the third.
    assert pack.nodes.films.takes_made() > picks
    assert sorted(path.name for path in folder.glob("*.mkv")) == ["1_t01.mkv", "2_t01.mkv"]


def test_a_copy_of_a_shot_has_what_was_made_of_it(node, take, boards):
    arrange = node("STAGE_Arrange").execute
    board = arrange(storyboard=boards(), order="1, 2, 2, 3").result[0]
    assert board.shot_list.shot("2A").copy_of == "2"
    kept = take(board, "2", frames(0.1))
    assert kept.clips["2A"].shot_id == "2A"
    assert kept.clips["2A"].name == kept.clips["2"].name == "2_t01"
    assert take(board, "2A").clips["2A"].name == "2_t01"


def test_a_board_keeps_the_clips_that_another_sampler_filmed(take, board):
    first = take(board, "1", frames(0.1))
    mixed = take(first, "2", frames(0.2), cfg=5.0)
    assert set(mixed.clips) == {"1", "2"}


def test_a_swapped_keyframe_is_made_again(node, take, board):
    take(board, "2", frames(0.1))
    red = torch.ones(1, 48, 64, 3)
    inputs = {"storyboard": board, "shot": "2", "end": red}
    swapped = node("STAGE_ReplaceKeyframes").execute(**inputs).result[0]
    assert take(swapped, "2") == ["images"]
    assert set(take(board, "2").clips) == {"2"}


@pytest.mark.parametrize(("reads", "is_made_again"), [(("start",), False), (("length",), True)])
def test_only_what_the_graph_reads_of_a_shot_makes_it_again(take, boards, reads, is_made_again):
    take(boards(), "2", frames(0.1), reads=reads)
    longer = boards(STORY.replace("medium, 0.25s", "medium, 0.5s"))
    assert (take(longer, "2", reads=reads) == ["images"]) == is_made_again


def test_sizes_of_another_model_are_those_that_it_makes(node, boards):
    plan = {"storyboard": boards(width=832, height=480), "shot": "2"}
    asked = {
        name: node("STAGE_PickShot").execute(**plan, sizes_of=name).result[4:8]
        for name in ("as planned", "Wan 480p", "LTX 720p", "MiniMax H3 768p")
    }
    length, rate, *size = asked["as planned"]
    assert (*size,) == (832, 480) and length / rate == pytest.approx(0.25)
    for name, stride, first in (("Wan 480p", 4, 1), ("LTX 720p", 8, 1), ("MiniMax H3 768p", 17, 5)):
        length, rate, *size = asked[name]
        assert length % stride == first % stride and not any(side % 16 for side in size)
        assert abs(length / rate - 0.25) <= stride / rate


def test_a_graph_that_asks_for_other_sizes_is_another_and_the_film_may_change_its_own(take, boards):
    asked = {"reads": ("length", "width"), "sizes_of": "Wan 480p"}
    take(boards(), "2", frames(0.1), **asked)
    assert take(boards(), "2", reads=("length", "width"), sizes_of="LTX 720p") == ["images"]
    assert set(take(boards(rate="25"), "2", **asked).clips) == {"2"}


def test_sizes_that_arrive_by_wire_are_those_of_the_node_there(pack):
    nodes = {
        "1": {"class_type": "Sampler", "inputs": {"length": ["2", 4]}},
        "2": {"class_type": "STAGE_PickShot", "inputs": {"sizes_of": ["3", 0]}},
        "3": {"class_type": "PrimitiveString", "inputs": {"value": "Wan 480p"}},
        "4": {"class_type": "Switch", "inputs": {"on": True, "of": ["3", 0]}},
    }
    prompt = SimpleNamespace(get_node=nodes.__getitem__)
    assert pack.nodes.lineage.picked(prompt, ["1", 0]).sizes_of == ("Wan 480p",)
    nodes["2"]["inputs"]["sizes_of"] = ["4", 0]
    assert pack.nodes.lineage.picked(prompt, ["1", 0]).sizes_of == ("as planned",)


def test_another_take_is_made_and_has_a_name_of_its_own(take, boards):
    first = take(boards(), "2", frames(0.1), reads=("start",))
    again = boards(STORY.replace("medium, 0.25s", "medium, 0.25s, take 2"))
    second = take(again, "2", frames(0.2), reads=("start",))
    assert (first.clips["2"].name, second.clips["2"].name) == ("2_t01", "2_t02")


def test_a_shot_to_keep_is_not_made_again_by_another_graph(take, boards):
    approved = take(boards(), "2", frames(0.1)).clips["2"].name
    kept = boards(STORY.replace("medium, 0.25s", "medium, 0.25s, keep"))
    assert kept.shot_list.shot("2").keep
    assert take(kept, "2", cfg=9.0).clips["2"].name == approved


def test_another_rate_plays_the_same_take(pack, take, board):
    take(board, "2", frames(0.1))
    clip = take(board, "2", rate=23.976).clips["2"]
    assert (clip.name, clip.rate) == ("2_t01", Fraction(24000, 1001))
    exact = pack.nodes.take.exact_rate
    assert (exact(16.0), exact(12.5)) == (Fraction(16), Fraction(25, 2))


def test_pick_shot_goes_on_after_every_stored_take(node, take, board):
    cls = node("STAGE_PickShot")
    picked, marks = [], []
    for level in range(3):
        marks.append(str(cls.fingerprint_inputs(storyboard=None, shot="")))
        shot = cls.execute(storyboard=board, shot="").result[-1]
        picked.append(shot.id)
        take(board, shot.id, frames(level / 10))
    assert picked == ["1", "2", "3"] and len(set(marks)) == 3
    assert set(take(board, "1").clips) == {"1", "2", "3"}


def test_images_that_are_not_finite_are_refused_and_nothing_is_kept(take, board, output):
    with pytest.raises(ValueError, match="images holds values that are not finite"):
        take(board, "2", frames(0.1) * float("nan"))
    assert not list((output / "stage").rglob("*.mkv"))


def test_images_without_a_graph_are_refused(pack, node, board, monkeypatch):
    cls = node("STAGE_ShotTake")
    monkeypatch.setattr(pack.nodes.lineage, "running_node", lambda: None)
    inputs = {"storyboard": board, "shot": board.shot_list.shot("1"), "rate": 16.0}
    with pytest.raises(ValueError, match="images comes from no node"):
        cls.execute(**inputs, images=frames(0.1))


def test_rate_and_size_of_the_film_change_no_take_that_does_not_read_them(take, board):
    take(board, "2", frames(0.1))
    plan = board.shot_list
    smaller = replace(plan.frame_format, width=32, height=24)
    other = replace(board, shot_list=replace(plan, frame_format=smaller))
    assert set(take(other, "2").clips) == {"2"}


def audio(level=0.5, batch=1):
    """Half a second of stereo."""
    return {"waveform": torch.full((batch, 2, 16_000), level), "sample_rate": 32_000}


def test_a_sound_is_asked_for_with_the_images_once_and_kept_with_the_clip(take, board):
    assert take(board, "2", voice="hush") == ["images", "audio"]
    kept = take(board, "2", frames(0.1), audio=audio(), voice="hush").clips["2"]
    assert torch.equal(kept.sound.samples, audio()["waveform"][0])
    again = take(board, "2", voice="hush").clips["2"]
    assert again.name == kept.name and again.sound.sample_rate == 32_000


def test_images_that_are_there_already_do_not_keep_a_clip_without_its_sound(node, take, board):
    take(board, "2", voice="hush")
    inputs = {"storyboard": board, "shot": board.shot_list.shot("2"), "rate": 16.0}
    wanted = node("STAGE_ShotTake").check_lazy_status(**inputs, images=frames(0.1), audio=None)
    assert wanted == ["audio"]


def test_a_graph_with_a_sound_is_another_than_without_or_with_other_words(take, board):
    take(board, "2", frames(0.1))
    assert take(board, "2", voice="hush") == ["images", "audio"]
    take(board, "2", frames(0.1), audio=audio(), voice="hush")
    assert take(board, "2", voice="hey") == ["images", "audio"]
    assert take(board, "2").clips["2"].sound is None


def test_what_only_the_sound_reads_of_a_shot_makes_the_clip_again(take, boards):
    take(boards(), "2", frames(0.1), reads=("start",), audio=audio(), voice="hush")
    longer = boards(STORY.replace("medium, 0.25s", "medium, 0.5s"))
    assert take(longer, "2", reads=("start",), voice="hush") == ["images", "audio"]


def test_a_graph_that_made_no_sound_gives_a_silent_clip(take, board):
    assert take(board, "2", frames(0.1), voice="hush").clips["2"].sound is None
    assert set(take(board, "2", voice="hush").clips) == {"2"}


def test_what_was_mended_in_a_sound_is_told(take, board):
    kept = take(board, "2", frames(0.1), audio=audio(2.0), voice="hush").clips["2"]
    assert kept.sound.samples.max() <= 1
    assert "the sound of shot 2: 32000 samples above full level are clipped" in take.texts[-1]


def test_several_sounds_are_refused_and_nothing_is_kept(take, board, output):
    with pytest.raises(ValueError, match="shot 2: audio holds 2 sounds; a clip has one"):
        take(board, "2", frames(0.1), audio=audio(batch=2), voice="hush")
    assert not list((output / "stage").rglob("2_t*"))


def test_a_film_of_takes_with_sound_has_it_and_a_silent_one_has_none(node, take, board):
    stitcher = node("STAGE_ShotStitcher")
    slots = [slot for slot in stitcher.GET_SCHEMA().inputs if not slot.optional]
    widgets = {slot.id: slot.default for slot in slots if hasattr(slot, "default")}

    def tracks(board):
        video = stitcher.execute(**{**widgets, "storyboard": board}).result[0]
        with av.open(str(video.get_stream_source())) as container:
            return len(container.streams.audio)

    assert tracks(take(board, "2", frames(0.1))) == 0
    assert tracks(take(board, "2", frames(0.1), audio=audio(), voice="hush")) == 1


def test_a_pair_has_no_sound_and_asks_for_none(draw, plan):
    assert draw(plan(), "2", voice="hush") == ["images"]
    assert draw(plan(), "2", frames(0.1, 2), voice="hush").pair("2").complete
    assert draw(plan(), "2").pair("2").complete


@pytest.fixture
def plan(node, output):
    """Makes the undrawn board of a script."""

    def plan(text=STORY, **changes):
        return node("STAGE_Script").execute(text=text, **{**SCRIPT, **changes}).result[0]

    return plan


@pytest.fixture
def draw(take):
    """Runs Shot Take under a graph that draws pairs from prompts."""

    def draw(board, shot_id, images=None, reads=("prompt", "seed"), **more):
        return take(board, shot_id, images, reads=reads, keep_as="pair", **more)

    return draw


def test_two_images_become_the_pair_of_a_shot_once(draw, take, plan):
    board = plan()
    assert draw(board, "2") == ["images"]
    drawn = draw(board, "2", frames(0.1, 2))
    pair = drawn.pair("2")
    assert pair.complete and pair.name == "2_d01" and pair.given == frozenset()
    assert draw(board, "2").pair("2").digests == pair.digests
    assert take.texts[-1] == "shot 2 is 2_d01; 1 of 3 shots drawn"


def test_a_pair_keeps_its_size_in_the_films_aspect(draw, plan):
    pair = draw(plan(width=64, height=64), "2", frames(0.1, 2)).pair("2")
    assert (pair.start.width, pair.start.height) == (16, 16)


def test_pairs_and_clips_of_one_graph_stay_apart(draw, take, plan):
    board = plan()
    drawn = draw(board, "2", frames(0.1, 2))
    assert take(drawn, "2", reads=("prompt", "seed")) == ["images"]
    clips = take(drawn, "2", frames(0.3), reads=("prompt", "seed")).clips
    assert set(clips) == {"2"}
    assert set(draw(board, "2").clips) == set()


@pytest.mark.parametrize("count", [1, 3])
def test_a_pair_is_two_pictures(draw, plan, output, count):
    with pytest.raises(ValueError, match=f"shot 2: images holds {count} pictures"):
        draw(plan(), "2", frames(0.1, count))
    assert not list((output / "stage").rglob("*.png"))


def test_what_is_given_stays_and_a_given_pair_is_not_drawn(node, draw, plan):
    red, blue = torch.zeros(1, 48, 64, 3), torch.ones(1, 48, 64, 3)
    replaced = node("STAGE_ReplaceKeyframes").execute
    half = replaced(storyboard=plan(), shot="2", end=red).result[0]
    pair = draw(half, "2", frames(0.1, 2)).pair("2")
    assert pair.end.digest == half.pair("2").end.digest and pair.given == {"end"}
    whole = replaced(storyboard=half, shot="2", start=blue).result[0]
    assert draw(whole, "2").pair("2").digests == whole.pair("2").digests


def test_another_given_frame_or_drawing_is_drawn_again(node, draw, plan):
    draw(plan(), "2", frames(0.1, 2))
    red = torch.zeros(1, 48, 64, 3)
    half = node("STAGE_ReplaceKeyframes").execute(storyboard=plan(), shot="2", end=red).result[0]
    assert draw(half, "2") == ["images"]
    again = plan(STORY.replace("medium, 0.25s", "medium, 0.25s, drawing 2"))
    assert draw(again, "2") == ["images"]
    assert draw(plan(), "2").pair("2").name == "2_d01"


def test_a_repainted_half_of_a_pair_comes_back_as_given(draw, plan, output):
    from stage_core.media import read_picture, write_picture

    draw(plan(), "2", frames(0.1, 2))
    (path,) = (output / "stage").rglob("2_d01_end.png")
    write_picture(path, 255 - read_picture(path))
    assert draw(plan(), "2").pair("2").given == {"end"}


def test_a_shot_that_continues_starts_on_the_end_of_the_one_before(draw, plan):
    text = STORY.replace("medium, 0.25s", "medium, 0.25s, continues")
    board = plan(text)
    assert board.shot_list.shot("2").continues
    first = draw(board, "1", frames(0.1, 2)).pair("1")
    second = draw(board, "2", frames(0.2, 2)).pair("2")
    assert second.start.digest == first.end.digest and second.given == frozenset()
    both = draw(board, "2")
    assert both.pair("1").digests == first.digests and both.pair("2").digests == second.digests


def test_pick_shot_goes_on_to_the_next_undrawn_shot_and_remembers(node, draw, plan):
    cls, board, picked = node("STAGE_PickShot"), plan(), []
    inputs = {"storyboard": board, "shot": "", "pick_for": "pair"}
    for level in range(3):
        outputs = cls.execute(**inputs).result
        shot, memory = outputs[-1], outputs[9]
        # Two frames of every shot that was drawn before; for the first plain grey.
        assert len(memory) == max(1, 2 * level) and (memory[0] == 128 / 255).all() == (level == 0)
        picked.append(shot.id)
        draw(board, shot.id, frames(level / 10, 2))
    assert picked == ["1", "2", "3"]
    assert cls.execute(**inputs).result[-1].message is None
    assert all(draw(board, "1").pair(shot_id).complete for shot_id in picked)


def test_a_graph_that_draws_gets_given_frames_and_the_seed_of_the_drawing(pack, node, plan):
    protocol, cls = pack.stage_core.backends.protocol, node("STAGE_PickShot")
    red, board = torch.zeros(1, 48, 64, 3), plan()
    half = node("STAGE_ReplaceKeyframes").execute(storyboard=board, shot="2", end=red).result[0]
    start, end, *_ = outputs = cls.execute(storyboard=half, shot="2", pick_for="pair").result
    assert "shot 2 has no start frame that is given" in start.message
    assert end.shape == (1, 48, 64, 3) and (end == 0).all()
    sampling = protocol.Sampling(seed=board.shot_list.seed)
    assert outputs[8] == protocol.drawing_seed(board.shot_list.shot("2"), sampling)
    assert cls.execute(storyboard=half, shot="2").result[8] != outputs[8]


def test_new_memory_draws_no_pair_again(draw, plan):
    board = plan()
    draw(board, "2", frames(0.2, 2), reads=("prompt", "memory"))
    draw(board, "1", frames(0.1, 2), reads=("prompt", "memory"))
    assert draw(board, "2", reads=("prompt", "memory")).pair("2").complete
