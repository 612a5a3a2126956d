"""HTTPS at the gateway, on one of our own in front of the same services: who may speak to it, and new certificates."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

import house
from house import eventually

PORT, OPERATOR_PORT = house.PORT_BASE + 34, house.PORT_BASE + 1034


class Door:
    """A gateway that speaks HTTPS, with a private CA made as `make up TLS=1` makes it."""

    def __init__(self, folder):
        self.tls, self.log = folder / "run" / "tls", folder / "log"
        self.make_certificate()
        env = {**os.environ, "LISTEN": f"127.0.0.1:{PORT}", "OPERATOR_LISTEN": f"127.0.0.1:{OPERATOR_PORT}",
               "JWKS_FILE": str(house.RUN_DIR / "jwks.json"), "LIMITS": "off", "KAFKA_BROKERS": house.BROKERS, "TLS_CERT_FILE": str(self.tls / "server.pem"),
               "TLS_KEY_FILE": str(self.tls / "server.key")}
        self.process = subprocess.Popen([house.BIN / "gateway", "--config", house.RUN_DIR / "conf/gateway.json"], env=env,
                                        stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def make_certificate(self):
        subprocess.run([house.ROOT / "scripts/tls"], env={**os.environ, "RUN_DIR": str(self.tls.parent)}, check=True)

    def context(self, ca="ca.pem"):
        return ssl.create_default_context(cafile=self.tls / ca)

    def connect(self, context=None):
        s = socket.create_connection(("127.0.0.1", PORT), 10)
        return (context or self.context()).wrap_socket(s, server_hostname="127.0.0.1")

    def serial(self):
        with self.connect() as s:
            return s.getpeercert()["serialNumber"]

    def hang_up(self):
        """SIGHUP, and what it said after it had read its files again."""
        before = self.log.stat().st_size
        self.process.send_signal(signal.SIGHUP)
        return eventually(lambda: [line for line in self.said(before) if "the TLS certificate" in line["msg"]], 10)[0]

    def said(self, since=0):
        return [json.loads(line) for line in self.log.read_text()[since:].splitlines() if '"msg"' in line and line.endswith("}")]

    def end(self):
        self.process.terminate()
        assert self.process.wait(15) == 0


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    d = Door(tmp_path_factory.mktemp("tls"))
    try:
        eventually(lambda: any("listening on" in line["msg"] for line in d.said()), 10, "it listens")
        yield d
    finally:
        d.end()


def hear(s):
    answer = http.client.HTTPResponse(s)
    answer.begin()
    return answer.status, answer.headers, answer.read()


def ask(s, token=None, path="/api/v1/assets", method="GET", body=b"", more=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    s.sendall(head.encode() + b"\r\n" + body)
    return hear(s)


def test_keys_are_for_their_owner_alone(door):
    assert door.tls.stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "server.key"):
        assert (door.tls / name).stat().st_mode & 0o777 == 0o600


def test_the_story_goes_over_https_and_every_answer_says_to_stay_there(door, A):
    with door.connect() as s:
        order = json.dumps({"assetName": "THYAO", "orderSide": "BUY", "size": "1", "price": "10"}).encode()
        for _ in range(3):  # on one kept connection
            status, headers, body = ask(s, A.token, "/api/v1/orders", "POST", order)
            assert status == 201 and headers["Strict-Transport-Security"] == "max-age=31536000"
            status, headers, _ = ask(s, A.token, f"/api/v1/orders/{json.loads(body)['id']}", "DELETE")
            assert status == 200 and headers["Strict-Transport-Security"]
        status, headers, body = ask(s, None)
        assert status == 401 and headers["Strict-Transport-Security"]
        assert ask(s, A.token, "/api/v1/assets/TRY/entries?limit=200")[0] == 200
        status, headers, _ = ask(s, A.token, "/api/v1/orders", "POST", order, more="Transfer-Encoding: chunked\r\n")
        assert status == 400 and headers["Connection"] == "close" and headers["Strict-Transport-Security"]


def test_plain_http_gets_no_answer_and_no_hint(door):
    with socket.create_connection(("127.0.0.1", PORT), 10) as s:
        s.sendall(b"GET /api/v1/assets HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        try:
            while chunk := s.recv(4096):
                heard += chunk
        except ConnectionResetError:
            pass
    assert b"HTTP/" not in heard


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_todays_versions_are_spoken(door, version):
    context = door.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with door.connect(context) as s:
        assert s.version().replace(".", "_") == version
        assert ask(s)[0] == 401


# What a client would have to say for us to speak like that; SECLEVEL=0 lets this side offer it at all.
OLD = {
    "TLS 1.0": (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
    "TLS 1.1": (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
    "the key goes to the server's own": (ssl.TLSVersion.TLSv1_2, "kRSA:@SECLEVEL=0"),
    "no authenticated cipher": (ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA:ECDHE+AES+SHA256:ECDHE+AES+SHA384:@SECLEVEL=0"),
    "nobody is who he says": (ssl.TLSVersion.TLSv1_2, "aNULL:@SECLEVEL=0"),
}


@pytest.mark.parametrize("why", OLD)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_what_is_too_weak_is_not_spoken(door, why):
    version, ciphers = OLD[why]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, OSError)):
        door.connect(context).close()


def test_a_second_handshake_ends_the_connection(door):
    """Asking again and again for handshakes would cost us more than him (what testssl calls client-initiated renegotiation)."""
    s_client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{PORT}", "-tls1_2", "-CAfile", door.tls / "ca.pem"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in s_client.stdout:
        if b"Extended master secret" in line:  # the first handshake's last word
            break
    s_client.stdin.write(b"R\n")
    s_client.stdin.flush()
    assert s_client.wait(10) is not None  # it ends, though nobody ended it from this side
    assert s_client.stdout.read().splitlines()[-2:] == [b"RENEGOTIATING", b"closed"]
    s_client.stdin.close()


def test_a_slow_client_is_told_and_closed(door):
    with door.connect() as s:
        s.sendall(b"GET /api/v1/assets HTTP/1.1\r\nHost: local")
        status, headers, _ = hear(s)
        assert status == 408 and headers["Strict-Transport-Security"] and s.recv(1) == b""


def test_a_client_that_does_not_shake_hands_is_closed(door):
    with socket.create_connection(("127.0.0.1", PORT), 15) as s:
        assert s.recv(1) == b""


def test_a_new_certificate_is_shown_after_sighup_and_old_connections_go_on(door):
    with door.connect() as kept:
        before = door.serial()
        (door.tls / "server.pem").unlink()
        door.make_certificate()
        assert door.serial() == before
        assert door.hang_up()["level"] == "info"
        assert door.serial() != before
        assert ask(kept)[0] == 401


def spoil_cert(tls):
    (tls / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")


def spoil_key(tls):
    (tls / "server.key").write_text("no key\n")


def take_another_key(tls):
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tls / "server.key"],
                   check=True, stderr=subprocess.DEVNULL)


def lose_cert(tls):
    (tls / "server.pem").unlink()


@pytest.mark.parametrize("spoil, named", [(spoil_cert, "server.pem"), (spoil_key, "server.key"),
                                          (take_another_key, "is not the key of"), (lose_cert, "No such file")])
def test_a_bad_file_is_refused_with_its_name_and_the_old_one_stays(door, tmp_path, spoil, named):
    kept = pathlib.Path(shutil.copytree(door.tls, tmp_path / "tls"))
    before = door.serial()
    try:
        spoil(door.tls)
        told = door.hang_up()
        assert told["level"] == "error" and named in told["msg"] and "stays as it is" in told["msg"]
        assert door.serial() == before
    finally:
        shutil.copytree(kept, door.tls, dirs_exist_ok=True)
    assert door.hang_up()["level"] == "info"


def test_a_gateway_with_a_certificate_and_no_key_does_not_start(door):
    env = {**os.environ, "JWKS_FILE": str(house.RUN_DIR / "jwks.json"), "TLS_CERT_FILE": str(door.tls / "server.pem")}
    done = subprocess.run([house.BIN / "gateway", "--config", house.RUN_DIR / "conf/gateway.json"], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    assert done.returncode == 1 and "TLS_KEY_FILE" in done.stdout
