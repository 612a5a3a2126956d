"""Every operation of the contract, and what it answers to whom: at the gateway, and straight at the service behind it.

An operation without a row fails, and so does a row without an operation.
"""
import functools
import json

import pytest

import client
import contract
import house
import test_contract
from client import IBAN, call, make_token, new_key, new_name, new_password, ok
from house import unchanged

ORDER = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "1"}


class Owner:
    """The customer whose things are asked for; what a request needs to be about is made anew for each."""

    def __init__(self, user, admin):
        self.user, self.admin, self.id = user, admin, user.id

    def order(self):
        return self.user.buy("THYAO", 1, 1)["id"]

    def sale(self):
        return self.user.sell("ASELS", 1, 1)["id"]

    def transaction(self):
        return self.user.deposit(1)["id"]

    def match(self):
        return ok(self.admin.call("POST", "/admin/matches", {"orderIds": [self.sale()]}))["matchId"]

    def tokens(self):
        return ok(client.try_login(self.user.username, self.user.password))

    def session(self):
        self.tokens()
        return ok(call("GET", "/auth/sessions", token=make_token(self.id)))["items"][0]["id"]

    def new_user(self, **members):
        return {"username": new_name(), "password": new_password(), "fullName": "Ali", **members}

    def password_change(self):
        return {"currentPassword": self.user.password, "newPassword": new_password()}


def naming(o, **members):
    return {**members, "customerId": o.id}


# What the request is, made for the owner `o`; and the status for: no token, the owner, another customer, an admin.
# None: the question makes no sense.
ROWS = {
    "registerUser": (lambda o: {"body": o.new_user()}, 201, 201, None, 201),
    "logIn": (lambda o: {"body": {"username": o.user.username, "password": o.user.password}}, 200, 200, None, 200),
    "refreshTokens": (lambda o: {"body": {"refreshToken": o.tokens()["refreshToken"]}}, 200, 200, None, 200),
    "logOut": (lambda o: {}, 401, 204, None, 204),
    "getMe": (lambda o: {}, 401, 200, None, 200),
    "listSessions": (lambda o: {}, 401, 200, None, 200),
    "endSession": (lambda o: {"id": o.session()}, 401, 204, 404, 404),
    "changePassword": (lambda o: {"body": o.password_change()}, 401, 204, 401, 401),
    "listUsers": (lambda o: {}, 401, 403, 403, 200),
    "createUser": (lambda o: {"body": o.new_user(role="ADMIN")}, 401, 403, 403, 201),
    "getUser": (lambda o: {"customerId": o.id}, 401, 403, 403, 200),
    "changeUser": (lambda o: {"customerId": o.id, "body": {"status": "ACTIVE"}}, 401, 403, 403, 200),
    "endUserSessions": (lambda o: {"customerId": o.id}, 401, 403, 403, 204),
    "getKeys": (lambda o: {}, 200, 200, None, 200),
    "placeOrder": (lambda o: {"body": naming(o, **ORDER)}, 401, 201, 404, 201),
    "listOrders": (lambda o: {"query": naming(o)}, 401, 200, 404, 200),
    "cancelOrders": (lambda o: {"query": naming(o)}, 401, 200, 404, 200),
    "estimateOrder": (lambda o: {"body": naming(o, **ORDER)}, 401, 200, 404, 200),
    "getOrder": (lambda o: {"id": o.order()}, 401, 200, 404, 200),
    "cancelOrder": (lambda o: {"id": o.order()}, 401, 200, 404, 200),
    "getOrderHistory": (lambda o: {"id": o.order()}, 401, 200, 404, 200),
    "listAssets": (lambda o: {"query": naming(o)}, 401, 200, 404, 200),
    "bringInAsset": (lambda o: {"body": naming(o, assetName="ASELS", size="1")}, 401, 403, 403, 201),
    "getAsset": (lambda o: {"assetName": "TRY", "query": naming(o)}, 401, 200, 404, 200),
    "listEntries": (lambda o: {"assetName": "TRY", "query": naming(o)}, 401, 200, 404, 200),
    "listTransactions": (lambda o: {"query": naming(o)}, 401, 200, 404, 200),
    "deposit": (lambda o: {"body": naming(o, amount="1")}, 401, 201, 404, 201),
    "withdraw": (lambda o: {"body": naming(o, amount="1", iban=IBAN)}, 401, 201, 404, 201),
    "getTransaction": (lambda o: {"id": o.transaction()}, 401, 200, 404, 200),
    "getPortfolio": (lambda o: {"query": naming(o)}, 401, 200, 404, 200),
    "matchOrders": (lambda o: {"body": {"orderIds": [o.sale()]}}, 401, 403, 403, 200),
    "listMatches": (lambda o: {}, 401, 403, 403, 200),
    "getMatch": (lambda o: {"id": o.match()}, 401, 403, 403, 200),
    "matchOrder": (lambda o: {"id": o.sale(), "body": {}}, 401, 403, 403, 200),
    "getAudit": (lambda o: {}, 401, 403, 403, 200),
    "listSecurityEvents": (lambda o: {}, 401, 403, 403, 200),
    "listBreakers": (lambda o: {}, 401, 403, 403, 200),
    "getBreaker": (lambda o: {"name": "order"}, 401, 403, 403, 200),
    "forceBreaker": (lambda o: {"name": "order", "body": {"state": "CLOSED"}}, 401, 403, 403, 200),
    "getContract": (lambda o: {}, 200, 200, None, 200),
    "getDocs": (lambda o: {}, 200, 200, None, 200),
    "getProblemPage": (lambda o: {"slug": "not-found"}, 200, 200, None, 200),
}
WHO = ("nobody", "the owner", "another customer", "an admin")
ROUTE_OF = {operation["operationId"]: route for route, operation in contract.operations().items()}


def test_every_operation_has_a_row_and_every_row_an_operation():
    assert set(ROWS) == set(ROUTE_OF)


def doors(route):
    """Where a route can be asked for: at the gateway, and at each service that has it."""
    yield "gateway"
    yield from (process for process in house.SERVICES if route in test_contract.routes_of(process))


CASES = [(operation, door) for operation, route in ROUTE_OF.items() if route not in test_contract.NOT_BUILT for door in doors(route)]


@pytest.fixture(scope="module")
def people(pool, admin):
    """(the owner, {who: his customer id and role})"""
    owner, other = pool.take(), pool.take()
    owner.deposit(100000)
    admin.bring_in(owner, "ASELS", 500)
    return Owner(owner, admin), {"the owner": (owner.id, "CUSTOMER"), "another customer": (other.id, "CUSTOMER"),
                                 "an admin": (admin.id, "ADMIN")}


def prepared(operation, door, people):
    """[(who, expected, a function that asks)], each with things and a token of its own."""
    (method, path), (make, *expected) = ROUTE_OF[operation], ROWS[operation]
    owner, tokens = people
    owner.user.log_in()  # the operation before may have ended his session
    for who, status in zip(WHO, expected):
        if status is None:
            continue
        request = make(owner)
        body, query = request.pop("body", None), request.pop("query", None)
        token = make_token(*tokens[who]) if who in tokens else None
        headers = {"Idempotency-Key": new_key()} if method == "POST" else None
        base = house.GATEWAY if door == "gateway" else house.url(door)
        yield who, status, functools.partial(call, method, path.format(**request), token=token, body=body, query=query,
                                             headers=headers, base=base)


@pytest.mark.parametrize("operation, door", CASES)
def test_each_is_answered_as_he_may_be(operation, door, people):
    owner = people[0]
    asked = list(prepared(operation, door, people))
    refused = [a for a in asked if a[1] >= 400]
    with unchanged():
        for who, status, ask in refused:
            answer = ask()
            assert answer.status_code == status, f"{who}: {answer.status_code} {answer.text}"
    for who, status, ask in (a for a in asked if a[1] < 400):
        answer = ask()
        assert answer.status_code == status, f"{who}: {answer.status_code} {answer.text}"
        if operation == "changePassword":
            owner.user.password = json.loads(answer.request.body)["newPassword"]


@pytest.mark.parametrize("method, path", sorted(contract.BETWEEN_US))
def test_what_services_offer_the_gateway_is_for_no_customer_and_not_at_the_door(method, path, stranger, admin):
    behind = [p for p in house.SERVICES if (method, path) in test_contract.routes_of(p)]
    assert behind
    for process in behind:
        assert call(method, path, body={}, base=house.url(process)).status_code == 401
        assert call(method, path, token=stranger.token, body={}, base=house.url(process)).status_code == 403
    for token in (None, stranger.token, admin.token):
        assert call(method, path, token=token, body={}).status_code in (404, 405)
