// SPDX-License-Identifier: Apache-2.0
//
// The answers that deny, and the table of digests that they made up.
//
// A digest made here is HMAC-SHA256 with the process's secret: nobody has content for it, nobody can predict it, and
// the same denial gives the same one. The table belongs to `struct denials` and is only touched under its lock; an
// answer is built from copies, outside of it.

#include "gateway/denial/denial.h"
#include "gateway/denial/text.h"
#include "gateway/policy/canary.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SECRET_BYTES = 32,
    HMAC_BYTES = 32,
    BODY_MAX = 64 * 1024,
    PINNED_LENGTH_LEAST = 420,
    PINNED_LENGTH_SPREAD = 1500
};

static const char manifest_type[] = "application/vnd.oci.image.manifest.v1+json";
static const char error_type[] = "application/json";

/// What a digest in the table was handed out as.
enum made_kind {
    MADE_PINNED, ///< The digest of a HEAD by tag: there is no content.
    MADE_NOTICE, ///< A denial notice's own digest.
    MADE_BLOB    ///< The blob that a notice names: there is no content.
};

/// A denial as it is told, and the moment.
struct told {
    enum denial_reason reason;
    const char *sentence, *id;
    int64_t now;
};

struct made {
    enum made_kind kind;
    char sentence[DENIAL_SENTENCE_MAX + 1];
    char id[REQUEST_ID_MAX + 1];
    size_t length; ///< MADE_PINNED: what the HEAD said.
    enum denial_reason reason;
    int64_t expires;
};

struct denials {
    uint8_t secret[SECRET_BYTES];
    pthread_mutex_t lock;
    struct lru *table; ///< made_key() -> struct made. Under `lock`.
};

struct denials *denials_new(const uint8_t secret[32]) {
    struct denials *d = mem_zalloc(1, sizeof *d);
    memcpy(d->secret, secret, sizeof d->secret);
    pthread_mutex_init(&d->lock, NULL);
    d->table = lru_new(DENIAL_TABLE_MAX, 0, free);
    return d;
}

void denials_free(struct denials *d) {
    if (!d)
        return;
    lru_free(d->table);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

// --- made digests ---

/// A digest without content for these words. Each is ended by its NUL, so that no two lists give the same bytes.
static void digest_make(const struct denials *d, const char *label, const struct route *route, const char *tag,
                        const char *sentence, char out[DIGEST_TEXT_MAX + 1]) {
    const char *const parts[] = {label, route->registry, route->repository, tag, sentence};
    struct buf b;
    buf_init(&b, BODY_MAX);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        buf_add(&b, parts[i], strlen(parts[i]) + 1);
    unsigned char mac[HMAC_BYTES] = {0};
    unsigned mac_len = 0;
    HMAC(EVP_sha256(), d->secret, sizeof d->secret, (const unsigned char *)b.data, b.len, mac, &mac_len);
    assert(mac_len == sizeof mac);
    buf_deinit(&b);

    size_t used = (size_t)snprintf(out, DIGEST_TEXT_MAX + 1, "sha256:");
    for (size_t i = 0; i < sizeof mac; i++)
        used += (size_t)snprintf(out + used, DIGEST_TEXT_MAX + 1 - used, "%02x", mac[i]);
}

/// A manifest's usual length, the same for the same made digest.
static size_t pinned_length(const char *digest) {
    unsigned long spread = strtoul((char[]){digest[7], digest[8], digest[9], digest[10], '\0'}, NULL, 16);
    return PINNED_LENGTH_LEAST + spread % PINNED_LENGTH_SPREAD;
}

// --- the table ---

static size_t made_key(const struct route *route, const char *digest, char *key, size_t size) {
    return (size_t)snprintf(key, size, "%s/%s@%s", route->registry, route->repository, digest);
}

static void made_put(struct denials *d, const struct route *route, const char *digest, enum made_kind kind,
                     const struct told *t) {
    struct made *m = mem_zalloc(1, sizeof *m);
    m->kind = kind;
    m->reason = t->reason;
    m->length = kind == MADE_PINNED ? pinned_length(digest) : 0;
    m->expires = t->now + DENIAL_TTL_SECONDS;
    snprintf(m->sentence, sizeof m->sentence, "%s", t->sentence);
    snprintf(m->id, sizeof m->id, "%s", t->id);
    char key[IMAGE_TEXT_MAX + 1];
    size_t key_len = made_key(route, digest, key, sizeof key);
    pthread_mutex_lock(&d->lock);
    lru_put(d->table, key, key_len, m, 0);
    pthread_mutex_unlock(&d->lock);
}

/// Asked for every digest that anybody wants, mostly when nothing was made.
static bool made_none(struct denials *d) {
    pthread_mutex_lock(&d->lock);
    bool none = lru_count(d->table) == 0;
    pthread_mutex_unlock(&d->lock);
    return none;
}

static bool made_get(struct denials *d, const struct route *route, int64_t now, struct made *out) {
    char key[IMAGE_TEXT_MAX + 1];
    if (made_none(d))
        return false;
    size_t key_len = made_key(route, route->digest, key, sizeof key);
    pthread_mutex_lock(&d->lock);
    const struct made *m = lru_get(d->table, key, key_len);
    bool found = m && m->expires > now;
    if (found)
        *out = *m;
    else if (m)
        lru_remove(d->table, key, key_len);
    pthread_mutex_unlock(&d->lock);
    return found;
}

// --- bodies ---

char *denial_error_body(const char *code, const char *message, size_t *len) {
    struct buf b;
    buf_init(&b, BODY_MAX);
    buf_adds(&b, "{\"errors\":[{\"code\":");
    buf_add_json(&b, code, strlen(code));
    buf_adds(&b, ",\"message\":");
    buf_add_json(&b, message, strlen(message));
    buf_adds(&b, "}]}");
    *len = b.len;
    return buf_steal(&b);
}

/// The denial notice: a valid OCI artifact manifest whose config type is the sentence. What it names is one made blob
/// of an empty descriptor's size, as config and as layer. Not the well-known digest of "{}": a client could hold that
/// one, or find it in this very repository, and would then have pulled the notice.
static void notice_make(const struct denials *d, const struct route *route, const char *sentence,
                        char blob[DIGEST_TEXT_MAX + 1], struct buf *out) {
    digest_make(d, "blob", route, "", sentence, blob);
    buf_adds(out, "{\"schemaVersion\":2,\"mediaType\":\"");
    buf_adds(out, manifest_type);
    buf_adds(out, "\",\"artifactType\":\"application/vnd.pullgate.denial.v1+json\",\"config\":{\"mediaType\":");
    buf_add_json(out, sentence, strlen(sentence));
    buf_addf(out, ",\"digest\":\"%s\",\"size\":2},\"layers\":[{\"mediaType\":\"application/vnd.oci.empty.v1+json\",",
             blob);
    buf_addf(out, "\"digest\":\"%s\",\"size\":2}]}", blob);
}

/// One printable character a '?' where a header may not hold it; quotes would be escaped by clients that print it.
static char *location_make(const char *sentence) {
    char ascii[DENIAL_SENTENCE_MAX + 1];
    size_t used = 0;
    for (size_t left = strlen(sentence); left > 0 && used < sizeof ascii - 1;) {
        size_t step = text_skip(sentence, left);
        char c = step == 1 && text_char(sentence, 1) == 1 ? *sentence : '?';
        ascii[used++] = c == '"' ? '\'' : c;
        sentence += step;
        left -= step;
    }
    ascii[used] = '\0';
    return mem_printf("https://denied.invalid/%%zz %s (no such process)", ascii);
}

// --- answers ---

void denial_answer_deinit(struct denial_answer *a) {
    free(a->location);
    free(a->body);
    memset(a, 0, sizeof *a);
}

static void answer_refusal(int status, const char *sentence, struct denial_answer *out) {
    out->status = status;
    snprintf(out->content_type, sizeof out->content_type, "%s", error_type);
    out->body = denial_error_body("DENIED", sentence, &out->body_len);
    out->content_length = out->body_len;
}

/// A 200 to HEAD for content that never comes.
static void answer_promise(const char *digest, size_t length, struct denial_answer *out) {
    out->status = 200;
    snprintf(out->content_type, sizeof out->content_type, "%s", manifest_type);
    snprintf(out->docker_content_digest, sizeof out->docker_content_digest, "%s", digest);
    out->content_length = length;
}

/// For clients that send ns=, and for containerd where it can go nowhere else. Only HEAD is promised something; GET is
/// refused with words.
static void answer_ns(struct denials *d, const struct route *route, const struct told *t, struct denial_answer *out) {
    enum { SIZE_THAT_FAILS = 2 };
    if (route->method != METHOD_HEAD) {
        answer_refusal(403, t->sentence, out);
        return;
    }
    if (route->digest[0]) {
        answer_promise(route->digest, SIZE_THAT_FAILS, out);
        return;
    }
    char digest[DIGEST_TEXT_MAX + 1];
    digest_make(d, "pinned", route, route->tag, t->sentence, digest);
    made_put(d, route, digest, MADE_PINNED, t);
    answer_promise(digest, pinned_length(digest), out);
}

/// The notice's bytes; `blob` gets the digest that it names.
static void answer_notice(const struct denials *d, const struct route *route, const char *sentence,
                          char blob[DIGEST_TEXT_MAX + 1], struct denial_answer *out) {
    struct buf b;
    buf_init(&b, BODY_MAX);
    notice_make(d, route, sentence, blob, &b);
    char digest[DIGEST_TEXT_MAX + 1];
    digest_of(DIGEST_SHA256, b.data, b.len, digest);
    answer_promise(digest, b.len, out);
    out->body_len = b.len;
    out->body = buf_steal(&b);
}

static void answer_new_notice(struct denials *d, const struct route *route, const struct told *t,
                              struct denial_answer *out) {
    char blob[DIGEST_TEXT_MAX + 1];
    answer_notice(d, route, t->sentence, blob, out);
    made_put(d, route, out->docker_content_digest, MADE_NOTICE, t);
    made_put(d, route, blob, MADE_BLOB, t);
}

static void answer_unparsable(const char *sentence, struct denial_answer *out) {
    answer_refusal(307, sentence, out);
    out->location = location_make(sentence);
}

static bool reads_manifest(const struct route *route) {
    return route->kind == ROUTE_MANIFEST && (route->method == METHOD_GET || route->method == METHOD_HEAD);
}

/// dockerd as a mirror's client: at the root, or under the path of the mirror's URL. With the registry after /v2 a
/// person named the gateway.
static bool is_docker_mirror(const struct route *route, enum client_kind client) {
    return client == CLIENT_DOCKER && (route->form == FORM_ROOT || route->form == FORM_OUTER_PREFIX);
}

void denials_answer(struct denials *d, enum denial_style style, const struct route *route, enum client_kind client,
                    enum denial_reason reason, const char *sentence, const char *id, int64_t now,
                    struct denial_answer *out) {
    char line[DENIAL_SENTENCE_MAX + 1];
    struct told told = {.reason = reason, .sentence = line, .id = id, .now = now};
    memset(out, 0, sizeof *out);
    text_copy(sentence, line, sizeof line, NULL);
    if (style == DENIALS_PLAIN || reason == REASON_UPSTREAM_AUTH || !reads_manifest(route) ||
        is_unlisted_stand_in(route->registry))
        answer_refusal(403, line, out);
    else if (route->ns_given || (route->form == FORM_NAME && client == CLIENT_CONTAINERD))
        answer_ns(d, route, &told, out);
    else if (is_docker_mirror(route, client) && route->digest[0])
        answer_unparsable(line, out);
    else if (is_docker_mirror(route, client) || (client == CLIENT_CONTAINERS_IMAGE && route->form != FORM_NAME))
        answer_new_notice(d, route, &told, out);
    else
        answer_refusal(403, line, out);
}

bool denials_again(struct denials *d, const struct route *route, int64_t now, struct denial_answer *out, char *id,
                   enum denial_reason *reason) {
    bool reads_blob = route->kind == ROUTE_BLOB && (route->method == METHOD_GET || route->method == METHOD_HEAD);
    struct made m;
    if (!route->digest[0] || !(reads_manifest(route) || reads_blob) || !made_get(d, route, now, &m))
        return false;
    memset(out, 0, sizeof *out);
    snprintf(id, REQUEST_ID_MAX + 1, "%s", m.id);
    *reason = m.reason;
    char blob[DIGEST_TEXT_MAX + 1];
    if (m.kind == MADE_NOTICE && !reads_blob)
        answer_notice(d, route, m.sentence, blob, out);
    else if (m.kind == MADE_PINNED && route->method == METHOD_HEAD && !reads_blob)
        answer_promise(route->digest, m.length, out);
    else
        answer_refusal(403, m.sentence, out);
    return true;
}
