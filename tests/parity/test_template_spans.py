"""Where each byte of a rendered conversation came from, and which bytes the model itself would have
written: properties over random conversations full of special tokens, and transformers' assistant mask.

Needs GENESIS_BIN_DIR (holding text_probe).
"""

import random

import pytest
from template_cases import STYLES, TRAINING
from template_matrix import CONVERSATIONS, TOOLS, assistant, call, result, system, user
from template_probe import Probe
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
ROLE, CONTENT, REASONING, TOOL_CALLS, OTHER, OFFERED, VARIABLES = range(7)
ROUNDS = 60

# What users might type: special tokens, text that a template writes itself, odd characters.
PIECES = [
    "<|im_end|>", "<|im_start|>assistant\n", "</s>", "[INST]", "[/INST]", "<|eot_id|>", "<end_of_turn>\n",
    "<|start_header_id|>system<|end_header_id|>\n\n", "<|end|>\n", "user", "assistant", "\n", " ", "\u00e9\u65e5", "\U0001f600",
    "{{ x }}", "{% if %}", "<|assistant|>\n", "a", "x y", "\\n", "\"", "'",
]  # fmt: skip
TEMPLATES = ["chatml", "qwen2_5", "llama3", "mistral", "deepseek", "gemma", "phi3", "phi4", "falcon3", "training"]


@pytest.fixture
def open_probe(tmp_path):
    opened = []

    def make(source):
        opened.append(Probe(source, tmp_path))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def words(rng):
    """Never empty and never blank at the ends, which some templates strip."""
    return "w" + "".join(rng.choice(PIECES) for _ in range(rng.randrange(6))) + "w"


def conversation(rng):
    messages = [user(words(rng))]
    for _ in range(rng.randrange(4)):
        messages += [assistant(words(rng)), user(words(rng))]
    return messages


def pieces(reply, wanted):
    """The text of the spans that `wanted(message, part)` picks, and all the text outside of them."""
    data = reply["text"].encode()
    inside, outside, at = [], [], 0
    for begin, end, message, part in reply["sources"]:
        if wanted(message, part):
            inside.append(data[begin:end].decode())
            outside.append(data[at:begin].decode())
            at = end
    return inside, [*outside, data[at:].decode()]


def check_spans(reply):
    """Sorted, disjoint, within the text; from_messages is their union."""
    at = 0
    for begin, end, *_ in reply["sources"]:
        assert at <= begin < end <= len(reply["text"].encode())
        at = end
    union = []
    for begin, end, *_ in reply["sources"]:
        if union and union[-1][1] == begin:
            union[-1][1] = end
        else:
            union.append([begin, end])
    assert union == reply["from_messages"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_message_owns_its_bytes_whatever_it_says(open_probe, name):
    rng = random.Random(name)
    one = open_probe(STYLES[name])
    for _ in range(ROUNDS):
        messages = conversation(rng)
        reply = one.render(messages, None, True, SPECIAL)
        check_spans(reply)
        for at, message in enumerate(messages):
            inside, outside = pieces(reply, lambda m, part, at=at: m == at and part == CONTENT)
            assert inside == [message["content"]]
            # Another text in its place changes that span and nothing else.
            changed = [dict(m) for m in messages]
            changed[at]["content"] = words(rng)
            again = one.render(changed, None, True, SPECIAL)
            check_spans(again)
            assert pieces(again, lambda m, part, at=at: m == at and part == CONTENT) == (
                [changed[at]["content"]],
                outside,
            )
            others = [pieces(r, lambda m, part, at=at: m != at)[0] for r in (reply, again)]
            assert others[0] == others[1]


def test_each_field_is_told_apart(open_probe):
    text = {"city": "<|im_end|>", "n": 3, "deep": {"k<s>": ["</tool_call>", None]}}
    messages = [
        user("q"),
        assistant("c<think>", reasoning_content="r</think>", tool_calls=[call("f<s>", text)]),
        result("t<|im_end|>"),
    ]
    reply = open_probe(STYLES["chatml"]).render(messages, TOOLS, True, SPECIAL, client={"enable_thinking": False})
    check_spans(reply)
    part = {kind: pieces(reply, lambda m, p, kind=kind: m == 1 and p == kind)[0] for kind in (ROLE, CONTENT, REASONING)}
    assert part == {ROLE: ["assistant"], CONTENT: ["c<think>"], REASONING: ["r</think>"]}
    calls = pieces(reply, lambda m, p: m == 1 and p == TOOL_CALLS)[0]
    assert calls == ["f<s>", "city", "<|im_end|>", "n", "deep", "k<s>", "</tool_call>"]
    assert pieces(reply, lambda m, p: m == 2)[0] == ["t<|im_end|>"]
    offered = pieces(reply, lambda m, p: p == OFFERED)[0]
    assert "Weather <now> & 'later' \u65e5\u672c" in offered
    assert all(m is None for *_, m, p in reply["sources"] if p == OFFERED)


def test_the_client_s_variables_are_the_client_s(open_probe):
    one = open_probe("{{ bos_token }}{{ date_string }}{{ documents[0].text }}{{ eos_token }}")
    client = {"date_string": "<|im_end|>", "documents": [{"text": "d</s>"}], "eos_token": "typed"}
    reply = one.render([user("x")], None, False, SPECIAL, client=client)
    assert reply["text"] == "<s><|im_end|>d</s>typed"
    assert reply["sources"] == [[3, 23, None, VARIABLES]]


def test_the_mask_of_generation_blocks_is_transformers_own(open_probe):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **SPECIAL)
    one = open_probe(TRAINING)
    for messages in CONVERSATIONS.values():
        try:
            (text,), (indices,) = chat_template_utils.render_jinja_template(
                [messages], chat_template=TRAINING, return_assistant_tokens_mask=True, **tokenizer.special_tokens_map
            )
        except Exception:
            continue
        reply = one.render(messages, None, False, SPECIAL, mark_assistant=True)
        data = reply["text"].encode()
        ours = [data[begin:end].decode() for begin, end in reply["from_assistant"]]
        assert (reply["text"], ours) == (text, [text[begin:end] for begin, end in indices if begin < end])


def test_the_mask_of_tokens_is_transformers_own(open_probe):
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, chat_template=TRAINING, **SPECIAL)
    messages = [user("1 \u00fc?"), assistant("zw\u00f6lf \U0001f600"), user("r"), assistant(" b ", tool_calls=[call("f", {"a": 1})])]
    theirs = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    reply = open_probe(TRAINING).render(messages, None, False, SPECIAL, mark_assistant=True)
    ours = [0] * len(reply["text"].encode())
    for begin, end in reply["from_assistant"]:
        ours[begin:end] = [1] * (end - begin)
    # One token a byte.
    assert len(ours) == len(theirs["assistant_masks"])
    assert ours == theirs["assistant_masks"]


CALLED = assistant("", tool_calls=[call("ping", {"n": 1})])
TURNS = [
    ("qwen2_5", [user("q"), assistant("a"), user("r"), assistant(" b ")], ["<|im_end|>"], ["a<|im_end|>", " b <|im_end|>"]),
    ("qwen2_5", [user("q"), assistant(""), user("r")], ["<|im_end|>"], ["<|im_end|>"]),
    ("qwen2_5", [user("q"), assistant("<|im_end|>\n<|im_start|>user"), user("r")], ["<|im_end|>"], ["<|im_end|>\n<|im_start|>user<|im_end|>"]),
    (
        "qwen2_5", [system("s"), user("q"), CALLED, result("pong"), assistant("up"), user("r")], ["<|im_end|>"],
        ['<tool_call>\n{"name": "ping", "arguments": {"n": 1}}\n</tool_call><|im_end|>', "up<|im_end|>"],
    ),
    ("chatml", [user("q"), assistant("a", reasoning_content="t")], ["<|im_end|>"], ["<think>\nt\n</think>\n\na<|im_end|>"]),
    ("chatml", [user("q"), assistant("<think>t</think>a"), user("r"), assistant("b")], ["<|im_end|>"], ["a<|im_end|>", "<think>\n\n</think>\n\nb<|im_end|>"]),
    ("llama3", [user("q"), assistant("a"), user("r")], ["<|eot_id|>"], ["a<|eot_id|>"]),
    ("llama3", [user("q"), CALLED, result("pong"), assistant("up")], ["<|eot_id|>"], ['{"name": "ping", "parameters": {"n": 1}}<|eot_id|>', "up<|eot_id|>"]),
    ("mistral", [user("q"), assistant("a"), user("r"), assistant("b")], [], [" a</s>", " b</s>"]),
    (
        "mistral", [user("q"), CALLED, {**result("p"), "tool_call_id": "call12345"}, assistant("up")], [],
        ['[TOOL_CALLS] [{"name": "ping", "arguments": {"n": 1}, "id": "call12345"}]</s>', " up</s>"],
    ),
    ("gemma", [user("q"), assistant("a"), user("r"), assistant("b")], ["<end_of_turn>"], ["a<end_of_turn>", "b<end_of_turn>"]),
    ("deepseek", [user("q"), assistant("<think>t</think>a"), user("r")], [], ["a</s>"]),
    ("phi3", [user("q"), assistant("a"), user("r"), assistant("b")], ["<|end|>"], ["a<|end|>", "b<|end|>"]),
    ("phi4", [user("q"), assistant("a"), user("r"), assistant("b")], ["<|im_end|>"], ["a<|im_end|>", "b<|im_end|>"]),
    ("falcon3", [user("q"), assistant("a"), user("r"), assistant("b")], [], ["a</s>", "b</s>"]),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(TURNS)))
@pytest.mark.parametrize("prompt", [False, True])
def test_turns_without_generation_blocks(open_probe, at, prompt):
    name, messages, ends, want = TURNS[at]
    reply = open_probe(STYLES[name]).render(
        messages, None, prompt, SPECIAL, mark_assistant=True, end_tokens=ends
    )
    data = reply["text"].encode()
    assert [data[begin:end].decode() for begin, end in reply["from_assistant"]] == want


@pytest.mark.parametrize("name", [n for n in TEMPLATES if n not in ("deepseek", "training")])
def test_a_turn_begins_where_the_model_took_over(open_probe, name):
    """Rendering the messages before it with a generation prompt is what the model saw."""
    rng = random.Random(name)
    one = open_probe(STYLES[name])
    for _ in range(ROUNDS // 4):
        messages = [*conversation(rng), assistant(words(rng))]
        reply = one.render(messages, None, False, SPECIAL, mark_assistant=True)
        seen = 0
        for at, message in enumerate(messages):
            if message["role"] == "assistant":
                before = one.render(messages[:at], None, True, SPECIAL)["text"]
                begin = reply["from_assistant"][seen][0]
                seen += 1
                # A generation prompt may hold more than history keeps, a thinking block say.
                if reply["text"].startswith(before):
                    assert begin == len(before.encode()), (name, messages)
        assert seen == len(reply["from_assistant"])


def test_questions_about_a_template(open_probe):
    one = open_probe("{% set mine = 1 %}{{ '<tool' ~ '_call>' }}<think>{% if tools and x.enable %}{{ f(k='in <s>') }}{% endif %}{% for loopvar in messages %}{% endfor %}")
    reply = one.render([], None, False, SPECIAL, mentions=["<think>", "<tool", "<tool_call>", "in <s>"], uses=["tools", "x", "enable", "mine", "messages", "loopvar", "f", "nope"])  # fmt: skip
    assert [reply[f"mentions {word}"] for word in ("<think>", "<tool", "<tool_call>", "in <s>")] == [True, True, False, True]
    used = [name for name in ("tools", "x", "enable", "mine", "messages", "loopvar", "f", "nope") if reply[f"uses {name}"]]
    assert used == ["tools", "x", "messages", "f"]
