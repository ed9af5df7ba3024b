#!/usr/bin/env python3
"""Availability with three tiers that fail 30, 5 and 2 percent of their attempts, in equal parts refused, limited,
broken, silent, wrong and cut; half of the requests streamed; one percent of the last tier's streams cut in the middle.

    bench/availability.py [--requests 100000] [--workers 24] [--seed N]

Prints what was answered before the first token beside the ceiling that the tiers allow if they fail independently,
what was answered in all, and what failing over cost.
"""

import argparse
import concurrent.futures
import json
import pathlib
import random
import statistics
import sys
import tempfile
import threading

import peers

sys.path.insert(0, str(peers.ROOT / "tests"))

from harness.failover import Caller  # noqa: E402
from harness.mock import Mock, answer  # noqa: E402

WORDS = 12
RATES = {"own": 0.30, "managed": 0.05, "commercial": 0.02}
FAULTS = [
    {"fault": "reset"}, {"fault": "close"}, {"fault": "status", "status": 429}, {"fault": "status", "status": 500},
    {"fault": "status", "status": 503}, {"fault": "status", "status": 529}, {"fault": "slow_first", "ms": 5000},
    {"fault": "hang", "ms": 5000}, {"fault": "html"}, {"fault": "error_object", "tokens": 0}, {"fault": "cut", "tokens": 0},
    {"fault": "stall", "tokens": 0, "ms": 5000},
]
CUT = {"fault": "cut", "tokens": WORDS // 2}


def fill(mock, rate, cuts, count, rng):
    """Scripts the next `count` answers of a provider."""
    faults = []
    for _ in range(count):
        draw = rng.random()
        faults.append(rng.choice(FAULTS) if draw < rate else CUT if draw < rate + cuts else {"fault": "answer"})
    mock.script(*faults)


def start_gateway(folder, mocks):
    home = folder / "genesis"
    home.mkdir()
    tiers = {"own": "self_hosted", "managed": "managed", "commercial": "commercial"}
    text = ('[log]\nlevel = "off"\n[server]\nmax_concurrent = 4096\n'
            "[budgets]\nconnect_ms = 500\nfirst_token_ms = 400\nbetween_tokens_ms = 400\ntotal_ms = 20000\n"
            '[commercial]\nmax_share = "100%"\n')
    text = text.replace("", "")
    for name, tier in tiers.items():
        text += (f'[[endpoint]]\nname = "{name}"\ntier = "{tier}"\nurl = "{mocks[name].url}/v1"\nmodel = "m"\n'
                 'price = { input = "1.00", output = "2.00" }\n')
    text += '[[route]]\nname = "auto"\nendpoints = ["own", "managed", "commercial"]\n'
    # Every attempt draws its own fault here, so an endpoint that fails says nothing about its next answer.
    text += "[outlier]\nfailures_in_a_row = 1000\nfailure_percent = 100\n"
    (home / "genesis.toml").write_text(text)
    port = peers.free_port()
    return peers.Server("genesis", [peers.BIN / "genesis", "serve"], f"http://127.0.0.1:{port}/v1", folder,
                        {"GENESIS_HOME": str(home), "GENESIS_HOST": f"127.0.0.1:{port}"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=24)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.requests} requests, {peers.cpu_model()}", flush=True)
    rng = random.Random(args.seed)
    whole = answer(WORDS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        mocks = {name: Mock(folder, name, words=WORDS).start() for name in RATES}
        gateway = start_gateway(folder, mocks)
        gateway.wait("auto")
        for name, rate in RATES.items():
            fill(mocks[name], rate, 0.01 if name == "commercial" else 0.0, 3 * args.requests, rng)
        lock, counts, seconds = threading.Lock(), {"answered": 0, "begun": 0, "lied": 0}, []
        errors = {}

        def work(share):
            for number in share:
                caller = Caller(gateway.base_url, "auto", stream=number % 2 == 0)
                got = caller.ask(limit=30)
                good = got.text == whole and not got.error and bool(got.finish)
                with lock:
                    counts["answered"] += good
                    counts["begun"] += good or bool(got.text)
                    counts["lied"] += bool(got.finish) and not got.error and got.text != whole
                    if not good:
                        errors[got.error[:90]] = errors.get(got.error[:90], 0) + 1
                    seconds.append(got.seconds)

        try:
            with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
                list(pool.map(work, [range(start, args.requests, args.workers) for start in range(args.workers)]))
            attempts = {name: len(mock.journal()) for name, mock in mocks.items()}
        finally:
            gateway.stop()
            for mock in mocks.values():
                mock.kill()
    ceiling = 100 * (1 - RATES["own"] * RATES["managed"] * RATES["commercial"])
    begun = 100 * counts["begun"] / args.requests
    answered = 100 * counts["answered"] / args.requests
    seconds.sort()
    print(f"before the first token {begun:.3f} % (ceiling {ceiling:.3f} %), in all {answered:.3f} %, "
          f"truncated and shown as finished {counts['lied']}")
    print(f"attempts {attempts}; median {1000 * statistics.median(seconds):.1f} ms, p99 {1000 * seconds[int(0.99 * len(seconds))]:.0f} ms")
    for error, count in sorted(errors.items(), key=lambda each: -each[1])[:5]:
        print(f"  {count} x {error}")
    print(json.dumps({"measure": "availability", "requests": args.requests, "begun": round(begun, 4), "answered": round(answered, 4),
                      "ceiling": ceiling, "lied": counts["lied"], "seed": args.seed}))


if __name__ == "__main__":
    main()
