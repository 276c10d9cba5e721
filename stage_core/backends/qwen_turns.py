"""The networks of a storyboard model take turns on one device, where not all fit at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import nn

from ..models.low_bit import widener_for
from ..models.qwen_image import QwenImage
from ..offload.placed import OffloadPolicy, Placement, PlaceReport, Task, placed
from ..offload.stream import StreamOptions
from ..offload.working import working_bytes

# What a table of noise levels replaces is never on the device.
_LEFT_OUT = ("img_mod", "txt_mod")
# A prompt of some thousand tokens and one picture, generously.
_READING_BYTES = 2**30

_log = logging.getLogger(__name__)


class QwenTurns:
    """Whose turn it is. Where nothing has to move, everybody's.

    What was page-locked for the transformer stays so for a whole film. While others compute,
    none of its blocks is on the device. `reports` tell, by network, where weights were in the last
    film.
    """

    def __init__(
        self,
        transformer: QwenImage,
        text_network: nn.Module,
        policy: OffloadPolicy,
        reserve: Callable[[int], None] | None = None,
    ):
        self._transformer, self._text_network = transformer, text_network
        self._policy, self._reserve = policy, reserve
        self._widener = widener_for(transformer, transformer.dtype)
        self._film, self._reading = ExitStack(), ExitStack()
        self._is_reading = self._is_drawing = False
        self._placement: Placement | None = None
        self._reader: Placement | None = None
        self._num_resident = 0
        self._needed: dict[tuple[int, ...], int] = {}
        self.reports: dict[str, PlaceReport] = {}

    def read(self) -> None:
        """From now on it is the text encoder's turn."""
        if not self._policy.streams or self._is_reading:
            return
        self._make_room()
        blocks = [*self._text_network.visual.blocks, *self._text_network.language_model.layers]
        # Twice a shot, which page-locking would cost more than it gains.
        task = Task(self._text_network, blocks, _READING_BYTES, locks=False)
        self._reader = self._reading.enter_context(placed(task, self._policy, self._reserve))
        self._is_reading = True

    def see(self, work_bytes: int) -> None:
        """From now on it is the VAE's turn, whose work needs so much."""
        self._end_reading()
        self._make_room()
        if self._reserve is not None and self._policy.device != "cpu":
            self._reserve(work_bytes)

    def draw(self, rehearse: Callable[[], object], sizes: tuple[int, ...]) -> Placement:
        """From now on it is the transformer's turn.

        Args:
            rehearse: calls it with tensors that have no numbers, to see what a step needs.
            sizes: all that this depends on.

        Raises:
            ValueError: it does not fit, with the figures and what to change.
        """
        self._end_reading()
        needs = self._needs(rehearse, sizes)
        if self._placement is None:
            self.reports.pop("transformer", None)
            self._placement = self._film.enter_context(self._placed(needs))
        elif self._num_resident and not self._is_drawing:
            self._placement.stream.resize(self._num_resident)
        # The first shots of a film remember less than the later ones.
        self._placement.work(needs)
        self._placement.begin_turn()
        self._is_drawing = True
        return self._placement

    def rest(self) -> None:
        """It is nobody's turn: the device, and what was page-locked, are given back."""
        self._end_reading()
        if self._placement is not None:
            self._end_drawing()
            self.reports["transformer"] = self._placement.report("transformer")
            for report in self.reports.values():
                _log.info("%s", report)
        self._placement, self._num_resident = None, 0
        self._film.close()

    def _needs(self, rehearse: Callable[[], object], sizes: tuple[int, ...]) -> int:
        if not self._policy.streams:
            return 0
        # Some seconds for all blocks of a large network: once for shots of the same sizes.
        if sizes not in self._needed:
            with self._placement.stream.aside() if self._placement else nullcontext():
                network, widener = self._transformer, self._widener
                blocks = network.transformer_blocks
                self._needed[sizes] = working_bytes(network, rehearse, blocks, widener)
        return self._needed[sizes]

    def _placed(self, working_bytes: int) -> AbstractContextManager[Placement]:
        network = self._transformer
        options = StreamOptions(_LEFT_OUT, self._widener)
        task = Task(network, network.transformer_blocks, working_bytes, options)
        return placed(task, self._policy, self._reserve)

    def _end_reading(self) -> None:
        if self._is_reading:
            self._reader.end_turn()
            self.reports["text encoder"] = self._reader.report("text encoder")
        self._is_reading, self._reader = False, None
        self._reading.close()

    def _end_drawing(self) -> None:
        if self._is_drawing:
            self._placement.end_turn()
        self._is_drawing = False

    def _make_room(self) -> None:
        if not self._is_drawing:
            return
        self._end_drawing()
        stream = self._placement.stream
        if stream is not None:
            self._num_resident = len(stream.resident)
            stream.resize(0)
            stream.free_slots()
            if self._placement.device.type == "cuda":
                torch.cuda.empty_cache()
