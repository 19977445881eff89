// SPDX-License-Identifier: Apache-2.0
//
// A request as this machine: with its CA, its certificate, its headers.

#include "gateway/doctor/network.h"

#include "gateway/doctor/below.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t take(char *data, size_t size, size_t count, void *into) {
    struct buf *body = into;
    size_t len = size * count, room = body->max - body->len;
    buf_add(body, data, len < room ? len : room); // What is too long is cut: only its start is looked at.
    return len;
}

/// A file of the machine's, where it is below the root; else as named.
static void set_file(CURL *e, CURLoption option, const struct doctor *d, const char *path) {
    if (path == NULL)
        return;
    char *whole = mem_printf("%s%s", d->root, path);
    curl_easy_setopt(e, option, access(whole, R_OK) == 0 ? whole : path);
    free(whole);
}

static void set_trust(CURL *e, const struct doctor *d) {
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (d->site == NULL)
        return;
    set_file(e, CURLOPT_CAINFO, d, d->site->ca);
    set_file(e, CURLOPT_SSLCERT, d, d->site->certificate);
    set_file(e, CURLOPT_SSLKEY, d, d->site->key);
}

static struct curl_slist *own_headers(const struct doctor *d) {
    struct curl_slist *list = NULL;
    for (size_t i = 0; d->site != NULL && i < d->site->header_count; i++) {
        char *line = mem_printf("%s: %s", d->site->headers[i].name, d->site->headers[i].value);
        list = curl_slist_append(list, line);
        mem_wipe(line);
    }
    return list;
}

CURL *machine_request(const struct doctor *d, const char *url, unsigned seconds, struct buf *body, char *error,
                      struct curl_slist **headers) {
    CURL *e = curl_easy_init();
    *headers = NULL;
    if (e == NULL)
        return NULL;
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); // The machine's proxy may be the one that refuses.
    curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)seconds);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "pullgate/" PULLGATE_VERSION " doctor");
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, body);
    set_trust(e, d);
    *headers = own_headers(d);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, *headers);
    return e;
}
