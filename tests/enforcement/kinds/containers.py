# SPDX-License-Identifier: Apache-2.0
"""What is made of containers/image: podman, buildah, skopeo."""

from bed.clients import binary, write
from bed.images import unique

from .base import Builds, Row


class ContainersImage(Row):
    stocked_first = True
    harmless = frozenset({"urls-index", "broken-file"})  # no `urls` of an index; with a broken drop-in it does nothing at all
    OWN = "# nothing\n"
    ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}\n'

    def prepare(self):
        write(self.machine.etc("containers/containers.conf"), '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')

    def second_file(self, registry):
        """What a user's own files say about a registry counts after the machine's."""
        self.change(f"{self.machine.home}/.config/containers/registries.conf.d/zz-own.conf", f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\n')
        self.change(f"{self.machine.home}/.config/containers/policy.json", self.ANYTHING)

    def broken_file(self):
        self.change(self.machine.etc("containers/registries.conf.d/zz-broken.conf"), '[[registry]\nprefix = "ghcr.io\n')

    def own_environment(self):
        write(f"{self.folder}/own.conf", self.OWN)
        write(f"{self.folder}/own.conf.d/none.conf", self.OWN)
        write(f"{self.folder}/own-policy.json", self.ANYTHING)
        return {"CONTAINERS_REGISTRIES_CONF": f"{self.folder}/own.conf", "CONTAINERS_REGISTRIES_CONF_DIR": f"{self.folder}/own.conf.d"}


class Podman(ContainersImage):
    key, title = "podman", "podman 4.3"
    client = ("podman",)

    def podman(self, *argv, **more):
        return self.run("podman", "--root", f"{self.folder}/podman", "--runroot", f"{self.folder}/podman-run", "--storage-driver", "vfs", *argv, **more)

    def pull(self, reference):
        return self.podman("pull", reference)

    def stock(self, archive):
        return self.podman("load", "-i", archive)

    load = stock

    def import_tar(self, tar):
        return self.podman("import", tar)

    def layout(self, folder):
        return self.podman("pull", f"oci:{folder}:1")

    def present(self, reference):
        return self.podman("create", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", reference, "/none")

    def push(self, reference):
        return self.podman("push", reference)

    def login(self):
        return self.podman("login", "-u", "someone", "-p", "secret", "docker.io")

    def search(self):
        return self.podman("search", "docker.io/alpine")

    def inspect(self, reference):
        return self.podman("manifest", "inspect", reference)

    def pull_all(self, repository):
        return self.podman("pull", "--all-tags", repository)

    def own(self, reference):
        return self.podman("pull", "--signature-policy", f"{self.folder}/own-policy.json", reference, **self.own_environment())


class Buildah(Builds, ContainersImage):
    key, title = "buildah", "buildah bud, buildah 1.28"
    client = ("buildah",)

    def buildah(self, *argv, **more):
        return self.run("buildah", "--root", f"{self.folder}/buildah", "--runroot", f"{self.folder}/buildah-run", "--storage-driver", "vfs", *argv, **more)

    def build(self, *lines):
        return self.buildah("bud", "--isolation", "chroot", "--pull-always", self.context(*lines))

    def stock(self, archive):
        return self.buildah("pull", f"docker-archive:{archive}")

    load = stock

    def layout(self, folder):
        return self.buildah("from", f"oci:{folder}:1")

    def present(self, reference):
        return self.buildah("from", "--pull-never", reference)

    def push(self, reference):
        return self.buildah("push", reference)

    def login(self):
        return self.buildah("login", "-u", "someone", "-p", "secret", "docker.io")

    def inspect(self, reference):
        return self.buildah("manifest", "inspect", reference)

    def pull_all(self, repository):
        return self.buildah("pull", "--all-tags", repository)

    def own(self, reference):
        return self.buildah("pull", "--signature-policy", f"{self.folder}/own-policy.json", reference, **self.own_environment())


class Skopeo(ContainersImage):
    key, title = "skopeo-1.9", "skopeo 1.9"
    client = ("skopeo",)

    def skopeo(self, *argv, **more):
        return self.run(binary("skopeo"), *argv, **more)

    def into(self):
        return f"dir:{self.folder}/{unique('copy')}"

    def pull(self, reference):
        return self.skopeo("copy", f"docker://{reference}", self.into())

    def load(self, archive):
        return self.skopeo("copy", f"docker-archive:{archive}", self.into())

    def layout(self, folder):
        return self.skopeo("copy", f"oci:{folder}:1", self.into())

    def push(self, reference):
        return self.skopeo("copy", f"oci:{self.world.layout}:1", f"docker://{reference}")

    def login(self):
        return self.skopeo("login", "-u", "someone", "-p", "secret", "docker.io")

    def inspect(self, reference):
        return self.skopeo("inspect", f"docker://{reference}")

    def pull_all(self, repository):
        return self.skopeo("sync", "--src", "docker", "--dest", "dir", repository, f"{self.folder}/{unique('all')}")

    def own(self, reference):
        environment = self.own_environment()
        return self.skopeo("--registries-conf", f"{self.folder}/own.conf", "--policy", f"{self.folder}/own-policy.json", "copy",
                           f"docker://{reference}", self.into(), **environment)


class WslPodman(Podman):
    key, title, site = "wsl-podman", "WSL2 distribution 2: podman", "windows"
