"""Savings as evidence: signed reports that anybody can check, rows as CSV, and what a team brings along."""

import base64
import csv
import io
import json
import subprocess

import pytest
from harness.books import ledger_rows
from harness.gateway import make_config, paid

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "one two three"}]
# The fixed head of an Ed25519 public key in DER (RFC 8410).
DER_HEAD = bytes.fromhex("302a300506032b6570032100")


@pytest.fixture
def used(make_mock, serve):
    """A stopped gateway with six posted requests at a paid mock, two of them of a tenant with an odd name."""
    mock = make_mock("paid", words=20)
    gateway = serve(make_config([paid(mock)], ledger={"baseline_model": "gpt-4o"}))
    key = gateway.make_key("odd", "--tenant", '=cmd|"x"')["key"]
    for i in range(6):
        headers = {"Authorization": f"Bearer {key}"} if i < 2 else None
        status, _, _ = gateway.http("POST", CHAT, {"model": "auto", "messages": MESSAGES}, headers=headers)
        assert status == 200
    mock.settle()
    gateway.check_end()
    return gateway


def database(gateway):
    return next(iter(sorted(gateway.home.rglob("*.db"))))


@pytest.fixture
def report(used, tmp_path):
    file = tmp_path / "report.json"
    used.cli("savings", "--by", "tenant", "--signed", str(file), check=True)
    return file


def test_a_report_is_checked_without_and_with_the_ledger(used, report):
    key = used.cli("ledger", "pubkey", check=True).stdout.strip()
    assert key.startswith("ed25519:")
    alone = used.cli_json("savings", "verify", str(report), "--pubkey", key)
    assert alone["ok"] and not alone["recomputed"] and alone["public_key"] == key
    whole = used.cli_json("savings", "verify", str(report), "--ledger", str(database(used)))
    assert whole["ok"] and whole["recomputed"]
    assert "this installation" in whole["signer"]
    payload = json.loads(report.read_text())["payload"]
    assert payload["report"]["pins"][0]["model"] == "gpt-4o"
    assert payload["report"]["chain"]["rows"] == 1 + 2 * 6
    assert {price["source"] for price in payload["report"]["prices"]}


def test_the_signature_is_plain_ed25519(report, tmp_path):
    """Checked by openssl from the description in the documentation alone."""
    file = json.loads(report.read_text())
    text = json.dumps(file["payload"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (tmp_path / "text").write_bytes(b"genesis savings report 1\n" + text.encode())
    (tmp_path / "signature").write_bytes(base64.b64decode(file["signature"]["value"]))
    raw = base64.b64decode(file["signature"]["public_key"].removeprefix("ed25519:"))
    (tmp_path / "key.der").write_bytes(DER_HEAD + raw)
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin"]
        + ["-in", "text", "-sigfile", "signature"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_changed_is_found(used, report):
    good = report.read_text()
    saving = json.loads(good)["payload"]["report"]["saving_nano_usd"]
    report.write_text(good.replace(f'"saving_nano_usd":{saving}', f'"saving_nano_usd":{saving + 1}'))
    done = used.cli("savings", "verify", str(report))
    assert done.returncode == 7, done.stdout + done.stderr
    report.write_text(good)
    other = "ed25519:" + base64.b64encode(bytes(32)).decode()
    assert used.cli("savings", "verify", str(report), "--pubkey", other).returncode == 7
    # The ledger of somebody else.
    path = database(used)
    rows = used.cli_json("ledger", "ls")
    data = path.read_bytes()
    path.write_bytes(data.replace(rows[1]["request_id"].encode(), b"x" * len(rows[1]["request_id"])))
    done = used.cli("savings", "verify", str(report), "--ledger", str(path))
    assert done.returncode == 7, done.stdout + done.stderr
    report.write_text("{}")
    assert used.cli("savings", "verify", str(report)).returncode == 2


def test_the_signing_key_is_private(used, report):
    key = next(iter(used.home.rglob("report_key.pem")))
    assert key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in report.read_text()


def test_rows_and_groups_as_csv(used):
    text = used.cli("ledger", "export", check=True).stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 1 + len(ledger_rows(used))
    assert rows[0]["kind"] == "pin" and rows[0]["baseline_model"] == "gpt-4o"
    assert {row["tenant"] for row in rows} == {"operator", "default", "'=cmd|\"x\""}, "no formula survives"
    total = sum(int(row["amount_nano_usd"]) for row in rows if row["kind"] == "post")
    text = used.cli("savings", "--by", "tenant", "--csv", "-", check=True).stdout
    groups = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [group["tenant"] for group in groups] == ["default", "'=cmd|\"x\"", "total"]
    assert float(groups[-1]["spend_usd"]) == total / 1e9


LITELLM = """
model_list:
  - model_name: auto
    litellm_params:
      model: openai/mock-model
      api_base: {url}
      api_key: sk-CANARY-literal
      input_cost_per_token: 2.5e-06
      output_cost_per_token: 1.0e-05
      rpm: 5
general_settings:
  master_key: sk-CANARY-master
"""


def test_a_litellm_configuration_serves(make_mock, serve, tmp_path, used):
    mock = make_mock("moved", words=5)
    source = tmp_path / "config.yaml"
    source.write_text(LITELLM.format(url=mock.url + "/v1"))
    target = tmp_path / "genesis.toml"
    done = used.cli("import", "litellm", str(source), "-o", str(target), check=True)
    assert "CANARY" not in done.stdout + done.stderr + target.read_text()
    assert "not carried over: line 10" in done.stderr, "the rate limit has no counterpart"
    assert used.cli("import", "litellm", str(source), "-o", str(target)).returncode == 1, "never overwrites"
    gateway = serve(target.read_text(), environment={"OPENAI_API_KEY": "k"})
    assert gateway.http("POST", CHAT, {"model": "auto", "messages": MESSAGES})[0] == 200
    gateway.check_end()


def test_a_usage_export_is_valued(used, tmp_path):
    file = tmp_path / "usage.csv"
    file.write_text("start_time_iso,model,input_tokens,output_tokens\n2025-11-05T00:00:00Z,gpt-4o,1000000,100000\n")
    told = used.cli_json("import", "usage", str(file))
    assert told["paid_nano_usd"] == 3_500_000_000
    assert told["models"][0]["valued_as"] == "gpt-4o"
    assert any("projection" in line for line in told["method"])
    file.write_text("start_time_iso,model,input_tokens\n2025-11-05,gpt-4o,x\n")
    done = used.cli("import", "usage", str(file))
    assert done.returncode == 2 and "line 2" in done.stderr
