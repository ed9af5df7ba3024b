"""One `genesis engine` process, and the requests that the parity programs send to it."""

import json
import pathlib
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from harness.process import BIN, Process


class EngineProcess(Process):
    """`genesis engine` on a free port of the loopback address."""

    def __init__(self, model, folder, *arguments):
        folder = pathlib.Path(folder)
        environment = {"PATH": "/usr/bin:/bin", "GENESIS_HOME": str(folder), "HOME": str(folder)}
        command = [BIN, "engine", "--model", model, "--name", "model", "--listen", "127.0.0.1:0", *arguments]
        super().__init__(command, environment, folder / "engine.log")

    @property
    def url(self):
        listen = self.ready["listen"]
        return listen if listen.startswith("http") else f"http://{listen}"

    def post(self, path, body, timeout=600):
        """(status, document) of a JSON request."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def post_all(self, path, bodies, at_once=16):
        """The answers to all bodies, in order, `at_once` of them at a time."""
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda body: self.post(path, body), bodies))
