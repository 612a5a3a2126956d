"""Register, log in, who am I, the public keys; users as admins change them."""
import base64
import json

import pytest

import house
from client import User, call, make_token, new_name, new_password, ok, parallel, pointers, problem, try_login, try_register
from house import unchanged


def test_a_customer_registers_logs_in_and_has_an_account():
    name, password = new_name(), new_password()
    answer = try_register(name, password)
    user = ok(answer, 201)
    assert user == {"customerId": user["customerId"], "username": name, "fullName": "Ayşe Yılmaz", "role": "CUSTOMER"}
    session = ok(try_login(name, password))
    assert session["tokenType"] == "Bearer" and session["expiresIn"] == 600 and session["role"] == "CUSTOMER"
    assert session["customerId"] == user["customerId"] and len(session["refreshToken"]) >= 32
    assert ok(call("GET", "/auth/me", token=session["accessToken"])) == user
    assert [(i["assetName"], i["size"]) for i in ok(call("GET", "/assets", token=session["accessToken"]))["items"]] == [("TRY", "0")]


def test_an_access_token_says_what_api_md_says(stranger):
    header, payload, _ = (stranger.token + "==").split(".")
    header = json.loads(base64.urlsafe_b64decode(header + "=="))
    payload = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": house.signing_key().stem}
    assert set(payload) == {"iss", "aud", "sub", "sid", "jti", "role", "iat", "exp"}
    assert (payload["iss"], payload["aud"], payload["sub"], payload["role"]) == ("brokerage", "brokerage-api", str(stranger.id), "CUSTOMER")
    assert payload["exp"] - payload["iat"] == 600


def test_the_role_can_not_be_chosen():
    with unchanged():
        answer = try_register(new_name(), new_password(), role="ADMIN")
        assert answer.status_code == 400 and pointers(answer) == ["/role"]


def test_a_name_is_taken_once_and_the_first_password_stays():
    name, first, second = new_name(), new_password(), new_password()
    ok(try_register(name, first), 201)
    with unchanged():
        problem(try_register(name, second), 409, "username_taken")
        problem(try_register(name.upper(), second), 409, "username_taken")
    ok(try_login(name, first))
    ok(try_login(name.upper(), first))
    problem(try_login(name, second), 401, "invalid_credentials")


def test_a_name_at_once_is_taken_once():
    name = new_name()
    answers = parallel(6, lambda _: try_register(name, new_password()))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 5
    assert house.value("SELECT count(*) FROM auth.app_user WHERE username = %s", name) == 1


def test_the_first_admin_s_name_is_his():
    with unchanged():
        problem(try_register("Admin", new_password()), 409, "username_taken")


@pytest.mark.parametrize("name", ["ab", "a" * 33, "ayşe", "a b c", "a@b", "", None, 1, "a/b/c", "' or 1=1 --"])
def test_what_is_no_user_name_is_refused(name):
    with unchanged():
        answer = try_register(name, new_password())
        assert answer.status_code == 400 and pointers(answer) == ["/username"], answer.text


PASSWORDS = {"short": "Ab1-Ab1-Ab1", "129 characters": "Ab1-xyzq" * 16 + "!", "common": "password1234", "listed": "correcthorsebatterystaple",
             "one letter": "a" * 20, "two letters": "abababababab", "a run": "abcdefghijkl", "digits": "123456789012", "empty": "",
             "null": None, "number": 123456789012}


def test_what_is_no_password_is_refused_and_not_shown():
    with unchanged():
        for why, password in PASSWORDS.items():
            answer = try_register(new_name(), password)
            assert answer.status_code == 400 and pointers(answer) == ["/password"], f"{why}: {answer.text}"
            assert not password or str(password) not in answer.text
        answer = try_register("somebody-like-me", "Somebody-like-me1")
        assert answer.status_code == 400 and pointers(answer) == ["/password"]


def test_all_wrong_fields_of_a_registration_are_named_at_once():
    with unchanged():
        answer = call("POST", "/auth/register", body={"username": "a", "password": "b", "what": 1})
        problem(answer, 400, "validation_failed")
        assert pointers(answer) == ["/fullName", "/password", "/username", "/what"]


@pytest.mark.parametrize("name, password", [("nobody-here", "Pw-what-ever-1"), ("admin", "Pw-what-ever-1"), ("a", "b"), ("' or 1=1 --", "x"),
                                            ("x" * 200, "y" * 200)])
def test_wrong_credentials_are_told_alike(name, password):
    with unchanged():
        p = problem(try_login(name, password), 401, "invalid_credentials")
        other = problem(try_login("admin", "Pw-some-thing-2"), 401, "invalid_credentials")
        assert p["detail"] == other["detail"]


def test_a_login_without_its_fields_is_refused():
    for body in ({}, {"username": "a"}, {"password": "a"}, {"username": None, "password": 1}, []):
        assert call("POST", "/auth/login", body=body).status_code == 400


def test_the_admin_is_a_customer_too(admin):
    me = ok(admin.call("GET", "/auth/me"))
    assert me["role"] == "ADMIN" and me["customerId"] == admin.id and me["username"] == "admin"


def test_a_token_for_nobody_is_nobody():
    """Signed by us, but for a user that was never registered."""
    assert call("GET", "/auth/me", token=make_token(999999999)).status_code == 401


def test_the_public_keys_are_public_and_only_that(stranger):
    answer = call("GET", "/.well-known/jwks.json")
    keys = ok(answer)["keys"]
    assert [k["kid"] for k in keys] == [p.stem for p in sorted((house.SECRETS / "signing").glob("*.pem"))]
    for key in keys:
        assert key["kty"] == "EC" and key["crv"] == "P-256" and key["x"] and key["y"]
        assert set(key) <= {"kty", "crv", "x", "y", "kid", "alg", "use"}, "no private part"
    assert "max-age" in answer.headers["Cache-Control"] and "no-store" not in answer.headers["Cache-Control"]


def test_tokens_of_our_making_are_taken(stranger):
    """The tests' own signing is right, so what test_authorization refuses is refused for its fault."""
    for base in (house.GATEWAY, house.url("order-svc")):
        assert call("GET", "/orders", token=make_token(stranger.id), base=base).status_code == 200


# ---- users by admins ----

def make_admin(admin):
    name, password = new_name(), new_password()
    body = {"username": name, "password": password, "fullName": "Another Admin", "role": "ADMIN"}
    made = ok(admin.call("POST", "/auth/users", body), 201)
    assert made["role"] == "ADMIN" and made["status"] == "ACTIVE"
    return User(name, password)


def test_an_admin_makes_a_user_who_is_a_customer(admin):
    name, password = new_name(), new_password()
    answer = admin.call("POST", "/auth/users", {"username": name, "password": password, "fullName": "Made Here"})
    user = ok(answer, 201)
    assert set(user) == {"customerId", "username", "fullName", "role", "status", "mustChangePassword", "createDate"}
    assert (user["username"], user["role"], user["status"]) == (name, "CUSTOMER", "ACTIVE")
    assert answer.headers["Location"] == f"/api/v1/auth/users/{user['customerId']}"
    assert admin.get(f"/auth/users/{user['customerId']}") == user
    assert User(name, password).holding() == (0, 0)
    problem(admin.call("POST", "/auth/users", {"username": name, "password": password, "fullName": "Again"}), 409, "username_taken")


def test_users_are_listed_newest_first_and_by_what_is_asked(admin, stranger):
    users = [try_register(new_name(), new_password()).json() for _ in range(3)]
    page = admin.get("/auth/users", limit=2)
    assert [u["customerId"] for u in page["items"]] == [users[2]["customerId"], users[1]["customerId"]]
    rest = admin.get("/auth/users", limit=1, cursor=page["nextCursor"])
    assert [u["customerId"] for u in rest["items"]] == [users[0]["customerId"]]
    assert [u["username"] for u in admin.get("/auth/users", username=users[0]["username"].upper())["items"]] == [users[0]["username"]]
    assert {u["role"] for u in admin.get("/auth/users", role="ADMIN")["items"]} == {"ADMIN"}
    for query in ({"role": "BOSS"}, {"status": "active"}, {"limit": 0}, {"cursor": "x"}, {"name": "x"}, {"username": "a b"}):
        assert admin.call("GET", "/auth/users", query=query).status_code == 400
    assert stranger.call("GET", "/auth/users").status_code == 403
    assert stranger.call("GET", f"/auth/users/{stranger.id}").status_code == 403


@pytest.mark.parametrize("body", [{}, {"role": "BOSS"}, {"status": "GONE"}, {"status": None}, {"fullName": "x"}, []])
def test_what_is_no_change_of_a_user_is_refused(admin, stranger, body):
    with unchanged():
        assert admin.call("PATCH", f"/auth/users/{stranger.id}", body).status_code == 400


def test_only_admins_change_users_and_only_those_there_are(admin, stranger):
    with unchanged():
        problem(stranger.call("PATCH", f"/auth/users/{stranger.id}", {"role": "ADMIN"}), 403, "forbidden")
        for nobody in ("999999999", "0", "-1", "x", "99999999999999999999"):
            assert admin.call("PATCH", f"/auth/users/{nobody}", {"role": "ADMIN"}).status_code == 404
            assert admin.call("GET", f"/auth/users/{nobody}").status_code == 404
            assert admin.call("DELETE", f"/auth/users/{nobody}/sessions").status_code == 404


def test_who_is_disabled_can_not_come_in_until_he_is_let_in_again(admin, pool):
    user = pool.take()
    refresh_token = user.session["refreshToken"]
    assert ok(admin.call("PATCH", f"/auth/users/{user.id}", {"status": "DISABLED"}))["status"] == "DISABLED"
    problem(try_login(user.username, user.password), 401, "invalid_credentials")
    problem(call("POST", "/auth/refresh", body={"refreshToken": refresh_token}), 401, "invalid_refresh_token")
    ok(admin.call("PATCH", f"/auth/users/{user.id}", {"status": "ACTIVE"}))
    ok(try_login(user.username, user.password))
    problem(call("POST", "/auth/refresh", body={"refreshToken": refresh_token}), 401, "invalid_refresh_token")


def test_a_role_is_what_it_is_from_the_next_login_on(admin, pool):
    user = pool.take()
    ok(admin.call("PATCH", f"/auth/users/{user.id}", {"role": "ADMIN"}))
    problem(call("POST", "/auth/refresh", body={"refreshToken": user.session["refreshToken"]}), 401, "invalid_refresh_token")
    user.log_in()
    assert user.role == "ADMIN" and user.get("/auth/users", limit=1)["items"]
    ok(admin.call("PATCH", f"/auth/users/{user.id}", {"role": "CUSTOMER"}))
    user.log_in()
    assert user.role == "CUSTOMER" and user.call("GET", "/auth/users").status_code == 403


def test_an_admin_ends_all_sessions_of_a_user(admin, pool):
    user = pool.take()
    sessions = [user.session] + [ok(try_login(user.username, user.password)) for _ in range(2)]
    assert admin.call("DELETE", f"/auth/users/{user.id}/sessions").status_code == 204
    for session in sessions:
        assert call("POST", "/auth/refresh", body={"refreshToken": session["refreshToken"]}).status_code == 401
    user.log_in()


def test_admins_who_demote_each_other_at_once_leave_one(admin):
    """The first admin is always there as well; so that he may be spared, these two demote each other only."""
    for _ in range(5):
        two = [make_admin(admin) for _ in range(2)]
        answers = parallel(2, lambda i: two[i].call("PATCH", f"/auth/users/{two[1 - i].id}", {"role": "CUSTOMER"}))
        assert sorted(a.status_code for a in answers) in ([200, 401], [200, 403])
        for user in two:
            ok(admin.call("PATCH", f"/auth/users/{user.id}", {"role": "CUSTOMER", "status": "DISABLED"}))


def test_the_last_active_admin_stays_one(admin):
    others = [u for u in admin.get("/auth/users", role="ADMIN", status="ACTIVE", limit=200)["items"] if u["customerId"] != admin.id]
    for user in others:  # whom other tests have made
        ok(admin.call("PATCH", f"/auth/users/{user['customerId']}", {"role": "CUSTOMER"}))
    with unchanged():
        problem(admin.call("PATCH", f"/auth/users/{admin.id}", {"status": "DISABLED"}), 409, "last_admin")
        problem(admin.call("PATCH", f"/auth/users/{admin.id}", {"role": "CUSTOMER"}), 409, "last_admin")
    assert admin.get("/auth/me")["role"] == "ADMIN"
