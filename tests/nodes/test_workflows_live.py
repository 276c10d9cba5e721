"""The example workflows of Wan in a running ComfyUI, as they are but for small random weights."""

import json
import re

import pytest

from ..live import NO_TREE, PACK, PACKS, comfy, to_api, trees
from .small_ltx import save_ltx
from .test_nodes import STORY
from .test_wan_live import HIGH, LORAS, LOW, VAE, by_wan, of
from .test_wan_live import weights as weights

pytestmark = [pytest.mark.comfy, pytest.mark.slow, pytest.mark.timeout(600)]
# The names that the workflows have for the small files.
NAMES = {
    HIGH: "diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    LOW: "diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
    VAE: "vae/wan_2.1_vae.safetensors",
    LORAS[0]: "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
    LORAS[1]: "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
}

LTX = (
    "diffusion_models/ltx-2.5-22b-distilled-transformer-comfy-int8-convrot.safetensors",
    "vae/ltx-2.5-video-vae-bf16.safetensors",
    "vae/ltx-2.5-audio-vae-bf16.safetensors",
)


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    if not trees():
        pytest.skip(NO_TREE)
    base = tmp_path_factory.mktemp("comfy")
    for own, name in NAMES.items():
        for file in (base / "models" / name, (base / "models" / name).with_name(own)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((weights / own).read_bytes())
    save_ltx(base / "models", *LTX)
    with comfy(trees()[0], base, packs=(PACKS / "words",)) as running:
        yield running


def workflow(server, name, title, seconds="0.6"):
    """A workflow of the pack with a short and small film and words for a text encoder."""
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    prompt = to_api(graph, server.get("/object_info"))
    for node in prompt.values():
        if node["class_type"] == "CLIPLoader":
            node |= of("TEST_Words")
        if node["class_type"] == "STAGE_PickShot":
            node["inputs"]["sizes_of"] = "as planned"
        if node["class_type"] == "STAGE_Script":
            # Of 0.6 s core nodes make 9 frames: start and end have a latent each.
            text = STORY.replace("Two Doors", title).replace("0.25s", f"{seconds}s")
            node["inputs"] |= {"text": text, "width": 128, "height": 80, "rate": "16"}
    return prompt


def small(prompt):
    """The same films by the same model at a quarter of its area."""
    films = prompt["films"]
    inputs = {**films["inputs"], "shot_model": ["small", 0]}
    made = of("TEST_SmallShotModel", model=["model", 0])
    return {**prompt, "small": made, "films": {**films, "inputs": inputs}}


def the(prompt, class_type):
    """The id of the only node of a class."""
    (node_id,) = (i for i, node in prompt.items() if node["class_type"] == class_type)
    return node_id


def with_red_end(prompt, shot):
    """The prompt with another end frame for a shot."""
    drawn = [the(prompt, "STAGE_STEP2Storyboard"), 0]
    changed = {
        node_id: {**node, "inputs": {**node["inputs"], "storyboard": ["swap", 0]}}
        for node_id, node in prompt.items()
        if node["inputs"].get("storyboard") == drawn
    }
    return {
        **prompt,
        **changed,
        "red": of("EmptyImage", width=128, height=80, batch_size=1, color=0xFF0000),
        "swap": of("STAGE_ReplaceKeyframes", storyboard=drawn, shot=shot, end=["red", 0]),
    }


def ran(prompt, run, class_type):
    """Whether a node of this class ran."""
    assert run.status == "success", run.error
    return class_type in {prompt[node_id]["class_type"] for node_id in run.executed}


def test_our_sampler_films_the_board_and_again_what_changed(server):
    prompt = workflow(server, "film_wan22", "By sampler", seconds="0.25")
    films, model = the(prompt, "STAGE_DualEncoderShotSampler"), the(prompt, "STAGE_ShotModel")
    prompt["small"] = of("TEST_SmallShotModel", model=[model, 0])
    prompt[films]["inputs"]["shot_model"] = ["small", 0]
    run = server.run(prompt, timeout=300)
    assert ran(prompt, run, "SaveVideo") and "filmed 3 of 3 shots" in run.text(films)
    assert not ran(prompt, server.run(prompt), "STAGE_DualEncoderShotSampler")
    run = server.run(with_red_end(prompt, "2"), timeout=300)
    assert run.status == "success" and "filmed 1 of 3 shots, 2 from takes" in run.text(films)


def test_core_nodes_film_the_board_in_a_batch_and_again_what_changed(server):
    prompt, texts = workflow(server, "film_wan22_graph", "By core nodes"), []
    take = the(prompt, "STAGE_ShotTake")
    for _ in range(3):
        run = server.run(prompt, timeout=300)
        assert ran(prompt, run, "KSamplerAdvanced") and ran(prompt, run, "SaveVideo")
        texts.append(run.text(take))
    assert texts == [f"shot {n} is {n}_t01; {n} of 3 shots filmed" for n in (1, 2, 3)]
    assert not ran(prompt, server.run(prompt), "KSamplerAdvanced")
    swapped = with_red_end(prompt, "2")
    run = server.run(swapped, timeout=300)
    assert ran(swapped, run, "KSamplerAdvanced")
    assert run.text(take) == "shot 2 is 2_t01-2; 3 of 3 shots filmed"
    assert not ran(swapped, server.run(swapped), "KSamplerAdvanced")


def test_core_nodes_of_ltx_film_the_board_with_its_sound_in_a_batch(server):
    prompt, texts = workflow(server, "film_ltx", "By LTX"), []
    take = the(prompt, "STAGE_ShotTake")
    for _ in range(3):
        run = server.run(prompt, timeout=300)
        assert ran(prompt, run, "SamplerCustomAdvanced")
        texts.append(run.text(take))
    assert texts == [f"shot {n} is {n}_t01; {n} of 3 shots filmed" for n in (1, 2, 3)]
    assert len(list((server.output / "stage" / "By LTX").glob("*_t01.wav"))) == 3
    assert not ran(prompt, server.run(prompt), "SamplerCustomAdvanced")
    swapped = with_red_end(prompt, "2")
    assert ran(swapped, server.run(swapped, timeout=300), "SamplerCustomAdvanced")


def test_two_samplers_in_a_row_film_a_board_each_its_own_shots(server):
    prompt = small(by_wan("Mixed"))
    prompt["films"]["inputs"]["shots"] = "1-2"
    widgets = {**prompt["films"]["inputs"], "storyboard": ["films", 0], "shots": "3"}
    del widgets["shot_model"]
    prompt["others"] = of("STAGE_DualEncoderShotSampler", **widgets)
    run = server.run(prompt, timeout=300)
    assert run.status == "success", run.error
    assert "filmed 2 of 2 shots" in run.text("films")
    assert "filmed 1 of 3 shots, 2 from takes" in run.text("others")


def test_takes_of_all_shots_move_the_weights_once(server):
    moved = []
    for takes in (1, 2):
        prompt = small(by_wan(f"Takes {takes}"))
        prompt["films"]["inputs"] |= {"shots": "1", "takes": takes}
        run = server.run(prompt, timeout=300)
        assert run.status == "success", run.error
        (said,) = [text for text in run.texts["films"] if "weights moved for" in text]
        said = re.search(
            r"moved for (\d) shots: (\S+) GB by phase; by shot it would be (\S+)", said
        )
        moved.append(tuple(map(float, said.groups())))
    (one, few, few_by_shot), (two, many, many_by_shot) = moved
    # Not the same: what was encoded for the first film is known in the second.
    assert (one, two) == (1, 2) and 0 < many <= few == few_by_shot
    assert many < many_by_shot
