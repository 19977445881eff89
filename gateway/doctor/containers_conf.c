// SPDX-License-Identifier: Apache-2.0
//
// registries.conf as containers/image reads it (sysregistriesv2).

#include "gateway/doctor/containers_conf.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

void containers_conf_init(struct containers_conf *c) {
    *c = (struct containers_conf){0};
}

static void registry_deinit(struct containers_registry *r) {
    for (size_t i = 0; i < r->mirror_count; i++)
        free(r->mirrors[i].location);
    free(r->mirrors);
    free(r->prefix);
    free(r->location);
    free(r->file);
    *r = (struct containers_registry){0};
}

void containers_conf_deinit(struct containers_conf *c) {
    for (size_t i = 0; i < c->count; i++)
        registry_deinit(&c->registries[i]);
    free(c->registries);
    names_deinit(&c->search);
    free(c->short_name_mode);
    *c = (struct containers_conf){0};
}

// --- reading a file ---

static bool wrong(struct err *err, const struct conf *value, const char *key, const char *wanted) {
    return err_set(err, "line %u: %s: expected %s, found %s", value->line, key, wanted, conf_type_words(value->type));
}

static bool read_string(const struct conf *table, const char *key, char **out, struct err *err) {
    const struct conf *value = conf_get(table, key);
    if (value != NULL && value->type != CONF_STRING)
        return wrong(err, value, key, "a string");
    *out = mem_strdup(value != NULL ? value->string : "");
    size_t len = strlen(*out);
    while (len > 0 && (*out)[len - 1] == '/') // It is cut off by the tools too.
        (*out)[--len] = '\0';
    return true;
}

static bool read_bool(const struct conf *table, const char *key, bool *out, struct err *err) {
    const struct conf *value = conf_get(table, key);
    if (value != NULL && value->type != CONF_BOOL)
        return wrong(err, value, key, "true or false");
    *out = value != NULL && value->boolean;
    return true;
}

static bool read_mirror(struct containers_registry *r, const struct conf *table, struct err *err) {
    if (table->type != CONF_TABLE)
        return wrong(err, table, "mirror", "a table");
    r->mirrors = mem_resize(r->mirrors, r->mirror_count + 1, sizeof *r->mirrors);
    struct containers_mirror *m = &r->mirrors[r->mirror_count++];
    *m = (struct containers_mirror){0};
    char *which = NULL;
    bool ok = read_string(table, "location", &m->location, err) && read_bool(table, "insecure", &m->insecure, err) &&
              read_string(table, "pull-from-mirror", &which, err);
    if (ok && m->location[0] == '\0')
        ok = err_set(err, "line %u: a mirror without a location", table->line);
    m->partial = ok && which[0] != '\0' && strcmp(which, "all") != 0;
    free(which);
    return ok;
}

static bool read_mirrors(struct containers_registry *r, const struct conf *table, struct err *err) {
    const struct conf *mirrors = conf_get(table, "mirror");
    if (mirrors != NULL && mirrors->type != CONF_LIST)
        return wrong(err, mirrors, "mirror", "[[registry.mirror]]");
    for (const struct conf *at = mirrors != NULL ? mirrors->child : NULL; at != NULL; at = at->next)
        if (!read_mirror(r, at, err))
            return false;
    return true;
}

static bool check_names(struct containers_registry *r, const struct conf *table, struct err *err) {
    if (r->prefix[0] == '\0' && r->location[0] == '\0')
        return err_set(err, "line %u: a [[registry]] without prefix and location", table->line);
    if (r->prefix[0] == '\0') {
        free(r->prefix);
        r->prefix = mem_strdup(r->location);
    }
    if (r->prefix[0] == '*' && strncmp(r->prefix, "*.", 2) != 0)
        return err_set(err, "line %u: \"%s\" is no prefix: a wildcard is *.example.com", table->line, r->prefix);
    if (r->location[0] == '\0' && r->prefix[0] != '*')
        return err_set(err, "line %u: a [[registry]] without a location", table->line);
    return true;
}

static bool read_registry(const struct conf *table, const char *file, struct containers_registry *r, struct err *err) {
    *r = (struct containers_registry){.file = mem_strdup(file), .line = table->line};
    if (table->type != CONF_TABLE)
        return wrong(err, table, "registry", "[[registry]]");
    return read_string(table, "prefix", &r->prefix, err) && read_string(table, "location", &r->location, err) &&
           read_bool(table, "blocked", &r->blocked, err) && read_bool(table, "insecure", &r->insecure, err) &&
           read_bool(table, "mirror-by-digest-only", &r->digests_only, err) && read_mirrors(r, table, err) &&
           check_names(r, table, err);
}

static void put_registry(struct containers_conf *c, struct containers_registry *r) {
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->registries[i].prefix, r->prefix) == 0) {
            registry_deinit(&c->registries[i]);
            c->registries[i] = *r;
            return;
        }
    c->registries = mem_resize(c->registries, c->count + 1, sizeof *c->registries);
    c->registries[c->count++] = *r;
}

/// Read all before anything is put: a file counts whole or not at all.
static bool read_registries(struct containers_conf *fresh, const struct conf *root, const char *file, struct err *err) {
    const struct conf *list = conf_get(root, "registry");
    if (list != NULL && list->type != CONF_LIST)
        return wrong(err, list, "registry", "[[registry]]");
    for (const struct conf *at = list != NULL ? list->child : NULL; at != NULL; at = at->next) {
        struct containers_registry r;
        if (!read_registry(at, file, &r, err)) {
            registry_deinit(&r);
            return false;
        }
        put_registry(fresh, &r);
    }
    return true;
}

static bool read_search(struct containers_conf *fresh, const struct conf *root, bool *said, struct err *err) {
    const struct conf *list = conf_get(root, "unqualified-search-registries");
    const struct conf *mode = conf_get(root, "short-name-mode");
    *said = list != NULL;
    if (list != NULL && list->type != CONF_LIST)
        return wrong(err, list, "unqualified-search-registries", "a list of strings");
    for (const struct conf *at = list != NULL ? list->child : NULL; at != NULL; at = at->next)
        if (at->type == CONF_STRING)
            names_add(&fresh->search, at->string);
    if (mode != NULL && mode->type != CONF_STRING)
        return wrong(err, mode, "short-name-mode", "a string");
    fresh->short_name_mode = mode != NULL ? mem_strdup(mode->string) : NULL;
    return true;
}

static void merge(struct containers_conf *c, struct containers_conf *fresh, bool search_said) {
    for (size_t i = 0; i < fresh->count; i++)
        put_registry(c, &fresh->registries[i]);
    free(fresh->registries);
    fresh->registries = NULL;
    fresh->count = 0;
    c->v1 |= fresh->v1;
    if (search_said) {
        names_deinit(&c->search);
        c->search = fresh->search;
        fresh->search = (struct names){0};
    }
    if (fresh->short_name_mode != NULL) {
        free(c->short_name_mode);
        c->short_name_mode = fresh->short_name_mode;
        fresh->short_name_mode = NULL;
    }
}

bool containers_conf_add(struct containers_conf *c, const char *file, const char *text, size_t len, struct err *err) {
    struct conf_document *doc = conf_parse(CONF_TOML, text, len, err);
    if (doc == NULL)
        return false;
    struct containers_conf fresh = {0};
    const struct conf *root = conf_root(doc);
    bool search_said = false;
    fresh.v1 = conf_get(root, "registries") != NULL;
    bool ok = read_registries(&fresh, root, file, err) && read_search(&fresh, root, &search_said, err);
    if (ok && fresh.v1 && fresh.count > 0)
        ok = err_set(err, "the old form ([registries.search]) and the new one ([[registry]]) in one file");
    if (ok)
        merge(c, &fresh, search_said);
    containers_conf_deinit(&fresh);
    conf_free(doc);
    return ok;
}

// --- finding ---

static bool is_meant(const char *name, const char *prefix) {
    size_t len = strlen(prefix);
    if (strncmp(prefix, "*.", 2) != 0)
        return strncmp(name, prefix, len) == 0 && strchr("/:@", name[len]) != NULL;
    size_t host = strcspn(name, ":/"), tail = len - 1;
    return host > tail && strncmp(name + host - tail, prefix + 1, tail) == 0;
}

const struct containers_registry *containers_conf_find(const struct containers_conf *c, const char *name) {
    const struct containers_registry *best = NULL;
    for (size_t i = 0; i < c->count; i++) {
        const struct containers_registry *r = &c->registries[i];
        if (is_meant(name, r->prefix) && (best == NULL || strlen(r->prefix) > strlen(best->prefix)))
            best = r;
    }
    return best;
}
