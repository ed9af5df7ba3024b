"""What the template tests share: our engine (text_probe) behind a pipe, and the oracle's clock."""

import datetime
import json
import os
import pathlib
import subprocess

# 2026-03-09 14:05:06 UTC, a Monday: one digit where a format may pad.
NOW = 1773065106


class Probe:
    """text_probe with one template loaded."""

    def __init__(self, source, folder):
        path = pathlib.Path(folder) / "template.jinja"
        path.write_bytes(source.encode())
        binary = pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "text_probe"
        self.child = subprocess.Popen(
            [binary, "template", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TZ": "UTC"},
        )

    def ask(self, request):
        self.child.stdin.write(json.dumps(request).encode() + b"\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"text_probe ended: {self.child.stderr.read().decode()}")
        return json.loads(line)

    def render(self, messages, tools, prompt, extra, **more):
        """`more`: client (the client's variables), mark_assistant, end_tokens, mentions, uses."""
        if "client" in more:
            more["client"] = json.dumps(more["client"])
        return self.ask({
            "messages": json.dumps(messages), "add_generation_prompt": prompt, "now": NOW,
            "tools": "" if tools is None else json.dumps(tools), "extra": json.dumps(extra), **more,
        })  # fmt: skip

    def close(self):
        self.child.stdin.close()
        self.child.stdout.close()
        errors = self.child.stderr.read().decode()
        self.child.stderr.close()
        assert self.child.wait() == 0, errors


class FixedDatetime(datetime.datetime):
    """Stands in for `datetime` where the oracle asks what time it is."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)
