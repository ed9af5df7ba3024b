"""huggingface_hub and text-generation, unmodified, against the TGI routes."""

import json

import huggingface_hub
import pytest
import text_generation
from harness.gateway import MODEL
from huggingface_hub.errors import ValidationError
from text_generation.errors import ValidationError as TgiValidationError

PROMPT = "The capital of France is"


@pytest.fixture
def hub(local_gateway):
    return huggingface_hub.InferenceClient(base_url=local_gateway.url, timeout=60)


@pytest.fixture
def hub_model(local_gateway):
    """The older way to name an endpoint: its address as the model."""
    return huggingface_hub.InferenceClient(model=local_gateway.url, provider="hf-inference", timeout=60)


@pytest.fixture
def tgi(local_gateway):
    return text_generation.Client(local_gateway.url, timeout=60)


def test_text_generation(hub_model):
    text = hub_model.text_generation(PROMPT, max_new_tokens=8)
    assert "Paris" in text
    assert not text.startswith(PROMPT)
    full = hub_model.text_generation(PROMPT, max_new_tokens=8, return_full_text=True)
    assert full == PROMPT + text


def test_text_generation_details(hub_model):
    answer = hub_model.text_generation(PROMPT, max_new_tokens=6, details=True)
    assert answer.details.finish_reason == "length"
    assert answer.details.generated_tokens == 6
    assert len(answer.details.tokens) == 6
    assert "".join(token.text for token in answer.details.tokens) == answer.generated_text
    assert all(token.logprob <= 0 for token in answer.details.tokens)


def test_text_generation_prefill(hub_model):
    answer = hub_model.text_generation(
        PROMPT, max_new_tokens=2, details=True, decoder_input_details=True
    )
    prefill = answer.details.prefill
    assert "".join(token.text for token in prefill).endswith(PROMPT)
    assert all(token.logprob <= 0 for token in prefill[1:])


def test_text_generation_stream(hub_model):
    pieces = list(hub_model.text_generation(PROMPT, max_new_tokens=8, stream=True))
    assert "".join(pieces) == hub_model.text_generation(PROMPT, max_new_tokens=8)
    assert len(pieces) > 3


def test_text_generation_stream_details(hub_model):
    events = list(hub_model.text_generation(PROMPT, max_new_tokens=8, stream=True, details=True))
    assert [event.index for event in events] == list(range(1, len(events) + 1))
    assert all(event.generated_text is None for event in events[:-1])
    last = events[-1]
    assert last.generated_text == "".join(event.token.text for event in events)
    assert last.details.finish_reason == "length"
    assert last.details.generated_tokens == 8


def test_stop_sequence_is_part_of_the_text(hub_model):
    answer = hub_model.text_generation(PROMPT, max_new_tokens=20, stop=["Paris"], details=True)
    assert answer.generated_text.endswith("Paris")
    assert answer.details.finish_reason == "stop_sequence"


def test_top_n_tokens(hub_model):
    answer = hub_model.text_generation(PROMPT, max_new_tokens=3, details=True, top_n_tokens=2)
    assert [len(tops) for tops in answer.details.top_tokens] == [2, 2, 2]


@pytest.mark.parametrize(
    "bad",
    [
        {"max_new_tokens": 0},
        {"temperature": 0.0},
        {"top_p": 1.0},
        {"top_k": 0},
        {"repetition_penalty": 0.0},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"top_n_tokens": 6},
        {"best_of": 3},
        {"max_new_tokens": 1_000_000},
    ],
    ids=str,
)
def test_validation_errors_are_typed(hub_model, bad):
    with pytest.raises(ValidationError) as error:
        hub_model.text_generation(PROMPT, **({"details": True, "max_new_tokens": 4} | bad))
    assert "validation" in str(error.value).lower()


def test_empty_input(hub_model):
    with pytest.raises(ValidationError):
        hub_model.text_generation("", max_new_tokens=4)


def test_chat_completion(hub):
    messages = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    whole = hub.chat_completion(messages, max_tokens=40, temperature=0)
    assert "Paris" in whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    streamed = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in hub.chat_completion(messages, max_tokens=40, temperature=0, stream=True)
        if chunk.choices
    )
    assert streamed == whole.choices[0].message.content


def test_health_and_info(hub_model, local_gateway):
    assert hub_model.health_check() is True
    info = hub_model.get_endpoint_info()
    assert info["model_id"] == MODEL
    assert info["max_total_tokens"] >= info["max_input_tokens"] > 0
    assert len(info["model_sha"]) == 64
    status, _, _ = local_gateway.http("GET", "/health")
    assert status == 200


def test_text_generation_client(tgi):
    whole = tgi.generate(PROMPT, max_new_tokens=8)
    assert "Paris" in whole.generated_text
    assert whole.details.generated_tokens == 8
    text = ""
    last = None
    for event in tgi.generate_stream(PROMPT, max_new_tokens=8):
        text += "" if event.token.special else event.token.text
        last = event
    assert text == whole.generated_text
    assert last.generated_text == whole.generated_text
    assert last.details.finish_reason == "length"


def test_text_generation_client_seed(tgi):
    def sampled(seed):
        return tgi.generate(PROMPT, do_sample=True, seed=seed, max_new_tokens=16).generated_text

    first = sampled(3)
    assert sampled(3) == first
    assert any(sampled(seed) != first for seed in range(4, 9))


def test_text_generation_client_errors(tgi):
    with pytest.raises(TgiValidationError):
        tgi.generate(PROMPT, max_new_tokens=1_000_000)


def test_compat_route(local_gateway):
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 4}}
    status, headers, text = local_gateway.http("POST", "/", body)
    assert status == 200
    assert isinstance(json.loads(text), list), "without streaming `/` answers a list of one"
    assert int(headers["x-generated-tokens"]) == 4
    status, headers, text = local_gateway.http("POST", "/", body | {"stream": True})
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert text.count("data:") == 4
