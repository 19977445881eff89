// SPDX-License-Identifier: Apache-2.0
//
// A registry's endpoints: where it is reached, in order.
//
// An endpoint on the registry's own hosts (its name, or where the catalogue says that it is) may be given the
// registry's credentials; every other one only those that it names itself.

#include "gateway/config/registries.h"

#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stdlib.h>
#include <string.h>

static const char https[] = "https://";
static const char http[] = "http://";
static const char url_words[] = "a URL that begins with https:// or http://";

enum { HTTPS_PORT = 443, HTTP_PORT = 80 };

// --- a URL ---

static bool path_valid(const char *path, struct err *err) {
    if (strcmp(path, "v2") == 0 || strncmp(path, "v2/", 3) == 0)
        return err_set(err, "expected the URL without /v2: that is where a path stands, after it");
    if (path[0] == '\0' || name_repository_valid(path, strlen(path)))
        return true;
    return err_set(err, "expected a path of repository components such as https://harbor.example.com/hub-proxy");
}

static void set_base(struct endpoint *e) {
    struct hostport at = e->at;
    char text[HOSTPORT_TEXT_MAX + 1];
    if (at.port == (e->plain ? HTTP_PORT : HTTPS_PORT))
        at.port = 0;
    hostport_format(&at, text);
    e->base = mem_printf("%s%s", e->plain ? http : https, text);
}

static bool parse_url(const char *url, struct endpoint *e, struct err *err) {
    e->plain = strncmp(url, http, sizeof http - 1) == 0;
    if (!e->plain && strncmp(url, https, sizeof https - 1) != 0)
        return err_set(err, "expected %s, found \"%.80s\"", url_words, url);
    const char *host = url + (e->plain ? sizeof http : sizeof https) - 1;
    size_t host_len = strcspn(host, "/?#");
    if (memchr(host, '@', host_len) != NULL)
        return err_set(err, "expected no user name or password in a URL: name a credential instead");
    if (!hostport_parse(host, host_len, &e->at, err))
        return false;
    if (strpbrk(host, "?#") != NULL)
        return err_set(err, "expected no query and no fragment in an endpoint's URL");
    if (e->at.port == 0)
        e->at.port = e->plain ? HTTP_PORT : HTTPS_PORT;
    const char *path = host + host_len + strspn(host + host_len, "/");
    size_t path_len = strlen(path);
    while (path_len > 0 && path[path_len - 1] == '/')
        path_len--;
    e->path = mem_strndup(path, path_len);
    set_base(e);
    return path_valid(e->path, err);
}

// --- reading ---

static bool read_url(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    return parse_url(value->string, into, r->err) || read_fail_again(r);
}

static bool read_endpoint_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct endpoint *e = into;
    return read_path(r, value, &e->ca) && read_check_file(r, e->ca, FILE_CERTIFICATES);
}

static bool read_endpoint_credential(struct reader *r, const struct read_key *key, const struct json *value,
                                     void *into) {
    struct endpoint *e = into;
    e->credential = read_credential_name(r, value);
    return e->credential != NULL;
}

const struct read_key endpoint_keys[] = {
    {.name = "url", .takes = TAKES_STRING, .expected = url_words, .read = read_url, .required = true},
    {.name = "ca", .takes = TAKES_STRING, .expected = "the path of a PEM file", .read = read_endpoint_ca},
    {.name = "credentials",
     .takes = TAKES_STRING,
     .expected = "the name of a credential",
     .read = read_endpoint_credential},
    {.name = NULL},
};

static bool check_unique(struct reader *r, const struct registry *registry) {
    size_t last = registry->endpoint_count - 1;
    const struct endpoint *e = &registry->endpoints[last];
    for (size_t i = 0; i < last; i++) {
        const struct endpoint *other = &registry->endpoints[i];
        if (strcmp(other->base, e->base) == 0 && strcmp(other->path, e->path) == 0)
            return read_fail(r, "endpoints[%zu] is the same", i);
    }
    return true;
}

static bool read_endpoint(struct reader *r, const struct json *value, void *into) {
    struct registry *registry = into;
    struct endpoint *e = &registry->endpoints[registry->endpoint_count++];
    bool ok = false;
    if (value->type == JSON_STRING)
        ok = parse_url(value->string, e, r->err) || read_fail_again(r);
    else if (value->type == JSON_OBJECT)
        ok = read_object(r, value, endpoint_keys, e);
    else
        read_expected(r, "a URL or { \"url\", \"ca\", \"credentials\" }", value);
    return ok && check_unique(r, registry);
}

bool read_endpoints(struct reader *r, const struct json *value, struct registry *registry) {
    if (value->count == 0)
        return read_fail(r, "expected at least one endpoint; leave the key out for the usual one");
    if (value->count > ENDPOINTS_MAX)
        return read_fail(r, "expected at most %d endpoints, found %zu", ENDPOINTS_MAX, value->count);
    registry->endpoints = mem_zalloc(value->count, sizeof *registry->endpoints);
    return read_each(r, value, read_endpoint, registry);
}

void endpoint_add(struct registry *registry, const char *url) {
    struct endpoint e = {0};
    if (!parse_url(url, &e, NULL)) {
        free(e.base);
        free(e.path);
        return;
    }
    registry->endpoints = mem_resize(registry->endpoints, registry->endpoint_count + 1, sizeof e);
    registry->endpoints[registry->endpoint_count++] = e;
}

// --- whose host it is ---

/// A name without a port stands for every port of its host: the site wrote the endpoint's port itself.
static bool is_named_host(const struct registry *registry, const struct endpoint *e) {
    struct hostport name;
    if (strcmp(registry->name, "*") == 0)
        return false;
    if (registry->wildcard)
        return host_pattern_match(registry->name, &e->at, HTTPS_PORT);
    if (!hostport_parse(registry->name, strlen(registry->name), &name, NULL) || strcmp(name.host, e->at.host) != 0)
        return false;
    return name.port == 0 || name.port == e->at.port;
}

static bool is_catalogue_host(const struct catalog_entry *entry, const struct endpoint *e) {
    for (size_t i = 0; entry != NULL && i < entry->endpoint_count; i++) {
        const char *host = entry->endpoints[i] + sizeof https - 1;
        struct hostport at;
        if (hostport_parse(host, strlen(host), &at, NULL) && hostport_equal(&at, &e->at, HTTPS_PORT))
            return true;
    }
    return false;
}

void endpoints_complete(struct registry *registry, const struct catalog_entry *entry) {
    for (size_t i = 0; i < registry->endpoint_count; i++) {
        struct endpoint *e = &registry->endpoints[i];
        e->own_host = is_named_host(registry, e) || is_catalogue_host(entry, e);
        if (e->ca == NULL)
            e->ca = mem_strdup(registry->ca);
    }
}
