"""A gateway of our own before the copy's services: cut off from order-svc at many bytes, and told to stop under load."""
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import house
from client import call, new_key, ok

PORT = house.PORT_BASE + 20
ORDER = {"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "100"}


def is_answered(path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT + 1000}{path}", timeout=3) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


@contextlib.contextmanager
def gateway(tmp_path, upstreams, **settings):
    conf = json.loads((house.RUN_DIR / "conf/gateway.json").read_text())
    conf["upstreams"].update(upstreams)
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(conf))
    env = {"PATH": os.environ["PATH"], "LISTEN": f"127.0.0.1:{PORT}", "OPERATOR_LISTEN": f"127.0.0.1:{PORT + 1000}",
           "JWKS_FILE": str(house.RUN_DIR / "jwks.json"), "KAFKA_BROKERS": house.BROKERS, "LIMITS": "off", **settings}
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([house.ROOT / "build/release/bin/gateway", "--config", path], env=env, stdout=log,
                                   stderr=subprocess.STDOUT)
    try:
        house.eventually(lambda: is_answered("/readyz"), 30, "the gateway is ready")
        yield process
    finally:
        process.kill()
        process.wait()


# ---- cut off ----

class Cutter:
    """A wire to a service. The next connection that carries a byte is cut after so many bytes, one way or the other."""

    def __init__(self, port):
        self.to, self.cut, self.lock = port, None, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
                for way, source, target in (("request", client, server), ("answer", server, client)):
                    threading.Thread(target=self._carry, args=(way, source, target), daemon=True).start()

    def _carry(self, way, source, target):
        carried = None
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self.lock:
                    armed = self.cut if self.cut and self.cut[0] == way else None
                    carried = 0 if armed and carried is None else carried
                    if armed and carried + len(data) >= armed[1]:
                        self.cut, data, last = None, data[:armed[1] - carried], True
                    else:
                        carried, last = None if carried is None else carried + len(data), False
                target.sendall(data)
                if last:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


TAKEN = (201, 202)  # 202: this machine was slow; the order is there
CUTS = [("request", n) for n in (0, 1, 15, 100, 300, 450)] + [("answer", n) for n in (0, 1, 12, 60, 200, 400)]


def test_cut_off_at_many_bytes_an_order_is_placed_once_for_its_key_and_never_denied(tmp_path, customer):
    user = customer(TRY=100000)
    wire = Cutter(house.PORT_BASE + house.PORTS["order-svc"])
    base, placed = f"http://127.0.0.1:{PORT}", {}

    def stored():
        return house.value("SELECT count(*) FROM orders.orders WHERE customer_id = %s", user.id)

    def order(key=None):
        headers = {"Idempotency-Key": key} if key else {}
        return call("POST", "/orders", token=user.token, body=ORDER, headers=headers, base=base)

    with gateway(tmp_path, {"order": [f"127.0.0.1:{wire.port}"]}):
        for cut in CUTS:
            for _ in range(8):  # most calls are well, or the circuit would open and nothing would be sent
                ok(call("GET", "/orders", token=user.token, base=base))
            before = stored()
            wire.cut = cut
            answer = order()
            wire.cut = None
            house.eventually(house.drained)
            assert answer.status_code in (*TAKEN, 503, 504), answer.text
            now = stored() - before
            assert now <= 1, f"{cut}: placed {now} times"
            assert answer.status_code not in TAKEN or now == 1, f"{cut}: acknowledged, and not there"
            assert answer.status_code != 503 or now == 0, f"{cut}: denied, and there"

            key, before = new_key(), stored()
            wire.cut = cut
            answer = order(key)
            wire.cut = None
            answer = answer if answer.status_code in TAKEN else house.eventually(
                lambda: (a := order(key)).status_code in TAKEN and a, 15, "the key tells")
            placed[key] = answer.headers["Location"]
            assert stored() - before == 1, f"{cut}: {stored() - before} orders for one key"
    assert len(set(placed.values())) == len(CUTS)


# ---- told to stop ----

def test_told_to_stop_under_load_it_fails_no_request(tmp_path, customer):
    user, clients, until_refused = customer(TRY=1000), 8, 20
    token, told, after, wrong = user.token, threading.Event(), [], []

    def work():
        connection, end = None, time.monotonic() + until_refused
        while time.monotonic() < end:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
                    connection.connect()
            except ConnectionRefusedError:
                return  # the door is shut; nothing was asked
            try:
                connection.request("GET", "/api/v1/orders", headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as e:
                wrong.append(repr(e))
                return
            if answer.status != 200:
                wrong.append(answer.status)
            if told.is_set():
                after.append(answer.headers["Connection"])
            if answer.headers["Connection"] == "close":
                connection.close()
                connection = None

    with gateway(tmp_path, {}) as process:
        threads = [threading.Thread(target=work) for _ in range(clients)]
        for t in threads:
            t.start()
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        house.eventually(lambda: not is_answered("/readyz"), 2, "it says that it is not ready")
        told.set()
        for t in threads:
            t.join()
        assert process.wait(15) == 0
        took = time.monotonic() - began
    assert not wrong, wrong[:5]
    assert len(after) > clients, "it went on answering"
    assert set(after[clients:]) == {"close"}
    assert 2 <= took < 10, f"{took:.1f} s"
