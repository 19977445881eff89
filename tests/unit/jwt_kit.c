// SPDX-License-Identifier: Apache-2.0
//
// Keys and signatures by OpenSSL alone, so that what is tested is not tested by itself.

#include "tests/unit/jwt_kit.h"

#include "gateway/identity/base64.h"
#include "mirrors/base/mem.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct kit_key {
    enum kit_type type;
    EVP_PKEY *pkey;
};

struct kit_key *kit_key_new(enum kit_type type) {
    struct kit_key *k = mem_zalloc(1, sizeof *k);
    k->type = type;
    if (type == KIT_RSA || type == KIT_RSA_SMALL)
        k->pkey = EVP_RSA_gen(type == KIT_RSA ? 2048 : 1024);
    else if (type == KIT_ED25519)
        k->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        k->pkey = EVP_EC_gen(type == KIT_P256 ? "P-256" : "P-384");
    return k;
}

void kit_key_free(struct kit_key *k) {
    EVP_PKEY_free(k->pkey);
    free(k);
}

static char *number(const struct kit_key *k, const char *name, int width) {
    BIGNUM *n = NULL;
    unsigned char bytes[1024];
    EVP_PKEY_get_bn_param(k->pkey, name, &n);
    int len = BN_bn2binpad(n, bytes, width > 0 ? width : BN_num_bytes(n));
    BN_free(n);
    return base64_url(bytes, (size_t)len);
}

static char *raw(const struct kit_key *k) {
    unsigned char bytes[32];
    size_t len = sizeof bytes;
    EVP_PKEY_get_raw_public_key(k->pkey, bytes, &len);
    return base64_url(bytes, len);
}

char *kit_jwk(const struct kit_key *k, const char *kid, const char *more) {
    char *a = NULL, *b = NULL, *out = NULL;
    if (k->type == KIT_RSA || k->type == KIT_RSA_SMALL) {
        a = number(k, OSSL_PKEY_PARAM_RSA_N, 0);
        b = number(k, OSSL_PKEY_PARAM_RSA_E, 0);
        out = mem_printf("{\"kty\":\"RSA\",%s\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"}", more, kid, a, b);
    } else if (k->type == KIT_ED25519) {
        a = raw(k);
        out = mem_printf("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",%s\"kid\":\"%s\",\"x\":\"%s\"}", more, kid, a);
    } else {
        int width = k->type == KIT_P256 ? 32 : 48;
        a = number(k, OSSL_PKEY_PARAM_EC_PUB_X, width);
        b = number(k, OSSL_PKEY_PARAM_EC_PUB_Y, width);
        out = mem_printf("{\"kty\":\"EC\",\"crv\":\"%s\",%s\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}",
                         k->type == KIT_P256 ? "P-256" : "P-384", more, kid, a, b);
    }
    free(a);
    free(b);
    return out;
}

char *kit_jwks(char *first, ...) {
    char *list = mem_strdup("");
    va_list more;
    va_start(more, first);
    for (char *one = first; one != NULL; one = va_arg(more, char *)) {
        char *longer = mem_printf("%s%s%s", list, list[0] != '\0' ? "," : "", one);
        free(list);
        free(one);
        list = longer;
    }
    va_end(more);
    char *out = mem_printf("{\"keys\":[%s]}", list);
    free(list);
    return out;
}

static const EVP_MD *hash_of(const char *alg) {
    const char *bits = alg + 2;
    return strcmp(bits, "384") == 0 ? EVP_sha384() : strcmp(bits, "512") == 0 ? EVP_sha512() : EVP_sha256();
}

/// DER to the two numbers that JOSE has.
static size_t to_jose(unsigned char *signature, size_t len, size_t width) {
    const unsigned char *at = signature;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, (int)width);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + width, (int)width);
    ECDSA_SIG_free(sig);
    return 2 * width;
}

static size_t sign(const struct kit_key *k, const char *alg, const char *text, unsigned char *out, size_t room) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = room;
    EVP_DigestSignInit(md, &ctx, k->type == KIT_ED25519 ? NULL : hash_of(alg), NULL, k->pkey);
    if (alg[0] == 'P') {
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
    }
    EVP_DigestSign(md, out, &len, (const unsigned char *)text, strlen(text));
    EVP_MD_CTX_free(md);
    if (k->type == KIT_P256 || k->type == KIT_P384)
        len = to_jose(out, len, k->type == KIT_P256 ? 32 : 48);
    return len;
}

char *kit_token(const struct kit_key *k, const char *alg, const char *secret, const char *header, const char *claims) {
    unsigned char signature[1024];
    size_t len = 0;
    char *h = base64_url(header, strlen(header)), *c = base64_url(claims, strlen(claims));
    char *text = mem_printf("%s.%s", h, c);
    if (strcmp(alg, "HS256") == 0) {
        unsigned n = 0;
        HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text, strlen(text), signature, &n);
        len = n;
    } else if (strcmp(alg, "none") != 0) {
        len = sign(k, alg, text, signature, sizeof signature);
    }
    char *s = base64_url(signature, len), *out = mem_printf("%s.%s", text, s);
    free(h);
    free(c);
    free(s);
    free(text);
    return out;
}

char *kit_pem(const struct kit_key *k) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    PEM_write_bio_PUBKEY(bio, k->pkey);
    long len = BIO_get_mem_data(bio, &data);
    char *out = mem_strndup(data, (size_t)len);
    BIO_free(bio);
    return out;
}

char *kit_basic(const char *user, const char *password) {
    char *text = mem_printf("%s:%s", user, password);
    unsigned char *encoded = mem_alloc(strlen(text) * 2 + 8);
    EVP_EncodeBlock(encoded, (unsigned char *)text, (int)strlen(text));
    char *out = mem_printf("Basic %s", (char *)encoded);
    free(text);
    free(encoded);
    return out;
}
