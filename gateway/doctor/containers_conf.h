// SPDX-License-Identifier: Apache-2.0
//
// registries.conf and policy.json as containers/image reads them (podman, buildah, skopeo, CRI-O).
//
// Files are read in order: the main file, then drop-ins. A later `[[registry]]` with the same prefix replaces an
// earlier one whole; the longest prefix that matches an image decides. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct containers_mirror {
    char *location;
    bool insecure;
    bool partial; ///< pull-from-mirror is digest-only or tag-only: other pulls go past it.
};

struct containers_registry {
    char *prefix;   ///< "docker.io", "docker.io/library", "*.example.com"; the location where none is written.
    char *location; ///< "" where none is written: the image's own name.
    bool blocked, insecure, digests_only; ///< mirror-by-digest-only
    struct containers_mirror *mirrors;
    size_t mirror_count;
    char *file; ///< Where it was written.
    unsigned line;
};

struct containers_conf {
    struct containers_registry *registries;
    size_t count;
    bool v1;             ///< It holds the old form (`[registries.search]`).
    struct names search; ///< unqualified-search-registries; of the last file that says.
    char *short_name_mode;
};

void containers_conf_init(struct containers_conf *c);

/// Read one more file, over what was read before. False: the tools refuse to work with it, and nothing was changed.
bool containers_conf_add(struct containers_conf *c, const char *file, const char *text, size_t len, struct err *err);

/// The registry that decides for this image name ("docker.io/library/alpine"); NULL: none does, it is fetched from
/// where its name says.
const struct containers_registry *containers_conf_find(const struct containers_conf *c, const char *name);
void containers_conf_deinit(struct containers_conf *c);

// --- policy.json ---

struct containers_policy;

/// NULL: the tools refuse to work with it.
struct containers_policy *containers_policy_read(const char *text, size_t len, struct err *err);

/// May this image ("docker.io/library/alpine", no tag) be taken from a registry? It may not where a requirement of the
/// scope that decides says "reject".
bool containers_policy_accepts(const struct containers_policy *p, const char *name);

/// The scopes of registries from which images may be taken; without "", which means all others.
void containers_policy_scopes(const struct containers_policy *p, struct names *out);
void containers_policy_free(struct containers_policy *p);
