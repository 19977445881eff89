# SPDX-License-Identifier: Apache-2.0
"""What is kept opens nothing: a digest is served through a repository only after that repository's own registry gave it."""

import threading

import pytest

from gateway import assert_oci_error, assert_whole
from images import OCI_INDEX, OCI_MANIFEST, encode, script_manifest
from stores import (Image, MIB, PLACE, Reader, asked, blob_path, broken_after, described, gated, gets, hold, hold_blob, is_held,
                    pull_blob, pull_manifest, pull_right, sample, wait_for, wait_held)
from upstream import answer, blob, digest, error, manifest

NO_BLOB = error(404, "BLOB_UNKNOWN", "blob unknown to registry")
NO_MANIFEST = error(404, "MANIFEST_UNKNOWN", "manifest unknown")
EVERY_WAY = [{}, {"method": "HEAD"}, {"value": "bytes=0-"}, {"value": "bytes=5-9"}, {"value": "bytes=-1"}]


@pytest.fixture
def keeping(own_gateway):
    # Nothing of "not found" is remembered: each ask is decided anew.
    return own_gateway(store={"negative_ttl": "0s"})


def naming(kind, secret):
    """A manifest that names all of another image: (bytes, media type)."""
    if kind == "manifest":
        doc = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(secret.config, "application/vnd.oci.image.config.v1+json"),
               "layers": [described(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in [*secret.layers, secret.body]]}
        return encode(doc), OCI_MANIFEST
    if kind == "index":
        parts = [described(secret.body, OCI_MANIFEST), *[described(content, OCI_MANIFEST) for content in secret.blobs]]
        return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": parts}), OCI_INDEX
    doc = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(b"{}", "application/vnd.oci.empty.v1+json"), "layers": [],
           "subject": described(secret.body, OCI_MANIFEST)}
    return encode(doc), OCI_MANIFEST


def refuse_all(up, repo, secret, blobs=NO_BLOB, manifests=NO_MANIFEST):
    for content in [secret.body, *secret.blobs]:
        up.at(blob_path(repo, content), blobs)
        up.at(f"/v2/{repo}/manifests/{digest(content)}", manifests)


def assert_nothing_comes(gateway, repo, secret, status=404, registry=PLACE):
    for how in EVERY_WAY:
        for content in secret.blobs:
            got = pull_blob(gateway, repo, content, registry, **how)
            assert got.status == status, (how, got.status)
            assert content[5:10] not in got.body
    for method in ("GET", "HEAD"):
        got = pull_manifest(gateway, repo, secret.digest, registry, method=method)
        assert got.status == status and secret.body not in got.body, got.status


@pytest.mark.parametrize("kind", ["manifest", "index", "subject"])
def test_naming_is_not_having(keeping, up, repo, kind):
    """Whoever may push to a public repository can name what is in a private one."""
    secret = hold(keeping, up, Image(f"{repo}/private"))
    body, media_type = naming(kind, secret)
    public = f"{repo}/public"
    script_manifest(up, public, body, media_type)
    refuse_all(up, public, secret)
    assert_whole(pull_manifest(keeping, public), body)
    assert_nothing_comes(keeping, public, secret)
    secret.pull(keeping)


@pytest.mark.parametrize("refusal", [404, 403])
def test_without_even_naming(keeping, up, repo, refusal):
    secret = hold(keeping, up, Image(f"{repo}/private"))
    no = NO_BLOB if refusal == 404 else error(403, "DENIED", "requested access to the resource is denied")
    refuse_all(up, f"{repo}/public", secret, no, no)
    assert_nothing_comes(keeping, f"{repo}/public", secret, refusal)


def test_after_a_restart_too(own_gateway, keeping, up, repo):
    secret = hold(keeping, up, Image(f"{repo}/private"))
    refuse_all(up, f"{repo}/public", secret)
    assert keeping.stop() == 0
    gateway = own_gateway(store=keeping.settings["store"])
    assert_nothing_comes(gateway, f"{repo}/public", secret)
    secret.pull(gateway)


def test_while_it_is_coming_for_somebody_else(keeping, up, repo):
    content, gate = sample(repo, 3 * MIB), threading.Event()
    private, public = f"{repo}/private", f"{repo}/public"
    up.at(blob_path(private, content), gated(content, 2 * MIB, gate))
    up.at(blob_path(public, content), NO_BLOB)
    first = Reader(keeping, private, content).read_to(MIB)
    for how in EVERY_WAY:
        got = pull_blob(keeping, public, content, **how)
        assert got.status == 404 and len(got.body) < 10_000, how
    gate.set()
    assert first.drain() == content


def test_joining_what_comes_for_somebody_else_needs_a_confirmation(keeping, up, repo):
    """The second repository's registry says 200 by HEAD; there is one transfer."""
    content, gate = sample(repo, 3 * MIB), threading.Event()
    one, other = f"{repo}/one", f"{repo}/other"
    up.at(blob_path(one, content), gated(content, 2 * MIB, gate))
    up.at(blob_path(other, content), blob(content))
    first = Reader(keeping, one, content).read_to(MIB)
    second = Reader(keeping, other, content).read_to(MIB)
    assert [method for method, _ in asked(up, other)] == ["HEAD"]
    gate.set()
    assert first.drain() == content and second.drain() == content
    assert not gets(up, other, content)


def test_with_a_confirmation_it_is_not_transferred_again(keeping, up, repo):
    one = hold(keeping, up, Image(f"{repo}/one", repo))
    other = Image(f"{repo}/other", repo).script(up)
    other.pull(keeping)
    for content in one.blobs:
        assert [r.method for r in up.asked(blob_path(other.repo, content))] == ["HEAD"], "a HEAD, and nothing else"
    before = asked(up, other.repo)
    other.pull(keeping)
    assert asked(up, other.repo) == before, "the confirmation holds"


def test_a_confirmation_holds_after_a_restart(own_gateway, keeping, up, repo):
    content = hold_blob(keeping, up, f"{repo}/one", sample(repo, 50_000))
    up.at(blob_path(f"{repo}/other", content), blob(content))
    pull_right(keeping, f"{repo}/other", content)
    assert keeping.stop() == 0
    gateway = own_gateway(store=keeping.settings["store"])
    before = asked(up, f"{repo}/other")
    pull_right(gateway, f"{repo}/other", content)
    assert asked(up, f"{repo}/other") == before


def test_a_confirmation_ends(own_gateway, up, repo):
    """`learned_for`: then the repository's registry is asked again, and what it says holds."""
    gateway = own_gateway(store={"learned_for": "1s", "negative_ttl": "0s"})
    content = hold_blob(gateway, up, repo, sample(repo, 50_000))

    def heads():
        pull_right(gateway, repo, content)
        return up.asked(blob_path(repo, content), "HEAD")

    wait_for(heads, 10, "it is believed for ever")
    assert len(gets(up, repo, content)) == 1
    up.at(blob_path(repo, content), NO_BLOB)
    wait_for(lambda: pull_blob(gateway, repo, content).status == 404, 10, "its registry says that it is gone")
    assert_oci_error(pull_blob(gateway, repo, content), 404, "not_found")


def test_a_registry_that_is_away_confirms_nothing(keeping, up, repo):
    content = hold_blob(keeping, up, f"{repo}/one", sample(repo, 50_000))
    up.at(blob_path(f"{repo}/other", content), error(500, "UNKNOWN", "broken"))
    assert pull_blob(keeping, f"{repo}/other", content).status == 502


# --- another registry ---


def test_another_registry_has_to_deliver_once(keeping, bed, up, repo):
    """A HEAD costs a registry nothing: that it has the bytes is shown by giving them."""
    image = hold(keeping, up, Image(repo))
    image.script(bed.plain)
    image.pull(keeping, "plain.test")
    for content in image.blobs:
        assert len(gets(bed.plain, repo, content)) == 1, "it was to deliver, once"
    before = asked(bed.plain, repo)
    image.pull(keeping, "plain.test")
    assert asked(bed.plain, repo) == before


def test_another_registry_that_only_says_so(keeping, bed, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 200_000))
    only_says = broken_after(content, 1000)
    bed.plain.at(blob_path(repo, content), only_says)
    got = pull_blob(keeping, repo, content, "plain.test")
    assert not (got.status == 200 and got.complete), "it never had it"
    got = pull_blob(keeping, repo, content, "plain.test", value="bytes=100000-100009")
    assert not (got.status == 206 and got.complete), "it never had it"
    pull_right(keeping, repo, content)


def test_another_registry_that_delivers_something_else(keeping, bed, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 200_000))
    bed.plain.at(blob_path(repo, content), answer(200, b"x" * len(content)))
    assert not pull_blob(keeping, repo, content, "plain.test").complete
    assert is_held(keeping, content), "what is right stays"
    pull_right(keeping, repo, content)


def test_another_registry_that_has_it_not(keeping, bed, up, repo):
    secret = hold(keeping, up, Image(repo))
    assert_nothing_comes(keeping, repo, secret, registry="plain.test")
    assert bed.plain.asked(blob_path(repo, secret.layers[0]))


def test_another_registry_while_it_is_coming(keeping, bed, up, repo):
    content, gate = sample(repo, 3 * MIB), threading.Event()
    up.at(blob_path(repo, content), gated(content, 2 * MIB, gate))
    first = Reader(keeping, repo, content).read_to(MIB)
    bed.plain.at(blob_path(repo, content), NO_BLOB)
    assert pull_blob(keeping, repo, content, "plain.test").status == 404
    bed.plain.at(blob_path(repo, content), blob(content))
    before = len(gets(bed.plain, repo, content))
    pull_right(keeping, repo, content, "plain.test")
    assert len(gets(bed.plain, repo, content)) == before + 1
    gate.set()
    assert first.drain() == content


def test_who_delivered_is_known_after_a_restart(own_gateway, keeping, bed, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 200_000))
    bed.plain.at(blob_path(repo, content), blob(content))
    assert keeping.stop() == 0
    gateway = own_gateway(store=keeping.settings["store"])
    pull_right(gateway, repo, content, "plain.test")
    assert len(gets(bed.plain, repo, content)) == 1, "that one had not delivered it"


def test_a_manifest_as_a_blob_and_back(keeping, up, repo):
    """One file, but having it as the one is not having it as the other."""
    image = hold(keeping, up, Image(repo))
    up.at(f"/v2/{repo}/manifests/{digest(image.layers[0])}", NO_MANIFEST)
    got = pull_manifest(keeping, repo, digest(image.layers[0]))
    assert got.status >= 400 and image.layers[0] not in got.body, got.status


def test_a_document_under_another_type_is_judged(keeping, up, repo):
    """A manifest that is refused must not be had as the blob that somebody fetched before."""
    doc = {"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": [], "history": [], "signatures": []}
    body = encode(doc)
    hold_blob(keeping, up, repo, body)
    up.at(f"/v2/{repo}/manifests/{digest(body)}", manifest(body, "application/vnd.docker.distribution.manifest.v1+json"))
    got = pull_manifest(keeping, repo, digest(body))
    assert got.status >= 400, got.body
    wait_held(keeping, body)
