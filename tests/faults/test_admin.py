# SPDX-License-Identifier: Apache-2.0
"""The admin listener: figures that move with what is asked, and health that is told until the end."""

import http.client
import os
import re
import signal
import socket
import threading
import time

import pytest

from bed import certificate, configuration
from gateway import ADDRESS, ROOT, Gateway, assert_failed, free_port, read_answer
from images import script_image
from upstream import blob, digest, head

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\"n])*",?)+\})? (\d+(?:\.\d+)?)')
ADMIN_CAP = 64


class Watched(Gateway):
    """A gateway with an admin listener."""

    def __init__(self, directory, settings, **how):
        self.admin_port = free_port()
        settings = {**settings, "admin": {"address": f"{ADDRESS}:{self.admin_port}"}}
        super().__init__(directory, settings, ready=Watched._is_ready, **how)

    def _is_ready(self):
        try:
            return self.admin("/readyz").status == 200
        except OSError:
            return False

    def admin(self, path, method="GET", body=None):
        connection = http.client.HTTPConnection(ADDRESS, self.admin_port, timeout=10)
        try:
            connection.request(method, path, body=body)
            return read_answer(connection.getresponse(), method)
        finally:
            connection.close()

    def figures(self):
        answer = self.admin("/metrics")
        assert answer.status == 200
        return parse(answer.body.decode())

    def figure(self, name):
        return self.figures().get(name, 0)

    def counted(self, name, at_least, limit=5):
        """A request is counted after its answer has left."""
        end = time.monotonic() + limit
        while (value := self.figure(name)) < at_least and time.monotonic() < end:
            time.sleep(0.05)
        return value


def parse(text):
    """Samples by their series as written; every line is a sample or a comment."""
    found = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        series = sample[1] + (sample[2] or "")
        assert series not in found, series
        found[series] = float(sample[3])
    return found


def requests(registry, kind, result):
    return f'pullgate_requests_total{{registry="{registry}",kind="{kind}",result="{result}"}}'


@pytest.fixture
def watched(bed, tmp_path):
    """A maker of gateways with an admin listener."""
    made = []

    def make(store=True, rules=None, **limits):
        settings = {**configuration(bed, **limits), "store": {"directory": str(tmp_path / "store")} if store else None}
        if rules is not None:
            settings["rules"] = rules
        made.append(Watched(tmp_path / f"gateway-{len(made)}", settings))
        return made[-1]

    yield make
    for gateway in made:
        ended = gateway.process.poll() is not None
        assert gateway.stop() == 0 or ended, gateway.output()


# --- what is answered ---


@pytest.mark.parametrize("path, status, body", [
    ("/healthz", 200, b"ok\n"), ("/readyz", 200, b"ready\n"), ("/readyz?verbose", 200, b"ready\n"),
    ("/", 404, None), ("/metrics/", 404, None), ("/metricsx", 404, None), ("//metrics", 404, None),
    ("/v2/", 404, None), ("/%6detrics", 404, None), ("/x/../metrics", 404, None),
])
def test_pages(watched, path, status, body):
    answer = watched().admin(path)
    assert answer.status == status and answer.complete
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert body is None or answer.body == body


def test_metrics_page(watched):
    gateway = watched()
    answer = gateway.admin("/metrics")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert int(answer.header("content-length")) == len(answer.body)
    assert parse(answer.body.decode())["pullgate_config_enforced"] == 1
    only_head = gateway.admin("/metrics", "HEAD")
    assert (only_head.status, only_head.body) == (200, b"")
    assert int(only_head.header("content-length")) > 1000


def test_each_metric_is_documented(watched):
    text = watched().admin("/metrics").body.decode()
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    told = set(re.findall(r"^\| (`.*)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    told = {name for row in told for name in re.findall(r"`((?:pullgate|process)_[a-z_]+)", row.split(" | ")[0])}
    assert there == told


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading(watched, method):
    gateway = watched()
    answer = gateway.admin("/metrics", method, body=b"x" * 1000)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")
    assert gateway.admin("/healthz").status == 200


def test_one_connection_for_many_scrapes(watched):
    gateway = watched()
    connection = http.client.HTTPConnection(ADDRESS, gateway.admin_port, timeout=10)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(50):
        connection.request("GET", "/metrics")
        assert read_answer(connection.getresponse(), "GET").status == 200
        assert connection.sock.getsockname()[1] == port
    connection.close()


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_not_where_clients_are(watched, path):
    assert watched().ask(path).status == 404


def test_not_in_the_log(watched):
    gateway = watched()
    gateway.ask("/v2/").line
    before = len(gateway.events("request"))
    gateway.admin("/metrics")
    gateway.admin("/nothing")
    gateway.ask("/v2/").line
    assert len(gateway.events("request")) == before + 1


def test_garbage(watched):
    gateway = watched()
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"GET\r\n\r\n", b"\r\n" * 100,
                 b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 500 + b"\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"):
        with gateway.connect(port=gateway.admin_port, timeout=5) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                pass
    assert gateway.admin("/healthz").status == 200


# --- what moves ---


def test_requests_are_counted(watched, up, repo):
    layer = b"a layer that is counted" * 100
    script_image(up, repo, [layer])
    gateway = watched(rules=[{"allow": [f"broken.test/{repo}"]}, {"deny": ["**"], "name": "no others: [here]"}])
    for _ in range(3):
        assert gateway.pull("broken.test", f"{repo}/manifests/1").status == 200
    assert gateway.counted(requests("broken.test", "manifest", "hit"), 2) == 2
    assert gateway.figure(requests("broken.test", "manifest", "miss")) == 1
    for _ in range(2):
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(layer)}").body == layer
        time.sleep(0.3)  # until it is kept
    assert gateway.counted(requests("broken.test", "blob", "hit"), 1) == 1
    figures = gateway.figures()
    assert figures[requests("broken.test", "blob", "miss")] == 1
    series = requests("broken.test", "blob", "hit").replace("requests_total", "response_bytes_total")
    assert figures[series] == len(layer)
    assert figures['pullgate_request_duration_seconds_count{kind="blob"}'] == 2
    assert figures['pullgate_upstream_requests_total{registry="broken.test"}'] >= 2
    assert figures['pullgate_upstream_seconds_total{registry="broken.test"}'] > 0
    assert gateway.counted("pullgate_store_pieces", 1) >= 1
    assert gateway.counted("pullgate_store_bytes", len(layer)) >= len(layer)


def test_denials_are_counted(watched):
    gateway = watched(rules=[{"deny": ["**"], "name": "no others: [here]"}])
    for n in range(4):
        gateway.pull("broken.test", f"x/y/manifests/{n}")
    series = 'pullgate_denials_total{rule="no others: [here]",reason="rule"}'
    assert gateway.counted(series, 4) == 4
    assert gateway.figure(requests("broken.test", "manifest", "denied")) == 4


def test_strangers_make_no_names(watched):
    """What is not listed is one name, however often it is asked for."""
    gateway = watched()
    for n in range(300):
        gateway.pull(f"r{n}.stranger.test", "x/y/manifests/1")
    assert gateway.counted(requests("other", "manifest", "denied"), 300) == 300
    assert not [series for series in gateway.figures() if "stranger" in series]


def test_failures_are_counted(watched, repo):
    gateway = watched()
    assert_failed(gateway.pull("dead.test", f"{repo}/manifests/1"), "dead.test")
    assert gateway.counted(requests("dead.test", "manifest", "error"), 1) == 1
    assert gateway.figure('pullgate_upstream_errors_total{registry="dead.test"}') >= 1
    assert gateway.admin("/readyz").status == 200, "an upstream that is down is not the gateway's fault"


def test_what_is_refused_at_once_is_counted(watched):
    """libh2o answers this by itself."""
    gateway = watched()
    got = gateway.exchange(b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert gateway.counted(requests("other", "other", "error"), 1) >= 1


def test_reloads_are_told(watched):
    gateway = watched()
    before = gateway.figures()
    assert before["pullgate_config_last_reload_successful"] == 1
    gateway.configure(message="another")
    gateway.reload()
    after = gateway.figures()
    info = [series for series in after if series.startswith("pullgate_config_info")]
    assert len(info) == 1 and info[0] not in before
    gateway.config.write_text("{")
    gateway.reload()
    broken = gateway.figures()
    assert broken["pullgate_config_last_reload_successful"] == 0 and info[0] in broken
    gateway.configure(mode="monitor")
    gateway.reload()
    assert gateway.figure("pullgate_config_enforced") == 0


def test_when_a_certificate_ends(bed, tmp_path):
    cert, key = certificate(bed.directory, "ends", f"IP:{ADDRESS}", bed.authority)
    address = f"{ADDRESS}:{free_port()}"
    listener = {"address": address, "tls": {"certificate": str(cert), "key": str(key)}}
    gateway = Watched(tmp_path / "gateway", {**configuration(bed), "store": None}, listeners=[listener])
    end = gateway.figure(f'pullgate_certificate_expires_timestamp_seconds{{listener="{address}"}}')
    assert gateway.stop() == 0
    assert 29 < (end - time.time()) / 86400 < 31


def test_a_process_that_stood_still(watched):
    gateway = watched()
    time.sleep(1.2)
    gateway.figures()  # takes the greatest lag so far away
    gateway.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    gateway.process.send_signal(signal.SIGCONT)
    time.sleep(1.2)
    lags = [value for series, value in gateway.figures().items() if series.startswith("pullgate_loop_lag_max_seconds")]
    assert lags and max(lags) > 1


def test_without_a_store(watched):
    gateway = watched(store=False)
    assert gateway.admin("/readyz").status == 200
    assert not [series for series in gateway.figures() if series.startswith("pullgate_store_")]


def test_scraped_under_load(watched, up, repo):
    """Every answer is whole and well-formed, and no counter goes back."""
    script_image(up, repo, [b"x"])
    gateway = watched()
    stop, failed = threading.Event(), []

    def scrape():
        last = 0
        while not stop.is_set():
            try:
                now = sum(value for series, value in gateway.figures().items()
                          if series.startswith("pullgate_requests_total"))
                assert now >= last
                last = now
            except Exception as error:  # noqa: BLE001 - told by the test's own thread
                failed.append(error)
                return

    threads = [threading.Thread(target=scrape) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        assert gateway.pull("broken.test", f"{repo}/manifests/1").status == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed


# --- at its bounds ---


def test_it_answers_while_the_front_is_full(watched):
    gateway = watched(max_connections=20)
    held = [gateway.connect() for _ in range(40)]
    assert gateway.counted("pullgate_connections", 20) == 20
    assert gateway.figure("pullgate_connections_max") == 20
    assert gateway.admin("/readyz").status == 200
    for sock in held:
        sock.close()
    assert gateway.ask("/v2/").status == 200


def test_the_front_answers_while_it_is_full(watched):
    gateway = watched()
    held = [gateway.connect(port=gateway.admin_port) for _ in range(2 * ADMIN_CAP)]
    assert gateway.ask("/v2/").status == 200
    for sock in held:
        sock.close()
    assert gateway.admin("/healthz").status == 200


# --- the end ---


def test_ready_until_it_stops(watched, up, repo):
    """From SIGTERM on not ready, but alive, until the last transfer has ended."""
    content = bytes(64 * 1024)
    data = head(200, [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(content)))]) + content
    up.at(f"/v2/{repo}/blobs/{digest(content)}", slow_end(data))
    gateway = watched()
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}")))
    client.start()
    assert gateway.counted("pullgate_blob_readers", 1) == 1
    gateway.terminate()
    end = time.monotonic() + 3
    while gateway.admin("/readyz").status != 503 and time.monotonic() < end:
        time.sleep(0.02)
    answer = gateway.admin("/readyz")
    assert (answer.status, answer.body) == (503, b"stopping\n")
    assert gateway.admin("/healthz").status == 200
    assert gateway.figure("pullgate_blob_readers") == 1
    with pytest.raises(OSError):
        gateway.connect(timeout=2)
    client.join(20)
    assert answers and answers[0].body == content
    assert gateway.process.wait(20) == 0


def slow_end(data):
    """All but the last bytes, and those after a while."""

    def step(request, wire):
        wire.send(data[:-10])
        time.sleep(3)
        wire.send(data[-10:])

    return step


def test_a_held_connection_does_not_hold_the_end(watched):
    gateway = watched()
    held = [gateway.connect(port=gateway.admin_port) for _ in range(3)]
    held[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    assert gateway.stop(limit=25) == 0
    for sock in held:
        sock.close()


def test_an_address_that_is_taken(bed, tmp_path):
    with socket.create_server((ADDRESS, 0)) as taken:
        settings = {**configuration(bed), "store": None}
        settings["admin"] = {"address": f"{ADDRESS}:{taken.getsockname()[1]}"}
        with pytest.raises(AssertionError, match="did not start.*admin.*cannot listen"):
            Gateway(tmp_path / "gateway", settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_ready_when_the_disk_is_full(bed, tmp_path, up, repo):
    directory = tmp_path / "small"
    directory.mkdir()
    if os.system(f"mount -t tmpfs -o size=2m none {directory}") != 0:
        pytest.skip("cannot mount")
    content, gateway = os.urandom(6 << 20), None
    up.at(f"/v2/{repo}/blobs/{digest(content)}", blob(content))
    settings = {**configuration(bed), "store": {"directory": str(directory / "store"), "min_free": "0%"}}
    try:
        gateway = Watched(tmp_path / "gateway", settings)
        assert gateway.pull("broken.test", f"{repo}/blobs/{digest(content)}").body == content
        assert gateway.admin("/readyz").status == 200
        assert gateway.figure("pullgate_store_pieces") == 0
    finally:
        status = gateway.stop() if gateway else None
        os.system(f"umount {directory}")
    assert status == 0
