"""Compares the ledger with the journals of the mock upstreams: the oracle for money.

A ledger row is read as {"request_id", "attempt", "kind", "usage": {"input", "output", ...},
"amount_nano"}; kinds are reserve, post, void and unconfirmed.
"""

from collections import Counter, defaultdict

# The price that harness.gateway.paid() configures, in nano-USD per token.
INPUT_NANO = 2_500
OUTPUT_NANO = 10_000
# Tokens that may be on their way when a connection breaks: sent by the mock, never read by us.
IN_FLIGHT = 64

CLOSING = ("post", "void", "unconfirmed")


def ledger_rows(gateway):
    from .gateway import listing

    return listing(gateway.cli_json("ledger", "ls", "--limit", "0"))


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


def compare(rows, journals, endpoints, killed=False):
    """Raises AssertionError with every difference. `killed`: the gateway was killed meanwhile, so an
    attempt may also be unconfirmed, or reserved and never sent."""
    wrong = []
    lines = {}
    for line in (line for journal in journals for line in journal):
        if not line["attempt"]:
            wrong.append(f"an attempt without an id: {line}")
        elif line["attempt"] in lines:
            wrong.append(f"{line['attempt']}: dispatched twice")
        lines[line["attempt"]] = line

    rows = [row for row in rows if row.get("endpoint") in endpoints]
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
        wrong += judge(attempt, line, closing, killed)
    for attempt, closing in closings.items():
        if attempt in lines:
            continue
        if closing["kind"] == "post" and closing["amount_nano"] != 0:
            wrong.append(f"{attempt}: posted {closing['amount_nano']}, unknown to the provider")
        if closing["kind"] == "unconfirmed" and not killed:
            wrong.append(f"{attempt}: unconfirmed without a kill")

    total = sum(row["amount_nano"] for row in closings.values() if row["kind"] != "void")
    if total < sum(billed(line) for line in lines.values() if line["outcome"] == "completed"):
        wrong.append(f"the ledger's total {total} is below the completed bills")
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:25])
    return Counter(row["kind"] for row in closings.values())


def judge(attempt, line, closing, killed):
    """Differences between one line of a journal and the row that closes the same attempt."""
    kind, amount, due = closing["kind"], closing["amount_nano"], billed(line)
    where = f"{attempt} ({line['outcome']}, {line['fault'] or 'no fault'})"
    if kind == "post" and amount != cost(*usage(closing)):
        return [f"{where}: amount {amount} does not follow from its usage {usage(closing)}"]
    if line["outcome"] == "completed" and line["fault"] in ("", "split", "odd_sse", "no_done", "slow_head", "slow_first"):
        if kind == "post":
            if amount == due:
                return []
            # A client that left while the last bytes were on their way: posted as far as was read.
            read = usage(closing)[1]
            if closing.get("delivered") is False and line["completion_tokens"] - IN_FLIGHT <= read:
                return []
            return [f"{where}: posted {amount}, billed {due}"]
        if kind == "unconfirmed" and (killed or closing.get("delivered") is False):
            return [] if amount >= due else [f"{where}: unconfirmed {amount} is below the bill {due}"]
        return [f"{where}: closed as {kind}, billed {due}"]
    if due == 0:
        ok = kind == "void" or amount == 0 or kind == "unconfirmed"
        return [] if ok else [f"{where}: {kind} {amount} for an attempt that cost nothing"]
    # Broken off after some tokens: booked as far as it was seen, or at its upper bound.
    if kind == "unconfirmed":
        return [] if amount >= due else [f"{where}: unconfirmed {amount} is below the bill {due}"]
    read = usage(closing)[1]
    if kind == "post" and line["completion_tokens"] - IN_FLIGHT <= read <= line["completion_tokens"]:
        return []
    if kind == "void" and line["completion_tokens"] <= IN_FLIGHT:
        return []
    return [f"{where}: {kind} with output {read}, the provider sent {line['completion_tokens']}"]
