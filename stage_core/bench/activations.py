"""What a block of the real size needs beside weights and arguments, without computing it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models.qwen_image import QwenImageConfig
from ..models.qwen_layers import JointTokens, QwenBlock
from ..models.wan import Level, Prompt, WanBlock
from ..models.wan_layers import WanConfig
from ..offload.working import working_bytes
from .rows import OnRow, Row, at_most

_TEXT_TOKENS = 512
_QWEN_TOKENS, _WAN_TOKENS = (4096, 9216), (14040, 32760)
_MOST_QWEN, _MOST_WAN = 9, 6


def activations(on_row: OnRow) -> list[Row]:
    """The peak inside of one block, in tensors as large as all of its tokens."""
    on_row("activations")
    rows = []
    for kind, peak, counts, most in (
        ("Qwen", _qwen, _QWEN_TOKENS, _MOST_QWEN),
        ("Wan", _wan, _WAN_TOKENS, _MOST_WAN),
    ):
        for count in counts:
            name = f"activations of a {kind} block, {count} tokens"
            rows.append(at_most(name, peak(count), most, "x"))
    return rows


def _qwen(num_tokens: int) -> float:
    config = QwenImageConfig()
    hidden = _empty(1, num_tokens, config.width)
    words, half = _empty(1, _TEXT_TOKENS, config.width), config.attention_head_dim // 2
    turns = tuple(
        _empty(length, half, dtype=torch.complex64) for length in (_TEXT_TOKENS, num_tokens)
    )
    one = JointTokens(_empty(1, num_tokens, config.in_channels), words, turns)
    with torch.device("meta"):
        block = QwenBlock(config, nn).to(torch.bfloat16)
    embedding = _empty(config.num_times, config.width)
    (level,) = block.levels([embedding])
    return _peak(block, hidden, lambda: block([(hidden, words)], [one], embedding, level))


def _wan(num_tokens: int) -> float:
    config = WanConfig()
    hidden = _empty(1, num_tokens, config.width)
    half = config.attention_head_dim // 2
    turns = (_empty(num_tokens, half, dtype=torch.float32),) * 2
    level = Level(_empty(1, config.width), _empty(1, 6, config.width), 0)
    prompts = [Prompt(_empty(1, _TEXT_TOKENS, config.width), None)]
    with torch.device("meta"):
        block = WanBlock(config, nn, "block").to(torch.bfloat16)
    return _peak(block, hidden, lambda: block([hidden], prompts, level, turns))


def _peak(block: nn.Module, hidden: Tensor, call: Callable[[], object]) -> float:
    return working_bytes(block, call) / (hidden.numel() * hidden.element_size())


def _empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
