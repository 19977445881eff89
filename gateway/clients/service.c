// SPDX-License-Identifier: Apache-2.0
//
// The environment of a daemon that systemd starts; see common.h.
//
// A drop-in is read in the order of names, and an EnvironmentFile wins over every Environment: what is there and says
// something else of a proxy is named.

#include "gateway/clients/common.h"

#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { SERVICE_TEXT_MAX = 256 * 1024 };

static const char drop_in[] = "pullgate.conf";

/// systemd takes '%' for a specifier and '"', '\\' for quoting.
static void add_environment(struct buf *b, const char *prefix, const char *name, const char *value) {
    buf_addf(b, "Environment=\"%s%s=", prefix, name);
    for (; *value != '\0'; value++)
        buf_addf(b, "%s%c", *value == '%' ? "%" : *value == '"' || *value == '\\' ? "\\" : "", *value);
    buf_adds(b, "\"\n");
}

void plan_proxy_unit(struct client_plan *p, const struct client_site *site, const char *unit, const char *prefix,
                     const char *more) {
    if (site->proxy == NULL)
        return;
    struct buf b;
    buf_init(&b, SERVICE_TEXT_MAX);
    char *no_proxy = site_no_proxy_text(site, more), *path = mem_printf("/etc/systemd/system/%s.d/%s", unit, drop_in);
    buf_addf(&b, PULLGATE_MARK ".\n[Service]\n");
    buf_adds(&b, "# Whatever is not asked of the gateway goes to its proxy, which refuses it and says why.\n");
    add_environment(&b, prefix, "HTTP_PROXY", site->proxy);
    add_environment(&b, prefix, "HTTPS_PROXY", site->proxy);
    buf_adds(&b, "# Reached without it: the gateway itself, and what the site means to be reached directly.\n");
    add_environment(&b, prefix, "NO_PROXY", no_proxy);
    plan_text(p, path, 0644, b.data);
    free(no_proxy);
    free(path);
    buf_deinit(&b);
}

// --- what says something else ---

/// Lines that begin with '#' or ';' do not count.
static bool says(const char *text, const char *word) {
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += strspn(line, " \t\r\n");
        size_t len = strcspn(line, "\n");
        char *copy = mem_strndup(line, len);
        bool found = line[0] != '#' && line[0] != ';' && strcasestr(copy, word) != NULL;
        free(copy);
        if (found)
            return true;
        line += len;
    }
    return false;
}

static void tell_file(struct client_plan *p, const struct client_options *options, const char *path,
                      const char *variable, const char *const *flags) {
    struct buf text;
    buf_init(&text, SERVICE_TEXT_MAX);
    if (rooted_look(options->root, path, &text) && text.data != NULL) {
        if (variable != NULL && says(text.data, variable))
            plan_left(p, "%s names a proxy too, and wins over ours: take that line out.", path);
        for (size_t i = 0; flags != NULL && flags[i] != NULL; i++)
            if (says(text.data, flags[i]))
                plan_left(p, "%s starts the daemon with %s: take that out, or it does not start, or asks elsewhere.",
                          path, flags[i]);
    }
    buf_deinit(&text);
}

static bool is_drop_in(const char *name) {
    size_t len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".conf") == 0 && strcmp(name, drop_in) != 0;
}

void plan_service_rivals(struct client_plan *p, const struct client_options *options, const char *unit,
                         const char *variable, const char *const *files, const char *const *flags) {
    if (!options->look)
        return;
    size_t count = 0;
    char *folder = mem_printf("/etc/systemd/system/%s.d", unit);
    char **names = rooted_names(options->root, folder, &count);
    for (size_t i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", folder, names[i]);
        if (is_drop_in(names[i]))
            tell_file(p, options, path, strcmp(names[i], drop_in) > 0 ? variable : NULL, flags);
        free(path);
    }
    for (; files != NULL && *files != NULL; files++)
        tell_file(p, options, *files, variable, flags);
    char *own = mem_printf("/etc/systemd/system/%s", unit); // The site's own unit, in place of the package's.
    tell_file(p, options, own, NULL, flags);
    free(own);
    rooted_names_free(names, count);
    free(folder);
}
