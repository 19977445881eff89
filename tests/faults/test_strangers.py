# SPDX-License-Identifier: Apache-2.0
"""What one stranger pushed, or one upstream says, must neither open the gate nor break content for others."""

import hashlib
import socket

import pytest

from gateway import assert_denied, assert_failed
from images import OCI_LAYER, OCI_MANIFEST, descriptor, document, encode, script_image, script_manifest
from upstream import answer, blob, digest, error, manifest, raw, head


def sha512(data):
    return "sha512:" + hashlib.sha512(data).hexdigest()


def test_a_manifest_with_a_wrong_size_breaks_no_blob(gateway, up, repo):
    """Two manifests disagree on a layer's size: one of them is wrong, and the layer's digest decides."""
    layer = repo.encode() * 500
    script_image(up, repo, [layer])
    wrong = encode(document([]) | {"layers": [descriptor(layer, OCI_LAYER) | {"size": 7}]})
    script_manifest(up, repo, wrong, tag="2")
    for tag in ("1", "2", "1"):
        assert gateway.pull("broken.test", f"{repo}/manifests/{tag}").status == 200
        got = gateway.pull("broken.test", f"{repo}/blobs/{digest(layer)}")
        assert (got.status, got.body) == (200, layer)


def test_what_is_no_manifest_in_one_repository_is_a_blob_in_another(gateway, up, repo):
    """`{}` is no manifest, and the empty configuration of many an artifact."""
    content = b'{"x": "%s"}' % repo.encode()
    name = digest(content)
    up.at(f"/v2/{repo}/evil/manifests/{name}", manifest(content, OCI_MANIFEST))
    up.at(f"/v2/{repo}/good/blobs/{name}", blob(content))
    assert_denied(gateway.pull("broken.test", f"{repo}/evil/manifests/{name}"), reason="media_type")
    got = gateway.pull("broken.test", f"{repo}/good/blobs/{name}")
    assert (got.status, got.body) == (200, content)


def test_urls_are_refused_by_every_name(gateway, up, repo):
    """A manifest refused for its urls is refused as a blob too, also by its sha256 when it was asked for by sha512."""
    layer = repo.encode()
    body = encode(document([]) | {"layers": [descriptor(layer, OCI_LAYER, urls=["https://x.test/l"])]})
    up.at(f"/v2/{repo}/manifests/{sha512(body)}", manifest(body, OCI_MANIFEST, says=sha512(body)))
    for name in (sha512(body), digest(body)):
        up.at(f"/v2/{repo}/blobs/{name}", blob(body))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{sha512(body)}"), reason="urls")
    for name in (sha512(body), digest(body)):
        assert_denied(gateway.pull("broken.test", f"{repo}/blobs/{name}"), reason="urls")


@pytest.mark.parametrize("asked", ["digest", "tag"])
def test_a_denied_digest_is_denied_by_its_other_name(own_gateway, up, repo, asked):
    body = encode(document([repo.encode()]))
    gateway = own_gateway(rules=[{"name": "bad", "deny": [f"broken.test/**@{digest(body)}"]}, {"allow": ["broken.test/**"]}])
    step = manifest(body, OCI_MANIFEST, says=sha512(body))
    up.at(f"/v2/{repo}/manifests/1", step)
    up.at(f"/v2/{repo}/manifests/{sha512(body)}", step)
    got = gateway.pull("broken.test", f"{repo}/manifests/" + (sha512(body) if asked == "digest" else "1"))
    assert_denied(got, reason="rule")
    assert got.line["rule"] == "bad"


def test_another_suffix_than_asked_for_is_no_answer(gateway, up, repo):
    content = repo.encode() * 100
    part = raw(head(206, [("Content-Length", "10"), ("Content-Range", f"bytes 0-9/{len(content)}")]) + content[:10],
               end="keep")
    up.at(f"/v2/{repo}/blobs/{digest(content)}", part)
    got = gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}", headers=[("Range", "bytes=-10")])
    assert_failed(got, "broken.test")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_an_upstream_was_sent_is_not_told(gateway, up, repo, status):
    """Some servers repeat in an error what they were sent."""
    secret = "dTpTRUNSRVRQVzEyMzQ1Njc4OTA="
    up.at(f"/v2/{repo}/manifests/1", error(status, "DENIED", f"got Basic {secret} from you"))
    got = gateway.pull("broken.test", f"{repo}/manifests/1")
    assert got.status in (403, 502)
    assert secret.encode() not in got.body
    assert secret not in gateway.output()


def test_readers_that_stall_share_a_manifest(gateway, up, repo):
    """A large index and many clients that do not read it: it is in memory once, not once a client."""
    body = encode(document([b"%d" % i for i in range(9900)]) | {"annotations": {"fill": "x" * 2_000_000}})
    script_manifest(up, repo, body)
    assert gateway.pull("broken.test", f"{repo}/manifests/1").status == 200
    before, clients = gateway.rss(), []
    for _ in range(60):
        client = gateway.connect(receive_buffer=4096)
        client.sendall(f"GET /v2/{repo}/manifests/1?ns=broken.test HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        clients.append(client)
    for client in clients:  # Each has begun to answer.
        assert client.recv(16, socket.MSG_WAITALL).startswith(b"HTTP/1.1 200")
    assert gateway.rss() - before < 60 * len(body) / 2
    for client in clients:
        client.close()
