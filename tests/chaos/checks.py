"""What must hold when all is healed: what clients were told against what is there."""

import json
import os
import re
import subprocess
import time
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal

import house
from load import ASSETS, DONE, NOTHING, REFUSED, UNKNOWN

SETTLED_WITHIN_S = 10
ASK_AGAIN_TRIES, ASK_AGAIN_DONE_EVERY = 5, 10  # of what was acknowledged, every tenth key is asked again, too
CLOCK_SLACK_S = 0.005
SHOWN_MAX = 20

OPEN_SAGAS = """
    SELECT 'orders NEW', count(*) FROM orders.orders WHERE status = 'NEW'
    UNION ALL SELECT 'orders canceled, not given back', count(*) FROM orders.orders WHERE status = 'CANCELED' AND books_version < version
    UNION ALL SELECT 'transfers PENDING', count(*) FROM txns.transfer WHERE status = 'PENDING'
    UNION ALL SELECT 'matches unfinished', count(*) FROM admin.match WHERE state <> 'DONE'
""" + "".join(f"""
    UNION ALL SELECT 'outbox lag of {schema}', coalesce(sum(last_seq - published_upto), 0) FROM {schema}.lane
    UNION ALL SELECT 'events parked by {schema}', count(*) FROM {schema}.parked_event
""" for schema in house.SCHEMAS.values())


def await_settled():
    """Outboxes published, sagas at their end: within ten seconds of healing."""
    began = time.monotonic()
    left = [("?", 0)]

    def settled():
        left[:] = [row for row in house.sql(OPEN_SAGAS) if row[1] != 0]
        return not left

    house.wait_until(settled, SETTLED_WITHIN_S, lambda: f"all sagas are finished, all events published: {left}")
    return time.monotonic() - began


def audit():
    run = subprocess.run([house.ROOT / "scripts" / "audit"], capture_output=True, text=True, check=False,
                         env={**os.environ, "RUN_DIR": str(house.RUN_DIR)})
    assert run.returncode == 0, run.stdout + run.stderr


def check_ends(since):
    """Only what we killed has ended: a process that ends by itself has a bug, however well the rest bears it."""
    wrong = []
    for name in house.PROCESSES + ["postgres", "kafka"]:
        for line in (house.RUN_DIR / "log" / name / "current").read_text(errors="replace").splitlines():
            found = re.match(r"(\S+) supervisor: ended (?!by signal 9 )", line)
            if found and datetime.fromisoformat(found[1].replace("Z", "+00:00")) >= since:
                wrong.append(f"{name}: {line}")
    assert not wrong, report("processes ended by themselves", wrong)


# ---- events, read from outside ----

def records_of(topic):
    """Every committed record, as (partition, offset, key, event)."""
    run = subprocess.run(["kcat", "-C", "-q", "-e", "-b", house.BROKERS, "-t", topic, "-o", "beginning",
                          "-X", "isolation.level=read_committed", "-f", "%p\t%o\t%k\t%s\n"],
                         capture_output=True, text=True, check=True, timeout=120)
    for line in run.stdout.splitlines():
        partition, offset, key, value = line.split("\t", 3)
        yield int(partition), int(offset), key, json.loads(value)


def check_sequences():
    """part_seq of each (topic, partition, source, epoch, lane): 1, 2, 3 … as far as the source has counted."""
    wrong, events = [], 0
    for service, topic in house.TOPICS.items():
        last, ids = Counter(), set()
        for partition, offset, key, event in records_of(topic):
            events += 1
            stream = (partition, event["source"], event["epoch"], event["lane"])
            where = f"{topic}/{partition} at {offset}, lane {event['lane']} of {event['source']}"
            if event["partseq"] != last[stream] + 1:
                wrong.append(f"{where}: part_seq {event['partseq']} after {last[stream]}")
            if event["id"] in ids:
                wrong.append(f"{where}: event {event['id']} a second time")
            if event["partition"] != partition:
                wrong.append(f"{where}: the event says partition {event['partition']} (key {key})")
            last[stream] = event["partseq"]
            ids.add(event["id"])
        seen = {(lane, partition): seq for (partition, _, _, lane), seq in last.items()}
        counted = {(lane, partition): seq for lane, partition, seq in house.sql(
            f"SELECT lane, partition, part_seq FROM {house.SCHEMAS[service]}.lane_counter WHERE topic = %s", (topic,))}
        if seen != counted:
            wrong.append(f"{topic}: read {seen}, but the source has counted to {counted}")
    assert not wrong, report("the topics are not dense", wrong)
    return events


# ---- asking again ----

def ask_again(load):
    """Each unknown key is asked once more, and some that were acknowledged: one consistent answer, no second effect."""
    asked = 0
    for n, op in enumerate(load.operations):
        unknown = op.outcome() == UNKNOWN
        if not unknown and not (op.outcome() == DONE and op.kind not in ("register", "cancel") and n % ASK_AGAIN_DONE_EVERY == 0):
            continue
        asked += 1
        for _ in range(ASK_AGAIN_TRIES):
            promise = load.attempt(op)
            if promise in (DONE, REFUSED):
                break
        assert promise in (DONE, REFUSED), f"asked again in peace, {op.kind} {op.key or op.path} is answered {op.attempts[-1]}"
        if unknown:
            # A name that is taken can only be taken by the first request: that is how a registration is asked for again.
            op.asked_again = DONE if op.kind == "register" else promise
    return asked


# ---- effects ----

class Effects:
    """All that is there of this load's customers, read at once."""

    def __init__(self, load):
        customers = [c.customer_id for c in load.customers]
        self.orders, self.order_by_id = defaultdict(list), {}
        for row in house.sql("""SELECT id::text, client_order_id, status, side, asset, size, price, house_size + clearing_size,
                house_value + clearing_value, customer_id, extract(epoch FROM create_date)::float8
                FROM orders.orders WHERE customer_id = ANY (%s)""", (customers,)):
            order = dict(zip(("id", "clientOrderId", "status", "side", "asset", "size", "price", "matched", "value",
                              "customer", "at"), row))
            self.orders[order["clientOrderId"]].append(order)
            self.order_by_id[order["id"]] = order
        self.transfers = defaultdict(list)
        for row in house.sql("""SELECT id::text, type, customer_id, amount, status, extract(epoch FROM create_date)::float8
                FROM txns.transfer WHERE customer_id = ANY (%s)""", (customers,)):
            transfer = dict(zip(("id", "type", "customer", "amount", "status", "at"), row))
            self.transfers[transfer["type"], transfer["customer"], transfer["amount"]].append(transfer)
        self.brought_in = defaultdict(list)
        for owner, asset, amount, at in house.sql("""SELECT owner, asset, amount, extract(epoch FROM at)::float8
                FROM assets.journal WHERE type = 'BROUGHT_IN' AND owner = ANY (%s)""", (customers,)):
            self.brought_in[owner, asset, amount].append({"id": None, "at": at})
        self.matches, self.matches_of_asset = defaultdict(list), Counter()
        for match_id, asset, state, at, legs in house.sql("""SELECT m.match_id::text, m.asset, m.state,
                extract(epoch FROM m.create_date)::float8, json_agg(json_build_array(l.order_id, l.outcome, l.size::text)
                ORDER BY l.position) FROM admin.match m LEFT JOIN admin.match_leg l USING (match_id)
                WHERE m.create_date >= %s GROUP BY m.match_id""", (load.since,)):
            if asset:
                self.matches_of_asset[asset] += 1
            legs = {order: (outcome, Decimal(size)) for order, outcome, size in legs if order}
            match = {"id": match_id, "state": state, "at": at, "legs": legs}
            self.matches[asset or frozenset(legs)].append(match)
        self.users = Counter(name for (name,) in house.sql("SELECT username FROM auth.app_user"))


def effects_of(op, effects):
    """(all that this operation's requests left, what of it counts)."""
    if op.kind == "order":
        found = effects.orders[op.about["clientOrderId"]]
        return found, [o for o in found if o["status"] != "REJECTED"]
    if op.kind in ("deposit", "withdraw"):
        side = "DEPOSIT" if op.kind == "deposit" else "WITHDRAWAL"
        found = effects.transfers[side, op.about["customer"], op.about["amount"]]
        return found, [t for t in found if t["status"] != "REJECTED"]
    if op.kind == "bring_in":
        found = effects.brought_in[op.about["customer"], op.about["asset"], op.about["size"]]
    elif op.kind in ("match", "match_one"):
        found = effects.matches[op.about["orders"]]
    elif op.kind == "register":
        found = [{"id": None, "at": None}] * effects.users[op.about["username"]]
    else:
        found = []
    return found, found


def was_made_by_a_promise(op, effect):
    """Not while nothing but "nothing happened" was answered: some other request of this key was under way, or came later."""
    if effect["at"] is None:
        return True
    return any(a["promise"] != NOTHING and a["start"] - CLOCK_SLACK_S <= effect["at"] and
               (a["promise"] == UNKNOWN or effect["at"] <= a["end"] + CLOCK_SLACK_S) for a in op.attempts)


def complaints_about(op, effects, matched_assets, canceled, named):
    if op.kind == "cancel":
        yield from complaints_about_cancel(op, effects)
        return
    if op.kind == "match_asset":
        yield from complaints_about_match_asset(op, effects)
        return
    found, live = effects_of(op, effects)
    outcome = op.outcome()
    if outcome == NOTHING and found:
        yield f"a lie: nothing was to have happened, but there is {found}"
    if outcome == REFUSED and op.kind != "match_one" and live:
        yield f"refused, but there is {live}"
    if len(live) > 1:
        yield f"{len(live)} effects of one key: {live}"
    for effect in live:
        if not was_made_by_a_promise(op, effect):
            yield f"a lie: made while only \"nothing happened\" was answered: {effect}"
    finished = op.ids_with(DONE, 200, 201)
    if len(finished) > 1:
        yield f"one key was answered with {finished}"
    if outcome == DONE and (finished or op.kind in ("deposit", "bring_in", "register")) and len(live) != 1:
        yield f"acknowledged {finished}, but there is {live}"
    if finished and live and live[0]["id"] is not None and finished != {live[0]["id"]}:
        yield f"acknowledged as {finished}, but {live[0]['id']} is there"
    missing = op.ids_with(DONE) - {e["id"] for e in found}
    if op.kind != "register" and op.kind != "bring_in" and missing:
        yield f"acknowledged {missing}, which is not there"
    if op.kind == "order":
        yield from complaints_about_order(op, found, matched_assets, canceled, named)
    if op.kind in ("match", "match_one"):
        yield from complaints_about_match(op, live)


def complaints_about_order(op, found, matched_assets, canceled, named):
    refused = op.ids_with(REFUSED)
    for order in found:
        if order["status"] == "NEW":
            yield f"never finished: {order}"
        if order["id"] in refused and order["status"] != "REJECTED":
            yield f"refused as insufficient, but {order}"
        if order["status"] == "CANCELED" and order["id"] not in canceled:
            yield f"nobody's cancel was acknowledged, but {order}"
        if order["matched"] and order["id"] not in named and order["asset"] not in matched_assets:
            yield f"nobody asked to match it, but {order}"


def complaints_about_cancel(op, effects):
    order = effects.order_by_id.get(op.about["order"])
    outcome = op.outcome()
    if order is None:
        yield "the order is gone"
    elif outcome == DONE and order["status"] != "CANCELED":
        yield f"acknowledged, but {order}"
    elif outcome == REFUSED and order["status"] not in ("MATCHED", "REJECTED"):
        yield f"refused as not cancelable, but {order}"


def complaints_about_match(op, live):
    if len(live) != 1:
        return
    match = live[0]
    if match["state"] != "DONE":
        yield f"never finished: {match}"
    for attempt in op.attempts:
        if attempt["status"] != 200:
            continue
        told = {r["orderId"]: (r["outcome"], Decimal(r["size"])) for r in attempt["answer"]["results"]}
        if told != match["legs"]:
            yield f"answered {told}, but there is {match['legs']}"
    if op.outcome() == REFUSED and {outcome for outcome, _ in match["legs"].values()} != {"REJECTED"}:
        yield f"refused, but {match['legs']}"


def complaints_about_match_asset(op, effects):
    there = {m["id"] for m in effects.matches[op.about["asset"]] if m["state"] == "DONE"}
    if op.ids_with(DONE) - there:
        yield f"acknowledged {op.ids_with(DONE)}, which is not there or not finished"
    if len(op.ids_with(DONE)) > 1:
        yield f"one key was answered with {op.ids_with(DONE)}"


def check_operations(load, effects):
    ops = load.operations
    matched_assets = {op.about["asset"] for op in ops if op.kind == "match_asset" and op.outcome() == DONE}
    canceled = {op.about["order"] for op in ops if op.kind == "cancel" and op.outcome() == DONE}
    named = set().union(*(op.about["orders"] for op in ops if op.kind in ("match", "match_one") and op.outcome() != NOTHING))
    wrong = [f"{op.kind} {op.key or op.path} ({op.outcome()}): {complaint}\n        "
             + "\n        ".join(f"{a['start']:.3f}..{a['end']:.3f} {a['promise']} {a['status']} {a['code']} {a['resource']}"
                                 + (" replayed" if a["replayed"] else "") for a in op.attempts)
             for op in ops for complaint in complaints_about(op, effects, matched_assets, canceled, named)]

    for asset in ASSETS:
        asked = sum(op.kind == "match_asset" and op.about["asset"] == asset and op.outcome() == DONE for op in ops)
        if effects.matches_of_asset[asset] != asked:
            wrong.append(f"{effects.matches_of_asset[asset]} matches of all {asset}, but {asked} operations asked for one")
    ours = {op.about["clientOrderId"] for op in ops if op.kind == "order"}
    wrong += [f"an order that nobody placed: {effects.orders[name]}" for name in effects.orders if name not in ours]
    assert not wrong, report("clients were told what is not so", wrong)


def check_balances(load, effects):
    """Each customer's balances, as the gateway tells them, against what his operations add up to."""
    size, reserved = defaultdict(Decimal), defaultdict(Decimal)
    for op in load.operations:
        if op.outcome() != DONE:
            continue
        if op.kind == "bring_in":
            size[op.about["customer"], op.about["asset"]] += op.about["size"]
        if op.kind in ("deposit", "withdraw") and effects_of(op, effects)[1]:
            size[op.about["customer"], "TRY"] += op.about["amount"] * (1 if op.kind == "deposit" else -1)
    for order in effects.order_by_id.values():
        sign = 1 if order["side"] == "BUY" else -1
        size[order["customer"], order["asset"]] += sign * order["matched"]
        size[order["customer"], "TRY"] -= sign * order["value"]
        if order["status"] == "PENDING":
            left = order["size"] - order["matched"]
            which, amount = ("TRY", left * order["price"]) if order["side"] == "BUY" else (order["asset"], left)
            reserved[order["customer"], which] += amount

    wrong = []
    for customer in load.customers:
        items = {i["assetName"]: i for i in customer.get("/api/v1/assets?limit=200")["items"]}
        for asset in ["TRY"] + ASSETS:
            key, item = (customer.customer_id, asset), items.get(asset, {"size": "0", "usableSize": "0"})
            if (Decimal(item["size"]), Decimal(item["usableSize"])) != (size[key], size[key] - reserved[key]):
                wrong.append(f"customer {key[0]} has {item}, but his operations add up to {size[key]}, of it {reserved[key]} set aside")
    assert not wrong, report("balances differ from the model", wrong)


def report(title, lines):
    more = f"\n  … and {len(lines) - SHOWN_MAX} more" if len(lines) > SHOWN_MAX else ""
    return title + ":\n  " + "\n  ".join(lines[:SHOWN_MAX]) + more


def check_all(load):
    """The whole of it, in the order in which a fault is best understood."""
    check_ends(load.since)
    settled_s = await_settled()
    wrong = [f"{w['op']} {w['key']}: {w['status']} {w['code']} {w['answer']}" for w in load.wrong]
    assert not wrong, report("answers that nothing explains", wrong)
    asked = ask_again(load)
    await_settled()
    effects = Effects(load)
    check_operations(load, effects)
    check_balances(load, effects)
    audit()
    events = check_sequences()
    ends = Counter(a["promise"] for op in load.operations for a in op.attempts)
    return (f"settled {settled_s:.1f} s after healing; {len(load.operations)} operations, requests {dict(ends)}, "
            f"{asked} asked again, {events} events dense")
