"""Every dialect that clients speak against every dialect that upstreams speak: text, tools, reasoning,
stop reasons, usage, streams, errors, cut streams. The mock upstream's journal says what was really
asked and billed."""

import json

import pytest
from harness.gateway import Gateway, listing, make_config, paid
from harness.mock import Mock, answer
from harness.process import wait_until
from harness.wire import sse_events

KEY = "up-secret-0123456789"
WORDS = 12
PROMPT = "one two three"
TOOL = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}
CALL = {"city": "Oslo", "n": 2}
MESSAGE = [{"role": "user", "content": PROMPT}]
CHATS = ("chat", "messages", "responses")
PROMPTS = ("completion", "tgi")
CLIENTS = CHATS + PROMPTS
UPSTREAMS = ("openai", "anthropic", "tgi")
# A conversation has no form in TGI's own dialect.
PAIRS = [(c, u) for c in CLIENTS for u in UPSTREAMS if not (c in CHATS and u == "tgi")]


class Up:
    """A gateway whose only endpoint is a mock upstream of one dialect."""

    def __init__(self, folder, dialect):
        self.dialect = dialect
        self.mock = Mock(folder, dialect, words=WORDS, api_key=KEY)
        self.folder = folder

    def __enter__(self):
        self.mock.start()
        root = self.mock.url
        endpoint = paid(self.mock, model="up-model") | {
            "dialect": self.dialect,
            "url": root if self.dialect == "tgi" else root + "/v1",
            "api_key": {"env": "UP_KEY"},
            "headers": {"x-team": "fleet"},
        }
        self.gateway = Gateway(
            self.folder / f"home-{self.dialect}", make_config([endpoint]), environment={"UP_KEY": KEY}
        ).start()
        return self

    def __exit__(self, *_):
        self.gateway.check_end()
        self.mock.kill()

    def script(self, *faults):
        self.mock.reset()
        self.mock.script(*faults)

    def last_line(self):
        return self.mock.settle()[-1]


@pytest.fixture(scope="module")
def ups(binaries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstreams")
    with Up(folder, "openai") as one, Up(folder, "anthropic") as two, Up(folder, "tgi") as three:
        yield {up.dialect: up for up in (one, two, three)}


@pytest.fixture
def up(ups, request):
    chosen = ups[request.getfixturevalue("upstream")]
    chosen.mock.reset()
    return chosen


class Reply:
    """One answer in a form that is the same for all clients."""

    def __init__(self):
        self.status = 200
        self.text = ""
        self.reasoning = ""
        self.calls = []  # (name, arguments as they came)
        self.finish = None
        self.usage = None  # (input, output)
        self.error = None  # the dialect's error object
        self.headers = {}


def post(up, path, body, headers=None):
    status, got, text = up.gateway.http("POST", path, body, headers)
    reply = Reply()
    reply.status, reply.headers = status, got
    return reply, text


def read_openai_choice(reply, choice):
    part = choice.get("delta") or choice.get("message") or {}
    reply.text += part.get("content") or choice.get("text") or ""
    reply.reasoning += part.get("reasoning_content") or ""
    for call in part.get("tool_calls") or []:
        at = call.get("index", len(reply.calls))
        if at == len(reply.calls):
            assert call["id"] and call["type"] == "function"
            reply.calls.append([call["function"]["name"], ""])
        reply.calls[at][1] += call["function"].get("arguments") or ""
    if choice.get("finish_reason"):
        assert reply.finish is None, "one finish only"
        reply.finish = choice["finish_reason"]


def read_openai(reply, events):
    for event in events:
        if event == "[DONE]":
            continue
        chunk = json.loads(event) if isinstance(event, str) else event
        reply.error = chunk.get("error", reply.error)
        for choice in chunk.get("choices", []):
            read_openai_choice(reply, choice)
        if chunk.get("usage"):
            reply.usage = chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]


def ask_openai(up, path, body, stream):
    body |= {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    reply, text = post(up, path, body)
    if stream and reply.status == 200:
        events = sse_events(text)
        read_openai(reply, events)
        assert (events[-1] == "[DONE]") == (reply.error is None)
    else:
        read_openai(reply, [json.loads(text)])
    return reply


def ask_chat(up, stream=False, most=None, tools=False):
    body = {"model": "auto", "messages": MESSAGE}
    body |= {"max_tokens": most} if most else {}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
    return ask_openai(up, "/v1/chat/completions", body, stream)


def ask_completion(up, stream=False, most=None):
    body = {"model": "auto", "prompt": PROMPT, "max_tokens": most or 100}
    return ask_openai(up, "/v1/completions", body, stream)


def ask_tgi(up, stream=False, most=None):
    parameters = {"details": True, "max_new_tokens": most or 100}
    path = "/generate_stream" if stream else "/generate"
    reply, text = post(up, path, {"inputs": PROMPT, "parameters": parameters})
    events = [json.loads(e) for e in sse_events(text)] if stream and reply.status == 200 else []
    for event in events:
        if "error" in event:
            reply.error = event
        elif not event["token"]["special"]:
            reply.text += event["token"]["text"]
    last = events[-1] if events else json.loads(text)
    reply.error = last if "error" in last else None
    details = last.get("details")
    if details:
        assert last["generated_text"] == reply.text or not stream
        reply.text = last["generated_text"]
        reply.finish = details["finish_reason"]
        reply.usage = None, details["generated_tokens"]
    return reply


def typed_events(text):
    """The events of a stream whose names repeat in their data."""
    events = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        assert lines[0].startswith("event: ") and lines[1].startswith("data: "), block
        event = json.loads(lines[1][len("data: ") :])
        assert event["type"] == lines[0][len("event: ") :]
        events.append(event)
    return events


def read_message(reply, message):
    for block in message["content"]:
        if block["type"] == "text":
            reply.text += block["text"]
        elif block["type"] == "thinking":
            reply.reasoning += block["thinking"]
        elif block["type"] == "tool_use":
            reply.calls.append([block["name"], json.dumps(block["input"])])
    reply.finish = message["stop_reason"]
    usage = message["usage"]
    cached = usage.get("cache_read_input_tokens", 0) + usage.get("cache_creation_input_tokens", 0)
    reply.usage = usage["input_tokens"] + cached, usage["output_tokens"]


def fold_message(reply, events):
    """Adds up the events of one message, strictly in the order that the dialect promises."""
    assert events[0]["type"] == "message_start"
    usage, blocks, open_block = events[0]["message"]["usage"], [], None
    for event in events[1:]:
        kind = event["type"]
        if kind == "content_block_start":
            assert open_block is None and event["index"] == len(blocks)
            open_block = dict(event["content_block"], json="")
            blocks.append(open_block)
        elif kind == "content_block_delta":
            assert event["index"] == len(blocks) - 1
            delta = dict(event["delta"])
            key = {"input_json_delta": "json", "text_delta": "text", "thinking_delta": "thinking"}
            name = key.get(delta.pop("type"), "signature")
            open_block[name] = open_block.get(name, "") + next(iter(delta.values()))
        elif kind == "content_block_stop":
            if open_block["json"]:
                open_block["input"] = json.loads(open_block["json"])
            open_block = None
        elif kind == "message_delta":
            usage = usage | event.get("usage", {})
            ended = {"content": blocks, "stop_reason": event["delta"]["stop_reason"], "usage": usage}
        elif kind == "error":
            reply.error = event["error"]
            reply.text = "".join(block.get("text", "") for block in blocks)
            assert event is events[-1]
            return
        else:
            assert kind in ("ping", "message_stop")
    assert events[-1]["type"] == "message_stop"
    read_message(reply, ended)


def ask_messages(up, stream=False, most=None, tools=False):
    body = {"model": "auto", "messages": MESSAGE, "max_tokens": most or 100, "stream": stream}
    if tools:
        body["tools"] = [{"name": "look", "input_schema": TOOL}]
    reply, text = post(up, "/v1/messages", body, {"anthropic-version": "2023-06-01"})
    if reply.status != 200:
        reply.error = json.loads(text)["error"]
    elif stream:
        fold_message(reply, typed_events(text))
    else:
        read_message(reply, json.loads(text))
    return reply


def read_response(reply, response):
    for item in response["output"]:
        if item["type"] == "message":
            reply.text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            reply.reasoning += "".join(part["text"] for part in item["content"])
        else:
            reply.calls.append([item["name"], item["arguments"]])
    details = response["incomplete_details"]
    reply.finish = details["reason"] if details else response["status"]
    reply.usage = response["usage"]["input_tokens"], response["usage"]["output_tokens"]


def ask_responses(up, stream=False, most=None, tools=False):
    body = {"model": "auto", "input": MESSAGE, "stream": stream}
    body |= {"max_output_tokens": most} if most else {}
    if tools:
        body["tools"] = [{"type": "function", "name": "look", "parameters": TOOL}]
    reply, text = post(up, "/v1/responses", body)
    if reply.status != 200:
        reply.error = json.loads(text)["error"]
        return reply
    if not stream:
        read_response(reply, json.loads(text))
        return reply
    events = typed_events(text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    told = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    failed = [event for event in events if event["type"] == "response.failed"]
    if failed:
        assert events[-1]["type"] == "error", "what the openai client raises"
        reply.error, reply.text = failed[0]["response"]["error"], told
        return reply
    read_response(reply, events[-1]["response"])
    assert reply.text == told
    return reply


ASK = {
    "chat": ask_chat,
    "messages": ask_messages,
    "responses": ask_responses,
    "completion": ask_completion,
    "tgi": ask_tgi,
}
# What each client calls the same end.
FINISH = {
    "stop": {
        "chat": "stop",
        "completion": "stop",
        "tgi": "eos_token",
        "messages": "end_turn",
        "responses": "completed",
    },
    "length": {
        "chat": "length",
        "completion": "length",
        "tgi": "length",
        "messages": "max_tokens",
        "responses": "max_output_tokens",
    },
    "tool_calls": {"chat": "tool_calls", "messages": "tool_use", "responses": "completed"},
    "content_filter": {
        "chat": "content_filter",
        "messages": "refusal",
        "responses": "content_filter",
    },
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_text_finish_and_usage(up, client, upstream, stream):
    reply = ASK[client](up, stream)
    assert reply.status == 200 and reply.error is None
    assert reply.text == answer(WORDS)
    assert reply.finish == FINISH["stop"][client]
    line = up.last_line()
    assert line["outcome"] == "completed" and line["dialect"] == upstream
    assert reply.usage[1] == line["completion_tokens"] == WORDS
    assert reply.usage[0] in (None, line["prompt_tokens"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_the_limit_on_tokens_arrives(up, client, upstream, stream):
    reply = ASK[client](up, stream, most=5)
    assert reply.text == answer(5)
    assert reply.finish == FINISH["length"][client]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
@pytest.mark.parametrize("client", CHATS)
def test_tool_calls(up, client, upstream, stream):
    up.script({"fault": "answer", "calls": 2})
    reply = ASK[client](up, stream, tools=True)
    assert [name for name, _ in reply.calls] == ["look", "look"]
    assert [json.loads(arguments) for _, arguments in reply.calls] == [CALL, CALL]
    assert reply.text == answer(WORDS)
    assert reply.finish == FINISH["tool_calls"][client]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
@pytest.mark.parametrize("client", CHATS)
def test_reasoning(up, client, upstream, stream):
    up.script({"fault": "answer", "thinking": 4})
    reply = ASK[client](up, stream)
    assert reply.reasoning == answer(4)
    assert reply.text == answer(WORDS)


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
@pytest.mark.parametrize("client", CHATS)
def test_a_refusal_keeps_its_name(up, client, upstream):
    up.script({"fault": "answer", "finish": "content_filter"})
    reply = ASK[client](up, True)
    assert reply.finish == FINISH["content_filter"][client]


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_the_ledger_knows_the_classes_of_input(up, upstream):
    up.script({"fault": "answer", "cached": 2, "cache_write": 1})
    assert ask_chat(up, True).status == 200
    line = up.last_line()

    def row():
        rows = listing(up.gateway.cli_json("ledger", "ls", "--limit", "0"))
        wanted = [r for r in rows if f"{r['request_id']}/{r['attempt']}" == line["attempt"]]
        return next((r for r in wanted if r["kind"] == "post"), None)

    usage = wait_until(row, 20, "the attempt is posted")["usage"]
    assert usage["input"] == line["prompt_tokens"]
    assert usage["cached_input"] == 2
    assert usage["output"] == line["completion_tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["cut", "cut_reset", "error_object", "early_done", "invalid_json"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_broken_answer_is_never_a_success(up, client, upstream, fault, stream):
    up.script({"fault": fault, "tokens": 7, "times": -1})
    reply = ASK[client](up, stream)
    up.mock.reset()
    assert reply.error is not None
    assert reply.finish is None
    if stream:
        assert answer(WORDS).startswith(reply.text)
    else:
        assert reply.status >= 500 and reply.text == ""


@pytest.mark.parametrize("upstream", ["anthropic"])
@pytest.mark.parametrize("client", CHATS)
def test_a_stream_without_message_stop_is_cut(up, client, upstream):
    up.script({"fault": "no_done", "times": -1})
    reply = ASK[client](up, True)
    assert reply.error is not None


@pytest.mark.parametrize("fault", ["split", "odd_sse", "no_usage"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_odd_but_lawful_streams(up, client, upstream, fault):
    up.script(fault)
    reply = ASK[client](up, True)
    assert reply.error is None
    assert reply.text == answer(WORDS)
    assert reply.finish == FINISH["stop"][client]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_refusals_in_the_clients_dialect(up, client, upstream):
    up.script({"fault": "status", "status": 400, "code": "context_length_exceeded", "message": "no"})
    refused = ASK[client](up)
    assert refused.status in (400, 422) and refused.error
    assert up.last_line()["status"] == 400, "one attempt: another would be refused as well"
    up.script({"fault": "status", "status": 429, "retry_after": 3600, "times": -1})
    limited = ASK[client](up)
    assert limited.status == 429 and limited.error
    assert int(limited.headers["retry-after"]) > 1000
    # The endpoint cools down now, which is not what the tests behind this one are about.
    up.__exit__()
    up.__enter__()


@pytest.mark.parametrize("upstream", ["tgi"])
@pytest.mark.parametrize("client", CHATS)
def test_a_conversation_is_refused_where_it_has_no_form(up, client, upstream):
    before = len(up.mock.journal())
    reply = ASK[client](up)
    assert reply.status in (400, 404, 422, 503) and reply.error
    assert len(up.mock.journal()) == before
