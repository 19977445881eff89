// SPDX-License-Identifier: Apache-2.0
//
// The clients that pullgate can configure: a name, and a function that plans what its files are to say.
//
// Every plan makes the client use the gateway and nothing else, as far as that client can be made to, and says what
// stays open. One source file a client (or family that shares files). Pure but for looking, below `root`, at what is
// installed there. One thread.

#pragma once

#include "gateway/clients/plan.h"
#include "gateway/clients/site.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct client_options {
    const char *root;    ///< Where to look for what is there; "": the machine itself. Never NULL.
    bool takeover;       ///< --takeover: hosts-file form.
    const char *address; ///< --address: the gateway's, for the hosts file and the firewall. NULL: it is looked up.
    const char
        *docker_version; ///< --docker-version: dockerd's, "20.10"; NULL: found out, else taken to be 23 or later.
    bool nft, windows;   ///< firewall: which.
    bool look; ///< Files below `root` are there to be merged with (--write, or --root): else plan for an empty machine.
};

struct client_kind {
    const char *name;  ///< As on the command line.
    const char *about; ///< One line for the help.
    const char *page;  ///< Its page in docs/clients/.
    bool (*plan)(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                 struct err *err);
};

/// All of them, in the order of the help.
const struct client_kind *client_kinds(size_t *count);
const struct client_kind *client_kind(const char *name);

// One function a client, each in its own file.
bool plan_docker(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_containerd(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_nerdctl(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_buildkit(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_podman(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_buildah(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_skopeo(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_cri_o(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_k3s(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_rke2(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_kubernetes_node(const struct client_site *, const struct client_options *, struct client_plan *,
                          struct err *);
bool plan_wsl(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_desktop(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
bool plan_firewall(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);
