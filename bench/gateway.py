"""gateway - CPU time a request on a cached token with everything on (token, role, quota, breaker, metrics, access log), beside
nginx and HAProxy as plain proxies, and HAProxy that verifies the token, counts by user and logs; all before the same small
upstream, one after the other in one run. Then what a refusal by quota costs. Each proxy has one worker on one core; the load
generator (wrk) and the upstream have the other."""
import json
import os
import re
import subprocess
import tempfile
import urllib.request

import measure as m

CONNECTIONS = [64, 256]
SECONDS = int(os.environ.get("BENCH_SECONDS", "8")) // 2
UPSTREAM, NGINX, HAPROXY, GATEWAY, HAPROXY_JWT, STRICT = (m.port(p) for p in (40, 41, 42, 43, 44, 45))
QUOTA = {"limit": 1000000, "burst": 1000000}  # each request is counted, none is refused
BODY = '{"items":[{"customerId":17,"assetName":"TRY","size":"100000","usableSize":"70000","reservedSize":"30000"}],"nextCursor":null}'

NGINX_HEAD = """daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log {dir}/{name}.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {dir}; proxy_temp_path {dir};
fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
"""
UPSTREAM_CONF = NGINX_HEAD + "server {{ listen 127.0.0.1:{up} backlog=4096; location / {{ default_type application/json; return 200 '{body}'; }} }} }}\n"
NGINX_CONF = NGINX_HEAD + """upstream up {{ server 127.0.0.1:{up}; keepalive 512; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{nginx} backlog=4096; location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
HAPROXY_CONF = """global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    http-reuse always
listen bench
    bind 127.0.0.1:{haproxy}
    server up 127.0.0.1:{up}
"""
HAPROXY_JWT_CONF = """global
    nbthread 1
    maxconn 4096
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    http-reuse always
listen bench
    bind 127.0.0.1:{haproxy_jwt}
    stick-table type string len 40 size 64k expire 1m store http_req_rate(1s)
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}
    http-request deny deny_status 403 unless {{ var(txn.bearer),jwt_payload_query('$.role') -m str CUSTOMER }}
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request track-sc0 var(txn.sub)
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}
    server up 127.0.0.1:{up}
"""


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def start(argv, port, **kwargs):
    child = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs)
    m.wait_for(f"{argv[0]} on port {port}", lambda: answers(port))
    return child


def pin(pid, core):
    """The process, its threads and its children."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {core})
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for child in children.read().split():
                pin(int(child), core)


def gateway(folder, port, quota):
    """With these members in every policy."""
    conf = json.loads((m.ROOT / "gateway/gateway.json").read_text())
    conf["upstreams"] = {name: [f"127.0.0.1:{UPSTREAM}"] for name in conf["upstreams"]}
    for policy in conf["policies"].values():
        policy.update(quota)
    path = f"{folder}/gateway-{port}.json"
    with open(path, "w", encoding="ascii") as out:
        json.dump(conf, out)
    settings = {"LISTEN": f"127.0.0.1:{port}", "OPERATOR_LISTEN": f"127.0.0.1:{port + 1000}", "LIMITS": "on",
                "UPSTREAM_IN_FLIGHT_MAX": "512", "HTTP_THREADS": "1", "JWKS_FILE": str(m.RUN_DIR / "jwks.json"),
                "KAFKA_BROKERS": f"127.0.0.1:{m.port(11)}"}
    return start([m.ROOT / "build/release/bin/gateway", "--config", path], port, env=os.environ | settings)


def public_key(folder):
    """Of the key that signs this run's token, for HAProxy."""
    private = max((m.RUN_DIR / "secrets/signing").glob("*.pem"), key=lambda path: path.stat().st_mtime)
    m.run("openssl", "pkey", "-in", private, "-pubout", "-out", f"{folder}/key.pem")
    return f"{folder}/key.pem"


def load(pid, port, connections, token):
    """CPU microseconds a request, requests a second, and errors."""
    before = m.tree_cpu_seconds(pid)
    out = m.run("taskset", "-c", 1, "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency",
                "-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{port}/api/v1/assets")
    used = m.tree_cpu_seconds(pid) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    errors = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", out)))
    for kinds in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out):
        errors += sum(map(int, kinds))
    return used * 1e6 / requests, requests / SECONDS, errors


def main():
    token = m.run(m.BENCH_BIN / "token", m.RUN_DIR / "secrets/signing", 17).strip()
    runs, errors = [], 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        names = {"dir": folder, "up": UPSTREAM, "nginx": NGINX, "haproxy": HAPROXY, "haproxy_jwt": HAPROXY_JWT, "body": BODY,
                 "key": public_key(folder)}
        for name, text in (("upstream", UPSTREAM_CONF), ("nginx", NGINX_CONF), ("haproxy", HAPROXY_CONF), ("haproxy-jwt", HAPROXY_JWT_CONF)):
            with open(f"{folder}/{name}.conf", "w", encoding="ascii") as out:
                out.write(text.format(name=name, **names))
        upstream = start(["nginx", "-c", f"{folder}/upstream.conf"], UPSTREAM)
        proxies = {"nginx": (start(["nginx", "-c", f"{folder}/nginx.conf"], NGINX), NGINX),
                   "haproxy": (start(["haproxy", "-f", f"{folder}/haproxy.conf"], HAPROXY), HAPROXY),
                   "haproxy-jwt": (start(["haproxy", "-f", f"{folder}/haproxy-jwt.conf"], HAPROXY_JWT), HAPROXY_JWT),
                   "gateway": (gateway(folder, GATEWAY, QUOTA), GATEWAY)}
        strict = gateway(folder, STRICT, {"limit": 1, "burst": 5, "periodMs": 60000})
        pin(upstream.pid, 1)
        pin(strict.pid, 0)
        for child, _ in proxies.values():
            pin(child.pid, 0)
        for connections in CONNECTIONS:
            for name, (child, port) in proxies.items():
                cost, rate, failed = load(child.pid, port, connections, token)
                errors += failed
                runs.append({"proxy": name, "connections": connections, "cpu_us": round(cost, 2), "rate": round(rate)})
                m.say(f"  {name:11} {connections:4} connections  {cost:6.1f} us CPU a request  {rate:7.0f} /s  errors {failed}")
        refusal, rate, _ = load(strict.pid, STRICT, CONNECTIONS[0], token)
        m.say(f"  {'429':11} {CONNECTIONS[0]:4} connections  {refusal:6.1f} us CPU a refusal  {rate:7.0f} /s")
        for child in [p for p, _ in proxies.values()] + [strict, upstream]:
            child.terminate()
            child.wait(15)

    def mean(name):
        costs = [r["cpu_us"] for r in runs if r["proxy"] == name]
        return sum(costs) / len(costs)

    m.result("gateway", mean("gateway") / mean("nginx"),
             {"nginx_cpu_us": mean("nginx"), "haproxy_cpu_us": mean("haproxy"), "haproxy_jwt_cpu_us": mean("haproxy-jwt")},
             {"cpu_us": mean("gateway"), "refusal_cpu_us": round(refusal, 2)}, errors,
             to_haproxy=round(mean("gateway") / mean("haproxy"), 3),
             to_haproxy_jwt=round(mean("gateway") / mean("haproxy-jwt"), 3), runs=runs)


main()
