// SPDX-License-Identifier: Apache-2.0
//
// Every form in which a client addresses the gateway, and every way of being refused.

#include "gateway/route/route.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define E256 "sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define D512 "sha512:" HEX64 HEX64

static bool configured(void *ctx, const char *registry) {
    static const char *const names[] = {"docker.io", "ghcr.io", "quay.io", "localhost:5000", "my.org"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], registry) == 0)
            return true;
    return false;
}

static void parse_with(const char *default_registry, const char *method, const char *target, struct route *out) {
    struct route_context ctx = {.default_registry = default_registry, .configured = configured};
    // An exact-size copy: AddressSanitizer sees a read past the target, which has no NUL in the server either.
    size_t len = strlen(target);
    char *bytes = malloc(len ? len : 1);
    memcpy(bytes, target, len);
    route_parse(&ctx, method, strlen(method), bytes, len, out);
    free(bytes);
}

static void parse(const char *method, const char *target, struct route *out) {
    parse_with("docker.io", method, target, out);
}

struct accepted {
    const char *why;
    const char *method;
    const char *target;
    enum route_kind kind;
    enum route_form form;
    const char *registry, *repository, *tag, *digest, *asked;
    bool ns_given;
    const char *outer;
    const char *fallback; ///< The listener's default registry; NULL: docker.io.
};

static const struct accepted accepted_rows[] = {
    // --- ns= ---
    {"containerd's pull by tag", "HEAD", "/v2/library/alpine/manifests/3.20?ns=docker.io", ROUTE_MANIFEST, FORM_NS,
     "docker.io", "library/alpine", "3.20", "", "library/alpine", true, "", NULL},
    {"containerd's pull by digest", "GET", "/v2/library/alpine/manifests/" D256 "?ns=docker.io", ROUTE_MANIFEST,
     FORM_NS, "docker.io", "library/alpine", "", D256, "library/alpine", true, "", NULL},
    {"a blob with ns", "GET", "/v2/org/app/blobs/" D256 "?ns=ghcr.io", ROUTE_BLOB, FORM_NS, "ghcr.io", "org/app", "",
     D256, "org/app", true, "", NULL},
    {"sha512 is a digest too", "GET", "/v2/org/app/blobs/" D512 "?ns=ghcr.io", ROUTE_BLOB, FORM_NS, "ghcr.io",
     "org/app", "", D512, "org/app", true, "", NULL},
    {"ns= with an encoded colon", "GET", "/v2/app/manifests/1?ns=127.0.0.1%3A5000", ROUTE_MANIFEST, FORM_NS,
     "127.0.0.1:5000", "app", "1", "", "app", true, "", NULL},
    {"ns= with a plain colon", "GET", "/v2/app/manifests/1?ns=127.0.0.1:5000", ROUTE_MANIFEST, FORM_NS,
     "127.0.0.1:5000", "app", "1", "", "app", true, "", NULL},
    {"ns=registry-1.docker.io is Docker Hub", "GET", "/v2/alpine/manifests/1?ns=registry-1.docker.io", ROUTE_MANIFEST,
     FORM_NS, "docker.io", "library/alpine", "1", "", "alpine", true, "", NULL},
    {"ns=index.docker.io is Docker Hub", "GET", "/v2/library/alpine/manifests/1?ns=index.docker.io", ROUTE_MANIFEST,
     FORM_NS, "docker.io", "library/alpine", "1", "", "library/alpine", true, "", NULL},
    {"ns= in upper case with the default port", "GET", "/v2/a/manifests/1?ns=GHCR.IO:443", ROUTE_MANIFEST, FORM_NS,
     "ghcr.io", "a", "1", "", "a", true, "", NULL},
    {"an unlisted ns stays itself", "GET", "/v2/a/manifests/1?ns=evil.example", ROUTE_MANIFEST, FORM_NS, "evil.example",
     "a", "1", "", "a", true, "", NULL},
    {"a single-label ns is a registry, not the default", "GET", "/v2/a/manifests/1?ns=registry", ROUTE_MANIFEST,
     FORM_NS, "registry", "a", "1", "", "a", true, "", NULL},
    {"ns= among other parameters", "GET", "/v2/a/manifests/1?x=1&&y&ns=ghcr.io&z=%20", ROUTE_MANIFEST, FORM_NS,
     "ghcr.io", "a", "1", "", "a", true, "", NULL},
    {"an encoded parameter name is ns= all the same", "GET", "/v2/a/manifests/1?%6e%73=ghcr.io", ROUTE_MANIFEST,
     FORM_NS, "ghcr.io", "a", "1", "", "a", true, "", NULL},
    {"ns= repeated in the path is dropped", "GET", "/v2/ghcr.io/org/app/manifests/1?ns=ghcr.io", ROUTE_MANIFEST,
     FORM_PREFIX, "ghcr.io", "org/app", "1", "", "ghcr.io/org/app", true, "", NULL},
    {"repeated in another spelling", "GET", "/v2/registry-1.docker.io/alpine/manifests/1?ns=docker.io", ROUTE_MANIFEST,
     FORM_PREFIX, "docker.io", "library/alpine", "1", "", "registry-1.docker.io/alpine", true, "", NULL},
    {"an unconfigured registry-looking component belongs to the repository under ns=", "GET",
     "/v2/other.org/app/manifests/1?ns=ghcr.io", ROUTE_MANIFEST, FORM_NS, "ghcr.io", "other.org/app", "1", "",
     "other.org/app", true, "", NULL},
    {"only one repetition is dropped", "GET", "/v2/ghcr.io/ghcr.io/app/manifests/1?ns=ghcr.io", ROUTE_MANIFEST,
     FORM_PREFIX, "ghcr.io", "ghcr.io/app", "1", "", "ghcr.io/ghcr.io/app", true, "", NULL},

    // --- the default registry at the root ---
    {"dockerd's registry-mirrors", "GET", "/v2/library/alpine/manifests/latest", ROUTE_MANIFEST, FORM_ROOT, "docker.io",
     "library/alpine", "latest", "", "library/alpine", false, "", NULL},
    {"one component gets library/", "GET", "/v2/alpine/manifests/latest", ROUTE_MANIFEST, FORM_ROOT, "docker.io",
     "library/alpine", "latest", "", "alpine", false, "", NULL},
    {"another default registry has no library/", "GET", "/v2/alpine/manifests/latest", ROUTE_MANIFEST, FORM_ROOT,
     "quay.io", "alpine", "latest", "", "alpine", false, "", "quay.io"},
    {"tags keep their case", "GET", "/v2/a/b/manifests/V1.0_RC-2", ROUTE_MANIFEST, FORM_ROOT, "docker.io", "a/b",
     "V1.0_RC-2", "", "a/b", false, "", NULL},
    {"an encoded digest", "GET", "/v2/a/b/manifests/" E256, ROUTE_MANIFEST, FORM_ROOT, "docker.io", "a/b", "", D256,
     "a/b", false, "", NULL},
    {"encoded letters are letters", "GET", "/%762/%61/b/manifests/%31", ROUTE_MANIFEST, FORM_ROOT, "docker.io", "a/b",
     "1", "", "a/b", false, "", NULL},
    {"a repository called manifests", "GET", "/v2/manifests/manifests/manifests", ROUTE_MANIFEST, FORM_ROOT,
     "docker.io", "library/manifests", "manifests", "", "manifests", false, "", NULL},
    {"a repository that ends with tags/list's words", "GET", "/v2/a/tags/manifests/list", ROUTE_MANIFEST, FORM_ROOT,
     "docker.io", "a/tags", "list", "", "a/tags", false, "", NULL},
    {"tags of a repository whose name ends with manifests", "GET", "/v2/a/manifests/tags/list", ROUTE_TAGS, FORM_ROOT,
     "docker.io", "a/manifests", "", "", "a/manifests", false, "", NULL},
    {"a repository under blobs/uploads", "GET", "/v2/a/blobs/uploads/manifests/1", ROUTE_MANIFEST, FORM_ROOT,
     "docker.io", "a/blobs/uploads", "1", "", "a/blobs/uploads", false, "", NULL},
    {"a repository whose first component is v2", "GET", "/v2/v2/a/manifests/1", ROUTE_MANIFEST, FORM_ROOT, "docker.io",
     "v2/a", "1", "", "v2/a", false, "", NULL},
    {"a registry-looking component that is not the first", "GET", "/v2/a/ghcr.io/manifests/1", ROUTE_MANIFEST,
     FORM_ROOT, "docker.io", "a/ghcr.io", "1", "", "a/ghcr.io", false, "", NULL},

    // --- the registry after /v2/ ---
    {"podman's mirror with a prefix", "GET", "/v2/ghcr.io/org/app/manifests/1", ROUTE_MANIFEST, FORM_PREFIX, "ghcr.io",
     "org/app", "1", "", "ghcr.io/org/app", false, "", NULL},
    {"Docker Hub as a prefix gets library/", "GET", "/v2/docker.io/alpine/manifests/1", ROUTE_MANIFEST, FORM_PREFIX,
     "docker.io", "library/alpine", "1", "", "docker.io/alpine", false, "", NULL},
    {"an encoded port", "GET", "/v2/localhost%3A5000/a/manifests/1", ROUTE_MANIFEST, FORM_PREFIX, "localhost:5000", "a",
     "1", "", "localhost:5000/a", false, "", NULL},
    {"localhost is a registry", "GET", "/v2/localhost/a/manifests/1", ROUTE_MANIFEST, FORM_PREFIX, "localhost", "a",
     "1", "", "localhost/a", false, "", NULL},
    {"LOCALHOST too", "GET", "/v2/LOCALHOST/a/manifests/1", ROUTE_MANIFEST, FORM_PREFIX, "localhost", "a", "1", "",
     "LOCALHOST/a", false, "", NULL},
    {"an unlisted one is never part of the default's repository", "GET", "/v2/evil.example/a/manifests/1",
     ROUTE_MANIFEST, FORM_PREFIX, "evil.example", "a", "1", "", "evil.example/a", false, "", NULL},
    {"upper case in the registry is a matter of spelling", "GET", "/v2/GHCR.io/a/manifests/1", ROUTE_MANIFEST,
     FORM_PREFIX, "ghcr.io", "a", "1", "", "GHCR.io/a", false, "", NULL},
    {"the second component is the repository's, whatever it looks like", "GET", "/v2/ghcr.io/my.org/app/manifests/1",
     ROUTE_MANIFEST, FORM_PREFIX, "ghcr.io", "my.org/app", "1", "", "ghcr.io/my.org/app", false, "", NULL},

    // --- the registry before /v2/ ---
    {"dockerd 29 with a path in its mirror's URL", "GET", "/ghcr.io/v2/org/app/manifests/1", ROUTE_MANIFEST,
     FORM_OUTER_PREFIX, "ghcr.io", "org/app", "1", "", "org/app", false, "ghcr.io", NULL},
    {"outer Docker Hub gets library/", "GET", "/docker.io/v2/alpine/manifests/1", ROUTE_MANIFEST, FORM_OUTER_PREFIX,
     "docker.io", "library/alpine", "1", "", "alpine", false, "docker.io", NULL},
    {"outer with a port, as written", "GET", "/LocalHost:5000/v2/a/manifests/1", ROUTE_MANIFEST, FORM_OUTER_PREFIX,
     "localhost:5000", "a", "1", "", "a", false, "LocalHost:5000", NULL},
    {"outer and ns that agree", "GET", "/ghcr.io/v2/a/manifests/1?ns=GHCR.io", ROUTE_MANIFEST, FORM_OUTER_PREFIX,
     "ghcr.io", "a", "1", "", "a", true, "ghcr.io", NULL},
    {"outer repeated in the path is dropped", "GET", "/ghcr.io/v2/ghcr.io/a/manifests/1", ROUTE_MANIFEST,
     FORM_OUTER_PREFIX, "ghcr.io", "a", "1", "", "ghcr.io/a", false, "ghcr.io", NULL},
    {"an unconfigured name under an outer prefix is the repository's", "GET", "/ghcr.io/v2/other.org/a/manifests/1",
     ROUTE_MANIFEST, FORM_OUTER_PREFIX, "ghcr.io", "other.org/a", "1", "", "other.org/a", false, "ghcr.io", NULL},

    // --- what else is asked ---
    {"/v2/", "GET", "/v2/", ROUTE_BASE, FORM_ROOT, "docker.io", "", "", "", "", false, "", NULL},
    {"/v2", "HEAD", "/v2", ROUTE_BASE, FORM_ROOT, "docker.io", "", "", "", "", false, "", NULL},
    {"/v2/ with ns", "GET", "/v2/?ns=docker.io", ROUTE_BASE, FORM_NS, "docker.io", "", "", "", "", true, "", NULL},
    {"outer /v2/", "GET", "/ghcr.io/v2/", ROUTE_BASE, FORM_OUTER_PREFIX, "ghcr.io", "", "", "", "", false, "ghcr.io",
     NULL},
    {"outer /v2", "GET", "/ghcr.io/v2", ROUTE_BASE, FORM_OUTER_PREFIX, "ghcr.io", "", "", "", "", false, "ghcr.io",
     NULL},
    {"tags", "GET", "/v2/ghcr.io/a/tags/list?n=5&last=x", ROUTE_TAGS, FORM_PREFIX, "ghcr.io", "a", "", "", "ghcr.io/a",
     false, "", NULL},
    {"referrers", "GET", "/v2/a/b/referrers/" D256, ROUTE_REFERRERS, FORM_ROOT, "docker.io", "a/b", "", D256, "a/b",
     false, "", NULL},
    {"a blob's HEAD", "HEAD", "/v2/a/b/blobs/" D256, ROUTE_BLOB, FORM_ROOT, "docker.io", "a/b", "", D256, "a/b", false,
     "", NULL},
    {"an upload begins", "POST", "/v2/a/b/blobs/uploads/?mount=" E256 "&from=c/d", ROUTE_UPLOAD, FORM_ROOT, "docker.io",
     "a/b", "", "", "a/b", false, "", NULL},
    {"an upload begins, without the slash", "POST", "/v2/a/b/blobs/uploads", ROUTE_UPLOAD, FORM_ROOT, "docker.io",
     "a/b", "", "", "a/b", false, "", NULL},
    {"an upload goes on", "PATCH", "/v2/a/b/blobs/uploads/4a1-_=x", ROUTE_UPLOAD, FORM_ROOT, "docker.io", "a/b", "", "",
     "a/b", false, "", NULL},
    {"an upload to a registry prefix", "PUT", "/v2/ghcr.io/a/blobs/uploads/x?digest=" E256, ROUTE_UPLOAD, FORM_PREFIX,
     "ghcr.io", "a", "", "", "ghcr.io/a", false, "", NULL},
    {"an upload session called uploads", "PUT", "/v2/a/blobs/uploads/uploads", ROUTE_UPLOAD, FORM_ROOT, "docker.io",
     "library/a", "", "", "a", false, "", NULL},
};

Test(route, accepted) {
    for (size_t i = 0; i < sizeof accepted_rows / sizeof *accepted_rows; i++) {
        const struct accepted *row = &accepted_rows[i];
        struct route r;
        parse_with(row->fallback ? row->fallback : "docker.io", row->method, row->target, &r);
        cr_expect_eq(r.kind, row->kind, "%s: kind %d, not %d (%s)", row->why, (int)r.kind, (int)row->kind, r.err.text);
        cr_expect_eq(r.form, row->form, "%s: form %d, not %d", row->why, (int)r.form, (int)row->form);
        cr_expect_str_eq(r.registry, row->registry, "%s: registry %s", row->why, r.registry);
        cr_expect_str_eq(r.repository, row->repository, "%s: repository %s", row->why, r.repository);
        cr_expect_str_eq(r.tag, row->tag, "%s: tag %s", row->why, r.tag);
        cr_expect_str_eq(r.digest, row->digest, "%s: digest %s", row->why, r.digest);
        cr_expect_str_eq(r.asked, row->asked, "%s: asked %s", row->why, r.asked);
        cr_expect_str_eq(r.outer, row->outer, "%s: outer %s", row->why, r.outer);
        cr_expect_eq(r.ns_given, row->ns_given, "%s: ns_given", row->why);
        cr_expect_eq(r.at_default, row->form == FORM_ROOT, "%s: at_default", row->why);
        cr_expect_eq(r.ns[0] != '\0', row->ns_given, "%s: ns %s", row->why, r.ns);
    }
}

struct refusal {
    const char *why;
    const char *method;
    const char *target;
    int status;
    const char *code;
    const char *says; ///< Part of the sentence.
};

static const struct refusal refusal_rows[] = {
    // --- ns= ---
    {"two ns", "GET", "/v2/a/manifests/1?ns=docker.io&ns=ghcr.io", 400, "NAME_INVALID", "2 times"},
    {"two ns that agree", "GET", "/v2/a/manifests/1?ns=docker.io&ns=docker.io", 400, "NAME_INVALID", "2 times"},
    {"two ns, one of them encoded", "GET", "/v2/a/manifests/1?ns=docker.io&%6Es=ghcr.io", 400, "NAME_INVALID",
     "2 times"},
    {"two ns at the base", "GET", "/v2/?ns=docker.io&ns=docker.io", 400, "NAME_INVALID", "2 times"},
    {"empty ns", "GET", "/v2/a/manifests/1?ns=", 400, "NAME_INVALID", "empty"},
    {"ns without a value", "GET", "/v2/a/manifests/1?ns", 400, "NAME_INVALID", "empty"},
    {"ns with a path", "GET", "/v2/a/manifests/1?ns=ghcr.io/x", 400, "NAME_INVALID", "ns="},
    {"ns with an encoded path", "GET", "/v2/a/manifests/1?ns=ghcr.io%2Fx", 400, "NAME_INVALID", "ns="},
    {"ns with user info", "GET", "/v2/a/manifests/1?ns=u@ghcr.io", 400, "NAME_INVALID", "ns="},
    {"ns with a scheme", "GET", "/v2/a/manifests/1?ns=https://ghcr.io", 400, "NAME_INVALID", "ns="},
    {"ns with a NUL", "GET", "/v2/a/manifests/1?ns=docker.io%00.evil", 400, "NAME_INVALID", "ns="},
    {"ns that is a NUL", "GET", "/v2/a/manifests/1?ns=%00", 400, "NAME_INVALID", "ns="},
    {"ns with a line break", "GET", "/v2/a/manifests/1?ns=docker.io%0d%0aX:y", 400, "NAME_INVALID", "ns="},
    {"ns with a trailing dot", "GET", "/v2/a/manifests/1?ns=docker.io.", 400, "NAME_INVALID", "ns="},
    {"ns with a space", "GET", "/v2/a/manifests/1?ns=docker.io+", 400, "NAME_INVALID", "ns="},
    {"ns as an IDN", "GET", "/v2/a/manifests/1?ns=d%C3%B6cker.io", 400, "NAME_INVALID", "ns="},
    {"ns with port 0", "GET", "/v2/a/manifests/1?ns=ghcr.io:0", 400, "NAME_INVALID", "ns="},
    {"ns with two values by semicolon", "GET", "/v2/a/manifests/1?ns=ghcr.io;ns=quay.io", 400, "NAME_INVALID", "ns="},
    {"bad ns at the base", "GET", "/v2/?ns=a/b", 400, "NAME_INVALID", "ns="},
    {"ns disagrees with another configured registry in the path", "GET", "/v2/quay.io/a/manifests/1?ns=ghcr.io", 400,
     "NAME_INVALID", "quay.io"},
    {"ns disagrees in another spelling", "GET", "/v2/QUAY.io:443/a/manifests/1?ns=ghcr.io", 400, "NAME_INVALID",
     "quay.io"},
    {"ns disagrees with what stands before /v2", "GET", "/evil.example/v2/a/manifests/1?ns=ghcr.io", 400,
     "NAME_INVALID", "evil.example"},
    {"ns disagrees before /v2/ at the base", "GET", "/quay.io/v2/?ns=ghcr.io", 400, "NAME_INVALID", "quay.io"},
    {"a configured registry under another outer one", "GET", "/ghcr.io/v2/quay.io/a/manifests/1", 400, "NAME_INVALID",
     "quay.io"},
    {"an unconfigured host:port is no repository component", "GET", "/v2/host:5000/a/manifests/1?ns=ghcr.io", 400,
     "NAME_INVALID", "host:5000"},
    {"nothing but the repeated registry", "GET", "/v2/ghcr.io/manifests/1?ns=ghcr.io", 400, "NAME_INVALID",
     "no repository"},

    // --- registries and repositories in the path ---
    {"a registry without a repository", "GET", "/v2/ghcr.io/manifests/1", 400, "NAME_INVALID", "no repository"},
    {"a bad registry in the path", "GET", "/v2/a..b/c/manifests/1", 400, "NAME_INVALID", "a..b"},
    {"a registry with a trailing dot", "GET", "/v2/ghcr.io./c/manifests/1", 400, "NAME_INVALID", "ghcr.io."},
    {"a bad registry before /v2", "GET", "/a..b/v2/c/manifests/1", 400, "NAME_INVALID", "a..b"},
    {"a port out of range", "GET", "/v2/ghcr.io:70000/c/manifests/1", 400, "NAME_INVALID", "70000"},
    {"upper case in the repository", "GET", "/v2/library/Alpine/manifests/1", 400, "NAME_INVALID", "Alpine"},
    {"upper case in the first component", "GET", "/v2/Alpine/manifests/1", 400, "NAME_INVALID", "Alpine"},
    {"a component with a leading dash", "GET", "/v2/a/-b/manifests/1", 400, "NAME_INVALID", "-b"},
    {"three underscores", "GET", "/v2/a___b/manifests/1", 400, "NAME_INVALID", "a___b"},
    {"a colon in a later component", "GET", "/v2/a/b:c/manifests/1", 400, "NAME_INVALID", "b:c"},
    {"an at sign", "GET", "/v2/a@b/manifests/1", 400, "NAME_INVALID", "a@b"},
    {"a backslash", "GET", "/v2/a%5Cb/manifests/1", 400, "NAME_INVALID", "repository"},
    {"decoded only once", "GET", "/v2/a%252Fb/manifests/1", 400, "NAME_INVALID", "a%2Fb"},

    // --- the path ---
    {"an encoded slash", "GET", "/v2/a%2Fb/manifests/1", 400, "NAME_INVALID", "slash"},
    {"an encoded slash, lower case", "GET", "/v2/a%2fb/manifests/1", 400, "NAME_INVALID", "slash"},
    {"an encoded NUL", "GET", "/v2/a%00/manifests/1", 400, "NAME_INVALID", "0x00"},
    {"an encoded line break", "GET", "/v2/a/manifests/1%0d%0a", 400, "NAME_INVALID", "0x0d"},
    {"an encoded space", "GET", "/v2/a/manifests/1%20", 400, "NAME_INVALID", "0x20"},
    {"encoded UTF-8", "GET", "/v2/%C3%A4/manifests/1", 400, "NAME_INVALID", "0xc3"},
    {"bad percent-encoding", "GET", "/v2/a%zz/manifests/1", 400, "NAME_INVALID", "percent"},
    {"percent at the end", "GET", "/v2/a/manifests/1%", 400, "NAME_INVALID", "percent"},
    {"percent and one digit at the end", "GET", "/v2/a/manifests/1%3", 400, "NAME_INVALID", "percent"},
    {"percent-encoding across components", "GET", "/v2/a%/2Fb/manifests/1", 400, "NAME_INVALID", "percent"},
    {"..", "GET", "/v2/../v2/a/manifests/1", 400, "NAME_INVALID", "'..'"},
    {"encoded ..", "GET", "/v2/a/%2e%2E/manifests/1", 400, "NAME_INVALID", "'..'"},
    {".", "GET", "/v2/./a/manifests/1", 400, "NAME_INVALID", "'.'"},
    {".. before /v2", "GET", "/ghcr.io/../v2/", 400, "NAME_INVALID", "'..'"},
    {"a doubled slash", "GET", "/v2//a/manifests/1", 400, "NAME_INVALID", "empty"},
    {"a doubled slash at the front", "GET", "//v2/a/manifests/1", 400, "NAME_INVALID", "empty"},
    {"a doubled slash at the end", "GET", "/v2//", 400, "NAME_INVALID", "empty"},
    {"nothing but slashes", "GET", "//", 400, "NAME_INVALID", "empty"},
    {"a slash after a tag", "GET", "/v2/a/manifests/1/", 400, "NAME_INVALID", "ends with"},
    {"a slash after tags/list", "GET", "/v2/a/tags/list/", 400, "NAME_INVALID", "ends with"},
    {"a slash after an upload session", "PUT", "/v2/a/blobs/uploads/x/", 400, "NAME_INVALID", "ends with"},
    {"absolute form", "GET", "http://gw/v2/", 400, "NAME_INVALID", "begins with '/'"},
    {"asterisk form", "OPTIONS", "*", 400, "NAME_INVALID", "begins with '/'"},
    {"authority form", "CONNECT", "ghcr.io:443", 400, "NAME_INVALID", "begins with '/'"},
    {"an empty target", "GET", "", 400, "NAME_INVALID", "begins with '/'"},
    {"a control character", "GET", "/v2/a\x01/manifests/1", 400, "NAME_INVALID", "0x01"},
    {"a tab", "GET", "/v2/a\t/manifests/1", 400, "NAME_INVALID", "0x09"},
    {"a raw space", "GET", "/v2/a /manifests/1", 400, "NAME_INVALID", "0x20"},
    {"DEL", "GET", "/v2/a\x7f/manifests/1", 400, "NAME_INVALID", "0x7f"},
    {"raw UTF-8", "GET", "/v2/\xc3\xa4/manifests/1", 400, "NAME_INVALID", "0xc3"},
    {"raw UTF-8 in the query", "GET", "/v2/a/manifests/1?x=\xc3\xa4", 400, "NAME_INVALID", "0xc3"},
    {"a fragment", "GET", "/v2/a/manifests/1#x", 400, "NAME_INVALID", "fragment"},
    {"bad percent-encoding in the query", "GET", "/v2/a/manifests/1?x=%G0", 400, "NAME_INVALID", "query"},
    {"bad percent-encoding in a parameter's name", "GET", "/v2/a/manifests/1?%x=1", 400, "NAME_INVALID", "query"},

    // --- references ---
    {"a tag with a leading dot", "GET", "/v2/a/manifests/.1", 400, "MANIFEST_INVALID", "neither"},
    {"a tag with a leading dash", "GET", "/v2/a/manifests/-1", 400, "MANIFEST_INVALID", "neither"},
    {"a tag with a plus", "GET", "/v2/a/manifests/1+2", 400, "MANIFEST_INVALID", "neither"},
    {"a digest that is too short", "GET", "/v2/a/manifests/sha256:abc", 400, "DIGEST_INVALID", "sha256:abc"},
    {"a digest in upper case", "GET",
     "/v2/a/manifests/sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", 400, "DIGEST_INVALID",
     "digest"},
    {"another algorithm", "GET", "/v2/a/blobs/blake3:" HEX64, 400, "DIGEST_INVALID", "algorithm"},
    {"a blob by tag", "GET", "/v2/a/blobs/latest", 400, "DIGEST_INVALID", "latest"},
    {"a tag and a digest", "GET", "/v2/a/manifests/1@" D256, 400, "DIGEST_INVALID", "digest"},
    {"referrers of a tag", "GET", "/v2/a/referrers/latest", 400, "DIGEST_INVALID", "latest"},

    // --- query values ---
    {"n is no number", "GET", "/v2/a/tags/list?n=x", 400, "UNSUPPORTED", "number"},
    {"n is negative", "GET", "/v2/a/tags/list?n=-1", 400, "UNSUPPORTED", "number"},
    {"n is empty", "GET", "/v2/a/tags/list?n=", 400, "UNSUPPORTED", "number"},
    {"two n", "GET", "/v2/a/tags/list?n=1&n=2", 400, "UNSUPPORTED", "2 times"},
    {"two last", "GET", "/v2/a/tags/list?last=1&last=2", 400, "UNSUPPORTED", "2 times"},
    {"last with a line break", "GET", "/v2/a/tags/list?last=a%0d%0ab", 400, "UNSUPPORTED", "0x0d"},
    {"artifactType with a NUL", "GET", "/v2/a/referrers/" D256 "?artifactType=a%00b", 400, "UNSUPPORTED", "0x00"},
    {"two artifactType", "GET", "/v2/a/referrers/" D256 "?artifactType=a&artifactType=b", 400, "UNSUPPORTED",
     "2 times"},

    // --- what is not there ---
    {"the catalogue", "GET", "/v2/_catalog", 403, "DENIED", "catalogue"},
    {"the catalogue of a prefix", "GET", "/v2/ghcr.io/_catalog?n=5", 403, "DENIED", "catalogue"},
    {"the catalogue of an outer prefix", "GET", "/ghcr.io/v2/_catalog", 403, "DENIED", "catalogue"},
    {"the root", "GET", "/", 404, "UNSUPPORTED", "/v2/"},
    {"version 1", "GET", "/v1/_ping", 404, "UNSUPPORTED", "/v2/"},
    {"something else", "GET", "/token?service=x", 404, "UNSUPPORTED", "/v2/"},
    {"a path before /v2 that is no registry", "GET", "/mirror/v2/", 404, "UNSUPPORTED", "/v2/"},
    {"two components before /v2", "GET", "/ghcr.io/org/v2/app/manifests/1", 404, "UNSUPPORTED", "/v2/"},
    {"V2 in upper case", "GET", "/V2/", 404, "UNSUPPORTED", "/v2/"},
    {"a repository alone", "GET", "/v2/library/alpine", 404, "UNSUPPORTED", "/v2/"},
    {"a manifest without a repository", "GET", "/v2/manifests/1", 404, "UNSUPPORTED", "/v2/"},
    {"an upload without a repository", "POST", "/v2/blobs/uploads/", 404, "UNSUPPORTED", "/v2/"},
    {"health belongs to another listener", "GET", "/healthz", 404, "UNSUPPORTED", "/v2/"},
};

static void expect_refused(const struct refusal *row, const struct route *r) {
    cr_expect_eq(r->kind, ROUTE_REFUSED, "%s: was let through as kind %d", row->why, (int)r->kind);
    if (r->kind != ROUTE_REFUSED)
        return;
    cr_expect_eq(r->status, row->status, "%s: status %d, not %d (%s)", row->why, r->status, row->status, r->err.text);
    cr_expect_str_eq(r->code, row->code, "%s: code %s", row->why, r->code);
    cr_expect(strstr(r->err.text, row->says), "%s: '%s' does not say '%s'", row->why, r->err.text, row->says);
    cr_expect(!r->pull && !r->push && !r->erase, "%s: a refused request is none of the actions", row->why);
}

Test(route, refused) {
    for (size_t i = 0; i < sizeof refusal_rows / sizeof *refusal_rows; i++) {
        struct route r;
        parse(refusal_rows[i].method, refusal_rows[i].target, &r);
        expect_refused(&refusal_rows[i], &r);
        cr_expect_null(r.allow, "%s: Allow", refusal_rows[i].why);
    }
}

Test(route, nul_in_the_raw_target) {
    static const char target[] = "/v2/a\0b/manifests/1";
    struct route_context ctx = {.default_registry = "docker.io"};
    struct route r;
    route_parse(&ctx, "GET", 3, target, sizeof target - 1, &r);
    cr_expect_eq(r.kind, ROUTE_REFUSED);
    cr_expect_eq(r.status, 400);
}

Test(route, methods) {
    static const struct {
        const char *why, *method, *target;
        bool pull, push, erase;
        const char *allow; ///< NULL: accepted.
    } rows[] = {
        {"GET manifest", "GET", "/v2/a/manifests/1", true, false, false, NULL},
        {"HEAD manifest", "HEAD", "/v2/a/manifests/1", true, false, false, NULL},
        {"PUT manifest is a push", "PUT", "/v2/a/manifests/1", false, true, false, NULL},
        {"DELETE by tag", "DELETE", "/v2/a/manifests/1", false, false, true, NULL},
        {"DELETE by digest", "DELETE", "/v2/a/manifests/" D256, false, false, true, NULL},
        {"POST manifest", "POST", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"PATCH manifest", "PATCH", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"OPTIONS manifest", "OPTIONS", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"methods have a case", "get", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"an empty method", "", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"a longer method", "GETX", "/v2/a/manifests/1", false, false, false, "GET, HEAD, PUT, DELETE"},
        {"GET blob", "GET", "/v2/a/blobs/" D256, true, false, false, NULL},
        {"DELETE blob", "DELETE", "/v2/a/blobs/" D256, false, false, true, NULL},
        {"PUT blob", "PUT", "/v2/a/blobs/" D256, false, false, false, "GET, HEAD, DELETE"},
        {"POST upload", "POST", "/v2/a/blobs/uploads/", false, true, false, NULL},
        {"PATCH upload", "PATCH", "/v2/a/blobs/uploads/x", false, true, false, NULL},
        {"PUT upload", "PUT", "/v2/a/blobs/uploads/x", false, true, false, NULL},
        {"GET upload", "GET", "/v2/a/blobs/uploads/x", false, true, false, NULL},
        {"DELETE upload ends it and erases nothing", "DELETE", "/v2/a/blobs/uploads/x", false, true, false, NULL},
        {"TRACE upload", "TRACE", "/v2/a/blobs/uploads/", false, false, false, "GET, HEAD, POST, PUT, PATCH, DELETE"},
        {"GET tags", "GET", "/v2/a/tags/list", true, false, false, NULL},
        {"DELETE tags", "DELETE", "/v2/a/tags/list", false, false, false, "GET, HEAD"},
        {"GET referrers", "GET", "/v2/a/referrers/" D256, true, false, false, NULL},
        {"PUT referrers", "PUT", "/v2/a/referrers/" D256, false, false, false, "GET, HEAD"},
        {"GET base", "GET", "/v2/", true, false, false, NULL},
        {"POST base", "POST", "/v2/", false, false, false, "GET, HEAD"},
        {"PROPFIND base", "PROPFIND", "/ghcr.io/v2/", false, false, false, "GET, HEAD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route r;
        parse(rows[i].method, rows[i].target, &r);
        cr_expect_eq(r.pull, rows[i].pull, "%s: pull", rows[i].why);
        cr_expect_eq(r.push, rows[i].push, "%s: push", rows[i].why);
        cr_expect_eq(r.erase, rows[i].erase, "%s: erase", rows[i].why);
        if (!rows[i].allow) {
            cr_expect_neq(r.kind, ROUTE_REFUSED, "%s: %s", rows[i].why, r.err.text);
            continue;
        }
        expect_refused(&(struct refusal){rows[i].why, "", "", 405, "UNSUPPORTED", "method"}, &r);
        cr_assert_not_null(r.allow, "%s: Allow", rows[i].why);
        cr_expect_str_eq(r.allow, rows[i].allow, "%s: Allow %s", rows[i].why, r.allow);
    }
}

Test(route, parameters) {
    struct route r;
    parse("GET", "/v2/a/tags/list", &r);
    cr_expect_eq(r.n, -1, "without n");
    cr_expect_str_eq(r.last, "", "without last");
    parse("GET", "/v2/a/tags/list?n=0&last=v1.0", &r);
    cr_expect_eq(r.n, 0, "n=0 asks for an empty page");
    cr_expect_str_eq(r.last, "v1.0");
    parse("GET", "/v2/a/tags/list?n=10001", &r);
    cr_expect_eq(r.n, ROUTE_LIST_N_MAX, "a greater n is lowered");
    parse("GET", "/v2/a/tags/list?n=99999999999999999999999999", &r);
    cr_expect_eq(r.n, ROUTE_LIST_N_MAX, "a much greater n too");
    parse("GET", "/v2/a/manifests/1?n=x&n=y&last=%00", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "what a path does not read, it does not judge");
    parse("GET", "/v2/a/referrers/" D256 "?artifactType=application%2Fvnd.x%2Bjson", &r);
    cr_expect_str_eq(r.artifact_type, "application/vnd.x+json");
    parse("GET", "/v2/a/referrers/" D256 "?artifactType=application/vnd.x+json", &r);
    cr_expect_str_eq(r.artifact_type, "application/vnd.x+json", "a plus stays one: media types hold no spaces");
}

Test(route, ns_is_kept_as_written) {
    struct route r;
    parse("GET", "/v2/a/manifests/1?ns=Registry-1.Docker.io%3A443", &r);
    cr_expect_str_eq(r.ns, "Registry-1.Docker.io:443");
    cr_expect_str_eq(r.registry, "docker.io");
}

/// prefix + `count` times 'a' + suffix.
static void parse_long(const char *prefix, size_t count, const char *suffix, struct route *out) {
    size_t size = strlen(prefix) + count + strlen(suffix) + 1;
    char *target = malloc(size);
    char *at = stpcpy(target, prefix);
    memset(at, 'a', count);
    strcpy(at + count, suffix);
    parse("GET", target, out);
    free(target);
}

Test(route, limits) {
    struct route r;
    parse_long("/v2/x/", REPOSITORY_MAX - 2, "/manifests/1", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "a repository of the greatest length: %s", r.err.text);
    parse_long("/v2/x/", REPOSITORY_MAX - 1, "/manifests/1", &r);
    expect_refused(&(struct refusal){"one byte longer", "", "", 400, "NAME_INVALID", "at most 255"}, &r);
    parse_long("/v2/", REPOSITORY_MAX, "/manifests/1", &r);
    expect_refused(&(struct refusal){"too long with library/", "", "", 400, "NAME_INVALID", "too long"}, &r);
    parse_long("/v2/", REPOSITORY_MAX, "/manifests/1?ns=ghcr.io", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "and not elsewhere: %s", r.err.text);
    parse_long("/v2/x/", 4000, "/manifests/1", &r);
    expect_refused(&(struct refusal){"a very long repository", "", "", 400, "NAME_INVALID", "at most"}, &r);
    parse_long("/v2/a.", 4000, "/b/manifests/1", &r);
    expect_refused(&(struct refusal){"a very long registry", "", "", 400, "NAME_INVALID", ""}, &r);
    parse_long("/a.", 4000, "/v2/b/manifests/1", &r);
    expect_refused(&(struct refusal){"a very long registry before /v2", "", "", 400, "NAME_INVALID", ""}, &r);
    parse_long("/v2/b/manifests/1?ns=a.", 4000, "", &r);
    expect_refused(&(struct refusal){"a very long ns", "", "", 400, "NAME_INVALID", "ns="}, &r);
    parse_long("/v2/b/manifests/", TAG_MAX, "", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "a tag of the greatest length: %s", r.err.text);
    parse_long("/v2/b/manifests/", TAG_MAX + 1, "", &r);
    expect_refused(&(struct refusal){"a longer tag", "", "", 400, "MANIFEST_INVALID", "neither"}, &r);
    parse_long("/v2/b/tags/list?last=", ROUTE_LIST_LAST_MAX, "", &r);
    cr_expect_eq(r.kind, ROUTE_TAGS, "%s", r.err.text);
    parse_long("/v2/b/tags/list?last=", ROUTE_LIST_LAST_MAX + 1, "", &r);
    expect_refused(&(struct refusal){"a longer last", "", "", 400, "UNSUPPORTED", "at most"}, &r);
    parse_long("/v2/b/manifests/1?x=", ROUTE_TARGET_MAX - 20, "", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "a target of the greatest length: %s", r.err.text);
    parse_long("/v2/b/manifests/1?x=", ROUTE_TARGET_MAX - 19, "", &r);
    expect_refused(&(struct refusal){"a longer target", "", "", 400, "NAME_INVALID", "at most 8192"}, &r);
    parse_long("/v2/", 1, "/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/manifests/1", &r);
    cr_expect_eq(r.kind, ROUTE_MANIFEST, "many components");
}

// --- a registry's own name ---

static const struct {
    const char *why, *method, *target;
    const char *taken;
    bool realm, tokens;
    enum route_kind kind;
    const char *registry, *repository, *reference;
    int status; ///< ROUTE_REFUSED.
    const char *says;
} name_rows[] = {
    {"a tag", "GET", "/v2/org/app/manifests/1", "ghcr.io", false, false, ROUTE_MANIFEST, "ghcr.io", "org/app", "1", 0,
     NULL},
    {"the default registry is nobody's default here", "HEAD", "/v2/alpine/manifests/1", "ghcr.io", false, false,
     ROUTE_MANIFEST, "ghcr.io", "alpine", "1", 0, NULL},
    {"Docker Hub's short names", "HEAD", "/v2/alpine/manifests/1", "docker.io", false, false, ROUTE_MANIFEST,
     "docker.io", "library/alpine", "1", 0, NULL},
    {"a blob", "GET", "/v2/org/app/blobs/" D256, "ghcr.io", false, false, ROUTE_BLOB, "ghcr.io", "org/app", D256, 0,
     NULL},
    {"a path that begins with another registry is a repository of this one", "GET", "/v2/quay.io/app/manifests/1",
     "ghcr.io", false, false, ROUTE_MANIFEST, "ghcr.io", "quay.io/app", "1", 0, NULL},
    {"its own name in the path is one, too", "GET", "/v2/ghcr.io/app/manifests/1", "ghcr.io", false, false,
     ROUTE_MANIFEST, "ghcr.io", "ghcr.io/app", "1", 0, NULL},
    {"an upload", "POST", "/v2/org/app/blobs/uploads/", "ghcr.io", false, false, ROUTE_UPLOAD, "ghcr.io", "org/app", "",
     0, NULL},
    {"the base", "GET", "/v2/", "ghcr.io", false, false, ROUTE_BASE, "ghcr.io", "", "", 0, NULL},
    {"ns that agrees", "GET", "/v2/alpine/manifests/1?ns=registry-1.docker.io", "docker.io", false, false,
     ROUTE_MANIFEST, "docker.io", "library/alpine", "1", 0, NULL},
    {"ns that does not", "GET", "/v2/a/manifests/1?ns=quay.io", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 400, "quay.io"},
    {"ns that does not, at the base", "GET", "/v2/?ns=quay.io", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 400, "quay.io"},
    {"a registry before /v2", "GET", "/quay.io/v2/a/manifests/1", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 403, "ghcr.io"},
    {"its own name before /v2", "GET", "/ghcr.io/v2/a/manifests/1", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 403, "/v2/"},
    {"the old protocol", "GET", "/v1/_ping", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL, NULL, 403, "/v2/"},
    {"the registry's own pages", "GET", "/login/oauth", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL, NULL, 403,
     "/v2/"},
    {"tokens where none are given", "GET", "/token?service=ghcr.io", "ghcr.io", false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 403, "/v2/"},
    {"a token", "GET", "/token?service=ghcr.io", "ghcr.io", false, true, ROUTE_TOKEN, "", "", "", 0, NULL},
    {"a token by form", "POST", "/token", "ghcr.io", false, true, ROUTE_TOKEN, "", "", "", 0, NULL},
    {"a token server's name gives tokens", "GET", "/token", "docker.io", true, true, ROUTE_TOKEN, "", "", "", 0, NULL},
    {"and nothing else", "GET", "/v2/", "docker.io", true, true, ROUTE_REFUSED, NULL, NULL, NULL, 403, "tokens"},
    {"nor that", "GET", "/other/token", "docker.io", true, true, ROUTE_REFUSED, NULL, NULL, NULL, 403, "tokens"},
    {"another method for tokens", "PUT", "/token", "ghcr.io", false, true, ROUTE_REFUSED, NULL, NULL, NULL, 405,
     "GET, POST"},
    {"tokens under the gateway's own name", "GET", "/token?account=a", NULL, false, true, ROUTE_TOKEN, "", "", "", 0,
     NULL},
    {"no tokens there", "GET", "/token", NULL, false, false, ROUTE_REFUSED, NULL, NULL, NULL, 404, "/v2/"},
    {"the site", "GET", "/pullgate/v1/site", NULL, false, false, ROUTE_SITE, "", "", "", 0, NULL},
    {"the site's head", "HEAD", "/pullgate/v1/site", NULL, false, true, ROUTE_SITE, "", "", "", 0, NULL},
    {"the site is only read", "POST", "/pullgate/v1/site", NULL, false, false, ROUTE_REFUSED, NULL, NULL, NULL, 405,
     "GET, HEAD"},
    {"a report", "POST", "/pullgate/v1/report", NULL, false, false, ROUTE_REPORT, "", "", "", 0, NULL},
    {"a report is not read here", "GET", "/pullgate/v1/report", NULL, false, false, ROUTE_REFUSED, NULL, NULL, NULL,
     405, "POST"},
    {"nothing else of the gateway's own", "GET", "/pullgate/v1/reports", NULL, false, false, ROUTE_REFUSED, NULL, NULL,
     NULL, 404, "/v2/"},
    {"a registry's name has no such page", "GET", "/pullgate/v1/site", "ghcr.io", false, false, ROUTE_REFUSED, NULL,
     NULL, NULL, 403, "/v2/"},
    {"and takes no reports", "POST", "/pullgate/v1/report", "docker.io", true, true, ROUTE_REFUSED, NULL, NULL, NULL,
     403, "tokens"},
    {"a token is no registry's path", "GET", "/v2/token/manifests/1", "ghcr.io", false, true, ROUTE_MANIFEST, "ghcr.io",
     "token", "1", 0, NULL},
    {"a broken path is broken here, too", "GET", "/v2/a%zz/manifests/1", "ghcr.io", false, false, ROUTE_REFUSED, NULL,
     NULL, NULL, 400, "percent"},
};

Test(route, own_names) {
    for (size_t i = 0; i < sizeof name_rows / sizeof *name_rows; i++) {
        struct route_context ctx = {.default_registry = "docker.io",
                                    .configured = configured,
                                    .taken_over = name_rows[i].taken,
                                    .realm = name_rows[i].realm,
                                    .tokens = name_rows[i].tokens};
        const char *why = name_rows[i].why;
        struct route r;
        route_parse(&ctx, name_rows[i].method, strlen(name_rows[i].method), name_rows[i].target,
                    strlen(name_rows[i].target), &r);
        cr_assert_eq(r.kind, name_rows[i].kind, "%s: kind %d (%s)", why, (int)r.kind, r.err.text);
        cr_expect(!r.at_default, "%s: at the default registry", why);
        if (r.kind == ROUTE_REFUSED) {
            cr_expect_eq(r.status, name_rows[i].status, "%s: status %d", why, r.status);
            cr_expect(strstr(r.err.text, name_rows[i].says), "%s: '%s'", why, r.err.text);
            continue;
        }
        if (name_rows[i].taken)
            cr_expect_eq(r.form, FORM_NAME, "%s: form %d", why, (int)r.form);
        cr_expect_str_eq(r.registry, name_rows[i].registry, "%s: registry %s", why, r.registry);
        cr_expect_str_eq(r.repository, name_rows[i].repository, "%s: repository %s", why, r.repository);
        cr_expect_str_eq(r.tag[0] ? r.tag : r.digest, name_rows[i].reference, "%s: reference", why);
    }
}
