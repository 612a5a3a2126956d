"""GET /portfolio and GET /admin/audit: one answer out of several services', whatever becomes of one of them."""
import client
import house
from client import call, ok, problem


def reasons(answer):
    return {u["part"]: u["reason"] for u in answer["unavailable"]}


def test_it_is_what_the_lists_say(customer, admin):
    user = customer(TRY="1000", ASELS="5")
    order = user.buy("THYAO", 1, 100)
    user.cancel(user.buy("GARAN", 1, 50)["id"])
    portfolio = user.get("/portfolio")
    assert portfolio["customerId"] == user.id
    assert portfolio["assets"] == user.get("/assets")["items"]
    assert [o["id"] for o in portfolio["openOrders"]] == [order["id"]]
    assert portfolio["transactions"] == user.get("/transactions")["items"]
    assert portfolio["unavailable"] == [] and portfolio["more"] == []
    assert ok(admin.call("GET", "/portfolio", query={"customerId": user.id})) == portfolio
    assert user.get("/portfolio", customerId=user.id) == portfolio


def test_it_is_one_s_own(A, B, admin):
    problem(call("GET", "/portfolio"), 401, "unauthenticated")
    problem(A.call("GET", "/portfolio", query={"customerId": B.id}), 404, "not_found")
    problem(A.call("GET", "/portfolio", query={"customerId": admin.id}), 404, "not_found")
    answer = admin.call("GET", "/portfolio")
    problem(answer, 400, "validation_failed")
    assert client.pointers(answer) == ["?customerId"]


def test_a_wrong_query_is_refused(A):
    for query in ({"limit": 1}, {"customerId": "x"}, {"customerId": 0}, {"customerId": [A.id, A.id]}):
        problem(A.call("GET", "/portfolio", query=query), 400, "validation_failed")


def test_nobody_s_is_empty_as_the_lists_are(admin):
    portfolio = ok(admin.call("GET", "/portfolio", query={"customerId": 10**12}))
    assert portfolio["assets"] == portfolio["openOrders"] == portfolio["transactions"] == []


def test_more_than_a_page_is_told(customer):
    user = customer()
    for _ in range(21):
        user.deposit(1)
    portfolio = user.get("/portfolio")
    assert len(portfolio["transactions"]) == 20 and portfolio["more"] == ["transactions"]


def test_head_is_get_without_its_body(A):
    get, head = A.call("GET", "/portfolio"), A.call("HEAD", "/portfolio")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Length"] == str(len(get.content))


def test_the_audit_joins_what_every_service_says(A, admin):
    problem(A.call("GET", "/admin/audit"), 403, "forbidden")
    problem(admin.call("GET", "/admin/audit", query={"all": 1}), 400, "validation_failed")
    joined = admin.get("/admin/audit")
    parts = [ok(call("GET", "/admin/audit", admin.token, base=house.url(service))) for service in house.SERVICES]
    assert joined["unavailable"] == []
    assert sorted(c["name"] for c in joined["checks"]) == sorted(c["name"] for part in parts for c in part["checks"])
    assert joined["clean"] == all(c["ok"] for c in joined["checks"])
    assert joined["checkedAt"] <= min(part["checkedAt"] for part in parts)


def test_the_access_log_names_the_parts_and_their_times(A):
    mark = house.log_size("gateway")
    answer = A.call("GET", "/portfolio")
    assert answer.status_code == 200
    line = house.eventually(lambda: next((e for e in house.log_lines("gateway", mark)
                                          if e.get("request_id") == answer.headers["X-Request-Id"]), None), 5)
    assert [p["part"] for p in line["parts"]] == ["assets", "openOrders", "transactions"]
    assert all(p["status"] == 200 and p["upstream_us"] > 0 for p in line["parts"])
