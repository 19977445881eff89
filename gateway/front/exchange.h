// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer, from routing to the log line.
//
// An exchange lives on its loop; `req` is NULL once libh2o is done with the request (answered or aborted), which is
// also when its line is logged. What works for it on other threads holds a reference and answers by a loop message.

#pragma once

#include "gateway/front/loop.h"
#include "gateway/front/sending.h"
#include "gateway/front/takeover.h"

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
    struct takeover takeover;        ///< Whose name the server's is; its registry is NULL: nobody's.
    struct asker asker;              ///< Who asks, and from where; lent by `identity`.
    struct identity *identity;       ///< A reference, or NULL.
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

    // What streams (blob.c, sending.c).
    h2o_generator_t generator;
    struct sending sending;
    bool to_verify;   ///< The digest is verified, or will be with the last byte.
    bool whole_range; ///< Asked for as "bytes=0-".
    struct loop_message readable;
    atomic_bool readable_posted;

    struct loop_message linked;  ///< The links have been loaded.
    bool asking;                 ///< A call is under way that may answer before it returns...
    struct loop_message *prompt; ///< ... and the answer, if it did.

    // For the log.
    enum content_source source;
    bool denied;
    enum denial_reason reason;
    char rule[128], would[8], would_rule[HOSTPORT_TEXT_MAX + 64];
    char digest[DIGEST_TEXT_MAX + 1]; ///< What the tag was.
    char media_type[MEDIA_TYPE_MAX + 1];
    char upstream[HOSTPORT_TEXT_MAX + 1];
    char hops[REDIRECT_HOPS_MAX][HOSTPORT_TEXT_MAX + 1];
    int hop_count;
    int verified;                       ///< 1, 0, or -1: does not apply.
    char token_for[PEER_NAME_MAX + 16]; ///< To whom a token was given.
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

/// The same of content that is served: whence it is, and why it is stale where it is.
void exchange_served(struct exchange *ex, enum content_source source, const struct fetch_result *result);

/// Keep that the client left, or was cut, before the end, unless something else is to be told.
void exchange_client_left(struct exchange *ex);

/// Around a call that answers by exchange_hand(): if it answers on the loop's own thread before it returns, the answer
/// is run by exchange_asked(), and waits for no other message.
void exchange_ask(struct exchange *ex);
void exchange_asked(struct exchange *ex);

/// Carry an answer to the exchange's loop. Any thread.
void exchange_hand(struct exchange *ex, struct loop_message *answer);

/// Where and for whom content is fetched.
struct content_place exchange_place(const struct exchange *ex);

/// The client's address as text, IPv4 where mapped: `out` has PEER_TEXT_MAX bytes.
void exchange_client(const struct exchange *ex, char *out);

/// A fresh id for a request on this loop.
void exchange_make_id(struct loop *l, char out[EXCHANGE_ID_HEX + 1]);

/// The log line of a request that libh2o refused by itself.
void exchange_log_early(h2o_req_t *req, const char *message);

/// Links with the steps of a whole request.
struct exchange_links exchange_links(const struct gateway *g);

/// The policy's way to the links (policy_links_fn); `links` is a struct exchange_links.
bool exchange_reach(void *links, const char *registry, const char *repository, const char *digest,
                    const struct links_asker *asker, char *tag);

/// A request header's value (not NUL-terminated), or {NULL, 0}. `name` in lower case.
h2o_iovec_t request_header(const h2o_req_t *req, const char *name);
