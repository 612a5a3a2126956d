"""Circuit breakers as admins force them, at a gateway of our own."""
import pytest

import beside
from client import ok, problem


@pytest.fixture
def door(tmp_path):
    with beside.Gateway(tmp_path) as g:
        yield g


def force(admin, door, name, state):
    answer = ok(admin.call("PUT", f"/admin/breakers/{name}", {"state": state}, base=door.url))
    assert (answer["name"], answer["state"]) == (name, state)


def trail(admin, count):
    """The last ones told, oldest first, from the copy's own gateway."""
    items = admin.get("/admin/audit-log", type="breaker.forced", limit=count)["items"]
    assert {i["actor"] for i in items} == {f"ADMIN:{admin.id}"}
    return [i["detail"] for i in reversed(items)]


def test_a_service_whose_breaker_is_forced_open_is_not_asked_and_the_trail_has_who_did_it(door, admin, A):
    force(admin, door, "txn", "FORCED_OPEN")
    answer = A.call("GET", "/transactions", base=door.url)
    problem(answer, 503, "circuit_open")
    assert answer.headers["X-Gateway-Breaker"] == "open"
    ok(A.call("GET", "/assets", base=door.url))
    ok(A.call("GET", "/transactions"))  # by the other gateway, whose breaker nobody forced
    force(admin, door, "txn", "CLOSED")
    ok(A.call("GET", "/transactions", base=door.url))
    assert trail(admin, 2) == ["txn: FORCED_OPEN", "txn: CLOSED"]


def test_the_trail_has_auth_svc_s_own_breaker_too(door, admin):
    force(admin, door, "auth", "FORCED_OPEN")
    problem(admin.call("GET", "/auth/me", base=door.url), 503, "circuit_open")
    force(admin, door, "auth", "CLOSED")
    ok(admin.call("GET", "/auth/me", base=door.url))
    assert trail(admin, 2) == ["auth: FORCED_OPEN", "auth: CLOSED"]
