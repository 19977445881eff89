# SPDX-License-Identifier: Apache-2.0
"""A blob on its way in: one transfer for everybody, parts of it before it is whole, and no last byte before it is right."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import assert_whole
from stores import (KIB, MIB, Reader, asked, blob_path, gated, gets, is_held, pull_blob, pull_right, ranged_or, sample, side_by_side,
                    wait_for, wait_held)
from upstream import Gone, blob, head, redirect, stream


@pytest.fixture
def keeping(own_gateway):
    return own_gateway(store={})


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_many_clients_one_transfer(keeping, up, repo):
    content = sample(repo, 3 * MIB)
    up.at(blob_path(repo, content), slowly(content))
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: pull_blob(keeping, repo, content), range(32)))
    for got in answers:
        assert_whole(got, content)
    assert len(gets(up, repo, content)) == 1
    sources = [got.line["source"] for got in answers]
    assert sources.count("miss") == 1 and set(sources) <= {"miss", "follow", "hit"}, sources
    assert sources.count("follow") > 0, sources


def slowly(content, pause=0.02):
    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content))]))
        for start in range(0, len(content) if request.method == "GET" else 0, 64 * KIB):
            wire.send(content[start : start + 64 * KIB])
            time.sleep(pause)

    return step


def test_many_clients_one_redirected_transfer(keeping, up, repo):
    content = b"z" * (3 * MIB)
    up.at(blob_path(repo, content), redirect(f"https://localhost:{up.port}/cdn/{repo}?sig=1"))
    up.at(f"/cdn/{repo}", stream(len(content), b"z" * 65536, pause=0.01))
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: pull_blob(keeping, repo, content), range(8)):
            assert_whole(got, content)
    assert len(up.asked(f"/cdn/{repo}")) == 1 and len(gets(up, repo, content)) == 1


def test_followers_are_sent_what_is_there(keeping, up, repo, gate):
    """Nobody waits for the end."""
    content = sample(repo, 2 * MIB)
    up.at(blob_path(repo, content), gated(content, MIB, gate))
    readers = [Reader(keeping, repo, content) for _ in range(8)]
    for reader in readers:
        reader.read_to(MIB - 64 * KIB)
    gate.set()
    for reader in readers:
        assert reader.drain() == content
    assert len(gets(up, repo, content)) == 1


def test_the_first_client_is_killed_half_way(keeping, up, repo, gate):
    content = sample(repo, 4 * MIB)
    up.at(blob_path(repo, content), gated(content, 2 * MIB, gate))
    first = Reader(keeping, repo, content).read_to(MIB)
    others = [Reader(keeping, repo, content).read_to(MIB) for _ in range(4)]
    first.leave()
    gate.set()
    for other in others:
        assert other.drain() == content
    assert len(gets(up, repo, content)) == 1
    wait_held(keeping, content)


def test_a_slow_first_client_does_not_hold_the_others(keeping, up, repo):
    """The first one reads nothing at all; the others are not paced by it."""
    content = sample(repo, 8 * MIB)
    up.at(blob_path(repo, content), blob(content))
    first = Reader(keeping, repo, content).read_to(1)
    pull_right(keeping, repo, content)
    assert first.drain() == content
    assert len(gets(up, repo, content)) == 1


# --- all leave ---


ALL_LEAVE = [  # finish, how much is there in percent, does it go on
    ("50%", 60, True), ("50%", 10, False), ("0%", 1, True), ("100%", 90, False), ("never", 95, False), (None, 60, True), (None, 10, False),
]


def test_all_leave(own_gateway, up, repo):
    """Each row takes as long as somebody else is waited for, so they do so side by side."""
    gateways = [own_gateway(store={"finish": finish} if finish else {}) for finish, _, _ in ALL_LEAVE]
    side_by_side(ALL_LEAVE, lambda n, _, there, goes_on: all_leave(gateways[n], up, f"{repo}/{n}", there, goes_on))


def all_leave(gateway, up, repo, there, goes_on):
    gate = threading.Event()
    content = sample(repo, 4 * MIB)
    path, at = blob_path(repo, content), 4 * MIB * there // 100
    up.at(path, trickling(content, at, gate))
    try:
        for reader in [Reader(gateway, repo, content).read_to(at - 64 * KIB if at > 64 * KIB else 1) for _ in range(2)]:
            reader.leave()
        if goes_on:
            time.sleep(7)  # longer than anybody is waited for
            assert path not in up.cut, "it was given up"
            gate.set()
            wait_held(gateway, content)
            pull_right(gateway, repo, content)
            assert len(gets(up, repo, content)) == 1
        else:
            wait_for(lambda: path in up.cut, 15, "nobody wants it and it goes on")
            assert path not in up.sent and not is_held(gateway, content)
            wait_for(lambda: not list((gateway.store / "tmp").iterdir()), 10, "something is left in tmp/")
            up.at(path, blob(content))
            pull_right(gateway, repo, content)
    finally:
        gate.set()


def trickling(content, at, gate):
    """`at` bytes at once, then a few now and then until the gate opens."""

    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content))]))
        wire.send(content[:at])
        sent = at
        try:
            while not gate.wait(0.05):
                wire.send(content[sent : min(sent + 512, len(content) - 1)])
                sent = min(sent + 512, len(content) - 1)
            wire.send(content[sent:])
            wire.upstream.sent[request.path] = len(content)
        except Gone:
            wire.upstream.cut.append(request.path)
            raise

    return step


def test_all_leave_an_upstream_that_says_nothing_more(own_gateway, up, repo, gate):
    """That it is silent is no reason to hold on to it for longer."""
    gateway = own_gateway(store={"finish": "never"})
    content = sample(repo, 4 * MIB)
    path = blob_path(repo, content)
    up.at(path, gated(content, 2 * MIB, gate))
    Reader(gateway, repo, content).read_to(MIB).leave()
    wait_for(lambda: path in up.cut, 20, "nobody wants it and it goes on")


def test_somebody_comes_in_time(own_gateway, up, repo, gate):
    """A client that breaks off and tries again, as they do, finds its transfer where it was."""
    gateway = own_gateway(store={"finish": "never"})
    content = sample(repo, 4 * MIB)
    up.at(blob_path(repo, content), gated(content, 2 * MIB, gate))
    Reader(gateway, repo, content).read_to(MIB).leave()
    second = Reader(gateway, repo, content, value=f"bytes={MIB}-").read_to(512 * KIB)
    gate.set()
    assert second.drain() == content[MIB:]
    assert len(gets(up, repo, content)) == 1


# --- parts of what is coming ---


def test_parts_that_are_there_come_at_once(keeping, up, repo, gate):
    content = sample(repo, 4 * MIB)
    up.at(blob_path(repo, content), gated(content, 2 * MIB, gate))
    first = Reader(keeping, repo, content).read_to(2 * MIB - 64 * KIB)
    for start, end in [(0, 9), (5, 9), (100_000, 1_000_000), (MIB, MIB + 10)]:
        got = pull_blob(keeping, repo, content, value=f"bytes={start}-{end}")
        assert (got.status, got.complete, got.body) == (206, True, content[start : end + 1])
        assert got.header("content-range") == f"bytes {start}-{end}/{len(content)}"
        assert got.line["source"] == "follow", got.line
    assert pull_blob(keeping, repo, content, value=f"bytes={len(content)}-").status == 416
    assert len(gets(up, repo, content)) == 1
    gate.set()
    assert first.drain() == content


@pytest.mark.parametrize("value,first,last", [("bytes=1000000-3000000", 1_000_000, 3_000_000), ("bytes=3000000-3000009", 3_000_000, 3_000_009),
                                              ("bytes=3000000-", 3_000_000, 4 * MIB - 1), ("bytes=-10", 4 * MIB - 10, 4 * MIB - 1)])
def test_parts_just_ahead_wait_for_it(keeping, up, repo, gate, value, first, last):
    content = sample(repo, 4 * MIB)
    up.at(blob_path(repo, content), ranged_or(gated(content, 2 * MIB, gate), content))
    whole = Reader(keeping, repo, content).read_to(MIB)
    part = Reader(keeping, repo, content, value=value)
    part.quiet()
    gate.set()
    assert part.drain() == content[first : last + 1] and part.status == 206
    assert whole.drain() == content
    assert len(gets(up, repo, content)) == 1, "one transfer all the same"


def test_a_part_far_ahead_is_fetched_for_itself(keeping, up, repo, gate):
    content = sample(repo, 24 * MIB)
    up.at(blob_path(repo, content), ranged_or(gated(content, MIB, gate), content))
    whole = Reader(keeping, repo, content).read_to(512 * KIB)
    start = 20 * MIB
    got = pull_blob(keeping, repo, content, value=f"bytes={start}-{start + 99}")
    assert (got.status, got.complete, got.body) == (206, True, content[start : start + 100])
    assert [r.header("range") for r in gets(up, repo, content)] == [None, f"bytes={start}-{start + 99}"]
    gate.set()
    assert whole.drain() == content
    wait_held(keeping, content)


def test_chunks_as_containerd_fetches_them(keeping, up, repo, gate):
    """Several open-ended ranges at once, each dropped after its chunk."""
    content = sample(repo, 8 * MIB)
    chunk = 2 * MIB
    up.at(blob_path(repo, content), ranged_or(gated(content, 5 * MIB, gate), content))
    starts = range(0, len(content), chunk)
    readers = [Reader(keeping, repo, content, value=f"bytes={start}-") for start in starts]
    for start, reader in list(zip(starts, readers))[:2]:
        assert reader.read_to(chunk).body[:chunk] == content[start : start + chunk], "no chunk waits for the end of the blob"
        reader.leave()
    gate.set()
    for start, reader in list(zip(starts, readers))[2:]:
        assert reader.read_to(chunk).body[:chunk] == content[start : start + chunk]
        reader.leave()
    wait_held(keeping, content)
    fetched = [r.header("range") for r in gets(up, repo, content)]
    assert fetched in ([None], ["bytes=0-"]), f"one transfer, of all of it: {fetched}"


def test_an_open_range_from_the_start_is_the_blob(keeping, up, repo):
    content = sample(repo, 2 * MIB)
    up.at(blob_path(repo, content), blob(content))
    got = pull_blob(keeping, repo, content, value="bytes=0-")
    assert (got.status, got.complete, got.body) == (206, True, content)
    wait_held(keeping, content)
    pull_right(keeping, repo, content)
    assert len(gets(up, repo, content)) == 1


# --- the last byte ---


WAYS = {"all": None, "from the start": "bytes=0-", "to the last": "bytes=0-{last}", "past the start": "bytes=1000-", "the end": "bytes=-10",
        "the last": "bytes={last}-{last}", "to past the end": "bytes=5-99999999"}


@pytest.mark.parametrize("way", WAYS)
def test_the_last_byte_is_held_back(keeping, up, repo, gate, way):
    content = sample(repo, 300_000)
    wrong = content[:-1] + bytes([content[-1] ^ 1])
    up.at(blob_path(repo, content), gated(wrong, len(wrong) - 1, gate))
    first = Reader(keeping, repo, content).read_to(len(content) - 70_000)
    value = WAYS[way].format(last=len(content) - 1) if WAYS[way] else None
    reader = Reader(keeping, repo, content, value=value)
    before = reader.quiet()
    gate.set()
    wanted = {"past the start": len(content) - 1000, "the end": 10, "the last": 1, "to past the end": len(content) - 5}.get(way, len(content))
    assert len(before) < wanted
    reader.drain()
    first.drain()
    assert len(first.body) < len(content)
    assert reader.status >= 400 or len(reader.body) < wanted, "a wrong blob's last byte has left"
    wait_for(lambda: not list((keeping.store / "tmp").iterdir()), 10, "something is left in tmp/")
    assert not is_held(keeping, content)
    again = pull_blob(keeping, repo, content, value=value)
    assert again.status == 502 and again.line["reason"] == "digest", again.status


def test_the_last_byte_waits_for_the_verified_digest_also_when_right(keeping, up, repo, gate):
    content = sample(repo, 300_000)
    up.at(blob_path(repo, content), gated(content, len(content) - 1, gate))
    readers = [Reader(keeping, repo, content, value=value) for value in (None, "bytes=0-", "bytes=200000-")]
    for reader, count in zip(readers, (300_000, 300_000, 100_000)):
        assert len(reader.quiet()) < count
    gate.set()
    for reader, start in zip(readers, (0, 0, 200_000)):
        assert reader.drain() == content[start:]
    assert len(gets(up, repo, content)) == 1


def test_a_head_while_it_is_coming(keeping, up, repo, gate):
    content = sample(repo, 300_000)
    up.at(blob_path(repo, content), gated(content, 100_000, gate))
    first = Reader(keeping, repo, content).read_to(50_000)
    got = pull_blob(keeping, repo, content, method="HEAD")
    assert (got.status, got.header("content-length")) == (200, "300000")
    gate.set()
    assert first.drain() == content
    assert [method for method, _ in asked(up, repo)].count("GET") == 1


def test_a_failed_transfer_ends_for_all(keeping, up, repo, gate):
    """What never comes is not waited for by those who follow."""
    content = sample(repo, 2 * MIB)

    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content))]))
        wire.send(content[:MIB])
        gate.wait(20)
        wire.reset()

    up.at(blob_path(repo, content), step, lambda request, wire: wire.reset())
    readers = [Reader(keeping, repo, content).read_to(512 * KIB) for _ in range(4)]
    gate.set()
    for reader in readers:
        assert len(reader.drain(60)) < len(content)
    assert not is_held(keeping, content)
