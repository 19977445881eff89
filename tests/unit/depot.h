// SPDX-License-Identifier: Apache-2.0
//
// Content with a real store in a directory of its own, before a scripted registry whose mood the test sets. For tests
// of what is kept.

#pragma once

#include "tests/unit/upstream.h"

#include "mirrors/content/inside.h"

enum { DEPOT_THINGS_MAX = 16, DEPOT_PATIENCE_S = 15 };

/// One thing that the registry has: a tag or digest of a repository.
struct thing {
    const char *repository, *reference;
    const char *digest; ///< What Docker-Content-Digest says; NULL: its own digest; "": the header is missing.
    const char *body;   ///< NULL: 404.
};

/// How the registry answers.
enum mood {
    MOOD_GOOD,
    MOOD_SILENT, ///< Takes the request and says nothing.
    MOOD_500,
    MOOD_429,
    MOOD_401, ///< Without a challenge.
    MOOD_403,
    MOOD_404,
    MOOD_NO_HEAD, ///< 405 to HEAD.
    MOOD_NO_HEAD_501,
    MOOD_GARBAGE,   ///< No HTTP.
    MOOD_SLOW,      ///< Good, after 300 ms.
    MOOD_ELSEWHERE, ///< HEAD is redirected to where only GET is known.
    MOOD_GET_500    ///< Good to HEAD.
};

struct hub {
    struct upstream *upstream;
    struct registry *registry;
    pthread_mutex_t lock; ///< Guards the things.
    struct thing things[DEPOT_THINGS_MAX];
    _Atomic enum mood mood;
};

struct depot {
    char directory[64];
    struct hub hub, other; ///< Two registries: "test" and "other".
    struct store *store;
    struct fetcher *fetcher;
    struct content *content;
};

struct depot *depot_new(void);

/// Another process on the same directory, as far as can be told.
void depot_restart(struct depot *d);
void depot_free(struct depot *d);

/// What the registry has from now on.
void hub_has(struct hub *h, const char *repository, const char *reference, const char *body);

/// Every thing is gone.
void hub_clear(struct hub *h);

/// Requests so far whose "METHOD path" begins with the text.
unsigned hub_count(struct hub *h, const char *start);

/// A place of "test" (or of "other"), with terms: an hour for tags and digests, a day of staleness, no negatives.
struct content_place depot_place(struct depot *d, const char *repository);
struct content_place depot_other(struct depot *d, const char *repository);

/// What content_manifest() answered.
struct told {
    int answers;
    enum fetch_outcome outcome;
    int status;
    struct err err;
    enum content_source source;
    bool manifest;
    enum document_verdict verdict;
    char digest[DIGEST_TEXT_MAX + 1];
    char *body;
};

struct told depot_ask(struct depot *d, const struct content_place *place, const char *tag, const char *digest);
void told_free(struct told *t);

/// Wait until the store holds it for the repository.
void depot_await_held(struct depot *d, const struct content_place *place, const char *digest);

/// The file of a digest in the store's directory; freed by the caller.
char *depot_file(struct depot *d, const char *digest);

/// A manifest of one config and one layer that `name` makes different; freed by the caller.
char *depot_manifest(const char *name);

/// The digest of a text; freed by the caller.
char *depot_digest(const char *text);
