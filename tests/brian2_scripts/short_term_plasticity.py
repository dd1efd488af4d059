"""Facilitating and depressing synapses after Tsodyks & Markram 1998, with weights that follow what was released."""

import brian2 as b2
import numpy as np
from brian2 import ms

b2.prefs.codegen.target = "numpy"

DURATION = 250 * ms
N_INPUTS, N_NEURONS = 10, 2


def frozen_spikes():
    random = np.random.default_rng(11)
    steps, neurons = np.nonzero(random.random((4000, N_INPUTS)) < 45 * 1e-4)
    return neurons, steps * 0.1 * ms


def build():
    constants = {"U_0": 0.3, "tau_f": 350 * ms, "tau_d": 180 * ms, "tau": 20 * ms, "tau_s": 5 * ms, "eta": 0.02}
    inputs = b2.SpikeGeneratorGroup(N_INPUTS, *frozen_spikes(), name="inputs")
    neurons = b2.NeuronGroup(
        N_NEURONS,
        """dv/dt = (s - v) / tau : 1
           ds/dt = -s / tau_s : 1""",
        threshold="v > 1",
        reset="v = 0",
        method="exact",
        name="neurons",
        namespace=constants,
    )
    synapses = b2.Synapses(
        inputs,
        neurons,
        """w : 1
           U : 1 (constant)
           du_s/dt = -u_s / tau_f : 1 (event-driven)
           dx_s/dt = (1 - x_s) / tau_d : 1 (event-driven)
           last : 1
           dseen/dt = -seen / tau : 1 (event-driven)""",
        on_pre="""u_s += U * (1 - u_s)  # facilitation
                  release = u_s * x_s
                  x_s -= release
                  s_post += 6 * w * release
                  last = release
                  w = w * (1 - eta * seen)
                  seen += release""",
        on_post="w = clip(w + eta * seen, 0, 3)",
        name="dynamic",
        namespace=constants,
    )
    synapses.connect(condition="i % 2 == j")
    synapses.w = "1.5 + 0.05*i"
    synapses.U = "U_0 + 0.02*i"
    synapses.x_s = 1
    synapses.seen = 0.25
    return b2.Network(inputs, neurons, synapses), synapses


if __name__ == "__main__":
    network, synapses = build()
    network.run(DURATION)
    print(np.array(synapses.w), np.array(synapses.last))
