// SPDX-License-Identifier: Apache-2.0
//
// Counters by a name, for a bounded number of names.
//
// A name's slot is made once and never moves or goes: finding it takes no lock, and adding to its counters is one
// relaxed atomic each. Names beyond the bound, and those that are no valid UTF-8, share the slot "other", so that
// nobody can make the gateway count without end and every name can be written as it is. Any thread.

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SLOTS_MAX = 200,      ///< Names that are told apart.
    SLOTS_NAME_MAX = 255, ///< Bytes of a name; what is longer is "other".
};

struct slot {
    char *name;
    atomic_uint_fast64_t counters[];
};

struct slots;

/// Each slot has `counters` counters, all 0.
struct slots *slots_new(size_t counters);
void slots_free(struct slots *t);

/// The slot of `name`, made where it is new.
struct slot *slots_find(struct slots *t, const char *name);

/// Every slot in the order in which they were made, "other" first. The order never changes.
size_t slots_count(const struct slots *t);
const struct slot *slots_at(const struct slots *t, size_t index);

void slot_add(struct slot *s, size_t counter, uint64_t n);
uint64_t slot_read(const struct slot *s, size_t counter);
