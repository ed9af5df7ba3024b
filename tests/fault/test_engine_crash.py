"""kill -9 of the engine: the next request is answered by tier 2, the engine comes back, nothing is lost."""

import json
import os
import signal
import time

import openai
import pytest
from harness.books import compare, ledger_rows
from harness.gateway import BUDGETS, local, make_config, paid
from harness.mock import answer
from harness.process import alive, wait_until
from harness.wire import Wire, sse_events

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
# Long, so that a quick answer of tier 2 comes from noticing the silence and not from the budget.
FIRST_TOKEN_MS = 20_000
# The promise for a machine that has a core to spare; it is stretched by the load there is.
BACK_SECONDS = 5
# Beyond this something hangs, however busy the machine.
BACK_LIMIT = 60


@pytest.fixture
def pair(local_home, make_mock, serve):
    """The local engine, and a managed endpoint behind it."""
    mock = make_mock("managed")
    config = make_config(
        [local(budgets=BUDGETS | {"first_token_ms": FIRST_TOKEN_MS}), paid(mock, tier="managed")],
        engine={"threads": 1},
    )
    gateway = serve(config, home=local_home)
    gateway.wait_engine()
    return gateway, mock


def post(gateway, **more):
    body = {"model": "auto", "messages": MESSAGES, "max_tokens": 40, "temperature": 0} | more
    return gateway.http("POST", CHAT, body)


def ask(gateway, **more):
    status, headers, text = post(gateway, **more)
    assert status == 200, text
    return headers["x-genesis-endpoint"], json.loads(text)["choices"][0]["message"]["content"]


def wait_local(gateway):
    """Waits until the engine answers requests again."""
    wait_until(lambda: post(gateway, model="local", max_tokens=1)[0] == 200, BACK_LIMIT, "the engine answers", 0.05)


def test_the_next_request_is_answered_by_tier_two(pair):
    gateway, mock = pair
    assert ask(gateway)[0] == "local"
    pid = gateway.engine_pid()
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    endpoint, text = ask(gateway)
    assert time.monotonic() - begin < FIRST_TOKEN_MS / 1000 + 2
    assert (endpoint, text) == ("managed", answer(40))

    wait_local(gateway)
    back_after = time.monotonic() - begin
    print(f"engine back after {back_after:.2f} s")
    assert gateway.engine_pid() != pid
    assert "Paris" in ask(gateway)[1]


def test_a_stream_cut_by_the_crash_is_an_error(pair):
    gateway, _ = pair
    with Wire(gateway.port, timeout=30) as wire:
        wire.request(
            "POST",
            CHAT,
            {"model": "auto", "messages": MESSAGES, "stream": True, "max_tokens": 2000, "ignore_eos": True},
        )
        wire.read_until(b'"content":"')
        os.kill(gateway.engine_pid(), signal.SIGKILL)
        status, _, text = wire.response()
    assert status == 200
    events = sse_events(text)
    assert "error" in json.loads(events[-1])
    assert "[DONE]" not in events
    assert '"finish_reason":"' not in text


def test_a_stopped_engine_is_noticed(local_home, serve):
    """SIGSTOP: the process lives but says nothing. Without another tier the gateway is not ready."""
    gateway = serve(make_config([local()], engine={"threads": 1}), home=local_home)
    pid = gateway.wait_engine()
    assert gateway.http("GET", "/ready")[0] == 200
    os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        wait_until(lambda: gateway.http("GET", "/ready")[0] == 503, 20, "not ready")
        print(f"not ready after {time.monotonic() - begin:.2f} s (the promise is 2 s)")
        assert gateway.http("GET", "/health")[0] == 200, "the gateway itself is well"
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: gateway.http("GET", "/ready")[0] == 200, 30, "ready again")
    wait_local(gateway)


def test_a_stopped_engine_is_answered_for(pair):
    """By tier 2, well before the budget: the supervisor notices the silence."""
    gateway, _ = pair
    pid = gateway.engine_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert ask(gateway)[0] == "managed"
        took = time.monotonic() - begin
        print(f"answered by tier 2 after {took:.2f} s")
        assert took < FIRST_TOKEN_MS / 1000
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
    wait_local(gateway)


@pytest.mark.limit(900)
def test_a_hundred_kills(pair, rng):
    """Every second kill hits a running stream. No answer is lost, the books agree."""
    gateway, mock = pair
    waits = []
    client = openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0, timeout=60)
    for round_number in range(100):
        pid = gateway.wait_engine()
        stream = None
        if round_number % 2:
            stream = client.chat.completions.create(
                model="local", messages=MESSAGES, stream=True, max_tokens=2000, extra_body={"ignore_eos": True}
            )
            next(stream)
        time.sleep(rng.random() * 0.05)
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        assert ask(gateway, max_tokens=4)[1], "the next request is answered by somebody"
        if stream is not None:
            finishes = []
            with pytest.raises(openai.APIError):
                for chunk in stream:
                    finishes += [choice.finish_reason for choice in chunk.choices]
            assert not any(finishes)
        wait_local(gateway)
        waits.append(time.monotonic() - begin)
        # The state file that names the process is rewritten a few times a second.
        wait_until(lambda old=pid: gateway.engine_pid() not in (None, old), BACK_LIMIT, "a new process")
    waits.sort()
    print(f"engine back after median {waits[50]:.2f} s, worst {waits[-1]:.2f} s")
    assert waits[50] < BACK_SECONDS * max(1.0, os.getloadavg()[0] / os.cpu_count())
    mock.settle()
    assert gateway.stop() in (0, 143)
    assert gateway.cli("ledger", "verify").returncode == 0
    rows = ledger_rows(gateway)
    compare(rows, [mock.journal()], {"managed"})
    compare_local(rows)


def compare_local(rows):
    """Every attempt at the local engine is opened and closed once, too."""
    kinds = {}
    for row in rows:
        if row.get("endpoint") == "local" and row["kind"] != "machine":
            kinds.setdefault((row["request_id"], row["attempt"]), []).append(row["kind"])
    odd = {attempt: group for attempt, group in kinds.items() if len(group) != 2 or "reserve" not in group}
    assert kinds
    assert not odd, odd
