"""What loading a model of several GB takes: seconds until ready and memory, without and with the packed cache.

    python bench/load_memory.py --genesis build/release/bin/genesis --work FOLDER [--gib 4] [--llama PYTHON]

Makes a synthetic Llama of the wanted size (safetensors in bfloat16, and from it a GGUF in Q8_0 by `genesis
convert`, whose own memory is measured, too), then starts engines on them:

    plain     --no-weights-cache: packed into memory of the process
    first     packed into the cache
    second    mapped from the cache, files in the page cache
    cold      mapped from the cache, files not in the page cache
    two       a second process beside the first: how much memory both take together (Pss)

One JSON line a run. `anon` is memory of the process alone, `file` pages of files that others share and that
the system takes back when it needs them. FOLDER needs four times the size.
"""

import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import urllib.request

import numpy

LAYER = {"hidden": 2048, "mlp": 8192, "heads": 16, "kv": 4, "head": 128}
VOCABULARY = 32000


def shapes(layers):
    h, m, q, k = LAYER["hidden"], LAYER["mlp"], LAYER["heads"] * LAYER["head"], LAYER["kv"] * LAYER["head"]
    yield "model.embed_tokens.weight", (VOCABULARY, h)
    yield "lm_head.weight", (VOCABULARY, h)
    yield "model.norm.weight", (h,)
    for i in range(layers):
        stem = f"model.layers.{i}."
        yield stem + "input_layernorm.weight", (h,)
        yield stem + "post_attention_layernorm.weight", (h,)
        yield stem + "self_attn.q_proj.weight", (q, h)
        yield stem + "self_attn.k_proj.weight", (k, h)
        yield stem + "self_attn.v_proj.weight", (k, h)
        yield stem + "self_attn.o_proj.weight", (h, q)
        yield stem + "mlp.gate_proj.weight", (m, h)
        yield stem + "mlp.up_proj.weight", (m, h)
        yield stem + "mlp.down_proj.weight", (h, m)


def make_model(folder, gib):
    """Random weights straight into the file: no more memory than one tensor."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    one = sum(int(numpy.prod(shape)) for name, shape in shapes(1) if "layers" in name) * 2
    layers = max(1, round((gib * 2**30 - 2 * VOCABULARY * LAYER["hidden"] * 2) / one))
    header, at = {}, 0
    for name, shape in shapes(layers):
        size = int(numpy.prod(shape)) * 2
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = numpy.random.default_rng(1)
    noise = (random.standard_normal(1 << 24, dtype=numpy.float32) * 0.02).view(numpy.uint32) >> 16
    noise = noise.astype(numpy.uint16)
    ones = numpy.full(LAYER["hidden"], 0x3F80, dtype=numpy.uint16)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes(layers):
            count = int(numpy.prod(shape))
            if len(shape) == 1:
                file.write(ones[:count].tobytes())
                continue
            begin = int(random.integers(len(noise)))
            while count > 0:
                piece = noise[begin : begin + count]
                file.write(piece.tobytes())
                count -= len(piece)
                begin = 0
    config = {
        "model_type": "llama",
        "hidden_size": LAYER["hidden"],
        "intermediate_size": LAYER["mlp"],
        "num_hidden_layers": layers,
        "num_attention_heads": LAYER["heads"],
        "num_key_value_heads": LAYER["kv"],
        "head_dim": LAYER["head"],
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "eos_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    letters = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {letter: i for i, letter in enumerate(letters)}, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "done").touch()


def forget(*paths):
    """Takes the files out of the page cache."""
    os.sync()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def memory(pid):
    fields = {}
    for name in ("status", "smaps_rollup"):
        for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith("kB"):
                fields[key] = round(int(value.split()[0]) / 2**20, 2)
    return {
        "peak_rss_gib": fields["VmHWM"],
        "anon_gib": fields["RssAnon"],
        "file_gib": fields["RssFile"],
        "pss_gib": fields["Pss"],
    }


class Engine:
    def __init__(self, options, model, *arguments):
        self.begin = time.monotonic()
        self.child = subprocess.Popen(
            [options.genesis, "engine", "--model", model, "--listen", "127.0.0.1:0", "--kv-mib", "64", "--name", "m"]
            + [*arguments],
            env=os.environ | {"GENESIS_HOME": str(options.work / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.child.stdout.readline()
        assert line, self.child.stderr.read()
        self.seconds = time.monotonic() - self.begin
        self.address = json.loads(line)["listen"]
        self.memory = memory(self.child.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        _, self.log = self.child.communicate()


def decode_speed(engine, tokens=24):
    """Tokens a second of one stream, from two answers of different length."""

    def ask(count):
        body = {"model": "m", "prompt": "The quick", "max_tokens": count, "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(
            f"http://{engine.address}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        begin = time.monotonic()
        answer = json.load(urllib.request.urlopen(request, timeout=600))
        return time.monotonic() - begin, answer["usage"]["completion_tokens"]

    ask(2)
    short, few = ask(2)
    long, many = ask(tokens)
    return round((many - few) / (long - short), 2)


def measure(options, label, model, *arguments):
    with Engine(options, model, *arguments) as engine:
        speed = decode_speed(engine)
    said = next((line.split(" info ")[1] for line in engine.log.splitlines() if "needs" in line), "")
    if label.endswith("plain"):
        print(json.dumps({"said": said}), flush=True)
    print(json.dumps({"run": label, "seconds": round(engine.seconds, 2), **engine.memory, "tokens_per_s": speed}), flush=True)


def convert(options, folder, output):
    if output.exists():
        return
    child = subprocess.Popen(
        [options.genesis, "convert", folder, "--to", "Q8_0", "-o", output],
        env=os.environ | {"GENESIS_HOME": str(options.work / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begin, peak = time.monotonic(), {}
    while child.poll() is None:
        try:
            now = memory(child.pid)
        except (FileNotFoundError, ProcessLookupError, KeyError):
            break
        peak = {key: max(value, peak.get(key, 0)) for key, value in now.items()}
        time.sleep(0.2)
    assert child.wait() == 0
    print(json.dumps({"run": "convert to Q8_0", "seconds": round(time.monotonic() - begin, 2), **peak}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genesis", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--gib", type=float, default=4)
    options = parser.parse_args()
    folder = options.work / "model"
    make_model(folder, options.gib)
    weights, quantized = folder / "model.safetensors", options.work / "q8.gguf"
    print(json.dumps({"safetensors_gib": round(weights.stat().st_size / 2**30, 2)}), flush=True)
    convert(options, folder, quantized)
    print(json.dumps({"gguf_gib": round(quantized.stat().st_size / 2**30, 2)}), flush=True)
    for name, model, source in (("safetensors", folder, weights), ("gguf", quantized, quantized)):
        shutil.rmtree(options.work / "home", ignore_errors=True)
        measure(options, f"{name} plain", model, "--no-weights-cache")
        measure(options, f"{name} first", model)
        measure(options, f"{name} second", model)
        entries = list((options.work / "home/cache/weights").glob("*.panels"))
        forget(source, *entries)
        measure(options, f"{name} cold", model)
        with Engine(options, model) as one, Engine(options, model) as two:
            both = [memory(engine.child.pid) for engine in (one, two)]
            pss = round(sum(each["pss_gib"] for each in both), 2)
        print(json.dumps({"run": f"{name} two", "second_s": round(two.seconds, 2), "pss_of_both_gib": pss}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
