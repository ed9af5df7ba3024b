"""Reference logits by transformers, ours by logits_probe, and how far two sets of logits are apart."""

import json
import os
import pathlib
import subprocess

import numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
CHUNKS, CHUNK_TOKENS = 8, 512


class Reference:
    """The GGUF file as transformers runs it: weights expanded to fp32, one sequence at a time."""

    def __init__(self, gguf):
        gguf = pathlib.Path(gguf).resolve()
        self.tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        self.model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        self.model.eval()

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def text_chunks(self):
        """Eight pieces of 512 tokens of "Alice's Adventures in Wonderland" (L. Carroll, 1865)."""
        ids = self.ids((DATA / "text.txt").read_text())
        assert len(ids) >= CHUNKS * CHUNK_TOKENS
        return [ids[i * CHUNK_TOKENS : (i + 1) * CHUNK_TOKENS] for i in range(CHUNKS)]

    @torch.inference_mode()
    def logits(self, ids):
        return self.model(torch.tensor([ids])).logits[0].numpy()

    @torch.inference_mode()
    def greedy(self, ids, count):
        """Ids of the greedy continuation and the margin between the two best logits of each step."""
        out, margins, past = [], [], None
        step = torch.tensor([ids])
        for _ in range(count):
            result = self.model(step, past_key_values=past, use_cache=True)
            past = result.past_key_values
            best = result.logits[0, -1].topk(2)
            margins.append(float(best.values[0] - best.values[1]))
            out.append(int(best.indices[0]))
            step = best.indices[:1].reshape(1, 1)
        return out, margins


def probe(gguf, *arguments, lines):
    binary = pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "logits_probe"
    result = subprocess.run(
        [binary, "--model", gguf, *map(str, arguments)],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def our_logits(gguf, folder, prompts, *arguments):
    """Yields the logits of one prompt after the other, [tokens, vocabulary]."""
    path = pathlib.Path(folder) / "logits.f32"
    probe(gguf, "--out", path, *arguments, lines=prompts)
    rows = sum(map(len, prompts))
    vocabulary = path.stat().st_size // 4 // rows
    everything = numpy.memmap(path, dtype=numpy.float32, mode="r", shape=(rows, vocabulary))
    path.unlink()  # the mapping keeps it until we are done
    begin = 0
    for prompt in prompts:
        yield numpy.array(everything[begin : begin + len(prompt)])
        begin += len(prompt)


def kl(reference, other):
    """KL(reference || other) of every row, in nats."""
    p = torch.log_softmax(torch.from_numpy(reference).double(), -1)
    q = torch.log_softmax(torch.from_numpy(other).double(), -1)
    return (p.exp() * (p - q)).sum(-1).numpy()
