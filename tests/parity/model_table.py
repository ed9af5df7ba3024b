#!/usr/bin/env python3
"""What each of the mission's models needs: a Markdown table from tests/data/model_shapes.json.

    GENESIS_BIN_DIR=... tests/parity/model_table.py [--memory-gb 23]

Weights at 4 and 8 bits are packed as the engine packs them (5 and 8.5 bits a weight with their scales); the largest
context is what fits beside 4-bit weights with int8 pages, at most what the model declares. Activations take little:
0.5 GB are set aside for them and for the rest.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "model_shapes.json"
MODELS = json.loads(DATA.read_text())["models"]
REST_GB = 0.5


def need(config, folder):
    path = pathlib.Path(folder) / "config.json"
    path.write_text(json.dumps(config))
    result = subprocess.run(
        [pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "logits_probe", "--config", path],
        capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def largest_context(told, bits, memory_gb):
    room = (memory_gb - REST_GB) * 1e9 - told[f"bytes_{bits}bit"]
    return min(told["max_context"], int(room // told["kv_token_int8"] // 32 * 32)) if room > 0 else 0


def main(arguments):
    print("| model | parameters | weights, 4 bits | weights, 8 bits | KV a token, int8 / fp16 "
          f"| largest context in {arguments.memory_gb:g} GB, 4 bits | 8 bits |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            told = need(model["config"], folder)
            contexts = [largest_context(told, bits, arguments.memory_gb) for bits in (4, 8)]
            print(f"| {model['name']} | {told['parameters'] / 1e9:.3g} B | {told['bytes_4bit'] / 1e9:.2f} GB "
                  f"| {told['bytes_8bit'] / 1e9:.2f} GB | {told['kv_token_int8'] / 1024:.1f} / "
                  f"{told['kv_token_fp16'] / 1024:.1f} KiB | "
                  + " | ".join(f"{n:,}" if n else "does not fit" for n in contexts) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory-gb", type=float, default=23)
    main(parser.parse_args())
