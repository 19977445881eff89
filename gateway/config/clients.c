// SPDX-License-Identifier: Apache-2.0
//
// "clients": what client machines are told of this site; "compliance": what is expected of their reports.

#include "gateway/clients/site.h"
#include "gateway/clients/url.h"
#include "gateway/config/loading.h"
#include "gateway/policy/canary.h"

#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void list_add(struct text_list *list, const char *text) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->texts[i], text) == 0)
            return;
    list->texts = mem_resize(list->texts, list->count + 1, sizeof *list->texts);
    list->texts[list->count++] = mem_strdup(text);
}

static void list_deinit(struct text_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
}

// --- where the gateway is ---

static bool read_gateway_url(struct reader *r, const struct json *value, char **out) {
    struct gateway_url url;
    if (!gateway_url_parse(value->string, &url, r->err))
        return read_fail_again(r);
    free(*out);
    *out = gateway_url_text(&url);
    return true;
}

static bool read_gateway(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct clients_config *c = into;
    return read_gateway_url(r, value, &c->gateway);
}

static bool read_clients_proxy(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct clients_config *c = into;
    c->no_proxy_listener = value->type == JSON_NULL;
    return c->no_proxy_listener || read_gateway_url(r, value, &c->proxy);
}

static bool read_takeover(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct clients_config *c = into;
    c->takeover = value->boolean;
    return true;
}

// --- what goes past it ---

static bool read_direct_one(struct reader *r, const struct json *value, void *into) {
    char name[REGISTRY_MAX + 1];
    if (value->type != JSON_STRING)
        return read_expected(r, "a registry's host such as \"registry.corp.example.com\"", value);
    if (!name_registry(value->string, value->string_len, name, r->err))
        return read_fail_again(r);
    if (is_canary(name) || is_unlisted_stand_in(name))
        return read_fail(r, "%s is pullgate's own: nobody reaches it", name);
    list_add(into, name);
    return true;
}

static bool read_direct(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct clients_config *c = into;
    if (value->count > CLIENT_HOSTS_MAX)
        return read_fail(r, "expected at most %d registries, found %zu", CLIENT_HOSTS_MAX, value->count);
    return read_each(r, value, read_direct_one, &c->direct);
}

static bool read_no_proxy_one(struct reader *r, const struct json *value, void *into) {
    if (value->type != JSON_STRING)
        return read_expected(r, "a host name, an address or a block", value);
    if (!no_proxy_entry_valid(value->string) || value->string_len > HOSTPORT_TEXT_MAX)
        return read_fail(r, "expected a host name, an address or a block such as \"10.0.0.0/8\", found \"%.80s\"",
                         value->string);
    if (no_proxy_is_everything(value->string))
        return read_fail(r, "\"%s\" would send every request of a client past the gateway", value->string);
    list_add(into, value->string);
    return true;
}

static bool read_clients_no_proxy(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct clients_config *c = into;
    if (value->count > CLIENT_HOSTS_MAX)
        return read_fail(r, "expected at most %d hosts, found %zu", CLIENT_HOSTS_MAX, value->count);
    return read_each(r, value, read_no_proxy_one, &c->no_proxy);
}

const struct read_key clients_keys[] = {
    {.name = "gateway",
     .takes = TAKES_STRING,
     .expected = "a URL such as \"https://gateway.example.com\"",
     .read = read_gateway},
    {.name = "proxy",
     .takes = TAKES_NULL | TAKES_STRING,
     .expected = "a URL such as \"http://gateway.example.com:3128\", or null for none",
     .read = read_clients_proxy},
    {.name = "direct", .takes = TAKES_LIST, .expected = "a list of registries", .read = read_direct},
    {.name = "no_proxy", .takes = TAKES_LIST, .expected = "a list of hosts", .read = read_clients_no_proxy},
    {.name = "takeover", .takes = TAKES_BOOL, .expected = "true or false", .read = read_takeover},
    {.name = NULL},
};

bool read_clients(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_object(r, value, clients_keys, &c->clients);
}

// --- compliance ---

static bool read_expected_one(struct reader *r, const struct json *value, void *into) {
    char *name = NULL;
    if (!read_line(r, value, MACHINE_NAME_MAX, &name))
        return false;
    list_add(into, name);
    free(name);
    return true;
}

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static bool read_machines(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct compliance_config *c = into;
    if (value->count > EXPECTED_MACHINES_MAX)
        return read_fail(r, "expected at most %d machines, found %zu", EXPECTED_MACHINES_MAX, value->count);
    if (!read_each(r, value, read_expected_one, &c->expected))
        return false;
    if (c->expected.count > 0)
        qsort(c->expected.texts, c->expected.count, sizeof *c->expected.texts, by_text);
    return true;
}

#define FIELD(name)                                                                                                    \
    .offset = offsetof(struct compliance_config, name), .width = sizeof(((struct compliance_config *)0)->name)

const struct read_key compliance_keys[] = {
    {.name = "outdated_after",
     .takes = TAKES_STRING,
     .expected = "a duration such as \"24h\" or \"7d\"",
     .read = read_duration,
     FIELD(outdated_after_s),
     .least = OUTDATED_AFTER_MIN_S,
     .most = OUTDATED_AFTER_MAX_S},
    {.name = "forget_after",
     .takes = TAKES_STRING,
     .expected = "a duration such as \"90d\"",
     .read = read_duration,
     FIELD(forget_after_s),
     .least = FORGET_AFTER_MIN_S,
     .most = FORGET_AFTER_MAX_S},
    {.name = "expected", .takes = TAKES_LIST, .expected = "a list of machines", .read = read_machines},
    {.name = NULL},
};

#undef FIELD

bool read_compliance(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_object(r, value, compliance_keys, &c->compliance);
}

void clients_default(struct config *c) {
    c->compliance.outdated_after_s = OUTDATED_AFTER_S;
    c->compliance.forget_after_s = FORGET_AFTER_S;
}

_Static_assert((int)CLIENT_SITE_HASH_HEX == (int)CONFIG_HASH_HEX, "both are kept in one form");

/// A description that does not fit is none: nobody would read a part of one rightly.
void site_complete(struct config *c) {
    struct client_site *site = config_site(c, NULL);
    struct buf text;
    if (site == NULL)
        return;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    if (client_site_write(site, false, &text)) {
        client_site_hash(site, c->site_hash);
        c->site_len = text.len;
        c->site = buf_steal(&text);
    }
    buf_deinit(&text);
    client_site_free(site);
}

void clients_deinit(struct config *c) {
    free(c->site);
    free(c->clients.gateway);
    free(c->clients.proxy);
    list_deinit(&c->clients.direct);
    list_deinit(&c->clients.no_proxy);
    list_deinit(&c->compliance.expected);
}
