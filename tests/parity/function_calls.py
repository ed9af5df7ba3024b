#!/usr/bin/env python3
"""The single-turn function-calling rows of the Berkeley Function Calling Leaderboard (package bfcl-eval) on our engine.

    tests/parity/function_calls.py --model model.gguf [--rows FOLDER] [--limit N] [--parts simple_python multiple ...]

Each row is asked twice: with tool_choice "auto", where the model may answer in words, and "required", where the form
of a call is forced. Prints, for each part and both ways, how many answers hold calls, how many of these are parseable
(known tools, arguments that are JSON objects), valid for the tools' schemas, and how many match the expected calls
exactly, by the leaderboard's own rules for values. Fails when a call is not parseable, or a forced answer holds none or
one that is not valid.

Without --rows the package is fetched with pip into a temporary folder; only its data files are read.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

import jsonschema

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness.engine import EngineProcess  # noqa: E402

PACKAGE = "bfcl-eval==2026.3.23"
PARTS = ["simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_parallel",
         "live_parallel_multiple", "simple_java", "simple_javascript"]  # fmt: skip

# The types of the rows' languages as JSON Schema's.
TYPES = {
    "integer": "integer", "byte": "integer", "short": "integer", "long": "integer", "Bigint": "integer",
    "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean", "Boolean": "boolean",
    "array": "array", "list": "array", "tuple": "array", "ArrayList": "array", "Array": "array", "Queue": "array",
    "Stack": "array", "Set": "array",
    "dict": "object", "object": "object", "HashMap": "object", "Hashtable": "object",
}  # fmt: skip


def schema_of(source):
    """A row's parameter description as JSON Schema."""
    if not isinstance(source, dict):
        return {}
    out = {key: source[key] for key in ("description", "enum", "required", "minItems", "maxItems") if key in source}
    out["type"] = TYPES.get(source.get("type"), "string")
    if out["type"] == "object":
        out["properties"] = {name: schema_of(part) for name, part in source.get("properties", {}).items()}
        out["required"] = [name for name in source.get("required", []) if name in out["properties"]]
        out["additionalProperties"] = not out["properties"]
    elif "items" in source and out["type"] == "array":
        out["items"] = schema_of(source["items"])
    if "enum" in out and out["type"] != "string":
        del out["enum"]
    return out


def tool_name(name):
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


def tools_of(row):
    return [
        {"type": "function", "function": {
            "name": tool_name(function["name"]), "description": function.get("description", "")[:1000],
            "parameters": schema_of(function["parameters"]),
        }}
        for function in row["function"]
    ]  # fmt: skip


def body(row, choice):
    return {
        "model": "model", "messages": row["question"][0], "tools": tools_of(row), "tool_choice": choice,
        "parallel_tool_calls": "parallel" in row["id"], "temperature": 0, "max_tokens": 256,
    }  # fmt: skip


def plain(value):
    return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"')


def same(given, wanted):
    """The leaderboard's rule for one value: text by letters alone, numbers by value, lists item by item."""
    if isinstance(given, str) and isinstance(wanted, str):
        return plain(given) == plain(wanted)
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(same, given, wanted))
    if isinstance(given, dict) and isinstance(wanted, dict):
        return matches(given, wanted)
    return type(given) in (int, float) and given == wanted if isinstance(wanted, (int, float)) and not isinstance(
        wanted, bool) else given == wanted  # fmt: skip


def matches(arguments, wanted):
    """Whether arguments agree with {name: [acceptable values]}; "" among these: may be left out."""
    if any(name not in wanted for name in arguments):
        return False
    for name, values in wanted.items():
        values = values if isinstance(values, list) else [values]
        if name not in arguments:
            if "" not in values:
                return False
        elif not any(same(arguments[name], value) for value in values):
            return False
    return True


def exact(calls, truth):
    """Every expected call once, in any order, and nothing else."""
    left = list(calls)
    for expected in truth:
        (name, wanted), = expected.items()
        found = next((c for c in left if c[0] == tool_name(name) and matches(c[1], wanted)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def read_calls(document, tools):
    """([(name, arguments)], what is wrong or None, whether all are valid for their schemas)."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    calls, valid = [], True
    for call in document["choices"][0]["message"].get("tool_calls") or []:
        name = call["function"]["name"]
        try:
            arguments = json.loads(call["function"]["arguments"])
            valid = valid and isinstance(arguments, dict) and jsonschema.Draft202012Validator(schemas[name]).is_valid(
                arguments
            )
        except (KeyError, ValueError) as error:
            return calls, f"{name}: {type(error).__name__}: {str(error)[:150]}", False
        calls.append((name, arguments))
    return calls, None, valid


def measure(engine, rows, truth, choice):
    answers = engine.post_all("/v1/chat/completions", [body(row, choice) for row in rows])
    counts = {"rows": len(rows), "with_calls": 0, "parseable": 0, "valid": 0, "exact": 0}
    problems = []
    for row, (status, document) in zip(rows, answers):
        if status != 200:
            problems.append(f"{row['id']}: status {status}: {document['error']['message']}")
            continue
        calls, wrong, valid = read_calls(document, tools_of(row))
        held = bool(document["choices"][0]["message"].get("tool_calls"))
        counts["with_calls"] += held
        if wrong or (choice == "required" and not (held and valid)):
            problems.append(f"{row['id']}: {wrong or 'no call, or one that is not valid'}")
            continue
        counts["parseable"] += held
        counts["valid"] += held and valid
        counts["exact"] += held and exact(calls, truth[row["id"]])
    return counts, problems


def data_folder(given):
    if given:
        return pathlib.Path(given)
    folder = pathlib.Path(tempfile.mkdtemp())
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, PACKAGE], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith("bfcl_eval/data/")])
    return folder / "bfcl_eval" / "data"


def load(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", help="bfcl_eval/data of an unpacked package")
    parser.add_argument("--limit", type=int, default=10**9)
    parser.add_argument("--parts", nargs="+", default=PARTS)
    arguments = parser.parse_args()
    folder = data_folder(arguments.rows)
    failed = []
    with tempfile.TemporaryDirectory() as home, EngineProcess(arguments.model, home) as engine:
        for part in arguments.parts:
            rows = load(folder / f"BFCL_v4_{part}.json")[: arguments.limit]
            truth = {row["id"]: row["ground_truth"] for row in load(folder / "possible_answer" / f"BFCL_v4_{part}.json")}
            for choice in ("auto", "required"):
                counts, problems = measure(engine, rows, truth, choice)
                print(json.dumps({"part": part, "tool_choice": choice, **counts}), flush=True)
                failed += problems
    for problem in failed[:20]:
        print(problem, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
