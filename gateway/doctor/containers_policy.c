// SPDX-License-Identifier: Apache-2.0
//
// policy.json as containers/image reads it: the most specific scope decides, and all of its requirements must agree.

#include "gateway/doctor/containers_conf.h"

#include "gateway/formats/conf.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct containers_policy {
    struct conf_document *doc;
};

static bool check(const struct conf *root, struct err *err) {
    if (root->type != CONF_TABLE)
        return err_set(err, "expected an object");
    const struct conf *general = conf_get(root, "default");
    if (general == NULL || general->type != CONF_LIST || general->count == 0)
        return err_set(err, "there must be a \"default\" with a list of requirements");
    const struct conf *transports = conf_get(root, "transports");
    if (transports != NULL && transports->type != CONF_TABLE)
        return err_set(err, "line %u: transports: expected an object", transports->line);
    return true;
}

struct containers_policy *containers_policy_read(const char *text, size_t len, struct err *err) {
    struct conf_document *doc = conf_parse(CONF_JSON, text, len, err);
    if (doc == NULL)
        return NULL;
    if (!check(conf_root(doc), err)) {
        conf_free(doc);
        return NULL;
    }
    struct containers_policy *p = mem_zalloc(1, sizeof *p);
    p->doc = doc;
    return p;
}

void containers_policy_free(struct containers_policy *p) {
    if (p == NULL)
        return;
    conf_free(p->doc);
    free(p);
}

/// "a.b/c/d" is looked for whole, then "a.b/c", "a.b", "*.b", and last "".
static const struct conf *scope_of(const struct conf *scopes, const char *name) {
    char *at = mem_strdup(name);
    const struct conf *found = conf_get(scopes, at);
    for (char *slash; found == NULL && (slash = strrchr(at, '/')) != NULL;) {
        *slash = '\0';
        found = conf_get(scopes, at);
    }
    for (const char *dot = strchr(at, '.'); found == NULL && dot != NULL; dot = strchr(dot + 1, '.')) {
        char *wild = mem_printf("*%s", dot);
        found = conf_get(scopes, wild);
        free(wild);
    }
    free(at);
    return found != NULL ? found : conf_get(scopes, "");
}

static bool accepts(const struct conf *rules) {
    for (const struct conf *at = rules->type == CONF_LIST ? rules->child : NULL; at != NULL; at = at->next) {
        const char *type = conf_get_string(at, "type");
        if (type == NULL || strcmp(type, "reject") == 0)
            return false;
    }
    return true;
}

static const struct conf *scopes_of(const struct conf *root) {
    return conf_at(root, (const char *const[]){"transports", "docker", NULL});
}

bool containers_policy_accepts(const struct containers_policy *p, const char *name) {
    const struct conf *root = conf_root(p->doc), *scopes = scopes_of(root);
    const struct conf *rules = scopes != NULL ? scope_of(scopes, name) : NULL;
    return accepts(rules != NULL ? rules : conf_get(root, "default"));
}

void containers_policy_scopes(const struct containers_policy *p, struct names *out) {
    const struct conf *scopes = scopes_of(conf_root(p->doc));
    for (const struct conf *at = scopes != NULL && scopes->type == CONF_TABLE ? scopes->child : NULL; at != NULL;
         at = at->next)
        if (at->key[0] != '\0' && accepts(at))
            names_add(out, at->key);
}
