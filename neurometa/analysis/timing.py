"""What a rule with `on_pre` or `on_post` does to one synapse when the spikes of its two neurons are imposed.

`change_by_spikes` runs the torch engine on given spike trains; `spike_timing` is the card of such a rule: the window
over the lag of one pair, the change by 60 pairings over their frequency, and over the delay of a third factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..errors import EngineError
from ..spec import Network, Param, PlasticityRule, Population, Projection, Spikes
from ..spec.rule import split_variable
from ..streams import generator
from ..torch_engine import constrain, init_params, simulate, start
from .learned import learned

__all__ = ["LAGS", "PAIRINGS", "Timing", "change_by_spikes", "spike_timing"]

Trains = Sequence[tuple[Sequence[int], Sequence[int]]]

#: Pairings of the frequency curve.
PAIRINGS = 60
#: Lags of the frequency curve, ms.
LAGS = (10, -10)
#: How long the rule runs on after the last spike, ms; then w is read.
AFTER = 2000


@dataclass(frozen=True, eq=False)
class Timing:
    """Change of a synapse by imposed spikes.

    Attributes
    ----------
    lags : (n,)
        Time of the postsynaptic spike minus that of the presynaptic one, ms.
    w : (3,)
        Weights at the start.
    window : (3, n)
        Change by one pair.
    rates : (r,)
        Pairings per second, Hz.
    curve : (2, r)
        Change by 60 pairings at the lags +10 and -10 ms, from the weight in the middle.
    delays : (d,)
        Time from a pair (+10 ms) to the third factor, ms.
    late : (d,)
        Change by such a pair when the third factor is 1 for 10 ms after a delay, from the weight in the middle; NaN if
        the rule reads none.
    factor : str
        The third factor: a modulator or an error; empty if the rule reads none.
    """

    lags: np.ndarray
    w: np.ndarray
    window: np.ndarray
    rates: np.ndarray
    curve: np.ndarray
    delays: np.ndarray
    late: np.ndarray
    factor: str


def third_factor(rule: PlasticityRule) -> str:
    """Return the first modulator that a rule reads, or else the first error; empty if it reads none."""
    errors = [name for name in rule.variables if name.startswith("error") and name.endswith("_post")]
    return next(iter([*rule.modulators, *errors]), "")


def _network(rule: PlasticityRule, dt: float, w: float) -> Network:
    """Return one synapse, whose neurons spike where their inputs are 1."""
    update = {"fires": "drive", "heard": "0.0"}
    begin = {}
    for name in rule.variables:
        variable, side = split_variable(name) or ("", "")
        if side == "pre" and variable != "x":
            raise EngineError(f"rule '{rule.name}' reads {name}; with imposed spikes a source has none; allowed: x_pre")
        if side == "pre" or variable in ("x", "drive"):
            continue
        if variable.startswith("error"):
            update[variable] = "third"
        elif variable == "v":
            update[variable], begin[variable] = "-70 + 100*drive", -70.0
        elif variable.startswith("v_"):
            update[variable], begin[variable] = f"0.9*{variable} + 0.1*(-70 + 100*drive)", -70.0
        else:
            update[variable] = "1" if variable == "psi" else f"0.9*{variable} + 0.1*drive"
    sink = Population("sink", 1, update, inputs=("drive", "third"), start=begin, spikes=Spikes("fires > 0.5"))
    one = Param(1.0, learned=False)
    return Network(
        (Population("source", 1), Population("teacher", 1), Population("third", 1), sink),
        (
            Projection("teacher", "sink", w=one),
            Projection("third", "sink", into="third", w=one),
            Projection(
                "source",
                "sink",
                "plastic",
                into="heard",
                w=Param(w),
                rule=rule,
                modulators=dict.fromkeys(rule.modulators, "third"),
            ),
        ),
        output="sink.x",
        dt=dt,
        name=f"one synapse of {rule.name}",
    )


def change_by_spikes(
    rule: PlasticityRule,
    trains: Trains,
    steps: int,
    *,
    dt: float = 1.0,
    w: float | Sequence[float] = 0.5,
    third: Tensor | float = 1.0,
    leaves: Mapping[str, Tensor] = MappingProxyType({}),
) -> np.ndarray:
    """Return how far each pair of spike trains moves a synapse, in double precision.

    Parameters
    ----------
    rule : PlasticityRule
        With its initial parameters. Errors that it reads are the third factor, as its modulators are; ``psi_post`` is
        1, ``v_post`` stands at -70 mV and at 30 mV in the step of a spike, another ``v_..._post`` follows it in ten
        steps, any other variable is a slow average of spikes.
    trains : sequence of (pre, post)
        Steps at which the two neurons spike, one pair of trains for each run.
    steps : int
        Length of the runs.
    dt : float
        Step, ms.
    w : float or sequence of float
        Weight at the start: of all runs or of each.
    third : Tensor or float
        The third factor, ``(time, runs, 1)``, or one value for all.
    leaves : mapping of str to Tensor
        Learned parameters from `rule_leaves`, in place of the initial ones.

    Returns
    -------
    ndarray
        ``(runs,)``.

    Raises
    ------
    EngineError
        If the rule reads a variable of the presynaptic neuron other than its spikes.

    Examples
    --------
    >>> from neurometa import rules
    >>> change_by_spikes(rules.get("stdp"), [((3,), (8,)), ((8,), (3,))], 20).round(5).tolist()
    [0.00779, -0.00818]
    """
    first = torch.as_tensor(w, dtype=torch.double).expand(len(trains))
    network = _network(rule, dt, float(first[0]))
    params = learned(init_params(network, generator(0, "timing"), dtype=torch.double), leaves)
    spikes = {name: first.new_zeros(steps, len(trains), 1) for name in ("source", "teacher")}
    for run, pair in enumerate(trains):
        for name, times in zip(spikes, pair, strict=True):
            spikes[name][list(times), run] = 1.0
    level = torch.as_tensor(third, dtype=torch.double).expand(steps, len(trains), 1)
    state = start(network, params, len(trains), like=level)._replace(w={"plastic": first[:, None, None]})
    with torch.no_grad():
        found = simulate(network, params, {**spikes, "third": level}, state=state).final.w["plastic"]
    return (found[:, 0, 0] - first).numpy()


def spike_timing(rule: PlasticityRule, leaves: Mapping[str, Tensor] = MappingProxyType({})) -> Timing:
    """Return the card of a rule with `on_pre` or `on_post`: steps of 1 ms, the weight read 2 s after the last spike.

    Of the window and the frequency curve the third factor stands at 1; the frequency curve is that of consecutive
    pairings. See `change_by_spikes` for what other variables of the neuron are, and for ``leaves``.

    Raises
    ------
    EngineError
        If the rule reads a variable of the presynaptic neuron other than its spikes.
    """
    w = np.linspace(*_range(rule), 5)[1:-1]
    lags = np.array([lag for lag in range(-100, 101, 4)])
    begin = 150
    pairs = [((begin,), (begin + lag,)) for lag in lags.tolist()]
    window = change_by_spikes(rule, pairs * 3, 2 * begin + AFTER, w=np.repeat(w, len(pairs)).tolist(), leaves=leaves)
    rates = np.array([5, 10, 15, 20, 25, 30, 40, 50])
    periods = [round(1000 / rate) for rate in rates.tolist()]
    pre = {period: [20 + period * k for k in range(PAIRINGS)] for period in periods}
    trains = [(pre[period], [step + lag for step in pre[period]]) for lag in LAGS for period in periods]
    curve = change_by_spikes(rule, trains, max(periods) * PAIRINGS + 40 + AFTER, w=w[1], leaves=leaves)
    delays = np.array([0, 20, 50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000])
    factor, late = third_factor(rule), np.full(len(delays), np.nan)
    if factor:
        time = torch.arange(int(delays[-1]) + AFTER)[:, None] - 10 - torch.from_numpy(delays)  # (time, delay)
        pulse = ((time >= 0) & (time < 10)).double()[..., None]
        late = change_by_spikes(rule, [((0,), (10,))] * len(delays), len(pulse), w=w[1], third=pulse, leaves=leaves)
    return Timing(lags, w, window.reshape(3, -1), rates, curve.reshape(2, -1), delays, late, factor)


def _range(rule: PlasticityRule) -> tuple[float, float]:
    """Return the weights that the bounds allow, 0 to 1 where there are none, and at most 1 above the lower one."""
    if rule.bounds is None:
        return 0.0, 1.0
    network = _network(rule, 1.0, 0.5)
    values = constrain(network, init_params(network, generator(0, "timing"), dtype=torch.double))
    low, high = (float(values[f"plastic.rule.{b}"].mean() if isinstance(b, str) else b) for b in rule.bounds)
    return low, min(high, low + 1.0)
