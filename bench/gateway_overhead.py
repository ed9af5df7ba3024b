#!/usr/bin/env python3
"""What the gateway adds to a call: the same requests straight to a mock upstream and through
`genesis serve` with its durable ledger, alternating, several rounds; prints medians and one JSON line.

    bench/gateway_overhead.py [--rate 200] [--requests 2000] [--rounds 5]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build" / "release" / "bin"


def cpu_model():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def load(url, model, args):
    out = subprocess.run(
        [BIN / "load_client", "--url", url, "--model", model, "--rate", str(args.rate),
         "--requests", str(args.requests), "--bytes", "1024"],
        check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def start_mock():
    mock = subprocess.Popen([BIN / "mock_upstream", "--listen", "127.0.0.1:0", "--journal", os.devnull],
                            stdout=subprocess.PIPE, text=True)
    return mock, json.loads(mock.stdout.readline())["url"]


def start_gateway(home, mock_url):
    (home / "genesis.toml").write_text(f'''
[server]
listen = "127.0.0.1:0"
[log]
level = "warn"
[[endpoint]]
name = "mock"
url = "{mock_url}/v1"
model = "mock"
price = {{ input = "2.50", output = "10.00" }}
''')
    gateway = subprocess.Popen([BIN / "genesis", "serve"], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "GENESIS_HOME": str(home)})
    return gateway, json.loads(gateway.stdout.readline())["base_url"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mock, mock_url = start_mock()
        gateway, base_url = start_gateway(pathlib.Path(folder), mock_url)
        try:
            report(args, mock_url, base_url, gateway.pid)
        finally:
            gateway.terminate()
            gateway.wait()
            mock.terminate()
            mock.wait()


def report(args, mock_url, base_url, pid):
    load(base_url, "mock", argparse.Namespace(rate=args.rate, requests=200))
    rows = []
    for _ in range(args.rounds):
        direct = load(mock_url + "/v1", "mock", args)
        before = cpu_seconds(pid)
        through = load(base_url, "mock", args)
        rows.append({
            "direct_p50": direct["p50_ms"], "direct_p99": direct["p99_ms"],
            "through_p50": through["p50_ms"], "through_p99": through["p99_ms"],
            "added_p50": through["p50_ms"] - direct["p50_ms"],
            "added_p99": through["p99_ms"] - direct["p99_ms"],
            "cpu_s_per_1000": 1000 * (cpu_seconds(pid) - before) / args.requests,
            "failed": direct["failed"] + through["failed"],
        })
        time.sleep(0.2)
    median = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    median.update(rate=args.rate, rounds=args.rounds, rss_mib=round(rss_mib(pid), 1), cpu=cpu_model())
    print(f"gateway overhead at {args.rate} requests/s, 1 KiB chat, durable ledger, medians of {args.rounds} rounds")
    for name in ("direct", "through", "added"):
        print(f"  {name:8} p50 {median[name + '_p50']:.3f} ms   p99 {median[name + '_p99']:.3f} ms")
    print(f"  CPU per 1,000 requests {median['cpu_s_per_1000']:.3f} s, RSS {median['rss_mib']} MiB, failed {median['failed']}")
    print(json.dumps(median))


if __name__ == "__main__":
    sys.exit(main())
