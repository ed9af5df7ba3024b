"""Clients that go in every phase of a request while memory for keys and values is short: nothing stays behind."""

import concurrent.futures
import json
import os
import socket
import threading
import time

import pytest
from harness.adapters import random_adapter
from harness.gateway import MODEL
from harness.process import BIN, Process, wait_until

CLIENTS, GONE = 20, 1000


class Engine(Process):
    @property
    def address(self):
        host, port = self.ready["listen"].rsplit(":", 1)
        return host, int(port)

    def send(self, body, timeout=60):
        data = json.dumps(body).encode()
        head = "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        connection = socket.create_connection(self.address, timeout)
        connection.sendall(f"{head}content-length: {len(data)}\r\nconnection: close\r\n\r\n".encode() + data)
        return connection

    def ask(self, body):
        with self.send(body) as connection:
            raw = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, text = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(text)

    def metric(self, name):
        with socket.create_connection(self.address, 10) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


@pytest.fixture
def engine(model_store, tmp_path):
    """Memory for 20 pages of 32 tokens: not half of what its clients ask for at once."""
    adapter = random_adapter(tmp_path / "agent", 1)
    arguments = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "2", "--kv-mib", "8"]
    arguments += ["--max-batch", "16", "--adapter", f"agent={adapter}"]
    environment = os.environ | {"GENESIS_HOME": str(model_store.parent)}
    with Engine(arguments, environment, tmp_path / "engine.log") as engine:
        yield engine


def body_of(rng):
    return {
        "model": rng.choice([MODEL, MODEL, "agent"]),
        "prompt": "Count. " * rng.randrange(1, 100) + str(rng.randrange(20)),
        "max_tokens": rng.randrange(1, 250),
        "n": rng.choice([1, 1, 1, 3]),
        "ignore_eos": True,
        "stream": rng.random() < 0.7,
        "temperature": 0,
    }


@pytest.mark.limit(300)
def test_a_thousand_clients_that_go(engine, rng):
    reference = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 20, "temperature": 0}
    answer = engine.ask(reference)[1]["choices"]
    wait_until(lambda: engine.metric("genesis_engine_running") == 0, 10)
    pages = engine.metric("genesis_engine_free_pages")
    assert 10 <= pages <= 40, pages
    descriptors, threads = engine.descriptors(), engine.threads()
    plans = [[(body_of(rng), rng.random() ** 2 * 0.8) for _ in range(GONE // CLIENTS)] for _ in range(CLIENTS)]
    errors = []

    def client(plan):
        for body, stay in plan:
            try:
                connection = engine.send(body)
                time.sleep(stay)
                connection.close()
            except OSError as error:
                errors.append(error)

    clients = [threading.Thread(target=client, args=(plan,)) for plan in plans]
    for each in clients:
        each.start()
    # Somebody who stays gets the right answer meanwhile.
    patient = 0
    while any(each.is_alive() for each in clients):
        status, said = engine.ask(reference)
        assert status in (200, 429), said
        if status == 200:
            assert said["choices"] == answer
            patient += 1
    for each in clients:
        each.join()
    assert not errors and patient > 0
    # Answers that stay and grow beyond the memory together: some must give their pages back meanwhile.
    growing = [
        {"model": MODEL, "prompt": f"Story number {number}:", "max_tokens": 220, "temperature": 0, "ignore_eos": True}
        for number in range(8)
    ]
    with concurrent.futures.ThreadPoolExecutor(len(growing)) as pool:
        assert all(status == 200 for status, _ in pool.map(engine.ask, growing))
    assert engine.metric("genesis_engine_preemptions_total") > 0, "memory was not short"
    wait_until(lambda: engine.metric("genesis_engine_running") + engine.metric("genesis_engine_waiting") == 0, 30)
    assert engine.metric("genesis_engine_free_pages") == pages, "every page is free again"
    wait_until(lambda: engine.descriptors() <= descriptors, 30, "every connection is closed")
    assert engine.threads() == threads
    assert engine.ask(reference)[1]["choices"] == answer
    assert "failed" not in engine.log.read_text()


@pytest.mark.limit(120)
def test_what_can_never_fit_is_told_at_once(engine):
    status, said = engine.ask({"model": MODEL, "prompt": "Count. " * 700, "max_tokens": 500})
    assert status >= 400 and said["error"]["param"] == "prompt", said
    assert "maximum context length" in said["error"]["message"]
