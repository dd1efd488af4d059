"""Stand-alone programs: what they refuse, and that they do what Brian2 does in this process."""

from __future__ import annotations

import numpy as np
import pytest

from neurometa import Network, Param, Population, Projection, Save, Spikes, init_params, rules
from neurometa.errors import EngineError
from neurometa.streams import generator

pytest.importorskip("brian2")

from neurometa.brian2_engine import simulate, standalone


def spiking() -> Network:
    """Return spikes and a current that drive noisy neurons, with a gated rule and delays."""
    cells = Population(
        "cells",
        3,
        {"dv/dt": "(drive + g - v)/5 + 0.02*noise", "dg/dt": "-g/3"},
        spikes=Spikes("v > 0.5", "v = 0", refractory=1.0, held=("v",)),
    )
    return Network(
        (Population("spikes", 4), Population("current", 2), Population("dopamine", 1), cells),
        (
            Projection("current", "cells", w=Param(1.0)),
            Projection(
                "spikes",
                "cells",
                "plastic",
                into="g",
                delay=0.5,
                w=Param(0.5),
                rule=rules.da_stdp,
                modulators={"m": "dopamine"},
            ),
        ),
        output="cells",
        dt=0.1,
    )


def case(steps: int = 300):
    draw = np.random.default_rng(0)
    inputs = {
        "spikes": draw.random((steps, 1, 4)) < 0.1,
        "current": draw.uniform(0, 1, (steps, 1, 2)),
        "dopamine": draw.normal(0, 1e-4, (steps, 1, 1)),
    }
    noise = {"cells": draw.normal(0, 1, (steps, 1, 3))}
    return (spiking(), init_params(spiking(), generator(0)), inputs), noise


@pytest.mark.slow
def test_a_program_gives_what_this_process_gives():
    """Inputs as spikes and as a table, noise, delays, a plan that keeps every fourth step."""
    save = Save(("v.cells", "w.*"), every=4)
    given, noise = case()
    here = simulate(*given, noise=noise, save=save)
    there = simulate(*given, noise=noise, save=save, standalone=True)
    assert here.output.sum() > 10
    assert np.array_equal(here.output, there.output)
    for name, values in here.saved.items():
        np.testing.assert_allclose(there.saved[name], values, rtol=1e-12, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(there.final.w["plastic"], here.final.w["plastic"], rtol=1e-12)
    again = simulate(*given, noise=noise, save=save)
    assert np.array_equal(again.output, here.output)  # Brian2 runs in this process again


@pytest.mark.parametrize("flags", [{"reset": True}, {"learn": [True] * 299 + [False]}])
def test_what_changes_from_step_to_step_is_refused(flags):
    given, noise = case()
    flags = {name: [False, *[True] * 299] if value is True else value for name, value in flags.items()}
    with pytest.raises(EngineError, match="runs through: reset must be False, and learn the same at all steps"):
        simulate(*given, noise=noise, standalone=True, **flags)


def test_a_compiler_is_asked_for(monkeypatch):
    given, noise = case()
    monkeypatch.setattr(standalone.shutil, "which", lambda name: None)
    with pytest.raises(EngineError, match="needs a C\\+\\+ compiler, and none was found: install g\\+\\+"):
        simulate(*given, noise=noise, standalone=True)
