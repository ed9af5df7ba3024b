"""What the ledger tells: spend, baseline and saving that can be recomputed, and a chain that notices."""

import json
import shutil
import sqlite3

import pytest
from harness.books import cost, ledger_rows
from harness.gateway import local, make_config, paid
from harness.process import wait_until

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def used(make_mock, serve):
    """A stopped gateway with ten posted requests at a paid mock."""
    mock = make_mock("paid", words=20)
    gateway = serve(make_config([paid(mock)], ledger={"baseline_model": "gpt-4o"}))
    for i in range(10):
        status, _, _ = gateway.http("POST", CHAT, {"model": "auto", "messages": MESSAGES, "stream": i % 2 == 0})
        assert status == 200
    mock.settle()
    gateway.check_end()
    return gateway


def database(gateway):
    files = sorted(gateway.home.rglob("*.db"))
    assert len(files) == 1, files
    return files[0]


def test_spend_is_exact(used):
    savings = used.cli_json("savings")
    spend = 10 * cost(3, 20)
    assert savings["spend_nano_usd"] == savings["total_cost_nano_usd"] == spend
    # The same tokens at gpt-4o's list price, 2.50 and 10.00 USD per million, are what this mock costs.
    assert savings["baseline_nano_usd"] == spend
    assert savings["saving_nano_usd"] == 0
    assert savings["delivered"] == savings["attempts"] == 10
    assert any("baseline" in line for line in savings["method"])
    text = used.cli("savings", check=True).stdout
    for word in ("total cost", "baseline", "saved", "method", "gpt-4o"):
        assert word in text.lower()
    assert "e-0" not in text, "money in plain decimals"


def test_since(used):
    assert used.cli_json("savings", "--since", "1h")["delivered"] == 10
    assert used.cli_json("savings", "--since", "2099-01-01")["delivered"] == 0


def test_the_machine_is_never_free(local_home, serve):
    """Local answers cost no tokens, but the hours of the machine count."""
    config = make_config([local()], engine={"threads": 1}, local={"machine_usd_per_hour": "36.00"})
    gateway = serve(config, home=local_home)
    gateway.wait_engine()
    for _ in range(3):
        body = {"model": "auto", "messages": MESSAGES, "max_tokens": 16}
        assert gateway.http("POST", CHAT, body)[0] == 200
    gateway.check_end()
    savings = gateway.cli_json("savings")
    # Started minutes are paid in full: 36 USD an hour is 0.60 USD a minute.
    minutes = savings["machine_minutes"]
    assert minutes >= 1
    assert savings["machine_nano_usd"] == minutes * 600_000_000
    assert savings["total_cost_nano_usd"] >= savings["machine_nano_usd"]
    assert savings["saving_nano_usd"] < 0, "three short answers do not pay for such a machine"
    assert "EXTRA COST" in gateway.cli("savings", check=True).stdout


def test_a_failed_attempt_is_not_billed_as_an_answer(make_mock, serve):
    primary, fallback = make_mock("primary", words=20), make_mock("fallback", words=20)
    gateway = serve(make_config([paid(primary, tier="managed"), paid(fallback)]))
    primary.script({"fault": "status", "status": 503, "times": -1})
    assert gateway.http("POST", CHAT, {"model": "auto", "messages": MESSAGES})[0] == 200
    gateway.check_end()
    closing = [row for row in ledger_rows(gateway) if row["kind"] != "reserve"]
    amounts = {}
    for row in closing:
        spent = row["amount_nano"] if row["kind"] != "void" else 0
        amounts[row["endpoint"]] = amounts.get(row["endpoint"], 0) + spent
    assert amounts == {"primary": 0, "fallback": cost(3, 20)}


def test_answers_and_log_tell_what_a_request_cost_and_saved(make_mock, serve):
    """All attempts count: one that broke off is paid for as well."""
    primary, fallback = make_mock("primary", words=20), make_mock("fallback", words=20)
    cheap = {"input": "0.25", "output": "1.00"}
    own = {"name": "own", "tier": "self_hosted", "url": fallback.url + "/v1", "model": "own-model",
           "price": {"input": "0", "output": "0"}}
    config = make_config([paid(primary, tier="managed"), paid(fallback, price=cheap), own],
                         ledger={"baseline_model": "gpt-4o"}, log={"format": "json"})
    gateway = serve(config)

    def ask(model, **more):
        status, headers, _ = gateway.http("POST", CHAT, {"model": model, "messages": MESSAGES} | more)
        assert status == 200
        told = headers.get("x-genesis-cost-usd"), headers.get("x-genesis-saved-usd")
        line = wait_until(lambda: logged(headers["x-request-id"]), 10, "the log line")
        return told, (line["cost_usd"], line["saved_usd"])

    def logged(request_id):
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if '"msg":"request"' in line]
        return next((line for line in lines if line["id"] == request_id), None)

    def usd(nano):
        text = f"{nano / 1e9:.9f}".rstrip("0")
        return text + "0" * (2 - len(text.split(".")[1]))

    same = (usd(cost(3, 20)), "0.00")
    assert ask("primary-model") == (same, same)
    told, line = ask("primary-model", stream=True)
    assert (told, line) == ((None, None), same), "a stream's head leaves before its end"
    saving = (usd(cost(3, 20) // 10), usd(cost(3, 20) - cost(3, 20) // 10))
    assert ask("fallback-model") == (saving, saving)
    free = ("0.00", usd(cost(3, 20)))
    assert ask("own-model") == (free, free)
    primary.script({"fault": "cut", "tokens": 3, "times": 1})
    gateway_rows = len(ledger_rows(gateway))
    told, line = ask("primary-model")
    assert told == line
    gateway.cli("ledger", "verify", check=True)
    ended = [row for row in ledger_rows(gateway)[gateway_rows:] if row["kind"] == "post"]
    assert len(ended) == 2 and told[0] == usd(sum(row["amount_nano"] for row in ended))


def test_an_unknown_price_is_never_zero(make_mock, serve):
    mock = make_mock("mystery", words=20)
    endpoint = paid(mock, model="model-without-a-price")
    del endpoint["price"]
    gateway = serve(make_config([endpoint]))
    assert gateway.http("POST", CHAT, {"model": "auto", "messages": MESSAGES})[0] == 200
    gateway.check_end()
    assert gateway.cli_json("savings")["quarantined"] == 1
    assert "quarantine" in gateway.cli("savings", check=True).stdout
    rows = {row["kind"]: row for row in ledger_rows(gateway)}
    assert rows["quarantine"]["amount_nano"] is None
    assert gateway.cli("ledger", "verify").returncode == 0


def test_verify_accepts_what_was_written(used):
    done = used.cli("ledger", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 rows" in done.stdout, "ten requests are twenty rows, and the baseline is pinned before them"


def test_verify_notices_a_changed_row(used):
    """One byte of a stored request id."""
    path = database(used)
    request_id = ledger_rows(used)[0]["request_id"].encode()
    data = bytearray(path.read_bytes())
    at = data.find(request_id)
    assert at > 0
    data[at + len(request_id) - 1] ^= 1
    path.write_bytes(data)
    done = used.cli("ledger", "verify")
    assert done.returncode == 7, done.stdout + done.stderr
    assert done.stderr.strip()


@pytest.mark.limit(240)
def test_verify_notices_any_changed_byte(used, rng):
    """One byte anywhere in the file, forty times."""
    path = database(used)
    original = path.with_suffix(".original")
    shutil.copy(path, original)
    size = path.stat().st_size
    missed = []
    for _ in range(40):
        at = rng.randrange(size)
        data = bytearray(original.read_bytes())
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        done = used.cli("ledger", "verify")
        assert done.returncode >= 0, f"byte {at}: died by signal {-done.returncode}"
        if done.returncode != 7:
            missed.append((at, done.returncode, done.stderr[-200:]))
    shutil.copy(original, path)
    assert not missed, missed
    assert used.cli("ledger", "verify").returncode == 0


@pytest.mark.parametrize("seq", ["7", "(SELECT max(seq) FROM entries)"], ids=["middle", "last"])
def test_verify_notices_a_missing_row(used, seq):
    """A row removed by a tool that knows SQLite."""
    with sqlite3.connect(database(used)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{trigger}"')
        assert connection.execute(f"DELETE FROM entries WHERE seq = {seq}").rowcount == 1
    assert used.cli("ledger", "verify").returncode == 7


def test_a_damaged_ledger_does_not_serve_silently(used):
    """Paid work is not started on books that do not add up to a database."""
    path = database(used)
    data = bytearray(path.read_bytes())
    data[:100] = b"\x00" * 100
    path.write_bytes(data)
    done = used.cli("serve", timeout=60)
    assert done.returncode > 0
    assert str(path.name) in done.stderr or "ledger" in done.stderr
