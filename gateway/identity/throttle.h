// SPDX-License-Identifier: Apache-2.0
//
// Failed logins are counted by address and by name, and slowed down.
//
// After `max` failures within the window (it opens with the first of them), nothing more is tried from that address,
// or for that name, until the window ends. A success takes back what failed for its name from its address: neither an
// account of one's own buys guesses at others', nor do the successes of an account's owner buy them for strangers. An
// IPv6 address counts as its /64.
// Bounded: the oldest make room. Time is an argument. The owner locks.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum { THROTTLE_ENTRIES_MAX = 20000 }; ///< Addresses, names, and two of pairs, each.

struct throttle;

/// `max` 0: nothing is slowed.
struct throttle *throttle_new(unsigned max, unsigned window_s);
void throttle_free(struct throttle *t); ///< NULL is allowed.
void throttle_set(struct throttle *t, unsigned max, unsigned window_s);

/// Seconds to wait, 0: go on. `name` NULL: a token, whose name nobody knows before it was verified.
unsigned throttle_wait(struct throttle *t, const char *address, const char *name, int64_t now);
void throttle_failed(struct throttle *t, const char *address, const char *name, int64_t now);
void throttle_succeeded(struct throttle *t, const char *address, const char *name);

/// A login that was refused for its name alone, without a look at the password, counts for this name from this address
/// only: strangers who guess at a name are not to make its owner lock out whoever shares the owner's address.
void throttle_unheard(struct throttle *t, const char *address, const char *name, int64_t now);
/// Seconds to wait before what is remembered may be asked; a name that others guess at is no reason.
unsigned throttle_wait_to_recall(struct throttle *t, const char *address, const char *name, int64_t now);
size_t throttle_entries(const struct throttle *t);
