"""Reading the configuration again while requests are in flight: nothing is lost, nothing is half in force.

GENESIS_RELOADS sets how many reloads the load test makes (default 100; the published figure is 1000)."""

import collections
import concurrent.futures
import json
import os
import signal
import time
import threading
import urllib.request

import pytest
from harness.gateway import local, make_config, paid
from harness.process import alive, wait_until
from harness.wire import Wire, sse_events

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say something."}]
RELOADS = int(os.environ.get("GENESIS_RELOADS", "100"))


def body(**more):
    return {"model": "auto", "messages": MESSAGES, "max_tokens": 20} | more


def write(gateway, text):
    path = gateway.home / "genesis.toml"
    partial = path.with_suffix(".new")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def reload(gateway, **options):
    return gateway.cli("reload", "--json", **options)


def ask(gateway, stream):
    """What went wrong with one request, or the word for a complete answer."""
    request = urllib.request.Request(
        gateway.url + CHAT,
        data=json.dumps(body(stream=stream)).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as got:
            text = got.read().decode()
    except Exception as error:  # noqa: BLE001: whatever a client sees is a lost request
        return f"{type(error).__name__}: {error}"
    if not stream:
        choice = json.loads(text)["choices"][0]
        return "ok" if choice["finish_reason"] in ("stop", "length") else text
    return "ok" if sse_events(text)[-1] == "[DONE]" and '"error"' not in text else text[-300:]


@pytest.mark.limit(900)
def test_reloads_under_load_lose_no_request(make_mock, serve, rng):
    first = make_mock("first", words=20, between_ms=2)
    second = make_mock("second", words=20, between_ms=2)

    def config():
        """One of many: endpoints come and go, change their budgets, prices and order."""
        chosen = [paid(first), paid(second)]
        if rng.random() < 0.3:
            chosen[0]["budgets"] = chosen[0]["budgets"] | {"total_ms": rng.randrange(15_000, 60_000)}
        if rng.random() < 0.3:
            chosen[1]["price"] = {"input": f"{rng.randrange(1, 9)}.50", "output": "10.00"}
        if rng.random() < 0.2:
            chosen.pop(rng.randrange(2))
        rng.shuffle(chosen)
        return make_config(chosen, server={"max_concurrent": rng.choice([64, 128])})

    gateway = serve(config())
    seen = collections.Counter()
    stop = threading.Event()

    def load(stream):
        while not stop.is_set():
            seen[ask(gateway, stream)] += 1

    before = gateway.cli_json("config", "show")
    assert before
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(load, stream) for stream in (True, True, False, False)]
        try:
            for number in range(RELOADS):
                write(gateway, config())
                os.kill(gateway.pid, signal.SIGHUP)
                wait_until(
                    lambda: told(gateway)["reloads"] > number, 30, "the reload was made", pause=0.005
                )
        finally:
            stop.set()
        for worker in workers:
            worker.result()
    assert set(seen) == {"ok"}, seen
    assert seen["ok"] >= RELOADS // 5, "the load did not overlap the reloads"
    assert gateway.metric("genesis_config_generation") == RELOADS + 1
    last = told(gateway)
    assert (last["generation"], last["reloads"], last["last_error"]) == (RELOADS + 1, RELOADS, None)


def admin(gateway):
    return {"Authorization": f"Bearer {gateway.ready['admin_key']}"}


def told(gateway):
    """What the gateway says about its configuration and the reloads it made."""
    status, _, text = gateway.http("GET", "/admin/config", headers=admin(gateway))
    assert status == 200, text
    return json.loads(text)


def test_requests_end_in_the_generation_they_began_in(make_mock, serve):
    old = make_mock("old", words=60, between_ms=50)
    new = make_mock("new", words=5)
    gateway = serve(make_config([paid(old)]))
    with Wire(gateway.port) as wire:
        wire.request("POST", CHAT, body(stream=True, max_tokens=60))
        wire.read_until(b"fleet2")
        write(gateway, make_config([paid(new)]))
        assert json.loads(reload(gateway, check=True).stdout) == {"generation": 2}
        status, headers, text = gateway.http("POST", CHAT, body())
        assert (status, headers["x-genesis-endpoint"]) == (200, "new")
        assert old.active() == 1, "the stream goes on"
        status, headers, text = wire.response()
    assert (status, headers["x-genesis-endpoint"]) == (200, "old")
    assert sse_events(text)[-1] == "[DONE]"
    assert [line["outcome"] for line in old.settle()] == ["completed"]
    assert "old" not in {card["id"] for card in models(gateway)}


def models(gateway):
    return json.loads(gateway.http("GET", "/v1/models")[2])["data"]


def test_an_unchanged_endpoint_keeps_its_breaker(make_mock, serve):
    bad = make_mock("bad", words=5)
    good = make_mock("good", words=5)
    bad.script(*[{"fault": "status", "status": 503}] * 4000)
    gateway = serve(make_config([paid(bad), paid(good)]))

    def usable():
        rows = json.loads(gateway.http("GET", "/admin/endpoints", headers=admin(gateway))[2])
        return {row["name"]: row["usable"] for row in rows}

    def ejected():
        assert gateway.http("POST", CHAT, body())[0] == 200
        return usable() == {"bad": False, "good": True}

    wait_until(ejected, 30, "the failing endpoint is ejected")
    write(gateway, make_config([paid(bad), paid(good)], server={"max_concurrent": 9}))
    reload(gateway, check=True)
    assert usable() == {"bad": False, "good": True}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("[server]\nmax_concurrent = \n", "genesis.toml:2"),
        ("[server]\nmax_conurrent = 9\n", "max_conurrent"),
        ('[ledger]\npath = "/elsewhere.db"\n', "ledger.path"),
        ('[[endpoint]]\nname = "x"\nkind = "local"\nmodel = "not-pulled"\n', "not-pulled"),
        (
            '[[endpoint]]\nname = "x"\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
            'api_key = { env = "NOT_SET_ANYWHERE" }\n',
            "genesis.toml:5",
        ),
        (
            '[[endpoint]]\nname = "x"\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
            'api_key = { file = "/nowhere/key" }\n',
            "/nowhere/key",
        ),
    ],
)
def test_a_configuration_that_does_not_hold_changes_nothing(make_mock, serve, broken, says):
    mock = make_mock("kept", words=5)
    text = make_config([paid(mock)])
    gateway = serve(text)
    write(gateway, broken)
    done = reload(gateway)
    assert done.returncode == 78
    assert says in done.stderr, done.stderr
    status, _, answer = gateway.http("POST", "/admin/reload", headers=admin(gateway))
    assert status == 400
    assert says in json.loads(answer)["error"]["message"]
    assert gateway.http("POST", CHAT, body())[0] == 200
    now = told(gateway)
    assert now["generation"] == 1
    assert says in now["last_error"]
    # The state file that the command watches lags a little behind the reload over HTTP.
    time.sleep(0.3)
    write(gateway, text)
    assert json.loads(reload(gateway, check=True).stdout) == {"generation": 2}


def test_the_address_cannot_change(make_mock, serve):
    mock = make_mock("kept", words=5)
    # It comes from the file here: a variable would win over what changes.
    text = make_config([paid(mock)], server={"listen": "127.0.0.1:0"})
    gateway = serve(text, environment={"GENESIS_HOST": ""})
    write(gateway, text.replace("127.0.0.1:0", "127.0.0.1:1"))
    done = reload(gateway)
    assert done.returncode == 78
    assert "genesis.toml:2: 'server.listen' cannot change" in done.stderr
    assert gateway.http("POST", CHAT, body())[0] == 200


def test_a_half_written_file_changes_nothing(make_mock, serve):
    """Every prefix of a good file is either refused or a whole configuration of its own."""
    mock = make_mock("kept", words=5)
    text = make_config([paid(mock)], server={"max_concurrent": 50})
    gateway = serve(text)
    for end in range(1, len(text), 23):
        (gateway.home / "genesis.toml").write_text(text[:end], encoding="utf-8")
        os.kill(gateway.pid, signal.SIGHUP)
        assert gateway.http("GET", "/health")[0] == 200
    write(gateway, text)
    reload(gateway, check=True)
    assert gateway.http("POST", CHAT, body())[0] == 200


def test_a_secret_file_is_read_again(make_mock, serve, tmp_path):
    mock = make_mock("locked", words=5, api_key="second-secret")
    secret = tmp_path / "key"
    secret.write_text("first-secret\n")
    gateway = serve(make_config([paid(mock, api_key={"file": str(secret)})]))
    assert gateway.http("POST", CHAT, body())[0] != 200
    secret.write_text("second-secret\n")
    reload(gateway, check=True)
    assert gateway.http("POST", CHAT, body())[0] == 200


def test_an_engine_is_started_again_only_for_other_launch_options(local_home, serve, make_mock):
    mock = make_mock("other", words=5)
    gateway = serve(make_config([local()], engine={"threads": 1}), home=local_home)
    pid = gateway.wait_engine()
    write(gateway, make_config([local(budgets={"total_ms": 9000}), paid(mock)], engine={"threads": 1}))
    reload(gateway, check=True)
    assert gateway.engine_pid() == pid
    assert alive(pid)
    write(gateway, make_config([local(), paid(mock)], engine={"threads": 1, "max_batch": 8}))
    reload(gateway, check=True)
    wait_until(lambda: not alive(pid), 30, "the former engine has ended")
    wait_until(lambda: gateway.engine_pid() not in (None, pid), 30, "the new engine runs")
    wait_until(
        lambda: gateway.http("POST", CHAT, body(model="local", max_tokens=3))[0] == 200,
        30,
        "the new engine answers",
    )
    new = gateway.engine_pid()
    write(gateway, make_config([paid(mock)]))
    reload(gateway, check=True)
    wait_until(lambda: not alive(new), 30, "an engine that nothing names has ended")
    assert gateway.http("POST", CHAT, body())[0] == 200
