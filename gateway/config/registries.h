// SPDX-License-Identifier: Apache-2.0
//
// What the files that read one registry share: its credentials, its endpoints, and what the catalogue adds.

#pragma once

#include "gateway/config/loading.h"

extern const struct read_key credential_use_keys[]; ///< One of `credentials` of a registry.
extern const struct read_key endpoint_keys[];       ///< One of `endpoints`.

/// The named credential, or NULL after the error.
struct credential *read_credential_name(struct reader *r, const struct json *value);

/// A name for every repository, or a list of { "for", "use" }.
bool read_registry_credentials(struct reader *r, const struct json *value, struct registry *registry);

/// A list of URLs or { "url", "ca", "credentials" } into registry->endpoints.
bool read_endpoints(struct reader *r, const struct json *value, struct registry *registry);

/// An endpoint at a URL that is known to be good: the catalogue's, or https://NAME.
void endpoint_add(struct registry *registry, const char *url);

/// Which endpoints are on the registry's own hosts, and whose `ca` they use. `entry` may be NULL.
void endpoints_complete(struct registry *registry, const struct catalog_entry *entry);
