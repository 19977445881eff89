// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer, from routing to the log line.
//
// An exchange lives on its loop; `req` is NULL once libh2o is done with the request (answered or aborted), which is
// also when its line is logged. What works for it on other threads holds a reference and answers by a loop message.

#pragma once

#include "gateway/front/loop.h"

enum { EXCHANGE_ID_HEX = 16 };

/// The links, and what one request may still spend on asking them.
struct exchange_links {
    struct links *links;
    size_t steps_left;
};

struct exchange {
    atomic_int refs;
    struct loop *loop;
    struct gateway *gateway;
    struct config *config;                  ///< Pinned when the request began.
    const struct listener_config *listener; ///< Of `config` if it still has it, else as the connection was accepted.
    h2o_req_t *req;
    char id[EXCHANGE_ID_HEX + 1];
    int64_t began_ms;
    int64_t now; ///< Unix seconds: the decision's time.
    struct route route;
    enum client_kind client;
    const struct registry *registry; ///< NULL: not listed.
    bool routed;                     ///< `route` is filled.
    bool started;                    ///< The answer's head was handed to libh2o.
    struct exchange_links links;     ///< For the loop; a listing on its fetch thread has its own.
    bool relinked;                   ///< There are no more unread children to read.
    struct links_unread *children;   ///< All that this request reads, each once; NULL: none yet.
    size_t children_read;            ///< How many of them; the last is the one being read.

    // What is sent as a whole (answer.c).
    h2o_generator_t whole;
    struct manifest *manifest; ///< A reference, or NULL.
    char *body;                ///< Or memory of its own.
    const char *body_next;
    size_t body_left;

    // What streams (blob.c).
    h2o_generator_t generator;
    struct fill *fill;
    bool writing;     ///< libh2o has something to write and will call `proceed`.
    size_t sending;   ///< Bytes peeked and handed to libh2o.
    bool to_verify;   ///< The digest is being computed.
    bool whole_range; ///< Asked for as "bytes=0-".
    struct loop_message readable;

    // For the log.
    bool denied;
    enum denial_reason reason;
    char rule[128], would[8], would_rule[HOSTPORT_TEXT_MAX + 64];
    char digest[DIGEST_TEXT_MAX + 1]; ///< What the tag was.
    char media_type[MEDIA_TYPE_MAX + 1];
    char upstream[HOSTPORT_TEXT_MAX + 1];
    char hops[REDIRECT_HOPS_MAX][HOSTPORT_TEXT_MAX + 1];
    int hop_count;
    int verified; ///< 1, 0, or -1: does not apply.
    struct err message;
};

/// Begin: libh2o hands over a request. It ends, and is logged, when libh2o disposes of the request.
struct exchange *exchange_new(h2o_req_t *req);

struct exchange *exchange_ref(struct exchange *ex);
void exchange_unref(struct exchange *ex);

/// The client has gone, or the gateway ends: let go of the request.
void exchange_abandon(struct exchange *ex);

/// Is it the client's turn: was it given something to read that it has not taken yet?
bool exchange_client_owes(const struct exchange *ex);

/// What is asked of the policy, by name: the tag or the digest of the request. Valid as long as the exchange.
struct question exchange_question(const struct exchange *ex);

/// Keep what a monitored rule, or enforcement, would have done ("allow", "deny"), and by which rule or key.
void exchange_would(struct exchange *ex, const char *would, const char *why);

/// Keep what the log says of the way to the content.
void exchange_came_by(struct exchange *ex, const struct fetch_result *result);

/// Where and for whom content is fetched.
struct content_place exchange_place(const struct exchange *ex);

/// A fresh id for a request.
void exchange_make_id(char out[EXCHANGE_ID_HEX + 1]);

/// The log line of a request that libh2o refused by itself.
void exchange_log_early(h2o_req_t *req, const char *message);

/// Links with the steps of a whole request.
struct exchange_links exchange_links(const struct gateway *g);

/// The policy's way to the links (policy_links_fn); `links` is a struct exchange_links.
bool exchange_reach(void *links, const char *registry, const char *repository, const char *digest,
                    const struct links_asker *asker, char *tag);

/// A request header's value (not NUL-terminated), or {NULL, 0}. `name` in lower case.
h2o_iovec_t request_header(const h2o_req_t *req, const char *name);
