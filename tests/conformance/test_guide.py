"""docs/move-your-fleet.md works word for word: its shell blocks, one after the other, in one shell."""

import json
import os
import pathlib
import re
import socket
import subprocess

import pytest
from harness.gateway import BIN, MODEL

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "move-your-fleet.md"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.limit(240)
def test_the_guide_word_for_word(model_store, tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 8
    clone = tmp_path / "clone"
    (clone / "build/release").mkdir(parents=True)
    (clone / "build/release/bin").symlink_to(BIN.parent)
    home = clone / "fleet" / "home"
    home.mkdir(parents=True)
    (home / "models").symlink_to(model_store)
    # Other tests may hold the guide's ports: these three numbers are all that is changed.
    script = "\n".join(blocks).replace(":8080", f":{free_port()}")
    script = script.replace(":9101", f":{free_port()}").replace(":9102", f":{free_port()}")
    script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script + "\nwait $(cat serve.pid) || true\n"
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    done = subprocess.run(["bash", "-c", script], cwd=clone, env=kept | {"HOME": str(tmp_path)},
                          capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{(clone / 'fleet/serve.log').read_text()}"
    for expected in ("gpt-4o", "Paris", "drill", "own", "openai", "qa", "signature"):
        assert expected.lower() in done.stdout.lower(), f"{expected} is not in:\n{done.stdout}\n{done.stderr}"
    # The mock provider was asked once, and its journal agrees with the ledger about the tokens.
    journal = [json.loads(line) for line in (clone / "fleet/provider.journal").read_text().splitlines()]
    assert len(journal) == 1, journal
    assert MODEL in (home / "genesis.toml").read_text()
