# SPDX-License-Identifier: Apache-2.0
"""A registry that is away, or says that a tag is gone: what may be served then, and for how long."""

import time

import pytest

from bed import FAR, SECRETS
from gateway import assert_denied, assert_oci_error, assert_whole, free_port
from stores import Image, PLACE, asked, blob_path, hold, pull_blob, pull_manifest, pull_right, sample, wait_for
from upstream import answer, blob, error, manifest, raw, token, unauthorized

ALWAYS = {"tag_ttl": "0s"}  # each ask for a tag is one to the registry


def again(gateway, store=(), **more):
    assert gateway.stop() == 0, gateway.output()
    return {"store": {**gateway.settings["store"], **dict(store)}, **more}


def assert_stale(got, image):
    assert_whole(got, image.body)
    assert (got.header("warning") or "").startswith("110 "), got.headers
    assert got.header("docker-content-digest") == image.digest
    assert got.line["source"] == "stale" and got.line["message"], got.line


def assert_fresh(got, image):
    assert_whole(got, image.body)
    assert got.header("warning") is None and got.line["source"] != "stale"


AWAY = {"dead": "127.0.0.40", "silent": "127.0.0.21", "deaf": "127.0.0.22", "reset": "127.0.0.23", "reset after TLS": "127.0.0.24",
        "hangs after TLS": "127.0.0.25", "not TLS": "127.0.0.26"}


@pytest.mark.parametrize("how", AWAY)
def test_a_registry_that_is_away(own_gateway, up, repo, how):
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    port = free_port() if how == "dead" else up.port
    gateway = own_gateway(**again(gateway, registries={PLACE: {"endpoints": [f"https://{AWAY[how]}:{port}"]}}))
    assert_stale(pull_manifest(gateway, repo), image)
    for got in (pull_manifest(gateway, repo, image.digest), pull_right(gateway, repo, image.layers[0])):
        assert got.status == 200 and got.line["source"] == "hit", "a digest cannot change"
        assert got.header("warning") is None
    other = pull_manifest(gateway, repo, "never-seen")
    assert other.status in (502, 504), other.status


FAILING = {
    "500": error(500, "UNKNOWN", "broken"),
    "502": error(502, "UNKNOWN", "broken"),
    "503": error(503, "UNAVAILABLE", "later"),
    "504": error(504, "UNKNOWN", "too late"),
    "429": error(429, "TOOMANYREQUESTS", "slow down"),
    "429 with a time": error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "1")]),
    "503 with a time": error(503, "UNAVAILABLE", "later", [("Retry-After", "1")]),
    "no answer": raw(b"", end="hang"),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-", end="hang"),
    "closes": raw(b"", end="reset"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("how", FAILING)
def test_a_registry_that_fails(own_gateway, up, repo, how, method):
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING[how])
    got = pull_manifest(gateway, repo, method=method)
    if method == "GET":
        assert_stale(got, image)
    else:
        assert got.status == 200 and got.header("warning") and got.line["source"] == "stale"
    image.script(up)
    wait_for(lambda: pull_manifest(gateway, repo).header("warning") is None, 30, "it is never asked again")
    assert_fresh(pull_manifest(gateway, repo), image)


@pytest.mark.parametrize("how", ["no time", "a time"])
def test_while_it_wants_to_be_left_alone_nothing_is_asked(own_gateway, up, repo, how):
    gateway = own_gateway(store=ALWAYS)
    image, other = hold(gateway, up, Image(repo)), Image(f"{repo}/other").script(up)
    up.at(image.by_tag, error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "4")] if how == "a time" else []))
    first = time.monotonic()
    assert_stale(pull_manifest(gateway, repo), image)
    before = asked(up, repo) + asked(up, other.repo)
    for _ in range(3):
        assert_stale(pull_manifest(gateway, repo), image)
    pull_right(gateway, repo, image.layers[0])
    for got in (pull_manifest(gateway, other.repo), pull_manifest(gateway, other.repo, other.digest), pull_blob(gateway, other.repo, other.layers[0])):
        assert_oci_error(got, 429, "upstream_limit")
    if time.monotonic() - first < 3:  # else the machine was so slow that this shows nothing
        assert asked(up, repo) + asked(up, other.repo) == before, "it was asked although it wants to be left alone"
    image.script(up)
    wait_for(lambda: pull_manifest(gateway, other.repo).status == 200, 20)
    assert_fresh(pull_manifest(gateway, repo), image)


def test_another_registry_is_asked_meanwhile(own_gateway, bed, up, repo):
    gateway = own_gateway(store=ALWAYS)
    image, other = hold(gateway, up, Image(repo)), Image(f"{repo}/other").script(bed.plain)
    up.at(image.by_tag, error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "60")]))
    assert_stale(pull_manifest(gateway, repo), image)
    other.pull(gateway, "plain.test")


# --- credentials ---


def guard(up, image, good, realm):
    """Everything of the image is for who shows this token."""
    for path, step in [(image.by_tag, manifest(image.body, OCI)), (image.by_digest, manifest(image.body, OCI)),
                       *[(blob_path(image.repo, content), blob(content)) for content in image.blobs]]:
        def guarded(request, wire, step=step):
            shown = request.header("authorization") == f"Bearer {good}"
            (step if shown else unauthorized(realm, f"repository:{image.repo}:pull"))(request, wire)

        up.at(path, guarded)


OCI = "application/vnd.oci.image.manifest.v1+json"


def private_image(gateway, up, repo, registry):
    image = Image(repo)
    guard(up, image, SECRETS["token"], f"https://{FAR}:{up.port}/token/{repo}")
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    image.pull(gateway, registry)
    return image


@pytest.mark.parametrize("status", [401, 403])
def test_our_credentials_are_refused(own_gateway, up, repo, status):
    """The site's robot account has expired: that is no word about this repository."""
    gateway = own_gateway(store=ALWAYS)
    image = private_image(gateway, up, repo, "cred.test")
    gateway = own_gateway(**again(gateway))
    up.at(f"/token/{repo}", error(status, "UNAUTHORIZED", "incorrect username or password"))
    assert_stale(pull_manifest(gateway, repo, registry="cred.test"), image)


def test_our_basic_credentials_are_refused(own_gateway, up, repo):
    gateway = own_gateway(store=ALWAYS)
    image = Image(repo).script(up)
    image.pull(gateway, "cred.test")
    up.at(image.by_tag, unauthorized("realm", scheme="Basic"))
    assert_stale(pull_manifest(gateway, repo, registry="cred.test"), image)


@pytest.mark.parametrize("status", [401, 403])
def test_who_has_no_credentials_and_is_refused_gets_nothing_stale(own_gateway, up, repo, status):
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, error(status, "DENIED", "this is private now"))
    assert_denied(pull_manifest(gateway, repo), reason="upstream_auth")


def test_an_anonymous_token_that_opens_nothing_any_more(own_gateway, up, repo):
    gateway = own_gateway(store=ALWAYS)
    image = private_image(gateway, up, repo, PLACE)
    guard(up, image, "another-one", f"https://{FAR}:{up.port}/token/{repo}")
    assert_denied(pull_manifest(gateway, repo), reason="upstream_auth")


def test_good_credentials_that_may_not_see_it_any_more(own_gateway, up, repo):
    """The token server gives a token, the registry refuses this repository with it."""
    gateway = own_gateway(store=ALWAYS)
    image = private_image(gateway, up, repo, "cred.test")
    up.at(image.by_tag, error(403, "DENIED", "not yours any more"))
    got = pull_manifest(gateway, repo, registry="cred.test")
    assert_oci_error(got, 502, "upstream_auth")
    assert got.header("warning") is None


# --- for how long ---


def test_stale_for_nothing(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "stale_for": "0s"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING["500"])
    assert_oci_error(pull_manifest(gateway, repo), 502, "upstream_error")
    assert_whole(pull_manifest(gateway, repo, image.digest), image.body)


def test_past_stale_for(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "stale_for": "4s"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING["500"])
    wait_for(lambda: pull_manifest(gateway, repo).status == 502, 20, "it is stale for ever")
    assert_whole(pull_manifest(gateway, repo, image.digest), image.body)


def test_stale_without_limit(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "stale_for": "unlimited"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING["500"])
    time.sleep(2)
    assert_stale(pull_manifest(gateway, repo), image)


def test_stale_after_a_restart(own_gateway, up, repo):
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING["500"])
    gateway = own_gateway(**again(gateway))
    assert_stale(pull_manifest(gateway, repo), image)
    gateway = own_gateway(**again(gateway, store={"stale_for": "0s"}))
    assert_oci_error(pull_manifest(gateway, repo), 502, "upstream_error")


def test_stale_needs_the_content(own_gateway, up, repo):
    """A tag whose content is not held any more cannot be served, whatever is known of it."""
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, FAILING["500"])
    up.at(image.by_digest, FAILING["500"])
    more = again(gateway)
    name = image.digest.split(":")[1]
    (gateway.store / "blobs" / "sha256" / name[:2] / name).unlink()
    gateway = own_gateway(**more)
    assert_oci_error(pull_manifest(gateway, repo), 502, "upstream_error")


# --- gone ---


GONE = error(404, "MANIFEST_UNKNOWN", "manifest unknown")


def test_a_tag_that_is_gone_is_gone_at_once(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "stale_for": "unlimited", "negative_ttl": "1h"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, GONE)
    assert_oci_error(pull_manifest(gateway, repo), 404, "not_found")
    image.script(up)
    before = asked(up, repo)
    for _ in range(3):
        assert_oci_error(pull_manifest(gateway, repo), 404, "not_found")
    assert asked(up, repo) == before, "it was asked again too soon"
    assert_whole(pull_manifest(gateway, repo, image.digest), image.body)


def test_a_tag_that_was_gone_may_come_back(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "negative_ttl": "1s"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, GONE)
    assert_oci_error(pull_manifest(gateway, repo), 404, "not_found")
    image.script(up)
    wait_for(lambda: pull_manifest(gateway, repo).status == 200, 10)


def test_gone_is_asked_each_time_where_the_site_wants_it(own_gateway, up, repo):
    gateway = own_gateway(store={**ALWAYS, "negative_ttl": "0s"})
    image = Image(repo).script(up)
    up.at(image.by_tag, GONE)
    assert_oci_error(pull_manifest(gateway, repo), 404, "not_found")
    image.script(up)
    assert_whole(pull_manifest(gateway, repo), image.body)


@pytest.mark.parametrize("then", ["500", "429", "closes"])
def test_gone_then_away_is_not_stale(own_gateway, up, repo, then):
    """Once the registry has said that a tag is gone its last digest is forgotten, also over a restart."""
    gateway = own_gateway(store={**ALWAYS, "negative_ttl": "0s", "stale_for": "unlimited"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, GONE)
    assert_oci_error(pull_manifest(gateway, repo), 404, "not_found")
    up.at(image.by_tag, FAILING[then])
    assert pull_manifest(gateway, repo).status in (429, 502)
    gateway = own_gateway(**again(gateway))
    assert pull_manifest(gateway, repo).status in (429, 502)


def test_a_blob_that_is_not_there_is_not_asked_again(own_gateway, up, repo):
    gateway = own_gateway(store={"negative_ttl": "1h"})
    content = sample(repo, 1000)
    for _ in range(3):
        assert_oci_error(pull_blob(gateway, repo, content), 404, "not_found")
    assert len(up.asked(blob_path(repo, content))) == 1


def test_a_missing_tag_is_not_that_digest(own_gateway, up, repo):
    """Not found holds for what was asked for, in this repository."""
    gateway = own_gateway(store={"negative_ttl": "1h"})
    image, other = Image(repo).script(up), Image(f"{repo}/other").script(up)
    assert_oci_error(pull_manifest(gateway, repo, "2"), 404, "not_found")
    image.pull(gateway)
    assert_oci_error(pull_blob(gateway, repo, other.layers[0]), 404, "not_found")
    other.pull(gateway)


def test_an_answer_without_content_is_no_confirmation(own_gateway, up, repo):
    gateway = own_gateway(store=ALWAYS)
    image = hold(gateway, up, Image(repo))
    up.at(image.by_tag, answer(204))
    got = pull_manifest(gateway, repo)
    assert got.status >= 500 or got.header("warning"), got.headers
