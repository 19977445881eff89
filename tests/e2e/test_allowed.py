# SPDX-License-Identifier: Apache-2.0
"""Allowed images: every client pulls and runs them through the gateway, and only through the gateway."""

import concurrent.futures

import pytest

from bed import clients as kinds
from bed.images import GREETING, image, multi_arch, unique
from bed.stories import past_the_gateway

IMAGES = {"docker": lambda: image(), "oci-index": lambda: multi_arch(), "docker-list": lambda: multi_arch(oci=False)}


@pytest.mark.parametrize("what", IMAGES)
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_allowed_image_of_docker_hub_is_pulled_and_run(kind, what, site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", IMAGES[what]())
    client, hub_mark, mark = clients(kind), hub.mark(), site.mark()

    output = client.use(pushed.by_tag).must_work()
    assert not client.can_run or GREETING in output

    line = site.line(mark, repository=pushed.repository, decision="allow", reference=pushed.tag)
    assert (line["registry"], line["rule"], line["route"], line["status"]) == ("docker.io", "open", client.route, 200)
    assert line["digest"] == pushed.digest
    layer = (pushed.document.children or [pushed.document])[0].value["layers"][-1]["digest"]
    blob = site.line(mark, repository=pushed.repository, reference=layer)
    assert blob["decision"] == "allow"
    assert [hop.partition(":")[0] for hop in blob["hops"]] == ["production.cloudfront.docker.com"], "the redirect was followed for the client"
    assert not past_the_gateway(hub.since(hub_mark, pushed.repository))


@pytest.mark.parametrize("kind", kinds.WITH_GHCR)
def test_an_allowed_image_of_ghcr_is_pulled_and_run(kind, bed, site, clients):
    pushed = bed.ghcr.push(f"org/{unique('ok')}", "1", multi_arch())
    client, ghcr_mark, mark = clients(kind), bed.ghcr.mark(), site.mark()

    client.use(pushed.by_tag).must_work()

    line = site.line(mark, repository=pushed.repository, decision="allow", reference="1")
    assert (line["registry"], line["digest"]) == ("ghcr.io", pushed.digest)
    asked = [request for request in bed.ghcr.since(ghcr_mark) if pushed.repository in request.path]
    assert asked and not past_the_gateway(asked)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_allowed_image_is_pulled_by_digest(kind, site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(oci=True))
    mark = hub.mark()
    clients(kind).pull(pushed.by_digest).must_work()
    assert not past_the_gateway(hub.since(mark, pushed.repository))


def test_docker_pulls_by_the_gateways_own_name(bed, site, clients):
    # No mirror is involved: this is how a registry that docker has no mirror setting for is reached.
    pushed = bed.ghcr.push(f"org/{unique('ok')}", "1", image())
    clients("docker-pull").docker("pull", f"mirror.test/{pushed.by_tag}").must_work()


def test_what_docker_hub_does_not_have_is_not_found(site, hub, clients):
    missing = f"docker.io/library/{unique('ok')}:1"
    assert "not found" in clients("containerd-server").pull(missing).must_fail()
    words = "not found" if kinds.today("dockerd") else "manifest unknown"
    assert words in clients("docker-pull").docker("pull", f"mirror.test/{missing}").must_fail()


def test_one_token_serves_a_whole_pull(bed, site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", multi_arch())
    mark, blobs = hub.tokens.mark(), hub.blobs.mark()
    clients("containerd").pull(pushed.by_tag).must_work()
    assert len([r for r in hub.tokens.since(mark) if f"repository:{pushed.repository}:pull" in r.query.get("scope", [])]) == 1
    at_cdn = [r for r in hub.blobs.since(blobs) if "X-Amz-Signature" in r.query]
    assert at_cdn and not [r for r in at_cdn if "Authorization" in r.headers], "the token stays with the registry"


def test_many_clients_pull_the_same_image_at_once(site, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(size=3_000_000))
    asked = [clients(kind) for kind in ("docker-pull", "docker-build", "containerd", "podman", "buildah", "skopeo")]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        for seen in pool.map(lambda client: client.pull(pushed.by_tag), asked):
            seen.must_work()
