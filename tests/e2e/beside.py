"""A gateway of a test's own, in front of the copy's services: with other settings, or a config file that changes."""
import json
import os
import random
import re
import signal
import socket
import subprocess
import urllib.request

import house
from house import eventually


def free_port():
    """Of this copy's own range: one that the kernel picks may be some connection's when it is listened on."""
    while True:
        port = house.PORT_BASE + random.randrange(2000, 3000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Gateway:
    """`conf` is the copy's own config file at first; `write` puts another in its place, `reload` has it read."""

    def __init__(self, folder, **settings):
        self.file, self.log = folder / "gateway.json", folder / "log"
        self.conf = json.loads((house.RUN_DIR / "conf/gateway.json").read_text())
        self.write(self.conf)
        port, self.operator_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {**os.environ, "LISTEN": f"127.0.0.1:{port}", "OPERATOR_LISTEN": f"127.0.0.1:{self.operator_port}",
               "JWKS_FILE": str(house.RUN_DIR / "jwks.json"), "KAFKA_BROKERS": house.BROKERS, "LIMITS": "off", "DRAIN_MIN_MS": "0", **settings}
        with self.log.open("w") as log:
            self.process = subprocess.Popen([house.BIN / "gateway", "--config", self.file], env=env, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self):
        try:
            eventually(lambda: any("listening on" in line["msg"] for line in self.said()), 15, "it listens")
        except AssertionError:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(15) == 0

    def write(self, conf):
        """All at once, so that nobody reads half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(conf if isinstance(conf, str) else json.dumps(conf))
        new.replace(self.file)

    def said(self, since=0):
        return [json.loads(line) for line in self.log.read_text()[since:].splitlines() if '"msg"' in line and line.endswith("}")]

    def reload(self):
        """SIGHUP, and what it said after it had read the file again."""
        before = len(self.log.read_text())
        self.process.send_signal(signal.SIGHUP)
        return eventually(lambda: [line for line in self.said(before) if "the config file" in line["msg"]], 10, "it reads the file")[0]

    def metric(self, series):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.operator_port}/metrics", timeout=5) as answer:
            return float(re.search(rf"^{re.escape(series)} (\S+)$", answer.read().decode(), re.M)[1])
