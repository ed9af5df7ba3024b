"""Talks to grammar_probe, for the tests of constrained decoding."""

import json
import os
import pathlib
import subprocess


class Probe:
    """One probe process with one vocabulary; a call is one request and its reply."""

    def __init__(self, tokenizer_json):
        binary = pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "grammar_probe"
        self.child = subprocess.Popen(
            [binary, tokenizer_json], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def __call__(self, **request):
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        assert line, f"the probe ended with {self.child.wait()} after {request}"
        return json.loads(line)

    def schema(self, schema, **options):
        return self(kind="schema", source=json.dumps(schema), **options)

    def holds(self, text):
        return self(check=[text])["in"][0]

    def close(self):
        self.child.stdin.close()
        assert self.child.wait() == 0
