"""Writes quantize_golden.h: blocks as the gguf package (0.19.0) quantizes them, and a weight as
bitsandbytes (0.50.2) quantizes it to NF4 with double quantization, in transformers' layout.

    python make_quantize_golden.py > ../quantize_golden.h    # needs gguf, bitsandbytes, torch
"""


import bitsandbytes.functional as bnb
import gguf
import numpy as np
import torch
from safetensors.torch import save

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "BF16"]


def array(kind: str, name: str, values: list[str]) -> str:
    body = ""
    line = " "
    for value in values:
        if len(line) + len(value) + 2 > 100:
            body += line + "\n"
            line = " "
        line += " " + value + ","
    return f"inline constexpr {kind} {name}[] = {{\n{body}{line}\n}};\n"


def input_values() -> np.ndarray:
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((8, 32)).astype(np.float32)
    rows[1] *= 1e-4
    rows[2] = 0
    rows[3] = -2.5
    rows[4] = np.abs(rows[4])
    rows[5, 5] = -40
    rows[6, 9] = 3e-7
    return rows


def nf4_file() -> tuple[bytes, torch.Tensor]:
    torch.manual_seed(3)
    weight = torch.randn(6, 64) * 0.05
    packed, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    tensors = {"w.weight": packed, "norm": torch.ones(2)}
    for key, value in state.as_dict(packed=True).items():
        tensors["w.weight." + key] = value
    return save(tensors), bnb.dequantize_4bit(packed, state)


def main() -> None:
    print("// Made by testdata/make_quantize_golden.py: do not edit.\n#pragma once\n")
    print("#include <cstdint>\n\nnamespace genesis::weights::testing {\n")
    values = input_values()
    words = [f"0x{word:08x}U" for word in values.ravel().view(np.uint32)]
    print("// Bits of the input: 8 blocks of 32.")
    print(array("std::uint32_t", "kQuantizeInput", words))
    for name in TYPES:
        blocks = gguf.quantize(values, getattr(gguf.GGMLQuantizationType, name))
        print(array("std::uint8_t", "kGolden" + name, [str(b) for b in blocks.tobytes()]))
    file, expanded = nf4_file()
    print("// A safetensors file with 'w.weight' [6, 64] in NF4.")
    print(array("std::uint8_t", "kNf4File", [str(b) for b in file]))
    words = [f"0x{word:08x}U" for word in expanded.float().numpy().ravel().view(np.uint32)]
    print("// Bits of bitsandbytes' own dequantize_4bit() of it, in single precision.")
    print(array("std::uint32_t", "kNf4Expanded", words))
    print("}  // namespace genesis::weights::testing")


if __name__ == "__main__":
    main()
