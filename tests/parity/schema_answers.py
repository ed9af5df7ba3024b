#!/usr/bin/env python3
"""Generations under JSON schemas: every answer must be valid for its schema, as `jsonschema` judges.

    tests/parity/schema_answers.py --model model.gguf [--schemas tests/data/json_schemas.json] [--answers 1000]

Starts `genesis engine` (GENESIS_BIN, default build/release/bin/genesis), asks for the answers at temperature 1, half of
them with so few tokens that many have to be led to their end. Prints one JSON line; fails when an
answer is not valid.
"""

import argparse
import collections
import json
import pathlib
import sys
import tempfile
import time

import jsonschema

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness.engine import EngineProcess  # noqa: E402

PROMPTS = [
    "Make up an example.",
    "Describe a person who works in a harbour.",
    "Report what happened in the shop today.",
    "An order of three things, please.",
    "Weather of tomorrow in Vienna.",
]


def body(name, schema, index):
    return {
        "model": "model",
        "messages": [{"role": "user", "content": f"{PROMPTS[index % len(PROMPTS)]} ({name})"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "temperature": 1.0,
        "seed": index,
        "max_tokens": 160 if index % 2 else 320,
    }


def judge(answer, schema):
    """None, or what is wrong with an answer."""
    status, document = answer
    if status != 200:
        return f"status {status}: {document['error']['message']}"
    text = document["choices"][0]["message"]["content"]
    try:
        value = json.loads(text)
        judging = jsonschema.Draft202012Validator
        judging(schema, format_checker=judging.FORMAT_CHECKER).validate(value)
    except (ValueError, jsonschema.ValidationError) as error:
        return f"{str(error).splitlines()[0]}: {text[:200]!r} ({document['choices'][0]['finish_reason']})"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--schemas", default=TESTS / "data" / "json_schemas.json")
    parser.add_argument("--answers", type=int, default=1000)
    arguments = parser.parse_args()
    schemas = json.loads(pathlib.Path(arguments.schemas).read_text())
    schemas = list(schemas.items()) if isinstance(schemas, dict) else [(s["name"], s["schema"]) for s in schemas]
    asked = [(schemas[i % len(schemas)], i) for i in range(arguments.answers)]
    with tempfile.TemporaryDirectory() as folder, EngineProcess(arguments.model, folder) as engine:
        begin = time.monotonic()
        answers = engine.post_all("/v1/chat/completions", [body(*schema, i) for schema, i in asked])
        seconds = time.monotonic() - begin
    wrong = [(name, why) for ((name, schema), _), answer in zip(asked, answers) if (why := judge(answer, schema))]
    good = [document for status, document in answers if status == 200]
    tokens = sum(document["usage"]["completion_tokens"] for document in good)
    ends = collections.Counter(document["choices"][0]["finish_reason"] for document in good)
    print(json.dumps({
        "schemas": len(schemas), "answers": len(answers), "valid": len(answers) - len(wrong), "finish": dict(ends),
        "tokens": tokens, "tokens_per_second": round(tokens / seconds, 1),
    }))  # fmt: skip
    for name, why in wrong[:20]:
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
