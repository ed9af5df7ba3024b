#!/usr/bin/env python3
"""The sixteen fault scenarios of failoverbench at full length against Genesis, the LiteLLM proxy and Portkey, in one
run, with the same budget for all: up to two retries, 30 s for a request or a silent stream, one fallback.

    bench/failover.py [--systems genesis,litellm,portkey] [--only S08,S09]

Needs `scripts/setup --peers`. Takes about ten minutes; prints one markdown table and one JSON line for each system.
"""

import argparse
import concurrent.futures
import json
import pathlib
import sys
import tempfile

import peers

sys.path.insert(0, str(peers.ROOT / "tests"))

from harness.failover import BETWEEN_MS, SCENARIOS, Caller, Stage, play  # noqa: E402
from harness.mock import Mock  # noqa: E402


def start_genesis(folder, url):
    home = folder / "genesis"
    home.mkdir()
    endpoint = '[[endpoint]]\nname = "{0}"\ntier = "managed"\nurl = "{1}/v1"\nmodel = "{0}"\ncontext = {2}\nprice = {{ input = "1.00", output = "2.00" }}\n'
    (home / "genesis.toml").write_text(
        '[log]\nlevel = "error"\n' + endpoint.format("primary", url, 8192) + endpoint.format("fallback", url, 131072)
        + '[[route]]\nname = "auto"\nendpoints = ["primary", "fallback"]\n'
        + "[budgets]\nfirst_token_ms = 10000\nbetween_tokens_ms = 10000\ntotal_ms = 90000\n")
    port = peers.free_port()
    server = peers.Server("genesis", [peers.BIN / "genesis", "serve"], f"http://127.0.0.1:{port}/v1", folder,
                          {"GENESIS_HOME": str(home), "GENESIS_HOST": f"127.0.0.1:{port}"})
    return server, Caller(server.base_url, "auto"), "auto"


def start_litellm(folder, url):
    port = peers.free_port()
    config = folder / "litellm.yaml"
    model = '  - model_name: {0}\n    litellm_params: {{ model: openai/{0}, api_base: "{1}/v1", api_key: unused, timeout: 30, stream_timeout: 30 }}\n'
    config.write_text(
        "model_list:\n" + model.format("primary", url) + model.format("fallback", url)
        + "router_settings: { num_retries: 2, timeout: 30, fallbacks: [{ primary: [fallback] }], "
          "context_window_fallbacks: [{ primary: [fallback] }] }\n"
        + "litellm_settings: { telemetry: false, request_timeout: 30 }\n")
    server = peers.Server(
        "litellm", [peers.VENV / "litellm", "--config", config, "--host", "127.0.0.1", "--port", port],
        f"http://127.0.0.1:{port}/v1", folder,
        {"LITELLM_LOG": "ERROR", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
         "LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    return server, Caller(server.base_url, "primary"), "primary"


def start_portkey(folder, url):
    port = peers.free_port()
    target = lambda model: {"provider": "openai", "custom_host": url + "/v1", "api_key": "unused",  # noqa: E731
                            "override_params": {"model": model}}
    config = {"strategy": {"mode": "fallback"}, "request_timeout": 30_000, "retry": {"attempts": 2},
              "targets": [target("primary"), target("fallback")]}
    headers = {"x-portkey-config": json.dumps(config), "authorization": "Bearer unused"}
    server = peers.Server(
        "portkey", ["node", peers.NODE_MODULES / "@portkey-ai/gateway/build/start-server.js", f"--port={port}", "--headless"],
        f"http://127.0.0.1:{port}/v1", folder, {"NODE_ENV": "production"}, headers)
    # Portkey 1.15.2 answers every stream with a 500 on Node 20 (TypeError: immutable, from appending a header to the
    # upstream's response), so it is asked for whole answers: the faults within a stream become faults within a body.
    return server, Caller(server.base_url, "primary", headers, stream=False), "primary"


START = {"genesis": start_genesis, "litellm": start_litellm, "portkey": start_portkey}


def run(name, wanted):
    """Every scenario against one system, which has a provider of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        verdicts = {}
        for scenario in wanted:
            # A fresh provider and gateway each, so that no scenario inherits another's cool-down.
            place = folder / scenario
            place.mkdir()
            provider = Mock(place, "provider", words=60, between_ms=BETWEEN_MS).start()
            server, caller, model = START[name](place, provider.url)
            try:
                server.wait(model)
                verdicts[scenario] = play(Stage(provider, caller), scenario)
            except Exception as error:  # noqa: BLE001 - one broken start must not end the table
                verdicts[scenario] = ("fail", f"{type(error).__name__}: {error}"[:120])
            finally:
                server.stop()
                provider.kill()
            print(name, scenario, *verdicts[scenario], file=sys.stderr, flush=True)
        return name, verdicts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="genesis,litellm,portkey")
    parser.add_argument("--only", default=",".join(SCENARIOS))
    args = parser.parse_args()
    systems, wanted = args.systems.split(","), args.only.split(",")
    # Side by side: the scenarios are waiting, not work, and each system has its own provider.
    with concurrent.futures.ThreadPoolExecutor(len(systems)) as pool:
        found = dict(pool.map(lambda name: run(name, wanted), systems))
    print("| scenario | " + " | ".join(systems) + " |")
    print("|---|" + "---|" * len(systems))
    for scenario in wanted:
        what = SCENARIOS[scenario].__doc__.strip()
        cells = [f"{found[name][scenario][0]} {('(' + found[name][scenario][1] + ')') if found[name][scenario][1] else ''}".strip()
                 for name in systems]
        print(f"| {scenario} {what} | " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    for name in systems:
        counts = {verdict: sum(each[0] == verdict for each in found[name].values()) for verdict in ("pass", "partial", "safe", "fail")}
        print(json.dumps({"measure": "failover", "system": name, **counts}))


if __name__ == "__main__":
    main()
