"""Pair STDP with event-driven traces onto conductance-based neurons, after Song, Miller & Abbott 2000."""

import brian2 as b2
import numpy as np
from brian2 import ms, mV, second

b2.prefs.codegen.target = "numpy"

DURATION = 300 * ms
N_INPUTS, N_NEURONS = 30, 3

taum, taue = 10 * ms, 5 * ms
taupre = taupost = 20 * ms
Ee, El, vt, vr = 0 * mV, -74 * mV, -54 * mV, -60 * mV
gmax = 0.12
dApre = 0.02
dApost = -dApre * taupre / taupost * 1.05
dApost *= gmax
dApre *= gmax


def frozen_spikes():
    """Return neuron indices and times of Poisson spikes, the same in every run; one spike per neuron and step."""
    random = np.random.default_rng(1)
    steps, neurons = np.nonzero(random.random((5000, N_INPUTS)) < 40 / second * 0.1 * ms)
    return neurons, steps * 0.1 * ms


def build():
    indices, times = frozen_spikes()
    inputs = b2.SpikeGeneratorGroup(N_INPUTS, indices, times, name="inputs")
    neurons = b2.NeuronGroup(
        N_NEURONS,
        """dv/dt = (ge * (Ee - v) + El - v) / taum : volt
           dge/dt = -ge / taue : 1""",
        threshold="v > vt",
        reset="v = vr",
        method="euler",
        name="neurons",
    )
    neurons.v = El
    synapses = b2.Synapses(
        inputs,
        neurons,
        """w : 1
           dApre_trace/dt = -Apre_trace / taupre : 1 (event-driven)
           dApost_trace/dt = -Apost_trace / taupost : 1 (event-driven)""",
        on_pre="""ge += w
                  Apre_trace += dApre
                  w = clip(w + Apost_trace, 0, gmax)""",
        on_post="""Apost_trace += dApost
                   w = clip(w + Apre_trace, 0, gmax)""",
        name="synapses",
    )
    synapses.connect()
    synapses.w = np.random.default_rng(2).random(N_INPUTS * N_NEURONS) * gmax
    return b2.Network(inputs, neurons, synapses), synapses


if __name__ == "__main__":
    network, synapses = build()
    network.run(DURATION)
    print(np.array(synapses.w).reshape(N_INPUTS, N_NEURONS).mean(0))
