"""Near its limits the gateway gives up the dispensable first, says so, and comes back by itself."""

import concurrent.futures
import json
import os
import re
import select
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from harness.gateway import Gateway, make_config, paid
from harness.process import wait_until
from harness.wire import Wire, sse_events

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 8}


def test_memory_pressure_sheds_new_work_and_ends_with_it(make_mock, serve):
    mock = make_mock("kept", words=5)
    gateway = serve(make_config([paid(mock)], server={"max_memory_mib": 1}))
    wait_until(lambda: gateway.metric("genesis_overload_stage") == 3, 10, "the last stage")
    status, headers, text = gateway.http("POST", CHAT, BODY)
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert json.loads(text)["error"]["code"] == "resource_exhausted"
    assert gateway.http("GET", "/health")[0] == 200
    status, _, text = gateway.http("GET", "/ready")
    assert status == 503
    assert "limits" in text
    admin = {"Authorization": f"Bearer {gateway.ready['admin_key']}"}
    assert gateway.http("GET", "/admin/config", headers=admin)[0] == 200
    assert gateway.metric("genesis_pressure") > 1
    assert gateway.metric("genesis_overload_refusals_total") >= 1
    assert mock.journal() == []
    (gateway.home / "genesis.toml").write_text(make_config([paid(mock)], server={"max_memory_mib": 4096}))
    gateway.cli("reload", check=True)
    wait_until(lambda: gateway.metric("genesis_overload_stage") == 0, 10, "calm")
    assert gateway.http("POST", CHAT, BODY)[0] == 200
    assert gateway.http("GET", "/ready")[0] == 200


def test_in_the_first_stage_only_what_can_wait_is_refused(make_mock, serve):
    mock = make_mock("kept", words=5)
    gateway = serve(make_config([paid(mock)], server={"max_connections": 50}))
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(43)]
    wait_until(lambda: gateway.metric("genesis_overload_stage") == 1, 10, "the first stage")
    assert gateway.http("POST", CHAT, BODY, {"x-genesis-priority": "low"})[0] == 503
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, BODY)
        status, headers, _ = wire.response()
        assert (status, headers["connection"]) == (200, "close")
    for connection in idle:
        connection.close()
    wait_until(lambda: gateway.metric("genesis_overload_stage") == 0, 10, "calm")
    assert gateway.http("POST", CHAT, BODY, {"x-genesis-priority": "low"})[0] == 200
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, BODY)
        assert wire.response()[1]["connection"] == "keep-alive"


def test_connections_are_bounded_by_the_limit_of_open_files(make_mock, tmp_path):
    """The soft limit is raised to the hard one; of that, 256 stay free and each client needs two."""
    mock = make_mock("kept", words=5)
    gateway = Gateway(tmp_path / "home", make_config([paid(mock)], server={"max_connections": 1000}))
    gateway.arguments = ["sh", "-c", 'ulimit -Sn 280 && ulimit -Hn 296 && exec "$@"', "sh", *gateway.arguments]
    with gateway.start():
        limits = Path(f"/proc/{gateway.pid}/limits").read_text()
        assert re.search(r"Max open files\s+296\s+296", limits), limits
        assert "server.max_connections is lowered" in gateway.log.read_text()
        idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(40)]
        for connection in idle:
            connection.settimeout(10)
        # Those above the bound hear the end at once.
        ended = wait_until(lambda: select.select(idle, [], [], 0.5)[0], 10, "the surplus is closed")
        assert all(connection.recv(1) == b"" for connection in ended)
        descriptors = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        assert descriptors < 100, "the ledger has room to open its files"
        for connection in idle:
            connection.close()

        def answered():
            try:
                return gateway.http("POST", CHAT, BODY)[0] == 200
            except ConnectionError:
                return False  # the gateway has not heard of all those ends yet

        wait_until(answered, 10, "an answer")


@pytest.mark.limit(180)
def test_sigterm_under_many_streams(make_mock, serve):
    """Those that can end do, the others hear why; the exit is clean and the ledger complete."""
    mock = make_mock("long", words=400, between_ms=100)
    gateway = serve(make_config([paid(mock)], server={"drain_s": 3, "unready_s": 1}))
    wires = []
    for number in range(200):
        wire = Wire(gateway.port, timeout=60)
        wire.request("POST", CHAT, BODY | {"stream": True, "max_tokens": 5 if number % 2 else 400})
        wires.append(wire)
    for wire in wires[::2]:
        wire.read_until(b"data:")
    os.kill(gateway.pid, signal.SIGTERM)
    time.sleep(0.3)
    status, _, text = gateway.http("GET", "/ready")
    assert (status, json.loads(text)["reasons"]) == (503, ["draining"])
    ends = {"done": 0, "told": 0}
    for number, wire in enumerate(wires):
        status, _, text = wire.response()
        assert status == 200
        last = sse_events(text)[-1]
        if last == "[DONE]":
            ends["done"] += 1
        else:
            error = json.loads(last)["error"]
            assert "shutting down" in error["message"], error
            assert number % 2 == 0, "a short answer was stopped"
            ends["told"] += 1
        wire.close()
    assert ends == {"done": 100, "told": 100}
    assert gateway.popen.wait(30) == 0
    assert gateway.popen.wait(30) == 0
    rows = gateway.cli_json("ledger", "ls", "--limit", "0")
    text = json.dumps(rows)
    assert text.count('"kind": "reserve"') == 200
    assert text.count('"kind": "post"') == 200
    gateway.cli("ledger", "verify", check=True)


def test_requests_that_wait_long_for_their_booking_shed_what_can_wait(make_mock, serve):
    """Another process holds the database: a paid request under a budget waits for its commit."""
    kept, own = make_mock("kept", words=5), make_mock("own", words=5)
    config = make_config(
        [paid(kept), {"name": "own", "tier": "self_hosted", "url": own.url + "/v1", "model": "own"}],
        budget=[{"usd": "100", "per": "day"}])
    gateway = serve(config)
    assert gateway.http("POST", CHAT, BODY | {"model": "kept"})[0] == 200
    locked = sqlite3.connect(next(gateway.home.rglob("genesis.db")), isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.http, "POST", CHAT, BODY | {"model": "kept"})
        wait_until(lambda: gateway.metric("genesis_overload_stage") == 1, 10, "the first stage")
        assert gateway.http("POST", CHAT, BODY | {"model": "own"}, {"x-genesis-priority": "low"})[0] == 503
        assert gateway.http("POST", CHAT, BODY | {"model": "own"})[0] == 200
        locked.rollback()
        assert waiting.result(30)[0] in (200, 503)
    wait_until(lambda: gateway.metric("genesis_overload_stage") == 0, 10, "calm")
    assert gateway.http("POST", CHAT, BODY | {"model": "kept"})[0] == 200


def test_too_many_bodies_are_not_held(make_mock, serve):
    """Slow senders share a bound on what is kept for them."""
    mock = make_mock("kept", words=5)
    gateway = serve(make_config([paid(mock)], server={"max_body_bytes": 400 << 20}))
    wires = []
    refused = None
    for _ in range(4):
        wire = Wire(gateway.port, timeout=60)
        wire.send(f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {300 << 20}\r\n\r\n")
        wires.append(wire)
        piece = b" " * (1 << 20)
        for _ in range(200):
            if select.select([wire.socket], [], [], 0)[0]:
                refused = wire
                break
            wire.send(piece)
        if refused:
            break
    assert refused, "600 MiB of bodies were kept"
    assert refused.response()[0] == 503
    for wire in wires:
        wire.close()
    wait_until(lambda: gateway.http("POST", CHAT, BODY)[0] == 200, 10, "it goes on")
