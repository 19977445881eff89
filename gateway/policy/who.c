// SPDX-License-Identifier: Apache-2.0
//
// See who.h.

#include "gateway/policy/who.h"

#include "mirrors/base/glob.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const prefixes[] = {
    [WHO_USER] = "user:", [WHO_CERTIFICATE] = "cert:", [WHO_GROUP] = "group:", [WHO_ADDRESS] = "address:"};

// --- reading ---

static bool is_one_line(const char *s) {
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/// What stands behind the prefix of this kind; NULL: another kind's.
static const char *behind(const char *text, enum who_kind kind) {
    size_t len = strlen(prefixes[kind]);
    return strncmp(text, prefixes[kind], len) == 0 ? text + len : NULL;
}

static bool kind_of(const char *text, enum who_kind *kind, const char **rest) {
    *kind = WHO_ANYONE;
    *rest = NULL;
    if (strcmp(text, "anyone") == 0)
        return true;
    for (int k = WHO_USER; k <= WHO_ADDRESS; k++) {
        *rest = behind(text, (enum who_kind)k);
        *kind = (enum who_kind)k;
        if (*rest != NULL)
            return true;
    }
    return false;
}

static bool member_parse(struct who_member *m, const char *text, struct err *err) {
    const char *rest;
    if (strlen(text) > WHO_MAX || !is_one_line(text))
        return err_set(err, "expected one line of at most %d characters", (int)WHO_MAX);
    if (!kind_of(text, &m->kind, &rest))
        return err_set(err,
                       "\"%s\": expected \"anyone\", or a name behind \"user:\", \"cert:\", \"group:\" or \"address:\"",
                       text);
    if (rest != NULL && rest[0] == '\0')
        return err_set(err, "\"%s\": nobody is named behind the colon", text);
    if (m->kind == WHO_GROUP && strchr(rest, '*') != NULL)
        return err_set(err, "\"%s\": a group is named exactly, without *", text);
    if (m->kind == WHO_ADDRESS)
        return cidr_parse(rest, &m->block, err) || err_prefix(err, "\"%s\": ", text);
    if (m->kind != WHO_ANYONE)
        m->name = mem_strdup(m->kind == WHO_GROUP ? rest : text);
    return true;
}

bool who_parse(struct who *out, const char *const *texts, size_t count, struct err *err) {
    *out = (struct who){.members = count > 0 ? mem_zalloc(count, sizeof *out->members) : NULL};
    for (size_t i = 0; i < count; i++) {
        out->count++;
        if (member_parse(&out->members[i], texts[i], err))
            continue;
        err_prefix(err, "[%zu]: ", i);
        who_deinit(out);
        return false;
    }
    return true;
}

void who_deinit(struct who *w) {
    for (size_t i = 0; i < w->count; i++)
        free(w->members[i].name);
    free(w->members);
    *w = (struct who){0};
}

// --- groups ---

static int compare_groups(const void *a, const void *b) {
    return strcmp(((const struct who_group *)a)->name, ((const struct who_group *)b)->name);
}

static bool group_parse(struct who_group *g, const struct group_spec *spec, struct err *err) {
    g->name = mem_strdup(spec->name);
    if (spec->name[0] == '\0' || strlen(spec->name) > WHO_MAX || !is_one_line(spec->name))
        return err_set(err, "groups: a group's name is one line of at most %d characters", (int)WHO_MAX);
    if (!who_parse(&g->members, spec->members, spec->member_count, err))
        return err_prefix(err, "groups.%s", spec->name);
    for (size_t i = 0; i < g->members.count; i++) {
        enum who_kind kind = g->members.members[i].kind;
        if (kind == WHO_GROUP || kind == WHO_ANYONE)
            return err_set(err, "groups.%s[%zu]: a group's members are \"user:\", \"cert:\" and \"address:\"",
                           spec->name, i);
    }
    return true;
}

bool who_groups_parse(struct who_groups *out, const struct group_spec *specs, size_t count, struct err *err) {
    *out = (struct who_groups){.all = mem_zalloc(count + 1, sizeof *out->all)};
    for (size_t i = 0; i < count; i++) {
        out->count++;
        if (!group_parse(&out->all[i], &specs[i], err)) {
            who_groups_deinit(out);
            return false;
        }
    }
    qsort(out->all, out->count, sizeof *out->all, compare_groups);
    return true;
}

void who_groups_deinit(struct who_groups *g) {
    for (size_t i = 0; i < g->count; i++) {
        free(g->all[i].name);
        who_deinit(&g->all[i].members);
    }
    free(g->all);
    *g = (struct who_groups){0};
}

const struct who_group *who_group_find(const struct who_groups *g, const char *name) {
    const struct who_group key = {.name = (char *)name};
    return g->count == 0 ? NULL : bsearch(&key, g->all, g->count, sizeof *g->all, compare_groups);
}

// --- matching ---

static bool names(const struct who_member *m, const struct asker *asker) {
    return asker->name != NULL && glob_text(m->name, strlen(m->name), asker->name, strlen(asker->name));
}

static bool says_group(const struct asker *asker, const char *name) {
    for (size_t i = 0; i < asker->group_count; i++)
        if (strcmp(asker->groups[i], name) == 0)
            return true;
    return false;
}

static bool member_speaks_of(const struct who_member *m, const struct who_groups *groups, const struct asker *asker) {
    if (m->kind == WHO_ANYONE)
        return true;
    if (asker == NULL)
        return false;
    if (m->kind == WHO_ADDRESS)
        return asker->has_address && cidr_contains(&m->block, asker->address);
    if (m->kind != WHO_GROUP)
        return names(m, asker);
    if (says_group(asker, m->name))
        return true;
    const struct who_group *g = who_group_find(groups, m->name);
    for (size_t i = 0; g != NULL && i < g->members.count; i++)
        if (member_speaks_of(&g->members.members[i], groups, asker)) // No group among them: one level.
            return true;
    return false;
}

bool who_speaks_of(const struct who *w, const struct who_groups *groups, const struct asker *asker) {
    for (size_t i = 0; i < w->count; i++)
        if (member_speaks_of(&w->members[i], groups, asker))
            return true;
    return w->count == 0;
}

bool who_is_anyone(const struct who *w) {
    for (size_t i = 0; i < w->count; i++)
        if (w->members[i].kind == WHO_ANYONE)
            return true;
    return w->count == 0;
}
