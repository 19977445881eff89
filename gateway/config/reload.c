// SPDX-License-Identifier: Apache-2.0
//
// What a reload cannot change: what the process took hold of when it started.
//
// Listeners, registries, rules, credentials, messages, the store's sizes and times and the upstream's limits change
// with a reload; what is listed here needs a restart, and a reload that changes it is refused whole.

#include "gateway/config/config.h"

#include "mirrors/base/buf.h"

#include <string.h>

enum { NAMES_MAX = 512 };

static bool same(const char *a, const char *b) {
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

static void note(struct buf *changed, bool is_same, const char *key) {
    if (!is_same)
        buf_addf(changed, "%s%s", changed->len > 0 ? ", " : "", key);
}

static bool both_keep(const struct config *a, const struct config *b) {
    return a->store.enabled && b->store.enabled;
}

bool config_reloadable(const struct config *before, const struct config *after, struct err *err) {
    const struct limits_config *a = &before->limits, *b = &after->limits;
    struct buf changed;
    buf_init(&changed, NAMES_MAX);
    note(&changed, same(before->gateway_name, after->gateway_name), "gateway");
    note(&changed, same(before->control, after->control), "control");
    note(&changed, same(before->log_file, after->log_file), "log.file");
    note(&changed, before->log_on_full == after->log_on_full, "log.on_full");
    note(&changed, a->threads == b->threads, "limits.threads");
    note(&changed, a->max_connections == b->max_connections, "limits.max_connections");
    note(&changed, a->idle_timeout_s == b->idle_timeout_s, "limits.idle_timeout");
    note(&changed, a->send_timeout_s == b->send_timeout_s, "limits.send_timeout");
    note(&changed, a->head_timeout_s == b->head_timeout_s, "limits.head_timeout");
    note(&changed, before->store.enabled == after->store.enabled, "store");
    note(&changed, !both_keep(before, after) || same(before->store.directory, after->store.directory),
         "store.directory");
    note(&changed, same(before->state_directory, after->state_directory), "state_directory");
    note(&changed, same(before->admin.address, after->admin.address), "admin.address");
    bool ok = changed.len == 0;
    if (!ok)
        err_set(err, "only a restart changes %s; nothing was changed", changed.data);
    buf_deinit(&changed);
    return ok;
}
