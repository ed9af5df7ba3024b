"""Holds our tokenizer executor against the `tokenizers` package: ids, decoding with and without special
tokens, and incremental decoding, on 100,000 fuzzed strings for the model's own vocabulary and smaller
sets that turn every switch of the byte-level pipeline.

Needs GENESIS_BIN_DIR (holding text_probe) and GENESIS_TEST_GGUF. GENESIS_TEST_SEED repeats a run.
"""

import json
import os
import random

import gguf
import pytest
from tokenizer_probe import probe as ask_probe
from tokenizers import Tokenizer

pytestmark = pytest.mark.limit(900)
SEED = int(os.environ.get("GENESIS_TEST_SEED", "20260714"))
COUNT = int(os.environ.get("GENESIS_FUZZ_STRINGS", "100000"))

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GGUF_DEFAULT = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
]


def byte_level(regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def digits(individual=True):
    return {"type": "Digits", "individual_digits": individual}


# tokenizer.ggml.pre -> what the same model's tokenizer.json says
GGUF_CHAINS = {
    "smollm": sequence(digits(), byte_level()),
    "gpt-2": byte_level(),
    "llama-bpe": sequence(split(LLAMA3), byte_level(regex=False)),
    "qwen2": sequence(split(QWEN2), byte_level(regex=False)),
    "default": sequence(*[split(p) for p in GGUF_DEFAULT], byte_level(regex=False)),
}


class Vocabulary:
    """What the GGUF file says, and the tokenizer.json documents made of it."""

    def __init__(self, path):
        fields = gguf.GGUFReader(path).fields
        read = lambda key: fields["tokenizer.ggml." + key].contents()
        self.tokens, self.types, self.merges = read("tokens"), read("token_type"), read("merges")
        self.control = [i for i, kind in enumerate(self.types) if kind == 3]

    def as_gguf(self, pre):
        return {
            "model": "gpt2", "pre": pre, "tokens": self.tokens, "token_types": self.types,
            "merges": self.merges, "bos_id": 1, "eos_id": 2, "add_bos": False,
        }  # fmt: skip

    def as_json(self, pre_tokenizer, **changes):
        pairs = changes.pop("merge_pairs", True)
        extra = changes.pop("extra_tokens", [])
        model = {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": {t: i for i, t in enumerate(self.tokens)},
            "merges": [m.split(" ") for m in self.merges] if pairs else self.merges,
        }  # fmt: skip
        model.update(changes.pop("model", {}))
        added = [self.added(self.tokens[i], i) for i in self.control]
        for content, flags in extra:
            at = self.tokens.index(content) if content in model["vocab"] else len(self.tokens)
            at = max([at] + [t["id"] + 1 for t in added]) if at == len(self.tokens) else at
            added.append(self.added(content, at, **flags))
        document = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None, "pre_tokenizer": pre_tokenizer, "post_processor": None,
            "decoder": byte_level(), "model": model,
        }  # fmt: skip
        document.update(changes)
        return document

    @staticmethod
    def added(content, at, special=True, **flags):
        base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        return {"id": at, "content": content, "special": special, **base, **flags}


class Generator:
    """Random strings of many kinds; bytes that are no UTF-8 are given as bytes."""

    BLOCKS = [
        (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF),
        (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
        (0x2070, 0x218F), (0x2190, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
        (0xE000, 0xE0FF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x10000, 0x107FF), (0x1D400, 0x1D7FF),
        (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF), (0x10D40, 0x10D90),
        (0x31350, 0x323AF), (0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6), (0x1CCF0, 0x1CCF9),
    ]  # fmt: skip
    SPACES = " \t\n\r\v\f\x85\xa0\u1680\u180e\u2003\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
    TAILS = "'s 't 're 've 'm 'll 'd 'S 'LL 'Re '\u017f ' '' 'x \u2019s".split(" ")
    EMOJI = ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
             "\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e007f", "\U0001f9d1\u200d\U0001f680"]  # fmt: skip

    def __init__(self, vocabulary, added, seed):
        self.rng = random.Random(seed)
        from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

        to_byte = {c: b for b, c in bytes_to_unicode().items()}
        self.words = [bytes(to_byte[c] for c in t if c in to_byte) for t in vocabulary.tokens]
        self.added = added
        self.kinds = [self.word, self.block, self.spaces, self.number, self.tail, self.emoji, self.token]

    def word(self):
        return self.rng.choice(self.words).decode("utf-8", "replace")

    def block(self):
        low, high = self.rng.choice(self.BLOCKS)
        return "".join(chr(self.rng.randint(low, high)) for _ in range(self.rng.randint(1, 6)))

    def spaces(self):
        pool = self.SPACES if self.rng.random() < 0.4 else " \n\t\r"
        return "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, 5)))

    def number(self):
        pool = "0123456789" if self.rng.random() < 0.8 else "0\u0663\u0967\u00bd\u00b2\u2163\U0001d7d9"
        return "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, 9)))

    def tail(self):
        return self.rng.choice(self.TAILS)

    def emoji(self):
        return self.rng.choice(self.EMOJI)

    def token(self):
        token = self.rng.choice(self.added)
        cut = self.rng.random()
        if cut < 0.15:
            return token[: self.rng.randint(1, len(token))]
        return token + " " if cut < 0.25 else (" " + token if cut < 0.35 else token)

    def text(self):
        roll = self.rng.random()
        if roll < 0.10:  # any bytes
            return bytes(self.rng.randrange(256) for _ in range(self.rng.randint(0, 24)))
        if roll < 0.14:  # text with a few bytes damaged
            data = bytearray("".join(self.word() for _ in range(8)).encode() + self.block().encode())
            for _ in range(self.rng.randint(1, 3)):
                data[self.rng.randrange(len(data))] = self.rng.randrange(128, 256)
            return bytes(data)
        if roll < 0.15:  # one long word
            return "".join(self.rng.choice("abcdeinorst") for _ in range(self.rng.randint(50, 400)))
        if roll < 0.20:  # soup of added tokens
            return "".join(self.token() for _ in range(self.rng.randint(1, 6)))
        return "".join(self.rng.choice(self.kinds)() for _ in range(self.rng.randint(1, 10)))

    def texts(self, count):
        return [self.text() for _ in range(count)]


def probe(mode, document, requests, tmp_path):
    """Sends every request to text_probe and returns its replies."""
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return ask_probe(mode, path, requests)


def lossy(data):
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def request_for(data, **options):
    if isinstance(data, bytes):
        return {"hex": data.hex(), **options}
    return {"text": data, **options}


def compare(mode, document, oracle_document, texts, tmp_path, **options):
    """Ids and all three decodings of every text, equal or the test fails."""
    oracle = Tokenizer.from_str(json.dumps(oracle_document))
    oracle.encode_special_tokens = not options.get("parse_special", True)
    replies = probe(mode, document, [request_for(t, **options) for t in texts], tmp_path)
    encodings = oracle.encode_batch(
        [lossy(t) for t in texts], add_special_tokens=options.get("add_special", True)
    )
    ids = [e.ids for e in encodings]
    texts_back = oracle.decode_batch(ids, skip_special_tokens=False)
    plain_back = oracle.decode_batch(ids, skip_special_tokens=True)
    for text, reply, want, back, plain in zip(texts, replies, ids, texts_back, plain_back):
        assert reply["ids"] == want, (SEED, text)
        assert reply["text"] == back, (SEED, text)
        assert reply["plain_text"] == plain, (SEED, text)
        assert "".join(reply["pieces"]) == back, (SEED, text)


@pytest.fixture(scope="module")
def vocabulary():
    print(f"seed {SEED}")
    return Vocabulary(os.environ["GENESIS_TEST_GGUF"])


def generator(vocabulary, salt, extra=()):
    added = [vocabulary.tokens[i] for i in vocabulary.control] + list(extra)
    return Generator(vocabulary, added, f"{SEED}-{salt}")


def test_model_vocabulary_from_gguf(vocabulary, tmp_path):
    chain = GGUF_CHAINS["smollm"]
    texts = generator(vocabulary, "gguf").texts(COUNT)
    compare("gguf", vocabulary.as_gguf("smollm"), vocabulary.as_json(chain), texts, tmp_path)


def test_model_vocabulary_from_tokenizer_json(vocabulary, tmp_path):
    document = vocabulary.as_json(GGUF_CHAINS["smollm"], merge_pairs=False)
    texts = generator(vocabulary, "json").texts(COUNT)
    compare("json", document, document, texts, tmp_path)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "default"])
def test_gguf_pre_tokenizers(vocabulary, tmp_path, pre):
    changes = {}
    if pre == "llama-bpe":
        changes["model"] = {"ignore_merges": True}
    if pre == "qwen2":
        changes["normalizer"] = {"type": "NFC"}
    oracle = vocabulary.as_json(GGUF_CHAINS[pre], **changes)
    texts = generator(vocabulary, pre).texts(COUNT // 10)
    compare("gguf", vocabulary.as_gguf(pre), oracle, texts, tmp_path)


EXTRA = [
    ("<left>", {"lstrip": True, "special": False}),
    ("<right>", {"rstrip": True}),
    ("<both>", {"lstrip": True, "rstrip": True, "normalized": True}),
    ("word", {"single_word": True, "special": False}),
    ("wordy", {"special": False}),
    ("\u00c5ngstr\u00f6m", {"special": False, "normalized": True}),
    (" spaced ", {"special": False}),
    ("\u0120odd", {"special": False}),
]
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {
        "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]},
        "<|im_end|>": {"id": "<|im_end|>", "ids": [2], "tokens": ["<|im_end|>"]},
    },
}
VARIANTS = {
    "added_tokens": (GGUF_CHAINS["smollm"], {"extra_tokens": EXTRA}),
    "added_nfc": (byte_level(), {"extra_tokens": EXTRA, "normalizer": {"type": "NFC"}}),
    "prefix_space": (byte_level(prefix=True), {"extra_tokens": EXTRA}),
    "digit_runs": (sequence(digits(False), byte_level()), {}),
    "o200k": (sequence(split(O200K), byte_level(regex=False)), {}),
    "deepseek": (
        sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), byte_level(regex=False)),
        {"normalizer": {"type": "Sequence", "normalizers": []}},
    ),
    "unknown": (byte_level(), {"model": {"unk_token": "<repo_name>"}}),
    "unknown_fused": (byte_level(), {"model": {"unk_token": "<repo_name>", "fuse_unk": True}}),
    "ignore_merges": (byte_level(), {"model": {"ignore_merges": True}}),
    "template": (
        byte_level(),
        {"post_processor": {"type": "Sequence", "processors": [byte_level(), TEMPLATE]}},
    ),
    "roberta": (
        byte_level(),
        {"post_processor": {"type": "RobertaProcessing", "sep": ["<|im_end|>", 2],
                            "cls": ["<|im_start|>", 1], "trim_offsets": True,
                            "add_prefix_space": False}},  # fmt: skip
    ),
}
for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    for invert in (False, True):
        VARIANTS[f"split_{behavior}_{invert}"] = (
            sequence(split(r"\s|e", behavior, invert), split("a", behavior, invert, "String"), byte_level()),
            {},
        )


@pytest.mark.parametrize("name", list(VARIANTS))
def test_pipeline_switches(vocabulary, tmp_path, name):
    chain, changes = VARIANTS[name]
    document = vocabulary.as_json(chain, **changes)
    extra = [content for content, _ in changes.get("extra_tokens", [])]
    texts = generator(vocabulary, name, extra).texts(COUNT // 50)
    compare("json", document, document, texts, tmp_path)
    compare("json", document, document, texts[:200], tmp_path, add_special=False)
    compare("json", document, document, texts[:200], tmp_path, parse_special=False)


def test_every_code_point(vocabulary, tmp_path):
    """Unicode classes: letters, numbers, white space, digits, \\w, categories, single_word, NFC.

    Of the long uniform runs (ideographs, Hangul, private use, unassigned planes) only a sample."""
    runs = [(0x3500, 0x4D00), (0x4F00, 0x9F00), (0xAD00, 0xD700), (0xE100, 0xF800), (0x17100, 0x18700),
            (0x20100, 0x2A600), (0x2A800, 0x2B700), (0x2B900, 0x2CE00), (0x2CF00, 0x2EB00),
            (0x30100, 0x31300), (0x32400, 0xE0000), (0xE0200, 0x10FF00)]  # fmt: skip
    within = lambda c: any(low <= c < high for low, high in runs)
    points = [
        chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c % 61 == 0 or not within(c))
    ]
    step = 512
    texts = []
    for at in range(0, len(points), step):
        part = points[at : at + step]
        texts.append("".join("a" + c + "1 " + c + c for c in part))
    token = [("a", {"single_word": True, "special": False}), ("1 ", {"lstrip": True, "rstrip": True})]
    chains = {
        "smollm": (GGUF_CHAINS["smollm"], {}),
        "added": (byte_level(), {"extra_tokens": token}),
        "llama": (GGUF_CHAINS["llama-bpe"], {"normalizer": {"type": "NFC"}}),
        "deepseek": VARIANTS["deepseek"],
        "word": (sequence(split(r"\w"), split(r"\d"), split(r"\S+", "Removed"), byte_level(regex=False)), {}),
        "upper": (sequence(split(r"[\p{Lu}\p{Pd}\p{Cf}]"), split(r"\P{Ll}"), byte_level(regex=False)), {}),
    }
    for chain, changes in chains.values():
        document = vocabulary.as_json(chain, **changes)
        oracle = Tokenizer.from_str(json.dumps(document))
        replies = probe("json", document, [{"text": t, "ids_only": True} for t in texts], tmp_path)
        for text, reply, want in zip(texts, replies, oracle.encode_batch(texts)):
            assert reply["ids"] == want.ids, text


def test_random_ids_decode_alike(vocabulary, tmp_path):
    rng = random.Random(SEED)
    document = vocabulary.as_json(GGUF_CHAINS["smollm"], extra_tokens=EXTRA)
    most = len(vocabulary.tokens) + len(EXTRA) + 3
    lists = [[rng.randrange(most) for _ in range(rng.randint(0, 12))] for _ in range(5000)]
    lists += [[rng.randrange(1, 260) for _ in range(12)] for _ in range(5000)]
    oracle = Tokenizer.from_str(json.dumps(document))
    replies = probe("json", document, [{"ids": ids} for ids in lists], tmp_path)
    for ids, reply in zip(lists, replies):
        assert reply["text"] == oracle.decode(ids, skip_special_tokens=False), (SEED, ids)
        assert reply["plain_text"] == oracle.decode(ids, skip_special_tokens=True), (SEED, ids)
        assert "".join(reply["pieces"]) == reply["text"], (SEED, ids)


def test_plain_spans_leave_benign_text_alone(vocabulary, tmp_path):
    """All text plain and free of special tokens: the same ids as without spans."""
    rng = random.Random(SEED)
    texts = [t for t in generator(vocabulary, "plain").texts(4000) if isinstance(t, str) and "<" not in t]
    spans = []
    for text in texts:
        borders = sorted(rng.randint(0, len(text.encode())) for _ in range(4))
        spans.append([borders[:2], borders[2:]] if borders[1] < borders[2] else [[0, borders[3]]])
    document = vocabulary.as_gguf("smollm")
    free = probe("gguf", document, [{"text": t} for t in texts], tmp_path)
    plain = probe("gguf", document, [{"text": t, "plain": s} for t, s in zip(texts, spans)], tmp_path)
    assert [r["ids"] for r in free] == [r["ids"] for r in plain]


def test_plain_spans_keep_special_tokens_text(vocabulary, tmp_path):
    """A text wholly typed by a user is what encode_special_tokens makes of it."""
    texts = [t for t in generator(vocabulary, "typed").texts(4000) if isinstance(t, str)]
    oracle = Tokenizer.from_str(json.dumps(vocabulary.as_json(GGUF_CHAINS["smollm"])))
    oracle.encode_special_tokens = True
    requests = [{"text": t, "plain": [[0, len(t.encode())]]} for t in texts]
    replies = probe("gguf", vocabulary.as_gguf("smollm"), requests, tmp_path)
    for text, reply in zip(texts, replies):
        assert reply["ids"] == oracle.encode(text).ids, (SEED, text)
