// SPDX-License-Identifier: Apache-2.0
//
// Certificates by name, made once each.

#include "certs/leaves.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 24 * 60 * 60 };

struct leaf {
    X509 *certificate;
    EVP_PKEY *key;
    int64_t made;
};

struct leaves {
    atomic_int refs;
    struct authority *authority;
    pthread_mutex_t lock;
    struct lru *by_name;
    uint64_t made;
};

static void leaf_free(void *value) {
    struct leaf *leaf = value;
    X509_free(leaf->certificate);
    EVP_PKEY_free(leaf->key);
    free(leaf);
}

struct leaves *leaves_new(struct authority *authority) {
    struct leaves *l = mem_zalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    l->authority = authority_ref(authority);
    pthread_mutex_init(&l->lock, NULL);
    l->by_name = lru_new(LEAVES_MAX, 0, leaf_free);
    return l;
}

struct leaves *leaves_ref(struct leaves *l) {
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void leaves_unref(struct leaves *l) {
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    lru_free(l->by_name);
    authority_unref(l->authority);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/// Of use still: not past its time, nor from a clock that has been set back since.
static bool is_fresh(const struct leaf *leaf, int64_t now) {
    return now >= leaf->made - DAY && now - leaf->made < (int64_t)LEAF_RENEW_DAYS * DAY;
}

/// The list of names is part of the key: a listener whose names changed gets another certificate.
static char *key_of(const char *const *names, size_t count) {
    char *key = mem_strdup(names[0]);
    for (size_t i = 1; i < count; i++) {
        char *longer = mem_printf("%s\n%s", key, names[i]);
        free(key);
        key = longer;
    }
    return key;
}

static struct leaf *find_or_make(struct leaves *l, const char *const *names, size_t count, int64_t now,
                                 struct err *err) {
    char *key = key_of(names, count);
    struct leaf *leaf = lru_get(l->by_name, key, strlen(key));
    if (leaf == NULL || !is_fresh(leaf, now)) {
        struct leaf *fresh = mem_zalloc(1, sizeof(*fresh));
        fresh->made = now;
        if (authority_issue(l->authority, names, count, now, LEAF_DAYS, &fresh->certificate, &fresh->key, err)) {
            lru_put(l->by_name, key, strlen(key), fresh, 0);
            l->made++;
            leaf = fresh;
        } else {
            free(fresh);
            leaf = NULL;
        }
    }
    free(key);
    return leaf;
}

bool leaves_use(struct leaves *l, SSL *ssl, const char *const *names, size_t count, int64_t now, struct err *err) {
    if (count == 0)
        return err_set(err, "a certificate needs a name");
    pthread_mutex_lock(&l->lock);
    struct leaf *leaf = find_or_make(l, names, count, now, err);
    X509 *certificate = leaf != NULL ? leaf->certificate : NULL;
    EVP_PKEY *key = leaf != NULL ? leaf->key : NULL;
    bool ok = leaf != NULL && X509_up_ref(certificate) == 1 && EVP_PKEY_up_ref(key) == 1;
    pthread_mutex_unlock(&l->lock); // From here on it may be replaced; this handshake holds its own.
    if (!ok)
        return false;
    ok = SSL_use_cert_and_key(ssl, certificate, key, authority_chain(l->authority), 1) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok || err_set(err, "a certificate cannot be used");
}

uint64_t leaves_made(struct leaves *l) {
    pthread_mutex_lock(&l->lock);
    uint64_t made = l->made;
    pthread_mutex_unlock(&l->lock);
    return made;
}
