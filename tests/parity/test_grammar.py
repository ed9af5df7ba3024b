"""Constrained decoding against the `jsonschema` package, with the tests' model's vocabulary.

Whatever random tokens the masks let through is valid JSON for the schema; examples of the schemas are
accepted; masks are what accept() says of every single token; and an answer that may only have so many
tokens is finished within them. GENESIS_GRAMMAR_WALKS raises the number of random answers.
"""

import json
import os
import random
import re

import jsonschema
import pytest
from grammar_client import Probe
from test_tokenizer import GGUF_CHAINS, Vocabulary

WALKS = int(os.environ.get("GENESIS_GRAMMAR_WALKS", "2"))
DATA = os.path.join(os.path.dirname(__file__), "..", "data", "json_schemas.json")
with open(DATA, encoding="utf-8") as file:
    SCHEMAS = {row["name"]: row for row in json.load(file)}


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = tmp_path_factory.mktemp("grammar") / "tokenizer.json"
    vocabulary = Vocabulary(os.environ["GENESIS_TEST_GGUF"])
    path.write_text(json.dumps(vocabulary.as_json(GGUF_CHAINS["smollm"])), encoding="utf-8")
    probe = Probe(path)
    yield probe
    probe.close()


def validator(schema):
    draft = jsonschema.Draft202012Validator
    return draft(schema, format_checker=draft.FORMAT_CHECKER)


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_examples_are_accepted(probe, name):
    row = SCHEMAS[name]
    check = validator(row["schema"])
    assert probe.schema(row["schema"]).get("ok")
    for example in row["examples"]:
        check.validate(example)
        for style in ({}, {"indent": 2}, {"separators": (",", ":")}):
            text = json.dumps(example, ensure_ascii=False, **style)
            assert probe.holds(text), text


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_what_masks_allow_is_valid(probe, name):
    schema = SCHEMAS[name]["schema"]
    check = validator(schema)
    probe.schema(schema)
    for limit, spread in ((120, 4), (300, 1)):
        reply = probe(walk=WALKS, seed=limit, limit=limit, spread=spread)
        for text, ended in zip(reply["texts"], reply["ended"]):
            assert ended, text
            check.validate(json.loads(text))


@pytest.mark.parametrize("name", list(SCHEMAS)[::4])
def test_masks_are_what_accept_says(probe, name):
    probe.schema(SCHEMAS[name]["schema"])
    assert probe(brute=6, seed=len(name))["wrong"] == 0


@pytest.mark.parametrize("name", list(SCHEMAS)[1::4])
def test_every_sufficient_limit_is_kept(probe, name):
    """Limits from too small upwards: once an answer was finished, it always is."""
    check = validator(SCHEMAS[name]["schema"])
    probe.schema(SCHEMAS[name]["schema"], whitespace=1)
    finished = False
    for limit in list(range(1, 40, 2)) + [60, 90, 130]:
        reply = probe(walk=2, seed=limit, limit=limit, spread=2)
        # Chance may finish an answer early, before the limit is one that is enough for all.
        assert all(reply["ended"]) or not finished or limit < 40, (limit, reply["texts"])
        finished = finished or all(reply["ended"])
        for text, ended in zip(reply["texts"], reply["ended"]):
            if ended:
                check.validate(json.loads(text))
    assert finished


PATTERNS = [
    r"(foo|ba[rz])*\d{2,4}", r"[^\W\d_]+-\w+", r"(?i)Yes|no", r"\p{Lu}\p{Ll}{1,5}", r"a{,3}b+?c*",
    r"[\x20-\x7e]{1,20}", r"\+[1-9]\d{6,14}", r"(\d{1,3}\.){3}\d{1,3}", r"[a-z\u00e0-\u00ff]+( [a-z]+){0,3}", r".*end",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regular_expressions_match_whole(probe, pattern):
    assert probe(kind="regex", source=pattern).get("ok")
    oracle = re.sub(r"\\p\{Lu\}", "[A-Z\u00c0-\u00de\u0100-\U0010ffff]", pattern)
    oracle = re.compile(re.sub(r"\\p\{Ll\}", "[^A-Z0-9]", oracle))
    reply = probe(walk=10, seed=3, limit=40)
    for text, ended in zip(reply["texts"], reply["ended"]):
        assert ended and oracle.fullmatch(text), text
    assert probe(brute=5, seed=1)["wrong"] == 0


def random_number(rng):
    digits = rng.choice([0, 0, 1, 2, 3])
    return round(rng.uniform(-10 ** rng.randint(0, 4), 10 ** rng.randint(0, 4)), digits) if digits else rng.randint(-300, 300)


def test_number_ranges_are_exact(probe):
    rng = random.Random(6)
    for _ in range(60):
        low, high = sorted((random_number(rng), random_number(rng)))
        schema = {"type": rng.choice(["integer", "number"]), rng.choice(["minimum", "exclusiveMinimum"]): low,
                  rng.choice(["maximum", "exclusiveMaximum"]): high}  # fmt: skip
        check = validator(schema)
        numbers = [random_number(rng) for _ in range(60)] + [low, high, low + 1, high - 1, 0]
        if schema["type"] == "integer":
            numbers = [int(n) for n in numbers]
        texts = [json.dumps(n) for n in numbers]
        valid = [check.is_valid(n) for n in numbers]
        reply = probe.schema(schema)
        if not reply.get("ok"):
            assert not any(valid), (schema, reply)
            continue
        assert probe(check=texts)["in"] == valid, (schema, texts)


def test_unsupported_keywords_are_named(probe):
    for keyword, schema in {
        "not": {"not": {"type": "null"}},
        "if": {"if": {"type": "null"}},
        "contains": {"type": "array", "contains": {}},
        "uniqueItems": {"type": "array", "uniqueItems": True},
        "dependentRequired": {"dependentRequired": {"a": ["b"]}},
        "$dynamicRef": {"$dynamicRef": "#x"},
    }.items():
        reply = probe.schema({"type": "object", "properties": {"deep/er": schema}})
        assert reply["code"] == "unsupported"
        assert reply["param"] == f"/properties/deep~1er/{keyword}"
        assert f"'{keyword}'" in reply["error"]
