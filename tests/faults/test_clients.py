# SPDX-License-Identifier: Apache-2.0
"""Clients that stall, vanish, dawdle or cheat, and the end of the gateway while they do."""

import hashlib
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import closed_by_peer, read_until_quiet
from images import script_image
from upstream import blob, digest, head, raw, stream

MIB = 1024 * 1024
BLOCK = bytes(range(256)) * 4096  # 1 MiB
BIG = 200
SMALL_BUFFER = 64 * 1024
# The kernel's buffers on both sides of the gateway, and its own window; a slow reader costs no more than these.
IN_FLIGHT_MAX = 48 * MIB


def big_digest(mib):
    hasher = hashlib.sha256()
    for _ in range(mib):
        hasher.update(BLOCK)
    return "sha256:" + hasher.hexdigest()


BIG_DIGEST = big_digest(BIG)


def wait_for(condition, limit, why):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, why
        time.sleep(0.05)


def settled(value, limit=8):
    """The value once it has stood still for a second."""
    last, since = value(), time.monotonic()
    end = since + limit
    while time.monotonic() < end and time.monotonic() - since < 1.0:
        time.sleep(0.1)
        if value() != last:
            last, since = value(), time.monotonic()
    return last


def request(target, *headers, method="GET", version="1.1"):
    lines = [f"{method} {target} HTTP/{version}", "Host: gateway.test", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def script_big(up, repo):
    path = f"/v2/{repo}/blobs/{BIG_DIGEST}"
    up.at(path, stream(BIG * MIB, BLOCK))
    return path


# --- readers ---


def test_a_slow_reader_pauses_the_upstream_and_gets_all(gateway, up, repo):
    path = script_big(up, repo)
    before = gateway.rss()
    with gateway.connect(receive_buffer=SMALL_BUFFER, timeout=60) as sock:
        sock.sendall(request(f"{path}?ns=broken.test", "Connection: close"))
        received = sock.recv(1024)
        sent = settled(lambda: up.sent.get(path, 0))
        assert sent <= IN_FLIGHT_MAX, f"{sent // MIB} MiB were taken from the upstream for a reader that sleeps"
        if not gateway.sanitized:
            assert gateway.rss() - before < 16 * MIB
        start, _, rest = received.partition(b"\r\n\r\n")
        assert start.startswith(b"HTTP/1.1 200 ")
        hasher, length = hashlib.sha256(rest), len(rest)
        while more := sock.recv(MIB):
            hasher.update(more)
            length += len(more)
    assert length == BIG * MIB
    assert "sha256:" + hasher.hexdigest() == BIG_DIGEST


def test_a_vanished_reader_ends_the_upstreams_transfer(gateway, up, repo):
    path = script_big(up, repo)
    with gateway.connect(receive_buffer=SMALL_BUFFER) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        sock.recv(1024)
    wait_for(lambda: path in up.cut, 10, "the upstream's transfer goes on for nobody")


def test_a_reader_that_vanishes_with_a_reset(gateway, up, repo):
    path = script_big(up, repo)
    sock = gateway.connect(receive_buffer=SMALL_BUFFER)
    sock.sendall(request(f"{path}?ns=broken.test"))
    sock.recv(1024)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()
    wait_for(lambda: path in up.cut, 10, "the upstream's transfer goes on for nobody")


def test_a_client_that_leaves_while_the_upstream_thinks(own_gateway, up, repo):
    """libh2o does not notice a client that leaves while its request waits."""
    gateway = own_gateway(upstream_timeout="25s")
    up.left.clear()
    for n in range(5):
        path = f"/v2/{repo}/blobs/{digest(b'%d' % n)}"
        up.at(path, raw(b"", end="hang"))
        with gateway.connect() as sock:
            sock.sendall(request(f"{path}?ns=broken.test"))
            wait_for(lambda: up.asked(path), 5, "never asked")
    wait_for(lambda: up.left.count(True) >= 5, 12, "the gateway waits on for clients that left")


def test_a_reader_that_never_reads_is_let_go(own_gateway, up, repo):
    gateway = own_gateway(send_timeout="1s")
    path = script_big(up, repo)
    with gateway.connect(receive_buffer=SMALL_BUFFER) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        wait_for(lambda: path in up.cut, 15, "a stalled reader holds its transfer for ever")


def test_twenty_slow_readers(gateway, up, repo):
    """Their transfers stand still, others go on."""
    path = script_big(up, repo)
    readers = [gateway.connect(receive_buffer=SMALL_BUFFER) for _ in range(20)]
    for sock in readers:
        sock.sendall(request(f"{path}?ns=broken.test"))
        assert sock.recv(1024).startswith(b"HTTP/1.1 200 ")
    small = b"small and quick"
    up.at(f"/v2/{repo}/blobs/{digest(small)}", blob(small))
    assert gateway.pull("broken.test", f"{repo}/blobs/{digest(small)}").body == small
    for sock in readers:
        sock.close()
    wait_for(lambda: up.cut.count(path) >= 20, 15, "transfers go on for nobody")


# --- heads ---


def test_a_slow_head_ends(own_gateway):
    gateway = own_gateway(head_timeout="1s")
    with gateway.connect() as sock:
        try:
            for byte in b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 60:
                sock.send(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            return
        assert closed_by_peer(sock, 5)


def test_a_head_of_one_byte_and_silence_ends(own_gateway):
    gateway = own_gateway(head_timeout="1s", idle_timeout="2s")
    with gateway.connect() as first, gateway.connect() as second:
        first.send(b"G")
        assert closed_by_peer(first, 10)
        assert closed_by_peer(second, 10)


def test_a_slow_body_ends(own_gateway):
    gateway = own_gateway(head_timeout="1s", idle_timeout="2s")
    with gateway.connect() as sock:
        sock.sendall(request("/v2/x/y/blobs/uploads/", "Content-Length: 1000", method="POST") + b"x")
        assert closed_by_peer(sock, 15)


@pytest.mark.parametrize("data", [
    pytest.param(request("/v2/", "X-Pad: " + "x" * 100 * 1024), id="one long header"),
    pytest.param(request("/v2/", *["X-Pad: " + "x" * 1000] * 90), id="ninety headers of a KiB"),
    pytest.param(request("/v2/" + "x" * 100 * 1024), id="a long target"),
])
def test_a_head_of_a_hundred_kib_is_told_so(gateway, data):
    """431 arrives: the rest of the head is read off before the connection closes."""
    assert gateway.exchange(data).startswith(b"HTTP/1.1 431 ")


def test_an_endless_head(gateway):
    with gateway.connect(timeout=10) as sock:
        sent = 0
        try:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\n")
            while sent < 64 * MIB:
                sent += sock.send(b"X-Pad: " + b"x" * 60000 + b"\r\n")
        except OSError:
            pass
    assert sent < 64 * MIB, "the gateway reads heads without end"


def test_a_thousand_headers(gateway):
    answers = gateway.exchange(request("/v2/", *[f"X-{n}: y" for n in range(1000)]))
    assert answers.split(b" ", 2)[1] in (b"400", b"431")


SMUGGLING = {
    "length and chunked": request("/v2/", "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked and length": request("/v2/", "Transfer-Encoding: chunked", "Content-Length: 4") + b"0\r\n\r\n",
    "two lengths": request("/v2/", "Content-Length: 0", "Content-Length: 40"),
    "two lengths in one": request("/v2/", "Content-Length: 0, 40"),
    "signed length": request("/v2/", "Content-Length: +0"),
    "hexadecimal length": request("/v2/", "Content-Length: 0x0"),
    "space before the colon": request("/v2/", "Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "folded coding": request("/v2/", "Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n",
    "unknown coding": request("/v2/", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked twice": request("/v2/", "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "two hosts": request("/v2/", "Host: other.test"),
}


@pytest.mark.parametrize("how", SMUGGLING)
def test_smuggling(gateway, how):
    """One answer, and it is a refusal; what follows on the connection is never taken for a request."""
    got = gateway.exchange(SMUGGLING[how] + request("/v2/hidden/x/manifests/1"), timeout=5)
    assert got.count(b"HTTP/1.1 ") <= 1, got
    assert not got or got.split(b" ", 2)[1].startswith(b"4"), got[:200]
    assert b"hidden" not in got


@pytest.mark.parametrize("data", [
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, id="TLS on a plain port"),
    pytest.param(b"GET\r\n\r\n", id="no target"),
    pytest.param(b"GET /v2/\r\n\r\n", id="no version"),
    pytest.param(b"\x00" * 1000, id="NULs"),
    pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-\x00: y\r\n\r\n", id="a NUL in a name"),
    pytest.param(b"GET /v2/\x00x HTTP/1.1\r\nHost: x\r\n\r\n", id="a NUL in the target"),
    pytest.param(b"G@T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", id="an odd method"),
    pytest.param(b"GET http://other.test/v2/ HTTP/1.1\r\nHost: x\r\n\r\n", id="absolute form"),
    pytest.param(b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", id="asterisk"),
    pytest.param(b"CONNECT registry.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", id="connect"),
    pytest.param(b"TRACE /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", id="trace"),
    pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: banana\r\nContent-Length: 1\r\n\r\nx", id="odd expectation"),
])
def test_requests_that_are_none(gateway, data):
    got = gateway.exchange(data, timeout=5)
    assert not got or not got.startswith(b"HTTP/1.1 2") or b"TRACE" not in got


def test_http2_is_off(gateway):
    got = gateway.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", timeout=5)
    assert not got.startswith(b"\x00\x00"), "an HTTP/2 SETTINGS frame"
    got = gateway.exchange(request("/v2/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"))
    assert got.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_64_kib(gateway, method, framing):
    body = b"x" * 100 * 1024
    if framing == "length":
        data = request("/v2/x/y/blobs/uploads/", f"Content-Length: {len(body)}", method=method) + body
    else:
        data = (request("/v2/x/y/blobs/uploads/", "Transfer-Encoding: chunked", method=method)
                + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    got = gateway.exchange(data)
    assert got.startswith(b"HTTP/1.1 413 "), got[:200]


def test_a_body_of_a_gigabyte_is_not_taken(gateway):
    with gateway.connect(timeout=10) as sock:
        sock.sendall(request("/v2/x/y/blobs/uploads/u", f"Content-Length: {1024 * MIB}", method="PATCH"))
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += sock.send(BLOCK)
        except OSError:
            pass
    assert sent < 64 * MIB


# --- connections ---


def test_five_hundred_idle_connections(gateway):
    idle = [gateway.connect() for _ in range(500)]
    try:
        assert gateway.ask("/v2/").status == 200
        idle[250].sendall(request("/v2/"))
        assert idle[250].recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for sock in idle:
            sock.close()


def test_at_the_cap_accepting_pauses_and_resumes(own_gateway):
    gateway = own_gateway(max_connections=20)
    held = [gateway.connect() for _ in range(60)]
    time.sleep(0.3)
    for sock in held:
        sock.close()
    assert gateway.ask("/v2/").status == 200


def test_idle_connections_end(own_gateway):
    gateway = own_gateway(idle_timeout="1s", head_timeout="1s")
    with gateway.connect() as sock:
        sock.sendall(request("/v2/"))
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        assert closed_by_peer(sock, 10)


def test_pipelined_requests_are_answered_in_order(gateway, up, repo):
    contents = [b"first blob", b"second, longer blob", b"third"]
    for content in contents:
        up.at(f"/v2/{repo}/blobs/{digest(content)}", blob(content))
    got = gateway.exchange(b"".join(request(f"/v2/{repo}/blobs/{digest(content)}?ns=broken.test") for content in contents)
                           + request("/v2/", "Connection: close"))
    places = [got.find(content) for content in contents]
    assert got.count(b"HTTP/1.1 200 ") == 4
    assert -1 not in places and places == sorted(places)


def test_a_pipelined_crowd(gateway):
    got = gateway.exchange(request("/v2/") * 200 + request("/v2/", "Connection: close"))
    assert got.count(b"HTTP/1.1 200 ") == 201


def test_http_1_0(gateway, up, repo):
    content = b"for an old client"
    path = f"/v2/{repo}/blobs/{digest(content)}"
    up.at(path, blob(content))
    got = gateway.exchange(request(f"{path}?ns=broken.test", version="1.0"))
    assert b" 200 " in got[:16] and got.endswith(content)
    assert f"content-length: {len(content)}".encode() in got.lower()
    assert b"transfer-encoding" not in got.lower()


def test_http_1_0_and_no_length(gateway, up, repo):
    """Without chunks an end could not be told from a cut: 505."""
    content = b"for an old client, without length"
    path = f"/v2/{repo}/blobs/{digest(content)}"
    up.at(path, raw(head(200, [("Transfer-Encoding", "chunked")]) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content),
                    end="keep"))
    got = gateway.exchange(request(f"{path}?ns=broken.test", version="1.0"))
    assert b" 505 " in got[:16]


def test_http_1_0_and_a_length_that_only_the_manifest_gives(gateway, up, repo):
    content = b"for an old client, in chunks"
    script_image(up, repo, [content])
    path = f"/v2/{repo}/blobs/{digest(content)}"
    up.at(path, raw(head(200, [("Transfer-Encoding", "chunked")]) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content),
                    end="keep"))
    assert gateway.pull("broken.test", f"{repo}/manifests/1").status == 200
    got = gateway.exchange(request(f"{path}?ns=broken.test", version="1.0"))
    assert b" 200 " in got[:16] and got.endswith(content)
    assert gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}").header("content-length") == str(len(content))


def test_a_half_closed_client(gateway, up, repo):
    content = b"for a client that shut its sending side"
    path = f"/v2/{repo}/blobs/{digest(content)}"
    up.at(path, blob(content))
    with gateway.connect(timeout=5) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        sock.shutdown(socket.SHUT_WR)
        read_until_quiet(sock, 5)  # an answer or a close; both are fine, a hang is not


def test_storm_of_clients_that_leave(gateway, up, repo):
    """Two hundred requests whose clients leave at once, at many moments of their transfer."""
    path = script_big(up, repo)

    def come_and_go(n):
        with gateway.connect(receive_buffer=SMALL_BUFFER) as sock:
            sock.sendall(request(f"{path}?ns=broken.test"))
            if n % 2:
                time.sleep(0.002 * (n % 20))
            if n % 3:
                sock.recv(1 << (n % 16))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(come_and_go, range(200)))
    assert gateway.ask("/v2/").status == 200


# --- the end ---


def test_sigterm_lets_a_transfer_finish(own_gateway, up, repo):
    gateway = own_gateway()
    path = f"/v2/{repo}/blobs/{big_digest(8)}"
    up.at(path, stream(8 * MIB, BLOCK, pause=0.2))
    with gateway.connect(timeout=30) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        received = sock.recv(65536)
        gateway.terminate()
        while len(received) < 8 * MIB or b"\r\n\r\n" not in received:
            more = sock.recv(MIB)
            assert more, f"cut after {len(received)} bytes"
            received += more
        body = received.partition(b"\r\n\r\n")[2]
        while len(body) < 8 * MIB:
            body += sock.recv(MIB)
    assert digest(body) == big_digest(8)
    assert gateway.stop() == 0


def test_sigterm_with_idle_connections(own_gateway):
    """Nobody waits for the keep-alive of a client that asks nothing."""
    gateway = own_gateway()
    idle = [gateway.connect() for _ in range(20)]
    idle[0].sendall(request("/v2/"))
    idle[0].recv(100)
    assert gateway.stop(limit=15) == 0
    for sock in idle:
        sock.close()


def test_the_grace_ends(own_gateway, up, repo):
    gateway = own_gateway(shutdown_grace="1s")
    path = script_big(up, repo)
    with gateway.connect(receive_buffer=SMALL_BUFFER) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        sock.recv(1024)
        assert gateway.stop(limit=15) == 0


def test_a_second_sigterm_ends_at_once(own_gateway, up, repo):
    gateway = own_gateway()
    path = script_big(up, repo)
    with gateway.connect(receive_buffer=SMALL_BUFFER) as sock:
        sock.sendall(request(f"{path}?ns=broken.test"))
        sock.recv(1024)
        gateway.terminate()
        time.sleep(0.5)
        assert gateway.process.poll() is None, "it did not wait for the transfer"
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(10)
