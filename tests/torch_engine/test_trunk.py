"""The trunk against torch's own layers run task by task, for every normalisation; what a query may know; gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from neurometa import ConvTrunk
from neurometa.errors import SpecificationError
from neurometa.torch_engine.trunk import apply_trunk, init_trunk, trunk_statistics
from neurometa.tree import spread, stack

F64 = torch.float64
NORMS = pytest.mark.parametrize("norm", ["none", "image", "support", "transductive"])
TRUNK = ConvTrunk((2, 7, 5), (4, 3), "tanh")  # sizes 7x5, 4x3, 2x2


def lively(trunk: ConvTrunk, seed: int = 0, dtype=F64):
    stream = torch.Generator().manual_seed(seed)
    params = init_trunk(trunk, stream, dtype=dtype)
    return {name: p + 0.3 * torch.randn(p.shape, generator=stream, dtype=dtype) for name, p in params.items()}


def pixels(trunk: ConvTrunk, time: int = 3, batch: int = 4, seed: int = 1, dtype=F64):
    size = trunk.image_shape[0] * trunk.image_shape[1] * trunk.image_shape[2]
    return torch.randn(time, batch, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def reference(trunk: ConvTrunk, params, images, known=None):
    """Return features ``(time, n)`` of one task and its statistics by layer; ``known`` replaces these."""
    x, found = images.unflatten(-1, trunk.image_shape), {}
    for i in range(len(trunk.channels)):
        x = F.conv2d(x, params[f"trunk.{i}.w"], params[f"trunk.{i}.b"], stride=2, padding=1)
        if trunk.norm != "none":
            affine = params[f"trunk.{i}.scale"], params[f"trunk.{i}.shift"]
        if trunk.norm == "image":
            x = F.layer_norm(x, x.shape[1:]) * affine[0][:, None, None] + affine[1][:, None, None]
        elif trunk.norm in ("support", "transductive"):
            found[i] = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            mean, variance = (known or found)[i]
            x = F.batch_norm(x, mean, variance, *affine, training=False)
        x = torch.tanh(x) if trunk.activation == "tanh" else F.relu(x)
    features = x.flatten(1)
    out = {"linear": lambda f: f, "tanh": torch.tanh, "unit": lambda f: F.normalize(f, dim=-1)}
    return out[trunk.out](features), found


@NORMS
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("out", ["linear", "tanh", "unit"])
def test_a_shared_trunk_is_torch_s_own_layers(norm, activation, out):
    trunk = replace(TRUNK, norm=norm, activation=activation, out=out)
    params, images = lively(trunk), pixels(trunk)
    found = apply_trunk(trunk, params, images)
    assert found.shape == (3, 4, trunk.n_features)
    close(found, torch.stack([reference(trunk, params, images[:, i])[0] for i in range(4)], 1))


@NORMS
def test_a_trunk_per_task_equals_the_loop_over_tasks(norm):
    trunk = replace(TRUNK, norm=norm)
    each, images = [lively(trunk, seed) for seed in range(4)], pixels(trunk)
    found = apply_trunk(trunk, stack(each), images)
    for i, params in enumerate(each):
        close(found[:, i : i + 1], apply_trunk(trunk, params, images[:, i : i + 1]))
        close(found[:, i], reference(trunk, params, images[:, i])[0])
    assert (found[:, 0] - apply_trunk(trunk, each[1], images)[:, 0]).abs().max() > 0.1


@NORMS
def test_any_leaf_alone_may_have_a_batch_axis(norm):
    """As where one of them is learned by evolution, or adapted, and the others are not."""
    trunk = replace(TRUNK, norm=norm)
    shared, other, images = lively(trunk), lively(trunk, 5), pixels(trunk)
    for name in shared:
        each = [{**shared, name: shared[name] + k * other[name]} for k in range(4)]
        own = torch.stack([params[name] for params in each])
        wanted = torch.cat([apply_trunk(trunk, each[i], images[:, i : i + 1]) for i in range(4)], 1)
        close(apply_trunk(trunk, {**shared, name: own}, images), wanted)
        close(apply_trunk(trunk, {**shared, name: own[1:2]}, images), apply_trunk(trunk, each[1], images))


@NORMS
def test_groups_of_tasks_share_a_trunk(norm):
    trunk = replace(TRUNK, norm=norm)
    each, images = [lively(trunk, seed) for seed in range(2)], pixels(trunk, batch=6)
    close(apply_trunk(trunk, stack(each), images), apply_trunk(trunk, spread(stack(each), 3), images))
    wanted = trunk_statistics(trunk, spread(stack(each), 3), images)
    for name, found in trunk_statistics(trunk, stack(each), images).items():
        close(found, wanted[name])
    message = "a leaf has a batch axis of 4, which does not divide the batch, 6"
    with pytest.raises(SpecificationError, match=message):
        apply_trunk(trunk, stack([lively(trunk)] * 4), images)


@pytest.mark.parametrize("batched", [False, True])
def test_statistics_are_those_of_the_support_set_and_normalise_the_queries(batched):
    trunk = replace(TRUNK, norm="support")
    each = [lively(trunk, seed if batched else 0) for seed in range(4)]
    params = stack(each) if batched else each[0]
    support, query = pixels(trunk), pixels(trunk, time=5, seed=2) + 1.0
    known = trunk_statistics(trunk, params, support)
    assert {name: tuple(leaf.shape) for name, leaf in known.items()} == {
        f"trunk.{i}.{kind}": (4, n) for i, n in ((0, 4), (1, 3)) for kind in ("mean", "variance")
    }
    answers = apply_trunk(trunk, {**params, **known}, query)
    for i in range(4):
        _, found = reference(trunk, each[i], support[:, i])
        for layer, pair in found.items():
            close(known[f"trunk.{layer}.mean"][i], pair[0])
            close(known[f"trunk.{layer}.variance"][i], pair[1])
        close(answers[:, i], reference(trunk, each[i], query[:, i], found)[0])
    assert (answers - apply_trunk(trunk, params, query)).abs().max() > 0.1
    close(apply_trunk(trunk, {**params, **known}, support), apply_trunk(trunk, params, support))


@NORMS
@pytest.mark.parametrize("batched", [False, True])
def test_queries_see_each_other_only_where_the_name_says_so(norm, batched):
    trunk = replace(TRUNK, norm=norm)
    params = lively(trunk)
    params = {name: leaf.expand(4, *leaf.shape) for name, leaf in params.items()} if batched else params
    known = trunk_statistics(trunk, params, pixels(trunk))
    assert bool(known) == (norm == "support")
    query = pixels(trunk, seed=2)
    other = query.clone()
    other[1, 2] += 3.0  # one image of one task
    before, after = (apply_trunk(trunk, {**params, **known}, images) for images in (query, other))
    changed = (after - before).abs().amax(-1)  # (time, batch)
    wanted = torch.zeros(3, 4, dtype=torch.bool)
    wanted[1, 2] = True
    if norm == "transductive":
        wanted[:, 2] = True  # the other queries of the task, but of no other task
    assert torch.equal(changed > 1e-3, wanted)
    assert torch.equal(changed > 1e-12, wanted)


def test_a_transductive_trunk_takes_no_statistics():
    trunk = replace(TRUNK, norm="transductive")
    params, images = lively(trunk), pixels(trunk)
    stale = {f"trunk.0.{kind}": torch.ones(4, 4, dtype=F64) for kind in ("mean", "variance")}
    assert trunk_statistics(trunk, params, images) == {}
    assert torch.equal(apply_trunk(trunk, {**params, **stale}, images), apply_trunk(trunk, params, images))


@NORMS
@pytest.mark.parametrize("batched", [False, True])
def test_gradients_of_both_modes(norm, batched):
    """Of every leaf, of the images and, where there are any, through the statistics of the support set."""
    trunk = ConvTrunk((1, 3, 4), (2, 2), "tanh", norm, "unit")
    names = [*lively(trunk)]
    each = stack([lively(trunk, seed) for seed in range(2)]) if batched else lively(trunk)
    support, query = (pixels(trunk, 2, 2, seed) for seed in (1, 2))

    def features(support, query, *leaves):
        params = dict(zip(names, leaves, strict=True))
        return apply_trunk(trunk, {**params, **trunk_statistics(trunk, params, support)}, query)

    inputs = [leaf.clone().requires_grad_() for leaf in (support, query, *each.values())]
    assert torch.autograd.gradcheck(features, inputs, check_forward_ad=True, atol=1e-7)
    for image in (support, query):
        (slope,) = torch.autograd.grad(
            features(*inputs).square().sin().sum(), inputs[0 if image is support else 1], allow_unused=True
        )
        assert (slope is not None) == (image is query or norm == "support")


@NORMS
def test_the_gradient_of_some_leaves_alone(norm):
    """Torch's own group_norm kills the process where the scale needs a gradient and the images need none."""
    trunk = replace(TRUNK, norm=norm)
    params, images = lively(trunk), pixels(trunk)
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    whole = torch.autograd.grad(apply_trunk(trunk, leaves, images).square().sum(), [*leaves.values()])
    for (name, leaf), wanted in zip(params.items(), whole, strict=True):
        one = leaf.clone().requires_grad_()
        (found,) = torch.autograd.grad(apply_trunk(trunk, {**params, name: one}, images).square().sum(), one)
        close(found, wanted)


@NORMS
def test_half_precision_stays_inside(norm):
    trunk = ConvTrunk((1, 8, 8), (8, 8), "relu", norm)
    half = replace(trunk, precision="bfloat16")
    for dtype in (torch.float32, F64):
        params = {name: leaf.requires_grad_() for name, leaf in lively(trunk, dtype=dtype).items()}
        images = pixels(trunk, dtype=dtype)
        exact, found = apply_trunk(trunk, params, images), apply_trunk(half, params, images)
        assert found.dtype == dtype
        error = ((found - exact).norm() / exact.norm()).item()
        assert 1e-4 < error < 0.03  # 8 bits of mantissa
        slopes = torch.autograd.grad(found.square().mean(), [*params.values()])
        assert {slope.dtype for slope in slopes} == {dtype}
        own = {name: leaf.detach().expand(4, *leaf.shape) for name, leaf in params.items()}
        each = apply_trunk(half, own, images)  # the other way to convolve
        assert each.dtype == dtype
        assert (each - exact).norm() < 0.03 * exact.norm()
        statistics = trunk_statistics(half, params, images)
        assert all(leaf.dtype == dtype for leaf in statistics.values())


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 3), (7, 5), (28, 28), (31, 31)])
@NORMS
def test_odd_sizes(size, norm):
    trunk = ConvTrunk((1, *size), (2, 3), norm=norm)
    params, images = lively(trunk), pixels(trunk)
    found = apply_trunk(trunk, params, images)
    assert found.shape == (3, 4, trunk.n_features)
    close(found, torch.stack([reference(trunk, params, images[:, i])[0] for i in range(4)], 1))
    each = {name: leaf.expand(4, *leaf.shape) for name, leaf in params.items()}
    close(apply_trunk(trunk, each, images), found)


@pytest.mark.parametrize("norm", ["support", "transductive"])
def test_a_channel_that_is_the_same_everywhere_does_not_break(norm):
    """Blank images have no variance; neither value nor gradient may be infinite."""
    trunk = ConvTrunk((1, 4, 4), (2,), norm=norm)
    params = {name: leaf.requires_grad_() for name, leaf in lively(trunk).items()}
    blank = torch.zeros(2, 3, 16, dtype=F64)
    found = apply_trunk(trunk, {**params, **trunk_statistics(trunk, params, blank)}, blank)
    close(found, F.relu(params["trunk.0.shift"]).repeat_interleave(4).expand(2, 3, 8))
    slopes = torch.autograd.grad(found.square().sum(), [*params.values()])
    assert all(slope.isfinite().all() for slope in slopes)


@NORMS
def test_leaves_are_drawn_from_the_stream_alone(norm):
    trunk = ConvTrunk((3, 9, 9), (64, 64), norm=norm)
    before = torch.random.get_rng_state()
    params = init_trunk(trunk, torch.Generator().manual_seed(0), dtype=F64)
    assert torch.equal(torch.random.get_rng_state(), before)
    kinds = ("w", "b") if norm == "none" else ("w", "b", "scale", "shift")
    assert set(params) == {f"trunk.{i}.{kind}" for i in (0, 1) for kind in kinds}
    assert params["trunk.0.w"].shape == (64, 3, 3, 3)
    assert float(params["trunk.1.w"].std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    again = init_trunk(trunk, torch.Generator().manual_seed(0), dtype=F64)
    assert all(torch.equal(params[name], again[name]) for name in params)
    assert init_trunk(trunk, torch.Generator())["trunk.0.b"].dtype == torch.get_default_dtype()
