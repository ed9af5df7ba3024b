"""Bytes that no client library sends: hostile requests, protocol limits, doors that must stay shut."""

import json
import time

import pytest
from harness.gateway import make_config, paid
from harness.wire import Wire, sse_events

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4}
CHAT = "/v1/chat/completions"
KIB = 1024


@pytest.fixture(scope="module")
def gateway(mock_home, tmp_path_factory, binaries):
    """A small body limit and a mock behind, so that nothing here waits for an engine."""
    from harness.gateway import Gateway
    from harness.mock import Mock

    home = tmp_path_factory.mktemp("wire")
    with Mock(home, "wire") as mock:
        config = make_config([paid(mock)], server={"max_body_bytes": 64 * KIB})
        with Gateway(home / "home", config) as gateway:
            yield gateway


def error_of(text):
    error = json.loads(text)["error"]
    assert error["message"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


def still_serves(gateway):
    status, _, _ = gateway.http("POST", CHAT, BODY)
    assert status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{} x",
        b'{"model": "auto", "messages": [',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"temperature": NaN}',
        b'{"temperature": 1e999}',
        b"[" * 5000,
        b'{"a":' * 5000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_bad_json(gateway, body):
    status, headers, text = gateway.http("POST", CHAT, body)
    assert status == 400
    assert headers["x-request-id"]
    assert error_of(text)["type"] == "invalid_request_error"
    still_serves(gateway)


def test_same_key_twice_does_not_confuse(gateway):
    body = b'{"model":"nope","model":"auto","messages":[{"role":"user","content":"x"}],"max_tokens":2}'
    status, _, text = gateway.http("POST", CHAT, body)
    assert status in (200, 400), text


def test_oversized_body_is_refused_early(gateway):
    with Wire(gateway.port) as wire:
        wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {100 * KIB}\r\n\r\n")
        status, _, text = wire.response()
    assert status == 413
    assert error_of(text)["code"] == "payload_too_large"
    still_serves(gateway)


def test_oversized_chunked_body_is_refused(gateway):
    with Wire(gateway.port) as wire:
        wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        try:
            for _ in range(6):
                wire.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        status, _, _ = wire.response()
    assert status == 413
    still_serves(gateway)


def test_oversized_header_is_refused(gateway):
    with Wire(gateway.port) as wire:
        wire.send("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        try:
            for _ in range(64):
                wire.send("X-Filler: " + "a" * 1000 + "\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        status, _, _ = wire.response()
    assert status == 431
    still_serves(gateway)


SMUGGLING = {
    "length and chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length list": "Content-Length: 5, 6\r\n\r\nhello!",
    "negative length": "Content-Length: -1\r\n\r\n",
    "plus length": "Content-Length: +5\r\n\r\nhello",
    "huge length": "Content-Length: 99999999999999999999\r\n\r\n",
    "unknown coding": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "spoiled coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "blank before colon": "Content-Length : 5\r\n\r\nhello",
    "folded header": "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunk with blank": "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
    "chunk too large": "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n\r\n",
    "no chunk end": "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
}


@pytest.mark.parametrize("tail", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_smuggling_is_refused_and_the_connection_closed(gateway, tail):
    with Wire(gateway.port) as wire:
        wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\n{tail}")
        # What follows must never be taken for a second request.
        wire.send("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        try:
            status, _, _ = wire.response()
            rest = wire.rest()
        except ConnectionResetError:
            status, rest = None, b""
    assert status in (None, 400, 413, 501)
    assert b"200 OK" not in rest
    still_serves(gateway)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n",
        b"GET /he\x00alth HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"G@T /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_http_is_refused(gateway, raw):
    with Wire(gateway.port) as wire:
        wire.send(raw)
        try:
            answer = wire.rest() if raw.startswith(b"\x16") else wire.buffer + (wire.socket.recv(4096) or b"")
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200")
    still_serves(gateway)


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/etc", "/v1/%00", "/v1\\models", "/nope"])
def test_odd_paths_reach_nothing(gateway, path):
    with Wire(gateway.port) as wire:
        wire.request("GET", path)
        status, _, _ = wire.response()
    assert status in (400, 404)


def test_pipelined_and_kept_alive_requests_answer_in_order(gateway):
    with Wire(gateway.port) as wire:
        wire.request("GET", "/health")
        wire.request("GET", "/v1/models")
        wire.request("GET", "/nope")
        assert [wire.response()[0] for _ in range(3)] == [200, 200, 404]


def test_a_request_in_single_bytes(gateway):
    data = json.dumps(BODY).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with Wire(gateway.port) as wire:
        for byte in head + data:
            wire.send(bytes([byte]))
        assert wire.response()[0] == 200


def test_wrong_method_names_the_right_one(gateway):
    status, headers, _ = gateway.http("GET", CHAT)
    assert status == 405
    assert headers["allow"] == "POST"


def test_wrong_content_is_no_crash_on_any_route(gateway, rng):
    """Random JSON of the right shape and of none, on every POST route."""
    values = [None, True, -1, 1e308, "", "x", [], {}, [[]], {"a": 1}, 2**63, "\u0000", [None] * 50]
    keys = ["model", "messages", "prompt", "inputs", "parameters", "stream", "n", "stop", "tools", "seed"]
    for _ in range(300):
        route = rng.choice([CHAT, "/v1/completions", "/generate", "/generate_stream", "/"])
        body = {rng.choice(keys): rng.choice(values) for _ in range(rng.randrange(1, 5))}
        status, _, text = gateway.http("POST", route, body)
        assert status < 500, f"{route} {body}: {status} {text}"
    still_serves(gateway)


def test_host_header_is_checked_without_a_key(gateway):
    for host, allowed in (
        ("127.0.0.1", True),
        (f"127.0.0.1:{gateway.port}", True),
        ("localhost", True),
        ("evil.example", False),
        (f"evil.example:{gateway.port}", False),
        ("", False),
    ):
        with Wire(gateway.port) as wire:
            wire.request("GET", "/v1/models", host=host)
            status, _, _ = wire.response()
        assert (status == 200) == allowed, host
        assert allowed or status in (400, 403)


def test_other_sites_are_refused_without_a_key(gateway):
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, BODY, headers=[("Origin", "https://evil.example")])
        assert wire.response()[0] == 403


def test_wrong_keys(gateway):
    for value in ("Bearer gk-" + "0" * 40, "Basic eDp5", "Bearer gk-" + "k" * 4000):
        status, headers, text = gateway.http("POST", CHAT, BODY, headers={"Authorization": value})
        assert status == 401
        assert error_of(text)["code"] == "invalid_api_key"
        assert value.split()[1] not in text, "a refusal does not repeat what was sent"


def test_admin_routes_never_work_without_an_admin_key(gateway):
    plain = gateway.make_key("plain")["key"]
    admin = gateway.make_key("boss", "--admin")["key"]
    for path in ("/admin/savings", "/admin/endpoints"):
        status, _, _ = gateway.http("GET", path, headers={"Authorization": f"Bearer {admin}"})
        assert status == 200
        assert gateway.http("GET", path)[0] == 401
        assert gateway.http("GET", path, headers={"Authorization": f"Bearer {plain}"})[0] == 403


def test_a_stream_on_the_wire(gateway):
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, BODY | {"stream": True})
        status, headers, text = wire.response()
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-genesis-endpoint"] == "wire"
    events = sse_events(text)
    assert events[-1] == "[DONE]"
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-1])


def test_slow_senders_do_not_hold_others_up(gateway):
    slow = [Wire(gateway.port) for _ in range(50)]
    try:
        for wire in slow:
            wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
        begin = time.monotonic()
        still_serves(gateway)
        assert time.monotonic() - begin < 5
    finally:
        for wire in slow:
            wire.close()


def test_no_secret_in_the_log(gateway):
    key = gateway.make_key("canary")["key"]
    gateway.http("POST", CHAT, BODY, headers={"Authorization": f"Bearer {key}"})
    secret_prompt = "zebra-canary-prompt"
    gateway.http("POST", CHAT, BODY | {"messages": [{"role": "user", "content": secret_prompt}]})
    log = gateway.log.read_text()
    assert key not in log
    assert secret_prompt not in log
