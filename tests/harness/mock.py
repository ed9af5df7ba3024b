"""The mock upstream (tests/mock) as an object."""

import json
import urllib.request

from .process import MOCK_BIN, Process, wait_until

# What the mock answers when nothing limits it; see answer_tokens() in tests/mock/answer.cpp.
WORDS = ["The", "naïve", "fleet", "answered", "every", "call", "日本", "before", "noon", "🚀"]


def answer(tokens):
    return " ".join(f"{WORDS[i % len(WORDS)]}{i}" for i in range(tokens))


class Mock(Process):
    """`options`: words, first_token_ms, between_ms, api_key, listen; None leaves the default."""

    # It does not catch SIGTERM: its journal is on disk already.
    clean_ends = (-15,)

    def __init__(self, folder, name="mock", **options):
        arguments = [MOCK_BIN, "--journal", folder / f"{name}.journal"]
        for key, value in options.items():
            arguments += ["--" + key.replace("_", "-"), value]
        super().__init__(arguments, {}, folder / f"{name}.log")
        self.name = name
        self.words = options.get("words", 60)

    @property
    def url(self):
        return self.ready["url"]

    def _call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as got:
            return json.loads(got.read())

    def script(self, *faults):
        """Each fault: {"fault": "cut", "tokens": 7, ...} or just its name."""
        listed = [{"fault": fault} if isinstance(fault, str) else fault for fault in faults]
        self._call("/__script", {"faults": listed})

    def reset(self):
        self._call("/__reset", {})

    def journal(self):
        return self._call("/__journal")

    def active(self):
        return self._call("/__stats")["active"]

    def settle(self, seconds=20):
        """Waits until every attempt has its line in the journal; returns the journal."""
        wait_until(lambda: self.active() == 0, seconds, f"{self.name} has open attempts")
        return self.journal()
