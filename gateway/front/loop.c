// SPDX-License-Identifier: Apache-2.0
//
// Front loops: accepting, the tick, the end. See loop.h for the threads' rule.

#include "gateway/front/loop.h"

#include "gateway/front/linger.h"
#include "gateway/metrics/metrics.h"
#include "mirrors/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h> // glibc's struct tcp_info lacks tcpi_bytes_acked.
#include <netinet/in.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    TCP_STATE_ESTABLISHED = 1, // As the kernel numbers them; its header for programs does not say.
    TICK_S = 1,
    ACCEPTS_PER_TURN = 16,
    /// So many bytes libh2o sends in TLS records of 1400, which let a browser begin early; a registry's client needs
    /// all.
    WHOLE_RECORDS_AFTER = 200 * 1024,
    RETIRED_MS = 60 * 1000, ///< A replaced accept context may be in use by a handshake for so long.
    HANDSHAKE_TIMEOUT_MS = 10 * 1000,
    IDLE_EXTRA_MS = 15 * 1000, ///< Beyond the idle timeout: a TLS handshake comes before it.
    CUT_WAIT_MS = 2000         ///< For libh2o to close what was cut at the end.
};

/// A listening socket in this loop.
struct watched {
    struct loop *loop;
    struct watched *next;
    struct listener *listener; ///< A reference.
    h2o_socket_t *sock;
    h2o_accept_ctx_t *accept;
    h2o_accept_ctx_t *inside; ///< For what is said inside of a tunnel; NULL: there are none.
    bool paused;              ///< At the connection cap.
};

/// An accept context whose listener was replaced: handshakes that began with it still point at it.
struct retired {
    struct retired *next;
    h2o_accept_ctx_t *accept, *inside;
    struct listener *listener;
    int64_t at_ms;
};

struct loop {
    struct gateway *gateway;
    const struct loop_handlers *handlers;
    pthread_t thread;
    h2o_globalconf_t globalconf;
    h2o_context_t ctx;
    h2o_multithread_receiver_t receiver;
    h2o_socket_t *tick;       ///< A timerfd; NULL: none was to be had.
    struct metrics_loop *lag; ///< How late it comes; NULL: nobody counts.
    struct connection *connections;
    struct watched *watched;
    struct retired *retired;
    struct lingering *lingering;
    bool stopping;
    int64_t stop_at_ms;
    char scratch[LOOP_SCRATCH_MAX];
    unsigned char random[LOOP_RANDOM_MAX];
    size_t random_left;
    sem_t ready, ended, unneeded; ///< The thread's life: it may be posted to; it serves nobody any more; it may go.
};

struct gateway *loop_gateway(const struct loop *l) {
    return l->gateway;
}

char *loop_scratch(struct loop *l) {
    return l->scratch;
}

void loop_random(struct loop *l, void *out, size_t len) {
    assert(len <= sizeof(l->random));
    if (l->random_left < len) {
        if (getrandom(l->random, sizeof(l->random), GRND_NONBLOCK) != (ssize_t)sizeof(l->random))
            memset(l->random, 0, sizeof(l->random));
        l->random_left = sizeof(l->random);
    }
    l->random_left -= len;
    memcpy(out, l->random + l->random_left, len);
}

struct connection *loop_connection(h2o_req_t *req) {
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void loop_cut(struct connection *c) {
    shutdown(h2o_socket_get_fd(c->sock), SHUT_RDWR);
}

void loop_linger(struct connection *c) {
    linger_begin(&c->loop->lingering, c->sock);
}

// --- messages ---

bool loop_is_current(const struct loop *l) {
    return pthread_equal(l->thread, pthread_self());
}

void loop_post(struct loop *l, struct loop_message *m) {
    memset(&m->super, 0, sizeof(m->super));
    h2o_multithread_send_message(&l->receiver, &m->super);
}

static void on_messages(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages) {
    while (!h2o_linklist_is_empty(messages)) {
        h2o_multithread_message_t *m = H2O_STRUCT_FROM_MEMBER(h2o_multithread_message_t, link, messages->next);
        h2o_linklist_unlink(&m->link);
        struct loop_message *message = H2O_STRUCT_FROM_MEMBER(struct loop_message, super, m);
        message->run(message);
    }
}

// --- connections ---

static bool at_cap(const struct loop *l) {
    return atomic_load(&l->gateway->connections) >= l->gateway->connections_max;
}

static void on_accept(h2o_socket_t *sock, const char *err);

static void pause_listeners(struct loop *l, bool pause) {
    for (struct watched *w = l->watched; w != NULL; w = w->next) {
        if (w->paused == pause)
            continue;
        w->paused = pause;
        if (pause)
            h2o_socket_read_stop(w->sock);
        else
            h2o_socket_read_start(w->sock, on_accept);
    }
}

static void on_connection_close(void *data) {
    struct connection *c = data;
    struct loop *l = c->loop;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->connections = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    front_peer_deinit(&c->peer);
    listener_unref(c->listener);
    free(c);
    atomic_fetch_sub(&l->gateway->connections, 1);
    if (!l->stopping && !at_cap(l))
        pause_listeners(l, false);
}

static void connection_new(struct watched *w, h2o_socket_t *sock) {
    struct loop *l = w->loop;
    struct connection *c = mem_zalloc(1, sizeof(*c));
    c->loop = l;
    c->sock = sock;
    c->idle_since_ms = clock_ms();
    c->listener = listener_ref(w->listener);
    c->next = l->connections;
    if (c->next != NULL)
        c->next->prev = c;
    l->connections = c;
    atomic_fetch_add(&l->gateway->connections, 1);
    sock->on_close.cb = on_connection_close;
    sock->on_close.data = c;
    sock->bytes_written = WHOLE_RECORDS_AFTER;
    h2o_accept(w->accept, sock);
}

static void on_accept(h2o_socket_t *listener, const char *err) {
    struct watched *w = listener->data;
    if (err != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (at_cap(w->loop)) {
            pause_listeners(w->loop, true);
            return;
        }
        h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
        if (sock == NULL)
            return;
        connection_new(w, sock);
    }
}

// --- listeners ---

static h2o_accept_ctx_t *accept_new(struct loop *l, SSL_CTX *tls) {
    h2o_accept_ctx_t *a = mem_zalloc(1, sizeof(*a));
    a->ctx = &l->ctx;
    a->hosts = l->globalconf.hosts;
    a->ssl_ctx = tls;
    return a;
}

/// From now on it accepts for this listener.
static void serve(struct watched *w, struct listener *listener) {
    w->listener = listener_ref(listener);
    w->accept = accept_new(w->loop, listener->tls);
    w->inside = listener->inside != NULL ? accept_new(w->loop, listener->inside) : NULL;
}

/// What it accepted with until now.
static void retire(struct loop *l, struct watched *w) {
    struct retired *r = mem_zalloc(1, sizeof(*r));
    r->accept = w->accept;
    r->inside = w->inside;
    r->listener = w->listener;
    r->at_ms = clock_ms();
    r->next = l->retired;
    l->retired = r;
}

static void free_retired(struct loop *l, int64_t older_than_ms) {
    for (struct retired **p = &l->retired; *p != NULL;) {
        struct retired *r = *p;
        if (r->at_ms > older_than_ms) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        listener_unref(r->listener);
        free(r->accept);
        free(r->inside);
        free(r);
    }
}

static bool watch(struct loop *l, struct listener *listener) {
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0)
        return false;
    struct watched *w = mem_zalloc(1, sizeof(*w));
    w->loop = l;
    serve(w, listener);
    w->sock = h2o_evloop_socket_create(l->ctx.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    w->sock->data = w;
    w->next = l->watched;
    l->watched = w;
    h2o_socket_read_start(w->sock, on_accept);
    return true;
}

static void unwatch(struct loop *l, struct watched *w) {
    for (struct watched **p = &l->watched; *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            break;
        }
    }
    h2o_socket_read_stop(w->sock);
    h2o_socket_close(w->sock);
    retire(l, w);
    free(w);
}

static struct listener *find(const struct listener_set *set, const char *address) {
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->item[i]->address, address) == 0)
            return set->item[i];
    return NULL;
}

static struct watched *find_watched(struct loop *l, const char *address) {
    struct watched *w = l->watched;
    while (w != NULL && strcmp(w->listener->address, address) != 0)
        w = w->next;
    return w;
}

struct listener *loop_listener(const struct connection *c) {
    struct watched *w = find_watched(c->loop, c->listener->address);
    return w != NULL ? w->listener : c->listener;
}

void loop_accept_inside(struct connection *c) {
    struct watched *w = find_watched(c->loop, c->listener->address);
    if (w != NULL && w->inside != NULL)
        h2o_accept(w->inside, c->sock);
    else
        h2o_socket_close(c->sock);
}

/// What all loops are told together; freed with the last reference, as a loop may come late.
struct telling {
    atomic_int refs;
    atomic_uint unwatched; ///< Sockets that a loop could not watch.
    sem_t done;            ///< Posted by each loop.
    struct listener_set set;
};

static void telling_unref(struct telling *t) {
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    listeners_close(&t->set);
    sem_destroy(&t->done);
    free(t);
}

struct listen_message {
    struct loop_message super;
    struct loop *loop;
    struct telling *telling; ///< A reference.
};

static void rewatch(struct loop *l, const struct listener_set *set) {
    for (struct watched *w = l->watched, *next; w != NULL; w = next) {
        next = w->next;
        struct listener *now = find(set, w->listener->address);
        if (now == NULL) {
            unwatch(l, w);
            continue;
        }
        retire(l, w);
        serve(w, now);
    }
}

static void run_listen(struct loop_message *super) {
    struct listen_message *m = H2O_STRUCT_FROM_MEMBER(struct listen_message, super, super);
    struct loop *l = m->loop;
    const struct listener_set *set = &m->telling->set;
    rewatch(l, set);
    for (size_t i = 0; i < set->count && !l->stopping; i++)
        if (find_watched(l, set->item[i]->address) == NULL && !watch(l, set->item[i]))
            atomic_fetch_add(&m->telling->unwatched, 1);
    sem_post(&m->telling->done);
    telling_unref(m->telling);
    free(m);
}

static void tell(struct loop *l, struct telling *t) {
    struct listen_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_listen;
    m->loop = l;
    m->telling = t;
    loop_post(l, &m->super);
}

/// False: they took too long.
static bool await(struct telling *t, unsigned count) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOP_LISTEN_MAX_MS / 1000;
    while (count > 0) {
        if (sem_clockwait(&t->done, CLOCK_MONOTONIC, &until) == 0)
            count--;
        else if (errno != EINTR)
            return false;
    }
    return true;
}

bool loops_listen(struct loop *const *loops, unsigned count, const struct listener_set *set, struct err *err) {
    struct telling *t = mem_zalloc(1, sizeof(*t));
    atomic_init(&t->refs, (int)count + 1);
    atomic_init(&t->unwatched, 0);
    sem_init(&t->done, 0, 0);
    t->set = listeners_copy(set);
    for (unsigned i = 0; i < count; i++)
        tell(loops[i], t);
    bool in_time = await(t, count), all = atomic_load(&t->unwatched) == 0;
    telling_unref(t);
    if (!in_time)
        return err_set(err, "a front loop is stuck: until it runs again it serves its old listeners");
    return all || err_set(err, "too many files are open: not every front loop serves every listener");
}

// --- the tick ---

static void check_answering(struct connection *c, const struct limits_config *limits, int64_t now_ms) {
    struct tcp_info info;
    socklen_t len = sizeof(info);
    if (getsockopt(h2o_socket_get_fd(c->sock), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    if (info.tcpi_state != TCP_STATE_ESTABLISHED) {
        c->loop->handlers->abandon(c->exchange);
        return;
    }
    if (info.tcpi_bytes_acked != c->acked || !c->loop->handlers->client_owes(c->exchange)) {
        c->acked = info.tcpi_bytes_acked;
        c->progress_ms = now_ms;
    } else if (now_ms - c->progress_ms > (int64_t)limits->send_timeout_s * 1000) {
        loop_cut(c);
    }
}

/// Between requests. Idleness is libh2o's to end; what is still here long after that is a close that cannot finish: TLS
/// that waits to say goodbye to a client that reads nothing.
static void check_waiting(struct connection *c, const struct limits_config *limits, int64_t now_ms) {
    if (now_ms - c->idle_since_ms > (int64_t)limits->idle_timeout_s * 1000 + IDLE_EXTRA_MS)
        loop_cut(c);
    else if (c->sock->input->size == 0)
        c->head_since_ms = 0;
    else if (c->head_since_ms == 0)
        c->head_since_ms = now_ms;
    else if (now_ms - c->head_since_ms > (int64_t)limits->head_timeout_s * 1000)
        loop_cut(c);
}

static void check_connections(struct loop *l) {
    int64_t now = clock_ms();
    struct config *config = gateway_config(l->gateway);
    for (struct connection *c = l->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (c->exchange != NULL)
            check_answering(c, &config->limits, now);
        else if (l->stopping)
            loop_cut(c);
        else
            check_waiting(c, &config->limits, now);
    }
    config_unref(config);
    free_retired(l, now - RETIRED_MS);
    linger_tick(&l->lingering, l->stopping);
    if (!l->stopping && !at_cap(l))
        pause_listeners(l, false);
}

static void on_tick(h2o_socket_t *sock, const char *err) {
    struct loop *l = sock->data;
    h2o_buffer_consume(&sock->input, sock->input->size); // How often it was due does not matter.
    metrics_loop_tick(l->lag, clock_ms());
    check_connections(l);
}

/// libh2o's own timers follow the wall clock, and would stand still after a step back; the kernel's need not.
static void start_tick(struct loop *l) {
    struct itimerspec every = {.it_interval = {.tv_sec = TICK_S}, .it_value = {.tv_sec = TICK_S}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) != 0)
        return;
    l->tick = h2o_evloop_socket_create(l->ctx.loop, fd, 0);
    l->tick->data = l;
    if (l->gateway->metrics != NULL)
        l->lag = metrics_loop_new(l->gateway->metrics, clock_ms(), TICK_S * 1000);
    h2o_socket_read_start(l->tick, on_tick);
}

// --- the end ---

struct stop_message {
    struct loop_message super;
    struct loop *loop;
    unsigned grace_ms;
};

static void run_stop(struct loop_message *super) {
    struct stop_message *m = H2O_STRUCT_FROM_MEMBER(struct stop_message, super, super);
    struct loop *l = m->loop;
    l->stopping = true;
    l->stop_at_ms = clock_ms() + m->grace_ms;
    while (l->watched != NULL)
        unwatch(l, l->watched);
    h2o_context_request_shutdown(&l->ctx);
    check_connections(l);
    free(m);
}

void loop_stop(struct loop *l, unsigned grace_ms) {
    struct stop_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_stop;
    m->loop = l;
    m->grace_ms = grace_ms;
    loop_post(l, &m->super);
}

static void run_until_empty(struct loop *l, int64_t until_ms) {
    while (l->connections != NULL && clock_ms() < until_ms)
        h2o_evloop_run(l->ctx.loop, 50);
}

/// In the loop's own thread: libh2o takes a socket's input buffer from a list of the thread that makes the socket, and
/// the context makes one. From another thread that list would be shared by all loops, without a lock.
static void begin(struct loop *l) {
    h2o_context_init(&l->ctx, h2o_evloop_create(), &l->globalconf);
    h2o_multithread_register_receiver(l->ctx.queue, &l->receiver, on_messages);
    start_tick(l);
}

/// In that thread too: what is given back goes to its list.
static void dispose(struct loop *l) {
    while (!h2o_linklist_is_empty(&l->receiver._messages))
        h2o_evloop_run(l->ctx.loop, 0);
    free_retired(l, INT64_MAX);
    linger_tick(&l->lingering, true);
    if (l->tick != NULL)
        h2o_socket_close(l->tick);
    h2o_multithread_unregister_receiver(l->ctx.queue, &l->receiver);
    h2o_evloop_t *evloop = l->ctx.loop;
    h2o_context_dispose(&l->ctx);
    h2o_evloop_destroy(evloop);
}

static void *run(void *arg) {
    struct loop *l = arg;
    begin(l);
    sem_post(&l->ready);
    while (!l->stopping)
        h2o_evloop_run(l->ctx.loop, INT32_MAX);
    run_until_empty(l, l->stop_at_ms);
    for (struct connection *c = l->connections; c != NULL; c = c->next)
        loop_cut(c);
    for (struct connection *c = l->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (c->exchange != NULL)
            c->loop->handlers->abandon(c->exchange);
    }
    run_until_empty(l, clock_ms() + CUT_WAIT_MS);
    metrics_loop_end(l->lag);
    sem_post(&l->ended);
    sem_wait(&l->unneeded);
    dispose(l);
    return NULL;
}

// --- making and freeing ---

static void configure(struct loop *l) {
    struct config *config = gateway_config(l->gateway);
    h2o_config_init(&l->globalconf);
    l->globalconf.server_name = h2o_iovec_init(H2O_STRLIT("pullgate"));
    l->globalconf.max_request_entity_size = GATEWAY_BODY_MAX;
    l->globalconf.http1.upgrade_to_http2 = 0;
    l->globalconf.http2.callbacks.request_shutdown = NULL; // Its timer would outlive the loop; HTTP/2 is off.
    l->globalconf.http1.req_timeout = (uint64_t)config->limits.idle_timeout_s * 1000;
    l->globalconf.handshake_timeout = HANDSHAKE_TIMEOUT_MS;
    config_unref(config);
    h2o_hostconf_t *host = h2o_config_register_host(&l->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    l->handlers->prepare(host);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = l->handlers->on_request;
}

struct loop *loop_new(struct gateway *g, const struct loop_handlers *handlers, struct err *err) {
    struct loop *l = mem_zalloc(1, sizeof(*l));
    l->gateway = g;
    l->handlers = handlers;
    configure(l);
    sem_init(&l->ready, 0, 0);
    sem_init(&l->ended, 0, 0);
    sem_init(&l->unneeded, 0, 0);
    if (pthread_create(&l->thread, NULL, run, l) == 0) {
        sem_wait(&l->ready);
        if (l->tick != NULL)
            return l;
        loop_stop(l, 0);
        loop_wait(l);
        loop_free(l);
        err_set(err, "cannot start a front loop: no timer is to be had");
        return NULL;
    }
    err_set(err, "cannot start a front loop");
    free(l);
    return NULL;
}

void loop_wait(struct loop *l) {
    sem_wait(&l->ended);
}

void loop_free(struct loop *l) {
    if (l->connections != NULL)
        return; // libh2o cannot dispose of a context with live connections; the process is about to end.
    sem_post(&l->unneeded);
    pthread_join(l->thread, NULL);
    h2o_config_dispose(&l->globalconf);
    free(l);
}
