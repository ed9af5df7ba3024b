"""Upstreams that refuse, stay silent, break off or lie, seen by the unmodified openai client.

The scenario numbers are those of failoverbench (methodology v0.1): one misbehaving provider, one
fallback. The mock's journal tells what really arrived there.
"""

import json
import time

import openai
import pytest
from harness.books import compare, ledger_rows
from harness.gateway import BUDGETS, make_config, paid
from harness.mock import answer
from harness.process import wait_until
from harness.wire import Wire, sse_events

WHOLE = answer(60)
MESSAGES = [{"role": "user", "content": "Tell me about the fleet."}]


class Tiers:
    """A gateway with a primary and, unless told otherwise, a fallback."""

    def __init__(self, make_mock, serve, fallback=True, budgets=None, **options):
        limits = BUDGETS | (budgets or {})
        self.primary = make_mock("primary", **options)
        endpoints = [paid(self.primary, tier="managed", budgets=limits)]
        self.fallback = None
        if fallback:
            self.fallback = make_mock("fallback", **options)
            endpoints.append(paid(self.fallback, budgets=limits))
        self.gateway = serve(make_config(endpoints))
        self.client = openai.OpenAI(base_url=self.gateway.base_url, api_key="none", max_retries=0, timeout=60)

    def whole(self, **more):
        raw = self.client.chat.completions.with_raw_response.create(
            model="auto", messages=MESSAGES, **more
        )
        return raw.parse(), raw.headers

    def streamed(self, **more):
        """(text, finish reason) of a stream; errors are raised."""
        text, finish = "", None
        for chunk in self.client.chat.completions.create(
            model="auto", messages=MESSAGES, stream=True, **more
        ):
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
                finish = chunk.choices[0].finish_reason or finish
        return text, finish

    def text(self, stream):
        return self.streamed()[0] if stream else self.whole()[0].choices[0].message.content

    def attempts(self, which="primary"):
        return getattr(self, which).settle()


@pytest.fixture
def tiers(make_mock, serve):
    return lambda **options: Tiers(make_mock, serve, **options)


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def healthy_again(t, stream=True):
    """After each scenario a healthy request succeeds within ten seconds."""
    t.primary.reset()
    begin = time.monotonic()
    assert t.text(stream) == WHOLE
    assert time.monotonic() - begin < 10


@both_ways
def test_healthy(tiers, stream):
    t = tiers()
    assert t.text(stream) == WHOLE
    assert len(t.attempts("primary")) == 1
    assert not t.attempts("fallback")


BEFORE_THE_FIRST_BYTE = {
    "429": {"fault": "status", "status": 429},
    "429 with Retry-After": {"fault": "status", "status": 429, "retry_after": 30},
    "500": {"fault": "status", "status": 500},
    "502": {"fault": "status", "status": 502},
    "503": {"fault": "status", "status": 503},
    "503 with Retry-After": {"fault": "status", "status": 503, "retry_after": 30},
    "504": {"fault": "status", "status": 504},
    "529": {"fault": "status", "status": 529},
    "wrong key": {"fault": "status", "status": 401, "code": "invalid_api_key"},
    "unknown model": {"fault": "status", "status": 404, "code": "model_not_found"},
    "reset": {"fault": "reset"},
    "closed": {"fault": "close"},
    "html": {"fault": "html"},
}


@both_ways
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_BYTE.values(), ids=BEFORE_THE_FIRST_BYTE.keys())
def test_the_fallback_answers(tiers, fault, stream):
    """S02, S04: whatever goes wrong before the first byte, the next endpoint answers."""
    t = tiers()
    t.primary.script(fault | {"times": -1})
    begin = time.monotonic()
    assert t.text(stream) == WHOLE
    assert time.monotonic() - begin < 10
    assert 1 <= len(t.attempts("primary")) <= 4
    assert len(t.attempts("fallback")) == 1
    healthy_again(t, stream)


@both_ways
def test_refused_connections(make_mock, serve, stream):
    """A port that nobody listens on, in front of a healthy fallback."""
    t = Tiers(make_mock, serve)
    t.primary.kill()
    begin = time.monotonic()
    for _ in range(3):
        assert t.text(stream) == WHOLE
    assert time.monotonic() - begin < 10


@both_ways
def test_s01_retry_after_is_honoured(tiers, stream):
    """429 with Retry-After 2, no other endpoint: not asked again before that time."""
    t = tiers(fallback=False)
    t.primary.script({"fault": "status", "status": 429, "retry_after": 2})
    assert t.text(stream) == WHOLE
    times = [line["received_ms"] for line in t.attempts()]
    assert len(times) == 2
    assert times[1] - times[0] >= 1800


def test_s02_few_attempts_on_a_limited_provider(tiers):
    t = tiers()
    t.primary.script({"fault": "status", "status": 429, "times": -1})
    for _ in range(3):
        assert t.text(True) == WHOLE
    assert len(t.attempts()) <= 6


@both_ways
@pytest.mark.parametrize("fault", [{"fault": "status", "status": 500}, "reset"], ids=["s03 500", "s05 reset"])
def test_s03_s05_one_failure_costs_no_answer(tiers, fault, stream):
    """No fallback: one more try at the same provider."""
    t = tiers(fallback=False)
    t.primary.script(fault)
    assert t.text(stream) == WHOLE
    assert len(t.attempts()) == 2


def test_s04_the_original_error_without_a_fallback(tiers):
    t = tiers(fallback=False)
    t.primary.script({"fault": "status", "status": 503, "times": -1, "message": "out for lunch"})
    with pytest.raises(openai.InternalServerError) as error:
        t.whole()
    assert error.value.status_code == 503
    assert error.value.response.headers["retry-after"]
    assert len(t.attempts()) <= 4


@both_ways
def test_s06_a_silent_provider_is_asked_once(tiers, stream):
    t = tiers()
    t.primary.script({"fault": "hang", "ms": 60_000, "times": -1})
    begin = time.monotonic()
    assert t.text(stream) == WHOLE
    assert time.monotonic() - begin < BUDGETS["first_token_ms"] / 1000 + 5
    attempts = t.attempts()
    assert len(attempts) == 1
    assert attempts[0]["outcome"] == "client_gone", "and is hung up on"


@both_ways
@pytest.mark.parametrize("fault", ["slow_head", "slow_first"])
def test_s07_a_late_first_token(tiers, fault, stream):
    t = tiers()
    t.primary.script({"fault": fault, "ms": 20_000})
    begin = time.monotonic()
    assert t.text(stream) == WHOLE
    assert time.monotonic() - begin < BUDGETS["first_token_ms"] / 1000 + 5
    assert t.attempts()[0]["outcome"] == "client_gone"


def test_the_first_token_budget_counts_tokens_not_comments(tiers):
    """A slow but living provider inside its budget is waited for."""
    t = tiers(budgets={"first_token_ms": 8000})
    t.primary.script({"fault": "slow_first", "ms": 2500})
    assert t.text(True) == WHOLE
    assert not t.attempts("fallback")


AFTER_THE_FIRST_BYTE = {
    "s08 cut": {"fault": "cut", "tokens": 40},
    "s08 reset": {"fault": "cut_reset", "tokens": 40},
    "s09 stall": {"fault": "stall", "tokens": 20, "ms": 60_000},
    "s10 invalid JSON": {"fault": "invalid_json", "tokens": 10},
    "early DONE": {"fault": "early_done", "tokens": 30},
    "error object": {"fault": "error_object", "tokens": 30},
}


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_BYTE.values(), ids=AFTER_THE_FIRST_BYTE.keys())
def test_a_cut_stream_is_rescued(tiers, fault):
    """The fallback says the same from the start; the client sees one answer without a seam."""
    t = tiers(between_ms=2)
    t.primary.script(fault | {"times": -1})
    begin = time.monotonic()
    assert t.streamed() == (WHOLE, "stop")
    assert time.monotonic() - begin < 20
    assert len(t.attempts("fallback")) == 1
    healthy_again(t)


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_BYTE.values(), ids=AFTER_THE_FIRST_BYTE.keys())
def test_never_a_truncated_success(tiers, fault):
    """Nobody finishes the answer: the client's exception, not half an answer as a whole one."""
    t = tiers(between_ms=2)
    for mock in (t.primary, t.fallback):
        mock.script(fault | {"times": -1})
    with pytest.raises(openai.APIError) as error:
        t.streamed()
    assert error.value.message
    t.fallback.reset()
    healthy_again(t)


def test_something_else_is_never_glued_on(make_mock, serve):
    """The fallback answers in other words: the part that was delivered stays, then the error."""
    t = Tiers(make_mock, serve, between_ms=2)
    t.primary.script({"fault": "cut", "tokens": 40, "times": -1})
    t.fallback.script({"fault": "other_words", "times": -1})
    text = ""
    with pytest.raises(openai.APIError):
        for chunk in t.client.chat.completions.create(model="auto", messages=MESSAGES, stream=True):
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text == answer(40)
    assert t.attempts("fallback")[0]["completion_tokens"] < 60, "hung up on at the first difference"


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_one_provider_alone_rescues_its_own_stream(tiers, fault):
    t = tiers(fallback=False, between_ms=2)
    t.primary.script({"fault": fault, "tokens": 30, "ms": 60_000})
    assert t.streamed() == (WHOLE, "stop")
    assert len(t.attempts()) == 2


def test_every_attempt_of_a_rescue_is_booked(tiers):
    t = tiers(between_ms=2)
    t.primary.script({"fault": "cut", "tokens": 40, "times": -1})
    assert t.streamed() == (WHOLE, "stop")
    compare(ledger_rows(t.gateway), [t.attempts("primary"), t.attempts("fallback")], ("primary", "fallback"))


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_BYTE.values(), ids=AFTER_THE_FIRST_BYTE.keys())
def test_a_broken_stream_ends_in_an_error_event(tiers, fault):
    t = tiers(between_ms=2)
    for mock in (t.primary, t.fallback):
        mock.script(fault | {"times": -1})
    with Wire(t.gateway.port, timeout=30) as wire:
        wire.request("POST", "/v1/chat/completions", {"model": "auto", "messages": MESSAGES, "stream": True})
        status, _, text = wire.response()
    assert status == 200
    events = sse_events(text)
    documents = [json.loads(event) for event in events if event != "[DONE]"]
    errors = [document["error"] for document in documents if "error" in document]
    delivered = "".join(
        choice["delta"].get("content") or "" for document in documents for choice in document.get("choices", [])
    )
    finishes = [
        choice["finish_reason"]
        for document in documents
        for choice in document.get("choices", [])
        if choice.get("finish_reason")
    ]
    assert WHOLE.startswith(delivered)
    assert len(errors) == 1
    assert "error" in documents[-1], "nothing follows the error"
    assert not finishes, "no invented end"
    assert "[DONE]" not in events
    assert errors[0]["message"]
    assert errors[0]["type"]


@pytest.mark.parametrize("fault", AFTER_THE_FIRST_BYTE.values(), ids=AFTER_THE_FIRST_BYTE.keys())
def test_a_whole_answer_survives_a_broken_stream(tiers, fault):
    """Nothing has reached a client that does not stream, so the fallback may take over."""
    t = tiers(between_ms=2)
    t.primary.script(fault)
    begin = time.monotonic()
    completion, _ = t.whole()
    assert time.monotonic() - begin < 10, "a stall is seen although the client does not stream"
    assert completion.choices[0].message.content == WHOLE
    assert completion.choices[0].finish_reason == "stop"


def test_a_broken_tgi_stream_ends_in_its_error_event(tiers):
    t = tiers(between_ms=2)
    for mock in (t.primary, t.fallback):
        mock.script({"fault": "cut", "tokens": 20, "times": -1})
    body = {"inputs": "Tell me.", "parameters": {"max_new_tokens": 60}}
    with Wire(t.gateway.port, timeout=30) as wire:
        wire.request("POST", "/generate_stream", body)
        status, _, text = wire.response()
    assert status == 200
    last = json.loads(sse_events(text)[-1])
    assert last["error_type"] in ("generation", "incomplete_generation")
    assert last["error"]
    assert '"finish_reason"' not in text


def test_s11_no_done(tiers):
    t = tiers()
    t.primary.script("no_done")
    begin = time.monotonic()
    usage = None
    text = ""
    for chunk in t.client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    assert text == WHOLE
    assert usage.completion_tokens == 60
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize("fault", ["split", "odd_sse"])
def test_odd_but_legal_streams(tiers, fault):
    """Single bytes (inside characters too), CRLF, comments, a byte order mark."""
    t = tiers()
    t.primary.script(fault)
    assert t.streamed() == (WHOLE, "stop")
    assert not t.attempts("fallback")


def test_s12_too_long_for_a_provider_is_not_repeated(tiers):
    t = tiers()
    t.primary.script({"fault": "status", "status": 400, "code": "context_length_exceeded", "times": -1})
    with pytest.raises(openai.BadRequestError) as error:
        t.whole()
    assert error.value.code == "context_length_exceeded"
    assert len(t.attempts()) == 1
    assert not t.attempts("fallback"), "nothing says that it holds more"


@both_ways
def test_s12_a_larger_context_is_asked(make_mock, serve, stream):
    primary, large = make_mock("primary"), make_mock("large")
    gateway = serve(make_config([paid(primary, tier="managed", context=8192), paid(large, context=131072)]))
    primary.script({"fault": "status", "status": 400, "code": "context_length_exceeded", "times": -1})
    body = {"model": "auto", "messages": MESSAGES, "stream": stream}
    status, headers, _ = gateway.http("POST", "/v1/chat/completions", body)
    assert (status, headers["x-genesis-endpoint"]) == (200, "large")
    assert len(primary.settle()) == 1


def test_s13_a_policy_refusal_is_passed_on(tiers):
    t = tiers()
    t.primary.script(
        {"fault": "status", "status": 400, "code": "content_policy_violation", "message": "not that", "times": -1}
    )
    with pytest.raises(openai.BadRequestError) as error:
        t.whole()
    assert "not that" in str(error.value)
    assert len(t.attempts()) == 1
    assert not t.attempts("fallback"), "a refusal is not routed around"


def test_s14_the_fallbacks_refusal_of_a_prefill_is_not_the_callers_error(tiers):
    t = tiers(between_ms=2)
    t.primary.script({"fault": "cut", "tokens": 40})
    t.fallback.script({"fault": "refuse_prefill", "times": -1})
    assert t.streamed() == (WHOLE, "stop")


@pytest.mark.limit(150)
def test_s15_an_outage_and_the_way_back(tiers):
    t = tiers()
    t.primary.script({"fault": "status", "status": 503, "times": -1})
    for _ in range(15):
        assert t.text(True) == WHOLE
        time.sleep(0.1)
    assert len(t.attempts()) <= 8, "a provider that is out is probed, not asked"
    t.primary.reset()
    before = len(t.attempts())

    def primary_answers():
        assert t.text(True) == WHOLE
        return len(t.primary.journal()) > before

    wait_until(primary_answers, 30, "the primary is in use again", pause=0.2)


def test_s16_the_answer_names_who_gave_it(tiers):
    t = tiers()
    t.primary.script({"fault": "status", "status": 503, "times": -1})
    completion, headers = t.whole()
    assert headers["x-genesis-endpoint"] == "fallback"
    assert headers["x-genesis-tier"] == "commercial"
    assert headers["x-genesis-model"] == "fallback-model"
    assert completion.model == "fallback-model"
    assert completion.usage.completion_tokens == 60


@both_ways
def test_all_down(tiers, stream):
    t = tiers(budgets={"first_token_ms": 500})
    for mock in (t.primary, t.fallback):
        mock.script({"fault": "status", "status": 503, "times": -1})
    begin = time.monotonic()
    with pytest.raises(openai.InternalServerError) as error:
        t.text(stream)
    assert time.monotonic() - begin < 10
    assert error.value.status_code == 503
    assert error.value.response.headers["retry-after"]
    assert "primary" in str(error.value)
    assert "fallback" in str(error.value)
    assert "127.0.0.1" not in str(error.value), "no addresses in errors"


def test_all_down_in_tgi_words(tiers):
    t = tiers()
    for mock in (t.primary, t.fallback):
        mock.script({"fault": "status", "status": 503, "times": -1})
    status, headers, text = t.gateway.http("POST", "/generate", {"inputs": "x"})
    assert status == 503
    assert headers["retry-after"]
    assert set(json.loads(text)) == {"error", "error_type"}


def test_the_total_budget_ends_everything(tiers):
    """A provider that trickles inside the other budgets still cannot exceed the total."""
    t = tiers(fallback=False, words=200, between_ms=100, budgets={"total_ms": 2000})
    begin = time.monotonic()
    with pytest.raises(openai.APIError):
        t.streamed()
    assert time.monotonic() - begin < 8


def test_upstream_keys_stay_secret(make_mock, serve):
    secret = "sk-upstream-canary-0123456789"
    mock = make_mock("keyed", api_key=secret)
    config = make_config([paid(mock, api_key={"env": "UPSTREAM_KEY"})])
    gateway = serve(config, environment={"UPSTREAM_KEY": secret})
    status, _, _ = gateway.http("POST", "/v1/chat/completions", {"model": "auto", "messages": MESSAGES})
    assert status == 200
    mock.script({"fault": "status", "status": 401, "times": -1, "message": f"bad key {secret}"})
    status, _, text = gateway.http("POST", "/v1/chat/completions", {"model": "auto", "messages": MESSAGES})
    assert status >= 400
    shown = gateway.cli("config", "show", "--origin").stdout + gateway.cli("doctor").stdout
    for output in (text, gateway.log.read_text(), shown):
        assert secret not in output


def test_what_the_client_sends_reaches_the_provider(tiers):
    """Unknown fields of the body pass; the model's name is the endpoint's."""
    t = tiers()
    t.whole(extra_body={"some_new_field": 1}, max_tokens=7)
    attempt = t.attempts()[0]
    assert attempt["model"] == "primary-model"
    assert attempt["completion_tokens"] == 7
    assert attempt["attempt"].endswith("/1")
