// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets, as the configuration names them.
//
// A `struct listener` is immutable and counted by reference (any thread); loops watch a duplicate of its descriptor. A
// reload makes new ones, which share the socket of an old one with the same address.

#pragma once

#include "gateway/config/config.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct listener {
    atomic_int refs;
    char *address;         ///< Its identity.
    int fd;                ///< Its own duplicate.
    SSL_CTX *tls;          ///< NULL: plain HTTP.
    struct config *config; ///< Keeps `settings` alive.
    const struct listener_config *settings;
};

struct listener_set {
    struct listener *item[LISTENERS_MAX];
    size_t count;
};

/// Open what `config` names: sockets of `old` (may be NULL) with the same address, sockets handed over by systemd
/// (LISTEN_FDS) with the same address, or new ones. On failure nothing is kept, `out` is empty and `err` names the
/// address.
bool listeners_open(struct config *config, const struct listener_set *old, struct listener_set *out, struct err *err);
void listeners_close(struct listener_set *set);

struct listener *listener_ref(struct listener *l);
void listener_unref(struct listener *l);
