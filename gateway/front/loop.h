// SPDX-License-Identifier: Apache-2.0
//
// A front loop: one thread, one libh2o event loop. It accepts, parses, decides and sends, and never blocks.
//
// Everything of a loop is touched by its own thread only; others post messages. A tick a second looks after what libh2o
// does not: clients that vanished while their request waits, readers that stall, request heads that never end.

#pragma once

#include "gateway/front/gateway.h"
#include "gateway/front/libh2o.h"
#include "gateway/front/listener.h"
#include "gateway/front/peer.h"

enum {
    PEER_TEXT_MAX = 64,
    LOOP_SCRATCH_MAX = 64 * 1024,
    LOOP_RANDOM_MAX = 256,
    LOOP_LISTEN_MAX_MS = 5000 ///< So long loops_listen() waits for loops that do not answer.
};

struct exchange;

/// One client connection. `libh2o` owns the socket; this lives from accept to the socket's close.
struct connection {
    struct loop *loop;
    struct connection *prev, *next;
    h2o_socket_t *sock;
    struct listener *listener;      ///< A reference: as it was when the connection was accepted.
    struct exchange *exchange;      ///< The request in flight, or NULL.
    int64_t idle_since_ms;          ///< When it was accepted or the last request ended.
    int64_t head_since_ms;          ///< A request head began to arrive and has not ended; 0: none.
    int64_t progress_ms;            ///< When the client last acknowledged bytes of the answer.
    uint64_t acked;                 ///< How many, so far.
    bool taken_over;                ///< That name was a registry's when the handshake was made.
    char server_name[HOST_MAX + 1]; ///< That the TLS client asked for, canonical; "": none.
    char tunnel[HOST_MAX + 1];      ///< Whom CONNECT named: what follows is said inside; "": no tunnel.
    bool tunnel_has_address;        ///< CONNECT came from `tunnel_address`, as a trusted proxy said or the peer is.
    uint8_t tunnel_address[16];
    struct front_peer peer; ///< The client's certificate.
};

/// What other threads hand to a loop. `run` is called there and frees the message if it was allocated.
struct loop_message {
    h2o_multithread_message_t super;
    void (*run)(struct loop_message *m);
};

struct loop;

/// What is served on a loop: who answers requests, and what the tick may ask and tell about one in flight.
struct loop_handlers {
    int (*on_request)(h2o_handler_t *self, h2o_req_t *req);
    /// To be called once for the host, before anything is served.
    void (*prepare)(h2o_hostconf_t *host);
    /// Is it the client's turn: was it given something to read that it has not taken yet?
    bool (*client_owes)(const struct exchange *ex);
    /// The client has gone, or the gateway ends: let go of the request.
    void (*abandon)(struct exchange *ex);
};

/// Start a loop's thread; it serves nothing until it is told its listeners. `handlers` must outlive it.
struct loop *loop_new(struct gateway *g, const struct loop_handlers *handlers, struct err *err);

/// Any thread.
void loop_post(struct loop *l, struct loop_message *m);

/// Is this the loop's own thread?
bool loop_is_current(const struct loop *l);

/// From now on serve exactly this set (the loops take references). Returns when all of them do; false: some do not yet,
/// for LOOP_LISTEN_MAX_MS (they will as soon as they run again) or for want of descriptors, as `err` says. Any thread
/// but a loop's.
bool loops_listen(struct loop *const *loops, unsigned count, const struct listener_set *set, struct err *err);

/// Stop accepting, let requests in flight finish for up to `grace_ms`, then cut them; the thread ends. Any thread.
void loop_stop(struct loop *l, unsigned grace_ms);

/// Wait for the thread's end. Messages may still be posted until loop_free().
void loop_wait(struct loop *l);

/// Run what was still posted, and free.
void loop_free(struct loop *l);

struct gateway *loop_gateway(const struct loop *l);

/// LOOP_SCRATCH_MAX bytes for whatever runs on the loop, until it returns.
char *loop_scratch(struct loop *l);

/// Random bytes, up to LOOP_RANDOM_MAX: the system is asked for many requests at a time.
void loop_random(struct loop *l, void *out, size_t len);

/// The connection that a request came on.
struct connection *loop_connection(h2o_req_t *req);

/// The listener as it is now, or, where a reload removed it, as it was when the connection was accepted. Lent for as
/// long as the loop's function runs.
struct listener *loop_listener(const struct connection *c);

/// CONNECT was answered: from here on the client speaks TLS with the gateway itself. The connection may be gone
/// afterwards.
void loop_accept_inside(struct connection *c);

/// The connection is about to be closed on a client that may still be sending: let it read the answer first.
void loop_linger(struct connection *c);

/// End a connection from outside: libh2o notices, calls the generator's stop and cleans up.
void loop_cut(struct connection *c);
