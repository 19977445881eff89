# SPDX-License-Identifier: Apache-2.0
"""Being somebody else: by what stands in headers, by tokens that came of others, by what was said on another request."""

import base64
import crypt
import json
import subprocess
import time

import pytest

import tls
from bed import FAR, configuration
from gateway import ADDRESS, BINARY, Gateway, free_port
from images import script_image
from test_identity import OWN, PASSWORD, ask, basic, bearer, knows, manifest_of, people, token_of  # noqa: F401

LAYER = b"not for you" * 100
INSIDE_RULES = [{"allow": ["take.test/**"], "who": ["address:203.0.113.0/24"]}]
ANONYMOUS = ("Authorization", "Basic Og==")


def claims(token):
    middle = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


def command(gateway, *words):
    done = subprocess.run([str(BINARY), *words, "--config", str(gateway.config)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- headers ---


@pytest.mark.parametrize("challenge", [False, True])
@pytest.mark.parametrize("first, second", [(ANONYMOUS, basic("alice", "wrong")), (basic("alice", "wrong"), ANONYMOUS),
                                           (basic("alice", PASSWORD), ANONYMOUS), (ANONYMOUS, ANONYMOUS)], ids=range(4))
def test_two_authorizations_are_none(knows, up, repo, first, second, challenge):
    gateway = knows(identify="optional", challenge=challenge)
    script_image(up, f"open/{repo}", [LAYER])
    got = ask(gateway, manifest_of(f"open/{repo}"), first, second)
    assert (got.status, got.error["code"]) == ((401, "UNAUTHORIZED") if challenge else (403, "DENIED"))
    assert got.line["reason"] == "credential" and "who" not in got.line
    if challenge:
        assert ask(gateway, "/token", first, second).status == 401


def test_no_one_is_taken_for_who_asked_before(knows, up, repo):
    """On one connection: somebody, nobody, somebody bad, somebody."""
    gateway = knows(identify="optional")
    script_image(up, repo, [LAYER])
    with tls.connect(gateway.tls_port, OWN, gateway.trust) as sock:
        for headers, status in (([basic("alice", PASSWORD)], 200), ([], 403), ([basic("alice", "wrong")], 403),
                                ([ANONYMOUS], 403), ([basic("alice", PASSWORD)], 200)) * 2:
            got = tls.ask_on(sock, gateway, manifest_of(repo), OWN, headers=headers)
            assert got.status == status, headers
            assert got.line.get("who") == ("user:alice" if status == 200 else None)


@pytest.mark.parametrize("spoof", ["203.0.113.9", "203.0.113.9, 198.51.100.1", f"203.0.113.9, {ADDRESS}", "::ffff:203.0.113.9"])
def test_inside_of_a_tunnel_no_proxy_speaks(bed, own_gateway, up, repo, tmp_path, spoof):
    """A trusted proxy saw CONNECT; what X-Forwarded-For says inside of the TLS is the client's own word."""
    port = free_port()
    gateway = own_gateway([{"address": f"{ADDRESS}:{port}", "connect": "takeover", "trusted_proxies": [f"{ADDRESS}/32"]}],
                          rules=INSIDE_RULES, more={"state_directory": str(tmp_path / "state")},
                          registries={"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca),
                                                    "private_addresses": ["127.0.0.0/8"]}})
    trust = tls.context(tmp_path / "state" / "ca.crt")
    script_image(up, repo, [LAYER])
    for outside, status, client in (("198.51.100.7", 403, "198.51.100.7"), ("203.0.113.77", 200, "203.0.113.77"),
                                    (None, 403, ADDRESS)):
        sock, opened, _ = tls.open_tunnel(gateway, "take.test:443", port=port,
                                          headers=[("X-Forwarded-For", outside)] if outside else [])
        assert opened == 200
        with tls.connect(0, "take.test", trust, sock=sock) as secure:
            for _ in range(2):
                got = tls.ask_on(secure, gateway, f"/v2/{repo}/manifests/1", "take.test",
                                 headers=[("X-Forwarded-For", spoof)])
                assert (got.status, got.line["client"]) == (status, client)


@pytest.mark.parametrize("head", [
    b"CONNECT take.test:443 HTTP/1.1\r\nHost: take.test:443\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT take.test:443 HTTP/1.1\r\nHost: take.test:443\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"CONNECT take.test:443 HTTP/1.1\r\nHost: take.test:443\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: take.test\r\n\r\n",
    b"CONNECT take.test:443 HTTP/1.0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: take.test\r\n\r\n",
    b"CONNECT take.test:443 HTTP/1.1\r\nHost: take.test:443\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT take.test:443 HTTP/1.1\r\nHost: take.test:443\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
])
def test_a_tunnel_is_no_way_to_smuggle(bed, own_gateway, tmp_path, head):
    """What follows the head is TLS or nothing: no second answer in the clear."""
    port = free_port()
    gateway = own_gateway([{"address": f"{ADDRESS}:{port}", "connect": "takeover"}],
                          more={"state_directory": str(tmp_path / "state")},
                          registries={"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca),
                                                    "private_addresses": ["127.0.0.0/8"]}})
    with gateway.connect(port=port) as sock:
        sock.sendall(head)
        sock.settimeout(2)
        received = b""
        try:
            while got := sock.recv(65536):
                received += got
        except OSError:
            pass
    assert received.count(b"HTTP/1.1 ") <= 2 and received.count(b"HTTP/1.1 200") <= 1
    assert b"\r\n\r\n{}" not in received
    assert gateway.ask("/v2/").status == 200


# --- what is answered without a name ---


@pytest.mark.parametrize("challenge", [False, True])
@pytest.mark.parametrize("method, target", [
    (method, target) for target in (
        "/v2/take.test/{}/manifests/1", "/take.test/v2/{}/manifests/1", "/v2/{}/manifests/1?ns=take.test",
        "/v2/take.test/{}/blobs/sha256:" + "0" * 64, "/v2/take.test/{}/tags/list", "/v2/take.test/{}/referrers/sha256:" + "0" * 64,
        "/v2/take.test/{}/blobs/uploads/", "/healthz", "/metrics", "/v2/_catalog", "/")
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE")])
def test_nothing_is_for_nobody(knows_once, method, target, challenge):
    gateway, repo = knows_once[challenge]
    got = ask(gateway, target.format(repo), method=method)
    pinned = got.status == 200 and method == "HEAD" and "ns=" in target and not challenge  # a promise that is not kept
    assert pinned or got.status >= 400, got.status
    if pinned:
        assert got.line["decision"] == "deny"
        digest = got.header("docker-content-digest")
        assert ask(gateway, f"/v2/{repo}/manifests/{digest}?ns=take.test").status == 403
    assert not got.line.get("upstream")


@pytest.fixture(scope="module")
def knows_once(bed, people, tmp_path_factory):
    """Two gateways that ask everybody who they are, for many questions."""
    made = {}
    for challenge in (False, True):
        folder = tmp_path_factory.mktemp("once")
        users = folder / "users"
        users.write_text(f"alice:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_SHA512, rounds=5000))}\n")
        users.chmod(0o600)
        port = free_port()
        settings = {**configuration(bed), "state_directory": str(folder / "state"), "identity": {"htpasswd": str(users)}}
        settings["registries"] = {"take.test": {"endpoints": [f"https://{FAR}:{bed.tls.port}"], "ca": str(bed.ca),
                                                "private_addresses": ["127.0.0.0/8"]}}
        settings["rules"] = [{"allow": ["take.test/**"]}]
        gateway = Gateway(folder / "gateway", settings, [{"address": f"{ADDRESS}:{port}", "tls": "auto", "names": [OWN],
                                                          "identify": "required", "challenge": challenge,
                                                          "client_ca": str(people["ca"])}])
        gateway.tls_port, gateway.trust = port, tls.context(folder / "state" / "ca.crt")
        made[challenge] = (gateway, f"nobody{challenge}".lower())
    yield made
    for challenge in (False, True):
        assert made[challenge][0].stop() == 0


# --- tokens ---


def test_revoking_a_token_ends_what_came_of_it(knows, up, repo):
    """And what came of that."""
    gateway = knows(identify="required", challenge=True,
                    rules=[{"allow": ["take.test/**"], "who": ["user:robot"]}])
    script_image(up, repo, [LAYER])
    scope = f"repository:take.test/{repo}:pull"
    tokens = [command(gateway, "token", "issue", "--name", "robot", "--ttl", "1h")]
    for _ in range(3):
        _, token = token_of(gateway, form={"grant_type": "refresh_token", "refresh_token": tokens[-1], "scope": scope})
        tokens.append(token)
    assert [ask(gateway, manifest_of(repo), bearer(t)).status for t in tokens] == [200] * 4
    command(gateway, "token", "revoke", claims(tokens[0])["jti"])
    end = time.monotonic() + 5
    while time.monotonic() < end and ask(gateway, manifest_of(repo), bearer(tokens[0])).status == 200:
        time.sleep(0.1)
    assert [ask(gateway, manifest_of(repo), bearer(t)).status for t in tokens] == [401] * 4


@pytest.mark.parametrize("target", ["/v2/take.test/{r}/manifests/1", "/take.test/v2/{r}/manifests/1", "/v2/{r}/manifests/1?ns=take.test",
                                    "/v2/take.test/{r}/tags/list", "/v2/%74ake.test/{r}/manifests/1"])
def test_a_scope_for_one_is_none_for_another(knows, up, repo, target):
    gateway = knows(identify="required", challenge=True)
    script_image(up, repo, [LAYER])
    _, token = token_of(gateway, basic("alice", PASSWORD), scope=f"repository:take.test/other:pull repository:take.test/{repo}:push")
    assert ask(gateway, target.format(r=repo), bearer(token)).status == 401
