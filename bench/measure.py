"""measure.py - what the benches share: where the copy under test is, CPU time of processes, results as JSON and a table."""
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN_DIR = pathlib.Path(os.environ["RUN_DIR"]).resolve()
PORT_BASE = int(os.environ["PORT_BASE"])
BENCH_BIN = ROOT / "build/release/bench"
PROCESSES = ["gateway", "auth-svc", "order-svc", "asset-svc", "txn-svc", "admin-svc"]
TICKS = os.sysconf("SC_CLK_TCK")


def port(plus):
    return PORT_BASE + plus


def say(text):
    print(text, flush=True)


def run(*args, **kwargs):
    """Runs a command to its end; its failure ends the bench."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, text=True, **kwargs)
    if done.returncode != 0:
        sys.exit(f"bench: {args[0]} failed with {done.returncode}")
    return done.stdout


def loadgen(mode, clients, seconds):
    """One run of the load generator through the gateway; errors are counted, not fatal."""
    done = subprocess.run(
        [BENCH_BIN / "loadgen", "--port", str(port(0)), "--keys", RUN_DIR / "secrets/signing", "--mode", mode,
         "--clients", str(clients), "--seconds", str(seconds)],
        stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        sys.exit("bench: the load generator gave up")
    return json.loads(done.stdout)


def pid_of(process):
    return int((RUN_DIR / "service" / process / "supervise/pid").read_text())


def cpu_seconds(pid):
    """User and system time of all threads, children that ended included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(f) for f in fields[11:15]) / TICKS


def tree_cpu_seconds(pid):
    """The same for a process and its living children."""
    total = cpu_seconds(pid)
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            total += tree_cpu_seconds(int(child))
    return total


def pss_kib(pid):
    """Proportional set size: what is shared counts once over its sharers."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def wait_for(what, condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"bench: {what} did not come within {seconds} s")
        time.sleep(0.002)


def audit():
    """A fast wrong answer is worth nothing."""
    done = subprocess.run([ROOT / "scripts/audit"], stdout=subprocess.PIPE, text=True, env=os.environ | {"AUDIT_WAIT": "60"})
    say("  " + done.stdout.strip().splitlines()[-1])
    if done.returncode != 0:
        say(done.stdout)
        sys.exit("bench: the audit is not clean")


def result(name, ratio, reference, ours, errors, **more):
    """Prints and keeps the outcome: bench/results/<name>.json."""
    folder = ROOT / "bench/results"
    folder.mkdir(exist_ok=True)
    outcome = {"name": name, "ratio": round(ratio, 3), "reference": reference, "ours": ours, "errors": errors, **more}
    (folder / f"{name}.json").write_text(json.dumps(outcome, indent=2) + "\n")
    say(f"  {name}: ratio {ratio:.3f}, errors {errors}   (bench/results/{name}.json)")
