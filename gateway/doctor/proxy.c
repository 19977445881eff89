// SPDX-License-Identifier: Apache-2.0
//
// Judging a daemon's proxy: the one thing that stops a client which falls back to the registry itself.

#include "gateway/doctor/below.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

// --- exceptions ---

/// NO_PROXY's "example.com" and ".example.com" mean all below it too.
static bool excepts(const char *entry, const char *host) {
    entry += strncmp(entry, "*.", 2) == 0 ? 1 : 0;
    size_t bare = strcspn(host, ":"), len = strcspn(entry, ":");
    bool below = entry[0] == '.';
    const char *name = below ? entry + 1 : entry;
    size_t name_len = below ? len - 1 : len;
    if (!below && name_len == bare && strncasecmp(name, host, bare) == 0)
        return true;
    return name_len > 0 && bare > name_len && host[bare - name_len - 1] == '.' &&
           strncasecmp(host + bare - name_len, name, name_len) == 0;
}

/// A registry's host that an exception lets through, or NULL.
static const char *excepted(const struct client_site *site, const char *entry) {
    for (size_t i = 0; site != NULL && i < site->registry_count; i++) {
        const struct site_registry *r = &site->registries[i];
        if (strcmp(entry, "*") == 0 || excepts(entry, r->name))
            return r->name;
        for (size_t j = 0; j < r->host_count; j++)
            if (excepts(entry, r->hosts[j]))
                return r->hosts[j];
    }
    return strcmp(entry, "*") == 0 ? "every registry" : NULL;
}

/// Registries that people use, besides the site's own.
static const char *const public_registries[] = {"registry-1.docker.io",
                                                "ghcr.io",
                                                "quay.io",
                                                "gcr.io",
                                                "registry.k8s.io",
                                                "mcr.microsoft.com",
                                                "public.ecr.aws",
                                                "registry.gitlab.com",
                                                "nvcr.io",
                                                "registry.access.redhat.com",
                                                "docker.elastic.co",
                                                "registry.suse.com"};

static const char *public_host(const char *entry) {
    for (size_t i = 0; i < sizeof public_registries / sizeof *public_registries; i++)
        if (excepts(entry, public_registries[i]))
            return public_registries[i];
    return NULL;
}

bool is_public_registry(const char *host) {
    for (size_t i = 0; i < sizeof public_registries / sizeof *public_registries; i++)
        if (strcasecmp(host, public_registries[i]) == 0)
            return true;
    return false;
}

/// What the site itself wants to be asked without the proxy, and what is no registry on the internet.
static bool is_meant(const struct doctor *d, const char *entry) {
    for (size_t i = 0; d->site != NULL && i < d->site->no_proxy_count; i++)
        if (strcasecmp(d->site->no_proxy[i], entry) == 0)
            return true;
    return site_is_gateway(d->site, entry) || site_is_wanted(d->site, entry) || doctor_taken_over(d, entry) ||
           strcmp(entry, "localhost") == 0 || strcmp(entry, "::1") == 0 || strncmp(entry, "127.", 4) == 0;
}

static bool is_address(const char *entry) {
    return entry[strspn(entry, "0123456789.:/abcdefABCDEF[]")] == '\0' && strpbrk(entry, "0123456789:") != NULL;
}

static bool no_exceptions(struct doctor *d, const char *client, const char *where, const char *no_proxy) {
    struct names entries = {0};
    bool none = true;
    names_split(&entries, no_proxy != NULL ? no_proxy : "", ",");
    for (size_t i = 0; i < entries.count; i++) {
        const char *entry = entries.at[i], *host = excepted(d->site, entry);
        if (is_meant(d, entry))
            continue;
        if (host == NULL)
            host = public_host(entry);
        none &= host == NULL;
        if (host != NULL)
            doctor_open(d, client, "proxy_exception", where, "Take it out of the exceptions.",
                        "\"%s\" is asked without the proxy, and so %s past the gateway", entry, host);
        else if (!is_address(entry))
            report_add(d->report, FINDING_WARNING, "proxy_exception", client, where,
                       "Take it out of the exceptions, or name it in \"clients\": {\"no_proxy\": [...]} if it is meant "
                       "so.",
                       fix_command(client), "\"%s\" is asked without the proxy: a registry there is past the gateway",
                       entry);
    }
    names_deinit(&entries);
    return none;
}

// --- the proxy ---

static bool same_proxy(const char *a, const char *b) {
    a = strncmp(a, "http://", 7) == 0 ? a + 7 : a;
    b = strncmp(b, "http://", 7) == 0 ? b + 7 : b;
    size_t a_len = strcspn(a, "/"), b_len = strcspn(b, "/");
    return a_len == b_len && strncasecmp(a, b, a_len) == 0;
}

/// What a URL holds of a password is no business of a report's.
static char *without_user(const char *url) {
    const char *user = strrchr(url, '@'), *scheme = strstr(url, "://");
    if (user == NULL)
        return mem_strdup(url);
    size_t len = scheme != NULL ? (size_t)(scheme + 3 - url) : 0;
    return mem_printf("%.*s%s", (int)len, url, user + 1);
}

static bool is_refusing(struct doctor *d, const char *client, const char *where, const char *scheme, const char *url) {
    if (url == NULL) {
        if (d->site != NULL && d->site->proxy != NULL)
            doctor_open(d, client, "no_proxy", where, "Have it use the gateway's proxy.",
                        "no proxy is set for %s, so that nothing stops what goes past the gateway over it", scheme);
        return false;
    }
    if (d->site != NULL && d->site->proxy != NULL && same_proxy(url, d->site->proxy))
        return true;
    char *shown = without_user(url);
    report_add(d->report, FINDING_WARNING, "other_proxy", client, where,
               d->site != NULL && d->site->proxy != NULL
                   ? "Have it use the gateway's proxy, or be sure that this one refuses every registry."
                   : "Be sure that it refuses every registry.",
               fix_command(client), "its proxy for %s is %s, of which doctor does not know what it lets through",
               scheme, shown);
    free(shown);
    return false;
}

struct doctor_proxy judge_proxy(struct doctor *d, const char *client, const char *where, const char *http,
                                const char *https, const char *no_proxy) {
    struct doctor_proxy result = {.set = http != NULL || https != NULL};
    if (!result.set)
        return result;
    bool plain = is_refusing(d, client, where, "http", http), tls = is_refusing(d, client, where, "https", https);
    result.refuses = no_exceptions(d, client, where, no_proxy) && plain && tls;
    return result;
}

// --- a daemon's environment ---

static void read_process(const struct machine_client *c, struct daemon_env *running, bool *known) {
    char *path = mem_printf("/proc/%d/environ", (int)c->pid);
    struct buf text;
    *known = c->pid != 0 && below_text("", path, &text) == BELOW_OK;
    if (*known)
        daemon_env_process(text.data, text.len, running);
    if (c->pid != 0)
        buf_deinit(&text);
    free(path);
}

static bool equal(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool differ(const struct daemon_env *a, const struct daemon_env *b) {
    return !equal(a->http, b->http) || !equal(a->https, b->https) || !equal(a->no, b->no);
}

static void tell_restart(struct doctor *d, const struct machine_client *c, const char *unit, const char *where) {
    char *command = mem_printf("systemctl daemon-reload && systemctl restart %s", unit);
    report_add(d->report, FINDING_OPEN, "restart", c->name, where, "Restart it.", command,
               "the running daemon has not the proxy that its unit names: it was started before");
    free(command);
}

static void tell_unreadable(struct doctor *d, const struct machine_client *c, const struct names *unreadable) {
    for (size_t i = 0; i < unreadable->count; i++)
        doctor_unreadable(d, c->name, unreadable->at[i], "the daemon's proxy may be set in it");
}

static const char *first_of(const char *a, const char *b) {
    return a != NULL ? a : b;
}

struct doctor_proxy judge_unit_proxy(struct doctor *d, const struct machine_client *c, const char *unit,
                                     const char *prefix, const struct proxy_settings *own) {
    static const struct proxy_settings nothing = {0};
    struct daemon_env written = {.prefix = prefix}, running = {.prefix = prefix};
    struct names unreadable = {0};
    bool known = false;
    own = own != NULL ? own : &nothing;
    daemon_env_of_unit(d->root, unit, &written, &unreadable);
    read_process(c, &running, &known);
    if (!known)
        tell_unreadable(d, c, &unreadable);
    bool settled = own->http != NULL && own->https != NULL && own->no != NULL;
    if (known && !settled && written.from != NULL && differ(&written, &running))
        tell_restart(d, c, unit, written.from);
    const struct daemon_env *env = known ? &running : &written;
    bool some = own->http != NULL || own->https != NULL;
    struct doctor_proxy result = judge_proxy(d, c->name, some ? own->where : env->from, first_of(own->http, env->http),
                                             first_of(own->https, env->https), first_of(own->no, env->no));
    names_deinit(&unreadable);
    daemon_env_deinit(&written);
    daemon_env_deinit(&running);
    return result;
}

struct doctor_proxy judge_process_proxy(struct doctor *d, const struct machine_client *c,
                                        const struct proxy_settings *own) {
    struct daemon_env running = {0};
    bool known = false;
    read_process(c, &running, &known);
    if (!known)
        doctor_unreadable(d, c->name, NULL, "the daemon's proxy may be set in its environment");
    struct doctor_proxy result = judge_proxy(d, c->name, own->where, first_of(own->http, running.http),
                                             first_of(own->https, running.https), first_of(own->no, running.no));
    daemon_env_deinit(&running);
    return result;
}

// --- a daemon's command line ---

static bool read_words(const struct machine_client *c, struct names *words) {
    char *path = mem_printf("/proc/%d/cmdline", (int)c->pid);
    struct buf text;
    bool known = c->pid != 0 && below_text("", path, &text) == BELOW_OK;
    for (size_t at = 0; known && at < text.len; at += strlen(text.data + at) + 1)
        names_add(words, text.data + at);
    if (c->pid != 0)
        buf_deinit(&text);
    free(path);
    return known;
}

void daemon_words(struct doctor *d, const struct machine_client *c, const char *unit, struct names *words) {
    struct daemon_env written = {0};
    struct names unreadable = {0};
    if (!read_words(c, words)) {
        daemon_env_of_unit(d->root, unit, &written, &unreadable);
        daemon_env_words(&written, words);
    }
    names_deinit(&unreadable);
    daemon_env_deinit(&written);
}

void judge_no_proxy(struct doctor *d, const char *client, bool open, const char *needs) {
    bool offered = d->site != NULL && d->site->proxy != NULL;
    report_add(d->report, open ? FINDING_OPEN : FINDING_WARNING, "no_proxy", client, NULL,
               offered
                   ? "Have it use the gateway's proxy, which refuses all."
                   : "Give the gateway a listener with \"connect\": \"refuse\", name it in \"clients\", and write the "
                     "client's configuration again; or let egress rules stop it.",
               offered ? fix_command(client) : "pullgate client firewall --nft", "no refusing proxy is set: %s", needs);
}
