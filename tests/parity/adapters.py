"""PEFT adapters with random weights for SmolLM2, saved as PEFT saves them, and PEFT's own logits with them."""

import json
import pathlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def save_adapter(model, folder, seed, dtype=torch.float32, size=0.05, embeddings=False, **config):
    """Writes an adapter whose B is not zero, so that it does something; `model` comes back as it was."""
    torch.manual_seed(seed)
    config = {"r": 16, "lora_alpha": 16, "target_modules": ALL, "task_type": "CAUSAL_LM", **config}
    wrapped = get_peft_model(model, LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=size)
            if "lora_" in name:
                parameter.copy_(parameter.to(dtype).float())
    # If told to, and the output layer is a target, PEFT adds copies of the base's embeddings.
    wrapped.save_pretrained(folder, save_embedding_layers=embeddings)
    wrapped.unload()
    if hasattr(model, "peft_config"):
        del model.peft_config
    if dtype != torch.float32:
        cast(pathlib.Path(folder) / "adapter_model.safetensors", dtype)
    return pathlib.Path(folder)


def cast(path, dtype):
    from safetensors.torch import load_file, save_file

    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)


def edit_config(folder, **fields):
    path = pathlib.Path(folder) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


class WithAdapter:
    """The model as PEFT loads the adapter onto it; base again at the end of the `with`."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder

    def __enter__(self):
        self.wrapped = PeftModel.from_pretrained(self.model, self.folder).eval()
        return self

    def __exit__(self, *_):
        self.wrapped.unload()
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config

    @torch.inference_mode()
    def logits(self, ids):
        return self.wrapped(input_ids=torch.tensor([ids])).logits[0].numpy()

    @torch.inference_mode()
    def greedy(self, ids, count):
        out = self.wrapped.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=count,
            do_sample=False,
        )
        return out[0, len(ids) :].tolist()
