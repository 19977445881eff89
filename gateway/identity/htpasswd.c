// SPDX-License-Identifier: Apache-2.0
//
// Reading the file, and comparing through libcrypt.

#include "gateway/identity/htpasswd.h"

#include "gateway/identity/credential.h"
#include "mirrors/base/mem.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BCRYPT_LEN = 60, SHA512_HASH = 86, SHA256_HASH = 43, SALT_MAX = 16 };

/// For a file without users, so that its emptiness does not show either.
static const char nobody[] = "$2b$10$abcdefghijklmnopqrstuuPNYTJHCDlwkP6B9h0.Rbx4ObY5cN/i2";

struct entry {
    char *user, *hash;
};

struct htpasswd {
    atomic_int refs;
    struct entry *entries; ///< Sorted by user.
    size_t count;
};

// --- what may stand for a password ---

static bool is_crypt_text(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (s[i] == '\0' || strchr("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", s[i]) == NULL)
            return false;
    return true;
}

static bool check_bcrypt(const char *hash, struct err *err) {
    bool formed = strlen(hash) == BCRYPT_LEN && hash[4] >= '0' && hash[4] <= '9' && hash[5] >= '0' && hash[5] <= '9' &&
                  hash[6] == '$' && is_crypt_text(hash + 7, BCRYPT_LEN - 7);
    if (!formed)
        return err_set(err, "the bcrypt hash is not whole");
    int cost = (hash[4] - '0') * 10 + hash[5] - '0';
    if (cost < 4 || cost > HTPASSWD_BCRYPT_COST_MAX)
        return err_set(err, "a bcrypt cost of %d: it is to be 4 to %d", cost, HTPASSWD_BCRYPT_COST_MAX);
    return true;
}

static bool check_rounds(const char **at, struct err *err) {
    static const char word[] = "rounds=";
    if (strncmp(*at, word, sizeof word - 1) != 0)
        return true;
    char *end = NULL;
    const char *digits = *at + sizeof word - 1;
    unsigned long rounds = strtoul(digits, &end, 10);
    if (*digits < '1' || *digits > '9' || *end != '$' || rounds < 1000 || rounds > HTPASSWD_SHA_ROUNDS_MAX)
        return err_set(err, "rounds are to be 1000 to %d", HTPASSWD_SHA_ROUNDS_MAX);
    *at = end + 1;
    return true;
}

static bool check_sha(const char *hash, size_t hash_len, struct err *err) {
    const char *at = hash + 3;
    if (!check_rounds(&at, err))
        return false;
    const char *dollar = strchr(at, '$');
    size_t salt = dollar == NULL ? 0 : (size_t)(dollar - at);
    if (dollar == NULL || salt == 0 || salt > SALT_MAX || !is_crypt_text(at, salt) || strlen(dollar + 1) != hash_len ||
        !is_crypt_text(dollar + 1, hash_len))
        return err_set(err, "the SHA crypt hash is not whole");
    return true;
}

static bool begins(const char *s, const char *with) {
    return strncmp(s, with, strlen(with)) == 0;
}

static const char *kind_words(const char *hash) {
    if (begins(hash, "{SHA}"))
        return "an unsalted SHA-1 ({SHA})";
    if (begins(hash, "$apr1$") || begins(hash, "$1$"))
        return "MD5 crypt";
    if (begins(hash, "$2x$"))
        return "the faulty bcrypt of 2011 ($2x$)";
    return hash[0] == '$' ? "of a kind that is not known here" : "plain or DES crypt";
}

static bool check_hash(const char *hash, struct err *err) {
    if (begins(hash, "$2a$") || begins(hash, "$2b$") || begins(hash, "$2y$"))
        return check_bcrypt(hash, err);
    if (begins(hash, "$6$"))
        return check_sha(hash, SHA512_HASH, err);
    if (begins(hash, "$5$"))
        return check_sha(hash, SHA256_HASH, err);
    return err_set(err, "the password is %s; bcrypt (`htpasswd -B`), SHA-512 or SHA-256 crypt are needed",
                   kind_words(hash));
}

// --- the file ---

static bool add_line(struct htpasswd *h, const char *line, size_t len, struct err *err) {
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0 || line[0] == '#')
        return true;
    if (memchr(line, '\0', len) != NULL)
        return err_set(err, "there is a NUL in it");
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || !name_fits(line, (size_t)(colon - line)))
        return err_set(err, "NAME:HASH is expected, and a name that is printable and not too long");
    if (h->count == HTPASSWD_USERS_MAX)
        return err_set(err, "over %d users", HTPASSWD_USERS_MAX);
    const char *hash = colon + 1, *end = line + len, *more = memchr(hash, ':', (size_t)(end - hash));
    struct entry *e = &h->entries[h->count];
    e->hash = mem_strndup(hash, (size_t)((more != NULL ? more : end) - hash));
    e->user = mem_strndup(line, (size_t)(colon - line));
    h->count++;
    return check_hash(e->hash, err);
}

static int by_user(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->user, ((const struct entry *)b)->user);
}

static bool read_lines(struct htpasswd *h, const char *text, size_t len, struct err *err) {
    size_t number = 0, room = 0;
    for (size_t at = 0; at < len; number++) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : len - at;
        if (h->count == room)
            h->entries = mem_resize(h->entries, room = room * 2 + 16, sizeof *h->entries);
        if (!add_line(h, text + at, n, err))
            return err_prefix(err, "line %zu: ", number + 1);
        at += n + 1;
    }
    if (h->count > 1)
        qsort(h->entries, h->count, sizeof *h->entries, by_user);
    for (size_t i = 1; i < h->count; i++)
        if (by_user(&h->entries[i - 1], &h->entries[i]) == 0)
            return err_set(err, "the user %s is there twice", h->entries[i].user);
    return true;
}

struct htpasswd *htpasswd_parse(const char *text, size_t len, struct err *err) {
    struct htpasswd *h = mem_zalloc(1, sizeof *h);
    atomic_init(&h->refs, 1);
    if (read_lines(h, text, len, err))
        return h;
    htpasswd_unref(h);
    return NULL;
}

struct htpasswd *htpasswd_ref(struct htpasswd *h) {
    if (h != NULL)
        atomic_fetch_add(&h->refs, 1);
    return h;
}

void htpasswd_unref(struct htpasswd *h) {
    if (h == NULL || atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    for (size_t i = 0; i < h->count; i++) {
        free(h->entries[i].user);
        mem_wipe(h->entries[i].hash);
    }
    free(h->entries);
    free(h);
}

size_t htpasswd_count(const struct htpasswd *h) {
    return h->count;
}

// --- checking ---

static bool equals(const char *password, const char *hash) {
    struct crypt_data *data = mem_zalloc(1, sizeof *data);
    const char *made = crypt_rn(password, hash, data, sizeof *data);
    size_t len = strlen(hash);
    bool same = made != NULL && strlen(made) == len && CRYPTO_memcmp(made, hash, len) == 0;
    OPENSSL_cleanse(data, sizeof *data);
    free(data);
    return same;
}

static const char *stand_in(const struct htpasswd *h, const struct hash_key *key, const char *user) {
    return h->count == 0 ? nobody : h->entries[hash_bytes(key, user, strlen(user)) % h->count].hash;
}

enum htpasswd_verdict htpasswd_check(const struct htpasswd *h, const struct hash_key *key, const char *user,
                                     const char *password) {
    struct entry wanted = {.user = (char *)user};
    const struct entry *e = h->count == 0 ? NULL : bsearch(&wanted, h->entries, h->count, sizeof *h->entries, by_user);
    // Computed before anything is decided, whoever was asked for.
    bool good = equals(password, e != NULL ? e->hash : stand_in(h, key, user));
    if (e == NULL)
        return HTPASSWD_UNKNOWN;
    return good ? HTPASSWD_GOOD : HTPASSWD_WRONG;
}
