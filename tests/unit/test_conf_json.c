// SPDX-License-Identifier: Apache-2.0
//
// JSON with places: daemon.json, as strict as its readers at least.

#include "gateway/formats/conf.h"

#include <criterion/criterion.h>
#include <string.h>

static const char DAEMON[] = "{\n"
                             "  \"registry-mirrors\" : [\"https://\\u00e9\\\"]}\", \"b\"],\n"
                             "  \"proxies\": {\"http-proxy\":\"x\", \"n\\\\\":-1.5e3},\n"
                             "  \"big\": 9223372036854775808, \"max\": 9223372036854775807,\n"
                             "  \"empty\": [ ], \"none\": null, \"yes\" :true\n"
                             "}\n";

Test(conf_json, places) {
    const struct {
        const char *path[3];
        enum conf_type type;
        const char *key, *text;
        unsigned line;
    } rows[] = {
        {{"registry-mirrors"}, CONF_LIST, "\"registry-mirrors\" ", "[\"https://\\u00e9\\\"]}\", \"b\"]", 2},
        {{"proxies"}, CONF_TABLE, "\"proxies\"", "{\"http-proxy\":\"x\", \"n\\\\\":-1.5e3}", 3},
        {{"proxies", "http-proxy"}, CONF_STRING, "\"http-proxy\":\"x\"", "\"x\"", 3},
        {{"proxies", "n\\"}, CONF_FLOAT, "\"n\\\\\":", "-1.5e3", 3},
        {{"big"}, CONF_FLOAT, "\"big\"", "9223372036854775808", 4},
        {{"max"}, CONF_INTEGER, "\"max\"", "9223372036854775807", 4},
        {{"empty"}, CONF_LIST, "\"empty\"", "[ ]", 5},
        {{"none"}, CONF_NULL, "\"none\"", "null", 5},
        {{"yes"}, CONF_BOOL, "\"yes\" :", "true", 5},
    };
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_JSON, DAEMON, strlen(DAEMON), &err);
    cr_assert_not_null(d, "%s", err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path[4] = {0};
        memcpy(path, rows[i].path, sizeof rows[i].path);
        const struct conf *c = conf_at(conf_root(d), path);
        cr_assert_not_null(c, "%s", rows[i].text);
        cr_expect_eq(c->type, rows[i].type, "%s: %s", rows[i].text, conf_type_words(c->type));
        cr_expect_eq(c->end - c->begin, strlen(rows[i].text), "%s: [%zu, %zu)", rows[i].text, c->begin, c->end);
        cr_expect_eq(memcmp(DAEMON + c->begin, rows[i].text, c->end - c->begin), 0, "%s", rows[i].text);
        cr_expect_eq(memcmp(DAEMON + c->key_begin, rows[i].key, strlen(rows[i].key)), 0, "%s: its key", rows[i].text);
        cr_expect_eq(c->line, rows[i].line, "%s: line %u", rows[i].text, c->line);
        cr_expect(c->flow, "%s", rows[i].text);
    }
    const struct conf *list = conf_get(conf_root(d), "registry-mirrors");
    cr_expect_eq(list->count, 2);
    cr_expect_str_eq(list->child->string, "https://\xc3\xa9\"]}");
    cr_expect_eq(DAEMON[list->child->next->begin + 1], 'b');
    conf_free(d);
}

Test(conf_json, what_is_refused) {
    const struct {
        const char *why, *text, *says;
    } rows[] = {
        {"nothing", "", "empty"},
        {"a comment: Go's decoder knows none", "{\n// no\n}", "comment"},
        {"a byte order mark: Go's decoder refuses it", "\xef\xbb\xbf{}", "byte order mark"},
        {"a comma at the end", "{\"a\": 1,\n}", "line 2: "},
        {"a key twice", "{\"a\":1,\n\"a\":2}", "line 2: the key \"a\" is given twice"},
        {"a NUL", "{\"a\":\"\\u0000\"}", "NUL"},
        {"half a surrogate pair", "\"\\udc00\"", "surrogate"},
        {"two values", "{} {}", "trailing"},
        {"cut", "{\"a\": [1", "premature EOF"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct conf_document *d = conf_parse(CONF_JSON, rows[i].text, strlen(rows[i].text), &err);
        cr_expect_null(d, "%s: accepted", rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].why, err.text);
        conf_free(d);
    }
}

Test(conf_json, any_value_may_be_the_outermost) {
    const struct {
        const char *text;
        enum conf_type type;
        size_t begin, end;
    } rows[] = {
        {" 12 ", CONF_INTEGER, 1, 3}, {"\"x\"\n", CONF_STRING, 0, 3},   {"\n[]", CONF_LIST, 1, 3},
        {"null", CONF_NULL, 0, 4},    {" {\"a\":1}", CONF_TABLE, 1, 8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf_document *d = conf_parse(CONF_JSON, rows[i].text, strlen(rows[i].text), NULL);
        cr_assert_not_null(d, "%s", rows[i].text);
        cr_expect_eq(conf_root(d)->type, rows[i].type, "%s", rows[i].text);
        cr_expect_eq(conf_root(d)->begin, rows[i].begin, "%s", rows[i].text);
        cr_expect_eq(conf_root(d)->end, rows[i].end, "%s", rows[i].text);
        conf_free(d);
    }
}

Test(conf_json, looking_things_up) {
    const char *const deep[] = {"a", "b", NULL}, *const through[] = {"a", "c", "d", NULL}, *const none[] = {NULL};
    const char text[] = "{\"a\": {\"b\": \"x\", \"c\": 1}}";
    struct conf_document *d = conf_parse(CONF_JSON, text, strlen(text), NULL);
    const struct conf *root = conf_root(d);
    cr_expect_str_eq(conf_at(root, deep)->string, "x");
    cr_expect_null(conf_at(root, through), "through a number");
    cr_expect_eq(conf_at(root, none), root);
    cr_expect_null(conf_get(NULL, "a"));
    cr_expect_null(conf_get_string(root, "a"), "a table is no string");
    cr_expect_str_eq(conf_get_string(conf_get(root, "a"), "b"), "x");
    conf_free(d);
}
