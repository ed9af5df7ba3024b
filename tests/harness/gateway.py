"""A `genesis serve` with a home of its own, and the command line on that home."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request

from . import canary
from .process import BIN, Process, tail, wait_until

MODEL = "smollm2-135m-instruct"
# What a child needs to run at all; nothing else of the caller's environment gets in.
PASSED = ("PATH", "LANG", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH")
# The key of every paid() endpoint, searched in all outputs at the end.
CANARY = {"GENESIS_CANARY_KEY": canary.PROVIDER_KEY}
NETWORK = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
)


def quote(value):
    return json.dumps(value, ensure_ascii=False)


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, int):
        return str(value)
    return quote(value)


def make_config(endpoints=(), routes=(), agents=(), budget=(), adapters=(), **sections):
    """genesis.toml from values: make_config([{...}], server={"max_concurrent": 4}).

    Most tests are about something else than the cap on the commercial tier, so there is none unless given."""
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]"] + [f"{key} = {toml_value(value)}" for key, value in keys.items()]
    kinds = {"endpoint": endpoints, "adapter": adapters, "route": routes, "agent": agents, "budget": budget}
    for kind, tables in kinds.items():
        for table in tables:
            lines += [f"[[{kind}]]"] + [f"{key} = {toml_value(value)}" for key, value in table.items()]
    if "commercial" not in sections:
        lines += ["[commercial]", 'max_share = "100%"']
    return "\n".join(lines) + "\n"


# Budgets short enough for tests, long enough for a busy machine.
BUDGETS = {"connect_ms": 1000, "first_token_ms": 1500, "between_tokens_ms": 1500, "total_ms": 20000}
PRICE = {"input": "2.50", "output": "10.00"}


def paid(mock, name=None, model=None, **more):
    """An [[endpoint]] for a mock upstream with a price, the commercial tier unless told otherwise."""
    name = name or mock.name
    return {
        "name": name,
        "kind": "url",
        "tier": "commercial",
        "url": mock.url + "/v1",
        "model": model or f"{name}-model",
        "price": dict(PRICE),
        "budgets": dict(BUDGETS),
        "api_key": {"env": "GENESIS_CANARY_KEY"},
    } | more


def local(**more):
    return {"name": "local", "kind": "local", "model": MODEL} | more


def base_environment(home, network=False):
    environment = {key: os.environ[key] for key in PASSED if key in os.environ}
    if network:
        environment |= {key: os.environ[key] for key in NETWORK if key in os.environ}
    return environment | {"HOME": str(home), "GENESIS_HOME": str(home), "GENESIS_HOST": "127.0.0.1:0"} | CANARY


def run_cli(home, *arguments, environment=None, network=False, stdin="", timeout=120, check=False):
    """Runs `genesis ARGUMENTS` on a home. Output is text; a terminal is never involved."""
    done = subprocess.run(
        [str(BIN), *map(str, arguments)],
        env=base_environment(home, network) | (environment or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check:
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


class Gateway(Process):
    """`genesis serve` on a free port. `home` holds its whole state."""

    def __init__(self, home, config="", arguments=(), environment=None):
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        if config:
            (home / "genesis.toml").write_text(config, encoding="utf-8")
        merged = base_environment(home) | (environment or {})
        self.secrets = [canary.PROVIDER_KEY]
        self.outputs = []
        super().__init__([BIN, "serve", *arguments], merged, home / "serve.log")

    def start(self):
        super().start()
        if self.ready.get("admin_key"):
            self.secrets.append(canary.private_part(self.ready["admin_key"]))
        return self

    def check_end(self):
        """Beside a clean end: no secret in anything that was logged, answered or stored."""
        super().check_end()
        if self.popen is None:
            return
        # The pepper of the keys and the configuration are where secrets and their names belong.
        kept = [path for path in self.home.glob("data/**/*") if path.is_file()]
        kept += [path for path in self.home.glob("*") if path.is_file() and path.suffix != ".toml"]
        for path in kept:
            found = canary.hits(self.secrets, path.read_bytes())
            assert not found, f"{path}: {found}\n{tail(self.log)}"
        for text in self.outputs:
            found = canary.hits(self.secrets, text)
            assert not found, f"an answer: {found}: {text[:2000]!r}"

    @property
    def url(self):
        return self.ready["url"]

    @property
    def base_url(self):
        return self.ready["base_url"]

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def cli(self, *arguments, **options):
        return run_cli(self.home, *arguments, **options)

    def cli_json(self, *arguments, **options):
        return json.loads(self.cli(*arguments, "--json", check=True, **options).stdout)

    def make_key(self, *arguments):
        """`genesis key create`; returns once the running gateway knows the new key."""
        made = self.cli_json("key", "create", *arguments)
        self.secrets.append(canary.private_part(made["key"]))
        bearer = {"Authorization": f"Bearer {made['key']}"}
        wait_until(
            lambda: self.http("GET", "/v1/models", headers=bearer)[0] == 200, 5, "the new key is known"
        )
        return made

    def engine_pid(self):
        """The process id of the first engine that runs now, or None."""
        for engine in listing(self.cli_json("ps")):
            if engine.get("pid"):
                return engine["pid"]
        return None

    def http(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers in lower case, text) of one request; an error status is an answer, too."""
        status, fields, text = self._http(method, path, body, headers, timeout)
        self.outputs.append(f"{fields}\n{text}".encode())
        return status, fields, text

    def _http(self, method, path, body, headers, timeout):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as got:
                return got.status, lower(got.headers), got.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, lower(error.headers), error.read().decode()

    def metric(self, name):
        """The sum of one metric's series, or None when it is not there."""
        _, _, text = self.http("GET", "/metrics")
        values = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? ([-+0-9.eE]+)$", text, re.M)
        return sum(map(float, values)) if values else None

    def wait_engine(self, seconds=30):
        """Waits until the local engine is ready; returns its process id."""

        def ready():
            rows = listing(self.cli_json("ps"))
            return rows and rows[0]["state"] == "ready" and rows[0]["pid"]

        return wait_until(ready, seconds, "the engine is ready")


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def listing(document):
    """The rows of a `--json` listing, wherever the document keeps them."""
    if isinstance(document, list):
        return document
    for value in document.values():
        if isinstance(value, list):
            return value
    return []
