// SPDX-License-Identifier: Apache-2.0
//
// Patterns for hosts. `*` stays within a label, so the number of labels is known before matching and
// nothing backtracks across dots; only a leading `*.` spans several. Pure; any thread.

#include "mirrors/base/host.h"

#include <stdio.h>
#include <string.h>

enum { EXACT_SPECIFICITY = 1000000, TAIL_WEIGHT = 1000, QUOTED_MAX = 128 };

struct split {
    const char *host;
    size_t host_len;
    uint16_t port; // 0: every port.
};

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool has_wildcard(const char *pattern) {
    return strchr(pattern, '*') != NULL;
}

// --- matching ---

// One label against one label; each `*` takes at least one character.
static bool label_match(const char *p, size_t p_len, const char *s, size_t s_len) {
    size_t pi = 0, si = 0;
    size_t star = SIZE_MAX, resume = 0;
    while (si < s_len || pi < p_len) {
        if (pi < p_len && p[pi] == '*' && si < s_len) {
            star = pi++;
            resume = ++si;
        } else if (pi < p_len && si < s_len && lower(p[pi]) == s[si]) {
            pi++;
            si++;
        } else if (star != SIZE_MAX && resume < s_len) {
            si = ++resume;
            pi = star + 1;
        } else {
            return false;
        }
    }
    return true;
}

static size_t label_count(const char *s, size_t len) {
    size_t count = 1;
    for (size_t i = 0; i < len; i++)
        count += s[i] == '.';
    return count;
}

static size_t label_len(const char *s, size_t len) {
    const char *dot = memchr(s, '.', len);
    return dot == NULL ? len : (size_t)(dot - s);
}

// Both have the same number of labels.
static bool labels_match(const char *p, size_t p_len, const char *s, size_t s_len) {
    for (;;) {
        size_t p_label = label_len(p, p_len), s_label = label_len(s, s_len);
        if (!label_match(p, p_label, s, s_label))
            return false;
        if (p_label == p_len || s_label == s_len)
            return p_label == p_len && s_label == s_len;
        p += p_label + 1;
        p_len -= p_label + 1;
        s += s_label + 1;
        s_len -= s_label + 1;
    }
}

static bool wildcard_match(const char *p, size_t p_len, const char *host) {
    size_t host_len = strlen(host);
    if (p_len == 1)
        return p[0] == '*' || (host_len == 1 && lower(p[0]) == host[0]);
    if (host_is_address(host))
        return false;
    bool many = p[0] == '*' && p[1] == '.';
    if (many) {
        p += 2;
        p_len -= 2;
    }
    size_t want = label_count(p, p_len), have = label_count(host, host_len);
    if (many ? have <= want : have != want)
        return false;
    for (; have > want; have--) {
        size_t skip = label_len(host, host_len) + 1;
        host += skip;
        host_len -= skip;
    }
    return labels_match(p, p_len, host, host_len);
}

// False for a port that is none; the pattern then matches nothing.
static bool split_wildcard(const char *pattern, struct split *out) {
    const char *colon = strchr(pattern, ':');
    *out = (struct split){.host = pattern, .host_len = strlen(pattern)};
    if (colon == NULL)
        return out->host_len > 0;
    out->host_len = (size_t)(colon - pattern);
    char stand_in[16];
    struct hostport hp;
    int len = snprintf(stand_in, sizeof stand_in, "x%s", colon);
    if (len < 0 || (size_t)len >= sizeof stand_in || !hostport_parse(stand_in, (size_t)len, &hp, NULL))
        return false;
    out->port = hp.port;
    return out->host_len > 0;
}

bool host_pattern_match(const char *pattern, const struct hostport *hp, uint16_t default_port) {
    uint16_t port = hp->port != 0 ? hp->port : default_port;
    if (!has_wildcard(pattern)) {
        struct hostport exact;
        return hostport_parse(pattern, strlen(pattern), &exact, NULL) && strcmp(exact.host, hp->host) == 0 &&
               (exact.port == 0 || exact.port == port);
    }
    struct split p;
    if (!split_wildcard(pattern, &p) || (p.port != 0 && p.port != port))
        return false;
    return wildcard_match(p.host, p.host_len, hp->host);
}

int host_pattern_specificity(const char *pattern) {
    struct split p;
    if (!has_wildcard(pattern))
        return EXACT_SPECIFICITY + (strrchr(pattern, ':') > strrchr(pattern, ']') && strchr(pattern, ':') != NULL);
    if (!split_wildcard(pattern, &p))
        return 0;
    size_t literals = 0, tail = 0;
    for (size_t i = 0; i < p.host_len; i++) {
        literals += p.host[i] != '*';
        tail = p.host[i] == '*' ? 0 : tail + 1;
    }
    return (int)((tail * TAIL_WEIGHT + literals) * 2) + (p.port != 0);
}

// --- validity ---

// The host within "https://user:password@host:port/path?query", for the error's proposal.
static struct split host_within(const char *pattern) {
    const char *scheme = strstr(pattern, "://");
    const char *start = scheme == NULL ? pattern : scheme + 3;
    size_t len = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', len);
    if (at == NULL)
        return (struct split){.host = start, .host_len = len};
    return (struct split){.host = at + 1, .host_len = len - (size_t)(at + 1 - start)};
}

static bool looks_like_url(const char *pattern) {
    return strstr(pattern, "://") != NULL || strpbrk(pattern, "/@") != NULL;
}

// The original may hold a password or a signed query: only the host is repeated.
static bool refuse_url(const char *pattern, struct err *err) {
    struct split meant = host_within(pattern);
    if (meant.host_len == 0)
        return err_set(err, "a host is expected, not a URL or path");
    return err_set(err, "a host is expected, not a URL or path: write \"%.*s\"",
                   (int)(meant.host_len < QUOTED_MAX ? meant.host_len : QUOTED_MAX), meant.host);
}

static bool is_numeric_label(const char *s, size_t len) {
    return len > 0 && strspn(s, "0123456789*") >= len;
}

// "10.0.0.*", "10.*.0.1".
static bool looks_like_address_pattern(const char *s, size_t len) {
    bool digits = false;
    for (size_t at = 0; at < len;) {
        size_t label = label_len(s + at, len - at);
        if (!is_numeric_label(s + at, label))
            return false;
        digits = digits || strcspn(s + at, "0123456789") < label;
        at += label + 1;
    }
    return digits;
}

// A wildcard pattern is as valid as the name it becomes with an `x` for each `*`.
static bool check_wildcard(const char *pattern, struct err *err) {
    char name[HOSTPORT_TEXT_MAX + 1];
    size_t len = strlen(pattern);
    struct hostport hp;
    if (len >= sizeof name)
        return err_set(err, "a host of more than %d characters", HOSTPORT_TEXT_MAX);
    if (strstr(pattern, "**") != NULL)
        return err_set(err, "\"%s\": \"**\" has no meaning in a host; a leading \"*.\" is one or more labels", pattern);
    size_t host = strcspn(pattern, ":");
    if (looks_like_address_pattern(pattern, host))
        return err_set(err, "\"%s\": addresses take no wildcard; name each address", pattern);
    for (size_t i = 0; i <= len; i++)
        name[i] = pattern[i];
    for (size_t i = 0; i < host; i++)
        if (name[i] == '*')
            name[i] = 'x';
    if (hostport_parse(name, len, &hp, err))
        return true;
    // The sentence quotes the name; the person wrote the pattern.
    return err_set(err,
                   "\"%s\" is no host pattern: letters, digits, '-', '_' and '*' in labels joined by dots, "
                   "and a port from 1 to 65535 if any",
                   pattern);
}

bool host_pattern_valid(const char *pattern, struct err *err) {
    if (pattern[0] == '\0')
        return err_set(err, "a host is expected, found an empty string");
    if (looks_like_url(pattern))
        return refuse_url(pattern, err);
    if (has_wildcard(pattern))
        return check_wildcard(pattern, err);
    struct hostport hp;
    return hostport_parse(pattern, strlen(pattern), &hp, err);
}
