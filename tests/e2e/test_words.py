"""What stands in the logs when all is over, and what must not."""
import glob
import json
import re

import house
from test_transfers import BAD_IBANS, GOOD_IBANS


def log_texts():
    for path in glob.glob(f"{house.RUN_DIR}/log/*/*") + glob.glob(f"{house.RUN_DIR}/log/*.log"):
        if path.rsplit("/", 1)[1] not in ("lock", "config", "state"):
            with open(path, errors="replace") as f:
                yield path, f.read()


def test_no_log_holds_a_token_a_password_a_key_or_an_iban(pool):
    ibans = {i.replace(" ", "").upper() for i in GOOD_IBANS} | {i for i in BAD_IBANS.values() if isinstance(i, str) and len(i) > 20 and not i.startswith("TTTT")}
    secrets = house.secret_texts() | set(pool.passwords)
    read = 0
    for path, text in log_texts():
        read += 1
        assert "eyJ" not in text, f"{path} holds a token"
        assert "BEGIN PRIVATE" not in text and "argon2" not in text, path
        squeezed = text.replace(" ", "").upper()
        for iban in ibans:
            assert iban not in squeezed, f"{path} holds an IBAN"
        for secret in secrets:
            assert secret not in text, f"{path} holds a secret"
    assert read >= len(house.PROCESSES)


def test_every_line_of_ours_is_json_with_the_same_members(log_marks):
    for name in house.PROCESSES:
        for line in house.log_since(name, log_marks[name]).splitlines():
            if re.match(r"\d{4}-\d\d-\d\dT\S+Z supervisor: ", line):
                continue
            entry = json.loads(line)
            assert {"time", "level", "service", "msg"} <= set(entry), line
            assert entry["service"] == name and entry["level"] in ("debug", "info", "warn", "error")


def test_no_process_died_but_those_we_ended(log_marks):
    for name in house.PROCESSES:
        for told in re.findall(r"supervisor: ended .*", house.log_since(name, log_marks[name])):
            assert re.search(r"with exit code 0 ", told), f"{name}: {told}"
