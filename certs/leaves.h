// SPDX-License-Identifier: Apache-2.0
//
// The server certificates that the gateway makes for itself: its own, for a listener's names, and those of registries
// whose names lead to it, made when a client first asks for one. They live in memory only and are made anew before they
// end.
//
// Counted by reference; a reload with the same authority keeps them. Any thread; one lock, under which a certificate is
// made, so that each name's is made once.

#pragma once

#include "certs/authority.h"

#include <openssl/ssl.h>

enum { LEAVES_MAX = 10000 };

struct leaves;

/// It takes a reference to `authority`.
struct leaves *leaves_new(struct authority *authority);
struct leaves *leaves_ref(struct leaves *l);
void leaves_unref(struct leaves *l); ///< NULL is allowed.

/// Give this handshake the certificate for these names (the first is the key under which it is kept).
bool leaves_use(struct leaves *l, SSL *ssl, const char *const *names, size_t count, int64_t now, struct err *err);

/// How many were made since the start.
uint64_t leaves_made(struct leaves *l);
