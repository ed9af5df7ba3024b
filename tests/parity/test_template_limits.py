"""Hostile templates end soon, in little memory, with an error that says so: each in a process of its own,
whose peak memory and processor time are measured. The short ones are the fuzzer's corpus too.

Needs GENESIS_BIN_DIR (holding text_probe).
"""

import json
import os
import pathlib
import subprocess

import pytest
from template_cases import STYLES
from template_probe import Probe

CORPUS = pathlib.Path(__file__).parents[2] / "fuzz" / "corpus" / "jinja"
MESSAGES = [
    {"role": "user", "content": "Hi <b>"},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
]
MOST_MIB = 64
MOST_SECONDS = 1.0
SHORT = sorted(path.stem for path in CORPUS.glob("hostile_*.jinja"))
# Too long for the corpus. The last four are dear to parse, and render.
LONG = {
    "macro_prefix": "{% macro f(n) %}" + "x" * 100_000 + "{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "variables": "".join(f"{{% set v{i} = 1 %}}" for i in range(9000))
    + "{% for i in range(9999) %}{% for j in range(9999) %}{{ 1 if nope }}{% endfor %}{% endfor %}",
    "list": "{{ [" + "1," * 100_000 + "1] | length }}",
    "sum": "{{ " + "1+" * 120_000 + "1 }}",
    "tags": "{{1}}" * 50_000,
    "sets": "{% set a=1 %}" * 18_000,
}
RENDER = {"list", "sum", "tags", "sets", "hostile_batch"}


def measured(path):
    """(reply, peak MiB, seconds of processor time) of one rendering."""
    binary = pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "text_probe"
    request = {"messages": json.dumps(MESSAGES), "tools": "", "extra": '{"bos_token": "<s>"}', "now": 0}
    child = subprocess.Popen([binary, "template", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.close()
    reply = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return json.loads(reply), usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """A build whose memory and time say nothing; an idle process takes less than that otherwise."""
    path = tmp_path_factory.mktemp("idle") / "idle.jinja"
    path.write_text("x")
    return measured(path)[1] > MOST_MIB / 2


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_hostile_template(tmp_path, sanitized, name):
    path = CORPUS / f"{name}.jinja"
    if name in LONG:
        path = tmp_path / "long.jinja"
        path.write_text(LONG[name])
    reply, mib, seconds = measured(path)
    if name in RENDER:
        assert "text" in reply
    else:
        assert reply["code"] == "resource_exhausted", reply
    if not sanitized:
        assert mib < MOST_MIB
        assert seconds < MOST_SECONDS


def test_a_template_may_be_too_long(tmp_path):
    path = tmp_path / "long.jinja"
    path.write_text("x" * (256 * 1024 + 1))
    assert measured(path)[0]["code"] == "invalid_argument"


@pytest.mark.parametrize("name", [name for name in STYLES if name != "typescript"])
def test_long_conversations_fit(tmp_path, name):
    """4 MB of messages, far beyond any context, are no attack."""
    long = "The quick brown fox <think> jumps \u00fc\n" * 600
    messages = [{"role": role, "content": long} for _ in range(80) for role in ("user", "assistant")]
    probe = Probe(STYLES[name], tmp_path)
    reply = probe.render(messages, None, True, {"bos_token": "<s>", "eos_token": "</s>"}, mark_assistant=True)
    probe.close()
    assert len(reply.get("text", "")) > 160 * (len(long) - 2), reply
