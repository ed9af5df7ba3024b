"""Gateways whose ledger is in PostgreSQL: a real server, stopped and started, and gateways killed beside it."""

import concurrent.futures
import hashlib
import json
import shutil
import threading
import time

import pytest
from harness.books import compare, ledger_rows
from harness.gateway import Gateway, make_config, paid, run_cli
from harness.postgres import Postgres
from harness.process import wait_until
from harness.wire import Wire

CHAT = "/v1/chat/completions"
CLIENTS = 4


@pytest.fixture(scope="module")
def server():
    postgres = Postgres().start()
    yield postgres
    postgres.end()


@pytest.fixture
def database(server, request):
    """The URL of an empty database."""
    name = request.node.name.split("[")[0][:50]
    assert server.sql(f"CREATE DATABASE {name}") is not None
    return server.url(name)


def ask(gateway, words="a b c", **more):
    body = {"model": "auto", "messages": [{"role": "user", "content": words}], "max_tokens": 20} | more
    return gateway.http("POST", CHAT, body, timeout=30)


def well_formed_key():
    """With the right checksum, of a key that nobody made."""
    body = "gk-" + "a" * 16 + "-" + "b" * 64
    return f"{body}-{hashlib.sha256(body.encode()).hexdigest()[:8]}"


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_every_verb_works_with_a_database_url(server, database, make_mock, serve):
    mock = make_mock("paid")
    gateway = serve(make_config([paid(mock)], ledger={"database_url": database}))
    assert [ask(gateway, stream=stream)[0] for stream in (False, True, False)] == [200] * 3
    journal = mock.settle()
    made = gateway.make_key("ci", "--tenant", "acme")
    assert gateway.http("GET", "/v1/models", headers={"Authorization": f"Bearer {made['key']}"})[0] == 200
    assert "ci" in [key["name"] for key in gateway.cli_json("key", "ls")]
    assert gateway.cli("key", "rm", made["id"]).returncode == 0
    wait_until(
        lambda: gateway.http("GET", "/v1/models", headers={"Authorization": f"Bearer {made['key']}"})[0] == 401,
        5,
        "the key is refused",
    )
    assert compare(ledger_rows(gateway), [journal], {"paid"}) == {"post": 3}
    verified = gateway.cli_json("ledger", "verify")
    assert verified["intact"] and verified["rows"] == 7 and "seal" not in verified
    assert gateway.cli_json("savings")["delivered"] == 3
    request = ledger_rows(gateway)[0]["request_id"]
    wait_until(lambda: "paid" in gateway.cli("explain", request).stdout, 10, "the trace is in the database")
    findings = gateway.cli("doctor").stdout
    assert "7 rows, intact" in findings, findings
    assert not (gateway.home / "genesis.db").exists(), "nothing went into a file"
    # Somebody changes a row in the database: verification says which.
    server.sql("UPDATE entries SET amount_nano = amount_nano + 1 WHERE seq = 3", database=mock_name(database))
    damaged = gateway.cli("ledger", "verify", "--json")
    assert damaged.returncode != 0 and '"row 3"' in damaged.stdout, damaged.stdout


def mock_name(url):
    return url.split("///")[1].split("?")[0]


def test_a_password_is_never_shown(tmp_path, binaries):
    secret = "hunter2-canary"
    url = f"postgresql://gw:{secret}@127.0.0.1:1/genesis"
    outputs = []
    for verb in (["config", "show"], ["config", "show", "--json"], ["config", "check"], ["doctor"],
                 ["ledger", "ls"], ["ledger", "verify", "--json"], ["key", "ls"], ["serve"]):
        done = run_cli(tmp_path / "home", *verb, environment={"GENESIS_DB_URL": url}, timeout=30)
        outputs.append(done.stdout + done.stderr)
    for output in outputs:
        assert secret not in output
    assert "postgresql://gw@127.0.0.1:1/genesis" in outputs[0]
    assert "PostgreSQL" in outputs[4], "a server that is away is told with a next step"
    in_file = f'[ledger]\ndatabase_url = "{url}"\n'
    (tmp_path / "home" / "genesis.toml").write_text(in_file, encoding="utf-8")
    refused = run_cli(tmp_path / "home", "config", "check")
    assert refused.returncode != 0 and "database_password" in refused.stderr + refused.stdout
    assert secret not in refused.stderr + refused.stdout


@pytest.mark.limit(180)
def test_a_database_that_is_away_for_three_seconds(server, database, make_mock, serve):
    """Paid tiers are refused with 503 meanwhile, at once, and afterwards the books are right."""
    mock = make_mock("paid", words=10)
    gateway = serve(make_config([paid(mock)], ledger={"database_url": database}))
    stop = threading.Event()
    answers = []  # (when, status, how long, text)

    def keep_asking():
        while not stop.is_set():
            begin = time.monotonic()
            status, _, text = ask(gateway)
            answers.append((begin, status, time.monotonic() - begin, text))

    memory = []
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(keep_asking) for _ in range(CLIENTS)]
        time.sleep(1)
        memory.append(resident_kib(gateway.pid))
        server.stop()
        away = time.monotonic()
        time.sleep(3)
        memory.append(resident_kib(gateway.pid))
        back = time.monotonic()
        server.start()

        def well_again():
            return next((begin for begin, status, *_ in list(answers) if begin > back and status == 200), None)

        # However long the server takes to start on a busy machine.
        again = wait_until(well_again, seconds=60, what="a 200 after the database came back")
        time.sleep(2)
        stop.set()
        for future in asking:
            future.result()
    answered = [text for begin, status, _, text in answers if away + 0.2 < begin < back - 0.2]
    assert {json.loads(text)["error"]["code"] for text in answered} == {"ledger_unavailable"}, answered[:3]
    during = [(status, took, text) for begin, status, took, text in answers if away + 0.2 < begin < back - 0.2]
    after = [status for begin, status, _, _ in answers if begin > again + 0.5]
    assert during and {status for status, _, _ in during} == {503}, during[:3]
    assert all("ledger" in text for _, _, text in during), during[0]
    assert max(took for _, took, _ in during) < 1, "refused at once, not after a time-out"
    assert after and set(after) == {200}
    assert memory[1] < memory[0] + 20_000, f"resident KiB before and while away: {memory}"
    journal = mock.settle()
    assert gateway.http("GET", "/health")[0] == 200
    gateway.check_end()
    kinds = compare(ledger_rows(gateway), [journal], {"paid"})
    assert gateway.cli("ledger", "verify").returncode == 0
    print(f"{len(answers)} answers, {len(during)} refused while away, attempts closed as {dict(kinds)}, {memory} KiB")


@pytest.mark.limit(120)
def test_keys_while_the_database_is_away(server, database, make_mock, serve):
    """Known keys work on for server.keys_trusted_s and not longer; nobody waits for the database."""
    mock = make_mock("own", words=3)
    own = paid(mock, tier="self_hosted")
    gateway = serve(make_config([own], server={"require_key": True, "keys_trusted_s": 6}, ledger={"database_url": database}))
    key = {"Authorization": f"Bearer {gateway.make_key('ci', '--tenant', 'acme')['key']}"}
    unknown = {"Authorization": f"Bearer {well_formed_key()}"}

    def models(headers=key):
        begin = time.monotonic()
        status, _, text = gateway.http("GET", "/v1/models", headers=headers)
        return status, time.monotonic() - begin, text

    assert models()[0] == 200
    assert models(unknown)[0] == 401
    server.stop()
    away = time.monotonic()
    try:
        status, took, text = models(unknown)
        assert status == 503 and "cannot be checked" in text, "nobody can say that it is wrong"
        assert took < 5
        while time.monotonic() < away + 3:
            status, took, text = models()
            assert status == 200, text
            assert took < 1, "a known key waits for no database"
            time.sleep(0.1)
        wait_until(lambda: models()[0] == 503, 15, "the snapshot is too old")
        assert gateway.http("GET", "/health")[0] == 200
    finally:
        server.start()
    wait_until(lambda: models()[0] == 200, 15, "the keys are read again")
    assert models(unknown)[0] == 401


@pytest.mark.limit(300)
def test_two_gateways_and_one_that_is_killed(database, make_mock, tmp_path, rng):
    """Two homes, one database, kill -9 of one again and again: the books equal the provider's."""
    mock = make_mock("paid", words=20, between_ms=1)
    config = make_config([paid(mock)], ledger={"database_url": database})
    homes = [tmp_path / "one", tmp_path / "two"]
    stop = threading.Event()
    whole = [0, 0]
    gateways = [Gateway(homes[0], config).start()]
    # What a second gateway needs to check the same keys.
    (homes[1] / "data").mkdir(parents=True)
    shutil.copy(homes[0] / "data/key-pepper", homes[1] / "data/key-pepper")
    gateways.append(Gateway(homes[1], config).start())

    def keep_asking(i):
        while not stop.is_set():
            try:
                with Wire(gateways[i].port, timeout=10) as wire:
                    wire.request("POST", CHAT, {"model": "auto", "messages": [{"role": "user", "content": "a b"}]})
                    good = wire.response()[0] == 200
                whole[i] += good
            except (OSError, AssertionError):
                time.sleep(0.02)

    kills = 8
    with concurrent.futures.ThreadPoolExecutor(2 * CLIENTS) as pool:
        asking = [pool.submit(keep_asking, i % 2) for i in range(2 * CLIENTS)]
        for _ in range(kills):
            time.sleep(0.2 + rng.random() * 0.3)
            gateways[1].kill()
            gateways[1] = Gateway(homes[1], config).start()
        time.sleep(0.3)
        gateways[1].kill()
        stop.set()
        for future in asking:
            future.result()
    gateways[1] = Gateway(homes[1], config).start()
    journal = mock.settle(60)
    for gateway in gateways:
        gateway.check_end()
    verified = gateways[0].cli("ledger", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    kinds = compare(ledger_rows(gateways[0]), [journal], {"paid"}, killed=True)
    print(f"{kills + 1} kills, {whole} whole answers, {len(journal)} attempts, closed as {dict(kinds)}")
    assert whole[0] > 20 and whole[1] > 20
    open_attempts = gateways[0].cli_json("ledger", "verify")["open_attempts"]
    assert open_attempts == 0
