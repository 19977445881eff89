# SPDX-License-Identifier: Apache-2.0
"""Attacks on the store: damage behind its back, askers who leave, ends in the middle of everything."""

import os
import shutil
import threading
import time

import pytest

from bed import FAR, SECRETS
from stores import (KIB, MIB, PLACE, Image, Reader, blob_path, gated, gets, hold, hold_blob, path_of, pull_blob, pull_manifest, pull_right,
                    sample, settle, store, wait_for, wait_held)
from upstream import blob, digest, error, head, raw, redirect, token, unauthorized

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
    wait_for(lambda: descriptors(keeping) < before + 70, 20, lambda: f"{descriptors(keeping)} descriptors, {before} before")
    gate.set()


def test_many_who_ask_a_silent_registry_and_leave(keeping, up, repo):
    contents = [sample(f"{repo} {n}", 70_000) for n in range(400)]
    for content in contents:
        up.at(blob_path(repo, content), raw(b"", "hang"))
    before = descriptors(keeping)
    for content in contents:
        Reader(keeping, repo, content).sock.close()
    time.sleep(1)
    wait_for(lambda: descriptors(keeping) < before + 70, 20, lambda: f"{descriptors(keeping)} descriptors, {before} before")


# --- ends ---


def test_stop_while_fills_run(own_gateway, up, repo):
    gateway = own_gateway(store={}, shutdown_grace="2s")
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
    assert gateway.stop(limit=30) == 0
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
    assert gateway.stop(limit=30) == 0
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
    pull_blob(gateway, repo, content, method="HEAD")
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




# --- the directory goes away ---


def test_the_directory_is_removed(keeping, up, repo):
    """Nobody's pull fails for it, and what was held there is fetched again."""
    image = hold(keeping, up, Image(repo))
    for name in ("blobs", "tmp"):
        shutil.rmtree(keeping.store / name)
    big = sample(f"{repo} big", 3 * MIB)
    up.at(blob_path(repo, big), blob(big))
    for _ in range(2):
        image.pull(keeping)
        pull_right(keeping, repo, big)


def test_no_secret_is_kept(own_gateway, up, repo):
    """Neither tokens nor signed addresses are in what is written."""
    gateway = own_gateway(store={})
    content = sample(repo, 90_000)
    signed = f"/storage/{repo}/{digest(content)}"
    up.at(blob_path(repo, content), lambda request, wire: (
        redirect(f"https://localhost:{up.port}{signed}?X-Amz-Signature={SECRETS['presigned']}") if request.header("authorization")
        else unauthorized(f"https://{FAR}:{up.port}/token/{repo}"))(request, wire))
    up.at(f"/token/{repo}", token(SECRETS["token"]))
    up.at(signed, blob(content, [("ETag", f'"{SECRETS["client"]}"')]))
    pull_right(gateway, repo, content)
    wait_held(gateway, content)
    settle(gateway)
    assert gateway.stop() == 0
    for path in (path for path in gateway.store.rglob("*") if path.is_file()):
        assert path.stat().st_mode & 0o077 == 0, path
        for name in ("presigned", "token", "client", "password"):
            assert SECRETS[name].encode() not in path.read_bytes(), (path, name)


def test_stop_while_importing_and_verifying(own_gateway, up, repo, tmp_path):
    gateway = own_gateway(store={}, shutdown_grace="2s")
    image = hold(gateway, up, Image(repo, sizes=(40 * MIB,)))
    target = tmp_path / "image.tar"
    assert store(gateway, "export", f"{PLACE}/{repo}:1", target).status == 0
    other = own_gateway(store={}, shutdown_grace="2s")
    asked_for = [("import", target), ("import", target), ("verify", "--rate", "1MiB"), ("ls",)]
    threads = [threading.Thread(target=store, args=(other, *arguments)) for arguments in asked_for]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    assert other.stop(limit=30) == 0
    for thread in threads:
        thread.join(30)
