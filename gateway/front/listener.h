// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets, as the configuration names them.
//
// A `struct listener` is counted by reference (any thread) and immutable but for its descriptor, which is closed when
// it is in no set any more: connections that were accepted keep the listener, but never the socket open. Loops watch a
// duplicate of the descriptor. A reload makes new ones, which share the socket of an old one with the same address.

#pragma once

#include "gateway/config/config.h"

#include <netdb.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

struct signer; // signer.h

struct listener {
    atomic_int refs;
    atomic_int sets;          ///< How many sets it is in.
    char *address;            ///< Its identity.
    int fd;                   ///< Its own duplicate; for those who hold a set with it.
    SSL_CTX *tls;             ///< NULL: plain HTTP.
    SSL_CTX *inside;          ///< What is spoken in tunnels; NULL: there are none.
    struct signer *signer;    ///< Of certificates that the gateway makes; NULL: none are needed.
    struct peer_trust *trust; ///< Whose client certificates are good; NULL: they are not asked for.
    struct config *config;    ///< Keeps `settings` alive.
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

/// A set of one that `config` does not list: `settings` must live as long as its listener.
bool listeners_open_one(struct config *config, const struct listener_config *settings, struct listener_set *out,
                        struct err *err);

void listeners_close(struct listener_set *set);

/// Every address that this is, for freeaddrinfo(); NULL: none. May ask a resolver where it is a name.
struct addrinfo *listener_resolve(const struct hostport *at);

/// The same listeners in another set, to be closed by its owner.
struct listener_set listeners_copy(const struct listener_set *set);

/// The address of the `index`-th socket from systemd that no listener of the set has, into `out` (HOSTPORT_TEXT_MAX + 1
/// bytes); false: there are no more.
bool listeners_unclaimed(const struct listener_set *set, int index, char *out);

struct listener *listener_ref(struct listener *l);
void listener_unref(struct listener *l);
