# SPDX-License-Identifier: Apache-2.0
"""What is measured. Each work is done by each server in turn, in every round; a sample is a dict of figures.

Requests a second are wrk's; everything else is pull.c's, whose connections and TLS stand before its clock runs.
"""

import re
import socket
import statistics
import subprocess
import time

import content
import servers

MIB, GIB = 1024 * 1024, 1024 * 1024 * 1024
SETTLE = 0.7  # Seconds after a transfer, for what a server still does: it is counted as its CPU.
SMALL = 16 * 1024
CROWDS = (8, 64)
SLOW_CLIENTS, SLOW_RATE, SLOW_SECONDS = 1000, 64 * 1024, 15


class Bench:
    """What all works need."""

    def __init__(self, args, directory, certs, tools, upstream, material):
        self.args, self.directory, self.certs, self.tools = args, directory, certs, tools
        self.upstream, self.content = upstream, material
        self.serial = 0

    def pull_command(self, server, tls, count, path, *options):
        ca = ["-s", self.certs / "ca.pem"] if tls else []
        return [str(c) for c in (self.tools / "pull", *ca, *options, server.ports[tls], count, server.path(path))]

    def pull(self, server, tls, count, path):
        """(first byte, last byte, bytes) of each answer, in seconds from the first request."""
        got = subprocess.run(self.pull_command(server, tls, count, path), capture_output=True, text=True, check=False)
        if got.returncode != 0:
            raise SystemExit(f"bench: {server.name}: {path}: {got.stdout[-300:]}{got.stderr[-300:]}")
        rows = [line.split() for line in got.stdout.splitlines()]
        return [(float(first), float(last), int(size)) for _, size, first, last in rows]

    def asked_upstream(self, digest):
        """How many GETs for it reached the registry."""
        log = (self.upstream.directory / "upstream.out").read_text(errors="replace")
        return len(re.findall(rf'"GET /v2/\S*/blobs/{digest} HTTP', log))

    def fresh(self, size):
        """A blob that no server has seen, in a repository of its own: (repository, path, digest)."""
        self.serial += 1
        repository = f"bench/cold{self.serial}"
        digest = self.content.blob(repository, size)
        return repository, f"/v2/{repository}/blobs/{digest}", digest

    def warm_upstream(self, all_servers):
        """Have each server ask its upstream once, so that connections stand."""
        repository, path, digest = self.fresh(SMALL)
        for server in all_servers:
            self.pull(server, server is self.upstream, 1, path)
        return repository, digest


# --- from the store ---


class Requests:
    """wrk, 64 connections that stay."""

    def __init__(self, title, path, tls):
        self.title, self.path, self.tls = title, path, tls

    def sample(self, bench, server, number):
        scheme = "https" if self.tls else "http"
        url = f"{scheme}://localhost:{server.ports[self.tls]}{server.path(self.path)}"
        before = server.cpu()
        out = servers.run("wrk", "-t2", "-c64", f"-d{bench.args.seconds}s", "-H", f"Accept: {content.MANIFEST}",
                          url).stdout
        cpu = server.cpu() - before
        if "Non-2xx" in out or re.search(r"(connect|read|write) [1-9]", out):  # Time-outs only make it slow.
            raise SystemExit(f"bench: {server.name}: {url}:\n{out}")
        count = int(re.search(r"(\d+) requests in", out).group(1))
        return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), "cpu": cpu / count * 1e6}


class Stored:
    """A large blob from the store, two clients at a time."""

    def __init__(self, title, path, size, tls):
        self.title, self.path, self.size, self.tls = title, path, size, tls

    def sample(self, bench, server, number):
        before = server.cpu()
        rows = bench.pull(server, self.tls, 2, self.path)
        cpu = server.cpu() - before
        return {"rate": 2 * self.size / MIB / max(last for _, last, _ in rows), "cpu": cpu * GIB / (2 * self.size)}


# --- from the upstream ---


class Cold:
    """A layer that nobody has asked for before: by one client, and directly as well."""

    direct = True

    def __init__(self, title, size):
        self.title, self.size = title, size

    def prepare(self, bench, all_servers):
        self.repository, self.path, self.digest = bench.fresh(self.size)
        bench.warm_upstream([*all_servers, bench.upstream])

    def sample(self, bench, server, number):
        before = server.cpu()
        (first, last, _), = bench.pull(server, server is bench.upstream, 1, self.path)
        time.sleep(SETTLE)
        return {"rate": self.size / MIB / last, "cpu": (server.cpu() - before) * GIB / self.size, "first": first * 1e3}

    def finish(self, bench, all_servers):
        for server in [*all_servers, bench.upstream]:
            server.forget(self.repository, self.digest)


class FirstByte(Cold):
    """The same for many small layers: when the first byte comes."""

    def __init__(self, title, size, times):
        super().__init__(title, size)
        self.times = times

    def prepare(self, bench, all_servers):
        self.layers = [bench.fresh(self.size) for _ in range(self.times)]
        bench.warm_upstream([*all_servers, bench.upstream])

    def sample(self, bench, server, number):
        firsts = [bench.pull(server, server is bench.upstream, 1, path)[0][0] for _, path, _ in self.layers]
        return {"first": statistics.median(firsts) * 1e3}

    def finish(self, bench, all_servers):
        pass


class Crowd:
    """Many clients at once on one cold layer. Each server gets a layer of its own, so that GETs can be told apart."""

    direct = False

    def __init__(self, title, size, clients):
        self.title, self.size, self.clients = title, size, clients

    def prepare(self, bench, all_servers):
        bench.warm_upstream(all_servers)

    def sample(self, bench, server, number):
        repository, path, digest = bench.fresh(self.size)
        rows = bench.pull(server, False, self.clients, path)
        firsts = [first for first, _, _ in rows]
        gets = bench.asked_upstream(digest)
        time.sleep(SETTLE)
        for one in (server, bench.upstream):
            one.forget(repository, digest)
        return {"gets": gets, "done": max(last for _, last, _ in rows), "spread": (max(firsts) - min(firsts)) * 1e3}

    def finish(self, bench, all_servers):
        pass


# --- pullgate alone ---


def slow_readers(bench, gate, path, tls):
    """Anonymous memory while 1,000 clients read slowly: its maximum, sampled."""
    command = bench.pull_command(gate, tls, SLOW_CLIENTS, path, "-r", SLOW_RATE, "-t", SLOW_SECONDS)
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most = 0
    while client.poll() is None:
        most = max(most, gate.anonymous())
        time.sleep(0.2)
    rows = [line.split() for line in client.communicate()[0].splitlines()]
    read = [int(row[1]) for row in rows]
    if client.returncode != 0 or len(read) != SLOW_CLIENTS or min(read) == 0:
        raise SystemExit(f"bench: the slow readers were not served: {client.returncode}, {len(read)}")
    return {"bytes": most, "read": statistics.median(read) / (SLOW_RATE * SLOW_SECONDS)}


def ask_once(port, path):
    """Has it answered 200?"""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return s.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start_time(gate, path):
    begun = time.monotonic()
    process = subprocess.Popen(gate.started[0].args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        while not ask_once(gate.ports[False], path):
            time.sleep(0.0005)
            assert process.poll() is None and time.monotonic() - begun < 10
        return time.monotonic() - begun
    finally:
        process.terminate()
        process.wait(40)


def start_times(bench, blobs, times):
    """Seconds from exec to the first 200, for a blob from a store of many; a clean stop before, a warm page cache."""
    store = bench.directory / "many"
    digest = servers.run(bench.tools / "fill_store", store, blobs, servers.REGISTRY_NAME, "bench/many").stdout.strip()
    gate = servers.start_pullgate(bench.directory / "start", bench.certs, bench.upstream, bench.args.threads,
                                  bench.args.binary, store)
    path = gate.path(f"/v2/bench/many/blobs/{digest}")
    try:
        assert ask_once(gate.ports[False], path)
    finally:
        gate.stop()
    return statistics.median(start_time(gate, path) for _ in range(times))


def decision_ns(bench, times):
    return statistics.median(float(servers.run(bench.tools / "decide").stdout) for _ in range(times))


def sha256_seconds_per_gib():
    """SHA-256's own cost here: CPU seconds for one GiB."""
    speeds = []
    for _ in range(3):
        out = servers.run("openssl", "speed", "-mr", "-seconds", "1", "-bytes", "16384", "-evp", "sha256")
        line = next(l for l in (out.stdout + out.stderr).splitlines() if l.startswith("+F:"))
        speeds.append(float(line.split(":")[-1]))
    return GIB / statistics.median(speeds)
