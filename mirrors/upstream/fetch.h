// SPDX-License-Identifier: Apache-2.0
//
// Asking an upstream registry for one thing, with all that this takes: endpoints in order, tokens,
// redirects to permitted hosts, one deadline for it all.
//
// A fetcher has threads of its own, each with a libcurl multi handle. Any thread may start, resume
// and cancel a fetch; all callbacks of one fetch come on one fetch thread, in order: head at most once (only for
// content: 200, 206), then body, then done exactly once. A registry that asked to be left alone (429, or 503 with
// Retry-After) is not asked before that time is over: fetches end with FETCH_LIMITED at once. The registry belongs to a
// configuration, which the fetch (and a token request that outlives it) holds by reference through `struct
// fetch_owner`.

#pragma once

#include "mirrors/base/clock.h"
#include "mirrors/upstream/target.h"
#include "mirrors/upstream/transfer.h"

#include <stdint.h>

enum {
    FETCH_ERROR_BODY_MAX = 16 * 1024, ///< Of an upstream's error answer, read for its message.
    FETCH_MESSAGE_MAX = 200,          ///< Printable bytes of it that are passed on.
    FETCH_TOKENS_MAX = 10000,
    FETCH_FIGURES_MAX = 1000 ///< Registries with figures of their own; what comes after them is counted as "other".
};

enum fetch_resource { FETCH_MANIFEST, FETCH_BLOB, FETCH_TAGS, FETCH_REFERRERS };

enum fetch_outcome {
    FETCH_OK,            ///< 200 or 206, complete.
    FETCH_NOT_FOUND,     ///< 404: `code`, `message`.
    FETCH_RANGE,         ///< 416.
    FETCH_LIMITED,       ///< 429, or told so a short while ago (then `status` is 0): `retry_after`.
    FETCH_REFUSED,       ///< 401 or 403 after one fresh token, without credentials of ours: `message`.
    FETCH_CREDENTIAL,    ///< The same with credentials of ours: `credential` names them.
    FETCH_STATUS,        ///< Any other status: `status`.
    FETCH_UNREACHABLE,   ///< No endpoint could be connected to.
    FETCH_TIMEOUT,       ///< The deadline passed.
    FETCH_REDIRECT_HOST, ///< A redirect to a host that is not permitted; `host`.
    FETCH_REALM_HOST,    ///< A token realm on a host that is not permitted; `host`.
    FETCH_REDIRECT,      ///< A redirect that cannot be followed: too many, a loop, another scheme, malformed.
    FETCH_ADDRESS,       ///< The address rules refuse where a name leads; `host`.
    FETCH_ENCODED,       ///< Content-Encoding although identity was asked for.
    FETCH_MISMATCH,      ///< This endpoint's content for this digest was wrong a short while ago.
    FETCH_BROKEN,        ///< The answer broke off or broke a bound.
    FETCH_CANCELLED
};

/// Who keeps `registry` alive; both functions may be called on any thread.
struct fetch_owner {
    void *object;
    void (*ref)(void *object);
    void (*unref)(void *object);
};

struct fetch_spec {
    struct fetch_owner owner;
    const struct registry *registry;
    const char *name;       ///< The registry's canonical name as asked (a wildcard's differs from registry->name).
    const char *repository; ///< Canonical.
    enum fetch_resource resource;
    const char *reference; ///< Tag or digest; "" for FETCH_TAGS.
    const char *query;     ///< Encoded, without '?'; NULL for none.
    bool head;             ///< HEAD.
    const char *range;     ///< "bytes=5-" or NULL.
    bool whole;            ///< The deadline is for the last byte, not only for the head (manifests).
    bool monitor; ///< Unlisted redirect and realm hosts are followed, without credentials, and told in `unlisted_host`.
    unsigned deadline_ms; ///< From now.
    unsigned connect_timeout_ms;
};

struct fetch_result {
    enum fetch_outcome outcome;
    int status;                          ///< The upstream's last status, 0 without an answer.
    char code[65];                       ///< The upstream's error code, "" without.
    char message[FETCH_MESSAGE_MAX + 1]; ///< The upstream's own words, "" without.
    char retry_after[64];
    char content_range[128];                   ///< FETCH_RANGE: the upstream's, which says how long the content is.
    char host[HOSTPORT_TEXT_MAX + 1];          ///< The host that a refusal is about.
    char unlisted_host[HOSTPORT_TEXT_MAX + 1]; ///< Monitor mode: a host that enforcement would have refused...
    bool unlisted_realm;                       ///< ... as realm (else as redirect).
    char upstream[HOSTPORT_TEXT_MAX + 1];      ///< The host that answered (or failed) last.
    char where[2 * HOSTPORT_TEXT_MAX + 4];     ///< For sentences: "docker.io (registry-1.docker.io)".
    const char *credential;                    ///< Name of the credential used, or NULL...
    bool credential_good; ///< ... and the registry (or its token server) took it, as far as one can see.
    char hops[REDIRECT_HOPS_MAX][HOSTPORT_TEXT_MAX + 1]; ///< Redirect hosts in order.
    int hop_count;
    struct err err; ///< A sentence, unless FETCH_OK.
};

struct fetch_callbacks {
    /// `so_far` is what is known already: upstream and hops. Return TRANSFER_STOP to end it (done then says
    /// FETCH_CANCELLED).
    enum transfer_flow (*head)(void *ctx, const struct transfer_head *head, const struct fetch_result *so_far);
    enum transfer_flow (*body)(void *ctx, const char *data, size_t len);
    /// After a turn of the thread in which body was called, and now and then; may be NULL.
    void (*turn)(void *ctx);
    void (*done)(void *ctx, const struct fetch_result *result);
};

struct fetcher;
struct fetch;
struct self;

/// Start `threads` threads.
struct fetcher *fetcher_new(unsigned threads, struct err *err);

/// Cancel everything (done is called for each), stop the threads. What is started afterwards waits for fetcher_drain().
void fetcher_stop(struct fetcher *f);

/// After fetcher_stop(): cancel on this thread what was started since. False: nothing was.
bool fetcher_drain(struct fetcher *f);

/// All of that, and free. NULL is allowed.
void fetcher_free(struct fetcher *f);

/// Start. The strings of `spec` are copied. The returned handle is the caller's and must be given back by
/// fetch_unref(); callbacks may come before this returns.
struct fetch *fetch_start(struct fetcher *f, const struct fetch_spec *spec, const struct fetch_callbacks *callbacks,
                          void *ctx);

/// Ask for the end; done follows (on the fetch thread) unless it was already called.
void fetch_cancel(struct fetch *f);

/// Go on after body returned TRANSFER_PAUSE.
void fetch_resume(struct fetch *f);

void fetch_unref(struct fetch *f);

/// The content that this endpoint (`upstream` of the result) gave for `digest` was wrong: `sentence` is what later asks
/// get.
void fetch_mismatched(struct fetcher *f, const char *registry, const char *upstream, const char *digest,
                      const char *sentence);

/// What its transfers know of the gateway itself; as long as the fetcher.
struct self *fetcher_self(struct fetcher *f);

/// What was asked of one registry since the start. A request is one transfer to any of its hosts: endpoints, where they
/// redirect to, and token servers.
struct fetch_figures {
    const char *registry; ///< Canonical, as asked; "other" for all that found no room.
    uint64_t requests;
    uint64_t errors;             ///< Of them: ended without an answer, or with 429 or 5xx, or broke off.
    uint64_t limited;            ///< Of them: 429, or 503 with Retry-After.
    uint64_t us;                 ///< Of all requests together, from their start to their end.
    int64_t ratelimit_remaining; ///< As the registry said last; -1: never.
};

/// Visit the figures of every registry that was asked, in no particular order. Any thread; `visit` must be short and
/// must not start a fetch.
void fetcher_figures(struct fetcher *f, void (*visit)(void *ctx, const struct fetch_figures *figures), void *ctx);
