"""The running copy under test: where it listens, which pid is whose, who is ready, and what its database holds."""

import os
import subprocess
import time
from pathlib import Path

import psycopg2
import requests

ROOT = Path(__file__).resolve().parents[2]
RUN_DIR = Path(os.environ.get("RUN_DIR", ROOT / ".run")).resolve()
PORT_BASE = int(os.environ.get("PORT_BASE") or (RUN_DIR / "port_base").read_text())
GATEWAY = f"http://127.0.0.1:{PORT_BASE}"
BROKERS = f"127.0.0.1:{PORT_BASE + 11}"

PROCESSES = ["gateway", "auth-svc", "order-svc", "asset-svc", "txn-svc", "admin-svc"]  # in the order of their ports
SCHEMAS = {"auth-svc": "auth", "order-svc": "orders", "asset-svc": "assets", "txn-svc": "txns", "admin-svc": "admin"}
TOPICS = {"auth-svc": "auth-events", "order-svc": "order-events", "asset-svc": "asset-events", "txn-svc": "txn-events",
          "admin-svc": "admin-events"}


def wait_until(condition, seconds, what):
    """Returns what `condition` returned when it became true, and fails with `what` (a text, or a function that makes it)."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


# ---- processes ----

def pid_of(name):
    """The pid of a supervised process, or None while there is none."""
    try:
        supervise = RUN_DIR / "service" / name / "supervise"
        text = (supervise / "pid").read_text().strip()
        return int(text) if text and (supervise / "stat").read_text().startswith("run") else None
    except OSError:
        return None


def operator_get(port, path):
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=2)
    except requests.RequestException:
        return None


def is_ready(name):
    if name == "postgres":
        try:
            return sql("SELECT 1") is not None
        except psycopg2.Error:
            return False
    if name == "kafka":
        return subprocess.run(["kcat", "-L", "-b", BROKERS, "-m", "2"], capture_output=True, timeout=10).returncode == 0
    answer = operator_get(PORT_BASE + PROCESSES.index(name) + 1000, "/readyz")
    return answer is not None and answer.status_code == 200


def state_of(operator_port):
    """/readyz?verbose as {check: what it says}; {} while nobody answers."""
    answer = operator_get(operator_port, "/readyz?verbose")
    lines = [line.split(" ", 2) for line in answer.text.splitlines()] if answer is not None else []
    return {line[0]: line[2] for line in lines if len(line) == 3}


# ---- the database ----

def _password(role):
    return (RUN_DIR / "secrets" / f"db_{role}").read_text().strip()


def sql(query, params=(), role="auditor"):
    connection = psycopg2.connect(host="127.0.0.1", port=PORT_BASE + 10, dbname="brokerage", user=role,
                                  password=_password(role), connect_timeout=3)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, params)
            return cursor.fetchall()
    finally:
        connection.close()


def admin_password():
    return (RUN_DIR / "secrets" / "admin_password").read_text().strip()
