"""Deposits, withdrawals, IBANs, shares brought in, and the statement."""
import csv
import io
from decimal import Decimal as D

import pytest

from client import IBAN, UNKNOWN_ID, call, ok, pointers, problem
from house import REFUSED_TRANSFER, eventually, sql, unchanged


def test_a_deposit_is_one_entry_with_its_running_balance(customer):
    user = customer(TRY=1000)
    t = user.deposit("500.25")
    assert (t["type"], t["assetName"], t["amount"], t["status"], t["iban"]) == ("DEPOSIT", "TRY", "500.25", "COMPLETED", None)
    assert user.holding() == (D("1500.25"), D("1500.25"))
    items = user.get("/assets/TRY/entries")["items"]
    mine = [i for i in items if i["causeId"] == t["id"]]
    assert len(mine) == 1
    entry = mine[0]
    assert (entry["type"], entry["amount"], entry["usableAmount"]) == ("DEPOSIT", "500.25", "500.25")
    assert (entry["size"], entry["usableSize"], entry["causeType"]) == ("1500.25", "1500.25", "TRANSFER")
    assert user.get(f"/transactions/{t['id']}") == t


NO_AMOUNT = {"zero": 0, "minus": -1, "null": None, "three places": "0.001", "letters": "abc", "empty": "", "true": True,
             "Infinity": "Infinity", "39 digits": "9" * 39, "exponent": "1e2", "list": []}


@pytest.mark.parametrize("path", ["deposits", "withdrawals"])
def test_what_is_no_amount_is_refused(customer, path):
    user = customer(TRY=100)
    with unchanged():
        for why, amount in NO_AMOUNT.items():
            body = {"amount": amount, **({"iban": IBAN} if path == "withdrawals" else {})}
            answer = user.call("POST", f"/transactions/{path}", body)
            assert answer.status_code == 400 and pointers(answer) == ["/amount"], f"{why}: {answer.text}"
        answer = user.call("POST", f"/transactions/{path}", {})
        assert answer.status_code == 400 and "/amount" in pointers(answer)


def test_a_withdrawal_of_100_of_1000_leaves_exactly_900(customer):
    user = customer(TRY=1000)
    t = ok(user.try_withdraw(100), 201)
    assert t["status"] == "COMPLETED" and t["type"] == "WITHDRAWAL"
    assert user.holding() == (900, 900)


def test_what_is_set_aside_can_not_be_withdrawn(customer):
    user = customer(TRY=1000)
    order = user.buy("THYAO", 7, 100)
    with unchanged(but=REFUSED_TRANSFER):
        p = problem(user.try_withdraw(301), 422, "insufficient_usable_size")
        assert (p["assetName"], p["required"], p["usable"]) == ("TRY", "301", "300")
    ok(user.try_withdraw(300), 201)
    assert user.holding() == (700, 0)
    user.cancel(order["id"])
    assert user.holding() == (700, 700)
    refused = user.get("/transactions", status="REJECTED")["items"]
    assert [(t["amount"], t["statusReason"]) for t in refused] == [("301", "insufficient_usable_size")]


GERMAN = "DE89370400440532013000"
GOOD_IBANS = [IBAN, IBAN.lower(), "TR33 0006 1005 1978 6457 8413 26", GERMAN, "de89 3704 0044 0532 0130 00",
              "GB82WEST12345698765432", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
BAD_IBANS = {
    "last digit changed": IBAN[:-1] + "7", "25 characters": IBAN[:-1], "27 characters": IBAN + "0", "two digits swapped":
    IBAN[:10] + IBAN[11] + IBAN[10] + IBAN[12:], "no country": "XX" + IBAN[2:], "German of Turkish length": "DE" + IBAN[2:],
    "empty": "", "letters": "TRAB" + IBAN[4:], "a dash": IBAN[:4] + "-" + IBAN[4:], "null": None, "number": 1, "too long": "T" * 300,
    "check digits 00": "TR00" + IBAN[4:], "Arabic digit": IBAN[:-1] + "٦",
}


@pytest.mark.parametrize("iban", GOOD_IBANS)
def test_a_valid_iban_is_taken_normalised_and_shown_masked(customer, iban):
    user = customer(TRY=100)
    t = ok(user.try_withdraw(1, iban), 201)
    plain = iban.replace(" ", "").upper()
    assert plain not in str(t) and t["iban"].startswith(plain[:2]) and t["iban"].endswith(plain[-4:])
    listed = user.get("/transactions")["items"][0]
    assert listed["iban"] == t["iban"] and plain not in str(listed)
    assert sql("SELECT iban FROM txns.transfer WHERE id = %s", t["id"]) == [(plain,)]


def test_what_is_no_iban_is_refused(customer):
    user = customer(TRY=100)
    with unchanged():
        for why, iban in BAD_IBANS.items():
            answer = user.call("POST", "/transactions/withdrawals", {"amount": "1", "iban": iban})
            assert answer.status_code == 400 and pointers(answer) == ["/iban"], f"{why}: {answer.text}"
            assert IBAN not in answer.text
        answer = user.call("POST", "/transactions/withdrawals", {"amount": "1"})
        assert answer.status_code == 400 and pointers(answer) == ["/iban"]


def test_nobody_can_drive_the_firms_accounts_out_of_range(customer, admin):
    """The firm's accounts sum over all customers. Two sales of nine million million each once overflowed the house's: the second was
    MATCHED and never settled."""
    user = customer()
    largest, beyond = "1000000000", "1000000000.01"
    with unchanged():
        for path in ("deposits", "withdrawals"):
            body = {"amount": beyond} | ({"iban": IBAN} if path == "withdrawals" else {})
            answer = user.call("POST", f"/transactions/{path}", body)
            assert answer.status_code == 400 and pointers(answer) == ["/amount"], answer.text
        answer = user.call("POST", "/orders", {"assetName": "ASELS", "orderSide": "SELL", "size": "1", "price": beyond})
        assert answer.status_code == 400 and pointers(answer) == ["/size"], answer.text
        answer = admin.call("POST", "/assets", {"customerId": user.id, "assetName": "ASELS", "size": beyond})
        assert answer.status_code == 400 and pointers(answer) == ["/size"], answer.text
    user.deposit(largest)
    ok(user.try_withdraw(largest), 201)
    assert user.holding() == (0, 0)


def test_an_unknown_transaction_is_not_found(customer):
    user = customer()
    for what in (UNKNOWN_ID, "x", "0"):
        problem(user.call("GET", f"/transactions/{what}"), 404, "not_found")


# ---- shares brought in ----

def test_an_admin_brings_shares_in(customer, admin):
    user = customer()
    holding = admin.bring_in(user, "asels", "12.5")
    assert holding == {"customerId": user.id, "assetName": "ASELS", "size": "12.5", "usableSize": "12.5", "reservedSize": "0"}
    assert admin.bring_in(user, "ASELS", 1)["size"] == "13.5"
    assert ok(user.call("GET", "/assets/ASELS"))["size"] == "13.5"
    entry = user.get("/assets/ASELS/entries")["items"][-1]
    assert (entry["type"], entry["causeType"], entry["amount"]) == ("BROUGHT_IN", "ADMIN", "12.5")


@pytest.mark.parametrize("body, status, code, named", [
    ({"assetName": "TRY", "size": "1"}, 422, "asset_not_tradable", []),
    ({"assetName": "try", "size": "1"}, 422, "asset_not_tradable", []),
    ({"assetName": "A-B", "size": "0"}, 400, "validation_failed", ["/assetName", "/size"]),
    ({"assetName": "THYAO", "size": "-1"}, 400, "validation_failed", ["/size"]),
    ({"assetName": "THYAO", "size": "0.00001"}, 400, "validation_failed", ["/size"]),
    ({}, 400, "validation_failed", ["/assetName", "/size"]),
])
def test_what_can_not_be_brought_in_is_refused(admin, stranger, body, status, code, named):
    with unchanged():
        answer = admin.call("POST", "/assets", {"customerId": stranger.id, **body})
        problem(answer, status, code)
        assert pointers(answer) == named


def test_nothing_is_brought_in_for_nobody(admin):
    with unchanged():
        problem(admin.call("POST", "/assets", {"customerId": 999999999, "assetName": "THYAO", "size": "1"}), 404, "not_found")
        answer = admin.call("POST", "/assets", {"assetName": "THYAO", "size": "1"})
        assert answer.status_code == 400 and pointers(answer) == ["/customerId"]


# ---- what one owns, and the statement ----

def test_assets_show_what_is_set_aside(A):
    A.sell("ASELS", "1.5", 200)
    A.buy("THYAO", 1, 100)
    items = {i["assetName"]: i for i in A.get("/assets")["items"]}
    assert (items["ASELS"]["size"], items["ASELS"]["usableSize"], items["ASELS"]["reservedSize"]) == ("500", "498.5", "1.5")
    assert (items["TRY"]["size"], items["TRY"]["usableSize"], items["TRY"]["reservedSize"]) == ("100000", "99900", "100")
    non_zero = A.get("/assets", nonZeroOnly="true")["items"]
    assert {i["assetName"] for i in non_zero} == {"ASELS", "TRY"}
    assert [i["assetName"] for i in A.get("/assets", assetName="asels")["items"]] == ["ASELS"]


def test_an_asset_never_held_is_not_found(A):
    problem(A.call("GET", "/assets/NEVER"), 404, "not_found")
    problem(A.call("GET", "/assets/NEVER/entries"), 404, "not_found")
    problem(A.call("GET", "/assets/what%20ever"), 404, "not_found")


def test_the_statement_tells_a_life_with_running_balances(A, admin):
    canceled = A.buy("THYAO", 1, 100)
    A.cancel(canceled["id"])
    matched = A.buy("THYAO", 2, 100)
    admin.match(matched["id"])
    ok(A.try_withdraw(50), 201)
    items = A.get("/assets/TRY/entries")["items"]
    told = [(i["type"], i["amount"], i["usableAmount"], i["size"], i["usableSize"]) for i in reversed(items)]
    assert told == [
        ("DEPOSIT", "100000", "100000", "100000", "100000"), ("RESERVE", "0", "-100", "100000", "99900"),
        ("RELEASE", "0", "100", "100000", "100000"), ("RESERVE", "0", "-200", "100000", "99800"),
        ("TRADE", "-200", "0", "99800", "99800"), ("WITHDRAWAL", "-50", "-50", "99750", "99750")]
    assert [i["at"] for i in items] == sorted((i["at"] for i in items), reverse=True)


def ok_csv(answer):
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/csv"), answer.text
    assert answer.text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_statement_as_csv_is_the_same_page_by_page(A, admin):
    for i in range(3):
        A.cancel(A.buy("THYAO", 1, 10 + i)["id"])
    items = A.get("/assets/TRY/entries")["items"]
    rows, path = [], "/assets/TRY/entries?limit=3"
    while path:
        answer = A.call("GET", path, headers={"Accept": "text/csv"})
        page = ok_csv(answer)
        assert 0 < len(page) <= 3
        rows += page
        path = answer.links.get("next", {}).get("url")
    assert rows == items
    answer = admin.call("GET", f"/assets/TRY/entries?limit=1&customerId={A.id}", headers={"Accept": "text/csv"})
    assert ok_csv(admin.call("GET", answer.links["next"]["url"], headers={"Accept": "text/csv"})) == rows[1:2]
    assert A.call("GET", "/assets/TRY/entries", headers={"Accept": "text/csv;q=0.5, application/json"}).json()["items"] == items


def test_a_customer_an_admin_names_at_once_is_known(admin, pool):
    """His registration may still be on its way to the other services: they wait a little."""
    user = pool.take()
    body = {"amount": "5", "customerId": user.id}
    assert ok(admin.call("POST", "/transactions/deposits", body), 201)["customerId"] == user.id
    eventually(lambda: user.holding() == (5, 5))
    with unchanged():
        problem(admin.call("POST", "/transactions/deposits", {"amount": "5", "customerId": 999999999}), 404, "not_found")
        answer = admin.call("POST", "/transactions/deposits", {"amount": "5"})
        assert answer.status_code == 400 and pointers(answer) == ["/customerId"]
        assert call("POST", "/transactions/deposits", body={"amount": "5"}).status_code == 401
