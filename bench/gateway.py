#!/usr/bin/env python3
"""What a gateway adds to a call, beside its peers, in one run on one machine: the same requests straight to a
mock upstream and through Genesis (durable ledger on), nginx, sglang-router, the LiteLLM proxy and Portkey.
Rounds alternate between the systems; medians are printed, then one JSON line for each system.

    bench/gateway.py [--rounds 5] [--rate 1000] [--seconds 4] [--peers nginx,sglang-router,litellm,portkey]

Ceiling: closed loop, 32 connections, wrk. Latency: open loop at --rate, or at 40 % of its own ceiling for a peer
that cannot carry that rate. CPU counts the whole process tree. Load generator and mock share the cores.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

import peers

BODY_BYTES = 1024
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
%s
wrk.body = '{"model":"mock","messages":[{"role":"user","content":"' .. string.rep("word ", %d) .. '"}],"max_tokens":16}'
"""


class Direct:
    """The mock itself: what is subtracted from everybody's figures."""

    name, headers, pid = "direct", {}, None

    def __init__(self, mock):
        self.base_url = mock.url + "/v1"

    def stop(self):
        pass


def ceiling(system, folder, seconds):
    script = folder / f"{system.name}.lua"
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in system.headers.items())
    script.write_text(LUA % (headers, BODY_BYTES // 5))
    before = peers.cpu_seconds(system.pid) if system.pid else 0.0
    out = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script,
                          system.base_url + "/chat/completions"],
                         check=True, capture_output=True, text=True).stdout
    used = (peers.cpu_seconds(system.pid) if system.pid else 0.0) - before
    requests = int(out.split(" requests in ")[0].rsplit("\n", 1)[1])
    rate = float(out.split("Requests/sec:")[1].split()[0])
    failed = int(out.split("Non-2xx or 3xx responses: ")[1].split()[0]) if "Non-2xx" in out else 0
    return {"ceiling": rate, "ceiling_failed": failed, "cpu_us": 1e6 * used / max(1, requests)}


def paced(system, rate, seconds):
    requests = int(rate * seconds)
    out = subprocess.run(
        [peers.BIN / "load_client", "--url", system.base_url, "--model", "mock", "--rate", str(int(rate)),
         "--requests", str(requests), "--bytes", str(BODY_BYTES),
         "--header", "\n".join(f"{name}: {value}" for name, value in system.headers.items())],
        check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def start_all(args, folder, mock):
    systems = [Direct(mock)]
    try:
        systems.append(peers.genesis(folder, mock.url, "commercial", "genesis-paid", always_stream="false"))
        systems.append(peers.genesis(folder, mock.url, "self_hosted", "genesis-own", always_stream="false"))
        systems.append(peers.genesis(folder, mock.url, "commercial", "genesis-streamed"))
        known = {"nginx": peers.nginx, "sglang-router": peers.sglang_router, "litellm": peers.litellm,
                 "portkey": peers.portkey}
        systems += [known[name](folder, mock.url) for name in args.peers.split(",") if name]
        for system in systems[1:]:
            system.wait("mock")
    except BaseException:
        for system in systems:
            system.stop()
        raise
    return systems


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def measure(args, folder, systems):
    rows = {system.name: [] for system in systems}
    for system in systems:
        ceiling(system, folder, 1)  # warm
    for _ in range(args.rounds):
        for system in systems:
            rows[system.name].append(ceiling(system, folder, args.seconds))
    rates = {name: min(args.rate, 0.4 * median(found, "ceiling")) for name, found in rows.items()}
    for round_number in range(args.rounds):
        for system in systems:
            rate = rates[system.name]
            base = paced(systems[0], rate, args.seconds)
            got = base if system is systems[0] else paced(system, rate, args.seconds)
            rows[system.name][round_number] |= {
                "rate": rate, "failed": got["failed"], "p50": got["p50_ms"], "p99": got["p99_ms"],
                "added_p50": got["p50_ms"] - base["p50_ms"], "added_p99": got["p99_ms"] - base["p99_ms"]}
    return rows


def report(args, systems, rows):
    print(f"1 KiB chat, not streamed by the client, medians of {args.rounds} rounds; {peers.cpu_model()}, 2 shared cores")
    print("| system | ceiling, requests/s | CPU, us a request | at requests/s | added p50, ms | added p99, ms | RSS, MiB |")
    print("|---|---|---|---|---|---|---|")
    lines = []
    for system in systems:
        found = rows[system.name]
        line = {key: round(median(found, key), 3) for key in found[0]}
        line |= {"measure": "gateway", "system": system.name,
                 "rss_mib": round(peers.rss_mib(system.pid), 1) if system.pid else 0.0, "cpu": peers.cpu_model()}
        lines.append(line)
        print(f"| {system.name} | {line['ceiling']:.0f} | {line['cpu_us']:.0f} | {line['rate']:.0f} "
              f"| {line['added_p50']:.2f} | {line['added_p99']:.2f} | {line['rss_mib']:.0f} |")
    for line in lines:
        print(json.dumps(line))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--peers", default="nginx,sglang-router,litellm,portkey")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        mock = peers.start_mock(folder, words=16)
        try:
            systems = start_all(args, folder, mock)
            try:
                report(args, systems, measure(args, folder, systems))
            finally:
                for system in systems:
                    system.stop()
        finally:
            mock.kill()
            mock.wait()


if __name__ == "__main__":
    main()
