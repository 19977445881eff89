// SPDX-License-Identifier: Apache-2.0
//
// Loading a configuration, and its life by reference. The root of the file is read here, its parts by their own files.
//
// A configuration owns everything it points to, the credentials included, and is not written to after it is loaded but
// for its count and the passwords (which have their own lock). Any thread may hold a reference.

#include "gateway/config/config.h"

#include "gateway/config/access.h"
#include "gateway/config/loading.h"
#include "gateway/policy/canary.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char built_in_text[] = "{ \"listeners\": [{ \"address\": \"127.0.0.1:5080\" }], "
                                    "\"registries\": { \"docker.io\": {} } }";

static const char default_registry[] = "docker.io";

// --- the root's own keys ---

static bool read_format(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (value->is_integer && value->integer == 1)
        return true;
    return read_fail(r, "this version of pullgate reads format 1 only");
}

static bool read_gateway_name(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_name(r, value, &c->gateway_name);
}

static bool read_default_registry(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_registry_name(r, value, &c->default_registry);
}

static bool read_mode(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"enforce", "monitor", NULL};
    struct config *c = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    c->monitor = word == 1;
    return true;
}

static bool read_site_message(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_message(r, value, &c->message);
}

static bool read_control(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    struct sockaddr_un un;
    free(c->control);
    c->control = NULL;
    if (value->type == JSON_NULL)
        return true;
    if (!read_path(r, value, &c->control))
        return false;
    if (strlen(c->control) < sizeof un.sun_path)
        return true;
    return read_fail(r, "expected a path of at most %zu bytes: a Unix socket's path cannot be longer",
                     sizeof un.sun_path - 1);
}

/// Read by hand after everything else: see read_rules().
static bool read_rules_later(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    return true;
}

/// In the order in which they are read: credentials before the registries that name them, the proxy too.
const struct read_key config_root_keys[] = {
    {.name = "format", .takes = TAKES_NUMBER, .expected = "1", .read = read_format},
    {.name = "gateway", .takes = TAKES_STRING, .expected = "a name for the log", .read = read_gateway_name},
    {.name = "default_registry", .takes = TAKES_STRING, .expected = "a registry's name", .read = read_default_registry},
    {.name = "listeners",
     .takes = TAKES_LIST,
     .expected = "a list of listeners",
     .read = read_listeners,
     .shape = READ_LIST,
     .children = listener_keys},
    {.name = "mode", .takes = TAKES_STRING, .expected = "\"enforce\" or \"monitor\"", .read = read_mode},
    {.name = "message", .takes = TAKES_STRING, .expected = "a sentence", .read = read_site_message},
    {.name = "credentials",
     .takes = TAKES_OBJECT,
     .expected = "an object of credentials by name",
     .read = read_credentials,
     .shape = READ_MAP,
     .children = credential_keys},
    {.name = "proxy",
     .takes = TAKES_NULL | TAKES_STRING | TAKES_OBJECT,
     .expected = "{ \"https\", \"http\", \"no_proxy\" }, \"none\" or null",
     .read = read_proxy,
     .shape = READ_OBJECT,
     .children = proxy_keys},
    {.name = "registries",
     .takes = TAKES_OBJECT,
     .expected = "an object of registries by name",
     .read = read_registries,
     .shape = READ_MAP,
     .children = registry_keys},
    {.name = "rules",
     .takes = TAKES_LIST,
     .expected = "a list of rules",
     .read = read_rules_later,
     .shape = READ_LIST,
     .children = rule_keys},
    {.name = "limits",
     .takes = TAKES_OBJECT,
     .expected = "an object of limits",
     .read = read_limits,
     .shape = READ_OBJECT,
     .children = limits_keys},
    {.name = "log",
     .takes = TAKES_OBJECT,
     .expected = "{ \"file\", \"on_full\" }",
     .read = read_log,
     .shape = READ_OBJECT,
     .children = log_keys},
    {.name = "store",
     .takes = TAKES_NULL | TAKES_OBJECT,
     .expected = "{ \"directory\", \"max_size\", ... }, or null to keep nothing",
     .read = read_store,
     .shape = READ_OBJECT,
     .children = store_keys},
    {.name = "admin",
     .takes = TAKES_NULL | TAKES_OBJECT,
     .expected = "{ \"address\" }, or null for none",
     .read = read_admin,
     .shape = READ_OBJECT,
     .children = admin_keys},
    {.name = "state_directory", .takes = TAKES_STRING, .expected = "a path", .read = read_state_directory},
    {.name = "ca",
     .takes = TAKES_OBJECT,
     .expected = "{ \"name_constraints\" } or { \"certificate\", \"key\" }",
     .read = read_ca,
     .shape = READ_OBJECT,
     .children = ca_keys},
    {.name = "identity",
     .takes = TAKES_OBJECT,
     .expected = "{ \"htpasswd\", \"oidc\", ... }, or {} for the gateway's own tokens only",
     .read = read_identity,
     .shape = READ_OBJECT,
     .children = identity_keys},
    {.name = "groups", .takes = TAKES_OBJECT, .expected = "an object of groups by name", .read = read_groups},
    {.name = "clients",
     .takes = TAKES_OBJECT,
     .expected = "{ \"gateway\", \"proxy\", \"direct\", ... }",
     .read = read_clients,
     .shape = READ_OBJECT,
     .children = clients_keys},
    {.name = "compliance",
     .takes = TAKES_OBJECT,
     .expected = "{ \"outdated_after\", \"forget_after\", \"expected\" }",
     .read = read_compliance,
     .shape = READ_OBJECT,
     .children = compliance_keys},
    {.name = "control",
     .takes = TAKES_NULL | TAKES_STRING,
     .expected = "the path of a Unix socket, or null for none",
     .read = read_control},
    {.name = NULL},
};

// --- defaults ---

static char *host_name(void) {
    char name[HOST_MAX + 1];
    if (gethostname(name, sizeof name) != 0)
        return mem_strdup("pullgate");
    name[sizeof name - 1] = '\0';
    return mem_strdup(name);
}

/// Where `pullgate reload` looks when nothing is written; NULL where there is no fitting place.
static char *default_control(void) {
    struct sockaddr_un un;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;
    if (runtime != NULL && runtime[0] == '/')
        path = mem_printf("%s/pullgate/control.sock", runtime);
    else if (geteuid() == 0)
        path = mem_strdup("/run/pullgate/control.sock");
    if (path == NULL || strlen(path) < sizeof un.sun_path)
        return path;
    free(path);
    return NULL;
}

static struct config *config_new(const char *text, size_t len) {
    struct config *c = mem_zalloc(1, sizeof *c);
    char digest[DIGEST_TEXT_MAX + 1];
    atomic_init(&c->refs, 1);
    digest_of(DIGEST_SHA256, text, len, digest);
    memcpy(c->hash, strchr(digest, ':') + 1, CONFIG_HASH_HEX);
    c->gateway_name = host_name();
    c->control = default_control();
    limits_default(&c->limits);
    store_default(&c->store);
    identity_default(&c->identity);
    clients_default(c);
    return c;
}

// --- loading ---

static bool read_root(struct reader *r, const struct json *root) {
    struct config *c = r->loading->config;
    if (!read_object(r, root, config_root_keys, c) || !limits_check(r, &c->limits))
        return false;
    bool written = c->default_registry != NULL;
    if (!written)
        c->default_registry = mem_strdup(default_registry);
    listeners_complete(c);
    for (size_t i = 0; i < c->listener_count; i++)
        c->listeners[i].default_registry_written |= written;
    return store_complete(r, c) && admin_check(r, c) && state_complete(r, c) && identity_complete(r, c) &&
           taken_build(r, c) && read_rules(r, json_get(root, "rules"));
}

/// Where the file has no `proxy`, or null: the environment, before the registries take it.
static bool prepare_proxies(struct reader *r, const struct json *root) {
    const struct json *written = json_get(root, "proxy");
    if (written != NULL && written->type != JSON_NULL) {
        r->loading->config->proxy_written = true;
        return true;
    }
    return proxies_from_environment(&r->loading->proxies, r->err);
}

static bool load_root(struct reader *r, const struct json *root, const char *const *catalog_dirs) {
    r->loading->catalog = catalog_load(catalog_dirs, r->err);
    return r->loading->catalog != NULL && prepare_proxies(r, root) && read_root(r, root);
}

static void groups_deinit(struct loading *l) {
    for (size_t i = 0; i < l->group_count; i++)
        free((void *)l->groups[i].members);
    free(l->groups);
}

static struct config *parse(const char *text, size_t len, const char *file, const char *dir,
                            const char *const *catalog_dirs, struct err *err) {
    struct err spare;
    struct loading loading = {0};
    struct reader r = {.err = err != NULL ? err : &spare, .file = file, .dir = dir, .loading = &loading};
    struct json *root = json_parse(text, len, JSON_COMMENTS, r.err);
    if (root == NULL) {
        read_fail_again(&r);
        return NULL;
    }
    loading.config = config_new(text, len);
    bool ok = load_root(&r, root, catalog_dirs);
    if (ok)
        site_complete(loading.config);
    json_free(root);
    catalog_free(loading.catalog);
    proxies_deinit(&loading.proxies);
    groups_deinit(&loading);
    if (ok)
        return loading.config;
    config_unref(loading.config);
    return NULL;
}

struct config *config_parse(const char *text, size_t len, const char *dir, const char *const *catalog_dirs,
                            struct err *err) {
    return parse(text, len, NULL, dir, catalog_dirs, err);
}

/// The whole file as fresh memory; NULL with a sentence.
static char *read_file(const char *path, size_t *len, struct err *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    char *text = NULL;
    if (f == NULL || fstat(fd, &st) != 0) {
        err_set(err, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        err_set(err, "%s: expected a file", path);
    } else if (st.st_size > CONFIG_FILE_MAX) {
        err_set(err, "%s: over %d bytes", path, CONFIG_FILE_MAX);
    } else {
        text = mem_alloc((size_t)st.st_size + 1);
        *len = fread(text, 1, (size_t)st.st_size, f);
    }
    if (text != NULL && ferror(f) != 0) {
        err_set(err, "%s: cannot be read", path);
        free(text);
        text = NULL;
    }
    if (f != NULL)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    return text;
}

struct config *config_load(const char *path, const char *const *catalog_dirs, struct err *err) {
    if (path == NULL)
        return parse(built_in_text, sizeof built_in_text - 1, NULL, "/", catalog_dirs, err);
    size_t len = 0;
    char *text = read_file(path, &len, err), *real = realpath(path, NULL);
    struct config *c = NULL;
    if (text != NULL && real == NULL)
        err_set(err, "%s: %s", path, strerror(errno));
    if (text != NULL && real != NULL) {
        char *copy = mem_strdup(real);
        c = parse(text, len, path, dirname(copy), catalog_dirs, err);
        free(copy);
    }
    if (c != NULL)
        c->path = mem_strdup(real);
    free(text);
    free(real);
    return c;
}

// --- life ---

struct config *config_ref(struct config *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void listener_deinit(struct listener_config *l) {
    free(l->name);
    free(l->address);
    free(l->certificate);
    free(l->key);
    free(l->default_registry);
    access_deinit(l);
}

static void config_free(struct config *c) {
    for (size_t i = 0; i < c->listener_count; i++)
        listener_deinit(&c->listeners[i]);
    for (size_t i = 0; i < c->registry_count; i++) {
        registry_free(c->registries[i]);
        free(c->registry_origins[i].key);
    }
    for (size_t i = 0; i < c->credential_count; i++)
        credential_free(c->credentials[i]);
    policy_free(c->policy);
    store_config_deinit(&c->store);
    free(c->admin.address);
    free(c->listeners);
    free(c->registries);
    free(c->registry_origins);
    free(c->credentials);
    free(c->path);
    free(c->default_registry);
    free(c->message);
    free(c->log_file);
    free(c->gateway_name);
    for (size_t i = 0; i < c->taken_count; i++)
        free(c->taken[i].own);
    free(c->taken);
    free(c->state_directory);
    free(c->ca_certificate);
    free(c->ca_key);
    identity_settings_deinit(&c->identity);
    clients_deinit(c);
    free(c->control);
    free(c);
}

void config_unref(struct config *c) {
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        config_free(c);
}

static void owner_ref(void *object) {
    config_ref(object);
}

static void owner_unref(void *object) {
    config_unref(object);
}

struct fetch_owner config_owner(struct config *c) {
    return (struct fetch_owner){c, owner_ref, owner_unref};
}

// --- look-up ---

static int name_against(const void *name, const void *element) {
    const struct registry *const *r = element;
    return strcmp(name, (*r)->name);
}

static bool wildcard_covers(const char *wildcard, const struct hostport *at) {
    return strcmp(wildcard, "*") == 0 || host_pattern_match(wildcard, at, 443);
}

const struct registry *config_registry(const struct config *c, const char *name) {
    struct hostport at;
    if (is_canary(name) || is_unlisted_stand_in(name))
        return NULL;
    struct registry *const *found = c->exact_registry_count > 0 ? bsearch(name, c->registries, c->exact_registry_count,
                                                                          sizeof *c->registries, name_against)
                                                                : NULL;
    if (found != NULL)
        return *found;
    if (c->exact_registry_count == c->registry_count || !hostport_parse(name, strlen(name), &at, NULL))
        return NULL;
    for (size_t i = c->exact_registry_count; i < c->registry_count; i++)
        if (wildcard_covers(c->registries[i]->name, &at))
            return c->registries[i];
    return NULL;
}
