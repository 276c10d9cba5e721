"""A storyboard model whose networks stream draws what one draws whose networks stay."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from stage_core.backends.protocol import Grid, Sampling
from stage_core.backends.qwen_edit import QwenEdit
from stage_core.backends.qwen_networks import QwenSettings
from stage_core.encoding.dual import EncoderAreas
from stage_core.offload.placed import Offload, OffloadPolicy
from stage_core.story.shot_list import Shot

from ..vectors import needs_vectors, networks
from .test_qwen_edit import board_brief, quiet

pytestmark = needs_vectors


def model(path, policy=None, **settings):
    areas = EncoderAreas(None, None)
    chosen = QwenSettings(offload=policy or OffloadPolicy(), areas=areas, **settings)
    return QwenEdit(networks(path, chosen, lora=True), Grid(64 * 48, 16))


def drawn(made, shots=("1", "2")):
    """Digests of two shots, each with memory."""
    brief = board_brief([(1, 2)])
    pairs = [
        made.draw(replace(brief, shot=Shot(shot, f"Ana waits {shot}")), Sampling(steps=2), quiet)
        for shot in shots
    ]
    return [(pair.start.digest, pair.end.digest) for pair in pairs]


@pytest.fixture(scope="module")
def drawn_in_place(tmp_path_factory):
    """Gives what networks that stay draw, in eight bits or not."""

    @cache
    def drawn_in_place(eight_bit):
        stays = model(tmp_path_factory.mktemp("stays"), eight_bit_blocks=eight_bit)
        digests = drawn(stays)
        assert stays.networks.turns._placement.stream is None
        return digests

    return drawn_in_place


@pytest.mark.parametrize("mode", [Offload.STREAMS, Offload.LITTLE_RAM])
@pytest.mark.parametrize("eight_bit", [False, True])
def test_networks_that_stream_draw_the_same_pixels(tmp_path, drawn_in_place, mode, eight_bit):
    streams = model(tmp_path, OffloadPolicy(mode), eight_bit_blocks=eight_bit)
    assert drawn(streams) == drawn_in_place(eight_bit)
    assert streams.networks.turns._placement.stream.traffic.fetched_bytes > 0


def test_both_branches_of_guidance_are_one_visit_of_every_block(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))
    drawn(made, ["1"])
    traffic = made.networks.turns._placement.stream.traffic
    blocks = made.networks.transformer.transformer_blocks
    # Two steps, and what is under way for a third that never comes.
    assert 2 * len(blocks) <= traffic.fetches <= 2 * len(blocks) + 3


def test_only_one_network_is_on_the_device_at_a_time(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS, vram_bytes=2**31))
    drawn(made, ["1"])
    turns = made.networks.turns
    stream = turns._placement.stream
    count = turns._num_resident
    assert count > 0 and not stream.resident  # Decoding was last.
    turns.draw(lambda: None, (1,))
    assert len(stream.resident) == count
    turns.read()
    assert turns._is_reading and not stream.resident
    turns.see()
    assert not turns._is_reading


def test_vram_is_asked_for_before_each_network_takes_it(tmp_path):
    wanted = []
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS), reserve=wanted.append)
    drawn(made, ["1", "2"])
    # The text encoder for either shot, the transformer for both.
    assert len(wanted) == 3 and min(wanted) > 0


def test_a_cancelled_shot_leaves_a_model_that_draws(tmp_path, drawn_in_place):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))

    def cancel(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.draw(board_brief([(1, 2)]), Sampling(steps=2), cancel)
    assert drawn(made) == drawn_in_place(False)


def test_a_network_that_does_not_fit_is_one_sentence(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS, vram_bytes=1000))
    with pytest.raises(ValueError, match="VRAM"), torch.no_grad():
        drawn(made)


def test_after_a_film_the_device_is_free_and_the_next_draws_the_same(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))
    first, turns = drawn(made), made.networks.turns
    turns.rest()
    assert turns._placement is None and not turns._is_reading
    said = [str(report) for report in turns.reports.values()]
    assert len(said) == 2 and all("predicted peak" in line for line in said)
    assert drawn(made) == first


def test_more_memory_in_a_later_shot_is_part_of_the_predicted_peak(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))
    turns, planned = made.networks.turns, []
    for memory in ((), [(1, 2)], [(1, 2), (3, 4)]):
        made.draw(board_brief(memory), Sampling(steps=2), quiet)
        planned.append(turns._placement.report("it").planned_bytes)
    assert planned[0] < planned[1] < planned[2]
