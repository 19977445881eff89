# SPDX-License-Identifier: Apache-2.0
"""Container clients, each configured as a site would: how to pull with it, how to run with it, and what it lets its user read.

With PULLGATE_TODAY=DIR the binaries in DIR (containerd, ctr, dockerd, buildkitd, buildctl, skopeo) take the place of Debian's, and forms that
only they have are tried too: dockerd's two stores, its hosts.toml, a mirror with a path, `server` alone.
"""

import json
import os
import shutil

from .images import GREETING, unique
from .processes import Daemon, base_environment, command

TODAY = os.environ.get("PULLGATE_TODAY")


def binary(name, otherwise=None):
    """A client's program: today's if it is there, else Debian's; None if there is neither."""
    if TODAY and os.access(f"{TODAY}/{name}", os.X_OK):
        return f"{TODAY}/{name}"
    return otherwise if otherwise and os.access(otherwise, os.X_OK) else shutil.which(otherwise or name)


def today(name):
    return bool(TODAY) and os.access(f"{TODAY}/{name}", os.X_OK)


BOTH = ("docker.io", "ghcr.io")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Client:
    """What the stories ask of every client.

    `fallback`: its configuration lets it go to the registry itself, so a refusal must be final to hold.
    `words_by_tag`, `words_by_digest`: the terminal shows the site's words when a pull by tag or by digest is denied.
    `registries`: of the bed's two, those that it asks the gateway for; `any_registry`: it asks for every other, too.
    `route`: how it names the registry there.
    """

    fallback = True
    words_by_tag, words_by_digest = True, False
    registries, route = ("docker.io",), "ns"
    any_registry = False
    can_run = True
    why_not_run = ""

    def __init__(self, bed, mirror):
        self.bed, self.mirror = bed, mirror
        self.folder = f"{bed.folder}/{unique(type(self).__name__)}"
        os.makedirs(f"{self.folder}/home")
        path = f"{TODAY}:{os.environ['PATH']}" if TODAY else os.environ["PATH"]
        self.env = base_environment(SSL_CERT_FILE=bed.pki.ca, SSL_CERT_DIR="/nonexistent", HOME=f"{self.folder}/home", PATH=path,
                                    XDG_RUNTIME_DIR=self.folder, TMPDIR=self.folder)
        self.start()

    def start(self):
        pass

    def stop(self):
        pass

    def pull(self, reference):
        """Pull, and say what the terminal showed."""
        raise NotImplementedError

    def run(self, reference):
        """Pull and run; the output has the image's greeting."""
        raise NotImplementedError

    def forget(self):
        """Remove all that it has pulled, so that it asks for all of it again."""
        raise NotImplementedError

    def use(self, reference):
        """Pull and do what can be done with it: run it, if this client can."""
        return self.run(reference) if self.can_run else self.pull(reference)

    def command(self, *argv, **more):
        return command(list(argv), env=self.env, **more)

    def led(self, *argv):
        """What a daemon is started with; clients that are led somewhere put what leads them before it."""
        return list(argv)

    def with_etc(self, name, *argv):
        """Run with this client's own /etc/NAME in the place of the machine's."""
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", f"{self.folder}/etc/{name}", f"/etc/{name}", *argv]


# --- Docker ---


def hosts_toml(mirror, *lines, empty_host=True):
    """One host for the registry and no other: containerd 1.6 wants the empty `[host]`, newer ones do not."""
    return "\n".join([f'server = "https://{mirror}"', *lines, *(["", "[host]"] if empty_host else []), ""])


class DockerPull(Client):
    """dockerd with "registry-mirrors", asked by `docker pull` and `docker run`.

    `graphdriver`: today's dockerd with the store that Debian's has. `path`: what follows the mirror's name in its URL.
    `server`: instead of "registry-mirrors", today's `_default/hosts.toml`: the gateway or nothing.
    `shows_first_error`: when the mirror and the registry behind it both refuse, the terminal has the mirror's words.
    """

    graphdriver, path, server = False, "", False
    shows_first_error = today("dockerd")
    words_by_digest = not today("dockerd")
    route = "ns" if today("dockerd") else "root"
    can_run = not today("dockerd")
    why_not_run = "Debian's runc is too old for today's dockerd"

    def start(self):
        self._daemon, self.socket = docker_daemon(self)

    def stop(self):
        self._daemon.stop()

    def docker(self, *argv):
        return self.command("/usr/bin/docker", "-H", self.socket, *argv)

    def pull(self, reference):
        return self.docker("pull", reference)

    def run(self, reference):
        return self.docker("run", "--rm", "--network", "none", "--pull", "always", reference)

    def forget(self):
        self.docker("system", "prune", "--all", "--force").must_work()

    def use(self, reference):
        # Where nothing can run, a container is made: the image's layers are put together for it.
        return self.run(reference) if self.can_run else self.docker("create", "--network", "none", "--pull", "always", reference)


class DockerBuild(DockerPull):
    """The BuildKit in the same dockerd: `docker build` of a Dockerfile that begins FROM the image."""

    words_by_digest, route = False, "ns"

    def docker_build(self, reference, *lines):
        context = f"{self.folder}/{unique('context')}"
        write(f"{context}/Dockerfile", "\n".join([f"FROM {reference}", *lines]) + "\n")
        return self.docker("build", "--network", "none", "--no-cache", "--pull", "--progress", "plain", "--tag", unique("built"), context)

    def start(self):
        super().start()
        self.env["DOCKER_BUILDKIT"] = "1"

    def pull(self, reference):
        # A layer is only fetched when something needs it.
        return self.docker_build(reference, 'RUN ["/bin/busybox", "true"]' if self.can_run else "COPY Dockerfile /copied")

    def run(self, reference):
        return self.docker_build(reference, f'RUN ["/bin/busybox", "echo", "{GREETING}"]')

    def use(self, reference):
        return Client.use(self, reference)


class DockerServer(DockerPull):
    server, fallback, words_by_digest, registries, any_registry = True, False, True, BOTH, True


class DockerServerBuild(DockerBuild):
    server, fallback, words_by_digest, registries, any_registry = True, False, True, BOTH, True


class DockerPath(DockerPull):
    """The registry's name stands in the mirror's URL, so it comes before /v2/: `/docker.io/v2/...?ns=docker.io`."""

    path, route = "/docker.io", "outer_prefix"


class DockerGraphdriver(DockerPull):
    graphdriver, words_by_digest, route = True, True, "root"
    shows_first_error = False


class DockerGraphdriverBuild(DockerBuild):
    graphdriver = True


class DockerGraphdriverServerBuild(DockerServerBuild):
    """In this store hosts.toml is for `docker build`; `docker pull` does not read it."""

    graphdriver = True


class DockerGraphdriverPath(DockerGraphdriver):
    path, route = "/docker.io", "outer_prefix"


def docker_configuration(client):
    configuration = {} if client.server or not client.mirror else {"registry-mirrors": [f"https://{client.mirror}{client.path}"]}
    if today("dockerd"):
        configuration["features"] = {"containerd-snapshotter": not client.graphdriver}
    return configuration


def docker_daemon(client):
    folder = client.folder
    write(f"{folder}/daemon.json", json.dumps(docker_configuration(client)))
    os.makedirs(f"{folder}/etc/docker")
    if client.server:
        write(f"{folder}/etc/docker/certs.d/_default/hosts.toml", hosts_toml(client.mirror, 'capabilities = ["pull", "resolve"]', f'ca = "{client.bed.pki.ca}"'))
    socket = f"unix://{folder}/docker.sock"
    argv = [binary("dockerd", "/usr/sbin/dockerd"), "--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data", "--exec-root",
            f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", socket, "--bridge", "none", "--iptables=false", "--cgroup-parent", "/pullgate-e2e"]
    env = {**client.env, "DOCKER_MIN_API_VERSION": "1.24"}
    daemon = Daemon(client.with_etc("docker", *argv), f"{folder}/dockerd.log", env)
    daemon.wait_ready(lambda: client.command("/usr/bin/docker", "-H", socket, "version").ok)
    return daemon, socket


class BuildkitMirror(Client):
    """buildkitd with `mirrors` in its configuration; only where today's binaries are given."""

    path, registries = "", BOTH
    can_run = False
    why_not_run = "buildkitd is only given with today's binaries, whose RUN needs a newer runc than Debian's"

    def start(self):
        sections = [f'[registry."{name}"]\n  mirrors = ["{self.mirror}{self.path.format(registry=name)}"]\n' for name in self.registries]
        write(f"{self.folder}/buildkitd.toml", "".join(sections))
        self._socket = f"unix://{self.folder}/buildkitd.sock"
        argv = [binary("buildkitd"), "--config", f"{self.folder}/buildkitd.toml", "--root", f"{self.folder}/root", "--addr", self._socket,
                "--oci-worker-snapshotter", "native", "--containerd-worker", "false"]
        self._daemon = Daemon(argv, f"{self.folder}/buildkitd.log", self.env)
        self._daemon.wait_ready(lambda: self.command(binary("buildctl"), "--addr", self._socket, "debug", "workers").ok)

    def stop(self):
        self._daemon.stop()

    def pull(self, reference):
        context = f"{self.folder}/{unique('context')}"
        write(f"{context}/Dockerfile", f"FROM {reference}\nCOPY Dockerfile /copied\n")
        return self.command(binary("buildctl"), "--addr", self._socket, "build", "--frontend", "dockerfile.v0", "--no-cache", "--progress", "plain",
                            "--local", f"context={context}", "--local", f"dockerfile={context}")


class BuildkitPath(BuildkitMirror):
    """A mirror with the registry's name as its path: `/v2/docker.io/...?ns=docker.io`."""

    path, route = "/{registry}", "prefix"


# --- containerd ---


class Containerd(Client):
    """containerd with a hosts.toml; ctr asks. `directory`: which registries the file is for."""

    directory, server, empty_host = "docker.io", False, True

    def start(self):
        folder = self.folder
        first_host = f'[host."https://{self.mirror}"]\n  capabilities = ["pull", "resolve"]\n'
        text = hosts_toml(self.mirror, empty_host=self.empty_host) if self.server else first_host
        write(f"{folder}/hosts/{self.directory}/hosts.toml", text)
        write(f"{folder}/config.toml", "version = 2\n" f'root = "{folder}/root"\nstate = "{folder}/state"\n'
              'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' f'[grpc]\n  address = "{folder}/containerd.sock"\n')
        self._daemon = Daemon(self.led(binary("containerd"), "--config", f"{folder}/config.toml"), f"{folder}/containerd.log", self.env)
        self._daemon.wait_ready(lambda: self.ctr("version").ok)

    def stop(self):
        self._daemon.stop()

    def ctr(self, *argv):
        return self.command(binary("ctr"), "--address", f"{self.folder}/containerd.sock", *argv)

    def pull(self, reference):
        return self.ctr("images", "pull", "--hosts-dir", f"{self.folder}/hosts", "--platform", "linux/amd64", reference)

    def forget(self):
        names = self.ctr("images", "list", "--quiet").must_work().split()
        if names:
            self.ctr("images", "remove", "--sync", *names).must_work()

    def push(self, reference):
        return self.ctr("images", "push", "--hosts-dir", f"{self.folder}/hosts", reference)

    def run(self, reference):
        pulled = self.pull(reference)
        if not pulled.ok:
            return pulled
        return self.ctr("run", "--rm", "--cgroup", "/pullgate-e2e/" + unique("ctr"), reference, unique("story"))


class ContainerdDefault(Containerd):
    """`_default`: every registry has the gateway before it, and itself behind."""

    directory, registries, any_registry = "_default", BOTH, True


class ContainerdServer(Containerd):
    """`_default` with `server`: the gateway or nothing."""

    directory, server, fallback, registries, any_registry = "_default", True, False, BOTH, True
    words_by_digest = True


class ContainerdBare(ContainerdServer):
    """`server` and nothing else; 1.6 rejects such a file and goes to the registry."""

    empty_host = False


# --- containers/image: podman, buildah, skopeo ---


class ContainersImage(Client):
    """registries.conf in one of three forms: a mirror, a mirror with a path, a remap."""

    form, route = "mirror", "root"
    CONF = {
        "mirror": '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{mirror}"\n',
        "prefix": "".join(f'[[registry]]\nlocation = "{name}"\n[[registry.mirror]]\nlocation = "{{mirror}}/{name}"\n'
                          for name in BOTH),
        "remap": "".join(f'[[registry]]\nprefix = "{name}"\nlocation = "{{mirror}}/{name}"\n' for name in BOTH),
    }
    # No cgroup v2 and no CAP_SYS_RESOURCE are asked of the machine.
    LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--runtime", "runc")

    def start(self):
        etc = f"{self.folder}/etc/containers"
        write(f"{etc}/registries.conf", self.CONF[self.form].format(mirror=self.mirror))
        write(f"{etc}/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}\n')
        write(f"{etc}/containers.conf", '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')

    def tool(self, name, *argv):
        return self.command(*self.with_etc("containers", name, *argv))

    def storage(self):
        return ("--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs")


class Podman(ContainersImage):
    def forget(self):
        self.tool("podman", *self.storage(), "rmi", "--all", "--force").must_work()

    def pull(self, reference):
        return self.tool("podman", *self.storage(), "pull", reference)

    def run(self, reference):
        return self.tool("podman", *self.storage(), "run", "--rm", "--network", "none", "--cgroup-parent", "/pullgate-e2e", *self.LIMITS,
                         "--pull", "always", reference)


class Buildah(ContainersImage):
    def forget(self):
        self.tool("buildah", *self.storage(), "rmi", "--all", "--force").must_work()

    def pull(self, reference):
        return self.tool("buildah", *self.storage(), "pull", reference)

    def run(self, reference):
        context = f"{self.folder}/{unique('context')}"
        write(f"{context}/Containerfile", f'FROM {reference}\nRUN ["/bin/busybox", "echo", "{GREETING}"]\n')
        return self.tool("buildah", *self.storage(), "bud", "--isolation", "chroot", "--pull-always", context)


class Skopeo(ContainersImage):
    can_run, why_not_run = False, "skopeo copies only"
    words_by_tag = today("skopeo")

    def forget(self):
        """It keeps nothing: each copy is a folder of its own."""

    def pull(self, reference):
        return self.tool(binary("skopeo"), "copy", f"docker://{reference}", f"dir:{self.folder}/{unique('copy')}")


class Prefix:
    form, route, registries = "prefix", "prefix", BOTH


class Remap:
    form, route, registries, fallback = "remap", "prefix", BOTH, False


class PodmanPrefix(Prefix, Podman):
    pass


class PodmanRemap(Remap, Podman):
    pass


class BuildahPrefix(Prefix, Buildah):
    pass


class BuildahRemap(Remap, Buildah):
    pass


class SkopeoPrefix(Prefix, Skopeo):
    pass


class SkopeoRemap(Remap, Skopeo):
    pass


KINDS = {
    "docker-pull": DockerPull, "docker-build": DockerBuild, "containerd": Containerd, "containerd-default": ContainerdDefault,
    "containerd-server": ContainerdServer, "podman": Podman, "podman-prefix": PodmanPrefix, "podman-remap": PodmanRemap, "buildah": Buildah,
    "buildah-prefix": BuildahPrefix, "buildah-remap": BuildahRemap, "skopeo": Skopeo, "skopeo-prefix": SkopeoPrefix, "skopeo-remap": SkopeoRemap,
}
if today("dockerd"):
    KINDS |= {
        "docker-server": DockerServer, "docker-server-build": DockerServerBuild, "docker-path": DockerPath, "docker-graphdriver": DockerGraphdriver,
        "docker-graphdriver-build": DockerGraphdriverBuild, "docker-graphdriver-server-build": DockerGraphdriverServerBuild,
        "docker-graphdriver-path": DockerGraphdriverPath,
    }
if today("containerd"):
    KINDS["containerd-bare"] = ContainerdBare
if today("buildkitd") and today("buildctl"):
    KINDS |= {"buildkitd": BuildkitMirror, "buildkitd-path": BuildkitPath}
WITH_GHCR = [name for name, kind in KINDS.items() if "ghcr.io" in kind.registries]
WITH_FALLBACK = [name for name, kind in KINDS.items() if kind.fallback]
WITHOUT_FALLBACK = [name for name in KINDS if name not in WITH_FALLBACK]
WITH_ANY = [name for name, kind in KINDS.items() if kind.any_registry]


def of_these(*names, among=None):
    """The names among these that are kinds here: some are only with today's binaries."""
    return [name for name in names if name in (KINDS if among is None else among)]
