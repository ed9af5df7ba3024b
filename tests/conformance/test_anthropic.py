"""The unmodified anthropic client: against the gateway's own engine, and against upstreams that speak
OpenAI or Anthropic."""

import json

import anthropic
import pytest
from harness.gateway import make_config, paid
from harness.mock import answer

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
TOOL = {
    "name": "look",
    "description": "Looks at a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
    },
}
CALL = {"city": "Oslo", "n": 2}


def client_of(gateway, key="none"):
    return anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def plain(local_gateway):
    return client_of(local_gateway)


# A field that this version of the client has no name for.
GREEDY = {"temperature": 0}


def ask(client, **more):
    request = {"model": "auto", "messages": QUESTION, "max_tokens": 40, "extra_body": GREEDY}
    return client.messages.create(**(request | more))


def test_the_engine_answers(plain):
    message = ask(plain)
    assert "Paris" in message.content[0].text
    assert message.stop_reason == "end_turn"
    read = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert read > 10 and message.usage.output_tokens > 2
    assert message.role == "assistant" and message.type == "message"
    assert message._request_id.startswith("req-")


def test_a_stream_adds_up_to_the_same_message(plain):
    whole = ask(plain)
    with plain.messages.stream(
        model="auto", messages=QUESTION, max_tokens=40, extra_body=GREEDY
    ) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 4, "it streams, rather than arriving in one piece"
    assert "".join(pieces) == message.content[0].text == whole.content[0].text
    assert message.stop_reason == whole.stop_reason
    counted = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert counted == whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0)
    assert message.usage.output_tokens == whole.usage.output_tokens


def test_limits_and_stops(plain):
    cut = ask(plain, max_tokens=3)
    assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 3
    stopped = ask(plain, stop_sequences=["Paris"])
    assert stopped.stop_reason == "stop_sequence"
    assert stopped.stop_sequence == "Paris"
    assert "Paris" not in stopped.content[0].text


def test_system_prompts_and_blocks(plain):
    blocks = [{"type": "text", "text": "You answer in one word.", "cache_control": {"type": "ephemeral"}}]
    message = ask(plain, system=blocks, messages=[{"role": "user", "content": blocks}])
    assert message.usage.output_tokens > 0


def test_errors_are_typed(plain, local_gateway):
    with pytest.raises(anthropic.BadRequestError) as error:
        ask(plain, messages=[{"role": "user", "content": [{"type": "text"}]}])
    assert error.value.body["type"] == "error"
    assert error.value.body["error"]["type"] == "invalid_request_error"
    assert "messages[0].content[0].text" in error.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(plain, model="no-such-model")
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError):
        ask(client_of(local_gateway, "gk-" + "0" * 40))
    with pytest.raises(anthropic.BadRequestError) as long:
        ask(plain, messages=[{"role": "user", "content": "word " * 20_000}])
    assert "prompt is too long" in long.value.body["error"]["message"]


def test_what_the_engine_cannot_see_is_refused_by_name(plain):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    with pytest.raises(anthropic.BadRequestError) as error:
        ask(plain, messages=[{"role": "user", "content": [image]}])
    assert "text only" in str(error.value)
    with pytest.raises(anthropic.BadRequestError) as error:
        ask(plain, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert "tools[0].type" in str(error.value)


def test_a_key_as_bearer_or_in_its_own_header(local_gateway):
    secret = local_gateway.make_key("anthropic-suite")["key"]
    assert ask(client_of(local_gateway, secret), max_tokens=2)
    bearer = anthropic.Anthropic(base_url=local_gateway.url, auth_token=secret, max_retries=0)
    assert ask(bearer, max_tokens=2)


def count(client, **more):
    """(tokens, "exact" or "estimate")."""
    raw = client.messages.with_raw_response.count_tokens(**({"model": "auto", "messages": QUESTION} | more))
    return raw.parse().input_tokens, raw.headers["x-genesis-token-count"]


def test_tokens_are_counted_by_the_engine_that_would_answer(plain):
    for more in ({}, {"system": "Be kind"}, {"messages": QUESTION * 3}):
        usage = ask(plain, max_tokens=2, **more).usage
        assert count(plain, **more) == (usage.input_tokens + (usage.cache_read_input_tokens or 0), "exact")


def test_tokens_are_counted_by_an_upstream_that_knows_how(make_mock, serve):
    mock = make_mock("up", words=12)
    anthropic_upstream = client_of(serve(make_config([paid(mock) | {"dialect": "anthropic"}])))
    assert count(anthropic_upstream) == (ask(anthropic_upstream).usage.input_tokens, "exact")
    assert len(mock.journal()) == 1, "a count is no call"
    assert count(client_of(serve(make_config([paid(mock)]))))[1] == "estimate"
    mock.script({"fault": "status", "status": 503, "times": 100})
    assert count(anthropic_upstream)[1] == "exact"
    mock.stop()
    tokens, how = count(anthropic_upstream)
    assert how == "estimate" and tokens > 5


def test_count_tokens(plain):
    few = plain.messages.count_tokens(model="auto", messages=QUESTION).input_tokens
    many = plain.messages.count_tokens(
        model="auto", messages=QUESTION * 3, system="Be kind", tools=[TOOL]
    ).input_tokens
    assert 5 < few < many


@pytest.fixture(params=["openai", "anthropic"])
def upstream(request, make_mock, serve):
    """(client, mock) of a gateway before one upstream of either dialect."""
    mock = make_mock("up", words=12)
    endpoint = paid(mock, model="up-model") | {"dialect": request.param}
    return client_of(serve(make_config([endpoint]))), mock


def test_a_tool_loop(upstream):
    client, mock = upstream
    mock.script({"fault": "answer", "calls": 2, "thinking": 3})
    first = ask(client, tools=[TOOL], tool_choice={"type": "auto"})
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [CALL, CALL]
    assert len({call.id for call in calls}) == 2
    results = [
        {"type": "tool_result", "tool_use_id": calls[0].id, "content": "sunny"},
        {
            "type": "tool_result",
            "tool_use_id": calls[1].id,
            "is_error": True,
            "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "luck"}],
        },
    ]
    history = QUESTION + [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": results},
    ]
    second = ask(client, tools=[TOOL], messages=history)
    assert second.content[-1].text == answer(12)
    assert second.stop_reason == "end_turn"


def test_streamed_tools_and_thinking(upstream):
    client, mock = upstream
    mock.script({"fault": "answer", "calls": 2, "thinking": 3, "cached": 1})
    with client.messages.stream(
        model="auto", messages=QUESTION, max_tokens=100, tools=[TOOL]
    ) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == answer(3)
    assert [block.input for block in message.content[2:]] == [CALL, CALL]
    line = mock.settle()[-1]
    assert message.usage.cache_read_input_tokens == 1
    assert message.usage.input_tokens == line["prompt_tokens"] - 1, "cached tokens are told apart"
    assert message.usage.output_tokens == line["completion_tokens"]


def test_a_cut_stream_is_an_error_event(upstream):
    client, mock = upstream
    mock.script({"fault": "cut", "tokens": 5, "times": -1})
    with pytest.raises(anthropic.APIError) as error:
        for _ in client.messages.create(
            model="auto", messages=QUESTION, max_tokens=50, stream=True
        ):
            pass
    assert error.value.body["error"]["type"] in ("api_error", "overloaded_error", "timeout_error")


def test_the_same_dialect_passes_unknown_fields(make_mock, serve):
    """What an Anthropic upstream says reaches the client byte for byte, and what the client says it."""
    mock = make_mock("up", words=3)
    gateway = serve(make_config([paid(mock, model="up-model") | {"dialect": "anthropic"}]))
    body = {"model": "auto", "max_tokens": 9, "messages": QUESTION, "novel": {"a": [1, 2]}}
    _, _, through = gateway.http("POST", "/v1/messages", body | {"stream": True})
    assert "msg_mock" in through, "the upstream's own id"
    status, _, whole = gateway.http("POST", "/v1/messages", body)
    assert status == 200 and json.loads(whole)["content"][0]["text"] == answer(3)
