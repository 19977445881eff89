// SPDX-License-Identifier: Apache-2.0
//
// One HTTP exchange with one upstream host. Everything here runs on the fetch thread that owns the
// multi handle; libcurl calls back into it from curl_multi_perform() and curl_easy_pause().

#include "mirrors/upstream/transfer.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/figures.h"
#include "mirrors/upstream/proxy.h"
#include "mirrors/upstream/retry.h"
#include "mirrors/upstream/self.h"
#include "mirrors/upstream/target.h"

#include <assert.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    CA_CACHE_SECONDS = 60, ///< A replaced CA file is believed after so long, at the latest.
    RESOLVE_MAX = 64 * 1024
};

static const char system_trust_dir[] = "/etc/ssl/certs";

struct transfer {
    struct multi *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *resolve; ///< Addresses that the site names for the URL's host.
    const struct registry *registry;
    struct transfer_callbacks callbacks;
    void *ctx;
    struct transfer_head head;
    size_t head_bytes, head_lines;
    bool proxied; ///< The connection's far end is the site's proxy: the address rules are its business.
    bool public_only;
    bool head_done; ///< The final head was delivered.
    bool stopped;   ///< A callback said stop.
    bool stale;     ///< The connection that was to be reused cannot be: another is made.
    int addresses_tried, addresses_refused;
    struct err refusal; ///< Of the first address that was refused, "" without.
    struct err bound;   ///< What the answer's head broke, "" without.
    char error[CURL_ERROR_SIZE];
    struct figures *figures;
    const char *name; ///< For the figures.
    int64_t started_us;
};

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// --- the address rules ---

/// A proxy's address is no exception: the gateway may be what the environment names as one.
static bool is_self(struct transfer *t, const uint8_t addr[16], uint16_t port) {
    struct self *self = multi_self(t->multi);
    if (self == NULL || !self_is(self, addr, port))
        return false;
    if (t->refusal.text[0] == '\0')
        err_set(&t->refusal, "its name leads back to this gateway: say the registry's addresses in its \"resolve\"");
    return true;
}

static bool address_ok(struct transfer *t, const uint8_t addr[16], uint16_t port) {
    struct err err;
    if (is_self(t, addr, port))
        return false;
    struct registry bare = *t->registry;
    if (t->public_only)
        bare.private_address_count = 0;
    if (t->proxied || address_permitted(&bare, addr, &err))
        return true;
    if (t->refusal.text[0] == '\0')
        t->refusal = err;
    return false;
}

static uint16_t port_of(const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
    return sa->sa_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port) : 0;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    struct transfer *t = ctx;
    uint8_t addr[16];
    t->addresses_tried++;
    if (purpose != CURLSOCKTYPE_IPCXN || !address_from_sockaddr(&address->addr, addr) ||
        !address_ok(t, addr, port_of(&address->addr))) {
        t->addresses_refused++;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0)
        multi_opened(t->multi, fd);
    return fd;
}

static int on_close_socket(void *ctx, curl_socket_t fd) {
    multi_closed(ctx, fd);
    return close(fd);
}

/// Did the upstream send more on this reused connection than its last answer's length? libcurl would read it as
/// the answer to the next request.
static bool has_leftovers(struct transfer *t, int local_port) {
    struct curl_tlssessioninfo *tls = NULL;
    char byte;
    int fd = t->addresses_tried == 0 ? multi_find(t->multi, local_port) : -1;
    if (fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return true;
    return fd >= 0 && curl_easy_getinfo(t->easy, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls != NULL &&
           tls->backend == CURLSSLBACKEND_OPENSSL && tls->internals != NULL && SSL_pending(tls->internals) > 0;
}

/// Called for every request, on reused connections too, which the socket callback never sees.
static int on_before_request(void *ctx, char *primary_ip, char *local_ip, int primary_port, int local_port) {
    struct transfer *t = ctx;
    uint8_t addr[16];
    if (has_leftovers(t, local_port)) {
        t->stale = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (address_from_text(primary_ip, addr) && address_ok(t, addr, (uint16_t)primary_port))
        return CURL_PREREQFUNC_OK;
    if (t->proxied)
        return CURL_PREREQFUNC_OK;
    t->addresses_tried = t->addresses_refused = 1;
    return CURL_PREREQFUNC_ABORT;
}

// --- the head ---

static void head_reset(struct transfer_head *head) {
    free(head->location);
    memset(head, 0, sizeof(*head));
    head->length = -1;
    head->ratelimit_remaining = -1;
}

static void keep(char *out, size_t size, const char *value, size_t len) {
    if (len < size) {
        memcpy(out, value, len);
        out[len] = '\0';
    }
}

/// Several of them count together, and one that is too long to keep is not "none".
static void keep_encoding(struct transfer_head *h, const char *value, size_t len) {
    if (len == 0 || (len == 8 && strncasecmp(value, "identity", len) == 0))
        return;
    size_t cut = len < sizeof(h->content_encoding) ? len : sizeof(h->content_encoding) - 1;
    keep(h->content_encoding, sizeof(h->content_encoding), value, cut);
}

/// RFC 9110, 8.8.3, in visible ASCII: what is kept is perhaps sent back.
static bool is_etag(const char *value, size_t len) {
    size_t begin = len > 2 && memcmp(value, "W/", 2) == 0 ? 2 : 0;
    if (len < begin + 2 || value[begin] != '"' || value[len - 1] != '"')
        return false;
    for (size_t i = begin + 1; i + 1 < len; i++)
        if (value[i] <= ' ' || value[i] == '"' || value[i] == 0x7f)
            return false;
    return true;
}

static void keep_etag(struct transfer_head *h, const char *value, size_t len) {
    if (is_etag(value, len))
        keep(h->etag, sizeof(h->etag), value, len);
}

static void keep_ratelimit(struct transfer_head *h, const char *value, size_t len) {
    char text[64] = "";
    keep(text, sizeof(text), value, len);
    h->ratelimit_remaining = retry_ratelimit(text);
}

static bool named(const char *line, size_t name_len, const char *name) {
    return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

static void head_field(struct transfer_head *h, const char *line, size_t name_len, const char *value, size_t len) {
    if (named(line, name_len, "content-type"))
        keep(h->content_type, sizeof(h->content_type), value, len);
    else if (named(line, name_len, "docker-content-digest"))
        keep(h->digest, sizeof(h->digest), value, len);
    else if (named(line, name_len, "content-range"))
        keep(h->content_range, sizeof(h->content_range), value, len);
    else if (named(line, name_len, "content-encoding"))
        keep_encoding(h, value, len);
    else if (named(line, name_len, "retry-after"))
        keep(h->retry_after, sizeof(h->retry_after), value, len);
    else if (named(line, name_len, "etag"))
        keep_etag(h, value, len);
    else if (named(line, name_len, "ratelimit-remaining"))
        keep_ratelimit(h, value, len);
    else if (named(line, name_len, "oci-filters-applied"))
        keep(h->filters_applied, sizeof(h->filters_applied), value, len);
    else if (named(line, name_len, "link"))
        keep(h->link, sizeof(h->link), value, len);
    else if (named(line, name_len, "www-authenticate"))
        challenge_parse(value, len, &h->challenges);
    else if (named(line, name_len, "location") && h->location == NULL && len <= TARGET_URL_MAX)
        h->location = mem_strndup(value, len);
}

static bool coding_is_chunked(const char *value, size_t len) {
    return len == 7 && strncasecmp(value, "chunked", len) == 0;
}

/// False: the answer is in a form that is not read.
static bool head_line(struct transfer_head *h, const char *line, size_t len) {
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return true;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    head_field(h, line, (size_t)(colon - line), value, (size_t)(end - value));
    // libcurl would unpack "gzip, chunked", of any size and also what it holds while we pause.
    return !named(line, (size_t)(colon - line), "transfer-encoding") || coding_is_chunked(value, (size_t)(end - value));
}

/// The blank line after the header lines: is this the final head, and what does the owner make of it?
static bool head_end(struct transfer *t) {
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return true;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->head.status = (int)status;
    t->head.length = length;
    t->head_done = true;
    if (t->callbacks.head(t->ctx, &t->head) == TRANSFER_CONTINUE)
        return true;
    t->stopped = true;
    return false;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t len = size * count, all = len;
    t->head_bytes += len;
    if (t->head_done) // Trailers: read off, never used.
        return t->head_bytes <= 2 * (size_t)TRANSFER_HEAD_BYTES_MAX ? all : 0;
    if (t->head_bytes > TRANSFER_HEAD_BYTES_MAX || ++t->head_lines > TRANSFER_HEAD_LINES_MAX) {
        err_set(&t->bound, "its answer's head is over %d bytes or %d lines", TRANSFER_HEAD_BYTES_MAX,
                TRANSFER_HEAD_LINES_MAX);
        return 0;
    }
    while (len > 0 && (data[len - 1] == '\r' || data[len - 1] == '\n'))
        len--;
    if (len == 0)
        return head_end(t) ? all : 0;
    if (len > 5 && strncmp(data, "HTTP/", 5) == 0)
        head_reset(&t->head);
    else if (!head_line(&t->head, data, len)) {
        err_set(&t->bound, "its answer has a Transfer-Encoding that nobody asked for");
        return 0;
    }
    return all;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t len = size * count;
    if (t->stopped)
        return len + 1;
    switch (t->callbacks.body(t->ctx, data, len)) {
    case TRANSFER_CONTINUE:
        return len;
    case TRANSFER_PAUSE:
        return CURL_WRITEFUNC_PAUSE;
    case TRANSFER_STOP:
        break;
    }
    t->stopped = true;
    return len + 1; // Anything but `len` ends the transfer.
}

// --- set-up and end ---

static bool host_of(const char *url, char *out, size_t size) {
    CURLU *u = curl_url();
    char *host = NULL;
    bool ok =
        curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    if (ok) {
        const char *p = host[0] == '[' ? host + 1 : host;
        size_t len = strcspn(p, "]");
        ok = len < size;
        if (ok)
            keep(out, size, p, len);
    }
    curl_free(host);
    curl_url_cleanup(u);
    return ok;
}

static unsigned url_port(const char *url) {
    CURLU *u = curl_url();
    char *port = NULL;
    unsigned number = 443;
    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        number = (unsigned)strtoul(port, NULL, 10);
    curl_free(port);
    curl_url_cleanup(u);
    return number;
}

static void add_header(struct transfer *t, const char *name, const char *value) {
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *list = curl_slist_append(t->headers, line);
    assert(list != NULL);
    t->headers = list;
    mem_wipe(line); // It may have been an Authorization.
}

static void set_headers(struct transfer *t, const struct transfer_spec *spec) {
    add_header(t, "Accept", spec->accept != NULL ? spec->accept : "*/*");
    add_header(t, "Accept-Encoding", "identity");
    if (spec->authorization != NULL)
        add_header(t, "Authorization", spec->authorization);
    if (spec->range != NULL)
        add_header(t, "Range", spec->range);
    if (multi_self(t->multi) != NULL)
        add_header(t, self_header, self_via(multi_self(t->multi)));
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void set_proxy(struct transfer *t, const char *url) {
    char host[HOST_MAX + 1] = "";
    t->proxied =
        t->registry->proxy != NULL && host_of(url, host, sizeof(host)) && proxy_applies(t->registry->no_proxy, host);
    // "" overrides the environment: whether a proxy is used is the configuration's word alone.
    curl_easy_setopt(t->easy, CURLOPT_PROXY, t->proxied ? t->registry->proxy : "");
    curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "");
}

/// Is it the host of one of the registry's endpoints?
static bool is_endpoint(const struct registry *r, const char *host) {
    for (size_t i = 0; i < r->endpoint_count; i++)
        if (strcasecmp(r->endpoints[i].at.host, host) == 0)
            return true;
    return false;
}

static void add_address(struct buf *line, const char *address) {
    bool v6 = strchr(address, ':') != NULL;
    buf_addf(line, "%s%s%s%s", line->data[line->len - 1] == ':' ? "" : ",", v6 ? "[" : "", address, v6 ? "]" : "");
}

/// The site's word for where the host is. "+": libcurl's handle shares it, so it is to be forgotten like any answer.
static void set_resolve(struct transfer *t, const char *url) {
    char host[HOST_MAX + 1];
    const struct registry *r = t->registry;
    if (r->resolve_count == 0 || !host_of(url, host, sizeof(host)) || host_is_address(host) || !is_endpoint(r, host))
        return;
    struct buf line;
    buf_init(&line, RESOLVE_MAX);
    buf_addf(&line, "+%s:%u:", host, url_port(url));
    for (size_t i = 0; i < r->resolve_count; i++)
        add_address(&line, r->resolve[i]);
    t->resolve = curl_slist_append(NULL, line.data);
    assert(t->resolve != NULL);
    buf_deinit(&line);
    curl_easy_setopt(t->easy, CURLOPT_RESOLVE, t->resolve);
}

static void set_trust(struct transfer *t, const char *ca) {
    // libcurl keeps connections with different CAINFO apart. A site's own file stands beside the
    // system's folder; without one the system's default is used, whose parsed form libcurl caches.
    if (ca != NULL) {
        curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca);
        curl_easy_setopt(t->easy, CURLOPT_CAPATH, system_trust_dir);
    }
    curl_easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_SECONDS);
}

static void set_options(struct transfer *t, const struct transfer_spec *spec) {
    CURL *e = t->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_URL, spec->url);
    curl_easy_setopt(e, CURLOPT_NOBODY, spec->head ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    // Without it the end of a transfer whose name is still being resolved waits for the resolver, and with
    // it the whole fetch thread; the resolver's thread cleans up after itself.
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "pullgate/" PULLGATE_VERSION);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->connect_timeout_ms);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)TRANSFER_STALL_SECONDS);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)TRANSFER_RECEIVE_BUFFER);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, t->multi); // Outlives every connection.
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_before_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
}

struct transfer *transfer_start(struct multi *multi, const struct transfer_spec *spec,
                                const struct transfer_callbacks *callbacks, void *ctx) {
    struct transfer *t = mem_zalloc(1, sizeof(*t));
    t->multi = multi;
    t->easy = curl_easy_init();
    assert(t->easy != NULL);
    t->registry = spec->registry;
    t->public_only = spec->public_only;
    t->callbacks = *callbacks;
    t->ctx = ctx;
    t->figures = spec->figures;
    t->name = spec->name;
    t->started_us = now_us();
    head_reset(&t->head);
    set_options(t, spec);
    set_headers(t, spec);
    set_proxy(t, spec->url);
    set_resolve(t, spec->url);
    set_trust(t, spec->ca);
    curl_multi_add_handle(multi_handle(multi), t->easy);
    return t;
}

static void transfer_free(struct transfer *t) {
    curl_multi_remove_handle(multi_handle(t->multi), t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->resolve);
    free(t->head.location);
    free(t);
}

/// `failed`: whatever its head said. Before the transfer's owner hears of the end, so that figures read after an answer
/// hold the requests that it took.
static void count(struct transfer *t, bool failed) {
    int status = t->head_done ? t->head.status : 0;
    bool limited = status == 429 || (status == 503 && t->head.retry_after[0] != '\0');
    struct figures_sample sample = {.us = now_us() - t->started_us,
                                    .error = failed || status == 429 || status >= 500,
                                    .limited = limited,
                                    .ratelimit_remaining = t->head_done ? t->head.ratelimit_remaining : -1};
    if (t->figures != NULL)
        figures_add(t->figures, t->name, &sample);
}

void transfer_abort(struct transfer *t) {
    count(t, false);
    transfer_free(t);
}

void transfer_expire(struct transfer *t) {
    count(t, true);
    transfer_free(t);
}

bool transfer_resume(struct transfer *t) {
    return curl_easy_pause(t->easy, CURLPAUSE_CONT) == CURLE_OK;
}

static enum transfer_end classify(const struct transfer *t, CURLcode code) {
    if (t->stopped)
        return TRANSFER_STOPPED;
    if (code == CURLE_OK)
        return t->head_done ? TRANSFER_COMPLETE : TRANSFER_BROKEN;
    if (t->addresses_refused > 0 && t->addresses_refused == t->addresses_tried)
        return TRANSFER_ADDRESS;
    curl_off_t pretransfer = 0;
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer);
    if (pretransfer != 0)
        return TRANSFER_BROKEN;
    return code == CURLE_OPERATION_TIMEDOUT ? TRANSFER_SILENT : TRANSFER_CONNECT;
}

/// Nothing was asked yet on the connection that turned out unusable: ask on a new one.
static void start_anew(struct transfer *t) {
    t->stale = false;
    curl_multi_remove_handle(multi_handle(t->multi), t->easy);
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_multi_add_handle(multi_handle(t->multi), t->easy);
}

void transfer_finished(CURL *easy, CURLcode code) {
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct transfer *t = (struct transfer *)(void *)private;
    if (t->stale) {
        start_anew(t);
        return;
    }
    enum transfer_end end = classify(t, code);
    const char *why = t->error[0] != '\0' ? t->error : curl_easy_strerror(code);
    if (end == TRANSFER_ADDRESS)
        why = t->refusal.text;
    else if (t->bound.text[0] != '\0')
        why = t->bound.text;
    count(t, end != TRANSFER_COMPLETE && end != TRANSFER_STOPPED);
    t->callbacks.done(t->ctx, end, why);
    transfer_free(t);
}
