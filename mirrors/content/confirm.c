// SPDX-License-Identifier: Apache-2.0
//
// Is this digest this repository's to give? What the store knows, and where that is too little or too old, a HEAD to
// the repository's own upstream. One HEAD in flight a repository and digest; a question is owned by whoever works for
// it, one thread at a time.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct question {
    struct waiter waiter; ///< First: jobs_end() hands these back.
    struct content *content;
    struct content_place place;
    enum fetch_resource resource;
    char digest[DIGEST_TEXT_MAX + 1];
    bool filling;
    struct store_facts facts;
    confirm_fn done;
    void *ctx;
};

// --- what the facts say ---

static bool fresh(const struct content_place *place, const struct store_facts *facts) {
    int64_t age = (int64_t)time(NULL) - facts->confirmed;
    return facts->confirmed > 0 && age >= 0 && age < place->terms.learned_for_s;
}

/// What may be done with what is there, once the repository is known to have it.
static enum standing standing_of(const struct store_facts *facts) {
    if (facts->piece == NULL)
        return STANDING_ABSENT;
    return facts->delivered ? STANDING_HELD : STANDING_FOREIGN;
}

static struct confirmation confirmed(const struct store_facts *facts, enum content_source source,
                                     const struct fetch_result *fetch) {
    return (struct confirmation){
        .standing = standing_of(facts),
        .piece = facts->piece,
        .confirmed = true,
        .media_type = facts->media_type,
        .source = source,
        .fetch = fetch,
    };
}

static const struct fetch_result *nothing_wrong(void) {
    static const struct fetch_result ok = {.outcome = FETCH_OK};
    return &ok;
}

static struct confirmation absent(bool known) {
    return (struct confirmation){
        .standing = STANDING_ABSENT, .confirmed = known, .media_type = "", .fetch = nothing_wrong()};
}

static struct confirmation failed(const struct fetch_result *why) {
    return (struct confirmation){.standing = STANDING_FAILED, .media_type = "", .fetch = why};
}

void content_offline(const struct content_place *place, const char *reference, struct fetch_result *out) {
    *out = (struct fetch_result){.outcome = FETCH_UNREACHABLE};
    err_set(&out->err, "%s is configured as offline, and %s/%s %s is not kept", place->name, place->name,
            place->repository, reference);
}

static struct confirmation offline(const struct content_place *place, const char *digest,
                                   const struct store_facts *facts, struct fetch_result *why) {
    if (facts->confirmed > 0 && standing_of(facts) == STANDING_HELD)
        return confirmed(facts, SOURCE_HIT, nothing_wrong());
    content_offline(place, digest, why);
    return failed(why);
}

/// What was asked about under another name: a blob of that digest may exist where no such manifest does.
static void negative_name(enum fetch_resource resource, const char *digest, char *out) {
    if (resource == FETCH_MANIFEST)
        negative_manifest(out, digest);
    else
        memcpy(out, digest, strlen(digest) + 1);
}

/// False: the upstream must be asked.
static bool decide(const struct content_place *place, const char *digest, bool filling, const struct store_facts *facts,
                   struct confirmation *out, struct fetch_result *why) {
    if (place->terms.offline)
        *out = offline(place, digest, facts, why);
    else if (fresh(place, facts))
        *out = confirmed(facts, SOURCE_HIT, nothing_wrong());
    else if (facts->piece == NULL && !filling)
        *out = absent(false);
    else
        return false;
    return true;
}

bool content_confirm_now(struct content *c, const struct content_place *place, const char *digest, bool filling,
                         struct confirm_now *out) {
    store_recall(c->store, place->name, place->repository, digest, &out->facts);
    if (!out->facts.known)
        return false;
    if (decide(place, digest, filling, &out->facts, &out->answer, &out->why))
        return true;
    piece_unref(out->facts.piece);
    return false;
}

// --- asking ---

static void answer(struct question *q, const struct confirmation *a) {
    q->done(q->ctx, a);
    piece_unref(q->facts.piece);
    content_place_deinit(&q->place);
    free(q);
}

static struct content_key key_of(const struct question *q) {
    struct content_key key;
    content_key_begin(&key, q->place.owner.object, q->place.name);
    content_key_add(&key, q->place.repository);
    content_key_add(&key, q->resource == FETCH_MANIFEST ? "confirm manifest" : "confirm blob");
    content_key_add(&key, q->digest);
    return key;
}

bool content_head_unknown(const struct fetch_result *r) {
    if (r->outcome == FETCH_STATUS)
        return (r->status >= 400 && r->status < 500) || r->status == 501;
    return r->outcome == FETCH_NOT_FOUND && r->hop_count > 0; // Many sign where they redirect to for GET alone.
}

/// What the HEAD's answer means for one who waits for it.
static struct confirmation judge_head(struct question *q, const struct fetch_result *result) {
    if (result->outcome == FETCH_OK)
        return confirmed(&q->facts, SOURCE_HIT, result);
    if (content_head_unknown(result))
        return absent(false);
    if (!content_may_be_stale(result) || q->facts.confirmed == 0)
        return failed(result);
    if (standing_of(&q->facts) == STANDING_HELD)
        atomic_fetch_add(&q->content->stale, 1);
    return confirmed(&q->facts, SOURCE_STALE, result);
}

static void note(const struct question *q, const struct fetch_result *result) {
    const struct content_place *p = &q->place;
    char reference[NEGATIVE_REFERENCE_MAX];
    if (content_head_unknown(result))
        return;
    negative_name(q->resource, q->digest, reference);
    negative_note(q->content, p, reference, result);
    if (result->outcome == FETCH_OK)
        store_note_confirmed(q->content->store, p->name, p->repository, q->digest, (int64_t)time(NULL));
    if (!content_revokes(result))
        return;
    store_note_gone(q->content->store, p->name, p->repository, q->digest);
    content_unconfirm(q->content, p, q->digest);
}

/// Held, but from another repository: what kind of manifest it is, this one's upstream has just said.
static void take_type(struct question *q, const char *content_type) {
    size_t len = strcspn(content_type, ";");
    if (q->resource != FETCH_MANIFEST || q->facts.media_type[0] != '\0' || len > MEDIA_TYPE_MAX)
        return;
    memcpy(q->facts.media_type, content_type, len);
    q->facts.media_type[len] = '\0';
}

static void answer_all(struct question *q, const struct fetch_result *result, const char *content_type) {
    struct content_key key = key_of(q);
    struct waiter *w = jobs_end(q->content->jobs, key.bytes, key.len);
    while (w != NULL) {
        struct question *one = (struct question *)w;
        w = w->next;
        take_type(one, content_type);
        struct confirmation a = judge_head(one, result);
        answer(one, &a);
    }
}

/// The answer names another digest than was asked for; one by another algorithm says nothing, and a GET does.
static void contradicted(const struct question *q, const char *said, struct fetch_result *r) {
    enum digest_algorithm asked = DIGEST_SHA256, answered = DIGEST_SHA256;
    if (r->outcome != FETCH_OK || digest_check(said, strlen(said), &answered) != DIGEST_OK ||
        strcmp(said, q->digest) == 0)
        return;
    digest_check(q->digest, strlen(q->digest), &asked);
    if (asked != answered) {
        r->outcome = FETCH_STATUS;
        r->status = 405;
    } else {
        r->outcome = FETCH_BROKEN;
    }
    err_set(&r->err, "%s was asked for %s and answered for %s", r->where, q->digest, said);
}

static void headed(void *ctx, const struct whole *w) {
    struct question *q = ctx;
    struct fetch_result result = *w->result;
    contradicted(q, w->head.digest, &result);
    note(q, &result);
    answer_all(q, &result, result.outcome == FETCH_OK ? w->head.content_type : "");
}

static void head(struct question *q) {
    struct fetch_spec spec = content_spec(&q->place, q->resource, q->digest);
    spec.head = true;
    if (q->facts.confirmed > 0 && standing_of(&q->facts) == STANDING_HELD && spec.deadline_ms > CONTENT_CONFIRM_MS)
        spec.deadline_ms = CONTENT_CONFIRM_MS;
    whole_start(q->content->fetcher, &spec, SIZE_MAX / 2, headed, q);
}

static void ask(struct question *q) {
    char reference[NEGATIVE_REFERENCE_MAX];
    struct fetch_result result;
    negative_name(q->resource, q->digest, reference);
    if (negative_recall(q->content, &q->place, reference, &result)) {
        struct confirmation a = failed(&result);
        answer(q, &a);
        return;
    }
    struct content_key key = key_of(q);
    switch (jobs_join(q->content->jobs, key.bytes, key.len, &q->waiter)) {
    case JOBS_FIRST:
        head(q);
        return;
    case JOBS_WAITS:
        return;
    case JOBS_FULL:
        break;
    }
    result = (struct fetch_result){.outcome = FETCH_TIMEOUT};
    err_set(&result.err, "too many ask %s for %s at once", q->place.name, q->digest);
    struct confirmation a = judge_head(q, &result);
    answer(q, &a);
}

// --- looking ---

static void settle(struct question *q) {
    struct confirmation a;
    struct fetch_result why;
    if (decide(&q->place, q->digest, q->filling, &q->facts, &a, &why))
        answer(q, &a);
    else
        ask(q);
}

static void look(void *ctx) {
    struct question *q = ctx;
    store_look(q->content->store, q->place.name, q->place.repository, q->digest, &q->facts);
    settle(q);
}

void content_confirm(struct content *c, const struct content_place *place, enum fetch_resource resource,
                     const char *digest, bool filling, confirm_fn done, void *ctx) {
    struct question *q = mem_zalloc(1, sizeof(*q));
    q->content = c;
    content_place_copy(&q->place, place);
    q->resource = resource;
    memcpy(q->digest, digest, strlen(digest) + 1);
    q->filling = filling;
    q->done = done;
    q->ctx = ctx;
    store_recall(c->store, place->name, place->repository, digest, &q->facts);
    if (q->facts.known || !store_work(c->store, look, q))
        settle(q); // Where the store takes no work it is as if it had nothing.
}
