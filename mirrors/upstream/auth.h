// SPDX-License-Identifier: Apache-2.0
//
// The Authorization values that upstreams accepted, and whose turn it is to get a new one.
//
// One entry a key (endpoint, repository, credential). When a value is missing or was refused, the first to ask
// fetches it and all others wait: one token request in flight a key. Thread-safe; wake callbacks come
// on the thread that called auth_end(), under the lock: they only post a message.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth;

/// One who waits; embedded in the waiter, which must call auth_leave() before it goes away early.
struct auth_waiter {
    /// `value` NULL: it failed, and `failure` (the pointer given to auth_end()) says why. Both are only lent.
    void (*wake)(struct auth_waiter *w, const char *value, const void *failure);
    struct auth_waiter *next;
    bool waiting;
};

struct auth *auth_new(size_t max_entries);
void auth_free(struct auth *a);

/// A copy of the value that holds at `now_ms`, to be wiped and freed; NULL: none.
char *auth_get(struct auth *a, const char *key, int64_t now_ms);

/// Remember a value until `expires_ms`.
void auth_put(struct auth *a, const char *key, const char *value, int64_t expires_ms);

/// Forget `value` if it is still the one under the key.
void auth_forget(struct auth *a, const char *key, const char *value);

enum auth_turn {
    AUTH_USE,  ///< Somebody else got a new one: `*value` is a copy.
    AUTH_ASK,  ///< The caller's turn: it waits too, and sees to it that auth_end() is called.
    AUTH_WAIT, ///< Somebody is asking; `w` will be woken.
    AUTH_FULL  ///< Too many wait already.
};

/// `used` (may be NULL) is the value that was refused; it is forgotten.
enum auth_turn auth_begin(struct auth *a, const char *key, const char *used, int64_t now_ms, struct auth_waiter *w,
                          char **value);

/// The answer to AUTH_ASK: a value until `expires_ms`, or NULL and a failure. Wakes all who wait.
void auth_end(struct auth *a, const char *key, const char *value, int64_t expires_ms, const void *failure);

/// Stop waiting; it is not woken after this returns.
void auth_leave(struct auth *a, const char *key, struct auth_waiter *w);
