// SPDX-License-Identifier: Apache-2.0
//
// The Unix socket in the store's directory by which `pullgate store` finds the running gateway. Only the gateway's own
// user (and root) may connect: mode 0600.
//
// A thread accepts, and one thread a command runs it, at most SERVICE_COMMANDS_MAX at once.

#pragma once

#include "gateway/upkeep/upkeep.h"

enum { SERVICE_COMMANDS_MAX = 4, SERVICE_REQUEST_S = 10, SERVICE_SEND_S = 60 };

struct service;

/// Serve `store.sock` in the directory of u->store (which is locked, so whatever stands there is a dead gateway's).
struct service *service_new(const struct upkeep *u, struct err *err);

/// Stop: commands that run hear that nobody listens, and are waited for. NULL is allowed.
void service_free(struct service *s);

enum service_answer {
    SERVICE_ANSWERED,
    SERVICE_NOBODY, ///< No gateway runs on this directory.
    SERVICE_FAILED  ///< `err`.
};

/// The command's side: send the request (and `fd`, unless it is -1), hand each line to `line`; false from it ends it.
enum service_answer service_ask(const char *store_directory, const char *request, int fd,
                                bool (*line)(void *ctx, const char *line), void *ctx, struct err *err);
