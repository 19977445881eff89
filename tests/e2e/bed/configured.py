# SPDX-License-Identifier: Apache-2.0
"""Machines whose clients have what `pullgate client NAME --strict --write` wrote, and nothing else of a gateway.

A machine is an /etc of its own; daemons and commands of it are as a person would type them, and as systemd would start them.
The registries' certificates are trusted by the system, as in the world; the gateway's authority is not.
"""

import os
import re
import shlex
import shutil

from .clients import TODAY, binary, today, write
from .gateway import PULLGATE
from .images import unique
from .processes import Daemon, base_environment, command

CRI = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../enforcement/cri.py"))


class Machine:
    """`kind`: the name for `pullgate client`. `before`: files that are there before, by path below /etc."""

    kind, options = None, ()
    before = {}
    use_todays = False

    def __init__(self, bed, site, ca):
        self.folder = f"{bed.folder}/{unique(type(self).__name__)}"
        os.makedirs(f"{self.folder}/home")
        os.makedirs(f"{self.folder}/run")
        shutil.copytree("/etc", f"{self.folder}/etc", symlinks=True)
        for name, text in self.before.items():
            write(f"{self.folder}/etc/{name}", text.replace("FOLDER", self.folder))
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        self.env = base_environment(SSL_CERT_FILE=bed.pki.ca, SSL_CERT_DIR="/nonexistent", HOME=f"{self.folder}/home", PATH=path, TERM="dumb",
                                    XDG_RUNTIME_DIR=f"{self.folder}/run", TMPDIR=f"{self.folder}/run", LANG="C.UTF-8")
        self.daemons = []
        self.link_programs()
        self.written = self.configure(site, ca)
        self.start()

    def link_programs(self):
        """Of which generation the programs are that are found first."""
        os.makedirs(f"{self.folder}/bin")
        if not self.use_todays:
            return
        for name in os.listdir(TODAY):
            os.symlink(f"{TODAY}/{name}", f"{self.folder}/bin/{name}")
        plugins = f"{self.folder}/home/.docker/cli-plugins"
        os.makedirs(plugins)
        if today("buildx"):
            os.symlink(f"{TODAY}/buildx", f"{plugins}/docker-buildx")

    def configure(self, site, ca):
        argv = [PULLGATE, "client", self.kind, "--config", site, "--ca", ca, "--strict", "--write", "--root", self.folder, *self.options]
        return command(argv, env=base_environment()).must_work()

    def start(self):
        pass

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.stop()

    def inside(self, *argv):
        """A command's words, for it to run on this machine."""
        script = 'mount --bind "$1/etc" /etc && shift && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.folder, *argv]

    def service_environment(self, service):
        """What systemd would give the service out of its drop-ins."""
        found, folder = {}, f"{self.folder}/etc/systemd/system/{service}.service.d"
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                for line in re.findall(r"(?m)^Environment=(.*)$", file.read()):
                    found |= dict(word.split("=", 1) for word in shlex.split(line))
        return found

    def daemon(self, service, *argv, more=None):
        env = {**self.env, **(more or {}), **self.service_environment(service)}
        running = Daemon(self.inside(*argv), f"{self.folder}/{service}.log", env)
        self.daemons.append(running)
        return running

    def shell(self, line):
        """What a person typed, as root."""
        done = command(self.inside("sh", "-c", line), env=self.env, cwd=f"{self.folder}/home")
        done.output = done.output.replace(f"{self.folder}/home", "/root").replace(self.folder, "")
        return done


class Docker(Machine):
    kind, options = "docker", ("--docker-version", "20.10")

    def start(self):
        folder = self.folder
        socket = f"unix://{folder}/docker.sock"
        program = binary("dockerd") if self.use_todays else "/usr/sbin/dockerd"
        self.env |= {"DOCKER_HOST": socket}
        self.env["PATH"] = f"{folder}/bin:/usr/bin:{os.environ['PATH']}"
        daemon = self.daemon("docker", program, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
                             "-H", socket, "--bridge", "none", "--iptables=false", "--cgroup-parent", "/pullgate-e2e", more={"DOCKER_MIN_API_VERSION": "1.24"})
        daemon.wait_ready(lambda: self.shell("docker version").ok)


class DockerToday(Docker):
    use_todays, options = True, ("--docker-version", "29")


class DockerTodayGraphdriver(DockerToday):
    before = {"docker/daemon.json": '{\n  "features": { "containerd-snapshotter": false }\n}\n'}


class Containerd(Machine):
    kind = "containerd"

    def start(self):
        folder = self.folder
        self.env |= {"CONTAINERD_ADDRESS": f"{folder}/containerd.sock"}
        program = binary("containerd") if self.use_todays else "/usr/bin/containerd"
        argv = ["--root", f"{folder}/root", "--state", f"{folder}/state", "--address", f"{folder}/containerd.sock"]
        if os.path.exists(f"{folder}/etc/containerd/config.toml"):
            argv += ["--config", "/etc/containerd/config.toml"]
        self.daemon("containerd", program, *argv).wait_ready(lambda: self.shell("ctr version").ok)


class ContainerdToday(Containerd):
    use_todays = True


class Node(Containerd):
    """A node whose kubelet uses containerd; what a kubelet asks is asked by cri.py."""

    kind = "kubernetes-node"
    before = {"default/kubelet": "KUBELET_EXTRA_ARGS=--container-runtime-endpoint=unix:///run/containerd/containerd.sock\n"}

    def shell(self, line):
        return super().shell(line.replace("PullImage", f"/usr/bin/python3 {CRI} {self.folder}/containerd.sock pull"))


class NodeToday(Node):
    use_todays = True


class Buildkit(Machine):
    kind, use_todays = "buildkit", True

    def start(self):
        folder = self.folder
        self.env |= {"BUILDKIT_HOST": f"unix://{folder}/buildkitd.sock"}
        daemon = self.daemon("buildkit", binary("buildkitd"), "--root", f"{folder}/root", "--addr", f"unix://{folder}/buildkitd.sock",
                             "--oci-worker-snapshotter", "native", "--containerd-worker", "false")
        daemon.wait_ready(lambda: self.shell("buildctl debug workers").ok)


class ContainersImage(Machine):
    before = {
        "containers/containers.conf": '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n',
        "containers/storage.conf": '[storage]\ndriver = "vfs"\ngraphroot = "FOLDER/storage"\nrunroot = "FOLDER/run"\n',
        "containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
    }


class Podman(ContainersImage):
    kind = "podman"


class Buildah(ContainersImage):
    kind = "buildah"


class Skopeo(ContainersImage):
    kind = "skopeo"
