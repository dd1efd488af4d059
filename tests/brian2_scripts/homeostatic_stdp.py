"""STDP whose depression follows the neuron's own rate, and slow synaptic scaling towards a target rate."""

import brian2 as b2
import numpy as np
from brian2 import Hz, ms, mV

b2.prefs.codegen.target = "numpy"

DURATION = 300 * ms
N_INPUTS, N_NEURONS = 20, 4


def frozen_spikes():
    random = np.random.default_rng(3)
    steps, neurons = np.nonzero(random.random((6000, N_INPUTS)) < 30 * 1e-4)
    return neurons, steps * 0.1 * ms


def build():
    constants = {
        "tau_m": 15 * ms,
        "tau_pre": 17 * ms,
        "tau_post": 34 * ms,
        "tau_rate": 200 * ms,
        "tau_scaling": 2000 * ms,
        "v_rest": -65 * mV,
        "rate_0": 12 * Hz,
        "A": 4e-3,
        "w_max": 1.0,
    }
    indices, times = frozen_spikes()
    inputs = b2.SpikeGeneratorGroup(N_INPUTS, indices, times, name="inputs")
    neurons = b2.NeuronGroup(
        N_NEURONS,
        """dv/dt = (v_rest - v + drive) / tau_m : volt (unless refractory)
           drate/dt = -rate / tau_rate : Hz
           drive : volt
           theta : volt (constant)""",
        threshold="v > theta",
        reset="""v = v_rest - 5*mV
                 rate += 1 / tau_rate""",
        refractory=3 * ms,
        method="euler",
        name="cells",
        namespace=constants,
    )
    neurons.v = -65 * mV + np.arange(N_NEURONS) * mV
    neurons.theta = (-52 + np.arange(N_NEURONS)) * mV
    neurons.drive = [6, 7, 8, 9] * mV
    synapses = b2.Synapses(
        inputs,
        neurons,
        """dw/dt = w * (rate_0 - rate_post) / (rate_0 * tau_scaling) : 1 (clock-driven)
           dx/dt = -x / tau_pre : 1 (clock-driven)
           dy/dt = -y / tau_post : 1 (clock-driven)""",
        on_pre="""v_post += w * 4*mV
                  w = clip(w - A * y * rate_post / rate_0, 0, w_max)
                  x += 1""",
        on_post="""w = clip(w + A * x, 0, w_max)
                   y += 1""",
        delay=1.5 * ms,
        method="euler",
        name="plastic",
        namespace=constants,
    )
    synapses.connect(p=1.0, condition="i != 3 or j != 2")
    synapses.w = "0.5 + 0.02 * i - 0.03 * j"
    return b2.Network(inputs, neurons, synapses), synapses


if __name__ == "__main__":
    network, synapses = build()
    network.run(DURATION)
    print(np.array(synapses.w))
