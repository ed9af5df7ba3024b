"""Secrets and prompts are planted everywhere and searched in everything that comes out.

The same search runs at the end of every gateway of the other suites (harness/canary.py)."""

import base64
import http.server
import json
import threading

import pytest
from harness import canary
from harness.gateway import make_config, paid
from harness.process import wait_until
from harness.wire import Wire

CHAT = "/v1/chat/completions"
PROMPT = "cnry-prompt-6f0e2b7d91aa4c3e"
OTEL_SECRET = "cnry-otel-77c1d0a94be2f3"
METRICS_SECRET = "cnry-metrics-0b1c2d3e4f5a"


def body(**more):
    return {"model": "auto", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8} | more


def test_the_search_finds_what_it_is_for():
    secret = canary.PROVIDER_KEY
    for shown in (
        secret,
        secret[:20],
        secret[::-1],
        base64.b64encode(b"Bearer " + secret.encode()).decode(),
        base64.b64encode(b"user:" + secret.encode() + b"x").decode(),
        base64.b64encode(b"ab" + secret.encode()).decode(),
        secret.encode().hex(),
        "a=" + "cnry-Pr0v%2FKey%2B5f2a9c81d7e34b60%3DqXz8",
    ):
        assert canary.hits([secret], f"... {shown} ...".encode()), shown
    assert not canary.hits([secret], b"cnry-Pr0v and other harmless words" * 50)


@pytest.fixture
def collector():
    """Keeps what a trace collector is sent."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", taken
    server.shutdown()


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_and_no_prompt_leaves(make_mock, serve, collector, level, form):
    """Good answers, upstream errors that repeat what they were sent, refusals, cuts, reloads: 0 hits."""
    url, spans = collector
    good, bad = make_mock("good", words=5), make_mock("bad", words=5)
    echo = f"your key {canary.PROVIDER_KEY} is wrong"
    bad.script(
        {"fault": "status", "status": 401, "message": echo},
        {"fault": "status", "status": 500, "message": echo},
        {"fault": "error_object", "message": echo},
        "html",
        "reset",
        {"fault": "cut", "tokens": 2},
        {"fault": "status", "status": 429, "message": echo},
    )
    otel = {"endpoint": url, "header": "x-key", "secret": {"env": "OTEL_SECRET"}}
    gateway = serve(
        make_config(
            [paid(bad), paid(good)],
            server={"metrics_key": {"env": "METRICS_SECRET"}, "require_key": True},
            otel=otel,
            log={"level": level, "format": form},
        ),
        environment={"OTEL_SECRET": OTEL_SECRET, "METRICS_SECRET": METRICS_SECRET},
    )
    admin = {"Authorization": f"Bearer {gateway.ready['admin_key']}"}
    key = gateway.make_key("client")
    bearer = {"Authorization": f"Bearer {key['key']}"}
    for number in range(14):
        gateway.http("POST", CHAT, body(stream=bool(number % 2)), bearer)
    gateway.http("POST", CHAT, body(model="bad"), bearer)
    gateway.http("POST", CHAT, body(temperature=99), bearer)
    gateway.http("POST", CHAT, b'{"messages":"' + PROMPT.encode(), bearer)
    gateway.http("POST", "/generate", {"inputs": PROMPT, "parameters": {"nonsense": PROMPT}}, bearer)
    gateway.http("POST", CHAT, body(), {"Authorization": f"Basic {key['key']}"})
    gateway.http("POST", CHAT, body(), {"Authorization": f"Bearer {key['key']}x"})
    gateway.http("GET", f"/v1/models?api_key={key['key']}", headers=bearer)
    gateway.http("GET", "/v1/models/" + "nowhere", headers={"x-api-key": key["key"]})
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, body(stream=True), [(k, v) for k, v in bearer.items()])
        wire.read_until(b"data:")
        wire.reset()
    for path in ("config", "endpoints", "savings", "probe"):
        gateway.http("GET", f"/admin/{path}", headers=admin)
    (gateway.home / "genesis.toml").write_text("[broken\n")
    gateway.cli("reload")
    gateway.http("POST", "/admin/reload", headers=admin)
    for arguments in (("ledger", "ls"), ("savings",), ("key", "ls"), ("doctor",), ("config", "show")):
        gateway.outputs.append("".join(gateway.cli(*arguments).stdout).encode())
    wait_until(lambda: spans, 15, "spans arrive")
    gateway.outputs += spans
    gateway.secrets += [PROMPT, OTEL_SECRET, METRICS_SECRET]
    gateway.check_end()
    assert sum(map(len, gateway.outputs)) > 5_000
    told = b"".join(gateway.outputs)
    assert echo.encode() not in told
