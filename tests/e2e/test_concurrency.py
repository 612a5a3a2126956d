"""Many at once: never more than there is, never twice."""
from decimal import Decimal as D

import house
from client import IBAN, new_key, ok, parallel, problem


def statuses(answers):
    counts = {}
    for a in answers:
        counts[a.status_code] = counts.get(a.status_code, 0) + 1
    return counts


def test_20_parallel_buys_of_10000_against_75000_make_exactly_7(customer):
    user = customer(TRY=75000)
    answers = parallel(20, lambda _: user.try_place("BUY", "THYAO", 100, 100))
    assert statuses(answers) == {201: 7, 422: 13}
    assert user.holding() == (75000, 5000)
    assert len(user.orders(status="PENDING")) == 7 and len(user.orders(status="REJECTED")) == 13


def test_20_parallel_sells_of_10_against_75_make_exactly_7(customer):
    user = customer(ASELS=75)
    answers = parallel(20, lambda _: user.try_place("SELL", "ASELS", 10, 1))
    assert statuses(answers) == {201: 7, 422: 13}
    assert user.holding("ASELS") == (75, 5)


def test_16_parallel_cancels_give_back_once(A):
    order = A.buy("THYAO", 100, 300)
    entries = house.value("SELECT count(*) FROM assets.journal")
    answers = parallel(16, lambda _: A.try_cancel(order["id"]))
    bodies = [ok(a) for a in answers]
    assert all(b == bodies[0] and b["status"] == "CANCELED" for b in bodies)
    assert A.holding() == (100000, 100000)
    assert house.value("SELECT count(*) FROM assets.journal") == entries + 1


def test_16_parallel_matches_settle_once(A, admin):
    order = A.buy("THYAO", 100, 300)
    answers = parallel(16, lambda _: admin.call("POST", "/admin/matches", {"orderIds": [order["id"]]}))
    outcomes = sorted(ok(a)["results"][0]["outcome"] for a in answers)
    assert outcomes == ["ALREADY_MATCHED"] * 15 + ["MATCHED"]
    assert A.holding() == (70000, 70000) and A.holding("THYAO") == (100, 100)


def test_a_cancel_and_a_match_at_once_have_one_winner(A, admin):
    orders = [A.buy("THYAO", 1, 100)["id"] for _ in range(10)]

    def race(i):
        if i % 2:
            return A.try_cancel(orders[i // 2]).status_code
        return admin.match(orders[i // 2])[orders[i // 2]]["outcome"]

    results = parallel(20, race)
    matched = 0
    for i, order_id in enumerate(orders):
        outcome, status = results[2 * i], results[2 * i + 1]
        assert (outcome, status) in [("MATCHED", 409), ("REJECTED", 200)]
        assert A.order(order_id)["status"] == ("MATCHED" if status == 409 else "CANCELED")
        matched += status == 409
    assert A.holding() == (100000 - 100 * matched, 100000 - 100 * matched)


def test_a_cancel_right_behind_its_order_ends_with_nothing_set_aside(A):
    """The client does not wait for his order's end: the cancel may overtake the reservation."""
    def place_and_cancel(_):
        placed = A.try_place("BUY", "THYAO", 1, 100, headers={"Prefer": "respond-async"})
        assert placed.status_code == 202
        return ok(A.call("DELETE", placed.headers["Location"]))["status"]

    assert parallel(16, place_and_cancel) == ["CANCELED"] * 16
    house.eventually(lambda: A.holding() == (100000, 100000))


def test_100_requests_with_one_key_make_one_order(A):
    key = new_key()
    answers = parallel(100, lambda _: A.try_place("BUY", "THYAO", 10, 100, headers={"Idempotency-Key": key}))
    assert statuses(answers) == {201: 100}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1
    assert A.holding() == (100000, 99000)
    assert len(A.orders()) == 1


def test_one_client_order_id_at_once_is_taken_once(A):
    answers = parallel(16, lambda _: A.try_place("BUY", "THYAO", 1, 100, clientOrderId="one"))
    assert statuses(answers) == {201: 1, 409: 15}
    assert A.holding() == (100000, 99900)


def test_parallel_deposits_and_withdrawals_add_up(customer):
    user = customer(TRY=1000)

    def move(i):
        if i % 2:
            return user.try_withdraw("300.50", IBAN)
        return user.call("POST", "/transactions/deposits", {"amount": "100.25"})

    answers = parallel(24, move)
    out = sum(a.status_code == 201 for a in answers[1::2])
    assert all(a.status_code == 201 for a in answers[0::2])
    assert all(a.status_code in (201, 422) for a in answers[1::2])
    left = 1000 + 12 * D("100.25") - out * D("300.50")
    assert left >= 0 and user.holding() == (left, left)


def test_many_customers_at_once_do_not_mix(customer, admin):
    users = [customer(TRY=1000) for _ in range(6)]

    def work(i):
        user = users[i % 6]
        for n in range(4):
            order = user.buy("GARAN", 1 + i, 10)
            if n % 2:
                user.cancel(order["id"])
        return i

    parallel(12, work)
    for i, user in enumerate(users):
        open_value = 2 * 10 * (1 + i) + 2 * 10 * (1 + i + 6)
        assert user.holding() == (1000, 1000 - open_value)
    with house.unchanged():
        problem(users[0].try_cancel(users[1].orders(status="PENDING")[0]["id"]), 404, "order_not_found")
