"""A session that has ended: its access token is refused by every process within a second, though it has not expired."""
import time

import pytest

import client
import house

WITHIN_S = 1.0
# A read that each process answers to whoever has a good token (admin-svc: says that the role is not an admin's).
READ = {"gateway": "/api/v1/orders", "auth-svc": "/api/v1/auth/me", "order-svc": "/api/v1/orders", "asset-svc": "/api/v1/assets",
        "txn-svc": "/api/v1/transactions", "admin-svc": "/api/v1/admin/matches"}


def ask(process, token):
    return client.call("GET", READ[process], token=token, base=house.url(process))


def is_taken(process, token):
    return ask(process, token).status_code in (200, 403)


def is_refused(process, token):
    answer = ask(process, token)
    if answer.status_code == 401:
        client.problem(answer, 401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    return answer.status_code == 401


def log_out(token):
    assert client.call("POST", "/auth/logout", token=token).status_code == 204


def refused_after(process, token, since):
    house.eventually(lambda: is_refused(process, token), 10, f"{process} refuses it")
    return time.monotonic() - since


def test_who_logs_out_is_out_everywhere_within_a_second(customer):
    """Every process has taken the token before, and remembers it."""
    user, other = customer(), customer()
    mine, others = user.session["accessToken"], other.session["accessToken"]
    for process in house.PROCESSES:
        assert is_taken(process, mine) and is_taken(process, others), process
    log_out(mine)
    ended = time.monotonic()
    assert is_refused("auth-svc", mine), "auth-svc knows at once"
    took = {process: refused_after(process, mine, ended) for process in house.PROCESSES}
    assert max(took.values()) <= WITHIN_S, took
    for process in house.PROCESSES:
        assert is_taken(process, others), f"{process}: somebody else's session goes on"


def test_another_session_of_the_same_user_goes_on(customer):
    user = customer()
    first = user.session["accessToken"]
    user.log_in()
    log_out(first)
    house.eventually(lambda: is_refused("order-svc", first), WITHIN_S)
    assert all(is_taken(process, user.session["accessToken"]) for process in house.PROCESSES)


@pytest.mark.parametrize("process", ["order-svc", "gateway"])
def test_a_process_that_was_away_knows_what_ended_meanwhile(customer, process):
    user = customer()
    token = user.session["accessToken"]
    with house.away(process):
        assert client.call("POST", "/auth/logout", token=token, base=house.url("auth-svc")).status_code == 204
        house.eventually(lambda: is_refused("asset-svc", token), WITHIN_S)
    assert is_refused(process, token), "from its first answer on"
    house.terminate(process)
    assert is_refused(process, token), "and when it is started again"


def test_operators_see_that_it_is_current():
    for process in house.PROCESSES:
        text = house.eventually(lambda: client.http().get(house.operator_url(process) + "/readyz?verbose", timeout=3).text)
        assert "revocations ok current" in text.splitlines(), text
