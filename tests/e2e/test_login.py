# SPDX-License-Identifier: Apache-2.0
"""Who asks: docker login and podman login, a token in containerd's header, client certificates of dockerd, containerd and podman."""

import crypt
import os

import pytest

from bed import clients, led, names
from bed.clients import hosts_toml, of_these, write
from bed.gateway import PULLGATE, Gateway
from bed.images import image, unique
from bed.pki import openssl
from bed.processes import base_environment, command
from bed.stories import registry_kept_out
from conftest import SITE_MESSAGE

PASSWORD = "s3cret-of-alice"
LOGIN, CERTIFIED = "other.test", "down.test"  # one challenges, the other knows people by certificate or token


@pytest.fixture(scope="module")
def people(bed):
    """An authority of clients, and one certificate of it: (CA, certificate, key)."""
    folder = f"{bed.folder}/{unique('people')}"
    os.makedirs(folder)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-days", "2", "-subj", "/CN=people",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    write(f"{folder}/extensions", "subjectAltName=DNS:ci.example.com\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n")
    request = openssl("req", "-new", *curve, "-keyout", f"{folder}/client.key", "-subj", "/CN=ci")
    openssl("x509", "-req", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2", "-extfile",
            f"{folder}/extensions", "-out", f"{folder}/client.pem", data=request)
    return f"{folder}/ca.pem", f"{folder}/client.pem", f"{folder}/client.key"


@pytest.fixture(scope="module")
def guarded(bed, people):
    folder = f"{bed.folder}/{unique('guarded')}"
    users = f"{folder}-users"
    write(users, f"alice:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_SHA512, rounds=5000))}\n")
    os.chmod(users, 0o600)
    tls = {"certificate": bed.pki.certificate, "key": bed.pki.key}
    gateway = Gateway(folder, {
        "listeners": [
            {"address": f"{names.OTHER}:80"},
            {"address": f"{names.OTHER}:443", "tls": tls, "names": [LOGIN], "identify": "required", "challenge": True},
            {"address": f"{names.DOWN}:443", "tls": tls, "names": [CERTIFIED], "identify": "required", "client_ca": people[0]},
        ],
        "state_directory": f"{folder}-state", "identity": {"htpasswd": users}, "message": SITE_MESSAGE, "registries": bed.registries(),
        "groups": {"release": ["user:alice"]},
        "rules": [{"allow": ["*/*/ok-*"], "who": ["group:release", "cert:ci.example.com", "group:machines"]}],
    }, bed.pki, (names.OTHER, 80))
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def token(guarded):
    argv = [PULLGATE, "token", "issue", "--config", f"{guarded.folder}/pullgate.json", "--name", "builder", "--groups", "machines", "--ttl", "1d"]
    return command(argv, env=base_environment()).must_work().strip()


def there(hub):
    return hub.push(f"library/{unique('ok')}", "1", image())


@pytest.fixture
def docker(bed):
    made = []

    def start(kind=led.Docker, mirror=None, etc=None):
        class Client(kind):
            def start(self):
                self.mirror = mirror
                super().start()

            def with_etc(self, name, *argv):
                for path, text in (etc or {}).items():
                    write(f"{self.folder}/etc/{path}", text)
                return super().with_etc(name, *argv)

        made.append(Client(bed, None))
        return made[-1]

    yield start
    for running in made:
        running.stop()


def test_docker_login_and_a_pull_by_the_gateways_name(guarded, docker, hub):
    client, pushed, mark = docker(), there(hub), guarded.mark()
    reference = f"{LOGIN}/docker.io/{pushed.repository}:1"

    client.docker("pull", reference).must_fail()
    refused = client.docker("login", "-u", "alice", "-p", "wrong", LOGIN).must_fail()
    assert "unauthorized" in refused.lower()
    client.docker("login", "-u", "alice", "-p", PASSWORD, LOGIN).must_work()
    client.docker("pull", reference).must_work()

    line = guarded.line(mark, repository=pushed.repository, decision="allow")
    assert (line["who"], line["how"]) == ("user:alice", "token")


def test_docker_build_from_the_gateways_name(guarded, docker, hub):
    client, pushed, mark = docker(led.DockerBuild), there(hub), guarded.mark()
    client.docker("login", "-u", "alice", "-p", PASSWORD, LOGIN).must_work()
    client.pull(f"{LOGIN}/docker.io/{pushed.repository}:1").must_work()
    assert guarded.line(mark, repository=pushed.repository, decision="allow")["who"] == "user:alice"


def test_podman_login(guarded, bed, hub):
    client, pushed, mark = led.Podman(bed, None), there(hub), guarded.mark()
    reference = f"{LOGIN}/docker.io/{pushed.repository}:1"
    client.pull(reference).must_fail()
    client.tool("podman", "login", "-u", "alice", "-p", "wrong", LOGIN).must_fail()
    client.tool("podman", "login", "-u", "alice", "-p", PASSWORD, LOGIN).must_work()
    client.pull(reference).must_work()
    assert guarded.line(mark, repository=pushed.repository, decision="allow")["who"] == "user:alice"
    client.stop()


class HeaderContainerd(led.Containerd):
    """hosts.toml with lines of the story's own behind `server`."""

    directory, lines = "docker.io", ()

    def pull(self, reference):
        write(f"{self.folder}/hosts/docker.io/hosts.toml", "\n".join([f'server = "https://{CERTIFIED}"', *self.lines, "", "[host]", ""]))
        return super().pull(reference)


@pytest.fixture
def containerd(bed):
    client = HeaderContainerd(bed, None)
    yield client
    client.stop()


def test_containerd_with_a_token_in_its_header(guarded, containerd, token, hub):
    pushed, mark = there(hub), guarded.mark()
    output = containerd.pull(pushed.by_tag).must_fail()
    assert "client certificate" in output  # the sentence says how this gateway knows people
    assert guarded.line(mark, repository=pushed.repository, decision="deny")["reason"] == "unidentified"

    containerd.lines = ("[header]", f'  authorization = "Bearer {token}"')
    containerd.pull(pushed.by_tag).must_work()
    line = guarded.line(mark, repository=pushed.repository, decision="allow")
    assert (line["who"], line["how"]) == ("user:builder", "token")
    assert token not in "".join(map(str, guarded.log()))


def test_containerd_with_a_revoked_token(guarded, containerd, token, hub):
    pushed, mark = there(hub), guarded.mark()
    argv = [PULLGATE, "token", "issue", "--config", f"{guarded.folder}/pullgate.json", "--name", "leaver", "--groups", "machines", "--ttl", "1d"]
    other = command(argv, env=base_environment()).must_work().strip()
    containerd.lines = ("[header]", f'  authorization = "Bearer {other}"')
    containerd.pull(pushed.by_tag).must_work()
    command([PULLGATE, "token", "revoke", "--config", f"{guarded.folder}/pullgate.json", "leaver"], env=base_environment()).must_work()
    guarded.reload(read(f"{guarded.folder}/pullgate.json"))
    again = there(hub)
    containerd.pull(again.by_tag).must_fail()
    assert guarded.line(mark, repository=again.repository, decision="deny")["reason"] == "credential"


def test_containerd_with_a_client_certificate(guarded, containerd, people, hub):
    pushed, mark = there(hub), guarded.mark()
    containerd.lines = (f'client = [["{people[1]}", "{people[2]}"]]',)
    containerd.pull(pushed.by_tag).must_work()
    line = guarded.line(mark, repository=pushed.repository, decision="allow")
    assert (line["who"], line["how"]) == ("cert:ci.example.com", "certificate")


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


@pytest.mark.parametrize("kind", of_these("docker", "docker-graphdriver", "docker-build", among=led.KINDS))
def test_dockerd_with_a_client_certificate(kind, guarded, docker, people, bed, hub):
    """For its mirror, which sends no other credential than that. Debian's dockerd, and today's with the same store, take it from the
    folder of the mirror's name; containerd's store and today's BuildKit from the hosts.toml that is for every registry."""
    at = f"docker/certs.d/{CERTIFIED}"
    etc = {f"{at}/ca.crt": read(bed.pki.ca), f"{at}/client.cert": read(people[1]), f"{at}/client.key": read(people[2])}
    if clients.today("dockerd"):
        etc["docker/certs.d/_default/hosts.toml"] = hosts_toml(CERTIFIED, f'ca = "{bed.pki.ca}"', f'client = [["{people[1]}", "{people[2]}"]]',
                                                               empty_host=False)
    client = docker(led.KINDS[kind], CERTIFIED, etc)
    pushed, mark = there(hub), guarded.mark()
    client.use(pushed.by_tag).must_work()
    assert guarded.line(mark, repository=pushed.repository, decision="allow")["who"] == "cert:ci.example.com"


@pytest.mark.parametrize("kind", of_these("docker", "docker-graphdriver", among=led.KINDS))
def test_dockerd_without_one_reads_why(kind, guarded, docker, hub):
    client = docker(led.KINDS[kind], CERTIFIED)
    pushed, hub_mark = there(hub), hub.mark()
    assert "client certificate" in client.pull(pushed.by_tag).must_fail()
    registry_kept_out(hub.since(hub_mark, pushed.repository), pushed)  # final: Docker Hub was not asked for it


def test_podman_with_a_client_certificate(guarded, bed, people, hub):
    class Certified(led.Podman):
        CONF = {"mirror": f'[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{CERTIFIED}"\n'}

        def start(self):
            super().start()
            folder = f"{self.folder}/etc/containers/certs.d/{CERTIFIED}"
            for name, path in (("client.cert", people[1]), ("client.key", people[2])):
                write(f"{folder}/{name}", read(path))

    client, pushed, mark = Certified(bed, None), there(hub), guarded.mark()
    client.pull(pushed.by_tag).must_work()
    assert guarded.line(mark, repository=pushed.repository, decision="allow")["who"] == "cert:ci.example.com"
    client.stop()
