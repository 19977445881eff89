# SPDX-License-Identifier: Apache-2.0
"""The gateway as a proxy: it serves what takeover serves, inside; everything else is refused with a sentence."""

import ssl
import time

import pytest

import tls
from bed import FAR, SECRETS
from gateway import ADDRESS, assert_oci_error, free_port
from images import script_image
from upstream import digest

LAYER = b"through a tunnel" * 100000
MESSAGE = "use mirror.test; ask platform"


def registry(bed):
    return {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca), "private_addresses": ["127.0.0.0/8"],
            "aliases": ["alias.test"]}


@pytest.fixture
def proxy(bed, own_gateway, tmp_path):
    """A gateway whose `proxy` is the port of a listener with this "connect"."""

    def make(connect, rules=None, more=None, **listener):
        port = free_port()
        made = own_gateway([{"address": f"{ADDRESS}:{port}", "connect": connect, **listener}], rules=rules,
                           registries={"take.test": registry(bed)},
                           more={"state_directory": str(tmp_path / "state"), "message": MESSAGE, **(more or {})})
        made.proxy = port
        if connect == "takeover":
            made.trust = tls.context(tmp_path / "state" / "ca.crt")
        return made

    return make


def refused(gateway, target, host=None, headers=()):
    """CONNECT that must be refused: the log's line, and the phrase."""
    with gateway.connect(port=gateway.proxy) as sock:
        sock.sendall(tls.tunnel_head(target, host, headers))
        got = tls.receive(sock, gateway)
        assert_oci_error(got, 403, "connect")
        assert got.error["code"] == "DENIED" and got.line["route"] == "connect" and got.line["decision"] == "deny"
        assert sock.recv(1) == b""
        assert got.phrase.isascii() and got.phrase.isprintable() and len(got.phrase) <= 200
        assert MESSAGE in got.phrase and MESSAGE in got.error["message"]
        return got


def inside(gateway, target, name="take.test", host=None, connect=None, **how):
    sock, status, _ = tls.open_tunnel(gateway, connect or f"{name}:443", port=gateway.proxy)
    assert status == 200
    with tls.connect(0, name, gateway.trust, sock=sock) as secure:
        return tls.ask_on(secure, gateway, target, host or name, **how)


def test_takeover_serves_inside(proxy, up, repo):
    gateway = proxy("takeover")
    body = script_image(up, repo, [LAYER])
    sock, status, _ = tls.open_tunnel(gateway, "take.test:443", port=gateway.proxy)
    assert status == 200
    with tls.connect(0, "take.test", gateway.trust, sock=sock) as secure:
        got = tls.ask_on(secure, gateway, f"/v2/{repo}/manifests/1", "take.test")
        assert (got.status, got.body) == (200, body)
        assert (got.line["route"], got.line["registry"]) == ("name", "take.test")
        for _ in range(3):  # the same connection, a body of many pieces
            got = tls.ask_on(secure, gateway, f"/v2/{repo}/blobs/{digest(LAYER)}", "take.test")
            assert (got.status, got.body == LAYER, got.complete) == (200, True, True)
    opened = [line for line in gateway.events("request") if line.get("route") == "connect"]
    assert [(line["status"], line["decision"], line["registry"]) for line in opened] == [(200, "allow", "take.test")]


def test_a_blob_from_the_store_inside(bed, proxy, up, repo, tmp_path):
    """Files go through TLS here, never by sendfile past it."""
    gateway = proxy("takeover", more={"store": {"directory": str(tmp_path / "store")}})
    script_image(up, repo, [LAYER])
    inside(gateway, f"/v2/{repo}/manifests/1")
    source, end = None, time.monotonic() + 10
    while source != "hit" and time.monotonic() < end:  # the store keeps it in its own time
        got = inside(gateway, f"/v2/{repo}/blobs/{digest(LAYER)}")
        assert (got.status, got.body == LAYER) == (200, True)
        source = got.line["source"]
    assert source == "hit"


def test_an_alias_and_case(proxy, up, repo):
    gateway = proxy("takeover")
    script_image(up, repo, [LAYER])
    assert inside(gateway, f"/v2/{repo}/manifests/1", "alias.test").status == 200
    assert inside(gateway, f"/v2/{repo}/manifests/1", connect="TAKE.test:443").status == 200


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_bytes_after_the_head_belong_to_tls(proxy, up, repo, parts):
    """A client that does not wait for the 200: its ClientHello comes with the head, in pieces."""
    gateway = proxy("takeover")
    script_image(up, repo, [LAYER])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = gateway.trust.wrap_bio(incoming, outgoing, server_hostname="take.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    data = tls.tunnel_head("take.test:443") + outgoing.read()
    with gateway.connect(port=gateway.proxy) as sock:
        size = -(-len(data) // parts)
        for at in range(0, len(data), size):
            sock.sendall(data[at:at + size])
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        incoming.write(rest)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        sock.sendall(outgoing.read())
        client.write("GET /v2/ HTTP/1.1\r\nHost: take.test\r\nConnection: close\r\n\r\n".encode())
        sock.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                answer += client.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("why, target, host", [
    ("nobody's", "stranger.test:443", None),
    ("a realm host's", "localhost:443", None),
    ("another port", "take.test:80", None),
    ("another port", "take.test:5000", None),
    ("an address", "127.0.0.5:443", None),
    ("an address", "[::1]:443", None),
    ("itself", f"{ADDRESS}:443", None),
    ("Host disagrees", "take.test:443", "other.test:443"),
    ("no port", "take.test", None),
    ("no host", ":443", None),
    ("not a host", "take_.test@x:443", None),
    ("a path", "/v2/", None),
])
def test_what_takeover_refuses(proxy, why, target, host):
    refused(proxy("takeover"), target, host)


@pytest.mark.parametrize("target", ["take.test:443", "registry-1.docker.io:443", "example.com:80", "10.0.0.1:22", "[fe80::1]:1"])
def test_refuse_refuses_everything(proxy, target):
    got = refused(proxy("refuse"), target)
    assert target.rsplit(":", 1)[0].strip("[]") in got.phrase


def test_off_is_no_proxy(gateway):
    with gateway.connect() as sock:
        sock.sendall(tls.tunnel_head("take.test:443"))
        got = tls.receive(sock, gateway)
    assert_oci_error(got, got.status, "request")
    assert got.status in (400, 405)


@pytest.mark.parametrize("connect", ["refuse", "takeover"])
@pytest.mark.parametrize("url", ["http://take.test/v2/", "https://take.test/v2/", "http://example.com/", "HTTP://x/",
                                 "http://", "http://[::1/", "http://a b/"])
def test_whole_urls_are_refused_with_a_body(proxy, connect, url):
    gateway = proxy(connect)
    if " " in url:
        return
    with gateway.connect(port=gateway.proxy) as sock:
        tls.send(sock, url, "example.com")
        got = tls.receive(sock, gateway)
        assert_oci_error(got, 403, "connect")
        assert MESSAGE in got.phrase and MESSAGE in got.error["message"]


@pytest.mark.parametrize("target", ["take.test:443", "stranger.test:443"])
def test_no_tunnel_inside_of_a_tunnel(proxy, target):
    gateway = proxy("takeover")
    got = inside(gateway, target, method="CONNECT", host=target)
    assert_oci_error(got, 403, "connect")
    assert "inside of a tunnel" in got.error["message"]


@pytest.mark.parametrize("name", ["alias.test", "stranger.test", None])
def test_inside_only_the_name_that_was_asked_for(proxy, name):
    """Another name that is served too, one that is not, and none."""
    gateway = proxy("takeover")
    sock, status, _ = tls.open_tunnel(gateway, "take.test:443", port=gateway.proxy)
    assert status == 200
    try:
        with tls.connect(0, name, tls.context(), sock=sock) as secure:
            assert_oci_error(tls.ask_on(secure, gateway, "/v2/", name or "take.test"), 421, "request")
            assert name == "alias.test"
    except ssl.SSLError:
        assert name != "alias.test"


def test_inside_host_must_agree(proxy):
    assert_oci_error(inside(proxy("takeover"), "/v2/", host="other.test"), 421, "request")


def test_no_tls_inside(proxy):
    """Plain HTTP where TLS belongs, and silence: the connection ends, nothing else."""
    gateway = proxy("takeover")
    for data in (b"GET /v2/ HTTP/1.1\r\nHost: take.test\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100):
        sock, status, _ = tls.open_tunnel(gateway, "take.test:443", port=gateway.proxy)
        assert status == 200
        with sock:
            sock.sendall(data)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert gateway.ask("/v2/").status == 200


def test_a_client_that_leaves_before_the_answer(proxy):
    gateway = proxy("takeover")
    for _ in range(50):
        with gateway.connect(port=gateway.proxy) as sock:
            sock.sendall(tls.tunnel_head("take.test:443"))
    assert gateway.ask("/v2/").status == 200


def test_proxy_credentials_are_neither_asked_for_nor_kept(proxy):
    gateway = proxy("takeover")
    header = [("Proxy-Authorization", f"Basic {SECRETS['client']}")]
    sock, status, _ = tls.open_tunnel(gateway, "take.test:443", headers=header, port=gateway.proxy)
    sock.close()
    assert status == 200
    got = refused(gateway, "stranger.test:443", headers=header)
    assert got.header("proxy-authenticate") is None
    assert SECRETS["client"] not in gateway.output()


def test_the_phrase_is_one_printable_line(proxy):
    """The site's message may be long, and in any language."""
    message = "Bitte über den Spiegel: " + "ä" * 100 + "x" * 150
    gateway = proxy("refuse", more={"message": message})
    with gateway.connect(port=gateway.proxy) as sock:
        sock.sendall(tls.tunnel_head("take.test:443"))
        got = tls.receive(sock, gateway)
    assert got.status == 403 and got.phrase.isascii() and got.phrase.isprintable() and len(got.phrase) == 200
    assert got.phrase.startswith("Bitte ")
    assert message in got.error["message"]


def test_the_other_routes_stay_on_a_proxys_listener(proxy, up, repo):
    gateway = proxy("takeover")
    body = script_image(up, repo, [LAYER])
    with gateway.connect(port=gateway.proxy) as sock:
        got = tls.ask_on(sock, gateway, f"/v2/{repo}/manifests/1?ns=take.test", f"{ADDRESS}:{gateway.proxy}")
        assert (got.status, got.body) == (200, body)


def test_a_reload_ends_takeover_inside(proxy, up, repo):
    gateway = proxy("takeover")
    sock, _, _ = tls.open_tunnel(gateway, "take.test:443", port=gateway.proxy)
    with tls.connect(0, "take.test", gateway.trust, sock=sock) as secure:
        assert tls.ask_on(secure, gateway, "/v2/", "take.test").status == 200
        gateway.configure([{"address": f"{ADDRESS}:{gateway.proxy}", "connect": "refuse"}])
        assert "replaces" in gateway.reload()["message"]
        assert_oci_error(tls.ask_on(secure, gateway, "/v2/", "take.test"), 421, "request")
    refused(gateway, "take.test:443")
