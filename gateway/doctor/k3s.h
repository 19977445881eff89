// SPDX-License-Identifier: Apache-2.0
//
// k3s's and RKE2's registries.yaml, from which they write containerd's hosts.toml files at each start, and the setting
// in config.yaml that keeps the registry itself out of those. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct k3s_mirror {
    char *name; ///< "docker.io", or "*": every registry that is not named.
    struct names endpoints;
    bool rewrites;
    unsigned line;
};

struct k3s_tls {
    char *name;                   ///< Of the host that it is for.
    char *ca, *certificate, *key; ///< Files; each may be NULL.
    bool insecure;
};

struct k3s_registries {
    bool usable; ///< Else k3s does not start with it.
    struct err why;
    struct k3s_mirror *mirrors;
    size_t mirror_count;
    struct k3s_tls *tls;
    size_t tls_count;
    struct names configs; ///< Hosts with settings of their own (TLS, a password).
};

void k3s_registries_read(const char *text, size_t len, struct k3s_registries *out);
const struct k3s_mirror *k3s_mirror(const struct k3s_registries *k, const char *name);
void k3s_registries_deinit(struct k3s_registries *k);

enum k3s_said { K3S_UNSAID, K3S_NO, K3S_YES, K3S_UNPARSABLE };

/// The file that this config.yaml has k3s read in the place of registries.yaml, as fresh memory; NULL: it says none.
char *k3s_private_registry(const char *text, size_t len);

/// What this config.yaml says of "disable-default-registry-endpoint".
enum k3s_said k3s_default_endpoint_disabled(const char *text, size_t len, struct err *err);
