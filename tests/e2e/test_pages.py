# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/clients say what `pullgate client` prints and what terminals show, in the words that are seen here.

PULLGATE_WRITE_DOCS=1 writes those parts of the pages. Parts about today's clients are left alone in a run without them.
"""

import json
import os
import re

import pytest

from bed import clients, configured, names, pages
from bed.gateway import PULLGATE, Gateway
from bed.images import image, unique
from bed.processes import base_environment, command
from bed.stories import past_the_gateway

EXAMPLE = f"{pages.FOLDER}/example.json"
MESSAGE = "is not allowed here (rule no-databases): use db.example.com. Ask platform@example.com"


def kinds():
    """The names that `pullgate client` knows, each of which has a page."""
    return sorted(name[:-3] for name in os.listdir(pages.FOLDER) if name.endswith(".md"))


@pytest.fixture(scope="module")
def site(bed):
    """The gateway of the example, with the bed's registries and addresses. Its authority is its own."""
    folder = f"{bed.folder}/{unique('pages')}"
    with open(EXAMPLE, encoding="utf-8") as file:
        configuration = json.load(file)
    for listener in configuration["listeners"]:
        listener["address"] = listener["address"].replace("[::]", names.GATEWAY)
    ours = {"ca": bed.pki.ca, "private_addresses": names.PRIVATE}
    configuration |= {"state_directory": f"{folder}-state", "registries": {name: ours for name in configuration["registries"]}}
    configuration["listeners"].append({"address": f"{names.GATEWAY}:80"})
    gateway = Gateway(folder, configuration, bed.pki, (names.GATEWAY, 80))
    gateway.authority = f"{folder}-state/ca.crt"
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def images(bed):
    """What the pages pull; the denied one is returned."""
    bed.hub.push("library/alpine", "3.20", image(runnable=False))
    bed.ghcr.push("acme/app", "v1", image(runnable=False))
    return bed.hub.push("library/redis", "7", image(runnable=False))


# What is printed must not depend on what this machine has.
FORMS = {
    "docker": {"configuration": ["--docker-version", "29"], "configuration-20.10": ["--docker-version", "20.10"]},
    "firewall": {"configuration": ["--nft"], "configuration-windows": ["--windows"]},
}


@pytest.mark.parametrize("kind, part", [(kind, part) for kind in kinds() for part in FORMS.get(kind, {"configuration": []})])
def test_a_pages_configuration(kind, part, site):
    argv = [PULLGATE, "client", kind, "--config", EXAMPLE, "--ca", site.authority, *FORMS.get(kind, {}).get(part, [])]
    pages.Page(kind).holds(part, pages.settled(command(argv, env=base_environment()).must_work(), printed=True))


def test_every_client_has_a_page():
    known = command([PULLGATE, "client", "--help"], env=base_environment()).must_work()
    missing = [kind for kind in kinds() if not re.search(rf"(?m)^ +{kind}\b", known)]
    listed = re.findall(r"(?m)^  ([a-z][a-z0-9-]+)  +\S", known.partition("\nThe site:")[0])
    assert not missing and sorted(listed) == kinds(), known


# --- what terminals show ---

IMAGES = ("alpine:3.20", "redis:7", "redis@{redis}", "ghcr.io/acme/app:v1", "quay.io/acme/app:v1")
FULL = [f"docker.io/library/{image}" if "/" not in image else image for image in IMAGES]
LOGIN = "login --username me --password secret"

PULLS = [f"docker pull {image}" for image in IMAGES]
DOCKER = [*PULLS, "echo FROM redis:7 | DOCKER_BUILDKIT=1 docker build --progress plain -", f"docker {LOGIN}"]
DOCKER_TODAY = [*PULLS, "echo FROM redis:7 | docker buildx build --progress plain -", f"docker {LOGIN}"]
CTR = [*(f"ctr images pull --hosts-dir /etc/containerd/certs.d {image}" for image in FULL), "ctr images list --quiet"]
NODE = [f"PullImage {image}" for image in FULL]
PODMAN = [*(f"podman pull {image}" for image in FULL), f"podman {LOGIN} docker.io"]
BUILDAH = [*(f"buildah pull {image}" for image in FULL), "echo FROM docker.io/library/redis:7 | buildah bud -f - ."]
SKOPEO = [*(f"skopeo copy docker://{image} dir:copied" for image in FULL), "skopeo inspect docker://docker.io/library/redis:7",
          "skopeo list-tags docker://docker.io/library/redis"]
BUILDCTL = [f"echo FROM {image} > Dockerfile; buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. --progress plain"
            for image in IMAGES]

TERMINALS = {
    ("docker", "debian"): (configured.Docker, DOCKER),
    ("docker", "today"): (configured.DockerToday, DOCKER_TODAY),
    ("docker", "today-graphdriver"): (configured.DockerTodayGraphdriver, DOCKER_TODAY),
    ("containerd", "debian"): (configured.Containerd, CTR),
    ("containerd", "today"): (configured.ContainerdToday, CTR),
    ("kubernetes-node", "debian"): (configured.Node, NODE),
    ("kubernetes-node", "today"): (configured.NodeToday, NODE),
    ("buildkit", "today"): (configured.Buildkit, BUILDCTL),
    ("podman", "debian"): (configured.Podman, PODMAN),
    ("buildah", "debian"): (configured.Buildah, BUILDAH),
    ("skopeo", "debian"): (configured.Skopeo, SKOPEO),
}


@pytest.mark.parametrize("kind, part", [key for key, (machine, _) in TERMINALS.items() if clients.TODAY or not machine.use_todays])
def test_a_pages_terminal(kind, part, bed, site, images):
    machine, lines = TERMINALS[kind, part]
    running = machine(bed, f"{site.folder}/pullgate.json", site.authority)
    try:
        print(running.written)
        shown, hub_mark, ghcr_mark = [], bed.hub.mark(), bed.ghcr.mark()
        for line in lines:
            typed = line.format(redis=images.digest)
            shown.append((typed, running.shell(typed)))
            print(shown[-1][1])
    finally:
        running.stop()

    assert shown[0][1].ok, "what is allowed is pulled"
    assert not [typed for typed, result in shown if ("redis" in typed or "quay" in typed) and result.ok], "what is denied is not pulled"
    assert [typed for typed, result in shown if MESSAGE in result.output], "the site's words are shown"
    assert not past_the_gateway(bed.hub.since(hub_mark, "library/redis")) and not past_the_gateway(bed.ghcr.since(ghcr_mark))
    text = "\n".join(f"# {pages.settled(typed)}{pages.settled(result.output)}" for typed, result in shown)
    pages.Page(kind).holds(part, text, "console")
