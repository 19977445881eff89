// SPDX-License-Identifier: Apache-2.0
//
// A blob's way to a reader: whether it may be given, from where it comes, and the answer's head.
//
// The order is: what was refused or is known to be missing; a fill of this repository that is on its way; what is held,
// if the repository's own upstream has it; another's fill under the same condition; a fill of its own; and where
// nothing can be kept, a stream. Threads and lock as reading.h says.

#include "mirrors/content/reading.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void ask(struct reader *r);

// --- answers ---

/// Once. The front may read from here on.
static void tell(struct reader *r, struct reader_answer *a) {
    if (a->ok && r->urls_pass)
        a->refused = DOCUMENT_URLS;
    pthread_mutex_lock(&r->lock);
    r->answered = true;
    bool closed = r->closed;
    pthread_mutex_unlock(&r->lock);
    if (closed)
        return;
    r->callbacks.answered(r->ctx, a);
    reader_wake(r);
}

static void tell_failure(struct reader *r, const struct fetch_result *why) {
    struct reader_answer a = {.fetch = why, .length = UINT64_MAX, .total = UINT64_MAX};
    if (why->outcome == FETCH_RANGE)
        a.total = content_size(r->content, &r->place, r->digest);
    pthread_mutex_lock(&r->lock);
    reader_fail(r, &why->err, why->outcome == FETCH_MISMATCH);
    pthread_mutex_unlock(&r->lock);
    tell(r, &a);
}

static void tell_unsatisfiable(struct reader *r, uint64_t size) {
    struct fetch_result why = {.outcome = FETCH_RANGE};
    struct reader_answer a = {.fetch = &why, .length = UINT64_MAX, .total = size};
    snprintf(why.content_range, sizeof(why.content_range), "bytes */%" PRIu64, size);
    err_set(&why.err, "the range lies outside of the %" PRIu64 " bytes of %s", size, r->digest);
    pthread_mutex_lock(&r->lock);
    reader_fail(r, &why.err, false);
    pthread_mutex_unlock(&r->lock);
    tell(r, &a);
}

static void tell_offline(struct reader *r) {
    struct fetch_result why;
    content_offline(&r->place, r->digest, &why);
    tell_failure(r, &why);
}

/// What the range means for a blob of this size. False: it is unsatisfiable.
static bool resolve(const struct reader *r, uint64_t size, struct reader_answer *a) {
    uint64_t first = 0, last = size - 1;
    enum range_fit fit = range_resolve(&r->range, size, &first, &last);
    if (fit == RANGE_UNSATISFIABLE)
        return false;
    a->partial = fit == RANGE_PARTIAL;
    a->first = a->partial ? first : 0;
    a->last = a->partial ? last : size - 1;
    a->length = a->partial ? last - first + 1 : size;
    a->total = size;
    return true;
}

// --- from an upstream transfer of its own ---

static struct intake_spec own_spec(const struct reader *r) {
    return (struct intake_spec){
        .place = &r->place, .digest = r->digest, .head = r->head, .range = &r->range, .total = UINT64_MAX};
}

static void own_stream(struct reader *r) {
    struct intake_spec spec = own_spec(r);
    pthread_mutex_lock(&r->lock);
    if (!r->closed)
        reader_stream(r, &spec);
    pthread_mutex_unlock(&r->lock);
}

// --- from a piece ---

static void serve_piece(struct reader *r, const struct confirmation *c) {
    uint64_t size = piece_size(c->piece);
    struct reader_answer a = {.ok = true, .source = c->source, .fetch = c->fetch, .verified = true};
    store_used(r->content->store, c->piece);
    if (!resolve(r, size, &a)) {
        tell_unsatisfiable(r, size);
        return;
    }
    pthread_mutex_lock(&r->lock);
    if (!r->head) {
        r->reading = READING_PIECE;
        r->piece = piece_ref(c->piece);
        r->position = a.first;
        r->end = a.first + a.length;
    }
    pthread_mutex_unlock(&r->lock);
    tell(r, &a);
}

// --- from a fill ---

/// What to do about a fill, decided with the reader's lock and done without.
enum step {
    STEP_WAIT,   ///< Nothing: `changed` will come, or it was done.
    STEP_ANSWER, ///< From the fill.
    STEP_OUTSIDE,
    STEP_AGAIN, ///< Another repository's fill failed for it, which says nothing about this one.
    STEP_FAILED
};

static void leave_locked(struct reader *r) {
    struct fill *f = r->fill;
    r->fill = NULL;
    fill_leave(f, &r->follower);
}

static bool wants_all(const struct range *range) {
    return range->kind == RANGE_NONE || (range->kind == RANGE_BYTES && range->first == 0 && range->last == UINT64_MAX);
}

static enum step read_fill_locked(struct reader *r, const struct fill_view *v, struct reader_answer *a) {
    bool goes_on = v->state == FILL_RUNNING;
    *a = (struct reader_answer){.ok = true, .length = UINT64_MAX, .total = UINT64_MAX, .last = UINT64_MAX - 1};
    if (v->total != UINT64_MAX && !resolve(r, v->total, a)) {
        a->ok = false;
        a->total = v->total;
        leave_locked(r);
        return STEP_OUTSIDE;
    }
    bool unknown = v->total == UINT64_MAX && !wants_all(&r->range);
    bool far = a->first > v->ready + (goes_on ? CONTENT_FAR_MAX : 0);
    if (unknown || far) {
        struct intake_spec spec = own_spec(r);
        spec.total = v->total;
        reader_stream(r, &spec); // Still a follower: who reads ahead keeps the fill going.
        if (!goes_on)
            leave_locked(r);
        return STEP_WAIT;
    }
    r->reading = READING_FILL;
    r->position = a->first;
    r->end = a->length == UINT64_MAX ? UINT64_MAX : a->first + a->length;
    a->source = r->began ? SOURCE_MISS : SOURCE_FOLLOW;
    a->verified = v->state == FILL_COMPLETE || r->end == v->total;
    r->answered = true;
    return STEP_ANSWER;
}

/// The fill changed while the reader waits for its head.
static enum step look_at_fill_locked(struct reader *r, struct reader_answer *a, struct fetch_result *result) {
    struct fill_view v;
    fill_look(r->fill, &r->follower, true, UINT64_MAX, &v);
    if (v.state == FILL_ASKING)
        return STEP_WAIT;
    if (v.state == FILL_BROKEN && v.ready == 0) {
        struct intake_spec spec = own_spec(r);
        reader_stream(r, &spec);
        leave_locked(r);
        return STEP_WAIT;
    }
    fill_result(r->fill, result, NULL);
    if (v.state != FILL_FAILED)
        return read_fill_locked(r, &v, a);
    bool own = fill_is_own(r->fill, &r->place);
    leave_locked(r);
    return own || r->rounds >= READER_ROUNDS_MAX ? STEP_FAILED : STEP_AGAIN;
}

static void take_step(struct reader *r, enum step step, struct reader_answer *a, struct fetch_result *result) {
    a->fetch = result;
    switch (step) {
    case STEP_WAIT:
        return;
    case STEP_ANSWER:
        tell(r, a);
        return;
    case STEP_OUTSIDE:
        tell_unsatisfiable(r, a->total);
        return;
    case STEP_AGAIN:
        ask(r);
        return;
    case STEP_FAILED:
        tell_failure(r, result);
        return;
    }
}

static void look_at_fill(struct reader *r) {
    enum step step = STEP_WAIT;
    struct reader_answer a;
    struct fetch_result result;
    pthread_mutex_lock(&r->lock);
    bool asks = !r->closed && !r->answered && r->fill != NULL && r->stream == NULL;
    if (asks)
        step = look_at_fill_locked(r, &a, &result);
    pthread_mutex_unlock(&r->lock);
    if (asks)
        take_step(r, step, &a, &result);
    else
        reader_wake(r);
}

static void on_hold(void *ctx) {
    reader_ref(ctx);
}

static void on_changed(void *ctx) {
    look_at_fill(ctx);
    reader_unref(ctx);
}

/// False: there is none that it may follow, nor can one begin.
static bool follow(struct reader *r, bool confirmed) {
    pthread_mutex_lock(&r->lock);
    bool closed = r->closed;
    if (!closed) {
        r->follower = (struct fill_follower){.hold = on_hold, .changed = on_changed, .ctx = r};
        r->fill = fill_find_or_begin(r->content, &r->place, r->digest, confirmed, &r->follower, &r->began);
    }
    bool follows = r->fill != NULL;
    pthread_mutex_unlock(&r->lock);
    if (follows)
        look_at_fill(r);
    return follows || closed;
}

// --- what the store knows ---

static void settle(struct reader *r, const struct confirmation *c);

/// There is no fill for it: it is held by now, or another repository's has just begun, or nothing can be kept.
static void look_again(struct reader *r) {
    struct confirm_now now;
    r->rounds++;
    if (r->rounds > READER_ROUNDS_MAX || !store_writable(r->content->store)) {
        own_stream(r);
    } else if (fill_origin(r->content, &r->place, r->digest) == FILL_FOREIGN) {
        ask(r);
    } else if (content_confirm_now(r->content, &r->place, r->digest, false, &now)) {
        settle(r, &now.answer);
        piece_unref(now.facts.piece);
    } else {
        own_stream(r); // Held, but the upstream's word is missing, and was just asked for in vain.
    }
}

static void fill_or_stream(struct reader *r, bool confirmed) {
    bool in_vain = r->filling && !confirmed; // Another's fill goes on, and this repository could not be confirmed.
    if (follow(r, confirmed))
        return;
    if (in_vain)
        own_stream(r);
    else
        look_again(r);
}

static void settle(struct reader *r, const struct confirmation *c) {
    switch (c->standing) {
    case STANDING_HELD:
        serve_piece(r, c);
        return;
    case STANDING_FAILED:
        tell_failure(r, c->fetch);
        return;
    case STANDING_FOREIGN:
    case STANDING_ABSENT:
        break;
    }
    r->foreign = c->standing == STANDING_FOREIGN;
    if (r->head || r->foreign)
        own_stream(r);
    else
        fill_or_stream(r, c->confirmed);
}

static void on_confirmed(void *ctx, const struct confirmation *c) {
    settle(ctx, c);
    reader_unref(ctx);
}

static void confirm(struct reader *r) {
    struct confirm_now now;
    if (content_confirm_now(r->content, &r->place, r->digest, r->filling, &now)) {
        settle(r, &now.answer);
        piece_unref(now.facts.piece);
        return;
    }
    content_confirm(r->content, &r->place, FETCH_BLOB, r->digest, r->filling, on_confirmed, reader_ref(r));
}

static void ask(struct reader *r) {
    enum fill_origin origin = r->head ? FILL_NOWHERE : fill_origin(r->content, &r->place, r->digest);
    r->rounds++;
    r->filling = origin == FILL_FOREIGN;
    if (origin == FILL_OWN && !r->place.terms.offline && follow(r, false))
        return;
    confirm(r);
}

// --- the stream's callbacks ---

static void note(struct reader *r, const struct fetch_result *result) {
    struct store *s = r->content->store;
    const struct content_place *p = &r->place;
    if (r->head && content_head_unknown(result)) // A registry, or its storage, that knows no HEAD says nothing by it.
        return;
    negative_note(r->content, p, r->digest, result);
    if (s != NULL && result->outcome == FETCH_OK)
        store_note_confirmed(s, p->name, p->repository, r->digest, (int64_t)time(NULL));
    else if (s != NULL && content_revokes(result))
        store_note_gone(s, p->name, p->repository, r->digest);
}

/// The client knows its answer already; an upstream that gives all instead of a range is skipped up to it.
static bool is_late(struct reader *r, const struct intake_head *head) {
    pthread_mutex_lock(&r->lock);
    bool late = r->answered;
    if (late && head != NULL && r->skip > 0) // Set when a range was asked for; see go_on() of reader.c.
        r->skip = head->partial ? 0 : r->position;
    pthread_mutex_unlock(&r->lock);
    return late;
}

static void on_answered(void *ctx, const struct intake_head *head, enum intake_end end,
                        const struct fetch_result *result, const struct err *err) {
    struct reader *r = ctx;
    note(r, result);
    if (is_late(r, head))
        return;
    if (head == NULL) {
        tell_failure(r, result);
        return;
    }
    struct reader_answer a = {.ok = true, .source = SOURCE_MISS, .fetch = result, .partial = head->partial};
    a.first = head->first;
    a.last = head->last;
    a.length = head->length;
    a.total = head->total;
    a.verified = head->verified;
    tell(r, &a);
}

static void on_readable(void *ctx) {
    reader_wake(ctx);
}

static void on_whole(void *ctx) {
    struct reader *r = ctx;
    const struct content_place *p = &r->place;
    if (!r->foreign)
        return;
    store_note_delivered(r->content->store, p->name, r->digest);
    store_note_confirmed(r->content->store, p->name, p->repository, r->digest, (int64_t)time(NULL));
}

static void on_released(void *ctx) {
    reader_unref(ctx);
}

void reader_stream(struct reader *r, const struct intake_spec *spec) {
    static const struct stream_callbacks callbacks = {on_answered, on_readable, on_whole, on_released};
    r->reading = READING_STREAM;
    r->stream = stream_new(r->content, spec, r->window, &callbacks, reader_ref(r));
}

// --- the start ---

static char *append(char **at, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static struct reader *reader_new(struct content *c, const struct content_place *place, const char *digest) {
    size_t strings = strlen(place->name) + strlen(place->repository) + 2;
    struct reader *r = mem_zalloc(1, sizeof(*r) + strings);
    char *behind = (char *)(r + 1);
    atomic_init(&r->refs, 2); // The caller's, and content_blob()'s until it returns.
    r->content = c;
    r->place = *place;
    r->place.name = append(&behind, place->name);
    r->place.repository = append(&behind, place->repository);
    r->place.owner.ref(r->place.owner.object);
    snprintf(r->digest, sizeof(r->digest), "%s", digest);
    r->end = UINT64_MAX;
    pthread_mutex_init(&r->lock, NULL);
    atomic_fetch_add(&c->readers, 1);
    return r;
}

/// Monitor mode lets `urls` pass, as in manifests.
static bool refused_before(struct reader *r) {
    struct refusal refusal;
    if (!content_refused(r->content, &r->place, r->digest, &refusal))
        return false;
    r->urls_pass = r->place.monitor && refusal.verdict == DOCUMENT_URLS;
    if (r->urls_pass)
        return false;
    struct fetch_result nothing = {.outcome = FETCH_CANCELLED};
    struct reader_answer a = {.fetch = &nothing, .refused = refusal.verdict, .err = refusal.err};
    pthread_mutex_lock(&r->lock);
    reader_fail(r, &refusal.err, false);
    pthread_mutex_unlock(&r->lock);
    tell(r, &a);
    return true;
}

static bool missing_before(struct reader *r) {
    struct fetch_result why;
    if (!negative_recall(r->content, &r->place, r->digest, &why))
        return false;
    tell_failure(r, &why);
    return true;
}

static void find_source(struct reader *r) {
    if (refused_before(r) || missing_before(r))
        return;
    if (r->content->store != NULL)
        ask(r);
    else if (r->place.terms.offline)
        tell_offline(r);
    else
        own_stream(r);
}

struct reader *content_blob(struct content *c, const struct content_place *place, const char *digest, bool head,
                            const struct range *range, size_t window, const struct reader_callbacks *callbacks,
                            void *ctx) {
    struct reader *r = reader_new(c, place, digest);
    r->callbacks = *callbacks;
    r->ctx = ctx;
    r->head = head;
    r->window = window;
    if (range != NULL && !head)
        r->range = *range;
    find_source(r);
    reader_unref(r);
    return r;
}
