"""idle - what 1,000 kept connections cost the gateway while nothing comes over them (PSS), each after one request, and whether
every one of them is answered again. The reference is the bound that the design gives: 40 MB."""
import http.client
import resource
import sys
import urllib.request

import measure as m

CONNECTIONS = 1000
BOUND_MB = 40


def ask(connection):
    connection.request("GET", "/.well-known/jwks.json")
    answer = connection.getresponse()
    return answer.status == 200 and len(answer.read()) > 0


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    gateway = m.pid_of("gateway")
    with urllib.request.urlopen(f"http://127.0.0.1:{m.port(0)}/.well-known/jwks.json"):
        before = m.pss_kib(gateway)
    kept = [http.client.HTTPConnection("127.0.0.1", m.port(0)) for _ in range(CONNECTIONS)]
    errors = sum(not ask(c) for c in kept)
    cost = (m.pss_kib(gateway) - before) / 1024
    errors += sum(not ask(c) for c in kept)
    for c in kept:
        c.close()
    m.say(f"  {CONNECTIONS} idle connections cost {cost:.1f} MB, {cost * 1024 / CONNECTIONS:.1f} KiB each")
    m.result("idle", cost / BOUND_MB, {"mb": BOUND_MB, "measured": False}, {"mb": round(cost, 1)}, errors)
    if cost > BOUND_MB or errors > 0:
        sys.exit("bench: idle connections cost too much")


main()
