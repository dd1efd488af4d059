"""Many different rules in one call equal one at a time."""

import pytest
import torch

from neurometa import init_params, rules, simulate
from neurometa.tree import stack
from neurometa.verify import contract_networks

F64 = torch.float64
RULES, EPISODES, STEPS = 5, 3, 12


@pytest.mark.parametrize("kind", ["feed-forward", "recurrent", "modulated"])
@pytest.mark.parametrize("name", rules.names())
def test_many_rules_in_one_call_equal_one_at_a_time(name, kind):
    network, stream = contract_networks(rules.get(name))[kind], torch.Generator().manual_seed(0)
    base = init_params(network, stream, dtype=F64)
    each = [
        {
            k: v + 0.1 * torch.randn(v.shape, generator=stream, dtype=F64) if ".rule." in k else v
            for k, v in base.items()
        }
        for _ in range(RULES)
    ]
    x = {
        population: torch.randn(STEPS, RULES * EPISODES, n, generator=stream, dtype=F64)
        for population, n in network.inputs.items()
    }
    with torch.no_grad():
        together = simulate(network, stack(each), x).final.w["plastic"].unflatten(0, (RULES, EPISODES))
        for i, params in enumerate(each):
            own = {k: v[:, i * EPISODES : (i + 1) * EPISODES] for k, v in x.items()}
            torch.testing.assert_close(
                together[i], simulate(network, params, own).final.w["plastic"], rtol=1e-12, atol=1e-12
            )


@pytest.mark.parametrize("size", [0.0, 1e3, -1e3, 1e6])
@pytest.mark.parametrize("name", rules.names())
def test_weights_stay_finite_under_extreme_input(name, size):
    """Bounds hold, and a rule without bounds has a decay: ten steps of huge or no input leave finite numbers."""
    network = contract_networks(rules.get(name))["feed-forward"]
    params = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    x = {population: torch.full((10, 2, n), size, dtype=F64) for population, n in network.inputs.items()}
    with torch.no_grad():
        final = simulate(network, params, x).final
    limits = next(p.limits for p in network.projections if p.label == "plastic")
    w = final.w["plastic"]
    assert torch.isfinite(w).all() and all(torch.isfinite(trace).all() for trace in final.traces.values())
    if limits is not None:
        assert float(w.min()) >= limits[0] and float(w.max()) <= limits[1]
