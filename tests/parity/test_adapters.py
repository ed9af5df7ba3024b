"""Holds LoRA and activated LoRA against PEFT on the same base weights in fp32.

Needs GENESIS_BIN_DIR (holding logits_probe) and GENESIS_TEST_GGUF (SmolLM2-135M-Instruct, Q4_1).
"""

import json
import os
import subprocess

import numpy
import pytest
import torch
from adapters import WithAdapter, edit_config, save_adapter
from logits import QUESTIONS, Reference, chat, kl, our_logits, probe

GGUF = os.environ.get("GENESIS_TEST_GGUF", "")


@pytest.fixture(scope="module")
def reference():
    return Reference(GGUF)


@pytest.fixture(scope="module")
def batch(reference):
    return [
        reference.ids(QUESTIONS[0]),
        chat(reference, QUESTIONS[1]),
        chat(reference, QUESTIONS[7]),
        reference.text_chunks()[3][:200],
        [17],
    ]


CASES = {
    "rank4": {"r": 4, "lora_alpha": 8},
    "rank16": {"r": 16, "lora_alpha": 16},
    "rank64": {"r": 64, "lora_alpha": 32},
    "rank5_attention_only": {"r": 5, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 16, "lora_alpha": 4, "use_rslora": True},
    "patterns": {
        "r": 8,
        "rank_pattern": {"q_proj": 32, r"layers\.[0-9]\.mlp\.down_proj": 3},
        "alpha_pattern": {"model.layers.3.self_attn.k_proj": 24, "up_proj": 2},
    },
    "pattern_of_targets": {"r": 16, "target_modules": r"model\.layers\.\d*[02468]\.(mlp|self_attn)\.(up|o)_proj"},
    "all_linear": {"r": 16, "target_modules": "all-linear"},
    "some_layers": {"r": 16, "target_modules": ["down_proj", "k_proj"], "layers_to_transform": [0, 7, 29]},
    "without": {"r": 16, "exclude_modules": ["down_proj", "model.layers.2.self_attn.q_proj"]},
    "head": {"r": 16, "target_modules": ["lm_head", "q_proj"]},
    "bfloat16": {"r": 16, "dtype": torch.bfloat16},
    "float16": {"r": 16, "dtype": torch.float16},
}


@pytest.mark.limit(600)
@pytest.mark.parametrize("case", CASES)
def test_fp32_logits(reference, batch, tmp_path, case):
    folder = save_adapter(reference.model, tmp_path / "adapter", seed=len(case), **CASES[case])
    ours = list(our_logits(GGUF, tmp_path, batch, "--precision", "fp32", "--adapter", folder))
    with WithAdapter(reference.model, folder) as peft:
        theirs = [peft.logits(ids) for ids in batch]
    base = reference.logits(batch[1])
    effect = float(numpy.abs(theirs[1] - base).max())
    largest = max(float(numpy.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(f"{case}: max difference {largest:.2e}, effect of the adapter {effect:.2e}")
    assert effect > 0.05, "an adapter that does nothing proves nothing"
    assert largest <= 1e-3


@pytest.mark.limit(600)
def test_quantized_logits_stay_near_peft(reference, batch, tmp_path):
    """The engine's usual precision; KL as of the base model, see test_logits.py."""
    folder = save_adapter(reference.model, tmp_path / "adapter", seed=1)
    ours = list(our_logits(GGUF, tmp_path, batch, "--adapter", folder))
    with WithAdapter(reference.model, folder) as peft:
        divergence = numpy.concatenate([kl(peft.logits(ids), o) for ids, o in zip(batch, ours, strict=True)])
    print(f"quantized: mean KL {divergence.mean():.5f}")
    assert divergence.mean() <= 1e-2


INVOCATION = "<|im_start|>assistant\n"


@pytest.mark.limit(600)
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_activated_adapter(reference, tmp_path, turns):
    """Without the invocation tokens base logits; else base before their last occurrence, adapter from there."""
    tokens = reference.ids(INVOCATION)
    folder = save_adapter(reference.model, tmp_path / "adapter", seed=3, alora_invocation_tokens=tokens)
    prompt = chat(reference, QUESTIONS[0])
    assert prompt[-len(tokens) :] == tokens
    ids = {0: prompt[: -len(tokens)], 1: prompt, 2: prompt + reference.ids("Paris.<|im_end|>\n") + prompt}[turns]
    ids = ids + (reference.ids("The answer") if turns else [])
    with WithAdapter(reference.model, folder) as peft:
        theirs = peft.logits(ids)
    base = reference.logits(ids)
    for chunk in (512, 7):
        arguments = ("--precision", "fp32", "--adapter", folder, "--chunk", chunk)
        ours = next(our_logits(GGUF, tmp_path, [ids], *arguments))
        assert float(numpy.abs(ours - theirs).max()) <= 1e-3
    alone = next(our_logits(GGUF, tmp_path, [ids], "--precision", "fp32"))
    starts = [i for i in range(len(ids)) if ids[i : i + len(tokens)] == tokens]
    active = starts[-1] if starts else len(ids)
    assert numpy.array_equal(ours[:active], alone[:active]), "the prefix is the base model's, bit for bit"
    if turns:
        assert float(numpy.abs(theirs[active:] - base[active:]).max()) > 0.05


@pytest.mark.limit(600)
def test_activated_adapter_generates_as_peft(reference, tmp_path):
    tokens = reference.ids(INVOCATION)
    folder = save_adapter(reference.model, tmp_path / "adapter", seed=4, alora_invocation_tokens=tokens)
    batch = [chat(reference, question) for question in QUESTIONS[:4]]
    lines = probe(GGUF, "--greedy", 16, "--precision", "fp32", "--adapter", folder, lines=batch).splitlines()
    with WithAdapter(reference.model, folder) as peft:
        theirs = [peft.greedy(ids, 16) for ids in batch]
    for line, expected in zip(lines, theirs, strict=True):
        assert expected and json.loads(line)[: len(expected)] == expected


def refusal(folder):
    binary = os.path.join(os.environ["GENESIS_BIN_DIR"], "logits_probe")
    arguments = [binary, "--model", GGUF, "--greedy", "1", "--adapter", folder]
    done = subprocess.run(arguments, input="[1]\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1, (done.returncode, done.stderr)
    return done.stderr


@pytest.mark.limit(600)
def test_variants_of_peft_are_refused_by_name(reference, tmp_path):
    dora = save_adapter(reference.model, tmp_path / "dora", seed=5, target_modules=["q_proj"], use_dora=True)
    assert "use_dora" in refusal(dora)
    biased = save_adapter(reference.model, tmp_path / "bias", seed=5, target_modules=["q_proj"], lora_bias=True)
    assert "lora_bias" in refusal(biased)
    embeddings = save_adapter(reference.model, tmp_path / "head", seed=5, target_modules=["lm_head"], embeddings=True)
    assert "save_embedding_layers=False" in refusal(embeddings)
    plain = save_adapter(reference.model, tmp_path / "plain", seed=5, target_modules=["q_proj"])
    edit_config(plain, r=8)
    assert "lora_A.weight" in refusal(plain) and "shape" in refusal(plain)
    weights = plain / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    edit_config(plain, r=16)
    assert "adapter_model.safetensors" in refusal(plain)
