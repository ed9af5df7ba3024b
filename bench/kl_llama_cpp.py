#!/usr/bin/env python3
"""Mean KL(fp32 || llama.cpp) on the parity prompts and text: the bar of tests/parity/test_logits.py.

    bench/kl_llama_cpp.py --model model.gguf --llama-python PYTHON [--threads 2]

PYTHON is an interpreter that has llama-cpp-python; this one needs transformers, torch and gguf. Prints
one JSON line for each.
"""

import argparse
import json
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


def measure(reference, batch, arguments):
    """(mean KL, share of equal best tokens) over all positions of all lines of ids."""
    from logits import kl

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "logits.f32"
        subprocess.run(
            [arguments.llama_python, __file__, "--model", arguments.model, "--out", path,
             "--threads", str(arguments.threads)],
            input="".join(json.dumps(ids) + "\n" for ids in batch), text=True, check=True,
        )
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
    for what, batch in (("prompts", prompts(reference)), ("text", reference.text_chunks())):
        mean, agreement = measure(reference, batch, arguments)
        print(json.dumps({
            "measure": "kl_llama_cpp", "tokens": what, "mean_kl": mean, "top1_agreement": agreement,
        }), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--llama-python")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.out:
        llama_logits(options)
    else:
        main(options)
