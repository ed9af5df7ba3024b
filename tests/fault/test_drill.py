"""`genesis drill`: outages rehearsed on the user's own configuration, with no provider asked."""

import json

import pytest
from harness.gateway import BUDGETS, make_config, paid, run_cli

FIRST_TOKEN_MS = 400
OUTAGES = ["refused connections", "silence", "429 with Retry-After", "503", "slow first token", "cut streams"]


def write_config(tmp_path, *endpoints, **sections):
    home = tmp_path / "home"
    home.mkdir()
    (home / "genesis.toml").write_text(make_config(endpoints, **sections), encoding="utf-8")
    return home


def drill(home, *arguments):
    done = run_cli(home, "drill", "--json", *arguments, timeout=200)
    return done, json.loads(done.stdout) if done.stdout else None


@pytest.mark.limit(240)
def test_an_outage_of_the_first_tier(make_mock, tmp_path):
    """Two tiers: each way to fail is survived by moving on, and every figure adds up."""
    cheap, dear = make_mock("cheap"), make_mock("dear")
    budgets = BUDGETS | {"first_token_ms": FIRST_TOKEN_MS}
    home = write_config(
        tmp_path,
        paid(cheap, tier="managed", budgets=budgets, price={"input": "0.10", "output": "0.40"}),
        paid(dear, budgets=budgets),
    )
    done, report = drill(home, "--seconds", "6", "--rate", "25", "--require", "50")
    assert done.returncode == 0, done.stderr
    # The real upstreams were never asked.
    assert not cheap.journal() and not dear.journal()

    phases = report["phases"]
    assert [phase["name"] for phase in phases[1:-1]] == [f"managed: {outage}" for outage in OUTAGES]
    well, refused, silence = phases[:3]
    assert well["requests"] > 0 and well["delivered"] == well["requests"] and well["failovers"] == 0
    assert well["commercial_dispatches"] == 0 and well["extra_cost_nano"] == 0
    for phase in (refused, silence):
        assert phase["requests"] > 0
        assert phase["delivered"] == phase["requests"] == phase["failovers"]
        assert phase["commercial_dispatches"] == phase["requests"]
        assert phase["extra_cost_nano"] > 0
        assert phase["return_ms"] >= 0
    # Nobody notices silence before the budget; a refused connection shows at once.
    assert silence["failover_p99_ms"] >= FIRST_TOKEN_MS * 0.9
    assert refused["failover_p50_ms"] < FIRST_TOKEN_MS

    assert report["requests"] == sum(phase["requests"] for phase in phases)
    assert report["delivered"] == sum(phase["delivered"] for phase in phases)
    expected = 100 * report["delivered"] / report["requests"]
    assert report["availability_percent"] == pytest.approx(expected)
    with open(report["evidence"], encoding="utf-8") as file:
        assert json.load(file) == report
    # The user's own ledger saw nothing of it.
    assert not (home / "data" / "genesis.db").exists()


@pytest.mark.limit(240)
def test_without_a_second_tier_the_gate_fails(make_mock, tmp_path):
    home = write_config(tmp_path, paid(make_mock("only"), budgets=BUDGETS | {"first_token_ms": 200}))
    done, report = drill(home, "--seconds", "3", "--require", "99.5")
    assert done.returncode == 9
    assert report["availability_percent"] < 99.5
    assert "99.5 % are required" in done.stderr
    assert report["phases"][1]["delivered"] == 0
    assert report["phases"][1]["first_error"]


@pytest.mark.limit(240)
def test_the_cap_holds_in_the_drill(make_mock, tmp_path):
    """Both other tiers are down and three dispatches are allowed: three are made."""
    budgets = BUDGETS | {"first_token_ms": 200}
    home = write_config(
        tmp_path,
        paid(make_mock("own"), tier="self_hosted", budgets=budgets),
        paid(make_mock("managed"), tier="managed", budgets=budgets),
        paid(make_mock("commercial"), budgets=budgets),
        commercial={"max_share": "0%", "min_requests": 3},
        # An endpoint that comes back bit by bit, and the rescue of a cut stream, would take of the three.
        outlier={"ramp_ms": 0},
        routes=[{"name": "auto", "endpoints": ["own", "managed", "commercial"], "rescue": "off"}],
    )
    _, report = drill(home, "--seconds", "6")
    assert report["commercial_dispatches"] == 3
    assert report["commercial_cap_reached"]
    assert report["phases"][7]["name"] == "self_hosted and managed: refused connections"
    assert report["phases"][7]["delivered"] == 3 < report["phases"][7]["requests"]


def test_a_dry_run_asks_nobody(make_mock, tmp_path):
    mock = make_mock("only")
    home = write_config(tmp_path, paid(mock, tier="managed"))
    done, plan = drill(home, "--dry-run")
    assert done.returncode == 0
    assert [phase["outage"] for phase in plan["phases"]] == ["none", *OUTAGES]
    assert plan["endpoints"][0]["name"] == "only" and not plan["endpoints"][0]["measured"]
    assert not mock.journal()
    assert run_cli(home, "drill", "--route", "nope").returncode == 3
