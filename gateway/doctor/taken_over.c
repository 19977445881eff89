// SPDX-License-Identifier: Apache-2.0
//
// Names of registries that lead to the gateway on this machine, by its hosts file.

#include "gateway/doctor/below.h"
#include "gateway/doctor/doctor.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static char *bare_host(const char *host) {
    if (host[0] == '[')
        return mem_strndup(host + 1, strcspn(host + 1, "]"));
    return mem_strndup(host, strcspn(host, ":/"));
}

/// The addresses that the hosts file has for a name.
static void addresses_of(const struct names *lines, const char *host, struct names *out) {
    for (size_t i = 0; i < lines->count; i++) {
        char *line = mem_strndup(lines->at[i], strcspn(lines->at[i], "#"));
        struct names words = {0};
        names_split(&words, line, " \t\r");
        for (size_t j = 1; j < words.count; j++)
            if (strcasecmp(words.at[j], host) == 0)
                names_add_once(out, words.at[0]);
        names_deinit(&words);
        free(line);
    }
}

/// Where pullgate's own lines lead.
static void addresses_of_block(const struct names *lines, struct names *out) {
    bool inside = false;
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->at[i];
        if (strncmp(line, "# BEGIN pullgate", strlen("# BEGIN pullgate")) == 0)
            inside = true;
        else if (strncmp(line, "# END pullgate", strlen("# END pullgate")) == 0)
            inside = false;
        else if (inside && line[0] != '#') {
            char *address = mem_strndup(line, strcspn(line, " \t"));
            names_add_once(out, address);
            free(address);
        }
    }
}

/// By the machine's own resolver; for the machine itself only.
static void looked_up(const char *host, struct names *out) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        char text[INET6_ADDRSTRLEN];
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            names_add_once(out, text);
    }
    freeaddrinfo(found);
}

/// One address that is another's is enough to lead a client there.
static bool all_of(const struct names *a, const struct names *b) {
    for (size_t i = 0; i < a->count; i++)
        if (!names_have(b, a->at[i]))
            return false;
    return true;
}

static bool is_loopback(const struct names *addresses) {
    return addresses->count > 0 && (strncmp(addresses->at[0], "127.", 4) == 0 || strcmp(addresses->at[0], "::1") == 0);
}

static void read_lines(const struct doctor *d, struct names *lines) {
    struct buf text;
    below_text(d->root, "/etc/hosts", &text);
    names_split(lines, text.data, "\n");
    buf_deinit(&text);
}

/// `ours`: of the gateway. Both are to be freed.
static void find_addresses(const struct doctor *d, const char *host, struct names *theirs, struct names *ours) {
    struct names lines = {0};
    char *gateway = bare_host(d->site->host), *name = bare_host(host);
    read_lines(d, &lines);
    addresses_of(&lines, name, theirs);
    addresses_of(&lines, gateway, ours);
    bool asked = theirs->count == 0 && d->root[0] == '\0';
    if (asked)
        looked_up(name, theirs);
    if (theirs->count > 0 && (asked || ours->count == 0))
        looked_up(gateway, ours);
    if (ours->count == 0) // An image of a machine, whose gateway is not known here: at the word of `pullgate client`.
        addresses_of_block(&lines, ours);
    names_deinit(&lines);
    free(gateway);
    free(name);
}

bool doctor_taken_over(const struct doctor *d, const char *host) {
    if (d->site == NULL || !d->site->takeover)
        return false;
    struct names theirs = {0}, ours = {0};
    find_addresses(d, host, &theirs, &ours);
    // Without any of these the hosts file is believed, if it says one thing.
    bool taken = ours.count == 0 ? theirs.count == 1 && !is_loopback(&theirs) : all_of(&theirs, &ours);
    taken = taken && theirs.count > 0;
    names_deinit(&theirs);
    names_deinit(&ours);
    return taken;
}

// --- names that lead elsewhere ---

/// "*" serves every name that there is: then those count that everybody knows for a registry's.
static bool is_registrys(const struct doctor *d, const char *host) {
    static const char every[] = "no-registry.invalid";
    return site_is_served(d->site, every) ? is_public_registry(host) : site_is_served(d->site, host);
}

/// This machine's own name, the gateway's, and what means this machine everywhere.
static bool is_no_registry(const struct doctor *d, const char *host) {
    char *gateway = bare_host(d->site->host);
    const char *machine = d->machine->name;
    size_t len = strcspn(machine, ".");
    bool own = len > 0 && strncasecmp(host, machine, len) == 0 && (host[len] == '.' || host[len] == '\0');
    bool none = own || strcasecmp(host, gateway) == 0 || strcasecmp(host, "localhost") == 0 ||
                strncasecmp(host, "localhost.", strlen("localhost.")) == 0;
    free(gateway);
    return none;
}

/// With takeover the clients that are led to the gateway by this name are led past it.
static void tell_elsewhere(struct doctor *d, const char *host, const char *address, bool ours) {
    if (ours)
        report_add(d->report, FINDING_OPEN, "hosts_entry", "network", "/etc/hosts",
                   "Take it out: this name is to lead to the gateway alone.",
                   "pullgate client docker --takeover --strict --write",
                   "the hosts file leads %s to %s, and to the gateway: clients take whichever stands first", host,
                   address);
    else
        report_add(d->report, FINDING_WARNING, "hosts_entry", "network", "/etc/hosts",
                   "Take it out, if nobody knows what it is for.", NULL,
                   "the hosts file leads %s to %s: who goes past the gateway meets what is there", host, address);
}

static void judge_name(struct doctor *d, const char *host, const char *address) {
    if (d->site == NULL || is_no_registry(d, host) || !is_registrys(d, host) || doctor_taken_over(d, host))
        return;
    struct names theirs = {0}, ours = {0};
    find_addresses(d, host, &theirs, &ours);
    bool led = false;
    for (size_t i = 0; i < theirs.count; i++)
        led |= names_have(&ours, theirs.at[i]);
    if (!d->site->takeover || !names_have(&ours, address))
        tell_elsewhere(d, host, address, d->site->takeover && led);
    names_deinit(&theirs);
    names_deinit(&ours);
}

void judge_hosts_file(struct doctor *d) {
    struct names lines = {0};
    read_lines(d, &lines);
    for (size_t i = 0; i < lines.count; i++) {
        struct names words = {0};
        lines.at[i][strcspn(lines.at[i], "#")] = '\0';
        names_split(&words, lines.at[i], " \t\r");
        for (size_t j = 1; j < words.count; j++)
            judge_name(d, words.at[j], words.at[0]);
        names_deinit(&words);
    }
    names_deinit(&lines);
}
