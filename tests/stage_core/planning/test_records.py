import json
from fractions import Fraction

import pytest

from stage_core.errors import PlanError
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.cinematography import ShotScale
from stage_core.story.shot_list import FrameFormat

WORDING = "Current shot: \n{}\n Current shot time: 2.75275\n Current frame num: 66"


def test_the_wording_of_the_release_gives_description_and_length_at_every_rate():
    text = json.dumps([{"idx": 4, "prompt": WORDING.format("A boat.")}, {"caption": "A net."}])
    for rate, num_frames in ((Fraction(24000, 1001), 66), (Fraction(48), 132)):
        first, second = plan(text, PlanSettings(FrameFormat(rate=rate))).shots
        assert (first.id, first.description, first.num_frames) == ("4", "A boat.", num_frames)
        assert (second.id, second.description) == ("5", "A net.")


def test_what_concerns_the_model_and_not_the_plan_is_left_out():
    record = {
        "idx": "a1",
        "prompt": "A boat.",
        "control_img_list": ["x.png"],
        "negative_prompt": " ",
        "seed": 3,
        "sample_steps": 20,
        "height": 864,
        "width": 1536,
        "cfg_scale": 4.0,
        "discrete_flow_shift": 2.2,
    }
    (shot,) = plan(json.dumps([record])).shots
    assert (shot.id, shot.seed, shot.negative) == ("a1", 3, "")


def test_a_record_takes_the_columns_of_a_table():
    record = {
        "description": "A boat.",
        "scale": "CU",
        "cast": ["Ida"],
        "prompt": "boat",
        "keep": True,
    }
    (shot,) = plan(json.dumps([record])).shots
    assert (shot.scale, shot.cast, shot.prompt) == (ShotScale.CLOSE_UP, ("Ida",), "boat")
    assert shot.keep


def test_a_storymem_prompt_without_a_cut_continues():
    script = {
        "story_overview": "A walk.",
        "scenes": [
            {"scene_num": 1, "video_prompts": ["a", "b"], "cut": [True, False]},
            {"scene_num": 2, "video_prompts": ["c"], "first_frame_prompt": ["d"]},
        ],
    }
    found = plan(json.dumps(script))
    assert found.theme == "A walk."
    assert [(s.description, s.continues) for s in found.shots] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[{"prompt": "a"},\n\n{"prompt": " "}]', 3, "record 2 has no prompt"),
        ('[{"prompt": "a",\n"zoom": 1},\n 3]', 1, "record 1: key 'zoom' is not known"),
        ('[{"prompt": "a"},\n 3]', 2, "record 2 is no object"),
        ('[{"prompt": "a"},\n{"prompt": "b", "scale": {}}]', 2, "no text and no number"),
        ('[{"prompt": "a",\n"idx" 1}]', 2, "not valid JSON"),
        ('[{"prompt": "a", "idx": 1},\n{"prompt": "b", "idx": 1}]', 2, "shot id '1' is taken"),
        ('{"scenes": [{"video_prompts": ["a"], "cut": []}]}', None, "1 prompts, but 0 values"),
        ('{"scenes": [{"video_prompts": ["a"], "cut": [false]}]}', None, "begins with a cut"),
        ('{"shots": []}', None, "no list of records"),
        ("[]", None, "no shots"),
        ('[{"prompt": "\\ud800"}]', None, "surrogate"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, words):
    with pytest.raises(PlanError, match=words) as caught:
        plan(text, PlanSettings(format="records"))
    assert caught.value.line == line
