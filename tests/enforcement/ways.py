# SPDX-License-Identifier: Apache-2.0
"""The ways around: the columns. Each is something that a person, a program or an accident does on a client machine so that an
image, or a part of one, might come from somewhere else than the gateway, or from the gateway though it is denied.

A way asks a row (kinds.py) for what it needs and gives what the terminal showed. `bites`: where a client of the same kind that
nobody configured goes by this way; the first phase shows that it does, so that a refusal elsewhere is worth something. Empty:
the content itself is the proof. `state`: what is wrong with the gateway meanwhile. A way that does not give content (a login) is
open when somebody else was asked, not when it is answered. `before`: what is done to each machine a while before: Go's programs look
at a hosts file every five seconds.
"""

from bed import names
from bed.images import image, multi_arch, unique

HUB = "registry-1.docker.io"


class Way:
    def __init__(self, key, title, needs, do, bites=(), state=None, gives_content=True, before=None):
        self.key, self.title, self.needs, self.do, self.bites, self.state = key, title, needs, do, set(bites), state
        self.gives_content, self.before = gives_content, before

    def exists_for(self, kind):
        return all(getattr(kind, need, None) for need in self.needs)


def denied(world, row, what=image):
    return world.bed.hub.push(f"library/{unique('denied')}", "1", what(runnable=False) if what is image else what())


def allowed(world, row):
    return world.bed.hub.push(f"library/{unique('ok')}", "1", image(runnable=False))


def pull_allowed(world, row):
    return row.pull(allowed(world, row).by_tag)


def pull_denied(world, row):
    return row.pull(denied(world, row).by_tag)


def again_and_again(world, row):
    """By tag, by tag again, by digest: does it turn elsewhere, or keep what it began to fetch?"""
    pushed = denied(world, row)
    results = [row.pull(reference) for reference in (pushed.by_tag, pushed.by_tag, pushed.by_digest)]
    return next((result for result in results if result.ok), results[1])


def by_digest(world, row):
    return row.pull(denied(world, row).by_digest)


def other_repository(world, row):
    """A permitted repository's manifest names a layer that only a denied repository has."""
    hub = world.bed.hub
    secret = image(runnable=False)
    hub.push(f"library/{unique('denied')}", "1", secret)
    thief = hub.push(f"library/{unique('ok')}", "1", secret)
    hub.forget_blobs(thief)
    return row.pull(thief.by_tag)


def unlisted(registry):
    def do(world, row):
        pushed = world.bed.stranger.push(f"team/{unique('app')}", "1", image(runnable=False))
        return row.pull(f"{registry}/{pushed.repository}:1")

    return do


def urls_in(what):
    """The foreign host has what the descriptor means, so that whoever goes there is content."""
    def do(world, row):
        path = f"/{unique('content')}"
        urls = [f"https://foreign.example{path}"]
        if what == "index":
            document = multi_arch(urls=urls)
            content = document.children[0].bytes
        else:
            document = image(oci=True, runnable=False, **({"urls": urls} if what == "layer" else {"config_urls": urls}))
            content = document.blobs[-1 if what == "layer" else 0]
        world.bed.foreign.pages[path] = content
        return row.pull(world.bed.hub.push(f"library/{unique('ok')}", "1", document).by_tag)

    return do


def redirect(world, row):
    return row.pull(world.bed.moved.push(f"team/{unique('app')}", "1", image(runnable=False)).by_tag)


def push(world, row):
    return row.push(world.STOCK)


def hosts_entry(row):
    path = row.machine.etc("hosts")
    with open(path, encoding="ascii") as file:
        before = file.read()
    row.change(path, f"{names.HUB_OTHERWISE} registry-1.docker.io index.docker.io docker.io\n{before}")


def own_proxy(world, row):
    url = "http://proxy.example:3128"
    kept = dict(row.env)
    row.env.update({name: url for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")})
    try:
        return pull_denied(world, row)
    finally:
        row.env.clear()
        row.env.update(kept)


def ghcr_denied(world):
    return world.bed.ghcr.push(f"org/{unique('denied')}", "1", image(runnable=False))


def second_file(world, row):
    row.second_file("ghcr.io")
    return row.pull(ghcr_denied(world).by_tag)


def empty_directory(world, row):
    row.empty_directory("ghcr.io")
    return row.pull(ghcr_denied(world).by_tag)


def broken_file(world, row):
    row.broken_file()
    return row.pull(ghcr_denied(world).by_tag)


def add_url(world, row):
    return row.build(f"FROM {allowed(world, row).by_tag}", "ADD https://foreign.example/tool /tool")


def from_digest(world, row):
    return row.build(f"FROM {denied(world, row).by_digest}", "COPY Dockerfile /copied")


def syntax(world, row):
    return row.syntax(denied(world, row).by_tag)


WAYS = [
    Way("denied", "a denied image by tag", ["pull"], pull_denied, [HUB]),
    Way("again", "a pull after a denial: again, then by digest", ["pull"], again_and_again, [HUB]),
    Way("digest", "a denied image by digest", ["pull"], by_digest, [HUB]),
    Way("other-repository", "a denied image's blobs by digest, through another repository", ["pull"], other_repository, [HUB]),
    Way("unlisted", "an unlisted registry by full name (quay.io)", ["pull"], unlisted("quay.io"), ["stranger.example"]),
    Way("unlisted-rare", "the same, under a rare top-level domain", ["pull"], unlisted("stranger.example"), ["stranger.example"]),
    Way("urls-layer", "`urls` in a layer", ["pull"], urls_in("layer"), ["foreign.example"]),
    Way("urls-config", "`urls` in the configuration", ["pull"], urls_in("config"), ["foreign.example"]),
    Way("urls-index", "`urls` in an index", ["pull"], urls_in("index"), ["foreign.example"]),
    Way("redirect", "a redirect to an unlisted host", ["pull"], redirect, ["blobs.elsewhere.example"]),
    Way("push", "a push", ["push"], push, [HUB]),
    Way("login", "a login at the registry", ["login"], lambda world, row: row.login(), [HUB], gives_content=False),
    Way("search", "a search at the registry", ["search"], lambda world, row: row.search(), [HUB], gives_content=False),
    Way("inspect", "`manifest inspect` of a denied image (skopeo: `inspect`, crane: `manifest`)", ["inspect"],
        lambda world, row: row.inspect(denied(world, row, multi_arch).by_tag), [HUB]),
    Way("pull-all", "all tags of a denied repository (`pull -a`; skopeo: `sync`, crane: `ls`)", ["pull_all"],
        lambda world, row: row.pull_all(f"docker.io/{denied(world, row).repository}"), [HUB]),
    Way("imagetools", "`buildx imagetools inspect` of a denied image", ["imagetools"],
        lambda world, row: row.imagetools(denied(world, row, multi_arch).by_tag), [HUB]),
    Way("own-proxy", "a proxy of the user's own (`HTTPS_PROXY`)", ["pull"], own_proxy),
    Way("second-file", "a second configuration file, for one registry (`hosts.toml`; podman's family: the user's own files)", ["second_file", "pull"],
        second_file, ["ghcr.io"]),
    Way("empty-directory", "an empty host directory", ["empty_directory", "pull"], empty_directory, ["ghcr.io"]),
    Way("broken-file", "a broken `hosts.toml` (podman's family: a broken drop-in)", ["broken_file", "pull"], broken_file, ["ghcr.io"]),
    Way("add-url", "Dockerfile: `ADD https://…`", ["build"], add_url, ["foreign.example"]),
    Way("from-digest", "Dockerfile: `FROM` a denied image by digest", ["build"], from_digest, [HUB]),
    Way("syntax", "Dockerfile: `# syntax=` a denied image", ["syntax"], syntax, [HUB]),
    Way("own-configuration", "a builder, or a command, with a configuration of its own", ["own"],
        lambda world, row: row.own(denied(world, row).by_tag), [HUB]),
    Way("present", "an image that is on the machine already", ["present", "stock"], lambda world, row: row.present(world.PRESENT)),
    Way("load", "an archive (`docker load`, `ctr image import`)", ["load"], lambda world, row: row.load(world.archives["load"])),
    Way("import", "a file system (`docker import`)", ["import_tar"], lambda world, row: row.import_tar(world.tar)),
    Way("oci-layout", "an OCI layout", ["layout"], lambda world, row: row.layout(world.layout)),
    # What takes time, and what is wrong with the gateway, is so for all at once; the slowest last.
    Way("hosts-file", "a hosts-file entry for the registry", ["pull"], pull_denied, ["docker.io at another address"], before=hosts_entry),
    Way("wrong-certificate", "the gateway with a wrong certificate", ["pull"], pull_allowed, [HUB], "wrong-certificate"),
    Way("stopped", "the gateway stopped", ["pull"], pull_allowed, [HUB], "stopped"),
    Way("resetting", "the gateway resetting every connection", ["pull"], pull_allowed, [HUB], "resetting"),
    Way("hanging", "the gateway hanging", ["pull"], pull_allowed, [HUB], "hanging"),
]


BY_KEY = {way.key: way for way in WAYS}
CONTROL = Way("allowed", "an allowed image through the gateway", ["pull"],
              lambda world, row: row.pull(row.named(allowed(world, row).by_tag, row.gateway)))
