"""Matching in HOUSE mode: lists, an asset, all, a dry run, one order."""
import uuid

import pytest

from client import UNKNOWN_ID, ok, parallel, pointers, problem
from house import eventually, unchanged


def test_a_mixed_batch_has_an_outcome_an_order_and_none_spoils_another(A, admin):
    first, second = A.buy("THYAO", 1, 100), A.sell("ASELS", 2, 50)
    canceled = A.cancel(A.buy("THYAO", 1, 1)["id"])
    wanted = [first["id"], canceled["id"], UNKNOWN_ID, second["id"]]
    answer = ok(admin.call("POST", "/admin/matches", {"orderIds": wanted}))
    results = answer["results"]
    assert [r["orderId"] for r in results] == wanted
    assert [(r["outcome"], r.get("code")) for r in results] == [
        ("MATCHED", None), ("REJECTED", "order_not_matchable"), ("REJECTED", "order_not_found"), ("MATCHED", None)]
    assert (results[0]["size"], results[0]["price"]) == ("1", "100")
    assert A.holding() == (100000, 100000) and A.holding("THYAO") == (1, 1) and A.holding("ASELS") == (498, 498)
    stored = admin.get(f"/admin/matches/{answer['matchId']}")
    assert stored["results"] == results and stored["status"] == "COMPLETED" and stored["actor"] == f"ADMIN:{admin.id}"
    listed = admin.get("/admin/matches", limit=1)["items"][0]
    assert listed["matchId"] == answer["matchId"] and listed["orders"] == 4


def test_one_asset_is_matched_and_no_other(customer, admin):
    user = customer(TRY=1000)
    mine = [user.buy("ONLYME", 1, 10)["id"] for _ in range(3)]
    other = user.buy("NOTME", 1, 10)["id"]
    results = admin.match(assetName="onlyme")
    assert sorted(results) == sorted(mine) and {r["outcome"] for r in results.values()} == {"MATCHED"}
    assert user.order(other)["status"] == "PENDING"
    assert user.holding() == (970, 960) and user.holding("ONLYME") == (3, 3)
    assert admin.match(assetName="ONLYME") == {}


def test_all_pending_orders_are_matched_that_were_answered_before(customer, admin):
    """The barrier: an order that its client knows to be PENDING is in it, however far the book had read."""
    users = [customer(TRY=1000) for _ in range(3)]
    for _ in range(3):
        placed = [o.json()["id"] for o in parallel(12, lambda i: users[i % 3].try_place("BUY", "THYAO", 1, 1))]
        results = ok(admin.call("POST", "/admin/matches", {}))["results"]
        outcomes = {r["orderId"]: r["outcome"] for r in results}
        assert all(outcomes.get(p) == "MATCHED" for p in placed)
    assert users[0].orders(status="PENDING") == []


def test_a_dry_run_foresees_and_changes_nothing(A, admin):
    pending, canceled = A.buy("DRYRUN", 2, 100), A.cancel(A.buy("DRYRUN", 1, 1)["id"])
    matched = A.buy("GARAN", 1, 1)
    admin.match(matched["id"])
    with unchanged():
        wanted = [pending["id"], canceled["id"], UNKNOWN_ID, matched["id"]]
        answer = ok(admin.call("POST", "/admin/matches", {"orderIds": wanted, "dryRun": True}))
        assert answer["matchId"] is None
        assert [(r["orderId"], r["outcome"]) for r in answer["results"]] == list(
            zip(wanted, ["MATCHED", "REJECTED", "REJECTED", "ALREADY_MATCHED"]))
        by_asset = ok(admin.call("POST", "/admin/matches", {"assetName": "DRYRUN", "dryRun": True}))["results"]
        assert [(r["orderId"], r["size"], r["price"]) for r in by_asset] == [(pending["id"], "2", "100")]
    assert admin.match(pending["id"], dryRun=False)[pending["id"]]["outcome"] == "MATCHED"


def test_one_order(A, admin):
    order = A.buy("THYAO", 2, 100)
    path = f"/admin/orders/{order['id']}/match"
    first = ok(admin.call("POST", path))
    assert [(r["orderId"], r["outcome"], r["size"], r["price"]) for r in first["results"]] == [(order["id"], "MATCHED", "2", "100")]
    again = ok(admin.call("POST", path, {}))
    assert again["results"][0]["outcome"] == "ALREADY_MATCHED"
    assert A.holding("THYAO") == (2, 2)


def test_a_doubled_id_counts_once(A, admin):
    order = A.buy("THYAO", 1, 100)
    results = ok(admin.call("POST", "/admin/matches", {"orderIds": [order["id"]] * 5 + [order["id"].upper()]}))["results"]
    assert [r["outcome"] for r in results] == ["MATCHED"]
    assert A.holding("THYAO") == (1, 1)


def test_a_thousand_ids_are_taken_and_one_more_is_not(A, admin):
    order = A.buy("THYAO", 1, 100)
    ids = [str(uuid.uuid4()) for _ in range(999)] + [order["id"]]
    results = admin.match(*ids)
    assert len(results) == 1000 and results[order["id"]]["outcome"] == "MATCHED"
    assert sum(r.get("code") == "order_not_found" for r in results.values()) == 999
    with unchanged():
        answer = admin.call("POST", "/admin/matches", {"orderIds": ids + [str(uuid.uuid4())]})
        assert answer.status_code == 400 and pointers(answer) == ["/orderIds"]


@pytest.mark.parametrize("body, named", [
    ({"orderIds": []}, ["/orderIds"]), ({"orderIds": ["x"]}, ["/orderIds/0"]), ({"orderIds": [UNKNOWN_ID, None]}, ["/orderIds/1"]),
    ({"orderIds": UNKNOWN_ID}, ["/orderIds"]), ({"orderIds": None}, ["/orderIds"]), ({"orderIds": [[UNKNOWN_ID]]}, ["/orderIds/0"]),
    ({"orderIds": ["00000000-0000-0000-0000-000000000000"]}, ["/orderIds/0"]),
    ({"orderIds": [UNKNOWN_ID], "assetName": "THYAO"}, ["/assetName"]), ({"assetName": "A-B"}, ["/assetName"]),
    ({"mode": "SIDEWAYS"}, ["/mode"]), ({"dryRun": "true"}, ["/dryRun"]), ({"what": 1}, ["/what"]),
    ({"orderIds": ["x", "y"], "mode": 1, "dryRun": 0}, ["/dryRun", "/mode"]),
])
def test_a_request_that_is_wrong_matches_nothing(A, admin, body, named):
    A.buy("THYAO", 1, 1)
    with unchanged():
        answer = admin.call("POST", "/admin/matches", body)
        problem(answer, 400, "validation_failed")
        assert set(named) <= set(pointers(answer)), answer.text


def test_a_match_that_need_not_be_waited_for(A, admin):
    order = A.buy("THYAO", 1, 100)
    answer = admin.call("POST", "/admin/matches", {"orderIds": [order["id"]]}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.headers["Preference-Applied"] == "respond-async"
    done = eventually(lambda: (m := ok(admin.call("GET", answer.headers["Location"])))["status"] == "COMPLETED" and m)
    assert [r["outcome"] for r in done["results"]] == ["MATCHED"]


def test_an_unknown_match_is_not_found(admin):
    for what in (UNKNOWN_ID, "x"):
        problem(admin.call("GET", f"/admin/matches/{what}"), 404, "not_found")
