"""What `verify` claims, and that it claims nothing looser than the documented tolerances."""

import pytest

import neurometa as nm
from neurometa import rules

pytest.importorskip("brian2")

from neurometa.verify import Check, contract_networks, verify


def test_every_check_passes_and_none_is_looser_than_documented():
    checks = verify()
    assert not [check for check in checks if not check.passed]
    for name in rules.names():
        if not rules.get(name).brian2_refuses:
            assert sum(check.name.startswith(f"{name}, ") for check in checks) == 3
    for check in checks:
        if "Brian2" in check.name:
            assert check.allowed <= 1e-10
        elif "closed form" in check.name:
            assert check.allowed <= 1e-12
        elif "cosine" in check.name:
            assert check.allowed <= 1e-3
        else:
            assert check.allowed <= 1e-2


def test_a_check_that_is_not_a_number_fails():
    assert not Check("x", float("nan"), 1.0).passed
    assert Check("x", 0.5, 1.0).passed


def test_contract_networks_give_every_name_that_a_rule_reads_a_meaning():
    rule = nm.PlasticityRule("odd", dw="m_a*pre*error_post - theta_post*w + 0.1*v_pre")
    networks = contract_networks(rule)
    assert sorted(networks) == ["feed-forward", "modulated", "recurrent"]
    assert {"error", "theta"} <= set(networks["feed-forward"]["sink"].variables)
