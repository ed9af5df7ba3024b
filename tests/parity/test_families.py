"""Every family that the executor claims: fp32 logits of a small random model against transformers, from its own
safetensors file and from the GGUF form of the same weights.

Needs GENESIS_BIN_DIR (holding logits_probe).
"""

import numpy
import pytest

from adapters import WithAdapter, save_adapter
from families import FAMILIES, VOCABULARY, logits, make, write_gguf
from logits import our_logits

TOLERANCE = 1e-4
LENGTHS = (1, 7, 33, 63, 64, 65, 97, 257, 301, 1024)


def prompts(lengths=LENGTHS):
    random = numpy.random.default_rng(3)
    return [random.integers(0, VOCABULARY, length).tolist() for length in lengths]


def difference(model, file, folder, batch, *arguments):
    largest, spread = 0.0, []
    ours = our_logits(file, folder, batch, "--precision", "fp32", "--threads", 1, *arguments)
    for ids, mine in zip(batch, ours, strict=True):
        theirs = logits(model, ids)
        largest = max(largest, float(numpy.abs(mine - theirs).max()))
        spread.append(float(theirs.std()))
    assert 0.8 < numpy.mean(spread) < 4, "logits of this size do not test a tolerance"
    return largest


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_transformers(name, tmp_path):
    model = make(name)
    model.save_pretrained(tmp_path)
    files = {"safetensors": tmp_path / "model.safetensors"}
    if FAMILIES[name][1] is not None:
        files["gguf"] = tmp_path / "model.gguf"
        write_gguf(model, name, files["gguf"])
    # Where long contexts have factors of their own, transformers uses them for long prompts only.
    runs = {"": (prompts(), ())}
    if "longrope" in name:
        old = model.config.original_max_position_embeddings
        runs = {" long": (prompts([n for n in LENGTHS if n > old]), ()),
                " short": (prompts([n for n in LENGTHS if n <= old]), ("--context", old))}
    for form, file in files.items():
        for what, (batch, arguments) in runs.items():
            for chunk in (256, 61):
                largest = difference(model, file, tmp_path, batch, "--chunk", chunk, *arguments)
                print(f"{name}{what}, {form}, {chunk} tokens a step: max {largest:.1e}")
                assert largest <= TOLERANCE


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", ["gemma2", "gemma3", "phi3", "qwen2", "qwen3"])
def test_adapters_equal_peft(name, tmp_path):
    """On every linear layer, whether a family fuses them or not."""
    model = make(name)
    model.save_pretrained(tmp_path)
    folder = save_adapter(model, tmp_path / "adapter", seed=2, r=6, target_modules="all-linear")
    batch = prompts((5, 70, 130))
    with WithAdapter(model, folder) as peft:
        theirs = [peft.logits(ids) for ids in batch]
    effect = float(numpy.abs(theirs[1] - logits(model, batch[1])).max())
    ours = our_logits(tmp_path / "model.safetensors", tmp_path, batch, "--precision", "fp32", "--adapter", folder)
    largest = max(float(numpy.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(f"{name} with an adapter: max {largest:.1e}, effect {effect:.1e}")
    assert effect > 0.05, "an adapter that does nothing proves nothing"
    assert largest <= TOLERANCE
