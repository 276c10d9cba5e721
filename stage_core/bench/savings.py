"""What is saved without changing a number, and our transformer beside the library's own class."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..backends.library import library_network, library_step
from ..diffusion.schedule import stretched_sigmas
from ..encoding.positions import canvas_positions, text_positions
from ..errors import MissingPackageError
from ..models import low_bit
from ..models.checkpoint import empty
from ..models.modulation import NoiseLevel
from ..models.qwen_image import QwenImage, is_level_only
from ..models.qwen_layers import JointTokens, QwenImageConfig
from ..threads import one_thread
from .activations import activations
from .rows import OnRow, Row, at_least, at_most
from .subjects import Size, filled

TIMED = Size(4, 4, 128, 576, 1, torch.bfloat16)
SMALL = Size(6, 2, 16, 96)
_COLUMNS, _TEXT_TOKENS, _TEXT_WIDTH = 16, 16, 64
_AXES = (8, 28, 28)
_PAIRS = 25
# Short rounds and many: the best of them had the core for itself.
_ROUNDS, _REPEATS = 300, 3
_SHOTS, _STEPS, _SHIFT = 4, 20, 2.2


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """Steps beside the library's, Python around the work, the table of noise levels, memory."""
    parts = (speed, overhead, table, exactness, activations)
    return tuple(row for part in parts for row in part(on_row))


@one_thread()
def speed(on_row: OnRow, size: Size = TIMED, pairs: int = _PAIRS) -> list[Row]:
    """Steps a second of ours over those of diffusers' class with the same weights, in turns.

    By one thread: others spin while they wait for work, and that counts as time of the processor.
    """
    work = _Work(size)
    network, one = work.network, work.joint(0)
    text, noise = work.text(0), torch.tensor([0.5], dtype=size.dtype)
    try:
        theirs = library_step(library_network(network), one.tokens, [text], 0.5)
    except MissingPackageError:
        return []
    (level,) = network.levels(noise)
    calls = {
        "as it is": lambda: network(one.tokens, text, noise, one.rotation),
        "with its table": lambda: network.forward_many([one], level)[0],
        "": theirs,
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for pair in range(pairs + 1):
        on_row(f"steps, round {pair} of {pairs}")
        for name, call in calls.items():
            seconds[name].append(_seconds(call))
    limits = {"as it is": 1.0, "with its table": 1.03}
    label = f"A4 {size.num_tokens} tokens, steps a second over diffusers'"
    return [
        at_least(f"{label}, {name}", _ratio(seconds[""], seconds[name]), limit)
        for name, limit in limits.items()
    ]


@one_thread()
def overhead(on_row: OnRow, size: Size = SMALL, pairs: int = _ROUNDS) -> list[Row]:
    """Microseconds of Python in a block beyond those of the torch calls that it makes.

    The calls are recorded and made again by themselves, on few tokens, where work is nothing.
    """
    on_row("Python around a block")
    work = _Work(replace(size, num_tokens=_COLUMNS * 2))
    one, (level,) = work.joint(0), work.network.levels(torch.tensor([0.5]))
    state = (work.network.img_in(one.tokens), one.words)

    def blocks() -> None:
        states = [state]
        for block, own in zip(work.network.transformer_blocks, level.blocks, strict=True):
            states = block(states, [one], level.embedding, own)

    with torch.no_grad(), _Recorded() as recorded:
        blocks()

    def bare() -> None:
        for function, arguments, named in recorded.calls:
            function(*arguments, **named)

    def microseconds(call: Callable[[], None]) -> float:
        seconds = sum(_seconds(call) for _ in range(_REPEATS)) / _REPEATS
        return 1e6 * seconds / size.num_layers

    rounds = [(microseconds(blocks), microseconds(bare)) for _ in range(pairs + 1)]
    with_python, without = map(min, zip(*rounds, strict=True))
    name = "A4 Python in a block beyond its torch calls, best round"
    return [at_most(name, with_python - without, 40, "us")]


def table(on_row: OnRow) -> list[Row]:
    """The share of a released block that is needed once the table is there; what is made twice."""
    on_row("table")
    block = empty(lambda: QwenImage(QwenImageConfig(num_layers=1))).transformer_blocks[0]
    sizes = {f".{name}": weight.numel() for name, weight in block.named_parameters()}
    left = sum(size for name, size in sizes.items() if not is_level_only(name))
    work = _Work(SMALL)
    levels = stretched_sigmas(_STEPS, _SHIFT)[:-1]
    made = []
    for _ in range(_SHOTS):
        work.network.levels(levels)
        made.append(work.network.num_levels_made)
    return [
        at_most("A5 weights of a block with the table over all", left / sum(sizes.values()), 0.667),
        at_most(f"A5 levels computed by shots 2 to {_SHOTS}", made[-1] - made[0], 0),
    ]


@torch.no_grad()
def exactness(on_row: OnRow, size: Size = SMALL) -> list[Row]:
    """Numbers that differ from those of the plain path: none."""
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for case in ("plain", "eight bits", "memory at time zero"):
            name = f"{str(dtype).removeprefix('torch.')}, {case}"
            on_row(name)
            work = _Work(replace(size, dtype=dtype), case)
            found = {"table": work.by_table(), "both branches together": work.together()}
            for saving, pairs in found.items():
                label = f"A5 {saving}, {name}"
                if dtype is torch.bfloat16:
                    wrong = sum(int((one != other).sum()) for one, other in pairs)
                    rows.append(at_most(f"{label}: numbers that differ", wrong, 0))
                else:
                    most = max(float((one - other).abs().max()) for one, other in pairs)
                    rows.append(at_most(f"{label}: largest difference", most, 1e-6))
    return rows


class _Work:
    """A random transformer and work for it: half of the tokens are a pair's, half memory's."""

    def __init__(self, size: Size, case: str = "plain"):
        width = size.head_width
        axes = _AXES if width == sum(_AXES) else (width // 4, 3 * width // 8, 3 * width // 8)
        config = QwenImageConfig(
            num_layers=size.num_layers,
            attention_head_dim=width,
            num_attention_heads=size.num_heads,
            joint_attention_dim=_TEXT_WIDTH,
            axes_dims_rope=axes,
            zero_cond_t=case == "memory at time zero",
        )
        self._size = size
        self.network = filled(empty(lambda: QwenImage(config, low_bit)), size)
        if case == "eight bits":
            for layer in self.network.transformer_blocks.modules():
                if isinstance(layer, low_bit.Linear):
                    layer.quantise()
        rows = size.num_tokens // _COLUMNS
        self._num_noisy = rows // 4 * 2 * _COLUMNS
        memory = (rows - rows // 4 * 2, _COLUMNS)
        self._places = canvas_positions(rows // 4, _COLUMNS, [memory])

    def text(self, seed: int) -> Tensor:
        """A prompt's encoding [1, L, D_text]."""
        return self._random(seed, _TEXT_TOKENS, _TEXT_WIDTH)

    def joint(self, seed: int) -> JointTokens:
        """A branch of guidance: the same pictures, words of its own."""
        rotation = self.network.rotation(text_positions(self._places, _TEXT_TOKENS), self._places)
        with torch.no_grad():
            words = self.network.words(self.text(seed))
        return JointTokens(self._random(9, len(self._places), 64), words, rotation, self._num_noisy)

    def by_table(self) -> list[tuple[Tensor, Tensor]]:
        """What the table gives at some levels, beside the plain path."""
        one = self.joint(0)
        times = torch.tensor([1.0, 0.4, 0.02], dtype=self._size.dtype)
        return [
            (self._one(one, level), self._one(one, NoiseLevel(level.embedding)))
            for level in self.network.levels(times)
        ]

    def together(self) -> list[tuple[Tensor, Tensor]]:
        """What two branches give in one visit of every block, beside each alone."""
        (level,) = self.network.levels(torch.tensor([0.4], dtype=self._size.dtype))
        both = [self.joint(seed) for seed in (0, 1)]
        found = self.network.forward_many(both, level)
        return [(one, self._one(joint, level)) for one, joint in zip(found, both, strict=True)]

    def _one(self, joint: JointTokens, level: NoiseLevel) -> Tensor:
        return self.network.forward_many([joint], level)[0]

    def _random(self, seed: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, *shape, generator=generator).to(self._size.dtype)


class _Recorded(TorchFunctionMode):
    """Notes every torch call that is made within."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple[Callable, Sequence, dict]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls.append((function, args, kwargs or {}))
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def _seconds(call: Callable[[], object]) -> float:
    # Of the processor: what else the machine does would drown the difference.
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Median over the rounds, the first of which warms up."""
    return statistics.median(s / f for s, f in zip(slow[1:], fast[1:], strict=True))
