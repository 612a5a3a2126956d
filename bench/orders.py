"""orders - POST /orders through the gateway to its saga's end, beside pgbench's one hand-written transaction on the same
PostgreSQL, and beside one Kafka hop on the same broker; all in one run."""
import json
import os
import re

import measure as m

PGBENCH_CLIENTS = [8, 16, 32, 64]
CLIENTS = [1, 64, 256]
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))


def pgbench():
    """Best rate over the client counts: (clients, transactions a second)."""
    at = ["-h", "127.0.0.1", "-p", m.port(10), "-U", "postgres"]
    m.run("psql", *at, "-q", "-v", "ON_ERROR_STOP=1", "-f", m.ROOT / "bench/orders.sql", "brokerage")
    rates = []
    for clients in PGBENCH_CLIENTS:
        out = m.run("pgbench", *at, "-n", "-M", "prepared", "-j", 2, "-c", clients, "-T", SECONDS // 2,
                    "-f", m.ROOT / "bench/orders.pgbench", "brokerage", stderr=-3)
        rates.append((float(re.search(r"tps = ([0-9.]+)", out)[1]), clients))
        m.say(f"  pgbench          {clients:4} clients  {rates[-1][0]:8.0f} /s")
    m.run("psql", *at, "-q", "-c", "DROP SCHEMA bench CASCADE", "brokerage", stderr=-3)
    return max(rates)


def hop():
    out = json.loads(m.run(m.BENCH_BIN / "hop", "--brokers", f"127.0.0.1:{m.port(11)}", "--count", 200))
    m.say(f"  one Kafka hop                    p50 {out['p50_ms']:7.1f} ms  p99 {out['p99_ms']:7.1f} ms")
    return out


def main():
    deposits = m.loadgen("deposits", 64, 60)
    errors = deposits["errors"]
    m.loadgen("orders", 64, 2)  # warm: plans, pages, caches
    one_hop = hop()
    runs = []
    for clients in CLIENTS:
        r = m.loadgen("orders", clients, SECONDS)
        errors += r["errors"]
        runs.append(r)
        m.say(f"  POST /orders     {clients:4} clients  {r['rate']:8.0f} /s  p50 {r['p50_ms']:7.1f} ms  p99 {r['p99_ms']:7.1f} ms  "
              f"errors {r['errors']}")
    best_rate, best_clients = pgbench()
    m.audit()
    best = max(runs, key=lambda r: r["rate"])
    m.result("orders", best["rate"] / best_rate, {"rate": best_rate, "clients": best_clients},
             {"rate": best["rate"], "clients": best["clients"]}, errors, runs=runs)
    alone = runs[0]["p50_ms"] / one_hop["p50_ms"]
    m.result("orders-alone", alone, {"p50_ms": one_hop["p50_ms"]}, {"p50_ms": runs[0]["p50_ms"]}, errors)


main()
