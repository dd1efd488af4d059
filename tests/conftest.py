"""What all tests share: one thread, and every library rule in every library network that it fits."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache

import pytest
import torch

from neurometa import networks, rules
from neurometa.errors import SpecificationError
from neurometa.spec import Network, Population, Projection
from neurometa.verify import contract_networks


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


#: Settings that make a library network small.
SMALL = {"n_hidden": 3, "hidden": (3,)}
#: Settings that make spiking neurons spike within five steps.
FAST = {"tau": 2.5, "gain": 20.0}
#: Inputs of a library network with two answers, where it is not free to have three.
INPUTS = {"autoassociative": 2}


@cache
def built(rule: str, network: str):
    """Return a small library network with a library rule, or the message of why the two do not fit."""
    builder = networks.get(network)
    settings = SMALL | (FAST if network == "spiking" else {})
    small = {name: value for name, value in settings.items() if name in inspect.signature(builder).parameters}
    try:
        return builder(n_in=INPUTS.get(network, 3), n_out=2, rule=rules.get(rule), **small)
    except SpecificationError as error:
        return str(error)


PAIRS = [(rule, network) for rule in rules.names() for network in networks.names()]
FITTING = [pair for pair in PAIRS if not isinstance(built(*pair), str)]
#: Every network meets the rules of the core, every other rule the first network that it fits.
CORE = ("delta", "gated_hebb", "hebb", "oja")
FIRST = {rule: network for rule, network in reversed(FITTING)}
JUDGED = [(rule, network) for rule, network in FITTING if rule in CORE or FIRST[rule] == network]
#: Those without spikes, whose gradient is a derivative and no surrogate.
SMOOTH = [pair for pair in JUDGED if pair[1] != "spiking"]


def pytest_generate_tests(metafunc):
    if "rate_pair" in metafunc.fixturenames:
        metafunc.parametrize("rate_pair", SMOOTH, ids="-".join)
    if "rate_rule" in metafunc.fixturenames:
        metafunc.parametrize("rate_rule", [name for name in rules.names() if not rules.get(name).has_events])
    if "library_pair" in metafunc.fixturenames:
        metafunc.parametrize("library_pair", JUDGED, ids="-".join)
    if "library_rule" in metafunc.fixturenames:
        metafunc.parametrize("library_rule", rules.names())
    if "library_network" in metafunc.fixturenames:
        metafunc.parametrize("library_network", networks.names())


@pytest.fixture
def library():
    """Return ``library(rule, network)``: a small network, or the message of why the two do not fit."""
    return built


@pytest.fixture
def any_network():
    """Return ``any_network(rule)``: the first small library network that a rule fits, or else one made for it."""
    return lambda rule: next((built(*pair) for pair in FITTING if pair[0] == rule), None) or made_for(rule)


def made_for(rule: str) -> Network:
    """Return a network in which every variable that a rule reads exists, with 3 inputs and 2 answers."""
    network = contract_networks(rules.get(rule), size=3)["modulated"]
    answer, wires = Population("answer", 2, "drive"), Projection("sink", "answer")
    parts = {"populations": (*network.populations, answer), "projections": (*network.projections, wires)}
    return replace(network, **parts, output="answer.x")


@pytest.fixture
def bounded():
    """Return ``bounded(network, params)``: starts of bounded weights within their bounds, where powers are defined."""

    def clamp(network, params):
        limits = {f"{p.label}.w": p.limits for p in network.plastic if p.limits and f"{p.label}.w" in params}
        numbers = {name: pair for name, pair in limits.items() if not any(isinstance(bound, str) for bound in pair)}
        return params | {name: params[name].clamp(*pair) for name, pair in numbers.items()}

    return clamp


@pytest.fixture
def lively(bounded):
    """Return ``lively(network, batch)``: parameters away from their start, so that everything in the network acts.

    With ``batch`` every leaf has a batch axis, and every entry of it is another set of parameters.
    """
    from neurometa import init_params

    def make(network, batch: int | None = None, seed: int = 0, dtype=torch.float64):
        stream = torch.Generator().manual_seed(seed)
        params = init_params(network, stream, dtype=dtype)
        front = () if batch is None else (batch,)
        moved = {
            name: leaf + 0.3 * torch.randn(*front, *leaf.shape, generator=stream, dtype=dtype)
            for name, leaf in params.items()
        }
        return bounded(network, moved)

    return make


@pytest.fixture
def sequences():
    """Return ``sequences(network, time, batch)``: random inputs; ``teach`` is on at two steps of three."""

    def make(network, time: int, batch: int, seed: int = 1, dtype=torch.float64):
        stream = torch.Generator().manual_seed(seed)
        found = {
            name: torch.randn(time, batch, size, generator=stream, dtype=dtype) for name, size in network.inputs.items()
        }
        if "teach" in found:
            found["teach"] = (torch.arange(time) % 3 < 2).to(dtype)[:, None, None].expand(time, batch, 1)
        return found

    return make
