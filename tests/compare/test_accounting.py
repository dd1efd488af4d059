"""Costs: operations against hand counts, and what every learner counts."""

import pytest

import neurometa as nm
from neurometa.compare.accounting import Flops, cost_of, inner_flops, presentations
from neurometa.streams import generator

I, H, O, K = 7, 11, 3, 3  # inputs, hidden neurons, classes, support items  # noqa: E741
TASK = nm.tasks.GaussianClusters(n_way=O, n_shot=1, n_query=2, n_dim=I)


def counted(learner, task=TASK, n=3):
    params = learner.init(generator(0, "init"))
    return inner_flops(learner, params, task.sample(generator(0, "cost"), n), task)


def test_a_rule_in_two_layers_equals_the_hand_count():
    rule = nm.PlasticityRule("mine", dw="eta*pre*post - decay*w", params={"eta": nm.Param(0.1), "decay": nm.Param(0.1)})
    found = counted(nm.PlasticLearner(nm.networks.multilayer(I, O, rule=rule, hidden=(H,))))
    synapses = H * I + O * H
    products = 2 * synapses  # every synapse: one product, one sum
    efficacy = 2 * synapses  # w0 + alpha*w
    # eta*pre (per pre neuron), times post (per synapse), decay*w, the difference, and w + dw
    plastic = (I + H) + 4 * synapses
    # hidden: bias, tanh. out: bias, softmax, m_teach*target, 1 - m_teach (one), times prediction, their sum; then
    # target - prediction, times m_teach
    activity = 2 * H + O + O + (O + 1 + O + O) + 2 * O
    clamp = 2 * O * O  # target -> out, as a matrix product
    assert found == Flops(K * (products + clamp), K * (efficacy + plastic + activity))


def test_a_gradient_step_equals_the_hand_count():
    learner = nm.GradientLearner(nm.networks.mlp(I, O, hidden=(H,), transfer="tanh"))
    found = counted(learner)
    # Forward: both layers. Backward: the gradient of both layers' weights, and of the hidden activity.
    assert found.matmul == K * 2 * (H * I + O * H) + K * 2 * (H * I + O * H) + K * 2 * O * H
    n = H * I + H + O * H + O
    # Every weight is moved: rate*slope, and w minus that. The rest (activity, loss, their slopes) is per neuron, save
    # that slopes of weights of K items are added up.
    assert found.elementwise >= 2 * n
    assert found.elementwise <= 2 * n + (K - 1) * n + K * 20 * (H + O)


def test_traces_modulators_and_sums():
    base = {"params": {"eta": nm.Param(0.1, per="synapse"), "tau": nm.Param(5.0)}}
    network = nm.networks.modulated(I, O, n_hidden=H, rule=nm.PlasticityRule("a", dw="eta*m*pre", **base))
    more = {**base, "traces": {"elig": "-elig/tau + pre*post"}}
    traced = nm.networks.modulated(I, O, n_hidden=H, rule=nm.PlasticityRule("b", dw="eta*m*elig", **more))
    a, b = (counted(nm.PlasticLearner(each)) for each in (network, traced))
    # -elig, /tau, pre*post, their sum, elig + it: five a synapse
    assert b.matmul == a.matmul and b.elementwise - a.elementwise == K * 5 * H * O
    summed = nm.PlasticityRule("c", dw="eta*m*pre*s", sums={"s": nm.Sum("w*post", over="post")}, **base)
    c = counted(nm.PlasticLearner(nm.networks.modulated(I, O, n_hidden=H, rule=summed)))
    # w*post and its sum: two a synapse; times s: one more
    assert c.elementwise - a.elementwise == K * 3 * H * O


def test_bounds_count_two_a_synapse():
    plain = nm.PlasticityRule("a", dw="eta*pre*post", params={"eta": nm.Param(0.1)})
    bound = nm.PlasticityRule("b", dw="eta*pre*post", params={"eta": nm.Param(0.1)}, bounds=(-1, 1))
    a, b = (counted(nm.PlasticLearner(nm.networks.modulated(I, O, n_hidden=H, rule=rule))) for rule in (plain, bound))
    assert b.elementwise - a.elementwise == K * 2 * H * O


def test_a_gru_equals_the_hand_count():
    found = counted(nm.learners.RecurrentLearner(I, O, H))
    assert found.matmul == K * (2 * 3 * H * (I + O + 1) + 2 * 3 * H * H + 2 * O * H)  # its answers are worked out too
    assert found.elementwise > 0


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_multiply(steps):
    learner = nm.GradientLearner(nm.networks.mlp(I, O, hidden=(H,)), steps=steps)
    one = counted(nm.GradientLearner(nm.networks.mlp(I, O, hidden=(H,))))
    assert counted(learner).matmul == steps * one.matmul
    part = TASK.sample(generator(0, "cost"), 1).support
    assert presentations(learner, part) == steps * K
    single = nm.GradientLearner(nm.networks.mlp(I, O, hidden=(H,)), steps=4, minibatch=1)
    assert presentations(single, part) == 4


def test_the_number_of_tasks_does_not_matter():
    learner = nm.PlasticLearner(nm.networks.modulated(I, O, n_hidden=H))
    assert counted(learner, n=3) == counted(learner, n=9)


def test_numbers_of_a_plastic_network():
    network = nm.networks.multilayer(I, O, hidden=(H,))
    learner = nm.PlasticLearner(network)
    params = learner.init(generator(0, "init"))
    found, synapses = cost_of(learner, params, TASK, n_tasks=4), H * I + O * H
    assert found.adapted_state == synapses and found.presentations == K
    assert found.rule_parameters == synapses + 2 * 2  # a strength for each synapse; eta and decay of each layer
    assert found.frozen == synapses + H + O  # w0 and biases
    assert found.meta_parameters == found.frozen + found.rule_parameters
    maml = nm.GradientLearner(nm.networks.mlp(I, O, hidden=(H,)), learn_rate=True)
    other = cost_of(maml, maml.init(generator(0, "init")), TASK, n_tasks=4)
    assert (other.frozen, other.rule_parameters, other.adapted_state) == (0, 1, synapses + H + O)


def test_one_sequence_counts_activity_that_goes_on():
    task = nm.tasks.Volatility(n_steps=20, n_skip=5)
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=4))
    found = cost_of(learner, learner.init(generator(0, "init")), task, n_tasks=3)
    assert found.adapted_state == 1 + 2 + 1 + 4 + 1  # synapse; prediction and its error; error; hidden; rate
    assert found.presentations == 20 and found.flops.total > 0


def test_memory_grows_with_tasks_and_steps():
    learner = nm.PlasticLearner(nm.networks.modulated(I, O, n_hidden=H))
    params = learner.init(generator(0, "init"))
    few, many = (cost_of(learner, params, TASK, n_tasks=n).peak_bytes for n in (4, 64))
    assert 8 * few < many < 20 * few


def test_every_learner_counts():
    for name in nm.learners.names():
        cls = nm.learners.get(name)
        sequence = name in ("online_gradient", "hybrid")
        if name == "recurrent":
            learner = cls(I, O, H)
        elif name == "plastic" or sequence:
            learner = cls(nm.networks.modulated(I, O, n_hidden=H))
        else:
            learner = cls(nm.networks.mlp(I, O, hidden=(H,)))
        params = learner.init(generator(0, "init"))
        found = cost_of(learner, params, TASK, n_tasks=4)
        assert min(found.meta_parameters, found.adapted_state, *found.flops, found.peak_bytes) >= 0, name
        assert found.flops.total > 0 or name == "no_adaptation", name
        assert found.adaptation_seconds > 0


def test_an_adapted_trunk_counts():
    task = nm.tasks.Glyphs(n_classes=40, n_held_out=10, n_validation=10, size=8)
    trunk = nm.ConvTrunk(task.image_shape, channels=(2,), norm="support")
    learner = nm.GradientLearner(nm.networks.mlp(trunk.n_features, 5, hidden=(H,)), trunk)
    found = cost_of(learner, learner.init(generator(0, "init")), task, n_tasks=3)
    assert found.frozen == 0 and found.adapted_state == found.meta_parameters


def test_what_never_adapts_sees_a_sequence_but_no_support():
    blind = nm.learners.NoAdaptationLearner(nm.networks.mlp(I, O, hidden=(H,)))
    assert cost_of(blind, blind.init(generator(0, "init")), TASK, n_tasks=3).presentations == 0
    task = nm.tasks.Volatility(n_steps=20, n_skip=5)
    still = nm.learners.NoAdaptationLearner(nm.networks.tracker(1, 1, n_hidden=4))
    assert cost_of(still, still.init(generator(0, "init")), task, n_tasks=3).presentations == 20
