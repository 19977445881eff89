// SPDX-License-Identifier: Apache-2.0
//
// Reads the catalogue's files: one JSON object with comments each, strict, as a site may add its own.
//
// A catalogue owns its entries. Every host has to name its source, and a host that strangers share is refused unless
// the entry says so: what opens the gate is written down where it is read. Entries are sorted by name; a look-up is
// a binary search, then a scan of the few wildcards.

#include "mirrors/catalog/catalog.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CATALOG_FILE_MAX = 256 * 1024,
    CATALOG_ENTRIES_MAX = 1000,
    CATALOG_HOSTS_MAX = 256, ///< In one list of one entry.
    CATALOG_SOURCE_MAX = 500
};

#define CATALOG_SITE_DIR "/etc/pullgate/catalog"

struct catalog {
    struct catalog_entry *entries;
    size_t count;
};

// --- one entry ---

static void hosts_free(struct catalog_host *hosts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(hosts[i].host);
        free(hosts[i].source);
    }
    free(hosts);
}

static void entry_deinit(struct catalog_entry *e) {
    free(e->registry);
    for (size_t i = 0; i < e->endpoint_count; i++)
        free(e->endpoints[i]);
    free(e->endpoints);
    hosts_free(e->realm_hosts, e->realm_host_count);
    hosts_free(e->redirect_hosts, e->redirect_host_count);
    *e = (struct catalog_entry){0};
}

static bool keys_known(const struct json *object, const char *const *known, struct err *err) {
    for (const struct json *m = object->child; m != NULL; m = m->next) {
        if (strncmp(m->key, "x-", 2) == 0)
            continue;
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], m->key) != 0)
            i++;
        if (known[i] == NULL)
            return err_set(err, "\"%.64s\" is no key of a catalogue entry", m->key);
    }
    return true;
}

static bool read_flag(const struct json *object, const char *key, bool *out, struct err *err) {
    const struct json *v = json_get(object, key);
    *out = v != NULL && v->type == JSON_BOOL && v->boolean;
    if (v != NULL && v->type != JSON_BOOL)
        return err_set(err, "%s: expected true or false, found %s", key, json_type_words(v->type));
    return true;
}

static bool source_valid(const char *source) {
    return source != NULL && source[0] != '\0' && strlen(source) <= CATALOG_SOURCE_MAX;
}

static bool read_host(const struct json *v, struct catalog_host *out, struct err *err) {
    static const char *const known[] = {"host", "source", "third_party", "shared", NULL};
    if (v->type != JSON_OBJECT)
        return err_set(err, "expected { \"host\", \"source\" }, found %s", json_type_words(v->type));
    if (!keys_known(v, known, err))
        return false;
    const char *host = json_get_string(v, "host"), *source = json_get_string(v, "source");
    if (host == NULL)
        return err_set(err, "host: expected a string");
    if (!host_pattern_valid(host, err))
        return err_prefix(err, "host: ");
    if (!source_valid(source))
        return err_set(err, "source: expected a sentence that says where \"%s\" is documented", host);
    if (!read_flag(v, "third_party", &out->third_party, err) || !read_flag(v, "shared", &out->shared, err))
        return false;
    if (!out->shared && host_pattern_is_shared(host, err))
        return err_prefix(err, "host: not marked \"shared\": true: ");
    out->host = mem_strdup(host);
    out->source = mem_strdup(source);
    return true;
}

static bool read_hosts(const struct json *object, const char *key, struct catalog_host **out, size_t *count,
                       struct err *err) {
    const struct json *list = json_get(object, key);
    if (list == NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > CATALOG_HOSTS_MAX)
        return err_set(err, "%s: expected a list of at most %d hosts", key, CATALOG_HOSTS_MAX);
    *out = mem_zalloc(list->count + 1, sizeof **out);
    for (const struct json *v = list->child; v != NULL; v = v->next) {
        if (!read_host(v, &(*out)[*count], err))
            return err_prefix(err, "%s[%zu].", key, *count);
        ++*count;
    }
    return true;
}

/// "https://HOST[:PORT]" and nothing else: the catalogue knows no paths and no plain HTTP.
static bool endpoint_valid(const char *url) {
    static const char scheme[] = "https://";
    struct hostport at;
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    return hostport_parse(host, strlen(host), &at, NULL);
}

static bool read_endpoints(const struct json *object, struct catalog_entry *out, struct err *err) {
    const struct json *list = json_get(object, "endpoints");
    if (list == NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > CATALOG_HOSTS_MAX)
        return err_set(err, "endpoints: expected a list of at most %d URLs", CATALOG_HOSTS_MAX);
    out->endpoints = mem_zalloc(list->count + 1, sizeof *out->endpoints);
    for (const struct json *v = list->child; v != NULL; v = v->next) {
        if (v->type != JSON_STRING || !endpoint_valid(v->string))
            return err_set(err, "endpoints[%zu]: expected https://HOST", out->endpoint_count);
        out->endpoints[out->endpoint_count++] = mem_strdup(v->string);
    }
    return true;
}

static bool read_registry_name(const struct json *object, struct catalog_entry *out, struct err *err) {
    const char *name = json_get_string(object, "registry");
    char canonical[REGISTRY_MAX + 1];
    if (name == NULL)
        return err_set(err, "registry: expected the registry's name or a wildcard such as \"*.azurecr.io\"");
    if (strchr(name, '*') != NULL) {
        if (!host_pattern_valid(name, err))
            return err_prefix(err, "registry: ");
    } else {
        if (!name_registry(name, strlen(name), canonical, err))
            return err_prefix(err, "registry: ");
        if (strcmp(name, canonical) != 0)
            return err_set(err, "registry: \"%s\" is not the canonical form, which is \"%s\"", name, canonical);
    }
    out->registry = mem_strdup(name);
    return true;
}

static bool read_entry(const struct json *root, struct catalog_entry *out, struct err *err) {
    static const char *const known[] = {"registry", "source", "endpoints", "realm_hosts", "redirect_hosts", NULL};
    if (root->type != JSON_OBJECT)
        return err_set(err, "expected an object, found %s", json_type_words(root->type));
    if (!keys_known(root, known, err) || !read_registry_name(root, out, err))
        return false;
    if (!source_valid(json_get_string(root, "source")))
        return err_set(err, "source: expected a sentence that says where this registry's hosts are documented");
    if (!read_endpoints(root, out, err))
        return false;
    if (strchr(out->registry, '*') != NULL && out->endpoint_count > 0)
        return err_set(err, "endpoints: a wildcard has none, it is reached under the name that was asked for");
    return read_hosts(root, "realm_hosts", &out->realm_hosts, &out->realm_host_count, err) &&
           read_hosts(root, "redirect_hosts", &out->redirect_hosts, &out->redirect_host_count, err);
}

// --- files and folders ---

static char *read_text(const char *path, size_t *len, struct err *err) {
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        err_set(err, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = mem_alloc(CATALOG_FILE_MAX + 1);
    *len = fread(text, 1, CATALOG_FILE_MAX + 1, f);
    bool failed = ferror(f) != 0;
    fclose(f);
    if (!failed && *len <= CATALOG_FILE_MAX)
        return text;
    if (failed)
        err_set(err, "%s: cannot be read", path);
    else
        err_set(err, "%s: over %d bytes", path, CATALOG_FILE_MAX);
    free(text);
    return NULL;
}

static struct catalog_entry *find_exact(const struct catalog *c, const char *registry) {
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->entries[i].registry, registry) == 0)
            return &c->entries[i];
    return NULL;
}

static bool add_entry(struct catalog *c, struct catalog_entry *e, struct err *err) {
    struct catalog_entry *old = find_exact(c, e->registry);
    if (old != NULL) {
        entry_deinit(old);
        *old = *e;
        return true;
    }
    if (c->count == CATALOG_ENTRIES_MAX)
        return err_set(err, "more than %d entries", CATALOG_ENTRIES_MAX);
    c->entries = mem_resize(c->entries, c->count + 1, sizeof *c->entries);
    c->entries[c->count++] = *e;
    return true;
}

static bool add_text(struct catalog *c, const char *text, size_t len, struct err *err) {
    struct json *root = json_parse(text, len, JSON_COMMENTS, err);
    struct catalog_entry entry = {0};
    bool ok = root != NULL && read_entry(root, &entry, err) && add_entry(c, &entry, err);
    json_free(root);
    if (!ok)
        entry_deinit(&entry);
    return ok;
}

static bool load_file(struct catalog *c, const char *path, struct err *err) {
    size_t len = 0;
    char *text = read_text(path, &len, err);
    if (text == NULL)
        return false;
    bool ok = add_text(c, text, len, err);
    free(text);
    return ok || err_prefix(err, "%s: ", path);
}

static int is_json(const struct dirent *d) {
    size_t len = strlen(d->d_name);
    return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".json") == 0;
}

static bool load_dir(struct catalog *c, const char *dir, bool may_be_missing, struct err *err) {
    struct dirent **names = NULL;
    int count = scandir(dir, &names, is_json, alphasort);
    if (count < 0) {
        if (errno == ENOENT && may_be_missing)
            return true;
        return err_set(err, "the catalogue's folder %s: %s", dir, strerror(errno));
    }
    bool ok = true;
    for (int i = 0; i < count; i++) {
        if (ok) {
            char *path = mem_printf("%s/%s", dir, names[i]->d_name);
            ok = load_file(c, path, err);
            free(path);
        }
        free(names[i]);
    }
    free(names);
    return ok;
}

static bool load_dirs(struct catalog *c, const char *const *dirs, struct err *err) {
    for (size_t i = 0; dirs[i] != NULL; i++)
        if (!load_dir(c, dirs[i], dirs[i + 1] == NULL, err))
            return false;
    return true;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/// An installed catalogue goes before the source's: a package never reads a build folder that someone else may own.
static const char *built_in_dir(void) {
    return is_folder(PULLGATE_CATALOG_INSTALLED) ? PULLGATE_CATALOG_INSTALLED : PULLGATE_CATALOG_SOURCE;
}

static bool load_default(struct catalog *c, struct err *err) {
    const char *only = getenv("PULLGATE_CATALOG");
    if (only != NULL && only[0] != '\0') {
        if (load_dir(c, only, false, err))
            return true;
        return err_prefix(err, "PULLGATE_CATALOG: ");
    }
    const char *dirs[] = {built_in_dir(), CATALOG_SITE_DIR, NULL};
    return load_dirs(c, dirs, err);
}

// --- the catalogue ---

static int by_name(const void *a, const void *b) {
    const struct catalog_entry *x = a, *y = b;
    return strcmp(x->registry, y->registry);
}

struct catalog *catalog_load(const char *const *dirs, struct err *err) {
    struct catalog *c = mem_zalloc(1, sizeof *c);
    if (!(dirs != NULL ? load_dirs(c, dirs, err) : load_default(c, err))) {
        catalog_free(c);
        return NULL;
    }
    if (c->count > 0)
        qsort(c->entries, c->count, sizeof *c->entries, by_name);
    return c;
}

struct catalog *catalog_parse(const char *text, size_t len, struct err *err) {
    struct catalog *c = mem_zalloc(1, sizeof *c);
    if (add_text(c, text, len, err))
        return c;
    catalog_free(c);
    return NULL;
}

void catalog_free(struct catalog *c) {
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        entry_deinit(&c->entries[i]);
    free(c->entries);
    free(c);
}

/// A name that the wildcard stands for, so that it can be matched against the catalogue's own wildcards:
/// "*.eu.azurecr.io" is covered by "*.azurecr.io".
static void representative(const char *registry, char out[REGISTRY_MAX + 1]) {
    size_t len = 0;
    for (; registry[len] != '\0' && len < REGISTRY_MAX; len++)
        out[len] = registry[len] == '*' ? 'x' : registry[len];
    out[len] = '\0';
}

const struct catalog_entry *catalog_find(const struct catalog *c, const char *registry) {
    struct catalog_entry key = {.registry = (char *)(uintptr_t)registry};
    const struct catalog_entry *best =
        c->count > 0 ? bsearch(&key, c->entries, c->count, sizeof *c->entries, by_name) : NULL;
    if (best != NULL)
        return best;
    char name[REGISTRY_MAX + 1];
    representative(registry, name);
    struct hostport at;
    if (!hostport_parse(name, strlen(name), &at, NULL))
        return NULL;
    for (size_t i = 0; i < c->count; i++) {
        const struct catalog_entry *e = &c->entries[i];
        if (strchr(e->registry, '*') == NULL || !host_pattern_match(e->registry, &at, 443))
            continue;
        if (best == NULL || host_pattern_specificity(e->registry) > host_pattern_specificity(best->registry))
            best = e;
    }
    return best;
}

size_t catalog_count(const struct catalog *c) {
    return c->count;
}

const struct catalog_entry *catalog_at(const struct catalog *c, size_t index) {
    return &c->entries[index];
}
