// SPDX-License-Identifier: Apache-2.0
//
// Signatures, through libjose; Ed25519 through OpenSSL.
//
// The library's objects live for one call and are seen by one thread.

#include "gateway/identity/base64.h"
#include "gateway/identity/jwt.h"
#include "mirrors/base/mem.h"

#include <jose/cfg.h>
#include <jose/jws.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { ED25519_KEY = 32, ED25519_SIGNATURE = 64 };

/// By default libjose writes to standard error what strangers made of their tokens.
static void say_nothing(void *misc, const char *file, int line, uint64_t error, const char *format, va_list list) {
}

static jose_cfg_t *quiet(void) {
    jose_cfg_t *cfg = jose_cfg();
    if (cfg != NULL)
        jose_cfg_set_err_func(cfg, say_nothing, NULL);
    return cfg;
}

static json_t *library_key(const struct jwk *key, const char *alg) {
    if (key->type == JWK_RSA)
        return json_pack("{s:s,s:s,s:s,s:s}", "kty", "RSA", "n", key->a, "e", key->b, "alg", alg);
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "kty", "EC", "crv", key->type == JWK_P256 ? "P-256" : "P-384", "x",
                     key->a, "y", key->b, "alg", alg);
}

static bool verify_jose(const struct jwt *t, const struct jwk *key) {
    jose_cfg_t *cfg = quiet();
    json_t *jwk = library_key(key, t->alg);
    json_t *jws = json_pack("{s:s%,s:s%,s:s}", "protected", t->text, t->header_len, "payload",
                            t->text + t->header_len + 1, t->payload_len, "signature", t->text + t->signature_at);
    bool good = cfg != NULL && jwk != NULL && jws != NULL && jose_jws_ver(cfg, jws, NULL, jwk, false);
    json_decref(jws);
    json_decref(jwk);
    if (cfg != NULL)
        jose_cfg_decref(cfg);
    return good;
}

static bool verify_ed25519(const struct jwt *t, const struct jwk *key) {
    size_t signature_len = 0, key_len = 0, text_len = strlen(t->text + t->signature_at);
    char *signature = mem_alloc(base64_room(text_len) + 1), *raw = mem_alloc(base64_room(strlen(key->a)) + 1);
    bool good = base64_decode(BASE64_URL, t->text + t->signature_at, text_len, signature, &signature_len) &&
                base64_decode(BASE64_URL, key->a, strlen(key->a), raw, &key_len) &&
                signature_len == ED25519_SIGNATURE && key_len == ED25519_KEY;
    EVP_PKEY *pkey = good ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (unsigned char *)raw, key_len) : NULL;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    good = pkey != NULL && md != NULL && EVP_DigestVerifyInit(md, NULL, NULL, NULL, pkey) == 1 &&
           EVP_DigestVerify(md, (unsigned char *)signature, signature_len, (const unsigned char *)t->text,
                            t->signature_at - 1) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    free(signature);
    free(raw);
    return good;
}

bool jwt_verify(const struct jwt *t, const struct jwk *key, struct err *err) {
    if (!jwk_permits(key, t->alg))
        return err_set(err, "a token with the algorithm %s, for which the key is not", t->alg);
    bool good = key->type == JWK_ED25519 ? verify_ed25519(t, key) : verify_jose(t, key);
    return good || err_set(err, "a token whose signature is not right");
}

// --- signing ---

static char *compact(const json_t *jws) {
    const char *header = json_string_value(json_object_get(jws, "protected"));
    const char *payload = json_string_value(json_object_get(jws, "payload"));
    const char *signature = json_string_value(json_object_get(jws, "signature"));
    bool whole = header != NULL && payload != NULL && signature != NULL;
    return whole ? mem_printf("%s.%s.%s", header, payload, signature) : NULL;
}

char *jwt_sign(const struct jwk *key, const char *d, const char *claims, size_t len) {
    jose_cfg_t *cfg = quiet();
    char *payload = base64_url(claims, len);
    json_t *jwk = library_key(key, "ES256");
    json_t *jws = json_pack("{s:s}", "payload", payload);
    json_t *header = json_pack("{s:{s:s,s:s,s:s}}", "protected", "alg", "ES256", "typ", "JWT", "kid", key->kid);
    bool good = cfg != NULL && jwk != NULL && jws != NULL && header != NULL &&
                json_object_set_new(jwk, "d", json_string(d)) == 0 && jose_jws_sig(cfg, jws, header, jwk);
    char *out = good ? compact(jws) : NULL;
    json_decref(header);
    json_decref(jws);
    json_decref(jwk);
    free(payload);
    if (cfg != NULL)
        jose_cfg_decref(cfg);
    return out;
}
