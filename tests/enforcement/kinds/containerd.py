# SPDX-License-Identifier: Apache-2.0
"""containerd, asked by ctr and as a kubelet asks."""

import os

from bed.clients import binary, write
from bed.images import unique
from bed.processes import until

from .base import HostDirectories, Row

CRI = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../cri.py")


class Ctr(HostDirectories, Row):
    key, title = "ctr-1.6", "ctr, containerd 1.6"
    client, service = ("containerd",), "containerd"
    directories = "containerd/certs.d"
    namespace = "default"
    version = 2

    def prepare(self):
        write(self.machine.etc("containerd/config.toml"), f"""version = {self.version}
root = "{self.folder}/containerd"
state = "{self.folder}/containerd-state"

[grpc]
  address = "{self.folder}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{self.folder}/opt"
""")

    def start(self):
        self.daemon("containerd", [binary("containerd"), "--config", "/etc/containerd/config.toml"], lambda: self.ctr("version").ok)

    def ctr(self, *argv):
        return self.run(binary("ctr"), "--address", f"{self.folder}/containerd.sock", "--namespace", self.namespace, *argv)

    def hosts(self):
        return ("--hosts-dir", f"/etc/{self.directories}")

    def pull(self, reference):
        return self.ctr("images", "pull", *self.hosts(), "--platform", "linux/amd64", reference)

    def stock(self, archive):
        return self.ctr("images", "import", "--platform", "linux/amd64", archive)

    load = stock

    def layout(self, folder):
        tar = f"{self.folder}/{unique('layout')}.tar"
        self.run("tar", "-C", folder, "-cf", tar, ".").must_work()
        return self.ctr("images", "import", "--platform", "linux/amd64", tar)

    def push(self, reference):
        return self.ctr("images", "push", *self.hosts(), reference)

    def present(self, reference):
        return self.ctr("containers", "create", reference, unique("container"))

    def own(self, reference):
        """ctr reads no configuration of containerd's: without `--hosts-dir` it has none."""
        return self.ctr("images", "pull", "--platform", "linux/amd64", reference)


class Cri(Ctr):
    key, title = "cri-1.6", "CRI (a kubelet's pull), containerd 1.6"
    namespace = "k8s.io"
    push = own = layout = load = None

    def start(self):
        super().start()
        until("CRI is ready", lambda: self.cri("list").ok)

    def cri(self, what, *argv):
        return self.run("/usr/bin/python3", CRI, f"{self.folder}/containerd.sock", what, *argv)

    def pull(self, reference):
        return self.cri("pull", reference)

    def present(self, reference):
        return self.cri("status", reference)


class Ctr2(Ctr):
    key, title, version = "ctr-2.3", "ctr, containerd 2.3", 3


class Cri2(Cri):
    key, title, version = "cri-2.3", "CRI (a kubelet's pull), containerd 2.3", 3
