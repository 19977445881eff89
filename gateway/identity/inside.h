// SPDX-License-Identifier: Apache-2.0
//
// Inside of this room: what the process knows (a snapshot, replaced whole), who waits, and the threads.
//
// One lock guards everything that changes; it is never held while hashing, reading, fetching or answering. The keeper
// looks at the files every second and reads those that changed; the pool hashes passwords; the fetcher asks issuers for
// their keys. `writing` is held by whoever makes a new snapshot.

#pragma once

#include "gateway/identity/credential.h"
#include "gateway/identity/htpasswd.h"
#include "gateway/identity/identity.h"
#include "gateway/identity/oidc.h"
#include "gateway/identity/throttle.h"
#include "gateway/identity/token.h"
#include "mirrors/base/hash.h"
#include "mirrors/base/lru.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum {
    POOL_THREADS_MAX = 4,
    WAITERS_MAX = 4096, ///< Checks that wait for a password or for an issuer's keys, in all.
    DIGEST_LEN = 32,
    KEEPER_PERIOD_MS = 1000,
    JWKS_FLOOR_S = 30,     ///< No two questions to an issuer closer than this, whatever tokens say.
    JWKS_REFRESH_S = 3600, ///< Without any reason.
    JWKS_RETRY_S = 60,     ///< After a failure.
    JWKS_TIMEOUT_S = 10,
    ISSUERS_MAX = 16
};

struct identity *identity_new(const char *name, enum identity_how how, char *const *groups, size_t count);

// --- one check ---

/// An answer with what /token needs beyond it.
struct check_result {
    struct identity_answer answer;
    int64_t ends;     ///< When the credential ends; INT64_MAX: a password.
    const char *from; ///< The id of the token of ours that it was, or of the one for which that was given; NULL.
};

typedef void (*check_fn)(void *ctx, const struct check_result *r);

struct check_to {
    check_fn fn;
    void *ctx;
};

/// Consumes `c`.
void check_run(struct identities *x, struct credential *c, const struct err *parse_error, const char *address,
               struct check_to to);

void answer_bad(struct check_to to, const struct err *reason);
void answer_slowed(struct check_to to, unsigned retry_after_s, const char *reason);
void answer_known(struct check_to to, struct identity *i, int64_t ends, const char *scope, const char *from);

/// Somebody who waits for a password's hash, or for an issuer's keys.
struct waiter {
    struct waiter *next;
    char *address;
    char *token; ///< For an issuer.
    struct check_to to;
};

struct waiter *waiter_new(const char *address, const char *token, struct check_to to);
void waiter_free(struct waiter *w);

/// Judge a token with what is known now. `may_wait`: an unknown key id of a remote issuer may ask it.
void check_token(struct identities *x, const char *token, const char *address, bool may_wait, struct check_to to);

// --- files ---

/// What tells one state of a file from another.
struct file_print {
    bool there;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};

struct file_print file_print_of(const char *path);
bool file_print_equal(const struct file_print *a, const struct file_print *b);

/// A file whole, free()d by the caller, who wipes it first where it is secret; a `secret` that others may read is
/// refused.
char *file_read(const char *path, size_t max, bool secret, size_t *len, struct err *err);

// --- issuers ---

struct issuer {
    atomic_int refs;
    struct oidc_settings settings; ///< Its texts are its own.
    bool remote;
    struct file_print print; ///< Under `writing`.
    // Under the lock:
    struct jwks *keys; ///< NULL: none were to be had yet.
    bool wanted, fetching, failing;
    int64_t tried_ms, next_ms; ///< Monotonic; `tried_ms` INT64_MIN: never.
    struct waiter *waiters;
};

struct issuer *issuer_new(const struct oidc_settings *settings, struct err *err); ///< Reads a file's keys.
struct issuer *issuer_ref(struct issuer *i);
void issuer_unref(struct issuer *i);
bool issuer_same(const struct issuer *i, const struct oidc_settings *settings);
struct jwks *issuer_read_file(const struct issuer *i, struct err *err);

/// Under the lock: will its keys be asked for (or are they being) because of an unknown key id? The caller then adds to
/// `waiters` and wakes the fetcher.
bool issuer_may_ask(struct issuer *i, int64_t now_ms);

void *issuers_main(void *identities);                           ///< The fetcher's thread.
void issuers_answer(struct identities *x, struct waiter *list); ///< Judge them again, with the keys of now.

// --- what is known ---

struct known {
    atomic_int refs;
    char *state_directory, *htpasswd_path;
    unsigned token_lifetime_s;
    struct htpasswd *passwords; ///< NULL: none.
    uint64_t generation;        ///< Of `passwords`: what was remembered of others is not theirs.
    struct file_print passwords_print, keys_print, revoked_print;
    struct token_keys *keys; ///< NULL without a state directory.
    struct token_revoked *revoked;
    struct issuer *issuers[ISSUERS_MAX];
    size_t issuer_count;
};

struct known *known_ref(struct known *k);
void known_unref(struct known *k);

// --- passwords ---

struct job;

/// Check a password on a thread of the pool. Under the lock; false: too many wait.
bool pool_add(struct identities *x, const unsigned char *digest, struct credential *c, struct waiter *w);
void *pool_main(void *identities);
void pool_free(struct identities *x);

struct remembered {
    struct identity *identity;
    int64_t ends_ms;
};

struct identities {
    pthread_mutex_t lock, writing;
    pthread_cond_t jobs_there, fetch_wanted, keeper_woken;
    bool stopping;
    struct known *known;
    unsigned char digest_key[DIGEST_LEN];
    struct hash_key stand_in_key;
    struct lru *remembered;
    struct throttle *throttle;
    struct job *jobs; ///< Waiting and running, oldest first.
    size_t jobs_waiting, waiters;
    pthread_t pool[POOL_THREADS_MAX], keeper, fetcher;
    size_t pool_count;
    bool keeper_runs, fetcher_runs;
    uint64_t generations;
    void (*tell)(void *ctx, const char *sentence);
    void *tell_ctx;
};

struct known *identities_known(struct identities *x); ///< Counted.
void identities_say(struct identities *x, const char *sentence);
void *keeper_main(void *identities);
