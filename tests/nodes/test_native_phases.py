"""Wan on ComfyUI's own classes, all shots of a film together: phases, resting, weights moved."""

from itertools import groupby

import pytest
import torch

from .small_wan import Cancelled, Sight, Words, wan

pytestmark = pytest.mark.comfy
MANY = 8


class Rest:
    """In the place of the file in which a shot's latents rest."""

    def __init__(self):
        self.latents, self.written = None, []

    def read(self):
        return self.latents

    def write(self, latents):
        self.latents = latents
        self.written.append(int(latents["steps"]))


@pytest.fixture
def jobs(pack, order):
    """Jobs for so many shots, each between pictures of its own."""

    def jobs(count=3, **fields):
        FilmJob = pack.stage_core.backends.protocol.FilmJob
        briefs = [
            order(seeds=(n, 50 + n), id=str(n), description=f"shot {n}", **fields)
            for n in range(1, count + 1)
        ]
        return [FilmJob(*brief, Rest()) for brief in briefs]

    return jobs


@pytest.fixture
def together(pack):
    """Films jobs in phases; gives the frames of each clip."""
    Sampling = pack.stage_core.backends.protocol.Sampling

    def together(model, jobs, on_step=lambda *step: None):
        with torch.inference_mode():
            return [clip.frames for clip in model.film_many(jobs, Sampling(), on_step)]

    return together


@pytest.fixture
def loads(monkeypatch):
    """The networks that the host is asked to load, in order, without repeats in a row."""
    import comfy.model_management as host

    asked = []
    load = host.load_models_gpu

    def note(models, *args, **more):
        for model in models:
            network = getattr(model.model, "diffusion_model", model.model)
            if not asked or asked[-1] is not network:
                asked.append(network)
        return load(models, *args, **more)

    monkeypatch.setattr(host, "load_models_gpu", note)
    return asked


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "uni_pc"])
def test_a_film_in_phases_is_the_film_made_shot_by_shot(together, film, make, jobs, sampler):
    settings = {"sampler": sampler, "steps": 3}
    orders = jobs()
    alone = [film(make(**settings), (job.brief, job.keyframes)) for job in orders]
    for frames, wanted in zip(together(make(**settings), orders), alone, strict=True):
        assert torch.equal(frames, wanted)


def test_the_hosts_networks_take_turns_once_for_all_shots(together, make, jobs, experts, loads):
    model = make()
    together(model, jobs())
    vae = model.networks.vae.patcher.model
    high, low = (expert.model.diffusion_model for expert in experts)
    names = {id(vae): "vae", id(high): "high", id(low): "low"}
    assert [names[id(network)] for network in loads] == ["vae", "high", "low", "vae"]


def test_weights_moved_do_not_grow_with_the_number_of_shots(together, make, jobs, experts):
    moved = {}
    for count in (1, MANY):
        model = make()
        together(model, jobs(count))
        moved[count] = model._moves
    high, low = (expert.model_size() for expert in experts)
    once = Words.patcher.model_size() + high + low + 2 * model.networks.vae.patcher.model_size()
    assert moved[1].num_bytes == moved[MANY].num_bytes == once
    # The negative is the same for all, and encoded once.
    assert moved[MANY].num_bytes_by_shot == MANY * once
    assert f"for {MANY} shots" in model.remarks[-1] and "by phase" in model.remarks[-1]


def test_steps_are_counted_up_shot_by_shot_in_every_phase(together, make, jobs):
    seen = {}

    def count(shot, done, total):
        seen.setdefault(shot.id, []).append(done)
        assert total == 4

    together(make(steps=4, switch_at=1), jobs(), count)
    for counted in seen.values():
        assert counted == sorted(counted) and set(counted) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("shot", "step"), [("1", 1), ("3", 1), ("2", 3), ("3", 4)])
def test_what_was_stopped_goes_on_bit_for_bit(together, make, jobs, shot, step):
    settings = {"steps": 4, "switch_at": 2}
    wanted = together(make(**settings), jobs())
    orders, steps = jobs(), []

    def stop(at, done, total):
        if (at.id, done) == (shot, step):
            raise Cancelled

    with pytest.raises(Cancelled):
        together(make(**settings), orders, stop)
    finished = {job.brief.shot.id: (job.halfway.written or [0])[-1] for job in orders}
    frames = together(make(**settings), orders, lambda at, *done: steps.append((at.id, done[0])))
    assert all(torch.equal(one, other) for one, other in zip(frames, wanted, strict=True))
    for name, done in steps:
        assert done >= finished[name]


def test_one_phase_of_one_shot_is_lost_at_most(together, make, jobs):
    orders = jobs()

    def stop(shot, done, total):
        if (shot.id, done) == ("2", 4):
            raise Cancelled

    with pytest.raises(Cancelled):
        together(make(steps=4, switch_at=2), orders, stop)
    assert [job.halfway.written for job in orders] == [[2, 4], [2], [2]]


def test_latents_of_other_steps_are_left_aside(together, make, jobs):
    orders = jobs(1)
    wanted = together(make(), orders)
    orders[0].halfway.latents = {"latents": torch.zeros(1), "steps": torch.tensor(7)}
    assert torch.equal(together(make(), orders)[0], wanted[0])
    orders[0].halfway.latents = {"something": torch.zeros(1)}
    assert torch.equal(together(make(), orders)[0], wanted[0])


def test_a_shot_that_cannot_be_filmed_is_told_before_anything_is_encoded(together, make, jobs):
    words = Words()
    orders = [*jobs(), *jobs(1, num_frames=40)]
    with pytest.raises(ValueError, match="shot 1: 41 frames at 16"):
        together(make(clip=words), orders)
    assert not words.asked


def test_a_clip_is_given_before_the_next_is_decoded(pack, make, jobs):
    Sampling = pack.stage_core.backends.protocol.Sampling
    told = []
    clips = make().film_many(jobs(), Sampling(), lambda shot, done, total: told.append(shot.id))
    with torch.inference_mode():
        assert next(clips).shot_id == "1"
        before = len(told)
        assert next(clips).shot_id == "2"
    assert told[before:] == ["2"]


def test_each_picture_is_seen_once_for_the_film(together, make, jobs, large_vae):
    sight, words = Sight(), Words()
    first = wan(36, kind="i2v", flf_pos_embed_token_number=514)
    model = make((first, None), words, large_vae, sight)
    together(model, jobs())
    assert (sight.seen, len(words.asked)) == (6, 4)
    together(model, jobs(take=2))
    assert (sight.seen, len(words.asked)) == (6, 4)


def test_long_films_go_in_rounds_and_come_out_the_same(pack, together, make, jobs, monkeypatch):
    wanted = together(make(), jobs())
    model = make()
    held = 16 * 4 * 8 * 12 * 4
    # A quarter of it has room for two shots of five frames of 96x64, not for three.
    monkeypatch.setattr(pack.nodes.native.wan, "_free_ram", lambda: 4 * 2.5 * held)
    for one, other in zip(together(model, jobs()), wanted, strict=True):
        assert torch.equal(one, other)
    moved = [network for network, _ in groupby(use.network for use in model._moves.uses)]
    assert moved.count("model_high") == 2
