// SPDX-License-Identifier: Apache-2.0
//
// Closing slowly: a client that is still sending when its refusal leaves would lose it to a reset.
//
// libh2o closes at once, and the kernel answers what arrives then with a reset that throws away what the client has not
// read yet. A duplicate of the descriptor keeps the connection for a moment, and what comes is read off: bounded in
// time, bytes and number. On the loop's thread.

#pragma once

#include "gateway/front/libh2o.h"

#include <stdbool.h>

enum { LINGER_MS = 5000, LINGER_BYTES_MAX = 8 * 1024 * 1024, LINGERING_MAX = 128 };

struct lingering;

/// Take a duplicate of `sock`, which its owner is about to close.
void linger_begin(struct lingering **list, h2o_socket_t *sock);

/// Every second: tell the clients that nothing more comes, and end what lasted too long (with `all`: everything).
void linger_tick(struct lingering **list, bool all);
