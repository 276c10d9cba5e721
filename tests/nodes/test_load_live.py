"""Load Storyboard Model and Load Shot Model in a running ComfyUI, with small random weights."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import av
import pytest

from ..live import NO_TREE, PACK, PACKS, comfy, to_api, trees
from ..stage_core.backends import wan_folders
from ..stage_core.vectors import FOLDER, needs_vectors, released_folder
from .test_load_models import pieces

pytestmark = [
    *(pytest.mark.comfy, pytest.mark.slow, pytest.mark.timeout(900)),
    needs_vectors,
]
WORKFLOW = json.loads((PACK / "workflows" / "low_vram.json").read_text(encoding="utf-8"))
SHOT = "[[shot 1: wide, static, 0.25s]]\nIDA opens a door.\n\n"
WAN = {"steps": 2, "guidance": 2.0, "shift": 5.0, "guidance_low": 2.0, "boundary": 0.9}
WAN |= {"sampler": "unipc", "size": "480p", "longest": 81}
# One of four at a time is loaded by name; two kinds of networks have a folder of their own each.
FILES = {
    "qwen_image_edit_2509_fp8_e4m3fn": ("diffusion_models", "STEP2/unet"),
    "qwen_2.5_vl_7b_fp8_scaled": ("text_encoders", "STEP2/text_encoder"),
    "qwen_image_vae": ("vae", "STEP2/vae"),
    "wan2.2_i2v_high_noise_14B_fp8_scaled": ("unet", "single/wan2.2_i2v_high_noise_14B"),
    "wan2.2_i2v_low_noise_14B_fp8_scaled": ("unet", "single/wan2.2_i2v_low_noise_14B"),
    "umt5_xxl_fp8_e4m3fn_scaled": ("clip", "single/umt5_xxl"),
    "wan_2.1_vae": ("vae", "STEP2/vae"),
}
WAN_LORA = "wan2.2_i2v_lightx2v_4steps_lora_v1_{}_noise.safetensors"


@pytest.fixture(scope="module")
def models(pack, tmp_path_factory):
    """ComfyUI's models: folders as authors give them, and single files named as the workflow's."""
    import torch
    from safetensors.torch import save_file

    made = tmp_path_factory.mktemp("models")
    step2 = released_folder(made / "stage" / "STEP2", lora=True)
    wan_folders.diffusers_folder(made / "stage" / "Wan")
    single, text, held = made / "single", wan_folders.text, pieces()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wan_folders, "text", lambda made: text(made) | {"spiece_model": held})
        wan_folders.comfy_folder(single)
    for kind in ("diffusion_models", "text_encoders", "vae", "unet", "clip", "loras"):
        (made / kind).mkdir(exist_ok=True)
    for name, (kind, source) in FILES.items():
        start, _, last = source.partition("/")
        folder = step2 / last if start == "STEP2" else next(single.rglob(f"{last}.*")).parent
        file = next(folder.glob("*.safetensors" if start == "STEP2" else f"{last}.safetensors"))
        shutil.copy(file, made / kind / f"{name}.safetensors")
        shutil.copy(folder / "config.json", made / kind / "config.json")
    shutil.copy(FOLDER / "lora.safetensors", made / "loras" / "lora.safetensors")
    for which in ("high", "low"):
        layer = "diffusion_model.blocks.0.self_attn.q.lora"
        factors = {f"{layer}_down.weight": torch.randn(4, 24) * 0.1}
        factors[f"{layer}_up.weight"] = torch.randn(24, 4) * 0.1
        save_file(factors, made / "loras" / WAN_LORA.format(which))
    return made


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def server(request, models, tmp_path_factory):
    if request.param is None:
        pytest.skip(NO_TREE)
    pytest.importorskip("diffusers")
    base = tmp_path_factory.mktemp("comfy")
    shutil.copytree(models, base / "models")
    # A ComfyUI comes without diffusers: it is lent to this one.
    lent = tmp_path_factory.mktemp("lent")
    package = Path(importlib.util.find_spec("diffusers").origin).parent
    for found in (package, *package.parent.glob("diffusers-*.dist-info")):
        (lent / found.name).symlink_to(found)
    with pytest.MonkeyPatch.context() as patch:
        known = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        patch.setenv("PYTHONPATH", os.pathsep.join([str(lent), *known]))
        with comfy(request.param, base, packs=(PACKS / "small_loaders",)) as running:
            tokenizer = str(base / "models" / "stage" / "STEP2" / "tokenizer")
            small = of("TEST_SmallLoaders", tokenizer=tokenizer)
            assert running.run({"small": small}).status == "success", running.log[-3000:]
            # What is offered empty lies before the files in ComfyUI's second folders.
            for file in (base / "models").rglob("*.safetensors"):
                if not file.stat().st_size:
                    file.unlink()
            yield running


def of(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def prompt_of(title, offload):
    """One shot, drawn and filmed by models in folders, whose weights lie as `offload` says."""
    text = {"text": SHOT, "title": title, "look": "", "negative": "", "format": "auto"}
    size = {"width": 64, "height": 48, "rate": "16", "seed": 0}
    place = {"offload": offload, "vram_gb": 0.0, "weights": "a folder"}
    drawing = {"lora": "none", "second_lora": "none", "steps": 2, "guidance": 2.0, "shift": 2.2}
    wan = {f"settings.{name}": value for name, value in WAN.items()}
    return {
        "script": of("STAGE_Script", **text, **size),
        "draws": of("STAGE_LoadStoryboardModel", **{"weights.folder": "STEP2"}, **place, **drawing),
        "films": of(
            "STAGE_LoadShotModel",
            **{"weights.folder": "Wan", "settings": "Wan 2.2 14B"},
            **{"lora": "none", "low_lora": "none"},
            **place,
            **wan,
        ),
        "board": of(
            "STAGE_STEP2Storyboard",
            storyboard=["script", 0],
            storyboard_model=["draws", 0],
            **{"shots": "", "redraw": "what I changed"},
        ),
        "takes": of(
            "STAGE_DualEncoderShotSampler",
            storyboard=["board", 0],
            shot_model=["films", 0],
            **{"shots": "", "takes": 1, "film": "what changed", "film_at_most": -1},
        ),
    }


def frames_of(path):
    """The frames of a file as bytes."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]


def test_weights_that_stream_draw_and_film_the_bits_of_weights_that_fit(server):
    pixels, films = [], []
    for title, offload in (("Fits", "fits"), ("Streams", "streams")):
        run = server.run(prompt_of(title, offload), timeout=300)
        assert run.status == "success", run.error + server.log[-3000:]
        folder = server.output / "stage" / title
        pixels.append({path.name: path.read_bytes() for path in folder.rglob("*.png")})
        films.append(frames_of(folder / "1_t01.mkv"))
    assert len(pixels[0]) == 2 and pixels[0] == pixels[1]
    assert len(films[0]) > 1 and films[0] == films[1]
    assert "transformer: streams, 0 of 2 blocks stay on cpu, predicted peak" in server.log


def test_the_workflow_for_small_cards_draws_films_and_cuts(server):
    prompt = to_api(WORKFLOW, server.get("/object_info"))
    by_class = {entry["class_type"]: key for key, entry in prompt.items()}
    prompt[by_class["STAGE_Script"]]["inputs"] |= {"text": SHOT, "title": "Low"}
    for node in ("STAGE_LoadStoryboardModel", "STAGE_LoadShotModel"):
        prompt[by_class[node]]["inputs"] |= {"offload": "streams"}
    prompt[by_class["STAGE_LoadStoryboardModel"]]["inputs"] |= {"steps": 2}
    run = server.run(prompt, timeout=300)
    assert run.status == "success", run.error + server.log[-3000:]
    assert "drew 1 of 1" in run.text(by_class["STAGE_STEP2Storyboard"])
    assert "filmed 1 of 1" in run.text(by_class["STAGE_DualEncoderShotSampler"])
    (film,) = (server.output / "video").glob("*.mp4")
    assert len(frames_of(film)) == 6
