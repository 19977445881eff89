// SPDX-License-Identifier: Apache-2.0
//
// The snapshot of what is known, made from the settings, and the keeper that renews it when a file changes.
//
// A file that has become unusable, or is gone, changes nothing: what was read of it last stays, and the site is told.

#include "gateway/identity/known.h"

#include "certs/state.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HTPASSWD_BYTES_MAX = 16 * 1024 * 1024 };

struct known *known_ref(struct known *k) {
    atomic_fetch_add(&k->refs, 1);
    return k;
}

void known_unref(struct known *k) {
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    free(k->state_directory);
    free(k->htpasswd_path);
    htpasswd_unref(k->passwords);
    token_keys_unref(k->keys);
    token_revoked_unref(k->revoked);
    for (size_t i = 0; i < k->issuer_count; i++)
        issuer_unref(k->issuers[i]);
    free(k);
}

// --- reading ---

static struct file_print state_print(const char *directory, const char *name) {
    char *path = mem_printf("%s/%s", directory, name);
    struct file_print print = file_print_of(path);
    free(path);
    return print;
}

static bool read_passwords(struct known *k, struct err *err) {
    size_t len = 0;
    k->passwords_print = file_print_of(k->htpasswd_path); // Before it is read: a later change shows.
    char *text = file_read(k->htpasswd_path, HTPASSWD_BYTES_MAX, true, &len, err);
    struct htpasswd *h = text == NULL ? NULL : htpasswd_parse(text, len, err);
    if (text != NULL && h == NULL)
        err_prefix(err, "%s: ", k->htpasswd_path);
    if (text != NULL)
        OPENSSL_cleanse(text, len);
    free(text);
    if (h == NULL)
        return false;
    htpasswd_unref(k->passwords);
    k->passwords = h;
    return true;
}

static bool read_keys(struct known *k, struct err *err) {
    k->keys_print = state_print(k->state_directory, TOKEN_KEYS_FILE);
    struct token_keys *keys = token_keys_load(k->state_directory, time(NULL), err);
    if (keys != NULL && !k->keys_print.there) { // Just made: what is compared with later is that file.
        k->keys_print = state_print(k->state_directory, TOKEN_KEYS_FILE);
        token_keys_unref(keys);
        keys = token_keys_load(k->state_directory, time(NULL), err);
    }
    if (keys == NULL)
        return false;
    token_keys_unref(k->keys);
    k->keys = keys;
    return true;
}

static bool read_revoked(struct known *k, struct err *err) {
    k->revoked_print = state_print(k->state_directory, TOKEN_REVOCATIONS_FILE);
    if (!k->revoked_print.there && k->revoked != NULL)
        return err_set(err, "%s/%s is gone: what it said holds until the next start", k->state_directory,
                       TOKEN_REVOCATIONS_FILE);
    struct token_revoked *revoked = token_revoked_load(k->state_directory, err);
    if (revoked == NULL)
        return false;
    token_revoked_unref(k->revoked);
    k->revoked = revoked;
    return true;
}

static bool read_state(struct known *k, struct err *err) {
    return k->state_directory == NULL ||
           (state_directory(k->state_directory, true, err) == STATE_OK && read_keys(k, err) && read_revoked(k, err));
}

static bool add_issuer(struct known *k, const struct oidc_settings *s, const struct known *before, struct err *err) {
    struct issuer *made = NULL;
    for (size_t i = 0; i < k->issuer_count; i++)
        if (strcmp(k->issuers[i]->settings.issuer, s->issuer) == 0)
            return err_set(err, "the issuer %s is there twice", s->issuer);
    for (size_t i = 0; before != NULL && made == NULL && i < before->issuer_count; i++)
        if (before->issuers[i]->remote && issuer_same(before->issuers[i], s))
            made = issuer_ref(before->issuers[i]); // With the keys that it has.
    if (made == NULL && (made = issuer_new(s, err)) == NULL)
        return false;
    k->issuers[k->issuer_count++] = made;
    return true;
}

static bool fill(struct known *k, const struct identity_settings *s, const struct known *before, struct err *err) {
    if (s->oidc_count > ISSUERS_MAX)
        return err_set(err, "over %d issuers", ISSUERS_MAX);
    if (k->htpasswd_path != NULL && !read_passwords(k, err))
        return false;
    for (size_t i = 0; i < s->oidc_count; i++)
        if (!add_issuer(k, &s->oidc[i], before, err))
            return false;
    return read_state(k, err);
}

struct known *known_new(const struct identity_settings *s, uint64_t generation, const struct known *before,
                        struct err *err) {
    struct known *k = mem_zalloc(1, sizeof *k);
    atomic_init(&k->refs, 1);
    k->state_directory = mem_strdup(s->state_directory);
    k->htpasswd_path = mem_strdup(s->htpasswd);
    k->generation = generation;
    k->token_lifetime_s = s->token_lifetime_s < TOKEN_GIVEN_MAX_S ? s->token_lifetime_s : TOKEN_GIVEN_MAX_S;
    if (fill(k, s, before, err))
        return k;
    known_unref(k);
    return NULL;
}

bool identity_settings_usable(const struct identity_settings *settings, struct err *err) {
    struct identity_settings without = *settings;
    without.state_directory = NULL; // Looking makes no keys.
    struct known *k = known_new(&without, 0, NULL, err);
    known_unref(k);
    return k != NULL;
}

// --- the keeper ---

static struct known *copy_of(const struct known *k) {
    struct known *copy = mem_zalloc(1, sizeof *copy);
    atomic_init(&copy->refs, 1);
    copy->state_directory = mem_strdup(k->state_directory);
    copy->htpasswd_path = mem_strdup(k->htpasswd_path);
    copy->token_lifetime_s = k->token_lifetime_s;
    copy->generation = k->generation;
    copy->passwords_print = k->passwords_print;
    copy->keys_print = k->keys_print;
    copy->revoked_print = k->revoked_print;
    copy->passwords = htpasswd_ref(k->passwords);
    copy->keys = token_keys_ref(k->keys);
    copy->revoked = token_revoked_ref(k->revoked);
    for (; copy->issuer_count < k->issuer_count; copy->issuer_count++)
        copy->issuers[copy->issuer_count] = issuer_ref(k->issuers[copy->issuer_count]);
    return copy;
}

static void tell_err(struct identities *x, bool ok, const struct err *err) {
    if (!ok)
        identities_say(x, err->text);
}

static bool changed(const struct file_print *before, struct file_print now) {
    return !file_print_equal(before, &now);
}

/// Each reader notes what it looked at even when it fails, so that a failure is told once.
static bool look_at_files(struct identities *x, struct known *k) {
    struct err err = {""};
    bool any = false;
    if (k->htpasswd_path != NULL && changed(&k->passwords_print, file_print_of(k->htpasswd_path))) {
        bool ok = read_passwords(k, &err);
        tell_err(x, ok, &err);
        k->generation = ok ? ++x->generations : k->generation;
        any = true;
    }
    if (k->state_directory == NULL)
        return any;
    if (changed(&k->keys_print, state_print(k->state_directory, TOKEN_KEYS_FILE))) {
        tell_err(x, read_keys(k, &err), &err);
        any = true;
    }
    if (changed(&k->revoked_print, state_print(k->state_directory, TOKEN_REVOCATIONS_FILE))) {
        tell_err(x, read_revoked(k, &err), &err);
        any = true;
    }
    return any;
}

static void look_at_issuer(struct identities *x, struct issuer *i) {
    struct err err = {""};
    struct file_print now = file_print_of(i->settings.jwks);
    if (file_print_equal(&i->print, &now))
        return;
    i->print = now;
    struct jwks *keys = issuer_read_file(i, &err);
    if (keys == NULL)
        return identities_say(x, err.text);
    pthread_mutex_lock(&x->lock);
    struct jwks *old = i->keys;
    i->keys = keys;
    pthread_mutex_unlock(&x->lock);
    jwks_unref(old);
}

static void rotate_when_old(struct identities *x, const struct known *k) {
    struct err err = {""};
    int64_t now = time(NULL);
    if (k->keys == NULL || token_keys_newest(k->keys) + TOKEN_ROTATED_AFTER_S > now)
        return;
    bool ok = token_keys_rotate(k->state_directory, now, TOKEN_ROTATED_AFTER_S, &err);
    if (!ok)
        err_prefix(&err, "no new key for tokens, which is tried again in an hour: ");
    tell_err(x, ok, &err);
}

void known_renew(struct identities *x) {
    pthread_mutex_lock(&x->writing);
    struct known *before = identities_known(x), *k = copy_of(before);
    for (size_t i = 0; i < k->issuer_count; i++)
        if (!k->issuers[i]->remote)
            look_at_issuer(x, k->issuers[i]);
    if (look_at_files(x, k)) {
        pthread_mutex_lock(&x->lock);
        struct known *old = x->known;
        x->known = known_ref(k);
        pthread_mutex_unlock(&x->lock);
        known_unref(old);
    }
    pthread_mutex_unlock(&x->writing);
    known_unref(k);
    known_unref(before);
}

enum { ROTATE_LOOK_EVERY = 3600 };

void *keeper_main(void *identities) {
    struct identities *x = identities;
    pthread_mutex_lock(&x->lock);
    for (unsigned round = 0; !x->stopping; round++) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += KEEPER_PERIOD_MS / 1000;
        while (!x->stopping && pthread_cond_timedwait(&x->keeper_woken, &x->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&x->lock);
        known_renew(x);
        if (round % ROTATE_LOOK_EVERY == 0) {
            struct known *k = identities_known(x);
            rotate_when_old(x, k);
            known_unref(k);
        }
        pthread_mutex_lock(&x->lock);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}
