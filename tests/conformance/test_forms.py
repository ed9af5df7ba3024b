"""Forms of answers and tool calls through real clients: openai, anthropic and huggingface_hub against the gateway and
its own engine."""

import json
import re

import anthropic
import jsonschema
import openai
import pydantic
import pytest
from huggingface_hub import InferenceClient

QUESTION = [{"role": "user", "content": "What is the weather in Oslo and in Rome?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA},
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "The time", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
def plain(local_gateway):
    return openai.OpenAI(base_url=local_gateway.base_url, api_key="none", max_retries=0, timeout=100)


def ask(client, **more):
    request = {"model": "auto", "messages": QUESTION, "temperature": 0, "max_tokens": 120} | more
    return client.chat.completions.create(**request)


def check_call(call):
    assert call.type == "function"
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), SCHEMA)


def test_required_gives_a_call(plain):
    choice = ask(plain, tools=[WEATHER], tool_choice="required").choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls and not choice.message.content
    for call in choice.message.tool_calls:
        check_call(call)
    assert len({call.id for call in choice.message.tool_calls}) == len(choice.message.tool_calls)


def test_one_call_where_parallel_is_off(plain):
    choice = ask(plain, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False).choices[0]
    assert len(choice.message.tool_calls) == 1
    check_call(choice.message.tool_calls[0])


def test_the_named_tool_is_called(plain):
    choice = {"type": "function", "function": {"name": "clock"}}
    answer = ask(plain, tools=[WEATHER, CLOCK], tool_choice=choice).choices[0]
    assert [call.function.name for call in answer.message.tool_calls] == ["clock"]
    assert isinstance(json.loads(answer.message.tool_calls[0].function.arguments), dict)


def test_none_calls_nothing(plain):
    choice = ask(plain, tools=[WEATHER], tool_choice="none").choices[0]
    assert not choice.message.tool_calls
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")


def test_a_stream_adds_up_to_the_same_calls(plain):
    whole = ask(plain, tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls
    calls, finishes = {}, []
    for chunk in ask(plain, tools=[WEATHER], tool_choice="required", stream=True):
        choice = chunk.choices[0]
        finishes += [choice.finish_reason] if choice.finish_reason else []
        assert not choice.delta.content
        for delta in choice.delta.tool_calls or []:
            if delta.index not in calls:
                assert delta.id and delta.type == "function" and delta.function.name == "get_weather"
                calls[delta.index] = {"id": delta.id, "arguments": "", "pieces": 0}
            else:
                assert not delta.id, "the id comes once"
            calls[delta.index]["arguments"] += delta.function.arguments or ""
            calls[delta.index]["pieces"] += 1
    assert finishes == ["tool_calls"]
    assert [calls[i]["arguments"] for i in sorted(calls)] == [call.function.arguments for call in whole]
    assert len({call["id"] for call in calls.values()}) == len(calls)
    assert calls[0]["pieces"] > 2, "arguments stream"


def test_auto_answers_or_calls(plain):
    choice = ask(plain, tools=[WEATHER]).choices[0]
    if choice.message.tool_calls:
        assert choice.finish_reason == "tool_calls"
        for call in choice.message.tool_calls:
            check_call(call)
    else:
        assert choice.message.content


def test_a_conversation_with_calls_goes_on(plain):
    calls = ask(plain, tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls
    history = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump() for call in calls]},
        *({"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 20}'} for call in calls),
    ]
    assert ask(plain, messages=history, tools=[WEATHER], tool_choice="none").choices[0].message.content


def bad_history(**change):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}} | change
    return [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "20"}]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (bad_history(function={"name": "get_weather", "arguments": '{"city": "Os'}), "messages[1].tool_calls[0]"),
        (bad_history(function={"name": "get_weather", "arguments": "[1]"}), "messages[1].tool_calls[0]"),
        (bad_history(function={"arguments": "{}"}), "messages[1].tool_calls[0]"),
        (bad_history(id="other"), "messages[2].tool_call_id"),
        ([*QUESTION, {"role": "tool", "tool_call_id": "c1", "content": "20"}], "messages[1]"),
    ],
)
def test_malformed_history_is_the_callers_fault(plain, messages, param):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, messages=messages, tools=[WEATHER])
    assert error.value.body["param"].startswith(param)
    assert error.value.body["message"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_wrong_tools_are_named(plain, more, param):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, **more)
    assert error.value.body["param"].startswith(param)


def test_json_schema(plain):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
    choice = ask(plain, response_format=form).choices[0]
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content), SCHEMA)


class Report(pydantic.BaseModel):
    city: str
    temperatures: list[int]
    sunny: bool


def test_the_clients_own_parser(plain):
    answer = plain.chat.completions.parse(
        model="auto", messages=QUESTION, response_format=Report, temperature=0, max_tokens=100
    )
    assert isinstance(answer.choices[0].message.parsed, Report)


def test_an_answer_ends_within_its_tokens(plain):
    """Strings and lists without a limit, and far fewer tokens than the model would like."""
    form = {"type": "json_schema", "json_schema": {"name": "report", "schema": Report.model_json_schema()}}
    for seed in range(8):
        choice = ask(plain, response_format=form, max_tokens=40, temperature=1, seed=seed).choices[0]
        Report.model_validate_json(choice.message.content)


def test_json_object(plain):
    choice = ask(plain, response_format={"type": "json_object"}, max_tokens=60).choices[0]
    assert isinstance(json.loads(choice.message.content), dict)


def test_streamed_forms(plain):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
    whole = ask(plain, response_format=form).choices[0].message.content
    chunks = list(ask(plain, response_format=form, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole


def test_forced_tokens_have_logprobs_too(plain):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
    with_logprobs = ask(plain, response_format=form, logprobs=True, top_logprobs=2).choices[0]
    assert with_logprobs.message.content == ask(plain, response_format=form).choices[0].message.content
    assert all(token.logprob <= 0 and token.top_logprobs for token in with_logprobs.logprobs.content)
    assert "".join(token.token for token in with_logprobs.logprobs.content) == with_logprobs.message.content


@pytest.mark.parametrize("extra", [{"guided_regex": "[a-f]{3}-[0-9]{2}"}, {"structured_outputs": {"regex": "[a-f]{3}-[0-9]{2}"}}])
def test_regex_in_vllms_words(plain, extra):
    text = ask(plain, extra_body=extra).choices[0].message.content
    assert re.fullmatch("[a-f]{3}-[0-9]{2}", text)


def test_gbnf_in_llama_servers_words(plain):
    grammar = 'root ::= ("yes" | "no") ", " [0-9]{2}'
    text = ask(plain, extra_body={"grammar": grammar}).choices[0].message.content
    assert re.fullmatch("(yes|no), [0-9]{2}", text)


def test_a_choice(plain):
    assert ask(plain, extra_body={"guided_choice": ["red", "green"]}).choices[0].message.content in ("red", "green")


def test_an_unsupported_keyword_is_named(plain):
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, response_format=form)
    assert "uniqueItems" in error.value.body["message"]
    assert error.value.body["param"].startswith("response_format")


def test_a_broken_pattern_is_named(plain):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, extra_body={"guided_regex": "(a"})
    assert error.value.body["param"] == "guided_regex"


def test_tgi_grammar(local_gateway):
    client = InferenceClient(local_gateway.url, timeout=100)
    text = client.text_generation(
        "The weather in Oslo as JSON:", max_new_tokens=120, grammar={"type": "json", "value": SCHEMA}
    )
    jsonschema.validate(json.loads(text), SCHEMA)
    text = client.text_generation("A number:", max_new_tokens=20, grammar={"type": "regex", "value": "[0-9]{3}x"})
    assert re.fullmatch("[0-9]{3}x", text)


def test_anthropics_tools(local_gateway):
    client = anthropic.Anthropic(base_url=local_gateway.url, api_key="none", max_retries=0, timeout=100)
    message = client.messages.create(
        model="auto", messages=QUESTION, max_tokens=120, extra_body={"temperature": 0},
        tools=[{"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}],
        tool_choice={"type": "tool", "name": "get_weather"},
    )  # fmt: skip
    assert message.stop_reason == "tool_use"
    uses = [part for part in message.content if part.type == "tool_use"]
    assert uses and uses[0].name == "get_weather"
    jsonschema.validate(uses[0].input, SCHEMA)


def test_choices_of_their_own(plain):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
    answer = ask(plain, response_format=form, n=3, temperature=1, seed=7)
    for choice in answer.choices:
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)
