"""Writes dequantize_golden.h: what the `gguf` package (gguf.quants) makes of seeded random blocks.

Run with gguf 0.19 and numpy installed:  python make_dequantize_golden.py > ../dequantize_golden.h
"""

import hashlib

import numpy as np
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# Offsets of the half-precision fields inside one block: their exponents are kept below 16, so that
# every value is finite.
HALVES = {
    "F16": [0], "BF16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
MASK = (1 << 64) - 1


def splitmix(seed):
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def blocks(name, count):
    """`count` blocks of bytes; the test makes the same ones from genesis::Random(count)."""
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    stream = splitmix(count)
    data = bytearray(next(stream) & 0xFF for _ in range(count * size))
    for block in range(count):
        for offset in HALVES[name]:
            data[block * size + offset + 1] &= 0xBF
    return np.frombuffer(bytes(data), dtype=np.uint8).reshape(count, size)


def expand(name, raw):
    if name == "F16":
        return raw.reshape(-1).view(np.float16).astype(np.float32)
    return dequantize(raw, GGMLQuantizationType[name]).reshape(-1).astype(np.float32)


def main():
    print("// Golden values of dequantize(): written by testdata/make_dequantize_golden.py from the")
    print("// `gguf` package; do not edit.")
    print("#pragma once\n\n#include <array>\n#include <string_view>\n\n#include \"weights/tensor_type.h\"\n")
    print("namespace genesis::weights::golden {\n")
    print("struct Row {")
    print("  TensorType type;")
    print("  std::string_view first_block;  // first elements of one block made from Random(1), hex of float bits")
    print("  std::string_view sha256;       // of the floats of 256 blocks made from Random(256)")
    print("};\n")
    print(f"inline constexpr std::array<Row, {len(HALVES)}> kRows{{{{")
    for name in HALVES:
        first = expand(name, blocks(name, 1))
        digest = hashlib.sha256(expand(name, blocks(name, 256)).astype("<f4").tobytes()).hexdigest()
        print(f"    {{TensorType::k{name},")
        words = [f"{w:08x}" for w in first.view(np.uint32)]
        lines = ["".join(words[i:i + 10]) for i in range(0, len(words), 10)]
        print("\n".join(f"     \"{line}\"" for line in lines) + ",")
        print(f"     \"{digest}\"}},")
    print("}};\n\n}  // namespace genesis::weights::golden")


main()
