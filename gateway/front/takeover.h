// SPDX-License-Identifier: Apache-2.0
//
// Whether a server's name is a registry's own: what a listener takes over. Pure; any thread.

#pragma once

#include "gateway/config/config.h"

struct takeover {
    const struct registry *registry;
    char name[REGISTRY_MAX + 1]; ///< The registry that is asked for, canonical: under a wildcard it is the host's own.
    bool realm;                  ///< Only its token server's name: tokens are all that can be had there.
};

/// Does `host` (canonical) belong to a registry, for clients of this listener? Its own names are never taken over, and
/// a token server's only where this gateway's own tokens are given.
bool takeover_of(const struct config *config, const struct listener_config *listener, const char *host,
                 struct takeover *out);

/// Is it one of the names by which clients of this listener call the gateway?
bool takeover_own_name(const struct listener_config *listener, const char *host);

/// Do `authority` (a Host header: a port and letter case do not matter) and this canonical name speak of the same host?
bool takeover_same_host(const char *authority, size_t len, const char *host);
