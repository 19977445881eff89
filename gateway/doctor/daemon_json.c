// SPDX-License-Identifier: Apache-2.0
//
// Docker Engine's daemon.json.

#include "gateway/doctor/daemon_json.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static bool wrong(struct daemon_json *d, const struct conf *value, const char *key, const char *wanted) {
    return err_set(&d->why, "line %u: %s: expected %s, found %s", value->line, key, wanted,
                   conf_type_words(value->type));
}

static bool read_list(struct daemon_json *d, const struct conf *root, const char *key, struct names *out) {
    const struct conf *list = conf_get(root, key);
    if (list == NULL || list->type == CONF_NULL)
        return true;
    if (list->type != CONF_LIST)
        return wrong(d, list, key, "a list of strings");
    for (const struct conf *at = list->child; at != NULL; at = at->next) {
        if (at->type != CONF_STRING)
            return wrong(d, at, key, "a list of strings");
        names_add(out, at->string);
    }
    return true;
}

static bool read_string(struct daemon_json *d, const struct conf *table, const char *key, char **out) {
    const struct conf *value = conf_get(table, key);
    if (value == NULL || value->type == CONF_NULL)
        return true;
    if (value->type != CONF_STRING)
        return wrong(d, value, key, "a string");
    *out = value->string[0] != '\0' ? mem_strdup(value->string) : NULL;
    return true;
}

static bool read_proxies(struct daemon_json *d, const struct conf *root) {
    const struct conf *proxies = conf_get(root, "proxies");
    if (proxies == NULL || proxies->type == CONF_NULL)
        return true;
    if (proxies->type != CONF_TABLE)
        return wrong(d, proxies, "proxies", "an object");
    d->has_proxies = true;
    return read_string(d, proxies, "http-proxy", &d->http_proxy) &&
           read_string(d, proxies, "https-proxy", &d->https_proxy) && read_string(d, proxies, "no-proxy", &d->no_proxy);
}

static bool read_store(struct daemon_json *d, const struct conf *root) {
    const struct conf *features = conf_get(root, "features");
    if (features == NULL || features->type == CONF_NULL)
        return true;
    if (features->type != CONF_TABLE)
        return wrong(d, features, "features", "an object");
    const struct conf *value = conf_get(features, "containerd-snapshotter");
    if (value == NULL)
        return true;
    if (value->type != CONF_BOOL)
        return wrong(d, value, "containerd-snapshotter", "true or false");
    d->store = value->boolean ? STORE_CONTAINERD : STORE_CLASSIC;
    return true;
}

/// "graph" is what it was called before 17.05, and still works.
static bool read_places(struct daemon_json *d, const struct conf *root) {
    if (!read_string(d, root, "storage-driver", &d->driver) || !read_string(d, root, "data-root", &d->data_root))
        return false;
    return d->data_root != NULL || read_string(d, root, "graph", &d->data_root);
}

static bool is_blank(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0')
            return false;
    return true;
}

void daemon_json_read(const char *text, size_t len, struct daemon_json *out) {
    *out = (struct daemon_json){.usable = true};
    if (is_blank(text, len)) // dockerd takes an empty file for no settings.
        return;
    struct conf_document *doc = conf_parse(CONF_JSON, text, len, &out->why);
    if (doc == NULL) {
        out->usable = false;
        return;
    }
    const struct conf *root = conf_root(doc);
    out->usable = root->type == CONF_TABLE
                      ? read_list(out, root, "registry-mirrors", &out->mirrors) &&
                            read_list(out, root, "insecure-registries", &out->insecure) && read_proxies(out, root) &&
                            read_store(out, root) && read_places(out, root)
                      : wrong(out, root, "the file", "an object");
    conf_free(doc);
}

void daemon_json_deinit(struct daemon_json *d) {
    names_deinit(&d->mirrors);
    names_deinit(&d->insecure);
    free(d->http_proxy);
    free(d->https_proxy);
    free(d->no_proxy);
    free(d->driver);
    free(d->data_root);
    *d = (struct daemon_json){0};
}
