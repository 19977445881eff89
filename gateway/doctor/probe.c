// SPDX-License-Identifier: Apache-2.0
//
// Trying TCP connections to the registries' own hosts. libcurl looks the names up and connects, all at once; nothing is
// said on a connection that opens.

#include "gateway/doctor/network.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES_MAX = 256, PROBES_AT_ONCE = 64, WAIT_MS = 100, SHOWN_MAX = 8 };

struct probe {
    const char *host;
    CURL *easy;
    bool opened;
};

static size_t collect(const struct client_site *site, struct probe *probes) {
    size_t count = 0;
    for (size_t i = 0; i < site->registry_count; i++)
        for (size_t j = 0; j < site->registries[i].host_count && count < PROBES_MAX; j++) {
            const char *host = site->registries[i].hosts[j];
            bool known = strchr(host, '*') != NULL || site_is_gateway(site, host) || site_is_wanted(site, host);
            for (size_t k = 0; k < count && !known; k++)
                known = strcmp(probes[k].host, host) == 0;
            if (!known)
                probes[count++] = (struct probe){.host = host};
        }
    return count;
}

/// A port that is not written is https's.
static char *url_of(const char *host) {
    const char *colon = strrchr(host, ':');
    bool has_port = colon != NULL && strchr(colon, ']') == NULL;
    return has_port ? mem_printf("http://%s/", host) : mem_printf("http://%s:443/", host);
}

static void begin(CURLM *multi, struct probe *p) {
    char *url = url_of(p->host);
    p->easy = curl_easy_init();
    if (p->easy != NULL) {
        curl_easy_setopt(p->easy, CURLOPT_URL, url);
        curl_easy_setopt(p->easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(p->easy, CURLOPT_PROXY, "");
        curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(p->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)PROBE_MS);
        curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)PROBE_MS);
        curl_easy_setopt(p->easy, CURLOPT_PRIVATE, p);
        curl_multi_add_handle(multi, p->easy);
    }
    free(url);
}

static void take_results(CURLM *multi) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;) {
        struct probe *p = NULL;
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&p) != CURLE_OK)
            continue;
        p->opened = m->data.result == CURLE_OK;
    }
}

static void run(struct probe *probes, size_t count) {
    CURLM *multi = curl_multi_init();
    int running = 1;
    for (size_t i = 0; i < count; i++)
        begin(multi, &probes[i]);
    // Names that nobody answers for are given up too: a resolver's own patience is longer.
    for (int64_t end = clock_ms() + PROBE_MS + 1000; running > 0 && clock_ms() < end;) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            break;
        take_results(multi);
        if (running > 0)
            curl_multi_poll(multi, NULL, 0, WAIT_MS, NULL);
    }
    take_results(multi);
    for (size_t i = 0; i < count; i++) {
        if (probes[i].easy == NULL)
            continue;
        curl_multi_remove_handle(multi, probes[i].easy);
        curl_easy_cleanup(probes[i].easy);
    }
    curl_multi_cleanup(multi);
}

static void tell(struct doctor *d, const struct probe *probes, size_t count) {
    struct names open = {0};
    for (size_t i = 0; i < count; i++)
        if (probes[i].opened && !doctor_taken_over(d, probes[i].host))
            names_add(&open, probes[i].host);
    char *text = names_text(&open, SHOWN_MAX);
    if (open.count > 0)
        report_add(d->report, FINDING_OPEN, "egress_open", "network", NULL,
                   "Have the network, or this machine, let only the gateway reach them.",
                   "pullgate client firewall --nft",
                   "%zu of %zu registry hosts can be reached from here past the gateway: %s", open.count, count, text);
    else if (count > 0)
        report_add(d->report, FINDING_OK, "egress_closed", "network", NULL, NULL, NULL,
                   "none of %zu registry hosts can be reached from here past the gateway", count);
    free(text);
    names_deinit(&open);
}

void probe_judge(struct doctor *d) {
    struct probe *probes = mem_zalloc(PROBES_MAX, sizeof *probes);
    size_t count = collect(d->site, probes);
    for (size_t at = 0; at < count; at += PROBES_AT_ONCE)
        run(probes + at, count - at < PROBES_AT_ONCE ? count - at : PROBES_AT_ONCE);
    if (count == 0)
        report_add(d->report, FINDING_UNKNOWN, "egress_open", "network", NULL,
                   "List the registries in the gateway's configuration.", NULL,
                   "the site's description names no registry hosts: there is nothing to try");
    else
        tell(d, probes, count);
    free(probes);
}
