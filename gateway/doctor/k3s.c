// SPDX-License-Identifier: Apache-2.0
//
// registries.yaml and config.yaml of k3s and RKE2.

#include "gateway/doctor/k3s.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool wrong(struct err *err, const struct conf *value, const char *key, const char *wanted) {
    return err_set(err, "line %u: %s: expected %s, found %s", value->line, key, wanted, conf_type_words(value->type));
}

static bool is_nothing(const struct conf *value) {
    return value == NULL || value->type == CONF_NULL;
}

static bool read_mirror(struct k3s_registries *k, const struct conf *at) {
    k->mirrors = mem_resize(k->mirrors, k->mirror_count + 1, sizeof *k->mirrors);
    struct k3s_mirror *m = &k->mirrors[k->mirror_count++];
    *m = (struct k3s_mirror){.name = mem_strdup(at->key), .line = at->line};
    if (is_nothing(at))
        return true;
    if (at->type != CONF_TABLE)
        return wrong(&k->why, at, at->key, "a mapping with \"endpoint\"");
    const struct conf *list = conf_get(at, "endpoint"), *rewrite = conf_get(at, "rewrite");
    m->rewrites = !is_nothing(rewrite) && rewrite->count > 0;
    if (is_nothing(list))
        return true;
    if (list->type != CONF_LIST)
        return wrong(&k->why, list, "endpoint", "a list of URLs");
    for (const struct conf *one = list->child; one != NULL; one = one->next) {
        if (one->type != CONF_STRING)
            return wrong(&k->why, one, "endpoint", "a list of URLs");
        names_add(&m->endpoints, one->string);
    }
    return true;
}

static bool read_mirrors(struct k3s_registries *k, const struct conf *mirrors) {
    if (is_nothing(mirrors))
        return true;
    if (mirrors->type != CONF_TABLE)
        return wrong(&k->why, mirrors, "mirrors", "a mapping");
    for (const struct conf *at = mirrors->child; at != NULL; at = at->next)
        if (!read_mirror(k, at))
            return false;
    return true;
}

static void read_tls(struct k3s_registries *k, const struct conf *at) {
    const struct conf *tls = conf_get(at, "tls");
    if (is_nothing(tls) || tls->type != CONF_TABLE)
        return;
    k->tls = mem_resize(k->tls, k->tls_count + 1, sizeof *k->tls);
    const struct conf *insecure = conf_get(tls, "insecure_skip_verify");
    k->tls[k->tls_count++] =
        (struct k3s_tls){.name = mem_strdup(at->key),
                         .ca = mem_strdup(conf_get_string(tls, "ca_file")),
                         .certificate = mem_strdup(conf_get_string(tls, "cert_file")),
                         .key = mem_strdup(conf_get_string(tls, "key_file")),
                         .insecure = insecure != NULL && insecure->type == CONF_BOOL && insecure->boolean};
}

static bool read_configs(struct k3s_registries *k, const struct conf *configs) {
    if (is_nothing(configs))
        return true;
    if (configs->type != CONF_TABLE)
        return wrong(&k->why, configs, "configs", "a mapping");
    for (const struct conf *at = configs->child; at != NULL; at = at->next) {
        read_tls(k, at);
        if (!is_nothing(at))
            names_add(&k->configs, at->key);
    }
    return true;
}

void k3s_registries_read(const char *text, size_t len, struct k3s_registries *out) {
    *out = (struct k3s_registries){0};
    struct conf_document *doc = conf_parse(CONF_YAML, text, len, &out->why);
    if (doc == NULL)
        return;
    const struct conf *root = conf_root(doc);
    out->usable = is_nothing(root) || (root->type == CONF_TABLE ? read_mirrors(out, conf_get(root, "mirrors")) &&
                                                                      read_configs(out, conf_get(root, "configs"))
                                                                : wrong(&out->why, root, "the file", "a mapping"));
    conf_free(doc);
}

const struct k3s_mirror *k3s_mirror(const struct k3s_registries *k, const char *name) {
    for (size_t i = 0; i < k->mirror_count; i++)
        if (strcmp(k->mirrors[i].name, name) == 0)
            return &k->mirrors[i];
    return NULL;
}

void k3s_registries_deinit(struct k3s_registries *k) {
    for (size_t i = 0; i < k->mirror_count; i++) {
        free(k->mirrors[i].name);
        names_deinit(&k->mirrors[i].endpoints);
    }
    for (size_t i = 0; i < k->tls_count; i++) {
        free(k->tls[i].name);
        free(k->tls[i].ca);
        free(k->tls[i].certificate);
        free(k->tls[i].key);
    }
    names_deinit(&k->configs);
    free(k->mirrors);
    free(k->tls);
    *k = (struct k3s_registries){0};
}

static enum k3s_said said(const struct conf *value) {
    if (is_nothing(value))
        return K3S_UNSAID;
    if (value->type == CONF_BOOL)
        return value->boolean ? K3S_YES : K3S_NO;
    // "true" in quotes becomes the same command line argument.
    return value->type == CONF_STRING && strcasecmp(value->string, "true") == 0 ? K3S_YES : K3S_NO;
}

char *k3s_private_registry(const char *text, size_t len) {
    struct conf_document *doc = conf_parse(CONF_YAML, text, len, NULL);
    char *path = doc != NULL ? mem_strdup(conf_get_string(conf_root(doc), "private-registry")) : NULL;
    conf_free(doc);
    return path;
}

enum k3s_said k3s_default_endpoint_disabled(const char *text, size_t len, struct err *err) {
    struct conf_document *doc = conf_parse(CONF_YAML, text, len, err);
    if (doc == NULL)
        return K3S_UNPARSABLE;
    enum k3s_said result = said(conf_get(conf_root(doc), "disable-default-registry-endpoint"));
    conf_free(doc);
    return result;
}
