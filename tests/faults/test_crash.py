# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random moments: whatever was being written, the store opens again, holds only right bytes and serves them.

PULLGATE_CRASH_ROUNDS says how often (`./dev crash` runs the long version); PULLGATE_CRASH_SEED repeats a run.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time

from gateway import SANITIZER, assert_whole
from images import OCI_MANIFEST, document, encode
from upstream import blob, digest, manifest

ROUNDS = int(os.environ.get("PULLGATE_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("PULLGATE_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
IMAGES, LAYERS, PULLERS = 6, 4, 4
KILL_AFTER = 0.4  # seconds at most, from the gateway's first answer
NAME = re.compile(r"[0-9a-f]{64}")


class Image:
    """A manifest, its configuration and layers, at the scripted upstream."""

    def __init__(self, up, repo, tag, rng):
        self.repo, self.tag = repo, tag
        self.layers = [rng.randbytes(rng.choice([10, 4096, 70_000, 1_500_000])) for _ in range(LAYERS)]
        self.config = rng.randbytes(200)
        self.manifest = encode(document(self.layers, config=self.config))
        for reference in (tag, digest(self.manifest)):
            up.at(f"/v2/{repo}/manifests/{reference}", manifest(self.manifest, OCI_MANIFEST))
        for content in (self.config, *self.layers):
            up.at(f"/v2/{repo}/blobs/{digest(content)}", blob(content))

    def pull(self, gateway):
        assert_whole(gateway.pull("broken.test", f"{self.repo}/manifests/{self.tag}"), self.manifest)
        for content in (self.config, *self.layers):
            assert_whole(gateway.pull("broken.test", f"{self.repo}/blobs/{digest(content)}"), content)


def pull_until(done, gateway, images, rng, wrong):
    """Pull in any order; what the kill cuts is no failure, wrong bytes that look whole are."""
    while not done.is_set():
        try:
            rng.choice(images).pull(gateway)
        except AssertionError as error:
            if gateway.process.poll() is None and not done.is_set():
                wrong.append(str(error)[:300])
        except (OSError, ValueError):
            pass


def crash(gateway, images, rng):
    done, wrong = threading.Event(), []
    pullers = [threading.Thread(target=pull_until, args=(done, gateway, images, random.Random(rng.random()), wrong))
               for _ in range(PULLERS)]
    for one in pullers:
        one.start()
    time.sleep(rng.random() * KILL_AFTER)
    done.set()  # Before the kill: what fails from here on is the kill's.
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait()
    for one in pullers:
        one.join()
    assert not SANITIZER.search(gateway.stderr_path.read_text(errors="replace")), gateway.output()
    assert not wrong, (SEED, wrong)


def kept(store):
    return [path for path in (store / "blobs").rglob("*") if path.is_file()]


def assert_only_right_bytes(store):
    """Every file under a digest's name is what the name says, whole."""
    for path in kept(store):
        assert NAME.fullmatch(path.name), (SEED, path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, (SEED, path)


def test_killed_at_any_moment(own_gateway, up, repo):
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    images = [Image(up, f"{repo}/{n}", "1", rng) for n in range(IMAGES)]
    store = None
    for _ in range(ROUNDS):
        gateway = own_gateway(store=store or {})
        store = {"directory": str(gateway.store)}
        crash(gateway, images, rng)
        assert_only_right_bytes(gateway.store)
    gateway = own_gateway(store=store)
    for image in images:
        image.pull(gateway)
    assert gateway.stop() == 0, gateway.output()
    assert_only_right_bytes(gateway.store)
    assert not list((gateway.store / "tmp").iterdir()), "leftovers were not swept"
    with sqlite3.connect(f"file:{gateway.store / 'index.db'}?mode=ro", uri=True) as index:
        assert index.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    shutil.rmtree(gateway.store)
