// SPDX-License-Identifier: Apache-2.0
//
// WWW-Authenticate as registries send it, and as nobody should.

#include "mirrors/base/mem.h"
#include "mirrors/oci/challenge.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/// Every challenge as "scheme|realm|service|scope|error;".
static char *parsed(const char *value, size_t len) {
    static const char *const names[] = {"bearer", "basic", "other"};
    struct challenge_list *list = mem_zalloc(1, sizeof *list);
    challenge_parse(value, len, list);
    char *text = mem_strdup("");
    for (size_t i = 0; i < list->count; i++) {
        const struct challenge *c = &list->item[i];
        char *more = mem_printf("%s%s|%s|%s|%s|%s;", text, names[c->scheme], c->realm, c->service, c->scope, c->error);
        free(text);
        text = more;
    }
    free(list);
    return text;
}

Test(challenge, parse) {
    static const struct {
        const char *value, *expected, *why;
    } rows[] = {
        {"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"",
         "bearer|https://auth.docker.io/token|registry.docker.io|repository:a/b:pull|;", "Docker Hub"},
        {"Basic realm=\"quay.io\", Bearer realm=\"https://quay.io/v2/auth\",service=\"quay.io\",scope=\"a\"",
         "basic|quay.io|||;bearer|https://quay.io/v2/auth|quay.io|a|;", "quay: two in one header"},
        {"Bearer realm=\"https://quay.io/v2/auth\",service=\"quay.io\", Basic realm=\"x\"",
         "bearer|https://quay.io/v2/auth|quay.io||;basic|x|||;", "two in one header, the other way round"},
        {"Bearer realm=\"r\",scope=\"repository:a:pull,push\"", "bearer|r||repository:a:pull,push|;", "a quoted comma"},
        {"Bearer realm=\"a\\\"b\\\\c\"", "bearer|a\"b\\c|||;", "quoted pairs"},
        {"Bearer realm=https://a/t?x=1,service=s", "bearer|https://a/t?x=1|s||;", "unquoted values"},
        {"bEaReR ReAlM=\"r\"", "bearer|r|||;", "names in any case"},
        {"  Bearer   realm = \"r\" ,\t service\t=\t\"s\"  ", "bearer|r|s||;", "odd spacing"},
        {",, ,Bearer realm=\"r\",,,service=\"s\",", "bearer|r|s||;", "empty list elements"},
        {"Bearer realm=\"r\" service=\"s\"", "bearer|r|s||;", "a comma forgotten between parameters"},
        {"Basic realm=\"r\" Bearer realm=\"q\"", "basic|r|||;bearer|q|||;", "a comma forgotten between challenges"},
        {"Negotiate, Basic realm=\"r\"", "other||||;basic|r|||;", "a scheme without parameters"},
        {"Negotiate YWJj==, Bearer realm=\"r\"", "other||||;bearer|r|||;", "an opaque value"},
        {"NTLM abc/+def=, Basic realm=r", "other||||;basic|r|||;", "an opaque value with slashes"},
        {"Digest realm=\"d\", qop=\"auth,auth-int\", nonce=\"Basic realm=x\", Bearer realm=\"r\"",
         "other|d|||;bearer|r|||;", "a challenge inside of a quoted string is none"},
        {"Bearer realm=\"r\",error=\"invalid_token\"", "bearer|r|||invalid_token;", "an error"},
        {"Bearer realm=\"\",service=\"s\"", "bearer||s||;", "an empty realm"},
        {"Basic realm=Some Registry, Bearer realm=\"r\"", "basic|Some|||;other||||;bearer|r|||;",
         "an unquoted value with a space"},
        {"Bearer", "bearer||||;", "a scheme alone"},
        {"", "", "nothing"},
        {"   ,  ", "", "only separators"},
        {"realm=\"r\"", "", "a parameter without a scheme"},
        {"\"Bearer\" realm=\"r\"", "", "a quoted scheme"},
        {"@@@", "", "no token"},
        {"Bearer:realm=\"r\"", "", "a colon after the scheme"},
        {"Basic realm=\"b\", Bearer realm=\"r\",scope=\"unterminated", "basic|b|||;",
         "an unterminated string drops its challenge and keeps the one before"},
        {"Bearer realm=\"r\\", "", "a backslash at the end"},
        {"Bearer realm=\"r\"x, Basic realm=\"b\"", "", "something glued to a string"},
        {"Bearer realm=a\"b", "", "a quote inside of an unquoted value"},
        {"Bearer realm=\"r\", @@@, Basic realm=\"b\"", "bearer|r|||;", "garbage ends the header"},
        {"Bearer realm=\"a\",realm=\"b\", Basic realm=\"c\"", "basic|c|||;", "a parameter twice drops its challenge"},
        {"Bearer realm=\"a\",REALM=\"b\"", "", "a parameter twice in another case"},
        {"Bearer realm=\"a\",x=1,x=2", "", "an unknown parameter twice"},
        {"Bearer realm=\"a\rb\"", "", "a control character"},
        {"Bearer realm=a\x7f", "", "a control character in an unquoted value"},
        {"Bearer realm=\"a\tb\"", "bearer|a\tb|||;", "a tab is allowed in a string"},
        {"Bearer realm=,service=s", "bearer||s||;", "an unquoted value that is empty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *got = parsed(rows[i].value, strlen(rows[i].value));
        cr_expect_str_eq(got, rows[i].expected, "%s: %s gives %s", rows[i].why, rows[i].value, got);
        free(got);
    }
}

Test(challenge, nul_is_no_end) {
    static const char value[] = "Bearer realm=\"a\0b\"";
    char *got = parsed(value, sizeof value - 1);
    cr_expect_str_eq(got, "", "a NUL inside of a value is refused: %s", got);
    free(got);
}

/// `before`, then `count` times 'x', then `after`.
static char *filled(const char *before, int count, const char *after) {
    char *xs = mem_alloc((size_t)count + 1);
    memset(xs, 'x', (size_t)count);
    xs[count] = '\0';
    char *text = mem_printf("%s%s%s", before, xs, after);
    free(xs);
    return text;
}

Test(challenge, bounds) {
    static const struct {
        const char *before;
        int count;
        const char *after;
        size_t expected;
        const char *why;
    } rows[] = {
        {"Bearer realm=\"", CHALLENGE_REALM_MAX, "\", Basic realm=b", 2, "the longest realm"},
        {"Bearer realm=\"", CHALLENGE_REALM_MAX + 1, "\", Basic realm=b", 1, "a realm that is too long"},
        {"Bearer scope=\"", CHALLENGE_VALUE_MAX, "\", Basic realm=b", 2, "the longest scope"},
        {"Bearer scope=\"", CHALLENGE_VALUE_MAX + 1, "\", Basic realm=b", 1, "a scope that is too long"},
        {"Bearer service=", CHALLENGE_VALUE_MAX + 1, ", Basic realm=b", 1, "an unquoted service that is too long"},
        {"Bearer error=\"", 64, "\"", 1, "the longest error"},
        {"Bearer error=\"", 65, "\"", 0, "an error that is too long"},
        {"Bearer other=\"", 100000, "\", Basic realm=b", 1, "an unknown parameter that is too long"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *value = filled(rows[i].before, rows[i].count, rows[i].after);
        struct challenge_list *list = mem_zalloc(1, sizeof *list);
        challenge_parse(value, strlen(value), list);
        cr_expect_eq(list->count, rows[i].expected, "%s: %zu challenges", rows[i].why, list->count);
        free(list);
        free(value);
    }
}

Test(challenge, at_most_so_many) {
    static const char one[] = "Basic realm=b";
    struct challenge_list *list = mem_zalloc(1, sizeof *list);
    for (int i = 0; i < CHALLENGES_MAX + 5; i++)
        challenge_parse(one, strlen(one), list);
    cr_expect_eq(list->count, CHALLENGES_MAX, "several headers add up, to the bound: %zu", list->count);
    free(list);
}

Test(challenge, choose) {
    static const struct {
        const char *value, *realm, *why;
    } rows[] = {
        {"Basic realm=\"b\", Bearer realm=\"t\"", "t", "Bearer before Basic"},
        {"Bearer realm=\"t\", Bearer realm=\"u\"", "t", "the first Bearer"},
        {"Bearer service=s, Basic realm=b", "b", "a Bearer without a realm is of no use"},
        {"Bearer service=s", NULL, "nothing to answer"},
        {"Negotiate, Digest realm=d", NULL, "schemes that pullgate does not speak"},
        {"", NULL, "no challenge"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct challenge_list *list = mem_zalloc(1, sizeof *list);
        challenge_parse(rows[i].value, strlen(rows[i].value), list);
        const struct challenge *c = challenge_choose(list);
        cr_expect((c == NULL) == (rows[i].realm == NULL), "%s", rows[i].why);
        if (c && rows[i].realm)
            cr_expect_str_eq(c->realm, rows[i].realm, "%s", rows[i].why);
        free(list);
    }
}
