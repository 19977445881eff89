// SPDX-License-Identifier: Apache-2.0
//
// Content digests. The hash itself is OpenSSL's; a failure of it means a broken library, as failing
// memory means a broken machine, and ends the process. A hasher belongs to one thread at a time.

#include "mirrors/oci/digest.h"

#include "mirrors/base/mem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct algorithm {
    const char *name;
    size_t hex_len;
};

static const struct algorithm ALGORITHMS[] = {
    [DIGEST_SHA256] = {"sha256", 64},
    [DIGEST_SHA512] = {"sha512", 128},
};

struct digest_hasher {
    EVP_MD_CTX *context;
    enum digest_algorithm algorithm;
};

// --- text ---

static bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_lower_hex(char c) {
    return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9');
}

// The specification's grammar: components of [a-z0-9]+ joined by one of [+._-].
static bool is_algorithm(const char *s, size_t len) {
    bool joined = true;
    for (size_t i = 0; i < len; i++) {
        bool joint = s[i] != '\0' && strchr("+._-", s[i]) != NULL;
        if (joint ? joined : !is_lower_or_digit(s[i]))
            return false;
        joined = joint;
    }
    return !joined;
}

// [a-zA-Z0-9=_-]+
static bool is_encoded(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        bool upper = s[i] >= 'A' && s[i] <= 'Z';
        bool other = s[i] == '=' || s[i] == '_' || s[i] == '-';
        if (!is_lower_or_digit(s[i]) && !upper && !other)
            return false;
    }
    return len > 0;
}

static bool is_hex_of(const char *s, size_t len, size_t want) {
    if (len != want)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_lower_hex(s[i]))
            return false;
    return true;
}

enum digest_result digest_check(const char *s, size_t len, enum digest_algorithm *algorithm) {
    const char *colon = len == 0 ? NULL : memchr(s, ':', len);
    if (colon == NULL)
        return DIGEST_MALFORMED;
    size_t name = (size_t)(colon - s);
    const char *encoded = colon + 1;
    size_t encoded_len = len - name - 1;
    for (size_t i = 0; i < sizeof ALGORITHMS / sizeof *ALGORITHMS; i++) {
        const struct algorithm *a = &ALGORITHMS[i];
        if (name != strlen(a->name) || memcmp(s, a->name, name) != 0)
            continue;
        if (!is_hex_of(encoded, encoded_len, a->hex_len))
            return DIGEST_MALFORMED;
        if (algorithm != NULL)
            *algorithm = (enum digest_algorithm)i;
        return DIGEST_OK;
    }
    return is_algorithm(s, name) && is_encoded(encoded, encoded_len) ? DIGEST_UNSUPPORTED : DIGEST_MALFORMED;
}

// --- hashing ---

static void must(int ok) {
    if (ok == 1)
        return;
    fprintf(stderr, "pullgate: libcrypto cannot hash\n");
    abort();
}

static const EVP_MD *implementation(enum digest_algorithm algorithm) {
    return algorithm == DIGEST_SHA512 ? EVP_sha512() : EVP_sha256();
}

struct digest_hasher *digest_hasher_new(enum digest_algorithm algorithm) {
    struct digest_hasher *h = mem_zalloc(1, sizeof *h);
    h->algorithm = algorithm;
    h->context = EVP_MD_CTX_new();
    must(h->context != NULL);
    must(EVP_DigestInit_ex(h->context, implementation(algorithm), NULL));
    return h;
}

struct digest_hasher *digest_hasher_copy(const struct digest_hasher *h) {
    struct digest_hasher *copy = digest_hasher_new(h->algorithm);
    must(EVP_MD_CTX_copy_ex(copy->context, h->context));
    return copy;
}

void digest_hasher_free(struct digest_hasher *h) {
    if (h == NULL)
        return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

void digest_hasher_add(struct digest_hasher *h, const void *data, size_t len) {
    if (len > 0)
        must(EVP_DigestUpdate(h->context, data, len));
}

static void write_text(enum digest_algorithm algorithm, const unsigned char *hash, size_t len, char *out) {
    static const char HEX[] = "0123456789abcdef";
    size_t at = strlen(ALGORITHMS[algorithm].name);
    memcpy(out, ALGORITHMS[algorithm].name, at);
    out[at++] = ':';
    for (size_t i = 0; i < len; i++) {
        out[at++] = HEX[hash[i] >> 4];
        out[at++] = HEX[hash[i] & 15];
    }
    out[at] = '\0';
}

void digest_hasher_end(struct digest_hasher *h, char *out) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    must(EVP_DigestFinal_ex(h->context, hash, &len));
    write_text(h->algorithm, hash, len, out);
}

void digest_of(enum digest_algorithm algorithm, const void *data, size_t len, char *out) {
    struct digest_hasher *h = digest_hasher_new(algorithm);
    digest_hasher_add(h, data, len);
    digest_hasher_end(h, out);
    digest_hasher_free(h);
}
