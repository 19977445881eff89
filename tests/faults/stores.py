# SPDX-License-Identifier: Apache-2.0
"""What the tests of the store share: content to be kept, looks into the directory, `pullgate store`, slow clients."""

import json
import os
import select
import socket
import subprocess
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from gateway import BINARY
from images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, encode
from upstream import Gone, blob, digest, head, manifest

KIB, MIB = 1024, 1024 * 1024
PLACE = "broken.test"  # the registry that is asked unless a test says another
SETTLED = 1.5  # seconds without a write after which the index has everything: it is written at least each second


def sample(salt, size):
    """`size` bytes that no other salt has."""
    block = (salt.encode() + b"|").ljust(256, b".") + bytes(range(256)) * 16
    return (block * (size // len(block) + 1))[:size]


def wait_for(condition, limit=10, why="it did not happen"):
    """What the condition gives, as soon as that is something."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, why() if callable(why) else why
        time.sleep(0.05)
    return found


def side_by_side(rows, test):
    """test(number, *row) for each row, all at once: for tests that wait long for something."""
    with ThreadPoolExecutor(len(rows)) as pool:
        runs = [(row, pool.submit(test, n, *row)) for n, row in enumerate(rows)]
    failed = {row: run.exception() for row, run in runs if run.exception()}
    if failed:
        print(*(f"{row}: {''.join(traceback.format_exception(why))}" for row, why in failed.items()), sep="\n")
    assert not failed


# --- images ---


class Image:
    """A configuration, layers and a manifest, scripted at an upstream for one repository."""

    def __init__(self, repo, salt=None, sizes=(5000, 70_000), tag="1", **more):
        salt = salt or repo
        self.repo, self.tag = repo, tag
        self.config = sample(f"{salt} config", 300)
        self.layers = [sample(f"{salt} layer {n}", size) for n, size in enumerate(sizes)]
        self.body = encode({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(self.config, OCI_CONFIG),
            "layers": [described(layer, OCI_LAYER) for layer in self.layers], **more,
        })
        self.digest = digest(self.body)
        self.blobs = [self.config, *self.layers]

    def script(self, up, headers=()):
        up.at(self.by_tag, manifest(self.body, OCI_MANIFEST, headers))
        up.at(self.by_digest, manifest(self.body, OCI_MANIFEST, headers))
        for content in self.blobs:
            up.at(blob_path(self.repo, content), blob(content))
        return self

    @property
    def by_tag(self):
        return f"/v2/{self.repo}/manifests/{self.tag}"

    @property
    def by_digest(self):
        return f"/v2/{self.repo}/manifests/{self.digest}"

    def pull(self, gateway, registry=PLACE):
        """As clients do: the tag, its digest, then the blobs; each is right and whole."""
        answers = [pull_manifest(gateway, self.repo, reference, registry) for reference in (self.tag, self.digest)]
        for got in answers:
            assert (got.status, got.complete, got.body) == (200, True, self.body), (got.status, got.body[:300])
        for content in self.blobs:
            answers.append(pull_right(gateway, self.repo, content, registry))
        return answers


def described(content, media_type, **more):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def blob_path(repo, content):
    return f"/v2/{repo}/blobs/{digest(content)}"


def pull_manifest(gateway, repo, reference="1", registry=PLACE, **how):
    return gateway.pull(registry, f"{repo}/manifests/{reference}", **how)


def pull_blob(gateway, repo, content, registry=PLACE, value=None, **how):
    headers = [("Range", value)] if value else []
    return gateway.pull(registry, f"{repo}/blobs/{digest(content)}", headers=headers, **how)


def pull_right(gateway, repo, content, registry=PLACE):
    got = pull_blob(gateway, repo, content, registry)
    assert (got.status, got.complete) == (200, True), (got.status, got.body[:300])
    assert got.body == content, "complete, but not what was asked for"
    return got


# --- counting at the upstream ---


def asked(up, repo):
    """All that the upstream was asked about a repository: (method, path)."""
    with up.lock:
        return [(r.method, r.path) for r in up.requests if r.path.startswith(f"/v2/{repo}/")]


def gets(up, repo, content):
    return up.asked(blob_path(repo, content), "GET")


# --- the directory ---


def path_of(gateway, content):
    algorithm, name = digest(content).split(":")
    return gateway.store / "blobs" / algorithm / name[:2] / name


def is_held(gateway, content):
    return path_of(gateway, content).exists()


def wait_held(gateway, *contents, limit=15):
    """A client's transfer ends before its content has its name."""
    for content in contents:
        wait_for(lambda one=content: is_held(gateway, one), limit, lambda: f"not kept: {gateway.output()}")


def hold(gateway, up, image, registry=PLACE):
    """Have an image in the store, and the upstream's list of requests clear of it."""
    image.script(up)
    image.pull(gateway, registry)
    wait_held(gateway, image.body, *image.blobs)
    return image


def hold_blob(gateway, up, repo, content, registry=PLACE):
    up.at(blob_path(repo, content), blob(content))
    pull_right(gateway, repo, content, registry)
    wait_held(gateway, content)
    return content


def settle(gateway):
    """Until the index has everything."""
    seen, since = None, 0.0

    def is_still():
        nonlocal seen, since
        now = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (gateway.store / "index.db", gateway.store / "index.db-wal") if path.exists()]
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= SETTLED

    wait_for(is_still, 20, "the index is written without end")


def disk_use(directory):
    """As `du`: blocks, not bytes of content."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def events(gateway, event):
    return gateway.events(event)


# --- the command ---


class Seen:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def lines(self, kind):
        """The objects of one kind, of --json."""
        found = [json.loads(line) for line in self.out.splitlines()]
        return [line[kind] for line in found if kind in line]

    @property
    def end(self):
        return self.lines("end")[-1]

    def __repr__(self):
        return f"{self.status}: {self.out[-2000:]} {self.err[-4000:]}"


def store(gateway, *args, limit=60, **more):
    """`pullgate store ARGS` with this gateway's configuration, whether it runs or not."""
    env = {**os.environ, "LSAN_OPTIONS": gateway.suppressions}
    done = subprocess.run([str(BINARY), "store", *map(str, args), "--config", str(gateway.config)], capture_output=True, text=True,
                          timeout=limit, env=env, stdin=more.pop("stdin", subprocess.DEVNULL) if "input" not in more else None, **more)
    seen = Seen(done)
    assert done.returncode in (0, 1, 2) and "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, seen
    return seen


# --- clients that take their time ---


class Reader:
    """A client on a socket of its own, of which the test says when it reads. `room`: what its kernel takes by itself."""

    def __init__(self, gateway, repo, content, registry=PLACE, value=None, room=256 * KIB):
        self.sock = gateway.connect(receive_buffer=room)
        ranged = f"Range: {value}\r\n" if value else ""
        target = f"{blob_path(repo, content)}?ns={registry}"
        self.sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{ranged}Connection: close\r\n\r\n".encode())
        self.got = b""

    def more(self, wait=0.0):
        """Take what is there within `wait` seconds; False at the end."""
        if not select.select([self.sock], [], [], wait)[0]:
            return True
        try:
            piece = self.sock.recv(256 * KIB)
        except OSError:
            return False
        self.got += piece
        return piece != b""

    def read_to(self, count, limit=15):
        """Until so many bytes of the body are here."""
        wait_for(lambda: not self.more(0.2) or len(self.body) >= count, limit, lambda: f"{len(self.body)} bytes after {limit} s")
        assert len(self.body) >= count, self.got[:300]
        return self

    def drain(self, limit=30):
        """To its end, and no longer slowly; the body."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        wait_for(lambda: not self.more(0.2), limit, lambda: f"no end after {len(self.got)} bytes")
        self.sock.close()
        return self.body

    def quiet(self, seconds=0.5):
        """Take what comes until nothing has come for so long; the body."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = len(self.got)
            if not self.more(0.05):
                break
            if len(self.got) > before:
                end = time.monotonic() + seconds
        return self.body

    def leave(self):
        self.sock.close()

    @property
    def status(self):
        return int(self.got.split(b" ", 2)[1]) if b"\r\n" in self.got else None

    @property
    def body(self):
        return self.got.partition(b"\r\n\r\n")[2]


# --- steps ---


def gated(content, at, gate, says=None, limit=60):
    """A blob of which the first `at` bytes come at once and the rest when the gate opens. `cut` tells of a gateway that leaves."""

    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content) if says is None else says), ("Accept-Ranges", "bytes")]))
        if request.method == "HEAD":
            return
        wire.send(content[:at])
        if not stands(wire, gate, limit):
            wire.upstream.cut.append(request.path)
            wire.close()
            raise Gone("the gateway left")
        wire.send(content[at:])
        wire.upstream.sent[request.path] = len(content)

    return step


def stands(wire, gate, limit):
    """Wait for the gate; False if the gateway leaves first."""
    end = time.monotonic() + limit
    while not gate.wait(0.05):
        if time.monotonic() > end or wire.upstream.closing.is_set():
            return False
        if select.select([wire.sock], [], [], 0)[0]:
            try:
                if not wire.sock.recv(4096):
                    return False
            except OSError:
                return False
    return True


def ranged_or(step, content):
    """`step` for a whole blob, and single ranges at once."""
    return lambda request, wire: (blob(content) if request.header("range") else step)(request, wire)


def broken_after(content, count, end="notify"):
    """A good head, `count` bytes, then the connection closes."""

    def step(request, wire):
        wire.send(head(200, [("Content-Length", len(content)), ("Accept-Ranges", "bytes")]))
        if request.method == "HEAD":
            return
        wire.send(content[:count])
        if end == "reset":
            time.sleep(0.1)  # let the bytes arrive: RST throws away what was not read yet
            wire.reset()
        else:
            wire.close(notify=end == "notify")

    return step


def chunked(content, piece=70_000):
    def step(request, wire):
        wire.send(head(200, [("Transfer-Encoding", "chunked")]))
        if request.method == "HEAD":
            return
        for start in range(0, len(content), piece):
            part = content[start : start + piece]
            wire.send(b"%x\r\n%s\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")

    return step
