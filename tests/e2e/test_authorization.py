"""Who may do what, at the gateway and straight at every service."""
import base64
import hashlib
import hmac
import subprocess
import time

import pytest

import house
from client import IBAN, b64, call, make_token, ok, pointers, problem
from house import unchanged

NOW = int(time.time())
DOORS = {
    "gateway": (house.GATEWAY, "GET", "/orders"), "order-svc": (house.url("order-svc"), "GET", "/orders"),
    "asset-svc": (house.url("asset-svc"), "GET", "/assets"), "txn-svc": (house.url("txn-svc"), "GET", "/transactions"),
    "admin-svc": (house.url("admin-svc"), "GET", "/admin/matches"), "auth-svc": (house.url("auth-svc"), "GET", "/auth/me"),
}


def tampered_payload(admin_id, wrong_key):
    head, payload, signature = make_token(admin_id).split(".")
    return ".".join([head, make_token(admin_id, role="ADMIN").split(".")[1], signature])


def tampered_signature(admin_id, wrong_key):
    token = make_token(admin_id, role="ADMIN")
    return token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]


def hmac_of_public_key(admin_id, wrong_key):
    """The old trick: HS256, and the public key as the secret."""
    head, payload, _ = make_token(admin_id, role="ADMIN", header={"alg": "HS256"}).split(".")
    public = (house.RUN_DIR / "jwks.json").read_bytes()
    return f"{head}.{payload}.{b64(hmac.new(public, f'{head}.{payload}'.encode(), hashlib.sha256).digest())}"


def hmac_of_pem(admin_id, wrong_key):
    """The same with the public key as PEM, which is what a verifier that takes any algorithm would use."""
    head, payload, _ = make_token(admin_id, role="ADMIN", header={"alg": "HS256"}).split(".")
    pem = subprocess.run(["openssl", "pkey", "-in", str(house.signing_key()), "-pubout"], check=True, stdout=subprocess.PIPE).stdout
    return f"{head}.{payload}.{b64(hmac.new(pem, f'{head}.{payload}'.encode(), hashlib.sha256).digest())}"


def text_of(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def respelt(of_head=lambda t: t, of_payload=lambda t: t):
    """Rightly signed by the real key, but for the spelling of its JSON."""
    def make(admin_id, wrong_key):
        head, payload, _ = make_token(admin_id, role="ADMIN").split(".")
        signed = f"{b64(of_head(text_of(head)).encode())}.{b64(of_payload(text_of(payload)).encode())}"
        return f"{signed}.{b64(house.sign_es256(signed.encode(), house.signing_key()))}"
    return make


def with_signature(change):
    """A good token whose signature's 64 bytes are others."""
    def make(admin_id, wrong_key):
        signed, _, signature = make_token(admin_id, role="ADMIN").rpartition(".")
        return f"{signed}.{b64(change(base64.urlsafe_b64decode(signature + '==')))}"
    return make


def der_of(raw):
    def integer(half):
        number = half.lstrip(b"\0") or b"\0"
        number = (b"\0" if number[0] & 0x80 else b"") + number
        return b"\x02" + bytes([len(number)]) + number
    body = integer(raw[:32]) + integer(raw[32:])
    return b"\x30" + bytes([len(body)]) + body


def flipped(bit):
    return with_signature(lambda raw: raw[:bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1:])


def uncanonical(admin_id, wrong_key):
    """64 bytes end in a letter of which four bits count nothing: another letter, the same bytes."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = make_token(admin_id, role="ADMIN")
    return token[:-1] + letters[letters.index(token[-1]) + 1]


def of_size(size):
    """Rightly signed, and padded by a claim to so many bytes."""
    def make(admin_id, wrong_key):
        claims = {"pad": ""}
        while len(token := make_token(admin_id, role="ADMIN", claims=claims)) < size:
            claims["pad"] += "x" * max(1, (size - len(token)) * 3 // 4)
        return token
    return make


def made(**how):
    return lambda admin_id, wrong_key: make_token(admin_id, role="ADMIN", **how)


def cut(n):
    return lambda admin_id, wrong_key: ".".join(make_token(admin_id, role="ADMIN").split(".")[:n])


BAD_TOKENS = {
    "expired": made(claims={"iat": NOW - 700, "exp": NOW - 100}),
    "not yet valid": made(claims={"iat": NOW + 3000, "exp": NOW + 3600}),
    "nbf in the future": made(claims={"nbf": NOW + 3000}),
    "a payload of another token": tampered_payload,
    "a changed signature": tampered_signature,
    "alg none": lambda a, w: ".".join(make_token(a, role="ADMIN", header={"alg": "none"}).split(".")[:2]) + ".",
    "alg None with a signature": made(header={"alg": "None"}),
    "alg ES384": made(header={"alg": "ES384"}),
    "the public key as an HMAC secret": hmac_of_public_key,
    "alg es256": made(header={"alg": "es256"}),
    "alg none in capitals": made(header={"alg": "NONE"}),
    "alg HS256 with our signature": made(header={"alg": "HS256"}),
    "the PEM as an HMAC secret": hmac_of_pem,
    "no alg": made(header={"alg": None}),
    "a DER signature": with_signature(der_of),
    "a signature of zeros": with_signature(lambda raw: bytes(64)),
    "no signature": with_signature(lambda raw: b""),
    "half a signature": with_signature(lambda raw: raw[:32]),
    "a byte too much": with_signature(lambda raw: raw + b"\0"),
    "r and s changed about": with_signature(lambda raw: raw[32:] + raw[:32]),
    "the signature's first bit": flipped(7),
    "a bit of s": flipped(300),
    "the signature's last bit": flipped(504),
    "another last letter of the same bytes": uncanonical,
    "a new line in it": lambda a, w: make_token(a, role="ADMIN").replace(".", ".\t", 1),
    "4 KiB and a byte": of_size(4097),
    "alg twice": respelt(of_head=lambda t: t.replace("{", '{"alg":"none",', 1)),
    "kid twice": respelt(of_head=lambda t: t.replace("{", '{"kid":"x",', 1)),
    "exp twice": respelt(of_payload=lambda t: t.replace("{", '{"exp":9999999999,', 1)),
    "role twice": respelt(of_payload=lambda t: t.replace("{", '{"role":"CUSTOMER",', 1)),
    "sub twice, once escaped": respelt(of_payload=lambda t: t.replace("{", '{"s\\u0075b":"1",', 1)),
    "something behind the payload": respelt(of_payload=lambda t: t + "{}"),
    "a list as payload": respelt(of_payload=lambda t: f"[{t}]"),
    "a wrong key": lambda a, w: make_token(a, role="ADMIN", key_file=w),
    "an unknown kid": made(header={"kid": "0000000000000000"}),
    "a kid that is a path": made(header={"kid": "../../../dev/null"}),
    "no kid": made(header={"kid": None}),
    "a header of its own key": made(header={"jwk": {"kty": "EC"}}),
    "a kid that is a number": made(header={"kid": 1}),
    "jku": made(header={"jku": "https://example.com/jwks.json"}),
    "x5u": made(header={"x5u": "https://example.com/cert.pem"}),
    "b64": made(header={"b64": False, "crit": ["b64"]}),
    "crit": made(header={"crit": ["exp"]}),
    "typ JWT": made(header={"typ": "JWT"}),
    "no typ": made(header={"typ": None}),
    "no issuer": made(claims={"iss": None}),
    "the audience of inner calls": made(claims={"aud": "internal"}),
    "another issuer": made(claims={"iss": "somebody"}),
    "another audience": made(claims={"aud": "somebody"}),
    "no audience": made(claims={"aud": None}),
    "two audiences": made(claims={"aud": ["brokerage-api", "else"]}),
    "no exp": made(claims={"exp": None}),
    "exp as text": made(claims={"exp": str(NOW + 500)}),
    "exp with a fraction": made(claims={"exp": NOW + 500.5}),
    "iat as text": made(claims={"iat": str(NOW)}),
    "iat in the future": made(claims={"iat": NOW + 120}),
    "no iat": made(claims={"iat": None}),
    "nbf as text": made(claims={"nbf": str(NOW)}),
    "nbf with a fraction": made(claims={"nbf": NOW - 1.5}),
    "exp before iat": made(claims={"iat": NOW, "exp": NOW - 1}),
    "a life of a day": made(claims={"exp": NOW + 86400}),
    "no role": made(claims={"role": None}),
    "an unknown role": made(claims={"role": "ROOT"}),
    "two roles": made(claims={"role": ["ADMIN"]}),
    "no subject": made(claims={"sub": None}),
    "subject zero": made(claims={"sub": "0"}),
    "a negative subject": made(claims={"sub": "-1"}),
    "a subject of text": made(claims={"sub": "1 OR 1=1"}),
    "a subject beyond 64 bits": made(claims={"sub": "9" * 30}),
    "a number as subject": made(claims={"sub": 1}),
    "no session": made(claims={"sid": None}),
    "a session that is no UUID": made(claims={"sid": "mine"}),
    "no id": made(claims={"jti": None}),
    "cut after the header": cut(1),
    "cut after the payload": cut(2),
    "four parts": lambda a, w: make_token(a, role="ADMIN") + ".x",
    "padded": lambda a, w: make_token(a, role="ADMIN") + "=",
    "a quarter of it": lambda a, w: make_token(a, role="ADMIN")[:60],
    "dots": lambda a, w: "...",
    "two dots": lambda a, w: "..",
    "no token": lambda a, w: "x",
    "5,000 letters": lambda a, w: "A" * 5000,
    "not base64": lambda a, w: "%%%.%%%.%%%",
}
BAD_HEADERS = {"none": None, "empty": "", "no scheme": "TOKEN", "another scheme": "Basic TOKEN", "only the scheme": "Bearer",
               "blank": "Bearer ", "twice the scheme": "Bearer Bearer TOKEN", "with a comma": "Bearer TOKEN, Bearer TOKEN"}


@pytest.mark.parametrize("door", DOORS)
def test_a_bad_token_is_refused_at_every_door(door, admin, wrong_key):
    base, method, path = DOORS[door]
    assert call(method, path, token=make_token(admin.id, role="ADMIN"), base=base).status_code == 200, "a good one is taken"
    assert call(method, path, token=of_size(4000)(admin.id, wrong_key), base=base).status_code == 200, "a long one, too"
    assert call(method, path, token=respelt()(admin.id, wrong_key), base=base).status_code == 200, "what is respelt could be good"
    for why, make in BAD_TOKENS.items():
        answer = call(method, path, token=make(admin.id, wrong_key), base=base)
        assert answer.status_code == 401, f"{why}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] == "unauthenticated"
        assert "invalid_token" in answer.headers["WWW-Authenticate"], why


@pytest.mark.parametrize("door", DOORS)
def test_a_bad_header_is_refused_at_every_door(door, admin):
    base, method, path = DOORS[door]
    token = make_token(admin.id, role="ADMIN")
    for why, header in BAD_HEADERS.items():
        headers = {} if header is None else {"Authorization": header.replace("TOKEN", token)}
        assert call(method, path, headers=headers, base=base).status_code == 401, why
    assert call(method, path, headers={"Authorization": f"bearer {token}"}, base=base).status_code == 200, "schemes have no case"
    assert call(method, path, query={"access_token": token}, base=base).status_code == 401, "no token in a URL"


def test_a_bad_token_changes_nothing(A, wrong_key):
    order = A.buy("THYAO", 1, 1)
    with unchanged():
        for why, make in BAD_TOKENS.items():
            token = make(A.id, wrong_key)
            for method, path, body in [("POST", "/orders", {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "1"}),
                                       ("DELETE", f"/orders/{order['id']}", None)]:
                assert call(method, path, token=token, body=body).status_code == 401, why


def test_leeway_is_30_seconds(R):
    now = int(time.time())
    assert call("GET", "/orders", token=make_token(R.id, claims={"iat": now - 600, "exp": now - 5})).status_code == 200
    assert call("GET", "/orders", token=make_token(R.id, claims={"iat": now + 10, "exp": now + 600})).status_code == 200
    assert call("GET", "/orders", token=make_token(R.id, claims={"iat": now - 620, "exp": now - 40})).status_code == 401


# ---- headers that claim to be somebody ----

def forged(user, role="ADMIN"):
    return {name: value for header, value in [("Customer-Id", str(user.id)), ("Role", role), ("User-Id", str(user.id)),
                                              ("User-Role", role), ("User", str(user.id)), ("Account-Id", str(user.id))]
            for name in (f"X-{header}", f"X_{header.replace('-', '_')}")}


@pytest.mark.parametrize("door", DOORS)
def test_forged_headers_are_no_token(door, R):
    base, method, path = DOORS[door]
    assert call(method, path, headers=forged(R), base=base).status_code == 401


def test_forged_headers_do_not_make_another_of_a_customer(A, B):
    for base in (house.GATEWAY, house.url("order-svc")):
        assert ok(call("GET", "/orders", token=B.token, headers=forged(A), base=base))["items"] == []
    problem(call("GET", "/admin/matches", token=B.token, headers=forged(B)), 403, "forbidden")
    problem(call("GET", "/admin/matches", token=B.token, headers=forged(B), base=house.url("admin-svc")), 403, "forbidden")


# ---- A on B ----

def test_a_customer_does_nothing_with_another_s(A, B):
    order = B.buy("THYAO", 1, 100)
    transfer = B.deposit(1)
    with unchanged():
        for method, path in [("GET", f"/orders/{order['id']}"), ("GET", f"/orders/{order['id']}/history"),
                             ("DELETE", f"/orders/{order['id']}"), ("GET", f"/transactions/{transfer['id']}"),
                             ("GET", f"/orders?customerId={B.id}"), ("DELETE", f"/orders?customerId={B.id}"),
                             ("GET", f"/assets?customerId={B.id}"), ("GET", f"/assets/TRY?customerId={B.id}"),
                             ("GET", f"/assets/TRY/entries?customerId={B.id}"), ("GET", f"/transactions?customerId={B.id}")]:
            answer = A.call(method, path)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
            assert B.username not in answer.text
        body = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "1", "customerId": B.id}
        for path, body in [("/orders", body), ("/orders/estimate", body), ("/transactions/deposits", {"amount": "1", "customerId": B.id}),
                           ("/transactions/withdrawals", {"amount": "1", "iban": IBAN, "customerId": B.id})]:
            assert A.call("POST", path, body).status_code == 404, path
    assert [o["status"] for o in B.orders()] == ["PENDING"]


def test_another_s_and_nobody_s_look_alike(A, B):
    order = B.buy("THYAO", 1, 100)
    his = A.call("GET", f"/orders/{order['id']}").json()
    nobodys = A.call("GET", "/orders/01890000-0000-7000-8000-000000000000").json()
    assert {k: his[k] for k in ("code", "title", "detail")} == {k: nobodys[k] for k in ("code", "title", "detail")}


def test_naming_oneself_is_fine(A):
    assert A.buy("THYAO", 1, 1, customerId=A.id)["customerId"] == A.id
    assert len(A.orders(customerId=A.id)) == 1


@pytest.mark.parametrize("customer_id", [0, -1, "1", 1.5, None, "abc", 10 ** 30, True])
def test_what_is_no_customer_id_is_refused(R, customer_id):
    with unchanged():
        answer = R.try_place("BUY", "THYAO", 1, 1, customerId=customer_id)
        assert answer.status_code == 400, answer.text


# ---- an admin for A ----

def test_an_admin_acts_for_a_customer_and_is_recorded(A, admin):
    order = ok(admin.try_place("BUY", "THYAO", 1, 100, customerId=A.id), 201)
    assert order["customerId"] == A.id and A.order(order["id"])["status"] == "PENDING"
    assert [o["id"] for o in admin.orders(customerId=A.id)] == [order["id"]]
    assert ok(admin.try_cancel(order["id"]))["status"] == "CANCELED"
    history = sorted(A.get(f"/orders/{order['id']}/history")["items"], key=lambda i: i["version"])
    assert [(i["status"], i["actor"]) for i in history] == [
        ("NEW", f"ADMIN:{admin.id}"), ("PENDING", "SYSTEM:asset-svc"), ("CANCELED", f"ADMIN:{admin.id}")]
    assert A.holding() == (100000, 100000)


def test_an_admin_deposits_withdraws_reads_and_cancels_all_for_a_customer(A, admin):
    t = ok(admin.call("POST", "/transactions/deposits", {"amount": "5", "customerId": A.id}), 201)
    ok(admin.call("POST", "/transactions/withdrawals", {"amount": "2", "iban": IBAN, "customerId": A.id}), 201)
    assert A.holding() == (100003, 100003)
    assert admin.get(f"/transactions/{t['id']}")["customerId"] == A.id
    assert len(admin.get("/transactions", customerId=A.id)["items"]) == 3
    assert admin.get("/assets/TRY", customerId=A.id)["size"] == "100003"
    assert len(admin.get("/assets/TRY/entries", customerId=A.id)["items"]) == 3
    A.buy("THYAO", 1, 1)
    assert len(ok(admin.call("DELETE", "/orders", query={"customerId": A.id}))["canceled"]) == 1
    assert house.sql("SELECT DISTINCT actor FROM txns.transfer WHERE id = %s", t["id"]) == [(f"ADMIN:{admin.id}",)]


def test_an_admin_s_list_without_a_customer_shows_all(A, B, admin):
    mine, his = A.buy("THYAO", 1, 1), B.buy("THYAO", 1, 1)
    assert {mine["id"], his["id"]} <= {o["id"] for o in admin.orders()}
    assert {A.id, B.id} <= {t["customerId"] for t in admin.get("/transactions")["items"]}


@pytest.mark.parametrize("method, path", [("GET", "/assets/TRY"), ("GET", "/assets/TRY/entries"), ("DELETE", "/orders")])
def test_an_admin_must_name_whom_he_means(admin, method, path):
    answer = admin.call(method, path)
    assert answer.status_code == 400 and pointers(answer) == ["?customerId"], answer.text


# ---- what only admins may ----

@pytest.mark.parametrize("base", ["gateway", "straight"])
@pytest.mark.parametrize("service, method, path, body", [
    ("admin-svc", "POST", "/admin/matches", {}), ("admin-svc", "GET", "/admin/matches", None),
    ("admin-svc", "GET", "/admin/matches/01890000-0000-7000-8000-000000000000", None),
    ("admin-svc", "POST", "/admin/orders/01890000-0000-7000-8000-000000000000/match", None),
    ("asset-svc", "POST", "/assets", {"customerId": 1, "assetName": "THYAO", "size": "1000"}),
])
def test_a_customer_is_forbidden_what_admins_do(A, base, service, method, path, body):
    A.buy("THYAO", 1, 1)
    with unchanged():
        where = house.GATEWAY if base == "gateway" else house.url(service)
        problem(call(method, path, token=A.token, body=body, base=where), 403, "forbidden")
