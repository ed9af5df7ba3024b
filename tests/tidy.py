"""Hygiene of the tree as a test: what a reviewer should never have to say.

    tests/tidy.py              checks every file of the repository, prints one line per finding
    tests/tidy.py --self-test  plants each kind of violation in a scratch tree and expects it found

Uses only the standard library. Rules live in RULES below, one function each.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_COLUMNS = 100
MAX_FILE_LINES = 800
CODE = {".cpp", ".h"}
TEXT = CODE | {".py", ".txt", ".cmake", ".md", ".json", ".yml", ".sh", ".toml", ""}
# Spelled in two halves so that this file does not find itself.
BANNED_WORDS = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]
PRIVATE_WORDS = ["work" + "place", "/wo" + "rk/", "/tmp" + "/w/", "/opt" + "/gv", "/opt" + "/wheels"]
# Lines of money code that may name a floating-point type, because no amount flows through them: latency
# averages, and the text of a ratio on its way to the screen.
FLOAT_ALLOWED = re.compile(r"percent|ratio|_ms\b|seconds")
MAX_BEAST_FILES = 4


class Tree:
    """The files of a repository: those git tracks or would track, else all files below the root."""

    def __init__(self, root):
        self.root = Path(root)
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
        )
        if listed.returncode == 0 and (self.root / ".git").exists():
            names = [name for name in listed.stdout.decode().split("\0") if name]
        else:
            names = [str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()]
        self.names = sorted(name for name in set(names) if (self.root / name).is_file())
        self.text = {}
        for name in self.names:
            if name.startswith("fuzz/corpus/") or "/data/" in name:
                continue
            if os.path.splitext(name)[1] not in TEXT:
                continue
            try:
                self.text[name] = (self.root / name).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue

    def code(self, *folders):
        for name, text in self.text.items():
            if os.path.splitext(name)[1] in CODE and name.split("/")[0] in (folders or ("src",)):
                yield name, text


def lines_of(text):
    return enumerate(text.split("\n"), 1)


def long_lines(tree):
    for name, text in tree.code("src", "tests", "fuzz", "bench"):
        for number, line in lines_of(text):
            if len(line) > MAX_COLUMNS:
                yield name, number, f"{len(line)} columns, at most {MAX_COLUMNS}"
            if line != line.rstrip():
                yield name, number, "space at the end of the line"


def long_files(tree):
    for name, text in tree.text.items():
        if os.path.splitext(name)[1] in CODE | {".py"} and text.count("\n") > MAX_FILE_LINES:
            yield name, 1, f"{text.count(chr(10))} lines, at most {MAX_FILE_LINES}"


def banned_words(tree):
    pattern = re.compile(r"\b(" + "|".join(BANNED_WORDS) + r")\b")
    for name, text in tree.text.items():
        for number, line in lines_of(text):
            if found := pattern.search(line):
                yield name, number, f"'{found.group()}' is no way to leave a file"
            for word in PRIVATE_WORDS:
                if word in line.lower():
                    yield name, number, f"'{word}' belongs to one machine"


CODE_COMMENT = re.compile(
    r"^\s*//\s*(?:"
    r"(?:if|for|while|switch) \(.*\) \{"  # a block that was switched off
    r"|return\b.*;$|[\w:<>\*&\s]+ = .*;$|[\w\.\->:]+\(.*\);$"  # statements end in a semicolon
    r"|#include\b|\}\s*(?:else)?\s*\{?$"
    r")"
)


def commented_out_code(tree):
    for name, text in tree.code("src", "tests", "fuzz", "bench"):
        block = []
        for number, line in lines_of(text):
            if line.lstrip().startswith("//"):
                block.append((number, line))
                continue
            yield from judge_comment(name, block)
            block = []
        if re.search(r"^\s*#if 0\b", text, re.M):
            yield name, 1, "'#if 0': delete the code, git keeps it"


def judge_comment(name, block):
    """One line of code inside a comment of prose is an example; two or more, or a whole comment, are not."""
    hits = [number for number, line in block if CODE_COMMENT.match(line)]
    if hits and (len(hits) == len(block) or len(hits) >= 3):
        yield name, hits[0], "looks like commented-out code"


INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def includes(tree):
    beast = set()
    for name, text in tree.code("src", "tests", "fuzz", "bench"):
        room = name.split("/")[1] if name.startswith("src/") else ""
        for found in INCLUDE.finditer(text):
            number = text.count("\n", 0, found.start()) + 1
            path = found.group(1)
            if ".." in path.split("/"):
                yield name, number, f"'{path}': includes start at a room's root"
            if "/detail/" in path and not path.startswith(room + "/"):
                yield name, number, f"'{path}': another room's detail/"
            if path.startswith("boost/beast"):
                beast.add(name)
                if room != "net":
                    yield name, number, "Beast is for src/net only"
            if path == "sqlite3.h" and room != "store":
                yield name, number, "SQLite is for src/store only"
            if path == "libpq-fe.h" and room != "store":
                yield name, number, "libpq is for src/store only"
            if path.startswith("CLI/") and room != "cli":
                yield name, number, "CLI11 is for src/cli only"
    if len(beast) > MAX_BEAST_FILES:
        yield sorted(beast)[0], 1, f"Beast in {len(beast)} files, at most {MAX_BEAST_FILES}: {sorted(beast)}"
    toml = sorted(n for n, t in tree.code("src", "tests", "fuzz", "bench") if "<toml++/" in t)
    for name in toml[1:]:
        yield name, 1, f"toml++ in a second file; {toml[0]} has it"


def unlisted_sources(tree):
    """Every source is named in the CMakeLists.txt of its folder or of one above it."""
    for name, _ in tree.code("src", "tests", "fuzz", "bench"):
        if not name.endswith(".cpp") and not name.startswith("src/"):
            continue
        folder = os.path.dirname(name)
        base = os.path.basename(name)
        # A fuzz target is listed by its row "NAME room".
        row = re.sub(r"^fuzz_(.+)\.cpp$", r'"\1 ', base) if name.startswith("fuzz/") else base
        parts = folder.split("/")
        lists = ["/".join(parts[:i] + ["CMakeLists.txt"]) for i in range(len(parts), 0, -1)]
        if name.endswith(".h") and not re.search(r"\bHEADERS\b", tree.text.get(lists[0], "")):
            continue
        if name.endswith(".h"):
            continue  # private headers need no listing: the build finds them by their includers
        if not any(base in tree.text.get(path, "") or row in tree.text.get(path, "") for path in lists):
            yield name, 1, f"not listed in {lists[0]}"


def opening_comments(tree):
    for name, text in tree.code("src", "tests", "fuzz", "bench"):
        # The header of the same name speaks for its .cpp file too.
        explained = name.endswith(".cpp") and name[: -len("cpp")] + "h" in tree.text
        if not text.startswith("//") and not explained:
            yield name, 1, "begins without a comment that says what the file is for"
        if name.endswith(".h") and "#pragma once" not in text:
            yield name, 1, "no '#pragma once'"
    for name, text in tree.text.items():
        if name.endswith(".py") and not text.startswith(('"""', "#")):
            yield name, 1, "begins without a docstring"


def float_money(tree):
    pattern = re.compile(r"\b(?:float|double)\b")
    for name, text in tree.code("src"):
        if not name.startswith("src/ledger/") or name.endswith("_test.cpp"):
            continue
        for number, line in lines_of(text):
            code = line.split("//")[0]
            if pattern.search(code) and not FLOAT_ALLOWED.search(code):
                yield name, number, "floating point in money code"


SKIPS = re.compile(
    r"GTEST_" + r"SKIP|\bDISABLED_\w+|pytest\.(?:mark\.)?" + r"(?:skip|skipif|xfail)\b|importor" + r"skip"
)


def skipped_tests(tree):
    for name, text in tree.text.items():
        if not (name.endswith("_test.cpp") or (name.startswith("tests/") and name.endswith(".py"))):
            continue
        for number, line in lines_of(text):
            if found := SKIPS.search(line):
                yield name, number, f"'{found.group()}': a test runs, or it is deleted"


RULES = [
    long_lines,
    long_files,
    banned_words,
    commented_out_code,
    includes,
    unlisted_sources,
    opening_comments,
    float_money,
    skipped_tests,
]


def check(root):
    tree = Tree(root)
    return [
        f"{name}:{number}: {message} [{rule.__name__}]"
        for rule in RULES
        for name, number, message in rule(tree)
    ]


def plant(root, files):
    for name, text in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


CLEAN = {
    "src/a/CMakeLists.txt": "genesis_room(a\n  HEADERS a.h\n  SOURCES a.cpp)\n",
    "src/a/a.h": "// A room for the self-test.\n#pragma once\n",
    "src/a/a.cpp": '// Code of the self-test.\n#include "a/a.h"\n',
}

BEAST = "// Uses Beast.\n#include <boost/beast/core.hpp>\n"

# Each planted violation: the rule that must find it, and the files that hold it.
PLANTED = [
    ("long_lines", {"src/a/a.cpp": "// x\nint a = " + "1 + " * 30 + "1;\n"}),
    ("long_lines", {"src/a/a.cpp": "// x\nint a = 1; \n"}),
    ("long_files", {"src/a/a.cpp": "// x\n" + "\n" * (MAX_FILE_LINES + 1)}),
    ("banned_words", {"src/a/a.cpp": "// " + BANNED_WORDS[0] + ": later\n"}),
    ("banned_words", {"docs/a.md": "see " + PRIVATE_WORDS[1] + "x\n"}),
    ("commented_out_code", {"src/a/a.cpp": "// x\nint b;\n// return compute(a, b);\nint c;\n"}),
    ("commented_out_code", {"src/a/a.cpp": "// x\n#if 0\nint b;\n#endif\n"}),
    ("includes", {"src/a/a.cpp": '// x\n#include "../b/b.h"\n'}),
    ("includes", {"src/a/a.cpp": '// x\n#include "b/detail/b.h"\n'}),
    ("includes", {"src/a/a.cpp": "// x\n#include <sqlite3.h>\n"}),
    ("includes", {"src/a/a.cpp": "// x\n#include <libpq-fe.h>\n"}),
    ("includes", {"src/a/a.cpp": "// x\n#include <CLI/CLI.hpp>\n"}),
    ("includes", {"src/a/a.cpp": BEAST}),
    (
        "includes",
        {"src/net/CMakeLists.txt": "1.cpp 2.cpp 3.cpp 4.cpp 5.cpp"}
        | {f"src/net/{i}.cpp": BEAST for i in range(1, 6)},
    ),
    (
        "includes",
        {
            "src/a/CMakeLists.txt": "a.cpp b.cpp",
            "src/a/a.cpp": "// x\n#include <toml++/toml.h>\n",
            "src/a/b.cpp": "// x\n#include <toml++/toml.h>\n",
        },
    ),
    ("unlisted_sources", {"src/a/orphan.cpp": "// x\n"}),
    ("unlisted_sources", {"fuzz/CMakeLists.txt": '"gguf weights"', "fuzz/fuzz_other.cpp": "// x\n"}),
    ("opening_comments", {"src/a/a.h": "#pragma once\n"}),
    ("opening_comments", {"src/a/a.h": "// x\nint a;\n"}),
    ("opening_comments", {"tests/t.py": "import os\n"}),
    ("float_money", {"src/ledger/CMakeLists.txt": "m.cpp", "src/ledger/m.cpp": "// x\ndouble price;\n"}),
    ("skipped_tests", {"src/a/CMakeLists.txt": "a_test.cpp", "src/a/a_test.cpp": "// x\n  GTEST_" + "SKIP();\n"}),
    ("skipped_tests", {"tests/test_a.py": '"""x"""\n@pytest.mark.' + "skip\n"}),
]


def self_test():
    failures = 0
    for rule, files in [("", {})] + PLANTED:
        with tempfile.TemporaryDirectory() as root:
            plant(root, CLEAN | files)
            found = check(root)
        ok = any(line.endswith(f"[{rule}]") for line in found) if rule else not found
        if not ok:
            failures += 1
            print(f"self-test: {rule or 'the clean tree'}: planted {sorted(files)}, found {found}")
    print(f"{len(PLANTED) + 1} planted trees, {failures} judged wrongly")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    found = check(Path(__file__).resolve().parent.parent)
    for line in found:
        print(line)
    print(f"tidy: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
