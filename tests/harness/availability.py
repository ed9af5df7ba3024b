"""Availability under faults: three tiers of one provider each that fail 30 / 5 / 2 % of their requests, with the
faults of the reference (F1 to F8) in equal parts, and 1 % of the streams that begin are cut. Used by
tests/fault/test_availability.py (short) and bench/availability.py (long)."""

import asyncio
import time

from . import traffic
from .books import billed, ledger_rows
from .gateway import make_config, paid
from .mock import answer

WORDS = 12
WHOLE = answer(WORDS)
SHARES = {"own": 0.30, "managed": 0.05, "commercial": 0.02}
TIERS = {"own": "self_hosted", "managed": "managed", "commercial": "commercial"}
CUT_SHARE = 0.01
FIRST_TOKEN_MS = 400
# One before-the-first-token fault for each of F1 to F8 of the reference.
FAULTS = [
    {"fault": "reset"},  # F1: no connection
    {"fault": "status", "status": 503},  # F2: refused
    {"fault": "slow_first", "ms": 60_000},  # F3: head, then nothing
    {"fault": "cut_reset", "tokens": 0},  # F4: reset, here right after the head
    {"fault": "invalid_json", "tokens": 0},  # F5: garbage in the stream
    {"fault": "early_done", "tokens": 0},  # F6: an end before the beginning
    {"fault": "html"},  # F7: 200 with a page
    {"fault": "hang", "ms": 60_000},  # F8: nothing at all, slower than any budget
]
BUDGETS = {"connect_ms": 1000, "first_token_ms": FIRST_TOKEN_MS, "between_tokens_ms": 2000, "total_ms": 20_000}


def ceiling():
    """Of tiers that fail independently of each other, before the first token."""
    product = 1.0
    for share in SHARES.values():
        product *= share
    return 1 - product


def config(mocks, ramp_ms=2000):
    endpoints = [paid(mocks[name], name, tier=tier, budgets=BUDGETS) for name, tier in TIERS.items()]
    return make_config(endpoints, outlier={"ramp_ms": ramp_ms}, log={"level": "error"},
                       server={"max_concurrent": 4096})  # fmt: skip


def break_tiers(mocks, seed):
    for number, (name, share) in enumerate(SHARES.items()):
        each = round(10_000 * share / len(FAULTS))
        faults = [fault | {"share": each} for fault in FAULTS]
        faults.append({"fault": "cut", "tokens": 6, "share": round(10_000 * CUT_SHARE)})
        mocks[name]._call("/__script", {"faults": faults, "seed": seed + number})


def extra(all_amounts):
    """What was paid beside the delivered answers, as a share of them; of (amount, delivered)."""
    delivered = sum(amount for amount, was_delivered in all_amounts if was_delivered)
    return sum(amount for amount, was_delivered in all_amounts if not was_delivered) / delivered


def extra_cost(gateway, mocks):
    """(as the providers bill it, as the ledger booked it: what an attempt may have cost when that is not known)"""
    lines = [line for mock in mocks.values() for line in mock.journal()]
    rows = [row for row in ledger_rows(gateway) if row["kind"] in ("post", "unconfirmed")]
    return (
        extra([(billed(line), line["outcome"] == "completed") for line in lines]),
        extra([(row["amount_nano"], row["delivered"]) for row in rows]),
    )


def measure(gateway, mocks, requests, clients, seed):
    """Runs the traffic, then heals the tiers; a report as a dict. Latencies in milliseconds."""
    healthy = asyncio.run(traffic.load(gateway.port, WHOLE, min(500, requests), clients))
    assert all(call.outcome == "whole" for call in healthy)
    break_tiers(mocks, seed)
    begin = time.monotonic()
    calls = asyncio.run(traffic.load(gateway.port, WHOLE, requests, clients))
    seconds = time.monotonic() - begin
    for mock in mocks.values():
        mock.reset()
    back = time_to_cheap(gateway)
    outcomes = {each: sum(call.outcome == each for call in calls) for each in
                ("whole", "refused", "cut", "wrong", "lost")}
    failed_before = outcomes["refused"] + outcomes["lost"]
    bill, books = extra_cost(gateway, mocks)
    moved = [1000 * call.first for call in calls if call.first >= 0 and call.stream and call.endpoint != "own"]
    return {
        "requests": requests,
        "seconds": round(seconds, 1),
        "ceiling": ceiling(),
        "before first token": 1 - failed_before / requests,
        "overall": outcomes["whole"] / requests,
        "outcomes": outcomes,
        "first token healthy p99": 1000 * traffic.quantile([c.first for c in healthy if c.stream], 0.99),
        "first token p99": 1000 * traffic.quantile([c.first for c in calls if c.first >= 0 and c.stream], 0.99),
        "first token moved p50": traffic.quantile(moved, 0.5),
        "first token moved p99": traffic.quantile(moved, 0.99),
        "extra cost billed": bill,
        "extra cost booked": books,
        "served by": {name: sum(call.endpoint == name for call in calls) for name in SHARES},
        "seconds to cheap tier": back,
    }


def time_to_cheap(gateway, seconds=60):
    """Seconds until nine of ten requests are answered by the cheap tier again."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        calls = asyncio.run(traffic.load(gateway.port, WHOLE, 20, 2, rate=20))
        if sum(call.endpoint == "own" for call in calls) >= 18:
            return round(time.monotonic() - begin, 1)
    return None
