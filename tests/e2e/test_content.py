# SPDX-License-Identifier: Apache-2.0
"""Refused for what comes back: content that leads elsewhere, registries that send the gateway elsewhere."""

import json
import time

import pytest

from bed import clients as kinds
from bed.images import DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Document, artifact, descriptor, image, multi_arch, unique
from bed.scripted import oci_error
from bed.stories import past_the_gateway, reads_the_words
from bed.web import Answer

ACCEPT = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}"}


# --- urls: clients would fetch from there, past the gateway ---


# Today's containerd, dockerd and BuildKit go to any of these first, and to the registry never.
URLS = ["https://foreign.example/content"]
WITH_URLS = {"layer": lambda: image(oci=True, urls=URLS), "config": lambda: image(oci=True, config_urls=URLS),
             "index-entry": lambda: multi_arch(urls=URLS)}


@pytest.mark.parametrize("place", WITH_URLS)
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_allowed_tag_whose_manifest_names_urls(kind, place, bed, site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", WITH_URLS[place]())
    client, hub_mark, foreign_mark, mark = clients(kind), hub.mark(), bed.foreign.mark(), site.mark()

    output = client.pull(pushed.by_tag).must_fail()

    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["reference"]) == ("urls", "1")
    if client.words_by_tag:
        reads_the_words(output, site, mark, pushed, "foreign.example", "Ask platform@example.com")
    assert bed.foreign.since(foreign_mark) == []
    asked = hub.since(hub_mark, pushed.repository)
    assert not [a for a in asked if "/blobs/" in a.path and a.method == "GET" and a.status < 400], asked
    assert not [a for a in past_the_gateway(asked) if a.path.endswith("/manifests/1")], "the client never asked docker.io for the tag"


def test_urls_are_refused_before_the_head_of_the_tag_is_answered(site, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(urls=["https://foreign.example/layer.tar.gz"]))
    head = site.ask("HEAD", f"/v2/{pushed.repository}/manifests/1?ns=docker.io")
    assert head.status == 200 and head.headers["Docker-Content-Digest"] != pushed.digest
    refused = site.ask("GET", f"/v2/{pushed.repository}/manifests/{head.headers['Docker-Content-Digest']}?ns=docker.io")
    assert (refused.status, refused.error[0]) == (403, "DENIED") and "foreign.example" in refused.error[1]
    assert site.ask("HEAD", f"/v2/docker.io/{pushed.repository}/manifests/1").status == 403


def nested(place):
    """A document with `urls` somewhere: where clients look for them, spelled as they accept it."""
    layer, config = b"layer", b"{}"
    urls = {"urls": ["https://foreign.example/x"]}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.oci.image.config.v1+json", config),
                "layers": [descriptor(OCI_LAYER, layer)]}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST, b"{}")]}
    if place == "config":
        manifest["config"].update(urls)
    elif place == "index entry":
        index["manifests"][0].update(urls)
        return Document(index, OCI_INDEX)
    elif place == "subject":
        manifest["subject"] = descriptor(OCI_MANIFEST, b"{}", **urls)
    elif place == "URLS":
        manifest["layers"][0]["URLS"] = urls["urls"]
    elif place == "Layer\u017f":
        manifest["Layer\u017f"] = [{**descriptor(OCI_LAYER, layer), **urls}]
    elif place == "manifests and layers":
        manifest["manifests"] = index["manifests"]
    return Document(json.dumps(manifest, ensure_ascii=False).encode(), OCI_MANIFEST, blobs=[layer, config])


@pytest.mark.parametrize("place, reason", [("config", "urls"), ("index entry", "urls"), ("subject", "urls"), ("URLS", "ambiguous"),
                                           ("Layer\u017f", "ambiguous"), ("manifests and layers", "ambiguous")])
def test_urls_wherever_clients_would_find_them(place, reason, bed, site):
    pushed = bed.corp.push(f"team/{unique('app')}", "1", nested(place))
    mark = site.mark()
    for target in ("1", pushed.digest):
        refused = site.ask("GET", f"/v2/corp.example/{pushed.repository}/manifests/{target}", ACCEPT)
        assert (refused.status, refused.error[0]) == (403, "DENIED"), refused
    assert site.line(mark, repository=pushed.repository, decision="deny")["reason"] == reason
    # What was refused as a manifest is not to be had as a blob.
    assert site.ask("GET", f"/v2/corp.example/{pushed.repository}/blobs/{pushed.digest}").status in (403, 404)


def test_external_urls_permits_a_named_host(bed, other):
    pushed = bed.corp.push(f"team/{unique('app')}", "1", nested("config"))
    registries = bed.registries()
    registries["corp.example"] = {**registries["corp.example"], "external_urls": ["foreign.example"]}
    gateway = other(registries=registries)
    assert gateway.ask("GET", f"/v2/corp.example/{pushed.repository}/manifests/1", ACCEPT).body == pushed.document.bytes


# --- a registry that sends the gateway elsewhere ---


# What asks the gateway for any registry, and nobody else: hosts.toml, and docker with the gateway's own name.
ANY_REGISTRY = [(kind, "") for kind in kinds.WITH_ANY if not kinds.KINDS[kind].fallback]
ANY_REGISTRY += [(kind, "mirror.test/") for kind in kinds.of_these("docker-pull", "docker-graphdriver")]


@pytest.mark.parametrize("kind, before", ANY_REGISTRY)
def test_blobs_that_are_redirected_to_an_unlisted_host(kind, before, bed, site, clients):
    pushed = bed.moved.push(f"team/{unique('app')}", "1", image())
    elsewhere, mark = bed.moved_blobs.mark(), site.mark()

    output = clients(kind).pull(before + pushed.by_tag).must_fail()

    reads_the_words(output, site, mark, pushed, "blobs.elsewhere.example", "Ask platform@example.com")
    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["registry"], line["status"]) == ("redirect_host", "moved.example", 403)
    assert bed.moved_blobs.since(elsewhere) == [], "the gateway never went there"


def test_the_configuration_can_permit_the_redirect(bed, other):
    pushed = bed.moved.push(f"team/{unique('app')}", "1", image())
    blob = pushed.document.blobs[-1]
    digest = pushed.document.value["layers"][-1]["digest"]
    registries = bed.registries()
    registries["moved.example"] = {**registries["moved.example"], "redirect_hosts": ["*.elsewhere.example"]}
    gateway, mark = other(registries=registries), bed.moved_blobs.mark()
    bed.moved_blobs.handle, before = lambda request: Answer(200, blob, content_type="application/octet-stream"), bed.moved_blobs.handle
    try:
        reply = gateway.ask("GET", f"/v2/moved.example/{pushed.repository}/blobs/{digest}")
    finally:
        bed.moved_blobs.handle = before
    assert (reply.status, reply.body) == (200, blob)
    assert "Location" not in reply.headers
    assert bed.moved_blobs.since(mark)[0].headers.get("Authorization") is None


@pytest.mark.parametrize("kind", kinds.WITH_ANY)
def test_a_token_realm_elsewhere(kind, bed, site, clients):
    pushed = bed.realm.push(f"team/{unique('app')}", "1", image())
    tokens, mark = bed.realm_tokens.mark(), site.mark()

    output = clients(kind).pull(pushed.by_tag).must_fail()

    # With a fallback the client asks the registry itself for the pinned digest, and so goes to that realm by its own will.
    if not kinds.KINDS[kind].fallback:
        reads_the_words(output, site, mark, pushed, "tokens.elsewhere.example", "Ask platform@example.com")
    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["registry"]) == ("realm_host", "realm.example")
    asked = bed.realm_tokens.since(tokens)
    assert asked == past_the_gateway(asked), "the gateway never went there"


@pytest.mark.parametrize("kind", kinds.WITH_ANY)
def test_a_public_name_with_a_private_address(kind, bed, site, clients):
    pushed = bed.inside.push(f"team/{unique('app')}", "1", image())
    inside, mark = bed.inside.mark(), site.mark()

    output = clients(kind).pull(pushed.by_tag).must_fail()

    reads_the_words(output, site, mark, pushed, "inside.example", "Ask platform@example.com")
    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["registry"]) == ("private_address", "inside.example")
    asked = bed.inside.since(inside)
    assert asked == past_the_gateway(asked), "the gateway never connected"


# --- what an upstream says passes on, or is told ---


def test_an_upstreams_429_passes_on_with_its_retry_after(bed, site):
    """And the registry is left alone for as long."""
    path = f"/v2/team/{unique('app')}/manifests/1"
    bed.corp.script[path] = lambda request: oci_error(429, "TOOMANYREQUESTS", "slow down", {"Retry-After": "1"})
    reply = site.ask("GET", path.replace("/v2/", "/v2/corp.example/"))
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
    assert reply.error[0] == "TOOMANYREQUESTS"
    end = time.monotonic() + 10
    while site.ask("GET", f"/v2/corp.example/team/{unique('app')}/manifests/1").status == 429:
        assert time.monotonic() < end, "it is never asked again"
        time.sleep(0.1)


def test_an_upstreams_404_passes_on_with_its_code(bed, site):
    reply = site.ask("GET", f"/v2/corp.example/team/{unique('app')}/manifests/1")
    assert (reply.status, reply.error[0]) == (404, "MANIFEST_UNKNOWN")


def test_an_upstreams_500_names_the_registry(bed, site):
    path = f"/v2/team/{unique('app')}/manifests/1"
    bed.corp.script[path] = lambda request: Answer(500, "broken")
    reply = site.ask("GET", path.replace("/v2/", "/v2/corp.example/"))
    assert reply.status in (502, 503, 504) and "corp.example" in reply.error[1]


def test_an_upstreams_401_never_reaches_a_client(bed, site):
    path, mark = f"/v2/team/{unique('app')}/manifests/1", site.mark()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://corp.example/token",service="corp.example"', "Set-Cookie": "a=b"}
    bed.corp.script[path] = lambda request: oci_error(401, "UNAUTHORIZED", "log in first", challenge)
    bed.corp.script["/token"] = lambda request: Answer(200, b'{"token":"a-secret-token"}', content_type="application/json")
    reply = site.ask("GET", path.replace("/v2/", "/v2/corp.example/"))
    assert (reply.status, reply.error[0]) == (403, "DENIED")
    assert "corp.example" in reply.error[1] and "log in first" in reply.error[1]
    assert "WWW-Authenticate" not in reply.headers and "Set-Cookie" not in reply.headers
    assert site.line(mark, status=403, registry="corp.example")["reason"] == "upstream_auth"
    assert "a-secret-token" not in json.dumps(site.log())


def test_a_manifest_that_is_not_its_digest(bed, site):
    pushed = bed.corp.push(f"team/{unique('app')}", "1", image())
    bed.corp.script[f"/v2/{pushed.repository}/manifests/{pushed.digest}"] = lambda request: Answer(
        200, pushed.document.bytes + b" ", content_type=pushed.document.media_type)
    mark = site.mark()
    reply = site.ask("GET", f"/v2/corp.example/{pushed.repository}/manifests/{pushed.digest}")
    assert (reply.status, reply.error[0]) == (403, "DENIED")
    assert site.line(mark, repository=pushed.repository, decision="deny")["reason"] == "digest"


# --- content of other kinds ---


def test_a_helm_chart_is_content_like_any_other(bed, site, hub, clients):
    chart = artifact("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart " * 100)
    pushed = hub.push(f"library/{unique('ok')}", "0.1.0", chart)
    reply = site.ask("GET", f"/v2/{pushed.repository}/manifests/0.1.0", ACCEPT)
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, chart.bytes, OCI_MANIFEST)
    for blob, found in zip(chart.blobs, [chart.value["config"], chart.value["layers"][0]]):
        assert site.ask("GET", f"/v2/{pushed.repository}/blobs/{found['digest']}").body == blob
    clients("skopeo").pull(pushed.by_tag).must_work()


def test_an_oras_artifact_is_found_through_its_subject(bed, other):
    repository = f"tagged/{unique('app')}"
    subject = bed.corp.push(repository, "v1", image(oci=True))
    sbom = bed.corp.push(repository, None, artifact("application/vnd.example.sbom", "application/json", b"[]", subject.document))
    other_kind = bed.corp.push(repository, None, artifact("application/vnd.example.other", "application/json", b"[1]", subject.document))
    gateway = other(rules=[{"allow": ["corp.example/tagged/*:v*"]}])
    at = f"/v2/corp.example/{repository}"

    listed = gateway.ask("GET", f"{at}/referrers/{subject.digest}?artifactType=application/vnd.example.sbom")
    assert listed.status == 200 and listed.headers["Content-Type"] == OCI_INDEX
    assert listed.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in listed.json()["manifests"]] == [sbom.digest]
    assert len(gateway.ask("GET", f"{at}/referrers/{subject.digest}").json()["manifests"]) == 2

    assert gateway.ask("GET", f"{at}/manifests/v1", ACCEPT).status == 200
    # A referrer of what an allowed tag led to may be read, and what it names.
    for found in (sbom, other_kind):
        assert gateway.ask("GET", f"{at}/manifests/{found.digest}", ACCEPT).body == found.document.bytes
        assert gateway.ask("GET", f"{at}/blobs/{found.document.value['layers'][0]['digest']}").status == 200
