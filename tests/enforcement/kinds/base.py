# SPDX-License-Identifier: Apache-2.0
"""What all clients of the matrix have, and what some share."""

import glob
import os
import re

from bed.clients import TODAY, write
from bed.images import unique
from bed.processes import Daemon, base_environment

PATIENCE = 60  # seconds that a command may take


class Row:
    """`client`: its names for `pullgate client`; none: it cannot be configured, and is closed by the network alone or not at all."""

    key = title = None
    client, client_options = (), ()
    service = None  # the systemd unit whose drop-ins give the daemon its environment
    has_files = True  # of its own that pullgate writes, and doctor reads
    site = "mirror"  # which gateways it is for: mirror, taken (under the registries' names), windows (WSL2's host)
    patience = PATIENCE
    harmless = frozenset()  # ways that lead this client nowhere, whoever configured it
    keeps_connections = False  # also past a new line in the hosts file
    stocked_first = False  # its images can be put in place before it is configured: there is no daemon to start again

    def __init__(self, world, machine):
        self.world, self.machine, self.folder = world, machine, machine.folder
        path = f"{TODAY}:{os.environ['PATH']}" if TODAY else os.environ["PATH"]
        self.env = base_environment(SSL_CERT_FILE=self.trusted(), SSL_CERT_DIR="/nonexistent", HOME=machine.home, PATH=path, XDG_RUNTIME_DIR=self.folder,
                                    TMPDIR=self.folder, DOCKER_CLI_EXPERIMENTAL="enabled")
        self._undo, self.daemons = [], []

    def trusted(self):
        """The system's trust: the bed's authority, so that leaving the gateway would succeed; where registries' names are taken over, the gateway's too."""
        bundle = f"{self.folder}/trusted.pem"
        with open(bundle, "w", encoding="ascii") as file:
            for part in [self.world.bed.pki.ca, *[site.ca for (kind, _), site in self.world.sites.items() if kind == self.site == "taken"]]:
                with open(part, encoding="ascii") as certificate:
                    file.write(certificate.read())
        return bundle

    # --- what a machine is before and after `pullgate client` ---

    def prepare(self):
        """Its own configuration, before anybody configures a gateway."""

    def fill(self):
        """Images that are on the machine already."""
        if getattr(self, "stock", None):
            for name in ("stock", "present"):
                self.stock(self.world.archives[name]).must_work()

    def start(self):
        pass

    def named(self, reference, site):
        """An image as a person asks this client for it, so that it comes from the gateway."""
        return reference

    def stop(self):
        for daemon in self.daemons:
            daemon.stop(5)

    def must_live(self):
        """A daemon that has ended refuses everything."""
        for daemon in self.daemons:
            assert daemon.alive(), f"{daemon.argv} ended with {daemon.process.returncode}:\n{daemon.text()[-4000:]}"

    def daemon(self, name, argv, ready, **more):
        running = Daemon(self.machine.inside(*argv), f"{self.folder}/{name}.log", {**self.env, **self.units(), **more})
        self.daemons.append(running)
        running.wait_ready(ready)
        return running

    def units(self):
        """What the drop-ins of its systemd unit add to its environment."""
        found = {}
        for path in sorted(glob.glob(self.machine.etc(f"systemd/system/{self.service}.service.d/*.conf"))):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if line.startswith("Environment="):
                        for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line.strip().removeprefix("Environment=")):
                            name, _, value = (quoted or bare).partition("=")
                            found[name] = value
        return found

    def run(self, *argv, **more):
        return self.machine.command(list(argv), {**self.env, **more}, self.patience)

    def change(self, path, text):
        """Write a file for one way; restore() takes it back. None: an empty folder."""
        before = None
        if text is None:
            if os.path.exists(path):
                aside = f"{self.folder}/{unique('aside')}"
                os.rename(path, aside)
                self._undo.append(lambda: os.rename(aside, path))
            os.makedirs(path)
            self._undo.append(lambda: os.rmdir(path))
            return
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                before = file.read()
        missing = []
        folder = os.path.dirname(path)
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)

        def undo():
            if before is not None:
                with open(path, "w", encoding="utf-8") as file:  # in its place: it may be mounted
                    file.write(before)
                return
            os.unlink(path)
            for folder in missing:
                os.rmdir(folder)

        write(path, text)
        self._undo.append(undo)

    def restore(self):
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()


class Builds:
    """A client that builds: a pull is a build that begins FROM the image and needs its layers."""

    def context(self, *lines):
        folder = f"{self.folder}/{unique('context')}"
        write(f"{folder}/Dockerfile", "\n".join(lines) + "\n")
        return folder

    def pull(self, reference):
        return self.build(f"FROM {reference}", "COPY Dockerfile /copied")


class HostDirectories:
    """Clients that read a hosts.toml for each registry, from `directories`."""

    directories = None

    def second_file(self, registry):
        self.change(self.machine.etc(f"{self.directories}/{registry}/hosts.toml"), f'server = "https://{registry}"\n\n[host]\n')

    def empty_directory(self, registry):
        os.makedirs(self.machine.etc(self.directories), exist_ok=True)
        self.change(self.machine.etc(f"{self.directories}/{registry}"), None)

    def broken_file(self):
        self.change(self.machine.etc(f"{self.directories}/_default/hosts.toml"), 'server = "https://mirror.test\n')
