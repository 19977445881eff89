# SPDX-License-Identifier: Apache-2.0
"""A registry's own name on the gateway: which names it wears, what it answers there, and that it never asks itself."""

import ssl
import time

import pytest

import tls
from bed import FAR, certificate
from gateway import ADDRESS, assert_oci_error, free_port
from images import OCI_MANIFEST, encode, document, script_image
from upstream import digest

OWN = "gateway.example.test"
LAYER = b"taken over" * 4000


def registry(bed, **more):
    return {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca), "private_addresses": ["127.0.0.0/8"],
            **more}


@pytest.fixture
def taken(bed, own_gateway, tmp_path):
    """A gateway that takes over: `port`, and `trust`, a context with its authority."""

    def make(rules=None, registries=None, message=None, **listener):
        port = free_port()
        listener = {"address": f"{ADDRESS}:{port}", "tls": "auto", "names": [OWN], "takeover": True, **listener}
        made = own_gateway([listener], rules=rules, more={"state_directory": str(tmp_path / "state")}, registries={
            "take.test": registry(bed, aliases=["alias.test"], realm_hosts=["realm.take.test"]),
            "other.test": registry(bed),
            **(registries or {}),
        })
        made.tls_port = port
        made.trust = tls.context(tmp_path / "state" / "ca.crt")
        made.listener = listener
        return made

    return make


def ask(gateway, target, name="take.test", **how):
    return tls.ask(gateway, gateway.tls_port, name, target, how.pop("how", gateway.trust), **how)


@pytest.mark.parametrize("name", ["take.test", "alias.test", "TAKE.test"])
def test_a_registrys_name_is_that_registry(taken, up, repo, name):
    gateway = taken()
    body = script_image(up, repo, [LAYER])
    got = ask(gateway, f"/v2/{repo}/manifests/1", name, host=name.lower())
    assert (got.status, got.body) == (200, body)
    assert (got.line["route"], got.line["registry"], got.line["decision"]) == ("name", "take.test", "allow")
    got = ask(gateway, f"/v2/{repo}/blobs/{digest(LAYER)}", name)
    assert (got.status, got.body, got.complete) == (200, LAYER, True)


def test_the_gateways_own_name_is_the_gateway(taken, up, repo):
    gateway = taken()
    body = script_image(up, repo, [LAYER])
    for name in (OWN, None):
        got = ask(gateway, f"/v2/take.test/{repo}/manifests/1", name, host=OWN,
                  how=gateway.trust if name else tls.context())
        assert (got.status, got.body, got.line["route"]) == (200, body, "prefix")


@pytest.mark.parametrize("name", ["stranger.test", "sub.take.test", "take.test.evil.test", "docker.io", "localhost"])
def test_a_name_of_nobody_is_refused_in_the_handshake(taken, name):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized"):
        ask(taken(), "/v2/", name, how=tls.context())


def test_a_realm_has_no_name_here_without_challenge(taken):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized"):
        ask(taken(), "/token", "realm.take.test", how=tls.context())


def test_another_listener_wears_its_own_name_only(taken, bed):
    gateway = taken(takeover=False)
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((ADDRESS, gateway.tls_port)))
    with tls.connect(gateway.tls_port, "take.test", tls.context()) as sock:
        assert OWN.encode() in sock.getpeercert(binary_form=True)
    assert OWN.encode() in certificate


@pytest.mark.parametrize("host", ["other.test", "take.test.evil.test", OWN, "take", "", "take.test@other.test", "xtake.test"])
def test_host_must_be_the_server_name(taken, up, repo, host):
    gateway = taken()
    script_image(up, repo, [LAYER])
    with tls.connect(gateway.tls_port, "take.test", gateway.trust) as sock:
        got = tls.ask_on(sock, gateway, f"/v2/{repo}/manifests/1", host)
        assert_oci_error(got, 421, "request")
        assert sock.recv(1) == b""  # whatever comes next would be as wrong
    assert not up.asked(f"/v2/{repo}/manifests/1")


@pytest.mark.parametrize("host", ["TAKE.Test", "take.test:443", "take.test:5000"])
def test_hosts_case_and_port_do_not_matter(taken, up, repo, host):
    script_image(up, repo, [LAYER])
    assert ask(taken(), f"/v2/{repo}/manifests/1", host=host).status == 200


@pytest.mark.parametrize("path", ["/", "/v1/_ping", "/token", "/v2", "/v3/", "/other.test/v2/a/manifests/1", "/service/token",
                                  "/metrics", "/v2/_catalog"])
def test_nothing_but_v2(taken, path):
    got = ask(taken(), path)
    if path == "/v2":
        assert got.status == 200
        return
    assert_oci_error(got, 403 if path != "/" else got.status, "action" if path != "/" else got.line["reason"])
    assert got.status in (400, 403)


def test_ns_must_agree(taken, up, repo):
    gateway = taken()
    body = script_image(up, repo, [LAYER])
    assert ask(gateway, f"/v2/{repo}/manifests/1?ns=take.test").body == body
    assert_oci_error(ask(gateway, f"/v2/{repo}/manifests/1?ns=other.test"), 400, "request")


def test_a_path_that_begins_with_a_registry_is_that_registrys(taken, up, repo):
    """other.test is a part of the repository's name here, as it would be there."""
    gateway = taken(rules=[{"allow": ["other.test/**"]}])
    assert ask(gateway, f"/v2/other.test/{repo}/manifests/1").line["registry"] == "take.test"
    got = ask(gateway, f"/v2/other.test/{repo}/manifests/1")
    assert (got.status, got.line["repository"]) == (403, f"other.test/{repo}")


DENY = [{"deny": ["take.test/**"], "message": "not from there: ask platform", "name": "P-17"}, {"allow": ["**"]}]


@pytest.mark.parametrize("agent", ["docker/29.7.2 go/go1", "containers/5.39 (github.com/containers/image)", "curl/8"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_denial_is_plain_where_that_is_shown(taken, agent, method):
    got = ask(taken(rules=DENY), "/v2/a/manifests/1", method=method, headers=[("User-Agent", agent)])
    assert got.status == 403 and got.line["rule"] == "P-17" and got.line["decision"] == "deny"
    if method == "GET":
        assert got.error == {"code": "DENIED", "message": "not from there: ask platform"}


@pytest.mark.parametrize("agent", ["containerd/1.6.20", "buildkit/v0.32", "docker/29.7.2 containerd-client/2.3.4"])
def test_containerd_reads_the_sentence_in_what_follows_head(taken, up, agent):
    gateway = taken(rules=DENY)
    head = ask(gateway, "/v2/a/manifests/1", method="HEAD", headers=[("User-Agent", agent)])
    assert head.status == 200 and head.line["decision"] == "deny"
    got = ask(gateway, f"/v2/a/manifests/{head.header('docker-content-digest')}", headers=[("User-Agent", agent)])
    assert (got.status, got.error["message"]) == (403, "not from there: ask platform")
    assert not up.asked("/v2/a/manifests/1")


def test_a_reload_takes_a_name_away(taken, up, repo):
    gateway = taken()
    script_image(up, repo, [LAYER])
    with tls.connect(gateway.tls_port, "take.test", gateway.trust) as sock:
        assert tls.ask_on(sock, gateway, f"/v2/{repo}/manifests/1", "take.test").status == 200
        del gateway.settings["registries"]["take.test"]
        gateway.configure([gateway.listener])
        assert "replaces" in gateway.reload()["message"]
        assert_oci_error(tls.ask_on(sock, gateway, f"/v2/{repo}/manifests/1", "take.test"), 421, "request")
    with pytest.raises(ssl.SSLError):
        ask(gateway, "/v2/")


def test_a_leaf_is_for_its_name_alone(taken):
    gateway = taken()
    for name in ("take.test", "other.test", OWN):
        with tls.connect(gateway.tls_port, name, gateway.trust) as sock:  # verifies chain and name
            assert sock.getpeercert()["subjectAltName"] == (("DNS", name),) or name == OWN


# --- itself ---


def test_an_endpoint_that_is_the_gateway_is_never_connected_to(taken, bed):
    gateway = taken()
    for port in (gateway.port, gateway.tls_port):
        gateway.settings["registries"]["loop.test"] = {
            "endpoints": [f"https://{ADDRESS}:{port}"], "private_addresses": ["127.0.0.0/8"]}
        gateway.configure([gateway.listener])
        gateway.reload()
        got = gateway.pull("loop.test", "a/manifests/1")
        assert_oci_error(got, 403, "private_address")
        assert "back to this gateway" in got.error["message"]
    assert [line["registry"] for line in gateway.events("request") if line.get("registry") == "loop.test"] == ["loop.test"] * 2


def test_an_endpoint_that_is_a_wildcard_listener_of_the_gateway(own_gateway, bed):
    port = free_port()
    gateway = own_gateway([{"address": f"[::]:{port}"}], registries={
        "loop.test": {"endpoints": [f"https://127.0.0.77:{port}"], "private_addresses": ["127.0.0.0/8"]}})
    got = gateway.pull("loop.test", "a/manifests/1")
    assert_oci_error(got, 403, "private_address")
    assert "back to this gateway" in got.error["message"]


def test_an_endpoint_that_is_a_listener_given_by_its_name(own_gateway, bed):
    port = free_port()
    gateway = own_gateway([{"address": f"localhost:{port}"}], registries={
        "loop.test": {"endpoints": [f"http://127.0.0.1:{port}"], "private_addresses": ["127.0.0.0/8"]}})
    got = gateway.pull("loop.test", "a/manifests/1")
    assert_oci_error(got, 403, "private_address")
    assert "back to this gateway" in got.error["message"]


def test_its_own_header_ends_a_loop(gateway, up, repo):
    """By whatever way the request came back."""
    body = encode(document([b"x"]))
    up.at(f"/v2/{repo}/manifests/1", lambda request, wire: wire.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (OCI_MANIFEST.encode(), len(body)) + body))
    gateway.pull("broken.test", f"{repo}/manifests/1")
    via = up.asked(f"/v2/{repo}/manifests/1")[0].header("pullgate-via")
    assert via and len(via) == 32
    got = gateway.ask("/v2/", headers=[("Pullgate-Via", via)])
    assert_oci_error(got, 508, "loop")
    assert via not in gateway.output()
    for other in ("", via[:-1], via + "0", "0" * 32):
        assert gateway.ask("/v2/", headers=[("Pullgate-Via", other)]).status == 200


def test_resolve_says_where_the_registry_is(taken, bed, up, repo):
    """Its name leads nowhere, or to the gateway; the addresses that the site names do not."""
    body = script_image(up, repo, [LAYER])
    gateway = taken(registries={"there.test": registry(bed, endpoints=[f"https://localhost:{bed.tls.port}"],
                                                       resolve=["127.0.0.5"])})
    assert gateway.pull("there.test", f"{repo}/manifests/1").body == body
    assert up.asked(f"/v2/{repo}/manifests/1")[0].address == FAR


# --- certificates that are replaced ---


def test_replaced_files_are_in_use_without_a_reload(bed, own_gateway, tmp_path):
    """A half-written pair keeps the old one."""
    first, second = (certificate(tmp_path, name, f"DNS:{name}.test") for name in ("first", "second"))
    pair = {"certificate": tmp_path / "tls.pem", "key": tmp_path / "tls.key"}

    def put(which, path):
        pair[which].write_bytes(path.read_bytes())
        pair[which].chmod(0o600)

    put("certificate", first[0])
    put("key", first[1])
    port = free_port()
    gateway = own_gateway([{"address": f"{ADDRESS}:{port}", "tls": {name: str(path) for name, path in pair.items()}}])

    def shown():
        with tls.connect(port, None, tls.context()) as sock:
            return sock.getpeercert(binary_form=True)

    def wait_for(count):
        end = time.monotonic() + 25
        while len(gateway.events("certificates")) < count and time.monotonic() < end:
            time.sleep(0.1)
        return gateway.events("certificates")[-1]["message"]

    with tls.connect(port, None, tls.context()) as kept:
        put("certificate", second[0])
        assert "the old ones stay" in wait_for(1)
        assert b"first" in shown()
        put("key", second[1])
        assert "new ones are in use" in wait_for(2)
        assert b"second" in shown()
        assert tls.ask_on(kept, gateway, "/v2/", "first.test").status == 200
