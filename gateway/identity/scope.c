// SPDX-License-Identifier: Apache-2.0
//
// Scopes of tokens.

#include "gateway/identity/scope.h"

#include "gateway/identity/identity.h"

#include <stdio.h>
#include <string.h>

static const char type[] = "repository:";

struct one {
    const char *name, *actions;
    size_t name_len, actions_len;
};

/// "repository:NAME:ACTIONS"; a name may hold a port's colon. Only what a path can be: no quotes, spaces, controls.
static bool read_one(const char *text, size_t len, struct one *out) {
    size_t n = sizeof type - 1;
    if (len <= n || memcmp(text, type, n) != 0)
        return false;
    const char *name = text + n, *colon = memrchr(name, ':', len - n);
    if (colon == NULL || colon == name)
        return false;
    *out = (struct one){name, colon + 1, (size_t)(colon - name), len - n - (size_t)(colon - name) - 1};
    for (size_t i = 0; i < out->name_len; i++)
        if (name[i] == '\0' ||
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:", name[i]) == NULL)
            return false;
    return out->name_len <= SCOPE_NAME_MAX;
}

static bool has_action(const struct one *o, const char *action, size_t len) {
    for (const char *at = o->actions, *end = at + o->actions_len; at <= end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = (size_t)((comma != NULL ? comma : end) - at);
        if ((n == len && memcmp(at, action, len) == 0) || (n == 1 && *at == '*'))
            return true;
        at += n + 1;
    }
    return false;
}

bool token_scope_permits(const char *scope, const char *path, const char *action) {
    if (scope == NULL)
        return true;
    size_t path_len = strlen(path), action_len = strlen(action);
    for (const char *at = scope; *at != '\0';) {
        size_t len = strcspn(at, " ");
        struct one o;
        if (read_one(at, len, &o) && o.name_len == path_len && memcmp(o.name, path, path_len) == 0 &&
            has_action(&o, action, action_len))
            return true;
        at += len + (at[len] == ' ');
    }
    return false;
}

static bool add_one(struct buf *out, const struct one *o, const char *within) {
    static const char *const actions[] = {"pull", "push", "delete"};
    char name[SCOPE_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)o->name_len, o->name);
    bool first = true;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (!has_action(o, actions[i], strlen(actions[i])) || !token_scope_permits(within, name, actions[i]))
            continue;
        if (first)
            buf_addf(out, "%s%s%s:", out->len > 0 ? " " : "", type, name);
        buf_addf(out, "%s%s", first ? "" : ",", actions[i]);
        first = false;
    }
    return !out->overflow;
}

bool scope_add(struct buf *out, const char *asked, const char *within) {
    size_t count = 0;
    for (const char *at = asked; *at != '\0';) {
        size_t len = strcspn(at, " ");
        struct one o;
        if (++count > SCOPES_MAX)
            return false;
        if (read_one(at, len, &o) && !add_one(out, &o, within))
            return false;
        at += len + (at[len] == ' ');
    }
    return true;
}
