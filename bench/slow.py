"""slow - an honest client's p99 latency while 200 slow ones hold connections to the gateway (slowhttptest: heads, bodies, answers that
are not fetched), as a ratio to his p99 without them, taken before and after each."""
import os
import re
import subprocess
import sys

import measure as m

SLOW_CLIENTS = 200
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
BOUND = 2
URL = f"http://127.0.0.1:{m.port(0)}"
PATH = "/.well-known/jwks.json"
MODES = {
    "headers": ["-H", "-i", "1", "-u", URL + PATH],
    "body": ["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST", "-f", "application/json", "-u", URL + "/api/v1/auth/login"],
    "read": ["-X", "-w", "8", "-y", "16", "-n", "1", "-z", "4", "-k", "8", "-u", URL + PATH],
}
UNITS = {"us": 1, "ms": 1e3, "s": 1e6}


def p99_us():
    """Of one honest client on four kept connections; and how many of his requests failed."""
    out = m.run("wrk", "-t1", "-c4", f"-d{SECONDS}s", "--latency", URL + PATH)
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", out)))
    for kinds in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out):
        failed += sum(map(int, kinds))
    return float(value) * UNITS[unit], failed


def connections():
    """To the gateway, as the kernel counts them."""
    return len(m.run("ss", "-Hnt", "state", "established", f"( sport = :{m.port(0)} )").splitlines())


def beside(arguments):
    slow = subprocess.Popen(["slowhttptest", "-c", str(SLOW_CLIENTS), "-r", "200", "-l", str(SECONDS + 8), "-p", "3", *arguments],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        m.wait_for("most slow clients' connections", lambda: connections() > SLOW_CLIENTS / 2)
        return p99_us()
    finally:
        slow.terminate()
        slow.wait(15)
        m.wait_for("the end of their connections", lambda: connections() < 8)


def main():
    runs, errors = {}, 0
    p99_us()  # warm
    for mode, arguments in MODES.items():
        before, failed = p99_us()
        slowed, failed_beside = beside(arguments)
        after, failed_after = p99_us()
        errors += failed + failed_beside + failed_after
        alone = (before + after) / 2
        runs[mode] = {"p99_us": round(slowed), "alone_p99_us": [round(before), round(after)], "ratio": round(slowed / alone, 2)}
        m.say(f"  {mode:8} p99 {slowed:8.0f} us beside {SLOW_CLIENTS} slow clients, {before:.0f} and {after:.0f} without: ratio {slowed / alone:.2f}")
    worst = max(r["ratio"] for r in runs.values())
    m.result("slow", worst, {"p99_us": "the same client alone"}, runs, errors)
    if worst > BOUND or errors > 0:
        sys.exit("bench: slow clients harm an honest one")


main()
