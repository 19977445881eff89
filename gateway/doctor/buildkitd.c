// SPDX-License-Identifier: Apache-2.0
//
// buildkitd.toml.

#include "gateway/doctor/buildkitd.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static bool wrong(struct buildkitd *b, const struct conf *value, const char *key, const char *wanted) {
    return err_set(&b->why, "line %u: %s: expected %s, found %s", value->line, key, wanted,
                   conf_type_words(value->type));
}

static bool read_list(struct buildkitd *b, const struct conf *table, const char *key, struct names *out) {
    const struct conf *list = conf_get(table, key);
    if (list == NULL)
        return true;
    if (list->type != CONF_LIST)
        return wrong(b, list, key, "a list of strings");
    for (const struct conf *at = list->child; at != NULL; at = at->next) {
        if (at->type != CONF_STRING)
            return wrong(b, at, key, "a list of strings");
        names_add(out, at->string);
    }
    return true;
}

static bool read_bool(struct buildkitd *b, const struct conf *table, const char *key, bool *out) {
    const struct conf *value = conf_get(table, key);
    if (value == NULL)
        return true;
    if (value->type != CONF_BOOL)
        return wrong(b, value, key, "true or false");
    *out = value->boolean;
    return true;
}

static bool read_keys(struct buildkitd *b, const struct conf *table, struct names *out) {
    const struct conf *list = conf_get(table, "keypair");
    if (list == NULL)
        return true;
    if (list->type != CONF_LIST)
        return wrong(b, list, "keypair", "tables with \"cert\" and \"key\"");
    for (const struct conf *at = list->child; at != NULL; at = at->next) {
        const char *certificate = conf_get_string(at, "cert"), *key = conf_get_string(at, "key");
        names_add(out, certificate != NULL ? certificate : "");
        names_add(out, key != NULL ? key : "");
    }
    return true;
}

static bool read_registry(struct buildkitd *b, const struct conf *table) {
    b->registries = mem_resize(b->registries, b->count + 1, sizeof *b->registries);
    struct buildkitd_registry *r = &b->registries[b->count++];
    *r = (struct buildkitd_registry){.name = mem_strdup(table->key), .line = table->line};
    if (table->type != CONF_TABLE)
        return wrong(b, table, "registry", "a table");
    return read_list(b, table, "mirrors", &r->mirrors) && read_list(b, table, "ca", &r->ca) &&
           read_bool(b, table, "http", &r->plain) && read_bool(b, table, "insecure", &r->insecure) &&
           read_keys(b, table, &r->keys);
}

void buildkitd_read(const char *text, size_t len, struct buildkitd *out) {
    *out = (struct buildkitd){0};
    struct conf_document *doc = conf_parse(CONF_TOML, text, len, &out->why);
    if (doc == NULL)
        return;
    const struct conf *registries = conf_get(conf_root(doc), "registry");
    out->usable = registries == NULL || registries->type == CONF_TABLE || wrong(out, registries, "registry", "a table");
    for (const struct conf *at = out->usable && registries != NULL ? registries->child : NULL;
         at != NULL && out->usable; at = at->next)
        out->usable = read_registry(out, at);
    conf_free(doc);
}

const struct buildkitd_registry *buildkitd_registry(const struct buildkitd *b, const char *name) {
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->registries[i].name, name) == 0)
            return &b->registries[i];
    return NULL;
}

void buildkitd_deinit(struct buildkitd *b) {
    for (size_t i = 0; i < b->count; i++) {
        free(b->registries[i].name);
        names_deinit(&b->registries[i].mirrors);
        names_deinit(&b->registries[i].ca);
        names_deinit(&b->registries[i].keys);
    }
    free(b->registries);
    *b = (struct buildkitd){0};
}
