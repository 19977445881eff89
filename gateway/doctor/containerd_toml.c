// SPDX-License-Identifier: Apache-2.0
//
// containerd's config.toml. The CRI plugin's settings moved with each version of the file.

#include "gateway/doctor/containerd_toml.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const cri_plugins[] = {[1] = "cri",
                                          [2] = "io.containerd.grpc.v1.cri",
                                          [3] = "io.containerd.cri.v1.images",
                                          [4] = "io.containerd.cri.v1.images"};

enum { VERSION_LAST = 4 };

static const struct conf *plugin_registry(const struct conf *root, int64_t version) {
    return conf_at(root, (const char *const[]){"plugins", cri_plugins[version], "registry", NULL});
}

static void add_strings(struct names *out, const struct conf *list) {
    for (const struct conf *at = list != NULL && list->type == CONF_LIST ? list->child : NULL; at != NULL;
         at = at->next)
        if (at->type == CONF_STRING)
            names_add(out, at->string);
}

static bool read_version(struct containerd_toml *t, const struct conf *root) {
    const struct conf *version = conf_get(root, "version");
    t->version = 1;
    if (version == NULL)
        return true;
    if (version->type != CONF_INTEGER || version->integer < 1 || version->integer > VERSION_LAST)
        return err_set(&t->why, "line %u: version: expected 1, 2, 3 or 4", version->line);
    t->version = version->integer;
    return true;
}

static void read_mirrors(struct containerd_toml *t, const struct conf *registry) {
    const struct conf *mirrors = conf_get(registry, "mirrors");
    for (const struct conf *at = mirrors != NULL && mirrors->type == CONF_TABLE ? mirrors->child : NULL; at != NULL;
         at = at->next) {
        names_add(&t->mirrors, at->key);
        add_strings(&t->endpoints, conf_get(at, "endpoint"));
    }
}

static void read_registry(struct containerd_toml *t, const struct conf *root) {
    for (int64_t version = 1; version <= VERSION_LAST; version++) {
        const struct conf *registry = plugin_registry(root, version);
        const char *path = conf_get_string(registry, "config_path");
        bool here = strcmp(cri_plugins[version], cri_plugins[t->version]) == 0;
        char **at = here ? &t->config_path : &t->misplaced;
        if (path != NULL && *at == NULL && (path[0] != '\0' || here))
            *at = mem_strdup(path);
        if (version == t->version)
            read_mirrors(t, registry);
    }
    t->has_cri = conf_at(root, (const char *const[]){"plugins", cri_plugins[t->version], NULL}) != NULL;
    const char *const transfer[] = {"plugins", "io.containerd.transfer.v1.local", NULL};
    const char *path = conf_get_string(conf_at(root, transfer), "config_path");
    t->transfer_config_path = path != NULL && path[0] != '\0' ? mem_strdup(path) : NULL;
}

static void read_disabled(struct containerd_toml *t, const struct conf *root) {
    struct names disabled = {0};
    add_strings(&disabled, conf_get(root, "disabled_plugins"));
    for (int64_t version = 1; version <= VERSION_LAST; version++)
        t->cri_disabled |= names_have(&disabled, cri_plugins[version]);
    names_deinit(&disabled);
}

void containerd_toml_read(const char *text, size_t len, struct containerd_toml *out) {
    *out = (struct containerd_toml){.version = 1};
    struct conf_document *doc = conf_parse(CONF_TOML, text, len, &out->why);
    if (doc == NULL)
        return;
    const struct conf *root = conf_root(doc);
    out->usable = read_version(out, root);
    if (out->usable) {
        add_strings(&out->imports, conf_get(root, "imports"));
        read_registry(out, root);
        read_disabled(out, root);
    }
    conf_free(doc);
}

static void take(char **into, char **from) {
    if (*from == NULL)
        return;
    free(*into);
    *into = *from;
    *from = NULL;
}

static void take_names(struct names *into, const struct names *from) {
    for (size_t i = 0; i < from->count; i++)
        names_add_once(into, from->at[i]);
}

static void forget_cri(struct containerd_toml *t) {
    free(t->config_path);
    t->config_path = NULL;
    names_deinit(&t->mirrors);
    names_deinit(&t->endpoints);
}

void containerd_toml_merge(struct containerd_toml *into, struct containerd_toml *from, bool whole) {
    if (whole && from->has_cri)
        forget_cri(into);
    take(&into->config_path, &from->config_path);
    take(&into->misplaced, &from->misplaced);
    take(&into->transfer_config_path, &from->transfer_config_path);
    take_names(&into->mirrors, &from->mirrors);
    take_names(&into->endpoints, &from->endpoints);
    into->cri_disabled |= from->cri_disabled;
}

void containerd_toml_deinit(struct containerd_toml *t) {
    names_deinit(&t->imports);
    names_deinit(&t->mirrors);
    names_deinit(&t->endpoints);
    free(t->config_path);
    free(t->misplaced);
    free(t->transfer_config_path);
    *t = (struct containerd_toml){0};
}
