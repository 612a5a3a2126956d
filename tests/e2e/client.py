"""HTTP as a client speaks it, users with their tokens, and the verbs of the business."""
import base64
import concurrent.futures
import itertools
import json
import secrets
import threading
import time
import uuid
from decimal import Decimal

import requests
import requests.adapters

import house

API = "/api/v1"
NO_BASE_PATH = ("/.", "/api/", "/docs", "/openapi.json", "/problems/")
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
IBAN = "TR330006100519786457841326"
_local = threading.local()


def http():
    """A session a thread: kept connections, and no second try of requests' own."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=16, max_retries=0))
    return _local.session


def call(method, path, token=None, body=None, headers=None, base=None, data=None, query=None, timeout=15):
    """One request. `body` is sent as JSON; `data` as it is, for what must be wrong."""
    if not path.startswith(NO_BASE_PATH):
        path = API + path
    all_headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        data = json.dumps(body).encode()
    if data is not None:
        all_headers["Content-Type"] = "application/json"
    all_headers.update(headers or {})
    answer = http().request(method, (base or house.GATEWAY) + path, data=data, params=query, headers=all_headers,
                            timeout=timeout, allow_redirects=False)
    check_everywhere(answer)
    return answer


def check_everywhere(answer):
    """What api.md promises of every response."""
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Cache-Control" in answer.headers
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        check_problem(answer)


def check_problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    p = answer.json()
    assert p["status"] == answer.status_code
    assert p["type"] == "/problems/" + p["code"].replace("_", "-")
    assert p["title"] and p["detail"]
    assert len(p["traceId"]) == 32
    for error in p.get("errors", []):
        assert set(error) == {"pointer", "detail"} and error["detail"]
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) >= 1


def problem(answer, status, code):
    """The problem document, of that status and code."""
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code, answer.text
    return answer.json()


def pointers(answer):
    return sorted(e["pointer"] for e in answer.json().get("errors", []))


def ok(answer, status=200):
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def parallel(count, work):
    """work(i) for each i, all at once; results in order."""
    barrier = threading.Barrier(count)

    def one(i):
        barrier.wait()
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def new_key():
    return "key-" + secrets.token_hex(8)


class User:
    """Somebody who is logged in. The verbs raise unless they succeed; `call` and the try_ ones give the answer."""

    TOKEN_GOOD_FOR_S = 300

    def __init__(self, username, password, customer_id=None):
        self.username, self.password, self.id = username, password, customer_id
        self.log_in()

    def log_in(self):
        session = ok(try_login(self.username, self.password))
        self._token, self._since = session["accessToken"], time.monotonic()
        self.id, self.role, self.session = session["customerId"], session["role"], session

    @property
    def token(self):
        if time.monotonic() - self._since > self.TOKEN_GOOD_FOR_S:
            self.log_in()
        return self._token

    def call(self, method, path, body=None, **kw):
        return call(method, path, token=self.token, body=body, **kw)

    def get(self, path, **query):
        return ok(self.call("GET", path, query=query or None))

    # -- money and shares --

    def deposit(self, amount):
        return ok(self.call("POST", "/transactions/deposits", {"amount": str(amount)}), 201)

    def try_withdraw(self, amount, iban=IBAN, **kw):
        return self.call("POST", "/transactions/withdrawals", {"amount": str(amount), "iban": iban}, **kw)

    def holding(self, asset="TRY"):
        """(size, usable) as decimals; (0, 0) of what he never had."""
        items = self.get("/assets", assetName=asset)["items"]
        return (Decimal(items[0]["size"]), Decimal(items[0]["usableSize"])) if items else (Decimal(0), Decimal(0))

    # -- orders --

    def try_place(self, side, asset, size, price, headers=None, **members):
        body = {"assetName": asset, "orderSide": side, "size": str(size), "price": str(price), **members}
        return self.call("POST", "/orders", body, headers=headers)

    def place(self, side, asset, size, price, **kw):
        order = ok(self.try_place(side, asset, size, price, **kw), 201)
        assert order["status"] == "PENDING"
        return order

    def buy(self, asset, size, price, **kw):
        return self.place("BUY", asset, size, price, **kw)

    def sell(self, asset, size, price, **kw):
        return self.place("SELL", asset, size, price, **kw)

    def order(self, order_id):
        return self.get(f"/orders/{order_id}")

    def orders(self, **query):
        return self.get("/orders", **query)["items"]

    def try_cancel(self, order_id):
        return self.call("DELETE", f"/orders/{order_id}")

    def cancel(self, order_id):
        order = ok(self.try_cancel(order_id))
        assert order["status"] == "CANCELED"
        return order

    # -- an admin's --

    def bring_in(self, customer, asset, size):
        return ok(self.call("POST", "/assets", {"customerId": customer.id, "assetName": asset, "size": str(size)}), 201)

    def match(self, *order_ids, **members):
        """{orderId: result} of a finished match of these orders (or of what the members name)."""
        body = {**({"orderIds": list(order_ids)} if order_ids else {}), **members}
        results = ok(self.call("POST", "/admin/matches", body))["results"]
        return {r["orderId"]: r for r in results}


# ---- users ----

def try_login(username, password):
    return call("POST", "/auth/login", body={"username": username, "password": password})


def try_register(username, password, **members):
    return call("POST", "/auth/register",
                body={"username": username, "password": password, "fullName": "Ayşe Yılmaz", **members})


_names = itertools.count()
_addresses = itertools.count(int(time.time()))


def new_name():
    return f"u{next(_names)}-{secrets.token_hex(5)}"


def new_address():
    """Where nobody has come from before, for X-Forwarded-For to those who believe us; its /64 is one customer's."""
    n = next(_addresses)
    return f"2001:db8:{n >> 16 & 0xffff:x}:{n & 0xffff:x}::1"


def new_password():
    return "Pw-" + secrets.token_urlsafe(15)


class Pool:
    """Fresh customers, registered some ahead, two at a time: hashing a password takes a core."""

    BATCH, AT_ONCE = 12, 2

    def __init__(self):
        self._ready = []

    def forget(self):
        """Those that wait have tokens that are not good any more."""
        self._ready = []

    def take(self):
        if not self._ready:
            with concurrent.futures.ThreadPoolExecutor(self.AT_ONCE) as workers:
                self._ready = list(workers.map(lambda _: self._register(), range(self.BATCH)))
        return self._ready.pop()

    def _register(self):
        name, password = new_name(), new_password()
        ok(try_register(name, password), 201)
        return User(name, password)


# ---- tokens that we make ourselves ----

def b64(data):
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_token(customer_id, role="CUSTOMER", key_file=None, header=None, claims=None):
    """As auth-svc would sign it, but for what is given otherwise."""
    now = int(time.time())
    head = {"alg": "ES256", "typ": "at+jwt", "kid": house.signing_key().stem, **(header or {})}
    head = {k: v for k, v in head.items() if v is not None}
    payload = {"iss": "brokerage", "aud": "brokerage-api", "sub": str(customer_id), "sid": str(uuid.uuid4()),
               "jti": str(uuid.uuid4()), "role": role, "iat": now - 1, "exp": now + 599, **(claims or {})}
    payload = {k: v for k, v in payload.items() if v is not None}
    signed = f"{b64(head)}.{b64(payload)}"
    return f"{signed}.{b64(house.sign_es256(signed.encode(), key_file or house.signing_key()))}"
