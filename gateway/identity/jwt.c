// SPDX-License-Identifier: Apache-2.0
//
// Reading and comparing what a token says; jws.c has the signatures.

#include "gateway/identity/jwt.h"

#include "gateway/identity/base64.h"
#include "gateway/identity/credential.h"
#include "gateway/identity/identity.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static const double time_max = 9007199254740992.0; // 2^53

// --- reading ---

static struct json *decode_object(const char *part, size_t len, const char *what, struct err *err) {
    size_t decoded_len = 0, room = base64_room(len) + 1;
    char *decoded = mem_alloc(room);
    struct json *root = NULL;
    struct err why = {""};
    if (!base64_decode(BASE64_URL, part, len, decoded, &decoded_len))
        err_set(&why, "not base64url");
    else if ((root = json_parse(decoded, decoded_len, JSON_STRICT, &why)) != NULL && root->type != JSON_OBJECT) {
        json_free(root);
        root = NULL;
        err_set(&why, "not an object");
    }
    OPENSSL_cleanse(decoded, room);
    free(decoded);
    if (root == NULL)
        err_set(err, "a token whose %s cannot be read: %s", what, why.text);
    return root;
}

static bool is_refused_alg(const char *alg) {
    return strcasecmp(alg, "none") == 0 || strncasecmp(alg, "HS", 2) == 0;
}

static bool read_header(const struct json *header, struct jwt *out, struct err *err) {
    static const char *const refused[] = {"crit", "jku", "x5u", "jwk", "zip", "b64"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (json_get(header, refused[i]) != NULL)
            return err_set(err, "a token with \"%s\" in its header", refused[i]);
    const struct json *alg = json_get(header, "alg"), *kid = json_get(header, "kid"), *typ = json_get(header, "typ");
    if (alg == NULL || alg->type != JSON_STRING || alg->string_len > JWK_ALG_MAX)
        return err_set(err, "a token without an algorithm");
    if (is_refused_alg(alg->string))
        return err_set(err, "a token with the algorithm %s, which is never taken", alg->string);
    if (kid != NULL && (kid->type != JSON_STRING || kid->string_len > KID_MAX))
        return err_set(err, "a token whose key id is no text that fits");
    if (typ != NULL && typ->type != JSON_STRING)
        return err_set(err, "a token whose \"typ\" is no text");
    memcpy(out->alg, alg->string, alg->string_len + 1);
    out->has_kid = kid != NULL;
    if (kid != NULL)
        memcpy(out->kid, kid->string, kid->string_len + 1);
    return true;
}

bool jwt_parse(const char *text, size_t len, struct jwt *out, struct err *err) {
    *out = (struct jwt){0};
    if (len > JWT_MAX || !looks_like_jwt(text, len))
        return err_set(err, "a token that is no JWT, or too long");
    const char *first = memchr(text, '.', len), *second = memchr(first + 1, '.', len - (size_t)(first + 1 - text));
    out->header_len = (size_t)(first - text);
    out->payload_len = (size_t)(second - first - 1);
    out->signature_at = (size_t)(second + 1 - text);
    out->text = mem_strndup(text, len);
    struct json *header = decode_object(text, out->header_len, "header", err);
    bool ok = header != NULL && read_header(header, out, err) &&
              (out->claims = decode_object(first + 1, out->payload_len, "claims", err)) != NULL;
    json_free(header);
    if (!ok)
        jwt_deinit(out);
    return ok;
}

void jwt_deinit(struct jwt *t) {
    mem_wipe(t->text);
    json_free(t->claims);
    *t = (struct jwt){0};
}

// --- times ---

bool jwt_time(const struct jwt *t, const char *claim, int64_t *out) {
    const struct json *member = json_get(t->claims, claim);
    if (member == NULL || member->type != JSON_NUMBER)
        return false;
    if (!(member->number >= 0 && member->number <= time_max))
        return false;
    *out = member->is_integer ? member->integer : (int64_t)member->number;
    return true;
}

static bool not_future(const struct jwt *t, const char *claim, int64_t now, int64_t leeway, struct err *err) {
    int64_t at = 0;
    if (json_get(t->claims, claim) == NULL)
        return true;
    if (!jwt_time(t, claim, &at))
        return err_set(err, "a token whose \"%s\" is no time", claim);
    return at <= now + leeway ||
           err_set(err, "a token that is not valid yet: its \"%s\" is %" PRId64 " s ahead", claim, at - now);
}

bool jwt_times(const struct jwt *t, int64_t now, int64_t leeway, int64_t *exp, struct err *err) {
    int64_t end = 0;
    if (!jwt_time(t, "exp", &end))
        return err_set(err, "a token without an end (\"exp\"), or with one that is no time");
    if (now >= end + leeway)
        return err_set(err, "an expired token: it ended %" PRId64 " s ago", now - end);
    if (exp != NULL)
        *exp = end;
    return not_future(t, "nbf", now, leeway, err) && not_future(t, "iat", now, leeway, err);
}

// --- texts ---

bool jwt_audience(const struct jwt *t, const char *wanted) {
    const struct json *aud = json_get(t->claims, "aud");
    if (aud == NULL)
        return false;
    if (aud->type == JSON_STRING)
        return strcmp(aud->string, wanted) == 0;
    bool found = false;
    for (const struct json *one = aud->type == JSON_ARRAY ? aud->child : NULL; one != NULL; one = one->next) {
        if (one->type != JSON_STRING)
            return false;
        found = found || strcmp(one->string, wanted) == 0;
    }
    return found;
}

void jwt_texts_free(char **texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

bool jwt_texts(const struct jwt *t, const char *claim, char ***out, size_t *count, struct err *err) {
    const struct json *list = json_get(t->claims, claim);
    *out = NULL;
    *count = 0;
    if (list == NULL || list->type == JSON_NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > IDENTITY_GROUPS_MAX)
        return err_set(err, "a token whose \"%s\" is not a list of at most %d texts", claim, IDENTITY_GROUPS_MAX);
    char **texts = mem_zalloc(list->count > 0 ? list->count : 1, sizeof *texts);
    size_t n = 0;
    for (const struct json *one = list->child; one != NULL; one = one->next) {
        if (one->type != JSON_STRING || !name_fits(one->string, one->string_len)) {
            jwt_texts_free(texts, n);
            return err_set(err, "a token whose \"%s\" holds something that is no name", claim);
        }
        texts[n++] = mem_strndup(one->string, one->string_len);
    }
    *out = texts;
    *count = n;
    return true;
}
