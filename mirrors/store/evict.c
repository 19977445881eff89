// SPDX-License-Identifier: Apache-2.0
//
// Eviction: the least recently used content goes, so that the cap and the file system's share are kept.
//
// On the keeper's thread, a bounded number a turn. First memory says that it is gone, then the index, then the file
// loses its name; whoever reads it goes on reading. What is to be kept by configuration, and what was used a moment
// ago, stays.

#include "mirrors/store/inside.h"

#include <string.h>

enum { TURN_MAX = 64 };

// --- how much is too much ---

static uint64_t positive(long long n) {
    return n > 0 ? (uint64_t)n : 0;
}

static uint64_t bytes_now(struct store *s) {
    return positive(atomic_load(&s->blob_bytes)) + positive(atomic_load(&s->writing_bytes)) +
           atomic_load(&s->index_bytes);
}

// What the file system is to keep free.
static uint64_t reserve_of(struct store *s, const struct store_settings *now) {
    return atomic_load(&s->file_system_size) / 100 * now->min_free;
}

static bool over_cap(struct store *s, const struct store_settings *now, uint64_t want) {
    return now->max_size != 0 && bytes_now(s) + want > now->max_size;
}

static bool over_share(struct store *s, const struct store_settings *now, uint64_t want) {
    return reserve_of(s, now) + want > atomic_load(&s->file_system_free);
}

bool evict_needed(struct store *s, uint64_t want) {
    struct store_settings now = store_settings_now(s);
    return over_cap(s, &now, want) || over_share(s, &now, want);
}

static uint64_t above(uint64_t bytes, uint64_t limit) {
    return bytes > limit ? bytes - limit : 0;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// It goes some way below the cap, so that it does not run for every piece that comes.
static uint64_t bytes_to_free(struct store *s, uint64_t want) {
    struct store_settings now = store_settings_now(s);
    uint64_t bytes = bytes_now(s), goal = above(reserve_of(s, &now) + want, atomic_load(&s->file_system_free));
    if (now.max_size == 0)
        return goal;
    goal = larger(goal, above(bytes, now.max_size / 100 * STORE_LOW_WATER));
    return larger(goal, above(bytes + want, now.max_size));
}

static bool fits_without(struct store *s, uint64_t goes, uint64_t want) {
    struct store_settings now = store_settings_now(s);
    if (now.max_size != 0 && above(bytes_now(s), goes) + want > now.max_size)
        return false;
    return reserve_of(s, &now) + want <= atomic_load(&s->file_system_free) + goes;
}

bool evict_could_ever_fit(struct store *s, uint64_t want) {
    return fits_without(s, positive(atomic_load(&s->blob_bytes)), want);
}

bool evict_could_fit(struct store *s, uint64_t want) {
    return fits_without(s, above(positive(atomic_load(&s->blob_bytes)), positive(atomic_load(&s->kept_bytes))), want);
}

// --- what may go ---

struct keeping {
    const struct store_settings *now;
    bool kept;
};

static bool ask_keep(void *ctx, const char *registry, const char *repository, const char *tag) {
    struct keeping *k = ctx;
    k->kept = k->now->keep(k->now->ctx, registry, repository, tag);
    return !k->kept;
}

static enum index_result is_kept(struct index *i, const struct store_settings *now, const char *digest, bool *kept) {
    struct keeping k = {.now = now};
    enum index_result r = now->keep == NULL ? INDEX_OK : index_holders(i, digest, ask_keep, &k);
    *kept = k.kept || r == INDEX_FAILED; // In doubt it stays.
    return r == INDEX_DAMAGED ? r : INDEX_OK;
}

static enum index_result may_go(struct store *s, struct index *i, const struct store_settings *now,
                                const struct index_oldest *o, bool *yes) {
    bool kept = true;
    *yes = false;
    if (store_now() - o->used < STORE_RECENT_S && store_now() >= o->used)
        return INDEX_OK;
    enum index_result r = is_kept(i, now, o->digest, &kept);
    *yes = r == INDEX_OK && !kept && facts_absent(s->facts, o->digest, true);
    return r;
}

// --- a turn ---

struct chosen {
    size_t count;
    uint64_t bytes;
    struct index_note notes[TURN_MAX];
};

static enum index_result choose(struct store *s, struct index *i, struct evict *e, uint64_t goal,
                                const struct index_oldest *list, size_t count, struct chosen *c) {
    struct store_settings now = store_settings_now(s);
    enum index_result r = INDEX_OK;
    for (size_t n = 0; n < count && r == INDEX_OK && c->bytes < goal; n++) {
        bool yes;
        r = may_go(s, i, &now, &list[n], &yes);
        if (yes) {
            c->notes[c->count++] = (struct index_note){.kind = NOTE_DROPPED, .digest = list[n].digest};
            c->bytes += list[n].disk;
        } else if (r == INDEX_OK) {
            e->skip++;
        }
    }
    return r;
}

static void remove_files(struct store *s, const struct chosen *c) {
    for (size_t n = 0; n < c->count; n++)
        files_unlink(s, c->notes[n].digest);
    atomic_fetch_add(&s->evicted, c->count);
    atomic_fetch_add(&s->evicted_bytes, c->bytes);
    health_measure(s);
}

// The index wants room itself, and a full disk has none: then the files go first; a row without a file does no harm.
static void remove_first(struct store *s, struct evict *e, const struct chosen *c) {
    remove_files(s, c);
    for (size_t n = 0; n < c->count; n++)
        keeper_put(s, note_new(&c->notes[n]));
    e->skip += c->count;
}

enum evict_result evict_turn(struct store *s, struct index *i, struct evict *e) {
    struct index_oldest list[TURN_MAX];
    struct chosen c = {0};
    size_t count = 0;
    uint64_t goal = bytes_to_free(s, e->want);
    if (goal == 0)
        return EVICT_ENOUGH;
    enum index_result r = index_oldest(i, e->skip, list, TURN_MAX, &count);
    if (r == INDEX_FAILED || (r != INDEX_DAMAGED && count == 0))
        return EVICT_STUCK;
    if (r != INDEX_DAMAGED)
        r = choose(s, i, e, goal, list, count, &c);
    if (r != INDEX_DAMAGED && c.count > 0)
        r = index_apply(i, c.notes, c.count);
    if (r == INDEX_FAILED)
        remove_first(s, e, &c);
    else
        remove_files(s, &c);
    return r == INDEX_DAMAGED ? EVICT_DAMAGED : EVICT_MORE;
}
