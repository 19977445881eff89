// SPDX-License-Identifier: Apache-2.0
//
// What token servers answer, what they are asked, and error bodies.

#include "mirrors/base/mem.h"
#include "mirrors/upstream/token.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(token, url) {
    static const struct {
        const char *realm, *service, *scope, *url, *why;
    } rows[] = {
        {"https://auth.docker.io/token", "registry.docker.io", "repository:library/alpine:pull",
         "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3alibrary%2falpine%3apull",
         "Docker Hub"},
        {"https://a.test/t", "", "", "https://a.test/t?scope=repository%3aa%2fb%3apull",
         "without a scope in the challenge"},
        {"https://a.test/t?x=1", "s", "q", "https://a.test/t?x=1&service=s&scope=q", "a realm with a query"},
        {"https://a.test/t", "a b&c=d#e", "q", "https://a.test/t?service=a+b%26c%3dd%23e&scope=q",
         "what would end the query is escaped"},
        {"https://a.test/t", "s\r\nX: y", "q", "https://a.test/t?service=s%0d%0aX%3a+y&scope=q", "and line ends"},
        {"not a url at all", "", "", NULL, "no URL"},
        {"", "", "", NULL, "no realm"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct challenge c = {.scheme = CHALLENGE_BEARER};
        strcpy(c.realm, rows[i].realm);
        strcpy(c.service, rows[i].service);
        strcpy(c.scope, rows[i].scope);
        char *url = token_url(&c, "a/b");
        if (rows[i].url == NULL)
            cr_expect_null(url, "%s: %s", rows[i].why, url);
        else
            cr_expect(url != NULL && strcasecmp(url, rows[i].url) == 0, "%s: %s", rows[i].why, url);
        free(url);
    }
}

Test(token, parse) {
    static const struct {
        const char *body, *token;
        int64_t lifetime;
        const char *why;
    } rows[] = {
        {"{\"token\":\"abc\"}", "abc", TOKEN_LIFETIME_DEFAULT_S, "no lifetime"},
        {"{\"access_token\":\"abc\",\"expires_in\":300}", "abc", 300, "OAuth's key"},
        {"{\"token\":\"a\",\"access_token\":\"b\"}", "a", TOKEN_LIFETIME_DEFAULT_S, "both"},
        {"{\"token\":\"\",\"access_token\":\"b\"}", "b", TOKEN_LIFETIME_DEFAULT_S, "an empty one does not count"},
        {"{\"token\":\"a\",\"expires_in\":999999999}", "a", TOKEN_LIFETIME_MAX_S, "too long a life"},
        {"{\"token\":\"a\",\"expires_in\":-1}", "a", TOKEN_LIFETIME_DEFAULT_S, "a negative life"},
        {"{\"token\":\"a\",\"expires_in\":0}", "a", TOKEN_LIFETIME_DEFAULT_S, "no life"},
        {"{\"token\":\"a\",\"expires_in\":1.5}", "a", TOKEN_LIFETIME_DEFAULT_S, "no integer"},
        {"{\"token\":\"a\",\"expires_in\":\"300\"}", "a", TOKEN_LIFETIME_DEFAULT_S, "a string"},
        {"{\"token\":\"a\",\"expires_in\":1e999}", "a", TOKEN_LIFETIME_DEFAULT_S, "no number at all"},
        {"{\"token\":\"a\\r\\nX: y\"}", NULL, 0, "a line end would be a header"},
        {"{\"token\":\"a b\"}", NULL, 0, "a space"},
        {"{\"token\":\"a\\u00e9\"}", NULL, 0, "not ASCII"},
        {"{\"token\":\"a\\u0000b\"}", NULL, 0, "a NUL"},
        {"{\"token\":5}", NULL, 0, "a number"},
        {"{}", NULL, 0, "nothing"},
        {"[]", NULL, 0, "a list"},
        {"\"token\"", NULL, 0, "a string alone"},
        {"", NULL, 0, "nothing at all"},
        {"<html>", NULL, 0, "no JSON"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct err err = {0};
        int64_t lifetime = 0;
        char *token = token_parse(rows[i].body, strlen(rows[i].body), &lifetime, &err);
        if (rows[i].token == NULL) {
            cr_expect_null(token, "%s", rows[i].why);
            cr_expect(err.text[0] != '\0', "%s: a sentence", rows[i].why);
        } else {
            cr_expect(token != NULL && strcmp(token, rows[i].token) == 0, "%s: %s", rows[i].why, token);
            cr_expect_eq(lifetime, rows[i].lifetime, "%s: %d", rows[i].why, (int)lifetime);
        }
        free(token);
    }
}

Test(token, length) {
    static const struct {
        int len;
        bool good;
    } rows[] = {{TOKEN_MAX, true}, {TOKEN_MAX + 1, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *body = mem_printf("{\"token\":\"%0*d\"}", rows[i].len, 0);
        struct err err;
        int64_t lifetime;
        char *token = token_parse(body, strlen(body), &lifetime, &err);
        cr_expect_eq(token != NULL, rows[i].good, "%d bytes", rows[i].len);
        if (!rows[i].good)
            cr_expect_null(strstr(err.text, "000000"), "the sentence does not hold the token");
        free(token);
        free(body);
    }
}

Test(token, basic) {
    static const struct {
        const char *user, *password, *value;
    } rows[] = {
        {"Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"u", "", "Basic dTo="},
        {"u", "a:b", "Basic dTphOmI="},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *value = token_basic(rows[i].user, rows[i].password);
        cr_expect_str_eq(value, rows[i].value);
        free(value);
    }
    char *password = mem_zalloc(1, 60000);
    memset(password, 'p', 59999);
    char *value = token_basic("u", password);
    cr_expect_eq(strlen(value), 6 + 4 * ((60001 + 2) / 3), "a password as long as a file of it may be");
    free(value);
    free(password);
}

Test(token, error_message) {
    static const struct {
        const char *body, *message, *code, *why;
    } rows[] = {
        {"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"},{\"message\":\"second\"}]}", "no", "DENIED",
         "the first"},
        {"{\"errors\":[{\"code\":\"DENIED\",\"detail\":\"d\"}]}", "d", "DENIED", "a detail instead"},
        {"{\"errors\":[{\"code\":\"DENIED\",\"detail\":{\"x\":1}}]}", "", "DENIED", "a detail that is no text"},
        {"{\"errors\":[{\"code\":\"den ied\",\"message\":\"no\"}]}", "no", "", "a code that is no word"},
        {"{\"errors\":[{\"code\":\"A\\\"}\\n\"}]}", "", "", "a code with quotes"},
        {"{\"errors\":[]}", "", "", "none"},
        {"{\"errors\":{\"message\":\"x\"}}", "", "", "no list"},
        {"{\"errors\":[\"text\"]}", "", "", "no object"},
        {"{\"details\":\"incorrect username or password\"}", "incorrect username or password", "",
         "Docker Hub's tokens"},
        {"{\"detail\":\"d\"}", "d", "", "Docker Hub"},
        {"{\"message\":\"m\"}", "m", "", "a message alone"},
        {"{\"errors\":[{\"message\":\"a\\n\\r\\tb\\u001b[31m\\u007f\"}]}", "a   b [31m ", "", "control characters"},
        {"{\"errors\":[{\"message\":\"a\\u009b31m b\"}]}", "a 31m b", "", "C1, which terminals obey too"},
        {"{\"errors\":[{\"message\":\"\\u00e9\\u20ac\"}]}", "\xc3\xa9\xe2\x82\xac", "", "UTF-8 stays"},
        {"{\"errors\":[{\"message\":\"a\\u0000b\"}]}", "", "", "a NUL"},
        {"<html>no</html>", "", "", "no JSON"},
        {"", "", "", "nothing"},
        {"{\"message\":\"got Basic dTpTRUNSRVRQVw==, no\"}", "got Basic ****************, no", "",
         "what it was sent is not passed on"},
        {"{\"message\":\"bearer eyJhbGciOi.JIUzI1-NiJ9_x is old\"}", "bearer ************************ is old", "",
         "a token neither"},
        {"{\"message\":\"Basic authentication is required\"}", "Basic authentication is required", "", "words stay"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char message[201], code[65];
        token_error_message(rows[i].body, strlen(rows[i].body), message, sizeof(message), code);
        cr_expect_str_eq(message, rows[i].message, "%s: %s", rows[i].why, message);
        cr_expect_str_eq(code, rows[i].code, "%s: %s", rows[i].why, code);
    }
}

Test(token, error_message_is_cut) {
    static const struct {
        const char *text;
        size_t size;
        const char *message, *why;
    } rows[] = {
        {"abcdef", 4, "abc", "within ASCII"},
        {"abcdef", 7, "abcdef", "it fits exactly"},
        {"ab\xe2\x82\xac", 6, "ab\xe2\x82\xac", "a character that fits exactly"},
        {"ab\xe2\x82\xac", 5, "ab", "never inside of a character"},
        {"ab\xe2\x82\xac", 4, "ab", "nor after its first byte"},
        {"\xf0\x9f\x90\xb3", 4, "", "nothing is left"},
        {"abc", 1, "", "no room"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char message[64];
        char *body = mem_printf("{\"message\":\"%s\"}", rows[i].text);
        token_error_message(body, strlen(body), message, rows[i].size, NULL);
        cr_expect_str_eq(message, rows[i].message, "%s: %s", rows[i].why, message);
        free(body);
    }
}
