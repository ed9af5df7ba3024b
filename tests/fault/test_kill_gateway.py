"""kill -9 of the gateway, a hundred times under load (GENESIS_KILLS for more): afterwards the ledger equals the
provider's books."""

import concurrent.futures
import json
import os
import threading
import time

import pytest
from harness.books import compare, ledger_rows
from harness.gateway import Gateway, make_config, paid
from harness.wire import Wire

CHAT = "/v1/chat/completions"
KILLS = int(os.environ.get("GENESIS_KILLS", "100"))
CLIENTS = 4


def keep_asking(port, stop, rng):
    """Sends requests until the gateway is gone; returns how many answers came whole."""
    whole = 0
    while not stop.is_set():
        stream = rng.random() < 0.5
        words = " ".join(["word"] * rng.randrange(1, 30))
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": rng.randrange(1, 30),
            "stream": stream,
        }
        try:
            with Wire(port, timeout=10) as wire:
                wire.request("POST", CHAT, body)
                status, _, text = wire.response()
        except (OSError, AssertionError):
            return whole
        if status != 200 or (stream and not text.rstrip().endswith("[DONE]")):
            return whole
        whole += 1
    return whole


@pytest.mark.limit(600 + 4 * KILLS)
def test_a_hundred_kills(make_mock, tmp_path, rng):
    own = make_mock("own", words=20, between_ms=1)
    primary = make_mock("primary", words=20, between_ms=1)
    fallback = make_mock("fallback", words=20, between_ms=1)
    home = tmp_path / "home"
    config = make_config([paid(own, tier="self_hosted"), paid(primary, tier="managed"), paid(fallback)])
    names = {"own", "primary", "fallback"}
    whole = 0
    starts = []
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(KILLS):
            if rng.random() < 0.5:
                rng.choice([own, own, primary]).script(
                    {"fault": rng.choice(["status", "reset", "cut", "stall"]), "status": 503, "tokens": 5, "ms": 30_000}
                )
            begin = time.monotonic()
            gateway = Gateway(home, config).start()
            starts.append(time.monotonic() - begin)
            stop = threading.Event()
            seeds = [type(rng)(rng.random()) for _ in range(CLIENTS)]
            asking = [pool.submit(keep_asking, gateway.port, stop, seed) for seed in seeds]
            time.sleep(0.01 + rng.random() * 0.12)
            gateway.kill()
            stop.set()
            whole += sum(future.result() for future in asking)
    for mock in (own, primary):
        mock.reset()
    journals = [mock.settle(60) for mock in (own, primary, fallback)]

    # One more start recovers what the last kill left open.
    gateway = Gateway(home, config).start()
    status, _, text = gateway.http(
        "POST", CHAT, {"model": "auto", "messages": [{"role": "user", "content": "after all"}]}
    )
    assert status == 200, text
    journals = [mock.settle() for mock in (own, primary, fallback)]
    gateway.check_end()
    verified = gateway.cli("ledger", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    kinds = compare(ledger_rows(gateway), journals, names, killed=True)
    starts.sort()
    print(
        f"{KILLS} kills, {sum(map(len, journals))} attempts at the providers, {whole} whole answers, "
        f"closed as {dict(kinds)}, start to ready: median {starts[KILLS // 2]:.2f} s, worst {starts[-1]:.2f} s"
    )
    assert whole >= KILLS // 4, "the loop did exercise answers"
    assert kinds["unconfirmed"] >= 1, "the loop did interrupt attempts"
    assert starts[KILLS // 2] < 3


@pytest.mark.limit(300)
def test_books_agree_without_kills(make_mock, serve, rng):
    """All faults at random, clients that leave, no kill: every completed attempt to the nano-dollar."""
    primary = make_mock("primary", words=20)
    fallback = make_mock("fallback", words=20)
    gateway = serve(make_config([paid(primary, tier="managed"), paid(fallback)]))
    faults = ["status", "reset", "close", "cut", "cut_reset", "invalid_json", "no_done", "error_object", "html",
              "split", "odd_sse", "early_done"]

    def one(seed):
        generator = type(rng)(seed)
        body = {
            "model": generator.choice(["auto", "primary", "fallback"]),
            "messages": [{"role": "user", "content": "w " * generator.randrange(1, 50)}],
            "stream": generator.random() < 0.5,
            "max_tokens": generator.randrange(1, 40),
        }
        with Wire(gateway.port, timeout=30) as wire:
            wire.request("POST", CHAT, body)
            if generator.random() < 0.15:
                time.sleep(generator.random() * 0.01)
                wire.reset()
                return "left"
            try:
                return wire.response()[0]
            except AssertionError:
                return None

    left = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            planned = [
                {"fault": rng.choice(faults), "tokens": rng.randrange(20), "status": 503} for _ in range(11)
            ]
            primary.script(*planned[:10])
            fallback.script(planned[10])
            statuses = list(pool.map(one, [rng.random() for _ in range(30)]))
            assert 200 in statuses
            left += statuses.count("left")
    journals = [mock.settle() for mock in (primary, fallback)]
    gateway.check_end()
    assert gateway.cli("ledger", "verify").returncode == 0
    kinds = compare(ledger_rows(gateway), journals, {"primary", "fallback"}, left=left)
    print(f"{sum(map(len, journals))} attempts, closed as {dict(kinds)}")


def test_the_same_request_posted_twice_is_two_requests(make_mock, serve):
    """Ids are ours: a client that repeats itself, its x-request-id included, is billed for both."""
    mock = make_mock("once")
    gateway = serve(make_config([paid(mock)]))
    for _ in range(2):
        status, _, _ = gateway.http(
            "POST",
            CHAT,
            {"model": "auto", "messages": [{"role": "user", "content": "x"}]},
            headers={"x-request-id": "same"},
        )
        assert status == 200
    journal = mock.settle()
    gateway.check_end()
    assert len({line["attempt"] for line in journal}) == 2
    assert compare(ledger_rows(gateway), [journal], {"once"}) == {"post": 2}


def test_usage_that_a_provider_hides_or_inflates_is_not_lost(make_mock, serve):
    """No usage: booked from what was seen, never zero. A hundredfold usage: the row stands out."""
    mock = make_mock("liar", words=20)
    gateway = serve(make_config([paid(mock)]))
    for fault in ("no_usage", "wrong_usage"):
        for stream in (False, True):
            mock.script(fault)
            gateway.http(
                "POST", CHAT, {"model": "auto", "messages": [{"role": "user", "content": "a b c"}], "stream": stream}
            )
    mock.settle()
    gateway.check_end()
    rows = [row for row in ledger_rows(gateway) if row["kind"] != "reserve"]
    assert len(rows) == 4
    assert all(row["amount_nano"] > 0 for row in rows), json.dumps(rows)
