"""genesis convert: a small model saved by transformers becomes GGUF and packed files that answer alike."""

import json
import re
import subprocess
import urllib.request

import gguf
import numpy
import pytest
import torch
from harness.gateway import base_environment, run_cli
from harness.process import BIN, ROOT
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 512
PROMPTS = ["The quick brown fox", "1 + 1 =", "über die Brücke"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random Llama with Llama 3's rotary scaling, in several bfloat16 shards, with a tokenizer of its own."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.15,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    )
    path = tmp_path_factory.mktemp("models") / "tiny"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path, max_shard_size="500KB")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 12,  # the table has rows that no token uses
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((ROOT / "tests/data/text.txt").read_text().splitlines()[:400], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>")
    fast.chat_template = "{% for m in messages %}<|begin|>{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    fast.save_pretrained(path)
    assert (path / "model.safetensors.index.json").exists()
    return path


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def convert(home, folder, form, output, *more):
    done = run_cli(home, "convert", folder, "--to", form, "-o", output, "--json", *more, check=True)
    return json.loads(done.stdout)


def answers(home, model, precision="quantized"):
    """Greedy completions with the logprobs of their tokens."""
    child = subprocess.Popen(
        [str(BIN), "engine", "--model", str(model), "--listen", "127.0.0.1:0", "--threads", "1", "--name", "x"]
        + ["--precision", precision, "--kv-mib", "16"],
        env=base_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        line = child.stdout.readline().decode()
        assert line, child.stderr.read().decode()
        url = f"http://{json.loads(line)['listen']}"
        out = []
        for prompt in PROMPTS:
            body = {"model": "x", "prompt": prompt, "max_tokens": 16, "temperature": 0, "logprobs": 1}
            request = urllib.request.Request(
                url + "/v1/completions",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            choice = json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]
            out.append((choice["text"], choice["logprobs"]["token_logprobs"]))
        return out
    finally:
        child.terminate()
        child.communicate(timeout=60)


def test_full_precision_is_the_same_model(home, folder, tmp_path):
    """Reordered rows, rotary factors and the tokenizer come out right: token for token the same answers."""
    report = convert(home, folder, "F32", tmp_path / "f32.gguf")
    assert report["worst_error"] == 0
    ours = answers(home, tmp_path / "f32.gguf", "fp32")
    reference = answers(home, folder, "fp32")
    for (text, logprobs), (wanted, wanted_logprobs) in zip(ours, reference, strict=True):
        # GGUF names the rows that no token uses; a random model likes them as much as any.
        assert re.sub(r"\[PAD\d+\]", "", text) == wanted
        numpy.testing.assert_allclose(logprobs, wanted_logprobs, atol=2e-4)


@pytest.mark.parametrize("form", ["Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "BF16", "F16"])
def test_the_gguf_package_reads_what_was_written(home, folder, tmp_path, form):
    """Another reader agrees about names, types and values."""
    report = convert(home, folder, form, tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert {tensor["name"] for tensor in report["tensors"]} == {tensor.name for tensor in reader.tensors}
    stored = {tensor.name: tensor for tensor in reader.tensors}
    source = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    for name, original in [
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
        ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"),
    ]:
        tensor = stored[name]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(source[original].shape)
        wanted = source[original].numpy()
        error = numpy.sqrt(((values - wanted) ** 2).mean() / (wanted**2).mean())
        limit = {"Q4": 0.11, "Q8": 0.012, "Q6": 0.03, "BF": 0.003, "F1": 0.001, "Q5": 0.06}
        kind = tensor.tensor_type.name
        assert error < limit[kind[:2]], (name, kind, error)
        if kind in ("Q8_0", "Q4_0", "Q4_1"):
            assert bytes(tensor.data) == bytes(gguf.quantize(wanted, tensor.tensor_type))
    # Rows of 384 are not whole blocks of 256: llama.cpp's fallback.
    down = stored["blk.1.ffn_down.weight"].tensor_type.name
    assert down == {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}.get(form, form)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.block_count"] == 2
    assert len(fields["tokenizer.ggml.tokens"]) == VOCABULARY
    assert "assistant:" in fields["tokenizer.chat_template"]
    assert stored["rope_freqs.weight"].data.shape == (32,)


def test_packed_models_answer_as_what_they_are_packed_from(home, folder, tmp_path):
    convert(home, folder, "Q8_0", tmp_path / "q8.gguf")
    convert(home, folder, "packed-8", tmp_path / "p8.gguf")
    convert(home, folder, "packed-4", tmp_path / "p4.gguf")
    assert answers(home, tmp_path / "p8.gguf") == answers(home, tmp_path / "q8.gguf")
    assert all(text for text, _ in answers(home, tmp_path / "p4.gguf"))
    shown = json.loads(run_cli(home, "show", tmp_path / "p4.gguf", "--json", check=True).stdout)
    assert shown["architecture"] == "llama"
    assert shown["bytes_missing"] == 0


def test_damaged_packed_models_are_refused(home, folder, tmp_path):
    path = tmp_path / "p4.gguf"
    convert(home, folder, "packed-4", path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    child = subprocess.run(
        [str(BIN), "engine", "--model", str(path), "--listen", f"unix:{tmp_path}/s.sock"],
        env=base_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode != 0
    assert "checksum" in child.stderr


def test_a_dry_run_and_an_existing_file(home, folder, tmp_path):
    output = tmp_path / "m.gguf"
    planned = convert(home, folder, "Q4_K", output, "--dry-run")
    assert not output.exists()
    written = convert(home, folder, "Q4_K", output)
    assert planned["output_bytes"] == written["output_bytes"] == output.stat().st_size
    assert any(tensor.get("note", "").startswith("rows of 384") for tensor in written["tensors"])
    again = run_cli(home, "convert", folder, "--to", "Q8_0", "-o", output)
    assert again.returncode != 0
    assert "--force" in again.stderr
    assert output.stat().st_size == written["output_bytes"]
    convert(home, folder, "Q8_0", output, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.gguf"]


def test_what_cannot_be_converted_is_named(home, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())

    def refusal(name, old, new):
        text = (folder / name).read_text()
        assert old in text
        (other / name).write_text(text.replace(old, new))
        done = run_cli(home, "convert", other, "--to", "Q8_0", "-o", tmp_path / "no.gguf")
        (other / name).write_text(text)
        assert done.returncode != 0
        assert not (tmp_path / "no.gguf").exists()
        return done.stderr

    assert "'mamba'" in refusal("config.json", '"model_type": "llama"', '"model_type": "mamba"')
    assert "head" in refusal("config.json", '"num_attention_heads": 4', '"num_attention_heads": 8')
    assert "only BPE" in refusal("tokenizer.json", '"type": "BPE"', '"type": "WordPiece"')
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    first = sorted(set(index["weight_map"].values()))[0]
    assert "same folder" in refusal("model.safetensors.index.json", first, "../" + first)


def test_a_header_is_shown_of_a_cut_file(home, folder, tmp_path):
    path = tmp_path / "m.gguf"
    convert(home, folder, "Q8_0", path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    shown = json.loads(run_cli(home, "show", path, "--json", check=True).stdout)
    assert shown["bytes_needed"] <= size
    assert shown["bytes_missing"] == shown["bytes_needed"] - size // 2
    assert shown["chat_template"] is True
    refused = run_cli(home, "pull", path)
    assert refused.returncode != 0
    assert f"{shown['bytes_missing']} of the" in refused.stderr
