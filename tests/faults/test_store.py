# SPDX-License-Identifier: Apache-2.0
"""What is kept is served without asking: tags, manifests, blobs and parts of them, before and after a restart."""

import hashlib
import time

import pytest

from gateway import assert_denied, assert_oci_error, assert_whole
from images import OCI_INDEX, document, encode, script_manifest
from stores import (MIB, Image, PLACE, asked, blob_path, chunked, described, gets, hold, hold_blob, is_held, path_of, pull_blob,
                    pull_manifest, pull_right, sample, settle, wait_for, wait_held)
from upstream import answer, blob, digest, error, manifest


@pytest.fixture
def keeping(own_gateway):
    """A gateway with a store of its own."""
    return own_gateway(store={})


def again(gateway, **changes):
    """Stop it; `own_gateway(**again(old))` opens the same store."""
    assert gateway.stop() == 0, gateway.output()
    return {"store": {**gateway.settings["store"], **changes.pop("store", {})}, **changes}


def test_a_second_pull_asks_nothing(keeping, up, repo):
    image = hold(keeping, up, Image(repo))
    before = asked(up, repo)
    answers = image.pull(keeping)
    answers += [pull_manifest(keeping, repo, reference, method="HEAD") for reference in (image.tag, image.digest)]
    answers += [pull_blob(keeping, repo, content, method="HEAD") for content in image.blobs]
    assert asked(up, repo) == before, "the upstream was asked again"
    for got in answers:
        assert got.status == 200 and got.line["source"] == "hit", got.line
        assert got.header("warning") is None
    by_tag = answers[0]
    assert by_tag.header("docker-content-digest") == image.digest
    assert by_tag.header("content-type") == "application/vnd.oci.image.manifest.v1+json"


def test_the_first_pull_says_that_it_was_fetched(keeping, up, repo):
    image = Image(repo).script(up)
    by_tag, _, *blobs = image.pull(keeping)
    for got in (by_tag, *blobs):
        assert got.line["source"] == "miss", got.line


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 5 * MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_blobs_of_every_size_are_kept(keeping, up, repo, size, framing):
    content = sample(repo, size)
    up.at(blob_path(repo, content), blob(content) if framing == "length" else chunked(content))
    pull_right(keeping, repo, content)
    wait_held(keeping, content)
    assert path_of(keeping, content).read_bytes() == content
    pull_right(keeping, repo, content)
    assert len(gets(up, repo, content)) == 1


def test_sha512(keeping, up, repo):
    content = sample(repo, 100_000)
    name = "sha512:" + hashlib.sha512(content).hexdigest()
    up.at(f"/v2/{repo}/blobs/{name}", blob(content))
    for _ in range(2):
        assert_whole(keeping.pull(PLACE, f"{repo}/blobs/{name}"), content)
        wait_for(lambda: list((keeping.store / "blobs" / "sha512").rglob(name.split(":")[1])), 10)
    assert len(up.asked(f"/v2/{repo}/blobs/{name}", "GET")) == 1


def test_the_directory_is_nobody_elses(keeping, up, repo):
    image = hold(keeping, up, Image(repo))
    assert keeping.store.stat().st_mode & 0o777 == 0o700
    assert path_of(keeping, image.body).read_bytes() == image.body
    wait_for(lambda: not list((keeping.store / "tmp").iterdir()), 10, "something is left in tmp/")


def test_a_tag_is_asked_by_head_when_its_time_is_over(own_gateway, up, repo):
    gateway = own_gateway(store={"tag_ttl": "1s"})
    image = hold(gateway, up, Image(repo))
    before = len(asked(up, repo))

    def older():
        assert_whole(pull_manifest(gateway, repo), image.body)
        return asked(up, repo)[before:]

    assert wait_for(older, 10) == [("HEAD", image.by_tag)], "one HEAD and nothing else"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_any_time_each_ask_is_one_head(own_gateway, up, repo, method):
    gateway = own_gateway(store={"tag_ttl": "0s"})
    image = hold(gateway, up, Image(repo))
    before = asked(up, repo)
    for count in (1, 2, 3):
        got = pull_manifest(gateway, repo, method=method)
        assert got.status == 200 and got.body == (image.body if method == "GET" else b"")
        assert got.line["source"] == "hit"
        assert asked(up, repo)[len(before):] == [("HEAD", image.by_tag)] * count


def test_a_registry_may_have_a_time_of_its_own(own_gateway, up, repo):
    gateway = own_gateway(store={"tag_ttl": "1h"}, registries={PLACE: {"tag_ttl": "0s"}})
    image = hold(gateway, up, Image(repo))
    before = asked(up, repo)
    assert_whole(pull_manifest(gateway, repo), image.body)
    assert asked(up, repo)[len(before):] == [("HEAD", image.by_tag)]


def test_a_registry_that_answers_304(own_gateway, up, repo):
    """The ETag that it gave is shown to it again; whether it says 200 or 304 to that, nothing is transferred."""
    gateway = own_gateway(store={"tag_ttl": "0s"})
    image = hold(gateway, up, Image(repo))
    whole = manifest(image.body, image_type(image), [("ETag", '"the-first"')])
    unchanged = answer(304, b"", [("ETag", '"the-first"')])
    up.at(image.by_tag, lambda request, wire: (unchanged if request.header("if-none-match") == '"the-first"' else whole)(request, wire))
    for _ in range(3):
        assert_whole(pull_manifest(gateway, repo), image.body)
    assert not up.asked(image.by_tag, "GET")[1:], "it was fetched again"


def image_type(_image):
    return "application/vnd.oci.image.manifest.v1+json"


def test_a_registry_whose_head_names_no_digest(own_gateway, up, repo):
    """It cannot confirm by HEAD; what is served is right all the same, also when the tag moves."""
    gateway = own_gateway(store={"tag_ttl": "0s"})
    first, second = Image(repo, f"{repo} 1"), Image(repo, f"{repo} 2")
    for image in (first, second):
        image.script(up)
        up.at(image.by_tag, answer(200, image.body, [("Content-Type", image_type(image))]))
        for _ in range(2):
            assert_whole(pull_manifest(gateway, repo), image.body)


def test_a_tag_that_moved(own_gateway, up, repo):
    gateway = own_gateway(store={"tag_ttl": "0s"})
    first = hold(gateway, up, Image(repo, f"{repo} 1"))
    second = Image(repo, f"{repo} 2").script(up)
    before = len(asked(up, repo))
    for _ in range(2):
        got = pull_manifest(gateway, repo)
        assert_whole(got, second.body)
        assert got.header("docker-content-digest") == second.digest
    assert_whole(pull_manifest(gateway, repo, first.digest), first.body)
    fetched = [path for method, path in asked(up, repo)[before:] if method == "GET"]
    assert fetched in ([second.by_tag], [second.by_digest]), f"only the new one, once: {fetched}"


def test_a_tag_within_its_time_may_have_moved(own_gateway, up, repo):
    gateway = own_gateway(store={"tag_ttl": "1h"})
    first = hold(gateway, up, Image(repo, f"{repo} 1"))
    Image(repo, f"{repo} 2").script(up)
    assert_whole(pull_manifest(gateway, repo), first.body)


def test_two_registries_with_the_same_name_do_not_mix(keeping, bed, up, repo):
    one, other = Image(repo, f"{repo} one").script(up), Image(repo, f"{repo} other").script(bed.plain)
    for _ in range(2):
        one.pull(keeping, PLACE)
        other.pull(keeping, "plain.test")
    assert_oci_error(pull_blob(keeping, repo, other.layers[0], PLACE), 404, "not_found")
    assert_oci_error(pull_manifest(keeping, repo, one.digest, "plain.test"), 404, "not_found")


# --- parts ---


RANGES = [  # value, first, last (None: to the end) of 300,000 bytes
    ("bytes=0-0", 0, 0), ("bytes=0-99", 0, 99), ("bytes=0-", 0, None), ("bytes=5-9", 5, 9), ("bytes=100-", 100, None),
    ("bytes=65536-131071", 65_536, 131_071), ("bytes=299999-", 299_999, None), ("bytes=299999-299999", 299_999, 299_999), ("bytes=-1", 299_999, None),
    ("bytes=-7", 299_993, None), ("bytes=-300000", 0, None), ("bytes=-900000", 0, None), ("bytes=100-900000", 100, None),
]


@pytest.mark.parametrize("value,first,last", RANGES)
def test_ranges_of_what_is_held(keeping, up, repo, value, first, last):
    content = hold_blob(keeping, up, repo, sample(repo, 300_000))
    got = pull_blob(keeping, repo, content, value=value)
    last = len(content) - 1 if last is None else last
    assert (got.status, got.complete, got.body) == (206, True, content[first : last + 1])
    assert got.header("content-range") == f"bytes {first}-{last}/{len(content)}"
    assert got.line["source"] == "hit" and got.line["verified"] is True
    assert len(gets(up, repo, content)) == 1, "it was fetched again"
    asked_head = pull_blob(keeping, repo, content, value=value, method="HEAD")
    assert asked_head.status in (200, 206) and asked_head.body == b""


@pytest.mark.parametrize("value", ["bytes=300000-", "bytes=300000-300001", "bytes=999999999999-"])
def test_ranges_beyond_what_is_held(keeping, up, repo, value):
    content = hold_blob(keeping, up, repo, sample(repo, 300_000))
    got = pull_blob(keeping, repo, content, value=value)
    assert got.status == 416 and got.complete
    assert got.header("content-range") == "bytes */300000"
    assert len(gets(up, repo, content)) == 1


def test_if_range_of_what_is_held(keeping, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 300_000))
    etag = pull_blob(keeping, repo, content, method="HEAD").header("etag")
    assert etag

    def ask(validator):
        return keeping.pull(PLACE, f"{repo}/blobs/{digest(content)}", headers=[("Range", "bytes=5-9"), ("If-Range", validator)])

    assert (ask(etag).status, ask(etag).body) == (206, content[5:10])
    assert_whole(ask('"another"'), content)


def test_a_head_of_what_is_held(keeping, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 300_000))
    got = pull_blob(keeping, repo, content, method="HEAD")
    assert (got.status, got.header("content-length"), got.body) == (200, "300000", b"")
    assert got.header("docker-content-digest") == digest(content)
    assert len(up.asked(blob_path(repo, content))) == 1


# --- after a restart ---


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_after_a_restart_nothing_is_asked(own_gateway, keeping, up, repo, how):
    image = hold(keeping, up, Image(repo))
    if how == "killed":
        settle(keeping)
        keeping.process.kill()
        keeping.process.wait()
        more = {"store": keeping.settings["store"]}
    else:
        more = again(keeping)
    before = asked(up, repo)
    gateway = own_gateway(**more)
    for got in image.pull(gateway):
        assert got.line["source"] == "hit", got.line
    assert asked(up, repo) == before, "the upstream was asked again"


def test_after_a_restart_an_older_tag_is_one_head(own_gateway, keeping, up, repo):
    image = hold(keeping, up, Image(repo))
    before = asked(up, repo)
    gateway = own_gateway(**again(keeping, store={"tag_ttl": "0s"}))
    assert_whole(pull_manifest(gateway, repo), image.body)
    assert asked(up, repo)[len(before):] == [("HEAD", image.by_tag)]


def test_after_a_restart_links_hold(own_gateway, up, repo):
    """Rules for tags: what an allowed tag led to is pulled by digest, also by a gateway that has not seen the tag."""
    rules = [{"allow": [f"{PLACE}/{repo}:v*"]}]
    gateway = own_gateway(store={}, rules=rules)
    child = Image(repo, f"{repo} child", tag="unused").script(up)
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described(child.body, image_type(child))]})
    script_manifest(up, repo, index, OCI_INDEX, tag="v1")
    other = Image(repo, f"{repo} other", tag="w1").script(up)
    assert_whole(pull_manifest(gateway, repo, "v1"), index)
    assert_whole(pull_manifest(gateway, repo, child.digest), child.body)
    pull_right(gateway, repo, child.layers[0])
    wait_held(gateway, index, child.body, child.layers[0])
    more = again(gateway, rules=rules)
    before = asked(up, repo)
    gateway = own_gateway(**more)
    pull_right(gateway, repo, child.layers[0])
    assert_whole(pull_manifest(gateway, repo, child.digest), child.body)
    assert_whole(pull_manifest(gateway, repo, digest(index)), index)
    assert asked(up, repo) == before
    pull_right(gateway, repo, child.layers[1])
    for reference in (other.digest, "w1"):
        assert_denied(pull_manifest(gateway, repo, reference), reason="no_link" if ":" in reference else "no_rule")
    assert_denied(pull_blob(gateway, repo, other.layers[0]), reason="no_link")


def test_rules_are_asked_for_what_is_held(own_gateway, keeping, up, repo):
    image = hold(keeping, up, Image(repo))
    gateway = own_gateway(**again(keeping, rules=[{"name": "no", "deny": [f"{PLACE}/{repo}"]}, {"allow": ["**"]}]))
    for got in (pull_manifest(gateway, repo), pull_manifest(gateway, repo, image.digest), pull_blob(gateway, repo, image.layers[0]),
                pull_blob(gateway, repo, image.layers[0], value="bytes=1-5")):
        assert_denied(got, reason="rule")


def test_a_reload_denies_what_was_just_served(keeping, up, repo):
    image = hold(keeping, up, Image(repo))
    keeping.configure(rules=[{"deny": [f"{PLACE}/{repo}"]}, {"allow": ["**"]}])
    keeping.reload()
    for got in (pull_manifest(keeping, repo), pull_manifest(keeping, repo, image.digest), pull_blob(keeping, repo, image.layers[0])):
        assert_denied(got, reason="rule")


# --- offline ---


def test_an_offline_registry_is_never_asked(own_gateway, up, repo):
    gateway = own_gateway(store={"tag_ttl": "0s", "stale_for": "0s", "learned_for": "1s"})
    image = hold(gateway, up, Image(repo))
    other = Image(f"{repo}/other").script(up)
    before, connections = asked(up, repo), len(up.connections)
    time.sleep(2)  # older than all that has a time
    gateway = own_gateway(**again(gateway, registries={PLACE: {"offline": True}}))
    for got in image.pull(gateway):
        assert got.line["source"] == "hit"
    for got in (pull_manifest(gateway, other.repo), pull_manifest(gateway, repo, "another"), pull_manifest(gateway, other.repo, other.digest),
                pull_blob(gateway, repo, b"never there"), pull_blob(gateway, other.repo, image.layers[0])):
        assert got.status >= 400 and got.complete and got.error["message"], got.status
        assert "offline" in got.error["message"], got.error
    assert asked(up, repo) == before and len(up.connections) == connections


# --- what is not kept ---


def test_refused_documents_are_not_kept(own_gateway, keeping, up, repo):
    """With another configuration the same document is fine, and is fetched then."""
    layer = sample(repo, 1000)
    body = encode(document([layer]) | {"layers": [described(layer, "application/vnd.oci.image.layer.v1.tar+gzip", urls=["https://far.test/x"])]})
    script_manifest(up, repo, body)
    assert_denied(pull_manifest(keeping, repo), reason="urls")
    assert_denied(pull_manifest(keeping, repo, digest(body)), reason="urls")
    assert not is_held(keeping, body)
    gateway = own_gateway(**again(keeping, registries={PLACE: {"external_urls": ["far.test"]}}))
    assert_whole(pull_manifest(gateway, repo), body)
    wait_held(gateway, body)


def test_a_document_that_was_fine_is_judged_by_todays_configuration(own_gateway, up, repo):
    layer = sample(repo, 1000)
    body = encode(document([layer]) | {"layers": [described(layer, "application/vnd.oci.image.layer.v1.tar+gzip", urls=["https://far.test/x"])]})
    script_manifest(up, repo, body)
    gateway = own_gateway(store={}, registries={PLACE: {"external_urls": ["far.test"]}})
    assert_whole(pull_manifest(gateway, repo), body)
    wait_held(gateway, body)
    gateway = own_gateway(**again(gateway))
    for reference in ("1", digest(body)):
        assert_denied(pull_manifest(gateway, repo, reference), reason="urls")


def test_parts_of_what_is_not_held_are_not_kept(keeping, up, repo):
    content = sample(repo, 300_000)
    up.at(blob_path(repo, content), blob(content))
    got = pull_blob(keeping, repo, content, value="bytes=100000-100009")
    assert (got.status, got.body) == (206, content[100_000:100_010])
    pull_right(keeping, repo, content)
    wait_held(keeping, content)


def test_without_a_store_nothing_is_written(own_gateway, up, repo):
    gateway = own_gateway()
    image = Image(repo).script(up)
    for _ in range(2):
        image.pull(gateway)
    assert sorted(path.name for path in gateway.directory.iterdir()) == ["log", "pullgate.json", "stderr"]
    assert len(gets(up, repo, image.layers[0])) == 2


def test_errors_are_not_kept(keeping, up, repo):
    content = sample(repo, 10_000)
    up.at(blob_path(repo, content), error(500, "UNKNOWN", "not now"), error(500, "UNKNOWN", "not now"), error(500, "UNKNOWN", "not now"), blob(content))
    assert pull_blob(keeping, repo, content).status == 502
    wait_for(lambda: pull_blob(keeping, repo, content).status == 200, 30)
