// SPDX-License-Identifier: Apache-2.0
//
// Redirects and realms: the URL is taken apart by the parser that will later fetch it (libcurl's), and the URL handed
// back is written by that parser from the parts that were judged, so that both always mean the same host. Pure; any
// thread.

#include "mirrors/upstream/target.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PORT_HTTPS = 443, PORT_HTTP = 80 };

/// Scheme, host and port of one URL.
struct origin {
    bool plain;
    struct hostport at;
};

static uint16_t default_port(bool plain) {
    return plain ? PORT_HTTP : PORT_HTTPS;
}

/// Control characters and backslashes never stand in an honest URL, and parsers differ on them.
static bool bytes_acceptable(const char *url) {
    size_t len = strnlen(url, TARGET_URL_MAX + 1);
    if (len == 0 || len > TARGET_URL_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            return false;
    }
    return true;
}

static char *url_part(CURLU *url, CURLUPart part, unsigned flags) {
    char *text = NULL;
    return curl_url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static bool has_part(CURLU *url, CURLUPart part) {
    char *text = url_part(url, part, 0);
    curl_free(text);
    return text != NULL;
}

static bool read_scheme(CURLU *url, bool *plain) {
    char *scheme = url_part(url, CURLUPART_SCHEME, 0);
    bool https = scheme && strcmp(scheme, "https") == 0;
    *plain = scheme && strcmp(scheme, "http") == 0;
    curl_free(scheme);
    return https || *plain;
}

static bool read_host(CURLU *url, struct hostport *out) {
    char *host = url_part(url, CURLUPART_HOST, 0);
    bool ok = host && hostport_parse(host, strlen(host), out, NULL) && out->port == 0;
    curl_free(host);
    return ok;
}

static bool read_port(CURLU *url, uint16_t *out) {
    char *text = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    unsigned long port = text ? strtoul(text, NULL, 10) : 0;
    curl_free(text);
    *out = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

/// Reads on after a failure, so that a refused URL's host can still be named.
static bool read_origin(CURLU *url, struct origin *out) {
    bool scheme = read_scheme(url, &out->plain);
    bool host = read_host(url, &out->at);
    bool port = read_port(url, &out->at.port);
    return scheme && host && port;
}

/// Fragments are dropped, and the host stands in the form that was judged.
static char *write_url(CURLU *url, const struct hostport *at) {
    char host[HOSTPORT_TEXT_MAX + 1];
    struct hostport bare = *at;
    bare.port = 0;
    hostport_format(&bare, host);
    if (curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_HOST, host, 0) != CURLUE_OK)
        return NULL;
    char *text = url_part(url, CURLUPART_URL, 0);
    char *copy = text && strlen(text) <= TARGET_URL_MAX ? mem_strdup(text) : NULL;
    curl_free(text);
    return copy;
}

/// Some registries leave spaces and UTF-8 in their links as they are, and clients follow them. In a host name the
/// escapes become bytes again, which read_host() refuses.
static char *escape(const char *location) {
    struct buf out;
    buf_init(&out, TARGET_URL_MAX);
    size_t len = strlen(location);
    while (len > 0 && location[len - 1] == ' ')
        len--;
    for (size_t i = strspn(location, " "); i < len; i++) {
        unsigned char c = (unsigned char)location[i];
        if (c == ' ' || c >= 0x80)
            buf_addf(&out, "%%%02X", (unsigned)c);
        else
            buf_add(&out, &location[i], 1);
    }
    char *text = out.overflow || out.len == 0 ? NULL : buf_steal(&out);
    buf_deinit(&out);
    return text;
}

static bool set_location(CURLU *url, const char *location) {
    char *escaped = escape(location);
    bool ok = escaped && curl_url_set(url, CURLUPART_URL, escaped, 0) == CURLUE_OK;
    free(escaped);
    return ok;
}

/// `location` as seen from `from_url`; `from` and `to` are set as far as they could be read.
static bool resolve(CURLU *url, const char *from_url, const char *location, struct origin *from, struct origin *to) {
    if (!bytes_acceptable(from_url) || !bytes_acceptable(location))
        return false;
    if (curl_url_set(url, CURLUPART_URL, from_url, 0) != CURLUE_OK || !read_origin(url, from))
        return false;
    if (!set_location(url, location))
        return false;
    bool user_info = has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD);
    bool zone = has_part(url, CURLUPART_ZONEID);
    return read_origin(url, to) && !user_info && !zone;
}

static bool same_host_and_port(const struct hostport *a, const struct hostport *b) {
    return hostport_equal(a, b, 0);
}

/// A wildcard stands for names: an address must be written out to be listed.
static bool listed(char *const *patterns, size_t count, const struct origin *to) {
    bool literal = host_is_address(to->at.host);
    for (size_t i = 0; i < count; i++) {
        if (literal && strchr(patterns[i], '*'))
            continue;
        if (host_pattern_match(patterns[i], &to->at, default_port(to->plain)))
            return true;
    }
    return false;
}

static bool host_permitted(const struct registry *r, const struct endpoint *e, enum target_kind kind,
                           const struct origin *to) {
    if (same_host_and_port(&to->at, &e->at))
        return true;
    return kind == TARGET_REALM ? listed(r->realm_hosts, r->realm_host_count, to)
                                : listed(r->redirect_hosts, r->redirect_host_count, to);
}

static bool literal_permitted(const struct registry *r, const struct hostport *at, struct err *err) {
    uint8_t addr[16];
    if (!host_is_address(at->host))
        return true;
    if (!address_from_text(at->host, addr))
        return err_set(err, "%s is no address that can be judged", at->host);
    return address_permitted(r, addr, err);
}

/// Is the target one that monitor mode may go on to? It gets no more than any stranger would: https, public address.
static bool may_be_monitored(const struct registry *r, const struct origin *to) {
    struct registry without_exceptions = {.name = r->name};
    return !to->plain && literal_permitted(&without_exceptions, &to->at, NULL);
}

static const char *kind_words(enum target_kind kind) {
    return kind == TARGET_REALM ? "asks for tokens at" : "redirects to";
}

static const char *kind_key(enum target_kind kind) {
    return kind == TARGET_REALM ? "realm_hosts" : "redirect_hosts";
}

/// The host as it would be written in a host list: with its port where that is not the scheme's own.
static void host_text(const struct origin *to, char *out) {
    struct hostport shown = to->at;
    if (shown.port == default_port(to->plain))
        shown.port = 0;
    hostport_format(&shown, out);
}

static enum target_verdict judge(const struct registry *r, const struct endpoint *e, enum target_kind kind,
                                 const struct origin *to, bool *unlisted, struct err *err) {
    char host[HOSTPORT_TEXT_MAX + 1];
    host_text(to, host);
    if (to->plain && !e->plain) {
        err_set(err, "%s %s over plain http, which is not permitted: the endpoint is https", kind_words(kind), host);
        return TARGET_SCHEME;
    }
    if (!literal_permitted(r, &to->at, err)) {
        err_prefix(err, "%s %s: ", kind_words(kind), host);
        return TARGET_ADDRESS;
    }
    if (!host_permitted(r, e, kind, to)) {
        *unlisted = may_be_monitored(r, to);
        err_set(err, "%s %s, which is not permitted: add \"%s\" to registries.\"%s\".%s", kind_words(kind), host, host,
                r->name, kind_key(kind));
        return TARGET_HOST;
    }
    return TARGET_OK;
}

static enum target_verdict malformed(enum target_kind kind, const struct origin *to, struct err *err) {
    const char *host = to->at.host;
    err_set(err,
            "%s %s%sa URL that cannot be used: it is no absolute http or https URL, or holds a user name, "
            "control characters, or over %d bytes",
            kind_words(kind), host, *host ? " by " : "", TARGET_URL_MAX);
    return TARGET_MALFORMED;
}

/// A Location may be relative; a realm is a URL.
static bool names_scheme(const char *location) {
    return strncasecmp(location, "https:", 6) == 0 || strncasecmp(location, "http:", 5) == 0;
}

enum target_verdict target_judge(const struct registry *r, const struct endpoint *e, enum target_kind kind,
                                 const char *from_url, const char *location, struct target *out, struct err *err) {
    struct origin from = {0}, to = {0};
    memset(out, 0, sizeof *out);
    CURLU *url = curl_url();
    bool usable = kind == TARGET_REDIRECT || names_scheme(location);
    bool parsed = url && usable && resolve(url, from_url, location, &from, &to);
    out->at = to.at;
    out->plain = to.plain;
    if (parsed)
        out->url = write_url(url, &to.at);
    curl_url_cleanup(url);
    if (!out->url) {
        out->url = mem_strdup("");
        return malformed(kind, &to, err);
    }
    out->same_origin = from.plain == to.plain && same_host_and_port(&from.at, &to.at);
    return judge(r, e, kind, &to, &out->unlisted, err);
}

void target_deinit(struct target *t) {
    free(t->url);
    t->url = NULL;
}

// --- external_urls ---

bool registry_url_permitted(void *registry, const char *url) {
    const struct registry *r = registry;
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL;
    struct hostport hp = {0};
    bool ok = false;
    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        hostport_parse(host, strlen(host), &hp, NULL)) {
        hp.port = (uint16_t)strtoul(port, NULL, 10);
        for (size_t i = 0; i < r->external_url_count && !ok; i++)
            ok = host_pattern_match(r->external_urls[i], &hp, 443);
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return ok;
}
