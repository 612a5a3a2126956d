"""The contract and the binaries: the same routes, the same codes; and a judge that does find what is wrong."""
import copy
import re
import subprocess

import pytest

import contract
import house

# In the contract, and not built yet. Is empty when all is.
NOT_BUILT = set()
# Pages and files that are no operations.
NO_OPERATIONS = re.compile(r"/docs/.+")


def routes_of(process):
    """{(method, path): who}, as the binary says it."""
    arguments = ["--config", str(house.ROOT / "gateway/gateway.json")] if process == "gateway" else []
    done = subprocess.run([house.BIN / process, *arguments, "--routes"], check=True, stdout=subprocess.PIPE, text=True)
    found = {}
    for line in done.stdout.splitlines():
        method, path, who = line.split(" ")
        if not NO_OPERATIONS.fullmatch(path):
            found[method, path] = who
    assert found, process
    return found


def test_every_route_of_the_gateway_is_in_the_contract_and_the_other_way_round():
    built = routes_of("gateway")
    promised = {route: contract.who_may(operation) for route, operation in contract.operations().items()}
    assert set(built) - set(promised) == set(), "in gateway.json, and not in the contract"
    assert set(promised) - set(built) - NOT_BUILT == set(), "in the contract, and not built"
    assert built == {route: promised[route] for route in built}, "who may use it"


def test_every_route_of_a_service_is_in_the_contract_and_the_gateway_s_are_theirs():
    served = {}
    for process in house.SERVICES:
        for route, who in routes_of(process).items():
            if route in contract.BETWEEN_US:
                continue
            assert route in contract.operations(), f"{process}: {route}"
            assert who == contract.who_may(contract.operations()[route]), f"{process}: {route}"
            served.setdefault(route, process)
    own = set(routes_of("gateway")) - set(served)
    assert all(re.match(r"/(openapi\.json|docs|problems/|api/v1/(portfolio|admin/breakers))", path) for _, path in own), own


def test_every_code_is_in_the_contract_and_the_other_way_round():
    listed = set(re.findall(r'X\(ERR_\w+,\s*\d+, "(\w+)"', (house.ROOT / "common/base/err.h").read_text()))
    of_no_answer = {"bad_settings", "not_implemented"}
    promised = set(contract.document()["components"]["schemas"]["ProblemCode"]["enum"])
    assert promised == listed - of_no_answer


# ---- the judge ----

GOOD = {"X-Request-Id": "0123456789abcdef", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
        "Content-Type": "application/json"}
USER = b'{"customerId":1,"username":"ali","fullName":"Ali","role":"CUSTOMER"}'


def test_the_judge_lets_a_good_answer_pass():
    assert contract.complaints("GET", "/api/v1/auth/me", 200, GOOD, USER) == []
    assert contract.complaints("HEAD", "/api/v1/auth/me?", 200, GOOD, b"") == []


@pytest.mark.parametrize("why, change", {
    "a status that is not there": {"status": 201},
    "a path that is not there answers": {"target": "/api/v1/auth/you"},
    "a method that is not there answers": {"method": "PUT"},
    "a header is missing": {"headers": {"X-Request-Id": None}},
    "a header is wrong": {"headers": {"Cache-Control": "public"}},
    "another type": {"headers": {"Content-Type": "text/html"}},
    "a member too many": {"body": USER[:-1] + b',"password":"x"}'},
    "a member too few": {"body": b'{"customerId":1,"username":"ali","fullName":"Ali"}'},
    "a member of another type": {"body": USER.replace(b"1,", b'"1",')},
    "a word that is none of them": {"body": USER.replace(b"CUSTOMER", b"ROOT")},
    "no body": {"body": b"null"},
}.items())
def test_the_judge_finds_what_is_wrong(why, change):
    answer = {"method": "GET", "target": "/api/v1/auth/me", "status": 200, "headers": copy.copy(GOOD), "body": USER, **change}
    answer["headers"] = {k: v for k, v in {**GOOD, **answer["headers"]}.items() if v is not None}
    assert len(contract.complaints(**answer)) == 1, why
