# SPDX-License-Identifier: Apache-2.0
"""Docker: Debian's dockerd 20.10 and Docker Engine 29 with both of its stores, and their BuildKit."""

import os

from bed.clients import binary, today, write
from bed.images import unique
from bed.processes import Daemon

from .base import Builds, HostDirectories, Row
from .buildkit import own_buildkitd


class DockerPull(Row):
    key, title = "docker-pull", "docker pull, dockerd 20.10"
    client, client_options, service = ("docker",), () if today("dockerd") else ("--docker-version", "20.10"), "docker"
    features = '{}\n'
    buildkit = "0"
    harmless = frozenset({"urls-layer", "urls-config", "urls-index"})  # the graphdriver store asks the registry for everything

    def prepare(self):
        write(self.machine.etc("docker/daemon.json"), self.features)

    def start(self):
        self.socket = f"unix://{self.folder}/docker.sock"
        self.dockerd("docker", "/etc/docker/daemon.json", self.socket, self.units())
        self.env["DOCKER_BUILDKIT"] = self.buildkit

    def dockerd(self, name, configuration, socket, env):
        argv = [binary("dockerd", "/usr/sbin/dockerd"), "--config-file", configuration, "--data-root", f"{self.folder}/{name}", "--exec-root",
                f"{self.folder}/{name}-exec", "--pidfile", f"{self.folder}/{name}.pid", "-H", socket, "--bridge", "none", "--iptables=false",
                "--cgroup-parent", "/pullgate-e2e"]
        running = Daemon(self.machine.inside(*argv), f"{self.folder}/{name}.log", {**self.env, "DOCKER_MIN_API_VERSION": "1.24", **env})
        self.daemons.append(running)
        running.wait_ready(lambda: self.run("/usr/bin/docker", "-H", socket, "version").ok)

    def docker(self, *argv, **more):
        return self.run("/usr/bin/docker", "-H", self.socket, *argv, **more)

    def pull(self, reference):
        return self.docker("pull", reference)

    def stock(self, archive):
        return self.docker("load", "-i", archive)

    load = stock

    def import_tar(self, tar):
        return self.docker("import", tar, unique("imported"))

    def present(self, reference):
        return self.docker("create", "--network", "none", reference, "/none")

    def push(self, reference):
        return self.docker("push", reference)

    def login(self):
        return self.docker("login", "-u", "someone", "-p", "secret")

    def search(self):
        return self.docker("search", "alpine")

    def inspect(self, reference):
        return self.docker("manifest", "inspect", reference)

    def pull_all(self, repository):
        return self.docker("pull", "-a", repository)


class DockerClassic(Builds, DockerPull):
    key, title = "docker-classic", "docker build (classic), dockerd 20.10"
    import_tar = push = login = search = inspect = pull_all = None

    def build(self, *lines, pull=True):
        return self.docker("build", "--network", "none", "--no-cache", *(["--pull"] if pull else []), self.context(*lines))

    def present(self, reference):
        return self.build(f"FROM {reference}", "COPY Dockerfile /copied", pull=False)


class DockerBuildkit(DockerClassic):
    key, title = "docker-buildkit", "docker build (BuildKit), dockerd 20.10"
    buildkit = "1"
    harmless = frozenset()

    def build(self, *lines, pull=True):
        return self.docker("build", "--network", "none", "--no-cache", "--progress", "plain", *(["--pull"] if pull else []), self.context(*lines))

    def syntax(self, reference):
        return self.build(f"# syntax={reference}", "FROM scratch", "COPY Dockerfile /copied")

    def own(self, reference):
        """A second dockerd on the same machine, started without the configuration."""
        write(f"{self.folder}/own.json", self.features)
        ours, self.socket = self.socket, f"unix://{self.folder}/own.sock"
        try:
            self.dockerd("own", f"{self.folder}/own.json", self.socket, {})
            return self.pull(reference)
        finally:
            self.socket = ours
            self.daemons.pop().stop(5)


class Docker29Pull(HostDirectories, DockerPull):
    key, title = "docker29-pull", "docker pull, Docker Engine 29 (containerd store)"
    directories = "docker/certs.d"
    features = '{"features": {"containerd-snapshotter": true}}\n'
    harmless = frozenset()

    def layout(self, folder):
        tar = f"{self.folder}/{unique('layout')}.tar"
        self.run("tar", "-C", folder, "-cf", tar, ".").must_work()
        return self.docker("load", "-i", tar)


class Docker29Build(HostDirectories, DockerBuildkit):
    key, title = "docker29-build", "docker build, Docker Engine 29 (containerd store)"
    directories = "docker/certs.d"
    features = Docker29Pull.features


class Docker29Buildx(Docker29Build):
    key, title = "docker29-buildx", "docker buildx build, Docker Engine 29"

    def buildx(self, *argv):
        return self.run(binary("buildx"), *argv, DOCKER_HOST=self.socket)

    def build(self, *lines, pull=True):
        return self.buildx("build", "--network", "none", "--no-cache", "--progress", "plain", *(["--pull"] if pull else []), self.context(*lines))

    def imagetools(self, reference):
        return self.buildx("imagetools", "inspect", reference)

    def push(self, reference):
        return self.buildx("build", "--progress", "plain", "--push", "--tag", reference, self.context("FROM scratch", "COPY Dockerfile /copied"))

    def layout(self, folder):
        context = self.context("FROM local", "COPY Dockerfile /copied")
        return self.buildx("build", "--network", "none", "--no-cache", "--progress", "plain", "--build-context", f"local=oci-layout://{folder}:1", context)

    def own(self, reference):
        """`docker buildx create` of a builder that nobody configured."""
        socket = own_buildkitd(self)
        name = unique("own").replace("-", "")
        self.buildx("create", "--name", name, "--driver", "remote", socket).must_work()
        try:
            return self.buildx("build", "--builder", name, "--no-cache", "--progress", "plain", self.context(f"FROM {reference}", "COPY Dockerfile /copied"))
        finally:
            self.daemons.pop().stop(5)


class Docker29GraphPull(DockerPull):
    key, title = "docker29-graph-pull", "docker pull, Docker Engine 29 (graphdriver store)"
    features = '{"features": {"containerd-snapshotter": false}}\n'
    second_file, empty_directory, broken_file = HostDirectories.second_file, HostDirectories.empty_directory, HostDirectories.broken_file
    directories = "docker/certs.d"


class Docker29GraphBuild(Docker29Build):
    key, title = "docker29-graph-build", "docker build, Docker Engine 29 (graphdriver store)"
    features = Docker29GraphPull.features


class DockerTakeover(DockerPull):
    key, title, site = "docker-takeover", "docker pull, dockerd 20.10, `--takeover`", "taken"
    client_options = (*DockerPull.client_options, "--takeover")


class Docker29Takeover(Docker29Pull):
    key, title, site = "docker29-takeover", "docker pull, Docker Engine 29, `--takeover`", "taken"
    client_options = ("--takeover",)


class WslDocker(DockerPull):
    key, title, site = "wsl-docker", "WSL2 distribution 1: docker pull", "windows"
