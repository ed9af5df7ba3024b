#!/usr/bin/env python3
"""Mean KL(fp32 || an engine) on the parity prompts and text: what tests/parity/test_logits.py bounds.

    bench/kl.py --model model.gguf [--system genesis|llama.cpp] [--chunks 8] [--threads 2]

fp32 is transformers. Runs in .venv-bench; needs GENESIS_BIN_DIR with logits_probe for genesis. Prints one JSON line
for the prompts and one for the text.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "parity"


def llama_logits(arguments):
    """Child: writes the logits of every position of every line of token ids on stdin."""
    import llama_cpp

    model = llama_cpp.Llama(
        arguments.model, n_ctx=512, n_batch=512, n_threads=arguments.threads,
        n_threads_batch=arguments.threads, logits_all=True, verbose=False,
    )
    with open(arguments.out, "wb") as out:
        for line in sys.stdin:
            ids = json.loads(line)
            model.reset()
            model.eval(ids)
            out.write(numpy.ascontiguousarray(model.scores[: len(ids)], dtype=numpy.float32).tobytes())


def write_logits(path, batch, arguments):
    """Every position of every line of ids, as the engine sees it."""
    command = [sys.executable, __file__]
    if arguments.system == "genesis":
        command = [pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "logits_probe"]
    subprocess.run(
        [*command, "--model", arguments.model, "--out", path, "--threads", str(arguments.threads)],
        input="".join(json.dumps(ids) + "\n" for ids in batch), text=True, check=True,
    )


def measure(reference, batch, arguments):
    """(mean KL, share of equal best tokens) over all positions of all lines of ids."""
    from logits import kl

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "logits.f32"
        write_logits(path, batch, arguments)
        everything = numpy.memmap(path, dtype=numpy.float32, mode="r").reshape(sum(map(len, batch)), -1)
        rows, same, begin = [], [], 0
        for ids in batch:
            theirs = numpy.array(everything[begin : begin + len(ids)])
            begin += len(ids)
            exact = reference.logits(ids)
            rows.append(kl(exact, theirs))
            same.append(exact.argmax(-1) == theirs.argmax(-1))
    return float(numpy.concatenate(rows).mean()), float(numpy.concatenate(same).mean())


def main(arguments):
    sys.path.insert(0, str(TESTS))
    from logits import Reference, prompts

    reference = Reference(arguments.model)
    text = reference.text_chunks()[: arguments.chunks]
    for what, batch in (("prompts", prompts(reference)), ("text", text)):
        mean, agreement = measure(reference, batch, arguments)
        print(json.dumps({
            "measure": "kl", "system": arguments.system, "tokens": what, "mean_kl": mean, "top1_agreement": agreement,
        }), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--system", choices=["genesis", "llama.cpp"], default="llama.cpp")
    parser.add_argument("--chunks", type=int, default=8, help="pieces of 512 tokens of text")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.out:
        llama_logits(options)
    else:
        main(options)
