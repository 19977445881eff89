// SPDX-License-Identifier: Apache-2.0
//
// The table of the clients that pullgate can configure.

#include "gateway/clients/clients.h"

#include <string.h>

static const struct client_kind kinds[] = {
    {"docker", "dockerd, both image stores, and its BuildKit", "docker", plan_docker},
    {"containerd", "containerd: CRI and its transfer service", "containerd", plan_containerd},
    {"nerdctl", "nerdctl, rootful or (run as that user) rootless", "nerdctl", plan_nerdctl},
    {"buildkit", "buildkitd, and docker buildx builders of their own", "buildkit", plan_buildkit},
    {"podman", "podman", "podman", plan_podman},
    {"buildah", "buildah", "buildah", plan_buildah},
    {"skopeo", "skopeo", "skopeo", plan_skopeo},
    {"cri-o", "CRI-O", "cri-o", plan_cri_o},
    {"k3s", "k3s, servers and agents", "k3s", plan_k3s},
    {"rke2", "RKE2, servers and agents", "rke2", plan_rke2},
    {"kubernetes-node", "containerd or CRI-O, whichever the kubelet uses", "kubernetes-node", plan_kubernetes_node},
    {"wsl", "WSL2 distributions and their Windows host", "wsl", plan_wsl},
    {"desktop", "Docker Desktop, by its admin-settings.json", "desktop", plan_desktop},
    {"firewall", "rules that let only the gateway reach registries (--nft or --windows)", "firewall", plan_firewall},
};

const struct client_kind *client_kinds(size_t *count) {
    *count = sizeof kinds / sizeof kinds[0];
    return kinds;
}

const struct client_kind *client_kind(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}
