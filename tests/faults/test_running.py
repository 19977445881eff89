# SPDX-License-Identifier: Apache-2.0
"""A gateway as an operator runs it: started, reloaded under load, monitored, stopped; and what it says over TLS."""

import hashlib
import json
import pathlib
import re
import signal
import socket
import ssl
import threading
import time

import pytest

from bed import certificate
from gateway import ADDRESS, ASK_LIMIT, assert_failed, free_port
from images import OCI_LAYER, descriptor, document, encode, script_manifest
from upstream import answer, blob, digest

KIB = 1024


def request(target, *headers, method="GET"):
    return ("\r\n".join([f"{method} {target} HTTP/1.1", "Host: gateway.test", *headers]) + "\r\n\r\n").encode()


def tls_listener(bed, name):
    cert, key = certificate(bed.directory, name, f"IP:{ADDRESS}", bed.authority)
    port = free_port()
    return port, {"address": f"{ADDRESS}:{port}", "tls": {"certificate": str(cert), "key": str(key)}}


def tls(bed, gateway, port):
    context = ssl.create_default_context(cafile=str(bed.ca))
    return context.wrap_socket(gateway.connect(port=port), server_hostname=ADDRESS)


def read_all(sock):
    received = b""
    while more := sock.recv(65536):
        received += more
    return received


# --- what libh2o answers by itself ---


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_413_can_be_read_over_tls(bed, own_gateway, framing):
    """The rest of the body is read off: a close with unread bytes would be a reset, and the answer lost."""
    port, listener = tls_listener(bed, "tls413")
    gateway = own_gateway(listeners=[listener])
    body = b"x" * (200 * KIB)
    for _ in range(5):
        with tls(bed, gateway, port) as sock:
            if framing == "length":
                sock.sendall(request("/v2/x/y/manifests/1", f"Content-Length: {len(body)}") + body)
            else:
                sock.sendall(request("/v2/x/y/manifests/1", "Transfer-Encoding: chunked")
                             + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            got = read_all(sock)
        assert got.startswith(b"HTTP/1.1 413 "), got[:200]
        head, _, text = got.partition(b"\r\n\r\n")
        assert json.loads(text)["errors"][0]["message"]
        assert b"x-request-id:" in head.lower()


def test_a_head_that_libh2o_refuses(gateway):
    """A HEAD's answer has no body, whoever makes it, and it is logged like any other."""
    got = gateway.exchange(request("/v2/x/y/manifests/1", f"Content-Length: {200 * KIB}", method="HEAD") + b"x" * 200 * KIB)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body == b""
    line = gateway.logged(re.search(rb"x-request-id: *(\S+)", head, re.IGNORECASE)[1].decode())
    assert (line["status"], line["reason"]) == (413, "request")


# --- started by systemd ---


def test_a_socket_that_was_handed_over(own_gateway, up, repo):
    """The socket is the one that was handed over: nobody else could listen there. It stays over a reload."""
    content = b"through a socket that was there before"
    up.at(f"/v2/{repo}/blobs/{digest(content)}", blob(content))
    with socket.create_server((ADDRESS, 0)) as handed:
        early = socket.create_connection(handed.getsockname(), timeout=ASK_LIMIT)  # before the gateway is there
        gateway = own_gateway(inherited=handed)
    with early:
        early.sendall(request("/v2/", "Connection: close"))
        assert read_all(early).startswith(b"HTTP/1.1 200 ")
    for _ in range(2):
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}").body == content
        gateway.reload()
    assert gateway.stop() == 0


# --- the first second ---


def blocks_sigterm(gateway):
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:")).split()[1]
    return bool(int(blocked, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("pause", [0, 0.01, 0.05, 0.1, 0.3, 0.9])
def test_sigterm_within_a_second_of_the_start(own_gateway, pause):
    """From when it waits for signals, which is before it listens."""
    gateway = own_gateway(ready=blocks_sigterm)
    time.sleep(pause)
    assert gateway.stop(limit=10) == 0


# --- reload ---


class Load:
    """Clients that pull, each time over a new connection, until they are told to stop; what went wrong is kept."""

    def __init__(self, pulls):
        self.done, self.counts, self.failures = threading.Event(), [0] * len(pulls), []
        self.threads = [threading.Thread(target=self._run, args=(n, pull)) for n, pull in enumerate(pulls)]

    def _run(self, n, pull):
        while not self.done.is_set():
            try:
                pull()
                self.counts[n] += 1
            except (OSError, AssertionError) as error:
                self.failures.append(f"{n}: {error!r}")

    def more(self, limit=ASK_LIMIT):
        """Until each client has pulled three times more."""
        goal, end = [count + 3 for count in self.counts], time.monotonic() + limit
        while any(count < wanted for count, wanted in zip(self.counts, goal)):
            assert time.monotonic() < end and not self.failures, (self.counts, self.failures[:3])
            time.sleep(0.02)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def shown_certificate(bed, gateway, port):
    with tls(bed, gateway, port) as sock:
        return hashlib.sha256(sock.getpeercert(binary_form=True)).hexdigest()


def test_listeners_and_certificates_change_under_load(bed, own_gateway, up, repo):
    content = repo.encode() * 20000
    path = f"/v2/{repo}/blobs/{digest(content)}"
    up.at(path, blob(content))
    port, listener = tls_listener(bed, "first")
    gateway = own_gateway(listeners=[listener])
    asked = request(f"{path}?ns=broken.test", "Connection: close")

    def plain():
        assert gateway.pull("broken.test", path.removeprefix("/v2/")).body == content

    def encrypted():
        with tls(bed, gateway, port) as sock:
            sock.sendall(asked)
            assert read_all(sock).endswith(content)

    added = free_port()
    old, new = shown_certificate(bed, gateway, port), certificate(bed.directory, "second", f"IP:{ADDRESS}", bed.authority)
    with Load([plain, plain, encrypted, encrypted]) as load:
        load.more()
        for name, source in zip(("certificate", "key"), new):
            source.replace(listener["tls"][name])
        gateway.reload()
        assert shown_certificate(bed, gateway, port) != old
        load.more()
        for _ in range(3):
            gateway.configure([listener, {"address": f"{ADDRESS}:{added}"}])
            gateway.reload()
            with gateway.connect(port=added) as sock:
                sock.sendall(request("/v2/", "Connection: close"))
                assert read_all(sock).startswith(b"HTTP/1.1 200 ")
            load.more()
            gateway.configure([listener])
            gateway.reload()
            with pytest.raises(ConnectionRefusedError):
                gateway.connect(port=added).close()
            load.more()
    assert not load.failures
    assert gateway.stop() == 0


def test_loops_that_are_woken_at_the_same_moment(own_gateway):
    """Each loop reads what wakes it into memory of its own: reloads wake all of them, answers wake each."""
    gateway = own_gateway()
    name = "dead.test", f"x/y/blobs/{digest(b'x')}"
    with Load([lambda: assert_failed(gateway.pull(*name), "dead.test")] * 6) as load:
        end = time.monotonic() + 6
        while time.monotonic() < end and not load.failures:
            gateway.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
    assert not load.failures, gateway.output()
    assert gateway.stop() == 0


def test_a_listener_that_went_lets_its_transfers_finish(own_gateway, up, repo):
    content = repo.encode() * 1000
    added = free_port()
    gateway = own_gateway(listeners=[{"address": f"{ADDRESS}:{added}"}])
    up.at(f"/v2/{repo}/blobs/{digest(content)}", lambda req, wire: (time.sleep(1), blob(content)(req, wire)))
    with gateway.connect(port=added) as sock:
        sock.sendall(request(f"/v2/{repo}/blobs/{digest(content)}?ns=broken.test", "Connection: close"))
        time.sleep(0.3)
        gateway.configure()
        gateway.reload()
        assert read_all(sock).endswith(content)


def test_a_listener_cannot_move_to_an_address_that_covers_it(own_gateway):
    """127.0.0.1:P to 0.0.0.0:P: the port is in use, by the listener itself. Nothing changes."""
    gateway = own_gateway()
    gateway.configure(**{"listeners": [{"address": f"0.0.0.0:{gateway.port}"}]})
    assert f"0.0.0.0:{gateway.port}" in gateway.reload()["message"]
    assert gateway.ask("/v2/").status == 200


# --- monitor mode ---


def test_monitor_lets_a_refused_digest_pass_as_a_blob_too(own_gateway, up, repo):
    """What /manifests/ lets pass and logs, /blobs/ lets pass: some clients fetch a manifest's bytes there."""
    gateway = own_gateway(mode="monitor")
    layer = repo.encode()
    body = encode(document([layer]) | {"layers": [descriptor(layer, OCI_LAYER, urls=["https://x.test/l"])]})
    name = script_manifest(up, repo, body)
    up.at(f"/v2/{repo}/blobs/{name}", answer(200, body))
    up.at(f"/v2/{repo}/blobs/{digest(layer)}", blob(layer))
    got = gateway.pull("broken.test", f"{repo}/manifests/{name}")
    assert (got.status, got.body) == (200, body)
    assert (got.line["decision"], got.line["would"]) == ("allow", "deny")
    assert got.line["would_rule"] == "external_urls: x.test"
    got = gateway.pull("broken.test", f"{repo}/blobs/{name}")
    assert (got.status, got.body) == (200, body)
    assert (got.line["decision"], got.line["verified"]) == ("allow", True)
    got = gateway.pull("broken.test", f"{repo}/blobs/{digest(layer)}")
    assert (got.status, got.body) == (200, layer)
    assert "would" not in got.line
