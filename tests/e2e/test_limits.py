"""Quotas at the door, as the delivered config file sets them, at a gateway of our own: the copy's has them off."""
import re
import time

import pytest

import beside
from client import call, new_address, new_name, ok, parallel, problem

NAME_BURST, ADDRESS_BURST, ORDER_BURST, ORDERS_A_SECOND = 5, 10, 20, 10


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    # We are its proxy, so that each test comes from an address that nobody came from before.
    with beside.Gateway(tmp_path_factory.mktemp("limits"), LIMITS="on", TRUSTED_PROXIES="127.0.0.1") as g:
        yield g


@pytest.fixture
def address():
    return new_address()


def try_login(door, address, username, password="not the password"):
    return call("POST", "/auth/login", body={"username": username, "password": password}, base=door.url,
                headers={"X-Forwarded-For": address})


def remaining(answer, policy):
    return int(re.search(rf'"{policy}";r=(\d+);t=\d+', answer.headers["RateLimit"])[1])


def refused(answer, policy):
    """By that policy alone; gives Retry-After."""
    assert problem(answer, 429, "rate_limited")["violated-policies"] == [policy]
    assert remaining(answer, policy) == 0
    assert f'"{policy}";q=' in answer.headers["RateLimit-Policy"]
    assert int(answer.headers["Retry-After"]) >= 1
    return int(answer.headers["Retry-After"])


def test_a_user_name_may_be_tried_five_times_a_minute_wherever_it_is_tried_from(door):
    name = new_name()
    for left in reversed(range(NAME_BURST)):
        answer = try_login(door, new_address(), name)
        problem(answer, 401, "invalid_credentials")
        assert remaining(answer, "login-name") == left
    wait = refused(try_login(door, new_address(), name), "login-name")
    assert wait <= 60 / NAME_BURST
    problem(try_login(door, new_address(), new_name()), 401, "invalid_credentials")  # another name is another's


def test_an_address_may_try_ten_names_a_minute_and_the_right_password_is_no_way_around(door, address, customer):
    user = customer()
    answers = parallel(ADDRESS_BURST, lambda i: try_login(door, address, new_name()))
    for answer in answers:
        problem(answer, 401, "invalid_credentials")
    wait = refused(try_login(door, address, user.username, user.password), "login-address")
    assert wait <= 60 / ADDRESS_BURST
    neighbour = address.replace("::1", "::2")  # of the same /64: one customer's network
    refused(try_login(door, neighbour, user.username, user.password), "login-address")
    time.sleep(wait)  # as it was told, and no longer
    ok(try_login(door, address, user.username, user.password))


def test_orders_are_ten_a_second_after_twenty_at_once_and_cancels_are_free(door, address, A, B):
    order = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "10"}

    def place(user):
        return user.call("POST", "/orders", order, base=door.url, headers={"X-Forwarded-For": address})

    began = time.monotonic()
    answers = parallel(60, lambda i: place(A))
    took = time.monotonic() - began
    placed = [ok(a, 201)["id"] for a in answers if a.status_code != 429]
    assert ORDER_BURST <= len(placed) <= ORDER_BURST + ORDERS_A_SECOND * took + 1, took
    waits = [refused(a, "user-order") for a in answers if a.status_code == 429]
    assert set(waits) == {1}
    ok(place(B), 201)  # B's are his own, from the same address

    for order_id in placed:
        ok(A.call("DELETE", f"/orders/{order_id}", base=door.url, headers={"X-Forwarded-For": address}))
    time.sleep(waits[0])  # as it was told
    ok(place(A), 201)


def test_who_has_no_token_is_counted_by_his_address(door, address):
    """Before his token is looked at: guessing tokens is no way around, and those who have one are not held up by him."""
    answers = parallel(100, lambda i: call("GET", "/assets", token="guess", base=door.url, headers={"X-Forwarded-For": address}))
    statuses = [a.status_code for a in answers]
    assert set(statuses) == {401, 429} and statuses.count(401) >= 40
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, "anonymous")
