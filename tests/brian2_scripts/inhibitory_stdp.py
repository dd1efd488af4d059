"""Inhibitory plasticity that balances excitation, after Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011."""

import brian2 as b2
import numpy as np
from brian2 import Hz, ms, mV, nS, pA, pF

b2.prefs.codegen.target = "numpy"

DURATION = 250 * ms
N_EXCITATORY, N_INHIBITORY, N_NEURONS = 25, 15, 3

C, g_leak = 200 * pF, 10 * nS
E_leak, E_e, E_i = -60 * mV, 0 * mV, -80 * mV
tau_e, tau_i = 5 * ms, 10 * ms
tau_stdp = 20 * ms
target_rate = 8 * Hz
alpha = 2 * target_rate * tau_stdp
eta = 0.05
background = 150 * pA
g_unit = 1 * nS


def frozen_spikes(n, rate, seed):
    random = np.random.default_rng(seed)
    steps, neurons = np.nonzero(random.random((4000, n)) < rate * 1e-4)
    return neurons, steps * 0.1 * ms


def build():
    excitatory = b2.SpikeGeneratorGroup(N_EXCITATORY, *frozen_spikes(N_EXCITATORY, 40, 5), name="excitatory")
    inhibitory = b2.SpikeGeneratorGroup(N_INHIBITORY, *frozen_spikes(N_INHIBITORY, 30, 6), name="inhibitory")
    neurons = b2.NeuronGroup(
        N_NEURONS,
        """dv/dt = (I_leak + I_syn + background) / C : volt (unless refractory)
           I_leak = g_leak * (E_leak - v) : amp
           I_syn = g_e * (E_e - v) + g_i * (E_i - v) : amp
           dg_e/dt = -g_e / tau_e : siemens
           dg_i/dt = -g_i / tau_i : siemens""",
        threshold="v > -50*mV",
        reset="v = E_leak",
        refractory=5 * ms,
        method="euler",
        name="neurons",
    )
    neurons.v = E_leak
    feed = b2.Synapses(excitatory, neurons, on_pre="g_e += 3*nS", name="feed")
    feed.connect()
    balance = b2.Synapses(
        inhibitory,
        neurons,
        """w : 1
           dzpre/dt = -zpre / tau_stdp : 1 (event-driven)
           dzpost/dt = -zpost / tau_stdp : 1 (event-driven)""",
        on_pre="""zpre += 1.
                  w = clip(w + (zpost - alpha) * eta, 0, 10)
                  g_i += w * g_unit""",
        on_post="""zpost += 1.
                   w = clip(w + zpre * eta, 0, 10)""",
        name="balance",
    )
    balance.connect(condition="(i + 2*j) % 4 != 0")
    balance.w = "0.4 + 0.1 * j"
    balance.delay = "0.8*ms"
    return b2.Network(excitatory, inhibitory, neurons, feed, balance), balance


if __name__ == "__main__":
    network, balance = build()
    network.run(DURATION)
    print(np.array(balance.w))
