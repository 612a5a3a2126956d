"""gateway - CPU time a request on a cached token, beside nginx and HAProxy as plain proxies of the same small upstream, one after
the other in one run. Each proxy has one worker on one core; the load generator (wrk) and the upstream have the other."""
import json
import os
import re
import subprocess
import tempfile
import urllib.request

import measure as m

CONNECTIONS = [64, 256]
SECONDS = int(os.environ.get("BENCH_SECONDS", "8")) // 2
UPSTREAM, NGINX, HAPROXY, GATEWAY = (m.port(p) for p in (40, 41, 42, 43))
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


def gateway(folder):
    conf = json.loads((m.ROOT / "gateway/gateway.json").read_text())
    conf["upstreams"] = {name: [f"127.0.0.1:{UPSTREAM}"] for name in conf["upstreams"]}
    path = folder + "/gateway.json"
    with open(path, "w", encoding="ascii") as out:
        json.dump(conf, out)
    settings = {"LISTEN": f"127.0.0.1:{GATEWAY}", "OPERATOR_LISTEN": f"127.0.0.1:{GATEWAY + 1000}", "LIMITS": "off",
                "HTTP_THREADS": "1", "JWKS_FILE": str(m.RUN_DIR / "jwks.json"),
                "KAFKA_BROKERS": f"127.0.0.1:{m.port(11)}"}
    return start([m.ROOT / "build/release/bin/gateway", "--config", path], GATEWAY, env=os.environ | settings)


def load(pid, port, connections, token):
    """CPU microseconds a request, latency's p50, and errors."""
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
        names = {"dir": folder, "up": UPSTREAM, "nginx": NGINX, "haproxy": HAPROXY, "body": BODY}
        for name, text in (("upstream", UPSTREAM_CONF), ("nginx", NGINX_CONF), ("haproxy", HAPROXY_CONF)):
            with open(f"{folder}/{name}.conf", "w", encoding="ascii") as out:
                out.write(text.format(name=name, **names))
        upstream = start(["nginx", "-c", f"{folder}/upstream.conf"], UPSTREAM)
        proxies = {"nginx": (start(["nginx", "-c", f"{folder}/nginx.conf"], NGINX), NGINX),
                   "haproxy": (start(["haproxy", "-f", f"{folder}/haproxy.conf"], HAPROXY), HAPROXY),
                   "gateway": (gateway(folder), GATEWAY)}
        pin(upstream.pid, 1)
        for child, _ in proxies.values():
            pin(child.pid, 0)
        for connections in CONNECTIONS:
            for name, (child, port) in proxies.items():
                cost, rate, failed = load(child.pid, port, connections, token)
                errors += failed
                runs.append({"proxy": name, "connections": connections, "cpu_us": round(cost, 2), "rate": round(rate)})
                m.say(f"  {name:8} {connections:4} connections  {cost:6.1f} us CPU a request  {rate:7.0f} /s  errors {failed}")
        for child in [p for p, _ in proxies.values()] + [upstream]:
            child.terminate()
            child.wait(15)

    def mean(name):
        costs = [r["cpu_us"] for r in runs if r["proxy"] == name]
        return sum(costs) / len(costs)

    m.result("gateway", mean("gateway") / mean("nginx"), {"nginx_cpu_us": mean("nginx"), "haproxy_cpu_us": mean("haproxy")},
             {"cpu_us": mean("gateway")}, errors, to_haproxy=round(mean("gateway") / mean("haproxy"), 3), runs=runs)


main()
