"""Rank-16 LoRA adapters with random weights for SmolLM2-135M, as PEFT saves them and as llama-server reads them."""

import json
import pathlib

import gguf
import numpy
from safetensors.numpy import save_file

RANK, LAYERS, HIDDEN, KV, MLP = 16, 30, 576, 192, 1536
# PEFT's name, GGUF's name, outputs, inputs
LINEARS = [
    ("self_attn.q_proj", "attn_q", HIDDEN, HIDDEN),
    ("self_attn.k_proj", "attn_k", KV, HIDDEN),
    ("self_attn.v_proj", "attn_v", KV, HIDDEN),
    ("self_attn.o_proj", "attn_output", HIDDEN, HIDDEN),
    ("mlp.gate_proj", "ffn_gate", MLP, HIDDEN),
    ("mlp.up_proj", "ffn_up", MLP, HIDDEN),
    ("mlp.down_proj", "ffn_down", HIDDEN, MLP),
]


def weights(seed):
    random = numpy.random.default_rng(seed)
    for layer in range(LAYERS):
        for peft, name, outputs, inputs in LINEARS:
            a = random.standard_normal((RANK, inputs), dtype=numpy.float32) / numpy.float32(inputs**0.5)
            b = random.standard_normal((outputs, RANK), dtype=numpy.float32) * numpy.float32(0.02)
            yield layer, peft, name, a.astype(numpy.float16), b.astype(numpy.float16)


def save_peft(folder, seed, invocation=()):
    tensors = {}
    for layer, peft, _, a, b in weights(seed):
        stem = f"base_model.model.model.layers.{layer}.{peft}"
        tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"] = a, b
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK,
              "target_modules": sorted({peft.split(".")[1] for peft, *_ in LINEARS})}
    if invocation:
        config["alora_invocation_tokens"] = list(invocation)
    (folder / "adapter_config.json").write_text(json.dumps(config))


def save_gguf(path, seed, invocation=()):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    if invocation:
        writer.add_key_value("adapter.alora.invocation_tokens", list(invocation), gguf.GGUFValueType.ARRAY,
                             sub_type=gguf.GGUFValueType.UINT32)
    for layer, _, name, a, b in weights(seed):
        writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", a)
        writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fleet(folder, count, invocation=()):
    """(folders for Genesis, files for llama-server) of `count` adapters."""
    folder = pathlib.Path(folder)
    for i in range(count):
        save_peft(folder / f"agent{i}", i, invocation)
        save_gguf(str(folder / f"agent{i}.gguf"), i, invocation)
    return [folder / f"agent{i}" for i in range(count)], [folder / f"agent{i}.gguf" for i in range(count)]
