# SPDX-License-Identifier: Apache-2.0
"""The gateway under test: started from a configuration, asked over plain sockets, and stopped with a look at how it ended."""

import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("PULLGATE", ROOT / "build" / "pullgate"))
SANITIZER = re.compile(r"ERROR: AddressSanitizer|LeakSanitizer|runtime error|ThreadSanitizer|Assertion .* failed")
ADDRESS = "127.0.0.1"
EXIT_LIMIT = 40
ASK_LIMIT = 20


def free_port():
    with socket.create_server((ADDRESS, 0)) as probe:
        return probe.getsockname()[1]


@dataclass
class Answer:
    status: int
    headers: list  # (lower-case name, value)
    body: bytes
    complete: bool  # framed, and the frame was filled

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name):
        return next(iter(self.all(name)), None)

    @property
    def error(self):
        """The first error of an OCI error body."""
        return json.loads(self.body)["errors"][0]

    @property
    def request_id(self):
        return self.header("x-request-id")


class Gateway:
    def __init__(self, directory, config):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.terminated = False
        config = {"listeners": [{"address": f"{ADDRESS}:{self.port}"}], **config}
        self.config = directory / "pullgate.json"
        self.config.write_text(json.dumps(config, indent=2))
        self.log_path = directory / "log"
        self.stderr_path = directory / "stderr"
        self.stdout = self.log_path.open("wb")
        self.stderr = self.stderr_path.open("wb")
        # No proxy of the machine may stand between the gateway and the scripted upstream.
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        suppressions = pathlib.Path(__file__).with_name("lsan.supp")
        clean.setdefault("LSAN_OPTIONS", f"suppressions={suppressions}:print_suppressions=0")
        self.process = subprocess.Popen([str(BINARY), "serve", "--config", str(self.config)], stdout=self.stdout,
                                        stderr=self.stderr, stdin=subprocess.DEVNULL, env=clean)
        self._wait_ready()

    def _wait_ready(self):
        for _ in range(200):
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway did not start: {self.output()}")
            try:
                self.ask("/v2/")
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"the gateway does not answer: {self.output()}")

    def output(self):
        return self.stderr_path.read_text(errors="replace") + self.log_path.read_text(errors="replace")[-4000:]

    # --- asking ---

    def connect(self, receive_buffer=None, timeout=ASK_LIMIT):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect((ADDRESS, self.port))
        return sock

    def ask(self, target, method="GET", headers=(), timeout=ASK_LIMIT):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=timeout)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            return read_answer(connection.getresponse(), method)
        except http.client.RemoteDisconnected:
            raise ConnectionError("closed without an answer")
        finally:
            connection.close()

    def pull(self, registry, path, **how):
        """`path` is what follows /v2/: repository/manifests/tag, ..."""
        return self.ask(f"/v2/{path}{'&' if '?' in path else '?'}ns={registry}", **how)

    def exchange(self, data, timeout=ASK_LIMIT):
        """Send these bytes, return all that comes back until the gateway closes or says nothing for a while."""
        with self.connect(timeout=timeout) as sock:
            sock.sendall(data)
            return read_until_quiet(sock, timeout)

    # --- watching ---

    def lines(self):
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def logged(self, request_id, limit=5):
        """The log line of a request; it is written after the answer has left."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            for line in self.lines():
                if line.get("id") == request_id:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no log line for {request_id}")

    def rss(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    @property
    def sanitized(self):
        return b"__asan_init" in BINARY.read_bytes()

    def terminate(self):
        """SIGTERM, once: a second one would end it at once."""
        if not self.terminated and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.terminated = True

    def stop(self, limit=EXIT_LIMIT):
        """SIGTERM; the exit status. What the sanitizers wrote is an error."""
        self.terminate()
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not end within {limit} s of SIGTERM")
        finally:
            self.stdout.close()
            self.stderr.close()
        found = SANITIZER.search(self.stderr_path.read_text(errors="replace"))
        assert not found, self.stderr_path.read_text(errors="replace")[-8000:]
        return status


def read_answer(response, method):
    framed = (response.chunked or response.length is not None) or method == "HEAD" or response.status in (204, 304)
    try:
        body, complete = response.read(), framed
    except http.client.IncompleteRead as short:
        body, complete = short.partial, False
    except OSError:
        body, complete = b"", False
    headers = [(name.lower(), value) for name, value in response.getheaders()]
    return Answer(response.status, headers, body, complete)


def read_until_quiet(sock, limit, quiet=0.4):
    received = b""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        readable, _, _ = select.select([sock], [], [], quiet if received else limit)
        if not readable:
            break
        try:
            more = sock.recv(65536)
        except OSError:
            break
        if not more:
            break
        received += more
    return received


def closed_by_peer(sock, limit):
    """Does the other side close within `limit` seconds? What it sends before is thrown away."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        readable, _, _ = select.select([sock], [], [], 0.2)
        if not readable:
            continue
        try:
            if not sock.recv(65536):
                return True
        except OSError:
            return True
    return False


# --- what answers must look like ---


def assert_oci_error(answer, statuses):
    assert answer.status in statuses, (answer.status, answer.body[:400])
    assert answer.complete
    assert (answer.header("content-type") or "").startswith("application/json")
    assert answer.error["code"] and answer.error["message"]
    assert_clean(answer)


def assert_denied(answer, *words):
    """403 DENIED with one printable line that has these words."""
    assert_oci_error(answer, {403})
    assert answer.error["code"] == "DENIED"
    message = answer.error["message"]
    assert "\n" not in message and len(message) <= 400
    for word in words:
        assert word.lower() in message.lower(), message


def assert_failed(answer, registry, statuses=frozenset({502, 503, 504})):
    """An upstream's failure: an OCI error that names the registry."""
    assert_oci_error(answer, statuses)
    assert registry in answer.error["message"], answer.error["message"]


def assert_not_whole(answer, content):
    """Whatever came, it is not a complete answer with anything but `content`."""
    if answer.status >= 400:
        assert_oci_error(answer, {403, 404, 502, 503, 504})
    elif answer.complete:
        assert answer.status == 200
        assert answer.body == content, f"complete, but not what was asked for: {answer.body[:80]!r}"


def assert_clean(answer):
    """Nothing that only concerns the gateway and the upstream reaches a client."""
    for name in ("www-authenticate", "set-cookie", "location", "x-upstream", "content-encoding"):
        assert answer.header(name) is None, name
