"""Every component of tokenizer.json that the vocabularies at hand do not use, against the `tokenizers` package:
models, normalizers, pre-tokenizers, post-processors, decoders, on tokenizers built here. On fuzzed strings ids,
offsets, decoding and incremental decoding must agree.

Needs GENESIS_BIN_DIR (holding text_probe). GENESIS_TEST_SEED repeats a run.
"""

import base64
import io
import json
import os
import random

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer_probe import probe
from tokenizer_texts import SENTENCES, Generator, lossy, request_for

pytestmark = pytest.mark.limit(900)
SEED = os.environ.get("GENESIS_TEST_SEED", "20261130")
COUNT = int(os.environ.get("GENESIS_FUZZ_STRINGS", "100000")) // 100
BYTES = [f"<0x{b:02X}>" for b in range(256)]
SPECIAL = [("<s>", {}), ("</s>", {}), ("<unk>", {}), ("[CLS]", {}), ("[SEP]", {})]
EXTRA = [
    ("<left>", {"lstrip": True, "special": False}),
    ("<right>", {"rstrip": True}),
    ("<Both>", {"lstrip": True, "rstrip": True, "normalized": True}),
    ("word", {"single_word": True, "special": False}),
    ("\u00c5ngstr\u00f6m", {"special": False, "normalized": True}),
    (" spaced ", {"special": False}),
    ("K\u00d6LN", {"special": True, "normalized": True}),
]


def corpus():
    rng = random.Random(1)
    words = [w for s in SENTENCES for w in s.split()] + ["the", "The", "them", "other", "unhappy", "happier"]
    return [" ".join(rng.choice(words) for _ in range(12)) for _ in range(300)] + SENTENCES * 5


def trained_bpe(**options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus(), trainer)
    return json.loads(tokenizer.to_str())["model"]


def bpe(byte_tokens=True, extra=(), **changes):
    prefix = changes.get("continuing_subword_prefix")
    suffix = changes.get("end_of_word_suffix")
    affixes = {k: v for k, v in (("continuing_subword_prefix", prefix), ("end_of_word_suffix", suffix)) if v}
    model = trained_bpe(**affixes)
    for token in [content for content, _ in SPECIAL] + (BYTES if byte_tokens else []) + list(extra):
        model["vocab"].setdefault(token, len(model["vocab"]))
    model.update({"unk_token": "<unk>", "byte_fallback": byte_tokens}, **changes)
    return model


def unigram(byte_tokens=False, unknown=True):
    rng = random.Random(2)
    pieces = dict.fromkeys(content for content, _ in SPECIAL)
    text = "\u2581".join(corpus()).replace(" ", "\u2581")
    for _ in range(1500):
        at = rng.randrange(len(text))
        pieces[text[at : at + rng.choice([1, 1, 1, 2, 2, 3, 4, 6, 9])]] = None
    if byte_tokens:
        pieces.update(dict.fromkeys(BYTES))
    vocab = [[p, round(rng.uniform(-14, -2), rng.choice([0, 1, 6]))] for p in pieces]
    return {
        "type": "Unigram", "unk_id": list(pieces).index("<unk>") if unknown else None, "vocab": vocab,
        "byte_fallback": byte_tokens,
    }  # fmt: skip


def word_piece(**changes):
    tokens = dict.fromkeys(content for content, _ in SPECIAL)
    tokens["[UNK]"] = None
    for text in corpus():
        for word in text.replace(".", " . ").split():
            tokens[word] = None
            for at in range(1, len(word)):
                tokens["##" + word[at : at + 3]] = None
                tokens["##" + word[at]] = None
            tokens[word[0]] = None
            tokens[word.lower()[:4]] = None
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 12, "vocab": {t: i for i, t in enumerate(tokens)}}  # fmt: skip
    model.update(changes)
    return model


def word_level():
    tokens = dict.fromkeys([content for content, _ in SPECIAL] + [w for t in corpus() for w in t.split()])
    return {"type": "WordLevel", "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(tokens)}}


def document(model, extra=(), **parts):
    vocab = model["vocab"]
    tokens = [piece for piece, _ in vocab] if isinstance(vocab, list) else vocab
    index = {t: i for i, t in enumerate(tokens)} if isinstance(vocab, list) else vocab
    added, next_id = [], len(index)
    for content, flags in list(SPECIAL) + list(extra):
        at = index.get(content, next_id)
        next_id = max(next_id, at + 1)
        base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        added.append({"id": at, "content": content, **base, **flags})
    out = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
           "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}  # fmt: skip
    out.update(parts)
    return out


def check(document_, texts, tmp_path, **options):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document_), encoding="utf-8")
    oracle = Tokenizer.from_str(json.dumps(document_))
    requests = [request_for(t, offsets=True, **options) for t in texts]
    replies = probe("json", path, requests)
    add_special = options.get("add_special", True)
    for text, reply in zip(texts, replies):
        want = oracle.encode(lossy(text), add_special_tokens=add_special)
        context = (SEED, text, [oracle.id_to_token(i) for i in reply["ids"]], want.tokens)
        assert reply["ids"] == want.ids, context
        assert reply["offset_ids"] == want.ids, context
        assert [tuple(o) for o in reply["offsets"]] == want.offsets, context
        if want.ids:
            compare_decoding(oracle, want.ids, reply)


def compare_decoding(oracle, ids, reply):
    try:
        back = oracle.decode(ids, skip_special_tokens=False)
        plain = oracle.decode(ids, skip_special_tokens=True)
    except BaseException as error:  # the package panics on some tokens a decoder strips
        assert "Panic" in type(error).__name__
        return
    assert reply["text"] == back, (SEED, ids)
    assert reply["plain_text"] == plain, (SEED, ids)
    assert "".join(reply["pieces"]) == back, (SEED, ids)
    assert "".join(reply["plain_pieces"]) == plain, (SEED, ids)


def generator(model, salt, extra=()):
    vocab = model["vocab"]
    words = [t[0] if isinstance(t, list) else t for t in vocab]
    words = sorted(w.replace("\u2581", " ") for w in words)
    return Generator(words, [content for content, _ in list(SPECIAL) + list(extra)], f"{SEED}-{salt}")


METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
PIECES = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}  # fmt: skip
MODELS = {
    "bpe": (bpe, {}, METASPACE, PIECES),
    "bpe_no_bytes": (bpe, {"byte_tokens": False}, METASPACE, PIECES),
    "bpe_fuse": (bpe, {"byte_tokens": False, "fuse_unk": True}, None, METASPACE),
    "bpe_some_bytes": (bpe, {"byte_tokens": False, "byte_fallback": True, "fuse_unk": True,
                             "extra": BYTES[:0xE3]}, None, METASPACE),
    "bpe_some_bytes_unfused": (bpe, {"byte_tokens": False, "byte_fallback": True, "extra": BYTES[:0xE3]},
                               None, METASPACE),
    "bpe_no_unknown": (bpe, {"byte_tokens": False, "unk_token": None}, METASPACE, PIECES),
    "bpe_ignore_merges": (bpe, {"ignore_merges": True, "extra": ["\u2581the\u2581dog", "qu\u00e9"]}, None, PIECES),
    "bpe_affixes": (bpe, {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
                    {"type": "Whitespace"}, {"type": "BPEDecoder", "suffix": "</w>"}),
    "bpe_suffix": (bpe, {"end_of_word_suffix": "</w>", "byte_tokens": False, "ignore_merges": True},
                   {"type": "WhitespaceSplit"}, {"type": "BPEDecoder", "suffix": "</w>"}),
    "bpe_dropout_zero": (bpe, {"dropout": 0.0}, METASPACE, PIECES),
    "unigram": (unigram, {}, METASPACE, METASPACE),
    "unigram_whole": (unigram, {"byte_tokens": True}, None, PIECES),
    "word_piece": (word_piece, {}, {"type": "BertPreTokenizer"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}),
    "word_piece_raw": (word_piece, {"max_input_chars_per_word": 100}, {"type": "WhitespaceSplit"},
                       {"type": "WordPiece", "prefix": "##", "cleanup": False}),
    "word_level": (word_level, {}, {"type": "Whitespace"}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MODELS))
def test_models(tmp_path, name):
    make, changes, pre_tokenizer, decoder = MODELS[name]
    model = make(**changes)
    texts = generator(model, name, EXTRA).texts(COUNT)
    parts = {"pre_tokenizer": pre_tokenizer, "decoder": decoder, "extra": EXTRA}
    check(document(model, **parts), texts, tmp_path)
    check(document(model, **parts), texts[: COUNT // 4], tmp_path, add_special=False)


def charsmap():
    """sentencepiece's own NFKC rules, as its models carry them."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=out, vocab_size=1000, hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc", minloglevel=2,
    )  # fmt: skip
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    return base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()


def bert(clean=True, cjk=True, accents=None, lower=True):
    return {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": cjk, "strip_accents": accents,
            "lowercase": lower}  # fmt: skip


def chain(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


NORMALIZERS = {
    **{form: {"type": form} for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "StripAccents", "ByteLevel")},
    "bert": bert(),
    "bert_cased": bert(lower=False),
    "bert_accents": bert(False, False, True, False),
    "bert_lower": bert(False, True, False, True),
    "prepend": {"type": "Prepend", "prepend": "\u2581x"},
    "replace": replace("e", "\u00e9\u00e9"),
    "replace_gone": replace("th", ""),
    "replace_regex": replace(r"\s+", "_", "Regex"),
    "replace_regex_digits": replace(r"[0-9]{2,}", "9", "Regex"),
    "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
    "strip_left": {"type": "Strip", "strip_left": True, "strip_right": False},
    "strip_right": {"type": "Strip", "strip_left": False, "strip_right": True},
    "nfd_strip": chain({"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}),
    "nfkc_spaces": chain({"type": "Nmt"}, {"type": "NFKC"}, replace(" {2,}", " ", "Regex")),
    "llama": chain({"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")),
    "precompiled": {"type": "Precompiled"},
    "t5": chain({"type": "Precompiled"}, {"type": "Strip", "strip_left": False, "strip_right": True},
                replace(" {2,}", "\u2581", "Regex")),
}  # fmt: skip


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_normalizers(tmp_path, name):
    normalizer = json.loads(json.dumps(NORMALIZERS[name]))
    for part in [normalizer, *normalizer.get("normalizers", [])]:
        if part["type"] == "Precompiled":
            part["precompiled_charsmap"] = charsmap()
    model = bpe()
    texts = generator(model, name, EXTRA).texts(COUNT)
    check(document(model, extra=EXTRA, normalizer=normalizer, decoder=PIECES), texts, tmp_path)


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def metaspace(scheme, cut=True, replacement="\u2581"):
    return {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": cut}


def byte_level(regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


PRE_TOKENIZERS = {
    "bert": {"type": "BertPreTokenizer"},
    "delimiter": {"type": "CharDelimiterSplit", "delimiter": "e"},
    "digits": {"type": "Digits", "individual_digits": False},
    "digit": {"type": "Digits", "individual_digits": True},
    "fixed": {"type": "FixedLength", "length": 3},
    **{f"metaspace_{s}_{c}": metaspace(s, c) for s in ("first", "never", "always") for c in (True, False)},
    "metaspace_other": metaspace("first", True, "_"),
    "metaspace_after": sequence({"type": "WhitespaceSplit"}, metaspace("always")),
    "metaspace_first_after": sequence({"type": "Punctuation", "behavior": "Isolated"}, metaspace("first")),
    "metaspace_twice": sequence(metaspace("never", False), metaspace("first")),
    **{f"punctuation_{b}": {"type": "Punctuation", "behavior": b} for b in
       ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")},
    "scripts": {"type": "UnicodeScripts"},
    "scripts_digits": sequence({"type": "UnicodeScripts"}, {"type": "Digits", "individual_digits": True}),
    "whitespace": {"type": "Whitespace"},
    "whitespace_split": {"type": "WhitespaceSplit"},
    "byte_level": byte_level(),
    "byte_level_prefix": byte_level(True, True),
    "byte_level_first": sequence(byte_level(False, True), split("\u0120", "MergedWithNext", False, "String")),
    "byte_level_twice": sequence(byte_level(False), byte_level(True)),
    "split_string": split(" ", "MergedWithPrevious", False, "String"),
    "split_invert": split(r"\p{L}+", "Removed", True),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PRE_TOKENIZERS))
def test_pre_tokenizers(tmp_path, name):
    # With a prefix on every symbol but a word's first, no border between words goes unseen.
    model = bpe(continuing_subword_prefix="##")
    texts = generator(model, name, EXTRA).texts(COUNT)
    parts = {"extra": EXTRA, "pre_tokenizer": PRE_TOKENIZERS[name]}
    check(document(model, **parts), texts, tmp_path)
    normalizer = chain({"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFD"})
    check(document(model, normalizer=normalizer, **parts), texts[: COUNT // 2], tmp_path)


CLS_SEP = {"sep": ["</s>", 3], "cls": ["<s>", 7]}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "</s>", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [7, 5], "tokens": ["<s>", "x"]},
                       "</s>": {"id": "</s>", "ids": [3], "tokens": ["</s>"]}},
}  # fmt: skip


def roberta(trim, prefix):
    return {"type": "RobertaProcessing", "trim_offsets": trim, "add_prefix_space": prefix, **CLS_SEP}


def trimming(trim, prefix):
    return {"type": "ByteLevel", "trim_offsets": trim, "add_prefix_space": prefix, "use_regex": True}


POST_PROCESSORS = {
    "bert": {"type": "BertProcessing", **CLS_SEP},
    **{f"roberta_{t}_{p}": roberta(t, p) for t in (True, False) for p in (True, False)},
    **{f"byte_level_{t}_{p}": trimming(t, p) for t in (True, False) for p in (True, False)},
    "template": TEMPLATE,
    "sequence": {"type": "Sequence", "processors": [trimming(True, True), TEMPLATE, trimming(True, False)]},
}


@pytest.mark.parametrize("name", list(POST_PROCESSORS))
def test_post_processors(tmp_path, name):
    model = bpe()
    texts = generator(model, name, EXTRA).texts(COUNT // 2)
    for pre_tokenizer in (byte_level(True, True), None):
        parts = {"extra": EXTRA, "pre_tokenizer": pre_tokenizer, "post_processor": POST_PROCESSORS[name]}
        check(document(model, **parts), texts, tmp_path)
        check(document(model, **parts), texts[: COUNT // 4], tmp_path, add_special=False)


DECODERS = {
    "none": None,
    "bpe": {"type": "BPEDecoder", "suffix": "e"},
    "byte_fallback": {"type": "ByteFallback"},
    "byte_level": byte_level(),
    "ctc": {"type": "CTC", "pad_token": "<s>", "word_delimiter_token": "e", "cleanup": True},
    "ctc_raw": {"type": "CTC", "pad_token": "t", "word_delimiter_token": "|", "cleanup": False},
    "fuse": {"type": "Fuse"},
    "metaspace": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    "metaspace_never": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": True},
    "replace": replace("th", "T"),
    "replace_regex": replace(r"[aeiou]+", "#", "Regex"),
    "strip": {"type": "Strip", "content": "\u2581", "start": 1, "stop": 0},
    "word_piece": {"type": "WordPiece", "prefix": "t", "cleanup": True},
    "pieces": PIECES,
    "fuse_replace": {"type": "Sequence", "decoders": [{"type": "Fuse"}, replace("the ", "<the>"), replace("\u2581t", "T")]},
    "fuse_strip": {"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "\u2581", "start": 2, "stop": 3}]},
    "metaspace_bytes": {"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}]},
    "fuse_regex": {"type": "Sequence", "decoders": [{"type": "Fuse"}, replace(r"t.e", "#", "Regex")]},
    "byte_level_after": {"type": "Sequence", "decoders": [replace("\u2581", "\u0120"), byte_level()]},
}  # fmt: skip


@pytest.mark.parametrize("name", list(DECODERS))
def test_decoders(tmp_path, name):
    model = bpe()
    path = tmp_path / "tokenizer.json"
    tokens = document(model, extra=EXTRA, decoder=DECODERS[name])
    path.write_text(json.dumps(tokens), encoding="utf-8")
    oracle = Tokenizer.from_str(json.dumps(tokens))
    rng = random.Random(f"{SEED}-{name}")
    most = len(model["vocab"]) + len(EXTRA)
    bytes_ = [model["vocab"][b] for b in BYTES]
    texts = [s.encode() for s in SENTENCES]
    lists = []
    for _ in range(COUNT * 2):
        ids = []
        for _ in range(rng.randint(1, 12)):
            roll = rng.random()
            if roll < 0.2:
                run = rng.choice(texts)
                at = rng.randrange(len(run))
                ids += [bytes_[b] for b in run[at : at + rng.randint(1, 6)]]
            elif roll < 0.3:
                ids += [rng.randrange(most)] * rng.randint(1, 3)
            else:
                ids.append(rng.randrange(most + 2))
        lists.append(ids)
    for ids, reply in zip(lists, probe("json", path, [{"ids": ids} for ids in lists])):
        if any(oracle.id_to_token(i) for i in ids):
            compare_decoding(oracle, ids, reply)


def test_token_bytes(tmp_path):
    """What the grammar engine builds on: the bytes a token adds to a text."""
    model = bpe()
    path = tmp_path / "tokenizer.json"
    decoders = [PIECES, {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, METASPACE]}]
    for decoder in decoders:
        path.write_text(json.dumps(document(model, decoder=decoder)), encoding="utf-8")
        ids = list(model["vocab"].values())
        (reply,) = probe("json", path, [{"token_bytes": [*ids, 10**6]}])
        for token, got in zip(model["vocab"], reply["token_bytes"]):
            want = bytes([BYTES.index(token)]) if token in BYTES else token.replace("\u2581", " ").encode()
            assert bytes.fromhex(got) == want, token
        assert reply["token_bytes"][-1] == ""
    model = word_piece()
    path.write_text(json.dumps(document(model, decoder={"type": "WordPiece", "prefix": "##", "cleanup": False})))
    (reply,) = probe("json", path, [{"token_bytes": list(model["vocab"].values())}])
    for token, got in zip(model["vocab"], reply["token_bytes"]):
        want = token[2:] if token.startswith("##") else " " + token
        assert bytes.fromhex(got) == want.encode(), token
