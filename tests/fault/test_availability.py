"""Three tiers that fail 30, 5 and 2 % of their requests in eight ways: what callers see. The long form, with its
table, is bench/availability.py."""

import os

import pytest
from harness import availability
from harness.books import compare, ledger_rows

REQUESTS = 2_000


@pytest.mark.limit(240)
def test_availability(make_mock, serve):
    mocks = {name: make_mock(name, words=availability.WORDS) for name in availability.SHARES}
    gateway = serve(availability.config(mocks))
    seed = int(os.environ["GENESIS_TEST_SEED"]) % 1_000_000
    report = availability.measure(gateway, mocks, REQUESTS, 16, seed)
    print(report)
    # Of 2,000 requests 0.6 fail before the first token at the ceiling: six is beyond chance.
    assert report["before first token"] >= availability.ceiling() - 6 / REQUESTS
    assert report["overall"] >= 0.995
    assert report["outcomes"]["wrong"] == 0, "half an answer as a whole one"
    assert report["seconds to cheap tier"] is not None
    compare(ledger_rows(gateway), [mock.settle(90) for mock in mocks.values()], tuple(mocks))
