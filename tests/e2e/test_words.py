"""What stands in the logs when all is over, and what must not."""
import glob
import json
import re

import house
import leaks
from test_transfers import GOOD_IBANS


def log_texts():
    for path in glob.glob(f"{house.RUN_DIR}/log/*/*") + glob.glob(f"{house.RUN_DIR}/log/*.log"):
        if path.rsplit("/", 1)[1] not in ("lock", "config", "state"):
            with open(path, errors="replace") as f:
                yield path, f.read()


def test_the_search_does_find_a_secret(pool):
    user = pool.take()
    assert {user.password, user.session["refreshToken"], user.session["accessToken"]} <= leaks.secrets
    line = f'{{"msg":"log in","password":"{user.password}","iban":"TR33 0006 1005 1978 6457 8413 26"}}'
    assert leaks.found_in(line, leaks.secrets) == [user.password]
    assert leaks.found_in(leaks.squeezed(line), {"TR330006100519786457841326"})


def test_no_log_holds_a_secret_that_this_suite_has_used():
    assert leaks.secrets, "the search knows what to look for"
    of_the_copy, read = house.secret_texts(), 0
    for path, text in log_texts():
        read += 1
        assert "eyJ" not in text, f"{path} holds a token"
        assert "BEGIN PRIVATE" not in text and "argon2" not in text, path
        assert not leaks.found_in(text, leaks.secrets | of_the_copy), f"{path} holds a secret"
        assert not leaks.found_in(leaks.squeezed(text), leaks.ibans | {leaks.squeezed(i) for i in GOOD_IBANS}), f"{path} holds an IBAN"
        assert not re.search(r"(?i)\bbearer [A-Za-z0-9_-]{20}", text), f"{path} holds a header"
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
