# SPDX-License-Identifier: Apache-2.0
"""The gateway asked directly: the headers that clients need, Range, and everything that is malformed."""

import json

import pytest

from bed.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of, image, multi_arch, unique

ACCEPT = {"Accept": ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))}
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def app(hub):
    return hub.push(f"library/{unique('ok')}", "1", image(size=5000))


@pytest.fixture(scope="module")
def index(hub):
    return hub.push(f"library/{unique('ok')}", "1", multi_arch())


@pytest.fixture(scope="module")
def layer(app):
    return app.document.blobs[-1]


# --- headers ---


def test_the_base_is_200(site):
    reply = site.ask("GET", "/v2/")
    assert reply.status == 200
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert site.ask("HEAD", "/v2/").status == 200
    assert site.ask_tls("mirror.test", "GET", "/v2/").status == 200


@pytest.mark.parametrize("which", ["app", "index"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifests_headers(which, method, by, site, request):
    pushed = request.getfixturevalue(which)
    reply = site.ask(method, f"/v2/{pushed.repository}/manifests/{pushed.tag if by == 'tag' else pushed.digest}", ACCEPT)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == pushed.document.media_type
    assert reply.headers["Content-Length"] == str(len(pushed.document.bytes))
    assert reply.headers["Docker-Content-Digest"] == pushed.digest
    assert reply.headers["ETag"] == f'"{pushed.digest}"'
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert reply.headers["X-Request-Id"]
    assert "OCI-Namespace" not in reply.headers and "Set-Cookie" not in reply.headers
    assert reply.body == (pushed.document.bytes if method == "GET" else b"")


def test_the_gateways_own_accept_is_sent(site, index):
    # Whatever the client accepts, it gets what the tag is.
    for accept in ({}, {"Accept": "application/json"}, {"Accept": DOCKER_MANIFEST}):
        assert site.ask("GET", f"/v2/{index.repository}/manifests/1", accept).headers["Docker-Content-Digest"] == index.digest


def test_if_none_match(site, app):
    target = f"/v2/{app.repository}/manifests/1"
    reply = site.ask("GET", target, {**ACCEPT, "If-None-Match": f'"{app.digest}"'})
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", f'"{app.digest}"')
    assert site.ask("GET", target, {**ACCEPT, "If-None-Match": f'"{DIGEST}"'}).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blobs_headers(method, site, app, layer):
    digest = digest_of(layer)
    reply = site.ask(method, f"/v2/{app.repository}/blobs/{digest}", {"Accept-Encoding": "gzip, zstd"})
    assert reply.status == 200
    assert reply.headers["Content-Length"] == str(len(layer))
    assert reply.headers["Docker-Content-Digest"] == digest
    assert reply.headers["ETag"] == f'"{digest}"'
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    for never in ("Content-Encoding", "Location", "Set-Cookie", "x-amz-request-id"):
        assert never not in reply.headers
    assert reply.body == (layer if method == "GET" else b"")


@pytest.mark.parametrize("ns", ["docker.io", "registry-1.docker.io", "index.docker.io", "DOCKER.IO", "docker.io:443"])
def test_ns_in_any_spelling_is_docker_hub_and_is_named_in_the_answer(ns, site, app):
    reply = site.ask("GET", f"/v2/{app.repository}/manifests/1?ns={ns.replace(':', '%3A')}", ACCEPT)
    assert (reply.status, reply.headers["OCI-Namespace"]) == (200, ns)


@pytest.mark.parametrize("target", [
    "/v2/{short}/manifests/1", "/v2/library/{short}/manifests/1", "/v2/docker.io/{short}/manifests/1", "/v2/docker.io/library/{short}/manifests/1",
    "/v2/index.docker.io/{short}/manifests/1", "/docker.io/v2/library/{short}/manifests/1", "/v2/docker.io/library/{short}/manifests/1?ns=docker.io",
])
def test_every_way_to_name_an_image(target, site, app):
    short = app.repository.partition("/")[2]
    assert site.ask("GET", target.format(short=short), ACCEPT).headers["Docker-Content-Digest"] == app.digest


# --- Range ---


def test_ranges_of_a_blob(site, app, layer):
    target, size = f"/v2/{app.repository}/blobs/{digest_of(layer)}", len(layer)
    for asked, first, last in (("bytes=0-", 0, size - 1), ("bytes=0-99", 0, 99), ("bytes=100-199", 100, 199),
                               (f"bytes={size - 10}-", size - 10, size - 1), ("bytes=-10", size - 10, size - 1),
                               (f"bytes=10-{size + 1000}", 10, size - 1)):
        reply = site.ask("GET", target, {"Range": asked})
        assert reply.status == 206, (asked, reply)
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{size}", asked
        assert reply.headers["Content-Length"] == str(last - first + 1)
        assert reply.body == layer[first:last + 1], asked


def test_a_range_past_the_end(site, app, layer):
    reply = site.ask("GET", f"/v2/{app.repository}/blobs/{digest_of(layer)}", {"Range": f"bytes={len(layer)}-"})
    assert (reply.status, reply.headers["Content-Range"]) == (416, f"bytes */{len(layer)}")


@pytest.mark.parametrize("header", ["bytes=5-1", "bytes=a-b", "octets=0-1", "bytes=0-1,5-9", "bytes=", "bytes=-"])
def test_a_range_that_is_none_is_ignored(header, site, app, layer):
    reply = site.ask("GET", f"/v2/{app.repository}/blobs/{digest_of(layer)}", {"Range": header})
    assert (reply.status, reply.body) == (200, layer)


def test_a_manifest_with_range_from_zero(site, app):
    # containerd with parallel downloads sends this with every request.
    reply = site.ask("GET", f"/v2/{app.repository}/manifests/{app.digest}", {**ACCEPT, "Range": "bytes=0-"})
    assert reply.status in (200, 206) and reply.body == app.document.bytes


def test_a_verified_blob_and_a_range_that_is_not(site, hub):
    app = hub.push(f"library/{unique('ok')}", "1", image(runnable=False))
    digest = app.document.value["layers"][-1]["digest"]
    target = f"/v2/{app.repository}/blobs/{digest}"
    mark = site.mark()
    site.ask("GET", target)
    assert site.line(mark, reference=digest)["verified"] is True
    mark = site.mark()
    site.ask("GET", target, {"Range": "bytes=10-20"})
    assert site.line(mark, reference=digest)["verified"] is False


# --- refused requests ---


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "BREW"])
def test_unknown_methods(method, site, app):
    reply = site.ask(method, f"/v2/{app.repository}/manifests/1")
    assert reply.status == 405 and "GET" in reply.headers["Allow"] and "HEAD" in reply.headers["Allow"]


@pytest.mark.parametrize("target, status, code", [
    ("/v2/_catalog", 403, "DENIED"),
    ("/v2/library/x/manifests/1?ns=docker.io&ns=ghcr.io", 400, None),
    ("/v2/ghcr.io/org/x/manifests/1?ns=docker.io", 400, None),
    ("/v2/library/../x/manifests/1", 400, None),
    ("/v2/library//x/manifests/1", 400, None),
    ("/v2/library%2Fx/manifests/1", 400, None),
    ("/v2/library/x%zz/manifests/1", 400, None),
    ("/v2/library/x/manifests/1?ns=docker.io%00.evil", 400, None),
    ("/v2/library/X/manifests/1", 400, "NAME_INVALID"),
    ("/v2/library/x/manifests/sha256:abc", 400, "DIGEST_INVALID"),
    ("/v2/library/x/blobs/md5:" + "0" * 32, 400, "DIGEST_INVALID"),
    ("/v2/library/x/blobs/sha256:" + "G" * 64, 400, "DIGEST_INVALID"),
    ("/v2/library/x/manifests/" + "t" * 129, 400, None),
    ("/v2/" + "a/" * 200 + "x/manifests/1", 400, "NAME_INVALID"),
    ("/v1/_ping", 404, None),
    ("/", 404, None),
])
def test_malformed_targets(target, status, code, site):
    reply = site.ask("GET", target)
    assert reply.status == status, reply
    assert reply.headers["Content-Type"].startswith("application/json")
    assert code is None or reply.error[0] == code
    assert reply.error[1]


@pytest.mark.parametrize("ns", ["stranger.example", "127.0.0.1%3A5000", "evil.docker.io", "docker.io.evil.example"])
def test_an_unknown_ns_is_never_docker_hub(ns, site, hub, app):
    mark = hub.mark()
    reply = site.ask("GET", f"/v2/{app.repository}/manifests/1?ns={ns}", ACCEPT)
    assert (reply.status, reply.error[0]) == (403, "DENIED")
    assert hub.since(mark, app.repository) == []


def test_a_first_component_that_looks_like_a_registry_is_one(site, hub):
    mark = hub.mark()
    for name in ("stranger.example/library/x", "localhost/x"):
        reply = site.ask("GET", f"/v2/{name}/manifests/1")
        assert (reply.status, reply.error[0]) == (403, "DENIED")
    assert hub.since(mark) == []


@pytest.mark.parametrize("name, data", {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "not HTTP": b"HELLO\r\n\r\n",
    "two lengths": b"POST /v2/ HTTP/1.1\r\nHost: mirror.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is none": b"POST /v2/ HTTP/1.1\r\nHost: mirror.test\r\nContent-Length: -1\r\n\r\n",
    "a chunk that is none": b"POST /v2/ HTTP/1.1\r\nHost: mirror.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a NUL in a header": b"GET /v2/ HTTP/1.1\r\nHost: mirror.test\r\nX: a\x00b\r\n\r\n",
    "an endless line": b"GET /v2/" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
    "a body too large": b"PUT /v2/library/ok-x/manifests/1 HTTP/1.1\r\nHost: mirror.test\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 70000,
}.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_requests_that_are_no_http(name, data, site):
    try:
        answer = site.raw(data)
    except OSError:
        answer = b""
    status = answer.split(b" ")[1:2]
    assert not status or status[0][:1] == b"4", answer[:300]
    assert site.ask("GET", "/v2/").status == 200, "the gateway goes on"


def test_an_error_is_an_oci_error(site):
    reply = site.ask("GET", "/v2/library/x/blobs/nonsense")
    body = json.loads(reply.body)
    assert list(body) == ["errors"] and set(body["errors"][0]) >= {"code", "message"}
    assert "\n" not in body["errors"][0]["message"]


# --- final denials as they are sent (the stories of test_denied.py are what clients make of them) ---


@pytest.fixture
def denied(hub):
    return hub.push(f"library/{unique('denied')}", "1", image(runnable=False))


def test_by_tag_with_ns(site, hub, denied):
    mark = hub.mark()
    head = site.ask("HEAD", f"/v2/{denied.repository}/manifests/1?ns=docker.io")
    pinned = head.headers["Docker-Content-Digest"]
    assert head.status == 200 and pinned != denied.digest and int(head.headers["Content-Length"]) > 0
    assert head.headers["Content-Type"] in (OCI_MANIFEST, OCI_INDEX)
    again = site.ask("GET", f"/v2/{denied.repository}/manifests/{pinned}?ns=docker.io")
    assert (again.status, again.error[0]) == (403, "DENIED")
    assert f"id={head.headers['X-Request-Id']}" in again.error[1]
    direct = site.ask("GET", f"/v2/{denied.repository}/manifests/1?ns=docker.io")
    assert (direct.status, direct.error[0]) == (403, "DENIED")
    assert hub.since(mark, denied.repository) == [], "no upstream is asked"


def test_by_digest_with_ns(site, denied):
    target = f"/v2/{denied.repository}/manifests/{denied.digest}?ns=docker.io"
    head = site.ask("HEAD", target)
    assert (head.status, head.headers["Docker-Content-Digest"], head.headers["Content-Length"]) == (200, denied.digest, "2")
    assert site.ask("GET", target).error[0] == "DENIED"


DOCKER = {"User-Agent": "docker/20.10.24 go/go1.19.8 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24)"}
PODMAN = {"User-Agent": "containers/5.23.1 (github.com/containers/image)"}


@pytest.mark.parametrize("agent, at", [(DOCKER, "/v2/"), (DOCKER, "/docker.io/v2/"), (PODMAN, "/v2/"), (PODMAN, "/v2/docker.io/"),
                                       ({"Docker-Distribution-Api-Version": "registry/2.0"}, "/v2/")])
def test_the_notice_by_tag(agent, at, site, denied):
    target = f"{at}{denied.repository}/manifests"
    head, got = (site.ask(method, f"{target}/1", agent) for method in ("HEAD", "GET"))
    for reply in (head, got):
        assert (reply.status, reply.headers["Content-Type"]) == (200, OCI_MANIFEST)
    notice = got.json()
    assert got.headers["Docker-Content-Digest"] == digest_of(got.body)
    assert notice["schemaVersion"] == 2 and "P-17" in notice["config"]["mediaType"] and len(notice["config"]["mediaType"]) <= 400
    named = head.headers["Docker-Content-Digest"]
    again = site.ask("GET", f"{target}/{named}", agent)
    assert again.status == 200 and digest_of(again.body) == named, "dockerd asks for the notice's own digest after HEAD"
    blob = site.ask("GET", f"{at}{denied.repository}/blobs/{notice['config']['digest']}", agent)
    assert (blob.status, blob.error[0]) == (403, "DENIED")


def test_dockers_pull_by_digest_gets_a_location_that_leads_nowhere(site, denied):
    reply = site.ask("GET", f"/v2/{denied.repository}/manifests/{denied.digest}", DOCKER)
    assert reply.status == 307 and "no such process" in reply.headers["Location"] and "P-17" in reply.headers["Location"]
    assert "%zz" in reply.headers["Location"]


def test_everybody_else_gets_a_403(site, denied):
    short, long = f"/v2/{denied.repository}", f"/v2/docker.io/{denied.repository}"
    for target in (f"{short}/manifests/1", f"{long}/manifests/1", f"{short}/blobs/{DIGEST}"):
        reply = site.ask("GET", target, {"User-Agent": "curl/8"})
        assert (reply.status, reply.error[0]) == (403, "DENIED")
        assert "P-17" in reply.error[1] and reply.headers["X-Request-Id"] in reply.error[1]
    direct = site.ask("GET", f"{long}/manifests/1", DOCKER)
    assert (direct.status, direct.error[0]) == (403, "DENIED"), "docker pull mirror.test/docker.io/..."


def test_a_plain_listener_says_403_to_all(site, denied):
    for headers in (DOCKER, PODMAN, {}):
        for query in ("", "?ns=docker.io"):
            reply = site.ask_tls("plain.test", "GET", f"/v2/{denied.repository}/manifests/1{query}", headers)
            assert (reply.status, reply.error[0]) == (403, "DENIED")
