# SPDX-License-Identifier: Apache-2.0
"""Manifests: read whole and judged before the first byte leaves. What is refused for its content is a denial."""

import json
import re

import pytest

from gateway import assert_clean, assert_denied, assert_failed, assert_oci_error
from images import (DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, SCHEMA1, descriptor, document, encode,
                    script_image, script_manifest)
from upstream import answer, digest, drip, endless, error, head, manifest, raw, slow

MIB = 1024 * 1024
LAYER = b"a layer"


@pytest.fixture
def layer(repo):
    """A layer, and so a manifest, that no other test uses: the gateway remembers which digest an endpoint got wrong."""
    return repo.encode()


def test_a_good_image_passes(gateway, up, repo, layer):
    body = script_image(up, repo, [layer])
    for reference in ("1", digest(body)):
        got = gateway.pull("broken.test", f"{repo}/manifests/{reference}")
        assert (got.status, got.body, got.complete) == (200, body, True)
        assert got.header("content-type") == OCI_MANIFEST
        assert got.header("docker-content-digest") == digest(body)
        assert got.header("etag") == f'"{digest(body)}"'
        assert got.header("oci-namespace") == "broken.test"
        first = gateway.pull("broken.test", f"{repo}/manifests/{reference}", method="HEAD")
        assert (first.status, first.header("content-length")) == (200, str(len(body)))
        assert first.header("docker-content-digest") == digest(body)
    got = gateway.pull("broken.test", f"{repo}/blobs/{digest(layer)}")
    assert (got.status, got.body, got.complete) == (200, layer, True)


def test_another_manifest_than_the_digest_says_is_a_denial(gateway, up, repo, layer):
    asked, sent = encode(document([layer])), encode(document([b"another layer"]))
    up.at(f"/v2/{repo}/manifests/{digest(asked)}", manifest(sent, OCI_MANIFEST, says=digest(asked)))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{digest(asked)}"), "digest", reason="digest")
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{digest(asked)}"), "digest", reason="digest")


def test_a_mismatch_of_a_manifest_is_remembered(gateway, up, repo, layer):
    asked, sent = encode(document([layer])), encode(document([b"another layer"]))
    path = f"/v2/{repo}/manifests/{digest(asked)}"
    up.at(path, manifest(sent, OCI_MANIFEST, says=digest(asked)))
    gateway.pull("broken.test", f"{repo}/manifests/{digest(asked)}")
    before = len(up.asked(path, "GET"))
    gateway.pull("broken.test", f"{repo}/manifests/{digest(asked)}")
    assert len(up.asked(path, "GET")) == before


def test_a_refused_manifest_is_refused_as_a_blob_too(gateway, up, repo, layer):
    """Some clients fetch a manifest's bytes from /blobs/."""
    body = encode(document([layer], config=b"{}") | {"layers": [descriptor(layer, OCI_LAYER, urls=["https://x.test/l"])]})
    name = script_manifest(up, repo, body)
    up.at(f"/v2/{repo}/blobs/{name}", answer(200, body))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{name}"), "x.test", reason="urls")
    assert_denied(gateway.pull("broken.test", f"{repo}/blobs/{name}"), reason="urls")


def test_head_promises_another_digest_than_get_keeps(gateway, up, repo, layer):
    """The tag's HEAD is answered only after the content it names was judged: here it is a denial that ends the pull."""
    promised, kept = encode(document([layer])), encode(document([b"another layer"]))
    up.at(f"/v2/{repo}/manifests/1",
          lambda request, wire: manifest(promised if request.method == "HEAD" else kept, OCI_MANIFEST,
                                         says=digest(promised))(request, wire))
    up.at(f"/v2/{repo}/manifests/{digest(promised)}", manifest(kept, OCI_MANIFEST, says=digest(promised)))
    first = gateway.pull("broken.test", f"{repo}/manifests/1", method="HEAD")
    assert first.status == 200  # the final denial's form for a HEAD with ns=
    handed_out = first.header("docker-content-digest")
    assert handed_out not in (digest(promised), digest(kept))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{handed_out}"), first.request_id, reason="digest")
    assert (first.line["decision"], first.line["reason"]) == ("deny", "digest")


def spoiled():
    good = document([LAYER])
    with_urls = [{**descriptor(LAYER, OCI_LAYER), "urls": ["https://foreign.test/layer?sig=1"]}]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(b"child", OCI_MANIFEST)]}
    rows = [
        ("urls in a layer", "urls", OCI_MANIFEST, {**good, "layers": with_urls}, "foreign.test"),
        ("urls in the config", "urls", OCI_MANIFEST, {**good, "config": {**good["config"], "urls": ["http://c.test/"]}}, "c.test"),
        ("urls in an index entry", "urls", OCI_INDEX,
         {**index, "manifests": [{**index["manifests"][0], "urls": ["https://i.test/"]}]}, "i.test"),
        ("urls in the subject", "urls", OCI_MANIFEST,
         {**good, "subject": {**descriptor(b"s", OCI_MANIFEST), "urls": ["https://s.test/"]}}, "s.test"),
        ("URLS, as Go would read it", "ambiguous", OCI_MANIFEST,
         {**good, "layers": [{**descriptor(LAYER, OCI_LAYER), "URLS": ["https://foreign.test/"]}]}, ""),
        ("url and the long s", "ambiguous", OCI_MANIFEST,
         {**good, "layers": [{**descriptor(LAYER, OCI_LAYER), "url\u017f": ["https://foreign.test/"]}]}, ""),
        ("Layers beside layers", "ambiguous", OCI_MANIFEST, {**good, "Layers": with_urls}, ""),
        ("layers with the long s", "ambiguous", OCI_MANIFEST, {**good, "layer\u017f": with_urls}, ""),
        ("manifests and layers", "ambiguous", OCI_MANIFEST, {**good, "manifests": index["manifests"]}, ""),
        ("layers in an index", "ambiguous", OCI_INDEX, {**index, "layers": good["layers"]}, ""),
        ("schema 1", "schema1", SCHEMA1, {"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": [{"blobSum": digest(LAYER)}],
                               "history": [{"v1Compatibility": "{}"}], "signatures": []}, "schema"),
        ("schema 1 sent as JSON", "schema1", "application/json",
         {"schemaVersion": 1, "fsLayers": [{"blobSum": digest(LAYER)}], "history": []}, ""),
        ("a web page", "media_type", "text/html", good, ""),
        ("an index sent as a manifest", "media_type", OCI_MANIFEST, index, ""),
        ("a manifest sent as an index", "media_type", OCI_INDEX, good, ""),
        ("mediaType and Content-Type differ", "media_type", DOCKER_MANIFEST, good, ""),
    ]
    raws = [
        ("layers twice", OCI_MANIFEST, encode(good)[:-1] + b',"layers":[]}', ""),
        ("a NUL in a key", OCI_MANIFEST, encode(good)[:-1] + b',"a\\u0000b":1}', ""),
        ("no JSON", OCI_MANIFEST, b"\x1f\x8b\x08\x00 not json", ""),
        ("nothing", OCI_MANIFEST, b"", ""),
        ("an array", OCI_MANIFEST, b"[]", ""),
        ("two documents", OCI_MANIFEST, encode(good) + encode(good), ""),
        ("three MiB of brackets", OCI_MANIFEST, b"[" * (3 * MIB), ""),
        ("deep, closed and an unknown key", OCI_MANIFEST,
         encode(good)[:-1] + b',"x":' + b"[" * 100000 + b"]" * 100000 + b"}", ""),
        ("cut off", OCI_MANIFEST, encode(good)[:-20], ""),
        ("not UTF-8", OCI_MANIFEST, encode(good)[:-1] + b',"x":"\xff\xfe"}', ""),
    ]
    return [(why, reason, kind, encode(doc), word) for why, reason, kind, doc, word in rows] + [
        (why, "malformed", *rest) for why, *rest in raws]


@pytest.mark.parametrize("reason, media_type, body, word",
                         [pytest.param(*row[1:], id=row[0]) for row in spoiled()])
def test_content_is_judged(gateway, up, repo, reason, media_type, body, word):
    name = script_manifest(up, repo, body, media_type)
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{name}"), word, reason=reason)
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/1"), word, reason=reason)
    first = gateway.pull("broken.test", f"{repo}/manifests/1", method="HEAD")
    assert first.header("docker-content-digest") != name, "the tag's HEAD named what is refused"


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
def test_over_four_mib(gateway, up, repo, framing, layer):
    body = encode(document([layer], annotations={"pad": "x" * (5 * MIB)}))
    path = f"/v2/{repo}/manifests/{digest(body)}"
    kind = ("Content-Type", OCI_MANIFEST)
    if framing == "length":
        up.at(path, manifest(body, OCI_MANIFEST))
    elif framing == "chunked":
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        up.at(path, endless(head(200, [kind, ("Transfer-Encoding", "chunked")]), chunk))
    else:
        up.at(path, endless(head(200, [kind]), b" " * 65536))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}"), reason="too_large")
    assert up.sent.get(path, 0) < 64 * MIB, "the gateway went on reading"


@pytest.mark.parametrize("cut", ["length", "length, reset", "chunk boundary", "chunk boundary, notified", "mid chunk"])
def test_truncated(gateway, up, repo, cut, layer):
    body = encode(document([layer]))
    half = body[: len(body) // 2]
    kind = ("Content-Type", OCI_MANIFEST)
    chunked = head(200, [kind, ("Transfer-Encoding", "chunked")])
    steps = {
        "length": raw(head(200, [kind, ("Content-Length", len(body))]) + half),
        "length, reset": raw(head(200, [kind, ("Content-Length", len(body))]) + half, end="reset"),
        "chunk boundary": raw(chunked + b"%x\r\n%s\r\n" % (len(half), half)),
        "chunk boundary, notified": raw(chunked + b"%x\r\n%s\r\n" % (len(half), half), end="notify"),
        "mid chunk": raw(chunked + b"%x\r\n%s" % (len(body), half)),
    }
    up.at(f"/v2/{repo}/manifests/{digest(body)}", steps[cut])
    assert_failed(gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}"), "broken.test")


@pytest.mark.parametrize("end", ["close", "notify"])
def test_truncated_without_any_framing(gateway, up, repo, end, layer):
    """Only the digest can tell."""
    body = encode(document([layer]))
    up.at(f"/v2/{repo}/manifests/{digest(body)}", raw(head(200, [("Content-Type", OCI_MANIFEST)]) + body[:-30], end=end))
    assert_denied(gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}"), reason="digest")


def test_gzip_encoded(gateway, up, repo, layer):
    body = encode(document([layer]))
    script_manifest(up, repo, body, headers=[("Content-Encoding", "gzip")])
    assert_failed(gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}"), "broken.test")


def test_the_gateway_asks_for_identity_and_its_own_types(gateway, up, repo, layer):
    body = script_image(up, repo, [layer])
    gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}",
                 headers=[("Accept", "text/html"), ("Accept-Encoding", "gzip, br")])
    request = up.asked(f"/v2/{repo}/manifests/{digest(body)}")[-1]
    assert request.header("accept-encoding") == "identity"
    assert OCI_INDEX in request.header("accept") and "text/html" not in request.header("accept")


# --- errors that a registry sends ---


def test_not_found_stays_not_found(gateway, up, repo):
    up.at(f"/v2/{repo}/manifests/1", error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
    got = gateway.pull("broken.test", f"{repo}/manifests/1")
    assert_oci_error(got, 404, "not_found")
    assert got.error["code"] == "MANIFEST_UNKNOWN"


def test_not_found_as_a_web_page(gateway, up, repo):
    up.at(f"/v2/{repo}/manifests/1", answer(404, b"<html>nothing here</html>", [("Content-Type", "text/html")]))
    got = gateway.pull("broken.test", f"{repo}/manifests/1")
    assert_oci_error(got, 404, "not_found")
    assert b"<html>" not in got.body


def test_forbidden_tells_the_registrys_words(gateway, up, repo):
    up.at(f"/v2/{repo}/manifests/1", error(403, "DENIED", "this repository\nis \x1b[31mpaused" + "!" * 1000))
    got = gateway.pull("broken.test", f"{repo}/manifests/1")
    assert_denied(got, "refused", "broken.test", "paused", reason="upstream_auth")
    assert "\x1b" not in got.error["message"] and "!" * 250 not in got.error["message"]


def test_too_many_requests_passes_with_its_wait(gateway, up, repo):
    up.at(f"/v2/{repo}/manifests/1", error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "17")]))
    got = gateway.pull("limited.test", f"{repo}/manifests/1")
    assert_oci_error(got, 429, "upstream_limit")
    assert got.header("retry-after") == "17"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 400, 418, 204, 304, 600, 999])
def test_other_statuses_name_the_registry(gateway, up, repo, status):
    up.at(f"/v2/{repo}/manifests/1", answer(status, b"" if status in (204, 304) else b"upstream words"))
    got = gateway.pull("broken.test", f"{repo}/manifests/1")
    assert_failed(got, "broken.test", status if status in (503, 504) else 502)


def test_nothing_private_to_the_two_reaches_the_client(gateway, up, repo, layer):
    private = [("Set-Cookie", "a=b"), ("WWW-Authenticate", 'Basic realm="x"'), ("X-Upstream", "1"),
               ("Location", "https://elsewhere.test/"), ("Alt-Svc", 'h2="x:1"')]
    body = encode(document([layer]))
    script_manifest(up, repo, body, headers=private)
    got = gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}")
    assert got.status == 200
    assert_clean(got)
    assert got.header("alt-svc") is None
    up.at(f"/v2/{repo}/manifests/missing", error(404, "MANIFEST_UNKNOWN", "no", private))
    assert_oci_error(gateway.pull("broken.test", f"{repo}/manifests/missing"), 404, "not_found")


# --- too slow ---


@pytest.mark.parametrize("where", ["before the head", "in the head", "in the body", "one byte a second"])
def test_no_manifest_in_time(gateway, up, repo, where, layer):
    body = encode(document([layer]))
    whole = head(200, [("Content-Type", OCI_MANIFEST), ("Content-Length", len(body))]) + body
    steps = {
        "before the head": raw(b"", end="hang"),
        "in the head": raw(whole[:20], end="hang"),
        "in the body": raw(whole[:-20], end="hang"),
        "one byte a second": drip(whole, 1.0),
    }
    up.at(f"/v2/{repo}/manifests/{digest(body)}", steps[where])
    assert_failed(gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}"), "broken.test", 504, "upstream_timeout")


def test_slow_but_in_time(gateway, up, repo, layer):
    body = encode(document([layer]))
    up.at(f"/v2/{repo}/manifests/{digest(body)}", slow(1.0, manifest(body, OCI_MANIFEST)))
    assert gateway.pull("broken.test", f"{repo}/manifests/{digest(body)}").body == body


def test_tags_list_answers_that_are_none(gateway, up, repo):
    for index, page in enumerate([b"{", b"[]", b'{"tags":{}}', b"<html>", b'{"name":"x","tags":[1,2]}']):
        name = f"{repo}-{index}"
        up.at(f"/v2/{name}/tags/list", answer(200, page, [("Content-Type", "application/json")]))
        got = gateway.pull("broken.test", f"{name}/tags/list")
        if index < 4:
            assert_oci_error(got, 502, "upstream_error")
        else:
            assert (got.status, got.body) == (200, encode({"name": name, "tags": []}).replace(b" ", b""))


def test_a_tags_list_that_is_none_names_the_registry(gateway, up, repo):
    up.at(f"/v2/{repo}/tags/list", answer(200, b"{", [("Content-Type", "application/json")]))
    assert_failed(gateway.pull("broken.test", f"{repo}/tags/list"), "broken.test")


def test_a_link_to_another_host_is_dropped(gateway, up, repo):
    page = b'{"name":"x","tags":["1"]}'
    up.at(f"/v2/{repo}/tags/list", answer(200, page, [("Content-Type", "application/json"),
                                                      ("Link", '<https://elsewhere.test/v2/x/tags/list?n=1>; rel="next"')]))
    got = gateway.pull("broken.test", f"{repo}/tags/list?n=1")
    assert got.status == 200
    assert "elsewhere.test" not in (got.header("link") or "")


def test_a_link_is_rewritten_to_the_clients_form(gateway, up, repo):
    page = b'{"name":"x","tags":["1"]}'
    up.at(f"/v2/{repo}/tags/list", answer(200, page, [("Content-Type", "application/json"),
                                                      ("Link", f'</v2/{repo}/tags/list?n=1&last=1>; rel="next"')]))
    link = gateway.pull("broken.test", f"{repo}/tags/list?n=1").header("link")
    assert link and f"/v2/{repo}/tags/list" in link and "ns=broken.test" in link and "last=1" in link


@pytest.mark.parametrize("absolute", [True, False])
def test_a_client_follows_links_to_the_end(gateway, up, repo, absolute):
    """Two pages: the second is asked for at the gateway, and the upstream gets its own query back."""

    def page(request, wire):
        last = "last=b" in request.target
        tags = ["c"] if last else ["a", "b"]
        origin = f"https://{request.header('host')}" if absolute else ""
        link = [] if last else [("Link", f'<{origin}/v2/{repo}/tags/list?n=2&last=b>; rel="next"')]
        answer(200, encode({"name": repo, "tags": tags}), [("Content-Type", "application/json"), *link])(request, wire)

    up.at(f"/v2/{repo}/tags/list", page)
    target, found = f"/v2/{repo}/tags/list?n=2&ns=broken.test", []
    while target:
        assert len(found) < 3, "the same page again"
        got = gateway.ask(target)
        assert (got.status, got.complete) == (200, True)
        found += json.loads(got.body)["tags"]
        link = got.header("link")
        target = link and re.fullmatch(r'<(/v2/[^>]*)>; rel="next"', link)[1]
    assert found == ["a", "b", "c"]
    assert [r.target.partition("?")[2] for r in up.asked(f"/v2/{repo}/tags/list")] == ["n=2", "n=2&last=b"]
