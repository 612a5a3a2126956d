"""SIGHUP: the gateway's config file is read again while it serves."""
import copy
import threading
import time

import pytest

import beside
import house
from client import call, ok, problem

HOLDING = {"path": "/api/v1/assets/{assetName}", "methods": ["GET"]}


@pytest.fixture
def door(tmp_path):
    # Names are looked up at the start and when the file says new ones; not once more while a test runs.
    with beside.Gateway(tmp_path, UPSTREAM_RESOLVE_S="3600") as g:
        yield g


def reloads(door):
    return tuple(door.metric(f'gateway_config_reloads_total{{result="{result}"}}') for result in ("served", "refused"))


def without(conf, path, **_):
    less = copy.deepcopy(conf)
    less["routes"] = [r for r in less["routes"] if r["path"] != path]
    assert len(less["routes"]) < len(conf["routes"])
    return less


def test_a_route_goes_and_comes_with_the_file(door, A):
    ok(A.call("GET", "/assets/ASELS", base=door.url))
    hash_before = door.metric("gateway_config_hash")
    door.write(without(door.conf, **HOLDING))
    assert door.reload()["level"] == "info"
    problem(A.call("GET", "/assets/ASELS", base=door.url), 404, "not_found")
    ok(A.call("GET", "/assets", base=door.url))
    assert door.metric("gateway_config_hash") != hash_before
    door.write(door.conf)
    assert door.reload()["level"] == "info"
    ok(A.call("GET", "/assets/ASELS", base=door.url))
    assert door.metric("gateway_config_hash") == hash_before
    assert reloads(door) == (2, 0)


def spoil(conf, change):
    bad = copy.deepcopy(conf)
    change(bad)
    return bad


BAD = {
    "half a file": (lambda conf: '{"upstreams": {', "ends too early"),
    "nobody may": (lambda conf: spoil(conf, lambda c: c["routes"][0].pop("who")), "routes/0/who"),
    "an upstream that is not there": (lambda conf: spoil(conf, lambda c: c["routes"][1].update(upstream="nobody")), "routes/1"),
    "a policy that is not there": (lambda conf: spoil(conf, lambda c: c["routes"][0].update(limits=["nothing"])), "routes/0/limits"),
}


@pytest.mark.parametrize("why", BAD)
def test_a_wrong_file_is_refused_whole_with_its_reason_and_the_old_one_stays(door, A, why):
    make, reason = BAD[why]
    hash_before = door.metric("gateway_config_hash")
    door.write(make(without(door.conf, **HOLDING)))
    told = door.reload()
    assert told["level"] == "error" and "stays as it was" in told["msg"] and reason in told["msg"], told
    ok(A.call("GET", "/assets/ASELS", base=door.url))  # which the wrong file doesn't have
    assert door.metric("gateway_config_hash") == hash_before and reloads(door) == (0, 1)


def test_a_host_whose_name_is_new_is_looked_up_at_once(door, A):
    new = copy.deepcopy(door.conf)
    new["upstreams"]["asset"] = [f"localhost:{house.PORT_BASE + house.PORTS['asset-svc']}"]
    door.write(new)
    assert door.reload()["level"] == "info"
    house.eventually(lambda: A.call("GET", "/assets", base=door.url).status_code == 200, 10, "the service is found by its name")


def test_no_request_fails_while_the_file_is_read_again_and_again(door, A):
    """Routes, policies and the order of things change under four clients; what they ask for is in both files."""
    other = without(door.conf, **HOLDING)
    other["policies"]["user-read"]["burst"] = 50
    other["routes"].reverse()
    over, wrong, done = threading.Event(), [], []

    def work(_):
        while not over.is_set():
            answer = call("GET", "/assets", token=A.token, base=door.url)
            done.append(answer.status_code)
            if answer.status_code != 200:
                wrong.append(answer.text)
            time.sleep(0.005)  # a bounded load: some 100 requests a second each at most

    clients = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for c in clients:
        c.start()
    try:
        for i in range(20):
            seen = len(done)
            house.eventually(lambda: len(done) > seen + 4, 10, "requests go on")
            door.write(other if i % 2 == 0 else door.conf)
            assert door.reload()["level"] == "info"
    finally:
        over.set()
        for c in clients:
            c.join()
    assert not wrong and len(done) > 80, (len(done), wrong[:3])
    assert reloads(door) == (20, 0)
