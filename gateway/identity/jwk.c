// SPDX-License-Identifier: Apache-2.0
//
// Reading JSON web keys.

#include "gateway/identity/jwk.h"

#include "gateway/identity/base64.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { P256_BYTES = 32, P384_BYTES = 48, ED25519_BYTES = 32, EXPONENT_BYTES_MAX = 5 };

struct jwks {
    atomic_int refs;
    struct jwk *keys;
    size_t count;
};

/// The decoded length of a member, and its first and last bytes; false: not there, or not base64url.
static bool measure(const struct json *object, const char *name, size_t *len, unsigned char *first,
                    unsigned char *last) {
    const struct json *member = json_get(object, name);
    if (member == NULL || member->type != JSON_STRING || member->string_len > RSA_BITS_MAX / 4)
        return false;
    char *out = mem_alloc(base64_room(member->string_len) + 1);
    bool ok = base64_decode(BASE64_URL, member->string, member->string_len, out, len) && *len > 0;
    if (ok) {
        *first = (unsigned char)out[0];
        *last = (unsigned char)out[*len - 1];
    }
    free(out);
    return ok;
}

static bool has_length(const struct json *object, const char *name, size_t expected) {
    size_t len;
    unsigned char first, last;
    return measure(object, name, &len, &first, &last) && len == expected;
}

static bool rsa_fits(const struct json *object, struct err *err) {
    size_t n_len, e_len;
    unsigned char first, last;
    if (!measure(object, "n", &n_len, &first, &last) || first == 0 || (last & 1) == 0)
        return err_set(err, "an RSA key whose modulus is none");
    size_t bits = n_len * 8 - (size_t)(__builtin_clz(first) - 24);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return err_set(err, "an RSA key of %zu bits: %d to %d are fit", bits, RSA_BITS_MIN, RSA_BITS_MAX);
    if (!measure(object, "e", &e_len, &first, &last) || e_len > EXPONENT_BYTES_MAX || first == 0 || (last & 1) == 0 ||
        (e_len == 1 && last == 1))
        return err_set(err, "an RSA key whose exponent is none");
    return true;
}

static bool text_is(const struct json *object, const char *name, const char *expected) {
    const char *text = json_get_string(object, name);
    return text != NULL && strcmp(text, expected) == 0;
}

static bool read_type(const struct json *object, struct jwk *out, struct err *err) {
    const char *second = NULL, *first = "x";
    if (text_is(object, "kty", "RSA")) {
        if (!rsa_fits(object, err))
            return false;
        out->type = JWK_RSA;
        first = "n";
        second = "e";
    } else if (text_is(object, "kty", "EC") && (text_is(object, "crv", "P-256") || text_is(object, "crv", "P-384"))) {
        out->type = text_is(object, "crv", "P-256") ? JWK_P256 : JWK_P384;
        size_t bytes = out->type == JWK_P256 ? P256_BYTES : P384_BYTES;
        second = "y";
        if (!has_length(object, "x", bytes) || !has_length(object, "y", bytes))
            return err_set(err, "an EC key whose point is none");
    } else if (text_is(object, "kty", "OKP") && text_is(object, "crv", "Ed25519")) {
        out->type = JWK_ED25519;
        if (!has_length(object, "x", ED25519_BYTES))
            return err_set(err, "an Ed25519 key of a wrong length");
    } else {
        return err_set(err, "a key of a type or curve that is not used here");
    }
    out->a = mem_strdup(json_get_string(object, first));
    out->b = second == NULL ? NULL : mem_strdup(json_get_string(object, second));
    return true;
}

/// An optional text member, copied; false: there, but no text that fits.
static bool read_text(const struct json *object, const char *name, char *out, size_t max, bool *there) {
    const struct json *member = json_get(object, name);
    *there = member != NULL;
    if (member == NULL)
        return true;
    if (member->type != JSON_STRING || member->string_len > max)
        return false;
    memcpy(out, member->string, member->string_len + 1);
    return true;
}

static bool is_for_verifying(const struct json *object) {
    const struct json *use = json_get(object, "use"), *ops = json_get(object, "key_ops");
    if (use != NULL && !text_is(object, "use", "sig"))
        return false;
    if (ops == NULL)
        return true;
    for (const struct json *op = ops->type == JSON_ARRAY ? ops->child : NULL; op != NULL; op = op->next)
        if (op->type == JSON_STRING && strcmp(op->string, "verify") == 0)
            return true;
    return false;
}

bool jwk_read(const struct json *object, struct jwk *out, struct err *err) {
    bool has_alg = false;
    *out = (struct jwk){0};
    if (object->type != JSON_OBJECT || !is_for_verifying(object))
        return err_set(err, "not a key for verifying");
    if (!read_text(object, "kid", out->kid, KID_MAX, &out->has_kid) ||
        !read_text(object, "alg", out->alg, JWK_ALG_MAX, &has_alg))
        return err_set(err, "a key whose \"kid\" or \"alg\" is no text that fits");
    return read_type(object, out, err);
}

void jwk_deinit(struct jwk *k) {
    free(k->a);
    free(k->b);
    *k = (struct jwk){0};
}

bool jwk_permits(const struct jwk *k, const char *alg) {
    static const struct {
        const char *alg;
        enum jwk_type type;
    } known[] = {
        {"RS256", JWK_RSA}, {"RS384", JWK_RSA},  {"RS512", JWK_RSA},  {"PS256", JWK_RSA},     {"PS384", JWK_RSA},
        {"PS512", JWK_RSA}, {"ES256", JWK_P256}, {"ES384", JWK_P384}, {"EdDSA", JWK_ED25519},
    };
    if (k->alg[0] != '\0' && strcmp(k->alg, alg) != 0)
        return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].alg, alg) == 0)
            return known[i].type == k->type;
    return false;
}

// --- sets ---

static void read_keys(const struct json *list, struct jwks *s, struct err *why) {
    s->keys = mem_zalloc(list->count > 0 ? list->count : 1, sizeof *s->keys);
    for (const struct json *key = list->child; key != NULL; key = key->next) {
        if (jwk_read(key, &s->keys[s->count], why))
            s->count++;
        else
            jwk_deinit(&s->keys[s->count]);
    }
}

struct jwks *jwks_parse(const char *text, size_t len, struct err *err) {
    if (len > JWKS_BYTES_MAX) {
        err_set(err, "a key set of over %d bytes", JWKS_BYTES_MAX);
        return NULL;
    }
    struct json *root = json_parse(text, len, JSON_STRICT, err);
    if (root == NULL)
        return NULL;
    const struct json *list = json_get(root, "keys");
    struct jwks *s = mem_zalloc(1, sizeof *s);
    struct err why = {"there is none"};
    atomic_init(&s->refs, 1);
    if (list == NULL || list->type != JSON_ARRAY || list->count > JWKS_KEYS_MAX)
        err_set(err, "no key set: {\"keys\": [...]} with at most %d keys is expected", JWKS_KEYS_MAX);
    else
        read_keys(list, s, &why);
    json_free(root);
    if (s->count > 0)
        return s;
    if (s->keys != NULL)
        err_set(err, "a key set without a key that is fit for verifying: %s", why.text);
    jwks_unref(s);
    return NULL;
}

struct jwks *jwks_ref(struct jwks *s) {
    if (s != NULL)
        atomic_fetch_add(&s->refs, 1);
    return s;
}

void jwks_unref(struct jwks *s) {
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        jwk_deinit(&s->keys[i]);
    free(s->keys);
    free(s);
}

size_t jwks_count(const struct jwks *s) {
    return s->count;
}

const struct jwk *jwks_find(const struct jwks *s, const char *kid, const char *alg) {
    const struct jwk *found = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct jwk *k = &s->keys[i];
        if (!jwk_permits(k, alg))
            continue;
        if (kid != NULL && k->has_kid && strcmp(k->kid, kid) == 0)
            return k;
        if (kid == NULL && found != NULL)
            return NULL;
        if (kid == NULL)
            found = k;
    }
    return found;
}

bool jwks_has(const struct jwks *s, const char *kid) {
    for (size_t i = 0; i < s->count; i++)
        if (kid != NULL && s->keys[i].has_kid && strcmp(s->keys[i].kid, kid) == 0)
            return true;
    return false;
}
