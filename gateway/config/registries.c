// SPDX-License-Identifier: Apache-2.0
//
// "registries": the allowlist. What is not here is never contacted.
//
// A registry is what the site wrote, with the catalogue's endpoints where it wrote none, and with the catalogue's realm
// and redirect hosts beside its own. Where a wildcard is written, the catalogue's registries that it covers are added
// under their own names ("implied"), so that `"*": {}` knows where docker.io really is.

#include "gateway/config/registries.h"

#include "gateway/config/access.h"
#include "gateway/policy/canary.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <ctype.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// --- host lists ---

struct host_reading {
    char ***list;
    size_t *count;
};

static char *lower(const char *s) {
    char *copy = mem_strdup(s);
    for (char *p = copy; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    return copy;
}

static void list_add(char ***list, size_t *count, const char *text) {
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*list)[i], text) == 0)
            return;
    *list = mem_resize(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = mem_strdup(text);
}

static bool read_host(struct reader *r, const struct json *value, void *into) {
    struct host_reading *h = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "a host such as \"cdn.example.com\" or \"*.cdn.example.com\"", value);
    char *host = lower(value->string);
    bool ok = host_pattern_valid(host, r->err) && !host_pattern_is_shared(host, r->err);
    if (ok)
        list_add(h->list, h->count, host);
    free(host);
    return ok || read_fail_again(r);
}

static bool read_hosts(struct reader *r, const struct json *value, char ***list, size_t *count) {
    struct host_reading h = {.list = list, .count = count};
    if (value->count > HOST_LIST_MAX)
        return read_fail(r, "expected at most %d hosts, found %zu", HOST_LIST_MAX, value->count);
    return read_each(r, value, read_host, &h);
}

// --- a registry's keys ---

static bool is_any(const struct registry *registry) {
    return strcmp(registry->name, "*") == 0;
}

static bool fail_any(struct reader *r) {
    return read_fail(r, "\"*\" means any registry, and those are reached anonymously, over https, at public addresses: "
                        "name the registry that needs this");
}

static bool read_registry_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    return read_path(r, value, &registry->ca) && read_check_file(r, registry->ca, FILE_CERTIFICATES);
}

static bool read_registry_endpoints(struct reader *r, const struct read_key *key, const struct json *value,
                                    void *into) {
    struct registry *registry = into;
    return is_any(registry) ? fail_any(r) : read_endpoints(r, value, registry);
}

static bool read_realm_hosts(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    return read_hosts(r, value, &registry->realm_hosts, &registry->realm_host_count);
}

static bool read_redirect_hosts(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    return read_hosts(r, value, &registry->redirect_hosts, &registry->redirect_host_count);
}

static bool read_external_urls(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    return read_hosts(r, value, &registry->external_urls, &registry->external_url_count);
}

static bool read_address_block(struct reader *r, const struct json *value, void *into) {
    struct registry *registry = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "an address block such as \"10.0.0.0/8\"", value);
    if (!cidr_parse(value->string, &registry->private_addresses[registry->private_address_count], r->err))
        return read_fail_again(r);
    registry->private_address_count++;
    return true;
}

static bool read_private_addresses(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    if (is_any(registry))
        return fail_any(r);
    if (value->count > HOST_LIST_MAX)
        return read_fail(r, "expected at most %d address blocks, found %zu", HOST_LIST_MAX, value->count);
    registry->private_addresses = mem_zalloc(value->count + 1, sizeof *registry->private_addresses);
    return read_each(r, value, read_address_block, registry);
}

static bool read_uses(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    return is_any(registry) ? fail_any(r) : read_registry_credentials(r, value, registry);
}

/// Names that are pullgate's own are no registries of a site.
static bool is_reserved(struct reader *r, const char *name) {
    if (is_canary(name))
        return !read_fail(r,
                          CANARY_REGISTRY " is denied always, so that clients can ask whether a gateway denies at all");
    if (is_unlisted_stand_in(name))
        return !read_fail(r, UNLISTED_REGISTRY " stands for the registries that are not listed");
    return false;
}

static bool read_alias(struct reader *r, const struct json *value, void *into) {
    struct registry *registry = into;
    struct hostport at;
    if (!read_bare_host(r, value, &at))
        return false;
    if (host_is_address(at.host))
        return read_fail(r, "expected a host name: an address cannot be taken over");
    if (is_reserved(r, at.host))
        return false;
    list_add(&registry->aliases, &registry->alias_count, at.host);
    return true;
}

static bool read_aliases(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    if (registry->wildcard)
        return read_fail(r, "an alias stands for one registry, not for many");
    if (value->count > HOST_LIST_MAX)
        return read_fail(r, "expected at most %d host names, found %zu", HOST_LIST_MAX, value->count);
    return read_each(r, value, read_alias, registry);
}

static bool read_address(struct reader *r, const struct json *value, void *into) {
    struct registry *registry = into;
    struct hostport at;
    if (!read_bare_host(r, value, &at))
        return false;
    if (!host_is_address(at.host))
        return read_fail(r, "expected an IP address such as \"140.82.121.33\", found \"%.80s\"", at.host);
    list_add(&registry->resolve, &registry->resolve_count, at.host);
    return true;
}

static bool read_resolve(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    if (registry->wildcard)
        return read_fail(r, "addresses are those of one registry, not of many");
    if (value->count == 0 || value->count > RESOLVE_MAX)
        return read_fail(r, "expected 1 to %d addresses, found %zu", RESOLVE_MAX, value->count);
    return read_each(r, value, read_address, registry);
}

static bool read_offline(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct registry *registry = into;
    registry->offline = value->boolean;
    return true;
}

const struct read_key registry_keys[] = {
    {.name = "endpoints",
     .takes = TAKES_LIST,
     .expected = "a list of URLs",
     .read = read_registry_endpoints,
     .shape = READ_LIST,
     .children = endpoint_keys},
    {.name = "ca", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = read_registry_ca},
    {.name = "realm_hosts", .takes = TAKES_LIST, .expected = "a list of hosts", .read = read_realm_hosts},
    {.name = "redirect_hosts", .takes = TAKES_LIST, .expected = "a list of hosts", .read = read_redirect_hosts},
    {.name = "private_addresses",
     .takes = TAKES_LIST,
     .expected = "a list of address blocks such as [\"10.0.0.0/8\"]",
     .read = read_private_addresses},
    {.name = "external_urls", .takes = TAKES_LIST, .expected = "a list of hosts", .read = read_external_urls},
    {.name = "credentials",
     .takes = TAKES_STRING | TAKES_LIST,
     .expected = "the name of a credential or a list of { \"for\", \"use\" }",
     .read = read_uses,
     .shape = READ_LIST,
     .children = credential_use_keys},
    {.name = "tag_ttl",
     .takes = TAKES_STRING,
     .expected = "a duration such as \"60s\" or \"1h\"",
     .read = read_duration,
     .offset = offsetof(struct registry, tag_ttl_s),
     .width = sizeof(((struct registry *)0)->tag_ttl_s),
     .least = 0,
     .most = STORE_TAG_TTL_MAX_S},
    {.name = "aliases", .takes = TAKES_LIST, .expected = "a list of host names", .read = read_aliases},
    {.name = "resolve", .takes = TAKES_LIST, .expected = "a list of IP addresses", .read = read_resolve},
    {.name = "offline", .takes = TAKES_BOOL, .expected = "true or false", .read = read_offline},
    {.name = NULL},
};

// --- what the catalogue adds ---

static void add_catalogue_hosts(struct registry *registry, const struct catalog_host *hosts, size_t host_count,
                                char ***list, size_t *count) {
    for (size_t i = 0; i < host_count; i++) {
        list_add(list, count, hosts[i].host);
        if (hosts[i].shared)
            list_add(&registry->shared_hosts, &registry->shared_host_count, hosts[i].host);
    }
}

static void add_home_hosts(struct registry *registry, const struct catalog_entry *entry) {
    for (size_t i = 0; i < entry->endpoint_count; i++) {
        const char *host = strstr(entry->endpoints[i], "://");
        if (host == NULL)
            continue;
        char *bare = mem_strndup(host + 3, strcspn(host + 3, "/"));
        list_add(&registry->home_hosts, &registry->home_host_count, bare);
        free(bare);
    }
}

static void add_catalogue(struct registry *registry, const struct catalog_entry *entry) {
    registry->catalogued = true;
    for (size_t i = 0; registry->endpoint_count == 0 && i < entry->endpoint_count; i++)
        endpoint_add(registry, entry->endpoints[i]);
    add_home_hosts(registry, entry);
    add_catalogue_hosts(registry, entry->realm_hosts, entry->realm_host_count, &registry->realm_hosts,
                        &registry->realm_host_count);
    add_catalogue_hosts(registry, entry->redirect_hosts, entry->redirect_host_count, &registry->redirect_hosts,
                        &registry->redirect_host_count);
}

/// Where every endpoint is plain, the proxy for http, else that for https.
static void set_proxy(struct registry *registry, const struct proxies *proxies) {
    bool plain = registry->endpoint_count > 0;
    for (size_t i = 0; i < registry->endpoint_count; i++)
        plain = plain && registry->endpoints[i].plain;
    registry->proxy = mem_strdup(plain ? proxies->http : proxies->https);
    registry->no_proxy = registry->proxy != NULL ? mem_strdup(proxies->no_proxy) : NULL;
}

static void complete(const struct loading *loading, struct registry *registry) {
    const struct catalog_entry *entry = catalog_find(loading->catalog, registry->name);
    size_t written = registry->endpoint_count;
    if (entry != NULL)
        add_catalogue(registry, entry);
    if (written == 0 && registry->endpoint_count == 0 && !registry->wildcard) {
        char *url = mem_printf("https://%s", registry->name);
        endpoint_add(registry, url);
        free(url);
    }
    endpoints_complete(registry, entry);
    set_proxy(registry, &loading->proxies);
}

// --- the map ---

/// One registry on its way into the configuration's two parallel arrays.
struct draft {
    struct registry *registry;
    struct registry_origin origin;
};

struct drafts {
    struct draft *list;
    size_t count;
    const struct json *map;
};

static void draft_deinit(struct draft *d) {
    registry_free(d->registry);
    free(d->origin.key);
}

static bool canonical_name(struct reader *r, const char *key, char **out) {
    char name[REGISTRY_MAX + 1];
    if (strchr(key, '*') != NULL) {
        *out = lower(key);
        if (strcmp(*out, "*") == 0 || host_pattern_valid(*out, r->err))
            return true;
        free(*out);
        *out = NULL;
        return read_fail_again(r);
    }
    if (!name_registry(key, strlen(key), name, r->err))
        return read_fail_again(r);
    *out = mem_strdup(name);
    return true;
}

static bool read_draft(struct reader *r, const struct json *value, char *name, bool implied, struct draft *d) {
    d->registry = mem_zalloc(1, sizeof *d->registry);
    d->registry->name = name;
    d->registry->tag_ttl_s = UINT_MAX;
    d->registry->wildcard = strchr(name, '*') != NULL;
    d->origin = (struct registry_origin){.key = mem_strdup(value->key), .implied = implied};
    if (!read_object(r, value, registry_keys, d->registry))
        return false;
    complete(r->loading, d->registry);
    return true;
}

static bool read_written(struct reader *r, const struct json *value, void *into) {
    struct drafts *drafts = into;
    char *name = NULL;
    if (!canonical_name(r, value->key, &name))
        return false;
    if (is_reserved(r, name)) {
        free(name);
        return false;
    }
    return read_draft(r, value, name, false, &drafts->list[drafts->count++]);
}

static int by_specificity(const void *a, const void *b) {
    const struct registry *x = ((const struct draft *)a)->registry, *y = ((const struct draft *)b)->registry;
    if (x->wildcard != y->wildcard)
        return x->wildcard ? 1 : -1;
    int left = x->wildcard ? host_pattern_specificity(x->name) : 0;
    int right = y->wildcard ? host_pattern_specificity(y->name) : 0;
    if (left != right)
        return left < right ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void sort(struct drafts *drafts) {
    if (drafts->count > 0)
        qsort(drafts->list, drafts->count, sizeof *drafts->list, by_specificity);
}

/// Two keys for one registry would leave it open which of them holds.
static bool check_unique(struct reader *r, const struct drafts *drafts) {
    for (size_t i = 1; i < drafts->count; i++) {
        const struct draft *a = &drafts->list[i - 1], *b = &drafts->list[i];
        if (strcmp(a->registry->name, b->registry->name) != 0)
            continue;
        bool a_is_plain = strcmp(a->origin.key, a->registry->name) == 0;
        const struct draft *other = a_is_plain ? b : a, *first = a_is_plain ? a : b;
        read_enter_key(r, other->origin.key);
        read_fail(r, "this is the registry %s, which is here already as \"%.80s\"", first->registry->name,
                  first->origin.key);
        read_leave(r);
        return false;
    }
    return true;
}

// --- the catalogue's registries under a wildcard ---

static const struct draft *covering(const struct drafts *drafts, size_t written, const char *name) {
    struct hostport at;
    bool parsed = hostport_parse(name, strlen(name), &at, NULL);
    for (size_t i = 0; i < written; i++) {
        const struct registry *r = drafts->list[i].registry;
        if (strcmp(r->name, name) == 0)
            return &drafts->list[i];
        if (r->wildcard && (strcmp(r->name, "*") == 0 || (parsed && host_pattern_match(r->name, &at, 443))))
            return &drafts->list[i];
    }
    return NULL;
}

static bool add_implied_one(struct reader *r, struct drafts *drafts, size_t written, const char *name) {
    const struct draft *by = covering(drafts, written, name);
    if (by == NULL || !by->registry->wildcard || strcmp(by->registry->name, name) == 0)
        return true;
    const struct json *value = json_get(drafts->map, by->origin.key);
    drafts->list = mem_resize(drafts->list, drafts->count + 1, sizeof *drafts->list);
    read_enter_key(r, value->key);
    bool ok = read_draft(r, value, mem_strdup(name), true, &drafts->list[drafts->count++]);
    read_leave(r);
    return ok;
}

static bool add_implied(struct reader *r, struct drafts *drafts) {
    const struct catalog *catalog = r->loading->catalog;
    size_t written = drafts->count;
    bool wildcards = written > 0 && drafts->list[written - 1].registry->wildcard;
    for (size_t i = 0; wildcards && i < catalog_count(catalog); i++)
        if (!add_implied_one(r, drafts, written, catalog_at(catalog, i)->registry))
            return false;
    sort(drafts);
    return true;
}

static void keep(struct config *c, struct drafts *drafts) {
    c->registries = mem_zalloc(drafts->count + 1, sizeof *c->registries);
    c->registry_origins = mem_zalloc(drafts->count + 1, sizeof *c->registry_origins);
    for (size_t i = 0; i < drafts->count; i++) {
        c->registries[i] = drafts->list[i].registry;
        c->registry_origins[i] = drafts->list[i].origin;
        c->exact_registry_count += drafts->list[i].registry->wildcard ? 0 : 1;
    }
    c->registry_count = drafts->count;
}

bool read_registries(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct drafts drafts = {.map = value};
    if (value->count > REGISTRIES_MAX)
        return read_fail(r, "expected at most %d registries, found %zu", REGISTRIES_MAX, value->count);
    drafts.list = mem_zalloc(value->count + 1, sizeof *drafts.list);
    bool ok = read_each(r, value, read_written, &drafts);
    if (ok) {
        sort(&drafts);
        ok = check_unique(r, &drafts) && add_implied(r, &drafts);
    }
    if (ok)
        keep(into, &drafts);
    for (size_t i = 0; !ok && i < drafts.count; i++)
        draft_deinit(&drafts.list[i]);
    free(drafts.list);
    return ok;
}
