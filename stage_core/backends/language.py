"""A language model in a folder on this machine, for the director."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingPackageError

MAX_NEW_TOKENS = 8192
Message = dict[str, str]


def load_language_model(
    folder: Path, device: str = "cpu", max_new_tokens: int = MAX_NEW_TOKENS
) -> Callable[[Sequence[Message]], str]:
    """Answers conversations with the model in a folder that transformers wrote; greedily, so that
    one question has one answer. Nothing is downloaded, and no code of the folder runs.

    Raises:
        MissingPackageError: transformers is not installed.
        ValueError: the folder holds no language model that can be read.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise MissingPackageError(
            "a language model from a folder needs transformers; install it with "
            "pip install transformers, or give --llm the address of a server"
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto"
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder} holds no language model that can be read: {reason}") from None
    model = model.to(device).eval()

    def generate(messages: Sequence[Message]) -> str:
        return _answer(model, tokenizer, messages, max_new_tokens)

    return generate


def _answer(model: Any, tokenizer: Any, messages: Sequence[Message], max_new_tokens: int) -> str:
    import torch

    if tokenizer.chat_template:
        question = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    else:
        question = "\n\n".join(message["content"] for message in messages) + "\n\n"
    # A chat template has written the special tokens already.
    ids = tokenizer(
        question, return_tensors="pt", add_special_tokens=not tokenizer.chat_template
    ).input_ids.to(model.device)
    room = getattr(model.config, "max_position_embeddings", None) or ids.shape[1] + max_new_tokens
    room = min(max_new_tokens, room - ids.shape[1])
    if room < 1:
        raise ValueError(
            f"the question has {ids.shape[1]} tokens, more than this model reads; use a larger one"
        )
    with torch.inference_mode():
        answered = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=room,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    return tokenizer.decode(answered[0, ids.shape[1] :], skip_special_tokens=True)
