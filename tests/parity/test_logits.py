"""Holds our executor's logits against transformers running the same GGUF file in fp32.

Needs GENESIS_BIN_DIR (holding logits_probe) and GENESIS_TEST_GGUF (SmolLM2-135M-Instruct, Q4_1).
"""

import json
import os

import numpy
import pytest

from logits import QUESTIONS, Reference, chat, kl, our_logits, probe, prompts

GGUF = os.environ.get("GENESIS_TEST_GGUF", "")

# Mean KL of llama.cpp on the same file and tokens, measured by
#   .venv-bench/bin/python bench/kl.py --model smollm2.gguf   (llama-cpp-python 0.3.36)
# on an AVX2 machine (EPYC, Zen 3).
LLAMA_CPP_KL = {"prompts": 0.004426, "text": 0.002973}


@pytest.fixture(scope="module")
def reference():
    return Reference(GGUF)


def differences(reference, folder, batch, *arguments):
    """Largest and mean absolute difference, over all logits of all prompts."""
    largest, total, count = 0.0, 0.0, 0
    for ids, ours in zip(batch, our_logits(GGUF, folder, batch, *arguments), strict=True):
        difference = numpy.abs(ours - reference.logits(ids))
        largest = max(largest, float(difference.max()))
        total += float(difference.sum(dtype=numpy.float64))
        count += difference.size
    return largest, total / count


@pytest.mark.limit(900)
def test_fp32_logits_of_prompts(reference, tmp_path):
    largest, mean = differences(reference, tmp_path, prompts(reference), "--precision", "fp32")
    print(f"fp32, 64 prompts: max {largest:.2e}, mean {mean:.2e}")
    assert largest <= 1e-3


@pytest.mark.limit(900)
def test_fp32_logits_of_text(reference, tmp_path):
    chunks = reference.text_chunks()
    largest, mean = differences(reference, tmp_path, chunks, "--precision", "fp32", "--chunk", 200)
    print(f"fp32, 8 x 512 tokens: max {largest:.2e}, mean {mean:.2e}")
    assert largest <= 1e-3


@pytest.mark.limit(900)
@pytest.mark.parametrize("what", ["prompts", "text"])
def test_quantized_logits(reference, tmp_path, what):
    batch = prompts(reference) if what == "prompts" else reference.text_chunks()
    divergence, same_top = [], []
    for ids, ours in zip(batch, our_logits(GGUF, tmp_path, batch), strict=True):
        theirs = reference.logits(ids)
        divergence.append(kl(theirs, ours))
        same_top.append(theirs.argmax(-1) == ours.argmax(-1))
    mean = float(numpy.concatenate(divergence).mean())
    agreement = float(numpy.concatenate(same_top).mean())
    print(f"quantized, {what}: mean KL {mean:.5f}, llama.cpp {LLAMA_CPP_KL[what]}, top-1 {agreement:.3f}")
    assert mean <= 5e-3
    assert mean <= LLAMA_CPP_KL[what]


@pytest.mark.limit(900)
def test_steps_and_threads_change_no_bit(reference, tmp_path):
    batch = reference.text_chunks()[:1]
    first = None
    for arguments in (("--chunk", 512, "--threads", 1), ("--chunk", 61, "--threads", 2), ("--chunk", 1)):
        logits = next(our_logits(GGUF, tmp_path, batch, *arguments))
        first = logits if first is None else first
        assert numpy.array_equal(first, logits), arguments


@pytest.mark.limit(900)
@pytest.mark.parametrize("precision", ["fp32", "quantized"])
def test_greedy_text(reference, precision):
    """Equal to transformers up to the first step whose margin is within the arithmetic's error."""
    margin_floor = {"fp32": 2e-3, "quantized": 0.5}[precision]
    batch = [chat(reference, q) for q in QUESTIONS]
    lines = probe(GGUF, "--greedy", 24, "--precision", precision, lines=batch).splitlines()
    compared = 0
    for ids, line in zip(batch, lines, strict=True):
        theirs, margins = reference.greedy(ids, 24)
        ours = json.loads(line)
        for step, margin in enumerate(margins):
            if ours[step] != theirs[step]:
                assert margin < margin_floor, (reference.tokenizer.decode(ids), step, margin)
                break
            compared += 1
    print(f"{precision}: {compared} of {24 * len(batch)} greedy tokens equal before a narrow margin")
    assert compared >= 20 * len(batch) * (0.9 if precision == "fp32" else 0.5)
