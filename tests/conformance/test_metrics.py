"""Alert rules and the Grafana board name only series that /metrics has, and traces reach a collector."""

import base64
import http.server
import json
import re
import threading

import pytest
import yaml
from google.protobuf import json_format
from harness.gateway import make_config, paid
from harness.process import ROOT, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "secret-prompt-words"}], "max_tokens": 8}
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
BOARD = ROOT / "deploy/grafana/genesis.json"
NAME = re.compile(r"\b(?:genesis|gen_ai|tgi)_[a-z0-9_]+\b")
# Labels that look like metric names.
LABELS = {"gen_ai_token_type", "gen_ai_response_model"}


def series(gateway):
    text = gateway.http("GET", "/metrics")[2]
    return set(re.findall(r"^([a-z_0-9]+)(?:\{| )", text, re.M))


@pytest.fixture
def busy(make_mock, serve):
    """A gateway that has answered, failed over and refused."""
    bad, good = make_mock("bad", words=5), make_mock("good", words=5)
    bad.script({"fault": "status", "status": 503, "times": 2})
    gateway = serve(make_config([paid(bad), paid(good)]))
    for stream in (False, True, False):
        assert gateway.http("POST", CHAT, BODY | {"stream": stream})[0] == 200
    assert gateway.http("POST", CHAT, BODY | {"model": "nowhere"})[0] == 404
    wait_until(lambda: "genesis_endpoint_usable" in series(gateway), 10, "endpoints are looked at")
    return gateway


def test_every_alert_names_series_that_exist(busy):
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    known = series(busy)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        names = set(NAME.findall(rule["expr"])) - LABELS
        assert names or "up{" in rule["expr"]
        assert names <= known, f"{rule['alert']}: {names - known}"


def test_every_panel_names_series_that_exist(busy):
    panels = json.loads(BOARD.read_text())["panels"]
    assert len(panels) >= 12
    known = series(busy)
    for panel in panels:
        for target in panel["targets"]:
            names = set(NAME.findall(target["expr"])) - LABELS
            assert names, target
            assert names <= known, f"{panel['title']}: {names - known}"


def test_attempts_are_counted_by_endpoint_kind_and_outcome(busy):
    text = busy.http("GET", "/metrics")[2]
    assert re.search(r'genesis_attempts_total\{endpoint="bad",.*outcome="unavailable"\} [12]$', text, re.M)
    assert re.search(r'genesis_attempts_total\{endpoint="good",.*kind="fallback",outcome="delivered"\}', text)
    assert busy.metric("genesis_fallbacks_total") >= 1
    assert re.search(r'genesis_answers_total\{outcome="delivered"\} 3', text)
    assert "nowhere" not in text, "a name that a client made up is no label"


class Collector:
    """Takes what a gateway exports; `status` is what it answers."""

    def __init__(self):
        self.bodies, self.headers, self.status = [], [], 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["content-length"]))
                if outer.status == 200:
                    outer.bodies.append((self.path, data))
                    outer.headers.append(dict(self.headers))
                self.send_response(outer.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        """All spans so far, decoded by OpenTelemetry's own definitions."""
        found = []
        for path, data in self.bodies:
            assert path == "/v1/traces"
            document = json.loads(data)
            for resource in document["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        # OTLP/JSON writes ids in hexadecimal where proto3's JSON has base64.
                        for key in ("traceId", "spanId", "parentSpanId"):
                            if key in span:
                                raw = bytes.fromhex(span[key])
                                span[key] = base64.b64encode(raw).decode()
            request = json_format.ParseDict(document, ExportTraceServiceRequest())
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                assert names["service.name"] == "genesis"
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.server.shutdown()


def attributes(span):
    kinds = {"string_value", "int_value"}
    out = {}
    for item in span.attributes:
        kind = item.value.WhichOneof("value")
        assert kind in kinds
        out[item.key] = getattr(item.value, kind)
    return out


def test_a_request_becomes_spans(make_mock, serve, collector, tmp_path):
    bad, good = make_mock("bad", words=5), make_mock("good", words=5)
    bad.script({"fault": "status", "status": 503, "times": 1})
    secret = tmp_path / "otel"
    secret.write_text("collector-secret\n")
    otel = {"endpoint": collector.url, "header": "x-collector-key", "secret": {"file": str(secret)}}
    gateway = serve(make_config([paid(bad), paid(good)], otel=otel))
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    sent = {"traceparent": f"00-{trace}-{parent}-01", "x-genesis-agent": "qa"}
    status, headers, _ = gateway.http("POST", CHAT, BODY, sent)
    assert status == 200
    spans = wait_until(collector.spans, 15, "spans arrive")
    assert [span.kind for span in spans] == [2, 3, 3]
    root, first, second = spans
    assert root.trace_id.hex() == trace
    assert root.parent_span_id.hex() == parent
    assert {first.parent_span_id, second.parent_span_id} == {root.span_id}
    assert len({root.span_id, first.span_id, second.span_id}) == 3
    told = attributes(root)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "auto"
    assert told["gen_ai.response.model"] == "good-model"
    assert told["gen_ai.usage.output_tokens"] == 5
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["genesis.request_id"] == headers["x-request-id"]
    assert told["genesis.attempts"] == 2
    assert attributes(first)["error.type"] == "unavailable"
    assert first.status.code == 2
    assert attributes(second)["genesis.attempt.kind"] in ("fallback", "retry")
    assert second.status.code == 1
    for span in spans:
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    assert collector.headers[0]["x-collector-key"] == "collector-secret"
    whole = b"".join(data for _, data in collector.bodies)
    assert b"secret-prompt-words" not in whole
    # The upstreams were told which span of ours asks them.
    contexts = [line["traceparent"] for line in bad.settle() + good.settle()]
    assert contexts == [f"00-{trace}-{span.span_id.hex()}-01" for span in (first, second)]


def test_sampling_follows_the_client_then_the_ratio(make_mock, serve, collector):
    mock = make_mock("m", words=2)
    gateway = serve(make_config([paid(mock)], otel={"endpoint": collector.url, "sample_ratio": "0.25"}))
    for number in range(10):
        flag = "01" if number % 2 else "00"
        sent = {"traceparent": f"00-{number + 1:032x}-b7ad6b7169203331-{flag}"}
        assert gateway.http("POST", CHAT, BODY, sent)[0] == 200
    for _ in range(200):
        assert gateway.http("POST", CHAT, BODY)[0] == 200
    gateway.stop()
    roots = [span for span in collector.spans() if span.kind == 2]
    by_client = [span for span in roots if span.parent_span_id]
    assert {int(span.trace_id.hex(), 16) for span in by_client} == {2, 4, 6, 8, 10}
    # 200 draws at a quarter: outside of this only once in a million runs.
    assert 20 < len(roots) - len(by_client) < 85


def test_a_dead_collector_costs_traces_only(make_mock, serve, collector):
    mock = make_mock("m", words=2)
    collector.status = 500
    gateway = serve(make_config([paid(mock)], otel={"endpoint": collector.url}))
    for _ in range(5):
        assert gateway.http("POST", CHAT, BODY)[0] == 200
    wait_until(lambda: gateway.metric("genesis_otel_dropped_total") == 5, 15, "they are counted")
    collector.status = 200
    assert gateway.http("POST", CHAT, BODY)[0] == 200
    wait_until(lambda: gateway.metric("genesis_otel_exported_total") == 1, 15, "it goes on")
