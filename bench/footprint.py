"""footprint - what six idle processes weigh together (PSS: shared pages counted once over their sharers), and how soon each is
ready after exec with its schema in place. The reference: one idle JVM service of this kind (a Spring Boot service with web,
JDBC and Kafka clients holds about 250 MB and starts in seconds: a usual figure, stated, not measured here)."""
import os
import signal
import subprocess
import time
import urllib.request

import measure as m

JVM_SERVICE_MB = 250
IDLE_S = 5
TRIES = 3


def is_ready(operator_port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{operator_port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def supervisor(command, process):
    subprocess.run(["sv", "-w20", command, process], check=False, stdout=subprocess.DEVNULL,
                   env=os.environ | {"SVDIR": str(m.RUN_DIR / "service")})


def start_ms(process, plus):
    """Best of a few: from exec to the first ready answer, the process run as its supervisor runs it."""
    supervisor("down", process)
    times = []
    for _ in range(TRIES):
        began = time.monotonic()
        child = subprocess.Popen([m.RUN_DIR / "service" / process / "run"], cwd=m.RUN_DIR / "service" / process,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        m.wait_for(f"{process}'s readiness", lambda: is_ready(m.port(plus) + 1000))
        times.append((time.monotonic() - began) * 1000)
        child.send_signal(signal.SIGTERM)
        child.wait(15)
    supervisor("up", process)
    m.wait_for(f"{process}'s readiness", lambda: is_ready(m.port(plus) + 1000))
    return min(times)


def main():
    time.sleep(IDLE_S)  # what a load before this left in caches is not what is measured: idle is
    pss = {p: m.pss_kib(m.pid_of(p)) / 1024 for p in m.PROCESSES}
    ready = {p: start_ms(p, plus) for plus, p in enumerate(m.PROCESSES)}
    for p in m.PROCESSES:
        m.say(f"  {p:10}  {pss[p]:6.1f} MB   ready {ready[p]:6.0f} ms after exec")
    total = sum(pss.values())
    m.say(f"  together    {total:6.1f} MB")
    m.result("footprint", total / (JVM_SERVICE_MB * len(pss)), {"mb": JVM_SERVICE_MB * len(pss), "measured": False},
             {"mb": round(total, 1), "pss_mb": {p: round(v, 1) for p, v in pss.items()},
              "ready_ms": {p: round(v) for p, v in ready.items()}}, 0)


main()
