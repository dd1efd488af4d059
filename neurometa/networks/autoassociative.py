"""A fully connected plastic network whose every neuron is shown a part of the pattern and answers it."""

from __future__ import annotations

from ..errors import SpecificationError
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import rule_modulators, standard_inputs

__all__ = ["autoassociative", "hebbian_trace"]

hebbian_trace = PlasticityRule(
    "hebbian_trace",
    dw="eta*(pre*post - w)",
    params={"eta": Param(0.01)},
    reference="Miconi, Stanley & Clune 2018, arXiv:1804.02464",
)


def autoassociative(
    n_in: int, n_out: int, rule: PlasticityRule = hebbian_trace, w0: float = 0.01, alpha: float = 0.01
) -> Network:
    """Build as many neurons as the pattern has elements, all connected by plastic synapses.

    Parameters
    ----------
    n_in, n_out : int
        Elements of the pattern; the two are the same number.
    rule : PlasticityRule
        Of the synapses. The default is the published one, with one rate for growth and decay. A modulator ``m`` that it
        reads is the teaching signal.
    w0, alpha : float
        Standard deviations, at the start, of the weights and of the plastic strengths, one per synapse each: efficacy
        ``w0 + alpha*w``.

    Returns
    -------
    Network
        Answers ``out.drive``, from which the activity of what is not clamped follows.

    Raises
    ------
    SpecificationError
        If ``n_in`` and ``n_out`` differ.

    Notes
    -----
    Miconi, Stanley & Clune 2018, arXiv:1804.02464. A neuron whose element of the stimulus is not 0 is clamped to it;
    the others follow ``x = tanh((w0 + alpha*w)*x + b)``, where ``x`` on the right, as ``pre`` in the rule, is the
    activity of the step before. (The publication adds 20 times the stimulus to the drive, which for elements of 1 and
    -1 is the same as long as drives are below about 10. A clamp also keeps grey values as they are.) Target and
    ``teach`` are not seen.

    Examples
    --------
    >>> [(p.label, p.efficacy) for p in autoassociative(4, 4).plastic]
    [('out__out', 'w0 + alpha*w')]
    """
    if n_in != n_out:
        raise SpecificationError(
            f"network 'autoassociative': n_in is {n_in} and n_out {n_out}; every neuron is shown one element and "
            f"answers it, so the two must be the same; type n_in={n_out}"
        )
    out = Population("out", n_out, "shown + (1 - int(abs(shown) > 0))*tanh(drive)", inputs=("drive", "shown"))
    plastic = Projection(
        "out",
        "out",
        efficacy="w0 + alpha*w",
        params={"w0": Param(Normal(0.0, w0), per="synapse"), "alpha": Param(Normal(0.0, alpha), per="synapse")},
        rule=rule,
        modulators=rule_modulators(rule, {"m": "teach"}, "network 'autoassociative'"),
    )
    clamp = Projection("stimulus", "out", into="shown", w=Param(1.0, learned=False), mask="one_to_one")
    bias = Projection("one", "out", w=Param(0.0, per="post"))
    return Network(
        (*standard_inputs(n_in, n_out), out), (plastic, clamp, bias), output="out.drive", name="autoassociative"
    )
