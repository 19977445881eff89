# SPDX-License-Identifier: Apache-2.0
"""What the gateway keeps, as real clients and real registries see it."""

import concurrent.futures
import contextlib
import subprocess

import pytest

from bed import clients as kinds, names
from bed.gateway import PULLGATE, Gateway
from bed.images import image, multi_arch, unique
from bed.processes import command, until

KINDS = kinds.of_these("docker-pull", "docker-build", "containerd", "podman", "buildah", "skopeo")
RULES = [{"name": "open", "allow": ["docker.io/library/ok-*"]}, {"name": "releases", "allow": ["docker.io/library/tagged-*:v*"]}]


@pytest.fixture(scope="module")
def keeping(bed):
    """The gateway of these stories, at other.test: it keeps what it fetched, and believes a tag for an hour."""
    folder = f"{bed.folder}/{unique('gateway')}"
    configuration = {"listeners": bed.listeners(names.OTHER), "registries": bed.registries(), "rules": RULES,
                     "store": {"directory": f"{folder}/store", "tag_ttl": "1h"}, "limits": {"connect_timeout": "2s", "upstream_timeout": "5s"}}
    gateway = Gateway(folder, configuration, bed.pki, (names.OTHER, 80))
    gateway.configuration = configuration
    yield gateway
    gateway.stop()


@contextlib.contextmanager
def registry_stopped():
    """docker.io, its token server and its blobs cannot be reached by anybody: their hosts are down."""
    hosts = (names.HUB, names.HUB_TOKENS, names.S3)
    try:
        for host in hosts:
            subprocess.run(["ip", "addr", "del", f"{host}/32", "dev", "lo"], check=True)
        yield
    finally:
        for host in hosts:
            subprocess.run(["ip", "addr", "replace", f"{host}/32", "dev", "lo"], check=True)


def platform(pushed):
    return (pushed.document.children or [pushed.document])[0]


def layer(pushed):
    return platform(pushed).value["layers"][-1]["digest"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pull_asks_nothing_and_a_third_needs_no_registry(kind, keeping, hub, clients):
    pushed = hub.push(f"library/{unique('ok')}", "1", multi_arch())
    client = clients(kind, "other.test")
    client.use(pushed.by_tag).must_work()
    keeping.line(repository=pushed.repository, reference=layer(pushed), source="miss")

    client.forget()
    mark, blobs, log = hub.mark(), hub.blobs.mark(), keeping.mark()
    client.use(pushed.by_tag).must_work()
    assert not hub.since(mark, pushed.repository), "the registry was asked"
    assert not [request for request in hub.blobs.since(blobs) if "X-Amz-Signature" in request.query]
    assert keeping.line(log, repository=pushed.repository, reference=layer(pushed))["source"] == "hit"

    client.forget()
    with registry_stopped():
        client.use(pushed.by_tag).must_work()


def test_a_tag_that_cannot_be_confirmed_is_served_with_a_warning(keeping, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    at = f"/v2/docker.io/{pushed.repository}"
    assert keeping.ask("GET", f"{at}/manifests/1").body == pushed.document.bytes
    assert keeping.ask("GET", f"{at}/blobs/{layer(pushed)}").body == pushed.document.blobs[-1]
    store = {**keeping.configuration["store"], "tag_ttl": "0s"}
    try:
        keeping.reload({**keeping.configuration, "store": store})
        with registry_stopped():
            reply = keeping.ask("GET", f"{at}/manifests/1")
            assert reply.status == 200 and reply.body == pushed.document.bytes
            assert reply.headers["Warning"].startswith("110 ")
            assert keeping.ask("GET", f"{at}/blobs/{layer(pushed)}").body == pushed.document.blobs[-1]
            assert keeping.ask("GET", f"{at}/manifests/2").status in (502, 504)
        assert keeping.line(repository=pushed.repository, source="stale")["reference"] == "1"
    finally:
        keeping.reload(keeping.configuration)


def test_many_clients_on_one_cold_layer(keeping, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", image(runnable=False, size=20_000_000))
    hexadecimal, blobs, mark = layer(pushed).split(":")[1], hub.blobs.mark(), hub.mark()
    target = f"http://other.test/v2/{pushed.repository}/blobs/{layer(pushed)}?ns=docker.io"
    script = 'curl -sSf --noproxy "*" "$1" | sha256sum'
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        seen = list(pool.map(lambda _: command(["sh", "-c", script, "sh", target]).must_work(), range(32)))
    assert all(output.startswith(hexadecimal) for output in seen), seen
    asked = [line for line in hub.since(mark, pushed.repository) if line.method == "GET" and line.path.endswith(layer(pushed)) and line.status < 400]
    assert len(asked) == 1, asked
    sent = [request for request in hub.blobs.since(blobs) if "X-Amz-Signature" in request.query and hexadecimal in request.path and request.method == "GET"]
    assert len(sent) == 1, sent


def test_by_digest_after_a_restart(keeping, hub, clients):
    """The rules allow tags; what they led to is remembered, so that a node that knows only the digest gets its image."""
    pushed = hub.push(f"library/{unique('tagged')}", "v1", multi_arch())
    client = clients("containerd", "other.test")
    client.forget()  # images share a layer, which it would not ask for
    client.pull(pushed.by_tag).must_work()
    client.forget()
    keeping.stop()
    keeping.start()
    mark, blobs = hub.mark(), hub.blobs.mark()
    client.pull(pushed.by_digest).must_work()
    assert not hub.since(mark, pushed.repository)
    assert not [request for request in hub.blobs.since(blobs) if "X-Amz-Signature" in request.query]


def test_a_private_repositorys_blob_is_not_had_through_another(keeping, hub):
    private = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    public = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    assert keeping.ask("GET", f"/v2/docker.io/{private.repository}/manifests/1").status == 200
    assert keeping.ask("GET", f"/v2/docker.io/{private.repository}/blobs/{layer(private)}").status == 200
    for method in ("GET", "HEAD"):
        reply = keeping.ask(method, f"/v2/docker.io/{public.repository}/blobs/{layer(private)}")
        assert reply.status == 404, reply
        assert keeping.ask(method, f"/v2/docker.io/{public.repository}/manifests/{private.digest}").status == 404


def test_store_commands_beside_it(keeping, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", multi_arch())
    def store(*words):
        return command([PULLGATE, "store", *words, "--config", f"{keeping.folder}/pullgate.json"])

    store("warm", "--platform", "linux/amd64", pushed.by_tag).must_work()
    assert pushed.by_tag in store("ls", pushed.by_tag).must_work()
    archive = f"{keeping.folder}/{unique('image')}.tar"
    store("export", pushed.by_tag, archive).must_work()
    assert command(["skopeo", "inspect", "--raw", f"oci-archive:{archive}"]).must_work() == pushed.document.bytes.decode()
    store("verify").must_work()
    store("rm", pushed.by_tag).must_work()
    until("it is gone", lambda: pushed.by_tag not in store("ls", pushed.by_tag).must_work())
