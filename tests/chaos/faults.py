"""What is done to the copy. Each fault ends on a condition, never after a time: the one that was hit is ready again."""

import os
import random
import signal
import subprocess
import time

import house

TARGETS = house.PROCESSES + ["postgres", "kafka"]
READY_WITHIN_S = 60
CALM_WITHIN_S = 30


def kill(name, number=signal.SIGKILL):
    """Sends the signal to the supervised process; waits for one if it is just being started again. Returns its pid."""
    pid = house.wait_until(lambda: house.pid_of(name), READY_WITHIN_S, f"{name} has a pid")
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    return pid


def await_new(name, old_pid):
    house.wait_until(lambda: house.pid_of(name) not in (None, old_pid), READY_WITHIN_S, f"{name} was started again")
    house.wait_until(lambda: house.is_ready(name), READY_WITHIN_S, f"{name} is ready again after kill -9 of {old_pid}")


def kill_and_await(name):
    await_new(name, kill(name))


def kill_twice_and_await(name):
    first = kill(name)
    house.wait_until(lambda: house.pid_of(name) not in (None, first), READY_WITHIN_S, f"{name} was started again")
    kill_and_await(name)


def kill_all_and_await():
    pids = {name: kill(name) for name in TARGETS}
    for name, pid in pids.items():
        await_new(name, pid)


def stop_for(seconds, name):
    """One that hangs differs from one that is slow by time alone: here time is what is meant."""
    kill(name, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        kill(name, signal.SIGCONT)
    house.wait_until(lambda: house.is_ready(name), READY_WITHIN_S, f"{name} is ready after SIGCONT")


def await_all_ready():
    for name in TARGETS:
        house.wait_until(lambda name=name: house.is_ready(name), READY_WITHIN_S, f"{name} is ready")


def plan_of(seed, kills):
    """Every target once in each round, in an order of the seed's choice: (target, operations to be done before)."""
    rnd, plan = random.Random(f"{seed} faults"), []
    while len(plan) < kills:
        plan += [(name, rnd.randint(1, 40)) for name in rnd.sample(TARGETS, len(TARGETS))]
    return plan[:kills]


def await_progress(load, count):
    """Until `count` more requests were done: the next fault meets a load that runs, at a moment of chance."""
    goal = load.done_count + count
    house.wait_until(lambda: load.done_count >= goal, CALM_WITHIN_S,
                     lambda: f"{count} operations are acknowledged ({load.done_count - goal + count} were): nothing moves any more")


# ---- a replica by hand ----

class Replica:
    """A second process of a service, with the settings of the supervised one but for its ports."""

    def __init__(self, name, port):
        self.name, self.port, self.operator_port = name, port, port + 1000
        self.process = None

    def environment(self):
        script = (house.RUN_DIR / "service" / self.name / "run").read_text()
        settings = script[script.index("set -a\n"):script.index("set +a\n")]
        dump = subprocess.run(["/bin/sh", "-c", settings + "exec env -0"], capture_output=True, check=True).stdout.decode()
        found = dict(entry.split("=", 1) for entry in dump.split("\0") if entry)
        found.update(LISTEN=f"127.0.0.1:{self.port}", OPERATOR_LISTEN=f"127.0.0.1:{self.operator_port}")
        return found

    def command(self):
        script = (house.RUN_DIR / "service" / self.name / "run").read_text()
        return script[script.rindex("exec '") + 6:].split("'")[0]

    def start(self, arguments=()):
        log = open(house.RUN_DIR / "log" / f"replica-{self.name}.log", "ab")
        self.process = subprocess.Popen([self.command(), *arguments], env=self.environment(), stdout=log,  # pylint: disable=consider-using-with
                                        stderr=log, cwd=house.RUN_DIR)
        log.close()
        house.wait_until(self.is_ready, READY_WITHIN_S, f"the second {self.name} is ready")

    def is_ready(self):
        answer = house.operator_get(self.operator_port, "/readyz")
        return answer is not None and answer.status_code == 200

    def state(self):
        return house.state_of(self.operator_port)

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(10)

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
