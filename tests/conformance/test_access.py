"""Every route of the router table over real HTTP: denied by default, decided before the body is read."""

import json
import time

import pytest
from harness.gateway import Gateway, make_config, paid
from harness.mock import Mock
from harness.wire import Wire

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4}
PUBLIC = {"/health", "/ping", "/ready"}
METRICS_KEY = "prometheus-reads-with-this"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, binaries):
    """Keys required, a key of its own for the metrics."""
    home = tmp_path_factory.mktemp("access")
    with Mock(home, "access", words=5) as mock:
        config = make_config(
            [paid(mock)], server={"require_key": True, "metrics_key": {"env": "SCRAPE_KEY"}}
        )
        with Gateway(home / "home", config, environment={"SCRAPE_KEY": METRICS_KEY}) as gateway:
            yield gateway


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def admin(gateway):
    return bearer(gateway.ready["admin_key"])


@pytest.fixture(scope="module")
def table(gateway, admin):
    """The router table as /openapi.json tells it; a unit test holds the two together."""
    status, _, text = gateway.http("GET", "/openapi.json", headers=admin)
    assert status == 200
    paths = json.loads(text)["paths"]
    rows = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(rows) > 12
    return rows


def concrete(path):
    return path.replace("{id}", "auto")


def test_without_a_key_everything_but_the_public_list_is_denied(gateway, table):
    answers = {}
    for method, path in table:
        for sent in ({}, bearer("wrong"), bearer(METRICS_KEY), {"Authorization": "Basic eDp5"}):
            if sent == bearer(METRICS_KEY) and path == "/metrics":
                continue
            data = b"{}" if method == "POST" else None
            target = concrete(path) + "?key=x&api_key=y"
            answers.setdefault(path, set()).add(gateway.http(method, target, data, sent)[0])
    open_paths = {path for path, statuses in answers.items() if 401 not in statuses}
    assert open_paths == PUBLIC
    assert all(statuses == {401} for path, statuses in answers.items() if path not in PUBLIC), answers


def test_a_plain_key_opens_no_admin_route_and_no_metrics(gateway, table):
    plain = bearer(gateway.make_key("plain")["key"])
    closed = [path for _, path in table if path.startswith("/admin/")] + ["/metrics"]
    assert len(closed) > 3
    for method, path in table:
        if path in closed:
            data = b"{}" if method == "POST" else None
            assert gateway.http(method, concrete(path), data, plain)[0] == 403, path


def test_metrics_open_for_their_own_key_and_for_an_admin(gateway, admin):
    assert gateway.http("GET", "/metrics", headers=bearer(METRICS_KEY))[0] == 200
    assert gateway.http("GET", "/metrics", headers=admin)[0] == 200
    for path in ("/v1/models", "/admin/config"):
        assert gateway.http("GET", path, headers=bearer(METRICS_KEY))[0] == 401


def test_metrics_can_be_public(make_mock, serve):
    mock = make_mock("m")
    gateway = serve(make_config([paid(mock)], server={"require_key": True, "public_metrics": True}))
    assert gateway.http("GET", "/metrics")[0] == 200
    assert gateway.http("GET", "/v1/models")[0] == 401


def test_a_foreign_host_is_refused_with_and_without_a_key(gateway, admin, make_mock, serve):
    rebound = {"Host": "rebound.example:8080"}
    assert gateway.http("GET", "/v1/models", headers=admin | rebound)[0] == 403
    assert gateway.http("POST", CHAT, BODY, admin | rebound)[0] == 403
    assert gateway.http("GET", "/admin/config", headers=admin | rebound)[0] == 403
    for host in ("localhost", "127.0.0.1:1", "[::1]"):
        assert gateway.http("GET", "/v1/models", headers=admin | {"Host": host})[0] == 200
    mock = make_mock("named", words=3)
    named = serve(make_config([paid(mock)], server={"allowed_hosts": ["llm.example"]}))
    assert named.http("POST", CHAT, BODY, {"Host": "llm.example"})[0] == 200
    assert named.http("GET", "/metrics", headers=rebound)[0] == 403
    lax = serve(make_config([paid(mock)], server={"check_host": False, "require_key": True}))
    key = bearer(lax.ready["admin_key"])
    assert lax.http("GET", "/v1/models", headers=key | rebound)[0] == 200


@pytest.mark.parametrize(
    ("fields", "path", "status"),
    [
        ([], CHAT, 401),
        ([("Authorization", "Bearer wrong")], CHAT, 401),
        ([("Authorization", "Bearer wrong")], "/nowhere", 404),
        ([], "/admin/reload", 401),
    ],
)
def test_the_answer_comes_before_the_body(gateway, fields, path, status):
    """Ten megabytes are announced; not one byte of them has to be sent to hear "no"."""
    with Wire(gateway.port) as wire:
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 10000000"]
        lines += [f"{name}: {value}" for name, value in fields]
        wire.send("\r\n".join(lines) + "\r\n\r\n")
        begin = time.monotonic()
        got, headers, _ = wire.response()
        assert time.monotonic() - begin < 5
        assert got == status
        assert headers["connection"] == "close"
        assert wire.rest() == b""


def test_expect_continue_is_asked_first(gateway, admin):
    head = ["Host: 127.0.0.1", "Expect: 100-continue", "Content-Type: application/json"]
    data = json.dumps(BODY).encode()
    with Wire(gateway.port) as wire:
        wire.send("\r\n".join([f"POST {CHAT} HTTP/1.1", *head, f"Content-Length: {len(data)}"]) + "\r\n\r\n")
        assert wire.response()[0] == 401
    with Wire(gateway.port) as wire:
        key = f"Authorization: {admin['Authorization']}"
        lines = [f"POST {CHAT} HTTP/1.1", *head, key, f"Content-Length: {len(data)}"]
        wire.send("\r\n".join(lines) + "\r\n\r\n")
        assert wire.head()[0] == 100
        wire.send(data)
        assert wire.response()[0] == 200


def test_a_full_gateway_says_so_before_the_body(make_mock, serve):
    mock = make_mock("slow", words=5, first_token_ms=1500)
    limits = {"connect_ms": 1000, "first_token_ms": 20000, "between_tokens_ms": 5000, "total_ms": 30000}
    gateway = serve(make_config([paid(mock, budgets=limits)], server={"max_concurrent": 1}))
    with Wire(gateway.port) as busy, Wire(gateway.port) as wire:
        busy.request("POST", CHAT, BODY)
        while mock.active() == 0:
            time.sleep(0.01)
        wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n")
        status, headers, _ = wire.response()
        assert status == 429
        assert headers["retry-after"]
        assert busy.response()[0] == 200


def test_the_deep_probe_needs_an_admin_and_asks_for_real(gateway, admin, make_mock, serve):
    status, _, text = gateway.http("GET", "/admin/probe", headers=admin)
    assert status == 200, text
    told = json.loads(text)
    assert (told["ok"], told["endpoint"]) == (True, "access")
    assert gateway.http("GET", "/admin/probe?model=nowhere", headers=admin)[0] == 404
    mock = make_mock("dead")
    mock.script(*["reset"] * 20)
    broken = serve(make_config([paid(mock)]))
    assert broken.http("GET", "/health")[0] == 200
    status, _, _ = broken.http("GET", "/admin/probe", headers=bearer(broken.ready["admin_key"]))
    assert status == 503


def test_the_document_is_valid_openapi(gateway, admin):
    from openapi_spec_validator import validate

    document = json.loads(gateway.http("GET", "/openapi.json", headers=admin)[2])
    validate(document)
    assert document["openapi"].startswith("3.1")
