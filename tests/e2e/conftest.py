"""Fixtures: users with balances of their own, and the audit after every test."""
import subprocess
import sys

import pytest
import requests

import client
import contract
import house
import leaks


def pytest_collection_modifyitems(items):
    """What stops processes comes late; what reads all logs comes last."""
    late = {"test_keys.py": 1, "test_login_guard.py": 1, "test_revocation.py": 1, "test_traces.py": 1, "test_trouble.py": 1, "test_words.py": 2}
    items.sort(key=lambda item: late.get(item.path.name, 0))


@pytest.fixture(scope="session", autouse=True)
def judged():
    """Every answer, whoever asked, goes past the contract; what was secret in it is remembered for the search of the logs."""
    send = requests.Session.send

    def send_and_judge(session, request, **kw):
        answer = send(session, request, **kw)
        if not kw.get("stream"):
            contract.check_answer(answer)
            leaks.note(answer)
        return answer

    requests.Session.send = send_and_judge
    yield
    requests.Session.send = send


@pytest.fixture(autouse=True)
def contract_kept(judged):
    yield
    wrong = contract.take_complaints()
    assert not wrong, "the contract was not kept: " + "; ".join(wrong[:10])


@pytest.fixture(scope="session", autouse=True)
def copy_is_up():
    for name in ("postgres", "kafka", *house.PROCESSES):
        try:
            house.eventually(lambda: house.is_ready(name), 10)
        except AssertionError:
            pytest.exit(f"{name} of {house.RUN_DIR} is not ready: 'make up' starts it", 3)
    before = house.audit()
    if before:
        pytest.exit(f"the audit is not clean before the first test: {before}", 3)


@pytest.fixture(scope="session", autouse=True)
def log_marks(copy_is_up):
    """How far each log was written before the first test."""
    return {name: house.log_size(name) for name in house.PROCESSES}


@pytest.fixture(autouse=True)
def audited(copy_is_up):
    yield
    wrong = house.audit()
    assert not wrong, "the audit is not clean after this test: " + "; ".join(
        f"{name}: {rows[:5]}" for name, rows in wrong.items())


@pytest.fixture(scope="session")
def admin(copy_is_up):
    return client.User("admin", (house.SECRETS / "admin_password").read_text().strip())


@pytest.fixture(scope="session")
def pool(copy_is_up):
    return client.Pool()


@pytest.fixture
def customer(pool, admin):
    """customer(TRY=1000, ASELS=50): somebody new who has just that."""
    def take(**has):
        user = pool.take()
        for asset, size in has.items():
            if asset == "TRY":
                user.deposit(size)
            else:
                admin.bring_in(user, asset, size)
        return user
    return take


@pytest.fixture
def A(customer):
    return customer(TRY="100000.00", ASELS="500")


@pytest.fixture
def B(customer):
    return customer(TRY=50000)


@pytest.fixture(scope="session")
def R(pool, admin):
    """As A, for tests whose every request is refused: one for all of them."""
    user = pool.take()
    user.deposit(100000)
    admin.bring_in(user, "ASELS", 500)
    return user


@pytest.fixture(scope="session")
def stranger(pool):
    """Somebody to be refused; he has nothing and gets nothing."""
    return pool.take()


@pytest.fixture(scope="session")
def wrong_key(tmp_path_factory):
    """A P-256 key that nobody knows here."""
    path = tmp_path_factory.mktemp("keys") / "wrong.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
                   check=True, stderr=sys.stderr)
    return path
