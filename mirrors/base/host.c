// SPDX-License-Identifier: Apache-2.0
//
// Host names and host:port pairs. What passes here is compared, logged and handed to curl, so only
// one spelling of a host passes: no bytes that another parser could read as a delimiter, and no
// name that another resolver could read as an address. Pure; any thread.

#include "mirrors/base/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 63, PORT_DIGITS_MAX = 5, QUOTED_MAX = 128 };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_host_char(char c) {
    char l = lower(c);
    return (l >= 'a' && l <= 'z') || is_digit(c) || c == '-' || c == '_' || c == '.';
}

// How much of a stranger's text an error may quote: never a path or query, which can carry a signature.
static int quoted(const char *s, size_t len) {
    size_t end = 0;
    while (end < len && end < QUOTED_MAX && s[end] != '\0' && strchr("/?#", s[end]) == NULL)
        end++;
    return (int)end;
}

static bool parse_port(const char *s, size_t len, uint16_t *out, struct err *err) {
    unsigned port = 0;
    bool fits = len >= 1 && len <= PORT_DIGITS_MAX && s[0] != '0';
    for (size_t i = 0; fits && i < len; i++) {
        fits = is_digit(s[i]);
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    if (!fits || port > UINT16_MAX)
        return err_set(err, "the port must be a number from 1 to 65535 without leading zeros");
    *out = (uint16_t)port;
    return true;
}

static bool is_ipv6(const char *text) {
    struct in6_addr address;
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_ipv4(const char *text) {
    struct in_addr address;
    return inet_pton(AF_INET, text, &address) == 1;
}

// "[...]" or "[...]:port".
static bool parse_ipv6(const char *s, size_t len, struct hostport *out, struct err *err) {
    const char *end = memchr(s, ']', len);
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t inner = end == NULL ? 0 : (size_t)(end - s) - 1;
    if (inner == 0 || inner >= sizeof text || memchr(s + 1, '\0', inner) != NULL)
        return err_set(err, "\"%.*s\" is no IPv6 address in brackets", quoted(s, len), s);
    memcpy(text, s + 1, inner);
    text[inner] = '\0';
    if (inet_pton(AF_INET6, text, &address) != 1)
        return err_set(err, "\"%.*s\" is no IPv6 address in brackets", quoted(s, len), s);
    inet_ntop(AF_INET6, &address, out->host, sizeof out->host);
    size_t rest = len - inner - 2;
    if (rest == 0)
        return true;
    if (end[1] != ':')
        return err_set(err, "only a port may follow \"]\" in \"%.*s\"", quoted(s, len), s);
    return parse_port(end + 2, rest - 1, &out->port, err);
}

static bool check_labels(const char *s, size_t len, struct err *err) {
    size_t label = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && s[i] != '.') {
            label++;
            continue;
        }
        if (label == 0)
            return err_set(err, "\"%.*s\" has an empty label (a dot at its start or end, or two together)",
                           quoted(s, len), s);
        if (label > LABEL_MAX)
            return err_set(err, "\"%.*s\" has a label of more than %d characters", quoted(s, len), s, LABEL_MAX);
        label = 0;
    }
    return true;
}

static bool all_of(const char *s, const char *set) {
    return s[strspn(s, set)] == '\0';
}

// Some resolvers read a name whose last label is a number as an address in an old notation.
static bool looks_like_ipv4(const char *host) {
    const char *dot = strrchr(host, '.');
    const char *last = dot == NULL ? host : dot + 1;
    if (all_of(last, "0123456789"))
        return true;
    return last[0] == '0' && last[1] == 'x' && all_of(last + 2, "0123456789abcdef");
}

static bool parse_name(const char *s, size_t len, struct hostport *out, struct err *err) {
    for (size_t i = 0; i < len; i++)
        if (!is_host_char(s[i]))
            return err_set(err, "\"%.*s\" holds a character that no host name has", quoted(s, len), s);
    if (len > HOST_MAX)
        return err_set(err, "a host name of more than %d characters", HOST_MAX);
    if (!check_labels(s, len, err))
        return false;
    for (size_t i = 0; i < len; i++)
        out->host[i] = lower(s[i]);
    out->host[len] = '\0';
    if (looks_like_ipv4(out->host) && !is_ipv4(out->host))
        return err_set(err, "\"%s\" looks like an IPv4 address and is none", out->host);
    return true;
}

static bool parse(const char *s, size_t len, struct hostport *out, struct err *err) {
    if (len == 0)
        return err_set(err, "a host is expected, found nothing");
    // "user:password@host": nothing of it may be quoted.
    if (memchr(s, '@', len) != NULL)
        return err_set(err, "a host is expected, without a user name and password");
    if (s[0] == '[')
        return parse_ipv6(s, len, out, err);
    const char *colon = memchr(s, ':', len);
    if (colon == NULL)
        return parse_name(s, len, out, err);
    size_t name = (size_t)(colon - s);
    size_t port = len - name - 1;
    if (memchr(colon + 1, ':', port) != NULL)
        return err_set(err, "\"%.*s\" has more than one colon; an IPv6 address stands in brackets", quoted(s, len), s);
    if (name == 0)
        return err_set(err, "a host is expected before \":\"");
    return parse_name(s, name, out, err) && parse_port(colon + 1, port, &out->port, err);
}

bool hostport_parse(const char *s, size_t len, struct hostport *out, struct err *err) {
    struct hostport parsed = {0};
    if (!parse(s, len, &parsed, err))
        return false;
    *out = parsed;
    return true;
}

void hostport_format(const struct hostport *hp, char *out) {
    bool brackets = strchr(hp->host, ':') != NULL;
    int len = snprintf(out, HOSTPORT_TEXT_MAX + 1, brackets ? "[%s]" : "%s", hp->host);
    if (hp->port != 0 && len >= 0 && len <= HOSTPORT_TEXT_MAX)
        snprintf(out + len, (size_t)(HOSTPORT_TEXT_MAX + 1 - len), ":%u", hp->port);
}

size_t hostport_shown(const char *text) {
    static const char https[] = ":443";
    size_t len = strlen(text), port = sizeof(https) - 1;
    return len > port && strcmp(text + len - port, https) == 0 ? len - port : len;
}

bool hostport_equal(const struct hostport *a, const struct hostport *b, uint16_t default_port) {
    uint16_t port_a = a->port != 0 ? a->port : default_port;
    uint16_t port_b = b->port != 0 ? b->port : default_port;
    return port_a == port_b && strcmp(a->host, b->host) == 0;
}

bool host_is_address(const char *host) {
    return is_ipv4(host) || is_ipv6(host);
}
