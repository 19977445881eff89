# SPDX-License-Identifier: Apache-2.0
"""The registries' own names lead to the gateway: clients that were never configured meet the policy, and so do those that leave a mirror."""

import pytest

from bed import led, names
from bed.clients import of_these
from bed.gateway import Gateway
from bed.images import image, unique
from bed.stories import past_the_gateway, reads_the_words, registry_kept_out
from conftest import RULES, SITE_MESSAGE

HUB_NAMES = ("registry-1.docker.io", "index.docker.io", "docker.io")
RULE_WORDS = ("P-17", "https://wiki.example/images")


@pytest.fixture(scope="module")
def taker(bed):
    """A gateway that takes over. The names lead it to itself, too: it finds the registries by "resolve"."""
    folder = f"{bed.folder}/{unique('taker')}"
    registries = bed.registries()
    registries["docker.io"] = {**registries["docker.io"], "resolve": [names.HUB]}
    registries["ghcr.io"] = {**registries["ghcr.io"], "resolve": [names.GHCR]}
    before = led.led_astray(bed.folder, names.OTHER, *HUB_NAMES, "ghcr.io")
    gateway = Gateway(folder, {
        "listeners": [{"address": f"{names.OTHER}:443", "tls": "auto", "names": ["other.test"], "takeover": True},
                      {"address": f"{names.OTHER}:80"}],
        "state_directory": f"{folder}-state", "message": SITE_MESSAGE, "registries": registries, "rules": RULES,
    }, bed.pki, (names.OTHER, 80), before)
    gateway.authority = f"{folder}-state/ca.crt"
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def unaware(bed, taker):
    made = {}

    def client(kind):
        if kind not in made:
            before = led.led_astray(bed.folder, names.OTHER, *HUB_NAMES, "ghcr.io")
            made[kind] = led.KINDS[kind](bed, taker.authority, before=before)
        return made[kind]

    yield client
    for running in made.values():
        running.stop()


def asked_since(server, mark, pushed):
    """What the registry was asked for this repository, by whomever."""
    asked = server.since(mark, pushed.repository) if pushed.registry == "docker.io" else server.since(mark)
    return [request for request in asked if f"/{pushed.repository}/" in request.path]


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io"])
@pytest.mark.parametrize("kind", led.KINDS)
def test_an_allowed_image(kind, registry, bed, taker, unaware):
    server = bed.hub if registry == "docker.io" else bed.ghcr
    pushed = server.push(f"{'library' if registry == 'docker.io' else 'org'}/{unique('ok')}", "1", image())
    client, mark, server_mark = unaware(kind), taker.mark(), server.mark()

    client.use(pushed.by_tag).must_work()

    line = taker.line(mark, repository=pushed.repository, decision="allow")
    assert (line["registry"], line["route"]) == (registry, "name")
    asked = asked_since(server, server_mark, pushed)
    assert asked and not past_the_gateway(asked)


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io"])
@pytest.mark.parametrize("kind", led.KINDS)
def test_a_denied_image_shows_the_sites_words(kind, registry, bed, taker, unaware):
    server = bed.hub if registry == "docker.io" else bed.ghcr
    pushed = server.push(f"{'library' if registry == 'docker.io' else 'org'}/{unique('denied')}", "1", image())
    client, mark, server_mark = unaware(kind), taker.mark(), server.mark()

    output = client.pull(pushed.by_tag).must_fail()

    assert taker.line(mark, repository=pushed.repository, decision="deny")["route"] == "name"
    reads_the_words(output, taker, mark, pushed, *RULE_WORDS)
    registry_kept_out(asked_since(server, server_mark, pushed), pushed)


def test_a_name_of_nobody_is_no_registry_here(bed, taker, unaware):
    """stranger.example leads to the gateway too: the handshake is refused, nothing is asked."""
    client = led.Podman(bed, taker.authority, before=led.led_astray(bed.folder, names.OTHER, "stranger.example"))
    output = client.pull("stranger.example/team/x:1").must_fail()
    assert "unrecognized name" in output
    client.stop()


@pytest.mark.parametrize("kind", of_these("docker", "docker-graphdriver", among=led.KINDS))
def test_a_mirror_that_refuses_and_the_registrys_name(kind, bed, site, taker, hub):
    """dockerd leaves plain.test, a mirror whose denials are plain, for Docker Hub, and meets the same policy there."""
    class Both(led.KINDS[kind]):
        def start(self):
            self.mirror = "plain.test"
            super().start()

    client = Both(bed, taker.authority, before=led.led_astray(bed.folder, names.OTHER, *HUB_NAMES))
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    mark, taker_mark, hub_mark = site.mark(), taker.mark(), hub.mark()

    output = client.pull(pushed.by_tag).must_fail()

    site.line(mark, repository=pushed.repository, decision="deny")
    taker.line(taker_mark, repository=pushed.repository, decision="deny")
    if client.shows_first_error:
        reads_the_words(output, site, mark, pushed, *RULE_WORDS)
    else:
        reads_the_words(output, taker, taker_mark, pushed, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)
    client.stop()


def test_a_client_that_does_not_trust_the_authority_gets_nothing(bed, taker, hub):
    client = led.Docker(bed, None, before=led.led_astray(bed.folder, names.OTHER, *HUB_NAMES))
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    mark = hub.mark()
    assert "x509" in client.pull(pushed.by_tag).must_fail()
    assert not hub.since(mark, pushed.repository)
    client.stop()
