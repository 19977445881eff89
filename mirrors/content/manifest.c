// SPDX-License-Identifier: Apache-2.0
//
// Reading one manifest. What memory has is answered at once, on the caller's thread; else a job asks the store and the
// upstream, by HEAD before GET, and answers everyone who asked for the same meanwhile. A job runs on one thread after
// the other (the caller's, workers of the store, fetch threads), never on two, so it needs no lock.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/// One who asked.
struct asker {
    struct waiter waiter; ///< First: jobs_end() hands these back.
    manifest_fn answer;
    void *ctx;
};

struct asking {
    struct content *content;
    struct content_place place;
    struct content_key key;
    bool alone;                          ///< Too many wait for the same already: answers only `first`.
    struct asker *first;                 ///< Who began it; freed with the others.
    char *tag;                           ///< NULL: asked by digest.
    char digest[DIGEST_TEXT_MAX + 1];    ///< Asked for, or what the tag leads to; "" unknown.
    char media_type[MEDIA_TYPE_MAX + 1]; ///< As the upstream or the store said; "" unknown.
    bool error_body;
    int64_t deadline_ms;
    bool tag_known;
    struct store_tag known;     ///< What the store says of the tag.
    bool of_tag;                ///< The last request was for the tag, not for the digest.
    bool confirmed;             ///< The upstream has just said that the tag leads to `digest`.
    bool kept_only;             ///< The upstream is not to be asked (any more): what is kept, or nothing.
    struct fetch_result *stale; ///< Why it is not: the answer is stale; NULL: it is not.
    struct piece *piece;        ///< To be read, or NULL.
};

static const struct fetch_result from_memory = {.outcome = FETCH_OK};

// --- the end ---

static void learn(struct content *c, const struct content_place *place, const char *tag, const struct manifest *m) {
    if (m->verdict != DOCUMENT_OK)
        return;
    links_document(c->links, place->name, place->repository, m->digest, &m->document);
    if (tag != NULL)
        links_tag(c->links, place->name, place->repository, tag, m->digest);
}

static void asking_free(struct asking *j) {
    content_place_deinit(&j->place);
    piece_unref(j->piece);
    free(j->stale);
    free(j->tag);
    free(j);
}

static struct asker *take_askers(struct asking *j) {
    if (j->alone)
        return j->first;
    return (struct asker *)jobs_end(j->content->jobs, j->key.bytes, j->key.len);
}

/// The manifest's reference is given back.
static void finish(struct asking *j, struct manifest *m, const struct fetch_result *result,
                   enum content_source source) {
    struct manifest_answer a = {.manifest = m, .fetch = result, .source = m != NULL ? source : SOURCE_NONE};
    if (m != NULL)
        learn(j->content, &j->place, j->tag, m);
    if (m != NULL && source == SOURCE_STALE && j->tag != NULL) // By digest it was counted when it was confirmed.
        atomic_fetch_add(&j->content->stale, 1);
    for (struct asker *one = take_askers(j); one != NULL;) {
        struct asker *next = (struct asker *)one->waiter.next;
        one->answer(one->ctx, &a);
        free(one);
        one = next;
        if (a.source == SOURCE_MISS)
            a.source = SOURCE_FOLLOW;
    }
    manifest_unref(m);
    asking_free(j);
}

static void finish_without(struct asking *j, const struct fetch_result *why) {
    finish(j, NULL, why, SOURCE_NONE);
}

// --- notes ---

static int64_t now_s(void) {
    return (int64_t)time(NULL);
}

static const char *reference_of(const struct asking *j) {
    return j->tag != NULL ? j->tag : j->digest;
}

static void note_negative(struct asking *j, const struct fetch_result *result) {
    char reference[NEGATIVE_REFERENCE_MAX];
    negative_manifest(reference, j->of_tag ? j->tag : j->digest);
    negative_note(j->content, &j->place, reference, result);
}

static void note_gone(struct asking *j, const struct fetch_result *result) {
    const struct content_place *p = &j->place;
    note_negative(j, result);
    if (!j->of_tag)
        content_unconfirm(j->content, p, j->digest);
    if (j->content->store == NULL)
        return;
    if (j->of_tag)
        store_note_tag_gone(j->content->store, p->name, p->repository, j->tag);
    else
        store_note_gone(j->content->store, p->name, p->repository, j->digest);
}

/// The upstream has just answered 200 for `digest`, or for the tag that leads to it.
static void note_there(struct asking *j, const char *digest) {
    note_negative(j, &from_memory);
    if (j->content->store != NULL)
        store_note_confirmed(j->content->store, j->place.name, j->place.repository, digest, now_s());
}

/// The tag leads to this manifest now. Only noted when that is at hand: until then the one before is what can be served
/// if the upstream fails.
static void note_tag(struct asking *j, const char *digest) {
    if (j->content->store == NULL)
        return;
    struct store_tag t = {.confirmed = now_s()};
    snprintf(t.digest, sizeof(t.digest), "%s", digest);
    memcpy(t.media_type, j->media_type, sizeof(t.media_type));
    store_note_tag(j->content->store, j->place.name, j->place.repository, j->tag, &t);
}

/// From the store or memory.
static void finish_kept(struct asking *j, struct manifest *m, const struct fetch_result *result) {
    manifest_used(j->content, &j->place, m);
    if (j->confirmed)
        note_tag(j, m->digest);
    if (j->stale != NULL)
        finish(j, m, j->stale, SOURCE_STALE);
    else
        finish(j, m, result, SOURCE_HIT);
}

static void take_type(struct asking *j, const char *content_type) {
    size_t len = strcspn(content_type, ";");
    if (len > MEDIA_TYPE_MAX)
        len = 0;
    memcpy(j->media_type, content_type, len);
    j->media_type[len] = '\0';
}

// --- GET ---

static void kept(struct asking *j, const struct fetch_result *result);
static void head_tag(struct asking *j);

static bool time_left(struct asking *j) {
    int64_t left = j->deadline_ms - clock_ms();
    j->place.deadline_ms = left > 1 ? (unsigned)left : 1;
    return left > 0;
}

static void mark_stale(struct asking *j, const struct fetch_result *why) {
    j->stale = mem_alloc(sizeof(*j->stale));
    *j->stale = *why;
}

/// The tag leads to what the store says.
static void take_known(struct asking *j) {
    memcpy(j->digest, j->known.digest, sizeof(j->digest));
    memcpy(j->media_type, j->known.media_type, sizeof(j->media_type));
    j->confirmed = false;
}

/// The digest that the tag led to within its time to live is neither here nor there any more: the tag may have moved.
static bool moved(struct asking *j, const struct fetch_result *result) {
    return result->outcome == FETCH_NOT_FOUND && j->tag != NULL && !j->of_tag && !j->confirmed && time_left(j);
}

/// May what the tag led to last be served where the upstream fails?
static bool stale_allowed(const struct asking *j) {
    const struct content_terms *t = &j->place.terms;
    if (!j->tag_known || j->kept_only)
        return false;
    return t->stale_for_s < 0 || now_s() < j->known.confirmed + (int64_t)t->tag_ttl_s + t->stale_for_s;
}

/// The upstream's last word is not the manifest.
static void failed(struct asking *j, const struct fetch_result *result) {
    if (content_revokes(result))
        note_gone(j, result);
    if (moved(j, result)) {
        head_tag(j);
        return;
    }
    if (!stale_allowed(j) || !content_may_be_stale(result)) {
        finish_without(j, result);
        return;
    }
    j->kept_only = true;
    mark_stale(j, result);
    take_known(j);
    kept(j, j->stale);
}

static void got_good(struct asking *j, struct manifest *m) {
    atomic_store(&m->confirmed_ms, (long long)clock_ms());
    content_remember(j->content, &j->place, m);
    note_there(j, m->digest);
    if (j->of_tag || j->confirmed)
        note_tag(j, m->digest);
    if (j->content->store != NULL && m->verdict == DOCUMENT_OK)
        manifest_keep(j->content, &j->place, m);
}

static void got(void *ctx, const struct whole *w) {
    struct asking *j = ctx;
    if (w->body.overflow) {
        finish(j, manifest_too_large(j->digest, w->result->where), w->result, SOURCE_MISS);
        return;
    }
    if (w->result->outcome != FETCH_OK) {
        failed(j, w->result);
        return;
    }
    struct judging judging = {
        .data = w->body.data != NULL ? w->body.data : "",
        .len = w->body.len,
        .content_type = w->head.content_type,
        .expected = j->digest[0] != '\0' ? j->digest : w->head.digest,
        .where = w->result->where,
    };
    struct manifest *m = manifest_judge(&j->place, &judging);
    take_type(j, w->head.content_type);
    if (m->verdict == DOCUMENT_DIGEST) {
        atomic_fetch_add(&j->content->mismatches, 1);
        fetch_mismatched(j->content->fetcher, j->place.name, w->result->upstream, judging.expected, m->err.text);
    } else {
        got_good(j, m);
    }
    finish(j, m, w->result, SOURCE_MISS);
}

static void get(struct asking *j, const char *reference) {
    time_left(j); // Where there is none the fetch says so.
    j->of_tag = reference == j->tag;
    struct fetch_spec spec = content_spec(&j->place, FETCH_MANIFEST, reference);
    whole_start(j->content->fetcher, &spec, DOCUMENT_SIZE_MAX, got, j);
}

// --- what is kept ---

/// It is not there (any more).
static void not_kept(struct asking *j) {
    struct fetch_result why;
    if (!j->kept_only) {
        get(j, j->digest);
    } else if (j->stale != NULL) {
        finish_without(j, j->stale);
    } else {
        content_offline(&j->place, reference_of(j), &why);
        finish_without(j, &why);
    }
}

static void read_piece(void *ctx) {
    struct asking *j = ctx;
    struct manifest *m = manifest_of_piece(j->content, &j->place, j->piece, j->media_type);
    if (m != NULL)
        finish_kept(j, m, &from_memory);
    else
        not_kept(j); // Altered behind our back, or unreadable: a GET replaces it.
}

/// May the piece be given through this repository?
static void with_facts(struct asking *j, const struct store_facts *facts, bool on_worker) {
    bool ours = facts->piece != NULL && facts->delivered && (facts->confirmed > 0 || j->confirmed);
    if (!ours) {
        piece_unref(facts->piece);
        not_kept(j);
        return;
    }
    j->piece = facts->piece;
    if (facts->media_type[0] != '\0')
        memcpy(j->media_type, facts->media_type, sizeof(j->media_type));
    if (on_worker || piece_bytes(j->piece) != NULL)
        read_piece(j);
    else if (!store_work(j->content->store, read_piece, j))
        not_kept(j);
}

static void look(void *ctx) {
    struct asking *j = ctx;
    struct store_facts facts;
    store_look(j->content->store, j->place.name, j->place.repository, j->digest, &facts);
    with_facts(j, &facts, true);
}

/// Has this repository's upstream taken back, since, that it has it?
static bool is_revoked(const struct asking *j) {
    struct store_facts facts;
    if (j->confirmed || j->content->store == NULL)
        return false;
    store_recall(j->content->store, j->place.name, j->place.repository, j->digest, &facts);
    piece_unref(facts.piece);
    return facts.known && facts.confirmed == 0;
}

/// The tag's manifest from memory or the store; else from the upstream, if that may be asked.
static void kept(struct asking *j, const struct fetch_result *result) {
    struct content *c = j->content;
    struct manifest *m = content_recall(c, &j->place, j->digest);
    if (m != NULL && m->verdict == DOCUMENT_OK && is_revoked(j)) {
        manifest_unref(m);
        m = NULL;
    }
    if (m != NULL) {
        if (j->confirmed) // The tag's HEAD has just said so for this repository.
            atomic_store(&m->confirmed_ms, (long long)clock_ms());
        finish_kept(j, m, result);
        return;
    }
    if (c->store == NULL) {
        not_kept(j);
        return;
    }
    struct store_facts facts;
    store_recall(c->store, j->place.name, j->place.repository, j->digest, &facts);
    if (facts.known)
        with_facts(j, &facts, false);
    else if (!store_work(c->store, look, j))
        not_kept(j);
}

// --- HEAD of a tag ---

/// Only a GET has an error body to show.
static bool worth_a_get(const struct asking *j, const struct fetch_result *r) {
    if (content_head_unknown(r))
        return true;
    return j->error_body &&
           (r->outcome == FETCH_NOT_FOUND || r->outcome == FETCH_REFUSED || r->outcome == FETCH_CREDENTIAL);
}

static void headed(void *ctx, const struct whole *w) {
    struct asking *j = ctx;
    enum digest_algorithm algorithm;
    bool ok = w->result->outcome == FETCH_OK;
    bool left = time_left(j);
    if (w->body.overflow) {
        finish(j, manifest_too_large(j->digest, w->result->where), w->result, SOURCE_MISS);
        return;
    }
    if (ok && digest_check(w->head.digest, strlen(w->head.digest), &algorithm) == DIGEST_OK) {
        memcpy(j->digest, w->head.digest, sizeof(j->digest));
        take_type(j, w->head.content_type);
        j->confirmed = true;
        note_there(j, j->digest);
        kept(j, w->result);
    } else if (left && (ok || worth_a_get(j, w->result))) {
        get(j, j->tag);
    } else {
        failed(j, w->result);
    }
}

static void head_tag(struct asking *j) {
    time_left(j);
    j->of_tag = true;
    j->digest[0] = '\0';
    struct fetch_spec spec = content_spec(&j->place, FETCH_MANIFEST, j->tag);
    spec.head = true;
    if (stale_allowed(j) && spec.deadline_ms > CONTENT_CONFIRM_MS)
        spec.deadline_ms = CONTENT_CONFIRM_MS;
    whole_start(j->content->fetcher, &spec, DOCUMENT_SIZE_MAX, headed, j);
}

static bool tag_holds(const struct content_place *place, const struct store_tag *t) {
    int64_t age = now_s() - t->confirmed;
    return place->terms.offline || (age >= 0 && age < (int64_t)place->terms.tag_ttl_s);
}

static void with_tag(struct asking *j) {
    j->kept_only = j->place.terms.offline;
    if (j->tag_known && tag_holds(&j->place, &j->known)) {
        take_known(j);
        kept(j, &from_memory);
    } else if (j->kept_only) {
        not_kept(j);
    } else {
        head_tag(j);
    }
}

static void look_tag(void *ctx) {
    struct asking *j = ctx;
    j->tag_known = store_look_tag(j->content->store, j->place.name, j->place.repository, j->tag, &j->known);
    with_tag(j);
}

static void by_tag(struct asking *j) {
    struct store *s = j->content->store;
    int known = s != NULL ? store_recall_tag(s, j->place.name, j->place.repository, j->tag, &j->known) : 0;
    if (known < 0 && store_work(s, look_tag, j))
        return;
    j->tag_known = known > 0;
    with_tag(j);
}

// --- by digest ---

static void held(struct asking *j, const struct confirmation *a) {
    struct manifest *m = content_recall(j->content, &j->place, j->digest);
    if (a->source == SOURCE_STALE)
        mark_stale(j, a->fetch);
    if (m != NULL) {
        finish_kept(j, m, &from_memory);
        return;
    }
    j->piece = piece_ref(a->piece);
    if (a->media_type[0] != '\0')
        snprintf(j->media_type, sizeof(j->media_type), "%s", a->media_type);
    if (piece_bytes(j->piece) != NULL)
        read_piece(j);
    else if (!store_work(j->content->store, read_piece, j))
        not_kept(j);
}

static void confirmed(void *ctx, const struct confirmation *a) {
    struct asking *j = ctx;
    switch (a->standing) {
    case STANDING_HELD:
        held(j, a);
        return;
    case STANDING_FOREIGN:
    case STANDING_ABSENT:
        get(j, j->digest);
        return;
    case STANDING_FAILED:
        if (!j->kept_only && time_left(j) && worth_a_get(j, a->fetch))
            get(j, j->digest);
        else
            finish_without(j, a->fetch);
    }
}

static void by_digest(struct asking *j) {
    j->kept_only = j->place.terms.offline;
    if (j->content->store != NULL)
        content_confirm(j->content, &j->place, FETCH_MANIFEST, j->digest, false, confirmed, j);
    else if (!j->kept_only)
        get(j, j->digest);
    else
        not_kept(j);
}

// --- what memory has, on the caller's thread and without a job ---

struct ask {
    const char *tag, *digest;
    manifest_fn answer;
    void *ctx;
};

/// The manifest's reference is given back.
static void answer_now(struct content *c, const struct content_place *place, const struct ask *ask, struct manifest *m,
                       const struct fetch_result *result) {
    struct manifest_answer a = {.manifest = m, .fetch = result, .source = SOURCE_HIT};
    learn(c, place, ask->tag, m);
    manifest_used(c, place, m);
    ask->answer(ask->ctx, &a);
    manifest_unref(m);
}

/// In memory, judged or to be judged; NULL: it is not.
static struct manifest *in_memory(struct content *c, const struct content_place *place, const char *digest,
                                  const struct store_facts *facts, const char *media_type) {
    struct manifest *m = content_recall(c, place, digest);
    if (m != NULL || facts == NULL || facts->piece == NULL || piece_bytes(facts->piece) == NULL)
        return m;
    return manifest_of_piece(c, place, facts->piece, facts->media_type[0] != '\0' ? facts->media_type : media_type);
}

static bool tag_now(struct content *c, const struct content_place *place, const struct ask *ask) {
    struct store_tag t;
    if (c->store == NULL || store_recall_tag(c->store, place->name, place->repository, ask->tag, &t) <= 0 ||
        !tag_holds(place, &t))
        return false;
    struct manifest *m = in_memory(c, place, t.digest, NULL, "");
    if (m != NULL)
        answer_now(c, place, ask, m, &from_memory);
    return m != NULL;
}

/// Asked of the upstream a moment ago: needs no store, and holds for what is refused and therefore never kept.
static struct manifest *just_confirmed(struct content *c, const struct content_place *place, const char *digest) {
    struct manifest *m = content_recall(c, place, digest);
    long long at = m != NULL ? atomic_load(&m->confirmed_ms) : 0;
    int64_t holds_s = CONTENT_CONFIRMED_S;
    if (c->store != NULL && place->terms.learned_for_s < holds_s)
        holds_s = place->terms.learned_for_s;
    if (at != 0 && clock_ms() - at < holds_s * 1000)
        return m;
    manifest_unref(m);
    return NULL;
}

static struct manifest *held_now(struct content *c, const struct content_place *place, const char *digest) {
    struct confirm_now now;
    if (!content_confirm_now(c, place, digest, false, &now))
        return NULL;
    bool held = now.answer.standing == STANDING_HELD;
    struct manifest *m = held ? in_memory(c, place, digest, &now.facts, "") : NULL;
    piece_unref(now.facts.piece);
    return m;
}

static bool digest_now(struct content *c, const struct content_place *place, const struct ask *ask) {
    struct manifest *m = c->store != NULL ? held_now(c, place, ask->digest) : NULL;
    if (m == NULL)
        m = just_confirmed(c, place, ask->digest);
    if (m != NULL)
        answer_now(c, place, ask, m, &from_memory);
    return m != NULL;
}

static bool gone_now(struct content *c, const struct content_place *place, const struct ask *ask) {
    char reference[NEGATIVE_REFERENCE_MAX];
    struct fetch_result result;
    negative_manifest(reference, ask->tag != NULL ? ask->tag : ask->digest);
    if (place->terms.offline || !negative_recall(c, place, reference, &result))
        return false;
    struct manifest_answer a = {.fetch = &result, .source = SOURCE_NONE};
    ask->answer(ask->ctx, &a);
    return true;
}

// --- starting ---

/// Those who may share an answer: the same for the same configuration, in the same mode.
static struct content_key key_of(const struct content_place *place, const struct ask *ask, bool error_body) {
    struct content_key key;
    content_key_begin(&key, place->owner.object, place->name);
    content_key_add(&key, place->repository);
    content_key_add(&key, place->monitor ? "manifest, monitored" : "manifest");
    content_key_add(&key, error_body ? "by GET" : "by HEAD");
    content_key_add(&key, ask->tag != NULL ? ask->tag : ask->digest);
    return key;
}

static struct asking *asking_new(struct content *c, const struct content_place *place, const struct ask *ask) {
    struct asking *j = mem_zalloc(1, sizeof(*j));
    j->content = c;
    content_place_copy(&j->place, place);
    j->deadline_ms = clock_ms() + (int64_t)place->deadline_ms;
    j->tag = mem_strdup(ask->tag);
    if (ask->tag == NULL)
        memcpy(j->digest, ask->digest, strlen(ask->digest) + 1);
    return j;
}

static void start(struct content *c, const struct content_place *place, const struct ask *ask, bool error_body) {
    struct content_key key = key_of(place, ask, error_body);
    struct asker *one = mem_zalloc(1, sizeof(*one));
    one->answer = ask->answer;
    one->ctx = ask->ctx;
    enum jobs_joined joined = jobs_join(c->jobs, key.bytes, key.len, &one->waiter);
    if (joined == JOBS_WAITS)
        return;
    struct asking *j = asking_new(c, place, ask);
    j->key = key;
    j->alone = joined == JOBS_FULL;
    j->first = one;
    j->error_body = error_body;
    if (j->tag != NULL)
        by_tag(j);
    else
        by_digest(j);
}

void content_manifest(struct content *c, const struct content_place *place, const char *tag, const char *digest,
                      bool error_body, manifest_fn answer, void *ctx) {
    struct ask ask = {.tag = digest == NULL ? tag : NULL, .digest = digest, .answer = answer, .ctx = ctx};
    bool answered = digest != NULL ? digest_now(c, place, &ask) : tag_now(c, place, &ask);
    if (!answered && !gone_now(c, place, &ask))
        start(c, place, &ask, error_body);
}
