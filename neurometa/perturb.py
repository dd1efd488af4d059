"""What a trained run needs: its score with one thing taken away or changed, on the same test tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .callable_module import make_callable
from .errors import SpecificationError
from .learners import PlasticLearner
from .learners.plastic import held
from .meta.evaluate import interval
from .meta.run import Run
from .spec import Network, Param, Projection
from .spec.surgery import impose, resized
from .streams import generator
from .tasks.base import Episode, Interactive, Part, responder
from .torch_engine.program import program
from .trajectory import Save, State

__all__ = ["Row", "computed_modulators", "perturb"]

#: What is done to a part: ``change(part, modulators, stream)``.
Change = Callable[[Part, Mapping[str, Tensor], torch.Generator], Part]


@dataclass(frozen=True)
class Row:
    """One perturbation.

    Attributes
    ----------
    name : str
        What was done.
    score : tuple of float
        Mean over tasks and its 95 % interval.
    difference : tuple of float or None
        To the run as it is, paired by tasks; None for the run itself.
    hurts : bool
        Whether the interval lies on the bad side of 0.
    """

    name: str
    score: tuple[float, float, float]
    difference: tuple[float, float, float] | None
    hurts: bool


@dataclass(frozen=True)
class _Arm:
    """How the support is gone through, and what answers queries (itself, if nothing is given)."""

    name: str
    learner: PlasticLearner
    params: Mapping[str, Tensor]
    change: Change | None = None
    answers: tuple[PlasticLearner, Mapping[str, Tensor]] | None = None
    forgets: bool = False  # synapses go back to their start half-way


def perturb(
    run: Run,
    *,
    lesions: Sequence[float] = (0.1, 0.3, 0.5),
    shift: int = 5,
    noise: float = 0.5,
    n_episodes: int = 1000,
    seed: int = 0,
    batch: int = 100,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Score a run with one thing changed at a time, on test tasks that all rows share.

    Parameters
    ----------
    run : Run
        Of a `PlasticLearner`.
    lesions : sequence of float
        Shares of the plastic synapses that are cut, at random, from the start; one that is less than a synapse is
        left out.
    shift : int
        Steps by which modulators come late.
    noise : float
        Standard deviation of noise on the stimulus, in units of its own.
    n_episodes, seed, batch : int
        Test tasks, their seed, and how many are simulated together.
    on_progress : callable, optional
        Called with rows done and rows in all.

    Returns
    -------
    list of Row
        The run as it is, then: plasticity off altogether, in the first and in the second half of the support;
        synapses cut; every modulator (that the network computes) clamped to its mean, taken from another episode,
        late, upside down (mirrored at its mean, within the range that it had); every other population silenced; noise
        on the stimulus; the learned rule with everything else fresh, the same in a network of twice the size, and
        everything else with a fresh rule. On a task that is one sequence also: activity back to rest half-way, and
        synapses back to their start half-way while activity goes on. (Where queries are asked after the support,
        activity starts from rest at each of them anyway.)

    Raises
    ------
    SpecificationError
        If the run has no rule, or a number is out of range.

    Notes
    -----
    Intervals are over tasks, and say how sure a difference is for this run; whether it holds for the method is a
    question to several seeds.
    """
    learner = run.learner
    if not isinstance(learner, PlasticLearner):
        raise SpecificationError(f"{type(learner).__name__} has no rule to perturb; a PlasticLearner has")
    if n_episodes < 2 or batch < 2 or shift < 1 or not all(0 <= share <= 1 for share in lesions):
        raise SpecificationError(
            "perturb needs 2 episodes, a batch of 2 and a shift of 1 at least, and lesions in 0 to 1"
        )
    scores: dict[str, list[np.ndarray]] = {}
    leaf = next(iter(run.params.values()))
    drawn = run.task.sample(generator(seed, "perturb"), 1, "test", device=leaf.device, dtype=leaf.dtype)
    sequence = drawn.query is None and not isinstance(run.task, Interactive)
    arms = list(_arms(run, learner, lesions, shift, noise, seed, sequence))
    stream, done, total = generator(seed, "perturb"), 0, -(-n_episodes // batch) * len(arms)
    for start in range(0, n_episodes, batch):
        n = min(batch, n_episodes - start)
        episode = run.task.sample(stream, max(n, 2), "test", device=leaf.device, dtype=leaf.dtype)
        modulators = _modulators(run, learner, episode)
        for k, arm in enumerate(arms):
            mine = generator(seed, f"perturb {start} {k}")
            with torch.no_grad():
                output = _answer(run, arm, episode, modulators, mine)
                found = run.task.score(output, episode.scored)[:n]
            scores.setdefault(arm.name, []).append(found.cpu().numpy())
            done += 1
            if on_progress:
                on_progress(done, total)
    whole = {name: np.concatenate(parts) for name, parts in scores.items()}
    first = whole[arms[0].name]
    rows = [Row(arms[0].name, interval(first), None, False)]
    for name, values in list(whole.items())[1:]:
        difference = interval(values - first)
        bad = difference[2] < 0 if run.task.higher_is_better else difference[1] > 0
        rows.append(Row(name, interval(values), difference, bool(bad)))
    return rows


def _modulators(run: Run, learner: PlasticLearner, episode: Episode) -> dict[str, Tensor]:
    """Return what every modulator does in the support, at every step of the network."""
    names = computed_modulators(learner.network)
    if not names:
        return {}
    with torch.no_grad():
        save, respond = Save(tuple(f"x.{name}" for name in names)), responder(run.task, episode.support)
        found = learner.run(run.params, episode.support, generator(run.seed, "perturb"), save=save, respond=respond)
    return {name: found[f"x.{name}"] for name in names}


def computed_modulators(network: Network) -> list[str]:
    """Return the populations that gate plasticity and that the network computes itself."""
    names = dict.fromkeys(name for p in network.plastic for name in p.modulators.values())
    return [name for name in names if name != "one" and not network[name].is_input]


def _answer(run: Run, arm: _Arm, episode: Episode, modulators: Mapping[str, Tensor], stream: torch.Generator) -> Tensor:
    """Return the output over the scored part."""
    learner, support, hold = arm.learner, episode.support, arm.learner.hold
    if arm.change is not None:
        learner, support = replace(learner, hold=1), held(support, hold)  # so that a change may differ step by step
        support = arm.change(support, modulators, stream)
    if arm.forgets:
        return _forgetting(learner, arm.params, support, stream)
    trajectory = learner.run(arm.params, support, stream, respond=responder(run.task, episode.support))
    if episode.query is None:
        return trajectory.output if arm.change is None else trajectory.output[hold - 1 :: hold]
    other, params = arm.answers or (arm.learner, arm.params)
    return other.predict(params, learner.carried(arm.params, support, trajectory.final), episode.query, stream)


def _forgetting(learner: PlasticLearner, params: Mapping[str, Tensor], part: Part, stream: torch.Generator) -> Tensor:
    """Return the output over a sequence half-way through which synapses and traces go back to their start."""
    half = len(part.learn) // 2
    first = learner.run(params, _between(part, 0, half), stream)
    start = program(learner.network).start(params, part.target.shape[1], stream, part.target)
    second = learner.run(
        params, _between(part, half, len(part.learn)), stream, state=State(first.final.x, start.w, start.traces)
    )
    return torch.cat([first.output, second.output])


def _between(part: Part, begin: int, end: int) -> Part:
    """Return the steps of a part from ``begin`` to before ``end``."""
    inputs = {name: value[begin:end] for name, value in part.inputs.items()}
    rest = {name: getattr(part, name)[begin:end] for name in ("target", "weight", "learn", "reset")}
    return part._replace(inputs=inputs, **rest)


def _arms(
    run: Run, learner: PlasticLearner, lesions: Sequence[float], shift: int, noise: float, seed: int, sequence: bool
) -> Iterator[_Arm]:
    network, params = learner.network, run.params
    plastic, leaf = {p.label for p in network.plastic}, next(iter(params.values()))
    yield _Arm("as it is", learner, params)
    for name, low, high in (
        ("off", 0.0, 1.0),
        ("off in the first half", 0.0, 0.5),
        ("off in the second half", 0.5, 1.0),
    ):
        yield _Arm(f"plasticity {name}", learner, params, _off(low, high))
    if sequence:
        yield _Arm("activity reset half-way", learner, params, _reset_half)
        yield _Arm("synapses reset half-way", learner, params, forgets=True)
    n_plastic = sum(network[p.post].size * network[p.pre].size for p in network.plastic)
    for share in lesions:
        if 0 < share * n_plastic < 1:
            continue
        cut = _lesioned(network)
        stream = generator(seed, f"lesion {share}")
        leaves = dict(params)
        for p in network.plastic:
            size = (network[p.post].size, network[p.pre].size)
            keep = (torch.rand(size, generator=stream) >= share).to(leaf)
            leaves[f"{p.label}.lesion"] = keep
        yield _Arm(f"{100 * share:g} % of synapses cut", replace(learner, network=cut), leaves)
    for name in computed_modulators(network):
        imposed = replace(learner, network=impose(network, name))
        for label, change in _modulated(name, shift).items():
            yield _Arm(f"{name} {label}", imposed, params, change, (learner, params))
    answer = network.output.partition(".")[0]
    for population in network.populations:
        name = population.name
        if population.is_input or name == answer or name in computed_modulators(network):
            continue
        yield _Arm(f"{name} silenced", _silenced(learner, name), params)
    if "stimulus" in network.inputs:
        yield _Arm(f"noise on the stimulus, {noise:g} sd", learner, params, _noisy(noise), (learner, params))
    fresh = learner.init(generator(run.seed + 1, "init"))
    fresh = {name: value.to(leaf) for name, value in fresh.items()}
    of_rule = {name for name in params if name.split(".")[0] in plastic and ".rule." in name}
    if of_rule:
        yield _Arm(
            "the rule, everything else fresh", learner, {n: (params if n in of_rule else fresh)[n] for n in params}
        )
        larger, given = _transplanted(run, learner, of_rule)
        yield _Arm("the rule, network twice as large", larger, given)
        yield _Arm(
            "everything else, a fresh rule", learner, {n: (fresh if n in of_rule else params)[n] for n in params}
        )


def _transplanted(run: Run, learner: PlasticLearner, of_rule: set[str]) -> tuple[PlasticLearner, dict[str, Tensor]]:
    """Return the rule in a fresh network with twice the hidden neurons; values per synapse become their mean."""
    larger, leaf = replace(learner, network=resized(learner.network, 2)), next(iter(run.params.values()))
    params = {n: value.to(leaf) for n, value in larger.init(generator(run.seed + 1, "init")).items()}
    for name in of_rule & set(params):
        own = run.params[name]
        params[name] = own if own.shape == params[name].shape else torch.full_like(params[name], float(own.mean()))
    return larger, params


def _reset_half(part: Part, modulators: Mapping[str, Tensor], stream: torch.Generator) -> Part:
    reset = part.reset.clone()
    reset[len(reset) // 2] = True
    return part._replace(reset=reset)


def _off(low: float, high: float) -> Change:
    def change(part: Part, modulators: Mapping[str, Tensor], stream: torch.Generator) -> Part:
        n = len(part.learn)
        time = torch.arange(n, device=part.learn.device)
        return part._replace(learn=part.learn & ~((time >= round(low * n)) & (time < round(high * n))))

    return change


def _lesioned(network: Network) -> Network:
    """Return a network whose plastic synapses have a factor ``lesion`` each."""

    def cut(p: Projection) -> Projection:
        if p.rule is None:
            return p
        lesion = Param(1.0, per="synapse", learned=False)
        return replace(p, efficacy=f"lesion*({p.efficacy})", params={**p.params, "lesion": lesion})

    return replace(network, projections=tuple(map(cut, network.projections)))


def _modulated(name: str, shift: int) -> dict[str, Change]:
    """Return what is done to a modulator whose activity is imposed."""

    def imposed(value: Callable[[Tensor], Tensor]) -> Change:
        def change(part: Part, modulators: Mapping[str, Tensor], stream: torch.Generator) -> Part:
            return part._replace(inputs={**part.inputs, name: value(modulators[name])})

        return change

    def late(m: Tensor) -> Tensor:
        steps = min(shift, len(m))
        return torch.cat([m.mean((0, 1), keepdim=True).expand(steps, *m.shape[1:]), m[: len(m) - steps]])

    return {
        "clamped to its mean": imposed(lambda m: m.mean((0, 1), keepdim=True).expand_as(m)),
        "of another episode": imposed(lambda m: m.roll(1, dims=1)),
        f"{shift} steps late": imposed(late),
        "upside down": imposed(lambda m: (2 * m.mean((0, 1)) - m).clamp(m.min(), m.max())),
    }


def _silenced(learner: PlasticLearner, name: str) -> PlasticLearner:
    """Return a learner one of whose populations is always 0: nothing that it sends arrives."""
    network = learner.network
    projections = tuple(replace(p, efficacy=f"0*({p.efficacy})") if p.pre == name else p for p in network.projections)
    return replace(learner, network=replace(network, projections=projections))


def _noisy(sd: float) -> Change:
    def change(part: Part, modulators: Mapping[str, Tensor], stream: torch.Generator) -> Part:
        shown = part.inputs["stimulus"]
        drawn = torch.randn(shown.shape, generator=stream, dtype=shown.dtype).to(shown.device)
        return part._replace(inputs={**part.inputs, "stimulus": shown + sd * shown.std() * drawn})

    return change


make_callable(__name__, perturb)
