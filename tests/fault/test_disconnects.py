"""Clients that leave at any moment: the upstream stops, and nothing of them stays behind. GENESIS_DISCONNECTS for more
than the short run."""

import os
import time
from pathlib import Path

import pytest
from harness.gateway import make_config, paid
from harness.process import wait_until
from harness.wire import Wire

CHAT = "/v1/chat/completions"
COUNT = int(os.environ.get("GENESIS_DISCONNECTS", "300"))


def descriptors(gateway):
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


@pytest.mark.limit(120 + COUNT // 10)
def test_clients_that_leave_at_random_phases(make_mock, serve, rng):
    mock = make_mock("slow", words=200, first_token_ms=20, between_ms=5)
    gateway = serve(make_config([paid(mock, tier="self_hosted")]))
    body = {"model": "auto", "messages": [{"role": "user", "content": "word " * 50}], "stream": True}
    assert gateway.http("POST", CHAT, body | {"max_tokens": 2})[0] == 200
    wait_until(lambda: mock.active() == 0, 10, "the first request is over")
    before = descriptors(gateway)
    took = []
    for number in range(COUNT):
        wire = Wire(gateway.port)
        sent = body | {"stream": rng.random() < 0.7}
        if number % 7 == 0:  # within the head or the body
            wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400\r\n\r\n{{"[: rng.randrange(5, 80)])
        else:
            wire.request("POST", CHAT, sent)
            time.sleep(rng.random() * 0.06)  # queued, waiting for the first token, in the middle of the stream
        if rng.random() < 0.5:
            wire.reset()
        else:
            wire.socket.close()
        if number % 10 == 9:
            left = time.monotonic()
            wait_until(lambda: mock.active() == 0, 10, "the upstream was told")
            took.append(time.monotonic() - left)
    wait_until(lambda: descriptors(gateway) <= before + 2, 10, f"descriptors are back at {before}")
    assert gateway.http("GET", "/health")[0] == 200
    took.sort()
    print(f"{COUNT} clients left; upstream quiet after median {1000 * took[len(took) // 2]:.0f} ms, worst {1000 * took[-1]:.0f} ms")
    # The claim is 100 ms (docs/reliability.md); a loaded machine gets more.
    assert took[len(took) // 2] < 0.5
    status, _, _ = gateway.http("POST", CHAT, body | {"max_tokens": 2, "stream": False})
    assert status == 200
