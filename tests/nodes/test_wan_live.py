"""Wan and other graphs in a running ComfyUI, with small random weights in files."""

import re

import pytest
import torch

from ..live import PACKS, comfy, trees
from .test_native_wan import filled
from .test_nodes import STORY

pytestmark = [pytest.mark.comfy, pytest.mark.slow, pytest.mark.timeout(600)]
HIGH, LOW, VAE = "wan_high_noise.safetensors", "wan_low_noise.safetensors", "wan_vae.safetensors"
QUICK = {"steps": 2, "guidance": 1.0, "shift": 5.0, "switch_at": 1, "guidance_low": 1.0}
QUICK |= {"sampler": "euler", "schedule": "simple", "size": "480p", "longest": 81}


@pytest.fixture(scope="module")
def weights(pack, tmp_path_factory):
    """Files of two experts and a VAE, as core's loaders read them."""
    import comfy.ldm.wan.model
    import comfy.ldm.wan.vae
    import comfy.ops
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    sizes = {"in_dim": 36, "dim": 128, "ffn_dim": 128, "num_heads": 1, "num_layers": 2}
    options = {"cross_attn_norm": True, "operations": comfy.ops.disable_weight_init}
    network = comfy.ldm.wan.model.WanModel(
        model_type="t2v", out_dim=16, dtype=torch.float32, **sizes, **options
    )
    sizes = {"dim": 16, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    options = {"attn_scales": [], "temperal_downsample": [False, True, True], "dropout": 0.0}
    decoder = comfy.ldm.wan.vae.WanVAE(**sizes, **options)
    for name, part, seed, scale in (
        (HIGH, network, 1, 0.05),
        (LOW, network, 2, 0.05),
        (VAE, decoder, 3, 0.2),
    ):
        save_file(filled(part, seed, scale), folder / name)
    return folder


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def server(request, weights, tmp_path_factory):
    if request.param is None:
        pytest.skip("no ComfyUI with a Python of its own")
    base = tmp_path_factory.mktemp("comfy")
    for folder, names in (("diffusion_models", (HIGH, LOW)), ("vae", (VAE,))):
        (base / "models" / folder).mkdir(parents=True)
        for name in names:
            (base / "models" / folder / name).write_bytes((weights / name).read_bytes())
    options = ("--preview-method", "latent2rgb")
    with comfy(request.param, base, *options, packs=(PACKS / "words",)) as running:
        yield running


def of(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def board(title):
    text = {"text": STORY.replace("Two Doors", title), "title": "", "look": "", "negative": ""}
    size = {"width": 416, "height": 240, "rate": "16", "seed": 0, "format": "auto"}
    widgets = {"shots": "", "redraw": "what I changed"}
    return {
        "script": of("STAGE_Script", **text, **size),
        "board": of("STAGE_STEP2Storyboard", storyboard=["script", 0], **widgets),
    }


def by_wan(title, source="board", high=HIGH, low=LOW):
    settings = {f"settings.{name}": value for name, value in QUICK.items()}
    parts = {"model_high": ["high", 0], "model_low": ["low", 0], "vae": ["vae", 0]}
    widgets = {"shots": "", "takes": 1, "film": "what changed", "film_at_most": -1}
    return board(title) | {
        "high": of("UNETLoader", unet_name=high, weight_dtype="default"),
        "low": of("UNETLoader", unet_name=low, weight_dtype="default"),
        "vae": of("VAELoader", vae_name=VAE),
        "words": of("TEST_Words"),
        "model": of(
            "STAGE_ShotModel", clip=["words", 0], settings="Wan 2.2 14B", **settings, **parts
        ),
        "films": of(
            "STAGE_DualEncoderShotSampler",
            storyboard=[source, 0],
            shot_model=["model", 0],
            **widgets,
        ),
    }


def filmed(run):
    assert run.status == "success", run.error
    return int(re.search(r"filmed (\d+) of 3", run.text("films"))[1])


def test_wan_goes_on_after_an_interrupt_and_films_a_swapped_end_alone(server):
    prompt, folder = by_wan("Wan"), server.output / "stage" / "Wan"
    stopped = server.run(prompt, lambda run: (folder / "1_t01.mkv").exists(), timeout=300)
    assert stopped.status == "interrupted" and stopped.previews
    kept = len(list(folder.glob("*.mkv")))
    assert 0 < kept < 3
    assert filmed(server.run(prompt, timeout=300)) == 3 - kept
    swapped = by_wan("Wan", source="swap") | {
        "red": of("EmptyImage", width=416, height=240, batch_size=1, color=0xFF0000),
        "swap": of("STAGE_ReplaceKeyframes", storyboard=["board", 0], shot="2", end=["red", 0]),
    }
    assert filmed(server.run(swapped, timeout=300)) == 1


def test_swapped_experts_are_told_before_anything_is_filmed(server):
    run = server.run(by_wan("Swapped", high=LOW, low=HIGH), timeout=300)
    assert run.status == "error" and f"{LOW} is at model_high" in run.error
    assert not list((server.output / "stage" / "Swapped").glob("*.mkv"))


def by_graph(title, shot):
    return board(title) | {
        "pick": of("STAGE_PickShot", storyboard=["board", 0], shot=shot),
        "graph": of("RepeatImageBatch", image=["pick", 0], amount=5),
        "take": of(
            "STAGE_ShotTake",
            storyboard=["board", 0],
            shot=["pick", 10],
            images=["graph", 0],
            rate=16.0,
        ),
    }


def test_the_same_graph_queued_again_films_the_next_shot_until_all_are_filmed(server):
    prompt, texts = by_graph("Any", ""), []
    for _ in range(3):
        run = server.run(prompt)
        assert run.status == "success" and "graph" in run.executed, run.error
        texts.append(run.text("take"))
    assert texts == [
        "shot 1 is 1_t01; 1 of 3 shots are filmed",
        "shot 2 is 2_t01; 2 of 3 shots are filmed",
        "shot 3 is 3_t01; 3 of 3 shots are filmed",
    ]
    fourth = server.run(prompt)
    assert fourth.status == "success" and "graph" not in fourth.executed
    again = server.run(by_graph("Any", "2"))
    assert again.status == "success" and "graph" not in again.executed
    assert again.text("take") == "shot 2 is 2_t01; 3 of 3 shots are filmed"
