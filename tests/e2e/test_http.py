"""What holds for every request and every response: forms, headers, methods, waiting, traces."""
import json
import re
import secrets
import socket

import pytest

import house
from client import API, call, ok, pointers, problem
from house import unchanged

ORDER = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "1"}


# ---- paths and methods ----

@pytest.mark.parametrize("path", ["/nothing", "/orders/x/y/z", "/Orders", "/orders/", "/auth", "/admin", "/livez", "/readyz", "/metrics"])
def test_an_unknown_path_is_not_found(stranger, path):
    problem(stranger.call("GET", path), 404, "not_found")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/readyz?verbose", "/", "/api", "/api/v2/orders", "/orders", "/.env",
                                  "/.well-known/", "/%6civez"])
def test_operators_paths_and_others_are_not_there(path):
    for method in ("GET", "POST", "HEAD"):
        answer = call(method, "/." + path, base=house.GATEWAY)  # as it stands, without /api/v1
        assert answer.status_code in (400, 404), f"{method} {path}"
    answer = raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]


@pytest.mark.parametrize("method, path, allowed", [
    ("PUT", "/orders", {"GET", "HEAD", "POST", "DELETE"}), ("PATCH", "/orders/01890000-0000-7000-8000-000000000000", {"GET", "HEAD", "DELETE"}),
    ("POST", "/assets/TRY", {"GET", "HEAD"}), ("GET", "/transactions/deposits", None), ("DELETE", "/auth/login", {"POST"}),
    ("GET", "/auth/register", {"POST"}), ("OPTIONS", "/orders", {"GET", "HEAD", "POST", "DELETE"}), ("PUT", "/admin/matches", {"GET", "HEAD", "POST"}),
    ("DELETE", "/.well-known/jwks.json", {"GET", "HEAD"}),
])
def test_a_wrong_method_is_told_the_right_ones(stranger, method, path, allowed):
    answer = stranger.call(method, path)
    if allowed is None:  # /transactions/{id} has GET, and "deposits" is no id
        assert answer.status_code in (404, 405)
        return
    problem(answer, 405, "method_not_allowed")
    assert set(re.split(r",\s*", answer.headers["Allow"])) - {"OPTIONS"} == allowed


@pytest.mark.parametrize("path", ["/orders", "/assets", "/assets/TRY/entries", "/transactions"])
def test_head_is_get_without_its_body(stranger, path):
    get, head = stranger.call("GET", path), stranger.call("HEAD", path)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Length"] == str(len(get.content)) and head.headers["Content-Type"] == get.headers["Content-Type"]
    assert stranger.call("HEAD", "/orders/x").status_code == 404


# ---- negotiation ----

@pytest.mark.parametrize("accept, status", [
    ("*/*", 200), ("application/json", 200), ("application/*;q=0.1", 200), ("text/html, */*;q=0.1", 200), ("APPLICATION/JSON", 200),
    ("text/html", 406), ("text/csv", 406), ("application/xml", 406), ("application/json;q=0", 406), ("image/*", 406),
])
def test_what_can_not_be_accepted_is_not_answered(stranger, accept, status):
    answer = stranger.call("GET", "/orders", headers={"Accept": accept})
    assert answer.status_code == status, answer.text
    if status == 406:
        problem(answer, 406, "not_acceptable")


def test_an_order_whose_answer_is_not_wanted_is_not_placed(R):
    with unchanged():
        problem(R.call("POST", "/orders", ORDER, headers={"Accept": "text/html"}), 406, "not_acceptable")


@pytest.mark.parametrize("content_type, taken", [
    ("application/json", True), ("application/json; charset=utf-8", True), ("Application/JSON;charset=UTF-8", True),
    ("text/plain", False), ("application/x-www-form-urlencoded", False), ("multipart/form-data; boundary=x", False),
    ("application/json; charset=latin1", False), ("application/xml", False), ("", False), ("application/jsonx", False),
])
def test_a_body_must_be_json_by_its_name(R, content_type, taken):
    def send():
        return R.call("POST", "/orders", ORDER, headers={"Content-Type": content_type})
    if taken:
        R.cancel(ok(send(), 201)["id"])
        return
    with unchanged():
        problem(send(), 415, "unsupported_media_type")


def test_a_compressed_body_is_refused(R):
    with unchanged():
        problem(R.call("POST", "/orders", ORDER, headers={"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


def test_a_get_with_a_body_is_refused(R):
    assert R.call("GET", "/orders", data=b"{}").status_code == 400


# ---- sizes ----

def test_what_is_too_large_is_refused(R):
    with unchanged():
        big = json.dumps({**ORDER, "clientOrderId": "x" * 70000}).encode()
        problem(R.call("POST", "/orders", data=big), 413, "body_too_large")
        assert R.call("GET", "/orders?assetName=" + "A" * 9000).status_code in (414, 431)
        assert R.call("GET", "/orders", headers={"X-Long": "x" * 20000}).status_code == 431
    assert R.holding() == (100000, 100000)


# ---- raw requests that a client library would not send ----

def raw(data, process="gateway", timeout=5):
    with socket.create_connection(("127.0.0.1", house.PORT_BASE + house.PORTS[process]), timeout) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        out = b""
        while chunk := s.recv(65536):
            out += chunk
        return out


HOST = b"Host: x\r\n"
SMUGGLED = {
    "two lengths": b"POST /api/v1/orders HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunked": b"POST /api/v1/orders HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"POST /api/v1/orders HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"GET /api/v1/orders HTTP/1.1\r\n" + HOST + b"Content-Length : 0\r\n\r\n",
    "a folded header": b"GET /api/v1/orders HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",
    "two hosts": b"GET /api/v1/orders HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "no host": b"GET /api/v1/orders HTTP/1.1\r\n\r\n",
    "two tokens": b"GET /api/v1/orders HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "dot segments": b"GET /api/v1/auth/../admin/matches HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded dots": b"GET /api/v1/auth/%2e%2e/admin/matches HTTP/1.1\r\n" + HOST + b"\r\n",
    "an encoded slash": b"GET /api/v1/orders%2f HTTP/1.1\r\n" + HOST + b"\r\n",
    "an encoded NUL": b"GET /api/v1/orders%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "two slashes": b"GET /api/v1//orders HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form": b"GET http://x/api/v1/orders HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE /api/v1/orders HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a control byte": b"GET /api/v1/orders HTTP/1.1\r\n" + HOST + b"X-A: a\x01b\r\n\r\n",
    "no HTTP at all": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("why", SMUGGLED)
def test_what_two_servers_could_read_differently_is_refused(why):
    with unchanged():
        for process in ("gateway", "order-svc"):
            answer = raw(SMUGGLED[why], process)
            assert re.match(rb"HTTP/1\.1 (400|405|501)", answer) or answer == b"", answer[:300]
            assert answer.count(b"HTTP/1.1 ") <= 1, "one answer, and then the end"


# ---- waiting ----

def test_an_order_that_need_not_be_waited_for(A):
    answer = A.try_place("BUY", "THYAO", 10, 100, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.headers["Preference-Applied"] == "respond-async"
    location = answer.headers["Location"]
    assert location.startswith(f"{API}/orders/")
    order = house.eventually(lambda: (o := ok(A.call("GET", location)))["status"] != "NEW" and o)
    assert order["status"] == "PENDING"
    house.eventually(lambda: A.holding() == (100000, 99000))


def test_a_refusal_that_was_not_waited_for_is_seen_later(A):
    answer = A.try_place("BUY", "THYAO", 10, 100000, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    order = house.eventually(lambda: (o := ok(A.call("GET", answer.headers["Location"])))["status"] != "NEW" and o)
    assert (order["status"], order["statusReason"]) == ("REJECTED", "insufficient_usable_size")
    assert A.holding() == (100000, 100000)


def test_wait_0_is_an_answer_at_once(A):
    answer = A.try_place("BUY", "THYAO", 10, 100, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202 and "Preference-Applied" not in answer.headers
    assert ok(A.call("GET", answer.headers["Location"]))["id"] in answer.headers["Location"]
    house.eventually(lambda: A.holding() == (100000, 99000))


@pytest.mark.parametrize("prefer", ["wait=3", "wait=100", "wait=abc", "handling=lenient", "return=minimal", "wait=-1", ""])
def test_other_preferences_change_nothing(A, prefer):
    assert A.try_place("BUY", "THYAO", 1, 1, headers={"Prefer": prefer}).status_code == 201


def test_every_write_can_be_left_to_itself(A):
    prefer = {"Prefer": "respond-async"}
    deposit = A.call("POST", "/transactions/deposits", {"amount": "5"}, headers=prefer)
    assert deposit.status_code == 202
    house.eventually(lambda: ok(A.call("GET", deposit.headers["Location"]))["status"] == "COMPLETED")
    order = A.buy("THYAO", 1, 1)
    cancel = A.call("DELETE", f"/orders/{order['id']}", headers=prefer)
    assert cancel.status_code == 202 and cancel.headers["Location"] == f"{API}/orders/{order['id']}"
    house.eventually(lambda: A.holding() == (100005, 100005))


def test_a_created_thing_has_an_address(A):
    order = A.try_place("BUY", "THYAO", 1, 1)
    assert ok(A.call("GET", order.headers["Location"]))["id"] == order.json()["id"]
    transfer = A.call("POST", "/transactions/deposits", {"amount": "1"})
    assert ok(A.call("GET", transfer.headers["Location"])) == transfer.json()


# ---- headers of every response; ids and traces ----

@pytest.mark.parametrize("process", ["gateway", *house.SERVICES])
def test_every_response_has_its_headers(process, stranger):
    base = house.url(process)
    for answer in (call("GET", "/orders", base=base), call("GET", "/nothing", base=base), call("PUT", "/orders", base=base),
                   call("GET", "/orders", token=stranger.token, base=base)):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", answer.headers["X-Request-Id"])
        assert "Server" not in answer.headers and "X-Powered-By" not in answer.headers


def test_every_request_has_an_id_of_its_own_that_leads_to_the_log(stranger):
    mark = house.log_size("gateway")
    answers = [stranger.call("GET", "/orders/x", headers={"X-Request-Id": "mine-mine-mine"}) for _ in range(3)]
    ids = {a.headers["X-Request-Id"] for a in answers}
    assert len(ids) == 3 and "mine-mine-mine" not in ids, "the gateway makes them"

    def logged():
        return {line["request_id"]: line for line in house.log_lines("gateway", mark) if line["msg"] == "request"}
    house.eventually(lambda: ids <= set(logged()))
    line = logged()[answers[0].headers["X-Request-Id"]]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/orders/{id}", 404)
    assert line["trace_id"] == answers[0].json()["traceId"] and line["customer_id"] == stranger.id
    assert line["upstream"] == "order" and line["duration_us"] > 0


def test_a_trace_goes_through_services_and_events(A):
    trace = secrets.token_hex(16)
    order = ok(A.call("POST", "/orders", ORDER, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}), 201)
    p = A.call("GET", "/orders/x", headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}).json()
    assert p["traceId"] == trace
    rows = house.sql("SELECT type, traceparent FROM orders.outbox WHERE payload LIKE %s UNION ALL "
                     "SELECT type, traceparent FROM assets.outbox WHERE payload LIKE %s", f"%{order['id']}%", f"%{order['id']}%")
    assert {t for t, _ in rows} == {"order.placed", "asset.reserved", "order.opened"}
    assert all(t.split("-")[1] == trace for _, t in rows)


@pytest.mark.parametrize("traceparent", ["x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "g" * 32 + "-" + "1" * 16 + "-01", ""])
def test_a_bad_trace_is_a_new_one(stranger, traceparent):
    p = problem(stranger.call("GET", "/orders/x", headers={"traceparent": traceparent}), 404, "not_found")
    assert re.fullmatch(r"[0-9a-f]{32}", p["traceId"]) and set(p["traceId"]) != {"0"}


def test_a_problem_names_where_it_happened(stranger):
    answer = stranger.call("GET", "/orders?limit=0")
    p = problem(answer, 400, "validation_failed")
    assert p["instance"] == "/api/v1/orders" and pointers(answer) == ["?limit"]


def test_a_connection_is_kept(stranger):
    answer = stranger.call("GET", "/orders")
    assert answer.headers.get("Connection", "keep-alive").lower() != "close"
