#!/usr/bin/env python3
"""The engine beside its peers: same file, same threads, same prompts, alternating rounds, one engine running
at a time. Prints one JSON line a measure: {measure, unit, genesis, best_peer, peer, ratio, ..., cpu, isa};
a ratio above 1 is to our favour whatever the unit.

    bench/engine.py --model model.gguf [--threads 2] [--rounds 5] [--quick] [--only decode,prefill]

measure        what
decode         tokens/s after the first, one stream, 128 tokens after a prompt of 16
prefill        tokens/s of a new prompt of 512 until its first token
streams15_N    generated tokens/s of 15 streams at once, each with a new prompt of N tokens, until the last ends
replay_ttft    15 agents share a prompt of 1,500 tokens, each has its own 20 more; all ask at once, turn after
               turn, each turn with the last answer in it: median seconds to the first token of all turns
adapters15     the replay with a rank-16 LoRA adapter of its own for each agent (a quick run: prompts of 512)
alora15        the replay with adapters that are activated after the shared prompt
speculation    tokens/s of an answer that repeats half of its prompt, with prompt lookup against without (x)
draft          tokens/s of a model four times as deep, with a draft model that is never wrong against without (x)
overload       tokens/s of whole answers that 150 clients get against what 15 get (x); each asks again at once
neighbour      decode with 2 threads against 1, beside a process that keeps a core busy (x)
streams100     100 streams at once: 99th percentile of the seconds between tokens; all must finish
kl             mean KL divergence from fp32 of what the engine says next, over a text: the quality of all the above
peak_memory    MiB resident at most, over all that came before

Prompts are random tokens from a printed seed, never asked twice, so a prefix cache helps only in the replay.
An engine that has no such server (OpenVINO GenAI, CTranslate2, transformers) takes part in what needs none.
"""

import argparse
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import adapters
import make_models
import engine_systems as systems

VOCABULARY = 49152
SHARED, OWN, ANSWER = 1500, 20, 24
COPY = ("<|im_start|>user\nRepeat this text word for word: The river runs from the hills to the sea. It passes three mills"
        " and a bridge. In spring the water is high and brown, in summer it is low and clear. Children swim in it, and"
        " old men sit on the bank with their rods until the sun goes down behind the church of the small town."
        "<|im_end|>\n<|im_start|>assistant\n")
FREE = "<|im_start|>user\nWrite a story about a boat and a storm.<|im_end|>\n<|im_start|>assistant\n"
INVOCATION = (1, 520, 9531, 198)  # <|im_start|>assistant and a line break


def cpu_model():
    return re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)


class Prompts:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def new(self, length):
        return [self.random.randrange(100, VOCABULARY) for _ in range(length)]


def decode(engine, prompts, _):
    return engine.decode(prompts.new(16), 128)


def prefill(engine, prompts, _):
    return engine.prefill(prompts.new(512))


def streams15(length):
    def measure(engine, prompts, options):
        return engine.batch([prompts.new(length) for _ in range(systems.SLOTS)], 32 if options.quick else 64)
    return measure


def replay(engine, prompts, turns, length=SHARED, invocation=(), own_adapters=False):
    """Each call is a fleet of its own: another shared prompt."""
    shared, firsts = prompts.new(length), []
    agents = [list(shared) for _ in range(systems.SLOTS)]
    for _ in range(turns):
        for agent in agents:
            agent += [*invocation, *prompts.new(OWN)]
        firsts += [run.first for run in engine.ask_all(agents, ANSWER, own_adapters)[1]]
        for agent in agents:
            # The answer's text is not needed for its cost: any tokens of its length stand for it.
            agent += prompts.new(ANSWER)
    return statistics.median(firsts)


def replay_ttft(engine, prompts, options):
    return replay(engine, prompts, options.turns) if hasattr(engine, "ask_all") else None


def with_adapters(length, invocation=()):
    """A server of its own for each call, with fifteen adapters."""
    def measure(engine, prompts, options):
        if not hasattr(engine, "ask_all"):
            return None
        with tempfile.TemporaryDirectory() as folder:
            folders, files = adapters.fleet(folder, systems.SLOTS, invocation)
            ours = engine.name == "genesis"
            open_one = systems.genesis if ours else systems.llama_server
            server = open_one(options.model, options.threads, folders if ours else files)
            try:
                server.ask(prompts.new(16), 8, server.adapter(0))
                shared = 512 if options.quick and not invocation else length
                return replay(server, prompts, options.turns, shared, invocation, own_adapters=True)
            finally:
                server.close()
    return measure


def goodput(engine, prompts, clients, seconds):
    """Tokens of whole answers a second, while each client asks again as soon as it is answered or refused."""
    end = time.perf_counter() + seconds
    done = [0] * clients

    def client(i):
        while time.perf_counter() < end:
            try:
                run = engine.ask(prompts.new(60), 32)
                done[i] += run.count if time.perf_counter() < end else 0
            except (OSError, RuntimeError):
                time.sleep(0.1)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def speculation(engine, prompts, options):
    """The model is asked to copy a text, as agents copy code and documents."""
    if engine.name != "genesis":
        return None
    speeds = {}
    for guess in (False, True):
        server = systems.genesis(options.model, options.threads, speculation=guess)
        try:
            server.ask(COPY, 64)
            runs = [server.ask(COPY, 128) for _ in range(3)]
            speeds[guess] = statistics.median(127 / (run.whole - run.first) for run in runs)
        finally:
            server.close()
    return speeds[True] / speeds[False]


def draft(engine, prompts, options):
    """A model four times as deep that says the same, with the given one as its draft model and without: what a draft
    model can give at most, since it is never wrong."""
    if engine.name != "genesis":
        return None
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        deep = pathlib.Path(folder) / "deep.gguf"
        make_models.write_deep(deep, options.model)
        for small in (None, options.model):
            server = systems.genesis(deep, options.threads, speculation=small is not None, draft=small)
            try:
                server.ask(FREE, 64)
                runs = [server.ask(FREE, 128) for _ in range(3)]
                speeds[small] = statistics.median(run.count / run.whole for run in runs)
            finally:
                server.close()
    return speeds[options.model] / speeds[None]


def overload(engine, prompts, options):
    if not hasattr(engine, "ask_all"):
        return None
    seconds = 8 if options.quick else 20
    peak = goodput(engine, prompts, systems.SLOTS, seconds)
    return goodput(engine, prompts, 10 * systems.SLOTS, seconds) / peak


def neighbour(engine, prompts, options):
    """Two servers of their own, one after the other, and a process that never rests."""
    if not hasattr(engine, "ask_all"):
        return None
    open_one = systems.genesis if engine.name == "genesis" else systems.llama_server
    speeds = {}
    for threads in (1, 2):
        server = open_one(options.model, threads)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            server.decode(prompts.new(16), 16)
            speeds[threads] = statistics.median(server.decode(prompts.new(16), 64) for _ in range(3))
        finally:
            busy.kill()
            busy.wait()
            server.close()
    return speeds[2] / speeds[1]


def closeness(engine, _, options):
    """Mean Kullback-Leibler divergence of what it says next from fp32's, over a text."""
    system = {"genesis": "genesis", "llama-server": "llama.cpp"}.get(engine.name)
    if system is None:
        return None
    command = [systems.BENCH_PYTHON, pathlib.Path(__file__).with_name("kl.py"), "--model", options.model,
               "--system", system, "--threads", str(options.threads), "--chunks", "2" if options.quick else "8"]
    found = subprocess.run(command, env={**os.environ, "GENESIS_BIN_DIR": str(systems.GENESIS.parent)},
                           check=True, capture_output=True, text=True).stdout
    return json.loads(found.splitlines()[-1])["mean_kl"]


def streams100(engine, prompts, _):
    if not hasattr(engine, "ask_all"):
        return None
    gaps = [gap for run in engine.ask_all([prompts.new(60) for _ in range(100)], 32)[1] for gap in run.gaps]
    return statistics.quantiles(gaps, n=100)[98]


def peak_memory(engine, *_):
    # CTranslate2's process has also converted the model from fp32.
    return None if engine.name == "ctranslate2" else engine.peak_mib()


# name, unit, less is better, function, most rounds
MEASURES = [
    ("decode", "tokens/s", False, decode, 5),
    ("prefill", "tokens/s", False, prefill, 5),
    ("streams15_60", "tokens/s", False, streams15(60), 5),
    ("streams15_512", "tokens/s", False, streams15(512), 3),
    ("streams15_2048", "tokens/s", False, streams15(2048), 1),
    ("replay_ttft", "s", True, replay_ttft, 1),
    ("adapters15", "s", True, with_adapters(SHARED), 1),
    ("alora15", "s", True, with_adapters(SHARED, INVOCATION), 1),
    ("speculation", "x", False, speculation, 1),
    ("draft", "x", False, draft, 1),
    ("overload", "x", False, overload, 1),
    ("neighbour", "x", False, neighbour, 1),
    ("streams100", "s", True, streams100, 3),
    ("kl", "nats", True, closeness, 1),
    ("peak_memory", "MiB", True, peak_memory, 1),
]
# What a quick run leaves out or shortens: minutes each on the slower peers.
NOT_QUICK = {"streams15_2048", "alora15"}


def start(name, options):
    if name == "genesis":
        return systems.genesis(options.model, options.threads)
    if name == "llama-server":
        return systems.llama_server(options.model, options.threads)
    return systems.Child(name, options.model, options.threads)


def report(name, unit, less, values, engines, options):
    medians = {e: statistics.median(v) for e, v in values.items() if v}
    peers = {e: m for e, m in medians.items() if e != "genesis"}
    row = {"measure": name, "unit": unit, "threads": options.threads, "genesis": round(medians["genesis"], 4)}
    if peers:
        best = (min if less else max)(peers, key=peers.get)
        ours, theirs = medians["genesis"], peers[best]
        row.update(best_peer=round(theirs, 4), peer=best, ratio=round(theirs / ours if less else ours / theirs, 2))
        row["all"] = {e: round(m, 4) for e, m in medians.items()}
    row.update(rounds=len(values["genesis"]), cpu=cpu_model(), isa=engines["genesis"].isa)
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", default="llama-server,openvino-genai,ctranslate2,transformers,ik-llama-cpp")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.turns = 2 if options.quick else 10
    if options.quick:
        options.rounds = min(options.rounds, 2)
    only = {part for part in options.only.split(",") if part}
    unknown = only - {m[0] for m in MEASURES}
    if unknown:
        parser.error(f"--only: no such measure: {', '.join(sorted(unknown))}")
    print(f"seed {options.seed}", file=sys.stderr)
    engines = {}
    for name in ["genesis", *filter(None, options.peers.split(","))]:
        try:
            engines[name] = start(name, options)
        except (OSError, RuntimeError) as error:
            if name == "genesis":
                raise
            print(f"left out: {name}: {error}", file=sys.stderr)
    try:
        prompts = Prompts(options.seed)
        for engine in engines.values():
            engine.decode(prompts.new(16), 8)  # warm-up
        for name, unit, less, measure, most in MEASURES:
            if (only and name not in only) or (options.quick and name in NOT_QUICK and not only):
                continue
            values = {e: [] for e in engines}
            for _ in range(min(most, options.rounds)):
                for e, engine in engines.items():
                    value = measure(engine, prompts, options)
                    if value is not None:
                        values[e].append(value)
            report(name, unit, less, values, engines, options)
    finally:
        for engine in engines.values():
            engine.close()


if __name__ == "__main__":
    main()
