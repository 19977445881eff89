// SPDX-License-Identifier: Apache-2.0
//
// Bringing the gateway up and down, and reloading its configuration.
//
// The order of the end: the loops stop serving; the fetcher's threads end; fetcher and store are idle together (each
// may give work to the other); then nothing uses the content any more, and it is freed before the loops, whose last
// messages only give things back.

#include "gateway/front/server.h"

#include "gateway/compliance/reports.h"
#include "gateway/front/admin.h"
#include "gateway/front/control.h"
#include "gateway/front/early.h"
#include "gateway/front/exchange.h"
#include "gateway/front/figures.h"
#include "gateway/front/loop.h"
#include "gateway/front/renewal.h"
#include "gateway/front/request.h"
#include "gateway/identity/identity.h"
#include "gateway/upkeep/service.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/self.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LOOPS_MAX = 64 };

struct server {
    struct gateway gateway;
    pthread_mutex_t reload_lock; ///< Guards `listeners` and everything that a reload does.
    struct listener_set listeners;
    struct loop *loops[LOOPS_MAX];
    unsigned loop_count;
    struct control *control;
    struct service *upkeep; ///< NULL: nothing is kept.
    struct admin *admin;    ///< NULL: not configured.
    struct renewal *renewal;
    bool started; ///< The log says so.
};

// --- sizes ---

static unsigned thread_count(const struct config *config) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = config->limits.threads != 0 ? config->limits.threads : cores > 0 ? (unsigned)cores : 1;
    return n < LOOPS_MAX ? n : LOOPS_MAX;
}

/// Raise the number of descriptors to what is permitted, and derive the cap on connections from it.
static size_t connections_max(const struct config *config) {
    struct rlimit limit = {1024, 1024};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    bool keeps = config->store.enabled;
    size_t reserved = GATEWAY_FDS_RESERVED + (keeps ? STORE_OPEN_MAX : 0);
    size_t fds = limit.rlim_cur > reserved ? (size_t)limit.rlim_cur - reserved : 0;
    size_t most = fds / (keeps ? GATEWAY_FDS_PER_FILL : GATEWAY_FDS_PER_CONNECTION);
    if (config->limits.max_connections != 0 && config->limits.max_connections < most)
        most = config->limits.max_connections;
    return most > GATEWAY_CONNECTIONS_MIN ? most : GATEWAY_CONNECTIONS_MIN;
}

// --- the log ---

static void log_event(struct server *s, const char *event, const char *config, const char *message) {
    struct audit_record r = {
        .event = event, .config = config, .bytes = -1, .ms = -1, .verified = -1, .message = message};
    audit_write(s->gateway.audit, &r);
}

static void log_reload(struct server *s, const char *old_hash, const char *new_hash, const struct err *err) {
    char text[ERR_TEXT_MAX + 64];
    if (new_hash != NULL)
        snprintf(text, sizeof(text), "configuration %s replaces %s", new_hash, old_hash);
    else
        snprintf(text, sizeof(text), "configuration %s stays: %s", old_hash, err->text);
    log_event(s, "reload", new_hash != NULL ? new_hash : old_hash, text);
}

// --- up ---

static const struct loop_handlers handlers = {
    .on_request = request_on,
    .prepare = early_register,
    .client_owes = exchange_client_owes,
    .abandon = exchange_abandon,
};

static bool start_loops(struct server *s, unsigned count, struct err *err) {
    for (; s->loop_count < count; s->loop_count++) {
        s->loops[s->loop_count] = loop_new(&s->gateway, &handlers, err);
        if (s->loops[s->loop_count] == NULL)
            return false;
    }
    return loops_listen(s->loops, s->loop_count, &s->listeners, err);
}

// --- the store ---

/// Asked on the store's thread, of the configuration that is in force then.
static bool is_kept(void *ctx, const char *registry, const char *repository, const char *tag) {
    struct server *s = ctx;
    struct config *c = gateway_config(&s->gateway);
    bool kept = config_store_keeps(c, registry, repository, tag);
    config_unref(c);
    return kept;
}

static void on_store_event(void *ctx, const char *event, const char *sentence) {
    struct server *s = ctx;
    struct config *c = gateway_config(&s->gateway);
    log_event(s, event, c->hash, sentence);
    config_unref(c);
}

static struct store_settings store_settings(struct server *s, const struct config *c) {
    struct store_settings settings = upkeep_settings(c);
    settings.keep = is_kept;
    settings.ctx = s;
    settings.event = on_store_event;
    return settings;
}

static bool open_store(struct server *s, struct err *err) {
    const struct config *c = s->gateway.config;
    if (!c->store.enabled)
        return true;
    struct store_settings settings = store_settings(s, c);
    s->gateway.store = store_open(&settings, err);
    return s->gateway.store != NULL;
}

static void reconfigure_store(struct server *s, const struct config *c) {
    struct store_settings settings = store_settings(s, c);
    if (s->gateway.store != NULL)
        store_reconfigure(s->gateway.store, &settings);
}

/// The configuration of today, for commands.
static struct config *config_today(void *ctx) {
    struct server *s = ctx;
    return gateway_config(&s->gateway);
}

/// `pullgate store` beside this gateway.
static bool start_upkeep(struct server *s, struct err *err) {
    if (s->gateway.store == NULL)
        return true;
    struct upkeep u = {s->gateway.store, s->gateway.content, config_today, s};
    s->upkeep = service_new(&u, err);
    return s->upkeep != NULL;
}

// --- who asks ---

static void on_identity_event(void *ctx, const char *sentence) {
    struct server *s = ctx;
    struct config *c = gateway_config(&s->gateway);
    log_event(s, "identity", c->hash, sentence);
    config_unref(c);
}

/// Always there: a reload may need them.
static bool start_identities(struct server *s, struct err *err) {
    s->gateway.identities = identities_new(&s->gateway.config->identity, err);
    if (s->gateway.identities != NULL)
        identities_tell(s->gateway.identities, on_identity_event, s);
    return s->gateway.identities != NULL;
}

/// Their threads answer to loops that have ended, which is harmless until those are freed.
static void end_identities(struct server *s) {
    const struct timespec moment = {.tv_nsec = 1000000};
    while (atomic_load(&s->gateway.asking) > 0)
        nanosleep(&moment, NULL);
    identities_free(s->gateway.identities);
}

// --- reports of machines ---

static void on_reports_event(void *ctx, const char *sentence) {
    struct server *s = ctx;
    struct config *c = gateway_config(&s->gateway);
    log_event(s, "compliance", c->hash, sentence);
    config_unref(c);
}

static bool start_reports(struct server *s, struct err *err) {
    s->gateway.reports = reports_new(s->gateway.config->state_directory, on_reports_event, s, err);
    return s->gateway.reports != NULL;
}

// --- whom the gateway must not ask ---

/// A name may have several addresses, and be bound to one: asking the others would lead nowhere either.
static void add_listener(struct self_listener *list, size_t *count, const struct hostport *at) {
    struct addrinfo *found = listener_resolve(at);
    for (const struct addrinfo *a = found; a != NULL && *count < SELF_LISTENERS_MAX; a = a->ai_next)
        if (address_from_sockaddr(a->ai_addr, list[*count].address))
            list[(*count)++].port = at->port;
    if (found != NULL)
        freeaddrinfo(found);
}

static void tell_self(struct server *s, const struct config *c) {
    struct self_listener list[SELF_LISTENERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < c->listener_count; i++)
        add_listener(list, &count, &c->listeners[i].at);
    if (c->admin.enabled)
        add_listener(list, &count, &c->admin.at);
    self_listens(fetcher_self(s->gateway.fetcher), list, count);
}

static bool start_back(struct server *s, unsigned threads, struct err *err) {
    uint8_t secret[32];
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        return err_set(err, "the kernel gives no random bytes");
    s->gateway.denials = denials_new(secret);
    s->gateway.fetcher = fetcher_new(threads, err);
    if (s->gateway.fetcher == NULL || !open_store(s, err) || !start_identities(s, err) || !start_reports(s, err))
        return false;
    tell_self(s, s->gateway.config);
    s->gateway.content = content_new(s->gateway.fetcher, s->gateway.store);
    return true;
}

// --- certificates that change ---

/// The same configuration, with listeners that read their files anew; those keep their sockets.
static bool reopen(struct server *s, struct config *c, struct err *err) {
    struct listener_set opened;
    struct err late;
    renewal_watch(s->renewal, c); // Before they are read: what changes meanwhile is seen the next time.
    if (!listeners_open(c, &s->listeners, &opened, err))
        return false;
    if (!loops_listen(s->loops, s->loop_count, &opened, &late))
        log_event(s, "warning", c->hash, late.text);
    listeners_close(&s->listeners);
    s->listeners = opened;
    return true;
}

/// On the renewal's thread.
static void renew(void *ctx) {
    struct server *s = ctx;
    struct err err;
    char text[ERR_TEXT_MAX + 64];
    pthread_mutex_lock(&s->reload_lock);
    struct config *c = gateway_config(&s->gateway);
    bool ok = reopen(s, c, &err);
    if (ok)
        figures_configured(&s->gateway, c, &s->listeners);
    snprintf(text, sizeof(text), "%s%s",
             ok ? "new ones are in use" : "what is there cannot be used, the old ones stay: ", ok ? "" : err.text);
    log_event(s, "certificates", c->hash, text);
    config_unref(c);
    pthread_mutex_unlock(&s->reload_lock);
}

static bool start_renewal(struct server *s, struct err *err) {
    s->renewal = renewal_new(renew, s);
    if (s->renewal == NULL)
        return err_set(err, "cannot start a thread");
    renewal_watch(s->renewal, s->gateway.config);
    return true;
}

// --- all of it ---

static bool reload_for_control(void *ctx, char *hash, struct err *err) {
    return server_reload(ctx, hash, err);
}

/// The first to be up: it says that the rest is not yet.
static bool start_admin(struct server *s, struct err *err) {
    struct config *c = s->gateway.config;
    if (c->admin.enabled)
        s->admin = admin_new(&s->gateway, c, err);
    return !c->admin.enabled || s->admin != NULL;
}

static bool start(struct server *s, struct err *err) {
    struct config *c = s->gateway.config;
    unsigned threads = thread_count(c);
    s->gateway.connections_max = connections_max(c);
    s->gateway.metrics = metrics_new();
    s->gateway.audit = audit_new(c->log_file, c->gateway_name, c->log_on_full, err);
    if (s->gateway.audit == NULL || !start_admin(s, err) || !listeners_open(c, NULL, &s->listeners, err) ||
        !start_back(s, threads, err) || !start_upkeep(s, err) || !start_loops(s, threads, err) ||
        !start_renewal(s, err))
        return false;
    if (c->control != NULL)
        s->control = control_new(c->control, reload_for_control, s, err);
    return c->control == NULL || s->control != NULL;
}

/// Clients of a socket that systemd opened and nobody serves would wait for ever.
static void warn_of_unclaimed(struct server *s) {
    char address[HOSTPORT_TEXT_MAX + 1], text[HOSTPORT_TEXT_MAX + 128];
    const struct admin_config *admin = &s->gateway.config->admin;
    for (int i = 0; listeners_unclaimed(&s->listeners, i, address); i++) {
        if (admin->enabled && strcmp(admin->address, address) == 0)
            continue;
        snprintf(text, sizeof(text), "systemd opened %s, which no listener names: whoever connects there waits",
                 address);
        log_event(s, "warning", s->gateway.config->hash, text);
    }
}

struct server *server_new(struct config *config, struct err *err) {
    struct server *s = mem_zalloc(1, sizeof(*s));
    pthread_mutex_init(&s->gateway.lock, NULL);
    pthread_mutex_init(&s->reload_lock, NULL);
    s->gateway.config = config;
    if (!start(s, err)) {
        server_stop(s);
        server_free(s);
        return NULL;
    }
    s->started = true;
    figures_configured(&s->gateway, config, &s->listeners);
    admin_set_state(s->admin, ADMIN_SERVING);
    log_event(s, "start", config->hash, "pullgate " PULLGATE_VERSION " serves");
    warn_of_unclaimed(s);
    return s;
}

// --- reload ---

static bool try_reload(struct server *s, const struct config *old, struct config **out, struct err *err) {
    struct listener_set opened;
    struct config *c = config_load(old->path, NULL, err);
    *out = c;
    if (c == NULL || !config_reloadable(old, c, err) || !listeners_open(c, &s->listeners, &opened, err))
        return false;
    if (!identities_reconfigure(s->gateway.identities, &c->identity, err)) {
        listeners_close(&opened);
        return false;
    }
    tell_self(s, c);
    struct err late;
    if (!loops_listen(s->loops, s->loop_count, &opened, &late))
        log_event(s, "warning", c->hash, late.text);
    listeners_close(&s->listeners);
    s->listeners = opened;
    return true;
}

bool server_reload(struct server *s, char *hash, struct err *err) {
    struct config *fresh = NULL;
    pthread_mutex_lock(&s->reload_lock);
    struct config *old = gateway_config(&s->gateway);
    bool ok = try_reload(s, old, &fresh, err);
    if (ok) {
        memcpy(hash, fresh->hash, CONFIG_HASH_HEX + 1);
        gateway_set_config(&s->gateway, fresh);
        reconfigure_store(s, fresh);
        renewal_watch(s->renewal, fresh);
        figures_configured(&s->gateway, fresh, &s->listeners);
    } else {
        config_unref(fresh);
        metrics_reload_failed(s->gateway.metrics);
    }
    if (ok)
        warn_of_unclaimed(s);
    log_reload(s, old->hash, ok ? hash : NULL, err); // After the swap: whoever reads the line meets the new rules.
    config_unref(old);
    pthread_mutex_unlock(&s->reload_lock);
    return ok;
}

void server_reopen_log(struct server *s) {
    audit_reopen(s->gateway.audit);
}

// --- down ---

void server_stop(struct server *s) {
    struct config *c = s->gateway.config;
    if (s->started)
        admin_set_state(s->admin, ADMIN_STOPPING);
    control_free(s->control);
    s->control = NULL;
    renewal_free(s->renewal);
    s->renewal = NULL;
    service_free(s->upkeep);
    s->upkeep = NULL;
    for (unsigned i = 0; i < s->loop_count; i++)
        loop_stop(s->loops[i], c->limits.shutdown_grace_s * 1000);
    listeners_close(&s->listeners);
    for (unsigned i = 0; i < s->loop_count; i++)
        loop_wait(s->loops[i]);
    if (s->started)
        log_event(s, "stop", c->hash, "pullgate " PULLGATE_VERSION " ends");
    admin_free(s->admin); // It read what is freed next.
    s->admin = NULL;
}

void server_free(struct server *s) {
    if (s->gateway.content != NULL)
        content_settle(s->gateway.content);
    end_identities(s);
    store_close(s->gateway.store);
    fetcher_free(s->gateway.fetcher);
    content_free(s->gateway.content);
    for (unsigned i = 0; i < s->loop_count; i++)
        loop_free(s->loops[i]);
    reports_free(s->gateway.reports);
    denials_free(s->gateway.denials);
    if (s->gateway.audit != NULL)
        audit_free(s->gateway.audit);
    metrics_free(s->gateway.metrics);
    config_unref(s->gateway.config);
    pthread_mutex_destroy(&s->gateway.lock);
    pthread_mutex_destroy(&s->reload_lock);
    free(s);
}

void server_url(const struct listener_config *l, char *out, size_t size) {
    struct hostport at = l->at;
    char text[HOSTPORT_TEXT_MAX + 1];
    if (strcmp(at.host, "0.0.0.0") == 0 || strcmp(at.host, "::") == 0)
        gethostname(at.host, sizeof(at.host) - 1);
    hostport_format(&at, text);
    snprintf(out, size, "%s://%s", l->tls ? "https" : "http", text);
}
