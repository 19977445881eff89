// SPDX-License-Identifier: Apache-2.0
//
// "limits", "log" and "proxy": how the gateway runs. Every number has bounds, named in loading.h.

#include "gateway/config/loading.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PROXY_URL_MAX = 1024, NO_PROXY_MAX = 16 * 1024 };

// --- limits ---

#define FIELD(name) .offset = offsetof(struct limits_config, name), .width = sizeof(((struct limits_config *)0)->name)

static const char duration_words[] = "a duration such as \"75s\" or \"5m\"";
static const char size_words[] = "a size such as \"1MiB\" or \"512KiB\"";

const struct read_key limits_keys[] = {
    {.name = "max_connections",
     .takes = TAKES_NUMBER,
     .expected = "a number of connections",
     .read = read_count,
     FIELD(max_connections),
     .least = CONNECTIONS_MIN,
     .most = CONNECTIONS_MAX},
    {.name = "idle_timeout",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(idle_timeout_s),
     .least = 1,
     .most = IDLE_TIMEOUT_MAX_S},
    {.name = "send_timeout",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(send_timeout_s),
     .least = 1,
     .most = SEND_TIMEOUT_MAX_S},
    {.name = "head_timeout",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(head_timeout_s),
     .least = 1,
     .most = HEAD_TIMEOUT_MAX_S},
    {.name = "upstream_timeout",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(upstream_timeout_s),
     .least = 1,
     .most = UPSTREAM_TIMEOUT_MAX_S},
    {.name = "connect_timeout",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(connect_timeout_s),
     .least = 1,
     .most = UPSTREAM_TIMEOUT_MAX_S},
    {.name = "shutdown_grace",
     .takes = TAKES_STRING,
     .expected = duration_words,
     .read = read_duration,
     FIELD(shutdown_grace_s),
     .least = 0,
     .most = SHUTDOWN_GRACE_MAX_S},
    {.name = "threads",
     .takes = TAKES_NUMBER,
     .expected = "a number of threads",
     .read = read_count,
     FIELD(threads),
     .least = 1,
     .most = THREADS_MAX},
    {.name = "transfer_window",
     .takes = TAKES_STRING,
     .expected = size_words,
     .read = read_size,
     FIELD(transfer_window),
     .least = TRANSFER_WINDOW_MIN,
     .most = TRANSFER_WINDOW_MAX},
    {.name = NULL},
};

#undef FIELD

void limits_default(struct limits_config *limits) {
    *limits = (struct limits_config){
        .idle_timeout_s = IDLE_TIMEOUT_S,
        .send_timeout_s = SEND_TIMEOUT_S,
        .head_timeout_s = HEAD_TIMEOUT_S,
        .upstream_timeout_s = UPSTREAM_TIMEOUT_S,
        .connect_timeout_s = CONNECT_TIMEOUT_S,
        .shutdown_grace_s = SHUTDOWN_GRACE_S,
        .transfer_window = TRANSFER_WINDOW,
    };
}

bool read_limits(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return read_object(r, value, limits_keys, &c->limits);
}

bool limits_check(struct reader *r, const struct limits_config *limits) {
    if (limits->connect_timeout_s <= limits->upstream_timeout_s)
        return true;
    return read_fail(r,
                     "limits.connect_timeout: %us is longer than limits.upstream_timeout, %us, of which it is a part",
                     limits->connect_timeout_s, limits->upstream_timeout_s);
}

// --- log ---

static bool read_log_file(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct config *c = into;
    return value->type == JSON_NULL || read_path(r, value, &c->log_file);
}

static bool read_on_full(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const char *const words[] = {"drop", "block", NULL};
    struct config *c = into;
    int word = 0;
    if (!read_word(r, value, words, &word))
        return false;
    c->log_on_full = word == 0 ? AUDIT_DROP : AUDIT_BLOCK;
    return true;
}

const struct read_key log_keys[] = {
    {.name = "file",
     .takes = TAKES_NULL | TAKES_STRING,
     .expected = "a path, or null for standard output",
     .read = read_log_file},
    {.name = "on_full", .takes = TAKES_STRING, .expected = "\"drop\" or \"block\"", .read = read_on_full},
    {.name = NULL},
};

bool read_log(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    return read_object(r, value, log_keys, into);
}

// --- proxy ---

static bool has_scheme(const char *text, const char *const *schemes, const char **rest) {
    for (; *schemes != NULL; schemes++) {
        size_t len = strlen(*schemes);
        if (strncmp(text, *schemes, len) != 0)
            continue;
        *rest = text + len;
        return true;
    }
    return false;
}

/// A proxy's URL, without a trailing slash, as fresh memory; NULL with a sentence that never shows what may be a
/// password. User info is taken from the environment only: a configuration holds no secrets.
static char *proxy_url(const char *text, bool from_environment, struct err *err) {
    static const char *const schemes[] = {"http://", "https://", "socks5h://", "socks5://", NULL};
    const char *rest = text;
    bool written = has_scheme(text, schemes, &rest);
    if (strlen(text) > PROXY_URL_MAX || (!written && !from_environment) || (!written && strstr(text, "://") != NULL)) {
        err_set(err, "expected a URL such as \"http://proxy.example.com:3128\"");
        return NULL;
    }
    const char *at = strrchr(rest, '@'), *host = at != NULL ? at + 1 : rest;
    size_t host_len = strcspn(host, "/");
    struct hostport hp;
    if (at != NULL && !from_environment) {
        err_set(err, "expected no user name or password here: the file holds no secrets. Set HTTPS_PROXY instead");
        return NULL;
    }
    if (host[host_len] == '/' && host[host_len + 1] != '\0') {
        err_set(err, "expected no path after the proxy's host");
        return NULL;
    }
    if (!hostport_parse(host, host_len, &hp, err))
        return NULL;
    return mem_printf("%s%.*s", written ? "" : "http://", (int)(host + host_len - text), text);
}

static bool read_proxy_url(struct reader *r, const struct json *value, char **out) {
    if (value->type == JSON_NULL)
        return true;
    *out = proxy_url(value->string, false, r->err);
    return *out != NULL || read_fail_again(r);
}

static bool read_https(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct proxies *p = into;
    return read_proxy_url(r, value, &p->https);
}

static bool read_http(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct proxies *p = into;
    return read_proxy_url(r, value, &p->http);
}

/// Names, addresses and blocks: what libcurl takes. Nothing in it is a pattern.
bool no_proxy_entry_valid(const char *s) {
    if (s[0] == '\0')
        return false;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && strchr(".-_:/*[]", *s) == NULL)
            return false;
    return true;
}

static bool read_no_proxy_entry(struct reader *r, const struct json *value, void *into) {
    struct buf *list = into;
    if (value->type != JSON_STRING)
        return read_expected(r, "a host name, an address or a block", value);
    if (!no_proxy_entry_valid(value->string))
        return read_fail(r, "expected a host name, an address or a block such as \"10.0.0.0/8\", found \"%.80s\"",
                         value->string);
    if (!buf_addf(list, "%s%s", list->len > 0 ? "," : "", value->string))
        return read_fail(r, "expected at most %d bytes in all", NO_PROXY_MAX);
    return true;
}

static bool read_no_proxy(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    struct proxies *p = into;
    struct buf list;
    buf_init(&list, NO_PROXY_MAX);
    bool ok = read_each(r, value, read_no_proxy_entry, &list);
    if (ok && list.len > 0)
        p->no_proxy = buf_steal(&list);
    buf_deinit(&list);
    return ok;
}

const struct read_key proxy_keys[] = {
    {.name = "https",
     .takes = TAKES_NULL | TAKES_STRING,
     .expected = "a URL such as \"http://proxy.example.com:3128\"",
     .read = read_https},
    {.name = "http",
     .takes = TAKES_NULL | TAKES_STRING,
     .expected = "a URL such as \"http://proxy.example.com:3128\"",
     .read = read_http},
    {.name = "no_proxy", .takes = TAKES_LIST, .expected = "a list of hosts", .read = read_no_proxy},
    {.name = NULL},
};

bool read_proxy(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (value->type == JSON_NULL)
        return true;
    if (value->type == JSON_OBJECT)
        return read_object(r, value, proxy_keys, &r->loading->proxies);
    return strcmp(value->string, "none") == 0 ||
           read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
}

static const char *environment(const char *lower, const char *upper, const char **name) {
    const char *value = getenv(lower);
    *name = lower;
    if (value != NULL && value[0] != '\0')
        return value;
    value = getenv(upper);
    *name = upper;
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool url_from_environment(const char *lower, const char *upper, char **out, struct err *err) {
    const char *name = NULL, *value = environment(lower, upper, &name);
    if (value == NULL)
        return true;
    *out = proxy_url(value, true, err);
    return *out != NULL || err_prefix(err, "%s in the environment: ", name);
}

bool proxies_from_environment(struct proxies *p, struct err *err) {
    const char *name = NULL, *no_proxy = environment("no_proxy", "NO_PROXY", &name);
    if (no_proxy != NULL && strlen(no_proxy) > NO_PROXY_MAX)
        return err_set(err, "%s in the environment: over %d bytes", name, NO_PROXY_MAX);
    p->no_proxy = mem_strdup(no_proxy);
    return url_from_environment("https_proxy", "HTTPS_PROXY", &p->https, err) &&
           url_from_environment("http_proxy", "HTTP_PROXY", &p->http, err);
}

void proxies_deinit(struct proxies *p) {
    free(p->https);
    free(p->http);
    free(p->no_proxy);
}
