"""The copy under test: where it listens, what its database and its streams hold, its processes and logs.

RUN_DIR says which copy (scripts/README.md); its ports count from PORT_BASE, or from what it was started with.
"""
import contextlib
import functools
import glob
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

import psycopg2
import psycopg2.extensions

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN_DIR = pathlib.Path(os.environ.get("RUN_DIR") or ROOT / ".run").resolve()
PORT_BASE = int(os.environ.get("PORT_BASE") or (RUN_DIR / "port_base").read_text())
BIN = pathlib.Path(os.environ.get("TEST_BIN") or ROOT / "build/release/bin")
SECRETS = RUN_DIR / "secrets"
PORTS = {"gateway": 0, "auth-svc": 1, "order-svc": 2, "asset-svc": 3, "txn-svc": 4, "admin-svc": 5,
         "postgres": 10, "kafka": 11}
SERVICES = ["auth-svc", "order-svc", "asset-svc", "txn-svc", "admin-svc"]
PROCESSES = SERVICES + ["gateway"]
TOPICS = ["order-events", "asset-events", "txn-events", "auth-events", "admin-events"]
BROKERS = f"127.0.0.1:{PORT_BASE + PORTS['kafka']}"


def url(process):
    return f"http://127.0.0.1:{PORT_BASE + PORTS[process]}"


def operator_url(process):
    return f"http://127.0.0.1:{PORT_BASE + PORTS[process] + 1000}"


GATEWAY = os.environ.get("TEST_GATEWAY") or url("gateway")


def eventually(condition, seconds=10, what=None):
    """Waits until the condition holds and gives what it gave; an assertion of its own counts as "not yet"."""
    end, gap = time.monotonic() + seconds, 0.01
    while True:
        try:
            value = condition()
            if value:
                return value
            why = None
        except (AssertionError, OSError, psycopg2.Error) as e:
            why = e
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition.__name__}") from why
        time.sleep(gap)
        gap = min(gap * 1.5, 0.2)


# ---- the database, as the auditor, who reads every schema and writes none ----

@functools.lru_cache(maxsize=None)
def _connection(role):
    connection = psycopg2.connect(host="127.0.0.1", port=PORT_BASE + PORTS["postgres"], dbname="brokerage", user=role,
                                  passfile=str(SECRETS / "pgpass"), connect_timeout=5, application_name="e2e")
    connection.autocommit = True
    return connection


def sql(text, *args, role="auditor"):
    """Rows as tuples. A connection that a stopped PostgreSQL took with it is made anew, once."""
    for last in (False, True):
        try:
            with _connection(role).cursor() as cursor:
                cursor.execute(text, args or None)
                return cursor.fetchall() if cursor.description else []
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            _connection.cache_clear()
            if last:
                raise


def value(text, *args):
    return sql(text, *args)[0][0]


# ---- the audit ----

CONSERVATION = """
-- what: customers' TRY is what came in, less what went out, less what was bought for, plus what was sold for
SELECT held, moved FROM
  (SELECT coalesce(sum(size), 0) AS held FROM assets.account WHERE owner > 0 AND asset = 'TRY') h,
  (SELECT (SELECT coalesce(sum(CASE type WHEN 'DEPOSIT' THEN amount ELSE -amount END), 0)
           FROM txns.transfer WHERE status = 'COMPLETED')
        + (SELECT coalesce(sum((house_value + clearing_value) * CASE side WHEN 'BUY' THEN -1 ELSE 1 END), 0)
           FROM orders.orders) AS moved) m
WHERE held <> moved
"""
REPLAY = """
-- what: balances are what the journal gives, played from the beginning
SELECT coalesce(a.owner, j.owner), coalesce(a.asset, j.asset), a.size, j.size, a.usable, j.usable
FROM assets.account a FULL JOIN (
    SELECT owner, asset, sum(amount) AS size, sum(usable_amount) AS usable FROM assets.journal GROUP BY owner, asset
) j ON j.owner = a.owner AND j.asset = a.asset
WHERE coalesce(a.size, 0) <> coalesce(j.size, 0) OR coalesce(a.usable, 0) <> coalesce(j.usable, 0) LIMIT 20
"""


SCHEMAS = {"order-svc": "orders", "asset-svc": "assets", "txn-svc": "txns", "auth-svc": "auth", "admin-svc": "admin"}
# Some tests park events on purpose, and look at that themselves.
NOT_HERE = {"no_event_is_parked"}


def _files(folder):
    found = {p.stem: p.read_text() for p in sorted((ROOT / folder).glob("*.sql")) if p.stem not in NOT_HERE}
    assert found, f"{folder} holds no checks"
    return found


@functools.lru_cache(maxsize=None)
def checks():
    """scripts/audit's own checks, as {name: (schema, text)}, and two more that it need not make."""
    found = {name: ("pg_catalog", text) for name, text in _files("scripts/audit.d").items()}
    for service, schema in SCHEMAS.items():
        found |= {name: (schema, text) for name, text in _files(f"{service}/checks").items()}
        found |= {f"{schema}_{name}": (schema, text) for name, text in _files("common/svc/checks").items()}
    return {**found, "conservation": ("pg_catalog", CONSERVATION), "journal_replay": ("pg_catalog", REPLAY)}


@functools.lru_cache(maxsize=None)
def _prepared(connection):
    """The checks' plans are made once a connection: an audit takes less time than planning it."""
    with connection.cursor() as cursor:
        for name, (schema, text) in checks().items():
            cursor.execute(f"SET search_path = {schema}")
            cursor.execute(f"PREPARE {name} (timestamptz) AS {text.rstrip().rstrip(';')}")
            cursor.execute("RESET search_path")
    return list(checks())


def audit_once():
    """Every check in one snapshot: {name: rows} of those that found something."""
    connection = _connection("auditor")
    names, wrong = _prepared(connection), {}
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            for name in names:
                cursor.execute(f"SET LOCAL search_path = {checks()[name][0]}")
                cursor.execute(f"EXECUTE {name} (to_timestamp(0))")
                rows = cursor.fetchall()
                if rows:
                    wrong[name] = rows
        finally:
            if connection.closed == 0:
                cursor.execute("ROLLBACK")
    return wrong


_clean_at = ""


def transactions():
    """Changes when anybody has written: transactions get their numbers when they first write."""
    return value("SELECT pg_current_snapshot()::text")


def audit(seconds=10):
    """Clean once the streams are drained, which may take a moment: {} or what is still wrong when time is up.
    When nobody has written since the last clean audit, nothing can have changed."""
    global _clean_at
    end, gap = time.monotonic() + seconds, 0.005
    while True:
        try:
            now = transactions()
            wrong = {} if now == _clean_at else audit_once()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
            _connection.cache_clear()
            wrong = {"the audit could not be run": [str(e)]}
        if not wrong:
            _clean_at = now
        if not wrong or time.monotonic() > end:
            return wrong
        time.sleep(gap)
        gap = min(gap * 2, 0.2)


def drained():
    """Nothing is under way: an event is consumed in the transaction that says what follows from it."""
    return not sql(checks()["consumers_have_read_everything"][1])


# ---- "unchanged" ----

SNAPSHOT = {
    "balances": "SELECT owner, asset, size, usable FROM assets.account WHERE size <> 0 OR usable <> 0 ORDER BY 1, 2",
    "journal": "SELECT count(*) FROM assets.journal",
    "orders": "SELECT status, count(*), sum(version) FROM orders.orders GROUP BY 1 ORDER BY 1",
    "transfers": "SELECT status, count(*) FROM txns.transfer GROUP BY 1 ORDER BY 1",
    "matches": "SELECT count(*) FROM admin.match",
    "users": "SELECT count(*) FROM auth.app_user",
    "keys": "SELECT (SELECT count(*) FROM orders.idempotency), (SELECT count(*) FROM assets.idempotency),"
            " (SELECT count(*) FROM txns.idempotency), (SELECT count(*) FROM admin.idempotency)",
    "events": "SELECT (SELECT sum(last_seq) FROM orders.lane), (SELECT sum(last_seq) FROM assets.lane),"
              " (SELECT sum(last_seq) FROM txns.lane), (SELECT sum(last_seq) FROM auth.lane),"
              " (SELECT sum(last_seq) FROM admin.lane)",
}


def snapshot():
    return {name: sql(text) for name, text in SNAPSHOT.items()}


@contextlib.contextmanager
def unchanged(but=()):
    """What happens inside leaves every balance and every count as it was, `but` those named."""
    eventually(drained)
    before = snapshot()
    yield
    eventually(drained)
    after = snapshot()
    for name in SNAPSHOT:
        if name not in but:
            assert after[name] == before[name], f"{name} changed"


# A refused order is stored as REJECTED, and told of; nothing else.
REFUSED_ORDER = ("orders", "events")
REFUSED_TRANSFER = ("transfers", "events")


# ---- processes ----

def _sv(*words):
    return subprocess.run(["sv", *words], env={**os.environ, "SVDIR": str(RUN_DIR / "service")}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def stop(name):
    (RUN_DIR / "service" / name / "down").touch()  # the supervisor is to leave it so
    done = _sv("-w", "30", "stop", name)
    assert done.returncode == 0, done.stdout


def start(name):
    (RUN_DIR / "service" / name / "down").unlink(missing_ok=True)
    _sv("start", name)


@contextlib.contextmanager
def away(name):
    stop(name)
    try:
        yield
    finally:
        start(name)
        eventually(lambda: is_ready(name), 60, f"{name} is ready again")


def pid(name):
    return int((RUN_DIR / "service" / name / "supervise/pid").read_text() or 0)


def is_ready(name):
    if name in ("postgres", "kafka"):
        with socket.create_connection(("127.0.0.1", PORT_BASE + PORTS[name]), 2):
            pass
        return name == "kafka" or value("SELECT true")
    with urllib.request.urlopen(operator_url(name) + "/readyz", timeout=3) as answer:
        return answer.status == 200


def log_path(name):
    return RUN_DIR / "log" / name / "current"


def log_size(name):
    return log_path(name).stat().st_size


def log_since(name, offset):
    """What a process wrote since; svlogd may have begun a new file meanwhile."""
    with open(log_path(name), "rb") as f:
        size = f.seek(0, os.SEEK_END)
        f.seek(offset if offset <= size else 0)
        return f.read().decode(errors="replace")


def log_lines(name, offset):
    for line in log_since(name, offset).splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def terminate(name, seconds=10):
    """SIGTERM, as any supervisor would: (exit code, seconds it took). Another one is started at once."""
    before, began, mark = pid(name), time.monotonic(), log_size(name)
    os.kill(before, signal.SIGTERM)
    eventually(lambda: not os.path.exists(f"/proc/{before}") or pid(name) != before, seconds, f"{name} ends")
    took = time.monotonic() - began
    told = eventually(lambda: re.search(r"ended with exit code (-?\d+)", log_since(name, mark)), 5, "the supervisor tells")
    eventually(lambda: is_ready(name), 30, f"{name} is ready again")
    return int(told[1]), took


# ---- Kafka, by another client than ours: kcat reads committed records only ----

def kcat(*args, data=None):
    done = subprocess.run(["kcat", "-q", "-b", BROKERS, *args], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def records(topic):
    """All committed records, as dicts: partition, offset, key, value (bytes)."""
    out = []
    for line in kcat("-C", "-t", topic, "-e", "-o", "beginning", "-J").splitlines():
        record = json.loads(line.decode(errors="replace"))  # what others wrote need not be text
        out.append({**record, "value": (record.get("payload") or "").encode()})
    return out


def events(topic):
    """The records that are events of ours; what else was written there is passed over."""
    found = []
    for r in records(topic):
        try:
            event = json.loads(r["value"])
        except ValueError:
            continue
        if isinstance(event, dict) and "partseq" in event:
            found.append({**event, "offset": r["offset"], "of": r["partition"]})
    return found


def produce(topic, partition, key, payload):
    path = RUN_DIR / "e2e-record"
    path.write_bytes(payload)
    try:
        kcat("-P", "-t", topic, "-p", str(partition), "-k", str(key), str(path))
    finally:
        path.unlink()


# ---- tokens of our own, good and bad, signed by the copy's real key ----

def signing_key():
    return sorted((SECRETS / "signing").glob("*.pem"))[0]


def sign_es256(message, key_file):
    """JWS wants r and s side by side, OpenSSL gives them in DER."""
    der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(key_file)], input=message, check=True,
                         stdout=subprocess.PIPE).stdout
    r_len = der[3]
    r, s = der[4:4 + r_len], der[4 + r_len + 2:]
    return r.lstrip(b"\0").rjust(32, b"\0") + s.lstrip(b"\0").rjust(32, b"\0")


def secret_texts():
    """What no log may hold: the contents of every secret file, but those that are public names."""
    out = set()
    for path in glob.glob(f"{SECRETS}/**/*", recursive=True):
        if not os.path.isfile(path):
            continue
        for line in pathlib.Path(path).read_text().splitlines():
            line = line.rsplit(":", 1)[-1].strip() if path.endswith("pgpass") else line.strip()
            if len(line) >= 12 and not line.startswith("-----"):
                out.add(line)
    return out
