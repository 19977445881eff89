# SPDX-License-Identifier: Apache-2.0
"""The gateway as the clients' HTTPS proxy: what goes past the mirror comes to it all the same, and the terminal says why it is refused."""

import pytest

from bed import led, names
from bed.clients import of_these
from bed.gateway import Gateway
from bed.images import image, unique
from bed.processes import base_environment, command
from bed.stories import past_the_gateway, reads_the_words, registry_kept_out
from conftest import RULES

WORDS = "ask platform@example.com"
REFUSING, TAKING = f"http://{names.OTHER}:3128", f"http://{names.OTHER}:3129"
RULE_WORDS = ("P-17", "https://wiki.example/images")


@pytest.fixture(scope="module")
def proxy(bed):
    """One listener refuses, the other takes over."""
    folder = f"{bed.folder}/{unique('proxy')}"
    gateway = Gateway(folder, {
        "listeners": [{"address": f"{names.OTHER}:80"}, {"address": f"{names.OTHER}:3128", "connect": "refuse"},
                      {"address": f"{names.OTHER}:3129", "connect": "takeover"}],
        "state_directory": f"{folder}-state", "message": f"{WORDS} (id={{id}})", "registries": bed.registries(), "rules": RULES,
    }, bed.pki, (names.OTHER, 80))
    gateway.authority = f"{folder}-state/ca.crt"
    yield gateway
    gateway.stop()


def environment(proxy_url):
    return {"HTTPS_PROXY": proxy_url, "HTTP_PROXY": proxy_url, "NO_PROXY": "mirror.test,plain.test,localhost"}


@pytest.fixture(scope="module")
def proxied(bed, proxy):
    made = {}

    def client(kind, url, mirror=None):
        if (kind, url, mirror) not in made:
            class Mirrored(led.KINDS[kind]):
                def start(self):
                    self.mirror = mirror
                    super().start()

            made[kind, url, mirror] = Mirrored(bed, proxy.authority, environment(url))
        return made[kind, url, mirror]

    yield client
    for running in made.values():
        running.stop()


# --- refuse ---


@pytest.mark.parametrize("kind", of_these("docker", "docker-graphdriver", "docker-build", among=led.KINDS))
def test_dockerd_with_a_mirror_does_not_get_past_it(kind, proxy, proxied, site, hub):
    """The mirror's denials are plain: dockerd turns to Docker Hub, and meets the sentence."""
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    client, mark, site_mark, hub_mark = proxied(kind, REFUSING, "plain.test"), proxy.mark(), site.mark(), hub.mark()

    output = client.pull(pushed.by_tag).must_fail()

    line = proxy.line(mark, route="connect", decision="deny")
    assert (line["reason"], line["registry"], line["status"]) == ("connect", "docker.io", 403)
    if client.shows_first_error:
        reads_the_words(output, site, site_mark, pushed, *RULE_WORDS)
    elif kind != "docker-build":
        assert WORDS in output
    assert not hub.since(hub_mark, pushed.repository)


def test_dockerd_pulls_through_the_mirror_beside_it(proxied, site, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    mark = hub.mark()
    proxied("docker", REFUSING, "plain.test").use(pushed.by_tag).must_work()
    assert not past_the_gateway(hub.since(mark, pushed.repository))


@pytest.mark.parametrize("argv", [("login", "-u", "someone", "-p", "secret"), ("search", "alpine"), ("pull", "quay.io/org/x:1")])
def test_what_dockerd_asks_elsewhere_is_refused_in_words(argv, proxy, proxied):
    mark = proxy.mark()
    assert WORDS in proxied("docker", REFUSING).docker(*argv).must_fail()
    proxy.line(mark, route="connect", decision="deny")


def test_add_in_a_build_is_refused_in_words(proxy, proxied, site, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    client, mark = proxied("docker-build", REFUSING, "plain.test"), proxy.mark()
    output = client.docker_build(pushed.by_tag, "ADD https://foreign.example/tool /tool").must_fail()
    assert WORDS in output
    assert proxy.line(mark, route="connect", decision="deny")["registry"] == "foreign.example"


def test_skopeo_lists_no_tags_past_it(proxy, proxied):
    client = proxied("skopeo", REFUSING)
    assert WORDS in client.tool("skopeo", "list-tags", "docker://docker.io/library/alpine").must_fail()


@pytest.mark.parametrize("url", [REFUSING, TAKING])
def test_curl(proxy, url, bed):
    env = base_environment(SSL_CERT_FILE=bed.pki.ca)
    got = command(["curl", "-sv", "-x", url, "https://foreign.example/"], env=env).must_fail()
    assert "403 foreign.example" in got and WORDS in got
    got = command(["curl", "-sv", "-x", url, "http://foreign.example/"], env=env).must_work()
    assert "403" in got and "DENIED" in got and WORDS in got


# --- takeover ---


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io"])
@pytest.mark.parametrize("kind", led.KINDS)
def test_takeover_serves_what_the_rules_allow(kind, registry, bed, proxy, proxied):
    server = bed.hub if registry == "docker.io" else bed.ghcr
    pushed = server.push(f"{'library' if registry == 'docker.io' else 'org'}/{unique('ok')}", "1", image())
    mark = proxy.mark()
    proxied(kind, TAKING).use(pushed.by_tag).must_work()
    assert proxy.line(mark, repository=pushed.repository, decision="allow")["route"] == "name"
    assert proxy.line(mark, route="connect")["decision"] == "allow"


@pytest.mark.parametrize("kind", led.KINDS)
def test_takeover_denies_in_the_sites_words(kind, proxy, proxied, hub):
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    client, mark, hub_mark = proxied(kind, TAKING), proxy.mark(), hub.mark()
    reads_the_words(client.pull(pushed.by_tag).must_fail(), proxy, mark, pushed, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)


@pytest.mark.parametrize("kind", of_these("docker", "docker-graphdriver", among=led.KINDS))
def test_a_mirror_beside_takeover(kind, proxy, proxied, site, hub):
    """The denied pull leaves the mirror for Docker Hub, which is the gateway again."""
    pushed = hub.push(f"library/{unique('denied')}", "1", image())
    client, mark, site_mark, hub_mark = proxied(kind, TAKING, "plain.test"), proxy.mark(), site.mark(), hub.mark()
    output = client.pull(pushed.by_tag).must_fail()
    proxy.line(mark, repository=pushed.repository, decision="deny")
    if client.shows_first_error:
        reads_the_words(output, site, site_mark, pushed, *RULE_WORDS)
    else:
        reads_the_words(output, proxy, mark, pushed, *RULE_WORDS)
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)


def test_skopeo_lists_tags_through_it(proxy, proxied, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    client, mark = proxied("skopeo", TAKING), proxy.mark()
    assert '"1"' in client.tool("skopeo", "list-tags", f"docker://docker.io/{pushed.repository}").must_work()
    assert proxy.line(mark, repository=pushed.repository)["action"] == "list"
