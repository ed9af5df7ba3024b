#!/usr/bin/env python3
"""Availability of a gateway in front of three tiers that fail 30 / 5 / 2 % of their requests in eight ways, with
1 % of the streams cut, against the ceiling that independent tiers allow. Half of the requests are streamed.

    bench/availability.py [--requests 100000] [--workers 32] [--seed 1]
"""

import argparse
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness import availability  # noqa: E402
from harness.gateway import Gateway  # noqa: E402
from harness.mock import Mock  # noqa: E402


def percent(value):
    return f"{100 * value:.3f} %"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--requests", type=int, default=100_000)
    arguments.add_argument("--workers", type=int, default=32)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        mocks = {tier: Mock(folder, tier, words=availability.WORDS).start() for tier in availability.SHARES}
        gateway = Gateway(folder / "home", availability.config(mocks, ramp_ms=10_000)).start()
        try:
            report = availability.measure(gateway, mocks, chosen.requests, chosen.workers, chosen.seed)
        finally:
            gateway.kill()
            for mock in mocks.values():
                mock.kill()
    print("| measure | result |\n|---|---|")
    print(f"| available before the first token | {percent(report['before first token'])}, "
          f"ceiling {percent(report['ceiling'])} |")
    print(f"| whole answers | {percent(report['overall'])} |")
    for key in ("first token healthy p99", "first token p99", "first token moved p50", "first token moved p99"):
        print(f"| {key} | {report[key]:.1f} ms |")
    print(f"| extra cost as billed / as booked | {percent(report['extra cost billed'])} / "
          f"{percent(report['extra cost booked'])} |")
    print(f"| served by | {', '.join(f'{name} {count}' for name, count in report['served by'].items())} |")
    print(f"| back on the cheap tier | {report['seconds to cheap tier']} s |")
    print(json.dumps({"measure": "availability", "seed": chosen.seed} | report))


if __name__ == "__main__":
    main()
