"""A recurrent network whose synapses facilitate and depress within hundreds of milliseconds."""

from __future__ import annotations

from dataclasses import replace

from ..errors import SpecificationError
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection, Trace
from ._parts import recurrent_network, rule_modulators

__all__ = ["short_term"]

#: Without a rule the plastic variable stands still, and only the traces move.
STILL = PlasticityRule("still", dw="0*w", reference="Mongillo, Barak & Tsodyks 2008, doi:10.1126/science.1150769")


def short_term(
    n_in: int,
    n_out: int,
    rule: PlasticityRule | None = None,
    n_hidden: int = 64,
    transfer: str = "softmax",
    alpha: float = 0.01,
    use: float = 0.2,
    tau_f: float = 1500.0,
    tau_d: float = 200.0,
    rate: float = 0.05,
) -> Network:
    """Build stimulus -> hidden -> out with short-term plasticity among the hidden neurons.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule, optional
        Long-term plasticity of the same synapses; default: none. A modulator ``m`` that it reads is computed from the
        hidden neurons.
    n_hidden : int
        Number of recurrent neurons.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        With a rule: standard deviation of the plastic strengths at the start, one per synapse.
    use : float
        Start of ``U``, the share of resources that a single spike after a pause uses, between 0 and 1.
    tau_f, tau_d : float
        Time constants of facilitation and depression at the start, ms, above 1.
    rate : float
        Spikes per ms that activity 1 stands for; hidden neurons are sigmoid, so .05 makes their rates 0 to 50 Hz.

    Returns
    -------
    Network
        Hidden neurons see stimulus, target and teaching signal; the network answers ``out.drive``.

    Notes
    -----
    The rate version of Tsodyks & Markram (Mongillo, Barak & Tsodyks 2008, doi:10.1126/science.1150769), with
    ``f = rate*pre``: utilisation ``du/dt = (U - u)/tau_f + U*(1 - u)*f`` and resources
    ``dr/dt = (1 - r)/tau_d - u*r*f``, one value of each per presynaptic neuron; the efficacy is ``w0*u*r``, or
    ``(w0 + alpha*w)*u*r`` with a rule. At a steady rate ``u = U*(1 + tau_f*f)/(1 + U*tau_f*f)`` and
    ``r = 1/(1 + u*tau_d*f)``. With U .2, tau_f 1500 and tau_d 200 ms synapses facilitate; with U .5, tau_f 50 and
    tau_d 800 ms they depress. ``u`` starts at the number ``use`` and ``r`` at 1. Traces are kept at a reset of
    activity and stand still where plasticity is off, as those of every rule do.

    Examples
    --------
    >>> network = short_term(3, 2, n_hidden=4)
    >>> network.plastic[0].efficacy, sorted(network.plastic[0].rule.traces)
    ('w0*u*r', ['r', 'u'])
    """
    plain = rule is None
    rule = _with_traces(STILL if rule is None else rule, use, tau_f, tau_d, rate)
    params = {"w0": Param(Normal(0.0, f"1/({float(use)!r}*sqrt(n_pre))"), per="synapse")}
    if not plain:
        params["alpha"] = Param(Normal(0.0, alpha), per="synapse")
    synapses = Projection(
        "hidden",
        "hidden",
        efficacy="w0*u*r" if plain else "(w0 + alpha*w)*u*r",
        params=params,
        rule=rule,
        modulators=rule_modulators(rule, {"m": "m_hidden"}, "network 'short_term'"),
    )
    return recurrent_network(
        "short_term", n_in, n_out, Population("hidden", n_hidden, "sigmoid(drive)"), synapses, transfer
    )


def _with_traces(rule: PlasticityRule, use: float, tau_f: float, tau_d: float, rate: float) -> PlasticityRule:
    """Return the rule with the traces of short-term plasticity besides its own."""
    traces = {
        "u": Trace("(U - u)/tau_f + U*(1 - u)*rate*pre", init=use),
        "r": Trace("(1 - r)/tau_d - u*r*rate*pre", init=1.0),
    }
    params = {
        "U": Param(use, "fraction"),
        "tau_f": Param(tau_f, "positive", minimum=1.0, unit="ms"),
        "tau_d": Param(tau_d, "positive", minimum=1.0, unit="ms"),
        "rate": Param(rate, "positive", learned=False, unit="1/ms"),
    }
    taken = sorted({*traces, *params} & {*rule.traces, *rule.params, *rule.sums, *rule.functions})
    if taken:
        raise SpecificationError(
            f"network 'short_term': rule '{rule.name}' reads names of its own that short-term plasticity needs: "
            f"{', '.join(taken)}; rename them"
        )
    return replace(rule, traces={**rule.traces, **traces}, params={**rule.params, **params})
