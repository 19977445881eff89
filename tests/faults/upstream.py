# SPDX-License-Identifier: Apache-2.0
"""A scripted upstream: a registry that does on demand what a real one does only on its worst day.

One `Upstream` listens on several loopback addresses, over TLS or plain, one thread a connection. A test says what a path
answers as a list of *steps*; the n-th request for the path takes the n-th step, later ones the last. A step is any
callable `step(request, wire)`; the makers below (answer, raw, stall, drip, ...) cover the usual ones. Whatever the
gateway sent is kept in `Upstream.requests`, so that a test can also say what must never have been sent.

An address may also misbehave before HTTP begins: see `Manner`.
"""

import enum
import hashlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

HEAD_LIMIT = 256 * 1024
REASONS = {
    200: "OK", 206: "Partial Content", 302: "Found", 307: "Temporary Redirect", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 416: "Range Not Satisfiable", 429: "Too Many Requests",
    500: "Internal Server Error", 503: "Service Unavailable",
}


class Manner(enum.Enum):
    """What a connection meets before its first request."""

    NORMAL = "tls, then http"
    SILENT = "connects, TLS never answers"
    DEAF = "the connect itself never completes: a full backlog"
    RESET = "reset as soon as it is accepted"
    RESET_AFTER_TLS = "reset once TLS stands"
    HANG_AFTER_TLS = "TLS stands, nothing is ever read"
    NOT_TLS = "speaks SSH where TLS is expected"


@dataclass
class Request:
    method: str
    target: str  # path and query, as sent
    headers: list  # of (lower-case name, value)
    address: str  # which of the upstream's addresses was asked
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self):
        return self.target.split("?", 1)[0]

    def header(self, name, default=None):
        return next((value for key, value in self.headers if key == name.lower()), default)


class Gone(Exception):
    """The gateway closed the connection."""


class Wire:
    """One connection as a step sees it."""

    def __init__(self, sock, upstream):
        self.sock = sock
        self.upstream = upstream
        self.open = True

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (OSError, ValueError) as error:
            self.open = False
            raise Gone(str(error)) from error

    def reset(self):
        """Close with RST rather than FIN."""
        self.open = False
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
        except OSError:
            pass

    def close(self, notify=False):
        """FIN; with `notify` TLS's close_notify first, so that the end is a clean one for TLS."""
        self.open = False
        try:
            if notify and isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(0.2)
                try:
                    self.sock.unwrap()
                except (OSError, ValueError):
                    pass
            self.sock.close()
        except OSError:
            pass

    def wait_gone(self, limit=30):
        """Say nothing until the gateway leaves or `limit` seconds are over; True if it left."""
        self.open = False
        end = time.monotonic() + limit
        try:
            while time.monotonic() < end and not self.upstream.closing.is_set():
                readable, _, _ = select.select([self.sock], [], [], 0.2)
                if readable and not self.sock.recv(4096):
                    return True
        except (OSError, ValueError):
            return True
        return False


# --- the makers of steps -------------------------------------------------------------------------------------------


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def head(status, headers, reason=None):
    lines = [f"HTTP/1.1 {status} {reason or REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(status=200, body=b"", headers=(), length=None, close=False):
    """A whole answer with Content-Length (`length` lies about it), body left out for HEAD."""

    def step(request, wire):
        fields = [("Content-Length", len(body) if length is None else length), *headers]
        if close:
            fields.append(("Connection", "close"))
        wire.send(head(status, fields) + (b"" if request.method == "HEAD" else body))
        if close:
            wire.close(notify=True)

    return step


def error(status, code, message, headers=()):
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return answer(status, body, [("Content-Type", "application/json"), *headers])


def manifest(body, media_type, headers=(), says=None):
    """A manifest as a registry sends it; `says` lies in Docker-Content-Digest."""
    return answer(200, body, [("Content-Type", media_type), ("Docker-Content-Digest", says or digest(body)), *headers])


def blob(body, headers=()):
    """A blob with single ranges, as registries and S3 serve it."""

    def step(request, wire):
        wanted = request.header("range")
        fields = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), *headers]
        if not wanted:
            return answer(200, body, fields)(request, wire)
        first, last = wanted.removeprefix("bytes=").split("-")
        if first == "":
            start, end = max(0, len(body) - int(last)), len(body) - 1
        else:
            start, end = int(first), min(int(last) if last else len(body) - 1, len(body) - 1)
        if start >= len(body):
            return answer(416, b"", [("Content-Range", f"bytes */{len(body)}")])(request, wire)
        fields.append(("Content-Range", f"bytes {start}-{end}/{len(body)}"))
        return answer(206, body[start : end + 1], fields)(request, wire)

    return step


def redirect(location, status=307):
    return answer(status, b"", [] if location is None else [("Location", location)])


def unauthorized(realm, scope="repository:x:pull", scheme="Bearer", headers=()):
    challenge = f'{scheme} realm="{realm}",service="broken",scope="{scope}"'
    return answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                  [("WWW-Authenticate", challenge), ("Content-Type", "application/json"), *headers])


def token(value):
    return answer(200, json.dumps({"token": value, "expires_in": 300}).encode(), [("Content-Type", "application/json")])


def raw(data, end="close"):
    """These bytes and nothing else, then: close (FIN), notify (close_notify, FIN), reset, hang, keep."""

    def step(_request, wire):
        wire.send(data)
        if end == "close":
            wire.close()
        elif end == "notify":
            wire.close(notify=True)
        elif end == "reset":
            time.sleep(0.05)  # let the bytes arrive: RST throws away what was not read yet
            wire.reset()
        elif end == "hang":
            wire.upstream.left.append(wire.wait_gone())

    return step


def drip(data, interval, end="keep"):
    """One byte each `interval` seconds."""

    def step(_request, wire):
        for index in range(len(data)):
            wire.send(data[index : index + 1])
            time.sleep(interval)
        if end != "keep":
            wire.close()

    return step


def slow(delay, then):
    def step(request, wire):
        time.sleep(delay)
        then(request, wire)

    return step


def endless(start, block, limit=256 * 1024 * 1024):
    """`start`, then `block` again and again until the gateway leaves; wire.upstream.sent[path] counts."""

    def step(request, wire):
        wire.send(start)
        count = 0
        try:
            while count < limit:
                wire.send(block)
                count += len(block)
                wire.upstream.sent[request.path] = count
        finally:
            wire.close()

    return step


def stream(size, block, headers=(), pause=0.0):
    """A blob of `size` bytes made of `block`, sent piece by piece; wire.upstream.sent[path] counts what left."""

    def step(request, wire):
        wire.send(head(200, [("Content-Length", size), ("Content-Type", "application/octet-stream"), *headers]))
        if request.method == "HEAD":
            return
        sent = 0
        try:
            while sent < size:
                piece = block[: size - sent]
                wire.send(piece)
                sent += len(piece)
                wire.upstream.sent[request.path] = sent
                if pause:
                    time.sleep(pause)
        except Gone:
            wire.upstream.cut.append(request.path)
            raise

    return step


# --- the server ----------------------------------------------------------------------------------------------------


class Upstream:
    """`context`: an ssl.SSLContext, or None for plain HTTP. All addresses share one port."""

    def __init__(self, manners, context=None):
        self.context = context
        self.scripts = {}
        self.counts = {}
        self.requests = []
        self.connections = []  # addresses, one entry a connection that was accepted
        self.sent = {}  # path -> body bytes handed to the kernel, where a step counts
        self.cut = []  # paths whose transfer the gateway ended
        self.left = []  # of each hang: did the gateway leave?
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.listeners = []
        self.fillers = []
        self.port = 0
        for address, manner in manners.items():
            self._listen(address, manner)

    def _listen(self, address, manner):
        listener = socket.create_server((address, self.port), backlog=0 if manner is Manner.DEAF else 256)
        self.port = listener.getsockname()[1]
        self.listeners.append(listener)
        if manner is Manner.DEAF:
            self._fill_backlog(listener)
            return
        threading.Thread(target=self._accept, args=(listener, address, manner), daemon=True).start()

    def _fill_backlog(self, listener):
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            self.fillers.append(filler)

    def _accept(self, listener, address, manner):
        while not self.closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(address)
            threading.Thread(target=self._connection, args=(sock, address, manner), daemon=True).start()

    def _connection(self, sock, address, manner):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        wire = Wire(sock, self)
        try:
            if manner is Manner.SILENT:
                wire.wait_gone()
                return
            if manner is Manner.RESET:
                wire.reset()
                return
            if manner is Manner.NOT_TLS:
                wire.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
                wire.close()
                return
            if self.context is not None:
                wire.sock = self.context.wrap_socket(sock, server_side=True)
            if manner is Manner.RESET_AFTER_TLS:
                wire.reset()
            elif manner is Manner.HANG_AFTER_TLS:
                wire.wait_gone()
            else:
                self._serve(wire, address)
        except (OSError, Gone, ValueError):
            pass
        finally:
            wire.close()

    def _serve(self, wire, address):
        buffered = b""
        while wire.open and not self.closing.is_set():
            while b"\r\n\r\n" not in buffered:
                more = wire.sock.recv(65536)
                if not more or len(buffered) > HEAD_LIMIT:
                    return
                buffered += more
            text, buffered = buffered.split(b"\r\n\r\n", 1)
            request = parse(text, address)
            self._step(request)(request, wire)

    def _step(self, request):
        with self.lock:
            self.requests.append(request)
            key = next((k for k in ((request.address, request.path), request.path) if k in self.scripts), None)
            if key is None:
                return error(404, "NAME_UNKNOWN", "the script has no such path")
            count = self.counts.get(key, 0)
            self.counts[key] = count + 1
            steps = self.scripts[key]
            return steps[min(count, len(steps) - 1)]

    # --- what tests call ---

    def at(self, path, *steps):
        """Script `path` (or `(address, path)`, which goes first)."""
        with self.lock:
            self.scripts[path] = steps
            self.counts[path] = 0

    def asked(self, path, method=None):
        with self.lock:
            return [r for r in self.requests if r.path == path and method in (None, r.method)]

    def close(self):
        self.closing.set()
        for sock in self.listeners + self.fillers:
            sock.close()


def parse(text, address):
    lines = text.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return Request(method, target, headers, address)
