"""One order's trace, as a collector is told it: the door, the services and the events between them, each under what caused it."""
import contextlib
import http.server
import json
import secrets
import threading
import urllib.request

import pytest

import house
from client import ok
from house import eventually

PORT = house.PORT_BASE + 32
TRACED = ["gateway", "order-svc", "asset-svc"]


class Collector:
    """Takes OTLP over HTTP, and keeps every span with the service that told it."""

    def __init__(self):
        self.spans = {}
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                collector.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, told):
        for resource in told["resourceSpans"]:
            service = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}["service.name"]
            for span in resource["scopeSpans"][0]["spans"]:
                self.spans.setdefault(span["traceId"], {})[span["spanId"]] = {**span, "service": service}

    def of(self, trace_id):
        return dict(self.spans.get(trace_id, {}))


@contextlib.contextmanager
def told_to(endpoint):
    """The processes that are traced, started anew with that endpoint, and afterwards as they were."""
    files = [house.RUN_DIR / "conf" / f"{name}.env" for name in TRACED]
    before = {f: f.read_text() if f.exists() else None for f in files}
    try:
        for f, text in before.items():
            f.write_text(f"{text or ''}\nOTLP_ENDPOINT={endpoint}\n")
        for name in TRACED:
            house.terminate(name)
        yield
    finally:
        for f, text in before.items():
            f.write_text(text) if text is not None else f.unlink()
        for name in TRACED:
            house.terminate(name)


@pytest.fixture(scope="module")
def collector(copy_is_up):
    c = Collector()
    with told_to(f"http://127.0.0.1:{PORT}"):
        yield c
    c.server.shutdown()
    c.server.server_close()


def named(spans, service, name):
    found = [s for s in spans.values() if (s["service"], s["name"]) == (service, name)]
    assert found, f"no span {name!r} of {service} among {[(s['service'], s['name']) for s in spans.values()]}"
    return found[0]


def test_an_order_is_one_trace_through_door_services_and_events(collector, A):
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)
    order = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "10"}
    ok(A.call("POST", "/orders", order, headers={"traceparent": f"00-{trace_id}-{client_span}-01"}), 201)

    def way():
        spans = collector.of(trace_id)
        door = named(spans, "gateway", "POST /api/v1/orders")
        asked = named(spans, "gateway", "order")
        served = named(spans, "order-svc", "POST /api/v1/orders")
        placed = named(spans, "order-svc", "place")
        booked = named(spans, "asset-svc", "order.placed")
        opened = named(spans, "order-svc", "asset.reserved")
        return [door, asked, served, placed, booked, opened]

    steps = eventually(way, 15, "all six spans")
    assert [s["kind"] for s in steps] == [2, 3, 2, 1, 5, 5]  # server, client, server, internal, consumer, consumer
    above = client_span
    for step in steps:
        assert step["parentSpanId"] == above, f"{step['service']} {step['name']}"
        assert int(step["startTimeUnixNano"]) <= int(step["endTimeUnixNano"])
        above = step["spanId"]
    assert len({s["spanId"] for s in steps}) == len(steps)
    door = {a["key"]: a["value"] for a in steps[0]["attributes"]}
    assert int(door["http.response.status_code"]["intValue"]) == 201


def test_who_does_not_want_to_be_traced_is_not(collector, A):
    quiet, heard = secrets.token_hex(16), secrets.token_hex(16)
    for trace_id, flags in ((quiet, "00"), (heard, "01")):
        A.call("GET", "/orders", headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"})
    eventually(lambda: len(collector.of(heard)) >= 3, 15)
    assert not collector.of(quiet)


def test_spans_hold_no_secret_and_no_id_of_a_path(collector, A):
    trace_id = secrets.token_hex(16)
    A.call("GET", "/orders/01890000-0000-7000-8000-000000000000?x=1", headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"})
    spans = eventually(lambda: collector.of(trace_id), 15)
    text = json.dumps(spans)
    assert "eyJ" not in text and "01890000" not in text and "x=1" not in text


def test_a_collector_that_is_away_costs_nobody_an_answer(collector, A):
    collector.server.shutdown()
    collector.server.server_close()
    try:
        for _ in range(20):
            ok(A.call("GET", "/orders"))
        eventually(lambda: dropped("gateway") > 0, 15, "dropped spans are counted")
    finally:
        spans = collector.spans
        collector.__init__()
        collector.spans = spans


def dropped(process):
    with urllib.request.urlopen(house.operator_url(process) + "/metrics", timeout=5) as page:
        return next(float(line.split()[1]) for line in page.read().decode().splitlines() if line.startswith("trace_spans_dropped_total "))
