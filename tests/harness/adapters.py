"""Folders as PEFT writes them, with random weights for SmolLM2-135M: what serving needs, without PEFT."""

import json

import numpy
from safetensors.numpy import save_file

LAYERS, HIDDEN, KV, MLP = 30, 576, 192, 1536
SHAPES = {  # outputs, inputs
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (MLP, HIDDEN),
    "mlp.up_proj": (MLP, HIDDEN),
    "mlp.down_proj": (HIDDEN, MLP),
}


def random_adapter(folder, seed, rank=16, size=0.05, invocation=None):
    """Writes the two files; returns the folder."""
    random = numpy.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, (outputs, inputs) in SHAPES.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            a = random.standard_normal((rank, inputs), dtype=numpy.float32) / numpy.sqrt(inputs, dtype=numpy.float32)
            b = random.standard_normal((outputs, rank), dtype=numpy.float32) * numpy.float32(size)
            tensors[f"{stem}.lora_A.weight"] = a.astype(numpy.float16)
            tensors[f"{stem}.lora_B.weight"] = b.astype(numpy.float16)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": sorted({name.split(".")[1] for name in SHAPES}),
    }
    if invocation:
        config["alora_invocation_tokens"] = invocation
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
