// SPDX-License-Identifier: Apache-2.0
//
// Looking at certificates, keys and revocation lists again: when one of the files has changed, its listeners are opened
// anew. A thread of its own.

#pragma once

#include "gateway/config/config.h"

enum { RENEWAL_LOOK_S = 10 };

struct renewal;

/// `changed` is called on the thread, and first of all calls renewal_watch(): a pair of which only one half is there
/// yet is met again when the other comes. NULL: no thread is to be had.
struct renewal *renewal_new(void (*changed)(void *ctx), void *ctx);
void renewal_free(struct renewal *r); ///< NULL is allowed.

/// From now on the files of this configuration, as they are.
void renewal_watch(struct renewal *r, const struct config *c);
