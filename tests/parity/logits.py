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

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain what a hash table is in two sentences.",
    "def fibonacci(n):\n    ",
    "SELECT name, price FROM products WHERE",
    "Once upon a time, in a small village by the sea,",
    "The three primary colours are",
    "List five fruits:\n1.",
    "Translate to German: Good morning, my friend.",
    "2 + 2 = 4. 3 + 5 = 8. 7 + 6 =",
    "Dear Sir or Madam,\n\nI am writing to",
    "The mitochondria is the",
    "import numpy as np\n\nx = np.",
    "Q: How many legs does a spider have?\nA:",
    "Water boils at a temperature of",
    "{\"name\": \"Anna\", \"age\":",
    "The quick brown fox",
    "To make a cup of tea, first",
    "In 1969, the first human",
    "A triangle has three",
]


def chat(reference, question):
    return reference.ids(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )


def prompts(reference):
    """64 prompts of 1 to about 100 tokens: bare beginnings, chat turns, slices of prose, odd strings."""
    text = (reference.text_chunks()[7])[::-1]
    found = [reference.ids(q) for q in QUESTIONS]
    found += [chat(reference, q) for q in QUESTIONS[:14]]
    found += [reference.text_chunks()[7][10 * i : 10 * i + length] for i, length in
              enumerate((1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 80, 95, 96, 97))]
    found += [text[:40], [0], [2, 2, 2, 2], [1] * 33, [17] * 64]
    found += [reference.ids(s) for s in ("\n\n\n", "    \t x", "日本語のテキスト", "Привет, мир!", "🙂🙃")]
    assert len(found) == 64
    return found


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
