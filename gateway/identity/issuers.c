// SPDX-License-Identifier: Apache-2.0
//
// Issuers' keys: from a file, or fetched on a thread of this room.
//
// A remote issuer is asked at the start, every hour, and when a token names a key id that is not known; never twice
// within JWKS_FLOOR_S, whatever tokens say. While it cannot be reached its last keys stay.

#include "gateway/identity/inside.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/proxy.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static const char system_trust_dir[] = "/etc/ssl/certs";

// --- one issuer ---

struct jwks *issuer_read_file(const struct issuer *i, struct err *err) {
    size_t len = 0;
    char *text = file_read(i->settings.jwks, JWKS_BYTES_MAX, false, &len, err);
    struct jwks *keys = text == NULL ? NULL : jwks_parse(text, len, err);
    if (text != NULL && keys == NULL)
        err_prefix(err, "%s: ", i->settings.jwks);
    free(text);
    return keys;
}

struct issuer *issuer_new(const struct oidc_settings *s, struct err *err) {
    struct issuer *i = mem_zalloc(1, sizeof *i);
    atomic_init(&i->refs, 1);
    i->settings = (struct oidc_settings){.issuer = mem_strdup(s->issuer),
                                         .audience = mem_strdup(s->audience),
                                         .jwks = mem_strdup(s->jwks),
                                         .ca = mem_strdup(s->ca),
                                         .name_claim = mem_strdup(s->name_claim != NULL ? s->name_claim : "sub"),
                                         .groups_claim = mem_strdup(s->groups_claim),
                                         .proxy = mem_strdup(s->proxy),
                                         .no_proxy = mem_strdup(s->no_proxy)};
    i->remote = strncmp(s->jwks, "https://", 8) == 0;
    i->tried_ms = i->next_ms = INT64_MIN;
    bool ok = true;
    if (strcmp(s->issuer, TOKEN_ISSUER) == 0)
        ok =
            err_set(err, "an issuer cannot be called \"%s\": that is what this gateway's own tokens say", TOKEN_ISSUER);
    else if (!i->remote && s->jwks[0] != '/')
        ok = err_set(err, "%s: keys come from a file or an https URL", s->jwks);
    if (ok && !i->remote) {
        i->print = file_print_of(s->jwks);
        ok = (i->keys = issuer_read_file(i, err)) != NULL;
    }
    if (ok)
        return i;
    issuer_unref(i);
    return NULL;
}

struct issuer *issuer_ref(struct issuer *i) {
    atomic_fetch_add(&i->refs, 1);
    return i;
}

void issuer_unref(struct issuer *i) {
    if (i == NULL || atomic_fetch_sub(&i->refs, 1) != 1)
        return;
    free((char *)i->settings.issuer);
    free((char *)i->settings.audience);
    free((char *)i->settings.jwks);
    free((char *)i->settings.ca);
    free((char *)i->settings.name_claim);
    free((char *)i->settings.groups_claim);
    free((char *)i->settings.proxy);
    free((char *)i->settings.no_proxy);
    jwks_unref(i->keys);
    free(i);
}

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool issuer_same(const struct issuer *i, const struct oidc_settings *s) {
    return same_text(i->settings.issuer, s->issuer) && same_text(i->settings.audience, s->audience) &&
           same_text(i->settings.jwks, s->jwks) && same_text(i->settings.ca, s->ca) &&
           same_text(i->settings.name_claim, s->name_claim != NULL ? s->name_claim : "sub") &&
           same_text(i->settings.groups_claim, s->groups_claim) && same_text(i->settings.proxy, s->proxy) &&
           same_text(i->settings.no_proxy, s->no_proxy);
}

bool issuer_may_ask(struct issuer *i, int64_t now_ms) {
    if (!i->remote)
        return false;
    if (i->fetching || i->wanted)
        return true;
    if (i->tried_ms != INT64_MIN && now_ms - i->tried_ms < JWKS_FLOOR_S * 1000)
        return false;
    i->wanted = true;
    return true;
}

// --- fetching ---

static size_t receive(char *data, size_t size, size_t count, void *ctx) {
    return buf_add(ctx, data, size * count) ? size * count : 0;
}

static int go_on(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    struct identities *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool stopping = x->stopping;
    pthread_mutex_unlock(&x->lock);
    return stopping;
}

/// The configuration's proxy, decided as for registries.
static const char *proxy_for(const struct oidc_settings *s) {
    struct hostport at;
    const char *host = s->jwks + strlen("https://");
    bool ok = s->proxy != NULL && hostport_parse(host, strcspn(host, "/?#"), &at, NULL);
    return ok && proxy_applies(s->no_proxy, at.host) ? s->proxy : "";
}

static void set_options(CURL *e, struct identities *x, const struct issuer *i, struct buf *body, char *error) {
    curl_easy_setopt(e, CURLOPT_URL, i->settings.jwks);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, proxy_for(&i->settings)); // "": none, the environment's neither.
    curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)JWKS_TIMEOUT_S);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "pullgate/" PULLGATE_VERSION);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, go_on);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, x);
    if (i->settings.ca != NULL) {
        curl_easy_setopt(e, CURLOPT_CAINFO, i->settings.ca);
        curl_easy_setopt(e, CURLOPT_CAPATH, system_trust_dir);
    }
}

static struct jwks *fetch(struct identities *x, const struct issuer *i, struct err *err) {
    char error[CURL_ERROR_SIZE] = "";
    struct buf body;
    struct jwks *keys = NULL;
    long status = 0;
    CURL *e = curl_easy_init();
    if (e == NULL) {
        err_set(err, "libcurl cannot be used");
        return NULL;
    }
    buf_init(&body, JWKS_BYTES_MAX);
    set_options(e, x, i, &body, error);
    CURLcode code = curl_easy_perform(e);
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        err_set(err, "%s", error[0] != '\0' ? error : curl_easy_strerror(code));
    else if (status != 200)
        err_set(err, "the answer is %ld, not 200", status);
    else
        keys = jwks_parse(body.data != NULL ? body.data : "", body.len, err);
    curl_easy_cleanup(e);
    buf_deinit(&body);
    return keys;
}

static struct issuer *due(struct identities *x, int64_t now_ms, int64_t *next_ms) {
    for (size_t n = 0; n < x->known->issuer_count; n++) {
        struct issuer *i = x->known->issuers[n];
        if (!i->remote)
            continue;
        if (i->wanted || i->next_ms <= now_ms)
            return i;
        if (i->next_ms < *next_ms)
            *next_ms = i->next_ms;
    }
    return NULL;
}

/// Under the lock. NULL: the end.
static struct issuer *next_issuer(struct identities *x) {
    while (!x->stopping) {
        int64_t now_ms = clock_ms(), next_ms = now_ms + JWKS_REFRESH_S * 1000;
        struct issuer *i = due(x, now_ms, &next_ms);
        if (i != NULL)
            return i;
        struct timespec until = {next_ms / 1000, next_ms % 1000 * 1000000};
        pthread_cond_timedwait(&x->fetch_wanted, &x->lock, &until);
    }
    return NULL;
}

static void say(struct identities *x, const struct issuer *i, bool was_failing, const struct jwks *keys,
                struct err *err) {
    if (keys != NULL && was_failing)
        err_set(err, "issuer %s: its keys are to be had again", i->settings.issuer);
    else if (keys == NULL && !was_failing)
        err_prefix(err, "issuer %s: its keys cannot be fetched, the last ones stay: ", i->settings.issuer);
    else
        return;
    identities_say(x, err->text);
}

/// Called and returns with the lock held.
static void refresh(struct identities *x, struct issuer *i) {
    struct err err = {""};
    i->fetching = true;
    i->wanted = false;
    i->tried_ms = clock_ms();
    pthread_mutex_unlock(&x->lock);
    struct jwks *keys = fetch(x, i, &err);
    pthread_mutex_lock(&x->lock);
    bool was_failing = i->failing;
    struct jwks *old = keys != NULL ? i->keys : NULL;
    if (keys != NULL)
        i->keys = keys;
    i->fetching = false;
    i->failing = keys == NULL;
    i->next_ms = clock_ms() + (keys != NULL ? JWKS_REFRESH_S : JWKS_RETRY_S) * 1000;
    struct waiter *list = i->waiters;
    i->waiters = NULL;
    bool stopping = x->stopping;
    pthread_mutex_unlock(&x->lock);
    jwks_unref(old);
    if (!stopping)
        say(x, i, was_failing, keys, &err);
    issuers_answer(x, list);
    pthread_mutex_lock(&x->lock);
}

void issuers_answer(struct identities *x, struct waiter *list) {
    for (struct waiter *w = list, *next; w != NULL; w = next) {
        next = w->next;
        pthread_mutex_lock(&x->lock);
        x->waiters--;
        pthread_mutex_unlock(&x->lock);
        check_token(x, w->token, w->address, false, w->to);
        waiter_free(w);
    }
}

void *issuers_main(void *identities) {
    struct identities *x = identities;
    pthread_mutex_lock(&x->lock);
    for (struct issuer *i; (i = next_issuer(x)) != NULL;) {
        issuer_ref(i);
        refresh(x, i);
        pthread_mutex_unlock(&x->lock);
        issuer_unref(i);
        pthread_mutex_lock(&x->lock);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}
