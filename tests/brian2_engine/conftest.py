"""What the tests of the second engine share: one cross-check, strict about what was compared."""

from __future__ import annotations

import pytest
import torch

from neurometa import Streams, init_params
from neurometa.crosscheck import crosscheck


@pytest.fixture
def agrees(bounded):
    """Return a function that runs a network in both engines and asserts that every variable agrees at every step.

    Parameters are random, so that everything in the network acts; ``params`` replaces some of them.
    """

    def check(network, steps=20, batch=2, *, params=None, inputs=None, horizon=True, tolerance=1e-10, **options):
        stream = Streams(0)["test"]
        drawn = init_params(network, stream, dtype=torch.double)
        drawn |= {
            name: leaf + 0.2 * torch.randn(leaf.shape, generator=stream, dtype=torch.double)
            for name, leaf in drawn.items()
        }
        drawn = bounded(network, drawn) | (params or {})
        shown = {
            name: torch.randn(steps, batch, size, generator=stream, dtype=torch.double)
            for name, size in network.inputs.items()
        }
        shown |= inputs or {}
        found = crosscheck(network, drawn, shown, tolerance=tolerance, **options)
        found.assert_agrees()
        assert found.horizon == steps or not horizon
        names = {row.name for row in found.rows}
        wanted = {f"w.{p.label}" for p in network.plastic}
        wanted |= {f"traces.{p.label}.{trace}" for p in network.plastic for trace in p.rule.traces}
        if not options.get("replay"):
            wanted |= {f"w.{p.label}" for p in network.projections if p.weight.per_episode}
            wanted |= {f"{variable}.{p.name}" for p in network.populations for variable in p.variables}
        assert names == wanted
        return found

    return check
