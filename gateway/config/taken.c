// SPDX-License-Identifier: Apache-2.0
//
// Which host names takeover serves, and for which registry: a list in order, made when the configuration is loaded, as
// every TLS handshake asks.
//
// A registry's own name goes before another's alias, and that before an endpoint's host, which several registries can
// share; then it is nobody's. An endpoint with a path (a proxy project of another registry) lends no name: what stands
// under that host is something else. "*" names nobody: every name of the internet would be served.

#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stdlib.h>
#include <string.h>

enum { RANK_NAME, RANK_ALIAS, RANK_ENDPOINT, RANK_REALM };

// --- collecting ---

static void add(struct config *c, const char *host, char *own, size_t registry, int rank) {
    if (host_is_address(host)) {
        free(own);
        return;
    }
    c->taken = mem_resize(c->taken, c->taken_count + 1, sizeof *c->taken);
    c->taken[c->taken_count++] =
        (struct taken_name){.host = host, .own = own, .registry = registry, .rank = (unsigned char)rank};
}

/// Host and port apart: the name of a registry may have one.
static void add_own_name(struct config *c, const char *name, size_t registry) {
    struct hostport at;
    if (!hostport_parse(name, strlen(name), &at, NULL))
        return;
    char *own = mem_strdup(at.host);
    add(c, own, own, registry, RANK_NAME);
}

static void add_realms(struct config *c, const struct registry *r, size_t registry) {
    struct hostport at;
    for (size_t i = 0; i < r->realm_host_count; i++) {
        if (strchr(r->realm_hosts[i], '*') != NULL ||
            !hostport_parse(r->realm_hosts[i], strlen(r->realm_hosts[i]), &at, NULL))
            continue;
        char *own = mem_strdup(at.host);
        add(c, own, own, registry, RANK_REALM);
    }
}

static void add_registry(struct config *c, size_t registry) {
    const struct registry *r = c->registries[registry];
    if (!r->wildcard)
        add_own_name(c, r->name, registry);
    if (strcmp(r->name, "docker.io") == 0)
        add(c, "index.docker.io", NULL, registry, RANK_NAME);
    for (size_t i = 0; i < r->alias_count; i++)
        add(c, r->aliases[i], NULL, registry, RANK_ALIAS);
    for (size_t i = 0; i < r->endpoint_count; i++)
        if (r->endpoints[i].path[0] == '\0')
            add(c, r->endpoints[i].at.host, NULL, registry, RANK_ENDPOINT);
    add_realms(c, r, registry);
}

static int by_host_and_rank(const void *a, const void *b) {
    const struct taken_name *x = a, *y = b;
    int order = strcmp(x->host, y->host);
    if (order != 0)
        return order;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->registry < y->registry ? -1 : x->registry > y->registry;
}

static bool fail_alias(struct reader *r, const struct config *c, const struct taken_name *a,
                       const struct taken_name *b) {
    const struct taken_name *alias = a->rank == RANK_ALIAS ? a : b, *other = alias == a ? b : a;
    return read_fail(r, "registries.\"%.80s\".aliases: %s is the name of \"%.80s\" already",
                     c->registry_origins[alias->registry].key, alias->host, c->registry_origins[other->registry].key);
}

/// The first of each host stays. Among names of registries (r.example.com and r.example.com:5000) that is the first.
static bool settle(struct reader *r, struct config *c) {
    size_t kept = 0;
    bool ok = true;
    for (size_t i = 0; i < c->taken_count; i++) {
        struct taken_name *now = &c->taken[i], *last = kept > 0 ? &c->taken[kept - 1] : NULL;
        if (last == NULL || strcmp(last->host, now->host) != 0) {
            c->taken[kept++] = *now;
            continue;
        }
        bool others = last->registry != now->registry;
        if (ok && others && now->rank == RANK_ALIAS)
            ok = fail_alias(r, c, now, last);
        if (others && last->rank == now->rank && now->rank == RANK_ENDPOINT)
            last->ambiguous = true;
        free(now->own);
    }
    c->taken_count = kept;
    return ok;
}

bool taken_build(struct reader *r, struct config *c) {
    for (size_t i = 0; i < c->registry_count; i++)
        add_registry(c, i);
    if (c->taken_count == 0)
        return true;
    qsort(c->taken, c->taken_count, sizeof *c->taken, by_host_and_rank);
    return settle(r, c);
}

// --- asking ---

static int host_against(const void *host, const void *element) {
    const struct taken_name *t = element;
    return strcmp(host, t->host);
}

/// Redirect hosts are never taken over: what they serve is no registry's.
static bool is_redirect_host(const struct config *c, const struct hostport *at) {
    for (size_t i = 0; i < c->registry_count; i++)
        for (size_t k = 0; k < c->registries[i]->redirect_host_count; k++)
            if (host_pattern_match(c->registries[i]->redirect_hosts[k], at, 443))
                return true;
    return false;
}

static const struct registry *by_wildcard(const struct config *c, const char *host) {
    struct hostport at;
    if (!hostport_parse(host, strlen(host), &at, NULL) || at.port != 0 || host_is_address(at.host))
        return NULL;
    for (size_t i = c->exact_registry_count; i < c->registry_count; i++) {
        const struct registry *r = c->registries[i];
        if (strcmp(r->name, "*") != 0 && r->endpoint_count == 0 && host_pattern_match(r->name, &at, 443))
            return is_redirect_host(c, &at) ? NULL : r;
    }
    return NULL;
}

const struct registry *config_taken_over(const struct config *c, const char *host, bool *realm) {
    const struct taken_name *t =
        c->taken_count > 0 ? bsearch(host, c->taken, c->taken_count, sizeof *c->taken, host_against) : NULL;
    if (realm != NULL)
        *realm = t != NULL && t->rank == RANK_REALM;
    if (t == NULL)
        return by_wildcard(c, host);
    return t->ambiguous ? NULL : c->registries[t->registry];
}

// --- what the authority is to issue for ---

struct name_list {
    char **list;
    size_t count;
};

static void keep(struct name_list *names, const char *name) {
    names->list = mem_resize(names->list, names->count + 1, sizeof *names->list);
    names->list[names->count++] = mem_strdup(name);
}

/// What is literal at the end of a wildcard ("azurecr.io" of "*.azurecr.io"): constraints cover what is below.
static const char *literal_tail(const char *wildcard) {
    const char *star = strrchr(wildcard, '*');
    const char *dot = star != NULL ? strchr(star, '.') : NULL;
    return star == NULL ? wildcard : dot != NULL ? dot + 1 : NULL;
}

static void keep_registries(const struct config *c, struct name_list *names) {
    for (size_t i = 0; i < c->taken_count; i++)
        if (!c->taken[i].ambiguous)
            keep(names, c->taken[i].host);
    for (size_t i = c->exact_registry_count; i < c->registry_count; i++) {
        const char *tail = literal_tail(c->registries[i]->name);
        if (tail != NULL)
            keep(names, tail);
    }
}

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void remove_doubles(struct name_list *names) {
    size_t kept = 0;
    if (names->count > 0)
        qsort(names->list, names->count, sizeof *names->list, by_text);
    for (size_t i = 0; i < names->count; i++) {
        if (kept > 0 && strcmp(names->list[kept - 1], names->list[i]) == 0)
            free(names->list[i]);
        else
            names->list[kept++] = names->list[i];
    }
    names->count = kept;
}

char **config_authority_names(const struct config *c, size_t *count) {
    struct name_list names = {0};
    bool takes_over = false;
    for (size_t i = 0; i < c->listener_count; i++) {
        const struct listener_config *l = &c->listeners[i];
        takes_over = takes_over || l->takeover || l->connect == CONNECT_TAKEOVER;
        for (size_t k = 0; (l->tls_auto || l->connect == CONNECT_TAKEOVER) && k < l->name_count; k++)
            keep(&names, l->names[k]);
    }
    if (takes_over)
        keep_registries(c, &names);
    remove_doubles(&names);
    *count = names.count;
    return names.list;
}
