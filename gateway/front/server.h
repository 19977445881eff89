// SPDX-License-Identifier: Apache-2.0
//
// The gateway as a whole: brought up, reloaded, brought down. Used by `pullgate serve` alone.
//
// server_new() and server_free() belong to the main thread; server_reload() may come from any (one at a time,
// by a lock inside).

#pragma once

#include "gateway/front/gateway.h"

struct server;

/// Take over `config`'s reference, open its listeners and start serving. On failure NULL and nothing is left running.
struct server *server_new(struct config *config, struct err *err);

/// Read the configuration file again. On failure nothing has changed, and `err` says why. Either way it is logged. On
/// success `hash` (CONFIG_HASH_HEX + 1 bytes) is the new configuration's.
bool server_reload(struct server *s, char *hash, struct err *err);

/// Reopen the log file.
void server_reopen_log(struct server *s);

/// Stop accepting and let requests finish, for up to the configured grace; returns when the last loop has ended.
void server_stop(struct server *s);
void server_free(struct server *s);

/// The address of the first listener as a client would write it ("http://127.0.0.1:5080"), into `out`.
void server_url(const struct listener_config *l, char *out, size_t size);
