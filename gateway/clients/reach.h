// SPDX-License-Identifier: Apache-2.0
//
// Addresses that a firewall is to let through: hosts looked up now, since a rule knows addresses and no names.
//
// Looking up blocks (as long as the resolver takes). Plain memory; one thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/host.h"

#include <stdbool.h>
#include <stddef.h>

enum { REACH_HOSTS_MAX = 256, REACH_BLOCKS_MAX = 4096 };

enum reach_family { REACH_IPV4, REACH_IPV6 };

struct reach {
    struct cidr *blocks;
    size_t count;
    char **unknown; ///< What could not be looked up: wildcards, and names without an address.
    size_t unknown_count;
};

/// "host", "host:port" (the port is left out), an address, a block (10.0.0.0/8), ".example.com" or a wildcard (both are
/// `unknown`). False when it added no address. Each address is kept once.
bool reach_add(struct reach *r, const char *what);
void reach_deinit(struct reach *r);

size_t reach_family_count(const struct reach *r, enum reach_family family);

/// "192.0.2.1, 10.0.0.0/8": in the order in which they were added.
void reach_text(const struct reach *r, enum reach_family family, struct buf *out);

/// Every other address of the family, as ranges "a-b", each in single quotes, separated by commas.
void reach_others(const struct reach *r, enum reach_family family, struct buf *out);
