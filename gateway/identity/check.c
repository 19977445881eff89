// SPDX-License-Identifier: Apache-2.0
//
// One check: from a credential to an answer, at once or through a thread of this room.

#include "gateway/identity/inside.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char plain[] = "these credentials are not known here, or not good any more";

// --- answers ---

void answer_bad(struct check_to to, const struct err *reason) {
    struct check_result r = {.answer = {.verdict = IDENTITY_BAD, .reason = *reason}};
    err_set(&r.answer.plain, "%s", plain);
    to.fn(to.ctx, &r);
}

void answer_slowed(struct check_to to, unsigned retry_after_s, const char *reason) {
    struct check_result r = {.answer = {.verdict = IDENTITY_SLOWED, .retry_after_s = retry_after_s}};
    err_set(&r.answer.plain, "too many logins failed, or wait: try again in %u s", retry_after_s);
    err_set(&r.answer.reason, "%s", reason);
    to.fn(to.ctx, &r);
}

void answer_known(struct check_to to, struct identity *i, int64_t ends, const char *scope, const char *from) {
    struct check_result r = {
        .answer = {.verdict = i != NULL ? IDENTITY_KNOWN : IDENTITY_NOBODY, .identity = i, .scope = scope},
        .ends = ends,
        .from = from};
    to.fn(to.ctx, &r);
}

// --- waiting ---

struct waiter *waiter_new(const char *address, const char *token, struct check_to to) {
    struct waiter *w = mem_zalloc(1, sizeof *w);
    *w = (struct waiter){.address = mem_strdup(address), .token = mem_strdup(token), .to = to};
    return w;
}

void waiter_free(struct waiter *w) {
    free(w->address);
    mem_wipe(w->token);
    free(w);
}

// --- passwords ---

static void password_digest(const struct identities *x, uint64_t generation, const struct credential *c,
                            unsigned char *out) {
    size_t user = strlen(c->user), password = strlen(c->secret),
           len = sizeof generation + sizeof user + user + password;
    unsigned char *text = mem_alloc(len), *at = text;
    memcpy(at, &generation, sizeof generation);
    memcpy(at += sizeof generation, &user, sizeof user); // So that no two pairs make one text.
    memcpy(at += sizeof user, c->user, user);
    memcpy(at + user, c->secret, password);
    unsigned out_len = DIGEST_LEN;
    HMAC(EVP_sha256(), x->digest_key, DIGEST_LEN, text, len, out, &out_len);
    OPENSSL_cleanse(text, len);
    free(text);
}

/// Under the lock. The digest is keyed, so that looking it up tells nobody how near a guess was.
static struct identity *recall(struct identities *x, const unsigned char *digest, int64_t now_ms) {
    struct remembered *r = lru_get(x->remembered, digest, DIGEST_LEN);
    return r != NULL && r->ends_ms > now_ms ? identity_ref(r->identity) : NULL;
}

enum { SLOW_QUEUE_S = 1 };

static void check_password(struct identities *x, struct credential *c, const char *address, struct check_to to) {
    struct known *k = identities_known(x);
    struct err reason = {""};
    if (k->passwords == NULL) {
        known_unref(k);
        err_set(&reason, "a password of %s, and no passwords are known here", c->user);
        return answer_bad(to, &reason);
    }
    unsigned char digest[DIGEST_LEN] = {0};
    password_digest(x, k->generation, c, digest);
    known_unref(k);
    int64_t now_ms = clock_ms(), now = now_ms / 1000;

    pthread_mutex_lock(&x->lock);
    struct identity *good = NULL;
    bool queued = false;
    unsigned wait = throttle_wait_to_recall(x->throttle, address, c->user, now);
    if (wait == 0 && (good = recall(x, digest, now_ms)) != NULL) {
        throttle_succeeded(x->throttle, address, c->user);
    } else if (wait == 0 && (wait = throttle_wait(x->throttle, address, c->user, now)) > 0) {
        // Refusing without looking would otherwise be a way to try what is remembered, for as long as one likes.
        throttle_unheard(x->throttle, address, c->user, now);
    } else if (wait == 0) {
        struct waiter *w = waiter_new(address, NULL, to);
        queued = pool_add(x, digest, c, w);
        if (!queued)
            waiter_free(w);
    }
    pthread_mutex_unlock(&x->lock);

    if (good != NULL)
        answer_known(to, good, INT64_MAX, NULL, NULL);
    else if (wait > 0)
        answer_slowed(to, wait, "too many failed logins from this address or for this name");
    else if (!queued)
        answer_slowed(to, SLOW_QUEUE_S, "too many passwords wait to be checked");
    identity_unref(good);
}

// --- tokens ---

enum token_outcome { TOKEN_GOOD, TOKEN_BAD, TOKEN_UNKNOWN_KEY };

static enum token_outcome judge_own(const struct known *k, const struct jwt *t, int64_t now, struct token_claims *out,
                                    struct err *reason) {
    if (k->keys == NULL) {
        err_set(reason, "a token of a pullgate's, and none are known here");
        return TOKEN_BAD;
    }
    return token_verify(k->keys, k->revoked, t, now, out, reason) ? TOKEN_GOOD : TOKEN_BAD;
}

static struct issuer *issuer_of(const struct known *k, const char *iss) {
    for (size_t i = 0; i < k->issuer_count; i++)
        if (strcmp(k->issuers[i]->settings.issuer, iss) == 0)
            return k->issuers[i];
    return NULL;
}

static enum token_outcome judge_foreign(struct identities *x, const struct known *k, struct issuer *from,
                                        const struct jwt *t, int64_t now, struct token_claims *out,
                                        struct err *reason) {
    pthread_mutex_lock(&x->lock);
    struct jwks *keys = jwks_ref(from->keys);
    pthread_mutex_unlock(&x->lock);
    enum token_outcome outcome = TOKEN_BAD;
    if (keys == NULL || (t->has_kid && !jwks_has(keys, t->kid))) {
        err_set(reason,
                keys == NULL ? "a token of an issuer whose keys are not to be had" : "a token with an unknown key id");
        outcome = TOKEN_UNKNOWN_KEY;
    } else if (oidc_verify(&from->settings, keys, t, now, out, reason)) {
        outcome = TOKEN_GOOD;
        if (k->revoked != NULL && token_is_revoked(k->revoked, out->id, out->name, out->issued)) {
            err_set(reason, "a revoked token of %s", out->name);
            token_claims_deinit(out);
            outcome = TOKEN_BAD;
        }
    }
    jwks_unref(keys);
    return outcome;
}

/// Under the lock. One that a reload left out is never asked again.
static bool is_configured(const struct identities *x, const struct issuer *wanted) {
    for (size_t i = 0; i < x->known->issuer_count; i++)
        if (x->known->issuers[i] == wanted)
            return true;
    return false;
}

/// Is the issuer asked, and this token judged again then?
static bool wait_for_keys(struct identities *x, struct issuer *from, const char *token, const char *address,
                          struct check_to to) {
    pthread_mutex_lock(&x->lock);
    bool waits = !x->stopping && x->waiters < WAITERS_MAX && is_configured(x, from) && issuer_may_ask(from, clock_ms());
    if (waits) {
        struct waiter *w = waiter_new(address, token, to);
        w->next = from->waiters;
        from->waiters = w;
        x->waiters++;
        pthread_cond_signal(&x->fetch_wanted);
    }
    pthread_mutex_unlock(&x->lock);
    return waits;
}

static void answer_token(const struct token_claims *c, bool own, struct check_to to) {
    struct identity *i =
        c->name[0] == '\0' ? NULL : identity_new(c->name, own ? HOW_TOKEN : HOW_OIDC, c->groups, c->group_count);
    // Of a token that was given for another the other one: revoking that ends all that came of it. An issuer's id
    // counts where it can be revoked at all.
    const char *id = own || (c->id != NULL && token_is_id(c->id)) ? c->id : NULL;
    answer_known(to, i, c->ends, c->scope, c->from != NULL ? c->from : id);
    identity_unref(i);
}

static void judge(struct identities *x, const struct known *k, const struct jwt *t, const char *address, bool may_wait,
                  struct check_to to) {
    struct token_claims claims = {0};
    struct err reason = {""};
    const char *iss = json_get_string(t->claims, "iss");
    bool own = iss != NULL && strcmp(iss, TOKEN_ISSUER) == 0;
    struct issuer *from = iss == NULL || own ? NULL : issuer_of(k, iss);
    int64_t now = time(NULL);
    enum token_outcome outcome = TOKEN_BAD;
    if (own)
        outcome = judge_own(k, t, now, &claims, &reason);
    else if (from != NULL)
        outcome = judge_foreign(x, k, from, t, now, &claims, &reason);
    else
        err_set(&reason, "a token of an issuer that is not configured");
    if (outcome == TOKEN_GOOD)
        answer_token(&claims, own, to);
    else if (outcome == TOKEN_BAD || !may_wait || !wait_for_keys(x, from, t->text, address, to))
        answer_bad(to, &reason);
    token_claims_deinit(&claims);
}

void check_token(struct identities *x, const char *token, const char *address, bool may_wait, struct check_to to) {
    struct err reason = {""};
    struct jwt t;
    if (!jwt_parse(token, strlen(token), &t, &reason))
        return answer_bad(to, &reason);
    struct known *k = identities_known(x);
    judge(x, k, &t, address, may_wait, to);
    known_unref(k);
    jwt_deinit(&t);
}

// --- any credential ---

void check_run(struct identities *x, struct credential *c, const struct err *parse_error, const char *address,
               struct check_to to) {
    switch (c->kind) {
    case CREDENTIAL_NOBODY:
        answer_known(to, NULL, INT64_MAX, NULL, NULL);
        break;
    case CREDENTIAL_BAD:
        answer_bad(to, parse_error);
        break;
    case CREDENTIAL_PASSWORD:
        check_password(x, c, address, to);
        break;
    case CREDENTIAL_TOKEN:
        check_token(x, c->secret, address, true, to);
        break;
    }
    credential_deinit(c);
}

struct plain_to {
    identity_fn fn;
    void *ctx;
};

static void pass_on(void *ctx, const struct check_result *r) {
    struct plain_to *to = ctx;
    to->fn(to->ctx, &r->answer);
    free(to);
}

void identity_check(struct identities *x, const char *authorization, size_t len, const char *address,
                    identity_fn answer, void *ctx) {
    struct credential c;
    struct err err = {""};
    struct plain_to *to = mem_zalloc(1, sizeof *to);
    *to = (struct plain_to){answer, ctx};
    credential_parse(authorization, len, &c, &err);
    check_run(x, &c, &err, address, (struct check_to){pass_on, to});
}
