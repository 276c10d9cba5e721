"""Our own engine inside ComfyUI: pairs and shots from files, wherever their weights lie."""

import io as memory
import sys
from types import SimpleNamespace

import pytest
import torch

from ..stage_core.backends import wan_folders
from ..stage_core.vectors import FOLDER, needs_vectors, released_folder
from .test_nodes import SCRIPT

pytestmark = pytest.mark.comfy
FILES = {"weights": "single files"}
FEW = {"steps": 2, "guidance": 2.0, "shift": 2.2}
STREAMS = {"offload": "streams", "vram_gb": 0.0}


@pytest.fixture
def plan(run):
    """One shot of five frames."""
    return run("Script", text="[[shot: wide, 0.25s]]\nIDA opens a door.\n", **SCRIPT)[0]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """ComfyUI's folders for models, empty, by kind."""
    import folder_paths

    made = {}
    kinds = ("stage", "diffusion_models", "text_encoders", "vae", "loras", "clip_vision")
    for kind in kinds:
        made[kind] = tmp_path / "models" / kind
        made[kind].mkdir(parents=True)
        entry = [str(made[kind])], {".safetensors"}
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, entry)
    return made


@pytest.fixture
def loaders(pack, monkeypatch):
    """The module of both nodes, for pictures of a few pixels."""
    pytest.importorskip("diffusers")
    module = pack.nodes.load_models
    small = pack.stage_core.backends.protocol.Grid(64 * 48, 16)
    monkeypatch.setattr(module.LoadStoryboardModel, "grid", small)
    monkeypatch.setattr(module, "SIZES", {"480p": 48 * 32})
    return module


def drawn(run, plan, model):
    choice = {"redraw": "everything"}
    board, *_ = run("STEP2Storyboard", storyboard=plan, storyboard_model=model, **choice)
    pair = board.pair("1")
    return board, (pair.start.digest, pair.end.digest)


@needs_vectors
def test_weights_that_stream_draw_the_pair_of_weights_that_fit(run, plan, said, folders, loaders):
    released_folder(folders["stage"] / "STEP2", lora=True)
    chosen = {"weights": {"weights": "a folder", "folder": "STEP2"}, **FEW}
    fits, streams = (
        run("LoadStoryboardModel", **chosen, **more)[0] for more in ({"offload": "fits"}, STREAMS)
    )
    assert fits.identity == streams.identity
    assert drawn(run, plan, streams)[1] == drawn(run, plan, fits)[1]
    assert any("transformer: streams, 0 of 2 blocks stay on cpu, predicted peak" in s for s in said)
    # Nothing of it is placed any more: the next node has the device.
    assert streams._model.networks.turns._placement is None


@needs_vectors
def test_weights_kept_in_eight_bits_draw_a_pair_of_their_own_wherever_they_lie(
    run, plan, folders, loaders
):
    released_folder(folders["stage"] / "STEP2", lora=True)
    chosen = {"weights": {"weights": "a folder", "folder": "STEP2"}, **FEW}
    stored = run("LoadStoryboardModel", **chosen)[0]
    found = []
    for more in ({"offload": "fits"}, STREAMS):
        model = run("LoadStoryboardModel", precision="eight bits", **chosen, **more)[0]
        found.append(drawn(run, plan, model)[1])
        weights = model._model.networks.transformer.transformer_blocks.state_dict()
        assert weights["0.attn.to_q.weight"].dtype == torch.float8_e4m3fn
    assert model.identity != stored.identity
    assert found[0] == found[1] != drawn(run, plan, stored)[1]


@needs_vectors
def test_single_files_are_found_in_the_hosts_folders(
    run, plan, folders, loaders, tmp_path, monkeypatch
):
    whole = released_folder(tmp_path / "whole")
    monkeypatch.setattr(loaders, "TOKENIZER", whole / "tokenizer")
    names = {"transformer": "diffusion_models", "text_encoder": "text_encoders", "vae": "vae"}
    chosen = dict(FILES)
    for part, kind in names.items():
        source = whole / {"transformer": "unet"}.get(part, part)
        for file in source.iterdir():
            file.rename(folders[kind] / file.name)
            if file.suffix == ".safetensors":
                chosen[part] = file.name
    (folders["loras"] / "step2.safetensors").write_bytes((FOLDER / "lora.safetensors").read_bytes())
    plain, adapted = (
        run("LoadStoryboardModel", weights=chosen, lora=lora, **FEW)[0]
        for lora in ("none", "step2.safetensors")
    )
    assert drawn(run, plan, plain)[1] != drawn(run, plan, adapted)[1]


def test_the_hosts_own_tokenizer_is_that_of_the_text_encoder(pack, loaders):
    import transformers

    tokenize = pack.stage_core.backends.qwen_networks._tokenizer(loaders.TOKENIZER, transformers)
    assert tokenize("<|im_start|>") == [151644]


def pieces():
    """A SentencePiece model of single letters, as ComfyUI's file of UMT5 holds one."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = memory.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["IDA opens a door slowly, the handle turns."] * 4),
        model_writer=model,
        model_type="char",
        vocab_size=24,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)


@pytest.fixture
def wan_files(folders, monkeypatch):
    """A tiny Wan 2.2 as ComfyUI keeps it, without a folder for the tokenizer."""
    text, held = wan_folders.text, pieces()
    monkeypatch.setattr(wan_folders, "text", lambda made: text(made) | {"spiece_model": held})
    wan_folders.comfy_folder(folders["vae"].parent)
    return {
        **FILES,
        "transformer": "wan2.2_i2v_high_noise_14B.safetensors",
        "transformer_low": "wan2.2_i2v_low_noise_14B.safetensors",
        "text_encoder": "umt5_xxl.safetensors",
        "vae": "wan_2.1_vae.safetensors",
        "clip_vision": "none",
    }


def wan_settings(name="Wan 2.2 14B", **changed):
    chosen = {"steps": 4, "guidance": 2.0, "shift": 5.0, "guidance_low": 2.0, "boundary": 0.9}
    chosen |= {"sampler": "unipc", "size": "480p", "longest": 81}
    return {"settings": name} | chosen | changed


def test_weights_that_stream_film_the_clip_of_weights_that_fit(run, plan, said, loaders, wan_files):
    board, _ = run("STEP2Storyboard", storyboard=plan)[:2]
    clips = []
    for more in ({"offload": "fits"}, STREAMS):
        model = run("LoadShotModel", weights=wan_files, settings=wan_settings(), **more)[0]
        assert "networks" not in vars(model)  # Nothing is read yet.
        choice = {"film": "everything"}
        filmed, _ = run("DualEncoderShotSampler", storyboard=board, shot_model=model, **choice)
        clips.append(torch.stack(list(filmed.clips["1"].frames)))
    assert torch.equal(*clips)
    assert any("transformer for low noise: streams, 0 of 2 blocks stay" in s for s in said)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "Wan VACE"}, "the files are of a Wan 14B and the settings for Wan VACE"),
        ({"name": "Wan 2.1 14B"}, "know one model; leave transformer_low empty"),
    ],
)
def test_settings_of_another_model_are_refused(run, loaders, wan_files, settings, says):
    chosen = wan_settings(**settings)
    if settings["name"] == "Wan 2.1 14B":
        del chosen["guidance_low"], chosen["boundary"]
    with pytest.raises(ValueError, match=says):
        run("LoadShotModel", weights=wan_files, settings=chosen)


def test_grid_and_fields_are_known_before_anything_is_loaded(pack, node):
    cls, name = node("STAGE_LoadShotModel"), "settings"
    small = cls.grid_of({name: "Wan 2.2 5B", "settings.size": "720p"})
    assert (small.area, small.rate, small.multiple) == (1280 * 704, 24, 32)
    assert cls.grid_of({name: "Wan 2.2 14B", "settings.size": "720p"}).area == 1280 * 720
    assert "memory" in cls.reads_of({name: "Wan VACE"})
    assert "memory" not in cls.reads_of({name: "Wan 2.1 14B"})


def test_a_folder_with_another_file_is_another_model(node, folders):
    cls, chosen = node("STAGE_LoadShotModel"), {"weights": "a folder", "folder": "Wan"}
    (folders["stage"] / "Wan" / "vae").mkdir(parents=True)
    before = cls.fingerprint_inputs(weights=chosen)
    assert cls.fingerprint_inputs(weights=chosen) == before
    (folders["stage"] / "Wan" / "vae" / "vae.safetensors").write_bytes(b"1")
    assert cls.fingerprint_inputs(weights=chosen) != before


@pytest.mark.parametrize("which", ["STAGE_LoadStoryboardModel", "STAGE_LoadShotModel"])
def test_where_weights_lie_is_in_no_key(pack, which):
    def named(**inputs):
        nodes = {"1": {"class_type": which, "inputs": {"lora": "none", **inputs}}}
        return pack.nodes.lineage.ancestry(SimpleNamespace(get_node=nodes.get), ["1", 0])

    assert named(offload="fits", vram_gb=8.0) == named(offload="streams", vram_gb=0.0)
    assert named(steps=4) != named(steps=20)


@pytest.mark.parametrize("which", ["STAGE_LoadStoryboardModel", "STAGE_LoadShotModel"])
def test_a_missing_library_is_said_before_the_run_with_the_line_that_installs_it(
    node, monkeypatch, which
):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "diff" in name else name)
    said = node(which).validate_inputs(weights=FILES)
    assert said.startswith("this node needs diffusers; install it with ")
    assert said.endswith("-m pip install diffusers") and sys.executable in said


def test_room_is_made_on_a_gpu_and_nothing_is_unloaded_for_the_cpu(pack, monkeypatch):
    host, asked = pack.nodes.host, []
    monkeypatch.setattr(host.model_management, "free_memory", lambda *given: asked.append(given))
    host.reserve(5)
    assert not asked and host.device() == "cpu"
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(host.model_management, "get_torch_device", lambda: gpu)
    host.reserve(5)
    assert asked == [(5, gpu)] and host.device() == "cuda:0"
