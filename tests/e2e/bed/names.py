# SPDX-License-Identifier: Apache-2.0
"""Who lives where. One address per host, so that everything can listen on 443 as in the world."""

HUB = "10.99.0.1"
HUB_TOKENS = "10.99.0.2"
GHCR = "10.99.0.3"
S3 = "10.99.0.4"
MIRROR = "10.99.0.5"
PLAIN = "10.99.0.6"
DOWN = "10.99.0.7"
OTHER = "10.99.0.8"
GATEWAY = "10.99.0.9"
CORP = "10.99.0.20"
REALM = "10.99.0.21"
REALM_TOKENS = "10.99.0.22"
MOVED = "10.99.0.23"
MOVED_BLOBS = "10.99.0.24"
INSIDE = "10.99.0.25"
FOREIGN = "10.99.0.26"
STRANGER = "10.99.0.27"
HUB_OTHERWISE = "10.99.0.28"
OWN_PROXY = "10.99.0.29"
TAKEN = "10.99.0.30"
TAKEN_PLAIN = "10.99.0.31"
WINDOWS = "10.89.0.1"
WINDOWS_PLAIN = "10.89.0.2"

# The blob host is one that the catalogue knows for docker.io, so that the stories also try the catalogue.
S3_NAME = "production.cloudfront.docker.com"

HOSTS = {
    HUB: ["registry-1.docker.io", "index.docker.io", "docker.io"],
    HUB_TOKENS: ["auth.docker.io"],
    GHCR: ["ghcr.io"],
    S3: [S3_NAME],
    MIRROR: ["mirror.test"],  # the gateway
    PLAIN: ["plain.test"],  # the same gateway, a listener whose denials are plain
    DOWN: ["down.test"],  # nobody listens here
    OTHER: ["other.test"],  # a second gateway with a configuration of the story's own
    GATEWAY: ["gateway.example.com"],  # the gateway of the clients' pages (docs/clients)
    CORP: ["corp.example"],  # a listed registry that does as it is told
    REALM: ["realm.example"],  # a listed registry whose tokens come from elsewhere
    REALM_TOKENS: ["tokens.elsewhere.example"],
    MOVED: ["moved.example"],  # a listed registry whose blobs are elsewhere
    MOVED_BLOBS: ["blobs.elsewhere.example"],
    INSIDE: ["inside.example"],  # a listed registry whose public name has a private address
    FOREIGN: ["foreign.example"],  # what `urls` of descriptors name
    STRANGER: ["stranger.example", "quay.io"],  # a registry that no configuration lists
    # For tests/enforcement:
    HUB_OTHERWISE: [],  # Docker Hub at an address that nobody knows but whoever writes it into a hosts file
    OWN_PROXY: ["proxy.example"],  # a proxy of somebody's own
    TAKEN: ["taken.test"],  # the gateway for clients whose hosts file leads the registries' names there
    TAKEN_PLAIN: ["plain-taken.test"],
    WINDOWS: ["windows.test"],  # the gateway as WSL2's distributions see it, on the interface to their host
    WINDOWS_PLAIN: ["plain-windows.test"],
}

PRIVATE = ["10.99.0.0/16"]  # what the gateway is told to permit


def all_names():
    return [name for names in HOSTS.values() for name in names]


def hosts_file():
    lines = ["127.0.0.1 localhost"]
    lines += [f"{address} {' '.join(names)}" for address, names in HOSTS.items() if names]
    return "\n".join(lines) + "\n"
