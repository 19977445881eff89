# SPDX-License-Identifier: Apache-2.0
"""Connections that never become a request, and endpoints in order."""

import pytest

from bed import FIRST, SECOND
from gateway import assert_broken_off, assert_denied, assert_failed, assert_oci_error
from images import OCI_MANIFEST, document, encode, script_image
from upstream import answer, blob, digest, error, manifest, raw

LAYER = b"a layer"
BODY = encode(document([LAYER]))


def script(up, repo, where=None):
    for path in (f"/v2/{repo}/manifests/1", f"/v2/{repo}/manifests/{digest(BODY)}"):
        up.at((where, path) if where else path, manifest(BODY, OCI_MANIFEST))


UNREACHABLE, LATE = (502, "upstream_error"), (504, "upstream_timeout")


@pytest.mark.parametrize("registry, outcome", [
    ("dead.test", UNREACHABLE), ("reset.test", UNREACHABLE), ("reset-tls.test", UNREACHABLE),
    ("ssh.test", UNREACHABLE), ("foreign.test", UNREACHABLE), ("misnamed.test", UNREACHABLE),
    ("silent.test", LATE), ("deaf.test", LATE),
    ("hang-tls.test", LATE),
])
@pytest.mark.parametrize("what", ["manifests/1", "blobs/" + digest(LAYER)])
def test_a_registry_that_cannot_be_spoken_to(gateway, repo, registry, outcome, what):
    """A sentence that names the registry, in bounded time; a second ask is tried again: an only endpoint always is."""
    for _ in range(2):
        assert_failed(gateway.pull(registry, f"{repo}/{what}"), registry, *outcome)


@pytest.mark.parametrize("stage", ["before the answer", "in the head", "in the body"])
@pytest.mark.parametrize("kind", ["manifest", "blob"])
def test_a_reset_at_each_stage(gateway, up, repo, stage, kind):
    start = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (OCI_MANIFEST.encode(), len(BODY))
    data = {"before the answer": b"", "in the head": start, "in the body": start + b"\r\n" + BODY[:20]}[stage]
    name = f"{repo}/{kind}s/{digest(BODY)}"
    up.at(f"/v2/{name}", raw(data, end="reset"))
    got = gateway.pull("broken.test", name)
    if kind == "manifest" or stage != "in the body":
        assert_failed(got, "broken.test")
    else:
        assert_broken_off(got, BODY, "broken.test")


def test_a_kept_connection_that_was_closed_meanwhile(gateway, up, repo):
    """The stale one fails at once; the request is sent again on a fresh one, and the client never knows."""
    for n in range(5):
        content = b"blob %d" % n
        up.at(f"/v2/{repo}/blobs/{digest(content)}", stale(content))
    for n in range(5):
        content = b"blob %d" % n
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}").body == content


def stale(content):
    """Answers as if the connection were kept, then closes it."""

    def step(request, wire):
        blob(content)(request, wire)
        wire.close()

    return step


def test_server_error_then_the_second_endpoint(gateway, up, repo):
    for n in range(2):
        up.at((FIRST, f"/v2/{repo}{n}/manifests/1"), error(503, "UNAVAILABLE", "later"))
        script(up, f"{repo}{n}", SECOND)
    assert gateway.pull("sick-first.test", f"{repo}0/manifests/1").body == BODY
    assert up.asked(f"/v2/{repo}0/manifests/1")[0].address == FIRST
    assert gateway.pull("sick-first.test", f"{repo}1/manifests/1").body == BODY
    assert {r.address for r in up.asked(f"/v2/{repo}1/manifests/1")} == {SECOND}, "one that failed is asked last for a while"


def test_refused_then_the_second_endpoint(gateway, up, repo):
    script(up, repo, SECOND)
    got = gateway.pull("dead-first.test", f"{repo}/manifests/1")
    assert got.body == BODY
    assert "127.0.0.7" in gateway.logged(got.request_id)["upstream"]


def test_deaf_then_the_second_endpoint(gateway, up, repo):
    """One connect takes at most its own limit, so that the request's limit leaves room for the next."""
    script(up, repo, SECOND)
    assert gateway.pull("deaf-first.test", f"{repo}/manifests/1").body == BODY


def test_both_fail(gateway, up, repo):
    for address in (FIRST, SECOND):
        up.at((address, f"/v2/{repo}/manifests/1"), error(500, "UNKNOWN", "oops"))
    for _ in range(2):
        assert_failed(gateway.pull("both-sick.test", f"{repo}/manifests/1"), "both-sick.test")
    assert {r.address for r in up.asked(f"/v2/{repo}/manifests/1")} == {FIRST, SECOND}


def test_not_found_is_an_answer_not_a_failure(gateway, up, repo):
    """The second endpoint is for a first one that is ill, not for one that has nothing."""
    up.at((FIRST, f"/v2/{repo}/manifests/1"), error(404, "MANIFEST_UNKNOWN", "no"))
    script(up, repo, SECOND)
    assert_oci_error(gateway.pull("missing-first.test", f"{repo}/manifests/1"), 404, "not_found")
    assert {r.address for r in up.asked(f"/v2/{repo}/manifests/1")} == {FIRST}


def test_an_unlisted_registry_is_never_contacted(gateway, bed):
    before = len(bed.canary.connections)
    for name in (f"127.0.0.99:{bed.canary.port}", f"127.0.0.5:{bed.canary.port}", "unlisted.test", "169.254.169.254",
                 f"localhost:{bed.canary.port}"):
        for path in ("x/y/manifests/1", "x/y/blobs/" + digest(b"x"), "x/y/tags/list"):
            assert_denied(gateway.pull(name, path), reason="registry_not_listed")
    assert len(bed.canary.connections) == before


def test_the_gateways_own_answer_needs_no_upstream(gateway):
    for registry in ("dead.test", "deaf.test", "broken.test"):
        assert gateway.ask(f"/v2/?ns={registry}").status == 200


def test_connections_are_kept(gateway, up, repo):
    script_image(up, repo, [LAYER])
    gateway.pull("broken.test", f"{repo}/manifests/1")
    before = len(up.connections)
    for _ in range(10):
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(LAYER)}").body == LAYER
    # One a fetch thread at most.
    assert len(up.connections) - before <= 4


def test_connection_close_is_heeded(gateway, up, repo):
    up.at(f"/v2/{repo}/blobs/{digest(LAYER)}", answer(200, LAYER, close=True))
    for _ in range(3):
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(LAYER)}").body == LAYER
