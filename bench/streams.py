#!/usr/bin/env python3
"""Event streams through the gateway beside its peers: a mock that sends its first token after 25 ms and one more
every 5 ms; then many streams at once, each word numbered so that lost or reordered ones show.

    bench/streams.py [--rounds 5] [--peers nginx,sglang-router,litellm,portkey] [--idle 10000]

Prints medians: added first-token time with 10 paced streams, what 1,000 streams lost, and for idle streams (one word
a second) the memory of the gateway for each.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import tempfile

import peers

WORDS = 60


def stream(system, streams, opens, words, on_open=None):
    process = subprocess.Popen(
        [peers.BIN / "stream_client", "--url", system.base_url, "--model", "mock", "--streams", str(streams),
         "--opens", str(opens), "--words", str(words),
         "--header", "\n".join(f"{name}: {value}" for name, value in system.headers.items())],
        stdout=subprocess.PIPE, text=True)
    result = {}
    for line in process.stdout:
        if line.strip() == "open":
            if on_open:
                on_open()
        else:
            result = json.loads(line)
    if process.wait() != 0:
        raise RuntimeError(f"stream_client failed against {system.name}")
    return result


class Direct:
    name, headers, pid = "direct", {}, None

    def __init__(self, mock):
        self.base_url = mock.url + "/v1"

    def stop(self):
        pass


def paced(args, folder):
    mock = peers.start_mock(folder, words=WORDS, first_token_ms=25, between_ms=5)
    known = {"nginx": peers.nginx, "sglang-router": peers.sglang_router, "litellm": peers.litellm,
             "portkey": peers.portkey}
    systems = [Direct(mock)]
    try:
        systems.append(peers.genesis(folder, mock.url))
        systems += [known[name](folder, mock.url) for name in args.peers.split(",") if name]
        for system in systems[1:]:
            system.wait("mock")
        rows = {system.name: [] for system in systems}
        for system in systems:
            stream(system, 20, 20, WORDS)
        for _ in range(args.rounds):
            for system in systems:
                rows[system.name].append(stream(system, 60, 20, WORDS))
        base = statistics.median(row["first_p50_ms"] for row in rows["direct"])
        base99 = statistics.median(row["first_p99_ms"] for row in rows["direct"])
        print(f"paced streams (25 ms, then 5 ms), 20 opened a second, medians of {args.rounds} rounds; {peers.cpu_model()}")
        print("| system | added first token p50, ms | p99, ms | between tokens p99, ms | lost or reordered |")
        print("|---|---|---|---|---|")
        for system in systems:
            found = rows[system.name]
            first = statistics.median(row["first_p50_ms"] for row in found) - base
            first99 = statistics.median(row["first_p99_ms"] for row in found) - base99
            gap = statistics.median(row["gap_p99_ms"] for row in found)
            bad = sum(row["failed"] + row["incomplete"] + row["disordered"] for row in found)
            print(f"| {system.name} | {first:.2f} | {first99:.2f} | {gap:.2f} | {bad} |")
            print(json.dumps({"measure": "paced_first_token", "system": system.name, "added_p50_ms": round(first, 3),
                              "added_p99_ms": round(first99, 3), "gap_p99_ms": round(gap, 3), "bad": bad}))
    finally:
        for system in systems:
            system.stop()
        mock.kill()
        mock.wait()


def crowd(folder, streams, opens, words, between_ms, label):
    mock = peers.start_mock(folder, words=words, first_token_ms=between_ms, between_ms=between_ms)
    system = None
    try:
        system = peers.genesis(folder, mock.url, name=label)
        system.wait("mock")
        before, seen = peers.rss_mib(system.pid), {}
        found = stream(system, streams, opens, words, lambda: seen.update(rss=peers.rss_mib(system.pid)))
        each = 1024 * (seen.get("rss", before) - before) / streams
        after = peers.rss_mib(system.pid)
        print(f"{label}: {streams} streams, failed {found['failed']}, incomplete {found['incomplete']}, reordered "
              f"{found['disordered']}, {each:.1f} KiB each, RSS {before:.0f} -> {seen.get('rss', 0):.0f} -> {after:.0f} MiB")
        print(json.dumps({"measure": label, **found, "kib_each": round(each, 1), "rss_after_mib": round(after, 1)}))
    finally:
        if system:
            system.stop()
        mock.kill()
        mock.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default="nginx,sglang-router,litellm,portkey")
    parser.add_argument("--idle", type=int, default=10_000)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The gateway needs two descriptors a stream, and sheds load from 85 % of the connections it may have.
    idle = min(args.idle, int(0.84 * (hard - 256) // 2))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paced(args, folder)
        crowd(folder, 1000, 500, WORDS, 50, "streams_1000")
        if idle < args.idle:
            print(f"this machine allows {hard} descriptors a process: {idle} idle streams instead of {args.idle}")
        crowd(folder, idle, 1500, 20, 1000, "streams_idle")


if __name__ == "__main__":
    main()
