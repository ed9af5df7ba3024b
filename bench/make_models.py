#!/usr/bin/env python3
"""Weights for bench/engine.py beside the default model: the same model in other formats, and a larger random one.

    bench/make_models.py model.gguf FOLDER        writes q8_0.gguf, q4_0.gguf and qwen-1.5b-random-q4_0.gguf

The other formats are rounded from the given file: their quality says nothing, their speed and size do. The random model
has the shape of Qwen2.5-1.5B (28 layers of 1,536, 12 heads, 2 of keys and values, feed-forward 8,960) with the default
model's vocabulary, so that every engine can read its tokenizer.
"""

import pathlib
import sys

import gguf
import numpy

FORMATS = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
FILE_TYPES = {"q8_0": 7, "q4_0": 2}
QWEN = {"block_count": 28, "embedding_length": 1536, "feed_forward_length": 8960, "attention.head_count": 12,
        "attention.head_count_kv": 2, "rope.dimension_count": 128}
KINDS = gguf.GGUFValueType


def copy_fields(reader, writer, changed):
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind, value = field.types[0], field.contents()
        key = name.removeprefix("llama.")
        value = changed.get(key if name.startswith("llama.") else name, value)
        if kind == KINDS.ARRAY:
            writer.add_key_value(name, value, kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(name, value, kind)


def write(path, reader, tensors, changed):
    writer = gguf.GGUFWriter(str(path), "llama")
    copy_fields(reader, writer, changed)
    for name, data, kind in tensors:
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(path, path.stat().st_size >> 20, "MiB")


def rounded(values, kind):
    return gguf.quants.quantize(numpy.ascontiguousarray(values, dtype=numpy.float32), kind)


def same_model(reader, kind):
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim == 1:
            yield tensor.name, values.astype(numpy.float32), gguf.GGMLQuantizationType.F32
        else:
            yield tensor.name, rounded(values, kind), kind


def random_model(vocabulary, kind):
    random = numpy.random.default_rng(1)
    hidden, mlp, kv = QWEN["embedding_length"], QWEN["feed_forward_length"], 256

    def matrix(outputs, inputs):
        # A thousand random rows, over and over: the speed is that of any weights, and the file is made in a minute.
        few = rounded(random.standard_normal((min(outputs, 1024), inputs), dtype=numpy.float32) / inputs**0.5, kind)
        return numpy.resize(few, (outputs, few.shape[1]))

    norm = numpy.ones(hidden, dtype=numpy.float32)
    yield "token_embd.weight", matrix(vocabulary, hidden), kind
    yield "output_norm.weight", norm, gguf.GGMLQuantizationType.F32
    shapes = {"attn_q": (hidden, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
              "attn_output": (hidden, hidden), "ffn_gate": (mlp, hidden), "ffn_up": (mlp, hidden),
              "ffn_down": (hidden, mlp)}
    for layer in range(QWEN["block_count"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", norm, gguf.GGMLQuantizationType.F32
        for name, shape in shapes.items():
            yield f"blk.{layer}.{name}.weight", matrix(*shape), kind


def deepened(reader, times):
    """Layers over and over, of which all but the first add nothing: the same answers for `times` the work."""
    blocks = {}
    for tensor in reader.tensors:
        if tensor.name.startswith("blk."):
            _, layer, rest = tensor.name.split(".", 2)
            blocks.setdefault(int(layer), []).append((rest, tensor))
        else:
            yield tensor.name, tensor.data, tensor.tensor_type
    for copy in range(times):
        for layer in sorted(blocks):
            for rest, tensor in blocks[layer]:
                silent = copy > 0 and rest in ("attn_output.weight", "ffn_down.weight")
                data = numpy.zeros_like(tensor.data) if silent else tensor.data
                yield f"blk.{copy * len(blocks) + layer}.{rest}", data, tensor.tensor_type


def write_deep(path, source, times=4):
    """A model that the source can draft for without ever being wrong."""
    reader = gguf.GGUFReader(source)
    layers = int(reader.fields["llama.block_count"].contents())
    write(path, reader, deepened(reader, times), {"block_count": times * layers})


def main():
    source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    for name, kind in FORMATS.items():
        write(folder / f"{name}.gguf", reader, same_model(reader, kind), {"general.file_type": FILE_TYPES[name]})
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].contents())
    write(folder / "qwen-1.5b-random-q4_0.gguf", reader, random_model(vocabulary, FORMATS["q4_0"]),
          QWEN | {"general.file_type": FILE_TYPES["q4_0"]})


if __name__ == "__main__":
    main()
