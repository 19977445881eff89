// SPDX-License-Identifier: Apache-2.0
//
// The running gateway: what all its loops share.
//
// Everything here is set before the loops start and freed after they ended, but for `config`, which a reload replaces
// under `lock`: requests pin the configuration they began with.

#pragma once

#include "gateway/audit/audit.h"
#include "gateway/config/config.h"
#include "gateway/denial/denial.h"
#include "mirrors/content/content.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    GATEWAY_HEAD_MAX = 64 * 1024,   ///< Bytes of a request head.
    GATEWAY_BODY_MAX = 64 * 1024,   ///< Of a request body; nothing that is served today has one.
    GATEWAY_SEND_MAX = 256 * 1024,  ///< Handed to libh2o at once (over TLS it is copied).
    GATEWAY_FDS_PER_CONNECTION = 2, ///< The client's, the upstream's...
    GATEWAY_FDS_PER_FILL = 4,       ///< ... and, with a store, the file's two.
    GATEWAY_FDS_RESERVED = 256,
    GATEWAY_CONNECTIONS_MIN = 16
};

struct metrics;
struct identities;
struct reports;

struct gateway {
    pthread_mutex_t lock; ///< Guards `config`.
    struct config *config;
    struct fetcher *fetcher;
    struct store *store; ///< NULL: nothing is kept.
    struct content *content;
    struct denials *denials;
    struct audit *audit;
    struct identities *identities; ///< Always there once it serves: a reload may need them.
    atomic_size_t asking;          ///< Questions to them that have not been answered.
    struct reports *reports;       ///< Of machines; always there once it serves.
    struct metrics *metrics;       ///< NULL: nobody counts.
    atomic_size_t connections;     ///< Over all loops.
    size_t connections_max;
};

/// The current configuration, with a reference for the caller.
struct config *gateway_config(struct gateway *g);

/// Replace the configuration; takes over the reference. What depends on the old one and is remembered is forgotten.
void gateway_set_config(struct gateway *g, struct config *c);
