"""The keys that sign access tokens: shown to everybody, and changed while the house is open."""
import base64
import json
import os
import subprocess
import threading
import time

import pytest

import client
import house

PATH = "/.well-known/jwks.json"
SIGNS_AFTER_S = 90


def keys():
    return {key["kid"] for key in client.ok(client.call("GET", PATH))["keys"]}


def kid_of(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


def rotate():
    return subprocess.run([house.ROOT / "scripts/rotate-keys"], env={**os.environ, "RUN_DIR": str(house.RUN_DIR)}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def age(kid, seconds):
    """As if its file had lain there so much longer."""
    path = house.SECRETS / f"signing/{kid}.pem"
    os.utime(path, (time.time() - seconds,) * 2)


class Load(threading.Thread):
    """One who goes on asking every process with each of the tokens that he is given."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens, self.failed, self.count, self.over = tokens, [], 0, threading.Event()

    def run(self):
        doors = [("gateway", "/orders"), ("order-svc", "/orders"), ("asset-svc", "/assets"), ("txn-svc", "/transactions"), ("auth-svc", "/auth/me")]
        while not self.over.is_set():
            for token in list(self.tokens):
                for process, path in doors:
                    answer = client.call("GET", path, token=token, base=house.url(process))
                    self.count += 1
                    if answer.status_code != 200:
                        self.failed.append((process, kid_of(token), answer.status_code, answer.text))


def test_the_keys_may_be_kept_and_asked_for_again():
    answer = client.call("GET", PATH)
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    again = client.call("GET", PATH, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304 and again.text == "" and again.headers["ETag"] == answer.headers["ETag"]
    assert client.call("GET", PATH, headers={"If-None-Match": '"other"'}).status_code == 200
    assert not {"d", "k", "p", "q"} & {name for key in answer.json()["keys"] for name in key}, "private parts"


def test_keys_are_rotated_and_no_request_fails(customer):
    user = customer()
    before, old = keys(), user.session["accessToken"]
    tag = client.call("GET", PATH).headers["ETag"]
    load = Load([old])
    load.start()
    try:
        done = rotate()
        assert done.returncode == 0, done.stdout
        new, = house.eventually(lambda: keys() - before)
        assert client.call("GET", PATH, headers={"If-None-Match": tag}).status_code == 200, "they are others"
        user.log_in()
        assert kid_of(user.session["accessToken"]) == kid_of(old), "it does not sign yet"
        age(new, SIGNS_AFTER_S)
        house.eventually(lambda: user.log_in() or kid_of(user.session["accessToken"]) == new, 15, "it signs")
        load.tokens.append(user.session["accessToken"])
        count = load.count
        house.eventually(lambda: load.count > count + 100, 20)
    finally:
        load.over.set()
        load.join()
    assert not load.failed, load.failed[:5]


@pytest.fixture
def logged_in_again(admin, R, stranger, pool):
    """Those who serve all tests have tokens of the key that goes."""
    yield
    pool.forget()
    for user in (admin, R, stranger):
        user.log_in()


def test_a_key_goes_when_its_last_token_has_expired_and_not_before(customer, logged_in_again):
    user = customer()
    before, signing = keys(), kid_of(user.session["accessToken"])
    assert rotate().returncode == 0
    new, = house.eventually(lambda: keys() - before)
    assert signing in keys(), "its tokens are good for minutes yet"
    for path in (house.SECRETS / "signing").glob("*.pem"):
        age(path.stem, 3000)
    age(new, SIGNS_AFTER_S + 700)
    house.eventually(lambda: user.log_in() or kid_of(user.session["accessToken"]) == new, 15, "it signs")
    done = rotate()
    assert done.returncode == 0 and f"removed key {signing}" in done.stdout, done.stdout
    house.eventually(lambda: signing not in keys(), 5)
    assert client.call("GET", "/orders", token=user.session["accessToken"]).status_code == 200
