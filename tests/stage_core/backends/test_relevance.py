"""Relevance by CLIP, with a tiny random one in a folder of its own."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stage_core.backends.load import load_storyboard_model
from stage_core.backends.relevance import ClipRelevance, shot_words
from stage_core.story.frames import Picture
from stage_core.story.shot_list import Scene, Shot

from ..vectors import needs_vectors, released_folder

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
SMALL |= {"num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer.from_pretrained(path).save_pretrained(path)
    end = {"eos_token_id": len(tokens) - 1, "bos_token_id": len(tokens) - 2}
    text = {"vocab_size": len(tokens), "max_position_embeddings": 12, **end}
    config = transformers.CLIPConfig(
        text_config={**SMALL, **text},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(path)
    return path


def noise(seed, height=40, width=72):
    generator = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(0, 256, (height, width, 3), generator=generator).byte())


def test_similarity_is_that_of_the_librarys_model(folder):
    shot, picture = Shot("1", "a lamp"), noise(1, 32, 32)
    network = transformers.CLIPModel.from_pretrained(folder).eval()
    tokens = transformers.CLIPTokenizer.from_pretrained(folder)("a lamp", return_tensors="pt")
    pixels = picture.image.permute(2, 0, 1)[None].float() / 255
    mean, deviation = (
        torch.tensor(values)[:, None, None]
        for values in (
            [0.48145466, 0.4578275, 0.40821073],
            [0.26862954, 0.26130258, 0.27577711],
        )
    )
    with torch.no_grad():
        found = network(**tokens, pixel_values=(pixels - mean) / deviation)
    wanted = float(found.logits_per_text / network.logit_scale.exp())
    assert ClipRelevance(folder).relevance(picture)(shot, picture) == pytest.approx(
        wanted, abs=1e-5
    )


def test_every_picture_is_looked_at_once_and_every_text_read_once(folder):
    ranker, seen, read = ClipRelevance(folder), [], []
    network = ranker._loaded().network
    network.vision_model.register_forward_hook(lambda *_: seen.append(1))
    network.text_model.register_forward_hook(lambda *_: read.append(1))
    for shot in (Shot("1", "a lamp"), Shot("2", "a door")):
        for picture in (noise(1), noise(2), noise(1)):
            ranker.relevance(noise(3))(shot, picture)
    assert (len(seen), len(read)) == (2, 2)


def test_long_words_are_cut_and_not_refused(folder):
    score = ClipRelevance(folder).relevance(noise(1))(Shot("1", "lamp " * 200), noise(2))
    assert -1 <= score <= 1


def test_words_name_what_is_seen_where_and_whom(folder):
    shot = Shot("1", "She waits", scene=Scene(place="a pier"), cast=("Ana", "Bo"))
    assert shot_words(shot) == "She waits. a pier. Ana, Bo"


def test_identity_is_that_of_the_files_and_known_without_loading(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", None)
    one = ClipRelevance(folder).identity
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert ClipRelevance(tmp_path).identity == one
    weights = load_file(tmp_path / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert ClipRelevance(tmp_path).identity != one


def test_a_folder_of_another_model_is_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match=r"holds 0 networks .* should hold a CLIP model"):
        ClipRelevance(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"holds bert by its config\.json"):
        ClipRelevance(tmp_path)


def test_a_model_that_ranks_nothing_takes_no_clip(folder):
    with pytest.raises(ValueError, match="sketch ranks no memory"):
        load_storyboard_model("sketch", relevance=folder)


@needs_vectors
def test_a_board_is_drawn_anew_with_a_clip_and_with_another_one(folder, tmp_path):
    pytest.importorskip("diffusers")
    weights = str(released_folder(tmp_path / "step2"))
    without = load_storyboard_model(weights).identity
    ranked = load_storyboard_model(weights, relevance=folder).identity
    assert without != ranked == load_storyboard_model(weights, relevance=folder).identity
