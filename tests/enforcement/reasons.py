# SPDX-License-Identifier: Apache-2.0
"""Why a cell is open, what doctor finds of it, and what closes it.

A cell that is open without a line here fails the run; so does a line that no open cell needs, and one whose finding doctor did
not have on that machine at that moment.
"""

EGRESS = ("final+egress", "plain+egress")
PODMANS = ("podman", "buildah", "skopeo-1.9", "wsl-podman")
UNBOUND = ("crane", "regctl")
TAKEN = ("docker-takeover", "docker29-takeover", "crane-takeover", "regctl-takeover")


class Reason:
    """`ways` and `rows` (None: all): which cells. `always`: with egress rules too. `finding`: doctor's code; without egress rules
    `doctor --probe` also finds "egress_open"."""

    def __init__(self, title, ways, rows, finding, why, closes, always=False):
        self.title, self.ways, self.rows, self.finding, self.why, self.closes, self.always = title, ways, rows, finding, why, closes, always

    def covers(self, row, way, variants):
        return ((self.ways is None or way in self.ways) and (self.rows is None or row in self.rows)
                and (self.always or not set(variants) & set(EGRESS)))

    def findings(self, variant):
        """What doctor has to find in this variant."""
        return {self.finding} | (set() if variant in EGRESS else {"egress_open"})


REASONS = [
    Reason("Images that come without a registry", ["present", "load", "import", "oci-layout"], None, "local_images",
           "Nobody is asked, so a gateway has nothing to say. Rules for the network change nothing either.",
           "Docker Desktop's `blockDockerLoad`; for podman's family `reject` for these transports in policy.json; a source policy, which denies "
           "OCI layouts; who may use the daemon's socket; images removed when their rule changes.", always=True),
    Reason("A proxy of the user's own, in a client that no configuration binds", ["own-proxy"], [*UNBOUND, "crane-takeover", "regctl-takeover"], "unbound_client",
           "The proxy listens on port 3128. The egress rules end connections to 443, 80 and 5000, and a proxy elsewhere can have any port.",
           "a firewall at the network's edge that lets out only what is listed; the proxy's own rules.", always=True),
    Reason("Clients that no configuration binds", None, UNBOUND, "unbound_client",
           "crane and regctl ask the registry that they are told, and know of no mirror.",
           "`pullgate client firewall`; for listed registries the hosts file of `pullgate client docker --takeover`, or the same in the site's DNS."),
    Reason("Registries that nobody led to the gateway", ["unlisted", "unlisted-rare"], ["crane-takeover", "regctl-takeover"], "unbound_client",
           "A hosts file has the names that the site lists, and no others.", "`pullgate client firewall`."),
    Reason("A hosts file that says something else", ["hosts-file"], TAKEN, "egress_open",
           "Where the hosts file leads clients to the gateway, an entry before pullgate's leads them away again.",
           "`pullgate client firewall`; the form without `--takeover`, which no hosts file changes."),
    Reason("Commands that are the user's and not the daemon's", ["inspect", "imagetools"], None, "egress_open",
           "`docker manifest inspect` and `docker buildx imagetools inspect` run in the client with the user's environment. They read manifests; "
           "layers they do not get.", "`pullgate client firewall`."),
    Reason("A directory for one registry", ["second-file", "empty-directory"], ["ctr-1.6"], "host_directory",
           "It wins over `_default`. The daemons are held by their proxy all the same; `ctr` 1.6 asks in its own process and has none.",
           "`pullgate client containerd --strict --write` (or `doctor --fix`) moves it aside; `pullgate client firewall`."),
    Reason("A hosts.toml that cannot be read", ["broken-file"], ["ctr-1.6"], "unparsable",
           "containerd ignores such a file. The daemons are held by their proxy; `ctr` 1.6 has none.",
           "`doctor --fix`; `pullgate client firewall`."),
    Reason("A user's own files", ["second-file"], PODMANS, "user_configuration",
           "What stands below ~/.config/containers is read after the system's files, or in their place.",
           "`doctor --fix` moves it aside; `pullgate client firewall`."),
    Reason("ctr without its option", ["own-configuration"], ["ctr-1.6"], "direct_commands",
           "`ctr` 1.6 reads no configuration but `--hosts-dir`.", "`pullgate client firewall`; who may use containerd's socket."),
    Reason("A builder that somebody made", ["own-configuration"], ["docker29-buildx"], "own_builder",
           "A builder of `docker buildx create` has a daemon with a configuration of its own.",
           "`pullgate client firewall`; the builder made as `pullgate client buildkit` prints."),
    Reason("A daemon that somebody started", ["own-configuration"], ["docker-buildkit", "buildkitd"], "egress_open",
           "A second dockerd or buildkitd has neither the configuration nor the proxy of the first.",
           "`pullgate client firewall`; for buildctl and buildx the source policy, which holds in every builder that they ask."),
    Reason("ADD in a build without a daemon", ["add-url"], ["buildah"], "egress_open",
           "buildah fetches `ADD https://…` itself, in the user's environment; registries.conf is about images.", "`pullgate client firewall`."),
    Reason("A rare top-level domain", ["unlisted-rare"], PODMANS, "egress_open",
           "registries.conf can name top-level domains, not all of them. For one that it does not have, policy.json refuses the image after its "
           "registry was asked: nothing of it is kept or run.", "`pullgate client firewall`."),
]


def reason_for(row, way, variants):
    return next((reason for reason in REASONS if reason.covers(row, way, variants)), None)
