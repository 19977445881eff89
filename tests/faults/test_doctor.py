# SPDX-License-Identifier: Apache-2.0
"""`pullgate doctor`: what `pullgate client` writes is closed, what people do to it is found and mended, and gateways
that fail are told apart."""

import json
import os
import shutil
import subprocess
import time

import pytest

from bed import FAR, SECOND
from gateway import ADDRESS, BINARY, free_port
from upstream import answer, error, manifest

CLIENTS = ["docker", "containerd", "nerdctl", "buildkit", "podman", "buildah", "skopeo", "cri-o", "k3s", "rke2", "desktop"]
SITE = {"format": 1, "gateway": "https://gw.test", "proxy": "http://gw.test:3128", "message": "Ask platform@example.test",
        "registries": [{"name": "docker.io", "hosts": ["registry-1.docker.io", "auth.docker.io"]},
                       {"name": "ghcr.io", "hosts": ["ghcr.io", "*.githubusercontent.com"]},
                       {"name": "*.example.org", "hosts": ["*.example.org"]}],
        "direct": ["registry.corp.test", "localhost:5000"], "no_proxy": ["git.corp.test"]}
CANARY = "/v2/denied/manifests/always"


def run(*argv, env=None, **how):
    return subprocess.run([str(BINARY), *map(str, argv)], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False, env={**os.environ, **(env or {})}, **how)


class Told:
    def __init__(self, done):
        self.status, self.stderr = done.returncode, done.stderr
        assert done.stdout, done.stderr
        self.report = json.loads(done.stdout)

    def codes(self, severity="open"):
        return {f["code"] for f in self.report["findings"] if f["severity"] == severity}

    def finding(self, code):
        return next(f for f in self.report["findings"] if f["code"] == code)

    def client(self, name):
        return next(c for c in self.report["clients"] if c["name"] == name)


def doctor(*argv, **how):
    return Told(run("doctor", "--json", *argv, **how))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.json"
    path.write_text(json.dumps(SITE))
    return path


def put(root, path, text=""):
    at = root / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(text)
    return at


def write(root, site, bed, *names, status=0):
    done = run("client", *names, "--site", site, "--ca", bed.ca, "--strict", "--write", "--root", root)
    assert done.returncode == status, done.stdout + done.stderr


# --- what is written is closed ---


@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_written_is_closed(root, site, bed, name):
    write(root, site, bed, name)
    told = doctor(name, "--root", root, "--offline")
    assert told.codes() == set() and told.status == 0, told.report
    assert told.client(name)["uses"] == "yes" and told.client(name)["leaves"] == "no"
    assert told.report["verdict"] == "closed" and told.report["gateway"] == SITE["gateway"]
    assert "missing_ca" not in told.codes("warning") and "wrong_ca" not in told.codes("warning")


def test_all_of_them_together(root, site, bed):
    write(root, site, bed, *CLIENTS)
    told = doctor("--root", root, "--offline")
    assert told.codes() == set(), told.report
    assert {"docker", "containerd", "buildkit", "k3s"} <= {c["name"] for c in told.report["clients"]}


def test_docker_by_takeover(root, tmp_path, bed):
    path = put(tmp_path, "takeover.json", json.dumps({**SITE, "takeover": True}))
    done = run("client", "docker", "--takeover", "--address", "192.0.2.7", "--site", path, "--ca", bed.ca, "--strict",
               "--write", "--root", root)
    assert done.returncode == 0, done.stdout + done.stderr
    told = doctor("docker", "--root", root, "--offline")
    assert told.codes() == set(), told.report
    assert told.client("docker")["uses"] == "yes"


def test_docker_of_old(root, site, bed):
    done = run("client", "docker", "--docker-version", "20.10", "--site", site, "--ca", bed.ca, "--write", "--root", root)
    assert done.returncode == 0
    told = doctor("docker", "--root", root, "--offline")
    assert told.codes() == set(), told.report


def test_without_a_proxy_it_is_told(root, tmp_path, bed):
    path = put(tmp_path, "bare.json", json.dumps({k: v for k, v in SITE.items() if k != "proxy"}))
    write(root, path, bed, "docker", "buildkit")
    told = doctor("docker", "buildkit", "--root", root, "--offline")
    assert told.codes() == {"fallback", "no_proxy"} and told.status == 1
    assert "connect" in told.finding("no_proxy")["todo"]


# --- what people do to it ---

WAYS = {
    "a typing error": ("docker", "etc/docker/certs.d/_default/hosts.toml", 'server = "https://gw.test\n', "unparsable"),
    "a directory of its own": ("docker", "etc/docker/certs.d/ghcr.io/hosts.toml", "", "host_directory"),
    "another mirror": ("docker", "etc/docker/daemon.json", '{"registry-mirrors": ["https://other.test"]}', "other_mirror"),
    "the proxy taken out": ("docker", "etc/docker/daemon.json", '{"registry-mirrors": ["https://gw.test"]}', "no_proxy"),
    "an insecure registry": ("docker", "etc/docker/daemon.json", '{"insecure-registries": ["evil.test"]}',
                             "insecure_registry"),
    "containerd's old form": ("containerd", "etc/containerd/certs.d/_default/hosts.toml", '[host."https://gw.test"]\n',
                              "host_without_server"),
    "a later drop-in": ("podman", "etc/containers/registries.conf.d/zzz.conf", '[[registry]]\nlocation = "docker.io"\n',
                        "unused"),
    "a user's own": ("podman", "home/alice/.config/containers/registries.conf", "", "user_configuration"),
    "a builder that lists nothing": ("buildkit", "etc/buildkit/buildkitd.toml", "", "unlisted_registry"),
    "k3s's flag taken out": ("k3s", "etc/rancher/k3s/config.yaml", "node-name: a\n", "fallback"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_people_do_is_found_and_mended(root, site, bed, way):
    name, path, text, code = WAYS[way]
    write(root, site, bed, name)
    put(root, path, text)
    broken = doctor(name, "--root", root, "--offline")
    held = code in broken.codes("warning")  # the proxy still stops it
    assert code in broken.codes() or held, broken.report
    assert broken.status == (0 if broken.codes() == set() else 1)
    assert broken.finding(code)["command"], "what to do about it"
    mended = doctor(name, "--root", root, "--offline", "--fix")
    assert mended.codes() == set() and mended.status == 0, mended.report
    assert code not in mended.codes("warning")


def test_without_the_proxy_it_is_open(root, site, bed):
    """The same typing error, where nothing else holds it."""
    write(root, site, bed, "containerd")
    shutil.rmtree(root / "etc/systemd")
    put(root, "etc/containerd/certs.d/_default/hosts.toml", 'server = "https://gw.test\n')
    told = doctor("containerd", "--root", root, "--offline")
    assert told.codes() == {"unparsable"} and told.client("containerd")["leaves"] == "yes"


def test_a_client_that_pulls_nothing_is_open_on_both_sides(root, site, bed):
    """Its proxy refuses everything, and its hosts.toml cannot be read: nothing leaves, and nothing is pulled."""
    write(root, site, bed, "containerd")
    put(root, "etc/containerd/certs.d/_default/hosts.toml", 'server = "https://x')
    told = doctor("containerd", "--root", root, "--offline")
    assert told.codes() == {"unused"} and told.codes("warning") >= {"unparsable"} and told.status == 1
    assert told.client("containerd")["uses"] == "no" and told.client("containerd")["leaves"] == "no"
    assert told.report["verdict"] == "open"


def test_what_cannot_be_read_is_mended_by_hand(root, site, bed):
    write(root, site, bed, "docker")
    put(root, "etc/docker/daemon.json", '{"log-driver": ')
    told = doctor("docker", "--root", root, "--offline")
    assert told.codes() == {"unparsable"} and "command" not in told.finding("unparsable")
    done = run("client", "docker", "--site", site, "--ca", bed.ca, "--strict", "--write", "--root", root)
    assert done.returncode == 1 and "NOT WRITTEN" in done.stdout, "as doctor says, it does not help"


def test_a_command_is_for_the_machine_that_was_looked_at(tmp_path, site, bed):
    root = tmp_path / "my image"
    root.mkdir()
    write(root, site, bed, "docker")
    put(root, "etc/docker/daemon.json", "{}")
    command = doctor("docker", "--root", root, "--offline").finding("unused")["command"]
    assert command == f"pullgate client docker --strict --write --root '{root}'"


def test_takeover_and_a_line_before(root, tmp_path, bed):
    """A user's own line leads the name elsewhere; written again with --strict it is a comment."""
    path = put(tmp_path, "takeover.json", json.dumps({**SITE, "takeover": True}))
    argv = ["client", "docker", "--takeover", "--address", "192.0.2.7", "--site", path, "--ca", bed.ca, "--write", "--root", root]
    assert run(*argv, "--strict").returncode == 0
    hosts = root / "etc/hosts"
    put(root, "etc/hosts", "192.0.2.99 registry-1.docker.io # mine\n" + hosts.read_text())
    told = doctor("docker", "--root", root, "--offline")
    assert "hosts_entry" in told.codes() and told.status == 1, told.report
    assert "192.0.2.99" in told.finding("hosts_entry")["what"] and "takeover" not in told.codes("ok")
    left = run(*argv)
    assert left.returncode == 1 and "192.0.2.99" in left.stdout, left.stdout
    assert run(*argv, "--strict").returncode == 0
    assert hosts.read_text().startswith("# taken out by pullgate: 192.0.2.99 registry-1.docker.io # mine\n")
    assert doctor("docker", "--root", root, "--offline").codes() == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons are the machine's")
@pytest.mark.parametrize("name, program", [("docker", "dockerd"), ("buildkit", "buildkitd")])
def test_a_second_daemon(tmp_path, site, name, program):
    """Beside the machine's own somebody started one more; what sleeps here has a daemon's name."""
    put(tmp_path, f"{program}").unlink()
    shutil.copy("/bin/sleep", tmp_path / program)
    running = [subprocess.Popen([str(tmp_path / program), "60"])]
    try:
        time.sleep(0.1)
        before = doctor(name, "--site", site, "--offline")
        running.append(subprocess.Popen([str(tmp_path / program), "61"]))
        time.sleep(0.1)
        told = doctor(name, "--site", site, "--offline")
    finally:
        for process in running:
            process.kill()
            process.wait()
    others = {f["where"] for f in told.report["findings"] if f["code"] == "other_daemon" and f["severity"] == "open"}
    assert f"process {running[1].pid}" in others, told.report
    assert f"process {running[1].pid}" not in json.dumps(before.report) and told.status == 1


def test_the_wrong_ca(root, site, bed, tmp_path):
    write(root, site, bed, "docker")
    other = bed.directory / "stranger.pem"
    (root / "etc/docker/certs.d/gw.test/ca.crt").unlink()
    shutil.copy(other, root / "etc/docker/certs.d/gw.test/ca.crt")
    told = doctor("docker", "--root", root, "--offline")
    assert "wrong_ca" in told.codes("warning")
    (root / "etc/pullgate/ca.crt").unlink()
    assert "missing_ca" in doctor("docker", "--root", root, "--offline").codes("warning")


def test_a_ca_that_ends_soon(root, site, bed):
    write(root, site, bed, "docker")
    told = doctor("docker", "--root", root, "--offline")
    assert "ca_ends" in told.codes("warning"), "the tests' own lasts 30 days"
    assert "in 29 days" in told.finding("ca_ends")["what"]


def test_links_stay_below_the_root(root, site, bed, tmp_path):
    write(root, site, bed, "docker")
    put(tmp_path, "outside.json", '{"registry-mirrors": ["https://other.test"]}')
    (root / "etc/docker/daemon.json").unlink()
    (root / "etc/docker/daemon.json").symlink_to(tmp_path / "outside.json")
    told = doctor("docker", "--root", root, "--offline")
    assert "other_mirror" not in told.codes(), "the link leads to a place below the root, where nothing is"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_is_told(site, bed):
    root = bed.directory.parent / f"others-{os.getpid()}"
    root.mkdir(exist_ok=True)
    write(root, site, bed, "docker")
    os.chmod(root / "etc/docker/daemon.json", 0o600)
    copy = root / "pullgate"
    shutil.copy(BINARY, copy)
    for folder in [root, *root.parents]:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run([str(copy), "doctor", "docker", "--json", "--offline", "--root", str(root)], capture_output=True,
                          text=True, timeout=60, check=False, user=65534, group=65534, extra_groups=[])
    told = Told(done)
    shutil.rmtree(root)
    assert told.status == 3 and told.codes("unknown") == {"unreadable"}, told.report
    assert told.report["verdict"] == "unknown" and told.client("docker")["leaves"] == "unknown"
    assert told.finding("unreadable")["where"] == "/etc/docker/daemon.json"


def test_a_hosts_file_that_leads_elsewhere(root, site, bed):
    write(root, site, bed, "docker")
    put(root, "etc/hosts", "127.0.0.1 localhost\n192.0.2.1 web registry-1.docker.io # mine\n192.0.2.2 gw.test\n")
    told = doctor("docker", "--root", root, "--offline")
    assert "registry-1.docker.io to 192.0.2.1" in told.finding("hosts_entry")["what"] and told.status == 0
    assert sum(f["code"] == "hosts_entry" for f in told.report["findings"]) == 1, "the gateway's own is wanted"


# --- the gateway ---


def machine(root, tmp_path, bed, url, ca=None):
    """A machine whose docker is well configured for the gateway at `url`."""
    path = put(tmp_path, "site.json", json.dumps({**SITE, "gateway": url}))
    done = run("client", "docker", "--site", path, "--ca", ca or bed.ca, "--write", "--root", root)
    assert done.returncode == 0, done.stderr


def canary_line(gateway, limit=10):
    """The log's last line about the canary, which is written a moment after the answer."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        lines = [line for line in gateway.lines() if line.get("registry") == "canary.pullgate.invalid"]
        if lines:
            return lines[-1]
        time.sleep(0.05)
    raise AssertionError(gateway.output())


def test_a_gateway_that_denies(root, gateway):
    url = f"http://127.0.0.1:{gateway.port}"
    done = run("client", "docker", "--gateway", url, "--proxy", "http://127.0.0.1:3128", "--write", "--root", root)
    assert done.returncode == 0, done.stderr
    told = doctor("docker", "--root", root)
    assert {"gateway_answers", "gateway_denies"} <= told.codes("ok"), told.report
    assert told.codes("warning") == {"gateway_plain"} and told.status == 0
    line = canary_line(gateway)
    assert line["decision"] == "deny" and line["status"] == 403


def test_a_description_that_is_old(root, gateway, tmp_path):
    url = f"http://127.0.0.1:{gateway.port}"
    path = put(tmp_path, "site.json", json.dumps({**SITE, "gateway": url}))
    assert run("client", "docker", "--site", path, "--write", "--root", root).returncode == 0
    told = doctor("docker", "--root", root)
    assert "site_outdated" in told.codes("warning")
    assert told.finding("site_outdated")["command"] == f"pullgate doctor --gateway {url} --fix --root {root}"


def scripted(bed, canary, ping=answer(200, b"{}")):
    bed.tls.at((SECOND, "/v2/"), ping)
    bed.tls.at((SECOND, CANARY), canary)
    return f"https://{SECOND}:{bed.tls.port}"


DENIED = b'{"errors":[{"code":"DENIED","message":"no"}]}'
ID = ("X-Request-Id", "0123456789abcdef")
NO_GATEWAYS = {
    "it has the image": manifest(b"{}", "application/vnd.oci.image.manifest.v1+json"),
    "it does not know it": error(404, "MANIFEST_UNKNOWN", "no such manifest"),
    "another proxy refuses": answer(403, b"<html>forbidden</html>"),
    "another registry refuses": answer(403, DENIED),
    "another code": answer(403, DENIED.replace(b"DENIED", b"TOOMANYREQUESTS"), [ID]),
    "it fails": answer(502, b""),
}


@pytest.mark.parametrize("what", NO_GATEWAYS)
def test_what_does_not_deny(root, bed, tmp_path, what):
    machine(root, tmp_path, bed, scripted(bed, NO_GATEWAYS[what]))
    told = doctor("docker", "--root", root)
    assert told.codes() == {"gateway_does_not_deny"} and told.status == 1, told.report


def test_what_denies_as_a_gateway_does(root, bed, tmp_path):
    machine(root, tmp_path, bed, scripted(bed, answer(403, DENIED, [ID])))
    assert doctor("docker", "--root", root).codes() == set()


def test_a_gateway_that_wants_to_know_who_asks(root, bed, tmp_path):
    refuses = answer(401, b"{}", [("WWW-Authenticate", 'Basic realm="x"')])
    machine(root, tmp_path, bed, scripted(bed, refuses, refuses))
    told = doctor("docker", "--root", root)
    assert told.codes("unknown") == {"gateway_refuses_machine"} and told.status == 3


def test_a_gateway_that_is_down(root, bed, tmp_path):
    machine(root, tmp_path, bed, f"https://{ADDRESS}:{free_port()}")
    told = doctor("docker", "--root", root)
    assert told.codes() == {"gateway_down"} and "connect" in told.finding("gateway_down")["what"]


@pytest.mark.parametrize("address", ["127.0.0.25", "127.0.0.21"])
def test_a_gateway_that_hangs(root, bed, tmp_path, address):
    machine(root, tmp_path, bed, f"https://{address}:{bed.tls.port}")
    begun = time.monotonic()
    told = doctor("docker", "--root", root)
    assert told.codes() == {"gateway_down"} and time.monotonic() - begun < 25, told.report


@pytest.mark.parametrize("server", ["foreign", "misnamed"])
def test_a_wrong_certificate(root, bed, tmp_path, server):
    machine(root, tmp_path, bed, f"https://{FAR}:{getattr(bed, server).port}")
    assert doctor("docker", "--root", root).codes() == {"gateway_wrong_certificate"}


def test_without_a_description(root):
    put(root, "etc/docker/daemon.json", "{}")
    told = doctor("--root", root)
    assert told.codes("unknown") == {"site_unknown"} and told.status == 1
    assert "--gateway" in told.finding("site_unknown")["command"]


# --- the network ---


def test_probe(root, bed, tmp_path):
    hosts = [f"{FAR}:{bed.tls.port}", f"127.0.0.22:{bed.tls.port}", f"nowhere.invalid:{bed.tls.port}"]
    path = put(tmp_path, "probe.json", json.dumps({**SITE, "registries": [{"name": "a.test", "hosts": hosts}]}))
    write(root, path, bed, "docker")
    begun = time.monotonic()
    told = doctor("docker", "--root", root, "--offline", "--probe")
    assert time.monotonic() - begun < 10
    assert told.codes() == {"egress_open"} and f"1 of 3 registry hosts" in told.finding("egress_open")["what"]
    assert hosts[0] in told.finding("egress_open")["what"]
    put(tmp_path, "probe.json", json.dumps({**SITE, "registries": [{"name": "a.test", "hosts": hosts[1:]}]}))
    write(root, path, bed, "docker")
    assert "egress_closed" in doctor("docker", "--root", root, "--offline", "--probe").codes("ok")


def fake(folder, name, script):
    path = put(folder, f"bin/{name}", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


def test_pull(tmp_path, site):
    env = fake(tmp_path, "podman", 'case "$1" in --version) echo podman version 9.8.7;; *) echo "Trying $2"; '
                                   'echo "Error: denied: Ask platform@example.test" >&2; exit 125;; esac')
    told = doctor("podman", "--site", site, "--offline", "--pull", "docker.io/library/alpine", env=env)
    assert told.client("podman")["version"] == "9.8.7"
    assert told.finding("pull_failed")["what"] == ("the pull failed (status 125), and the site's message was shown: "
                                                   "Error: denied: Ask platform@example.test")
    fake(tmp_path, "podman", "echo done")
    assert "pull_worked" in doctor("podman", "--site", site, "--offline", "--pull", "x", env=env).codes("ok")


def test_a_program_that_hangs_is_not_waited_for(tmp_path, site):
    env = fake(tmp_path, "podman", "sleep 60")
    begun = time.monotonic()
    told = doctor("podman", "--site", site, "--offline", env=env)
    assert time.monotonic() - begun < 20 and "no_version" in told.codes("note")


# --- reporting ---


def test_a_report_is_sent(own_gateway, tmp_path):
    gateway = own_gateway(more={"state_directory": str(tmp_path / "state")})
    url = f"http://127.0.0.1:{gateway.port}"
    told = doctor("docker", "--gateway", url, "--report", url)
    assert '"kept":true' in told.stderr and told.status != 2, told.stderr
    assert told.stderr.endswith('}\n') and told.stderr.count("\n") == 1, "one line, without what ends the answer"


def test_a_report_of_an_image_is_not_sent(root, site, bed):
    write(root, site, bed, "docker")
    done = run("doctor", "docker", "--root", root, "--report", f"http://{ADDRESS}:{free_port()}")
    assert done.returncode == 2 and "--report" in done.stderr
    assert "--root /" not in done.stderr and run("doctor", "--root", "/", "--report", "x", "--help").returncode == 0


def test_a_report_that_is_not_taken(site):
    told = doctor("docker", "--site", site, "--offline", "--report", f"http://{ADDRESS}:{free_port()}")
    assert told.status == 2 and "was not sent" in told.stderr


def test_no_secrets_in_a_report(root, site, bed):
    secret = "s3cr3t-header-4411"
    assert run("client", "docker", "containerd", "--site", site, "--ca", bed.ca, "--header", f"X-Key: {secret}", "--write",
               "--root", root).returncode == 0
    put(root, "etc/systemd/system/containerd.service.d/x.conf",
        f"[Service]\nEnvironment=HTTPS_PROXY=http://user:{secret}@other.test:3128\n")
    done = run("doctor", "--root", root, "--offline", "--json")
    assert secret not in done.stdout + done.stderr and "other_proxy" in done.stdout


# --- how it is told ---


def test_the_table(root, site, bed):
    write(root, site, bed, "docker")
    put(root, "etc/docker/certs.d/_default/hosts.toml", "")
    put(root, "etc/docker/daemon.json", "{}")
    done = run("doctor", "docker", "--root", root, "--offline")
    assert done.returncode == 1 and "\x1b" not in done.stdout
    for part in ("USES THE GATEWAY", "[unparsable]", "pullgate client docker --strict --write", "open: "):
        assert part in done.stdout, done.stdout


@pytest.mark.parametrize("argv", [["nobody"], ["--frobnicate"], ["--root", "/nowhere"], ["--site", "/nowhere"],
                                  ["--root", ".", "--pull", "x"], ["--pull", "-x"]])
def test_what_is_not_usable(argv):
    done = run("doctor", *argv)
    assert done.returncode == 2 and done.stderr


def test_its_help():
    done = run("doctor", "--help")
    assert done.returncode == 0 and "--probe" in done.stdout


def test_every_code_is_explained():
    """The page and the program know the same codes."""
    from gateway import ROOT
    page = (ROOT / "docs" / "doctor.md").read_text()
    source = (ROOT / "gateway" / "doctor" / "report.c").read_text()
    codes = source[source.index("codes[] = {"):source.index("NULL,")]
    named = [line.strip().strip('",') for line in codes.splitlines() if line.strip().startswith('"')]
    assert len(named) > 30
    assert [code for code in named if f"`{code}`" not in page] == []
