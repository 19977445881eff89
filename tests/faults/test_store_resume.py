# SPDX-License-Identifier: Apache-2.0
"""Transfers that break off and are taken up again, and content that is not what its name says."""

import pytest

from bed import FIRST, SECOND
from gateway import assert_failed
from stores import (KIB, MIB, Reader, blob_path, broken_after, chunked, gets, hold_blob, is_held, pull_blob, pull_right, sample, wait_for,
                    wait_held)
from upstream import answer, blob, digest, error, raw, redirect

HALF = 700_000


@pytest.fixture
def keeping(own_gateway):
    return own_gateway(store={})


@pytest.fixture
def content(repo):
    return sample(repo, 1_500_000)


def assert_nothing_kept(gateway, content):
    wait_for(lambda: not list((gateway.store / "tmp").iterdir()), 15, "something is left in tmp/")
    assert not is_held(gateway, content)


@pytest.mark.parametrize("end", ["close", "notify", "reset"])
def test_a_broken_transfer_goes_on_where_it_was(keeping, up, repo, content, end):
    up.at(blob_path(repo, content), broken_after(content, HALF, end), blob(content))
    pull_right(keeping, repo, content)
    asked = [r.header("range") for r in gets(up, repo, content)]
    assert asked == [None, f"bytes={HALF}-"], "at the next byte, once"
    wait_held(keeping, content)


def test_followers_do_not_notice(keeping, up, repo, content):
    up.at(blob_path(repo, content), broken_after(content, HALF), blob(content))
    readers = [Reader(keeping, repo, content) for _ in range(4)] + [Reader(keeping, repo, content, value="bytes=1000000-")]
    for reader in readers[:4]:
        assert reader.drain() == content
    assert readers[4].drain() == content[1_000_000:]
    assert len(gets(up, repo, content)) == 2


def test_it_breaks_several_times(keeping, up, repo):
    content = sample(repo, 6 * MIB)

    def step(request, wire):
        """Each connection gives a MiB and a half."""
        start = int((request.header("range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part = content[start : start + 3 * MIB // 2]
        length = f"Content-Length: {len(content) - start}\r\n"
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{len(content) - 1}/{len(content)}" if start else "200 OK"
        raw(f"HTTP/1.1 {status}\r\n{length}\r\n".encode() + part, end="notify")(request, wire)

    up.at(blob_path(repo, content), step)
    pull_right(keeping, repo, content)
    wait_held(keeping, content)
    assert [r.header("range") for r in gets(up, repo, content)] == [None, *[f"bytes={n * 3 * MIB // 2}-" for n in (1, 2, 3)]]


def test_it_breaks_for_ever(keeping, up, repo, content):
    """Each time at the same byte: it ends, and the client is not told that it is whole."""
    up.at(blob_path(repo, content), broken_after(content, HALF), error(500, "UNKNOWN", "gone bad"))
    got = pull_blob(keeping, repo, content)
    assert not got.complete and len(got.body) < len(content)
    assert len(gets(up, repo, content)) < 20
    assert_nothing_kept(keeping, content)


def test_the_second_endpoint_takes_over(keeping, up, repo, content):
    path = blob_path(repo, content)
    up.at((FIRST, path), broken_after(content, HALF), error(500, "UNKNOWN", "gone bad"))
    up.at((SECOND, path), blob(content))
    pull_right(keeping, repo, content, "sick-first.test")
    assert [(r.address, r.header("range")) for r in gets(up, repo, content) if r.address == SECOND] == [(SECOND, f"bytes={HALF}-")]
    wait_held(keeping, content)


def test_the_registry_is_asked_again_and_not_where_it_sent_to(keeping, up, repo, content):
    """A presigned URL may be over by then."""
    path = blob_path(repo, content)
    up.at(path, *[redirect(f"https://localhost:{up.port}/cdn/{repo}?sig={n}") for n in (1, 2)])
    up.at(f"/cdn/{repo}", broken_after(content, HALF), blob(content))
    pull_right(keeping, repo, content)
    assert [r.target.rpartition("=")[2] for r in up.asked(f"/cdn/{repo}")] == ["1", "2"]
    assert len(up.asked(path)) == 2
    wait_held(keeping, content)


def test_all_of_it_instead_of_the_rest(keeping, up, repo, content):
    """An upstream without ranges: what is there already is skipped."""
    up.at(blob_path(repo, content), broken_after(content, HALF), answer(200, content))
    pull_right(keeping, repo, content)
    assert len(gets(up, repo, content)) == 2
    wait_held(keeping, content)


CHANGED = {
    "other bytes, 206": lambda other, shorter: blob(other),
    "other bytes, 200": lambda other, shorter: answer(200, other),
    "shorter, 206": lambda other, shorter: blob(shorter),
    "shorter, 200": lambda other, shorter: answer(200, shorter),
    "from another byte": lambda other, shorter: answer(206, other[5:], [("Content-Range", f"bytes 5-{len(other) - 1}/{len(other)}")]),
    "no Content-Range": lambda other, shorter: answer(206, other[HALF:]),
}


@pytest.mark.parametrize("how", CHANGED)
def test_changed_after_the_break(keeping, up, repo, content, how):
    other = sample(f"{repo} other", len(content))
    up.at(blob_path(repo, content), broken_after(content, HALF), CHANGED[how](other, other[:-1000]))
    got = pull_blob(keeping, repo, content)
    assert not got.complete and len(got.body) < len(content)
    assert_nothing_kept(keeping, content)


def test_a_length_that_changes(keeping, up, repo, content):
    """The head promised fewer bytes than the rest has: nothing past the promise is sent."""
    up.at(blob_path(repo, content), broken_after(content, HALF), blob(content + b"more"))
    got = pull_blob(keeping, repo, content)
    assert not got.complete and len(got.body) < len(content)
    assert_nothing_kept(keeping, content)


# --- wrong content ---


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("fault", ["first byte", "last byte", "one less", "one more"])
def test_wrong_content_is_not_kept(keeping, up, repo, content, framing, fault):
    wrong = {"first byte": b"\xff" + content[1:], "last byte": content[:-1] + b"\0", "one less": content[:-1], "one more": content + b"x"}[fault]
    up.at(blob_path(repo, content), answer(200, wrong) if framing == "length" else chunked(wrong))
    assert not pull_blob(keeping, repo, content).complete
    assert_nothing_kept(keeping, content)
    before = len(gets(up, repo, content))
    for value in (None, "bytes=100-", "bytes=0-"):
        assert_failed(pull_blob(keeping, repo, content, value=value), "broken.test", 502, "digest")
    assert len(gets(up, repo, content)) == before, "the upstream was asked again"
    assert not list((keeping.store / "blobs").rglob(digest(content).split(":")[1]))


def test_wrong_content_of_one_registry_is_right_in_another(keeping, bed, up, repo, content):
    up.at(blob_path(repo, content), answer(200, content[:-1] + b"\0"))
    bed.plain.at(blob_path(repo, content), blob(content))
    assert not pull_blob(keeping, repo, content).complete
    pull_right(keeping, repo, content, "plain.test")
    wait_held(keeping, content)


def test_a_cut_blob_is_not_kept(keeping, up, repo, content):
    up.at(blob_path(repo, content), broken_after(content, HALF), error(500, "UNKNOWN", "x"))
    assert not pull_blob(keeping, repo, content).complete
    assert_nothing_kept(keeping, content)
    up.at(blob_path(repo, content), blob(content))
    wait_for(lambda: pull_blob(keeping, repo, content).complete and is_held(keeping, content), 40)


def test_a_chunked_blob_that_breaks_off(keeping, up, repo, content):
    cut = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (HALF, content[:HALF]), end="notify")
    up.at(blob_path(repo, content), cut, blob(content))
    pull_right(keeping, repo, content)
    wait_held(keeping, content)


def test_a_client_that_resumes_by_itself(keeping, up, repo, content):
    """Its own transfer broke; what is held by now is given from there."""
    hold_blob(keeping, up, repo, content)
    Reader(keeping, repo, content, room=16 * KIB).read_to(1000).leave()
    got = pull_blob(keeping, repo, content, value="bytes=1000-")
    assert (got.status, got.body) == (206, content[1000:])
    assert len(gets(up, repo, content)) == 1
