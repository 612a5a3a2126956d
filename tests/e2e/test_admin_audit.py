"""GET /admin/audit: each service answers for its own books, at its own port; the gateway joins them."""
import datetime

import pytest

import client
import house

PATH = "/api/v1/admin/audit"


def own(service, token):
    return client.call("GET", PATH, token, base=house.url(service))


def wrong(answer):
    return {c["name"]: c["detail"] for c in answer["checks"] if not c["ok"]}


@pytest.fixture
def busy(customer, admin):
    """Something of everything: an order that rests, one matched, one canceled, one refused, transfers."""
    user = customer(TRY="10000", ASELS="20")
    user.buy("THYAO", 10, 100)
    admin.match(user.sell("ASELS", 5, 50)["id"])
    user.cancel(user.buy("THYAO", 1, 100)["id"])
    assert user.try_place("BUY", "THYAO", 1000, 1000).status_code == 422
    assert user.try_withdraw("100").status_code == 201
    return user


@pytest.mark.parametrize("service", house.SERVICES)
def test_a_service_answers_for_its_own_books(busy, admin, service):
    answer = client.ok(own(service, admin.token))
    assert set(answer) == {"clean", "checkedAt", "checks"}
    at = datetime.datetime.fromisoformat(answer["checkedAt"].replace("Z", "+00:00"))
    assert abs(datetime.datetime.now(datetime.timezone.utc) - at) < datetime.timedelta(seconds=30)
    # Other tests park events on purpose: that shows, and nothing else does.
    schema = house.SCHEMAS[service]
    parked = house.value(f"SELECT count(*) FROM {schema}.parked_event WHERE replayed_at IS NULL")
    assert set(wrong(answer)) == ({f"{schema}_no_event_is_parked"} if parked else set())
    assert answer["clean"] == (parked == 0)


@pytest.mark.parametrize("service", house.SERVICES)
def test_it_asks_the_checks_that_the_audit_by_hand_asks(admin, service):
    names = {p.stem for p in (house.ROOT / service / "checks").glob("*.sql")}
    names |= {f"{house.SCHEMAS[service]}_{p.stem}" for p in (house.ROOT / "common/svc/checks").glob("*.sql")}
    checks = client.ok(own(service, admin.token))["checks"]
    assert {c["name"] for c in checks} == names
    assert all(set(c) == {"name", "ok", "detail"} and c["detail"] for c in checks)


@pytest.mark.parametrize("service", house.SERVICES)
def test_it_is_for_admins(A, admin, service):
    client.problem(own(service, None), 401, "unauthenticated")
    client.problem(own(service, A.token), 403, "forbidden")
    client.problem(client.call("GET", PATH + "?all=1", admin.token, base=house.url(service)), 400, "validation_failed")


def test_what_is_wrong_is_named(A, admin):
    """A balance without a journal line, as a hand in the database would leave it."""
    change = "UPDATE assets.account SET size = size {0} 1, usable = usable {0} 1 WHERE owner = %s AND asset = 'TRY'"
    house.sql(change.format("+"), A.id, role="assets_owner")
    try:
        found = client.ok(own("asset-svc", admin.token))
        assert not found["clean"]
        assert f"owner={A.id} asset=TRY" in wrong(found)["assets_balances_are_their_last_lines"]
        assert "asset=TRY sum=1.000000" in wrong(found)["assets_sum_to_zero"]
    finally:
        house.sql(change.format("-"), A.id, role="assets_owner")


def test_services_that_do_not_agree_are_named(A, admin):
    """admin-svc compares what they told: here as if asset-svc had set a lira more aside than the order needs."""
    order = A.buy("THYAO", 3, 100)
    house.eventually(lambda: house.value("SELECT count(*) FROM admin.posted_order WHERE order_id = %s", order["id"]) == 1)
    change = "UPDATE admin.posted_order SET reserved = reserved {0} 1 WHERE order_id = %s"
    house.sql(change.format("+"), order["id"], role="admin_owner")
    try:
        detail = house.eventually(lambda: wrong(client.ok(own("admin-svc", admin.token))).get("admin_orders_agree_with_books"))
        assert f"order_id={order['id']} customer_id={A.id} status=PENDING" in detail
        assert "needed=300 reserved=301" in detail
    finally:
        house.sql(change.format("-"), order["id"], role="admin_owner")


def test_what_was_told_is_kept(busy):
    """Of each of his orders that the book knows, the books' last word; of each transfer and of his account, question and answer."""
    def told():
        orders = house.sql("""SELECT o.status, o.version, p.version, p.matched_size = o.matched FROM admin.book_order o
                              LEFT JOIN admin.posted_order p USING (order_id) WHERE o.customer_id = %s ORDER BY o.create_date""", busy.id)
        exchanges = house.sql("SELECT kind, asked, done, refused FROM admin.exchange WHERE customer_id = %s ORDER BY 1, asked_at", busy.id)
        assert orders == [("PENDING", 2, 1, True), ("MATCHED", 3, 3, True), ("CANCELED", 3, 3, True), ("REJECTED", 2, 1, True)]
        assert exchanges == [("ACCOUNT", 1, 1, 0), ("TRANSFER", 1, 1, 0), ("TRANSFER", 1, 1, 0)]
        return True
    house.eventually(told)


def test_the_gateway_joins_what_the_services_answer(A, admin):
    """Every check of every service is there, and what one of them finds makes the whole not clean."""
    names = {c["name"] for service in house.SERVICES for c in client.ok(own(service, admin.token))["checks"]}
    change = "UPDATE assets.account SET size = size {0} 1, usable = usable {0} 1 WHERE owner = %s AND asset = 'TRY'"
    house.sql(change.format("+"), A.id, role="assets_owner")
    try:
        found = client.ok(admin.call("GET", "/admin/audit"))
        assert {c["name"] for c in found["checks"]} == names and found["unavailable"] == []
        assert not found["clean"] and "assets_sum_to_zero" in wrong(found)
    finally:
        house.sql(change.format("-"), A.id, role="assets_owner")
    client.problem(A.call("GET", "/admin/audit"), 403, "forbidden")
