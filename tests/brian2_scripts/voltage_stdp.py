"""Voltage-based plasticity with low-pass filtered voltages, after Clopath, Buesing, Vasilaki & Gerstner 2010."""

import brian2 as b2
import numpy as np
from brian2 import ms, mV

b2.prefs.codegen.target = "numpy"

DURATION = 200 * ms
N_INPUTS, N_NEURONS = 12, 2

tau_m = 12 * ms
tau_minus, tau_plus, tau_trace = 10 * ms, 7 * ms, 15 * ms
v_leak = -70.6 * mV
theta_minus, theta_plus = -70.6 * mV, -58 * mV
A_ltd = 3e-4 / mV
A_ltp = 6e-5 / (mV**2 * ms)
w_max = 3.0


def frozen_spikes():
    random = np.random.default_rng(8)
    steps, neurons = np.nonzero(random.random((3000, N_INPUTS)) < 50 * 1e-4)
    return neurons, steps * 0.1 * ms


def build():
    inputs = b2.SpikeGeneratorGroup(N_INPUTS, *frozen_spikes(), name="inputs")
    neurons = b2.NeuronGroup(
        N_NEURONS,
        """dv/dt = (v_leak - v + kick) / tau_m : volt
           dkick/dt = -kick / (4*ms) : volt
           dv_slow/dt = (v - v_slow) / tau_minus : volt
           dv_fast/dt = (v - v_fast) / tau_plus : volt""",
        threshold="v > -50*mV",
        reset="v = v_leak",
        method="euler",
        name="neurons",
    )
    neurons.v = neurons.v_slow = neurons.v_fast = v_leak
    synapses = b2.Synapses(
        inputs,
        neurons,
        """dw/dt = potentiation * int(w < w_max) : 1 (clock-driven)
           potentiation = A_ltp * trace * over * slow : Hz
           over = clip(v_post/mV - theta_plus/mV, 0, 1000) * mV : volt
           slow = clip(v_fast_post/mV - theta_minus/mV, 0, 1000) * mV : volt
           dtrace/dt = -trace / tau_trace : 1 (clock-driven)""",
        on_pre="""kick_post += w * 6*mV
                  w = clip(w - A_ltd * int(v_slow_post > theta_minus) * (v_slow_post - theta_minus), 0, w_max)
                  trace += 1""",
        method="euler",
        name="synapses",
    )
    synapses.connect()
    synapses.w = np.linspace(1.0, 2.0, N_INPUTS * N_NEURONS)
    synapses.pre.delay = np.tile([0.3, 1.1, 2.0], N_INPUTS * N_NEURONS // 3) * ms
    return b2.Network(inputs, neurons, synapses), synapses


if __name__ == "__main__":
    network, synapses = build()
    network.run(DURATION)
    print(np.array(synapses.w))
