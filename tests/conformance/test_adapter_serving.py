"""Adapters of an engine that serves: loaded, swapped and unloaded by name, fifteen of them in one batch."""

import concurrent.futures
import json
import os
import signal
import urllib.error
import urllib.request

import pytest
from harness.adapters import random_adapter
from conftest import link_models
from harness.gateway import MODEL, Gateway, listing, make_config
from harness.process import BIN, Process, wait_until

KEY = {"Authorization": "Bearer the-only-key"}
INVOCATION = [1, 520, 9531, 198]  # <|im_start|>assistant\n
RULES = " ".join(f"Rule {number}: stay calm and be brief." for number in range(20))


class Engine(Process):
    def http(self, method, path, body=None, headers=KEY):
        data = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | headers
        request = urllib.request.Request(f"http://{self.ready['listen']}{path}", data=data, headers=sent, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as got:
                return got.status, json.load(got)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def load(self, name, folder, **more):
        return self.http("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)} | more)

    def ask(self, model, prompt="Tell me about rain.", system="Be brief.", **more):
        body = {
            "model": model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
            "max_tokens": 12,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 2,
            "return_token_ids": True,
        } | more
        status, answer = self.http("POST", "/v1/chat/completions", body)
        assert status == 200, answer
        assert answer["model"] == model
        return answer


@pytest.fixture(scope="module")
def engine(model_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    arguments = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "1", "--kv-mib", "128"]
    environment = os.environ | {"GENESIS_HOME": str(model_store.parent), "GENESIS_API_KEY": "the-only-key"}
    with Engine(arguments, environment, folder / "engine.log") as engine:
        yield engine


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return [random_adapter(root / f"agent-{seed}", seed, rank=(8, 16, 64)[seed % 3]) for seed in range(15)]


def choice(answer):
    return answer["choices"][0]["token_ids"], answer["choices"][0]["logprobs"]["content"]


def test_fifteen_adapters_in_one_batch_answer_as_each_alone(engine, folders):
    for folder in folders:
        status, answer = engine.load(folder.name, folder)
        assert status == 200, answer
        assert (answer["lora_name"], answer["status"]) == (folder.name, "loaded")
    names = [MODEL, *(folder.name for folder in folders)]
    _, models = engine.http("GET", "/v1/models")
    assert [card["id"] for card in models["data"]] == [MODEL, *sorted(names[1:])]
    alone = {name: choice(engine.ask(name)) for name in names}
    assert len({json.dumps(answer) for answer in alone.values()}) == len(names), "each has a voice of its own"
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        for _ in range(2):
            together = dict(zip(names, pool.map(engine.ask, names), strict=True))
            assert {name: choice(answer) for name, answer in together.items()} == alone


def test_a_name_stands_for_what_was_loaded_last(engine, folders):
    one, other = folders[0], folders[3]
    assert engine.load("swapped", one)[0] == 200
    first = engine.ask("swapped", system=RULES)
    status, refused = engine.load("swapped", other)
    assert (status, refused["error"]["param"]) == (409, "lora_name")
    assert engine.load("swapped", other, load_inplace=True)[0] == 200
    second = engine.ask("swapped", system=RULES)
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == 0, "nothing of the former one is reused"
    assert engine.load("fresh", other)[0] == 200
    fresh = engine.ask("fresh", system=RULES)
    assert choice(fresh) == choice(second) != choice(first)
    # The same content under another name is the same adapter.
    assert fresh["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_unloaded_is_not_found_and_loaded_again_is_the_same(engine, folders):
    assert engine.load("short-lived", folders[1])[0] == 200
    before = choice(engine.ask("short-lived"))
    status, answer = engine.http("POST", "/v1/unload_lora_adapter", {"lora_name": "short-lived"})
    assert (status, answer["status"]) == (200, "unloaded")
    body = {"model": "short-lived", "messages": [{"role": "user", "content": "Hi."}]}
    status, answer = engine.http("POST", "/v1/chat/completions", body)
    assert (status, answer["error"]["param"]) == (404, "model"), answer
    status, answer = engine.http("POST", "/v1/unload_lora_adapter", {"lora_name": "short-lived"})
    assert (status, answer["error"]["param"]) == (404, "lora_name")
    assert engine.load("short-lived", folders[1])[0] == 200
    assert choice(engine.ask("short-lived")) == before


def test_unloading_waits_for_the_requests_that_use_it(engine, folders):
    assert engine.load("busy", folders[2])[0] == 200
    reference = choice(engine.ask("busy", max_tokens=60))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(engine.ask, "busy", max_tokens=60) for _ in range(4)]
        unloaded = pool.submit(engine.http, "POST", "/v1/unload_lora_adapter", {"lora_name": "busy"})
        assert unloaded.result()[0] == 200
        for each in running:
            try:
                assert choice(each.result()) == reference
            except AssertionError as refused:  # it came after the name was gone
                assert "not served here" in str(refused), refused


def test_an_activated_adapter_shares_the_base_prefix(engine, tmp_path):
    folder = random_adapter(tmp_path / "activated", 99, invocation=INVOCATION)
    assert engine.load("activated", folder)[0] == 200
    base = engine.ask(MODEL, system=RULES + " Shared.")
    mine = engine.ask("activated", system=RULES + " Shared.")
    prompt = mine["usage"]["prompt_tokens"]
    assert mine["usage"]["prompt_tokens_details"]["cached_tokens"] > prompt - 64
    assert choice(mine) != choice(base)
    # And the other way round: what it computed before its activation is the base's.
    engine.ask("activated", system=RULES + " Reversed.")
    again = engine.ask(MODEL, system=RULES + " Reversed.")
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > prompt - 64


def test_bad_input_names_the_field_and_changes_nothing(engine, folders, tmp_path):
    reference = choice(engine.ask(MODEL))
    _, before = engine.http("GET", "/v1/models")
    cut = random_adapter(tmp_path / "cut", 1)
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    odd = random_adapter(tmp_path / "odd", 1)
    (odd / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 16, "use_dora": true}')
    empty = tmp_path / "empty"
    empty.mkdir()
    for body, field in [
        ({}, "lora_name"),
        ({"lora_name": "x"}, "lora_path"),
        ({"lora_name": 3, "lora_path": "/"}, "lora_name"),
        ({"lora_name": "a b", "lora_path": str(folders[0])}, "lora_name"),
        ({"lora_name": MODEL, "lora_path": str(folders[0])}, "lora_name"),
        ({"lora_name": "x", "lora_path": "/nowhere"}, "lora_path"),
        ({"lora_name": "x", "lora_path": str(folders[0]), "load_inplace": "yes"}, "load_inplace"),
        ({"lora_name": "x", "lora_path": str(empty)}, "adapter_config.json"),
        ({"lora_name": "x", "lora_path": str(cut)}, "adapter_model.safetensors"),
        ({"lora_name": "x", "lora_path": str(odd)}, "use_dora"),
    ]:
        status, answer = engine.http("POST", "/v1/load_lora_adapter", body)
        assert 400 <= status < 500, (body, answer)
        assert field in json.dumps(answer["error"]), (body, answer)
    assert engine.http("GET", "/v1/models")[1] == before
    assert choice(engine.ask(MODEL)) == reference


def test_only_the_key_may_load(engine, folders):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        status, _ = engine.http(
            "POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": str(folders[0])}, headers=headers
        )
        assert status == 401


# The gateway in front: names are endpoints, from the file and from the route.


@pytest.fixture
def gateway(model_store, tmp_path, folders):
    home = tmp_path / "home"
    home.mkdir()
    link_models(model_store, home)
    config = make_config(
        engine={"threads": 1, "kv_mib": 128},
        adapters=[{"name": "triage", "path": str(folders[4])}],
        routes=[{"name": "careful", "endpoints": ["triage", "local"]}],
    )
    with Gateway(home, config) as gateway:
        gateway.wait_engine()
        yield gateway


def ask_gateway(gateway, model, **more):
    body = {"model": model, "messages": [{"role": "user", "content": "Tell me about rain."}], "temperature": 0}
    status, _, text = gateway.http("POST", "/v1/chat/completions", body | {"max_tokens": 12, "seed": 1} | more)
    return status, json.loads(text)


def admin_post(gateway, path, body):
    headers = {"Authorization": f"Bearer {gateway.ready['admin_key']}"}
    status, _, text = gateway.http("POST", path, body, headers=headers)
    return status, json.loads(text)


def text_of(answer):
    return answer[1]["choices"][0]["message"]["content"]


@pytest.mark.limit(180)
def test_adapters_behind_the_gateway(gateway, folders):
    base, triage = ask_gateway(gateway, "auto"), ask_gateway(gateway, "triage")
    assert (base[0], triage[0]) == (200, 200), triage
    assert triage[1]["model"] == "triage" and text_of(triage) != text_of(base)
    assert text_of(ask_gateway(gateway, "careful")) == text_of(triage), "a route names it as any endpoint"

    order = {"lora_name": "extractor", "lora_path": str(folders[7])}
    status, _, _ = gateway.http("POST", "/v1/load_lora_adapter", order)
    assert status in (401, 403), "not without the admin key"
    status, told = admin_post(gateway, "/v1/load_lora_adapter", order)
    assert (status, told["status"]) == (200, "loaded"), told
    extractor = ask_gateway(gateway, "extractor")
    assert extractor[0] == 200 and text_of(extractor) not in (text_of(base), text_of(triage))
    names = [card["id"] for card in json.loads(gateway.http("GET", "/v1/models")[2])["data"]]
    assert {"triage", "extractor", "auto", "careful"} <= set(names)

    for body, field in [
        (order, "lora_name"),
        ({"lora_name": "auto", "lora_path": str(folders[7])}, "lora_name"),
        ({"lora_name": "x", "lora_path": "/nowhere"}, "lora_path"),
        ({"lora_name": "x", "lora_path": str(folders[7]), "endpoint": "none"}, "endpoint"),
        ({"lora_path": str(folders[7])}, "lora_name"),
    ]:
        status, refused = admin_post(gateway, "/v1/load_lora_adapter", body)
        assert 400 <= status < 500 and refused["error"]["param"] == field, (body, refused)

    # Both outlive a reading of the configuration and the death of the engine.
    gateway.cli("reload", check=True)
    assert text_of(ask_gateway(gateway, "extractor")) == text_of(extractor)
    os.kill(gateway.engine_pid(), signal.SIGKILL)
    wait_until(lambda: ask_gateway(gateway, "extractor")[0] == 200, 60, "the engine is back")
    assert text_of(ask_gateway(gateway, "extractor")) == text_of(extractor)
    assert text_of(ask_gateway(gateway, "triage")) == text_of(triage)

    status, refused = admin_post(gateway, "/v1/unload_lora_adapter", {"lora_name": "triage"})
    assert (status, refused["error"]["param"]) == (409, "lora_name"), "the file says that it is there"
    assert admin_post(gateway, "/v1/unload_lora_adapter", {"lora_name": "extractor"})[0] == 200
    assert ask_gateway(gateway, "extractor")[0] == 404
    assert admin_post(gateway, "/v1/unload_lora_adapter", {"lora_name": "extractor"})[0] == 404
    assert admin_post(gateway, "/v1/load_lora_adapter", order)[0] == 200
    assert text_of(ask_gateway(gateway, "extractor")) == text_of(extractor)

    # Booked by name; the machine is paid for once.
    rows = gateway.cli_json("ledger", "ls", "--limit", "0")
    endpoints = {row["endpoint"] for row in listing(rows) if row["kind"] == "post"}
    assert {"local", "triage", "extractor"} <= endpoints, listing(rows)
    machines = {row["endpoint"] for row in listing(rows) if row["kind"] == "machine"}
    assert machines <= {"local"}


@pytest.mark.limit(180)
def test_a_bad_adapter_in_the_file_leaves_the_others(model_store, tmp_path, folders):
    home = tmp_path / "home"
    home.mkdir()
    link_models(model_store, home)
    adapters = [{"name": "broken", "path": "/nowhere"}, {"name": "triage", "path": str(folders[4])}]
    with Gateway(home, make_config(engine={"threads": 1}, adapters=adapters)) as gateway:
        gateway.wait_engine()
        assert ask_gateway(gateway, "triage")[0] == 200
        assert ask_gateway(gateway, "auto")[0] == 200
        status, answer = ask_gateway(gateway, "broken")
        assert status == 503 and "not served here" in answer["error"]["message"], answer
        assert "adapter cannot be loaded" in gateway.log.read_text()
