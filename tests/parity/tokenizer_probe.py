"""Asks text_probe (in GENESIS_BIN_DIR): the requests of a test in, the replies out."""

import json
import os
import pathlib
import subprocess
import threading


def probe(mode, path, requests):
    """The replies to all requests about the tokenizer file at `path`, in order."""
    binary = pathlib.Path(os.environ["GENESIS_BIN_DIR"]) / "text_probe"
    child = subprocess.Popen(
        [binary, mode, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def feed():
        for request in requests:
            child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    replies = [json.loads(line) for line in child.stdout]
    feeder.join()
    errors = child.stderr.read().decode()
    assert child.wait() == 0, errors
    assert len(replies) == len(requests)
    return replies
