"""STEP2 in a real ComfyUI, its transformer of one block from a file: draws, remembers, stops."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .live import NO_TREE, PACK, PACKS, Comfy, Run, comfy, to_api, trees

pytestmark = [pytest.mark.comfy, pytest.mark.slow, pytest.mark.timeout(600)]

FILE = "one_block.safetensors"
FIRST = "[[shot 1: wide, static, 1s]]\nA lamp on a table.\n\n"
SECOND = "[[shot 2: wide, static, 1s]]\nA hand takes the lamp.\n\n"


@pytest.fixture(scope="module")
def transformer(tmp_path_factory) -> Path:
    """A file with a Qwen-Image transformer of one block, random: 760 MB."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from stage_core.models.checkpoint import empty
    from stage_core.models.qwen_image import QwenImage, QwenImageConfig

    generator = torch.Generator().manual_seed(0)

    def random(shape: Any) -> Any:
        if len(shape) == 1:
            return torch.ones(shape, dtype=torch.bfloat16)
        made = torch.empty(shape, dtype=torch.bfloat16)
        return made.normal_(0, shape[1] ** -0.5, generator=generator)

    network = empty(lambda: QwenImage(QwenImageConfig(num_layers=1)))
    path = tmp_path_factory.mktemp("weights") / FILE
    save_file({name: random(t.shape) for name, t in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module", params=trees() or [None], ids=str)
def server(request, tmp_path_factory, transformer):
    if request.param is None:
        pytest.skip(NO_TREE)
    base = tmp_path_factory.mktemp("comfy")
    folder = base / "models" / "diffusion_models"
    folder.mkdir(parents=True)
    (folder / FILE).hardlink_to(transformer)
    with comfy(request.param, base, packs=(PACKS / "tiny_qwen",)) as running:
        yield running


def prompt_of(title: str, text: str, **settings: Any) -> dict[str, Any]:
    """A graph that draws a board with the one-block transformer at a small size."""
    script = {"look": "", "negative": "", "width": 128, "height": 80, "rate": "16", "seed": 3}
    sampler = {"steps": 2, "guidance": 4.0, "shift": 2.2}
    sampler |= {"sampler": "euler", "schedule": "released", **settings}
    return {
        "script": node("STAGE_Script", text=text, title=title, format="auto", **script),
        "unet": node("UNETLoader", unet_name=FILE, weight_dtype="default"),
        "tiny": node("TEST_TinyEncoders"),
        "model": node(
            "STAGE_StoryboardModel",
            model=["unet", 0],
            clip=["tiny", 0],
            vae=["tiny", 1],
            **sampler,
        ),
        "small": node("TEST_SmallStoryboardModel", model=["model", 0]),
        "board": node(
            "STAGE_STEP2Storyboard",
            storyboard=["script", 0],
            storyboard_model=["small", 0],
            shots="",
            redraw="what I changed",
        ),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def pictures(server: Comfy, title: str) -> dict[str, bytes]:
    """The pairs in a film's folder, by file name."""
    files = (server.output / "stage" / title).rglob("*.png")
    return {path.name: path.read_bytes() for path in files}


def drawn(server: Comfy, title: str, text: str, **settings: Any) -> dict[str, bytes]:
    run = server.run(prompt_of(title, text, **settings))
    assert run.status == "success", run.error + server.log[-3000:]
    return pictures(server, title)


def test_a_board_is_drawn_and_the_node_says_which_template_it_has(server):
    run = server.run(prompt_of("Drawn", FIRST + SECOND))
    assert run.status == "success", run.error + server.log[-3000:]
    assert "our own wording" in run.text("model")
    assert "drew 2 of 2" in run.text("board")
    assert len(pictures(server, "Drawn")) == 4


def test_the_same_seed_draws_the_same_bytes_and_memory_others(server):
    one, again = (drawn(server, title, FIRST + SECOND) for title in ("One", "Again"))
    assert one == again
    alone = drawn(server, "Alone", SECOND)
    assert {name: data for name, data in one.items() if name in alone}.keys() == alone.keys()
    assert all(one[name] != data for name, data in alone.items())


def test_any_sampler_and_scheduler_draws(server):
    euler = drawn(server, "Euler", FIRST)
    others = drawn(server, "Others", FIRST, sampler="dpmpp_2m_sde", schedule="simple")
    assert euler.keys() == others.keys() and euler != others


def test_a_slim_model_draws_the_same_bytes(server):
    prompt = prompt_of("Slim", FIRST + SECOND)
    prompt["slim"] = node("STAGE_SlimModel", model=["unet", 0])
    prompt["model"]["inputs"]["model"] = ["slim", 0]
    run = server.run(prompt)
    assert run.status == "success", run.error + server.log[-3000:]
    # Two layers of 56.6 million numbers, in float32 on a CPU.
    assert run.text("slim") == "0.4 GiB of weights are not loaded"
    assert pictures(server, "Slim") == drawn(server, "Not slim", FIRST + SECOND)


def test_a_file_that_cannot_be_right_is_refused_before_it_draws(server):
    folder = server.base / "models" / "diffusion_models"
    (folder / "qwen_image_bf16.safetensors").hardlink_to(folder / FILE)
    prompt = prompt_of("Refused", FIRST)
    prompt["unet"]["inputs"]["unet_name"] = "qwen_image_bf16.safetensors"
    run = server.run(prompt)
    assert run.status == "error" and "draws from text alone" in run.error
    assert pictures(server, "Refused") == {}


def test_the_authors_lora_under_any_name_changes_the_drawing(server):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(5)
    layer = "lora_unet_transformer_blocks_0_img_mlp_net_2"
    tensors = {f"{layer}.alpha": torch.tensor(4.0)}
    for branch in (0, 1):
        for side, shape in (("down", (4, 12288)), ("up", (3072, 4))):
            tensors[f"{layer}.lora_{side}.{branch}.weight"] = torch.randn(
                shape, generator=generator
            )
    folder = server.base / "models" / "stage"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "of any name.safetensors")
    prompt = prompt_of("With LoRA", FIRST)
    prompt["lora"] = node(
        "STAGE_LoadSTEP2LoRA",
        model=["unet", 0],
        clip=["tiny", 0],
        lora="of any name.safetensors",
        strength=1.0,
    )
    prompt["model"]["inputs"] |= {"model": ["lora", 0], "clip": ["lora", 1]}
    run = server.run(prompt)
    assert run.status == "success", run.error + server.log[-3000:]
    assert "1 of 1 adapters match the transformer" in run.text("lora")
    without = drawn(server, "Without LoRA", FIRST)
    changed = pictures(server, "With LoRA")
    assert changed.keys() == without.keys() and changed != without


def test_an_interrupt_stops_within_a_step_and_keeps_finished_pairs(server):
    title, begun = "Stopped", []

    def after_the_first_pair(run: Run) -> bool:
        if len(pictures(server, title)) >= 2 and not begun:
            begun.append(time.monotonic())
        return bool(begun)

    prompt = prompt_of(title, FIRST + SECOND, steps=4)
    run = server.run(prompt, interrupt=after_the_first_pair)
    assert run.status == "interrupted" and time.monotonic() - begun[0] < 3
    assert len(pictures(server, title)) == 2
    again = server.run(prompt)
    assert again.status == "success" and "drew 1 of 2" in again.text("board")


def test_the_workflow_of_any_image_model_draws_a_pair(server):
    graph = json.loads((PACK / "workflows" / "draw_any_model.json").read_text(encoding="utf-8"))
    prompt = to_api(graph, server.get("/object_info"))
    of = {it["class_type"]: node_id for node_id, it in prompt.items()}
    unet, lora, clip = (of[name] for name in ("UNETLoader", "LoraLoaderModelOnly", "CLIPLoader"))
    text = json.dumps(prompt)
    # Without the LoRA, and with tiny encoders; all else is as it is.
    text = text.replace(f'["{lora}", 0]', f'["{unet}", 0]')
    text = text.replace(f'["{of["VAELoader"]}", 0]', f'["{clip}", 1]')
    prompt = json.loads(text)
    prompt[unet]["inputs"]["unet_name"] = FILE
    prompt[clip] = node("TEST_TinyEncoders")
    script = {"text": FIRST, "title": "Any model", "width": 128, "height": 80}
    prompt[of["STAGE_Script"]]["inputs"] |= script
    for drawn in (it["inputs"] for it in prompt.values() if it["class_type"] == "KSampler"):
        # The host's node shows the model every picture at a million pixels.
        drawn["steps"] = 1
    run = server.run(prompt, timeout=500)
    assert run.status == "success", run.error + server.log[-3000:]
    assert run.text(of["STAGE_ShotTake"]) == "shot 1 is 1_d01; 1 of 1 shot drawn"
    assert len(pictures(server, "Any model")) == 2
    again = server.run(prompt)
    assert again.status == "success" and of["KSampler"] not in again.executed
