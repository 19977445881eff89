// SPDX-License-Identifier: Apache-2.0
//
// The inside of the fetcher: its threads, and what one fetch is made of. Only mirrors/upstream/ includes this.
//
// A `struct fetch` belongs to one thread from fetch_begin() to its end; other threads only post messages to it and hold
// references. A token request belongs to the thread that started it and may outlive the fetch it was started for.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/upstream/auth.h"
#include "mirrors/upstream/experience.h"
#include "mirrors/upstream/fetch.h"
#include "mirrors/upstream/figures.h"
#include "mirrors/upstream/multi.h"
#include "mirrors/upstream/self.h"

#include <pthread.h>
#include <stdatomic.h>

enum { FETCH_ENDPOINTS_MAX = 16, FETCH_THREADS_MAX = 64, FETCH_TICK_MS = 100 };

enum message_kind { MESSAGE_START, MESSAGE_CANCEL, MESSAGE_RESUME, MESSAGE_TOKEN };

struct message {
    enum message_kind kind;
    struct fetch *fetch;          ///< A reference.
    char *value;                  ///< MESSAGE_TOKEN: the Authorization value, or NULL with `failure`.
    struct fetch_result *failure; ///< MESSAGE_TOKEN.
    unsigned round;               ///< MESSAGE_TOKEN: the fetch's token_round when it began to wait.
    struct message *next;
};

struct fetch_thread {
    struct fetcher *fetcher;
    pthread_t thread;
    struct multi *multi;
    struct fetch *active;         ///< Doubly linked.
    struct token_request *tokens; ///< Doubly linked.
    atomic_uint load;             ///< Fetches handed to this thread and not yet done.
    pthread_mutex_t lock;         ///< Guards `queue`, `queue_end`, `stop`.
    struct message *queue, **queue_end;
    bool stop;
};

struct fetcher {
    unsigned thread_count;
    bool stopped; ///< The threads have ended. Its owner's.
    struct fetch_thread *threads;
    struct auth *auth;
    struct experience *experience;
    struct figures *figures;
    struct self *self;
};

/// What to do once the running transfer has ended.
enum fetch_next { NEXT_CONTENT, NEXT_ERROR, NEXT_REDIRECT, NEXT_AUTH };

struct fetch {
    atomic_int refs;
    struct fetch_thread *thread;
    struct fetch *prev, *next_active;
    struct fetch_spec spec; ///< With strings of its own.
    struct fetch_callbacks callbacks;
    void *ctx;
    bool done;

    struct endpoint *named;                                ///< A wildcard's endpoint, made for this name.
    const struct endpoint *endpoints[FETCH_ENDPOINTS_MAX]; ///< In the order of asking.
    int endpoint_count, endpoint_at;

    struct transfer *transfer; ///< The running one, or NULL.
    char *url;                 ///< Of the running transfer.
    bool at_origin;            ///< No redirect has led to another origin: Authorization may be sent.
    bool hop_unlisted;         ///< The host that is asked is one that only monitor mode let pass.
    char *authorization;
    char *auth_key;
    bool auth_fresh; ///< The value was got after a 401 to this fetch at this endpoint.
    struct auth_waiter waiter;
    unsigned token_round; ///< Counts endpoints, so that a token that comes late is not mistaken.

    enum fetch_next next;
    struct transfer_head head; ///< Of the running transfer; `location` is our copy.
    bool head_delivered;
    bool fed; ///< Body bytes were delivered in this turn.
    struct buf error_body;
    int64_t deadline_ms;         ///< Monotonic; INT64_MAX once it no longer counts.
    int64_t attempt_deadline_ms; ///< For this endpoint, while there are others.
    struct fetch_result result;
};

// fetch_state.c: one fetch, on its thread.
void fetch_begin(struct fetch *f);
void fetch_stop(struct fetch *f, enum fetch_outcome outcome, const char *sentence);
void fetch_token_arrived(struct fetch *f, unsigned round, const char *value, const struct fetch_result *failure);
void fetch_check_deadline(struct fetch *f, int64_t now_ms);

// fetch_queue.c: references, messages.
void fetch_ref(struct fetch *f);
void fetch_post(struct fetch *f, struct message *m);
struct message *fetch_message(enum message_kind kind, struct fetch *f);
void fetch_message_free(struct message *m);

// token_request.c: one token, on the thread that asked.
void token_request_start(struct fetch *f, const struct challenge *c, const char *realm_url, bool unlisted,
                         struct credential *credential);
/// "Basic ..." of the password as its file has it now, to be wiped; NULL: there is no credential, or it was never read.
char *token_of_credential(struct credential *c);
void token_requests_check(struct fetch_thread *t, int64_t now_ms);
void token_requests_abort(struct fetch_thread *t);
