# SPDX-License-Identifier: Apache-2.0
"""`pullgate client`: where it has its site from, what it leaves on a machine, and its exit status."""

import json
import os
import stat
import subprocess

import pytest

from gateway import ADDRESS, BINARY, free_port
from stores import wait_for

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


def test_only_what_changed_is_restarted(root, site):
    argv = ["docker", "containerd", "--site", site, "--write", "--root", root]
    first = client(*argv)
    assert "restart docker" in first.stdout and "restart containerd" in first.stdout
    again = client(*argv)
    assert "### Then run" not in again.stdout and "restart docker" not in again.stdout, again.stdout
    assert "### Nothing to restart" in again.stdout
    (root / HOSTS).unlink()
    one = client(*argv)
    assert "restart docker" in one.stdout and "restart containerd" not in one.stdout, one.stdout


def test_a_new_authority_is_every_clients(root, site, bed):
    argv = ["docker", "containerd", "--site", site, "--write", "--root", root]
    client(*argv, "--ca", bed.ca)
    (root / "etc/pullgate/ca.crt").write_text("another\n")
    done = client(*argv, "--ca", bed.ca)
    assert "restart docker" in done.stdout and "restart containerd" in done.stdout, done.stdout


def test_json(root, site):
    argv = ["docker", "podman", "--site", site, "--write", "--json", "--root", root]
    first, again = (json.loads(client(*argv).stdout) for _ in range(2))
    assert first["changed"] and first["run"] == ["systemctl restart docker"] and first["open"] and first["notes"]
    assert {"path": f"/{DAEMON}", "what": "written"} in first["files"]
    assert not again["changed"] and again["run"] == [] and {file["what"] for file in again["files"]} == {"unchanged"}
    (root / "etc/docker/certs.d/ghcr.io").mkdir()
    (root / DAEMON).write_text("{")
    done = client(*argv)
    told = {file["path"]: file["what"] for file in json.loads(done.stdout)["files"]}
    assert done.returncode == 1 and told[f"/{DAEMON}"] == "refused" and told["/etc/docker/certs.d/ghcr.io"] == "left"
    told = {file["path"]: file["what"] for file in json.loads(client(*argv, "--strict").stdout)["files"]}
    assert told["/etc/docker/certs.d/ghcr.io"] == "aside"


def test_json_of_a_failure(root, site, tmp_path):
    (root / "etc").mkdir()
    os.symlink(tmp_path, root / "etc/docker")
    done = client("docker", "--site", site, "--write", "--json", "--root", root)
    assert done.returncode == 2 and "failed" in {file["what"] for file in json.loads(done.stdout)["files"]}


def test_quiet(root, site):
    argv = ["docker", "podman", "--site", site, "--write", "--quiet", "--root", root]
    first = client(*argv).stdout
    assert first.startswith("written ") and "restart docker" in first and "stays open" not in first
    assert client(*argv).stdout == ""
    (root / "etc/docker/certs.d/ghcr.io").mkdir()
    left = client(*argv)
    assert left.returncode == 1 and left.stdout.startswith("LEFT ") and "unchanged" not in left.stdout


def test_what_is_pullgates_own_is_named(root, site, bed):
    printed = client("docker", "--site", site, "--ca", bed.ca, "--root", root).stdout
    assert "\n### /etc/pullgate/ca.crt\n" in printed and "\n### /etc/pullgate/client.json\n" in printed
    assert "BEGIN CERTIFICATE" not in printed and printed.index("client.json") < printed.index("### Then run")
    assert "### /etc/pullgate/ca.crt" not in client("docker", "--site", site, "--root", root).stdout


def test_takeover_is_remembered(root, site):
    def led():
        return "BEGIN pullgate" in (root / "etc/hosts").read_text()

    written(root, "--site", site, "--takeover", "--address", "10.0.0.5", "--strict")
    assert led() and json.loads((root / OWN).read_text())["led"] is True
    for argv in ([], ["--site", site]):
        again = written(root, *argv, "--strict")
        assert "written" not in again and "--no-takeover" in again and led(), again
    assert client("containerd", "--write", "--root", root).returncode == 0
    assert json.loads((root / OWN).read_text())["led_address"] == "10.0.0.5", "other clients leave it as it is"
    written(root, "--no-takeover", "--strict")
    left = json.loads((root / OWN).read_text())
    assert not led() and "led" not in left and "led_address" not in left
    assert "written" not in written(root, "--strict") and not led()


@pytest.fixture
def auto(own_gateway, tmp_path):
    """A gateway whose certificate is its own authority's, and its URL."""
    port = free_port()
    gateway = own_gateway(listeners=[{"address": f"{ADDRESS}:{port}", "tls": "auto", "names": ["localhost", "gw.test"]}],
                          mode="monitor", rules=[{"deny": ["*/denied/**"]}, {"allow": ["**"]}],
                          more={"state_directory": str(tmp_path / "state")})
    return gateway, f"https://localhost:{port}"


def test_an_authority_that_is_not_known(auto, root, bed, tmp_path):
    url = auto[1]
    nameless = client("docker", "--gateway", url, "--root", root)
    assert nameless.returncode == 2 and "--ca FILE" in nameless.stderr and "pullgate ca show" in nameless.stderr
    wrong = client("docker", "--gateway", url, "--root", root, "--ca", bed.ca)
    assert wrong.returncode == 2 and "not signed by the authority in" in wrong.stderr and str(bed.ca) in wrong.stderr
    ca = tmp_path / "state" / "ca.crt"
    assert client("docker", "--gateway", url, "--root", root, "--ca", ca).returncode == 0
    misnamed = client("docker", "--gateway", url.replace("localhost", "127.0.0.2"), "--root", root, "--ca", ca)
    assert misnamed.returncode == 2 and "--ca FILE" not in misnamed.stderr, "its authority is the right one"


def test_serve_says_where_and_how(auto):
    gateway, url = auto
    wait_for(lambda: "it is only logged" in gateway.stderr_path.read_text(), why="the last that it says when it starts")
    said = gateway.stderr_path.read_text()
    assert f" serves {url}\n" in said and f" serves http://{ADDRESS}:{gateway.port}\n" in said
    checked = subprocess.run([str(BINARY), "check", "--config", str(gateway.config)], capture_output=True, text=True,
                             timeout=30, check=False)
    words = '"monitor": nothing that the rules deny is refused, it is only logged as "would"'
    assert words in said and words in checked.stdout + checked.stderr


def test_explain_in_monitor_mode(auto):
    def explain(image, *argv):
        return subprocess.run([str(BINARY), "explain", "--config", str(auto[0].config), *argv, image],
                              capture_output=True, text=True, timeout=30, check=False).stdout

    registry = next(name for name in auto[0].settings["registries"] if "*" not in name)
    denied, allowed = explain(f"{registry}/denied/app:1"), explain(f"{registry}/org/app:1")
    assert 'allowed         because mode is "monitor"' in denied and "would be denied by rule rules[0]" in denied
    assert "allowed         by rule rules[1]" in allowed and "would be denied" not in allowed
    as_json = json.loads(explain(f"{registry}/denied/app:1", "--json"))
    assert (as_json["decision"], as_json["would"], as_json["rule"]) == ("allow", "deny", "rules[0]")


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
    ["docker", "--site", "SITE", "--json"], ["docker", "--site", "SITE", "--quiet"],
    ["docker", "--site", "SITE", "--takeover", "--no-takeover"], ["podman", "--site", "SITE", "--no-takeover"],
    ["docker", "--site", "SITE", "--ca", "/no/such"],
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
