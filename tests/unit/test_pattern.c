// SPDX-License-Identifier: Apache-2.0
//
// Patterns: what they canonically are, what is refused in which words, and what matches.

#include "gateway/policy/policy.h"
#include "mirrors/base/err.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define D64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *or_none(const char *s) {
    return s == NULL ? "(none)" : s;
}

Test(pattern, parsed) {
    static const struct {
        const char *text, *registry, *repository, *tag, *digest, *why;
    } rows[] = {
        {"docker.io/library/alpine", "docker.io", "library/alpine", NULL, NULL, "a full name"},
        {"docker.io/alpine", "docker.io", "library/alpine", NULL, NULL, "a single name on Docker Hub gets library/"},
        {"docker.io/*", "docker.io", "library/*", NULL, NULL, "so does a single component with a star"},
        {"docker.io/**", "docker.io", "**", NULL, NULL, "but ** is the whole registry"},
        {"index.docker.io/alpine:3", "docker.io", "library/alpine", "3", NULL, "Docker Hub's other names"},
        {"registry-1.docker.io/a/b", "docker.io", "a/b", NULL, NULL, "Docker Hub's other names"},
        {"GHCR.io/org/app", "ghcr.io", "org/app", NULL, NULL, "hosts are lower case"},
        {"ghcr.io:443/org/app", "ghcr.io", "org/app", NULL, NULL, "the default port is dropped"},
        {"ghcr.io:5000/org/app:v1", "ghcr.io:5000", "org/app", "v1", NULL, "a port is no tag"},
        {"*.Example.com:443/org/app", "*.example.com", "org/app", NULL, NULL, "a wildcard is made canonical too"},
        {"localhost/app", "localhost", "app", NULL, NULL, "no library/ but on Docker Hub"},
        {"**", "*", "**", NULL, NULL, "everything"},
        {"**:v*", "*", "**", "v*", NULL, "everything, by tag"},
        {"**@sha256:" D64, "*", "**", NULL, "sha256:" D64, "one digest everywhere"},
        {"*/**", "*", "**", NULL, NULL, "any registry"},
        {"docker.io/acme/*:v*", "docker.io", "acme/*", "v*", NULL, "stars in repository and tag"},
        {"docker.io/a/**/b-*", "docker.io", "a/**/b-*", NULL, NULL, "** inside"},
        {"docker.io/a/b:*", "docker.io", "a/b", "*", NULL, "every tag"},
        {"docker.io/a/b:V1.2_x-y", "docker.io", "a/b", "V1.2_x-y", NULL, "tags keep their case"},
        {"docker.io/a/b@sha512:" D64 D64, "docker.io", "a/b", NULL, "sha512:" D64 D64, "sha512"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pattern p;
        struct err err = {0};
        cr_assert(pattern_parse(rows[i].text, &p, &err), "%s: %s: %s", rows[i].text, rows[i].why, err.text);
        cr_expect_str_eq(p.registry, rows[i].registry, "%s: %s: %s", rows[i].text, rows[i].why, p.registry);
        cr_expect_str_eq(p.repository, rows[i].repository, "%s: %s: %s", rows[i].text, rows[i].why, p.repository);
        cr_expect_str_eq(or_none(p.tag), or_none(rows[i].tag), "%s: %s", rows[i].text, rows[i].why);
        cr_expect_str_eq(or_none(p.digest), or_none(rows[i].digest), "%s: %s", rows[i].text, rows[i].why);
        pattern_deinit(&p);
    }
}

Test(pattern, refused) {
    static const struct {
        const char *text, *says, *why;
    } rows[] = {
        {"", "empty", "nothing"},
        {"alpine", "write \"docker.io/library/alpine\"", "the full name is proposed"},
        {"alpine:3.19", "write \"docker.io/library/alpine:3.19\"", "with its tag"},
        {"alpine@sha256:" D64, "write \"docker.io/library/alpine@sha256:" D64 "\"", "with its digest"},
        {"ghcr.io", "write \"ghcr.io/**\"", "a registry alone"},
        {"localhost:5000", "write \"localhost:5000/**\"", "a registry with a port alone"},
        {"*.example.com", "write \"*.example.com/**\"", "a wildcard registry alone"},
        {"*", "write \"**\"", "a single star"},
        {"@prod", "set", "sets come later"},
        {"docker.io/a?", "\"?\" is not permitted", "kept free"},
        {"docker.io/[ab]/c", "\"[\" is not permitted", "kept free"},
        {"docker.io/{a,b}/c", "\"{\" is not permitted", "kept free"},
        {"!docker.io/a/b", "\"!\" is not permitted", "kept free"},
        {"docker.io/a/b$", "\"$\" is not permitted", "kept free"},
        {"docker.io/a\\*", "\"\\\" is not permitted", "kept free"},
        {"docker.io/a b", "visible ASCII", "a space"},
        {"docker.io/\xc3\xa4", "visible ASCII", "not ASCII"},
        {"docker.io/", "repository is missing", "nothing after the registry"},
        {"/a/b", "registry before the first", "nothing before the slash"},
        {"docker.io//b", "path component is empty", "an empty component"},
        {"docker.io/a/", "path component is empty", "a trailing slash"},
        {"docker.io/Acme/app", "write \"a\" for \"A\"", "upper case"},
        {"docker.io/acme**", "whole path components", "** beside other characters"},
        {"docker.io/a/***", "whole path components", "three stars"},
        {"**/alpine", "\"**\" alone is everything", "** is no registry"},
        {"docker.io/a/b:", "tag is missing", "an empty tag"},
        {"docker.io/a/b:v**", "write \"*\"", "** in a tag"},
        {"docker.io/a:b/c", "\"/\" cannot follow", "a tag before a slash"},
        {"docker.io/a/b:.x", "cannot begin", "a tag's first character"},
        {"docker.io/a/b:v1@sha256:" D64, "not both", "tag and digest"},
        {"docker.io/a/b@sha256:abc", "not a sha256", "a short digest"},
        {"docker.io/a/b@sha256:*", "in full", "a star in a digest"},
        {"docker.io/a/b@", "not a sha256", "no digest"},
        {"docker.io/-a/b", "not a repository name", "the specification's grammar"},
        {"docker.io/a___b", "not a repository name", "the specification's grammar"},
        {"exa mple.com/a", "visible ASCII", "a space in the registry"},
        {"https://ghcr.io/a", "", "a URL is no pattern"},
        {"user@ghcr.io/a", "", "userinfo"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pattern p;
        struct err err = {0};
        cr_assert_not(pattern_parse(rows[i].text, &p, &err), "%s: %s", rows[i].text, rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s: said: %s", rows[i].text, rows[i].why, err.text);
        cr_expect(err.text[0] != '\0', "%s: says something", rows[i].text);
        cr_expect(p.registry == NULL && p.repository == NULL, "%s: leaves nothing to free", rows[i].text);
    }
}

Test(pattern, too_long) {
    static char text[PATTERN_TEXT_MAX + 100];
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "docker.io/", 10);
    struct pattern p;
    struct err err = {0};
    cr_assert_not(pattern_parse(text, &p, &err));
    cr_expect(strstr(err.text, "longer than") != NULL, "%s", err.text);
    text[10 + 256] = '\0';
    cr_assert_not(pattern_parse(text, &p, &err), "256 characters are no repository");
    static char tag[256] = "docker.io/a/b:";
    memset(tag + 14, 'v', 129);
    cr_assert_not(pattern_parse(tag, &p, &err), "129 characters are no tag");
    tag[14 + 128] = '\0';
    cr_assert(pattern_parse(tag, &p, &err), "128 are: %s", err.text);
    pattern_deinit(&p);
}

Test(pattern, registries_match) {
    static const struct {
        const char *pattern, *registry;
        bool match;
        const char *why;
    } rows[] = {
        {"ghcr.io/**", "ghcr.io", true, "equal"},
        {"ghcr.io/**", "xghcr.io", false, "not a suffix match"},
        {"ghcr.io/**", "ghcr.io:5000", false, "another port is another registry"},
        {"ghcr.io:5000/**", "ghcr.io", false, "another port is another registry"},
        {"*.example.com/**", "a.example.com", true, "a leading star is one label"},
        {"*.example.com/**", "a.b.example.com", true, "or several"},
        {"*.example.com/**", "example.com", false, "never none"},
        {"*.example.com/**", "aexample.com", false, "a whole label"},
        {"*.example.com/**", "a.example.com:5000", true, "a wildcard without a port covers every port"},
        {"*.example.com:5000/**", "a.example.com", false, "with a port only that one"},
        {"*.example.com:5000/**", "a.example.com:5000", true, "with a port only that one"},
        {"reg-*.example.com/**", "reg-1.example.com", true, "within a label"},
        {"reg-*.example.com/**", "reg-1.x.example.com", false, "only within a label"},
        {"reg-*.example.com/**", "reg-.example.com", false, "one or more characters"},
        {"**", "anything.example:5000", true, "everything"},
        {"**", "localhost", true, "everything"},
        {"*/a", "10.1.2.3:5000", true, "any registry"},
        {"*/a", "[::1]:5000", true, "any registry"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pattern p;
        struct err err = {0};
        cr_assert(pattern_parse(rows[i].pattern, &p, &err), "%s: %s", rows[i].pattern, err.text);
        cr_expect_eq(pattern_match_registry(&p, rows[i].registry), rows[i].match, "%s on %s: %s", rows[i].pattern,
                     rows[i].registry, rows[i].why);
        pattern_deinit(&p);
    }
}

Test(pattern, repositories_and_tags_match) {
    static const struct {
        const char *pattern, *name;
        bool match, tag;
        const char *why;
    } rows[] = {
        {"library/*", "library/alpine", true, false, "* is one component"},
        {"library/*", "library/a/b", false, false, "* does not cross"},
        {"library/**", "library/a/b", true, false, "** crosses"},
        {"library/**", "library", false, false, "** is one or more"},
        {"**", "a", true, false, "alone everything"},
        {"**/app", "a/b/app", true, false, "at the start"},
        {"**/app", "app", false, false, "one or more at the start too"},
        {"a/**/z", "a/b/c/z", true, false, "in the middle"},
        {"a/**/z", "a/z", false, false, "one or more in the middle too"},
        {"team-*", "team-", true, false, "* may be empty within a component"},
        {"team-*", "team-a/b", false, false, "* does not cross"},
        {"a/*-prod/x", "a/eu-prod/x", true, false, "* before text"},
        {"v*", "v1.2", true, true, "a tag's star"},
        {"v*", "latest", false, true, "another tag"},
        {"*", "latest", true, true, "every tag"},
        {"v1", "V1", false, true, "tags keep their case"},
        {"v1", "v1.0", false, true, "no prefix match"},
        {"*-rc*", "1.0-rc1", true, true, "two stars"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool match = rows[i].tag ? pattern_match_tag(rows[i].pattern, rows[i].name)
                                 : pattern_match_repository(rows[i].pattern, rows[i].name);
        cr_expect_eq(match, rows[i].match, "%s on %s: %s", rows[i].pattern, rows[i].name, rows[i].why);
    }
}
