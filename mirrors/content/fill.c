// SPDX-License-Identifier: Apache-2.0
//
// Fills: the table of what is coming, the transfer that writes, the followers that are told.
//
// The intake's callbacks (one fetch thread at a time) are the only writer. They gather small pieces and write them at
// the latest when the thread's turn ends, so that readers see bytes as soon as they come, in few calls. With every
// write the hash so far is put aside: were the next write to fail, a reader could go on from exactly there. Lock order:
// table, fill. A fill that can give nobody anything any more leaves the table before its state says so.

#include "mirrors/content/fill.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"
#include "mirrors/content/intake.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WOKEN_AT_ONCE = 64 };

struct fills {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct lru *table; ///< registry, digest -> struct fill. Holds no reference: each takes itself out before it ends.
    size_t live;       ///< Not ended, or being committed.
};

struct fill {
    atomic_int refs; ///< One of the transfer (until committed or failed) and one of each follower.
    struct content *content;
    struct content_place place;
    char digest[DIGEST_TEXT_MAX + 1];
    struct content_key key;

    // The writer's alone.
    struct store_file *file; ///< NULL before the head, and after the end.
    char *buffer;
    size_t capacity, buffered;
    uint64_t written;
    bool headed, dead; ///< `dead`: nothing more is taken; the transfer is being cancelled.

    pthread_mutex_t lock;
    struct intake *intake;
    enum fill_state state;
    uint64_t ready, total;
    int fd;                     ///< Of its own, so that followers can read whatever becomes of the file; -1 without.
    struct digest_hasher *hash; ///< Of the `written` bytes.
    bool wrong_content, kept;
    struct fetch_result result;
    struct err err;
    struct fill_follower *followers;
    size_t follower_count;
    int64_t orphan_since; ///< 0: somebody follows, or enough is there.
};

// --- the end of the memory ---

static void close_file(void *ctx) {
    close((int)(intptr_t)ctx);
}

/// The last descriptor of a removed file: closing it may take the file system a while.
static void dispose_file(const struct fill *f) {
    void *fd = (void *)(intptr_t)f->fd;
    if (f->fd >= 0 && (f->kept || !store_work(f->content->store, close_file, fd)))
        close_file(fd);
}

static void unref(struct fill *f) {
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    dispose_file(f);
    intake_unref(f->intake);
    content_place_deinit(&f->place);
    digest_hasher_free(f->hash);
    pthread_mutex_destroy(&f->lock);
    free(f->buffer);
    free(f);
}

// --- the table ---

struct fills *fills_new(void) {
    struct fills *t = mem_zalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->ended, NULL);
    t->table = lru_new(FILLS_MAX, 0, NULL);
    return t;
}

void fills_free(struct fills *t) {
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    while (t->live > 0)
        pthread_cond_wait(&t->ended, &t->lock);
    pthread_mutex_unlock(&t->lock);
    lru_free(t->table);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->ended);
    free(t);
}

size_t fills_count(struct fills *t) {
    pthread_mutex_lock(&t->lock);
    size_t count = t->live;
    pthread_mutex_unlock(&t->lock);
    return count;
}

static struct content_key key_of(const struct content_place *place, const char *digest) {
    struct content_key key;
    content_key_begin(&key, NULL, place->name);
    content_key_add(&key, digest);
    return key;
}

/// Another fill may have the key by now.
static void remove_locked(struct fills *t, const struct fill *f) {
    if (lru_peek(t->table, f->key.bytes, f->key.len) == f)
        lru_remove(t->table, f->key.bytes, f->key.len);
}

static void remove_from_table(struct fill *f) {
    struct fills *t = f->content->fills;
    pthread_mutex_lock(&t->lock);
    remove_locked(t, f);
    pthread_mutex_unlock(&t->lock);
}

/// The transfer has ended and nothing works for it any more.
static void finish(struct fill *f) {
    struct fills *t = f->content->fills;
    unref(f); // Before the count: the store may be closed as soon as nothing is live.
    pthread_mutex_lock(&t->lock);
    t->live--;
    pthread_cond_broadcast(&t->ended);
    pthread_mutex_unlock(&t->lock);
}

// --- telling followers ---

static bool has_news(const struct fill *f, const struct fill_follower *w) {
    return w->waits && (w->state != f->state || f->ready > w->seen);
}

static size_t gather(struct fill *f, struct fill_follower *out, size_t max) {
    size_t count = 0;
    pthread_mutex_lock(&f->lock);
    for (struct fill_follower *w = f->followers; w != NULL && count < max; w = w->next) {
        if (!has_news(f, w))
            continue;
        w->waits = false;
        w->hold(w->ctx);
        out[count++] = *w;
    }
    pthread_mutex_unlock(&f->lock);
    return count;
}

static void tell(struct fill *f) {
    struct fill_follower woken[WOKEN_AT_ONCE];
    size_t count;
    do {
        count = gather(f, woken, WOKEN_AT_ONCE);
        for (size_t i = 0; i < count; i++)
            woken[i].changed(woken[i].ctx);
    } while (count == WOKEN_AT_ONCE);
}

/// The last byte of what could be all is held back until it is verified.
static void publish_locked(struct fill *f) {
    bool may_be_all = f->written > 0 && (f->total == UINT64_MAX || f->written == f->total);
    bool hold_back = f->state != FILL_COMPLETE && f->state != FILL_BROKEN && may_be_all;
    f->ready = f->written - (hold_back ? 1 : 0);
}

static void set_state(struct fill *f, enum fill_state state) {
    pthread_mutex_lock(&f->lock);
    f->state = state;
    publish_locked(f);
    pthread_mutex_unlock(&f->lock);
    tell(f);
}

// --- the writer ---

/// The disk does not take more. There is more to come, so the last byte that was written is not the blob's.
static bool break_off(struct fill *f) {
    f->dead = true;
    remove_from_table(f);
    store_file_drop(f->file);
    f->file = NULL;
    set_state(f, FILL_BROKEN);
    return false;
}

/// `hash`: what was taken so far, which is what will be written then; takes it over. NULL: keep the one from before.
static bool flush(struct fill *f, struct digest_hasher *hash) {
    if (f->buffered > 0 && !store_file_write(f->file, f->buffer, f->buffered)) {
        digest_hasher_free(hash);
        return break_off(f);
    }
    pthread_mutex_lock(&f->lock);
    f->written += f->buffered;
    f->buffered = 0;
    if (hash != NULL) {
        digest_hasher_free(f->hash);
        f->hash = hash;
    }
    publish_locked(f);
    pthread_mutex_unlock(&f->lock);
    return true;
}

/// It is set when the intake has started, which may be after its first callback.
static struct intake *own_intake(struct fill *f) {
    pthread_mutex_lock(&f->lock);
    struct intake *i = f->intake;
    pthread_mutex_unlock(&f->lock);
    return i;
}

static bool flush_and_tell(struct fill *f) {
    if (f->buffered == 0)
        return true;
    if (!flush(f, intake_hash(own_intake(f))))
        return false;
    tell(f);
    return true;
}

static bool open_file(struct fill *f, uint64_t size) {
    f->file = store_file_new(f->content->store, f->digest, size);
    int fd = f->file != NULL ? fcntl(store_file_fd(f->file), F_DUPFD_CLOEXEC, 3) : -1;
    pthread_mutex_lock(&f->lock);
    f->fd = fd;
    pthread_mutex_unlock(&f->lock);
    return fd >= 0;
}

static void make_buffer(struct fill *f, uint64_t total) {
    f->capacity = total < FILL_BUFFER ? (size_t)total + 1 : FILL_BUFFER;
    f->buffer = mem_alloc(f->capacity);
}

static enum transfer_flow on_head(void *ctx, const struct intake_head *head) {
    struct fill *f = ctx;
    f->headed = true;
    pthread_mutex_lock(&f->lock);
    f->result = *head->so_far;
    f->total = head->total;
    pthread_mutex_unlock(&f->lock);
    negative_note(f->content, &f->place, f->digest, head->so_far);
    store_note_confirmed(f->content->store, f->place.name, f->place.repository, f->digest, (int64_t)time(NULL));
    if (!open_file(f, head->total)) {
        break_off(f);
        return TRANSFER_STOP;
    }
    make_buffer(f, head->total);
    set_state(f, FILL_RUNNING);
    return TRANSFER_CONTINUE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct fill *f = ctx;
    if (f->dead)
        return TRANSFER_STOP;
    // Flushed before, not after: only now does the intake's hash cover just what is in the buffer.
    bool beginning = f->written == 0 && f->buffered > 0; // Told at once, to however many who wait for it.
    if ((beginning || len > f->capacity - f->buffered) && !flush_and_tell(f))
        return TRANSFER_STOP;
    if (len > f->capacity) {
        f->buffer = mem_resize(f->buffer, len, 1);
        f->capacity = len;
    }
    memcpy(f->buffer + f->buffered, data, len);
    f->buffered += len;
    return TRANSFER_CONTINUE;
}

static bool enough(const struct fill *f) {
    unsigned percent = f->place.terms.finish_percent;
    if (percent == 0 || percent > 100 || f->total == UINT64_MAX)
        return percent == 0;
    return (double)f->ready * 100.0 >= (double)f->total * (double)percent;
}

static bool is_orphan(struct fill *f) {
    pthread_mutex_lock(&f->lock);
    bool orphan = f->orphan_since != 0 && clock_ms() - f->orphan_since >= CONTENT_ORPHAN_MS;
    pthread_mutex_unlock(&f->lock);
    return orphan;
}

/// Nobody came: end it, so that nobody can join what ends; unless somebody just did, or enough is there by now.
static bool abandon(struct fill *f) {
    struct fills *t = f->content->fills;
    pthread_mutex_lock(&t->lock);
    pthread_mutex_lock(&f->lock);
    bool ends = f->follower_count == 0 && !enough(f);
    f->orphan_since = 0;
    if (ends) {
        remove_locked(t, f);
        f->state = FILL_FAILED;
        err_set(&f->err, "nobody waited for %s any more", f->digest);
    }
    pthread_mutex_unlock(&f->lock);
    pthread_mutex_unlock(&t->lock);
    return ends;
}

static void on_turn(void *ctx) {
    struct fill *f = ctx;
    if (f->dead)
        return;
    f->dead = !flush_and_tell(f) || (is_orphan(f) && abandon(f));
    if (f->dead)
        intake_cancel(own_intake(f));
}

// --- the end ---

static void on_committed(void *ctx, struct piece *piece) {
    struct fill *f = ctx;
    f->kept = piece != NULL;
    piece_unref(piece);
    remove_from_table(f);
    finish(f);
}

static void commit(struct fill *f) {
    struct store_file *file = f->file;
    f->file = NULL;
    store_file_commit(file, f->place.name, f->place.repository, "", on_committed, f);
}

static void note_absent(struct fill *f, const struct fetch_result *result) {
    negative_note(f->content, &f->place, f->digest, result);
    if (content_revokes(result))
        store_note_gone(f->content->store, f->place.name, f->place.repository, f->digest);
}

static void fail(struct fill *f, bool wrong, const struct fetch_result *result, const struct err *err) {
    if (!f->headed)
        note_absent(f, result);
    remove_from_table(f);
    store_file_drop(f->file);
    f->file = NULL;
    pthread_mutex_lock(&f->lock);
    f->result = *result;
    f->err = *err;
    f->result.err = *err;
    if (f->result.outcome == FETCH_OK)
        f->result.outcome = wrong ? FETCH_MISMATCH : FETCH_BROKEN;
    f->wrong_content = wrong;
    f->state = FILL_FAILED;
    publish_locked(f);
    pthread_mutex_unlock(&f->lock);
    tell(f);
    finish(f);
}

static void on_end(void *ctx, enum intake_end end, const struct fetch_result *result, const struct err *err) {
    struct fill *f = ctx;
    bool complete = end == INTAKE_COMPLETE && !f->dead && flush(f, NULL);
    if (complete) {
        pthread_mutex_lock(&f->lock);
        f->total = f->written;
        pthread_mutex_unlock(&f->lock);
        set_state(f, FILL_COMPLETE);
        commit(f);
    } else if (f->dead) { // Broken or abandoned: all that is to be said was said.
        store_file_drop(f->file);
        f->file = NULL;
        finish(f);
    } else {
        fail(f, end == INTAKE_WRONG, result, err);
    }
}

// --- the start ---

static void start_transfer(struct fill *f) {
    static const struct intake_callbacks callbacks = {on_head, on_body, on_turn, on_end};
    struct intake_spec spec = {.place = &f->place, .digest = f->digest, .total = UINT64_MAX};
    pthread_mutex_lock(&f->lock); // See own_intake().
    f->intake = intake_start(f->content, &spec, &callbacks, f);
    pthread_mutex_unlock(&f->lock);
}

static struct fill *fill_new(struct content *c, const struct content_place *place, const char *digest,
                             const struct content_key *key) {
    struct fill *f = mem_zalloc(1, sizeof(*f));
    atomic_init(&f->refs, 1);
    f->content = c;
    content_place_copy(&f->place, place);
    memcpy(f->digest, digest, strlen(digest) + 1);
    f->key = *key;
    f->fd = -1;
    f->total = UINT64_MAX;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

static void join(struct fill *f, struct fill_follower *w) {
    atomic_fetch_add(&f->refs, 1);
    pthread_mutex_lock(&f->lock);
    w->waits = false;
    w->prev = NULL;
    w->next = f->followers;
    if (w->next != NULL)
        w->next->prev = w;
    f->followers = w;
    f->follower_count++;
    f->orphan_since = 0;
    pthread_mutex_unlock(&f->lock);
}

bool fill_is_own(const struct fill *f, const struct content_place *place) {
    return strcmp(f->place.repository, place->repository) == 0;
}

enum fill_origin fill_origin(struct content *c, const struct content_place *place, const char *digest) {
    struct fills *t = c->fills;
    enum fill_origin origin = FILL_NOWHERE;
    struct content_key key = key_of(place, digest);
    pthread_mutex_lock(&t->lock);
    const struct fill *f = lru_peek(t->table, key.bytes, key.len);
    if (f != NULL)
        origin = fill_is_own(f, place) ? FILL_OWN : FILL_FOREIGN;
    pthread_mutex_unlock(&t->lock);
    return origin;
}

/// A fill leaves the table after the store knows its content: who finds neither may begin.
static bool may_begin(struct content *c, const struct content_place *place, const char *digest) {
    struct store_facts facts;
    if (!store_writable(c->store))
        return false;
    store_recall(c->store, place->name, place->repository, digest, &facts);
    bool held = facts.piece != NULL;
    piece_unref(facts.piece);
    return !held;
}

static struct fill *begin_locked(struct content *c, const struct content_place *place, const char *digest,
                                 const struct content_key *key) {
    if (!may_begin(c, place, digest))
        return NULL;
    struct fill *f = fill_new(c, place, digest, key);
    lru_put(c->fills->table, key->bytes, key->len, f, 0);
    c->fills->live++;
    return f;
}

struct fill *fill_find_or_begin(struct content *c, const struct content_place *place, const char *digest,
                                bool confirmed, struct fill_follower *follower, bool *begun) {
    struct content_key key = key_of(place, digest);
    pthread_mutex_lock(&c->fills->lock);
    struct fill *f = lru_get(c->fills->table, key.bytes, key.len);
    *begun = f == NULL;
    if (f == NULL)
        f = begin_locked(c, place, digest, &key);
    else if (!confirmed && !fill_is_own(f, place))
        f = NULL;
    if (f != NULL)
        join(f, follower);
    pthread_mutex_unlock(&c->fills->lock);
    if (f != NULL && *begun)
        start_transfer(f);
    return f;
}

// --- followers ---

void fill_look(struct fill *f, struct fill_follower *follower, bool wait, uint64_t seen, struct fill_view *out) {
    pthread_mutex_lock(&f->lock);
    *out = (struct fill_view){f->state, f->ready, f->total, f->fd, f->wrong_content};
    bool goes_on = f->state == FILL_ASKING || f->state == FILL_RUNNING;
    follower->waits = wait && goes_on && f->ready <= seen;
    follower->seen = seen;
    follower->state = f->state;
    pthread_mutex_unlock(&f->lock);
}

void fill_result(struct fill *f, struct fetch_result *result, struct err *err) {
    pthread_mutex_lock(&f->lock);
    if (result != NULL)
        *result = f->result;
    if (err != NULL)
        *err = f->err;
    pthread_mutex_unlock(&f->lock);
}

struct digest_hasher *fill_hash(struct fill *f) {
    pthread_mutex_lock(&f->lock);
    struct digest_hasher *h = f->hash != NULL ? digest_hasher_copy(f->hash) : NULL;
    pthread_mutex_unlock(&f->lock);
    return h;
}

struct fill *fill_hold(struct fill *f) {
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void fill_release(struct fill *f) {
    if (f != NULL)
        unref(f);
}

void fill_leave(struct fill *f, struct fill_follower *w) {
    pthread_mutex_lock(&f->lock);
    if (w->next != NULL)
        w->next->prev = w->prev;
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        f->followers = w->next;
    w->waits = false;
    f->follower_count--;
    bool runs = f->state == FILL_ASKING || f->state == FILL_RUNNING;
    if (f->follower_count == 0 && runs && !enough(f))
        f->orphan_since = clock_ms();
    pthread_mutex_unlock(&f->lock);
    unref(f);
}
