// SPDX-License-Identifier: Apache-2.0
//
// Opening listening sockets. Runs on the main thread.

#include "gateway/front/listener.h"

#include "certs/server.h"
#include "gateway/front/peer.h"
#include "gateway/front/signer.h"
#include "gateway/front/takeover.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, SYSTEMD_FIRST_FD = 3 };

struct listener *listener_ref(struct listener *l) {
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void listener_unref(struct listener *l) {
    if (l == NULL || atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    SSL_CTX_free(l->tls);
    SSL_CTX_free(l->inside);
    peer_trust_free(l->trust);
    signer_unref(l->signer);
    free(l->address);
    config_unref(l->config);
    free(l);
}

void listeners_close(struct listener_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        if (atomic_fetch_sub(&set->item[i]->sets, 1) == 1)
            close(set->item[i]->fd);
        listener_unref(set->item[i]);
    }
    set->count = 0;
}

struct listener_set listeners_copy(const struct listener_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        atomic_fetch_add(&set->item[i]->sets, 1);
        listener_ref(set->item[i]);
    }
    return *set;
}

static bool set_options(int fd, int family) {
    int on = 1, off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return false;
    return family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0;
}

static int bind_one(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return -1;
    if (set_options(fd, ai->ai_family) && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

struct addrinfo *listener_resolve(const struct hostport *at) {
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST};
    struct addrinfo *result = NULL;
    snprintf(port, sizeof(port), "%u", at->port);
    if (!host_is_address(at->host))
        hints.ai_flags &= ~AI_NUMERICHOST;
    return getaddrinfo(at->host, port, &hints, &result) == 0 ? result : NULL;
}

static int open_new(const struct listener_config *lc, struct err *err) {
    struct addrinfo *found = listener_resolve(&lc->at);
    if (found == NULL) {
        err_set(err, "listener %s: this address cannot be resolved", lc->address);
        return -1;
    }
    int fd = bind_one(found);
    if (fd < 0)
        err_set(err, "listener %s: cannot listen there: %s", lc->address, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

static bool same_address(int fd, const struct hostport *at) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    uint8_t bound[16], wanted[16];
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0 || !address_from_sockaddr((struct sockaddr *)&ss, bound) ||
        !address_from_text(at->host, wanted) || memcmp(bound, wanted, sizeof(bound)) != 0)
        return false;
    in_port_t port =
        ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port : ((struct sockaddr_in6 *)&ss)->sin6_port;
    return ntohs(port) == at->port;
}

static int systemd_count(void) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
        return 0;
    long count = strtol(fds, NULL, 10);
    return count > 0 && count <= LISTENERS_MAX ? (int)count : 0;
}

static bool claimed(const struct listener_set *set, int fd) {
    for (size_t i = 0; i < set->count; i++)
        if (same_address(fd, &set->item[i]->settings->at))
            return true;
    return false;
}

static void format_address(int fd, char *out) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char host[HOST_MAX + 1] = "?", port[8] = "?";
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, HOSTPORT_TEXT_MAX + 1, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

bool listeners_unclaimed(const struct listener_set *set, int index, char *out) {
    for (int i = 0, count = systemd_count(); i < count; i++) {
        if (claimed(set, SYSTEMD_FIRST_FD + i) || index-- > 0)
            continue;
        format_address(SYSTEMD_FIRST_FD + i, out);
        return true;
    }
    return false;
}

/// A duplicate, so that the descriptor from systemd stays for the next reload.
static int take_from_systemd(const struct hostport *at) {
    for (int i = 0, count = systemd_count(); i < count; i++) {
        int fd = SYSTEMD_FIRST_FD + i;
        if (!same_address(fd, at))
            continue;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        return fcntl(fd, F_DUPFD_CLOEXEC, SYSTEMD_FIRST_FD + count);
    }
    return -1;
}

static int take_from_old(const struct listener_set *old, const char *address) {
    for (size_t i = 0; old != NULL && i < old->count; i++)
        if (strcmp(old->item[i]->address, address) == 0)
            return fcntl(old->item[i]->fd, F_DUPFD_CLOEXEC, SYSTEMD_FIRST_FD);
    return -1;
}

static int open_socket(const struct listener_config *lc, const struct listener_set *old, struct err *err) {
    int fd = take_from_old(old, lc->address);
    if (fd < 0)
        fd = take_from_systemd(&lc->at);
    return fd >= 0 ? fd : open_new(lc, err);
}

// --- TLS ---

/// What the server-name callback needs of a listener; it lives as long as the context.
struct taking_over {
    struct config *config;
    const struct listener_config *settings;
    struct signer *signer;
};

static bool takes_over(void *ctx, const char *server_name) {
    const struct taking_over *t = ctx;
    struct takeover found;
    return takeover_of(t->config, t->settings, server_name, &found);
}

static void release(void *ctx) {
    struct taking_over *t = ctx;
    signer_unref(t->signer);
    config_unref(t->config);
    free(t);
}

static struct taking_over *taking_over_new(struct listener *l) {
    struct taking_over *t = mem_zalloc(1, sizeof(*t));
    t->config = config_ref(l->config);
    t->settings = l->settings;
    t->signer = l->signer != NULL ? signer_ref(l->signer) : NULL;
    return t;
}

/// `inside`: of tunnels, where nobody asks for the gateway itself.
static SSL_CTX *open_tls(struct listener *l, bool inside, struct err *err) {
    const struct listener_config *lc = l->settings;
    char *session =
        mem_printf("%s %s%s", lc->address, lc->client_ca != NULL ? lc->client_ca : "", inside ? " inside" : "");
    bool files = !inside && !lc->tls_auto;
    struct certs_server spec = {
        .certificate_file = files ? lc->certificate : NULL,
        .key_file = files ? lc->key : NULL,
        .names = (const char *const *)lc->names,
        .name_count = inside ? 0 : lc->name_count,
        .leaves = l->signer != NULL ? signer_leaves(l->signer) : NULL,
        .takes_over = inside || lc->takeover ? takes_over : NULL,
        .ctx = taking_over_new(l), // It keeps the leaves, too.
        .release = release,
        .trust = l->trust,
        .session_context = session,
    };
    SSL_CTX *made = certs_server_make(&spec, err);
    free(session);
    if (made != NULL)
        front_peer_watch(made);
    return made;
}

static bool needs_signer(const struct listener_config *lc) {
    return (lc->tls && (lc->tls_auto || lc->takeover)) || lc->connect == CONNECT_TAKEOVER;
}

static struct signer *signer_in(const struct listener_set *set) {
    for (size_t i = 0; set != NULL && i < set->count; i++)
        if (set->item[i]->signer != NULL)
            return set->item[i]->signer;
    return NULL;
}

/// Everything that handshakes need.
static bool open_security(struct listener *l, struct signer *signer, struct err *err) {
    const struct listener_config *lc = l->settings;
    l->signer = needs_signer(lc) && signer != NULL ? signer_ref(signer) : NULL;
    if (lc->client_ca != NULL &&
        (l->trust = peer_trust_new(lc->client_ca, lc->client_crl, lc->crl_expired_accepted, err)) == NULL)
        return false;
    if (lc->tls && (l->tls = open_tls(l, false, err)) == NULL)
        return false;
    return lc->connect != CONNECT_TAKEOVER || (l->inside = open_tls(l, true, err)) != NULL;
}

// --- all together ---

static struct listener *open_listener(struct config *config, const struct listener_config *lc,
                                      const struct listener_set *old, struct signer *signer, struct err *err) {
    struct listener *l = mem_zalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    atomic_init(&l->sets, 1);
    l->address = mem_strdup(lc->address);
    l->config = config_ref(config);
    l->settings = lc;
    l->fd = -1;
    if (!open_security(l, signer, err))
        err_prefix(err, "listener %s: ", lc->address);
    else if ((l->fd = open_socket(lc, old, err)) >= 0)
        return l;
    listener_unref(l);
    return NULL;
}

static bool any_needs_signer(const struct config *config) {
    for (size_t i = 0; i < config->listener_count; i++)
        if (needs_signer(&config->listeners[i]))
            return true;
    return false;
}

static bool open_all(struct config *config, const struct listener_set *old, struct signer *signer,
                     struct listener_set *out, struct err *err) {
    for (size_t i = 0; i < config->listener_count; i++) {
        struct listener *l = open_listener(config, &config->listeners[i], old, signer, err);
        if (l == NULL) {
            listeners_close(out);
            return false;
        }
        out->item[out->count++] = l;
    }
    return true;
}

bool listeners_open(struct config *config, const struct listener_set *old, struct listener_set *out, struct err *err) {
    struct signer *signer = NULL;
    out->count = 0;
    if (any_needs_signer(config) && (signer = signer_open(config, signer_in(old), err)) == NULL)
        return false;
    bool ok = open_all(config, old, signer, out, err);
    signer_unref(signer);
    return ok;
}

bool listeners_open_one(struct config *config, const struct listener_config *lc, struct listener_set *out,
                        struct err *err) {
    out->count = 0;
    struct listener *l = open_listener(config, lc, NULL, NULL, err);
    if (l != NULL)
        out->item[out->count++] = l;
    return l != NULL;
}
