# SPDX-License-Identifier: Apache-2.0
"""`pullgate client`: where it has its site from, what it leaves on a machine, and its exit status."""

import json
import os
import stat
import subprocess

import pytest

from gateway import BINARY

SITE = {"format": 1, "gateway": "https://gw.test:5443", "proxy": "http://gw.test:3128",
        "registries": [{"name": "docker.io", "hosts": ["registry-1.docker.io"]}]}
OWN = "etc/pullgate/client.json"
DAEMON = "etc/docker/daemon.json"
HOSTS = "etc/docker/certs.d/_default/hosts.toml"


def client(*argv):
    return subprocess.run([str(BINARY), "client", *map(str, argv)], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, check=False)


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


def written(root, *argv, status=0):
    done = client("docker", *argv, "--write", "--root", root)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_print_writes_nothing(root, site):
    done = client("docker", "--site", site, "--root", root)
    assert done.returncode == 0 and "https://gw.test:5443" in done.stdout
    assert not any(root.iterdir())


def test_twice(root, site, bed):
    written(root, "--site", site, "--ca", bed.ca)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    again = written(root, "--site", site, "--ca", bed.ca, "--strict")
    assert "written" not in again and {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_the_machine_remembers(root, site, bed):
    written(root, "--site", site, "--ca", bed.ca, "--header", "X-Team: blue", "--certificate", "/c.crt", "--key", "/c.key")
    assert "written" not in written(root), "without options it is what an earlier --write left"
    hosts = (root / HOSTS).read_text()
    assert '"X-Team" = "blue"' in hosts and 'client = [["/c.crt", "/c.key"]]' in hosts
    assert (root / "etc/pullgate/ca.crt").read_bytes() == open(bed.ca, "rb").read()
    for path in (root / OWN, root / HOSTS):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, "a header may be a password"


def test_the_gateway_is_asked(root, gateway):
    url = f"http://127.0.0.1:{gateway.port}"
    written(root, "--gateway", url)
    left = json.loads((root / OWN).read_text())
    assert left["gateway"] == url and left["registries"]
    assert json.loads((root / DAEMON).read_text())["registry-mirrors"] == [url]


def test_a_gateway_that_does_not_answer(root, site):
    gone = "https://127.0.0.1:1"
    assert client("docker", "--gateway", gone).returncode == 2
    site.write_text(json.dumps({**SITE, "gateway": gone}))
    written(root, "--site", site)
    done = client("docker", "--gateway", gone, "--write", "--root", root)
    assert done.returncode == 0 and "in its place" in done.stderr
    other = client("docker", "--gateway", "https://127.0.0.1:2", "--write", "--root", root)
    assert other.returncode == 2, "what is known of one gateway is not taken for another"


def test_several_at_once(root, site):
    done = client("docker", "containerd", "k3s", "--site", site, "--write", "--root", root)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (DAEMON, "etc/containerd/config.toml", "etc/rancher/k3s/registries.yaml"):
        assert (root / path).is_file()
    assert done.stdout.count("### Then run") == 1


def test_what_is_left_is_a_status(root, site):
    (root / "etc/docker/certs.d/ghcr.io").mkdir(parents=True)
    assert "certs.d/ghcr.io" in written(root, "--site", site, status=1)
    written(root, "--site", site, "--strict")
    assert not (root / "etc/docker/certs.d/ghcr.io").exists()


def test_a_broken_file_is_shown_and_stays(root, site):
    (root / "etc/docker").mkdir(parents=True)
    (root / DAEMON).write_text('{"log-driver": ')
    told = written(root, "--site", site, status=1)
    assert (root / DAEMON).read_text() == '{"log-driver": ' and '"registry-mirrors"' in told


def test_no_way_out_of_the_root(root, site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "etc").mkdir()
    os.symlink(outside, root / "etc/docker")
    done = client("docker", "--site", site, "--write", "--root", root)
    assert done.returncode == 2 and not any(outside.iterdir()), done.stdout


@pytest.mark.parametrize("argv", [
    [], ["nosuch"], ["docker", "--nosuch"], ["docker", "--root", "/no/such/folder"], ["docker", "--config", "/no/such"],
    ["docker", "--site", "SITE", "--header", "no colon"], ["docker", "--site", "SITE", "--header", "X: a\nb"],
    ["docker", "--site", "SITE", "--certificate", "/c.crt"], ["docker", "--site", "SITE", "--certificate", "c", "--key", "k"],
    ["docker", "--site", "SITE", "--proxy", "gw.test"], ["docker", "--site", "SITE", "--gateway", "https://u:p@gw.test"],
    ["docker", "--site", "SITE", "--write", "--ca", "SITE", "--root", "ROOT"], ["docker", "--site", "/dev/null"],
], ids=lambda argv: " ".join(argv).replace("\n", " ") or "nothing")
def test_unusable(argv, site, root):
    done = client(*[{"SITE": site, "ROOT": root}.get(word, word) for word in argv])
    assert done.returncode == 2 and done.stderr and not any(root.iterdir())


def test_a_key_is_not_handed_out(root, site, bed, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(open(path, "rb").read() for path in bed.authority[:2]))
    done = client("docker", "--site", site, "--ca", both, "--write", "--root", root)
    assert done.returncode == 2 and "private key" in done.stderr and not any(root.iterdir())


def test_help():
    done = client("--help")
    assert done.returncode == 0
    for name in ("docker", "containerd", "podman", "kubernetes-node", "firewall"):
        assert f"\n  {name} " in done.stdout
