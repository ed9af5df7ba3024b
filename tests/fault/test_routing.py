"""Which endpoint answers, and why: agents, cheap tasks, weights, the cap on the commercial tier, explain."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from harness.books import ledger_rows
from harness.gateway import make_config, paid
from harness.process import wait_until

SECRET_PROMPT = "the word nobody may find again is mirabelle"


def ask(gateway, model="auto", prompt="Tell me about the fleet.", **headers):
    """(status, headers) of one whole answer."""
    sent = {f"x-genesis-{name}": value for name, value in headers.items()}
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 20}
    status, got, _ = gateway.http("POST", "/v1/chat/completions", body, sent)
    return status, got


def served_by(gateway, *arguments, **headers):
    status, got = ask(gateway, *arguments, **headers)
    assert status == 200
    return got["x-genesis-endpoint"]


def explained(gateway, request_id):
    """`genesis explain ID --json` once the trace is written, which no request waits for."""

    def told():
        done = gateway.cli("explain", request_id, "--json")
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        return found if found.get("trace") else None

    return wait_until(told, 10, "the trace is written")


def test_agents_and_cheap_tasks(make_mock, serve):
    big, small = make_mock("big"), make_mock("small")
    config = make_config(
        [paid(big, tier="managed"), paid(small, tier="managed")],
        routes=[{"name": "auto", "endpoints": ["big", "small"]}],
        agents=[
            {"name": "analyst", "model": "big-model"},
            {"name": "sorter", "model": "auto", "task": "classification"},
        ],
        cheap_model_mapping={"classification": "small-model"},
    )
    gateway = serve(config)
    listed = json.loads(gateway.http("GET", "/v1/models")[2])["data"]
    assert {"analyst", "sorter"} <= {card["id"] for card in listed if card["kind"] == "agent"}
    assert served_by(gateway, "auto") == "big"
    assert served_by(gateway, "analyst") == "big"
    assert served_by(gateway, "sorter") == "small"
    # The cheap model is down: the route's own plan stands behind it.
    small.kill()
    assert served_by(gateway, "sorter") == "big"


def test_weights_share_a_tier(make_mock, serve):
    one, two = make_mock("one"), make_mock("two")
    routes = [{"name": "auto", "endpoints": ["one", "two"], "weights": {"one": 3, "two": 1}}]
    gateway = serve(make_config([paid(one, tier="managed"), paid(two, tier="managed")], routes))
    counts = Counter(served_by(gateway) for _ in range(80))
    # Ten standard deviations around 60 of 80 would be 21..99; what matters is that both are used.
    assert counts["one"] > counts["two"] > 0, counts


def test_the_commercial_tier_is_capped_also_side_by_side_and_after_a_restart(make_mock, serve):
    """The managed tier is down; 40 requests at once want the commercial one, which may have three."""
    managed, commercial = make_mock("managed", between_ms=5), make_mock("commercial", between_ms=5)
    commercial_rules = {"max_share": "1%", "window": "24h", "min_requests": 3}
    config = make_config([paid(managed, tier="managed"), paid(commercial)], commercial=commercial_rules)
    gateway = serve(config)
    managed.script({"fault": "status", "status": 503, "times": -1})
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: ask(gateway), range(40)))
    assert Counter(status for status, _ in answers) == {200: 3, 503: 37}
    assert len(commercial.settle()) == 3
    assert all(int(headers["retry-after"]) >= 1 for status, headers in answers if status == 503)

    # Asked for by its own name it is capped, too, and the time is told.
    status, headers = ask(gateway, "commercial")
    assert status == 503
    assert int(headers["retry-after"]) > 3600

    gateway.stop()
    again = serve(config, home=gateway.home)
    assert ask(again)[0] == 503
    assert len(commercial.settle()) == 3

    # With the other tier back there is nothing to be capped.
    managed.reset()
    wait_until(lambda: ask(again)[0] == 200, 20, "the managed tier answers again")


def test_explain_tells_every_attempt_and_what_it_cost(make_mock, serve):
    managed, commercial = make_mock("managed"), make_mock("commercial")
    gateway = serve(make_config([paid(managed, tier="managed"), paid(commercial)]))
    managed.script({"fault": "status", "status": 503, "times": -1})
    status, headers = ask(gateway, prompt=SECRET_PROMPT)
    assert status == 200
    request_id = headers["x-request-id"]
    told = explained(gateway, request_id)
    trace = told["trace"]
    assert trace["outcome"] == "delivered" and trace["served_by"] == "commercial"
    assert trace["policy"] == "rule" and trace["route"] == "auto"
    assert [each["endpoint"] for each in trace["alternatives"]] == ["managed", "commercial"]
    assert all(each["chosen"] and each["reason"] for each in trace["alternatives"])
    assert all(each["predicted_nano"] > 0 for each in trace["alternatives"])
    assert [each["endpoint"] for each in trace["attempts"]][-1] == "commercial"
    assert trace["attempts"][0]["outcome"] == "unavailable"
    assert trace["attempts"][-1]["kind"] == "fallback"
    assert 0 <= trace["attempts"][-1]["first_token_ms"] <= trace["attempts"][-1]["ended_ms"]
    posted = [row for row in ledger_rows(gateway) if row["request_id"] == request_id and row["kind"] == "post"]
    assert told["cost_nano"] == sum(row["amount_nano"] for row in posted) > 0

    last = gateway.cli_json("explain", "--last")
    assert last["request_id"] == request_id
    text = gateway.cli("explain", request_id, check=True).stdout
    for word in (request_id, "managed", "commercial", "fallback", "delivered", "USD"):
        assert word in text, text
    assert gateway.cli("explain", "req-none").returncode == 3

    # The same over HTTP, for admins only.
    path = f"/admin/explain/{request_id}"
    assert gateway.http("GET", path)[0] == 401
    bearer = {"Authorization": f"Bearer {gateway.make_key('ops', '--admin')['key']}"}
    status, _, body = gateway.http("GET", path, headers=bearer)
    assert status == 200 and json.loads(body)["trace"] == trace
    assert gateway.http("GET", "/admin/explain/req-none", headers=bearer)[0] == 404

    # It still works when the gateway is gone, and no text of the prompt was kept.
    gateway.stop()
    assert gateway.cli_json("explain", request_id)["trace"] == trace
    for path in gateway.home.rglob("*"):
        assert not path.is_file() or b"mirabelle" not in path.read_bytes(), path


def test_explain_says_why_the_commercial_tier_was_not_asked(make_mock, serve):
    managed, commercial = make_mock("managed"), make_mock("commercial")
    rules = {"max_share": "0%", "min_requests": 0}
    gateway = serve(make_config([paid(managed, tier="managed"), paid(commercial)], commercial=rules))
    status, headers = ask(gateway)
    assert status == 200
    ruled_out = explained(gateway, headers["x-request-id"])["trace"]["alternatives"][1]
    assert ruled_out["endpoint"] == "commercial" and not ruled_out["chosen"]
    assert "share used up: 0 of 0" in ruled_out["reason"]


def test_no_traces_when_none_are_wanted(make_mock, serve):
    mock = make_mock("managed")
    gateway = serve(make_config([paid(mock, tier="managed")], traces={"max_requests": 0}))
    _, headers = ask(gateway)
    gateway.stop()
    told = gateway.cli_json("explain", headers["x-request-id"])
    assert told["trace"] is None and told["cost_nano"] > 0
    assert gateway.cli("explain", "--last").returncode == 3
