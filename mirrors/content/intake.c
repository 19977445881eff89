// SPDX-License-Identifier: Apache-2.0
//
// One blob's way in, over one fetch after the other.
//
// A fetch that takes the transfer up is started in the `done` of the one that broke off, so that the callbacks of two
// never overlap, though they may come on different threads: what is marked as the writer's needs no lock. `lock` guards
// what intake_cancel() and intake_resume() share with that change. Never held across a callback.

#include "mirrors/content/intake.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTAKE_PROGRESS = 1 << 20 }; ///< So much between two breaks, and the attempts are counted anew.

struct intake {
    atomic_int refs; ///< The caller's, and the writer's until the end.
    struct content *content;
    struct content_place place; ///< With strings of its own.
    struct intake_callbacks callbacks;
    void *ctx;
    char digest[DIGEST_TEXT_MAX + 1];
    bool head_only;
    struct range asked;
    uint64_t from;

    // The writer's alone.
    bool answered, partial;
    uint64_t first, last;         ///< Where `taken` counts from; of a part also where it ends.
    uint64_t total;               ///< Of the blob; UINT64_MAX: nobody said.
    uint64_t promised;            ///< Bytes that have to come, no more and no fewer; UINT64_MAX: nobody said.
    uint64_t taken;               ///< And hashed. Begins with `from`.
    uint64_t skip;                ///< Bytes of the running answer that were taken before.
    uint64_t limit;               ///< What `taken` may be after the running answer.
    bool cut;                     ///< The running answer goes on past the part that is wanted.
    bool finished, overrun;       ///< All of the part is there; more came than was promised.
    struct digest_hasher *hasher; ///< NULL: not to be verified.
    unsigned attempts;            ///< Since `attempts_from`.
    uint64_t attempts_from;
    char upstream[HOSTPORT_TEXT_MAX + 1]; ///< Who gave what is there.
    bool mixed;                           ///< Several did.
    bool refused;                         ///< The running answer's head, for this:
    enum fetch_outcome refused_as;
    struct err refused_because;

    pthread_mutex_t lock;
    struct fetch *fetch;
    bool cancelled;
    bool streaming; ///< The running fetch has given its head: only then it can be paused.
};

static uint64_t position(const struct intake *i) {
    return i->first + i->taken;
}

// --- the first head ---

static enum transfer_flow refuse(struct intake *i, enum fetch_outcome outcome, const char *sentence) {
    i->refused = true;
    i->refused_as = outcome;
    err_set(&i->refused_because, "%s", sentence);
    return TRANSFER_STOP;
}

/// Does a 206 answer what was asked?
static bool range_fits(const struct intake *i, const struct intake_head *a) {
    if (i->asked.kind == RANGE_BYTES)
        return a->first == i->asked.first && a->last <= i->asked.last;
    return i->asked.kind == RANGE_SUFFIX && a->last - a->first < i->asked.suffix && a->last + 1 == a->total;
}

static bool read_partial(const struct intake *i, const struct transfer_head *h, struct intake_head *a) {
    if (!content_range_parse(h->content_range, strlen(h->content_range), &a->first, &a->last, &a->total) ||
        !range_fits(i, a))
        return false;
    a->partial = true;
    a->length = a->last - a->first + 1;
    if (a->total == UINT64_MAX)
        a->total = i->total;
    if (a->total == UINT64_MAX && a->first == 0)
        return false; // It may hold the blob's last byte, and nobody could tell.
    return a->last < a->total && (h->length < 0 || (uint64_t)h->length == a->length);
}

static bool read_head(const struct intake *i, const struct transfer_head *h, struct intake_head *a) {
    a->length = a->total = h->length < 0 ? UINT64_MAX : (uint64_t)h->length;
    a->last = a->total - 1;
    return h->status != 206 || read_partial(i, h, a);
}

static bool is_whole(const struct intake *i, const struct intake_head *a) {
    return !i->head_only && a->first == 0 && (!a->partial || a->last + 1 == a->total);
}

/// An answer without a byte is complete with its head, so it is judged before.
static bool wrongly_empty(const struct intake *i, const struct intake_head *a) {
    enum digest_algorithm algorithm;
    char digest[DIGEST_TEXT_MAX + 1];
    if (i->head_only || a->length != 0 || digest_check(i->digest, strlen(i->digest), &algorithm) != DIGEST_OK)
        return false;
    digest_of(algorithm, "", 0, digest);
    return strcmp(digest, i->digest) != 0;
}

/// A difference is remembered for a while, so that clients that retry hear it at once.
static void note_mismatch(struct intake *i, const char *upstream, const char *sentence) {
    atomic_fetch_add(&i->content->mismatches, 1);
    if (!i->mixed) // Nobody can tell whose bytes were wrong, and the other's must stay reachable.
        fetch_mismatched(i->content->fetcher, i->place.name, upstream, i->digest, sentence);
}

static enum transfer_flow tell_head(struct intake *i, struct intake_head *a) {
    a->verified = i->hasher != NULL;
    i->answered = true;
    return i->callbacks.head(i->ctx, a);
}

static void expect(struct intake *i, const struct intake_head *a) {
    enum digest_algorithm algorithm = DIGEST_SHA256;
    i->partial = a->partial;
    i->first = a->first;
    i->last = a->last;
    i->total = a->total;
    i->promised = i->limit = a->length;
    if (is_whole(i, a) && digest_check(i->digest, strlen(i->digest), &algorithm) == DIGEST_OK)
        i->hasher = digest_hasher_new(algorithm);
}

static enum transfer_flow first_head(struct intake *i, const struct transfer_head *h,
                                     const struct fetch_result *so_far) {
    struct intake_head a = {.so_far = so_far};
    char text[ERR_TEXT_MAX];
    if (!read_head(i, h, &a)) {
        snprintf(text, sizeof(text), "%s answered a range request with another range", so_far->where);
        return refuse(i, FETCH_BROKEN, text);
    }
    if (wrongly_empty(i, &a)) {
        snprintf(text, sizeof(text), "%s sent nothing at all as %s", so_far->where, i->digest);
        note_mismatch(i, so_far->upstream, text);
        return refuse(i, FETCH_MISMATCH, text);
    }
    if (a.total != UINT64_MAX && i->total != UINT64_MAX && a.total != i->total) {
        snprintf(text, sizeof(text), "%s says that this blob has %" PRIu64 " bytes, its manifest says %" PRIu64,
                 so_far->where, a.total, i->total);
        return refuse(i, FETCH_MISMATCH, text);
    }
    if (!a.partial && a.length == UINT64_MAX && i->total != UINT64_MAX) {
        a.length = a.total = i->total; // Chunked; the manifest says how long it is, and on_body holds it to that.
        a.last = a.total - 1;
    }
    expect(i, &a);
    snprintf(i->upstream, sizeof(i->upstream), "%s", so_far->upstream);
    return tell_head(i, &a);
}

// --- the head of an answer that takes it up ---

static bool total_fits(const struct intake *i, uint64_t total) {
    uint64_t needed = i->partial ? i->last + 1 : position(i);
    bool agree = total == UINT64_MAX || i->total == UINT64_MAX || total == i->total;
    return agree && total >= needed && i->total >= needed;
}

static bool read_rest(struct intake *i, const struct transfer_head *h, uint64_t *total) {
    uint64_t first, last;
    if (!content_range_parse(h->content_range, strlen(h->content_range), &first, &last, total) ||
        first != position(i) || !total_fits(i, *total))
        return false;
    if (h->length >= 0 && (uint64_t)h->length != last - first + 1)
        return false;
    if ((i->partial && last > i->last) || (i->total != UINT64_MAX && last >= i->total))
        return false;
    i->skip = 0;
    i->cut = false;
    i->limit = last - i->first + 1;
    return true;
}

/// All of it instead of the rest: what was taken already is skipped.
static bool read_anew(struct intake *i, const struct transfer_head *h, uint64_t *total) {
    *total = h->length < 0 ? UINT64_MAX : (uint64_t)h->length;
    if (!total_fits(i, *total))
        return false;
    i->skip = position(i);
    i->cut = i->partial && i->last + 1 != i->total;
    i->limit = i->promised;
    return true;
}

static void learn_total(struct intake *i, uint64_t total) {
    if (i->total == UINT64_MAX)
        i->total = total;
    if (!i->partial && i->promised == UINT64_MAX)
        i->promised = i->total;
    if (i->limit > i->promised)
        i->limit = i->promised;
}

static void note_upstream(struct intake *i, const char *upstream) {
    bool other = strcmp(i->upstream, upstream) != 0;
    if (i->answered && i->taken > 0 && other)
        i->mixed = true;
    snprintf(i->upstream, sizeof(i->upstream), "%s", upstream);
}

static enum transfer_flow later_head(struct intake *i, const struct transfer_head *h,
                                     const struct fetch_result *so_far) {
    char text[ERR_TEXT_MAX];
    uint64_t total = UINT64_MAX;
    bool fits = h->status == 206 ? read_rest(i, h, &total) : read_anew(i, h, &total);
    if (!fits) {
        snprintf(text, sizeof(text), "%s answered a request for the rest from byte %" PRIu64 " with another range",
                 so_far->where, position(i));
        return refuse(i, FETCH_BROKEN, text);
    }
    learn_total(i, total);
    note_upstream(i, so_far->upstream);
    atomic_fetch_add(&i->content->resumes, 1);
    if (i->answered)
        return TRANSFER_CONTINUE;
    struct intake_head a = {.so_far = so_far, .last = i->total - 1, .length = i->promised, .total = i->total};
    return tell_head(i, &a);
}

static enum transfer_flow on_head(void *ctx, const struct transfer_head *h, const struct fetch_result *so_far) {
    struct intake *i = ctx;
    pthread_mutex_lock(&i->lock);
    i->streaming = true;
    pthread_mutex_unlock(&i->lock);
    return i->answered || i->from > 0 ? later_head(i, h, so_far) : first_head(i, h, so_far);
}

// --- the body ---

static enum transfer_flow take(struct intake *i, const char *data, size_t len) {
    enum transfer_flow flow = i->callbacks.body(i->ctx, data, len);
    if (flow != TRANSFER_CONTINUE)
        return flow;
    i->taken += len;
    if (i->hasher != NULL)
        digest_hasher_add(i->hasher, data, len);
    return flow;
}

/// After TRANSFER_PAUSE the same bytes come again, so nothing is counted before they are taken.
static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct intake *i = ctx;
    size_t skipped = i->skip < len ? (size_t)i->skip : len, rest = len - skipped;
    uint64_t room = i->limit - i->taken;
    if (i->cut && rest > room)
        rest = (size_t)room;
    i->overrun = rest > room;
    if (i->overrun)
        return TRANSFER_STOP;
    enum transfer_flow flow = rest > 0 ? take(i, data + skipped, rest) : TRANSFER_CONTINUE;
    if (flow != TRANSFER_CONTINUE)
        return flow;
    i->skip -= skipped;
    i->finished = i->cut && i->taken == i->limit;
    return i->finished ? TRANSFER_STOP : TRANSFER_CONTINUE;
}

static void on_turn(void *ctx) {
    struct intake *i = ctx;
    if (i->callbacks.turn != NULL)
        i->callbacks.turn(i->ctx);
}

// --- a fetch after the other ---

/// What to ask the upstream for: nothing for all of it, and for "bytes=0-", which many clients send for all of it.
static const char *first_range(const struct intake *i, char *out, size_t size) {
    if (i->asked.kind == RANGE_SUFFIX)
        snprintf(out, size, "bytes=-%" PRIu64, i->asked.suffix);
    else if (i->asked.kind != RANGE_BYTES || (i->asked.first == 0 && i->asked.last == UINT64_MAX))
        return NULL;
    else if (i->asked.last == UINT64_MAX)
        snprintf(out, size, "bytes=%" PRIu64 "-", i->asked.first);
    else
        snprintf(out, size, "bytes=%" PRIu64 "-%" PRIu64, i->asked.first, i->asked.last);
    return out;
}

static const char *rest_range(const struct intake *i, char *out, size_t size) {
    if (i->partial)
        snprintf(out, size, "bytes=%" PRIu64 "-%" PRIu64, position(i), i->last);
    else if (i->taken == 0)
        return NULL;
    else
        snprintf(out, size, "bytes=%" PRIu64 "-", i->taken);
    return out;
}

static void on_done(void *ctx, const struct fetch_result *result);

/// With `lock`: who cancels or resumes must meet either the fetch before or this one.
static void start_fetch(struct intake *i) {
    static const struct fetch_callbacks from_fetch = {on_head, on_body, on_turn, on_done};
    char text[64];
    struct fetch_spec spec = content_spec(&i->place, FETCH_BLOB, i->digest);
    spec.head = i->head_only;
    spec.range = i->answered || i->from > 0 ? rest_range(i, text, sizeof(text)) : first_range(i, text, sizeof(text));
    i->streaming = false;
    i->fetch = fetch_start(i->content->fetcher, &spec, &from_fetch, i);
}

/// From the start of the new fetch on its thread owns the intake, and may already have ended it when this returns;
/// hence a reference of our own.
static bool take_up(struct intake *i) {
    on_turn(i); // What came before the break is not to wait for what comes after it.
    atomic_fetch_add(&i->refs, 1);
    pthread_mutex_lock(&i->lock);
    bool go_on = !i->cancelled;
    struct fetch *before = i->fetch;
    if (go_on) {
        i->attempts++;
        i->refused = false;
        start_fetch(i);
    }
    pthread_mutex_unlock(&i->lock);
    if (go_on)
        fetch_unref(before);
    intake_unref(i);
    return go_on;
}

static bool attempts_left(struct intake *i) {
    if (i->taken - i->attempts_from >= INTAKE_PROGRESS) {
        i->attempts = 0;
        i->attempts_from = i->taken;
    }
    return i->attempts < CONTENT_RESUMES_MAX;
}

/// May another attempt help?
static bool broke_off(const struct fetch_result *result) {
    switch (result->outcome) {
    case FETCH_BROKEN:
    case FETCH_TIMEOUT:
    case FETCH_UNREACHABLE:
    case FETCH_LIMITED:
        return true;
    case FETCH_STATUS:
        return result->status >= 500;
    default:
        return false;
    }
}

static bool may_take_up(struct intake *i, const struct fetch_result *result) {
    bool begun = i->answered || i->from > 0;
    return begun && !i->head_only && !i->overrun && broke_off(result) && attempts_left(i);
}

// --- the end ---

static void end_as(struct fetch_result *r, enum fetch_outcome outcome, const char *sentence) {
    r->outcome = outcome;
    err_set(&r->err, "%s", sentence);
}

/// What the fetch's end means for the blob. The front has told its client how much comes, which therefore is what has
/// to come, whatever framed the upstream's answer; and when it is there, the framing's end does not matter.
static void settle(const struct intake *i, struct fetch_result *r) {
    char text[ERR_TEXT_MAX];
    bool counted = i->answered && !i->head_only && i->promised != UINT64_MAX;
    if (i->refused) {
        end_as(r, i->refused_as, i->refused_because.text);
    } else if (i->overrun) {
        snprintf(text, sizeof(text), "%s sent more than the %" PRIu64 " bytes that this should have", r->where,
                 i->limit);
        end_as(r, FETCH_BROKEN, text);
    } else if (i->finished || (counted && i->taken == i->promised && broke_off(r))) {
        end_as(r, FETCH_OK, "");
    } else if (counted && r->outcome == FETCH_OK && i->taken != i->promised) {
        snprintf(text, sizeof(text), "%s ended its answer after %" PRIu64 " of %" PRIu64 " bytes", r->where, i->taken,
                 i->promised);
        end_as(r, FETCH_BROKEN, text);
    }
}

static bool verify(struct intake *i, const struct fetch_result *result, struct err *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (i->hasher == NULL)
        return true;
    digest_hasher_end(i->hasher, digest);
    digest_hasher_free(i->hasher);
    i->hasher = NULL;
    if (strcmp(digest, i->digest) == 0)
        return true;
    err_set(err, "%s sent content whose digest is %s, not %s", result->where, digest, i->digest);
    note_mismatch(i, result->upstream, err->text);
    return false;
}

/// Never as what the answer to the attempt says, a 404 perhaps: this blob was there.
static void name_break(const struct intake *i, struct fetch_result *r) {
    bool attempt_failed = i->attempts > 0 && (!i->streaming || i->refused);
    if (!i->answered || !attempt_failed || r->outcome == FETCH_CANCELLED)
        return;
    r->outcome = FETCH_BROKEN;
    err_prefix(&r->err, "the answer broke off after %" PRIu64 " bytes and could not be taken up: ", i->taken);
}

static void end(struct intake *i, struct fetch_result *r) {
    struct err err = r->err;
    enum intake_end how = INTAKE_COMPLETE;
    if (!i->answered && i->total != UINT64_MAX) // What the manifest says, whatever the upstream does.
        snprintf(r->content_range, sizeof(r->content_range), "bytes */%" PRIu64, i->total);
    if (r->outcome != FETCH_OK)
        how = INTAKE_FAILED;
    else if (!i->head_only && !verify(i, r, &err))
        how = INTAKE_WRONG;
    i->callbacks.end(i->ctx, how, r, &err);
}

static void on_done(void *ctx, const struct fetch_result *result) {
    struct intake *i = ctx;
    struct fetch_result r = *result;
    settle(i, &r);
    if (may_take_up(i, &r) && take_up(i))
        return;
    name_break(i, &r);
    end(i, &r);
    intake_unref(i);
}

// --- the interface ---

static uint64_t known_total(struct content *c, const struct intake_spec *spec) {
    return spec->total != UINT64_MAX ? spec->total : content_size(c, spec->place, spec->digest);
}

static void go_on_at(struct intake *i, const struct intake_spec *spec) {
    i->from = i->taken = i->attempts_from = spec->from;
    i->hasher = spec->hasher;
    i->promised = i->total;
    i->mixed = spec->place->registry->endpoint_count > 1; // Who gave what is before is not known here.
}

struct intake *intake_start(struct content *c, const struct intake_spec *spec, const struct intake_callbacks *callbacks,
                            void *ctx) {
    struct intake *i = mem_zalloc(1, sizeof(*i));
    atomic_init(&i->refs, 2);
    i->content = c;
    i->callbacks = *callbacks;
    i->ctx = ctx;
    content_place_copy(&i->place, spec->place);
    snprintf(i->digest, sizeof(i->digest), "%s", spec->digest);
    i->head_only = spec->head;
    if (spec->range != NULL && !spec->head)
        i->asked = *spec->range;
    i->total = known_total(c, spec);
    i->promised = i->limit = UINT64_MAX;
    if (spec->from > 0)
        go_on_at(i, spec);
    pthread_mutex_init(&i->lock, NULL);
    pthread_mutex_lock(&i->lock);
    start_fetch(i);
    pthread_mutex_unlock(&i->lock);
    return i;
}

void intake_cancel(struct intake *i) {
    pthread_mutex_lock(&i->lock);
    i->cancelled = true;
    fetch_cancel(i->fetch);
    pthread_mutex_unlock(&i->lock);
}

void intake_resume(struct intake *i) {
    pthread_mutex_lock(&i->lock);
    if (i->streaming) // Else the fetch that was paused has broken off; the next one asks anew.
        fetch_resume(i->fetch);
    pthread_mutex_unlock(&i->lock);
}

struct digest_hasher *intake_hash(const struct intake *i) {
    return i->hasher != NULL ? digest_hasher_copy(i->hasher) : NULL;
}

void intake_unref(struct intake *i) {
    if (i == NULL || atomic_fetch_sub(&i->refs, 1) != 1)
        return;
    fetch_unref(i->fetch);
    digest_hasher_free(i->hasher);
    pthread_mutex_destroy(&i->lock);
    content_place_deinit(&i->place);
    free(i);
}
