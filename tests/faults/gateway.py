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
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("PULLGATE", ROOT / "build" / "pullgate"))
SANITIZER = re.compile(r"ERROR: AddressSanitizer|LeakSanitizer|runtime error|ThreadSanitizer|Assertion .* failed")
ADDRESS = "127.0.0.1"
START_LIMIT = 10
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
    gateway: object = field(default=None, repr=False)  # who answered

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

    @property
    def line(self):
        """The log's line about it."""
        return self.gateway.logged(self.request_id)


class Gateway:
    """`listeners` beside the first one, which is plain; `inherited`: a listening socket for the first, as systemd hands
    it over; `ready`: what to wait for before it is used."""

    suppressions = f"suppressions={pathlib.Path(__file__).with_name('lsan.supp')}:print_suppressions=0"

    def __init__(self, directory, config, listeners=(), inherited=None, ready=None):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = inherited.getsockname()[1] if inherited else free_port()
        self.terminated = False
        self.settings = config
        self.config = directory / "pullgate.json"
        self.configure(listeners)
        self.log_path = directory / "log"
        self.stderr_path = directory / "stderr"
        self.stdout = self.log_path.open("wb")
        self.stderr = self.stderr_path.open("wb")
        # No proxy of the machine may stand between the gateway and the scripted upstream.
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        clean.setdefault("LSAN_OPTIONS", self.suppressions)
        command, hand_over = [str(BINARY), "serve", "--config", str(self.config)], {}
        if inherited:
            command = ["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"', *command]
            hand_over = {"pass_fds": (3,), "preexec_fn": lambda: os.dup2(inherited.fileno(), 3)}
        self.process = subprocess.Popen(command, stdout=self.stdout, stderr=self.stderr, stdin=subprocess.DEVNULL,
                                        env=clean, **hand_over)
        self._wait(ready or self._answers)

    def configure(self, listeners=(), **more):
        """Write the configuration; a running gateway is told by reload()."""
        first = {"address": f"{ADDRESS}:{self.port}"}
        self.config.write_text(json.dumps({"listeners": [first, *listeners], **self.settings, **more}, indent=2))

    def reload(self, limit=10):
        """SIGHUP; the log's line about it."""
        before = len(self.events("reload"))
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if len(self.events("reload")) > before:
                return self.events("reload")[-1]
            time.sleep(0.02)
        raise AssertionError(f"no reload: {self.output()}")

    def _answers(self, _gateway):
        try:
            return self.ask("/v2/").status == 200
        except OSError:
            return False

    def _wait(self, ready):
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway did not start: {self.output()}")
            if ready(self):
                return
            time.sleep(0.005)
        self.process.kill()
        raise AssertionError(f"the gateway does not answer: {self.output()}")

    def output(self):
        return self.stderr_path.read_text(errors="replace") + self.log_path.read_text(errors="replace")[-4000:]

    # --- asking ---

    def connect(self, receive_buffer=None, timeout=ASK_LIMIT, port=None):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect((ADDRESS, port or self.port))
        return sock

    def ask(self, target, method="GET", headers=(), timeout=ASK_LIMIT):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=timeout)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            answer = read_answer(connection.getresponse(), method)
            answer.gateway = self
            return answer
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

    @property
    def store(self):
        """The directory of what it keeps."""
        return pathlib.Path(self.settings["store"]["directory"])

    def lines(self):
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def events(self, event):
        return [line for line in self.lines() if line.get("event") == event]

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


def assert_oci_error(answer, status, reason):
    """This status and this reason in the log; an OCI error for whoever asked."""
    assert answer.status == status, (answer.status, answer.body[:400])
    assert answer.line["reason"] == reason, answer.line
    assert answer.complete
    assert (answer.header("content-type") or "").startswith("application/json")
    assert answer.error["code"] and answer.error["message"]
    assert_clean(answer)


def assert_denied(answer, *words, reason):
    """403 DENIED with one printable line that has these words."""
    assert_oci_error(answer, 403, reason)
    assert answer.error["code"] == "DENIED"
    message = answer.error["message"]
    assert "\n" not in message and len(message) <= 400
    for word in words:
        assert word.lower() in message.lower(), message


def assert_failed(answer, registry, status=502, reason="upstream_error"):
    """An upstream's failure: an OCI error that names the registry."""
    assert_oci_error(answer, status, reason)
    assert registry in answer.error["message"], answer.error["message"]


def assert_whole(answer, content):
    assert (answer.status, answer.complete) == (200, True), (answer.status, answer.body[:400])
    assert answer.body == content, f"complete, but not what was asked for: {answer.body[:80]!r}"


def assert_broken_off(answer, content, registry, reason="upstream_error"):
    """502 that names the registry, or, where the answer had begun, a cut before the last byte of `content`."""
    if answer.status >= 400:
        assert_failed(answer, registry, 502, reason)
        return
    assert answer.status in (200, 206) and not answer.complete
    assert len(answer.body) < len(content), "all of it has left"
    assert answer.line["reason"] == reason, answer.line


def assert_clean(answer):
    """Nothing that only concerns the gateway and the upstream reaches a client."""
    for name in ("www-authenticate", "set-cookie", "location", "x-upstream", "content-encoding"):
        assert answer.header(name) is None, name
