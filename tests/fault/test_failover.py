"""The sixteen fault scenarios of failoverbench, at a tenth of their length: sixteen clean passes. The full length,
beside other gateways, is bench/failover.py."""

import pytest
from harness.failover import BETWEEN_MS, SCENARIOS, Caller, Stage, play
from harness.gateway import make_config, paid

PACE = 0.1


@pytest.mark.limit(60)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(make_mock, serve, name):
    provider = make_mock("provider", words=60, between_ms=BETWEEN_MS)
    budgets = {"connect_ms": 1000, "first_token_ms": 1200, "between_tokens_ms": 1200, "total_ms": 20_000}
    endpoints = [
        paid(provider, "primary", model="primary", tier="managed", context=8192, budgets=budgets),
        paid(provider, "fallback", model="fallback", tier="managed", context=131072, budgets=budgets),
    ]
    outlier = {"first_ejection_ms": 200, "max_ejection_ms": 1500, "ramp_ms": 500}
    gateway = serve(make_config(endpoints, outlier=outlier))
    verdict, note = play(Stage(provider, Caller(gateway.base_url, "auto"), PACE), name)
    print(name, verdict, note)
    assert verdict == "pass", f"{name}: {verdict}: {note}"
