#!/usr/bin/env python3
"""Decode and prefill of SmolLM2-135M beside llama-cpp-python and transformers, same file, same thread
count, alternating rounds; prints medians, ratios and one JSON line a measure.

    bench/engine_speed.py --model model.gguf [--rounds 5] [--threads 1,2] [--peers llama_cpp,transformers]

Every engine runs in a process of its own and is asked over pipes; each prompt is new, so that no prefix
cache helps. Prefill is 512 tokens, decode 128 tokens after a 16-token prompt.
"""
import argparse
import json
import os
import pathlib
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENESIS = ROOT / "build" / "release" / "bin" / "genesis"
PREFILL, DECODE, VOCABULARY = 512, 128, 49152


def cpu_model():
    return re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read()).group(1)


class Genesis:
    name = "genesis"

    def __init__(self, model, threads):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "s")
        self.process = subprocess.Popen(
            [GENESIS, "engine", "--model", model, "--name", "m", "--listen", f"unix:{self.path}", "--threads", str(threads)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()
        self.isa = json.loads(self.request("GET", "/info", None)[0]).get("isa", "")

    def request(self, method, path, body):
        """Returns the raw body and the arrival times of its pieces."""
        data = json.dumps(body).encode() if body else b""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" \
               f"content-length: {len(data)}\r\nconnection: close\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            start = time.perf_counter()
            s.sendall(head.encode() + data)
            parts, times = [], []
            while piece := s.recv(1 << 20):
                parts.append(piece)
                times.append(time.perf_counter() - start)
        return b"".join(parts).split(b"\r\n\r\n", 1)[1], times

    def generate(self, tokens, count):
        body = {"model": "m", "prompt": tokens, "max_tokens": count, "temperature": 0, "ignore_eos": True, "stream": count > 1}
        return self.request("POST", "/v1/completions", body)[1]

    def prefill(self, tokens):
        return len(tokens) / self.generate(tokens, 1)[-1]

    def decode(self, tokens, count):
        times = [t for t in self.generate(tokens, count)]
        return (count - 1) / (times[-1] - times[1])  # times[0] is the response head

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Peer:
    """A peer in a child process: one JSON request a line, one number a line back."""

    def __init__(self, name, python, model, threads):
        self.name = name
        self.process = subprocess.Popen(
            [python, __file__, "--serve-peer", name, "--model", model, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        self.process.stdout.readline()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def prefill(self, tokens):
        return self.ask(tokens=tokens, count=0)

    def decode(self, tokens, count):
        return self.ask(tokens=tokens, count=count)

    def close(self):
        self.process.kill()
        self.process.wait()


def serve_llama_cpp(model, threads):
    from llama_cpp import Llama
    llm = Llama(model, n_ctx=2048, n_threads=threads, n_threads_batch=threads, n_batch=512, verbose=False)

    def run(tokens, count):
        llm.reset()
        start = time.perf_counter()
        llm.eval(tokens)
        if count == 0:
            return len(tokens) / (time.perf_counter() - start)
        token = llm.sample(temp=0.0)
        start = time.perf_counter()
        for _ in range(count - 1):
            llm.eval([token])
            token = llm.sample(temp=0.0)
        return (count - 1) / (time.perf_counter() - start)
    return run


def serve_transformers(model, threads):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    path = pathlib.Path(model).resolve()
    net = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run(tokens, count):
        start = time.perf_counter()
        out = net(torch.tensor([tokens]), use_cache=True, logits_to_keep=1)
        token = out.logits[0, -1].argmax().view(1, 1)
        if count == 0:
            return len(tokens) / (time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(count - 1):
            out = net(token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[0, -1].argmax().view(1, 1)
        return (count - 1) / (time.perf_counter() - start)
    return run


def serve_peer(args):
    run = {"llama_cpp": serve_llama_cpp, "transformers": serve_transformers}[args.serve_peer](args.model, int(args.threads))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(run(request["tokens"], request["count"]), flush=True)


def measure(engines, rounds, rng):
    prompt = lambda n: [rng.randrange(100, VOCABULARY) for _ in range(n)]
    results = {(e.name, kind): [] for e in engines for kind in ("prefill", "decode")}
    for round_number in range(rounds + 1):  # the first is a warm-up
        for engine in engines:
            prefill, decode = engine.prefill(prompt(PREFILL)), engine.decode(prompt(16), DECODE)
            if round_number > 0:
                results[engine.name, "prefill"].append(prefill)
                results[engine.name, "decode"].append(decode)
    return {key: statistics.median(values) for key, values in results.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--peers", default="llama_cpp,transformers")
    parser.add_argument("--llama-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--torch-python", default=str(ROOT / ".venv" / "bin" / "python"))
    parser.add_argument("--serve-peer")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.serve_peer:
        return serve_peer(args)
    pythons = {"llama_cpp": args.llama_python, "transformers": args.torch_python}
    for threads in map(int, args.threads.split(",")):
        engines = [Genesis(args.model, threads)]
        engines += [Peer(name, pythons[name], args.model, threads) for name in args.peers.split(",") if name]
        medians = measure(engines, args.rounds, random.Random(args.seed))
        for kind in ("decode", "prefill"):
            best = max(engines[1:], key=lambda e: medians[e.name, kind], default=None)
            row = {"measure": kind, "threads": threads, "genesis": round(medians["genesis", kind], 1)}
            row.update({e.name: round(medians[e.name, kind], 1) for e in engines[1:]})
            if best:
                row.update(best_peer=best.name, ratio=round(medians["genesis", kind] / medians[best.name, kind], 2))
            row.update(cpu=cpu_model(), isa=engines[0].isa, rounds=args.rounds)
            print(json.dumps(row), flush=True)
        for engine in engines:
            engine.close()


if __name__ == "__main__":
    sys.exit(main())
