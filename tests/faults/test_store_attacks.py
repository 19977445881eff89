# SPDX-License-Identifier: Apache-2.0
"""Attacks on the store: damage behind its back, askers who leave, ends in the middle of everything."""

import os
import pathlib
import shutil
import threading
import time

import pytest

from images import OCI_MANIFEST
from stores import (KIB, MIB, PLACE, SETTLED, Image, Reader, asked, blob_path, gated, gets, hold, hold_blob, is_held, path_of,
                    pull_blob, pull_manifest, pull_right, sample, store, wait_for, wait_held)
from upstream import answer, blob, digest, error, head, raw, redirect

INDEX = ("index.db", "index.db-wal", "index.db-shm")


@pytest.fixture
def keeping(own_gateway):
    return own_gateway(store={"negative_ttl": "0s"})


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def again(own_gateway, before, **more):
    """Another gateway on the directory that one has left."""
    return own_gateway(store={**before.settings["store"], **more})


def lose_index(gateway):
    for name in INDEX:
        (gateway.store / name).unlink(missing_ok=True)


# --- damage behind its back ---


@pytest.mark.parametrize("size", [3 * MIB, 200 * KIB])
def test_a_file_cut_while_it_is_sent(keeping, up, repo, size):
    """Neither whole nor for ever: the connection ends early."""
    content = hold_blob(keeping, up, repo, sample(repo, 24 * MIB))
    reader = Reader(keeping, repo, content, room=64 * KIB)
    reader.read_to(1)
    os.truncate(path_of(keeping, content), size)
    body = reader.drain(20)
    assert len(body) < len(content)


def test_a_file_cut_to_nothing_while_it_is_sent(keeping, up, repo):
    content = hold_blob(keeping, up, repo, sample(repo, 24 * MIB))
    reader = Reader(keeping, repo, content, room=64 * KIB)
    reader.read_to(1)
    os.truncate(path_of(keeping, content), 0)
    assert len(reader.drain(20)) < len(content)


@pytest.mark.parametrize("damage", ["cut", "longer"])
@pytest.mark.parametrize("lost", ["gone", "scribbled"])
def test_files_altered_while_the_index_is_lost(own_gateway, keeping, up, repo, damage, lost):
    """Nothing says any longer what the file was: it must not come as what its name says."""
    content = hold_blob(keeping, up, repo, sample(repo, 300 * KIB))
    assert keeping.stop() == 0
    path = path_of(keeping, content)
    if damage == "cut":
        os.truncate(path, 100 * KIB)
    elif damage == "longer":
        path.write_bytes(content + b"more")
    else:
        with path.open("r+b") as file:
            file.seek(1000)
            file.write(b"altered")
    if lost == "gone":
        lose_index(keeping)
    else:
        (keeping.store / "index.db").write_bytes(os.urandom(40_000))
    gateway = again(own_gateway, keeping)
    got = pull_blob(gateway, repo, content)
    assert not got.complete or got.body == content, (got.status, len(got.body), len(content))


# --- askers who leave ---


def test_many_who_ask_and_leave(keeping, up, repo):
    """Each digest asked and given up is no connection, file and memory for long."""
    gate = threading.Event()
    contents = [sample(f"{repo} {n}", 70_000) for n in range(400)]
    for content in contents:
        up.at(blob_path(repo, content), gated(content, 1000, gate))
    before = descriptors(keeping)
    for content in contents:
        reader = Reader(keeping, repo, content)
        reader.sock.close()
    time.sleep(1.5)
    most = descriptors(keeping)
    start = time.monotonic()
    wait_for(lambda: descriptors(keeping) < before + 70, 40, lambda: f"{descriptors(keeping)} descriptors, {before} before")
    print("most", most, "before", before, "gone after", time.monotonic() - start)
    gate.set()


def test_many_who_ask_a_silent_registry_and_leave(keeping, up, repo):
    contents = [sample(f"{repo} {n}", 70_000) for n in range(400)]
    for content in contents:
        up.at(blob_path(repo, content), raw(b"", "hang"))
    before = descriptors(keeping)
    for content in contents:
        Reader(keeping, repo, content).sock.close()
    start = time.monotonic()
    time.sleep(1)
    most = descriptors(keeping)
    wait_for(lambda: descriptors(keeping) < before + 70, 40, lambda: f"{descriptors(keeping)} descriptors, {before} before")
    print("most", most, "before", before, "gone after", time.monotonic() - start)


# --- ends ---


def test_stop_while_fills_run(own_gateway, up, repo):
    gateway = own_gateway(store={"finish": "0%"} if False else {}, shutdown_grace="2s")
    gate = threading.Event()
    contents = [sample(f"{repo} {n}", 5 * MIB) for n in range(12)]
    for content in contents:
        up.at(blob_path(repo, content), gated(content, 4 * MIB, gate))
    readers = [Reader(gateway, repo, content) for content in contents for _ in range(3)]
    for reader in readers[::3]:
        reader.read_to(1000)
    for reader in readers[1::3]:
        reader.leave()
    gateway.terminate()
    threading.Timer(0.7, gate.set).start()
    start = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - start < 12
    assert not list((gateway.store / "tmp").iterdir())


def test_stop_while_warming_from_a_silent_registry(own_gateway, up, repo):
    gateway = own_gateway(store={}, shutdown_grace="2s")
    image = Image(repo, sizes=(3 * MIB, 70_000)).script(up)
    up.at(blob_path(repo, image.layers[0]), raw(head(200, [("Content-Length", 3 * MIB)]) + image.layers[0][:1000], "hang"))
    done = []
    thread = threading.Thread(target=lambda: done.append(store(gateway, "warm", f"{PLACE}/{repo}:1")))
    thread.start()
    wait_for(lambda: gets(up, repo, image.layers[0]), 10)
    time.sleep(0.5)
    start = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - start < 12
    thread.join(20)
    assert done and done[0].status != 0


# --- what upstreams say ---


def test_a_head_that_leads_nowhere_says_nothing(own_gateway, up, repo):
    """Storage that signs for GET alone answers HEAD with 404: the blob is there all the same."""
    gateway = own_gateway(store={})
    content = sample(repo, 90_000)
    path = blob_path(repo, content)
    away = f"/storage/{digest(content)}"
    up.at(path, lambda request, wire: redirect(f"https://localhost:{up.port}{away}")(request, wire))
    up.at(away, lambda request, wire: (error(404, "X", "no") if request.method == "HEAD" else blob(content))(request, wire))
    first = pull_blob(gateway, repo, content, method="HEAD")
    print("HEAD", first.status, gateway.output()[-600:])
    assert pull_right(gateway, repo, content)


def test_a_registry_taken_off_gives_nothing(own_gateway, up, repo):
    """A reload that removes it: what is held of it is held for nobody."""
    gateway = own_gateway(store={})
    image = hold(gateway, up, Image(repo))
    settings = {k: v for k, v in gateway.settings["registries"].items() if k != PLACE}
    gateway.configure(registries=settings)
    gateway.reload()
    for content in image.blobs:
        got = pull_blob(gateway, repo, content)
        assert got.status == 403, got.status
    for reference in (image.tag, image.digest):
        assert pull_manifest(gateway, repo, reference).status == 403


def test_a_fill_goes_on_under_another_configuration(own_gateway, up, repo):
    """After a reload that leads the registry elsewhere a fill of before is not joined: the new upstream must say yes."""
    gateway = own_gateway(store={})
    gate = threading.Event()
    content = sample(repo, 2 * MIB)
    path = blob_path(repo, content)
    up.at(path, gated(content, MIB, gate))
    first = Reader(gateway, repo, content).read_to(1000)
    registries = {k: dict(v) for k, v in gateway.settings["registries"].items()}
    registries[PLACE]["endpoints"] = [f"https://127.0.0.7:{up.port}"]
    up.at(("127.0.0.7", path), error(404, "BLOB_UNKNOWN", "not here"))
    gateway.configure(registries=registries)
    gateway.reload()
    second = Reader(gateway, repo, content)
    second.quiet(1)
    gate.set()
    print("second status", second.status)
    first.drain()
    assert second.status == 404


def test_silence_of_a_404_by_digest(own_gateway, up, repo):
    """Stale by tag is not what the registry has just said is gone by digest."""
    gateway = own_gateway(store={"tag_ttl": "0s", "negative_ttl": "0s"})
    image = hold(gateway, up, Image(repo))
    up.at(image.by_digest, error(404, "MANIFEST_UNKNOWN", "gone"))
    up.at(image.by_tag, answer(503))
    print(pull_manifest(gateway, repo, image.digest).status)
    got = pull_manifest(gateway, repo, "1")
    print("by tag", got.status, got.header("warning"))
