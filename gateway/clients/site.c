// SPDX-License-Identifier: Apache-2.0
//
// A site's description, out of its JSON and back.
//
// What is read here ends in files of clients, so every text is one that such a file can hold: URLs and hosts in their
// canonical form, names without wildcards where there are none, words without control characters. Plain memory; any
// thread.

#include "gateway/clients/site.h"

#include "gateway/clients/url.h"
#include "mirrors/base/host.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/digest.h"

#include <stdlib.h>
#include <string.h>

enum {
    SITE_LIST_MAX = 10000, ///< Members of each list.
    SITE_WORD_MAX = 4096,  ///< Bytes of each text.
    SITE_HEADERS_MAX = 32
};

static const char token_marks[] = "!#$%&'*+-.^_`|~";

// --- texts ---

static bool printable(const char *s) {
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

/// The text of a key that may be missing; false: it is none, or none that we take.
static bool read_text(const struct json *object, const char *key, char **out, struct err *err) {
    const struct json *value = json_get(object, key);
    if (value == NULL || value->type == JSON_NULL)
        return true;
    if (value->type != JSON_STRING)
        return err_set(err, "\"%s\": expected a string, found %s", key, json_type_words(value->type));
    if (value->string_len == 0 || value->string_len > SITE_WORD_MAX || !printable(value->string))
        return err_set(err, "\"%s\": expected one printable line of at most %d bytes", key, SITE_WORD_MAX);
    *out = mem_strdup(value->string);
    return true;
}

static bool read_path(const struct json *object, const char *key, char **out, struct err *err) {
    if (!read_text(object, key, out, err))
        return false;
    return *out == NULL || (*out)[0] == '/' || err_set(err, "\"%s\": expected an absolute path", key);
}

static bool read_flag(const struct json *object, const char *key, bool *out, struct err *err) {
    const struct json *value = json_get(object, key);
    if (value == NULL)
        return true;
    *out = value->boolean;
    return value->type == JSON_BOOL || err_set(err, "\"%s\": expected true or false", key);
}

/// Is every member a string that `valid` takes? An absent list is an empty one.
static bool read_list(const struct json *object, const char *key, bool (*valid)(const char *text, struct err *err),
                      char ***out, size_t *count, struct err *err) {
    const struct json *list = json_get(object, key);
    if (list == NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > SITE_LIST_MAX)
        return err_set(err, "\"%s\": expected a list of at most %d texts", key, SITE_LIST_MAX);
    *out = mem_zalloc(list->count + 1, sizeof **out);
    for (const struct json *value = list->child; value != NULL; value = value->next) {
        if (value->type != JSON_STRING || value->string_len > SITE_WORD_MAX)
            return err_set(err, "\"%s\": expected strings only", key);
        if (!valid(value->string, err))
            return err_prefix(err, "\"%s\": ", key);
        (*out)[(*count)++] = mem_strdup(value->string);
    }
    return true;
}

static bool host_valid(const char *text, struct err *err) {
    struct hostport at;
    return hostport_parse(text, strlen(text), &at, err);
}

static bool pattern_valid(const char *text, struct err *err) {
    return host_pattern_valid(text, err);
}

bool no_proxy_is_everything(const char *entry) {
    size_t len = strlen(entry);
    return strcmp(entry, "*") == 0 || (len > 2 && strcmp(entry + len - 2, "/0") == 0);
}

static bool no_proxy_valid(const char *text, struct err *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:/*[]";
    if (no_proxy_is_everything(text))
        return err_set(err, "\"%s\" would send every request of a client past the gateway", text);
    if (text[0] != '\0' && strspn(text, allowed) == strlen(text))
        return true;
    return err_set(err, "expected a host name, an address or a block, found \"%.80s\"", text);
}

// --- its parts ---

/// The canonical text of a URL into *out, and what it leads to.
static bool read_url(const struct json *object, const char *key, char **out, struct gateway_url *url, struct err *err) {
    char *text = NULL;
    bool ok = read_text(object, key, &text, err);
    if (ok && text != NULL) {
        ok = gateway_url_parse(text, url, err) || err_prefix(err, "\"%s\": ", key);
        *out = ok ? gateway_url_text(url) : NULL;
    }
    free(text);
    return ok;
}

static bool read_gateway(const struct json *root, struct client_site *site, struct err *err) {
    struct gateway_url url;
    if (!read_url(root, "gateway", &site->gateway, &url, err))
        return false;
    if (site->gateway == NULL)
        return err_set(err, "\"gateway\" is missing: where the gateway is");
    site->host = gateway_url_host(&url);
    site->plain = url.plain;
    return read_url(root, "proxy", &site->proxy, &url, err);
}

static bool read_registry(const struct json *value, struct site_registry *r, struct err *err) {
    if (!read_text(value, "name", &r->name, err))
        return false;
    if (r->name == NULL)
        return err_set(err, "\"registries\": a registry has no \"name\"");
    if (strcmp(r->name, "*") != 0 && !host_pattern_valid(r->name, err))
        return err_prefix(err, "\"registries\": ");
    return read_list(value, "hosts", pattern_valid, &r->hosts, &r->host_count, err);
}

static bool read_registries(const struct json *root, struct client_site *site, struct err *err) {
    const struct json *list = json_get(root, "registries");
    if (list == NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > SITE_LIST_MAX)
        return err_set(err, "\"registries\": expected a list of at most %d registries", SITE_LIST_MAX);
    site->registries = mem_zalloc(list->count + 1, sizeof *site->registries);
    for (const struct json *value = list->child; value != NULL; value = value->next) {
        if (value->type != JSON_OBJECT)
            return err_set(err, "\"registries\": expected objects only");
        if (!read_registry(value, &site->registries[site->registry_count++], err))
            return false;
    }
    return true;
}

static bool is_token(const char *s) {
    for (const char *p = s; *p != '\0'; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!letter && strchr(token_marks, *p) == NULL)
            return false;
    }
    return s[0] != '\0';
}

/// Errors never show a header's value: it may be a secret.
static bool read_headers(const struct json *root, struct client_site *site, struct err *err) {
    const struct json *map = json_get(root, "headers");
    if (map == NULL)
        return true;
    if (map->type != JSON_OBJECT || map->count > SITE_HEADERS_MAX)
        return err_set(err, "\"headers\": expected an object of at most %d headers", SITE_HEADERS_MAX);
    site->headers = mem_zalloc(map->count + 1, sizeof *site->headers);
    for (const struct json *value = map->child; value != NULL; value = value->next) {
        bool text = value->type == JSON_STRING && value->string_len <= SITE_WORD_MAX && printable(value->string);
        if (!is_token(value->key) || value->key_len > SITE_WORD_MAX || !text)
            return err_set(err, "\"headers\": expected names of headers, each with one printable line");
        site->headers[site->header_count++] =
            (struct site_header){.name = mem_strdup(value->key), .value = mem_strdup(value->string)};
    }
    return true;
}

static bool read_own(const struct json *root, struct client_site *site, struct err *err) {
    if (!read_path(root, "ca", &site->ca, err) || !read_path(root, "certificate", &site->certificate, err) ||
        !read_path(root, "key", &site->key, err))
        return false;
    if ((site->certificate != NULL) != (site->key != NULL))
        return err_set(err, "expected both \"certificate\" and \"key\", or neither");
    return read_flag(root, "led", &site->led, err) && read_text(root, "led_address", &site->led_address, err) &&
           read_headers(root, site, err);
}

static bool read_site(const struct json *root, struct client_site *site, struct err *err) {
    const struct json *format = json_get(root, "format");
    if (root->type != JSON_OBJECT)
        return err_set(err, "expected an object, found %s", json_type_words(root->type));
    if (format == NULL || !format->is_integer || format->integer != CLIENT_SITE_FORMAT)
        return err_set(err, "\"format\": this version of pullgate reads %d only", CLIENT_SITE_FORMAT);
    return read_gateway(root, site, err) && read_text(root, "message", &site->message, err) &&
           read_registries(root, site, err) &&
           read_list(root, "direct", host_valid, &site->direct, &site->direct_count, err) &&
           read_list(root, "no_proxy", no_proxy_valid, &site->no_proxy, &site->no_proxy_count, err) &&
           read_flag(root, "takeover", &site->takeover, err) && read_flag(root, "monitor", &site->monitor, err) &&
           read_own(root, site, err);
}

struct client_site *client_site_parse(const char *text, size_t len, struct err *err) {
    struct err spare;
    err = err != NULL ? err : &spare;
    if (len > CLIENT_SITE_TEXT_MAX) {
        err_set(err, "over %d bytes", CLIENT_SITE_TEXT_MAX);
        return NULL;
    }
    struct json *root = json_parse(text, len, JSON_STRICT, err);
    if (root == NULL)
        return NULL;
    struct client_site *site = mem_zalloc(1, sizeof *site);
    bool ok = read_site(root, site, err);
    json_free(root);
    if (ok)
        return site;
    client_site_free(site);
    return NULL;
}

// --- writing ---

static void write_key(struct buf *out, const char *key) {
    buf_addf(out, ",\"%s\":", key);
}

static void write_text(struct buf *out, const char *key, const char *text) {
    if (text == NULL)
        return;
    write_key(out, key);
    buf_add_json(out, text, strlen(text));
}

static void write_members(struct buf *out, char *const *texts, size_t count) {
    buf_adds(out, "[");
    for (size_t i = 0; i < count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        buf_add_json(out, texts[i], strlen(texts[i]));
    }
    buf_adds(out, "]");
}

static void write_registries(struct buf *out, const struct client_site *site) {
    write_key(out, "registries");
    buf_adds(out, "[");
    for (size_t i = 0; i < site->registry_count; i++) {
        const struct site_registry *r = &site->registries[i];
        buf_adds(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        buf_add_json(out, r->name, strlen(r->name));
        buf_adds(out, ",\"hosts\":");
        write_members(out, r->hosts, r->host_count);
        buf_adds(out, "}");
    }
    buf_adds(out, "]");
}

static void write_headers(struct buf *out, const struct client_site *site) {
    if (site->header_count == 0)
        return;
    write_key(out, "headers");
    buf_adds(out, "{");
    for (size_t i = 0; i < site->header_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        buf_add_json(out, site->headers[i].name, strlen(site->headers[i].name));
        buf_adds(out, ":");
        buf_add_json(out, site->headers[i].value, strlen(site->headers[i].value));
    }
    buf_adds(out, "}");
}

bool client_site_write(const struct client_site *site, bool own, struct buf *out) {
    buf_addf(out, "{\"format\":%d", CLIENT_SITE_FORMAT);
    write_text(out, "gateway", site->gateway);
    write_text(out, "proxy", site->proxy);
    write_text(out, "message", site->message);
    write_registries(out, site);
    write_key(out, "direct");
    write_members(out, site->direct, site->direct_count);
    write_key(out, "no_proxy");
    write_members(out, site->no_proxy, site->no_proxy_count);
    write_key(out, "takeover");
    buf_adds(out, site->takeover ? "true" : "false");
    buf_adds(out, site->monitor ? ",\"monitor\":true" : "");
    if (own) {
        write_text(out, "ca", site->ca);
        write_text(out, "certificate", site->certificate);
        write_text(out, "key", site->key);
        write_headers(out, site);
        buf_adds(out, site->led ? ",\"led\":true" : "");
        write_text(out, "led_address", site->led_address);
    }
    buf_adds(out, "}\n");
    return !out->overflow;
}

void client_site_hash(const struct client_site *site, char out[CLIENT_SITE_HASH_HEX + 1]) {
    char digest[DIGEST_TEXT_MAX + 1];
    struct buf text;
    buf_init(&text, CLIENT_SITE_TEXT_MAX);
    client_site_write(site, false, &text);
    digest_of(DIGEST_SHA256, text.data, text.len, digest);
    memcpy(out, strchr(digest, ':') + 1, CLIENT_SITE_HASH_HEX);
    out[CLIENT_SITE_HASH_HEX] = '\0';
    buf_deinit(&text);
}

// --- life ---

static void free_texts(char **texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void client_site_free(struct client_site *site) {
    if (site == NULL)
        return;
    for (size_t i = 0; i < site->registry_count; i++) {
        free(site->registries[i].name);
        free_texts(site->registries[i].hosts, site->registries[i].host_count);
    }
    for (size_t i = 0; i < site->header_count; i++) {
        free(site->headers[i].name);
        mem_wipe(site->headers[i].value);
    }
    free_texts(site->direct, site->direct_count);
    free_texts(site->no_proxy, site->no_proxy_count);
    free(site->registries);
    free(site->headers);
    free(site->gateway);
    free(site->host);
    free(site->proxy);
    free(site->message);
    free(site->ca);
    free(site->certificate);
    free(site->key);
    free(site->led_address);
    free(site);
}
