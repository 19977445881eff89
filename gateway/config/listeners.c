// SPDX-License-Identifier: Apache-2.0
//
// "listeners": where clients reach the gateway; "admin": where those who run it do.
//
// A listener's address is its identity across reloads, so it is kept in one canonical form and may occur once.

#include "gateway/config/access.h"
#include "gateway/config/loading.h"

#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stdlib.h>
#include <string.h>

static const char default_address[] = "127.0.0.1:5080";

bool read_registry_name(struct reader *r, const struct json *value, char **out) {
    char name[REGISTRY_MAX + 1];
    if (!name_registry(value->string, value->string_len, name, r->err))
        return read_fail_again(r);
    free(*out);
    *out = mem_strdup(name);
    return true;
}

static bool read_listener_name(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_name(r, value, &l->name);
}

static void set_address(const struct hostport *at, char **address) {
    char text[HOSTPORT_TEXT_MAX + 1];
    hostport_format(at, text);
    free(*address);
    *address = mem_strdup(text);
}

/// Where to listen: an IP address and a port, and their canonical form.
static bool read_place(struct reader *r, const struct json *value, struct hostport *at, char **address) {
    if (value->string[0] == ':')
        return read_fail(r, "expected an address before the port; \"[::]%.8s\" listens on every one", value->string);
    if (!hostport_parse(value->string, value->string_len, at, r->err))
        return read_fail_again(r);
    if (strcmp(at->host, "localhost") == 0)
        memcpy(at->host, "127.0.0.1", sizeof "127.0.0.1");
    if (!host_is_address(at->host))
        return read_fail(r,
                         "expected an IP address and a port such as \"127.0.0.1:5080\" or \"[::]:5443\", found the "
                         "name \"%.80s\"",
                         at->host);
    if (at->port == 0)
        return read_fail(r, "expected a port after the address, such as \"127.0.0.1:5080\"");
    set_address(at, address);
    return true;
}

static bool read_address(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_place(r, value, &l->at, &l->address);
}

static bool read_tls(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    if (value->type == JSON_NULL)
        return true;
    l->tls = true;
    if (value->type == JSON_OBJECT)
        return read_object(r, value, tls_keys, l);
    l->tls_auto = strcmp(value->string, "auto") == 0;
    return l->tls_auto || read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
}

static bool read_certificate(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_path(r, value, &l->certificate) && read_check_file(r, l->certificate, FILE_PUBLIC);
}

static bool read_key_file(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    return read_path(r, value, &l->key) && read_check_file(r, l->key, FILE_SECRET);
}

static bool read_listener_default(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct listener_config *l = into;
    l->default_registry_written = true;
    return read_registry_name(r, value, &l->default_registry);
}

static bool read_denials(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"final", "plain", NULL};
    struct listener_config *l = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    l->denials = word == 0 ? DENIALS_FINAL : DENIALS_PLAIN;
    return true;
}

const struct read_key tls_keys[] = {
    {.name = "certificate",
     .takes = TAKES_STRING,
     .expected = "the path of a PEM file",
     .read = read_certificate,
     .required = true},
    {.name = "key",
     .takes = TAKES_STRING,
     .expected = "the path of a PEM file",
     .read = read_key_file,
     .required = true},
    {.name = NULL},
};

const struct read_key listener_keys[] = {
    {.name = "name", .takes = TAKES_STRING, .expected = "a name for the log", .read = read_listener_name},
    {.name = "address",
     .takes = TAKES_STRING,
     .expected = "an IP address and a port such as \"127.0.0.1:5080\"",
     .read = read_address,
     .required = true},
    {.name = "tls",
     .takes = TAKES_NULL | TAKES_STRING | TAKES_OBJECT,
     .expected = "\"auto\" or { \"certificate\", \"key\" }",
     .read = read_tls,
     .shape = READ_OBJECT,
     .children = tls_keys},
    {.name = "default_registry", .takes = TAKES_STRING, .expected = "a registry's name", .read = read_listener_default},
    {.name = "denials", .takes = TAKES_STRING, .expected = "\"final\" or \"plain\"", .read = read_denials},
    {.name = "names", .takes = TAKES_LIST, .expected = "a list of host names and addresses", .read = access_read_names},
    {.name = "takeover", .takes = TAKES_BOOL, .expected = "true or false", .read = access_read_takeover},
    {.name = "connect",
     .takes = TAKES_STRING,
     .expected = "\"off\", \"refuse\" or \"takeover\"",
     .read = access_read_connect},
    {.name = "challenge", .takes = TAKES_BOOL, .expected = "true or false", .read = access_read_challenge},
    {.name = "client_ca", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = access_read_client_ca},
    {.name = "client_crl", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = access_read_client_crl},
    {.name = "crl_expired",
     .takes = TAKES_STRING,
     .expected = "\"refuse\" or \"accept\"",
     .read = access_read_crl_expired},
    {.name = "client_certificate",
     .takes = TAKES_STRING,
     .expected = "\"optional\" or \"required\"",
     .read = access_read_client_certificate},
    {.name = "name_from",
     .takes = TAKES_LIST,
     .expected = "a list of \"uri\", \"dns\", \"email\" and \"cn\"",
     .read = access_read_name_from},
    {.name = "identify",
     .takes = TAKES_STRING,
     .expected = "\"none\", \"optional\" or \"required\"",
     .read = access_read_identify},
    {.name = "trusted_proxies",
     .takes = TAKES_LIST,
     .expected = "a list of address blocks such as [\"10.0.0.0/8\"]",
     .read = access_read_trusted_proxies},
    {.name = NULL},
};

// --- the list ---

static bool check_unique(struct reader *r, const struct config *c, const struct listener_config *l) {
    for (const struct listener_config *other = c->listeners; other < l; other++) {
        size_t index = (size_t)(other - c->listeners);
        if (strcmp(other->address, l->address) == 0)
            return read_fail(r, "listeners[%zu] has the address %s already", index, l->address);
        if (strcmp(other->name, l->name) == 0)
            return read_fail(r, "listeners[%zu] has the name \"%s\" already", index, l->name);
    }
    return true;
}

static bool read_listener(struct reader *r, const struct json *value, void *into) {
    struct config *c = into;
    struct listener_config *l = &c->listeners[c->listener_count++];
    if (!read_object(r, value, listener_keys, l) || !access_check(r, l))
        return false;
    if (l->name == NULL)
        l->name = mem_strdup(l->address);
    return check_unique(r, c, l);
}

bool read_listeners(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    if (value->count == 0)
        return read_fail(r, "expected at least one listener");
    if (value->count > LISTENERS_MAX)
        return read_fail(r, "expected at most %d listeners, found %zu", LISTENERS_MAX, value->count);
    c->listeners = mem_zalloc(value->count, sizeof *c->listeners);
    return read_each(r, value, read_listener, c);
}

static void add_default_listener(struct config *c) {
    c->listeners = mem_zalloc(1, sizeof *c->listeners);
    c->listener_count = 1;
    struct listener_config *l = &c->listeners[0];
    hostport_parse(default_address, sizeof default_address - 1, &l->at, NULL);
    set_address(&l->at, &l->address);
    l->name = mem_strdup(l->address);
}

void listeners_complete(struct config *c) {
    if (c->listener_count == 0)
        add_default_listener(c);
    for (size_t i = 0; i < c->listener_count; i++) {
        if (c->listeners[i].default_registry == NULL)
            c->listeners[i].default_registry = mem_strdup(c->default_registry);
        access_complete(&c->listeners[i]);
    }
}

// --- admin ---

static bool read_admin_address(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct admin_config *a = into;
    return read_place(r, value, &a->at, &a->address);
}

const struct read_key admin_keys[] = {
    {.name = "address",
     .takes = TAKES_STRING,
     .expected = "an IP address and a port such as \"127.0.0.1:5081\"",
     .read = read_admin_address,
     .required = true},
    {.name = NULL},
};

bool read_admin(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    c->admin.enabled = value->type != JSON_NULL;
    return !c->admin.enabled || read_object(r, value, admin_keys, &c->admin);
}

bool admin_check(struct reader *r, const struct config *c) {
    for (size_t i = 0; c->admin.enabled && i < c->listener_count; i++)
        if (strcmp(c->admin.address, c->listeners[i].address) == 0)
            return read_fail(r, "admin.address: listeners[%zu] has the address %s already", i, c->admin.address);
    return true;
}
