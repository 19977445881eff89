// SPDX-License-Identifier: Apache-2.0
//
// One question in flight a key, however many ask: who comes while it is being asked waits for the same answer.
//
// Inside of mirrors/content/. Thread-safe; a lock of its own, under which nothing is called.

#pragma once

#include <stddef.h>

enum { JOBS_WAITERS_MAX = 10000 }; ///< A question; who comes after them asks for himself.

/// Whoever waits: the caller's memory, until jobs_end() has handed it back.
struct waiter {
    struct waiter *next;
};

enum jobs_joined {
    JOBS_FIRST, ///< The caller asks, and calls jobs_end() when it has the answer.
    JOBS_WAITS, ///< Somebody else does, and will find the waiter in jobs_end().
    JOBS_FULL   ///< Too many wait: not joined.
};

struct jobs;

struct jobs *jobs_new(void);

/// Nothing may be in flight.
void jobs_free(struct jobs *j);

enum jobs_joined jobs_join(struct jobs *j, const void *key, size_t key_len, struct waiter *w);

/// Everyone who joined, in order, the first one too. Who comes from now on is the first again.
struct waiter *jobs_end(struct jobs *j, const void *key, size_t key_len);
