"""Lists: filters, boundaries, pages."""
import datetime
import threading

import pytest

from client import call, ok, parallel, pointers
from house import unchanged


def shifted(text, microseconds=0, zone=None):
    t = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) + datetime.timedelta(microseconds=microseconds)
    if zone is None:
        return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    t = t.astimezone(datetime.timezone(datetime.timedelta(hours=zone)))
    return t.isoformat(timespec="microseconds")


@pytest.fixture
def three(customer):
    user = customer(TRY=1000)
    return user, [user.buy("THYAO", 1, p) for p in (1, 2, 3)]


def ids(items):
    return [i["id"] for i in items]


def test_newest_first(three):
    user, orders = three
    assert ids(user.orders()) == ids(reversed(orders))
    assert all(len(o["createDate"]) == 27 and o["createDate"].endswith("Z") for o in user.orders())


@pytest.mark.parametrize("start, end, expected", [
    ((0, 0), (2, 0), [0, 1]), ((0, 1), (2, 1), [1, 2]), ((1, 0), (1, 0), []), ((1, 0), (1, 1), [1]), ((0, 0), None, [0, 1, 2]),
    (None, (1, 0), [0]), ((2, 1), None, []), (None, (0, 0), []),
])
def test_from_is_included_and_to_is_not_to_the_microsecond(three, start, end, expected):
    user, orders = three
    query = {}
    if start:
        query["from"] = shifted(orders[start[0]]["createDate"], start[1])
    if end:
        query["to"] = shifted(orders[end[0]]["createDate"], end[1])
    assert ids(user.orders(**query)) == [orders[i]["id"] for i in reversed(expected)]


@pytest.mark.parametrize("zone", [3, -5, 5.5, 0])
def test_a_time_zone_is_honoured(three, zone):
    user, orders = three
    query = {"from": shifted(orders[1]["createDate"], zone=zone), "to": shifted(orders[2]["createDate"], zone=zone)}
    assert ids(user.orders(**query)) == [orders[1]["id"]]
    raw = f"/orders?from={query['from']}&to={query['to']}"
    assert ids(user.get(raw)["items"]) == [orders[1]["id"]], "a bare + is a +"


@pytest.mark.parametrize("date", ["yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00",
                                  "", "1e9", "1700000000", "2026-01-01T00:00:00.1234567Z", "2026-13-01T00:00:00Z",
                                  "2026-01-01T00:00:00+25:00", "99999-01-01T00:00:00Z"])
@pytest.mark.parametrize("key", ["from", "to"])
@pytest.mark.parametrize("path", ["/orders", "/transactions"])
def test_a_bad_date_is_refused(stranger, path, key, date):
    answer = stranger.call("GET", path, query={key: date})
    assert answer.status_code == 400 and pointers(answer) == [f"?{key}"], answer.text


@pytest.mark.parametrize("path", ["/orders", "/transactions"])
def test_to_before_from_is_refused(stranger, path):
    answer = stranger.call("GET", path, query={"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"})
    assert answer.status_code == 400 and pointers(answer) == ["?to"]


def test_filters_and_a_repeated_status(A, admin):
    pending = A.buy("THYAO", 1, 1)["id"]
    canceled = A.cancel(A.buy("GARAN", 1, 1)["id"])["id"]
    matched = A.sell("ASELS", 1, 1, clientOrderId="mine")["id"]
    admin.match(matched)
    rejected = A.try_place("BUY", "THYAO", 1, 999999).json()["orderId"]
    assert ids(A.orders(status="MATCHED")) == [matched]
    assert ids(A.orders(status=["MATCHED", "CANCELED"])) == [matched, canceled]
    assert ids(A.orders(status=["REJECTED", "PENDING", "NEW"])) == [rejected, pending]
    assert ids(A.orders(status=["PENDING", "PENDING"])) == [pending]
    assert ids(A.orders(assetName="thyao")) == [rejected, pending]
    assert ids(A.orders(orderSide="SELL")) == [matched]
    assert ids(A.orders(clientOrderId="mine")) == [matched]
    assert ids(A.orders(assetName="THYAO", orderSide="BUY", status="PENDING")) == [pending]
    assert A.orders(assetName="THYAO", orderSide="SELL") == []
    assert ids(admin.orders(customerId=A.id, status="CANCELED")) == [canceled]


def test_transactions_by_type_and_status(customer):
    user = customer(TRY=10)
    out = ok(user.try_withdraw(4), 201)["id"]
    user.try_withdraw(100)
    assert ids(user.get("/transactions", type="WITHDRAWAL", status="COMPLETED")["items"]) == [out]
    assert len(user.get("/transactions", type="WITHDRAWAL")["items"]) == 2
    assert len(user.get("/transactions", status=["COMPLETED", "REJECTED"])["items"]) == 3
    assert len(user.get("/transactions", type="DEPOSIT")["items"]) == 1


LISTS = ["/orders", "/assets", "/transactions", "/assets/TRY/entries", "/admin/matches"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("query, pointer", [
    ("limit=0", "?limit"), ("limit=-1", "?limit"), ("limit=1000000000", "?limit"), ("limit=201", "?limit"), ("limit=abc", "?limit"),
    ("limit=", "?limit"), ("limit=1.5", "?limit"), ("limit=99999999999999999999", "?limit"), ("limit=1&limit=2", "?limit"),
    ("sort=price", "?sort"), ("page=2", "?page"), ("Limit=1", "?Limit"), ("cursor=forged", "?cursor"), ("cursor=", "?cursor"),
    ("cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "?cursor"), ("cursor=%00", "?cursor"), ("cursor=..%2F..", "?cursor"),
])
def test_a_bad_query_is_refused_naming_the_key(stranger, admin, path, query, pointer):
    who = admin if path.startswith("/admin") else stranger
    answer = who.call("GET", f"{path}?{query}")
    assert answer.status_code == 400, answer.text
    assert pointers(answer) == [pointer], answer.text


@pytest.mark.parametrize("query", ["status=matched", "status=", "status=MATCHED,CANCELED", "orderSide=buy", "assetName=", "assetName=A-B",
                                   "clientOrderId=a%20b", "assetName=A&assetName=B", "customerId=0", "customerId=abc", "%ff=1", "status=%zz"])
def test_a_bad_filter_is_refused(stranger, query):
    assert stranger.call("GET", f"/orders?{query}").status_code == 400


def test_all_wrong_keys_are_named_at_once(stranger):
    answer = stranger.call("GET", "/orders?limit=0&status=x&from=y&what=z&orderSide=q")
    assert pointers(answer) == sorted(["?limit", "?status", "?from", "?what", "?orderSide"])


def test_nothing_is_an_empty_list(stranger):
    for path in ("/orders", "/transactions"):
        assert stranger.get(path) == {"items": [], "nextCursor": None}
    assert stranger.get("/assets", assetName="NEVER") == {"items": [], "nextCursor": None}


def all_pages(user, path, limit, **query):
    items, cursor = [], None
    while True:
        page = user.get(path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= limit
        items += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return items


@pytest.mark.parametrize("limit", [1, 7, 40, 200])
def test_pages_neither_repeat_nor_omit(customer, limit):
    user = customer(TRY=1000)
    made = [o.json()["id"] for o in parallel(40, lambda _: user.try_place("BUY", "THYAO", 1, 1))]
    assert sorted(ids(all_pages(user, "/orders", limit))) == sorted(made)
    assert len(all_pages(user, "/assets/TRY/entries", limit)) == 41


def test_pages_are_stable_while_orders_come_in(customer):
    user = customer(TRY=1000)
    before = {o.json()["id"] for o in parallel(30, lambda _: user.try_place("BUY", "THYAO", 1, 1))}
    stop = threading.Event()

    def keep_placing():
        while not stop.is_set():
            user.try_place("BUY", "GARAN", "0.01", 1)

    placing = [threading.Thread(target=keep_placing) for _ in range(3)]
    for t in placing:
        t.start()
    try:
        seen = ids(all_pages(user, "/orders", 4))
    finally:
        stop.set()
        for t in placing:
            t.join()
    assert len(seen) == len(set(seen)), "none twice"
    assert before <= set(seen), "none of those that were there is missing"


def test_a_page_s_end_tells_whether_there_is_more(three):
    user, orders = three
    assert user.get("/orders", limit=3)["nextCursor"] is None
    page = user.get("/orders", limit=2)
    assert ids(user.get("/orders", cursor=page["nextCursor"])["items"]) == [orders[0]["id"]]


def test_a_cursor_works_with_the_same_filters_and_shows_nobody_else_s(three, customer, admin):
    user, orders = three
    other = customer(TRY=10)
    other.buy("THYAO", 1, 1)
    cursor = user.get("/orders", limit=1)["nextCursor"]
    assert other.get("/orders", cursor=cursor)["items"] == [], "another's cursor opens no door"
    assert ids(all_pages(admin, "/orders", 1, customerId=user.id)) == ids(user.orders())
    tampered = ("B" if cursor[0] != "B" else "C") + cursor[1:]
    assert user.call("GET", "/orders", query={"cursor": tampered}).status_code == 400


def test_an_admin_pages_through_everybody_s_assets(admin, customer):
    users = [customer(TRY=1, ASELS=1) for _ in range(3)]
    items = all_pages(admin, "/assets", 100, assetName="ASELS")
    keys = [(i["customerId"], i["assetName"]) for i in items]
    assert len(keys) == len(set(keys))
    assert {u.id for u in users} <= {c for c, _ in keys}
    assert all(c > 0 for c, _ in keys), "the firm's own accounts are not customers'"


def test_lists_change_nothing(stranger):
    with unchanged():
        for path in LISTS[:-1]:
            assert call("GET", path, token=stranger.token).status_code == 200
