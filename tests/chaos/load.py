"""The load: customers who deposit, order, cancel and withdraw, an admin who brings in shares and matches, newcomers who register.

Every operation is drawn from the seed, sent one to three times under one Idempotency-Key (one after the other, or at once), and each
request leaves a line in the history with what its answer promises (README.md has the table).
"""

import json
import random
import threading
import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import requests

import house

ASSETS = ["ASELS", "GARAN", "THYAO", "SISE"]
IBAN = "TR330006100519786457841326"
CUSTOMER_THREADS, CUSTOMERS_EACH, ADMIN_THREADS = 5, 4, 2
OPEN_ORDERS_MAX = 8       # of one customer: beyond it the draw cancels
THINK_S = 0.03            # at most, between two operations of a thread
REQUEST_TIMEOUT_S = 15    # more than the gateway's own deadline
TOKEN_LIFE_S = 400        # less than the ten minutes that one is good for

DONE, REFUSED, NOTHING, UNKNOWN, WRONG = "done", "refused", "nothing", "unknown", "wrong"
# What may be refused in this load, and why. Anything else is a wrong answer.
REFUSALS = {
    "order": {"insufficient_usable_size"},
    "withdraw": {"insufficient_usable_size"},
    "cancel": {"order_not_cancelable"},
    "match_one": {"order_not_matchable"},
    "register": {"username_taken"},
    "deposit": set(), "bring_in": set(), "match": set(), "match_asset": set(),
}


class Client:
    """One person's way to the gateway. A thread each: a session is not shared."""

    def __init__(self, gateway, username, password, customer_id=None):
        self.gateway, self.username, self.password, self.customer_id = gateway, username, password, customer_id
        self.session = requests.Session()
        self.token, self.token_until = None, 0

    def log_in(self, patience_s=60):
        until = time.monotonic() + patience_s
        while True:
            answer = self.send("POST", "/api/v1/auth/login", {"username": self.username, "password": self.password}, {})
            if answer is not None and answer.status_code == 200:
                break
            assert time.monotonic() < until, f"{self.username} can't log in: {answer and answer.text}"
            time.sleep(0.05)
        self.token, self.customer_id = answer.json()["accessToken"], answer.json()["customerId"]
        self.token_until = time.monotonic() + TOKEN_LIFE_S

    def headers(self):
        if time.monotonic() > self.token_until:
            self.log_in()
        return {"Authorization": f"Bearer {self.token}"}

    def send(self, method, path, body, headers):
        """None: no connection, so nothing was sent. Raises requests.RequestException when nobody knows."""
        try:
            return self.session.request(method, self.gateway + path, json=body, headers=headers, timeout=REQUEST_TIMEOUT_S)
        except requests.ConnectionError as e:
            if "NewConnectionError" in repr(e):
                return None
            raise

    def get(self, path):
        answer = self.send("GET", path, None, self.headers())
        assert answer is not None and answer.status_code == 200, f"GET {path}: {answer and answer.text}"
        return answer.json()


class Operation:
    def __init__(self, kind, client, method, path, body, key, about):
        self.kind, self.client, self.method, self.path, self.body, self.key = kind, client, method, path, body, key
        self.about = about     # what identifies its effect: customer, amount, order id …
        self.attempts = []
        self.asked_again = None  # what its key said when all was healed

    def outcome(self):
        """What its requests together say of it."""
        promises = {a["promise"] for a in self.attempts}
        if DONE in promises:
            return DONE
        if UNKNOWN in promises:
            return self.asked_again or UNKNOWN
        return REFUSED if REFUSED in promises else NOTHING

    def resources(self):
        return {a["resource"] for a in self.attempts if a["promise"] == DONE and a["resource"]}

    def ids_with(self, promise, *statuses):
        return {a["resource"] for a in self.attempts if a["promise"] == promise and a["resource"] and
                (not statuses or a["status"] in statuses)}


def promise_of(kind, status, code):
    if status in (200, 201, 202):
        return DONE
    if status == 503 and code in ("unavailable", "upstream_unavailable", "circuit_open"):
        return NOTHING
    if status == 504 and code == "outcome_unknown":
        return UNKNOWN
    return REFUSED if code in REFUSALS[kind] else WRONG


def resource_of(kind, answer, body):
    if kind == "bring_in":
        return None
    if kind == "register":
        return str(body.get("customerId")) if "customerId" in body else None
    made = body.get("id") or body.get("matchId")
    return made or answer.headers.get("Location", "").rsplit("/", 1)[-1] or None


class Load:
    def __init__(self, seed, gateway):
        self.seed, self.gateway = seed, gateway
        self.run = uuid.uuid4().hex[:8]   # keeps names and keys of this run apart from those of any other on the same data
        self.history_path = house.RUN_DIR / f"chaos-{seed}-{self.run}.jsonl"
        self.since = house.sql("SELECT clock_timestamp()")[0][0]
        self.history = open(self.history_path, "w", encoding="utf-8")
        self.mutex = threading.Lock()
        self.operations, self.done_count, self.wrong, self.crashed = [], 0, [], []
        self.recent_orders = deque(maxlen=60)  # acknowledged ids, for the admin
        self.stopping = threading.Event()
        self.threads = []
        self.customers = []
        self.admin = self.new_admin()

    # ---- people ----

    def new_admin(self):
        admin = Client(self.gateway, "admin", house.admin_password())
        admin.log_in()
        return admin

    def let_all_pass(self, patience_s=30):
        """An open circuit would keep the load away from what has just died, and there the mistakes are. A gateway that
        was killed has forgotten this."""
        until = time.monotonic() + patience_s
        for name in ("auth", "order", "asset", "txn", "admin"):
            while not self.is_disabled(name):
                assert time.monotonic() < until, f"the circuit breaker of {name} can't be disabled"
                time.sleep(0.05)

    def is_disabled(self, name):
        try:
            answer = self.admin.send("PUT", f"/api/v1/admin/breakers/{name}", {"state": "DISABLED"}, self.admin.headers())
        except requests.RequestException:
            return False
        return answer is not None and answer.status_code == 200

    def register(self, name):
        username, password = f"{name}-{self.run}", uuid.uuid4().hex
        client = Client(self.gateway, username, password)
        body = {"username": username, "password": password, "fullName": f"Customer {name}"}
        answer = client.send("POST", "/api/v1/auth/register", body, {})
        assert answer is not None and answer.status_code == 201, answer and answer.text
        client.log_in()
        return client

    def prepare(self):
        """Registers the customers and gives each money and shares, while nothing is broken yet."""
        for n in range(CUSTOMER_THREADS * CUSTOMERS_EACH):
            customer = self.register(f"c{n}")
            self.customers.append(customer)
            self.perform(self.deposit(customer, Decimal(100000), f"first-{n}"), 1, False)
            for i, asset in enumerate(ASSETS):
                size = Decimal(1000) + Decimal(i) / 10
                self.perform(self.bring_in(self.admin, customer, asset, size, f"first-{n}-{asset}"), 1, False)
        assert all(op.outcome() == DONE for op in self.operations), "the preparation was refused"

    # ---- operations ----

    def key(self, n):
        return f"chaos-{self.run}-{n}"

    def deposit(self, customer, amount, n):
        return Operation("deposit", customer, "POST", "/api/v1/transactions/deposits", {"amount": str(amount)}, self.key(n),
                         {"customer": customer.customer_id, "amount": amount})

    def withdraw(self, customer, amount, n):
        return Operation("withdraw", customer, "POST", "/api/v1/transactions/withdrawals",
                         {"amount": str(amount), "iban": IBAN}, self.key(n),
                         {"customer": customer.customer_id, "amount": amount})

    def order(self, customer, side, asset, size, price, n):
        key = self.key(n)
        return Operation("order", customer, "POST", "/api/v1/orders",
                         {"assetName": asset, "orderSide": side, "size": str(size), "price": str(price), "clientOrderId": key},
                         key, {"customer": customer.customer_id, "clientOrderId": key})

    def cancel(self, customer, order_id):
        return Operation("cancel", customer, "DELETE", f"/api/v1/orders/{order_id}", None, None, {"order": order_id})

    def bring_in(self, admin, customer, asset, size, n):
        return Operation("bring_in", admin, "POST", "/api/v1/assets",
                         {"customerId": customer.customer_id, "assetName": asset, "size": str(size)}, self.key(n),
                         {"customer": customer.customer_id, "asset": asset, "size": size})

    def match(self, admin, order_ids, n):
        return Operation("match", admin, "POST", "/api/v1/admin/matches", {"orderIds": order_ids}, self.key(n),
                         {"orders": frozenset(order_ids)})

    def match_asset(self, admin, asset, n):
        return Operation("match_asset", admin, "POST", "/api/v1/admin/matches", {"assetName": asset}, self.key(n), {"asset": asset})

    def match_one(self, admin, order_id, n):
        return Operation("match_one", admin, "POST", f"/api/v1/admin/orders/{order_id}/match", None, self.key(n),
                         {"orders": frozenset([order_id])})

    def newcomer(self, client, n):
        username = f"new-{n}-{self.run}"
        return Operation("register", client, "POST", "/api/v1/auth/register",
                         {"username": username, "password": uuid.uuid4().hex, "fullName": "Newcomer"}, None, {"username": username})

    # ---- performing them ----

    def attempt(self, op, session=None):
        client = op.client
        headers = {} if op.kind == "register" else client.headers()
        if op.key:
            headers["Idempotency-Key"] = op.key
        sender = client
        if session is not None:  # a request beside another one needs a connection of its own
            sender = Client(client.gateway, client.username, client.password)
            sender.session = session
        line = {"op": op.kind, "key": op.key or op.path, "who": client.customer_id, "about": repr(op.about),
                "start": time.time(), "status": None, "code": None, "resource": None, "replayed": False, "answer": None}
        try:
            answer = sender.send(op.method, op.path, op.body, headers)
            if answer is None:
                line["promise"] = NOTHING
            else:
                self.note(op, line, answer)
        except requests.RequestException as e:
            line["promise"], line["code"] = UNKNOWN, type(e).__name__
        line["end"] = time.time()
        with self.mutex:
            op.attempts.append(line)
            self.history.write(json.dumps(line, default=str) + "\n")
            if line["promise"] == DONE:
                self.done_count += 1
            if line["promise"] == WRONG:
                self.wrong.append(line)
        return line["promise"]

    @staticmethod
    def note(op, line, answer):
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = {"code": "no JSON"}
        line["status"], line["code"], line["answer"] = answer.status_code, body.get("code"), body
        line["promise"] = promise_of(op.kind, answer.status_code, body.get("code"))
        line["replayed"] = answer.headers.get("Idempotency-Replayed") == "true"
        if line["promise"] == DONE:
            line["resource"] = resource_of(op.kind, answer, body)
        elif line["promise"] == REFUSED:
            line["resource"] = body.get("orderId") or body.get("transactionId")

    def perform(self, op, copies, at_once):
        with self.mutex:
            self.operations.append(op)
        if not at_once or copies == 1:
            for _ in range(copies):
                self.attempt(op)
            return op
        op.client.headers()  # a new token, if one is due, before several threads need it
        with ThreadPoolExecutor(copies) as pool:
            list(pool.map(lambda session: self.attempt(op, session), [requests.Session() for _ in range(copies)]))
        return op

    # ---- the threads ----

    def start(self):
        """Each thread draws from the seed and its own number: what it does does not hang on the others' pace."""
        bodies = [(self.customer_thread, n) for n in range(CUSTOMER_THREADS)]
        bodies += [(self.admin_thread, n) for n in range(ADMIN_THREADS)]
        bodies += [(self.newcomer_thread, 0)]
        for body, n in bodies:
            thread = threading.Thread(target=self.guard, args=(body, n), daemon=True)
            self.threads.append(thread)
            thread.start()

    def guard(self, body, n):
        try:
            body(n, random.Random(f"{self.seed} {body.__name__} {n}"))
        except Exception as e:  # pylint: disable=broad-except
            with self.mutex:
                self.crashed.append(repr(e))
            raise

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client's thread hangs: it got no answer within its time-out"
        self.history.flush()
        assert not self.crashed, f"clients gave up: {self.crashed}"

    def customer_thread(self, number, rnd):
        mine = self.customers[number * CUSTOMERS_EACH:(number + 1) * CUSTOMERS_EACH]
        open_orders = {c.customer_id: deque() for c in mine}
        n = 0
        while not self.stopping.is_set():
            n += 1
            customer = rnd.choice(mine)
            kind = rnd.choices(["deposit", "withdraw", "overdraw", "BUY", "SELL", "too_big", "cancel"],
                               [15, 10, 3, 25, 25, 4, 18])[0]
            asset, size = rnd.choice(ASSETS), Decimal(rnd.randint(1, 50000)) / 10000
            price, pick = Decimal(rnd.randint(100, 2000)) / 100, rnd.random()
            copies, at_once, pause = rnd.choice([1, 1, 2, 3]), rnd.random() < 0.25, rnd.random() * THINK_S
            orders = open_orders[customer.customer_id]
            if len(orders) >= OPEN_ORDERS_MAX:
                kind = "cancel"
            op = self.draw(customer, orders, kind, asset, size, price, pick, f"{number}-{n}", n)
            if op is not None:
                self.perform(op, copies, at_once)
                if op.kind == "order":
                    orders.extend(op.resources())
                    self.recent_orders.extend(op.resources())
            self.stopping.wait(pause)

    def draw(self, customer, orders, kind, asset, size, price, pick, name, n):
        """The amount names the operation: no other of this customer has it."""
        if kind == "deposit":
            return self.deposit(customer, Decimal(50) + Decimal(n) / 100, name)
        if kind == "withdraw":
            return self.withdraw(customer, Decimal(5) + Decimal(n) / 100, name)
        if kind == "overdraw":
            return self.withdraw(customer, Decimal(10**8) + Decimal(n) / 100, name)
        if kind == "too_big":
            return self.order(customer, "BUY", asset, Decimal(10**4), Decimal(10**4), name)
        if kind in ("BUY", "SELL"):
            return self.order(customer, kind, asset, size, price, name)
        if not orders:
            return None
        order_id = orders[int(pick * len(orders))]
        orders.remove(order_id)
        return self.cancel(customer, order_id)

    def admin_thread(self, number, rnd):
        admin = self.new_admin()
        asked, n = set(), 0
        while not self.stopping.is_set():
            n += 1
            kind = rnd.choices(["bring_in", "match", "match_one", "match_asset"], [4, 4, 3, 1])[0]
            customer, asset = rnd.choice(self.customers), rnd.choice(ASSETS)
            picks, copies = [rnd.random() for _ in range(4)], rnd.choice([1, 1, 2, 3])
            at_once, pause = rnd.random() < 0.25, rnd.random() * THINK_S * 4
            name = f"a{number}-{n}"
            recent = list(self.recent_orders)
            # Two admins never name the same set: so a match belongs to the one operation that asked for it.
            own = [o for o in recent if int(o[-4:], 16) % ADMIN_THREADS == number]
            chosen = sorted({own[int(p * len(own))] for p in picks}) if own else []
            if kind == "match_one":
                chosen = chosen[:1]
            op = None
            if kind == "bring_in":
                op = self.bring_in(admin, customer, asset, Decimal(5 + number) + Decimal(n) / 10000, name)
            elif kind == "match_asset":
                op = self.match_asset(admin, asset, name)
            elif chosen and frozenset(chosen) not in asked:
                asked.add(frozenset(chosen))
                op = self.match_one(admin, chosen[0], name) if kind == "match_one" else self.match(admin, chosen, name)
            if op is not None:
                self.perform(op, copies, at_once)
            self.stopping.wait(pause)

    def newcomer_thread(self, _number, rnd):
        nobody, n = Client(self.gateway, None, None), 0
        while not self.stopping.is_set():
            n += 1
            self.perform(self.newcomer(nobody, n), rnd.choice([1, 1, 2]), False)
            self.stopping.wait(0.2 + rnd.random() * 0.4)
