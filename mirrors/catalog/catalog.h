// SPDX-License-Identifier: Apache-2.0
//
// What is known of the public registries: one JSON file each, shipped in mirrors/catalog/ and installed.
//
// An entry has the endpoints, realm hosts and redirect hosts of a registry, each with its source, so that allowing
// `docker.io` is one line. Immutable once loaded; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct catalog_host {
    char *host;       ///< Host pattern.
    char *source;     ///< Where this is documented.
    bool third_party; ///< Not from the vendor.
    bool shared;      ///< Strangers can have content under the same host.
};

struct catalog_entry {
    char *registry;   ///< Canonical name or wildcard ("*.azurecr.io").
    char **endpoints; ///< URLs; empty: https://NAME.
    size_t endpoint_count;
    struct catalog_host *realm_hosts;
    size_t realm_host_count;
    struct catalog_host *redirect_hosts;
    size_t redirect_host_count;
};

struct catalog;

/// Load every *.json of the folders in turn; a later folder's entry for the same registry replaces an earlier one. A
/// NULL `dirs` means: $PULLGATE_CATALOG, if set, alone; else the source or installed folder that was built in, then
/// /etc/pullgate/catalog if it exists. A folder that does not exist is an error but for the last named.
struct catalog *catalog_load(const char *const *dirs, struct err *err);

/// The catalogue of one file's text, as catalog_load() would judge it.
struct catalog *catalog_parse(const char *text, size_t len, struct err *err);

void catalog_free(struct catalog *c);

/// The entry for a canonical registry name or a wildcard as written in the configuration: exact, else the most specific
/// wildcard; NULL: unknown.
const struct catalog_entry *catalog_find(const struct catalog *c, const char *registry);

size_t catalog_count(const struct catalog *c);
const struct catalog_entry *catalog_at(const struct catalog *c, size_t index);
