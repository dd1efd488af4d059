"""Reversal learning: the arms, the observer against every sequence of swaps, players, and the actor-critic gradient."""

import itertools
from dataclasses import replace

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks._bandit import returns
from neurometa.tasks._choice import choose, gumbel, play
from neurometa.tasks.reversal import Reversal, bayes

F64 = torch.float64
TASK = Reversal()


def draw(task=TASK, n=4000, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=F64).support


def test_what_is_drawn():
    part = draw(n=2000)
    world = part.world
    assert {name: tuple(value.shape) for name, value in world.items()} == dict.fromkeys(world, (100, 2000, 2))
    assert part.target.shape == (100, 2000, 3) and part.learn.all() and not part.reset.any()
    assert not any(value.any() for value in part.inputs.values()) and part.weight.eq(1).all()
    first = world["probability"][..., 0]
    assert first.round(decimals=6).unique().tolist() == [0.2, 0.8]
    assert torch.allclose(world["probability"].sum(-1), torch.ones(100, 2000, dtype=F64))
    assert torch.equal(part.target[..., 0], (first > 0.5).double()) and not part.target[..., 2].any()
    swaps, n = (first.diff(dim=0) != 0).double(), 99 * 2000
    assert abs(float(swaps.mean()) - 0.05) < 5 * (0.05 / n) ** 0.5
    assert abs(float(first.mean()) - 0.5) < 0.02
    for arm in range(2):
        for p in (0.2, 0.8):
            rewards = world["reward"][..., arm][(world["probability"][..., arm] - p).abs() < 0.1]
            assert abs(float(rewards.mean()) - p) < 5 * (0.16 / len(rewards)) ** 0.5


def test_a_choice_is_drawn_with_its_softmax_probability():
    logits = torch.tensor([0.3, -1.2, 0.9], dtype=F64)
    chosen = choose(logits.expand(200_000, 3), gumbel((200_000, 3), generator(0)).double())
    assert chosen.sum(-1).eq(1).all()
    assert (chosen.mean(0) - logits.softmax(-1)).abs().max() < 5 * (0.25 / 200_000) ** 0.5


def test_respond_shows_the_choice_and_what_it_brought():
    part = draw(n=50)
    output = torch.zeros(50, 3, dtype=F64)
    output[:, 1] = 60.0
    shown = TASK.respond(part, 7, output)["stimulus"]
    assert shown[:, 1].eq(1).all() and not shown[:, 0].any()
    assert torch.equal(shown[:, 2], 2 * part.world["reward"][7, :, 1] - 1)
    assert torch.equal(TASK.respond(part, 7, output + torch.rand(50, 1, dtype=F64))["stimulus"], shown)


def test_the_observer_against_every_sequence_of_swaps():
    p, h, n_steps = 0.7, 0.15, 6
    evidence = torch.tensor([1, 0, 0, 1, 1, 0], dtype=F64)
    for t in range(n_steps):
        mass = [0.0, 0.0]
        for states in itertools.product((0, 1), repeat=t + 1):  # 1: the first arm is the better one
            weight = 0.5
            for a, b in itertools.pairwise(states):
                weight *= h if a != b else 1 - h
            for state, seen in zip(states, evidence[:t].tolist(), strict=False):
                weight *= p if state == seen else 1 - p
            mass[states[-1]] += weight
        assert abs(float(bayes(evidence[:, None], p, h)[t, 0]) - mass[1] / sum(mass)) < 1e-14


def observer(task):
    """Return a policy that sees inputs only and takes the arm that is more probably the better one."""

    def policy(inputs):
        seen = inputs["stimulus"][1:]
        evidence = (seen[..., 0] == (seen[..., 2] > 0)).to(seen)
        belief = bayes(
            torch.cat([evidence, evidence[:1] if len(evidence) else seen.new_zeros(1, seen.shape[1])]), 0.8, 0.05
        )[-1]
        return torch.stack([1e3 * (belief - 0.5), 1e3 * (0.5 - belief), belief], -1)

    return policy


def win_stay(inputs):
    last = inputs["stimulus"][-1]
    stay = last[:, :2] * last[:, 2:]  # the arm that was chosen: 1 where it was rewarded, else -1
    return torch.cat([100 * stay, last[:, :1]], -1)


@pytest.mark.parametrize("policy", ["observer", "win-stay lose-shift", "random"])
def test_players_score_what_is_known_of_them(policy):
    part = draw(n=4000, seed=3)
    players = {
        "observer": (observer(TASK), TASK.ceiling()),
        "win-stay lose-shift": (win_stay, TASK.references()["win-stay lose-shift"]),
        "random": (lambda inputs: torch.zeros_like(inputs["stimulus"][-1]), TASK.floor()),
    }
    player, known = players[policy]
    output = play(TASK, part, player)
    score, loss = TASK.score(output, part), TASK.loss(output, part)
    assert abs(float(score.mean()) - known) < 4 * float(score.std()) / len(score) ** 0.5 + 5e-4
    assert abs(float(loss.mean()) + known) < 4 * float(loss.std()) / len(loss) ** 0.5 + 5e-4  # minus the reward
    assert TASK.floor() < TASK.references()["win-stay lose-shift"] < TASK.ceiling() < TASK.p


def test_the_expected_gradient_on_one_step_is_the_analytic_one():
    n, entropy = 400_000, 0.3
    task = replace(TASK, n_steps=1, entropy=entropy)
    part = draw(task, n)
    q = torch.tensor([0.9, 0.35], dtype=F64)  # of this test: the arms of this task are alike at the first step
    reward = (torch.rand(1, n, 2, generator=generator(1), dtype=F64) < q).double()
    part = part._replace(world={**part.world, "reward": reward})
    answer = torch.tensor([0.4, -0.3, 0.2], dtype=F64, requires_grad=True)
    losses = task.loss(answer.expand(1, n, 3), part)
    (found,) = torch.autograd.grad(losses.mean(), answer)

    logits = answer.detach()[:2].clone().requires_grad_()
    pi = logits.softmax(-1)
    expected = -(pi * q).sum() + entropy * (pi * pi.log()).sum()
    (slope,) = torch.autograd.grad(expected, logits)
    assert (found[:2] - slope).abs().max() < 5 * 0.6 / n**0.5
    assert abs(float(found[2]) - 2 * 0.5 * (0.2 - float((pi.detach() * q).sum()))) < 5 * 0.5 / n**0.5
    assert abs(float(losses.detach().mean() + (pi.detach() * q).sum())) < 5 * 0.5 / n**0.5
    assert slope.abs().min() > 0.02  # the bounds above are tight enough to tell


def test_loss_against_a_loop_over_episodes_and_steps():
    task = replace(TASK, n_steps=5, discount=0.7, value_weight=0.4, entropy=0.05)
    part = draw(task, 3)
    output = torch.randn(5, 3, 3, generator=generator(2), dtype=F64).requires_grad_()
    loss = task.loss(output, part)
    followed = []
    for i in range(3):
        total = 0.0
        for t in range(5):
            pi = output[t, i, :2].softmax(-1)
            actions = [int((output[s, i, :2] + part.world["gumbel"][s, i]).argmax()) for s in range(5)]
            rewards = [float(part.world["reward"][s, i, actions[s]]) for s in range(5)]
            value = sum(0.7 ** (s - t) * rewards[s] for s in range(t, 5))
            advantage = value - output[t, i, 2]
            total = (
                total - advantage.detach() * pi[actions[t]].log() + 0.4 * advantage**2 + 0.05 * (pi * pi.log()).sum()
            )
        assert abs(loss[i].item() + sum(rewards) / 5) < 1e-14
        followed.append(total / 5)
    (found,) = torch.autograd.grad(loss.sum(), output)
    (slope,) = torch.autograd.grad(sum(followed), output)
    assert (found - slope).abs().max() < 1e-14


def test_every_episode_has_its_own_baseline():
    task = replace(TASK, n_steps=8, discount=0.5)
    part, output = draw(task, 4), torch.zeros(8, 4, 3, dtype=F64)
    slopes = []
    for value in (0.0, 5.0):
        given = output.clone()
        given[:, 0, 2] = value  # of the first episode only
        given.requires_grad_()
        slopes.append(torch.autograd.grad(task.loss(given, part).sum(), given)[0])
    assert torch.equal(slopes[0][:, 1:], slopes[1][:, 1:]) and not torch.equal(slopes[0][:, 0], slopes[1][:, 0])


def test_returns():
    reward = torch.tensor([[1.0], [0.0], [2.0]])
    assert returns(reward, 0.5).flatten().tolist() == [1.5, 1.0, 2.0]
    assert returns(reward, 0.0).flatten().tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": 0.5}, "p is 0.5; allowed: above 0.5, to 1; type p=0.8"),
        ({"hazard": 1.5}, "hazard is 1.5; allowed: 0 to 1; type hazard=0.05"),
        ({"discount": -0.1}, "discount is -0.1; allowed: 0 to 1"),
        ({"n_steps": 0}, "n_steps is 0, value_weight 0.5 and entropy 0.01; allowed: 1 or more, and 0 or more"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SpecificationError, match=message):
        Reversal(**settings)
