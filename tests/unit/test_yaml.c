// SPDX-License-Identifier: Apache-2.0
//
// The YAML reader: values as go-yaml reads them, places in bytes, anchors, and what it refuses.

#include "gateway/formats/conf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct conf_document *parse(const char *text) {
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_YAML, text, strlen(text), &err);
    cr_assert_not_null(d, "%s: %s", text, err.text);
    return d;
}

Test(yaml, what_is_refused) {
    const struct {
        const char *why, *text, *says;
    } rows[] = {
        {"a tab as indentation", "a:\n\tb: 1\n", "line 2: "},
        {"a bracket left open", "a: [1\nb: 2\n", "line "},
        {"a quote left open", "a: \"x\n", "line "},
        {"a key twice", "a: 1\nb: 2\na: 3\n", "line 3: the key \"a\" is given twice"},
        {"a list as a key", "[a]: 1", "line 1: a key that is no plain"},
        {"an alias as a key", "a: &x y\n*x : 1", "line 2: a key that is no plain"},
        {"an alias of nothing", "a: *x", "line 1: an alias of no anchor"},
        {"an alias inside of itself", "a: &x\n  b: *x", "line 2: an alias inside of what it stands for"},
        {"a merge of a scalar", "a: &x 1\nb:\n  <<: *x", "a merge key with something else"},
        {"a merge of a list of scalars", "a:\n  <<: [1]", "a merge key with something else"},
        {"bytes that are no UTF-8", "a: 1\nb: \xff\n", "line 2: "},
        {"a control character", "a: \x01", "line 1: "},
        {"a stray mapping", "a: b: c", "line 1: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct conf_document *d = conf_parse(CONF_YAML, rows[i].text, strlen(rows[i].text), &err);
        cr_expect_null(d, "%s: accepted", rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].why, err.text);
        conf_free(d);
    }
}

Test(yaml, what_a_scalar_is) {
    const struct {
        const char *text;
        enum conf_type type;
        int64_t integer; // Or the boolean.
        double number;
        const char *string;
    } rows[] = {
        {"", CONF_NULL, 0, 0, NULL},
        {"~", CONF_NULL, 0, 0, NULL},
        {"Null", CONF_NULL, 0, 0, NULL},
        {"\"\"", CONF_STRING, 0, 0, ""},
        {"true", CONF_BOOL, 1, 0, NULL},
        {"yes", CONF_BOOL, 1, 0, NULL},
        {"Off", CONF_BOOL, 0, 0, NULL},
        {"'yes'", CONF_STRING, 0, 0, "yes"},
        {"tRue", CONF_STRING, 0, 0, "tRue"},
        {"!!str 12", CONF_STRING, 0, 0, "12"},
        {"!!int \"12\"", CONF_INTEGER, 12, 12, NULL},
        {"12", CONF_INTEGER, 12, 12, NULL},
        {"+1_000", CONF_INTEGER, 1000, 1000, NULL},
        {"-0x1F", CONF_INTEGER, -31, -31, NULL},
        {"0o17", CONF_INTEGER, 15, 15, NULL},
        {"017", CONF_INTEGER, 15, 15, NULL},
        {"089", CONF_FLOAT, 0, 89, NULL},
        {"9223372036854775808", CONF_FLOAT, 0, 9223372036854775808.0, NULL},
        {"1.5", CONF_FLOAT, 0, 1.5, NULL},
        {"1e3", CONF_FLOAT, 0, 1000, NULL},
        {".5", CONF_FLOAT, 0, 0.5, NULL},
        {"-.inf", CONF_FLOAT, 0, -INFINITY, NULL},
        {".", CONF_STRING, 0, 0, "."},
        {"0x", CONF_STRING, 0, 0, "0x"},
        {"--1", CONF_STRING, 0, 0, "--1"},
        {"_1", CONF_STRING, 0, 0, "_1"},
        {"1.2.3.4", CONF_STRING, 0, 0, "1.2.3.4"},
        {"gateway:443", CONF_STRING, 0, 0, "gateway:443"},
        {"2001-01-01", CONF_STRING, 0, 0, "2001-01-01"},
        {"|\n  x\n  y", CONF_STRING, 0, 0, "x\ny"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text;
        cr_assert(asprintf(&text, "k: %s", rows[i].text) > 0);
        struct conf_document *d = parse(text);
        const struct conf *k = conf_get(conf_root(d), "k");
        cr_expect_eq(k->type, rows[i].type, "%s: %s", rows[i].text, conf_type_words(k->type));
        cr_expect_eq(k->type == CONF_BOOL ? k->boolean : k->integer, rows[i].integer, "%s", rows[i].text);
        cr_expect(k->number == rows[i].number, "%s: %g", rows[i].text, k->number);
        cr_expect(rows[i].string == NULL || strcmp(k->string, rows[i].string) == 0, "%s: %s", rows[i].text, k->string);
        conf_free(d);
        free(text);
    }
}

static const char REGISTRIES[] = "\xef\xbb\xbf# \xf0\x9f\x90\xb3 registries\r\n"
                                 "mirrors:\r\n"
                                 "  \xc3\xa9:\r\n"
                                 "    endpoint:\r\n"
                                 "      - \"https://\xc3\xa9\"   # first\r\n"
                                 "      - plain text   \r\n"
                                 "\r\n"
                                 "  '*': {endpoint: [a]}  # flow\r\n"
                                 "  nothing:   # here\r\n"
                                 "  text: |-\r\n"
                                 "    x\r\n"
                                 "    y\r\n"
                                 "\r\n"
                                 "configs: 1\r\n";

Test(yaml, places_are_in_bytes) {
    const struct {
        const char *why, *path[5], *text;
        unsigned line;
        bool flow;
    } rows[] = {
        {"a block list, to its last item's end",
         {"mirrors", "\xc3\xa9", "endpoint"},
         "- \"https://\xc3\xa9\"   # first\r\n      - plain text",
         4,
         false},
        {"a flow table", {"mirrors", "*"}, "{endpoint: [a]}", 8, true},
        {"a flow list", {"mirrors", "*", "endpoint"}, "[a]", 8, true},
        {"nothing", {"mirrors", "nothing"}, "", 9, false},
        {"a block scalar", {"mirrors", "text"}, "|-\r\n    x\r\n    y", 10, false},
        {"after all that", {"configs"}, "1", 14, false},
    };
    struct conf_document *d = parse(REGISTRIES);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path[6] = {0};
        memcpy(path, rows[i].path, sizeof rows[i].path);
        const struct conf *c = conf_at(conf_root(d), path);
        cr_assert_not_null(c, "%s", rows[i].why);
        cr_expect_eq(c->end - c->begin, strlen(rows[i].text), "%s: [%zu, %zu)", rows[i].why, c->begin, c->end);
        cr_expect_eq(memcmp(REGISTRIES + c->begin, rows[i].text, c->end - c->begin), 0, "%s", rows[i].why);
        cr_expect_eq(c->line, rows[i].line, "%s: line %u", rows[i].why, c->line);
        cr_expect_eq(c->flow, rows[i].flow, "%s", rows[i].why);
    }
    conf_free(d);
}

Test(yaml, anchors_and_merge_keys) {
    struct conf_document *d = parse("base: &b {x: 1, y: [2, 3]}\n"
                                    "more: &m {y: 4, z: 5}\n"
                                    "one:\n  <<: *b\n  x: 6\n"
                                    "two:\n  <<: [*b, *m]\n"
                                    "three: *b\n"
                                    "four:\n  \"<<\": 7\n");
    const struct conf *root = conf_root(d);
    const struct conf *one = conf_get(root, "one"), *two = conf_get(root, "two"), *three = conf_get(root, "three");
    cr_expect_eq(one->count, 2);
    cr_expect_eq(conf_get(one, "x")->integer, 6, "its own member wins");
    cr_expect_not(conf_get(one, "x")->shared);
    cr_expect(conf_get(one, "y")->shared, "read through a merge key");
    cr_expect_eq(two->count, 3);
    cr_expect_eq(conf_get(two, "y")->count, 2, "the first of a list of merges wins");
    cr_expect_eq(conf_get(two, "z")->integer, 5);
    cr_expect_not(one->shared);
    cr_expect(three->shared && conf_get(root, "base")->shared);
    cr_expect_eq(three->line, 8);
    cr_expect_eq(conf_get(three, "y")->count, 2);
    cr_expect_eq(conf_get(conf_get(root, "four"), "<<")->integer, 7, "quoted, it is no merge key");
    conf_free(d);
}

Test(yaml, documents) {
    const struct {
        const char *why, *text;
        enum conf_type type;
        size_t count;
    } rows[] = {
        {"nothing", "", CONF_TABLE, 0},
        {"a comment", "# no\n", CONF_TABLE, 0},
        {"a byte order mark", "\xef\xbb\xbf", CONF_TABLE, 0},
        {"a document of nothing", "---\n", CONF_TABLE, 0},
        {"a null that is written", "null\n", CONF_NULL, 0},
        {"the first of two", "---\na: 1\n---\n- 1\n- 2\n", CONF_TABLE, 1},
        {"the first, whatever the second is", "a: 1\n---\n}\n", CONF_TABLE, 1},
        {"a list", "- 1\n- 2\n", CONF_LIST, 2},
        {"JSON", "{\"a\": [1], \"b\": null}", CONF_TABLE, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf_document *d = parse(rows[i].text);
        cr_expect_eq(conf_root(d)->type, rows[i].type, "%s", rows[i].why);
        cr_expect_eq(conf_root(d)->count, rows[i].count, "%s", rows[i].why);
        conf_free(d);
    }
}

static void expect_refused(const struct buf *text, const char *says) {
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_YAML, text->data, text->len, &err);
    cr_expect_null(d, "%s: accepted", says);
    cr_expect(strstr(err.text, says) != NULL, "%s: %s", says, err.text);
    conf_free(d);
}

Test(yaml, bounds) {
    struct buf b;
    buf_init(&b, 2 * CONF_TEXT_MAX);
    buf_adds(&b, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++) {
        buf_addf(&b, "a%d: &a%d [", i, i);
        for (int n = 0; n < 10; n++)
            buf_addf(&b, "%s*a%d", n == 0 ? "" : ", ", i - 1);
        buf_adds(&b, "]\n");
    }
    expect_refused(&b, "more than 100000 values");
    buf_clear(&b);
    for (int i = 0; i < 100000; i++)
        buf_adds(&b, "[");
    expect_refused(&b, "nested deeper than 32 levels");
    buf_clear(&b);
    buf_adds(&b, "a0: &a0 [x]\n");
    for (int i = 1; i < 40; i++)
        buf_addf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    expect_refused(&b, "nested deeper than 32 levels");
    buf_clear(&b);
    for (int i = 0; i < 1001; i++)
        buf_addf(&b, "- &a%d 1\n", i);
    expect_refused(&b, "more anchors than are read here");
    buf_clear(&b);
    for (int i = 0; i < 50000; i++)
        buf_addf(&b, "%%TAG !a%d! b\n", i);
    expect_refused(&b, "more than 100 directives");
    buf_deinit(&b);
}
