#!/usr/bin/env python3
"""Perplexity on a fixed text by our engine and by llama.cpp, from the same GGUF file and the same token ids.

    tests/parity/perplexity.py MODEL.gguf... [--chunks 8] [--tokens 1024] [--threads 2] [--bound 1.01] [--fp32]

The text is tests/data/text.txt (L. Carroll, 1865) in pieces of --tokens tokens, each by itself, after the model's first
token where it wants one; all tokens count but the first. Prints one JSON line a file and fails where the ratio is
beyond the bound; with --fp32 also what our engine gives without rounding of its own. Runs in .venv-bench
(llama-cpp-python); needs GENESIS_BIN_DIR with logits_probe.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

import llama_cpp
import numpy

TEXT = pathlib.Path(__file__).resolve().parent.parent / "data" / "text.txt"


def pieces(model, arguments):
    ids = model.tokenize(TEXT.read_bytes(), add_bos=False, special=False)
    first = [model.token_bos()] if model.metadata.get("tokenizer.ggml.add_bos_token") == "true" else []
    size = arguments.tokens - len(first)
    found = [first + ids[i * size : (i + 1) * size] for i in range(arguments.chunks)]
    if len(found[-1]) < arguments.tokens:
        sys.exit(f"the text has {len(ids)} tokens, too few for {arguments.chunks} pieces of {arguments.tokens}")
    return found


def their_loss(model, ids):
    model.reset()
    model.eval(ids)
    logits = model.scores[: len(ids) - 1].astype(numpy.float64)
    top = logits.max(-1, keepdims=True)
    log_sums = numpy.log(numpy.exp(logits - top).sum(-1)) + top[:, 0]
    return float((log_sums - logits[numpy.arange(len(ids) - 1), ids[1:]]).sum())


def our_perplexity(path, batch, arguments, *options):
    result = subprocess.run(
        [pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "logits_probe", "--model", path, "--nll",
         "--threads", str(arguments.threads), *options],
        input="".join(json.dumps(ids) + "\n" for ids in batch), capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return math.exp(sum(line["nll"] for line in lines) / sum(line["tokens"] for line in lines))


def main(arguments):
    good = True
    for path in arguments.models:
        model = llama_cpp.Llama(
            path, n_ctx=arguments.tokens, n_batch=512, n_threads=arguments.threads, n_threads_batch=arguments.threads,
            logits_all=True, verbose=False)
        batch = pieces(model, arguments)
        theirs = math.exp(sum(their_loss(model, ids) for ids in batch) / sum(len(ids) - 1 for ids in batch))
        model.close()
        ours = our_perplexity(path, batch, arguments)
        exact = our_perplexity(path, batch, arguments, "--precision", "fp32") if arguments.fp32 else None
        good = good and ours <= theirs * arguments.bound
        print(json.dumps({
            "model": pathlib.Path(path).name, "tokens": sum(map(len, batch)), "genesis": round(ours, 4),
            "llama.cpp": round(theirs, 4), "ratio": round(ours / theirs, 5), "genesis_fp32": exact,
        }), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bound", type=float, default=1.01)
    parser.add_argument("--fp32", action="store_true")
    sys.exit(main(parser.parse_args()))
