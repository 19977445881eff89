// SPDX-License-Identifier: Apache-2.0
//
// The hosts-file form of a Docker machine; see takeover.h.
//
// Only names that are the registry's own go into the hosts file: its name and the hosts below it. A host that it shares
// with strangers (a CDN, an object store) would be taken away from every program of the machine.

#include "gateway/clients/takeover.h"

#include "gateway/clients/common.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HOSTS_MAX = 64 * 1024, HOSTS_TEXT_MAX = 1024 * 1024 };

static const char certs_d[] = "/etc/docker/certs.d", trust[] = "/usr/local/share/ca-certificates/pullgate.crt";

struct taking {
    struct client_plan *p;
    const struct client_site *site;
    char address[INET6_ADDRSTRLEN];
    struct buf hosts, names;
};

static bool find_address(struct taking *t, const char *given, struct err *err) {
    char *host = host_without_port(given != NULL ? given : t->site->host);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = given != NULL ? AI_NUMERICHOST : 0}, *found = NULL;
    int status = getaddrinfo(host, NULL, &hints, &found);
    bool ok = status == 0 && getnameinfo(found->ai_addr, found->ai_addrlen, t->address, sizeof t->address, NULL, 0,
                                         NI_NUMERICHOST) == 0;
    if (found != NULL)
        freeaddrinfo(found);
    if (!ok)
        err_set(err, "%s: its address is not known here (%s); give it with --address", host, gai_strerror(status));
    free(host);
    return ok;
}

/// A name of a registry at the gateway's address, and its CA where the containerd store and BuildKit look for it.
static void take(struct taking *t, const char *name) {
    const char *known = t->names.data != NULL ? t->names.data : "";
    if (list_holds(known, name) || is_wildcard(name) || strchr(name, ':') != NULL || site_is_direct(t->site, name))
        return;
    buf_addf(&t->hosts, "%s %s\n", t->address, name);
    buf_addf(&t->names, ",%s", name);
    plan_taken_hosts(t->p, t->site, certs_d, name);
    if (t->site->ca == NULL)
        return;
    char *path = mem_printf("%s/%s/ca.crt", certs_d, name);
    plan_link(t->p, path, t->site->ca);
    free(path);
}

static bool is_below(const char *host, const char *name) {
    size_t h = strlen(host), n = strlen(name);
    return h > n && host[h - n - 1] == '.' && strcmp(host + h - n, name) == 0;
}

static void take_registry(struct taking *t, const struct site_registry *r) {
    if (is_wildcard(r->name)) {
        plan_open(t->p,
                  "\"%s\": a hosts file has no wildcards; give its registries names of their own in the "
                  "gateway's configuration, or lead them to the gateway in the site's DNS.",
                  r->name);
        return;
    }
    take(t, r->name);
    if (strcmp(r->name, "docker.io") == 0) {
        take(t, "registry-1.docker.io");
        take(t, "index.docker.io");
    }
    for (size_t i = 0; i < r->host_count; i++)
        if (is_below(r->hosts[i], r->name))
            take(t, r->hosts[i]);
}

static void plan_trust(struct taking *t, const struct client_options *options) {
    if (t->site->ca == NULL)
        return;
    plan_link(t->p, trust, t->site->ca);
    plan_run(t->p, "update-ca-certificates");
    plan_note(t->p, "The graphdriver store asks Docker Hub by the system's trust alone, so the whole machine comes to "
                    "trust the gateway's authority.");
}

void plan_no_takeover(struct client_plan *p, const struct client_options *options) {
    struct buf text;
    buf_init(&text, HOSTS_TEXT_MAX);
    if (options->look && rooted_look(options->root, "/etc/hosts", &text) && text.data != NULL &&
        strstr(text.data, "# BEGIN pullgate") != NULL)
        plan_block(p, "/etc/hosts", "");
    if (options->look && rooted_has(options->root, trust))
        plan_note(p,
                  "The whole machine still trusts the gateway's authority, from an earlier --takeover. Where nothing "
                  "else needs that: rm %s && update-ca-certificates --fresh",
                  trust);
    buf_deinit(&text);
}

bool plan_takeover(struct client_plan *p, const struct client_site *site, const struct client_options *options,
                   char **names, struct err *err) {
    struct taking t = {.p = p, .site = site};
    if (!find_address(&t, options->address, err))
        return false;
    buf_init(&t.hosts, HOSTS_MAX);
    buf_init(&t.names, HOSTS_MAX);
    buf_adds(&t.hosts, "# Registries' own names lead to the gateway, which answers as they do, by the site's rules.\n");
    for (size_t i = 0; i < site->registry_count; i++)
        take_registry(&t, &site->registries[i]);
    plan_hosts_folder(p, site, options, certs_d, "dockerd", t.names.data);
    plan_block(p, "/etc/hosts", t.hosts.data);
    char *led = mem_printf("%s%s", t.address, t.names.data != NULL ? t.names.data : "");
    plan_block_rivals(p, "/etc/hosts", led);
    free(led);
    plan_trust(&t, options);
    if (!site->takeover)
        plan_open(p,
                  "The site does not say that its gateway answers under registries' own names (\"takeover\": true on a "
                  "listener at port 443): until it does, every pull fails.");
    plan_note(p, "The hosts file names the gateway's address: when that changes, run this again.");
    *names = t.names.data != NULL ? buf_steal(&t.names) : mem_strdup("");
    buf_deinit(&t.names);
    buf_deinit(&t.hosts);
    return true;
}
