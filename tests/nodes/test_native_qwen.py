"""STEP2 on ComfyUI's own classes: the authors' numbers, held halves, prompts, wrong pairings."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ..stage_core.backends.test_qwen_edit import EXACT, order_of, quiet
from ..stage_core.vectors import FOLDER, case, largest, manifest, needs_vectors, templates, tensors

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def native(pack):
    return pack.nodes.native.qwen_edit


@pytest.fixture(scope="module")
def model(pack):
    """The vectors' transformer as the MODEL of a core loader."""
    import comfy.model_patcher
    import comfy.supported_models

    sizes = {k: v for k, v in manifest()["config"]["dit"].items() if k != "theta"}
    config = comfy.supported_models.QwenImage({"image_model": "qwen_image", **sizes})
    config.set_inference_dtype(torch.float32, None)
    network = config.get_model({}, "")
    network.load_model_weights(dict(tensors("dit")), "")
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu)


def drawn(native, model, order, sampler="euler", on_step=quiet):
    """Start and end of an order, drawn by the host."""
    with torch.inference_mode():
        canvas = native.HostTransformer(model).denoise(order, sampler, 2.2, on_step)
    return canvas.chunk(2, dim=2)


@needs_vectors
@pytest.mark.parametrize("name", EXACT)
def test_the_host_samples_the_authors_latents(native, model, name):
    wanted, halves = case("sampling", name), drawn(native, model, order_of(name))
    for half, key in zip(halves, ("latents_start", "latents_end"), strict=True):
        assert largest(half, wanted[key][:, :, 0]) < 2e-4


@needs_vectors
@pytest.mark.parametrize("half", ["start", "end"])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_held_half_stays_while_the_other_is_drawn(native, model, half, sampler):
    order = order_of(EXACT[0])
    known = torch.randn(order.noise.shape, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(order.noise.shape[2]) < order.noise.shape[2] // 2
    held = (rows if half == "start" else ~rows)[None, None, :, None]
    free = drawn(native, model, order, sampler)
    found = drawn(native, model, replace(order, known=known, held=held), sampler)
    place = ("start", "end").index(half)
    assert largest(found[place], known.chunk(2, dim=2)[place]) < 1e-4
    assert largest(found[1 - place], free[1 - place]) > 1e-3


def test_words_stand_beyond_the_largest_picture_whatever_the_host_has_in_mind(pack, native):
    positions = pack.stage_core.encoding.positions
    pictures = positions.canvas_positions(2, 4, [(10, 12)])
    places = native.ReleasedPositions(torch.nn.Identity(), pictures)(
        torch.zeros(1, 3 + len(pictures), 3)
    )
    assert places[0, :3].tolist() == [[6, 6, 6], [7, 7, 7], [8, 8, 8]]
    assert torch.equal(places[0, 3:], pictures.float())


@needs_vectors
def test_a_drawing_leaves_model_as_it_was(native, model):
    before = dict(model.object_patches), dict(model.model_options)
    embed = model.get_model_object("diffusion_model.pe_embedder")
    drawn(native, model, order_of(EXACT[0]))
    assert (dict(model.object_patches), dict(model.model_options)) == before
    model.unpatch_model()
    assert model.get_model_object("diffusion_model.pe_embedder") is embed


@needs_vectors
def test_previews_show_both_frames_and_leave_the_bar_where_it_is(pack, native, model, monkeypatch):
    import comfy.utils

    preview, seen, sent = pack.nodes.native.preview, [], []
    previewer = SimpleNamespace(
        decode_latent_to_preview_image=lambda kind, latents: seen.append(latents.shape) or "shown"
    )
    state = SimpleNamespace(nodes={"7": {"value": 30, "max": 2000}})
    monkeypatch.setattr(preview.latent_preview, "get_previewer", lambda *_: previewer)
    monkeypatch.setattr(preview, "running_node", lambda: "7")
    monkeypatch.setattr(preview, "get_progress_state", lambda: state)
    monkeypatch.setattr(preview, "_SECONDS_BETWEEN", 0)
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda *about, node_id=None: sent.append(about)
    )
    order, steps = order_of(EXACT[0]), []
    drawn(native, model, order, on_step=lambda *counts: steps.append(counts))
    total = len(order.sigmas) - 1
    assert steps == [(done, total) for done in range(1, total + 1)]
    assert seen == [order.noise[:, :, None].shape] * total
    assert sent == [(30, 2000, "shown")] * total


@needs_vectors
def test_an_interrupt_goes_through_the_sampler(native, model):
    class Interrupted(BaseException):
        pass

    def on_step(done, total):
        raise Interrupted

    with pytest.raises(Interrupted):
        drawn(native, model, order_of(EXACT[0]), on_step=on_step)


class RecordedEncoder:
    """In the place of the text encoder's network: notes what it is asked."""

    def encode_token_weights(self, tokens, template_end=-1):
        self.ids = [token for token, *_ in tokens["qwen25_7b"][0]]
        self.template_end = template_end
        return torch.zeros(1, 4, 8), None, {}

    def reset_clip_options(self):
        pass

    def set_clip_options(self, options):
        pass


@pytest.fixture(scope="module")
def clip(pack):
    """ComfyUI's tokenizer, with the real vocabulary, before a recorded network."""
    import comfy.sd
    from comfy.text_encoders.qwen_image import QwenImageTokenizer

    clip = comfy.sd.CLIP(no_init=True)
    clip.tokenizer, clip.tokenizer_options = QwenImageTokenizer(), {}
    clip.cond_stage_model = RecordedEncoder()
    clip.patcher = SimpleNamespace(load_device="cpu")
    clip.load_model = lambda: None
    return clip


def picture(pack, height, width):
    pixels = torch.randint(0, 256, (height, width, 3)).byte()
    return pack.stage_core.story.frames.Picture.of(pixels)


def prompt_tokens():
    return json.loads((FOLDER / "prompt_tokens.json").read_text(encoding="utf-8"))


@needs_vectors
@pytest.mark.parametrize("which", ["example", "negative"])
def test_the_host_is_asked_with_the_authors_tokens_and_drop_index(
    pack, native, clip, tmp_path, which
):
    wanted, network = prompt_tokens(), clip.cond_stage_model
    encoder = native.HostTextEncoder(clip, templates(tmp_path))
    encoder.encode(wanted[which]["prompt"], picture(pack, 1080, 1920))
    (seen,) = (token for token in network.ids if isinstance(token, dict))
    place = network.ids.index(seen)
    # The size that the host's own resizing leaves alone: 504 x 280, 180 tokens.
    assert seen["data"].shape == (1, 280, 504, 3)
    ids = [*network.ids[:place], *[151655] * 180, *network.ids[place + 1 :]]
    assert len(ids) == wanted[which]["length"]
    assert [i for i in ids if i != 151655] == wanted[which]["ids_without_image_pad"]
    assert network.template_end == wanted["templates"]["with_image"]["drop"]
    encoder.encode(wanted[which]["prompt"], None)
    assert network.ids == wanted[which]["text_only"]["ids"]
    assert network.template_end == wanted["templates"]["text_only"]["drop"]


@needs_vectors
def test_a_long_prompt_is_cut_where_the_authors_cut_it(native, clip, tmp_path):
    native.HostTextEncoder(clip, templates(tmp_path)).encode("lamp " * 2000, None)
    assert len(clip.cond_stage_model.ids) == 1024 + 34


def test_of_our_own_template_all_before_the_prompt_is_left_out(pack, native, clip):
    own = pack.stage_core.encoding.prompts.OWN
    native.HostTextEncoder(clip, own).encode("a lamp", None)
    network = clip.cond_stage_model
    tokenizer = clip.tokenizer.qwen25_7b.tokenizer
    kept = tokenizer.decode(network.ids[network.template_end :], skip_special_tokens=False)
    assert kept.startswith("a lamp<|im_end|>")


@pytest.fixture(scope="module")
def text_model(pack):
    """A CLIP whose network has the layers of the vectors' text encoder under the host's names."""
    import comfy.model_patcher
    import comfy.sd

    network = torch.nn.Module()
    for name, weight in tensors("text_encoder").items():
        if name.startswith("model.layers.") and weight.ndim == 2:
            *path, _ = f"qwen25_7b.transformer.{name}".split(".")
            owner = network
            for part in path:
                if not hasattr(owner, part):
                    owner.add_module(part, torch.nn.Module())
                owner = getattr(owner, part)
            owner.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    clip = comfy.sd.CLIP(no_init=True)
    clip.cond_stage_model, clip.tokenizer, clip.tokenizer_options = network, None, {}
    clip.layer_idx, clip.use_clip_schedule, clip.apply_hooks_to_conds = None, False, None
    cpu = torch.device("cpu")
    clip.patcher = comfy.model_patcher.ModelPatcher(network, cpu, cpu)
    return clip


def released_lora(pack, path=FOLDER / "lora.safetensors"):
    core = pack.stage_core.models
    return core.lora.read_lora(core.checkpoint.open_weights(path, "a LoRA"))


def latents_of(tokens, shapes):
    """The latents [1, 16, 1, h, w] of pictures whose tokens stand one after another."""
    parts = tokens.split([rows * columns for _, rows, columns in shapes], dim=1)
    return [
        part.unflatten(1, (rows, columns))
        .unflatten(3, (16, 2, 2))
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(1, 16, 1, 2 * rows, 2 * columns)
        for part, (_, rows, columns) in zip(parts, shapes, strict=True)
    ]


@needs_vectors
def test_the_authors_lora_changes_the_transformer_as_the_authors_say(
    pack, native, model, text_model
):
    import comfy.model_management

    changed, _, _ = pack.nodes.models.with_lora(model, text_model, released_lora(pack), 1.0)
    name = "two_frames_three_controls"
    given, shapes = case("dit_forward", name), manifest()["dit_forward"][name]["img_shapes"]
    canvas, *memory = latents_of(given["hidden_states"], shapes)
    order = replace(
        order_of(EXACT[0]), noise=canvas[:, :, 0], memory=[latents[:, :, 0] for latents in memory]
    )
    patched = native.drawing(changed, order, 2.2, torch.float32)
    comfy.model_management.load_models_gpu([patched])
    with torch.inference_mode():
        found = patched.model.diffusion_model(
            canvas,
            given["timestep"],
            given["encoder_hidden_states"],
            ref_latents=memory,
            ref_latents_method="index",
        )
    (wanted,) = latents_of(
        case("lora_io", "dit")["output_merged"][:, : shapes[0][1] * shapes[0][2]], shapes[:1]
    )
    assert largest(found, wanted) < 1e-4


@needs_vectors
def test_all_of_the_authors_lora_finds_its_place(pack, model, text_model):
    run = manifest()["lora"]
    _, clip, said = pack.nodes.models.with_lora(model, text_model, released_lora(pack), 0.5)
    for count in (run["n_dit_modules"], run["n_text_modules"]):
        assert f"{count} of {count} adapters" in said
    assert len(clip.patcher.patches) == run["n_text_modules"]
    assert not model.patches and not text_model.patcher.patches


@needs_vectors
def test_a_lora_of_another_model_is_refused(pack, model, text_model):
    lora = released_lora(pack)
    factors = next(iter(lora.layers.values()))
    with pytest.raises(ValueError, match="fits nothing here"):
        other = replace(lora, layers={"double_blocks_0_img_attn_qkv": factors})
        pack.nodes.models.with_lora(model, text_model, other, 1.0)
    with pytest.raises(ValueError, match="changes a layer of"):
        wide = replace(factors, down=torch.zeros(4, 7))
        other = replace(lora, layers={**lora.layers, "transformer_blocks_0_attn_to_q": wide})
        pack.nodes.models.with_lora(model, text_model, other, 1.0)


def wan_vae(pack, channels=16):
    import comfy.ldm.wan.vae

    inside = comfy.ldm.wan.vae.WanVAE.__new__(comfy.ldm.wan.vae.WanVAE)
    return SimpleNamespace(latent_channels=channels, first_stage_model=inside)


def qwen_clip(pack):
    from comfy.text_encoders.qwen_image import QwenImageTEModel

    clip = SimpleNamespace(cond_stage_model=QwenImageTEModel.__new__(QwenImageTEModel))
    clip.patcher = SimpleNamespace(get_model_object=lambda _: None, add_object_patch=lambda *_: 0)
    clip.clone = lambda: clip
    return clip


def test_the_vision_tower_sees_a_picture_once_and_is_left_as_it_was(pack, native):
    import comfy.model_management
    import comfy.model_patcher

    seen = []

    class Transformer(torch.nn.Module):
        def preprocess_embed(self, embed, device):
            seen.append(float(embed["data"].sum()))
            return embed["data"].mean(dim=(1, 2)), torch.tensor([[1, 2, 2]])

    network, cpu = torch.nn.Module(), torch.device("cpu")
    network.qwen25_7b = torch.nn.Module()
    network.qwen25_7b.transformer = transformer = Transformer()
    patcher = comfy.model_patcher.ModelPatcher(network, cpu, cpu)
    clip = SimpleNamespace(patcher=patcher)
    clip.clone = lambda: SimpleNamespace(patcher=patcher.clone())
    once = native.seeing_once(clip)
    comfy.model_management.load_models_gpu([once.patcher])
    one, other = torch.ones(1, 2, 2, 3), torch.zeros(1, 2, 2, 3)
    found = [
        transformer.preprocess_embed({"type": "image", "data": data.clone()}, device=cpu)[0]
        for data in (one, other, one)
    ]
    assert len(seen) == 2 and torch.equal(found[0], found[2])
    once.patcher.unpatch_model(cpu)
    transformer.preprocess_embed({"type": "image", "data": one}, device=cpu)
    assert len(seen) == 3


@needs_vectors
def test_without_guidance_the_host_runs_one_branch_and_no_negative(native, model):
    order, batches = replace(order_of(EXACT[0]), guidance=1.0, negative=None), []
    counted = model.clone()
    counted.set_model_unet_function_wrapper(
        lambda apply, call: (
            batches.append(len(call["cond_or_uncond"]))
            or apply(call["input"], call["timestep"], **call["c"])
        )
    )
    drawn(native, counted, order)
    assert batches == [1] * (len(order.sigmas) - 1)


def test_memory_is_ranked_by_what_clip_vision_sees_of_whole_frames(pack, native):
    asked = []

    def encode_image(image, crop):
        asked.append((tuple(image.shape), crop))
        return {"image_embeds": image.mean(dim=(1, 2))}

    ranker = native.likeness(SimpleNamespace(encode_image=encode_image))
    red, dark, blue = (
        pack.stage_core.story.frames.Picture.of(torch.tensor(rgb).byte().expand(8, 16, 3).clone())
        for rgb in ((200, 0, 0), (90, 0, 0), (0, 0, 200))
    )
    relevance = ranker.relevance(red)
    assert relevance(None, dark) > 0.99 > relevance(None, blue)
    assert asked == [((1, 8, 16, 3), False)] * 3


@needs_vectors
def test_wrong_pairings_are_refused_in_one_sentence(pack, native, model):
    own = pack.stage_core.encoding.prompts.OWN

    right = {"model": model, "clip": qwen_clip(pack), "vae": wan_vae(pack)}

    def networks(**wrong):
        return native.native_networks(**right | wrong, templates=own)

    assert networks().vae_area == 1024 * 1024
    with pytest.raises(ValueError, match="VAE is WanVAE with 48 latent channels"):
        networks(vae=wan_vae(pack, 48))
    with pytest.raises(ValueError, match="CLIP is RecordedEncoder"):
        networks(clip=SimpleNamespace(cond_stage_model=RecordedEncoder()))
    with pytest.raises(ValueError, match="MODEL is Module, which sees no reference pictures"):
        networks(model=SimpleNamespace(model=torch.nn.Module()))


WRONG_FILES = {
    "wan_2.1_vae.safetensors": "vae",
    "qwen_image_fp8_e4m3fn.safetensors": "model",
    "qwen/Qwen_Image-2512-Q4_K_M.gguf": "model",
    "qwen-image-Q8_0.gguf": "model",
}
RIGHT_FILES = (
    "qwen_image_edit_2511_fp8mixed.safetensors",
    "Qwen-Image-Edit-2509-Q4_K_M.gguf",
    "stage_step2_transformer_comfyui.safetensors",
    "qwen_image_step2.safetensors",
)


@pytest.fixture
def check_names(pack, monkeypatch):
    """Checks the names of files, the loader's and a LoRA's, above a socket."""

    def check(kind, file):
        lora = "Qwen-Image-Lightning-4steps-V1.0.safetensors"
        nodes = {
            "1": {"class_type": "Loader", "inputs": {"name": file}},
            "2": {"class_type": "LoraLoader", "inputs": {kind: ["1", 0], "lora_name": lora}},
        }
        prompt = SimpleNamespace(get_node=nodes.get)
        links = {kind: ["2", 0]}
        monkeypatch.setattr(pack.nodes.lineage, "linked", lambda _, socket: links.get(socket))
        pack.nodes.models._check_names(SimpleNamespace(hidden=SimpleNamespace(dynprompt=prompt)))

    return check


@pytest.mark.parametrize(("file", "kind"), WRONG_FILES.items())
def test_files_that_only_their_names_tell_apart_are_refused(check_names, file, kind):
    with pytest.raises(ValueError, match=f"^{file} "):
        check_names(kind, file)


@pytest.mark.parametrize("file", RIGHT_FILES)
def test_files_of_models_that_see_pictures_are_taken_with_any_lora(check_names, file):
    check_names("model", file)


@needs_vectors
def test_a_template_put_into_the_folder_is_used_and_changes_the_fingerprint(
    pack, node, monkeypatch, tmp_path
):
    import folder_paths

    stage = tmp_path / "stage"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "stage", ([str(stage)], set()))
    cls, models = node("STAGE_StoryboardModel"), pack.nodes.models
    model = SimpleNamespace(get_attachment=lambda key: None)
    monkeypatch.setattr(models.lineage, "linked", lambda *_: None)
    before, (own, said) = cls.fingerprint_inputs(), models._templates(cls, model)
    assert own is pack.stage_core.encoding.prompts.OWN and "our own wording" in said
    stage.mkdir()
    templates(stage)
    released, said = models._templates(cls, model)
    digest = hashlib.sha256(released.with_picture.text.encode()).hexdigest()
    assert digest == prompt_tokens()["templates"]["with_image"]["text_sha256"]
    assert said.endswith("models/stage") and cls.fingerprint_inputs() != before
