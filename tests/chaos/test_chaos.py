"""Nothing that was acknowledged is lost, nothing that was refused is there, whatever dies. README.md says how to replay a run."""

import json
import os
import random
import signal
import time

import pytest

import checks
import faults
import house
from load import Load

KILLS = int(os.environ.get("CHAOS_KILLS", "24"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randint(1, 10**9))


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@pytest.fixture(name="load")
def fixture_load(request):
    """A load that is prepared and runs; stopped, if the test did not do so."""
    say(f"CHAOS_SEED={SEED} CHAOS_KILLS={KILLS}")
    gateway = request.getfixturevalue(request.param) if hasattr(request, "param") else house.GATEWAY
    faults.await_all_ready()
    load = Load(SEED, request.node.name, gateway)
    load.since = house.sql("SELECT clock_timestamp()")[0][0]
    load.prepare()
    say(f"{len(load.customers)} customers; the history is in {load.history_path}")
    load.start()
    yield load
    load.stopping.set()


def heal_and_check(load):
    faults.await_all_ready()
    load.stop()
    say(checks.check_all(load, load.since))


def test_kill_9_of_everything_in_turn_loses_nothing_and_tells_no_lie(load):
    killed = {}
    for number, (name, progress) in enumerate(faults.plan_of(SEED, KILLS), 1):
        faults.await_progress(load, progress)
        began = time.monotonic()
        faults.kill_and_await(name)
        killed[name] = killed.get(name, 0) + 1
        say(f"{number:3} kill -9 {name}: ready again after {time.monotonic() - began:.2f} s")
    assert KILLS < 2 * len(faults.TARGETS) or min(killed.values()) >= 2
    heal_and_check(load)
