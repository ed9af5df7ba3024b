"""Other gateways, started on this machine in front of the mock upstream, each as its makers document it for
production as far as one machine and no database allow. Used by the gateway benches.

Needs `scripts/setup --peers` once.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("GENESIS_BIN_DIR", ROOT / "build" / "release" / "bin"))
VENV = ROOT / ".venv-peers" / "bin"
NODE_MODULES = ROOT / ".venv-peers" / "node_modules"
START_SECONDS = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_tree(pid):
    """`pid` and everything below it."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += process_tree(int(child))
    return found


def cpu_seconds(pid):
    ticks = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    total = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
    return total / 1024


class Server:
    """A started process with an OpenAI base URL; `headers` go with every request to it."""

    def __init__(self, name, command, base_url, folder, environment=None, headers=None):
        self.name = name
        self.base_url = base_url
        self.headers = headers or {}
        self.log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, **(environment or {})}, cwd=folder)

    @property
    def pid(self):
        return self.process.pid

    def ask(self, model, timeout=30):
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4})
        request = urllib.request.Request(
            self.base_url + "/chat/completions", data=body.encode(),
            headers={"content-type": "application/json", **self.headers})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as got:
            return json.loads(got.read())

    def wait(self, model):
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.ask(model)
            except (OSError, urllib.error.URLError) as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} did not start: {error}; see {self.log.name}") from error
                time.sleep(0.2)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def start_mock(folder, **options):
    arguments = []
    for key, value in options.items():
        arguments += ["--" + key.replace("_", "-"), str(value)]
    mock = subprocess.Popen(
        [BIN / "mock_upstream", "--listen", "127.0.0.1:0", "--journal", os.devnull, *arguments],
        stdout=subprocess.PIPE, text=True)
    mock.url = json.loads(mock.stdout.readline())["url"]
    return mock


def genesis(folder, mock_url, tier="commercial", name="genesis", **more):
    """`more`: further lines of the endpoint's table."""
    home = folder / name
    home.mkdir()
    extra = "\n".join(f"{key} = {value}" for key, value in more.items())
    (home / "genesis.toml").write_text(f'''
[server]
listen = "127.0.0.1:0"
max_concurrent = 20000
[log]
level = "warn"
[[endpoint]]
name = "mock"
tier = "{tier}"
url = "{mock_url}/v1"
model = "mock"
price = {{ input = "2.50", output = "10.00" }}
{extra}
''')
    port = free_port()
    return Server(name, [BIN / "genesis", "serve"], f"http://127.0.0.1:{port}/v1", folder,
                  {"GENESIS_HOME": str(home), "GENESIS_HOST": f"127.0.0.1:{port}"})


def nginx(folder, mock_url):
    """The floor: a plain proxy with kept upstream connections that reads nothing of what it passes on."""
    port = free_port()
    root = folder / "nginx"
    root.mkdir()
    (root / "nginx.conf").write_text(f'''
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;
  fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  upstream mock {{ server {mock_url.removeprefix("http://")}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}''')
    return Server("nginx", ["nginx", "-c", root / "nginx.conf", "-p", root],
                  f"http://127.0.0.1:{port}/v1", folder)


def sglang_router(folder, mock_url):
    port = free_port()
    return Server("sglang-router",
                  [VENV / "sglang-router", "launch", "--host", "127.0.0.1", "--port", port, "--worker-urls",
                   mock_url, "--policy", "round_robin", "--log-level", "error", "--prometheus-port",
                   free_port()],
                  f"http://127.0.0.1:{port}/v1", folder)


def litellm(folder, mock_url):
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(f'''
model_list:
  - model_name: mock
    litellm_params: {{ model: openai/mock, api_base: "{mock_url}/v1", api_key: unused,
                      input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001 }}
litellm_settings: {{ telemetry: false, drop_params: true }}
''')
    return Server("litellm", [VENV / "litellm", "--config", config, "--host", "127.0.0.1", "--port", port,
                              "--num_workers", "1"],
                  f"http://127.0.0.1:{port}/v1", folder,
                  {"LITELLM_LOG": "ERROR", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
                   "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH":
                   f"{VENV}:{os.environ['PATH']}"})


def portkey(folder, mock_url):
    port = free_port()
    return Server("portkey", ["node", NODE_MODULES / "@portkey-ai/gateway/build/start-server.js",
                              f"--port={port}", "--headless"],
                  f"http://127.0.0.1:{port}/v1", folder, {"NODE_ENV": "production"},
                  {"x-portkey-provider": "openai", "x-portkey-custom-host": mock_url + "/v1",
                   "authorization": "Bearer unused"})


def cpu_model():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"
