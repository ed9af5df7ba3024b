"""The unmodified openai client against the gateway and its own engine."""

import asyncio
import json

import openai
import pytest
from harness.gateway import MODEL
from harness.process import wait_until

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


@pytest.fixture
def stranger(local_gateway):
    """A client with a key that nobody made."""
    wrong = "gk-" + "0" * 40
    return openai.OpenAI(base_url=local_gateway.base_url, api_key=wrong, max_retries=0, timeout=60)


@pytest.fixture
def plain(local_gateway):
    """The client wants some key; "none" is a word that the gateway takes for no key."""
    return openai.OpenAI(base_url=local_gateway.base_url, api_key="none", max_retries=0, timeout=60)


def collect(stream):
    """(text, finish reason, usage, chunks) of a chat stream with one choice."""
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert len(finishes) == 1, f"one finish reason, not {finishes}"
    usage = [c.usage for c in chunks if c.usage]
    return text, finishes[0], usage[0] if usage else None, chunks


def ask(plain, **more):
    request = {"model": "auto", "messages": QUESTION, "temperature": 0, "max_tokens": 40} | more
    return plain.chat.completions.create(**request)


def test_streams_a_sensible_answer(plain):
    text, finish, usage, chunks = collect(
        ask(plain, stream=True, stream_options={"include_usage": True})
    )
    assert "Paris" in text
    assert finish == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {c.object for c in chunks} == {"chat.completion.chunk"}
    assert len({c.id for c in chunks}) == 1
    assert len([c for c in chunks if c.choices]) > 4, "it streams, rather than arriving in one piece"
    assert usage.prompt_tokens > 10
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert not chunks[-1].choices, "the usage chunk is the last and has no choices"


def test_stream_and_whole_answer_agree(plain):
    whole = ask(plain)
    text, finish, usage, _ = collect(ask(plain, stream=True, stream_options={"include_usage": True}))
    assert whole.choices[0].message.content == text
    assert whole.choices[0].finish_reason == finish
    assert whole.usage.completion_tokens == usage.completion_tokens
    assert whole.object == "chat.completion"
    assert whole.choices[0].message.role == "assistant"


def test_no_usage_in_a_stream_unless_asked(plain):
    _, _, usage, _ = collect(ask(plain, stream=True, max_tokens=4))
    assert usage is None


@pytest.mark.parametrize("model", ["auto", MODEL])
def test_each_listed_model_answers(plain, model):
    assert model in [card.id for card in plain.models.list()]
    answer = ask(plain, model=model, max_tokens=5)
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_model_cards(plain):
    card = plain.models.retrieve(MODEL)
    assert card.id == MODEL
    assert card.object == "model"
    with pytest.raises(openai.NotFoundError):
        plain.models.retrieve("no-such-model")


def test_max_completion_tokens(plain):
    answer = plain.chat.completions.create(
        model="auto", messages=QUESTION, temperature=0, max_completion_tokens=3
    )
    assert answer.usage.completion_tokens == 3


def test_stop_string_ends_before_it(plain):
    whole = ask(plain, max_tokens=60).choices[0].message.content
    stop = whole.split()[3]
    answer = ask(plain, max_tokens=60, stop=[stop, "never said"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == whole[: whole.index(stop)]
    text, finish, _, _ = collect(ask(plain, max_tokens=60, stop=stop, stream=True))
    assert (text, finish) == (whole[: whole.index(stop)], "stop")


def test_seed_repeats_and_seeds_differ(plain):
    def sampled(seed):
        return ask(plain, temperature=1.2, seed=seed, max_tokens=24).choices[0].message.content

    first = sampled(1)
    assert sampled(1) == first
    assert any(sampled(seed) != first for seed in range(2, 6))


def test_several_choices(plain):
    answer = ask(plain, n=3, temperature=1.0, seed=7, max_tokens=16)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage.completion_tokens <= 3 * 16


def test_several_choices_streamed(plain):
    texts, finishes = ["", ""], [None, None]
    for chunk in ask(plain, n=2, temperature=1.0, seed=7, max_tokens=12, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    assert all(texts)
    assert all(finishes)


def test_logprobs(plain):
    answer = ask(plain, logprobs=True, top_logprobs=3, max_tokens=12)
    tokens = answer.choices[0].logprobs.content
    text = b"".join(bytes(token.bytes) for token in tokens).decode()
    assert text.startswith(answer.choices[0].message.content)
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token, "greedy takes the likeliest"
        ordered = [top.logprob for top in token.top_logprobs]
        assert ordered == sorted(ordered, reverse=True)


def test_logprobs_streamed_equal_whole(plain):
    whole = ask(plain, logprobs=True, max_tokens=10).choices[0].logprobs.content
    streamed = []
    for chunk in ask(plain, logprobs=True, max_tokens=10, stream=True):
        if chunk.choices and chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content
    assert [(t.token, t.logprob) for t in streamed] == [(t.token, t.logprob) for t in whole]


def test_completion(plain):
    request = {"model": "auto", "prompt": "The capital of France is", "temperature": 0, "max_tokens": 8}
    whole = plain.completions.create(**request)
    assert whole.object == "text_completion"
    assert "Paris" in whole.choices[0].text
    streamed = "".join(c.choices[0].text for c in plain.completions.create(**request, stream=True) if c.choices)
    assert streamed == whole.choices[0].text


def test_completion_echo_and_logprobs(plain):
    prompt = "One two three four"
    answer = plain.completions.create(
        model="auto", prompt=prompt, echo=True, logprobs=2, temperature=0, max_tokens=4
    )
    choice = answer.choices[0]
    assert choice.text.startswith(prompt)
    assert len(choice.logprobs.tokens) == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert choice.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in choice.logprobs.token_logprobs[1:])


def test_content_parts_and_system_message(plain):
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of France?"}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert "Paris" in ask(plain, messages=messages).choices[0].message.content


def test_non_ascii_text_survives(plain):
    messages = [{"role": "user", "content": "Repeat: naïve café 日本 🚀"}]
    whole = ask(plain, messages=messages, max_tokens=32).choices[0].message.content
    text, _, _, _ = collect(ask(plain, messages=messages, max_tokens=32, stream=True))
    assert whole == text


def test_answers_carry_a_request_id(plain):
    raw = plain.chat.completions.with_raw_response.create(model="auto", messages=QUESTION, max_tokens=2)
    assert raw.headers.get("x-request-id")
    with pytest.raises(openai.NotFoundError) as error:
        ask(plain, model="no-such-model")
    assert error.value.request_id


def test_many_streams_at_once(local_gateway):
    async def one(client, index):
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": f"Count from {index}."}],
            temperature=0,
            max_tokens=16,
            stream=True,
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def every():
        async with openai.AsyncOpenAI(
            base_url=local_gateway.base_url, api_key="none", max_retries=0
        ) as client:
            together = await asyncio.gather(*(one(client, i) for i in range(8)))
            alone = [await one(client, i) for i in range(8)]
        return together, alone

    together, alone = asyncio.run(every())
    assert together == alone


def test_unknown_model_names_near_ones(plain):
    with pytest.raises(openai.NotFoundError) as error:
        ask(plain, model="smollm2-135m-instrukt")
    assert error.value.code == "model_not_found"
    assert error.value.param == "model"
    assert MODEL in json.dumps(error.value.body), "names what it has"


BAD_FIELDS = [
    ("temperature", "hot"),
    ("temperature", 3),
    ("temperature", -0.1),
    ("top_p", 0),
    ("top_p", 1.5),
    ("top_k", -2),
    ("min_p", 2),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("max_tokens", "ten"),
    ("max_completion_tokens", 0),
    ("n", 0),
    ("n", 9),
    ("n", "two"),
    ("seed", "x"),
    ("stream", "yes"),
    ("stop", [""]),
    ("stop", 5),
    ("stop", ["x"] * 17),
    ("presence_penalty", 3),
    ("frequency_penalty", -3),
    ("repetition_penalty", 0),
    ("logprobs", "yes"),
    ("top_logprobs", 2),
    ("logit_bias", {"x": 1}),
    ("logit_bias", [1]),
    ("stream_options", "x"),
    ("tools", "x"),
    ("messages", "x"),
    ("messages", []),
    ("messages", None),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=lambda value: str(value)[:20])
def test_a_bad_field_is_named(plain, field, value):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, extra_body={field: value})
    assert error.value.param == field
    assert field in str(error.value)
    assert error.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("text", "messages[0]"),
        ({}, "messages[0].role"),
        ({"role": 1, "content": "x"}, "messages[0].role"),
        ({"role": "wizard", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
    ],
)
def test_a_bad_message_is_located(plain, message, param):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, extra_body={"messages": [message]})
    assert error.value.param == param


def test_too_long_prompt(plain):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, messages=[{"role": "user", "content": "word " * 20_000}])
    assert error.value.code == "context_length_exceeded"
    assert "Paris" in ask(plain).choices[0].message.content, "and the engine goes on"


def test_a_prompt_beyond_every_limit_is_the_callers_error(plain):
    """Too long even for the chat template: still a 400, and not a failure of the endpoint."""
    for _ in range(4):
        with pytest.raises(openai.BadRequestError) as error:
            ask(plain, messages=[{"role": "user", "content": "a" * 9_000_000}])
        assert error.value.code == "context_length_exceeded"
        assert error.value.param == "messages"
    assert "Paris" in ask(plain).choices[0].message.content, "the endpoint was not ejected"


@pytest.mark.parametrize(
    ("demand", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(plain, demand, param):
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, extra_body=demand)
    assert error.value.param == param


def test_an_image_needs_another_model(plain):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    with pytest.raises(openai.BadRequestError) as error:
        ask(plain, messages=[{"role": "user", "content": [image]}])
    assert error.value.code == "unsupported"
    assert error.value.param == "messages[0].content"


def test_a_wrong_key_is_refused_on_loopback_too(stranger):
    with pytest.raises(openai.AuthenticationError) as error:
        stranger.models.list()
    assert error.value.code == "invalid_api_key"


def test_keys(local_gateway):
    made = local_gateway.make_key("suite")
    secret = made["key"]
    keyed = openai.OpenAI(base_url=local_gateway.base_url, api_key=secret, max_retries=0)
    assert "Paris" in ask(keyed).choices[0].message.content
    listed = local_gateway.cli("key", "ls", "--json").stdout
    assert "suite" in listed
    assert secret not in listed, "a key is shown once"
    local_gateway.cli("key", "rm", made["id"], check=True)

    def refused():
        try:
            keyed.models.list()
        except openai.AuthenticationError:
            return True
        return False

    wait_until(refused, 5, "a revoked key is refused")


def test_a_key_reaches_only_its_models(local_gateway):
    made = local_gateway.make_key("narrow", "--models", "some-other-model")
    narrow = openai.OpenAI(base_url=local_gateway.base_url, api_key=made["key"], max_retries=0)
    for model in ("auto", MODEL):
        with pytest.raises((openai.PermissionDeniedError, openai.NotFoundError)):
            ask(narrow, model=model)
