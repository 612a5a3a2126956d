"""Drives the API fuzzer (Schemathesis) by api/openapi.yaml against the copy in RUN_DIR, as a customer and as an admin.

    fuzz.py SCHEMATHESIS SECONDS        scripts/contract calls it, and audits the books afterwards

Fails on a 5xx, on what the contract does not have (a status, a type, a member, a header), and on wrong input that is accepted. Tokens go
by the environment, never by a command line; they live ten minutes, so a long run is rounds with new ones. What ends a session
or changes a user is tried apart, on people who are there for that.
"""
import os
import random
import subprocess
import sys

import client
import contract
import house
import test_contract

CONFIG = house.ROOT / "api/schemathesis.toml"
ROUND_S = 240
APART_S = 8
# Ends sessions, or changes users. Breakers are forced by a name that nothing has: a real one would make everything a 503.
APART = ["changePassword", "endSession", "endUserSessions", "changeUser", "forceBreaker", "logOut"]


def built():
    return [o["operationId"] for route, o in contract.operations().items() if route not in test_contract.NOT_BUILT]


def somebody(admin):
    """A customer who can buy, sell and withdraw."""
    name, password = client.new_name(), client.new_password()
    client.ok(client.try_register(name, password), 201)
    user = client.User(name, password)
    user.deposit(10_000_000)
    admin.bring_in(user, "ASELS", 100_000)
    return user


def run(schemathesis, token, operations, seconds, target):
    command = [schemathesis, "--config-file", str(CONFIG), "run", str(contract.PATH), "--url", house.GATEWAY, "--no-color",
               "--max-time", str(seconds), "--seed", os.environ.get("FUZZ_SEED") or str(random.randrange(2**32))]
    if os.environ.get("CURL_CA_BUNDLE"):
        command += ["--tls-verify", os.environ["CURL_CA_BUNDLE"]]
    for operation in operations:
        command += ["--include-operation-id", operation]
    return subprocess.run(command, env={**os.environ, "FUZZ_TOKEN": token, "FUZZ_CUSTOMER": str(target.id)}).returncode


def main(schemathesis, seconds):
    admin = client.User("admin", (house.SECRETS / "admin_password").read_text().strip())
    usual = [o for o in built() if o not in APART]
    apart = [o for o in APART if o in built()]
    failed, left = 0, seconds
    while left > 0 and not failed:
        now = min(left, ROUND_S)
        left -= now
        for who in ("a customer", "an admin"):
            print(f"==> fuzzing the API as {who}, {now // 2} s", flush=True)
            user, target = somebody(admin), somebody(admin)
            token = user.token if who == "a customer" else admin.token
            failed += run(schemathesis, token, usual, max(now // 2, 1), target)
            token = user.token if who == "a customer" else client.make_token(admin.id, "ADMIN")
            failed += run(schemathesis, token, apart, APART_S, target)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
