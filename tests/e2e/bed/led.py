# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of a gateway, but for what names lead to (takeover) or what their proxy is (CONNECT)."""

from . import clients, names
from .images import unique
from .processes import command


def led_astray(folder, address, *taken):
    """A command's beginning: it runs with a hosts file of its own, in which the names in `taken` are at `address`."""
    path = f"{folder}/{unique('hosts')}"
    lines = [f"{address} {name}" for name in taken]
    lines += [line for line in names.hosts_file().splitlines() if not set(line.split()[1:]) & set(taken)]
    for there, hosts in names.HOSTS.items():  # names beside a taken one stay where they are
        rest = [name for name in hosts if name not in taken]
        if rest and len(rest) < len(hosts):
            lines.append(f"{there} {' '.join(rest)}")
    clients.write(path, "\n".join(lines) + "\n")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", path]


class Unaware:
    """A client without a mirror. `more`: its environment; `before`: a command's beginning, for what it runs. Its daemon has both, too:
    today's pull there, Debian's ctr in the command."""

    def __init__(self, bed, trust, more=None, before=()):
        self.before, self.more, self.trust = list(before), more or {}, trust
        super().__init__(bed, None)

    def prepare(self):
        bundle = f"{self.folder}/trusted.pem"
        with open(bundle, "w", encoding="ascii") as file:
            for part in (self.bed.pki.ca, self.trust):
                if part:
                    with open(part, encoding="ascii") as certificate:
                        file.write(certificate.read())
        self.env |= {"SSL_CERT_FILE": bundle, **self.more}

    def start(self):
        self.prepare()
        super().start()

    def command(self, *argv, **more):
        return command([*self.before, *argv], env=self.env, **more)

    def led(self, *argv):
        return [*self.before, *argv]

    def with_etc(self, name, *argv):
        return [*self.before, *super().with_etc(name, *argv)]


class Docker(Unaware, clients.DockerPull):
    pass


class DockerGraphdriver(Unaware, clients.DockerGraphdriver):
    """Today's dockerd with the store that Debian's has."""


class DockerBuild(Unaware, clients.DockerBuild):
    pass


class Containerd(Unaware, clients.Containerd):
    directory = "unused.example"


class Podman(Unaware, clients.Podman):
    CONF = {"mirror": "# no mirror\n"}

    def command(self, *argv, **more):  # with_etc() has it already
        return command(list(argv), env=self.env, **more)


class Skopeo(Podman, clients.Skopeo):
    pass


KINDS = {"docker": Docker, "docker-build": DockerBuild, "containerd": Containerd, "podman": Podman, "skopeo": Skopeo}
if clients.today("dockerd"):
    KINDS["docker-graphdriver"] = DockerGraphdriver
