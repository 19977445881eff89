// SPDX-License-Identifier: Apache-2.0
//
// The last report of each machine.
//
// Who was identified is kept under that name. Who was not is kept under the address and the machine-id that it told,
// marked as unverified; such reports never push out those of the identified, and one address (of IPv6 one /64) has at
// most REPORTS_PER_ADDRESS_MAX of them. Beyond REPORTS_MAX in all, whoever reported least recently goes.
// Kept in memory, and in a file of the state directory, which a thread of its own writes a moment after a change: front
// loops only take a lock for a short time. Reports are immutable and counted by reference. Any thread.

#pragma once

#include "gateway/compliance/told.h"
#include "gateway/compliance/verdict.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    REPORTS_MAX = 10000,
    REPORTS_PER_ADDRESS_MAX = 1000,
    REPORTS_WINDOW_S = 60,
    REPORTS_BY_NAME = 10,    ///< In one window, from one name...
    REPORTS_BY_ADDRESS = 60, ///< ... and, unidentified, from one address: machines may share it.
    REPORTS_WRITE_MS = 10000 ///< After a change, so that many changes are one file, and after a failure.
};

#define REPORTS_FILE "compliance.jsonl"

struct kept {
    int refs;      ///< Guarded by the set.
    char *name;    ///< Who was identified, or "ADDRESS MACHINE-ID".
    bool verified; ///< `name` is who was identified.
    char *address;
    int64_t received; ///< Unix seconds.
    struct told *told;
};

struct reports;

/// `directory` NULL: memory only. What its file holds is read, as far as it can be. `event` (may be NULL) is told when
/// the file cannot be read or written, on whatever thread.
struct reports *reports_new(const char *directory, void (*event)(void *ctx, const char *sentence), void *ctx,
                            struct err *err);

/// Write what was not written yet, and end. Nobody holds a report any more. NULL is allowed.
void reports_free(struct reports *r);

/// May this one report now? 0, or seconds to wait. Counts. `name` NULL: not identified.
unsigned reports_wait(struct reports *r, const char *name, const char *address, int64_t now);

/// Keep; takes over `told`. False: not kept, as whoever is not identified makes nobody go who is.
bool reports_keep(struct reports *r, const char *name, const char *address, struct told *told, int64_t now);

/// Forget whoever reported last before `before` (Unix seconds): a machine that is gone.
void reports_forget(struct reports *r, int64_t before);

/// All of them as they are now, the identified first, who reported last before others; given back by reports_release().
struct kept **reports_all(struct reports *r, size_t *count);
void reports_release(struct reports *r, struct kept **list, size_t count);
