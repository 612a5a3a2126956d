"""One key, one effect."""
import pytest

import house
from client import IBAN, new_key, ok, parallel, problem
from house import REFUSED_ORDER, unchanged


def keyed(key):
    return {"Idempotency-Key": key}


def test_the_same_key_and_body_are_the_same_order(A):
    key = new_key()
    first = A.try_place("BUY", "THYAO", 10, 100, headers=keyed(key))
    assert first.status_code == 201 and "Idempotency-Replayed" not in first.headers
    with unchanged():
        again = A.try_place("BUY", "THYAO", 10, 100, headers=keyed(key))
        assert again.status_code == 201 and again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == first.json() and again.headers["Location"] == first.headers["Location"]
    assert A.holding() == (100000, 99000)


@pytest.mark.parametrize("size, price, asset", [("10", "100.00", "THYAO"), ("10.0", "100", "thyao"), (10, 100, "ThyAO"),
                                                ("10.0000", "100.0", "THYAO")])
def test_what_means_the_same_is_a_replay(A, size, price, asset):
    key = new_key()
    first = ok(A.try_place("BUY", "THYAO", "10", "100", headers=keyed(key)), 201)
    with unchanged():
        body = {"price": price, "assetName": asset, "size": size, "orderSide": "BUY"}
        assert ok(A.call("POST", "/orders", body, headers=keyed(key)), 201)["id"] == first["id"]


@pytest.mark.parametrize("change", [{"size": "11"}, {"price": "100.01"}, {"assetName": "GARAN"}, {"orderSide": "SELL"},
                                    {"clientOrderId": "x"}])
def test_the_same_key_with_another_meaning_is_refused(A, change):
    key = new_key()
    body = {"assetName": "THYAO", "orderSide": "BUY", "size": "10", "price": "100"}
    ok(A.call("POST", "/orders", body, headers=keyed(key)), 201)
    with unchanged():
        problem(A.call("POST", "/orders", {**body, **change}, headers=keyed(key)), 422, "idempotency_key_reused")


def test_a_replay_shows_the_order_as_it_is_now(A):
    key = new_key()
    order = ok(A.try_place("BUY", "THYAO", 10, 100, headers=keyed(key)), 201)
    A.cancel(order["id"])
    again = A.try_place("BUY", "THYAO", 10, 100, headers=keyed(key))
    assert again.status_code == 201 and again.json()["status"] == "CANCELED" and again.json()["id"] == order["id"]


def test_quoted_and_bare_are_one_key(A):
    key = new_key()
    first = ok(A.try_place("BUY", "THYAO", 1, 1, headers=keyed(f'"{key}"')), 201)
    assert ok(A.try_place("BUY", "THYAO", 1, 1, headers=keyed(key)), 201)["id"] == first["id"]


def test_a_key_belongs_to_a_customer_and_a_route(A, B):
    key = new_key()
    mine = ok(A.try_place("BUY", "THYAO", 1, 1, headers=keyed(key)), 201)
    his = ok(B.try_place("BUY", "THYAO", 1, 1, headers=keyed(key)), 201)
    assert mine["id"] != his["id"]
    answer = A.call("POST", "/transactions/deposits", {"amount": "1"}, headers=keyed(key))
    assert answer.status_code == 201 and "Idempotency-Replayed" not in answer.headers


def test_an_admin_s_key_for_a_customer_is_that_customer_s(A, admin):
    key = new_key()
    first = ok(admin.try_place("BUY", "THYAO", 1, 1, customerId=A.id, headers=keyed(key)), 201)
    again = admin.try_place("BUY", "THYAO", 1, 1, customerId=A.id, headers=keyed(key))
    assert again.headers["Idempotency-Replayed"] == "true" and again.json()["id"] == first["id"]


def test_a_refused_order_gives_its_key_back(customer):
    user, key = customer(TRY=10), new_key()
    with unchanged(but=REFUSED_ORDER):
        problem(user.try_place("BUY", "THYAO", 1, 20, headers=keyed(key)), 422, "insufficient_usable_size")
    user.deposit(10)
    answer = user.try_place("BUY", "THYAO", 1, 20, headers=keyed(key))
    assert answer.status_code == 201 and "Idempotency-Replayed" not in answer.headers


def test_a_request_that_is_refused_at_the_door_leaves_no_claim(A):
    key = new_key()
    with unchanged():
        assert A.try_place("BUY", "THYAO", 0, 1, headers=keyed(key)).status_code == 400
        problem(A.try_place("BUY", "TRY", 1, 1, headers=keyed(key)), 422, "asset_not_tradable")
    assert "Idempotency-Replayed" not in A.try_place("BUY", "THYAO", 1, 1, headers=keyed(key)).headers


def test_a_second_request_waits_while_the_first_is_under_way(A):
    """The first does not wait for its end; the second, on its heels, gets the finished order all the same."""
    for _ in range(5):
        key = new_key()

        def place(i):
            headers = {**keyed(key), **({"Prefer": "respond-async"} if i == 0 else {})}
            return A.try_place("BUY", "THYAO", 1, 1, headers=headers)

        answers = parallel(2, place)
        assert answers[0].status_code == 202 and answers[1].status_code == 201
        assert answers[0].headers["Location"].endswith(answers[1].json()["id"])
        assert answers[1].json()["status"] == "PENDING"


@pytest.mark.parametrize("key", ["short", "x" * 256, "with space", '"un"quoted"', "é" * 10, ""])
def test_what_is_no_key_is_refused(R, key):
    with unchanged():
        answer = R.try_place("BUY", "THYAO", 1, 1, headers={"Idempotency-Key": key.encode()})
        assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("key", ["12345678", "x" * 255, '"12345678"', "a/b+c=d,e;f.g:h"])
def test_what_is_a_key_is_taken(customer, key):
    user = customer(TRY=1)
    assert user.call("POST", "/transactions/deposits", {"amount": "1"}, headers=keyed(key)).status_code == 201
    again = user.call("POST", "/transactions/deposits", {"amount": "1.00"}, headers=keyed(key))
    assert again.headers["Idempotency-Replayed"] == "true"
    assert user.holding() == (2, 2)


def test_every_route_that_moves_something_takes_a_key(A, admin):
    order = A.buy("THYAO", 1, 1)
    routes = [
        (A, "/transactions/deposits", {"amount": "5"}, {"amount": "6"}),
        (A, "/transactions/withdrawals", {"amount": "5", "iban": IBAN}, {"amount": "6", "iban": IBAN}),
        (admin, "/assets", {"customerId": A.id, "assetName": "GARAN", "size": "5"},
         {"customerId": A.id, "assetName": "GARAN", "size": "6"}),
        (admin, "/admin/matches", {"orderIds": [order["id"]]}, {"assetName": "NOBODYS"}),
    ]
    for who, path, body, other in routes:
        key = new_key()
        first = who.call("POST", path, body, headers=keyed(key))
        assert first.status_code in (200, 201), first.text
        with unchanged():
            again = who.call("POST", path, body, headers=keyed(key))
            assert again.status_code == first.status_code and again.headers["Idempotency-Replayed"] == "true", path
            assert again.json() == first.json()
            problem(who.call("POST", path, other, headers=keyed(key)), 422, "idempotency_key_reused")


def test_one_match_with_a_key_is_one_match(A, admin):
    order, key = A.buy("THYAO", 1, 1), new_key()
    path = f"/admin/orders/{order['id']}/match"
    first = admin.call("POST", path, headers=keyed(key))
    assert ok(first)["results"][0]["outcome"] == "MATCHED"
    again = admin.call("POST", path, headers=keyed(key))
    assert again.headers["Idempotency-Replayed"] == "true" and again.json() == first.json()


def test_30_deposits_with_one_key_are_one_deposit(customer):
    user, key = customer(), new_key()
    answers = parallel(30, lambda _: user.call("POST", "/transactions/deposits", {"amount": "7"}, headers=keyed(key)))
    assert {a.status_code for a in answers} == {201} and len({a.json()["id"] for a in answers}) == 1
    assert user.holding() == (7, 7)
    assert house.value("SELECT count(*) FROM txns.transfer WHERE customer_id = %s", user.id) == 1
