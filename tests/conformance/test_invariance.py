"""Answers do not depend on neighbours: the same request alone and in a batch of eight, bit for bit."""

import concurrent.futures
import json

import pytest

PROMPTS = [
    "Write one sentence about the sea.",
    "List three fruits.",
    "What is 12 times 12?",
    "Explain rain to a child in two sentences, and then say why clouds are white.",
    "Name a colour.",
    "Translate 'good morning' into French.",
    "Once upon a time",
    "def add(a, b):",
]


def ask(gateway, prompt, **more):
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 24,
        "logprobs": True,
        "top_logprobs": 4,
        "return_token_ids": True,
    } | more
    status, _, text = gateway.http("POST", "/v1/chat/completions", body)
    assert status == 200, text
    choice = json.loads(text)["choices"][0]
    return choice["token_ids"], choice["logprobs"]["content"], choice["message"]["content"]


@pytest.mark.parametrize(
    "sampling", [{"temperature": 0}, {"temperature": 0.9, "top_p": 0.9, "seed": 11}], ids=["greedy", "sampled"]
)
def test_alone_equals_in_a_batch_of_eight(local_gateway, sampling):
    alone = [ask(local_gateway, prompt, **sampling) for prompt in PROMPTS]
    with concurrent.futures.ThreadPoolExecutor(len(PROMPTS)) as pool:
        for _ in range(2):
            together = list(pool.map(lambda prompt: ask(local_gateway, prompt, **sampling), PROMPTS))
            for prompt, one, many in zip(PROMPTS, alone, together, strict=True):
                assert one[0] == many[0], f"tokens differ: {prompt}"
                assert one[1] == many[1], f"logprobs differ: {prompt}"


def test_the_same_request_eight_times(local_gateway):
    reference = ask(local_gateway, PROMPTS[0], temperature=0)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(local_gateway, PROMPTS[0], temperature=0), range(8)))
    assert all(answer == reference for answer in answers)


def test_a_long_neighbour_changes_nothing(local_gateway):
    """Prefill of a long prompt shares the steps of a short answer."""
    reference = ask(local_gateway, PROMPTS[1], temperature=0)
    long_prompt = "Count the words of this text. " + "alpha beta gamma delta " * 150
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        short = pool.submit(ask, local_gateway, PROMPTS[1], temperature=0)
        for _ in range(2):
            pool.submit(ask, local_gateway, long_prompt, temperature=0, max_tokens=4)
        assert short.result() == reference
