# SPDX-License-Identifier: Apache-2.0
"""Rules that speak of tags, requests that speak of digests: an allowed tag opens what it led to, and nothing else."""

import json

import pytest

from bed.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, image, multi_arch, unique
from bed.web import Answer

ACCEPT = {"Accept": ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))}


@pytest.fixture
def releases(hub):
    """A repository of which the rules allow the tags v*: v1 is an index; dev and untagged are other images."""

    class Releases:
        repository = f"library/{unique('tagged')}"

    Releases.v1 = hub.push(Releases.repository, "v1", multi_arch())
    Releases.dev = hub.push(Releases.repository, "dev", image())
    return Releases


def layer(document):
    return document.value["layers"][-1]["digest"]


def test_without_a_tag_first_a_digest_is_refused(site, releases):
    mark, at = site.mark(), f"/v2/docker.io/{releases.repository}"
    for target in (f"{at}/manifests/{releases.v1.digest}", f"{at}/blobs/{layer(releases.v1.document.children[0])}"):
        reply = site.ask("GET", target, ACCEPT)
        assert (reply.status, reply.error[0]) == (403, "DENIED")
        assert "tag" in reply.error[1] and "digest" in reply.error[1], "it says: pull it by an allowed tag first, or allow this digest"
    assert site.line(mark, repository=releases.repository)["reason"] == "no_link"


def test_after_the_tag_its_digest_its_children_and_their_layers(site, releases):
    at = f"/v2/docker.io/{releases.repository}"
    child = releases.v1.document.children[1]
    assert site.ask("HEAD", f"{at}/manifests/v1", ACCEPT).headers["Docker-Content-Digest"] == releases.v1.digest
    assert site.ask("GET", f"{at}/manifests/{releases.v1.digest}", ACCEPT).body == releases.v1.document.bytes
    assert site.ask("GET", f"{at}/manifests/{child.digest}", ACCEPT).body == child.bytes
    assert site.ask("GET", f"{at}/blobs/{child.value['config']['digest']}").body == child.blobs[0]
    assert site.ask("GET", f"{at}/blobs/{layer(child)}").body == child.blobs[-1]


def test_a_client_that_holds_the_index_asks_only_for_a_layer(site, releases):
    # The gateway has not read the children yet; it reads them before it refuses.
    at = f"/v2/docker.io/{releases.repository}"
    assert site.ask("HEAD", f"{at}/manifests/v1", ACCEPT).status == 200
    child = releases.v1.document.children[0]
    assert site.ask("GET", f"{at}/blobs/{layer(child)}").body == child.blobs[-1]


def test_the_tag_opens_nothing_else(site, releases):
    at, mark = f"/v2/docker.io/{releases.repository}", site.mark()
    assert site.ask("HEAD", f"{at}/manifests/v1", ACCEPT).status == 200
    for target in (f"{at}/manifests/dev", f"{at}/manifests/{releases.dev.digest}", f"{at}/blobs/{layer(releases.dev.document)}"):
        assert site.ask("GET", target, ACCEPT).status == 403
    assert site.line(mark, reference="dev")["reason"] == "no_rule"
    assert site.line(mark, reference=releases.dev.digest)["reason"] == "no_link"


def test_a_link_of_one_repository_is_none_of_another(site, hub, releases):
    twin = hub.push(f"library/{unique('tagged')}", "v1", releases.v1.document)
    assert site.ask("HEAD", f"/v2/docker.io/{releases.repository}/manifests/v1", ACCEPT).status == 200
    assert site.ask("GET", f"/v2/docker.io/{twin.repository}/manifests/{twin.digest}", ACCEPT).status == 403


@pytest.mark.parametrize("kind", ["containerd", "docker-pull", "podman"])
def test_clients_pull_by_tag_and_then_by_digest(kind, site, clients, releases):
    client = clients(kind)
    by_digest = releases.v1.by_digest
    assert "403" in client.pull(by_digest).must_fail() or client.fallback
    client.pull(releases.v1.by_tag).must_work()
    client.pull(by_digest).must_work()


def test_a_rule_that_denies_a_digest_wins_over_the_tag(hub, other):
    bad = hub.push(f"library/{unique('ok')}", "1", image())
    hub.push(bad.repository, "2", good := image())
    gateway = other(rules=[{"name": "CVE", "deny": [bad.by_digest]}, {"allow": ["docker.io/library/**"]}])
    at = f"/v2/docker.io/{bad.repository}/manifests"
    for target in ("1", bad.digest):
        reply = gateway.ask("GET", f"{at}/{target}", ACCEPT)
        assert (reply.status, reply.error[0]) == (403, "DENIED") and "CVE" in reply.error[1]
    assert gateway.ask("GET", f"{at}/2", ACCEPT).body == good.bytes
    line = gateway.line(reference="1", decision="deny")
    assert (line["reason"], line["rule"]) == ("rule", "CVE")


def test_cosigns_tags_are_judged_as_referrers_of_what_they_sign(site, hub, releases):
    at, subject = f"/v2/docker.io/{releases.repository}/manifests", releases.v1.digest
    name = subject.replace(":", "-") + ".sig"
    signature = hub.push(releases.repository, name, image(oci=True, runnable=False))
    assert site.ask("GET", f"{at}/{name}", ACCEPT).status == 403, "nobody asked for an allowed tag yet"
    assert site.ask("HEAD", f"{at}/v1", ACCEPT).status == 200
    assert site.ask("GET", f"{at}/{name}", ACCEPT).body == signature.document.bytes


def test_tags_list_shows_what_may_be_pulled(site, hub, releases):
    hub.push(releases.repository, "v2", image(runnable=False))
    reply = site.ask("GET", f"/v2/{releases.repository}/tags/list?ns=docker.io")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["OCI-Namespace"] == "docker.io"
    assert sorted(reply.json()["tags"]) == ["v1", "v2"]


def test_tags_list_of_a_repository_without_any_permitted_reference(site, hub):
    pushed = hub.push(f"library/{unique('denied')}", "1", image(runnable=False))
    for query in ("", "?ns=docker.io"):
        reply = site.ask("GET", f"/v2/{pushed.repository}/tags/list{query}")
        assert (reply.status, reply.error[0]) == (403, "DENIED")


FORMS = {
    "ns": ("/v2/{repository}/tags/list?ns=corp.example&n=1", "/v2/{repository}/tags/list?", "ns=corp.example"),
    "prefix": ("/v2/corp.example/{repository}/tags/list?n=1", "/v2/corp.example/{repository}/tags/list?", ""),
    "outer prefix": ("/corp.example/v2/{repository}/tags/list?n=1", "/corp.example/v2/{repository}/tags/list?", ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_pages_are_linked_in_the_clients_own_form(form, bed, site):
    repository = f"team/{unique('app')}"
    for tag in ("a", "b", "c"):
        bed.corp.push(repository, tag, image(runnable=False))
    target, begins, holds = (text.format(repository=repository) for text in FORMS[form])
    seen = []
    while target:
        reply = site.ask("GET", target)
        assert reply.status == 200, reply
        seen += reply.json()["tags"]
        link, target = reply.headers.get("Link"), None
        if link:
            target = link[link.index("<") + 1:link.index(">")]
            assert target.startswith(begins) and holds in target and 'rel="next"' in link, link
        assert len(seen) <= 3
    assert seen == ["a", "b", "c"]


def test_a_link_to_another_host_is_dropped(bed, site):
    repository = f"team/{unique('app')}"
    bed.corp.push(repository, "a", image(runnable=False))
    bed.corp.script[f"/v2/{repository}/tags/list"] = lambda request: Answer(
        200, json.dumps({"name": repository, "tags": ["a"]}), {"Link": f'<https://foreign.example/v2/{repository}/tags/list?last=a>; rel="next"'},
        "application/json")
    reply = site.ask("GET", f"/v2/corp.example/{repository}/tags/list")
    assert reply.status == 200 and "Link" not in reply.headers
