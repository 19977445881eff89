# SPDX-License-Identifier: Apache-2.0
"""Denied images: the pull ends, though docker.io is reachable and has the image, and the person at the terminal reads why."""

import pytest

from bed import clients as kinds
from bed.images import image, multi_arch, unique
from bed.stories import past_the_gateway, reads_the_words, registry_kept_out

RULE_WORDS = ("P-17", "https://wiki.example/images")


@pytest.mark.parametrize("what", [image, multi_arch])
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_denied_tag_of_docker_hub(kind, what, site, hub, clients):
    pushed = hub.push(f"library/{unique('denied')}", "1", what())
    assert hub.has(pushed)
    client, hub_mark, mark = clients(kind), hub.mark(), site.mark()

    output = client.pull(pushed.by_tag).must_fail()

    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["rule"], line["reference"]) == ("rule", "P-17", "1")
    assert (line["registry"], line["route"]) == ("docker.io", client.route)
    if client.words_by_tag:
        reads_the_words(output, site, mark, pushed, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_denied_digest_of_docker_hub(kind, site, hub, clients):
    there = hub.push(f"library/{unique('denied')}", "1", image(oci=True))
    assert hub.has(there)
    client, hub_mark, mark = clients(kind), hub.mark(), site.mark()

    output = client.pull(there.by_digest).must_fail()

    line = site.line(mark, repository=there.repository, decision="deny")
    assert (line["reason"], line["rule"], line["reference"]) == ("rule", "P-17", there.digest)
    if client.words_by_digest:
        reads_the_words(output, site, mark, there, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, there.repository), there)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_asking_again_does_not_help(kind, site, hub, clients):
    # containerd and BuildKit keep what they began to fetch; it must not count the next time.
    pushed = hub.push(f"library/{unique('denied')}", "1", multi_arch())
    client, mark = clients(kind), hub.mark()
    for reference in (pushed.by_tag, pushed.by_digest, pushed.by_tag, pushed.by_digest, pushed.by_digest):
        client.pull(reference).must_fail()
    registry_kept_out(hub.since(mark, pushed.repository), pushed)


@pytest.mark.parametrize("kind", kinds.of_these("containerd", "containerd-server", "docker-pull", "docker-build", "podman", "docker-server",
                                                "docker-graphdriver", "docker-graphdriver-build", "buildkitd"))
def test_a_denied_tag_whose_content_the_client_already_has(kind, site, hub, clients):
    # If the answer named the real digest, this client would ask no more, and have the denied image.
    allowed = hub.push(f"library/{unique('ok')}", "1", image())
    denied = hub.push(f"library/{unique('denied')}", "1", allowed.document)
    client = clients(kind)
    client.pull(allowed.by_tag).must_work()
    client.pull(denied.by_tag).must_fail()


@pytest.mark.parametrize("kind", [kind for kind in kinds.KINDS if kinds.KINDS[kind].can_run])
def test_a_denied_image_does_not_run(kind, site, hub, clients):
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    mark = hub.mark()
    clients(kind).run(pushed.by_tag).must_fail()
    registry_kept_out(hub.since(mark, pushed.repository), pushed)


@pytest.mark.parametrize("kind", kinds.WITH_GHCR)
def test_a_denied_tag_of_ghcr(kind, bed, site, clients):
    pushed = bed.ghcr.push(f"org/{unique('denied')}", "1", image())
    client, ghcr_mark, mark = clients(kind), bed.ghcr.mark(), site.mark()

    output = client.pull(pushed.by_tag).must_fail()

    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["registry"], line["reason"], line["rule"]) == ("ghcr.io", "rule", "P-17")
    if client.words_by_tag:
        reads_the_words(output, site, mark, pushed, *RULE_WORDS)
    registry_kept_out([r for r in bed.ghcr.since(ghcr_mark) if pushed.repository in r.path], pushed)


@pytest.mark.parametrize("kind", kinds.of_these("docker-pull", "docker-build", "containerd", "podman", "buildah", "docker-server",
                                                "docker-server-build", "docker-graphdriver", "docker-graphdriver-build", "buildkitd"))
def test_an_image_that_no_rule_names_shows_the_sites_message(kind, site, hub, clients):
    pushed = hub.push(f"library/{unique('nobody-asked')}", "1", image())
    client, hub_mark, mark = clients(kind), hub.mark(), site.mark()

    output = client.pull(pushed.by_tag).must_fail()

    assert site.line(mark, repository=pushed.repository, decision="deny")["reason"] == "no_rule"
    reads_the_words(output, site, mark, pushed, "Ask platform@example.com")
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)


@pytest.mark.parametrize("kind", kinds.WITH_ANY)
def test_a_registry_that_is_not_listed(kind, bed, site, clients):
    pushed = bed.stranger.push(f"team/{unique('app')}", "1", image())
    client, stranger_mark, mark = clients(kind), bed.stranger.mark(), site.mark()

    output = client.pull(pushed.by_tag).must_fail()

    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["registry"], line["reason"]) == ("stranger.example", "registry_not_listed")
    reads_the_words(output, site, mark, pushed, "stranger.example", "Ask platform@example.com")
    asked = bed.stranger.since(stranger_mark)
    registry_kept_out(asked, pushed)
    assert len(asked) == len(past_the_gateway(asked)), "the gateway itself never contacts it"


def test_docker_names_the_gateway_itself_and_reads_a_plain_403(site, hub, clients):
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    mark = site.mark()
    output = clients("docker-pull").docker("pull", f"mirror.test/{pushed.by_tag}").must_fail()
    assert "denied: " in output or kinds.today("dockerd"), "the containerd store prints the words alone"
    reads_the_words(output, site, mark, pushed, *RULE_WORDS)
    assert site.line(mark, repository=pushed.repository, decision="deny")["status"] == 403


# --- denials that are plain ---


@pytest.mark.parametrize("kind", kinds.WITH_FALLBACK)
def test_plain_denials_are_left_by_clients_with_a_fallback(kind, site, hub, clients):
    # Why `final` is the default: the same client at a listener whose denials are plain gets the image from docker.io.
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    hub_mark, mark = hub.mark(), site.mark()
    clients(kind, "plain.test").pull(pushed.by_tag).must_work()
    line = site.line(mark, repository=pushed.repository, decision="deny")
    assert (line["reason"], line["status"]) == ("rule", 403)
    assert past_the_gateway(hub.since(hub_mark, pushed.repository))


@pytest.mark.parametrize("kind", kinds.WITHOUT_FALLBACK)
def test_plain_denials_hold_where_there_is_only_the_gateway(kind, site, hub, clients):
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    hub_mark, mark = hub.mark(), site.mark()
    output = clients(kind, "plain.test").pull(pushed.by_tag).must_fail()
    if kind != "containerd-server" or kinds.today("containerd"):  # 1.6 does not read the body of a refused HEAD
        reads_the_words(output, site, mark, pushed, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)
