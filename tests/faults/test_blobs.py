# SPDX-License-Identifier: Apache-2.0
"""Blobs: bytes may leave while they arrive, but the last one only after the digest is verified."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import assert_broken_off, assert_failed, assert_oci_error, assert_whole
from images import script_image
from upstream import answer, blob, digest, drip, endless, head, raw, redirect, stream

MIB = 1024 * 1024
SIZE = 256 * 1024


@pytest.fixture
def content(repo):
    """SIZE bytes that no other test uses: the gateway remembers which digest an endpoint got wrong."""
    return sample(repo)


def sample(salt):
    return salt.encode().ljust(256, b".") + bytes(range(256)) * (SIZE // 256 - 1)


def path_of(repo, content):
    return f"/v2/{repo}/blobs/{digest(content)}"


def pull(gateway, repo, content, registry="broken.test", **how):
    return gateway.pull(registry, f"{repo}/blobs/{digest(content)}", **how)


@pytest.mark.parametrize("size", [0, 1, 2, 65535, 65536, 65537, MIB - 1, MIB, MIB + 1, 5 * MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_whole_blobs_of_every_size(gateway, up, repo, size, framing):
    content = (sample(repo) * (size // SIZE + 1))[:size]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(content[i : i + 70000]), content[i : i + 70000])
                      for i in range(0, size, 70000))
    chunked = raw(head(200, [("Transfer-Encoding", "chunked")]) + chunks + b"0\r\n\r\n", end="keep")
    up.at(path_of(repo, content), blob(content) if framing == "length" else chunked)
    got = pull(gateway, repo, content)
    assert_whole(got, content)


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
@pytest.mark.parametrize("fault", ["first byte", "last byte", "one more", "one less"])
def test_wrong_content_never_looks_complete(gateway, up, repo, framing, fault, content):
    sent = {
        "first byte": b"\xff" + content[1:],
        "last byte": content[:-1] + b"\x00",
        "one more": content + b"x",
        "one less": content[:-1],
    }[fault]
    steps = {
        "length": answer(200, sent),
        "chunked": raw(head(200, [("Transfer-Encoding", "chunked")]) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent),
                       end="keep"),
        "until close": raw(head(200, []) + sent, end="notify"),
    }
    up.at(path_of(repo, content), steps[framing])
    got = pull(gateway, repo, content)
    assert_broken_off(got, sent, "broken.test", "digest")


def test_a_mismatch_is_remembered_and_told(gateway, up, repo, content):
    """Clients resume a cut transfer with Range for ever; the second ask says what is wrong instead."""
    up.at(path_of(repo, content), answer(200, content[:-1] + b"\x00"))
    first = pull(gateway, repo, content)
    assert_broken_off(first, content, "broken.test", "digest")
    assert "127.0.0.5" in first.line["upstream"]
    before = len(up.asked(path_of(repo, content)))
    for headers in ([], [("Range", "bytes=100-")], [("Range", "bytes=0-")]):
        assert_failed(pull(gateway, repo, content, headers=headers), "broken.test", 502, "digest")
    assert len(up.asked(path_of(repo, content))) == before, "the upstream was asked again"


def truncations(content):
    half = content[: len(content) // 2]
    chunked = head(200, [("Transfer-Encoding", "chunked")])
    length = head(200, [("Content-Length", len(content))])
    return {
        "length, closed": raw(length + half),
        "length, notified": raw(length + half, end="notify"),
        "length, reset": raw(length + half, end="reset"),
        "length, nothing of the body": raw(length),
        "length, all but one byte": raw(length + content[:-1]),
        "at a chunk boundary": raw(chunked + b"%x\r\n%s\r\n" % (len(half), half)),
        "at a chunk boundary, notified": raw(chunked + b"%x\r\n%s\r\n" % (len(half), half), end="notify"),
        "in a chunk": raw(chunked + b"%x\r\n%s" % (len(content), half)),
        "in a chunk, reset": raw(chunked + b"%x\r\n%s" % (len(content), half), end="reset"),
        "no framing": raw(head(200, []) + half),
        "no framing, notified": raw(head(200, []) + half, end="notify"),
        "no framing, reset": raw(head(200, []) + half, end="reset"),
    }


@pytest.mark.parametrize("how", truncations(sample("")))
def test_truncations_never_look_complete(gateway, up, repo, how, content):
    up.at(path_of(repo, content), truncations(content)[how])
    got = pull(gateway, repo, content)
    # Without framing a close is an end like any other: only the digest tells.
    reason = "digest" if how in ("no framing", "no framing, notified") else "upstream_error"
    assert_broken_off(got, content, "broken.test", reason)
    assert content.startswith(got.body) or got.status == 502


def test_all_chunks_but_not_the_last_empty_one(gateway, up, repo, content):
    """Every byte is there, the frame is not."""
    up.at(path_of(repo, content), raw(head(200, [("Transfer-Encoding", "chunked")]) + b"%x\r\n%s\r\n" % (len(content), content)))
    assert_broken_off(pull(gateway, repo, content), content, "broken.test")


def test_a_truncation_is_taken_up(gateway, up, repo, content):
    """And unlike a wrong digest it is not remembered."""
    cut = truncations(content)["length, closed"]
    up.at(path_of(repo, content), cut, blob(content))
    assert_whole(pull(gateway, repo, content), content)


def garbage(content):
    length = f"Content-Length: {len(content)}\r\n".encode()
    ok = b"HTTP/1.1 200 OK\r\n"
    return {
        "not HTTP": b"SSH-2.0-OpenSSH_9.2p1\r\n" + content,
        "only a newline": b"\r\n\r\n\r\n",
        "a NUL in the status line": b"HTTP/1.1 200\x00OK\r\n\r\n" + content,
        "status 99": b"HTTP/1.1 99 Odd\r\n" + length + b"\r\n" + content,
        "status that is no number": b"HTTP/1.1 OK OK\r\n" + length + b"\r\n" + content,
        "HTTP/9.9": b"HTTP/9.9 200 OK\r\n" + length + b"\r\n" + content,
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        "length is a word": ok + b"Content-Length: banana\r\n\r\n" + content,
        "negative length": ok + b"Content-Length: -1\r\n\r\n" + content,
        "length over 64 bits": ok + b"Content-Length: 99999999999999999999999999\r\n\r\n" + content,
        "length of 2^63": ok + b"Content-Length: 9223372036854775808\r\n\r\n" + content,
        "two lengths": ok + length + b"Content-Length: 5\r\n\r\n" + content,
        "length and chunked": ok + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (len(content), content),
        "gzip, chunked": ok + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "unknown transfer coding": ok + b"Transfer-Encoding: banana\r\n" + length + b"\r\n" + content,
        "chunk size is a word": ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        "chunk size of 2^64": ok + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhello",
        "chunk size of 2^63": ok + b"Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello",
        "no newline after a chunk": ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
        "header without a colon": ok + b"nonsense\r\n\r\n" + content,
        "folded header": ok + b"X-A: b\r\n c: d\r\n" + length + b"\r\n" + content,
        "header with a NUL": ok + b"X-A: b\x00c\r\n" + length + b"\r\n" + content,
        "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
        "a part nobody asked for": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\n"
        b"Content-Length: 5\r\n\r\nhello",
        "a thousand interim answers": b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000 + ok + length + b"\r\n" + content,
        "more than the length": ok + length + b"\r\n" + content + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    }


# libcurl makes sense of these, and the digest is right: lengths that do not fit are none, chunks go before a length.
READABLE = ("length over 64 bits", "length of 2^63", "length and chunked", "folded header", "more than the length")


@pytest.mark.parametrize("what", garbage(sample("")))
def test_garbage(gateway, up, repo, what, content):
    up.at(path_of(repo, content), raw(garbage(content)[what]))
    got = pull(gateway, repo, content)
    if what in READABLE:
        assert_whole(got, content)
    else:
        assert_broken_off(got, content, "broken.test", "digest" if what == "two lengths" else "upstream_error")


def test_what_follows_an_answer_is_not_the_next_one(gateway, bed, repo, content):
    """Bytes after one answer must not be read as the answer to the next request on that connection."""
    others = [b"another blob %d" % n for n in range(5)]
    extra = head(200, [("Content-Length", 4)]) + b"evil"
    bed.chatty.at(path_of(repo, content), raw(head(200, [("Content-Length", len(content))]) + content + extra, end="keep"))
    for other in others:
        bed.chatty.at(path_of(repo, other), blob(other))
    assert_whole(pull(gateway, repo, content, "chatty.test"), content)
    for other in others:
        assert pull(gateway, repo, other, "chatty.test").body == other


def test_endless_headers(gateway, up, repo, content):
    up.at(path_of(repo, content), endless(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"x" * 1000 + b"\r\n"))
    assert_failed(pull(gateway, repo, content), "broken.test")
    assert up.sent.get(path_of(repo, content), 0) < 32 * MIB


def test_one_endless_header(gateway, up, repo, content):
    up.at(path_of(repo, content), endless(b"HTTP/1.1 200 OK\r\nX-Pad: ", b"x" * 1000))
    assert_failed(pull(gateway, repo, content), "broken.test")
    assert up.sent.get(path_of(repo, content), 0) < 32 * MIB


def test_endless_interim_answers(gateway, up, repo, content):
    up.at(path_of(repo, content), endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50))
    assert_failed(pull(gateway, repo, content), "broken.test")


def test_a_thousand_headers(gateway, up, repo, content):
    up.at(path_of(repo, content), answer(200, content, [(f"X-Upstream-{n}", "x" * 20) for n in range(1000)]))
    got = pull(gateway, repo, content)
    assert_failed(got, "broken.test")
    assert not [name for name, _ in got.headers if name.startswith("x-upstream")]


def test_gzip_encoded(gateway, up, repo, content):
    up.at(path_of(repo, content), answer(200, content, [("Content-Encoding", "gzip")]))
    assert_failed(pull(gateway, repo, content), "broken.test")


def test_another_length_than_the_manifest_says(gateway, up, repo, content):
    script_image(up, repo, [content])
    assert gateway.pull("broken.test", f"{repo}/manifests/1").status == 200
    up.at(path_of(repo, content), answer(200, content + b"x"))
    assert_failed(pull(gateway, repo, content), "broken.test", 502, "digest")


def test_missing_blob(gateway, up, repo):
    got = pull(gateway, repo, b"never scripted")
    assert_oci_error(got, 404, "not_found")


# --- ranges ---


def test_ranges_pass(gateway, up, repo, content):
    up.at(path_of(repo, content), blob(content))
    size = len(content)
    for value, status, first, last in [("bytes=0-", 206, 0, size - 1), ("bytes=5-9", 206, 5, 9),
                                       ("bytes=-7", 206, size - 7, size - 1), ("bytes=100-", 206, 100, size - 1)]:
        got = pull(gateway, repo, content, headers=[("Range", value)])
        assert (got.status, got.body, got.complete) == (status, content[first : last + 1], True), value
        assert got.header("content-range") == f"bytes {first}-{last}/{size}"
    assert pull(gateway, repo, content, headers=[("Range", f"bytes={size}-")]).status == 416
    several = pull(gateway, repo, content, headers=[("Range", "bytes=0-1,5-6")])
    assert (several.status, several.body) == (200, content)


def test_a_range_past_the_start_is_logged_as_unverified(gateway, up, repo, content):
    up.at(path_of(repo, content), blob(content))
    got = pull(gateway, repo, content, headers=[("Range", "bytes=5-9")])
    assert gateway.logged(got.request_id)["verified"] is False


@pytest.mark.parametrize("value", ["bytes=0-", f"bytes=0-{SIZE - 1}", f"bytes=0-{SIZE * 2}"])
def test_a_range_from_the_start_does_not_escape_verification(gateway, up, repo, value, content):
    up.at(path_of(repo, content), blob(content[:-1] + b"\x00"))
    got = pull(gateway, repo, content, headers=[("Range", value)])
    assert_broken_off(got, content, "broken.test", "digest")


def wrong_ranges(content):
    def part(value, body=content[5:10]):
        return answer(206, body, [("Content-Range", value)])

    return {
        "another start": part(f"bytes 0-4/{len(content)}", content[0:5]),
        "no Content-Range": answer(206, content[5:10]),
        "garbage": part("bytes banana"),
        "backwards": part(f"bytes 9-5/{len(content)}"),
        "too long": part(f"bytes 5-19/{len(content)}", content[5:20]),
        "several parts": answer(206, b"--x\r\n\r\nhello\r\n--x--", [("Content-Type", "multipart/byteranges; boundary=x")]),
    }


@pytest.mark.parametrize("what", wrong_ranges(sample("")))
def test_a_wrong_part_is_not_passed_on(gateway, up, repo, what, content):
    up.at(path_of(repo, content), wrong_ranges(content)[what])
    got = pull(gateway, repo, content, headers=[("Range", "bytes=5-9")])
    assert_oci_error(got, 502, "upstream_error")


def test_a_wrong_part_names_the_registry(gateway, up, repo, content):
    up.at(path_of(repo, content), wrong_ranges(content)["garbage"])
    assert_failed(pull(gateway, repo, content, headers=[("Range", "bytes=5-9")]), "broken.test")


def test_an_upstream_that_ignores_ranges(gateway, up, repo, content):
    up.at(path_of(repo, content), answer(200, content))
    got = pull(gateway, repo, content, headers=[("Range", "bytes=5-9")])
    assert_whole(got, content)


# --- slow upstreams ---


def test_no_head_in_time(gateway, up, repo, content):
    up.at(path_of(repo, content), raw(b"HTTP/1.1 200 OK\r\nContent-", end="hang"))
    assert_failed(pull(gateway, repo, content), "broken.test", 504, "upstream_timeout")


def test_headers_leave_before_a_slow_body(gateway, up, repo):
    """Clients wait 30 s for headers and as long as it takes for a body."""
    small = b"slowly"
    up.at(path_of(repo, small), drip_body(small))
    with gateway.connect() as sock:
        sock.sendall(f"GET {path_of(repo, small)}?ns=broken.test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = sock.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 ")
        while more := sock.recv(65536):
            received += more
    assert received.endswith(small)


def drip_body(content):
    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content))]))
        drip(content, 1.0)(request, wire)

    return step


def test_a_body_that_stops_is_no_whole_blob_and_is_let_go(gateway, up, repo, content):
    """The client gives up first; the upstream's connection must go with it."""
    up.left.clear()
    up.at(path_of(repo, content), raw(head(200, [("Content-Length", len(content))]) + content[:1000], end="hang"))
    with gateway.connect(timeout=2) as sock:
        sock.sendall(f"GET {path_of(repo, content)}?ns=broken.test HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        try:
            while more := sock.recv(65536):
                received += more
        except TimeoutError:
            pass
    assert len(received) < len(content)
    wait_for(lambda: up.left, 10)
    assert up.left[-1] is True, "the gateway held on to an upstream that nobody waits for"


def wait_for(condition, limit):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_many_at_once_with_different_ends(gateway, up, repo):
    """Good, cut and wrong blobs side by side do not disturb each other."""
    good = [bytes([n]) * 100_000 for n in range(10)]
    cut = [bytes([n]) * 100_001 for n in range(10)]
    wrong = [bytes([n]) * 100_002 for n in range(10)]
    for content in good:
        up.at(path_of(repo, content), blob(content))
    for content in cut:
        up.at(path_of(repo, content), raw(head(200, [("Content-Length", len(content))]) + content[:5000], end="reset"))
    for content in wrong:
        up.at(path_of(repo, content), answer(200, content[:-1] + b"!"))
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda content: pull(gateway, repo, content), good + cut + wrong))
    assert [a.body for a in answers[:10]] == good and all(a.complete for a in answers[:10])
    for got, content in zip(answers[10:20], cut):
        assert_broken_off(got, content, "broken.test")
    for got, content in zip(answers[20:], wrong):
        assert_broken_off(got, content, "broken.test", "digest")


def test_a_redirected_blob(gateway, up, repo):
    up.at(f"/cdn/{repo}", stream(3 * MIB, b"z" * 65536))
    whole = (b"z" * 65536) * 48
    up.at(path_of(repo, whole), redirect(f"https://localhost:{up.port}/cdn/{repo}?sig=1"))
    assert pull(gateway, repo, whole).body == whole
