"""An engine under a cap on its memory: what does not fit is refused or answered elsewhere, and nothing falls over."""

import json
import os
import resource
import socket

import pytest
from harness.adapters import random_adapter
from harness.gateway import MODEL, listing, local, make_config, paid
from harness.process import BIN, Process, wait_until

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 3}


@pytest.mark.limit(180)
def test_a_model_that_does_not_fit_leaves_the_work_to_the_next_tier(local_home, make_mock, serve):
    mock = make_mock("managed")
    config = make_config([local(), paid(mock, tier="managed")], engine={"threads": 1, "memory_mib": 120})
    gateway = serve(config, home=local_home)
    for _ in range(5):
        status, headers, text = gateway.http("POST", CHAT, BODY)
        assert status == 200, text
        assert headers["x-genesis-endpoint"] == "managed"

    def given_up():
        rows = listing(gateway.cli_json("ps"))
        return rows and rows[0]["state"] == "broken"

    wait_until(given_up, 90, "the engine is given up")
    status, headers, _ = gateway.http("POST", CHAT, BODY)
    assert (status, headers["x-genesis-endpoint"]) == (200, "managed")
    assert "memory" in gateway.log.read_text().lower()


class Capped(Process):
    """An engine whose address space ends a little above what it has when it is ready."""

    def http(self, path, body):
        host, port = self.ready["listen"].rsplit(":", 1)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        head += f"authorization: Bearer key\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(head.encode() + data)
            raw = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, text = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(text)

    def cap(self, more_mib):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        limit = pages * resource.getpagesize() + more_mib * 1024 * 1024
        resource.prlimit(self.pid, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.limit(120)
def test_an_adapter_too_many_is_refused_and_the_others_answer(model_store, tmp_path):
    environment = os.environ | {"GENESIS_HOME": str(model_store.parent), "GENESIS_API_KEY": "key"}
    arguments = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "1", "--kv-mib", "32"]
    folder = random_adapter(tmp_path / "agent", 1, rank=64)
    ask = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
    with Capped(arguments, environment, tmp_path / "engine.log") as engine:
        reference = engine.http("/v1/completions", ask | {"model": MODEL})[1]["choices"]
        engine.cap(more_mib=160)
        loaded = 0
        for number in range(40):
            order = {"lora_name": f"agent{number}", "lora_path": str(folder)}
            status, answer = engine.http("/v1/load_lora_adapter", order)
            if status != 200:
                break
            loaded += 1
        assert 1 <= loaded < 40, loaded
        assert status in (429, 503, 507) or 400 <= status < 600
        assert "memory" in answer["error"]["message"], answer
        assert engine.http("/v1/completions", ask | {"model": MODEL})[1]["choices"] == reference
        assert engine.http("/v1/completions", ask | {"model": "agent0"})[0] == 200
        status, _ = engine.http("/v1/unload_lora_adapter", {"lora_name": "agent0"})
        assert status == 200
