"""How fast passwords may be tried. Straight at auth-svc, whose peer (we) is trusted to say for whom he asks: so each test comes from
an address of its own, which nobody has come in from before."""
import collections
import json
import statistics
import time

import client
import house
from client import new_address

FREE = 10
BASE = house.url("auth-svc")


def try_login(username, password, address, base=BASE):
    return client.call("POST", "/auth/login", body={"username": username, "password": password}, base=base,
                       headers={"X-Forwarded-For": address})


def fail(username, address, times):
    for _ in range(times):
        client.problem(try_login(username, "not the password", address), 401, "invalid_credentials")


def refused(answer):
    client.problem(answer, 429, "rate_limited")
    return int(answer.headers["Retry-After"])


def test_the_eleventh_failure_waits_and_the_right_password_is_taken_after_it(customer):
    user, other, address = customer(), customer(), new_address()
    fail(user.username, address, FREE)
    wait = refused(try_login(user.username, user.password, address))
    assert 1 <= wait <= 5, "four seconds at first"
    assert refused(try_login(user.username, "not the password", new_address())) <= wait, "from wherever it comes"
    client.ok(try_login(other.username, other.password, address))  # other accounts are let in, from the same address too
    house.eventually(lambda: try_login(user.username, user.password, address).status_code == 200, wait + 5, "it is taken")
    fail(user.username, address, 1)  # and the count began anew


def test_who_comes_from_where_he_came_before_is_not_held_up_by_strangers(customer):
    user, at_home = customer(), new_address()
    client.ok(try_login(user.username, user.password, at_home))
    fail(user.username, new_address(), FREE)
    refused(try_login(user.username, user.password, new_address()))
    client.ok(try_login(user.username, user.password, at_home))


def test_many_guesses_at_once_are_no_more_than_one_after_another(customer):
    user, address = customer(), new_address()
    answers = client.parallel(40, lambda i: try_login(user.username, f"guess number {i}", address))
    counted = collections.Counter(a.status_code for a in answers)
    assert counted[401] <= FREE and counted[401] + counted[429] + counted[503] == 40, counted
    refused(try_login(user.username, user.password, address))


def test_a_restart_forgets_nothing(customer):
    user, address = customer(), new_address()
    fail(user.username, address, FREE)
    house.eventually(lambda: try_login(user.username, "x", address).status_code in (401, 429), 10)
    for _ in range(2):  # each failure waits twice as long: long enough to start again in
        house.eventually(lambda: try_login(user.username, "x", address).status_code == 401, 20)
    house.terminate("auth-svc")
    assert refused(try_login(user.username, user.password, address)) >= 1


def test_a_name_that_nobody_has_is_treated_alike():
    name, address = client.new_name(), new_address()
    fail(name, address, FREE)
    refused(try_login(name, "not the password", address))


def test_the_current_password_can_not_be_guessed_by_who_has_a_token(customer):
    user = customer()
    body = {"currentPassword": "not the password", "newPassword": client.new_password()}
    answers = []
    while 429 not in answers and len(answers) < 3 * FREE:  # on a slow machine some failures are forgotten meanwhile
        answers.append(user.call("POST", "/auth/password", body).status_code)
    assert len(answers) > FREE and answers == [401] * (len(answers) - 1) + [429]


def test_the_trail_tells_where_waiting_begins(customer):
    user, address = customer(), new_address()
    fail(user.username, address, FREE)
    assert house.sql("SELECT address, detail FROM auth.audit_log WHERE type = 'login.delayed' AND customer_id = %s", user.id) == [
        (address, "account")]


def test_no_name_and_no_address_stands_in_the_buckets(customer):
    user, address = customer(), new_address()
    fail(user.username, address, 1)
    keys = [key for key, in house.sql("SELECT key FROM auth.login_bucket")]
    assert keys and not any(user.username in key or address in key for key in keys)


def test_unknown_user_and_wrong_password_are_one_in_body_and_time(customer):
    """Turn about, so that whatever else the machine does falls on both alike."""
    known, unknown = [], []
    for _ in range(6):
        user, nobody = customer(), client.new_name()
        for _ in range(FREE - 1):
            for name, times in ((user.username, known), (nobody, unknown)):
                began = time.perf_counter()
                answer = try_login(name, "not the password", new_address())
                times.append((time.perf_counter() - began, {k: v for k, v in answer.json().items() if k != "traceId"}))
                assert answer.status_code == 401
    assert {json.dumps(body) for _, body in known} == {json.dumps(body) for _, body in unknown}
    medians = [statistics.median(took for took, _ in times) for times in (known, unknown)]
    assert max(medians) <= 1.25 * min(medians), medians


def test_passwords_that_everybody_tries_first_are_refused():
    for password in ("michaeljordan23", "Ch0c0late-butterfly", "jennifer1234567"):
        answer = client.try_register(client.new_name(), password)
        client.problem(answer, 400, "validation_failed")
        assert client.pointers(answer) == ["/password"], answer.text
