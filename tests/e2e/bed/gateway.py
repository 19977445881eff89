# SPDX-License-Identifier: Apache-2.0
"""The gateway under test, and asking it directly."""

import http.client
import json
import os
import re
import signal
import socket
import ssl

from .images import unique
from .processes import Daemon, base_environment, until

BUILD = os.path.join(os.path.dirname(__file__), "../../../build")
BUILT = [os.path.join(BUILD, name) for name in ("pullgate", "gateway/pullgate")]
PULLGATE = os.path.abspath(os.environ.get("PULLGATE") or next(filter(os.path.isfile, BUILT), BUILT[0]))
SUPPRESSIONS = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../faults/lsan.supp"))
ID = re.compile(r"id=([A-Za-z0-9_.-]{1,32})")  # the stories' messages say {id} in this form


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """(code, message) of the first error of an OCI error body."""
        first = self.json()["errors"][0]
        return first["code"], first["message"]

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:400]!r}"


class Gateway:
    """`pullgate serve` with one configuration. Its log is standard output, kept in a file."""

    def __init__(self, folder, configuration, pki, ready, before=()):
        """`ready`: (address, port) of a listener without TLS. `before`: a command that runs it."""
        assert os.access(PULLGATE, os.X_OK), f"there is no gateway at {PULLGATE}: build it, or say where it is with PULLGATE="
        os.makedirs(folder)
        self.folder, self.ready, self._pki, self._before = folder, ready, pki, before
        self.path, self._out = f"{folder}/pullgate.json", f"{folder}/out"
        self.write(configuration)
        self.start()

    def start(self):
        env = {k: v for k, v in base_environment().items() if not k.startswith("SSL_")}
        # What libh2o itself keeps until the process ends is no leak of the gateway's.
        env.setdefault("LSAN_OPTIONS", f"suppressions={SUPPRESSIONS}:print_suppressions=0")
        errors = f"{self.folder}/{unique('err')}"
        self._daemon = Daemon([*self._before, PULLGATE, "serve", "--config", self.path], errors, env, stdout=self._out)
        self._daemon.wait_ready(self._answers)

    def alive(self):
        return self._daemon.alive()

    def must_run(self):
        """Nothing that a client, an upstream or a file does may end the gateway."""
        if not self._daemon.alive():
            raise AssertionError(f"pullgate ended with {self._daemon.process.returncode}:\n{self._daemon.text()[-6000:]}")

    def _answers(self):
        try:
            return self.ask("GET", "/v2/").status == 200
        except OSError:
            return False

    def write(self, configuration):
        if isinstance(configuration, dict):
            # Several gateways run in the bed; each has a control socket of its own, and keeps nothing unless it is to.
            defaults = {"control": f"{self.folder}/control.sock", "store": None}
            configuration = json.dumps({**defaults, **configuration}, indent=2)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(configuration)

    def stop(self):
        """End it as an administrator would; its exit status must be 0 and no sanitizer may have spoken."""
        self.must_run()
        status, errors = self._daemon.stop(), self._daemon.text()
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors[-8000:]
        assert status == 0, f"pullgate ended with {status}:\n{errors[-4000:]}"

    # --- its log ---

    def log(self):
        with open(self._out, encoding="utf-8", errors="replace") as file:
            text = file.read()
        lines = text[:text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def mark(self):
        return len(self.log())

    def lines(self, mark=0, **fields):
        return [line for line in self.log()[mark:] if all(line.get(name) == value for name, value in fields.items())]

    def line(self, mark=0, **fields):
        """A log line with these fields since `mark`; waits for it, as the log is written beside the answer."""
        def found():
            self.must_run()
            return self.lines(mark, **fields) or None

        try:
            return until(f"a log line with {fields}", found, 15)[0]
        except AssertionError as never:
            recent = "\n".join(json.dumps(line) for line in self.log()[mark:][-30:])
            raise AssertionError(f"{never}; there are:\n{recent}\n{self._daemon.text()[-2000:]}") from None

    def reload(self, configuration):
        """Write, SIGHUP, and return the log's line about it."""
        mark = self.mark()
        self.write(configuration)
        self._daemon.process.send_signal(signal.SIGHUP)
        return self.line(mark, event="reload")

    # --- asking it ---

    def ask(self, method, target, headers=None, body=None, host=None):
        connection = http.client.HTTPConnection(*self.ready, timeout=60)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True, skip_host=bool(host))
            if host:
                connection.putheader("Host", host)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def ask_tls(self, name, method, target, headers=None):
        context = ssl.create_default_context(cafile=self._pki.ca)
        connection = http.client.HTTPSConnection(name, context=context, timeout=60)
        try:
            connection.request(method, target, headers=headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, data):
        """Send bytes as they are; return what comes back until one whole answer is there or the gateway closes."""
        with socket.create_connection(self.ready, timeout=20) as sock:
            sock.sendall(data)
            received = b""
            while not _whole(received):
                try:
                    piece = sock.recv(65536)
                except OSError:
                    break
                if not piece:
                    break
                received += piece
            return received


def _whole(data):
    head, separator, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(separator) and bool(length) and len(body) >= int(length.group(1))
