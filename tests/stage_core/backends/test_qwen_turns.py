"""A storyboard model whose networks stream draws what one draws whose networks stay."""

from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from stage_core.backends import qwen_turns
from stage_core.backends.protocol import Grid, Sampling
from stage_core.backends.qwen_edit import QwenEdit
from stage_core.backends.qwen_encoders import QwenVAE
from stage_core.backends.qwen_networks import QwenSettings
from stage_core.backends.qwen_turns import QwenTurns
from stage_core.encoding.dual import EncoderAreas
from stage_core.offload.placed import Offload, OffloadPolicy, Placement
from stage_core.offload.working import peak_bytes
from stage_core.story.shot_list import Shot

from ..vectors import needs_vectors, networks
from .test_qwen_edit import board_brief, quiet

diffusers = pytest.importorskip("diffusers")
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
    turns.see(1)
    assert not turns._is_reading


def test_vram_is_asked_for_before_each_network_takes_it(tmp_path):
    wanted = []
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS), reserve=wanted.append)
    drawn(made, ["1", "2"])
    # The text encoder for either shot, the transformer for both.
    assert len(wanted) == 3 and min(wanted) > 0


def test_of_a_transformer_that_streams_no_block_is_on_the_device_while_others_compute(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))
    drawn(made, ["1"])
    stream = made.networks.turns._placement.stream
    assert stream.traffic.fetches and not stream._slots  # Decoding was last.


def test_vram_is_asked_for_before_the_vae_takes_it(tmp_path):
    wanted = []
    turns = QwenTurns(
        model(tmp_path).networks.transformer,
        nn.Identity(),
        OffloadPolicy(device="cuda"),
        wanted.append,
    )
    # As large as the released one, with shapes and without numbers.
    with torch.device("meta"), torch.no_grad():
        vae = QwenVAE(diffusers.AutoencoderKLQwenImage().to(torch.bfloat16).eval(), turns.see)
        used = [
            peak_bytes(lambda: vae.decode(torch.empty(1, 16, 32, 48))),
            peak_bytes(lambda: vae.normalised(torch.empty(1, 3, 256, 384))),
        ]
    assert all(0.9 * said < num <= said for num, said in zip(used, wanted, strict=True))


@pytest.mark.parametrize("mode", Offload)
def test_the_text_encoder_is_where_its_user_wants_it(tmp_path, monkeypatch, mode):
    tasks = []

    @contextmanager
    def placed(task, policy, reserve):
        tasks.append((policy, task.locks))
        yield Placement(torch.device("cpu"), policy.mode)

    monkeypatch.setattr(qwen_turns, "placed", placed)
    turns, policy = model(tmp_path).networks.turns, OffloadPolicy(mode, 10**9, "cuda")
    turns = QwenTurns(turns._transformer, turns._text_network, policy)
    turns.read()
    turns.rest()
    assert tasks == [(policy, False)]
    assert turns.reports["text encoder"].mode == mode.value


def test_a_text_encoder_that_streams_keeps_no_block(tmp_path):
    made = model(tmp_path, OffloadPolicy(Offload.STREAMS))
    made.networks.turns.read()
    assert not made.networks.turns._reader.stream.resident
    assert made.networks.turns._reader.report("it").mode == "streams"


def test_what_all_steps_have_of_their_noise_levels_is_part_of_the_predicted_peak(tmp_path):
    made, planned = model(tmp_path, OffloadPolicy(Offload.STREAMS)), []
    for steps in (2, 6):
        made.draw(board_brief([(1, 2)]), Sampling(steps=steps), quiet)
        planned.append(made.networks.turns._placement.report("it").planned_bytes)
    config = made.networks.transformer.config
    rows = 6 * (config.num_times + 1) * config.width * config.num_layers
    weight = next(made.networks.transformer.parameters())
    assert planned[1] - planned[0] == 4 * rows * weight.itemsize


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
