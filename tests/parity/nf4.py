"""NF4 as transformers and bitsandbytes save it, against bitsandbytes itself: every weight exactly, and logits.

    python tests/parity/nf4.py GENESIS LOGITS_PROBE     # needs bitsandbytes 0.50.2, accelerate, gguf

For every matrix: `genesis convert --to F32` of the 4-bit folder holds bitsandbytes' dequantize_4bit() bit for
bit. Logits: ours in fp32 on that file and transformers' on the dequantized model.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import bitsandbytes.functional as bnb
import gguf
import numpy
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

NAMES = {
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # q and k have their rows in another order


def save(folder, dtype, nested):
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder / "plain")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=nested,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder / "plain", quantization_config=quantization, dtype=dtype, device_map="cpu"
    )
    model.save_pretrained(folder / "nf4")
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(sorted(alphabet))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "nf4")
    return model


def dequantized(model):
    """The same model with bitsandbytes' own values in ordinary float32 layers."""
    plain = LlamaForCausalLM(model.config).float()
    state = {}
    for name, parameter in model.named_parameters():
        quantized = getattr(parameter, "quant_state", None)
        if quantized is not None:
            quantized.dtype = torch.float32  # what the codes mean, before rounding to the type of the model
        value = bnb.dequantize_4bit(parameter.data, quantized) if quantized is not None else parameter.data
        state[name] = value.float()
    plain.load_state_dict(state, strict=False)
    return plain.eval(), state


def check(genesis, probe, dtype, nested):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = save(folder, dtype, nested)
        plain, state = dequantized(model)
        output = folder / "f32.gguf"
        subprocess.run(
            [genesis, "convert", folder / "nf4", "--to", "F32", "-o", output], check=True, stdout=subprocess.DEVNULL
        )
        ours = {tensor.name: tensor.data for tensor in gguf.GGUFReader(output).tensors}
        matrices = 0
        for layer in range(2):
            for theirs, here in NAMES.items():
                values = torch.from_numpy(numpy.array(ours[f"blk.{layer}.{here}.weight"]))
                wanted = state[f"model.layers.{layer}.{theirs}.weight"]
                assert torch.equal(values, wanted), theirs
                matrices += 1
        ids = [(7 * i) % 300 for i in range(64)]
        with torch.no_grad():
            reference = plain(torch.tensor([ids])).logits[0].numpy()
        path = folder / "logits.f32"
        subprocess.run(
            [probe, "--model", output, "--precision", "fp32", "--out", path],
            input=json.dumps(ids) + "\n",
            text=True,
            check=True,
        )
        logits = numpy.fromfile(path, dtype=numpy.float32).reshape(reference.shape)
        worst = float(abs(logits - reference).max())
        print(
            f"{str(dtype):15} nested={nested!s:5} {matrices} matrices exact; "
            f"largest logit difference {worst:.2e} (deviation of logits {reference.std():.2f})"
        )
        assert worst < 1e-4


def main():
    for dtype in (torch.float32, torch.bfloat16):
        for nested in (True, False):
            check(sys.argv[1], sys.argv[2], dtype, nested)


if __name__ == "__main__":
    main()
