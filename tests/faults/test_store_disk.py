# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, fails or turns read-only, and files that were changed behind the gateway's back. No pull fails for it."""

import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from gateway import BINARY, assert_oci_error, assert_whole, free_port
from stores import (MIB, Image, PLACE, Reader, asked, blob_path, chunked, disk_use, gets, hold, hold_blob, is_held, path_of, pull_blob,
                    pull_manifest, pull_right, sample, settle, side_by_side, store, wait_for, wait_held)
from upstream import blob, error

RECOVERS = 40  # seconds; the disk is tried again every 10
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="file systems of the test's own need root")


@pytest.fixture
def mounts(tmp_path):
    """Make a file system of the test's own: mounts("8m") -> its path."""
    made = []

    def mount(size, kind="tmpfs"):
        path = tmp_path / f"disk{len(made)}"
        path.mkdir()
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path]
        else:
            image = tmp_path / f"disk{len(made)}.image"
            subprocess.run(["truncate", "-s", size, image], check=True)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            command = ["mount", "-o", "loop", image, path]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip(f"this machine mounts no {kind}")
        made.append(path)
        return path

    yield mount
    for path in made:
        subprocess.run(["umount", "-l", path], check=False)


def fill_up(path, leave):
    """Take all but `leave` bytes of the file system."""
    ballast = path / "ballast"
    size = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize - leave
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return ballast


# --- full ---


@as_root
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_full_disk(own_gateway, up, repo, mounts, framing):
    disk = mounts("32m")
    gateway = own_gateway(store={"directory": str(disk / "store"), "min_free": "0%"})
    small = hold_blob(gateway, up, repo, sample(f"{repo} small", 100_000))
    ballast = fill_up(disk, 4 * MIB)
    content = sample(repo, 10 * MIB)
    up.at(blob_path(repo, content), blob(content) if framing == "length" else chunked(content))
    pull_right(gateway, repo, content)
    pull_right(gateway, repo, content)
    assert not is_held(gateway, content)
    pull_right(gateway, repo, small)
    assert len(gets(up, repo, small)) == 1, "what is held is served as before"
    if framing == "chunked":  # else it is known beforehand that there is no room
        assert wait_for(lambda: gateway.events("store_failing"), 10)[0]["message"]
    ballast.unlink()
    wait_for(lambda: pull_right(gateway, repo, content) and is_held(gateway, content), RECOVERS, "it does not recover")
    if framing == "chunked":
        assert gateway.events("store_recovered")


@as_root
def test_a_disk_that_fills_in_the_middle(own_gateway, up, repo, mounts):
    """Everybody who follows goes on from where he stands."""
    disk, gate = mounts("32m"), threading.Event()
    gateway = own_gateway(store={"directory": str(disk / "store"), "min_free": "0%"})
    content = sample(repo, 12 * MIB)

    def step(request, wire):
        (blob if request.header("range") else whole)(content)(request, wire)

    def whole(content):
        first = up.counts[blob_path(repo, content)] == 1
        return chunked_gated(content, 2 * MIB, gate) if first else blob(content)

    up.at(blob_path(repo, content), step)
    readers = [Reader(gateway, repo, content).read_to(MIB) for _ in range(3)]
    fill_up(disk, 3 * MIB)
    gate.set()
    for reader in readers:
        reader.drain(60)
        assert unchunked(reader.body) == content
    assert wait_for(lambda: gateway.events("store_failing"), 10)
    assert not is_held(gateway, content)


def chunked_gated(content, at, gate):
    """Nobody can know beforehand how much room it needs."""

    def step(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (at, content[:at]))
        gate.wait(60)
        rest = content[at:]
        wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))

    return step


def unchunked(body):
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return found
        found, body = found + body[:count], body[count + 2 :]
    return None


@as_root
def test_a_disk_without_any_room_at_the_start(own_gateway, up, repo, mounts):
    disk = mounts("1m")
    fill_up(disk, 0)
    gateway = own_gateway(store={"directory": str(disk / "store"), "min_free": "0%"}, ready=serves_or_ended)
    if gateway.process.poll() is not None:
        assert "store" in gateway.output(), "it says why"
        return
    Image(repo).script(up).pull(gateway)


def serves_or_ended(gateway):
    return gateway.process.poll() is not None or gateway._answers(gateway)


# --- read-only ---


@as_root
def test_a_file_system_that_turns_read_only(own_gateway, up, repo, mounts):
    disk = mounts("64m", "ext4")
    gateway = own_gateway(store={"directory": str(disk / "store"), "min_free": "0%"})
    image = hold(gateway, up, Image(repo))
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True, capture_output=True)
    image.pull(gateway)
    for n in range(3):
        other = Image(f"{repo}/{n}", sizes=(5000, 2_000_000)).script(up)
        other.pull(gateway)
        assert not is_held(gateway, other.layers[1])
    assert wait_for(lambda: gateway.events("store_failing"), 15)[0]["message"]
    image.pull(gateway)
    assert len(gets(up, repo, image.layers[0])) == 1


@as_root
def test_a_directory_that_takes_nothing_for_a_while(own_gateway, up, repo, mounts):
    disk = mounts("64m")
    gateway = own_gateway(store={"directory": str(disk / "store"), "min_free": "0%"})
    image = hold(gateway, up, Image(repo))
    if subprocess.run(["chattr", "+i", gateway.store / "tmp"], capture_output=True).returncode != 0:
        pytest.skip("no immutable directories here")
    try:
        other = Image(f"{repo}/other").script(up)
        other.pull(gateway)
        assert wait_for(lambda: gateway.events("store_failing"), 10)
        image.pull(gateway)
    finally:
        subprocess.run(["chattr", "-i", gateway.store / "tmp"], check=True)
    wait_for(lambda: gateway.events("store_recovered"), RECOVERS, "it does not recover")
    other.pull(gateway)
    wait_held(gateway, *other.blobs)


# --- the index ---


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "a few bytes": lambda data: data[:10],
    "another file": lambda data: b"#!/bin/sh\n" + data[10:],
    "scribbled": lambda data: data[:100] + os.urandom(len(data) - 100),
    "pages of nothing": lambda data: data[:4096] + bytes(len(data) - 4096),
}


def damage(gateway, how):
    index = gateway.store / "index.db"
    data = index.read_bytes()
    with index.open("r+b") as file:
        file.write(DAMAGE[how](data))
        file.truncate(len(DAMAGE[how](data)))


def settle_index(gateway):
    """Bring SQLite's log into the file; that nobody stopped properly stays as it is."""
    index = sqlite3.connect(gateway.store / "index.db")
    assert index.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    index.close()


def has_set_aside(gateway):
    return gateway.events("store_index") and list(gateway.store.glob("index.db.damaged-*"))


@pytest.mark.parametrize("stop", ["stopped", "killed"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_index(own_gateway, up, repo, how, stop):
    """It is set aside; the files are content again, and each repository is asked before it may give them."""
    gateway = own_gateway(store={"negative_ttl": "0s"})
    image, gone = hold(gateway, up, Image(repo)), hold(gateway, up, Image(f"{repo}/gone", repo))
    if stop == "stopped":
        assert gateway.stop() == 0
    else:
        settle(gateway)
        gateway.process.kill()
        gateway.process.wait()
        settle_index(gateway)  # else what is damaged is put right from the log beside it
    damage(gateway, how)
    for content in [gone.body, *gone.blobs]:
        up.at(blob_path(gone.repo, content), error(404, "BLOB_UNKNOWN", "gone"))
        up.at(f"/v2/{gone.repo}/manifests/{image.digest}", error(404, "MANIFEST_UNKNOWN", "gone"))
    gateway = own_gateway(store=gateway.settings["store"])
    for content in image.blobs:
        assert pull_blob(gateway, gone.repo, content).status == 404, "nothing is believed of an index that is damaged"
    assert pull_manifest(gateway, gone.repo, gone.digest).status == 404
    before = len(asked(up, repo))
    assert_whole(pull_manifest(gateway, repo, image.digest), image.body)
    for content in image.blobs:
        pull_right(gateway, repo, content)
    if how != "empty":  # an empty file is a new index to SQLite: nothing is in it that could be believed
        assert wait_for(lambda: has_set_aside(gateway), 10, gateway.output)
        assert "index" in gateway.events("store_index")[0]["message"]
    again = asked(up, repo)[before:]
    assert [method for method, _ in again] == ["HEAD"] * len(again), f"content that is held is confirmed, not fetched: {again}"
    image.pull(gateway)


def test_an_index_damaged_while_it_is_used(own_gateway, up, repo):
    gateways = [own_gateway(store={}) for _ in DAMAGE]

    def damaged(n, how):
        gateway, name = gateways[n], f"{repo}/{n}"
        image = hold(gateway, up, Image(name))
        settle(gateway)
        damage(gateway, how)
        for k in range(3):
            image.pull(gateway)
            hold(gateway, up, Image(f"{name}/{k}"))
        settle(gateway)
        image.pull(gateway)
        gateway.stop()
        gateway = own_gateway(store=gateway.settings["store"])
        image.pull(gateway)
        hold(gateway, up, Image(f"{name}/after"))
        gateway.stop()
        with sqlite3.connect(gateway.store / "index.db") as index:
            assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    side_by_side([(how,) for how in DAMAGE], damaged)


def test_an_index_that_is_removed(own_gateway, up, repo):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo))
    gateway.stop()
    (gateway.store / "index.db").unlink()
    gateway = own_gateway(store=gateway.settings["store"])
    image.pull(gateway)
    assert len(gets(up, repo, image.layers[0])) == 1


def refuses(gateway):
    """`pullgate serve` with this configuration, on another port: what it says before it ends."""
    config = gateway.directory / "second.json"
    config.write_text(json.dumps({**gateway.settings, "listeners": [{"address": f"127.0.0.1:{free_port()}"}]}))
    done = subprocess.run([str(BINARY), "serve", "--config", str(config)], capture_output=True, text=True, timeout=20,
                          env={**os.environ, "LSAN_OPTIONS": gateway.suppressions})
    assert done.returncode not in (0, None) and "Sanitizer" not in done.stderr, done
    return done.stderr + done.stdout


def test_a_newer_format_is_refused_by_name(own_gateway, up, repo):
    gateway = own_gateway(store={})
    hold(gateway, up, Image(repo))
    gateway.stop()
    with sqlite3.connect(gateway.store / "index.db") as index:
        index.execute("PRAGMA user_version=99")
    index.close()
    said = refuses(gateway)
    assert "99" in said and "format" in said, said
    assert not list(gateway.store.glob("index.db.damaged-*")), "it is not damaged, only unknown"
    with sqlite3.connect(gateway.store / "index.db") as index:
        assert index.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_second_gateway_is_refused(own_gateway, up, repo):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo))
    said = refuses(gateway)
    assert str(gateway.process.pid) in said and str(gateway.store) in said, said
    image.pull(gateway)


def test_a_directory_that_others_can_write_to(own_gateway):
    gateway = own_gateway(store={})
    gateway.stop()
    gateway.store.chmod(0o777)
    assert str(gateway.store) in refuses(gateway)


# --- files behind its back ---


def test_altered_with_its_size_kept(own_gateway, up, repo):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo, sizes=(100_000, 200_000)))
    gateway.stop()
    path = path_of(gateway, image.layers[1])
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)
    seen = store(gateway, "verify", "--json")
    assert seen.status == 1, seen
    assert [bad["digest"].split(":")[1] for bad in seen.lines("bad")] == [path.name]
    assert not path.exists()
    assert store(gateway, "verify").status == 0
    gateway = own_gateway(store=gateway.settings["store"])
    image.pull(gateway)
    assert len(gets(up, repo, image.layers[1])) == 2 and len(gets(up, repo, image.layers[0])) == 1


@pytest.mark.parametrize("how", ["shorter", "longer", "empty", "gone", "a directory", "a link"])
def test_altered_with_another_size(own_gateway, up, repo, how):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo, sizes=(100_000, 200_000)))
    gateway.stop()
    path = path_of(gateway, image.layers[1])
    if how in ("gone", "a directory", "a link"):
        path.unlink()
        path.mkdir() if how == "a directory" else how == "a link" and path.symlink_to("/etc/passwd")
    else:
        path.write_bytes({"shorter": image.layers[1][:-1], "longer": image.layers[1] + b"x", "empty": b""}[how])
    gateway = own_gateway(store=gateway.settings["store"])
    assert pull_blob(gateway, repo, image.layers[1], value="bytes=0-9").body == image.layers[1][:10]
    image.pull(gateway)
    wait_for(lambda: pull_right(gateway, repo, image.layers[1]).line["source"] == "hit", 15, "it is not kept any more")


def test_altered_while_the_gateway_runs(own_gateway, up, repo):
    """Whatever is seen of it: a whole answer is a right one."""
    gateway = own_gateway(store={})
    content = hold_blob(gateway, up, repo, sample(repo, 5 * MIB))
    with path_of(gateway, content).open("r+b") as file:
        file.truncate(MIB)

    def right():
        got = pull_blob(gateway, repo, content)
        assert got.body == content or not got.complete, "cut, and it looks whole"
        return got.complete

    wait_for(right, 20, "it never comes right again")


def test_strange_files_are_removed_and_harm_nothing(own_gateway, up, repo):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo))
    gateway.stop()
    strange = [gateway.store / "blobs" / "sha256" / "zz", gateway.store / "blobs" / "sha256" / "ab" / "not-a-digest", gateway.store / "tmp" / "left"]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"strange")
    gateway = own_gateway(store=gateway.settings["store"])
    image.pull(gateway)
    wait_for(lambda: not strange[2].exists(), 15, "tmp/ is not swept")


def test_the_directory_vanishes(own_gateway, up, repo):
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo))
    shutil.rmtree(gateway.store)
    image.pull(gateway)
    Image(f"{repo}/other").script(up).pull(gateway)
    gateway.stop()


# --- room ---


def blobs_of(repo, count, size):
    return [sample(f"{repo} {n}", size) for n in range(count)]


def test_the_cap_is_kept(own_gateway, up, repo):
    gateway = own_gateway(store={"max_size": "16MiB"})
    for content in blobs_of(repo, 14, 2 * MIB):
        up.at(blob_path(repo, content), blob(content))
        pull_right(gateway, repo, content)
    wait_for(lambda: disk_use(gateway.store) <= 16 * MIB, 40, lambda: f"{disk_use(gateway.store)} bytes on the disk")
    time.sleep(2)
    assert disk_use(gateway.store) <= 16 * MIB
    for content in blobs_of(repo, 14, 2 * MIB):
        pull_right(gateway, repo, content)


def test_who_was_used_last_stays(own_gateway, up, repo):
    gateway = own_gateway(store={"max_size": "16MiB", "keep": [f"{PLACE}/{repo}/kept"]})
    kept = hold_blob(gateway, up, f"{repo}/kept", sample(f"{repo} kept", 2 * MIB))
    old, used, *others = blobs_of(repo, 8, 2 * MIB)
    for content in (old, used, *others[:4]):
        hold_blob(gateway, up, repo, content)
        time.sleep(1.1)  # the order is kept in seconds
    time.sleep(11)  # what was used a moment ago always stays
    pull_right(gateway, repo, used)
    for content in others[4:]:
        hold_blob(gateway, up, repo, content)
    wait_for(lambda: not is_held(gateway, old), 60, "nothing was evicted")
    assert is_held(gateway, used) and is_held(gateway, kept) and is_held(gateway, others[5])
    before = len(gets(up, repo, old))
    pull_right(gateway, repo, old)
    assert len(gets(up, repo, old)) == before + 1
    assert pull_right(gateway, repo, used).line["source"] == "hit"


def test_what_is_being_read_is_read_to_its_end(own_gateway, up, repo):
    gateway = own_gateway(store={"max_size": "16MiB"})
    content = hold_blob(gateway, up, repo, sample(repo, 6 * MIB))
    reader = Reader(gateway, repo, content, room=16 * 1024).read_to(10_000)
    time.sleep(11)  # what was used a moment ago always stays
    for other in blobs_of(repo, 10, 2 * MIB):
        up.at(blob_path(repo, other), blob(other))
        pull_right(gateway, repo, other)
        reader.more(0.1)
    wait_for(lambda: not is_held(gateway, content), 60, "it was never evicted")
    assert reader.drain(60) == content


def test_what_is_larger_than_the_cap_passes_through(own_gateway, up, repo):
    gateway = own_gateway(store={"max_size": "16MiB"})
    small = hold_blob(gateway, up, repo, sample(f"{repo} small", MIB))
    content = sample(repo, 20 * MIB)
    up.at(blob_path(repo, content), blob(content))
    pull_right(gateway, repo, content)
    assert not is_held(gateway, content)
    assert pull_right(gateway, repo, small).line["source"] == "hit", "it is no reason to throw the rest away"


def test_a_confirmation_outlives_eviction(own_gateway, up, repo):
    gateway = own_gateway(store={})
    content = hold_blob(gateway, up, f"{repo}/one", sample(repo, MIB))
    gateway.stop()
    path_of(gateway, content).unlink()
    gateway = own_gateway(store=gateway.settings["store"])
    before = len(asked(up, f"{repo}/one"))
    pull_right(gateway, f"{repo}/one", content)
    assert [method for method, _ in asked(up, f"{repo}/one")[before:]] == ["GET"]
    assert_oci_error(pull_blob(gateway, f"{repo}/two", content), 404, "not_found")
