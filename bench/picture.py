#!/usr/bin/env python3
"""Draws the JSON lines of bench/engine.py as bars, one group a measure: how each peer does where Genesis is 1.

    bench/engine.py --model model.gguf | tee results.jsonl
    bench/picture.py results.jsonl > docs/engine.svg
"""

import html
import json
import pathlib
import sys

COLOURS = {"genesis": "#2563eb", "llama-server": "#f59e0b", "openvino-genai": "#7c3aed", "ctranslate2": "#10b981",
           "transformers": "#94a3b8"}
WIDTH, LABEL, BAR, GAP, TOP = 820, 210, 14, 16, 56


def bars(row):
    """(engine, speed relative to Genesis, its own figure), best first; for seconds and MiB less is faster."""
    less = row["unit"] in ("s", "MiB")
    ours = row["genesis"]
    every = row.get("all", {"genesis": ours})
    return sorted(((e, ours / v if less else v / ours, v) for e, v in every.items()), key=lambda b: -b[1])


def text(x, y, words, anchor="start", size=12, colour="#334155"):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{html.escape(words)}</text>'


def draw(rows):
    most = max(b[1] for row in rows for b in bars(row))
    scale = (WIDTH - LABEL - 210) / most
    y, parts = TOP, []
    for row in rows:
        parts.append(text(LABEL - 10, y + 12, f'{row["measure"]} ({row["unit"]})', "end", 13, "#0f172a"))
        for engine, relative, figure in bars(row):
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{max(relative * scale, 1):.1f}" height="{BAR - 2}" '
                         f'fill="{COLOURS.get(engine, "#64748b")}"/>')
            parts.append(text(LABEL + relative * scale + 6, y + 10, f"{engine} {figure:g}", size=11))
            y += BAR
        y += GAP
    first = rows[0]
    title = f'Bars: speed, Genesis = 1; longer is better. {first["threads"]} threads, {first["cpu"]}, {first["isa"]}'
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>')
    return "\n".join([head, text(LABEL, 28, title, size=13), *parts, "</svg>"])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    # Those in "x" compare an engine with itself.
    rows = [row for row in rows if row["unit"] != "x"]
    if not rows:
        sys.exit(f"{sys.argv[1]}: no measure in it")
    print(draw(rows))


if __name__ == "__main__":
    main()
