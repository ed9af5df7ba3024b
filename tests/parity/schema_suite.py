"""The JSON Schema Test Suite through the grammar engine; not a test, a report.

    GENESIS_BIN_DIR=build/release/bin tests/parity/schema_suite.py TOKENIZER.json [SUITE] [DRAFT ..]

SUITE is a folder with draft2020-12 and others in it, as json/tests of the source archive of the
`jsonschema` package; without it that archive is downloaded with pip. Ends with 1 if a text is
accepted that the suite calls invalid. Texts that the suite calls valid and a grammar does not
generate are counted: other spellings of the same value, members in another order.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from grammar_client import Probe


def download(folder):
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder]
    subprocess.run([*command, "jsonschema==4.26.0"], check=True)
    archive = next(pathlib.Path(folder).glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return next(pathlib.Path(folder).glob("jsonschema-*/json/tests"))


def run(probe, suite, draft):
    count = collections.Counter()
    refused = collections.Counter()
    wrong = []
    files = sorted((suite / draft).glob("*.json")) + sorted((suite / draft).glob("optional/format/*.json"))
    for path in files:
        for group in json.loads(path.read_text(encoding="utf-8")):
            count["schemas"] += 1
            reply = probe.schema(group["schema"])
            if "error" in reply:
                count["refused by name" if reply["code"] == "unsupported" else "without any text"] += 1
                refused[reply["error"].split("'")[1] if "'" in reply["error"] else reply["error"]] += 1
                continue
            count["compiled"] += 1
            for test in group["tests"]:
                text = json.dumps(test["data"], ensure_ascii=False)
                held = probe.holds(text)
                kind = "right" if held == test["valid"] else "false accepts" if held else "not generated"
                count[kind] += 1
                if kind == "false accepts":
                    wrong.append(f"{path.name}: {group['description']}: {test['description']}: {text[:80]}")
    print(f"{draft}: " + ", ".join(f"{name} {number}" for name, number in count.items()))
    print("  refused: " + ", ".join(f"{name} {number}" for name, number in refused.most_common(20)))
    for line in wrong:
        print(f"  accepted: {line}")
    return len(wrong)


def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        suite = pathlib.Path(arguments[1]) if len(arguments) > 1 else download(folder)
        probe = Probe(arguments[0])
        drafts = arguments[2:] or ["draft2020-12", "draft7"]
        return 1 if sum(run(probe, suite, draft) for draft in drafts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
