// SPDX-License-Identifier: Apache-2.0
//
// containerd's config.toml: where its CRI plugin (Kubernetes) and its transfer service (`ctr images pull` since 2.0)
// look for hosts.toml files, and what else decides where images come from. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct containerd_toml {
    bool usable;          ///< Else containerd does not start with it.
    struct err why;       ///< Where it is not.
    int64_t version;      ///< 1 where it says none.
    struct names imports; ///< Patterns of further files, as written.
    bool cri_disabled;
    bool has_cri;               ///< It says something of the CRI plugin.
    char *config_path;          ///< Of the CRI plugin in the place for `version`; NULL: not said; "": none.
    char *misplaced;            ///< A config_path at another version's place, which containerd ignores; NULL: none.
    char *transfer_config_path; ///< Of the transfer service; NULL: none.
    struct names mirrors;       ///< Registries with mirrors written here, the old way, which always falls back.
    struct names endpoints;     ///< Of those.
};

void containerd_toml_read(const char *text, size_t len, struct containerd_toml *out);

/// What an imported file says wins over the file that imports it. `whole`: containerd 1.x, where the imported file's
/// table of a plugin takes the place of all that was said of that plugin.
void containerd_toml_merge(struct containerd_toml *into, struct containerd_toml *from, bool whole);
void containerd_toml_deinit(struct containerd_toml *t);
