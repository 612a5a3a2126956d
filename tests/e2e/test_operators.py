"""Each process's operator port, its settings, and what /proc shows of it."""
import os
import re
import subprocess
import urllib.error
import urllib.request

import pytest

import house


def fetch(process, path):
    try:
        with urllib.request.urlopen(house.operator_url(process) + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


@pytest.mark.parametrize("process", house.PROCESSES)
def test_a_process_says_that_it_lives_and_is_ready(process):
    assert fetch(process, "/livez") == (200, "ok\n")
    assert fetch(process, "/readyz") == (200, "ready\n")
    status, text = fetch(process, "/readyz?verbose")
    states = dict(line.split(" ", 2)[:2] for line in text.splitlines() if " " in line)
    assert status == 200 and set(states.values()) == {"ok"}
    needed = {"keys", "services"} if process == "gateway" else {"postgres", "lane", "schema", "keys", "relay", "subscriber"}
    assert needed <= set(states)
    assert fetch(process, "/readyz?what")[0] == 400 and fetch(process, "/")[0] == 404


EVERYBODY_S = ["http_server_requests_total", "http_server_request_duration_seconds", "http_server_active_requests"]
GATEWAY_S = ["http_client_request_duration_seconds", "gateway_upstream_connections", "gateway_upstream_errors_total"]
SERVICES_S = ["lane_batch_size", "lane_batch_seconds", "lane_number", "lane_parked_total", "outbox_lag", "consumer_lag", "relay_published_total"]
OWN = {"asset-svc": ["books_violations", "books_checked_seconds"], "gateway": GATEWAY_S,
       **{s: ["sagas_open", "sagas_oldest_seconds", "waiters"] for s in ("auth-svc", "order-svc", "txn-svc", "admin-svc")}}


@pytest.mark.parametrize("process", house.PROCESSES)
def test_a_process_is_measured(process, stranger):
    stranger.call("GET", "/orders/01890000-0000-7000-8000-000000000000/history")
    status, text = fetch(process, "/metrics")
    assert status == 200
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    wanted = {*EVERYBODY_S, *([] if process == "gateway" else SERVICES_S), *OWN[process]}
    assert not wanted - set(kinds)
    assert set(kinds.values()) <= {"counter", "gauge", "histogram"}
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z_]+(\{.+\})? ([-+0-9.e]+|[+-]Inf|NaN)", line), line
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text), "routes are templates, not paths"
    helped = set(re.findall(r"^# HELP (\S+) \S", text, re.M))
    assert set(kinds) == helped


def test_requests_are_counted_by_route_and_status(stranger):
    def count():
        _, text = fetch("gateway", "/metrics")
        return int(re.search(r'http_server_requests_total\{route="/api/v1/orders/\{id\}",method="GET",status="404"\} (\d+)', text)[1])
    before = count()
    for _ in range(3):
        stranger.call("GET", "/orders/x")
    house.eventually(lambda: count() == before + 3)


# ---- wrong settings ----

WRONG = {
    "LISTEN": "nonsense", "OPERATOR_LISTEN": "127.0.0.1:99999", "LOG_LEVEL": "loud", "HTTP_THREADS": "0", "JWKS_FILE": "/no/such/file",
    "DB_URL": "postgresql://u:hunter2hunter2@127.0.0.1/x", "DB_OWNER_URL": "mysql://x", "KAFKA_BROKERS": "", "READER_THREADS": "many",
    "TOPIC_PARTITIONS": "65", "OUTBOX_KEEP_S": "1", "ENVIRONMENT": "A B", "TRUSTED_PROXIES": "gateway", "DB_PASSWORD": "hunter2hunter2", "DB_OWNER_PASSWORD_FILE": "/no/such/file",
}
WRONG_OF = {
    "gateway": {**{k: WRONG[k] for k in ("LISTEN", "OPERATOR_LISTEN", "LOG_LEVEL", "HTTP_THREADS", "JWKS_FILE", "KAFKA_BROKERS", "TRUSTED_PROXIES")},
                "LIMITS": "maybe", "UPSTREAM_IN_FLIGHT_MAX": "0"},
    "auth-svc": {**WRONG, "SIGNING_KEYS_DIR": "/no/such/dir", "PASSWORD_MEMORY_KIB": "8"},
}


def run(process, settings, *args):
    return subprocess.run([house.BIN / process, *args], env={"PATH": os.environ["PATH"], **settings}, timeout=10, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("process", house.PROCESSES)
def test_every_wrong_setting_is_named_at_once(process):
    wrong = WRONG_OF.get(process, WRONG)
    done = run(process, wrong)
    assert done.returncode == 1
    for name in wrong:
        assert re.search(rf"^\W*{name}", done.stderr, re.M), f"{name} is not named in:\n{done.stderr}"
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize("process", house.PROCESSES)
def test_missing_settings_are_named_and_help_explains(process):
    done = run(process, {})
    assert done.returncode == 1
    for name in ["JWKS_FILE", "KAFKA_BROKERS"] + ([] if process == "gateway" else ["DB_URL", "DB_OWNER_URL"]):
        assert name in done.stderr
    told = run(process, {}, "--help")
    assert told.returncode == 0 and "LISTEN" in told.stdout


def test_a_taken_port_is_told(tmp_path):
    taken = f"127.0.0.1:{house.PORT_BASE}"
    done = run("gateway", {"LISTEN": taken, "OPERATOR_LISTEN": f"127.0.0.1:{house.PORT_BASE + 990}", "JWKS_FILE": str(house.RUN_DIR / "jwks.json"), "KAFKA_BROKERS": "127.0.0.1:1"},
               "--config", str(house.RUN_DIR / "conf/gateway.json"))
    assert done.returncode == 1 and str(house.PORT_BASE) in done.stderr + done.stdout


# ---- what others on the machine can see ----

@pytest.mark.parametrize("process", house.PROCESSES)
def test_no_secret_stands_in_arguments_or_environment(process):
    shown = b"".join(open(f"/proc/{house.pid(process)}/{what}", "rb").read() for what in ("cmdline", "environ")).decode(errors="replace")
    for secret in house.secret_texts():
        assert secret not in shown


def test_secrets_are_readable_by_their_owner_only():
    for folder, _, files in os.walk(house.SECRETS):
        for name in files:
            assert os.stat(os.path.join(folder, name)).st_mode & 0o077 == 0, name


# ---- what the database lets each role do ----

@pytest.mark.parametrize("role, text", [
    ("orders_app", "SELECT * FROM assets.account"), ("orders_app", "UPDATE orders.order_history SET reason = 'x'"),
    ("orders_app", "DELETE FROM orders.order_history"), ("assets_app", "UPDATE assets.journal SET amount = 0"),
    ("assets_app", "DELETE FROM assets.journal"), ("assets_app", "SELECT * FROM orders.orders"), ("txns_app", "SELECT * FROM auth.app_user"),
    ("admin_app", "SELECT * FROM assets.journal"), ("auth_app", "DELETE FROM auth.app_user"), ("assets_app", "DROP TABLE assets.journal"),
    ("assets_app", "TRUNCATE assets.journal"), ("assets_app", "CREATE TABLE assets.x (a int)"), ("auditor", "SELECT password_hash FROM auth.app_user"),
    ("auditor", "DELETE FROM orders.orders"), ("auditor", "SELECT hash FROM auth.refresh_token"),
])
def test_a_role_can_not_do_what_is_not_its_own(role, text):
    with pytest.raises(house.psycopg2.errors.lookup("42501")) as refused:
        house.sql("SET default_transaction_read_only = off", role=role)
        house.sql(text, role=role)
    assert "permission denied" in str(refused.value) or "must be owner" in str(refused.value)
