"""Nothing that was acknowledged is lost, nothing that was refused is there, whatever dies. README.md says how to replay a run."""

import json
import os
import random
import signal
import time
from contextlib import contextmanager

import pytest

import checks
import faults
import house
from load import Load

KILLS = int(os.environ.get("CHAOS_KILLS", "24"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randint(1, 10**9))


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@contextmanager
def running_load(gateway=house.GATEWAY):
    """A load that is prepared and runs; stopped, if its test did not come to that."""
    faults.await_all_ready()
    load = Load(SEED, gateway)
    load.let_all_pass()
    say(f"CHAOS_SEED={SEED} CHAOS_KILLS={KILLS}; the history is in {load.history_path}")
    load.prepare()
    load.start()
    try:
        yield load
    finally:
        load.stopping.set()


def heal_and_check(load):
    faults.await_all_ready()
    load.stop()
    say(checks.check_all(load))


def test_kill_9_of_everything_in_turn_loses_nothing_and_tells_no_lie():
    with running_load() as load:
        for number, (name, progress) in enumerate(faults.plan_of(SEED, KILLS), 1):
            faults.await_progress(load, progress)
            began = time.monotonic()
            faults.kill_and_await(name)
            if name == "gateway":
                load.let_all_pass()
            say(f"{number:3} kill -9 {name}: ready again after {time.monotonic() - began:.2f} s")
        heal_and_check(load)


# ---- replicas ----

PARTITIONS = {"order-svc": 18, "asset-svc": 18}  # that each reads, over three topics
TAKEN_OVER_WITHIN_S = 14                         # a holder that hangs: the server ends its session after 10 s of silence


@pytest.fixture(name="replicas")
def fixture_replicas():
    """A second order-svc and a second asset-svc, and a gateway that shares calls out between the first and the second."""
    faults.await_all_ready()
    upstreams = {name: [f"127.0.0.1:{house.PORT_BASE + i}"] for i, name in enumerate(["auth", "order", "asset", "txn", "admin"], 1)}
    replicas = {name: faults.Replica(name, house.PORT_BASE + port) for name, port in (("order-svc", 22), ("asset-svc", 23))}
    for name, replica in replicas.items():
        upstreams[name.removesuffix("-svc")].append(f"127.0.0.1:{replica.port}")
    conf = json.loads((house.RUN_DIR / "conf" / "gateway.json").read_text())
    conf_path = house.RUN_DIR / "conf" / "chaos-gateway.json"
    conf_path.write_text(json.dumps({**conf, "upstreams": upstreams}))
    replicas["gateway"] = faults.Replica("gateway", house.PORT_BASE + 20)
    try:
        for name, replica in replicas.items():
            replica.start(["--config", str(conf_path)] if name == "gateway" else [])
        yield replicas
    finally:
        for replica in replicas.values():
            replica.stop()


def first_state(name):
    return house.state_of(house.PORT_BASE + house.PROCESSES.index(name) + 1000)


def reads(state):
    """How many partitions: "reading 9 partitions"."""
    words = state.get("subscriber", "").split()
    return int(words[1]) if words[:1] == ["reading"] else 0


def await_shared(replicas):
    for name, partitions in PARTITIONS.items():
        house.wait_until(lambda n=name, p=partitions: reads(first_state(n)) == reads(replicas[n].state()) == p // 2, 20,
                         lambda n=name: f"both {n} read half of the partitions: {first_state(n)} {replicas[n].state()}")


def await_taken_over(name, lane):
    """The first of two publishes what the second's lane left, and reads all partitions."""
    schema = house.SCHEMAS[name]
    house.wait_until(lambda: reads(first_state(name)) == PARTITIONS[name], TAKEN_OVER_WITHIN_S,
                     lambda: f"the first {name} reads all partitions: {first_state(name)}")
    house.wait_until(lambda: house.sql(f"SELECT last_seq = published_upto FROM {schema}.lane WHERE lane = %s", (lane,))[0][0],
                     TAKEN_OVER_WITHIN_S, f"lane {lane} of {name} is drained by the other")


def kill_each(replicas, load):
    for name in PARTITIONS:
        faults.await_progress(load, 30)
        lane = int(replicas[name].state()["lane"])
        replicas[name].signal(signal.SIGKILL)
        await_taken_over(name, lane)
        replicas[name].start()
        say(f"kill -9 of the second {name}: its lane {lane} was drained by the first, and it is back")


def hang_both(replicas, load):
    faults.await_progress(load, 30)
    lanes = {name: int(replicas[name].state()["lane"]) for name in PARTITIONS}
    began = time.monotonic()
    for name in PARTITIONS:
        replicas[name].signal(signal.SIGSTOP)
    try:
        for name in PARTITIONS:
            await_taken_over(name, lanes[name])
        say(f"SIGSTOP of both second ones: taken over after {time.monotonic() - began:.1f} s")
        time.sleep(max(0, 12 - (time.monotonic() - began)))  # so long a zombie believes that it holds its lane
    finally:
        for name in PARTITIONS:
            replicas[name].signal(signal.SIGCONT)
    for name in PARTITIONS:
        house.wait_until(replicas[name].is_ready, 20, f"the second {name} is ready again after SIGCONT")
    say("SIGCONT: the zombies found their lanes gone, and took others")


def test_replicas_share_the_work_and_take_over_from_dead_and_from_hanging_ones(replicas):
    with running_load(f"http://127.0.0.1:{replicas['gateway'].port}") as load:
        await_shared(replicas)
        kill_each(replicas, load)
        await_shared(replicas)
        hang_both(replicas, load)
        await_shared(replicas)
        faults.await_progress(load, 30)
        heal_and_check(load)
        assert all(r.process.poll() is None for r in replicas.values()), "a replica ended by itself: see its log"


def end_lane_sessions():
    return len(house.sql("SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' "
                         "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) lane", role="postgres"))


def test_repeated_and_short_faults():
    with running_load() as load:
        for name in ("order-svc", "asset-svc", "postgres"):
            faults.await_progress(load, 20)
            faults.kill_twice_and_await(name)
            say(f"kill -9 {name} twice in a row")

        faults.await_progress(load, 20)
        faults.kill_all_and_await()
        load.let_all_pass()
        say("kill -9 of all eight at once")

        faults.await_progress(load, 20)
        faults.stop_for(8, "kafka")
        say("SIGSTOP kafka for 8 s")

        for _ in range(6):
            faults.await_progress(load, 20)
            say(f"pg_terminate_backend of {end_lane_sessions()} lanes' sessions")
        heal_and_check(load)
