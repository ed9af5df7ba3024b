"""Budgets hold: under 500 parallel requests, across kill -9, for keys, teams and everybody; and what a
key may ask for in a minute. The mock's journal is the oracle: what the provider bills, not what we say."""

import concurrent.futures
import json
import threading
import time

import pytest
from harness.books import billed, ledger_rows
from harness.gateway import Gateway, make_config, paid
from harness.process import wait_until
from harness.wire import Wire

CHAT = "/v1/chat/completions"
TOKENS = 10
# What an attempt is reserved at: 33 input tokens as metered.h bounds them, and max_tokens.
BOUND_NANO = 33 * 2_500 + TOKENS * 10_000


def usd(nano):
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def body(**more):
    return {"model": "auto", "messages": [{"role": "user", "content": "x"}], "max_tokens": TOKENS} | more


def ask(port, headers=None):
    """(status, code) of one request; (None, None) when the gateway is gone."""
    try:
        with Wire(port, timeout=60) as wire:
            wire.request("POST", CHAT, body(), headers=(headers or {}).items())
            status, _, text = wire.response()
            return status, None if status == 200 else json.loads(text)["error"]["code"]
    except (OSError, AssertionError, ValueError):
        return None, None


def spent(gateway):
    return {row["id"]: row for row in gateway.cli_json("budget", "ls")}


def bills(mock):
    return sum(billed(line) for line in mock.settle(60))


def test_500_parallel_requests_do_not_overshoot_a_budget_for_ten(make_mock, serve):
    mock = make_mock("paid", words=TOKENS, first_token_ms=300)
    limit = 10 * BOUND_NANO
    gateway = serve(
        make_config(
            [paid(mock)],
            budget=[{"usd": usd(limit), "per": "total"}],
            server={"max_concurrent": 1024},
        )
    )
    begin = threading.Barrier(500)

    def one(_):
        begin.wait()
        return ask(gateway.port)

    with concurrent.futures.ThreadPoolExecutor(500) as pool:
        answers = list(pool.map(one, range(500)))
    good = sum(status == 200 for status, _ in answers)
    refused = [code for status, code in answers if status != 200]
    due = bills(mock)
    print(f"{good} answered, {len(refused)} refused; limit {limit}, billed {due}")
    assert due <= limit
    assert good >= 10
    assert set(refused) == {"insufficient_quota"}
    assert len(mock.journal()) == good, "a refused request reached the provider"
    state = spent(gateway)["all/total"]
    assert state["spent_nano"] == due and state["held_nano"] == 0
    assert gateway.cli("ledger", "verify").returncode == 0


@pytest.mark.limit(300)
def test_kill_9_does_not_overshoot_either(make_mock, tmp_path, rng):
    mock = make_mock("paid", words=TOKENS, first_token_ms=20, between_ms=2)
    limit = 100 * BOUND_NANO
    config = make_config([paid(mock)], budget=[{"usd": usd(limit), "per": "total"}])
    home = tmp_path / "home"
    refused = 0
    kills = 0
    while refused < 20 and kills < 60:
        gateway = Gateway(home, config).start()
        stop = threading.Event()

        def client(gateway=gateway, stop=stop):
            while not stop.is_set():
                status, code = ask(gateway.port)
                if status is None:
                    return 0
                if status == 429:
                    assert code == "insufficient_quota"
                    return 1
            return 0

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(client) for _ in range(8)]
            time.sleep(0.02 + rng.random() * 0.1)
            gateway.kill()
            stop.set()
            refused += sum(future.result() for future in asking)
        kills += 1
    due = bills(mock)
    gateway = Gateway(home, config).start()
    status, code = ask(gateway.port)
    state = spent(gateway)["all/total"]
    print(f"{kills} kills; limit {limit}, billed {due}, booked {state['spent_nano']}")
    assert due <= state["spent_nano"] <= limit
    assert state["held_nano"] == 0
    assert refused >= 8, "the budget was reached"
    gateway.check_end()
    assert gateway.cli("ledger", "verify").returncode == 0


def test_keys_teams_and_commands(make_mock, serve):
    mock = make_mock("paid", words=TOKENS)
    gateway = serve(
        make_config([paid(mock)], budget=[{"team": "qa", "usd": usd(3 * BOUND_NANO), "per": "day"}])
    )
    first = gateway.make_key("first", "--team", "qa", "--budget", usd(BOUND_NANO) + "/month")
    second = gateway.make_key("second", "--team", "qa")

    def use(key):
        return ask(gateway.port, {"Authorization": f"Bearer {key['key']}"})

    def until_refused(key):
        for count in range(20):
            status, code = use(key)
            if status != 200:
                assert (status, code) == (429, "insufficient_quota")
                return count
        raise AssertionError("never refused")

    of_first = until_refused(first)
    of_second = until_refused(second)
    assert of_first >= 1 and of_second >= 1
    assert ask(gateway.port)[0] == 200, "the rest of the world has no budget"
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, body(), headers=[("Authorization", f"Bearer {second['key']}")])
        _, _, text = wire.response()
    error = json.loads(text)["error"]
    assert error["param"] == "team:qa/day" and "resets at" in error["hint"], error

    # Commands work beside the gateway, and what was spent before counts.
    gateway.cli("budget", "set", "0/month", check=True)
    wait_until(lambda: ask(gateway.port)[0] == 429, 5, "a budget set by command holds")
    listed = spent(gateway)
    assert listed["all/month"]["spent_nano"] == bills(mock)
    assert listed["team:qa/day"]["origin"] == "file"
    assert gateway.cli("budget", "rm", "team:qa/day").returncode != 0, "the file's budgets are the file's"
    gateway.cli("budget", "rm", "all/month", check=True)
    wait_until(lambda: ask(gateway.port)[0] == 200, 5, "a removed budget holds nobody")
    assert gateway.cli("budget", "set", "nonsense").returncode != 0
    assert gateway.cli("ledger", "verify").returncode == 0
    teams = {row["team"] for row in ledger_rows(gateway) if row["kind"] == "post"}
    assert teams == {"qa", ""}


def test_rate_limits_of_a_key(make_mock, serve):
    mock = make_mock("paid", words=TOKENS)
    gateway = serve(make_config([paid(mock)]))
    key = gateway.make_key("slow", "--rpm", "3", "--tpm", "100000", "--parallel", "8", "--expires", "30d")
    bearer = {"Authorization": f"Bearer {key['key']}"}
    statuses = []
    for _ in range(4):
        status, headers, _ = gateway.http("POST", CHAT, body(), headers=bearer)
        statuses.append(status)
    assert statuses == [200, 200, 200, 429]
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(headers["retry-after"]) <= 20
    listed = {row["name"]: row for row in gateway.cli_json("key", "ls")}["slow"]
    assert listed["requests_per_minute"] == 3 and listed["expires"] is not None


def test_a_dispute_is_marked_and_listed(make_mock, serve):
    """The upstream claims a hundred times the tokens: booked as told, and marked with both counts."""
    mock = make_mock("liar", words=20)
    gateway = serve(make_config([paid(mock)]))
    mock.script("wrong_usage")
    for stream in (False, True):
        status, _, _ = gateway.http("POST", CHAT, body(max_tokens=20, stream=stream))
        assert status == 200
    mock.settle()
    rows = wait_until(lambda: gateway.cli_json("ledger", "ls", "--disputed"), 5, "a disputed row")
    assert len(rows) == 1
    row = rows[0]
    assert row["disputed"]["output"] > 20 * 10 and row["usage"]["output"] >= row["disputed"]["output"]
    assert "own_output=" in row["note"] and row["amount_nano"] > 0
    assert gateway.metric("genesis_ledger_disputed_attempts_total") == 1
    assert gateway.cli("ledger", "verify").returncode == 0
