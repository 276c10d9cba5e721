import torch

from stage_core.diffusion.canvas import (
    pair_noise,
    patchify,
    split_pair,
    stack_pair,
    unpatchify,
)


def some_pair():
    return torch.arange(2 * 1 * 16 * 8 * 12).reshape(2, 1, 16, 8, 12).float()


def test_start_lies_above_end_and_both_come_back():
    pair = some_pair()
    canvas = stack_pair(pair)
    assert canvas.shape == (1, 16, 16, 12)
    assert torch.equal(canvas[:, :, :8], pair[0])
    assert torch.equal(canvas[:, :, 8:], pair[1])
    assert torch.equal(split_pair(canvas), pair)


def test_patchified_canvas_equals_concatenated_frames():
    pair = some_pair()
    tokens = torch.cat([patchify(frame) for frame in pair], dim=1)
    assert torch.equal(patchify(stack_pair(pair)), tokens)


def test_patchify_is_undone():
    canvas = stack_pair(some_pair())
    assert torch.equal(unpatchify(patchify(canvas), 16), canvas)


def test_a_token_holds_channel_then_row_then_column_of_its_patch():
    latents = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
    # Second patch of the first row: columns 2 and 3 of rows 0 and 1, in both channels.
    assert patchify(latents)[0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]


def test_noise_is_two_successive_draws_start_first():
    generator = torch.Generator().manual_seed(5)
    draws = [torch.randn(1, 16, 6, 4, generator=generator) for _ in range(2)]
    assert torch.equal(pair_noise((1, 16, 6, 4), 5), torch.stack(draws))


def test_noise_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    pair_noise((1, 16, 2, 2), 5)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_taller_draw_would_be_other_noise():
    tall = torch.randn((1, 16, 12, 4), generator=torch.Generator().manual_seed(5))
    assert not torch.equal(stack_pair(pair_noise((1, 16, 6, 4), 5)), tall)
