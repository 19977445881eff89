// SPDX-License-Identifier: Apache-2.0
//
// A scripted upstream on 127.0.0.1 for tests of the fetcher: it reads requests and lets the test answer them with
// whatever bytes it likes. One thread accepts, one serves each connection. And one fetch from it, with all that its
// callbacks were told.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/upstream/fetch.h"
#include "mirrors/upstream/registry.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct upstream;

struct upstream_request {
    char method[16];
    char path[2048]; ///< With the query.
    char authorization[1024], range[128];
    unsigned number;    ///< 1 for the first request to this upstream.
    unsigned same_path; ///< 1 for the first with this method and path.
};

/// Answer one request on `fd`; false closes the connection. Called on several threads.
typedef bool (*upstream_fn)(void *ctx, struct upstream *u, int fd, const struct upstream_request *q);

struct upstream *upstream_start(upstream_fn answer, void *ctx);

/// Close everything and wait for the threads.
void upstream_stop(struct upstream *u);

uint16_t upstream_port(const struct upstream *u);

/// Requests so far whose "METHOD path" begins with `start`.
unsigned upstream_count(struct upstream *u, const char *start);

/// Wait until upstream_stop() was called or the peer has gone: an answer that never comes.
void upstream_hang(struct upstream *u, int fd);

/// Write text; false when the peer has gone.
bool upstream_send(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool upstream_write(int fd, const void *data, size_t len);

/// A whole answer: status line, Content-Length, further header lines, body.
bool upstream_say(int fd, const char *status, const char *headers, const char *body);

/// A registry "test" with a plain endpoint for each port, loopback permitted; to be freed by registry_free().
struct registry *upstream_registry(const uint16_t *ports, size_t count);

// --- one fetch ---

/// What a fetch told its callbacks; `lock` guards `dones` and `result` until it is done.
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf body;
    int heads, dones;
    struct fetch_result result;
    struct fetch *fetch;
};

/// The callbacks of seen_start(): their context is a `struct seen`.
extern const struct fetch_callbacks seen_callbacks;

/// GET of the manifest "v1" within 10 s; its owner counts references.
struct fetch_spec seen_spec(const struct registry *r, const char *repository);

struct seen *seen_start(struct fetcher *f, const struct fetch_spec *spec);

/// Until it is done, which must come once.
void seen_await(struct seen *s);

/// seen_start() and seen_await().
struct seen *seen_ask(struct fetcher *f, const struct fetch_spec *spec);
void seen_free(struct seen *s);

/// A fetcher that could be made.
struct fetcher *seen_fetcher(unsigned threads);

/// How many references to the owner of seen_spec() are held; each test is a process of its own.
int seen_refs(void);

/// Free all three (`u` may be NULL) and expect that no reference is left.
void seen_end(struct fetcher *f, struct registry *r, struct upstream *u);
