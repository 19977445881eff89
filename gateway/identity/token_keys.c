// SPDX-License-Identifier: Apache-2.0
//
// The signing keys and their file.

#include "gateway/identity/token_files.h"

#include "certs/state.h"
#include "gateway/identity/base64.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { P256 = 32, KEYS_TEXT_MAX = 256 * 1024, KEY_ID_BYTES = 8 };

// --- the lock ---

static const char *lock_failure(int error) {
    return error == EWOULDBLOCK ? "another process holds it" : strerror(error);
}

int token_lock(const char *state_directory, bool wait, struct err *err) {
    char *path = mem_printf("%s/token.lock", state_directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), got = -1;
    while (fd >= 0 && (got = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB)) != 0 && errno == EINTR)
        continue;
    if (got != 0) {
        err_set(err, "%s: %s", path, lock_failure(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

void token_unlock(int fd) {
    close(fd);
}

// --- one key ---

static void key_deinit(struct token_key *k) {
    jwk_deinit(&k->jwk);
    mem_wipe(k->d);
    *k = (struct token_key){0};
}

static bool part(const EVP_PKEY *pkey, const char *name, char **out) {
    unsigned char bytes[P256];
    BIGNUM *n = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, name, &n) == 1 && BN_bn2binpad(n, bytes, P256) == P256;
    if (ok)
        *out = base64_url(bytes, P256);
    BN_clear_free(n);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return ok;
}

bool token_random_hex(char *out, size_t bytes) {
    unsigned char random[32];
    if (bytes > sizeof random || RAND_bytes(random, (int)bytes) != 1)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = "0123456789abcdef"[random[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
    }
    out[2 * bytes] = '\0';
    return true;
}

static bool make_key(struct token_key *out, int64_t now, struct err *err) {
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    *out = (struct token_key){.created = now, .until = now + TOKEN_GIVEN_MAX_S};
    out->jwk.type = JWK_P256;
    out->jwk.has_kid = true;
    strcpy(out->jwk.alg, "ES256");
    bool ok = pkey != NULL && part(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &out->jwk.a) &&
              part(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &out->jwk.b) && part(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &out->d) &&
              token_random_hex(out->jwk.kid, KEY_ID_BYTES);
    EVP_PKEY_free(pkey);
    if (ok)
        return true;
    key_deinit(out);
    return err_set(err, "a key cannot be made");
}

// --- the file's text ---

static bool read_time(const struct json *object, const char *name, int64_t *out) {
    const struct json *member = json_get(object, name);
    if (member == NULL || !member->is_integer || member->integer < 0 || member->integer > INT64_MAX / 2)
        return false;
    *out = member->integer;
    return true;
}

static bool read_key(const struct json *object, struct token_key *out, struct err *err) {
    const struct json *jwk = json_get(object, "jwk");
    const char *d = json_get_string(jwk, "d");
    *out = (struct token_key){0};
    if (jwk == NULL || d == NULL || !jwk_read(jwk, &out->jwk, err) || out->jwk.type != JWK_P256 || !out->jwk.has_kid ||
        out->jwk.kid[0] == '\0' || strcmp(out->jwk.alg, "ES256") != 0 || !read_time(object, "created", &out->created) ||
        !read_time(object, "until", &out->until))
        return err_set(err, "a key in it is not whole");
    out->d = mem_strdup(d);
    return true;
}

static struct token_keys *keys_new(size_t room) {
    struct token_keys *k = mem_zalloc(1, sizeof *k);
    atomic_init(&k->refs, 1);
    k->keys = mem_zalloc(room, sizeof *k->keys);
    return k;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = ((const struct token_key *)a)->created, y = ((const struct token_key *)b)->created;
    return x < y ? 1 : x > y ? -1 : 0;
}

static struct token_keys *read_keys(const struct json *list, struct err *err) {
    struct token_keys *k = keys_new(TOKEN_KEYS_MAX + 1);
    for (const struct json *one = list->child; one != NULL; one = one->next) {
        bool ok = read_key(one, &k->keys[k->count], err);
        k->count++;
        if (!ok) {
            token_keys_unref(k);
            return NULL;
        }
    }
    qsort(k->keys, k->count, sizeof *k->keys, newest_first);
    return k;
}

struct token_keys *token_keys_parse(const char *text, size_t len, struct err *err) {
    struct json *root = json_parse(text, len, JSON_STRICT, err);
    const struct json *list = json_get(root, "keys"), *format = json_get(root, "format");
    struct token_keys *k = NULL;
    if (format == NULL || !format->is_integer || format->integer != 1 || list == NULL || list->type != JSON_ARRAY ||
        list->count == 0 || list->count > TOKEN_KEYS_MAX) {
        if (root != NULL)
            err_set(err, "no list of 1 to %d keys of format 1", TOKEN_KEYS_MAX);
    } else {
        k = read_keys(list, err);
    }
    json_free(root);
    return k;
}

static void write_keys(const struct token_keys *k, struct buf *out) {
    buf_adds(out, "{\"format\":1,\"keys\":[");
    for (size_t i = 0; i < k->count; i++) {
        const struct token_key *key = &k->keys[i];
        buf_addf(out,
                 "%s\n{\"created\":%" PRId64 ",\"until\":%" PRId64 ",\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\","
                 "\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":",
                 i > 0 ? "," : "", key->created, key->until);
        buf_add_json(out, key->jwk.kid, strlen(key->jwk.kid));
        buf_addf(out, ",\"x\":\"%s\",\"y\":\"%s\",\"d\":\"%s\"}}", key->jwk.a, key->jwk.b, key->d);
    }
    buf_adds(out, "]}\n");
}

static enum state_result save(const char *directory, const struct token_keys *k, bool replace, struct err *err) {
    struct buf text;
    buf_init(&text, KEYS_TEXT_MAX);
    write_keys(k, &text);
    enum state_result result = state_write(directory, TOKEN_KEYS_FILE, text.data, text.len, true, replace, err);
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.len);
    buf_deinit(&text);
    return result;
}

static struct token_keys *load(const char *directory, enum state_result *result, struct err *err) {
    char *text = NULL;
    size_t len = 0;
    *result = state_read(directory, TOKEN_KEYS_FILE, true, &text, &len, err);
    if (*result != STATE_OK)
        return NULL;
    struct token_keys *k = token_keys_parse(text, len, err);
    state_free(text, len);
    if (k == NULL) {
        *result = STATE_FAILED;
        err_prefix(err, "%s/%s: ", directory, TOKEN_KEYS_FILE);
    }
    return k;
}

// --- what others call ---

struct token_keys *token_keys_ref(struct token_keys *k) {
    if (k != NULL)
        atomic_fetch_add(&k->refs, 1);
    return k;
}

void token_keys_unref(struct token_keys *k) {
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    for (size_t i = 0; i < k->count; i++)
        key_deinit(&k->keys[i]);
    free(k->keys);
    free(k);
}

size_t token_keys_count(const struct token_keys *k) {
    return k->count;
}

int64_t token_keys_newest(const struct token_keys *k) {
    return k->keys[0].created;
}

const struct token_key *token_keys_signing(const struct token_keys *k, int64_t now) {
    for (size_t i = 0; i < k->count; i++)
        if (k->keys[i].created + TOKEN_KEY_RIPE_S <= now)
            return &k->keys[i];
    return &k->keys[k->count - 1]; // All are young: the one that the others have had for longest.
}

struct token_keys *token_keys_load(const char *directory, int64_t now, struct err *err) {
    enum state_result result;
    struct token_keys *k = load(directory, &result, err);
    if (result != STATE_MISSING)
        return k;
    k = keys_new(1);
    result = make_key(&k->keys[k->count++], now, err) ? save(directory, k, false, err) : STATE_FAILED;
    if (result == STATE_OK)
        return k;
    token_keys_unref(k);
    return result == STATE_MISSING ? load(directory, &result, err) : NULL; // Another was faster.
}

/// With a new key first, and without those whose tokens have ended.
static struct token_keys *rotated(const struct token_keys *old, int64_t now, struct err *err) {
    struct token_keys *k = keys_new(old->count + 1);
    if (!make_key(&k->keys[k->count++], now, err)) {
        token_keys_unref(k);
        return NULL;
    }
    for (size_t i = 0; i < old->count && k->count < TOKEN_KEYS_MAX; i++) {
        const struct token_key *from = &old->keys[i];
        // The newest until now goes on signing until every gateway has read the new one.
        int64_t last = now + TOKEN_GIVEN_MAX_S + TOKEN_HANDOVER_S;
        int64_t until = i == 0 && from->until < last ? last : from->until;
        if (until <= now)
            continue;
        struct token_key *to = &k->keys[k->count++];
        *to = *from;
        to->until = until;
        to->jwk.a = mem_strdup(from->jwk.a);
        to->jwk.b = mem_strdup(from->jwk.b);
        to->d = mem_strdup(from->d);
    }
    return k;
}

bool token_keys_rotate(const char *directory, int64_t now, int64_t unless_younger_s, struct err *err) {
    int lock = token_lock(directory, unless_younger_s == 0, err);
    if (lock < 0)
        return false;
    struct token_keys *old = token_keys_load(directory, now, err), *k = NULL;
    bool ok = old != NULL;
    if (ok && (unless_younger_s == 0 || token_keys_newest(old) + unless_younger_s <= now)) {
        k = rotated(old, now, err);
        ok = k != NULL && save(directory, k, true, err) == STATE_OK;
    }
    token_keys_unref(k);
    token_keys_unref(old);
    token_unlock(lock);
    return ok;
}

bool token_keys_keep(const char *directory, const char *kid, int64_t until, struct err *err) {
    enum state_result result;
    struct token_keys *k = load(directory, &result, err);
    bool ok = k != NULL;
    for (size_t i = 0; ok && i < k->count; i++)
        if (strcmp(k->keys[i].jwk.kid, kid) == 0 && k->keys[i].until < until) {
            k->keys[i].until = until;
            ok = save(directory, k, true, err) == STATE_OK;
        }
    token_keys_unref(k);
    return ok;
}
