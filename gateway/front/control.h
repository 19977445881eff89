// SPDX-License-Identifier: Apache-2.0
//
// The Unix socket by which commands speak to the running gateway (`pullgate reload`).
//
// One line a connection ("reload"), one line back ("ok HASH" or "error SENTENCE"). Only the gateway's own user may
// connect (mode 0600). A thread of its own serves one command at a time.

#pragma once

#include "mirrors/base/err.h"

#include <stddef.h>

enum { CONTROL_LINE_MAX = 2048, CONTROL_WAIT_S = 60, CONTROL_HASH_MAX = 64 };

struct control;

/// Carry out "reload": true and `hash` (CONTROL_HASH_MAX + 1 bytes), or false and `err`. On the control thread.
typedef bool (*control_reload_fn)(void *ctx, char *hash, struct err *err);

/// Make the socket at `path` (its folder too, 0700) and serve it. A socket that a dead gateway left is replaced; one
/// that a living gateway answers on is an error.
struct control *control_new(const char *path, control_reload_fn reload, void *ctx, struct err *err);

/// Stop, remove the socket. NULL is allowed.
void control_free(struct control *c);

/// The client's side: send `command` to the gateway at `path`; its answer into `answer`. False: nobody answers.
bool control_ask(const char *path, const char *command, char answer[CONTROL_LINE_MAX], struct err *err);
