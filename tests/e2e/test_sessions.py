"""Sessions: renewed, found out, listed and ended; what a new password does; the trail of it all."""
import json
import urllib.request

import pytest

import house
from client import UNKNOWN_ID, call, new_name, new_password, ok, parallel, pointers, problem, try_login, try_register


class Login:
    """One log-in: its tokens, renewed."""

    def __init__(self, username, password):
        self._take(ok(try_login(username, password)))

    def _take(self, answer):
        self.token, self.refresh_token, self.answer = answer["accessToken"], answer["refreshToken"], answer

    def refresh(self):
        self._take(ok(try_refresh(self.refresh_token)))

    def call(self, method, path, body=None, **kw):
        return call(method, path, token=self.token, body=body, **kw)


def try_refresh(token, key=None):
    return call("POST", "/auth/refresh", body={"refreshToken": token}, headers={"Idempotency-Key": key} if key else None)


@pytest.fixture
def user(pool):
    return pool.take()


@pytest.fixture
def login(user):
    return lambda: Login(user.username, user.password)


def ended(customer_id):
    """How his sessions ended, as it was told."""
    return sorted(reason for reason, in house.sql(
        "SELECT end_reason FROM auth.session WHERE customer_id = %s AND revoke_date IS NOT NULL", customer_id))


def trail(admin, **query):
    return admin.get("/admin/audit-log", **query)["items"]


def test_both_tokens_are_renewed(login):
    session = login()
    first = session.answer
    session.refresh()
    assert session.token != first["accessToken"] and session.refresh_token != first["refreshToken"]
    assert set(session.answer) == set(first) and session.answer["expiresIn"] == 600
    assert ok(session.call("GET", "/auth/me"))["customerId"] == first["customerId"]


def test_a_refresh_token_used_twice_ends_its_session_and_no_other(login, user, admin):
    session, other = login(), login()
    first = session.refresh_token
    session.refresh()
    problem(try_refresh(first), 401, "invalid_refresh_token")
    problem(try_refresh(session.refresh_token), 401, "invalid_refresh_token")
    other.refresh()
    assert ended(user.id) == ["reuse"]
    house.eventually(lambda: [e for e in house.events("auth-events") if e["type"] == "session.revoked"
                              and e["data"]["customerId"] == user.id and e["data"]["reason"] == "reuse"], 5, "it is told")
    types = [row["type"] for row in trail(admin, customerId=user.id)]
    assert types.count("session.reused") == 1 and types.count("session.revoked") == 1


def test_fifty_refreshes_at_once_leave_one_live_tip(login, user):
    session = login()
    answers = parallel(50, lambda _: try_refresh(session.refresh_token))
    good = {a.json()["refreshToken"] for a in answers if a.status_code == 200}
    assert len(good) <= 1 and {a.status_code for a in answers} <= {200, 401}
    tips = house.value("SELECT count(*) FROM auth.refresh_token t JOIN auth.session s ON s.id = t.session_id"
                       " WHERE s.customer_id = %s AND s.revoke_date IS NULL AND t.used_date IS NULL AND s.id IN"
                       " (SELECT session_id FROM auth.refresh_token WHERE used_date IS NOT NULL)", user.id)
    late = [a for a in answers if a.status_code == 401]  # came after the answer: a client this slow is no longer "at once"
    assert tips == (0 if late else 1)
    if not late:
        assert try_refresh(good.pop()).status_code == 200


def test_the_same_key_gets_the_same_successor(login):
    session = login()
    first = ok(try_refresh(session.refresh_token, "key-12345678"))
    again = ok(try_refresh(session.refresh_token, "key-12345678"))
    assert again["refreshToken"] == first["refreshToken"]
    assert try_refresh(session.refresh_token, "key-87654321").status_code == 401


@pytest.mark.parametrize("token", ["x", "A" * 43, "eyJhbGciOiJub25lIn0.e30.", "' or 1=1 --"])
def test_what_is_no_refresh_token_is_refused(token):
    with house.unchanged():
        problem(try_refresh(token), 401, "invalid_refresh_token")


def test_a_refresh_without_its_token_is_refused():
    with house.unchanged():
        for body in ({}, {"refreshToken": None}, {"refreshToken": 1}, {"refreshToken": ""}, {"refreshToken": "x", "a": 1}, []):
            assert call("POST", "/auth/refresh", body=body).status_code == 400


def test_a_logout_ends_this_session(login, user):
    session, other = login(), login()
    assert session.call("POST", "/auth/logout").status_code == 204
    assert try_refresh(session.refresh_token).status_code == 401
    other.refresh()
    assert ended(user.id) == ["logout"]


def test_sessions_are_listed_and_ended_by_their_owner(login, user, stranger):
    here, there = login(), login()
    items = ok(here.call("GET", "/auth/sessions"))["items"]
    assert [i["current"] for i in items].count(True) == 1 and items == sorted(items, key=lambda i: i["createDate"], reverse=True)
    assert set(items[0]) == {"id", "address", "createDate", "refreshDate", "expireDate", "current"}
    page = ok(here.call("GET", "/auth/sessions", query={"limit": 1}))
    rest = ok(here.call("GET", "/auth/sessions", query={"limit": 200, "cursor": page["nextCursor"]}))
    assert page["items"] + rest["items"] == items and rest["nextCursor"] is None
    for query in ({"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"page": 1}):
        assert here.call("GET", "/auth/sessions", query=query).status_code == 400

    his = next(i["id"] for i in ok(there.call("GET", "/auth/sessions"))["items"] if i["current"])
    assert stranger.call("DELETE", f"/auth/sessions/{his}").status_code == 404
    assert here.call("DELETE", f"/auth/sessions/{UNKNOWN_ID}").status_code == 404
    assert here.call("DELETE", f"/auth/sessions/{his}").status_code == 204
    assert try_refresh(there.refresh_token).status_code == 401
    here.refresh()


def test_a_new_password_ends_all_other_sessions():
    name, password, new = new_name(), new_password(), new_password()
    ok(try_register(name, password), 201)
    here, there = Login(name, password), Login(name, password)
    problem(here.call("POST", "/auth/password", {"currentPassword": new_password(), "newPassword": new}), 401, "invalid_credentials")
    for body, where in (({"currentPassword": password, "newPassword": password}, "/newPassword"),
                        ({"currentPassword": password, "newPassword": "short"}, "/newPassword"),
                        ({"currentPassword": password, "newPassword": name + "1"}, "/newPassword"),
                        ({"newPassword": new}, "/currentPassword")):
        answer = here.call("POST", "/auth/password", body)
        assert answer.status_code == 400 and pointers(answer) == [where], answer.text
        assert password not in answer.text and new not in answer.text
    assert here.call("POST", "/auth/password", {"currentPassword": password, "newPassword": new}).status_code == 204
    here.refresh()
    assert try_refresh(there.refresh_token).status_code == 401
    assert try_login(name, password).status_code == 401
    ok(try_login(name, new))


def test_the_trail_is_read_by_admins_in_pages_and_by_what_is_asked(login, user, admin):
    login().refresh()
    began = house.value("SELECT now()::text")
    login()
    rows = trail(admin, customerId=user.id)
    assert rows == sorted(rows, key=lambda r: (r["at"], r["id"]), reverse=True)
    assert set(rows[0]) == {"id", "at", "type", "actor", "customerId", "sessionId", "address", "requestId", "detail"}
    assert {r["customerId"] for r in rows} == {user.id} and {r["actor"] for r in rows} >= {f"CUSTOMER:{user.id}"}
    page = admin.get("/admin/audit-log", customerId=user.id, limit=2)
    rest = admin.get("/admin/audit-log", customerId=user.id, cursor=page["nextCursor"])
    assert page["items"] + rest["items"] == rows
    assert [r["type"] for r in trail(admin, customerId=user.id, type="session.refreshed")] == ["session.refreshed"]
    later = trail(admin, customerId=user.id, **{"from": began.replace(" ", "T")})
    assert [r["type"] for r in later] == ["login.succeeded"]
    assert trail(admin, customerId=user.id, to="2026-01-01T00:00:00Z") == []
    for query in ({"type": "nothing"}, {"limit": 0}, {"cursor": "x"}, {"customerId": "x"}, {"who": 1}):
        assert admin.call("GET", "/admin/audit-log", query=query).status_code == 400
    assert user.call("GET", "/admin/audit-log").status_code == 403


def test_a_failed_login_is_written_down_and_its_password_is_not(user, admin):
    wrong = new_password()
    problem(try_login(user.username, wrong), 401, "invalid_credentials")
    row = trail(admin, customerId=user.id, type="login.failed")[0]
    assert row["actor"] is None and row["address"] and row["detail"] is None
    assert house.value("SELECT count(*) FROM auth.audit_log a WHERE a::text LIKE %s", f"%{wrong}%") == 0


def test_nobody_writes_into_the_trail_from_outside(admin):
    body = {"type": "breaker.forced", "detail": "orders: forced open"}
    assert admin.call("POST", "/admin/audit-log", body).status_code == 405
    before = len(trail(admin, type="breaker.forced", limit=200))
    inside = urllib.request.Request(house.url("auth-svc") + "/api/v1/admin/audit-log", json.dumps(body).encode(),
                                    {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/json"})
    with urllib.request.urlopen(inside, timeout=5) as answer:
        assert answer.status == 204
    assert len(trail(admin, type="breaker.forced", limit=200)) == before + 1
