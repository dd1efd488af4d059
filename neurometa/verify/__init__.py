"""What is claimed, measured here and now: every library rule in both engines, closed forms, and known phenomena.

Each line has the measured number and what is allowed. The allowed numbers are the tolerances of docs/semantics.md; a
test asserts that none is looser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .. import rules
from . import long, rates, spikes
from .networks import between_engines, contract_networks

__all__ = ["Check", "contract_networks", "verify"]


@dataclass(frozen=True)
class Check:
    """One line: what was measured, the number, and what is allowed."""

    name: str
    measured: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the number is within what is allowed."""
        return bool(self.measured <= self.allowed)


def verify(on_check: Callable[[Check], None] | None = None, slow: bool = False) -> list[Check]:
    """Measure everything; call back after each line.

    Parameters
    ----------
    on_check : callable, optional
        Called with each line.
    slow : bool
        Measure phenomena of minutes of simulated time too, for which Brian2 compiles a program.

    Returns
    -------
    list of Check
        Rules in both engines first, then closed forms and phenomena.

    Raises
    ------
    EngineError
        If brian2 is not installed; with ``slow``, if there is no C++ compiler.
    """
    found = []
    for check in _checks(slow):
        found.append(check)
        if on_check:
            on_check(check)
    return found


def _checks(slow: bool) -> Iterator[Check]:
    for name in rules.names():
        rule = rules.get(name)
        if rule.brian2_refuses:
            continue
        for kind, network in contract_networks(rule).items():
            found = between_engines(network)
            yield Check(f"{name}, {kind}: torch against Brian2, {found.horizon} steps", found.largest, 1e-10)
    found = rates.oja_in_both()
    yield Check(f"oja on one linear neuron: torch against Brian2, {found.horizon:,} steps", found.largest, 1e-12)
    length, angle = rates.oja_component()
    yield Check("oja: distance of |w| from 1, 60,000 steps", length, 1e-2)
    yield Check("oja: 1 - |cosine| with the first eigenvector", angle, 1e-3)
    yield Check("hebb: closed form of a constant input", rates.hebb_constant(), 1e-12)
    yield Check("delta: closed form of a constant target", rates.delta_target(), 1e-12)
    yield Check("gated_hebb: closed form of a pulse of the modulator", rates.gated_pulse(), 1e-12)
    covariance, conditional = spikes.reward_and_covariance()
    yield Check("reward rule: distance from Cov(R, H) + <R><H> = .518", covariance, 1e-2)
    yield Check("reward rule less the mean reward: distance from Cov(R, H) = .200", conditional, 1e-2)
    yield Check("stdp: closed form of the window", spikes.window(), 1e-12)
    for protocol in spikes.PROTOCOLS:
        worst = spikes.triplet_curve(protocol)
        yield Check(f"triplet_stdp: distance from the published curve, {protocol} pairings", worst, 1.5e-3)
    yield Check("stdp: growth from .1 to 40 Hz over what a pair rule can do", spikes.growth_of_pairs(), 1.0)
    yield Check(
        "da_stdp: relative distance from the closed form at four delays, dt 1 ms", spikes.late_reward(1.0), 4e-3
    )
    if slow:
        yield Check("da_stdp: the same, dt 0.1 ms", spikes.late_reward(0.1), 4e-4)
        balance = long.inhibitory_balance()
        yield Check("inhibitory_stdp: torch against Brian2 (C++), first 2 s", balance.apart, 1e-10)
        yield Check("inhibitory_stdp: distance of the last 60 s of 300 s from 5.6 Hz", abs(balance.late - 5.6), 0.3)
        shape = long.bimodal_weights()
        yield Check("stdp, 1,000 inputs: torch against Brian2 (C++), first 2 s", shape.apart, 1e-10)
        yield Check("stdp, 1,000 inputs: distance of the first 10 s from 36 Hz", abs(shape.early - 36), 4.0)
        yield Check("stdp, 1,000 inputs: distance of the last 10 s from 20 Hz", abs(shape.late - 20), 3.0)
        yield Check("stdp, 1,000 inputs: middle bin of the weights over the lower end bin", shape.middle, 1 / 3)
