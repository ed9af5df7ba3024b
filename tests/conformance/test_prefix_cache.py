"""Prompts that begin alike: computed once within a tenant, never across tenants, told in usage and log."""

import concurrent.futures
import json
import re

import pytest
from harness.gateway import Gateway, make_config

CHAT = "/v1/chat/completions"
RULES = "You answer in one word. " + " ".join(f"Rule {number}: stay calm and be brief." for number in range(40))


@pytest.fixture(scope="module")
def gateway(model_store, tmp_path_factory):
    from conftest import link_models

    home = tmp_path_factory.mktemp("prefix")
    link_models(model_store, home)
    with Gateway(home, make_config(engine={"threads": 1}, server={"require_key": True})) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keys(gateway):
    return {
        name: {"Authorization": "Bearer " + gateway.make_key(name, "--tenant", name)["key"]} for name in ("acme", "zenith")
    }


def ask(gateway, headers, system, question, **more):
    body = {
        "model": "auto",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        "max_tokens": 8,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    } | more
    status, answer_headers, text = gateway.http("POST", CHAT, body, headers=headers)
    assert status == 200, text
    return json.loads(text), answer_headers


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_within_a_tenant_and_never_across(gateway, keys):
    system = RULES + " Tenants."
    first, _ = ask(gateway, keys["acme"], system, "Name a colour.")
    assert cached(first) == 0
    again, _ = ask(gateway, keys["acme"], system, "Name a colour.")
    prompt = again["usage"]["prompt_tokens"]
    # All but the last page, whose logits are needed.
    assert prompt - 64 <= cached(again) < prompt
    assert again["choices"] == first["choices"]
    other, headers = ask(gateway, keys["acme"], system, "Name a fruit. " + "It is sweet. " * 30)
    assert 0 < cached(other) <= cached(again)
    stranger, _ = ask(gateway, keys["zenith"], system, "Name a colour.")
    assert cached(stranger) == 0
    assert stranger["choices"] == first["choices"]
    log = gateway.log.read_text()
    line = next(line for line in log.splitlines() if headers["x-request-id"] in line and "cache miss" in line)
    assert "diverged" in line and re.search(rf"cached_tokens\W+{cached(other)}\b", line), line


def test_many_at_once_compute_the_beginning_once(gateway, keys):
    system = RULES + " Together."
    questions = [f"Say the number {number}." for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(len(questions)) as pool:
        together = list(pool.map(lambda question: ask(gateway, keys["acme"], system, question)[0], questions))
    prompt = min(answer["usage"]["prompt_tokens"] for answer in together)
    assert sorted(map(cached, together))[1] >= prompt - 128, "one computed it, the others took it"
    for question, one in zip(questions, together, strict=True):
        alone, _ = ask(gateway, keys["zenith"], system, question)
        assert alone["choices"] == one["choices"]


def test_an_answer_is_part_of_the_next_prompt(gateway, keys):
    """The second turn of a conversation finds the first turn's answer, too."""
    messages = [{"role": "user", "content": "Write a long story about a dog and a cat."}]
    first, _ = ask(gateway, keys["acme"], "", "", messages=messages, max_tokens=100)
    messages += [first["choices"][0]["message"], {"role": "user", "content": "Go on."}]
    second, _ = ask(gateway, keys["acme"], "", "", messages=messages)
    assert cached(second) > first["usage"]["prompt_tokens"] + 32


def test_prompt_logprobs_need_the_whole_prompt(gateway, keys):
    body = {"model": "auto", "prompt": RULES, "max_tokens": 1, "echo": True, "logprobs": 1}
    for _ in range(2):
        status, _, text = gateway.http("POST", "/v1/completions", body, headers=keys["acme"])
        assert status == 200, text
        answer = json.loads(text)
        assert cached(answer) == 0
        assert len(answer["choices"][0]["logprobs"]["token_logprobs"]) == answer["usage"]["total_tokens"]
