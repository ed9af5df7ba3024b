"""The Responses API of the unmodified openai client."""

import json

import openai
import pytest
from harness.gateway import make_config, paid
from harness.mock import answer

QUESTION = "What is the capital of France? Answer in one sentence."
TOOL = {
    "type": "function",
    "name": "look",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
    },
}


def client_of(gateway):
    return openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0, timeout=60)


@pytest.fixture
def plain(local_gateway):
    return client_of(local_gateway)


def ask(client, **more):
    request = {"model": "auto", "input": QUESTION, "temperature": 0, "max_output_tokens": 40}
    return client.responses.create(**(request | more))


def test_the_engine_answers(plain):
    response = ask(plain, metadata={"run": "7"}, instructions="Be brief.")
    assert "Paris" in response.output_text
    assert response.status == "completed" and response.error is None
    assert response.metadata == {"run": "7"}
    assert response.instructions == "Be brief."
    assert response.store is False
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens >= 0
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_a_stream_adds_up_to_the_same_response(plain):
    whole = ask(plain)
    with plain.responses.stream(
        model="auto", input=QUESTION, temperature=0, max_output_tokens=40
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert len(deltas) > 4, "it streams, rather than arriving in one piece"
    assert "".join(deltas) == final.output_text == whole.output_text
    assert [e.sequence_number for e in events if hasattr(e, "sequence_number")][0] == 0
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_too_short_is_incomplete(plain):
    response = ask(plain, max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("top_logprobs", 2),
        ("tools", [{"type": "web_search"}]),
        ("input", [{"type": "item_reference", "id": "x"}]),
    ],
)
def test_what_would_need_a_store_is_refused_by_name(plain, field, value):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, **{field: value})
    assert error.value.code == "unsupported"
    assert error.value.param.startswith(field)


def test_a_forced_format(plain):
    assert isinstance(json.loads(ask(plain, text={"format": {"type": "json_object"}}).output_text), dict)
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, text={"format": {"type": "json_schema", "name": "x", "schema": schema}})
    assert error.value.param == "text.format" and "uniqueItems" in str(error.value)


def test_a_required_tool_is_called(plain):
    tool = {"type": "function", "name": "look", "parameters": {
        "type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}}  # fmt: skip
    response = ask(plain, tools=[tool], tool_choice="required", parallel_tool_calls=False)
    calls = [item for item in response.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["look"]
    assert json.loads(calls[0].arguments)["n"] <= 9


@pytest.fixture
def upstream(make_mock, serve):
    mock = make_mock("up", words=12)
    return client_of(serve(make_config([paid(mock, model="up-model")]))), mock


def test_a_tool_loop(upstream):
    client, mock = upstream
    mock.script({"fault": "answer", "calls": 1, "thinking": 3})
    first = ask(client, tools=[TOOL])
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    call = first.output[-1]
    assert call.name == "look" and call.arguments == '{"city":"Oslo","n":2}'.replace(" ", "")
    history = [{"role": "user", "content": QUESTION}]
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    second = ask(client, tools=[TOOL], input=history)
    assert second.output_text == answer(12)


def test_streamed_calls_and_reasoning(upstream):
    client, mock = upstream
    mock.script({"fault": "answer", "calls": 2, "thinking": 3, "cached": 1})
    with client.responses.stream(model="auto", input=QUESTION, tools=[TOOL]) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types.count("response.function_call_arguments.done") == 2
    assert [item.type for item in final.output] == ["reasoning", "message"] + 2 * ["function_call"]
    line = mock.settle()[-1]
    assert final.usage.input_tokens == line["prompt_tokens"]
    assert final.usage.input_tokens_details.cached_tokens == 1
    assert final.usage.output_tokens_details.reasoning_tokens == 3


def test_a_cut_stream_raises(upstream):
    client, mock = upstream
    mock.script({"fault": "cut", "tokens": 5, "times": -1})
    with pytest.raises(openai.APIError):
        for _ in ask(client, stream=True):
            pass
