// SPDX-License-Identifier: Apache-2.0
//
// The inside of the keeper: the queue of notes (queue.c) and the thread that empties it (keeper.c).

#pragma once

#include "mirrors/store/inside.h"

struct keeper {
    struct store *store;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t wake, written;
    struct note *first, **end;
    size_t count;       // Of notes that wait.
    uint64_t put, done; // How many ever.
    bool stop, urgent, evict_asked, evict_anew, refusing;
    uint64_t want;    // Room that is asked for.
    uint64_t damaged; // Generation of an index that somebody found damaged.

    // The thread's own.
    struct index *index; // NULL: not to be had.
    bool unclean, sweep, marked, changed, counted;
    bool evicting, told_full;
    struct evict evict;
    struct sweep swept;
    int64_t next_sums, next_uses, next_evict, next_prune;
};

/// The first notes that wait, in order, off the queue; NULL: none.
struct note *queue_take(struct keeper *k, size_t max, size_t *count);
/// Back to the front, where they were.
void queue_put_back(struct keeper *k, struct note *batch, size_t count);
void queue_done(struct keeper *k, size_t count);
/// While it refuses, nobody waits for a flush.
void queue_refuse(struct keeper *k, bool refusing);
/// The thread's wait: for something to do, at most until it is time for the next turn, not at all if it is `busy`.
/// False: it is to end.
bool queue_wait(struct keeper *k, bool busy);
