"""PostgreSQL away, Kafka away, foreign and doubled records, processes told to stop: nothing lost, nothing doubled."""
import collections
import json
import os
import re
import signal
import threading
import urllib.error
import urllib.request
import uuid

import pytest

import house
from client import IBAN, call, new_key, new_name, new_password, ok, parallel, problem, try_login, try_register

ORDER = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "100"}


def status_of(process, path):
    try:
        with urllib.request.urlopen(house.operator_url(process) + path, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


def metric(process, name):
    with urllib.request.urlopen(house.operator_url(process) + "/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(float(v) for v in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


# ---- the streams, read from outside ----

def assert_streams_are_whole():
    """Each event exactly once in the read_committed view, each lane's numbers dense in each partition, as many as were committed."""
    schemas = {"order-svc": "orders", "asset-svc": "assets", "txn-svc": "txns", "auth-svc": "auth", "admin-svc": "admin"}
    seen = collections.defaultdict(list)
    ids = []
    for topic in house.TOPICS:
        for e in house.events(topic):
            ids.append(e["id"])
            seen[e["source"], topic, e["lane"], e["epoch"], e["of"]].append(e["partseq"])
            assert e["partition"] == e["of"]
    doubles = [i for i, n in collections.Counter(ids).items() if n > 1]
    assert not doubles, f"{len(doubles)} events stand twice"
    for stream, numbers in seen.items():
        assert numbers == list(range(1, len(numbers) + 1)), f"{stream} is not dense"
    last = {key[:3] + (key[4],): len(numbers) for key, numbers in seen.items()}
    for service, schema in schemas.items():
        for lane, topic, partition, part_seq in house.sql(f"SELECT lane, topic, partition, part_seq FROM {schema}.lane_counter"):
            if not topic.endswith(".dlq"):
                assert last.get((service, topic, lane, partition)) == part_seq, (service, topic, lane, partition)


# ---- PostgreSQL ----

def test_postgresql_away_is_a_503_without_half_an_effect_and_comes_back_by_itself(A, admin):
    order = A.buy("THYAO", 1, 100)
    tokens = A.token, admin.token
    name, password = new_name(), new_password()
    requests = [(A, "POST", "/orders", ORDER), (A, "DELETE", f"/orders/{order['id']}", None), (A, "GET", "/orders", None),
                (A, "GET", f"/orders/{order['id']}", None), (A, "POST", "/transactions/deposits", {"amount": "1"}),
                (A, "POST", "/transactions/withdrawals", {"amount": "1", "iban": IBAN}), (A, "GET", "/assets", None),
                (A, "POST", "/orders/estimate", ORDER), (A, "GET", "/transactions", None),
                (admin, "POST", "/admin/matches", {"orderIds": [order["id"]]}), (admin, "GET", "/admin/matches", None),
                (admin, "POST", "/assets", {"customerId": A.id, "assetName": "THYAO", "size": "1"})]
    with house.unchanged():
        with house.away("postgres"):
            for user, method, path, body in requests:
                token = tokens[0] if user is A else tokens[1]
                answer = call(method, path, token=token, body=body)
                assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
                problem(answer, 503, "unavailable")
            assert try_register(name, password).status_code == 503
            assert try_login(A.username, A.password).status_code == 503
            for service in house.SERVICES:
                house.eventually(lambda: status_of(service, "/readyz") == 503, what=f"{service} is not ready")
                assert status_of(service, "/livez") == 200
        for service in house.PROCESSES:
            house.eventually(lambda: house.is_ready(service), 20, f"{service} is ready again")
    assert A.buy("THYAO", 1, 100)["status"] == "PENDING"
    A.cancel(order["id"])
    assert A.holding() == (100000, 99900)
    ok(try_register(name, password), 201)


# ---- Kafka ----

def test_kafka_away_leaves_orders_to_be_finished_later_each_once(customer, admin):
    users = [customer(TRY=1000, ASELS=10) for _ in range(3)]
    open_order, doomed = users[0].buy("THYAO", 1, 100), users[1].buy("THYAO", 1, 100)
    key, name, password = new_key(), new_name(), new_password()
    with house.away("kafka"):
        def buy(i):
            return users[i % 3].try_place("BUY", "THYAO", 1, 100, headers={"Idempotency-Key": f"{key}-{i}"})

        def work(i):
            if i < 12:
                return buy(i)
            return [lambda: users[0].try_cancel(open_order["id"]),
                    lambda: users[1].call("POST", "/transactions/deposits", {"amount": "7"}),
                    lambda: users[2].try_withdraw(5), lambda: try_register(name, password),
                    lambda: admin.call("POST", "/admin/matches", {"orderIds": [doomed["id"]]})][i - 12]()
        answers = parallel(17, work)
        for a in answers[:12]:
            assert a.status_code == 202 and 2.5 < a.elapsed.total_seconds() < 5, f"{a.status_code} {a.elapsed}"
            assert ok(users[answers.index(a) % 3].call("GET", a.headers["Location"]))["status"] == "NEW"
        assert [a.status_code for a in answers[12:]] == [202] * 5
        assert all("Location" in a.headers for a in answers[12:])
        assert ok(users[0].call("GET", answers[12].headers["Location"]))["status"] == "CANCELED"
        assert ok(users[1].call("GET", answers[13].headers["Location"]))["status"] == "PENDING"
        again = users[0].try_place("BUY", "THYAO", 1, 100, headers={"Idempotency-Key": f"{key}-0", "Prefer": "wait=0"})
        assert again.status_code == 202 and again.headers["Location"] == answers[0].headers["Location"]
        assert again.headers["Idempotency-Replayed"] == "true"
        for process in house.PROCESSES:
            assert status_of(process, "/readyz") == 200, "Kafka is not needed to be ready"
        assert metric("order-svc", "outbox_lag") >= 12
        assert users[0].holding() == (1000, 900), "reads go on"
    house.eventually(lambda: not house.audit(0), 30, "all is drained")
    for i, a in enumerate(answers[:12]):
        assert ok(users[i % 3].call("GET", a.headers["Location"]))["status"] == "PENDING"
    assert users[0].holding() == (1000, 600)
    assert users[1].holding() == (907, 507) and users[1].holding("THYAO") == (1, 1)
    assert users[2].holding() == (995, 595)
    assert users[1].order(doomed["id"])["status"] == "MATCHED"
    ok(try_login(name, password))
    assert_streams_are_whole()


# ---- a service ----

def test_a_service_away_is_a_503_and_the_others_go_on(A):
    with house.unchanged():
        with house.away("txn-svc"):
            for method, path, body in [("POST", "/transactions/deposits", {"amount": "1"}), ("GET", "/transactions", None)]:
                problem(A.call(method, path, body), 503, "upstream_unavailable")
            assert A.orders() == [] and A.holding() == (100000, 100000)
            assert status_of("gateway", "/readyz") == 200
    house.eventually(lambda: A.call("GET", "/transactions").status_code == 200, 10, "the circuit is closed again")
    assert A.deposit(1)["status"] == "COMPLETED"


def test_a_service_that_hangs_is_a_504_and_the_same_key_tells_the_outcome(A):
    """Stopped in the middle: what was sent may be done when it wakes up; done once it is, however often it is asked."""
    headers = {"Idempotency-Key": new_key()}
    hanging = house.pid("txn-svc")
    os.kill(hanging, signal.SIGSTOP)
    try:
        answer = A.call("POST", "/transactions/deposits", {"amount": "1"}, headers=headers)
        problem(answer, 504, "outcome_unknown")
        assert 4 < answer.elapsed.total_seconds() < 7
    finally:
        os.kill(hanging, signal.SIGCONT)
    again = house.eventually(lambda: (a := A.call("POST", "/transactions/deposits", {"amount": "1"}, headers=headers)).status_code == 201 and a)
    assert again.json()["status"] == "COMPLETED"
    assert A.holding() == (100001, 100001)


# ---- records that are not ours, and records that are, twice ----

GARBAGE = {
    "no JSON": b"this is no JSON", "an array": b"[]", "an empty object": b"{}", "bytes": bytes(range(1, 9)) + b"\xff\xfe",
    "another's CloudEvent": json.dumps({"specversion": "1.0", "id": "x", "source": "/somebody", "type": "a.b", "data": {}}).encode(),
    "a cut event": b'{"specversion":"1.0","id":"01890000-0000-7000-8000-0000000',
}


def partition_of(user):
    return next(e["of"] for e in house.events("auth-events") if e["subject"] == str(user.id))


def test_a_record_that_can_not_be_decoded_is_parked_and_the_partition_goes_on(A):
    partition = partition_of(A)
    before = {s: house.value(f"SELECT count(*) FROM {s}.parked_event") for s in ("assets", "admin")}
    counted = metric("asset-svc", "lane_parked_total")
    with house.unchanged(but=("events",)):  # the copies to the .dlq are events of their own
        for payload in GARBAGE.values():
            house.produce("order-events", partition, A.id, payload)
        for schema in before:
            house.eventually(lambda: house.value(f"SELECT count(*) FROM {schema}.parked_event") == before[schema] + len(GARBAGE))
    parked = house.sql("SELECT topic, partition, reason, record FROM assets.parked_event ORDER BY parked_at DESC, record_offset DESC LIMIT %s", len(GARBAGE))
    assert {(t, p) for t, p, _, _ in parked} == {("order-events", partition)}
    assert all(len(reason) > 5 for _, _, reason, _ in parked)
    assert GARBAGE["no JSON"].decode() in {json.loads(record) for _, _, _, record in parked}
    copies = house.eventually(lambda: (c := [r for r in house.records("order-events.dlq") if b"this is no JSON" in r["value"]]) and c)
    assert len(copies) == 2, "one of each consumer"
    assert A.buy("THYAO", 1, 100)["status"] == "PENDING", "the partition goes on"
    assert metric("asset-svc", "lane_parked_total") == counted + len(GARBAGE), "somebody must be woken"


def test_an_event_delivered_again_has_no_second_effect(A, admin):
    canceled, matched = A.buy("THYAO", 1, 100), A.buy("THYAO", 2, 100)
    A.cancel(canceled["id"])
    admin.match(matched["id"])
    assert not house.audit()
    partition = partition_of(A)
    mine = {topic: [r for r in house.records(topic) if r["partition"] == partition
                    and (canceled["id"].encode() in r["value"] or matched["id"].encode() in r["value"])]
            for topic in ("order-events", "asset-events", "txn-events", "admin-events")}
    assert {json.loads(r["value"])["type"] for r in mine["order-events"]} >= {"order.placed", "order.canceled", "order.filled"}
    consumers = {"order-events": ["assets", "admin"], "asset-events": ["orders", "admin"], "txn-events": ["assets"], "admin-events": ["orders"]}
    with house.unchanged():
        for topic, records in mine.items():
            for record in records:
                for _ in range(2):
                    house.produce(topic, record["partition"], record["key"], record["value"])
        for topic, schemas in consumers.items():
            end = max((r["offset"] for r in house.records(topic) if r["partition"] == partition), default=-1)
            for schema in schemas:
                house.eventually(lambda: house.value(f"SELECT next_offset FROM {schema}.consumer_position WHERE topic = %s AND partition = %s",
                                                     topic, partition) > end, what=f"{schema} has read {topic}")
    assert A.holding() == (99800, 99800) and A.holding("THYAO") == (2, 2)
    assert A.order(canceled["id"])["status"] == "CANCELED"


# ---- SIGTERM ----

@pytest.mark.parametrize("process", house.PROCESSES)
def test_a_process_told_to_stop_under_load_loses_nothing(process, customer, admin):
    """Clients that do as they are told: a 5xx or a broken connection is tried again with the same key."""
    users = [customer(TRY=10000) for _ in range(4)]
    stop, acknowledged, odd = threading.Event(), collections.defaultdict(list), []

    def work(user):
        while not stop.is_set():
            key = str(uuid.uuid4())
            for _ in range(50):
                try:
                    answer = user.call("POST", "/orders", ORDER, headers={"Idempotency-Key": key})
                except OSError:
                    stop.wait(0.1)
                    continue
                if answer.status_code in (201, 202):
                    acknowledged[user.id].append(answer.headers["Location"].rsplit("/", 1)[1])
                    break
                if answer.status_code not in (503, 504):
                    odd.append(answer.text)
                    return
                stop.wait(0.1)
            if len(acknowledged[user.id]) >= 95:
                return

    clients = [threading.Thread(target=work, args=(u,)) for u in users]
    for c in clients:
        c.start()
    try:
        house.eventually(lambda: sum(map(len, acknowledged.values())) >= 8, 20, "orders come in")
        code, took = house.terminate(process)
        so_far = sum(map(len, acknowledged.values()))
        house.eventually(lambda: sum(map(len, acknowledged.values())) >= min(so_far + 8, 4 * 95), 20, "orders come in again")
    finally:
        stop.set()
        for c in clients:
            c.join()
    assert code == 0 and took < 10, f"exit code {code} after {took:.1f} s"
    assert not odd, odd
    assert not house.audit()
    for user in users:
        stored = {str(i) for i, in house.sql("SELECT id FROM orders.orders WHERE customer_id = %s AND status = 'PENDING'", user.id)}
        assert set(acknowledged[user.id]) <= stored, "an acknowledged order is gone"
        assert len(acknowledged[user.id]) == len(set(acknowledged[user.id])), "two keys, one order"
        assert len(stored) - len(acknowledged[user.id]) <= 1, "only the one whose client was stopped may be unknown to him"


def test_after_all_that_the_streams_are_whole_but_for_what_we_doubled():
    """Of the doubled records only our own copies are more: whatever a lane published stands there once, in order."""
    for topic in house.TOPICS:
        last = {}
        for e in house.events(topic):
            stream = (e["source"], e["lane"], e["epoch"], e["of"])
            assert e["partseq"] <= last.get(stream, 0) + 1, f"a gap in {stream} of {topic}"
            last[stream] = max(last.get(stream, 0), e["partseq"])
