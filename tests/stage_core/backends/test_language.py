"""A language model from a folder: the real classes, with random weights."""

import pytest

from stage_core.backends.language import load_language_model

QUESTION = [{"role": "user", "content": "a b c"}]
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: place for place, word in enumerate(["<unk>", "<eos>", *"abcdefgh"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", eos_token="<eos>", chat_template=TEMPLATE
    )
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        eos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("language")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_one_question_has_one_answer(folder):
    generate = load_language_model(folder, max_new_tokens=4)
    answer = generate(QUESTION)
    assert answer == load_language_model(folder, max_new_tokens=4)(QUESTION)
    assert len(answer.split()) <= 4


def test_a_question_longer_than_the_model_reads_is_refused(folder):
    with pytest.raises(ValueError, match="40 tokens, more than this model reads"):
        load_language_model(folder)([{"role": "user", "content": "a " * 40}])


def test_a_folder_without_a_model_is_named(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="holds no language model"):
        load_language_model(tmp_path)
