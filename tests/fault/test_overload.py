"""Limits that hold: full queues, clients that leave, stops under load."""

import concurrent.futures
import json
import time

from harness.gateway import local, make_config, paid
from harness.process import wait_until
from harness.wire import Wire

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Count from one to a thousand, one number a line."}]


def long_body(**more):
    return {"model": "auto", "messages": MESSAGES, "max_tokens": 1500, "temperature": 0} | more


def test_a_full_gateway_says_429_at_once(make_mock, serve):
    mock = make_mock("slow", first_token_ms=3000)
    limits = {"connect_ms": 1000, "first_token_ms": 20000, "between_tokens_ms": 5000, "total_ms": 30000}
    gateway = serve(make_config([paid(mock, budgets=limits)], server={"max_concurrent": 2}))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held = [pool.submit(gateway.http, "POST", CHAT, long_body()) for _ in range(2)]
        wait_until(lambda: mock.active() == 2, what="both requests arrived")
        begin = time.monotonic()
        status, headers, text = gateway.http("POST", CHAT, long_body())
        assert time.monotonic() - begin < 1
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert json.loads(text)["error"]["code"] == "overloaded"
        assert gateway.http("GET", "/health")[0] == 200, "health is not queued"
        assert gateway.http("GET", "/v1/models")[0] == 200
        assert [answer.result()[0] for answer in held] == [200, 200]
    assert gateway.http("POST", CHAT, long_body())[0] == 200


def test_a_full_engine_hands_over_or_says_429(local_home, serve):
    """One running, one waiting; the rest is refused with a time to come back."""
    config = make_config([local()], engine={"threads": 1, "max_batch": 1, "max_queue": 1})
    gateway = serve(config, home=local_home)
    gateway.wait_engine()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        body = long_body(max_tokens=60, ignore_eos=True)
        answers = list(pool.map(lambda _: gateway.http("POST", CHAT, body), range(12)))
    statuses = sorted(status for status, _, _ in answers)
    assert set(statuses) <= {200, 429}, statuses
    assert statuses.count(200) >= 2
    assert 429 in statuses
    for status, headers, text in answers:
        if status == 429:
            assert headers["retry-after"]
            assert json.loads(text)["error"]["code"] in ("overloaded", "rate_limit_exceeded")
    wait_until(lambda: gateway.metric("genesis_engine_running") == 0, what="no slot leaked")


def test_a_leaving_client_stops_the_paid_upstream(make_mock, serve):
    mock = make_mock("long", words=2000, between_ms=10)
    gateway = serve(make_config([paid(mock)]))
    for stream in (True, False):
        wire = Wire(gateway.port)
        wire.request("POST", CHAT, {"model": "auto", "messages": MESSAGES, "stream": stream})
        if stream:
            wire.read_until(b"fleet2")
        else:
            wait_until(lambda: mock.active() == 1, what="the request arrived")
            time.sleep(0.2)
        wire.reset()
        lines = mock.settle(5)
        assert lines[-1]["outcome"] == "client_gone"
        assert lines[-1]["completion_tokens"] < 400, "the provider stopped early"


def test_a_leaving_client_frees_the_engine(local_gateway):
    """Two thousand tokens would take long; the slot is free at once."""
    for leave in ("reset", "close"):
        wires = [Wire(local_gateway.port, timeout=30) for _ in range(4)]
        for wire in wires:
            wire.request("POST", CHAT, long_body(stream=True, ignore_eos=True))
            wire.read_until(b"data: ")
        wait_until(lambda: local_gateway.metric("genesis_engine_running") == 4, what="all run")
        for wire in wires:
            getattr(wire, leave)()
        wait_until(
            lambda: local_gateway.metric("genesis_engine_running") == 0, 5, f"slots are free after {leave}"
        )


def test_leaving_at_any_moment_leaks_nothing(local_gateway, rng):
    for _ in range(60):
        wire = Wire(local_gateway.port, timeout=30)
        stream = rng.random() < 0.7
        wire.request("POST", CHAT, long_body(stream=stream, max_tokens=200))
        if stream and rng.random() < 0.5:
            wire.read_until(b"data: ")
        time.sleep(rng.random() * 0.05)
        rng.choice([wire.reset, wire.close])()
    wait_until(lambda: local_gateway.metric("genesis_engine_running") == 0, 10, "no slot leaked")
    wait_until(lambda: (local_gateway.metric("genesis_engine_waiting") or 0) == 0, 10, "no queue leaked")
    assert local_gateway.http("POST", CHAT, long_body(max_tokens=4))[0] == 200


def test_sigterm_drains(make_mock, serve):
    """A stop lets the answers in flight end, then exits cleanly."""
    mock = make_mock("steady", words=60, between_ms=20)
    gateway = serve(make_config([paid(mock)]))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        body = {"model": "auto", "messages": MESSAGES}
        held = [pool.submit(gateway.http, "POST", CHAT, body) for _ in range(4)]
        wait_until(lambda: mock.active() == 4, what="all arrived")
        assert gateway.stop() in (0, 143)
        assert [answer.result()[0] for answer in held] == [200] * 4


def test_no_engine_outlives_its_gateway(local_home, serve):
    from harness.process import alive

    gateway = serve(make_config([local()], engine={"threads": 1}), home=local_home)
    pid = gateway.wait_engine()
    assert alive(pid)
    gateway.kill()
    wait_until(lambda: not alive(pid), 10, "the engine ended with the gateway")
