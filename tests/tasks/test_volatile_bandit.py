"""The volatile bandit: the arms, the exact observer against a fine grid, and players."""

import pytest
import torch

from neurometa.streams import generator
from neurometa.tasks._choice import play
from neurometa.tasks.volatile_bandit import VolatileBandit, bayes

F64 = torch.float64
TASK = VolatileBandit(n_steps=60)


def draw(n=4000, seed=0):
    return TASK.sample(generator(seed), n, "test", dtype=F64).support


def test_what_is_drawn():
    world = draw(3000).world
    first = world["probability"][..., 0]
    assert torch.allclose(world["probability"].sum(-1), torch.ones(60, 3000, dtype=F64))
    assert world["reward"].sum(-1).eq(1).all()  # exactly one arm is rewarded
    jumps = (first.diff(dim=0) != 0).double()
    assert abs(float(jumps.mean()) - 0.05) < 5 * (0.05 / jumps.numel()) ** 0.5
    for step in (0, 30, 59):
        assert abs(float(first[step].mean()) - 0.5) < 5 * (1 / 12 / 3000) ** 0.5
        assert abs(float(first[step].var()) - 1 / 12) < 0.01
    calibrated = world["reward"][..., 0][(first > 0.7) & (first < 0.8)]
    assert abs(float(calibrated.mean()) - 0.75) < 0.02


@pytest.mark.parametrize("hazard", [0.0, 0.05, 0.5, 1.0])
def test_the_observer_against_a_grid(hazard):
    rewarded = (torch.rand(25, 6, generator=generator(1), dtype=F64) < 0.7).double()
    grid = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000
    belief = torch.full((20_000, 6), 1 / 20_000, dtype=F64)
    for t, found in enumerate(bayes(rewarded, hazard)):
        if t:
            belief = (1 - hazard) * belief + hazard / 20_000
        assert (found - (belief * grid[:, None]).sum(0)).abs().max() < 1e-8
        belief = belief * torch.where(rewarded[t] > 0, grid[:, None], 1 - grid[:, None])
        belief = belief / belief.sum(0)


def observer(inputs):
    seen = inputs["stimulus"][1:]
    rewarded = (seen[..., 0] == (seen[..., 2] > 0)).to(seen)  # of the first arm
    chance = bayes(torch.cat([rewarded, torch.zeros_like(inputs["stimulus"][:1, :, 0])]), TASK.hazard)[-1]
    return torch.stack([1e3 * (chance - 0.5), 1e3 * (0.5 - chance), chance], -1)


def win_stay(inputs):
    last = inputs["stimulus"][-1]
    return torch.cat([100 * last[:, :2] * last[:, 2:], last[:, :1]], -1)


@pytest.mark.parametrize("policy", ["observer", "win-stay lose-shift", "random"])
def test_players_score_what_is_known_of_them(policy):
    part = draw(1500, seed=3)
    players = {
        "observer": (observer, TASK.ceiling()),
        "win-stay lose-shift": (win_stay, TASK.references()["win-stay lose-shift"]),
        "random": (lambda inputs: torch.zeros_like(inputs["stimulus"][-1]), TASK.floor()),
    }
    player, known = players[policy]
    score = TASK.score(play(TASK, part, player), part)
    assert abs(float(score.mean()) - known) < 4 * float(score.std()) / len(score) ** 0.5 + 1e-3
    assert TASK.floor() < TASK.references()["win-stay lose-shift"] < TASK.ceiling() < 0.75
    better = TASK.score(100 * part.target, part)
    assert abs(float(better.mean()) - 0.75) < 4 * float(better.std()) / 1500**0.5
