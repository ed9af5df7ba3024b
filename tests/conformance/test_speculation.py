"""Guessing changes the speed of an answer and nothing of it: tokens and logprobs bit for bit, with it and without."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import urllib.request

import pytest
from harness.adapters import random_adapter
from harness.gateway import MODEL
from harness.process import BIN, Process

TEXT = (
    "The river runs from the hills to the sea. It passes three mills and a bridge. "
    "In spring the water is high and brown, in summer it is low and clear. "
)
PROMPTS = {
    "copy": f"Repeat this text word for word, twice: {TEXT}",
    "list": "Write the numbers from one to thirty, one a line, each as 'Number N: N'.",
    "free": "Why is the sky blue?",
}


def start(model_store, folder, *arguments):
    environment = os.environ | {"GENESIS_HOME": str(model_store.parent)}
    command = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "1", "--kv-mib", "64"]
    return Process([*command, *arguments], environment, folder / f"engine{len(arguments)}.log")


@pytest.fixture(scope="module")
def engines(model_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speculation")
    adapter = random_adapter(folder / "agent", 5, size=0.01)
    named = ["--adapter", f"agent={adapter}"]
    with start(model_store, folder, *named) as guessing, start(model_store, folder, *named, "--no-speculation") as plain:
        yield guessing, plain


@pytest.fixture(scope="module")
def drafted(model_store, tmp_path_factory):
    """An engine whose draft model is the model itself: each of its guesses is right, and dear."""
    folder = tmp_path_factory.mktemp("drafted")
    adapter = random_adapter(folder / "agent", 5, size=0.01)
    with start(model_store, folder, "--adapter", f"agent={adapter}", "--draft", MODEL) as engine:
        yield engine


def get(engine, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{engine.ready['listen']}{path}", data=data, headers={"content-type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=100) as got:
        return got.read().decode()


def counted(engine, name):
    lines = [line for line in get(engine, "/metrics").splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def ask(engine, model, prompt, **more):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 120,
        "logprobs": True,
        "top_logprobs": 3,
        "return_token_ids": True,
    } | more
    choice = json.loads(get(engine, "/v1/chat/completions", body))["choices"][0]
    return choice["token_ids"], choice["logprobs"], choice["finish_reason"]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("model", [MODEL, "agent"])
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.7, "top_p": 0.9, "seed": 3}], ids=str)
def test_the_same_with_and_without(engines, prompt, model, sampling):
    guessing, plain = engines
    assert ask(guessing, model, PROMPTS[prompt], **sampling) == ask(plain, model, PROMPTS[prompt], **sampling)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("model", [MODEL, "agent"])
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.7, "top_p": 0.9, "seed": 3}], ids=str)
def test_the_same_with_a_draft_model(engines, drafted, prompt, model, sampling):
    assert ask(drafted, model, PROMPTS[prompt], **sampling) == ask(engines[1], model, PROMPTS[prompt], **sampling)


def test_a_draft_model_guesses_where_nothing_was_said_before(engines, drafted):
    before = counted(drafted, "genesis_engine_accepted_tokens_total")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, drafted, MODEL, f"Tell me about the number {i}.", temperature=0) for i in range(4)]
        got = [each.result() for each in asked]
    assert counted(drafted, "genesis_engine_accepted_tokens_total") > before
    for i, answer in enumerate(got):
        assert answer == ask(engines[1], MODEL, f"Tell me about the number {i}.", temperature=0)


def test_a_draft_model_that_cannot_be_used_is_named(model_store, tmp_path):
    environment = os.environ | {"GENESIS_HOME": str(model_store.parent)}
    command = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--draft"]
    found = subprocess.run([*command, "nobody"], env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 3 and "nobody" in found.stderr
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    found = subprocess.run([*command, broken], env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode != 0 and "draft model" in found.stderr
    other = tmp_path / "other.gguf"
    weights = pathlib.Path(os.environ["GENESIS_TEST_GGUF"]).read_bytes()
    other.write_bytes(weights.replace(b"<jupyter_start>", b"<jupyter_stxrt>", 1))
    found = subprocess.run([*command, other], env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 78 and "another vocabulary" in found.stderr


def test_stop_strings_and_limits_hold(engines):
    guessing, plain = engines
    for more in ({"stop": ["bridge"]}, {"max_tokens": 7}, {"max_tokens": 1}, {"frequency_penalty": 0.5}):
        more = {"temperature": 0} | more
        assert ask(guessing, MODEL, PROMPTS["copy"], **more) == ask(plain, MODEL, PROMPTS["copy"], **more)


def test_guesses_were_made_and_some_were_right(engines):
    guessing, plain = engines
    for _ in range(3):
        ask(guessing, MODEL, PROMPTS["copy"], temperature=0)
    assert counted(guessing, "genesis_engine_accepted_tokens_total") > 20
    assert counted(guessing, "genesis_engine_guessed_tokens_total") > 20
    assert counted(plain, "genesis_engine_guessed_tokens_total") == 0
