# SPDX-License-Identifier: Apache-2.0
"""Clients that ask registries and know of no mirror: crane and regctl."""

from bed.clients import binary
from bed.images import unique

from .base import Row


class Unbound(Row):
    has_files = False
    harmless = frozenset({"urls-layer", "urls-config", "urls-index"})  # they ask the registry for everything

    def named(self, reference, site):
        """Whoever wants it from the gateway says so; led there by the hosts file, nobody needs to."""
        return reference if self.client else f"{site.name}/{reference}"


class Crane(Unbound):
    key, title = "crane", "crane 0.22"

    def crane(self, *argv, **more):
        return self.run(binary("crane"), *argv, **more)

    def pull(self, reference):
        return self.crane("pull", "--platform", "linux/amd64", reference, f"{self.folder}/{unique('image')}.tar")

    def push(self, reference):
        return self.crane("push", self.world.archives["stock"], reference)

    def inspect(self, reference):
        return self.crane("manifest", reference)

    def pull_all(self, repository):
        return self.crane("ls", repository)


class Regctl(Unbound):
    key, title = "regctl", "regctl 0.11"

    def regctl(self, *argv):
        return self.run(binary("regctl"), *argv)

    def pull(self, reference):
        return self.regctl("image", "copy", reference, f"ocidir://{self.folder}/{unique('image')}:1")

    def push(self, reference):
        return self.regctl("image", "copy", f"ocidir://{self.world.layout}:1", reference)

    def login(self):
        return self.regctl("registry", "login", "-u", "someone", "-p", "secret", "docker.io")

    def inspect(self, reference):
        return self.regctl("manifest", "get", reference)

    def pull_all(self, repository):
        return self.regctl("tag", "ls", repository)


class CraneTakeover(Crane):
    key, title, site = "crane-takeover", "crane 0.22, hosts file of `pullgate client docker --takeover`", "taken"
    client, client_options = ("docker",), ("--takeover",)


class RegctlTakeover(Regctl):
    key, title, site = "regctl-takeover", "regctl 0.11, the same", "taken"
    client, client_options = ("docker",), ("--takeover",)
