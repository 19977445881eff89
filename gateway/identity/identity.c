// SPDX-License-Identifier: Apache-2.0
//
// An identity: a name, groups, and how they became known.

#include "gateway/identity/inside.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct identity {
    atomic_int refs;
    char *name;
    enum identity_how how;
    char **groups;
    size_t group_count;
};

const char *identity_how_word(enum identity_how how) {
    switch (how) {
    case HOW_CERTIFICATE:
        return "certificate";
    case HOW_PASSWORD:
        return "password";
    case HOW_TOKEN:
        return "token";
    case HOW_OIDC:
        return "oidc";
    case HOW_NOBODY:
        break;
    }
    return "";
}

struct identity *identity_new(const char *name, enum identity_how how, char *const *groups, size_t count) {
    struct identity *i = mem_zalloc(1, sizeof *i);
    atomic_init(&i->refs, 1);
    i->name = mem_strdup(name);
    i->how = how;
    i->groups = mem_zalloc(count + 1, sizeof *i->groups);
    for (; i->group_count < count; i->group_count++)
        i->groups[i->group_count] = mem_strdup(groups[i->group_count]);
    return i;
}

struct identity *identity_ref(struct identity *i) {
    if (i != NULL)
        atomic_fetch_add(&i->refs, 1);
    return i;
}

void identity_unref(struct identity *i) {
    if (i == NULL || atomic_fetch_sub(&i->refs, 1) != 1)
        return;
    free(i->name);
    jwt_texts_free(i->groups, i->group_count);
    free(i);
}

const char *identity_name(const struct identity *i) {
    return i->name;
}

enum identity_how identity_how(const struct identity *i) {
    return i->how;
}

size_t identity_groups(const struct identity *i, const char *const **groups) {
    *groups = (const char *const *)i->groups;
    return i->group_count;
}

struct identity *identity_of_peer(const struct peer *p) {
    if (!name_fits(p->name, strlen(p->name)))
        return NULL;
    char *name = mem_printf("cert:%s", p->name);
    struct identity *i = identity_new(name, HOW_CERTIFICATE, p->groups, p->group_count);
    free(name);
    return i;
}
