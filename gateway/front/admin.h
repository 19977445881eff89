// SPDX-License-Identifier: Apache-2.0
//
// The admin listener: figures and health for those who run the gateway. Read-only.
//
//   GET /metrics   what is counted, for Prometheus; 503 before the gateway serves
//   GET /healthz   200 as long as the process answers
//   GET /readyz    200 while clients are served, whatever upstreams and the disk do; 503 before, and while it stops
//   GET /admin/compliance  the machines that reported, and how they stand; ?status=, ?name=, ?findings=yes
//
// It has a loop, a thread and a cap on connections of its own: it answers while the front is full, and until the last
// request of a stopping gateway has ended.

#pragma once

#include "gateway/front/gateway.h"

enum { ADMIN_CONNECTIONS_MAX = 64 };

enum admin_state { ADMIN_STARTING, ADMIN_SERVING, ADMIN_STOPPING };

struct admin;

/// Listen where `config` says ("admin" is enabled) and answer, in ADMIN_STARTING. `g` is read from ADMIN_SERVING on,
/// and must then be complete until admin_free().
struct admin *admin_new(struct gateway *g, struct config *config, struct err *err);

/// NULL is allowed. Any thread.
void admin_set_state(struct admin *a, enum admin_state state);

/// Cut who is still there, and end. NULL is allowed.
void admin_free(struct admin *a);
