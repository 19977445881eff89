// SPDX-License-Identifier: Apache-2.0
//
// Redirects and realms: what may be followed, and what the refusals say.

#include "mirrors/base/mem.h"
#include "mirrors/upstream/target.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *realm_hosts[] = {"auth.example.com", "tokens.example.com:8443"};
static char *redirect_hosts[] = {"s3.example.com", "*.cdn.example.com", "store.example.com:9000", "8.8.8.8", "*.1.1.1"};
static struct cidr private_addresses[2];

static struct registry registry(void) {
    cr_assert(cidr_parse("10.0.0.0/8", &private_addresses[0], NULL), "a block");
    return (struct registry){.name = "registry.example.com",
                             .realm_hosts = realm_hosts,
                             .realm_host_count = 2,
                             .redirect_hosts = redirect_hosts,
                             .redirect_host_count = 5,
                             .private_addresses = private_addresses,
                             .private_address_count = 1};
}

static struct endpoint endpoint(const char *url) {
    struct endpoint e = {.base = (char *)url, .path = (char *)"", .plain = strncmp(url, "http:", 5) == 0};
    const char *host = strstr(url, "://") + 3;
    cr_assert(hostport_parse(host, strlen(host), &e.at, NULL), "%s", url);
    if (e.at.port == 0)
        e.at.port = e.plain ? 80 : 443;
    return e;
}

static enum target_verdict judged(const char *base, enum target_kind kind, const char *location, struct target *out,
                                  struct err *err) {
    struct registry r = registry();
    struct endpoint e = endpoint(base);
    char *from = mem_printf("%s/v2/a/b/blobs/sha256:abc?x=1", base);
    enum target_verdict v = target_judge(&r, &e, kind, from, location, out, err);
    free(from);
    return v;
}

static const char own[] = "https://registry.example.com:5000";

Test(target, redirects_that_may_be_followed) {
    static const struct {
        const char *base, *location, *url;
        bool same_origin;
        const char *why;
    } rows[] = {
        {own, "https://s3.example.com/b/c?X-Amz-Signature=abc%2Fdef",
         "https://s3.example.com/b/c?X-Amz-Signature=abc%2Fdef", false, "a listed host; the query is kept as it is"},
        {own, "https://S3.EXAMPLE.com/b", "https://s3.example.com/b", false, "host names have no case"},
        {own, "HTTPS://s3.example.com/b", "https://s3.example.com/b", false, "schemes have no case"},
        {own, "https://s3.example.com:8443/b", "https://s3.example.com:8443/b", false,
         "an entry without a port covers every port"},
        {own, "https://store.example.com:9000/b", "https://store.example.com:9000/b", false, "an entry with its port"},
        {own, "https://a.cdn.example.com/b", "https://a.cdn.example.com/b", false, "a pattern"},
        {own, "https://a.b.cdn.example.com/b", "https://a.b.cdn.example.com/b", false, "a pattern, several labels"},
        {own, "/v2/other", "https://registry.example.com:5000/v2/other", true, "an absolute path"},
        {own, "other?y=2", "https://registry.example.com:5000/v2/a/b/blobs/other?y=2", true, "a relative path"},
        {own, "?y=2", "https://registry.example.com:5000/v2/a/b/blobs/sha256:abc?y=2", true, "a query alone"},
        {own, "//s3.example.com/b", "https://s3.example.com/b", false, "the scheme is inherited"},
        {own, "https://registry.example.com:5000/x", "https://registry.example.com:5000/x", true, "the own host"},
        {own, "https://s3.example.com/b#fragment", "https://s3.example.com/b", false, "fragments are dropped"},
        {own, "https://s3.example.com/a b?c d", "https://s3.example.com/a%20b?c%20d", false, "spaces left unescaped"},
        {own, "  https://s3.example.com/b ", "https://s3.example.com/b", false, "spaces around"},
        {own, "https://s3.example.com/\xc3\xa9", "https://s3.example.com/%C3%A9", false, "UTF-8 left unescaped"},
        {own, "https://s3.example.com?x=@evil.net/", "https://s3.example.com/?x=@evil.net/", false,
         "an @ in the query"},
        {own, "https://s3.example.com/@evil.net/", "https://s3.example.com/@evil.net/", false, "an @ in the path"},
        {own, "https://s%33.example.com/b", "https://s3.example.com/b", false, "an escaped host is the one it means"},
        {own, "https://8.8.8.8/b", "https://8.8.8.8/b", false, "a listed address"},
        {own, "https://134744072/b", "https://8.8.8.8/b", false, "the same address in decimal"},
        {"https://registry.example.com", "https://registry.example.com:443/x", "https://registry.example.com:443/x",
         true, "the default port written out"},
        {"https://10.1.2.3:5000", "/x", "https://10.1.2.3:5000/x", true, "an endpoint's literal in private_addresses"},
        {"http://registry.example.com:5000", "http://s3.example.com/b", "http://s3.example.com/b", false,
         "http where the endpoint is http"},
        {"http://registry.example.com:5000", "https://s3.example.com/b", "https://s3.example.com/b", false,
         "https where the endpoint is http"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct target t;
        struct err err = {0};
        enum target_verdict v = judged(rows[i].base, TARGET_REDIRECT, rows[i].location, &t, &err);
        cr_expect_eq(v, TARGET_OK, "%s: %s gives %d (%s)", rows[i].why, rows[i].location, (int)v, err.text);
        cr_expect_str_eq(t.url, rows[i].url, "%s: %s", rows[i].why, t.url);
        cr_expect_eq(t.same_origin, rows[i].same_origin, "%s: same origin", rows[i].why);
        cr_expect(t.at.port != 0, "%s: the port is set", rows[i].why);
        cr_expect_not(t.unlisted, "%s: listed", rows[i].why);
        target_deinit(&t);
    }
}

Test(target, redirects_that_may_not) {
    static const struct {
        const char *base, *location;
        enum target_verdict expected;
        bool unlisted;
        const char *why;
    } rows[] = {
        {own, "https://evil.net/x", TARGET_HOST, true, "an unlisted host"},
        {own, "//evil.net/x", TARGET_HOST, true, "an unlisted host with the scheme inherited"},
        {own, "https://cdn.example.com/x", TARGET_HOST, true, "`*.x` does not match x"},
        {own, "https://evil-s3.example.com/x", TARGET_HOST, true, "labels, not suffixes"},
        {own, "https://s3.example.com.evil.net/x", TARGET_HOST, true, "the whole name"},
        {own, "https://store.example.com/x", TARGET_HOST, true, "an entry with a port covers only that"},
        {own, "https://registry.example.com/x", TARGET_HOST, true, "the own host on another port"},
        {own, "https://auth.example.com/x", TARGET_HOST, true, "a realm host is no redirect host"},
        {own, "https:/evil.net/x", TARGET_HOST, true, "one slash: libcurl would go there"},
        {own, "https:///evil.net/x", TARGET_HOST, true, "three slashes: libcurl would go there"},
        {own, "https://1.1.1.1/x", TARGET_HOST, true, "an unlisted address; patterns with a star stand for names only"},
        {own, "https://10.1.2.3/x", TARGET_HOST, false, "an unlisted address, private: not in monitor mode either"},
        {"http://registry.example.com:5000", "http://evil.net/x", TARGET_HOST, false,
         "unlisted and plain: not in monitor mode either"},
        {own, "http://s3.example.com/b", TARGET_SCHEME, false, "http where the endpoint is https"},
        {own, "http://registry.example.com:5000/b", TARGET_SCHEME, false, "http on the own host"},
        {own, "http://evil.net/b", TARGET_SCHEME, false, "http on an unlisted host"},
        {own, "https://127.0.0.1/x", TARGET_ADDRESS, false, "loopback"},
        {own, "https://2130706433/x", TARGET_ADDRESS, false, "loopback in decimal"},
        {own, "https://0x7f000001/x", TARGET_ADDRESS, false, "loopback in hex"},
        {own, "https://0177.0.0.1/x", TARGET_ADDRESS, false, "loopback in octal"},
        {own, "https://127.1/x", TARGET_ADDRESS, false, "loopback, short"},
        {own, "https://0/x", TARGET_ADDRESS, false, "the unspecified address, short"},
        {own, "https://%31%32%37.0.0.1/x", TARGET_ADDRESS, false, "loopback, escaped"},
        {own, "https://169.254.169.254/latest/meta-data/", TARGET_ADDRESS, false, "metadata"},
        {own, "https://100.100.100.200/x", TARGET_ADDRESS, false, "metadata"},
        {own, "https://[fd00:ec2::254]/x", TARGET_ADDRESS, false, "metadata"},
        {own, "https://[::1]/x", TARGET_ADDRESS, false, "loopback"},
        {own, "https://[::ffff:127.0.0.1]/x", TARGET_ADDRESS, false, "loopback, mapped"},
        {own, "https://[::ffff:a9fe:a9fe]/x", TARGET_ADDRESS, false, "metadata, mapped"},
        {own, "https://[64:ff9b::7f00:1]/x", TARGET_ADDRESS, false, "loopback through NAT64"},
        {own, "https://192.168.1.1/x", TARGET_ADDRESS, false, "private, not listed"},
        {own, "", TARGET_MALFORMED, false, "nothing"},
        {own, "   ", TARGET_MALFORMED, false, "spaces"},
        {own, "https:evil.net", TARGET_MALFORMED, false, "no slashes"},
        {own, "https://", TARGET_MALFORMED, false, "no host"},
        {own, "https:////evil.net", TARGET_MALFORMED, false, "four slashes"},
        {own, "https://u:p@s3.example.com/x", TARGET_MALFORMED, false, "user and password"},
        {own, "https://u@s3.example.com/x", TARGET_MALFORMED, false, "a user"},
        {own, "https://@s3.example.com/x", TARGET_MALFORMED, false, "an empty user"},
        {own, "https://:@s3.example.com/x", TARGET_MALFORMED, false, "an empty user and password"},
        {own, "//u:p@s3.example.com/x", TARGET_MALFORMED, false, "a user, the scheme inherited"},
        {own, "https://s3.example.com\\@evil.net/x", TARGET_MALFORMED, false, "a backslash"},
        {own, "https://s3.example.com/x\r\nHost: evil.net", TARGET_MALFORMED, false, "a line break"},
        {own, "https://s3.example.com/\tx", TARGET_MALFORMED, false, "a tab"},
        {own, "https://s3.example.com/\x7f", TARGET_MALFORMED, false, "a control character"},
        {own, "ftp://s3.example.com/x", TARGET_MALFORMED, false, "another scheme"},
        {own, "file:///etc/passwd", TARGET_MALFORMED, false, "a file"},
        {own, "gopher://s3.example.com/", TARGET_MALFORMED, false, "another scheme"},
        {own, "data:text/plain,x", TARGET_MALFORMED, false, "another scheme"},
        {own, "https://s3.example.com:0/x", TARGET_MALFORMED, false, "port 0"},
        {own, "https://s3.example.com:65536/x", TARGET_MALFORMED, false, "a port too large"},
        {own, "https://s3.example.com:x/x", TARGET_MALFORMED, false, "no number"},
        {own, "https://s3.example.com./x", TARGET_MALFORMED, false, "a trailing dot"},
        {own, "https://127.0.0.1./x", TARGET_MALFORMED, false, "an address with a trailing dot"},
        {own, "https://256.1.1.1/x", TARGET_MALFORMED, false, "like an address, but none"},
        {own, "https://s3.example.com%00.evil.net/x", TARGET_MALFORMED, false, "an escaped NUL"},
        {own, "https://evil.net%2f.cdn.example.com/x", TARGET_MALFORMED, false, "an escaped slash"},
        {own, "https://evil.net%23.cdn.example.com/x", TARGET_MALFORMED, false, "an escaped #"},
        {own, "https://evil%2enet%253f.cdn.example.com/x", TARGET_MALFORMED, false, "escaped twice"},
        {own,
         "https://s3.example.com\xe2\x80\xa4"
         "evil.net/x",
         TARGET_MALFORMED, false, "a dot that is none"},
        {own,
         "https://\xef\xbc\x91"
         "27.0.0.1/x",
         TARGET_MALFORMED, false, "a fullwidth digit"},
        {own, "https://[fe80::1%25eth0]/x", TARGET_MALFORMED, false, "a zone"},
        {own, "https://[::1/x", TARGET_MALFORMED, false, "half a literal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct target t;
        struct err err = {0};
        enum target_verdict v = judged(rows[i].base, TARGET_REDIRECT, rows[i].location, &t, &err);
        cr_expect_eq(v, rows[i].expected, "%s: %s gives %d (%s)", rows[i].why, rows[i].location, (int)v, err.text);
        cr_expect_eq(t.unlisted, rows[i].unlisted, "%s: %s may go on in monitor mode", rows[i].why, rows[i].location);
        cr_expect_not_null(t.url, "%s: never NULL", rows[i].why);
        cr_expect(err.text[0] != '\0', "%s: a sentence", rows[i].why);
        target_deinit(&t);
    }
}

Test(target, realms) {
    static const struct {
        const char *base, *location;
        enum target_verdict expected;
        const char *why;
    } rows[] = {
        {own, "https://auth.example.com/token", TARGET_OK, "listed"},
        {own, "https://registry.example.com:5000/token", TARGET_OK, "the endpoint's own host"},
        {own, "https://tokens.example.com:8443/token", TARGET_OK, "listed with its port"},
        {own, "https://tokens.example.com/token", TARGET_HOST, "another port"},
        {own, "https://s3.example.com/token", TARGET_HOST, "a redirect host is no realm host"},
        {own, "http://auth.example.com/token", TARGET_SCHEME, "http"},
        {own, "https://auth.example.com@evil.net/token", TARGET_MALFORMED, "user info"},
        {own, "https://169.254.169.254/token", TARGET_ADDRESS, "metadata"},
        {own, "https://[::ffff:169.254.169.254]/token", TARGET_ADDRESS, "metadata, mapped"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct target t;
        struct err err = {0};
        enum target_verdict v = judged(rows[i].base, TARGET_REALM, rows[i].location, &t, &err);
        cr_expect_eq(v, rows[i].expected, "%s: %s gives %d (%s)", rows[i].why, rows[i].location, (int)v, err.text);
        target_deinit(&t);
    }
}

Test(target, same_origin) {
    static const struct {
        const char *from, *location;
        bool expected;
        const char *why;
    } rows[] = {
        {"https://s3.example.com/a", "https://s3.example.com/b", true, "between two hops of one host"},
        {"https://s3.example.com/a", "https://s3.example.com:443/b", true, "the default port"},
        {"https://s3.example.com/a", "https://s3.example.com:444/b", false, "another port"},
        {"https://s3.example.com/a", "https://a.cdn.example.com/b", false, "another host"},
        {"https://s3.example.com/a", "https://registry.example.com:5000/b", false, "back to the endpoint"},
        {"http://s3.example.com:443/a", "https://s3.example.com/b", false, "another scheme"},
    };
    struct registry r = registry();
    struct endpoint e = endpoint(own);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct target t;
        struct err err = {0};
        enum target_verdict v = target_judge(&r, &e, TARGET_REDIRECT, rows[i].from, rows[i].location, &t, &err);
        cr_expect_eq(v, TARGET_OK, "%s: %s", rows[i].why, err.text);
        cr_expect_eq(t.same_origin, rows[i].expected, "%s", rows[i].why);
        target_deinit(&t);
    }
}

Test(target, sentences) {
    static const struct {
        enum target_kind kind;
        const char *location, *host, *expected;
    } rows[] = {
        {TARGET_REDIRECT, "https://evil.net/p?sig=secret", "evil.net",
         "redirects to evil.net, which is not permitted: add \"evil.net\" to "
         "registries.\"registry.example.com\".redirect_hosts"},
        {TARGET_REDIRECT, "https://evil.net:8443/p?sig=secret", "evil.net",
         "redirects to evil.net:8443, which is not permitted: add \"evil.net:8443\" to "
         "registries.\"registry.example.com\".redirect_hosts"},
        {TARGET_REALM, "https://evil.net/p?sig=secret", "evil.net",
         "asks for tokens at evil.net, which is not permitted: add \"evil.net\" to "
         "registries.\"registry.example.com\".realm_hosts"},
        {TARGET_REDIRECT, "http://s3.example.com/p?sig=secret", "s3.example.com",
         "redirects to s3.example.com over plain http, which is not permitted: the endpoint is https"},
        {TARGET_REDIRECT, "https://127.1/p?sig=secret", "127.0.0.1",
         "redirects to 127.0.0.1: 127.0.0.1 is a loopback address, which is not permitted: add it to "
         "registries.\"registry.example.com\".private_addresses"},
        {TARGET_REDIRECT, "https://[::1]/p?sig=secret", "::1",
         "redirects to [::1]: ::1 is the loopback address, which is not permitted: add it to "
         "registries.\"registry.example.com\".private_addresses"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct target t;
        struct err err = {0};
        judged(own, rows[i].kind, rows[i].location, &t, &err);
        cr_expect_str_eq(err.text, rows[i].expected, "%s: %s", rows[i].location, err.text);
        cr_expect_str_eq(t.at.host, rows[i].host, "the host can be named: %s", t.at.host);
        target_deinit(&t);
    }
}

Test(target, malformed_sentences_hold_no_secret) {
    static const char *const locations[] = {
        "https://user:secret@s3.example.com/secret?sig=secret",
        "ftp://s3.example.com/secret?sig=secret",
        "secret\\secret",
        "https://secret%2f/secret",
    };
    for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
        struct target t;
        struct err err = {0};
        cr_expect_eq(judged(own, TARGET_REDIRECT, locations[i], &t, &err), TARGET_MALFORMED, "%s", locations[i]);
        cr_expect_null(strstr(err.text, "secret"), "%s: %s", locations[i], err.text);
        target_deinit(&t);
    }
}

Test(target, length) {
    const size_t longest = TARGET_URL_MAX;
    char *location = mem_alloc(longest + 2);
    struct target t;
    struct err err = {0};
    memset(location, 'x', longest + 1);
    memcpy(location, "https://s3.example.com/", strlen("https://s3.example.com/"));
    location[longest] = '\0';
    cr_expect_eq(judged(own, TARGET_REDIRECT, location, &t, &err), TARGET_OK, "the longest: %s", err.text);
    target_deinit(&t);
    location[longest] = 'x';
    location[longest + 1] = '\0';
    cr_expect_eq(judged(own, TARGET_REDIRECT, location, &t, &err), TARGET_MALFORMED, "one byte more");
    target_deinit(&t);
    memset(location, ' ', longest);
    memcpy(location, "https://s3.example.com/", strlen("https://s3.example.com/"));
    location[longest - 1] = 'x';
    location[longest] = '\0';
    cr_expect_eq(judged(own, TARGET_REDIRECT, location, &t, NULL), TARGET_MALFORMED, "too long once escaped");
    target_deinit(&t);
    free(location);
}
