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

static bool share_one(const struct names *a, const struct names *b) {
    for (size_t i = 0; i < a->count; i++)
        if (names_have(b, a->at[i]))
            return true;
    return false;
}

static bool is_loopback(const struct names *addresses) {
    return addresses->count > 0 && (strncmp(addresses->at[0], "127.", 4) == 0 || strcmp(addresses->at[0], "::1") == 0);
}

bool doctor_taken_over(const struct doctor *d, const char *host) {
    if (d->site == NULL || !d->site->takeover)
        return false;
    struct buf text;
    struct names lines = {0}, theirs = {0}, ours = {0};
    char *gateway = bare_host(d->site->host), *name = bare_host(host);
    below_text(d->root, "/etc/hosts", &text);
    names_split(&lines, text.data, "\n");
    addresses_of(&lines, name, &theirs);
    addresses_of(&lines, gateway, &ours);
    if (theirs.count == 0 && d->root[0] == '\0')
        looked_up(name, &theirs);
    if (theirs.count > 0 && ours.count == 0)
        looked_up(gateway, &ours);
    // A gateway whose address is not known here (an image of a machine) is taken at the hosts file's word.
    bool taken = theirs.count > 0 && (ours.count == 0 ? !is_loopback(&theirs) : share_one(&theirs, &ours));
    names_deinit(&lines);
    names_deinit(&theirs);
    names_deinit(&ours);
    buf_deinit(&text);
    free(gateway);
    free(name);
    return taken;
}

static void judge_line(struct doctor *d, const struct names *words) {
    for (size_t i = 1; i < words->count; i++)
        if (site_is_served(d->site, words->at[i]) && !doctor_taken_over(d, words->at[i]))
            report_add(d->report, FINDING_WARNING, "hosts_entry", "network", "/etc/hosts",
                       "Take it out, if nobody knows what it is for.", NULL,
                       "the hosts file leads %s to %s: who goes past the gateway meets what is there", words->at[i],
                       words->at[0]);
}

void judge_hosts_file(struct doctor *d) {
    struct buf text;
    struct names lines = {0};
    below_text(d->root, "/etc/hosts", &text);
    names_split(&lines, text.data, "\n");
    for (size_t i = 0; i < lines.count; i++) {
        struct names words = {0};
        lines.at[i][strcspn(lines.at[i], "#")] = '\0';
        names_split(&words, lines.at[i], " \t\r");
        judge_line(d, &words);
        names_deinit(&words);
    }
    names_deinit(&lines);
    buf_deinit(&text);
}
