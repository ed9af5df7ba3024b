"""Our quantizers beside llama.cpp's: bits of the simple formats, error of Q4_K and Q6_K, speed.

    python tests/parity/quantize.py GENESIS [FOLDER]     # needs llama-cpp-python and gguf

Without FOLDER a random model with rows of several spreads is made. Each matrix is quantized by
`genesis convert` and by ggml_quantize_chunk() of llama.cpp; the error is compared with the source's values.
"""

import ctypes
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import gguf
import llama_cpp
import numpy

LIMIT = 1.05


def load_ggml():
    for path in glob.glob(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base*")):
        function = ctypes.CDLL(path).ggml_quantize_chunk
        function.restype = ctypes.c_size_t
        function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
        return function
    raise SystemExit("llama-cpp-python brings no libggml-base")


def theirs(function, values, kind):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = numpy.zeros(values.size // block * size, dtype=numpy.uint8)
    function(kind.value, values.ctypes.data, out.ctypes.data, 0, values.shape[0], values.shape[1], None)
    return out.reshape(values.shape[0], -1)


def error(values, blocks, kind):
    return float(((gguf.dequantize(blocks, kind).reshape(values.shape) - values) ** 2).sum())


def make_model(folder):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=2,
        num_attention_heads=16,
        num_key_value_heads=4,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:  # heavy tails and rows of different size, as trained weights have
            student = torch.distributions.StudentT(4.0).sample(parameter.shape)
            parameter.data = 0.02 * student * (0.3 + torch.rand(parameter.shape[0], 1))
    model.save_pretrained(folder)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(sorted(alphabet))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def main():
    genesis = sys.argv[1]
    function = load_ggml()
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(name) / "model"
        if len(sys.argv) <= 2:
            make_model(folder)
        exact = pathlib.Path(name) / "f32.gguf"
        subprocess.run([genesis, "convert", folder, "--to", "F32", "-o", exact], check=True, capture_output=True)
        source = {tensor.name: numpy.array(tensor.data) for tensor in gguf.GGUFReader(exact).tensors}
        for form in ("Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"):
            output = pathlib.Path(name) / f"{form}.gguf"
            start = time.monotonic()
            subprocess.run([genesis, "convert", folder, "--to", form, "-o", output], check=True, capture_output=True)
            seconds = time.monotonic() - start
            mine = other = squares = 0.0
            equal = count = their_seconds = 0
            for tensor in gguf.GGUFReader(output).tensors:
                if tensor.tensor_type.name != form:
                    continue
                values = source[tensor.name].reshape(-1, int(tensor.shape[0]))
                start = time.monotonic()
                reference = theirs(function, values, tensor.tensor_type)
                their_seconds += time.monotonic() - start
                blocks = numpy.array(tensor.data).reshape(reference.shape)
                equal += int((blocks == reference).all())
                count += 1
                mine += error(values, blocks, tensor.tensor_type)
                other += error(values, reference, tensor.tensor_type)
                squares += float((values**2).sum())
            ratio = (mine / other) ** 0.5
            row = {
                "format": form,
                "matrices": count,
                "bit_equal": equal,
                "rmse": round((mine / squares) ** 0.5, 5),
                "llama_cpp_rmse": round((other / squares) ** 0.5, 5),
                "ratio": round(ratio, 4),
                "convert_s": round(seconds, 2),
                "llama_cpp_one_thread_s": round(their_seconds, 2),
            }
            print(json.dumps(row), flush=True)
            worst = max(worst, ratio)
    assert worst <= LIMIT, worst


if __name__ == "__main__":
    main()
