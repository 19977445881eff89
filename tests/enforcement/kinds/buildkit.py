# SPDX-License-Identifier: Apache-2.0
"""buildkitd, asked by buildctl."""

import os

from bed.clients import binary, write
from bed.processes import Daemon

from .base import Builds, Row


def own_buildkitd(row):
    socket = f"unix://{row.folder}/own-buildkitd.sock"
    buildkitd(row, "own-buildkitd", f"{row.folder}/own-buildkitd.toml", "", socket, {})
    return socket


def buildkitd(row, name, path, text, socket, env):
    if text is not None:
        write(path, text)
    argv = [binary("buildkitd"), "--config", path, "--root", f"{row.folder}/{name}", "--addr", socket, "--oci-worker-snapshotter", "native",
            "--containerd-worker", "false"]
    running = Daemon(row.machine.inside(*argv), f"{row.folder}/{name}.log", {**row.env, **env})
    row.daemons.append(running)
    running.wait_ready(lambda: row.run(binary("buildctl"), "--addr", socket, "debug", "workers").ok)


class Buildkitd(Builds, Row):
    key, title = "buildkitd", "buildctl, buildkitd 0.32"
    client, service = ("buildkit",), "buildkit"
    keeps_connections = True

    def start(self):
        self.socket = f"unix://{self.folder}/buildkitd.sock"
        path = self.machine.etc("buildkit/buildkitd.toml")
        buildkitd(self, "buildkitd", path, None if os.path.exists(path) else "", self.socket, self.units())

    def buildctl(self, *argv, socket=None):
        return self.run(binary("buildctl"), "--addr", socket or self.socket, *argv)

    def build(self, *lines, output=(), more=(), socket=None):
        context = self.context(*lines)
        return self.buildctl("build", "--frontend", "dockerfile.v0", "--no-cache", "--progress", "plain", "--local", f"context={context}", "--local",
                             f"dockerfile={context}", *output, *more, socket=socket)

    def syntax(self, reference):
        return self.build(f"# syntax={reference}", "FROM scratch", "COPY Dockerfile /copied")

    def push(self, reference):
        return self.build("FROM scratch", "COPY Dockerfile /copied", output=("--output", f"type=image,name={reference},push=true"))

    def layout(self, folder):
        digest = self.world.layout_digest
        return self.build("FROM local", "COPY Dockerfile /copied",
                          more=("--oci-layout", f"here={folder}", "--opt", f"context:local=oci-layout:here@{digest}"))

    def own(self, reference):
        socket = own_buildkitd(self)
        try:
            return self.build(f"FROM {reference}", "COPY Dockerfile /copied", socket=socket)
        finally:
            self.daemons.pop().stop(5)


class BuildctlPolicy(Buildkitd):
    key, title = "buildctl-policy", "buildctl with `--source-policy-file`, buildkitd 0.32"

    def buildctl(self, *argv, socket=None):
        policy = "/etc/buildkit/pullgate-source-policy.json"
        there = argv[0] == "build" and os.path.exists(self.machine.etc("buildkit/pullgate-source-policy.json"))
        return super().buildctl(*argv, *(("--source-policy-file", policy) if there else ()), socket=socket)
