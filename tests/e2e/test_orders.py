"""Order arithmetic and the state machine."""
from decimal import Decimal as D

import pytest

from client import UNKNOWN_ID, ok, pointers, problem
from house import REFUSED_ORDER, unchanged


# ---- arithmetic ----

def test_a_buy_sets_money_aside(A):
    order = A.buy("THYAO", 100, 300)
    assert A.holding() == (100000, 70000)
    assert A.holding("THYAO") == (0, 0)
    assert order["customerId"] == A.id and order["assetName"] == "THYAO" and order["orderSide"] == "BUY"
    assert (order["size"], order["price"]) == ("100", "300")
    assert (order["matchedSize"], order["remainingSize"], order["matchedValue"]) == ("0", "100", "0")
    assert A.order(order["id"]) == order, "the id returned by create is retrievable"
    A.cancel(order["id"])


def test_a_sell_sets_shares_aside(A):
    A.sell("ASELS", 50, 200)
    assert A.holding("ASELS") == (500, 450)
    assert A.holding() == (100000, 100000)


def test_a_cancel_gives_all_back_and_the_row_stays(A):
    order = A.buy("THYAO", 100, 300)
    A.cancel(order["id"])
    assert A.holding() == (100000, 100000)
    rows = [o for o in A.orders() if o["id"] == order["id"]]
    assert [o["status"] for o in rows] == ["CANCELED"]


def test_a_matched_buy_pays_and_has_the_shares(A, admin):
    order = A.buy("THYAO", 100, 300)
    assert admin.match(order["id"])[order["id"]]["outcome"] == "MATCHED"
    matched = A.order(order["id"])
    assert matched["status"] == "MATCHED" and matched["matchedValue"] == "30000"
    assert A.holding() == (70000, 70000)
    assert A.holding("THYAO") == (100, 100)


def test_a_matched_sell_gives_the_shares_and_is_paid(A, admin):
    order = A.sell("ASELS", 50, 200)
    admin.match(order["id"])
    assert A.holding("ASELS") == (450, 450)
    assert A.holding() == (110000, 110000)


def test_exactly_what_is_usable_can_be_ordered_and_canceled(A):
    order = A.buy("THYAO", 1000, 100)
    assert A.holding() == (100000, 0)
    A.cancel(order["id"])
    assert A.holding() == (100000, 100000)


def test_exactly_what_is_usable_can_be_ordered_and_matched(A, admin):
    order = A.buy("THYAO", 1000, 100)
    admin.match(order["id"])
    assert A.holding() == (0, 0)
    assert A.holding("THYAO") == (1000, 1000)


def test_a_kurus_more_than_usable_is_refused(R):
    with unchanged(but=REFUSED_ORDER):
        p = problem(R.try_place("BUY", "THYAO", 1000, "100.01"), 422, "insufficient_usable_size")
    assert (p["assetName"], p["required"], p["usable"]) == ("TRY", "100010", "100000")
    refused = R.order(p["orderId"])
    assert refused["status"] == "REJECTED" and refused["statusReason"] == "insufficient_usable_size"


def test_what_is_set_aside_is_not_usable_though_it_is_owned(A):
    A.buy("THYAO", 100, 300)
    with unchanged(but=REFUSED_ORDER):
        p = problem(A.try_place("BUY", "GARAN", 1, "70000.01"), 422, "insufficient_usable_size")
    assert (p["required"], p["usable"]) == ("70000.01", "70000")


@pytest.mark.parametrize("asset, size, usable", [("ASELS", 501, "500"), ("NEVER", 1, "0")])
def test_more_shares_than_usable_can_not_be_sold(R, asset, size, usable):
    with unchanged(but=REFUSED_ORDER):
        p = problem(R.try_place("SELL", asset, size, 10), 422, "insufficient_usable_size")
    assert (p["assetName"], p["required"], p["usable"]) == (asset, str(size), usable)


@pytest.mark.parametrize("size, price, times, reserved", [
    (3, "0.10", 1, "0.30"), (3, "0.10", 10, "3.00"), (1, "0.99", 1, "0.99"), ("0.0001", "0.01", 1, "0.000001"),
    ("0.3", "0.1", 3, "0.09"), ("1.1", "1.1", 1, "1.21"), ("33.3333", "0.03", 1, "0.999999"),
])
def test_what_is_set_aside_is_exact(customer, size, price, times, reserved):
    user = customer(TRY=10)
    for _ in range(times):
        user.buy("THYAO", size, price)
    assert user.holding() == (10, 10 - D(reserved))


def test_the_smallest_order_is_not_free(customer):
    user = customer()
    with unchanged(but=REFUSED_ORDER):
        p = problem(user.try_place("BUY", "THYAO", "0.0001", "0.01"), 422, "insufficient_usable_size")
    assert (p["required"], p["usable"]) == ("0.000001", "0")


# ---- wrong input: 400, the field named, nothing changed ----

ABSENT = object()
NO_AMOUNT = {
    "zero": 0, "zero text": "0", "zero with places": "0.00", "minus one": -1, "minus text": "-1", "least minus": "-0.00000001",
    "null": None, "absent": ABSENT, "empty": "", "letters": "abc", "NaN": "NaN", "Infinity": "Infinity", "exponent": "1e400",
    "39 digits": "1" * 39, "more decimals": "1.00001", "nine decimals": "0.00000001", "plus": "+1", "no integer part": ".5",
    "no fraction": "5.", "two points": "1.2.3", "blank": " 1", "comma": "1,5", "hex": "0x10", "true": True, "list": [1],
    "object": {}, "Arabic digits": "١", "too large": "99999999999999",
}


@pytest.mark.parametrize("field", ["size", "price"])
def test_what_is_no_amount_is_refused_naming_the_field(R, field):
    with unchanged():
        for why, amount in NO_AMOUNT.items():
            body = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "1", field: amount}
            if amount is ABSENT:
                del body[field]
            answer = R.call("POST", "/orders", body)
            assert answer.status_code == 400, f"{why}: {answer.text}"
            assert f"/{field}" in pointers(answer), f"{why}: {answer.text}"


@pytest.mark.parametrize("text", ["1e400", "1E2", "1e-2", "NaN", "Infinity", "-Infinity", "0x10", "01", "+1", ".5", "5.",
                                  "1234567890123456", "0.1234567890123456"])
def test_a_bare_number_that_json_or_a_double_can_not_hold_is_no_json(R, text):
    with unchanged():
        answer = R.call("POST", "/orders", data=f'{{"assetName":"THYAO","orderSide":"BUY","size":{text},"price":"1"}}'.encode())
        problem(answer, 400, "malformed_json")


def test_price_has_at_most_two_decimals(R):
    with unchanged():
        answer = R.try_place("BUY", "THYAO", 1, "1.001")
        assert answer.status_code == 400 and pointers(answer) == ["/price"]


def test_trailing_zeros_do_not_count(A):
    assert A.buy("THYAO", "100.000", "1.5000")["size"] == "100"
    body = {"assetName": "THYAO", "orderSide": "BUY", "size": 2, "price": 1.25}
    order = ok(A.call("POST", "/orders", body), 201)
    assert (order["size"], order["price"]) == ("2", "1.25")


def test_a_product_that_can_not_be_held_is_refused(R):
    with unchanged():
        for size, price in [("1000000000", "1000000000"), ("9223372036854", "9223372036854"), ("9000000000000", "2")]:
            answer = R.try_place("BUY", "THYAO", size, price)
            assert answer.status_code == 400 and pointers(answer), answer.text


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("asset", ["TRY", "try", "Try"])
def test_money_can_not_be_ordered(R, side, asset):
    with unchanged():
        problem(R.try_place(side, asset, 1, 1), 422, "asset_not_tradable")


def test_an_asset_is_stored_in_upper_case(A):
    assert A.buy("thyao", 1, 1)["assetName"] == "THYAO"


@pytest.mark.parametrize("asset", ["", " ", " TRY ", "THYAO ", "A" * 13, "A" * 200, "'; DROP", "A\0B", "A-B", "ŞİŞE", "a b",
                                   "../x", 1, None, [], True])
def test_what_is_no_asset_is_refused(R, asset):
    with unchanged():
        answer = R.call("POST", "/orders", {"assetName": asset, "orderSide": "BUY", "size": "1", "price": "1"})
        assert answer.status_code == 400, answer.text
        if answer.json()["code"] != "malformed_json":
            assert pointers(answer) == ["/assetName"]


@pytest.mark.parametrize("side", ["buy", "HOLD", 1, None, "", "BUY ", True])
def test_what_is_no_side_is_refused(R, side):
    with unchanged():
        answer = R.call("POST", "/orders", {"assetName": "THYAO", "orderSide": side, "size": "1", "price": "1"})
        assert answer.status_code == 400 and pointers(answer) == ["/orderSide"], answer.text


GOOD = b'"assetName":"THYAO","orderSide":"BUY","size":"1","price":"1"'


BODIES = [
    ("unknown member", b"{%s,\"fee\":1}" % GOOD, "validation_failed"),
    ("unknown member that looks internal", b"{%s,\"status\":\"MATCHED\"}" % GOOD, "validation_failed"),
    ("duplicate member", b"{%s,\"size\":\"2\"}" % GOOD, None),
    ("trailing garbage", b"{%s}x" % GOOD, "malformed_json"),
    ("two documents", b"{%s}{%s}" % (GOOD, GOOD), "malformed_json"),
    ("depth bomb", b"[" * 20000, "malformed_json"),
    ("deep member", b"{%s,\"x\":%s}" % (GOOD, b"[" * 100 + b"]" * 100), "malformed_json"),
    ("invalid UTF-8", b"{%s,\"clientOrderId\":\"\xff\xfe\"}" % GOOD, "malformed_json"),
    ("lone surrogate", b"{%s,\"clientOrderId\":\"\\ud800\"}" % GOOD, "malformed_json"),
    ("NUL", b"{%s,\"clientOrderId\":\"a\\u0000b\"}" % GOOD, "malformed_json"),
    ("cut", b"{" + GOOD, "malformed_json"),
    ("empty", b"", "malformed_json"),
    ("array", b"[]", "validation_failed"),
    ("null", b"null", "validation_failed"),
    ("a byte-order mark", b"\xef\xbb\xbf{%s}" % GOOD, "malformed_json"),
    ("single quotes", b"{'assetName':'THYAO'}", "malformed_json"),
    ("a comment", b"{%s/**/}" % GOOD, "malformed_json"),
]


@pytest.mark.parametrize("data, code", [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_a_body_that_is_not_what_it_should_be_is_refused(R, data, code):
    with unchanged():
        answer = R.call("POST", "/orders", data=data)
        assert answer.status_code == 400, answer.text
        assert code is None or answer.json()["code"] == code, answer.text
    assert R.holding() == (100000, 100000), "and the process is alive"


def test_all_wrong_fields_are_named_at_once(R):
    with unchanged():
        body = {"assetName": "", "orderSide": "HOLD", "size": "0", "customerId": "x", "clientOrderId": "a b", "what": 1}
        answer = R.call("POST", "/orders", body)
        problem(answer, 400, "validation_failed")
    assert pointers(answer) == sorted(["/assetName", "/orderSide", "/size", "/price", "/customerId", "/clientOrderId", "/what"])


def test_an_unknown_customer_is_not_found(admin):
    with unchanged():
        problem(admin.try_place("BUY", "THYAO", 1, 1, customerId=999999999), 404, "not_found")


def test_an_admin_must_name_the_customer(admin):
    with unchanged():
        answer = admin.try_place("BUY", "THYAO", 1, 1)
        assert answer.status_code == 400 and pointers(answer) == ["/customerId"]


def test_a_client_order_id_is_taken_once_and_given_back_by_a_refusal(A):
    problem(A.try_place("BUY", "THYAO", 1, 100001, clientOrderId="mine.1"), 422, "insufficient_usable_size")
    order = A.buy("THYAO", 1, 1, clientOrderId="mine.1")
    assert order["clientOrderId"] == "mine.1"
    with unchanged():
        problem(A.try_place("BUY", "THYAO", 1, 1, clientOrderId="mine.1"), 409, "client_order_id_used")
    assert A.orders(clientOrderId="mine.1", status="PENDING")[0]["id"] == order["id"]
    A.cancel(order["id"])
    problem(A.try_place("BUY", "THYAO", 1, 1, clientOrderId="mine.1"), 409, "client_order_id_used")


# ---- the state machine ----

def test_a_matched_order_can_not_be_canceled(A, admin):
    order = A.buy("THYAO", 1, 1)
    admin.match(order["id"])
    with unchanged():
        problem(A.try_cancel(order["id"]), 409, "order_not_cancelable")


def test_a_rejected_order_can_not_be_canceled_or_matched(A, admin):
    order_id = A.try_place("BUY", "THYAO", 1, 100001).json()["orderId"]
    with unchanged():
        problem(A.try_cancel(order_id), 409, "order_not_cancelable")
    with unchanged(but=("events", "matches")):
        result = admin.match(order_id)[order_id]
        assert (result["outcome"], result["code"]) == ("REJECTED", "order_not_matchable")
        problem(admin.call("POST", f"/admin/orders/{order_id}/match"), 409, "order_not_matchable")


def test_a_canceled_order_can_not_be_matched(A, admin):
    order = A.cancel(A.buy("THYAO", 1, 1)["id"])
    with unchanged(but=("events", "matches")):
        result = admin.match(order["id"])[order["id"]]
        assert (result["outcome"], result["code"]) == ("REJECTED", "order_not_matchable")
        problem(admin.call("POST", f"/admin/orders/{order['id']}/match"), 409, "order_not_matchable")


def test_canceling_twice_gives_back_once(A):
    order = A.buy("THYAO", 100, 300)
    first = ok(A.try_cancel(order["id"]))
    with unchanged():
        assert ok(A.try_cancel(order["id"])) == first
    assert A.holding() == (100000, 100000)


def test_matching_twice_settles_once(A, admin):
    order = A.buy("THYAO", 100, 300)
    admin.match(order["id"])
    with unchanged(but=("events", "matches")):
        again = admin.match(order["id"])[order["id"]]
        assert (again["outcome"], again["size"], again["price"]) == ("ALREADY_MATCHED", "100", "300")


@pytest.mark.parametrize("order_id", [UNKNOWN_ID, "1", "x", "null", "00000000-0000-0000-0000-000000000000",
                                      UNKNOWN_ID + "0", "%20", "-1"])
def test_an_unknown_order_is_not_found(R, admin, order_id):
    with unchanged(but=("events", "matches")):
        for answer in (R.call("GET", f"/orders/{order_id}"), R.try_cancel(order_id),
                       R.call("GET", f"/orders/{order_id}/history"), admin.call("POST", f"/admin/orders/{order_id}/match")):
            assert answer.status_code == 404, answer.text


def test_history_has_a_line_a_state_with_its_actor(A, admin):
    order = A.buy("THYAO", 100, 300)
    admin.match(order["id"])
    items = A.get(f"/orders/{order['id']}/history")["items"]
    assert [(i["status"], i["actor"]) for i in sorted(items, key=lambda i: i["version"])] == [
        ("NEW", f"CUSTOMER:{A.id}"), ("PENDING", "SYSTEM:asset-svc"), ("MATCHED", f"ADMIN:{admin.id}")]


def test_history_of_a_refused_order_tells_the_reason(A):
    order_id = A.try_place("BUY", "THYAO", 1, 100001).json()["orderId"]
    last = max(A.get(f"/orders/{order_id}/history")["items"], key=lambda i: i["version"])
    assert (last["status"], last["reason"]) == ("REJECTED", "insufficient_usable_size")


# ---- cancel all ----

def test_all_open_orders_are_canceled_by_asset_and_side(A):
    thyao = [A.buy("THYAO", 1, 100)["id"] for _ in range(3)]
    garan = A.buy("GARAN", 1, 100)["id"]
    sell = A.sell("ASELS", 5, 10)["id"]

    def canceled(**query):
        return sorted(o["id"] for o in ok(A.call("DELETE", "/orders", query=query))["canceled"])

    assert canceled(orderSide="SELL") == [sell]
    assert canceled(assetName="THYAO") == sorted(thyao)
    assert canceled() == [garan]
    assert canceled() == []
    assert A.holding() == (100000, 100000)
    assert A.holding("ASELS") == (500, 500)


# ---- estimate ----

@pytest.mark.parametrize("side, asset, size, price, expected", [
    ("BUY", "THYAO", 100, 300, ("TRY", "30000", "100000", "0", True)),
    ("BUY", "THYAO", 1000, "100.01", ("TRY", "100010", "100000", "10", False)),
    ("SELL", "ASELS", 500, 1, ("ASELS", "500", "500", "0", True)),
    ("SELL", "ASELS", 501, 1, ("ASELS", "501", "500", "1", False)),
    ("SELL", "NEVER", 1, 1, ("NEVER", "1", "0", "1", False)),
])
def test_an_estimate_says_what_would_be_set_aside_and_stores_nothing(R, side, asset, size, price, expected):
    with unchanged():
        body = {"assetName": asset, "orderSide": side, "size": str(size), "price": str(price)}
        e = ok(R.call("POST", "/orders/estimate", body))
    assert (e["assetName"], e["required"], e["usable"], e["shortfall"], e["acceptable"]) == expected


def test_an_estimate_refuses_what_an_order_refuses(R):
    with unchanged():
        body = {"assetName": "TRY", "orderSide": "BUY", "size": "1", "price": "1"}
        problem(R.call("POST", "/orders/estimate", body), 422, "asset_not_tradable")
        answer = R.call("POST", "/orders/estimate", {"assetName": "", "orderSide": "x", "size": "0", "price": "0"})
        assert pointers(answer) == ["/assetName", "/orderSide", "/price", "/size"]
