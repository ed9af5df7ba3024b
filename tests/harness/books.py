"""Compares the ledger with the journals of the mock upstreams: the oracle for money.

A row of `genesis ledger ls --json` has {"request_id", "attempt", "kind", "endpoint", "usage": {"input",
"output", ...}, "amount_nano", "delivered", "note"}. Each attempt is one `reserve` row and one that closes
it: `post`, `void`, `unconfirmed` (open when the process died) or `quarantine` (price unknown).
"""

import time
from collections import Counter, defaultdict

# The price that harness.gateway.paid() configures, in nano-USD per token.
INPUT_NANO = 2_500
OUTPUT_NANO = 10_000
# Tokens that may be on their way when a connection breaks: sent by the mock, never read by us.
IN_FLIGHT = 64

CLOSING = ("post", "void", "unconfirmed", "quarantine")
# Faults that do not keep the whole answer and its true usage from arriving.
HARMLESS = ("", "none", "split", "odd_sse", "no_done", "slow_head", "slow_first")


def ledger_rows(gateway):
    """Rows about traffic and machines; the pins of baselines, which move no money, are left out."""
    from .gateway import listing

    # Acknowledged rows reach the database in groups, a few hundredths of a second later.
    time.sleep(0.2)
    rows = listing(gateway.cli_json("ledger", "ls", "--limit", "0"))
    return [row for row in rows if row["kind"] != "pin"]


def cost(input_tokens, output_tokens):
    return input_tokens * INPUT_NANO + output_tokens * OUTPUT_NANO


def billed(line):
    """What the provider charges for an attempt: prompt and what it generated, unless it refused."""
    if line["outcome"] in ("refused", "bad_request", "hung") or not line["completion_tokens"]:
        return 0
    return cost(line["prompt_tokens"], line["completion_tokens"])


def name(row):
    return f"{row['request_id']}/{row['attempt']}"


def usage(row):
    return row["usage"]["input"], row["usage"]["output"]


def compare(rows, journals, endpoints, killed=False, left=0):
    """Raises AssertionError with every difference. `killed`: the gateway was killed meanwhile, so an
    attempt may also be unconfirmed, or reserved and never sent. `left`: clients that hung up; who does
    so between the last word and the usage has a whole answer that is booked as an estimate."""
    wrong = []
    late = 0
    lines = {}
    for line in (line for journal in journals for line in journal):
        if not line["attempt"]:
            wrong.append(f"an attempt without an id: {line}")
        elif line["attempt"] in lines:
            wrong.append(f"{line['attempt']}: dispatched twice")
        lines[line["attempt"]] = line

    rows = [row for row in rows if row["endpoint"] in endpoints and row["kind"] != "machine"]
    by_attempt = defaultdict(list)
    for row in rows:
        by_attempt[name(row)].append(row)
    closings = {}
    for attempt, group in by_attempt.items():
        kinds = Counter(row["kind"] for row in group)
        if kinds["reserve"] != 1 or sum(kinds[kind] for kind in CLOSING) != 1 or len(group) != 2:
            wrong.append(f"{attempt}: rows {dict(kinds)}, not one reserve and one closing row")
            continue
        closings[attempt] = next(row for row in group if row["kind"] != "reserve")

    for attempt, line in lines.items():
        closing = closings.get(attempt)
        if closing is None:
            if attempt not in by_attempt:
                wrong.append(f"{attempt}: {line['outcome']} at the provider, missing in the ledger")
            continue
        if left_before_usage(line, closing):
            late += 1
            if late > left:
                wrong.append(f"{attempt}: an estimate, though its usage was sent and only {left} clients left")
        wrong += judge(attempt, line, closing, killed)
    for attempt, closing in closings.items():
        if attempt in lines:
            continue
        if closing["kind"] == "post" and closing["amount_nano"] != 0 and not closing["note"]:
            wrong.append(f"{attempt}: posted {closing['amount_nano']}, unknown to the provider")
        if closing["kind"] == "unconfirmed" and not killed and closing["finish"] != "timeout":
            wrong.append(f"{attempt}: unconfirmed without a kill")

    total = sum(row["amount_nano"] or 0 for row in closings.values() if row["kind"] != "void")
    due = sum(billed(line) for line in lines.values() if line["outcome"] == "completed")
    if total < due:
        wrong.append(f"the ledger's total {total} is below the bills of the completed attempts, {due}")
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:25])
    return Counter(row["kind"] for row in closings.values())


def left_before_usage(line, closing):
    """A stream that ended well at both sides, while the ledger never saw its usage."""
    whole = line["outcome"] == "completed" and line["fault"] in HARMLESS and line["stream"]
    return whole and closing["kind"] == "post" and closing["delivered"] and closing["note"] == "estimated"


def judge(attempt, line, closing, killed):
    """Differences between one line of a journal and the row that closes the same attempt."""
    kind, amount, due = closing["kind"], closing["amount_nano"], billed(line)
    way = "stream" if line["stream"] else "whole"
    where = f"{attempt} ({line['outcome']}, {way}, {line['fault'] or 'no fault'}, {line['completion_tokens']} tokens)"
    if kind == "quarantine":
        return [f"{where}: in quarantine although its price is configured"]
    if kind == "post" and amount != cost(*usage(closing)):
        return [f"{where}: amount {amount} does not follow from its usage {usage(closing)}"]
    if kind == "unconfirmed":
        if not killed and closing["finish"] != "timeout":
            return [f"{where}: unconfirmed without a kill"]
        return [] if amount >= due else [f"{where}: unconfirmed {amount} is below the bill {due}"]
    if kind == "void":
        return [f"{where}: void, but the provider bills {due}"] if due else []
    if left_before_usage(line, closing):
        return [] if amount >= due else [f"{where}: estimated at {amount}, below the bill {due}"]
    if line["outcome"] == "completed" and line["fault"] in HARMLESS and closing["delivered"]:
        return [] if amount == due else [f"{where}: posted {amount}, billed {due}"]
    if due == 0 and not closing["note"]:
        return [f"{where}: {amount} posted as exact for an attempt that cost nothing"] if amount else []
    # Broken off, or its usage hidden: an estimate that covers what was on its way to us.
    read = max(0, line["completion_tokens"] - IN_FLIGHT)
    least = cost(line["prompt_tokens"], read) if due else 0
    if amount < least:
        return [f"{where}: posted {amount}, below {least}"]
    if closing["delivered"] and line["outcome"] != "completed":
        return [f"{where}: booked as delivered"]
    return []
