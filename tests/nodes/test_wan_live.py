"""Wan and other graphs in a running ComfyUI, with small random weights in files."""

import re

import av
import pytest
import torch

from ..live import NO_TREE, PACKS, comfy, trees
from .small_wan import filled
from .test_nodes import STORY

pytestmark = [pytest.mark.comfy, pytest.mark.slow, pytest.mark.timeout(600)]
HIGH, LOW, VAE = "wan_high_noise.safetensors", "wan_low_noise.safetensors", "wan_vae.safetensors"
VACE = "wan_vace.safetensors"
LORAS = "wan_4steps_lora_high.safetensors", "wan_4steps_lora_low.safetensors"
FILES = {"diffusion_models": (HIGH, LOW, VACE), "vae": (VAE,), "loras": LORAS}
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
    sizes = {"dim": 128, "ffn_dim": 128, "num_heads": 1, "num_layers": 2, "out_dim": 16}
    options = {"cross_attn_norm": True, "operations": comfy.ops.disable_weight_init}
    options |= {"dtype": torch.float32}
    classes = comfy.ldm.wan.model
    network = classes.WanModel(model_type="t2v", in_dim=36, **sizes, **options)
    more = {"vace_layers": 1, "vace_in_dim": 96}
    vace = classes.VaceWanModel(model_type="vace", in_dim=16, **sizes, **more, **options)
    sizes = {"dim": 16, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    options = {"attn_scales": [], "temperal_downsample": [False, True, True], "dropout": 0.0}
    decoder = comfy.ldm.wan.vae.WanVAE(**sizes, **options)
    for name, part, seed, scale in (
        (HIGH, network, 1, 0.05),
        (LOW, network, 2, 0.05),
        (VACE, vace, 4, 0.05),
        (VAE, decoder, 3, 0.2),
    ):
        save_file(filled(part, seed, scale), folder / name)
    for name in LORAS:
        layer = "diffusion_model.blocks.0.self_attn.q.lora"
        tensors = {f"{layer}_down.weight": torch.randn(4, 128)}
        save_file({**tensors, f"{layer}_up.weight": torch.randn(128, 4)}, folder / name)
    return folder


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def server(request, weights, tmp_path_factory):
    if request.param is None:
        pytest.skip(NO_TREE)
    base = tmp_path_factory.mktemp("comfy")
    for folder, names in FILES.items():
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


def by_wan(title, source="board", high=HIGH, low=LOW, kind="Wan 2.2 14B", **changes):
    settings = {f"settings.{name}": value for name, value in {**QUICK, **changes}.items()}
    parts = {"model_high": ["high", 0], "model_low": ["low", 0], "vae": ["vae", 0]}
    widgets = {"shots": "", "takes": 1, "film": "what changed", "film_at_most": -1}
    return board(title) | {
        "high": of("UNETLoader", unet_name=high, weight_dtype="default"),
        "low": of("UNETLoader", unet_name=low, weight_dtype="default"),
        "vae": of("VAELoader", vae_name=VAE),
        "words": of("TEST_Words"),
        "model": of("STAGE_ShotModel", clip=["words", 0], settings=kind, **settings, **parts),
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


def test_wan_goes_on_inside_and_between_phases_and_films_what_it_would_have(server):
    prompt, folder = by_wan("Halves"), server.output / "stage" / "Halves"
    for count in (1, 3):
        # One shot's first half rests: inside a phase. All three: the second has begun.
        stopped = server.run(prompt, lambda run, n=count: len(resting(folder)) >= n, timeout=300)
        assert stopped.status == "interrupted" and not list(folder.glob("*.mkv"))
        assert len(resting(folder)) >= count
    run = server.run(prompt, timeout=300)
    assert filmed(run) == 3 and not resting(folder)
    assert any("3 to film, 3 of them half filmed" in text for text in run.texts["films"])
    assert "weights moved for 3 shots" in run.text("films")
    whole = by_wan("Whole")
    whole["films"]["inputs"]["shots"] = "1"
    assert server.run(whole, timeout=300).status == "success"
    resumed, at_once = (folder.with_name(name) / "1_t01.mkv" for name in ("Halves", "Whole"))
    for one, other in zip(frames_of(resumed), frames_of(at_once), strict=True):
        assert (one == other).all()


def frames_of(path):
    """The frames of a file as arrays."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def resting(folder):
    """The latents that rest between two phases."""
    return list(folder.glob("*.halfway.safetensors"))


def test_the_4_step_preset_films_with_its_lora_files(server):
    four = {"steps": 4, "switch_at": 2}
    prompt = by_wan("Four", kind="Wan 2.2 14B, 4 steps", **four)
    prompt["films"]["inputs"]["shots"] = "2"
    for name, file in zip(("high", "low"), LORAS, strict=True):
        widgets = {"lora_name": file, "strength_model": 1.0}
        prompt[f"lora_{name}"] = of("LoraLoaderModelOnly", model=[name, 0], **widgets)
        prompt["model"]["inputs"][f"model_{name}"] = [f"lora_{name}", 0]
    run = server.run(prompt, timeout=300)
    assert run.status == "success", run.error
    assert "filmed 1 of 1 shot" in run.text("films")


def test_vace_films_with_the_casts_pictures_from_the_memory_pack(server):
    prompt = by_wan("Cast", high=VACE, low=VACE, kind="Wan VACE")
    del prompt["low"], prompt["model"]["inputs"]["model_low"]
    prompt["films"]["inputs"] |= {"shots": "1", "memory_pack": ["memory", 0]}
    widgets = {"policy": "full", "capacity": 8, "image_1": ["ida", 0], "name_1": "Ida"}
    prompt["memory"] = of("STAGE_MemoryPackBuilder", **widgets)
    prompt["ida"] = of("EmptyImage", width=64, height=128, batch_size=1, color=0x00FF00)
    run = server.run(prompt, timeout=300)
    assert run.status == "success", run.error
    assert "filmed 1 of 1 shot" in run.text("films") and "ignored" not in run.text("films")
    prompt["ida"]["inputs"]["color"] = 0x0000FF
    assert "filmed 1 of 1 shot" in server.run(prompt, timeout=300).text("films")


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
        "shot 1 is 1_t01; 1 of 3 shots filmed",
        "shot 2 is 2_t01; 2 of 3 shots filmed",
        "shot 3 is 3_t01; 3 of 3 shots filmed",
    ]
    fourth = server.run(prompt)
    assert fourth.status == "success" and "graph" not in fourth.executed
    again = server.run(by_graph("Any", "2"))
    assert again.status == "success" and "graph" not in again.executed
    assert again.text("take") == "shot 2 is 2_t01; 3 of 3 shots filmed"


def by_drawing(title):
    prompt = {"script": board(title)["script"]}
    return prompt | {
        "pick": of("STAGE_PickShot", storyboard=["script", 0], shot="", pick_for="pair"),
        "first": of("ImageFromBatch", image=["pick", 9], batch_index=0, length=1),
        "graph": of("RepeatImageBatch", image=["first", 0], amount=2),
        "take": of(
            "STAGE_ShotTake",
            storyboard=["script", 0],
            shot=["pick", 10],
            images=["graph", 0],
            rate=16.0,
            keep_as="pair",
        ),
    }


def test_the_same_pair_of_nodes_draws_a_board_with_any_graph(server):
    prompt, texts = by_drawing("Drawn"), []
    for _ in range(3):
        run = server.run(prompt)
        assert run.status == "success" and "graph" in run.executed, run.error
        texts.append(run.text("take"))
    assert texts == [f"shot {n} is {n}_d01; {n} of 3 shots drawn" for n in (1, 2, 3)]
    fourth = server.run(prompt)
    assert fourth.status == "success" and "graph" not in fourth.executed
    assert len(list((server.output / "stage" / "Drawn").glob("*.png"))) == 6
