// SPDX-License-Identifier: Apache-2.0
//
// What the judges share.

#include "gateway/doctor/below.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// A daemon reads its file a little after it was started, and file times lag behind by a tick.
enum { STARTING_MS = 100 };

// --- findings ---

const char *fix_command(const char *client) {
    static const char *const commands[][2] = {
        {"docker", "pullgate client docker --strict --write"},
        {"containerd", "pullgate client containerd --strict --write"},
        {"nerdctl", "pullgate client nerdctl --strict --write"},
        {"buildkit", "pullgate client buildkit --strict --write"},
        {"podman", "pullgate client podman --strict --write"},
        {"buildah", "pullgate client buildah --strict --write"},
        {"skopeo", "pullgate client skopeo --strict --write"},
        {"cri-o", "pullgate client cri-o --strict --write"},
        {"k3s", "pullgate client k3s --strict --write"},
        {"rke2", "pullgate client rke2 --strict --write"},
        {"desktop", "pullgate client desktop"},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i][0], client) == 0)
            return commands[i][1];
    return NULL;
}

static void add_fixable(struct doctor *d, bool held, const char *client, const char *code, const char *where,
                        const char *todo, const char *format, va_list args) {
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        return;
    report_add(d->report, held ? FINDING_WARNING : FINDING_OPEN, code, client, where, todo, fix_command(client), "%s%s",
               text, held ? "; its proxy, which refuses all, stops that" : "");
    free(text);
}

void doctor_open(struct doctor *d, const char *client, const char *code, const char *where, const char *todo,
                 const char *format, ...) {
    va_list args;
    va_start(args, format);
    add_fixable(d, false, client, code, where, todo, format, args);
    va_end(args);
}

void doctor_unparsable(struct doctor *d, const char *client, const char *path, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    report_add(d->report, FINDING_OPEN, "unparsable", client, path,
               "Mend the file: `pullgate client` does not touch what it cannot read.", NULL, "%s",
               text != NULL ? text : "");
    free(text);
}

void doctor_leaves(struct doctor *d, bool held, const char *client, const char *code, const char *where,
                   const char *todo, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add_fixable(d, held, client, code, where, todo, format, args);
    va_end(args);
}

void doctor_unreadable(struct doctor *d, const char *client, const char *path, const char *words) {
    bool unusable = words == below_words(BELOW_UNUSABLE);
    report_add(d->report, FINDING_UNKNOWN, "unreadable", client, path,
               unusable ? "See what it is." : "Run doctor as a user who may read it.",
               unusable ? NULL : "sudo pullgate doctor", "%s", words);
}

static void add_apart(struct doctor *d, const char *code, const char *client, const char *where,
                      const struct report *apart, const char *todo, const char *what) {
    size_t count;
    const struct finding *f = report_findings(apart, &count), *open = NULL;
    for (size_t i = 0; i < count && open == NULL; i++)
        open = f[i].severity == FINDING_OPEN ? &f[i] : NULL;
    enum severity severity = open != NULL                               ? FINDING_OPEN
                             : report_count(apart, FINDING_UNKNOWN) > 0 ? FINDING_UNKNOWN
                                                                        : FINDING_NOTE;
    report_add(d->report, severity, code, client, where, severity == FINDING_NOTE ? NULL : todo,
               severity == FINDING_NOTE ? NULL : "pullgate client firewall --nft", "%s%s%s", what,
               open != NULL ? ": " : "", open != NULL ? open->what : "");
}

void doctor_users_own(struct doctor *d, const char *client, const char *where, const struct report *apart,
                      const char *what) {
    add_apart(d, "user_configuration", client, where, apart,
              "Have the same there as the system has, or keep users from daemons and files of their own; egress rules "
              "stop what they can.",
              what);
}

void doctor_other_daemon(struct doctor *d, const char *client, pid_t pid, const struct report *apart) {
    char *where = mem_printf("process %d", (int)pid);
    add_apart(d, "other_daemon", client, where, apart,
              "End it, or start it with the machine's configuration and proxy; egress rules stop what it can.",
              "one more daemon of this kind runs on this machine, with a command line and an environment of its own");
    free(where);
}

void judge_closed_homes(struct doctor *d, const char *client) {
    const struct names *closed = &d->machine->closed_homes;
    if (closed->count == 0)
        return;
    char *text = names_text(closed, 4);
    report_add(d->report, FINDING_UNKNOWN, "unreadable", client, closed->at[0], "Run doctor as root.",
               "sudo pullgate doctor", "files of users' own may be in homes that were not looked into: %s", text);
    free(text);
}

void judge_age(struct doctor *d, const struct machine_client *c, const char *path, const char *command) {
    if (c->started != 0 && below_changed(d->root, path) > c->started + STARTING_MS)
        report_add(d->report, FINDING_WARNING, "restart", c->name, path, "Restart it.", command,
                   "the file was changed after the daemon was started: what it says may not be in force yet");
}

/// Its proxy keeps it from the registries themselves: it leaves nothing, and pulls nothing.
static void tell_unused(struct doctor *d, const char *client) {
    size_t count, open = 0;
    const struct finding *findings = report_findings(d->report, &count);
    for (size_t i = 0; i < count; i++)
        open += findings[i].severity == FINDING_OPEN && strcmp(findings[i].client, client) == 0 ? 1 : 0;
    if (open > 0)
        return;
    enum tristate leaves = report_client(d->report, client, NULL)->leaves;
    doctor_open(d, client, "unused", NULL, "Have it use the gateway.",
                "it does not use the gateway at all: what keeps it from the registries lets it pull nothing");
    report_client(d->report, client, NULL)->leaves = leaves;
}

void doctor_settle(struct doctor *d, const char *client, bool uses) {
    size_t count, unknown = 0;
    const struct finding *findings = report_findings(d->report, &count);
    for (size_t i = 0; i < count; i++)
        unknown += findings[i].severity == FINDING_UNKNOWN && strcmp(findings[i].client, client) == 0 ? 1 : 0;
    struct found_client *c = report_client(d->report, client, NULL);
    if (c->uses == TRI_UNKNOWN && (uses || unknown == 0))
        c->uses = uses ? TRI_YES : TRI_NO;
    if (c->leaves == TRI_UNKNOWN && unknown == 0)
        c->leaves = TRI_NO;
    if (c->uses == TRI_NO)
        tell_unused(d, client);
    c = report_client(d->report, client, NULL);
    if (c->uses == TRI_YES && c->leaves == TRI_NO)
        report_add(d->report, FINDING_OK, "configured", client, NULL, NULL, NULL,
                   "it uses the gateway and cannot leave it by itself");
}

// --- hosts ---

/// The host[:port] at the start of a URL or reference; false: it is none. `*port`: what stands for a missing one.
static bool host_of(const char *text, struct hostport *out, uint16_t *port) {
    *port = 443;
    if (strncmp(text, "http://", 7) == 0) {
        *port = 80;
        text += 7;
    } else if (strncmp(text, "https://", 8) == 0)
        text += 8;
    const char *user = memchr(text, '@', strcspn(text, "/"));
    if (user != NULL)
        text = user + 1;
    return hostport_parse(text, strcspn(text, "/"), out, NULL);
}

bool site_is_gateway(const struct client_site *site, const char *text) {
    struct hostport given, gateway;
    uint16_t given_port, gateway_port;
    if (site == NULL || !host_of(text, &given, &given_port) || !host_of(site->gateway, &gateway, &gateway_port))
        return false;
    if (strstr(text, "://") == NULL) // Written without a scheme, it has the gateway's.
        given_port = gateway_port;
    given.port = given.port != 0 ? given.port : given_port;
    gateway.port = gateway.port != 0 ? gateway.port : gateway_port;
    return hostport_equal(&given, &gateway, gateway_port);
}

static bool matches(const char *pattern, const struct hostport *host) {
    struct err err = {0};
    struct hostport literal;
    if (hostport_parse(pattern, strlen(pattern), &literal, NULL))
        return hostport_equal(&literal, host, 443);
    return host_pattern_valid(pattern, &err) && host_pattern_match(pattern, host, 443);
}

bool site_is_wanted(const struct client_site *site, const char *host) {
    struct hostport parsed;
    uint16_t port;
    if (site == NULL || !host_of(host, &parsed, &port))
        return false;
    for (size_t i = 0; i < site->direct_count; i++)
        if (matches(site->direct[i], &parsed))
            return true;
    return false;
}

bool site_is_served(const struct client_site *site, const char *host) {
    struct hostport parsed;
    uint16_t port;
    if (site == NULL || !host_of(host, &parsed, &port))
        return false;
    for (size_t i = 0; i < site->registry_count; i++) {
        const struct site_registry *r = &site->registries[i];
        if (matches(r->name, &parsed))
            return true;
        for (size_t j = 0; j < r->host_count; j++)
            if (matches(r->hosts[j], &parsed))
                return true;
    }
    return false;
}
