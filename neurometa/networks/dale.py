"""A recurrent network of excitatory and inhibitory neurons, each of which keeps its sign (Dale's principle)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import SpecificationError, unknown
from ..rules.hebb import hebb
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection, Uniform
from ..spec.base import check_choice
from ._parts import modulator, rule_modulators, standard_inputs, taught_output

__all__ = ["dale"]

KINDS = ("excitatory", "inhibitory")
PATHWAYS = tuple(f"{pre}__{post}" for pre in KINDS for post in KINDS)


def dale(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = hebb,
    n_hidden: int = 64,
    transfer: str = "softmax",
    alpha: float = 0.01,
    plastic: Sequence[str] = ("excitatory__excitatory",),
    share: float = 0.8,
    tau: float = 5.0,
    hidden_transfer: str = "sigmoid",
) -> Network:
    """Build stimulus -> (excitatory <-> inhibitory) -> out, with plastic recurrent synapses.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the plastic pathways, each with parameters of its own. A modulator ``m`` that it reads is computed from the
        excitatory neurons.
    n_hidden : int
        Number of recurrent neurons of both kinds, 2 or more.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Standard deviation of the plastic strengths at the start, one per synapse: a plastic synapse has the strength
        ``w0 + alpha*w``, cut off at 0.
    plastic : sequence of str
        Which of the four pathways follow the rule: ``"excitatory__excitatory"``, ``"excitatory__inhibitory"``,
        ``"inhibitory__excitatory"``, ``"inhibitory__inhibitory"``.
    share : float
        Share of excitatory neurons.
    tau : float
        Time constant of the neurons at the start, ms, above 1.
    hidden_transfer : {"sigmoid", "relu", "softplus"}
        Of the recurrent neurons: rates, which are never negative, or a synapse's sign would mean nothing.

    Returns
    -------
    Network
        Both kinds see stimulus, target and teaching signal through synapses of any sign; out hears the excitatory
        neurons only. Answers ``out.drive``.

    Notes
    -----
    Song, Yang & Wang 2016, doi:10.1371/journal.pcbi.1004792. An inhibitory ``w`` is a strength as well: growing means
    more inhibition. Excitation and inhibition have the same mean at the start.

    Examples
    --------
    >>> network = dale(3, 2, n_hidden=10)
    >>> network["excitatory"].size, network["inhibitory"].size
    (8, 2)
    >>> [(p.label, p.sign) for p in network.projections if p.sign and p.rule]
    [('excitatory__excitatory', 'excitatory')]
    """
    check_choice(hidden_transfer, ("sigmoid", "relu", "softplus"), "dale: hidden_transfer")
    for label in plastic:
        if label not in PATHWAYS:
            raise SpecificationError(f"dale: plastic: {unknown('pathway', label, PATHWAYS)}")
    if n_hidden < 2 or not 0 < share < 1:
        raise SpecificationError(
            f"dale: n_hidden is {n_hidden} and share {share}; allowed: 2 or more, and within 0 to 1"
        )
    n_excitatory = min(max(round(share * n_hidden), 1), n_hidden - 1)
    sizes = dict(zip(KINDS, (n_excitatory, n_hidden - n_excitatory), strict=True))
    update = {"dx/dt": f"({hidden_transfer}(drive) - x)/tau"}
    time = {"tau": Param(tau, "positive", minimum=1.0, unit="ms")}
    m = (modulator("modulator", 0.0, 1.0),) if rule.modulators else ()
    named = rule_modulators(rule, {"m": "modulator"}, "network 'dale'")
    recurrent = []
    for pre in KINDS:
        mean = math.sqrt(n_excitatory) / sizes[pre]  # the same total from either kind
        strength = Param(Uniform(0.1 * mean, 1.9 * mean), "positive", per="synapse")
        for post in KINDS:
            if f"{pre}__{post}" not in plastic:
                recurrent.append(Projection(pre, post, w=strength, sign=pre))
                continue
            params = {"w0": strength, "alpha": Param(Normal(0.0, alpha), per="synapse")}
            made = Projection(pre, post, efficacy="w0 + alpha*w", params=params, rule=rule, modulators=named, sign=pre)
            recurrent.append(made)
    out, clamp = taught_output(n_out, transfer)
    feed = [Projection(source, kind) for source in ("stimulus", "target", "teach", "one") for kind in KINDS]
    modulation = [Projection(source, "modulator") for source in ("excitatory", "one")] if m else []
    readout = [Projection("excitatory", "out"), Projection("one", "out")]
    return Network(
        (*standard_inputs(n_in, n_out), *(Population(kind, sizes[kind], update, time) for kind in KINDS), *m, out),
        (*feed, *recurrent, *modulation, *readout, clamp),
        output="out.drive",
        name="dale",
    )
