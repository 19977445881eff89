// SPDX-License-Identifier: Apache-2.0
//
// The TOML reader, beyond what toml-test's decoder tests say (`./dev test toml`): places, lines, bounds, and the shapes
// of the clients' files.

#include "gateway/formats/conf.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s) s, sizeof(s) - 1

static struct conf_document *parse(const char *text) {
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_TOML, text, strlen(text), &err);
    cr_assert_not_null(d, "%s: %s", text, err.text);
    return d;
}

Test(toml, what_is_refused) {
    const struct {
        const char *why, *text, *says;
    } rows[] = {
        {"a key without a value", "a\n", "line 1: '=' was expected"},
        {"no value", "a =\n", "line 1: a value was expected"},
        {"two values on a line", "a = 1 b = 2", "line 1: the line's end was expected"},
        {"a bare word", "a = pull", "a value was expected"},
        {"the line is named", "a = 1\n\n[b]\nc = ?\n", "line 4: "},
        {"a key twice", "a = 1\na = 2", "line 2: the key \"a\" is given twice"},
        {"a key twice by another spelling", "a = 1\n\"\\u0061\" = 2", "given twice"},
        {"a table twice", "[a]\n[b]\n[a]", "line 3: \"a\" is given already"},
        {"a header for what dotted keys made", "a.b = 1\n[a]", "\"a\" is given already"},
        {"dotted keys into what a header made", "[a.b]\n[a]\nb.c = 1", "not by dotted keys"},
        {"a header through a value", "a = {}\n[a.b]", "\"a\" is given already as a value"},
        {"an element of a plain array", "a = []\n[[a]]", "no list of tables"},
        {"a table where elements are", "[[a]]\n[a]", "given already"},
        {"a string over two lines", "a = \"x\ny\"", "line 1: a string that does not end on its line"},
        {"a long string without end", "a = '''x\n", "does not end"},
        {"an unknown escape", "a = \"\\x41\"", "an unknown escape"},
        {"half a surrogate pair", "a = \"\\ud800\"", "no Unicode character"},
        {"a comma at an inline table's end", "a = {b = 1,}", "a key was expected"},
        {"an inline table over two lines", "a = {b = 1\n}", "',' or '}' was expected"},
        {"an array without commas", "a = [1 2]", "',' or ']' was expected"},
        {"a day that is not", "a = 2023-02-29", "does not exist"},
        {"an integer beyond 64 bits", "a = 9223372036854775808", "beyond 64 bits"},
        {"a header cut", "[a", "']' was expected"},
        {"a header with half an end", "[[a]\n", "']]' was expected"},
        {"bytes that are no UTF-8", "a = 1\n# \xff", "line 2: not valid UTF-8"},
        {"a control character in a comment", "# \x01", "a control character in a comment"},
        {"a carriage return alone", "a = 1\rb = 2", "the line's end was expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct conf_document *d = conf_parse(CONF_TOML, rows[i].text, strlen(rows[i].text), &err);
        cr_expect_null(d, "%s: accepted", rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].why, err.text);
        conf_free(d);
    }
}

Test(toml, a_nul_is_refused) {
    struct err err = {0};
    cr_expect_null(conf_parse(CONF_TOML, TEXT("a = \"x\0y\""), &err));
    cr_expect_null(conf_parse(CONF_TOML, TEXT("a = 1\n\0"), &err));
}

Test(toml, what_a_value_is) {
    const struct {
        const char *text;
        enum conf_type type;
        const char *string;
        int64_t integer;
        double number;
    } rows[] = {
        {"\"a\\tb\\u00e9\"", CONF_STRING, "a\tb\xc3\xa9", 0, 0},
        {"'a\\tb'", CONF_STRING, "a\\tb", 0, 0},
        {"\"\"\"\na\\\n   b\"\"\"\"\"", CONF_STRING, "ab\"\"", 0, 0},
        {"'''\r\na\r\nb'''", CONF_STRING, "a\r\nb", 0, 0},
        {"1_000", CONF_INTEGER, NULL, 1000, 1000},
        {"-9223372036854775808", CONF_INTEGER, NULL, INT64_MIN, -9223372036854775808.0},
        {"0xff", CONF_INTEGER, NULL, 255, 255},
        {"1e3", CONF_FLOAT, NULL, 0, 1000},
        {"1979-05-27 07:32:00Z", CONF_TIME, "1979-05-27 07:32:00Z", 0, 0},
        {"07:32:00.5", CONF_TIME, "07:32:00.5", 0, 0},
        {"true", CONF_BOOL, NULL, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text;
        cr_assert(asprintf(&text, "k = %s # end", rows[i].text) > 0);
        struct conf_document *d = parse(text);
        const struct conf *k = conf_get(conf_root(d), "k");
        cr_expect_eq(k->type, rows[i].type, "%s: %s", rows[i].text, conf_type_words(k->type));
        cr_expect(rows[i].string == NULL || strcmp(k->string, rows[i].string) == 0, "%s: %s", rows[i].text, k->string);
        cr_expect_eq(k->integer, rows[i].integer, "%s", rows[i].text);
        cr_expect_eq(k->number, rows[i].number, "%s", rows[i].text);
        cr_expect_eq(k->end - k->begin, strlen(rows[i].text), "%s: place", rows[i].text);
        conf_free(d);
        free(text);
    }
}

static const char CONTAINERD[] = "\xef\xbb\xbfversion = 3\r\n"
                                 "[plugins.'io.containerd.cri.v1.images'.registry]\r\n"
                                 "  config_path = \"/etc/containerd/certs.d\" # \xc3\xa9\r\n"
                                 "[plugins . \"io.containerd.cri.v1.images\"]\r\n"
                                 "\tx.y . z = { a = [1, {b = 2}] }\r\n"
                                 "[[registry]]\r\n"
                                 "prefix = 'a'\r\n"
                                 "[[registry.mirror]]\r\n"
                                 "location = 'm1'\r\n"
                                 "[[registry.mirror]]\r\n"
                                 "location = 'm2'\r\n"
                                 "[[registry]]\r\n";

Test(toml, places_and_lines) {
    const struct {
        const char *why, *path[6], *text;
        unsigned line;
        bool flow;
    } rows[] = {
        {"after a byte order mark", {"version"}, "3", 1, false},
        {"a key with dots in it",
         {"plugins", "io.containerd.cri.v1.images", "registry", "config_path"},
         "\"/etc/containerd/certs.d\"",
         3,
         false},
        {"a table by its header",
         {"plugins", "io.containerd.cri.v1.images", "registry"},
         "[plugins.'io.containerd.cri.v1.images'.registry]",
         2,
         false},
        {"a table that was named first, defined later",
         {"plugins", "io.containerd.cri.v1.images"},
         "[plugins . \"io.containerd.cri.v1.images\"]",
         4,
         false},
        {"a table by dotted keys, at its part", {"plugins", "io.containerd.cri.v1.images", "x", "y"}, "y", 5, false},
        {"an inline table", {"plugins", "io.containerd.cri.v1.images", "x", "y", "z"}, "{ a = [1, {b = 2}] }", 5, true},
        {"an array", {"plugins", "io.containerd.cri.v1.images", "x", "y", "z", "a"}, "[1, {b = 2}]", 5, true},
        {"a list of tables: its first header", {"registry"}, "[[registry]]", 6, false},
    };
    struct conf_document *d = parse(CONTAINERD);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path[7] = {0};
        memcpy(path, rows[i].path, sizeof rows[i].path);
        const struct conf *c = conf_at(conf_root(d), path);
        cr_assert_not_null(c, "%s", rows[i].why);
        cr_expect_eq(c->end - c->begin, strlen(rows[i].text), "%s: [%zu, %zu)", rows[i].why, c->begin, c->end);
        cr_expect_eq(memcmp(CONTAINERD + c->begin, rows[i].text, c->end - c->begin), 0, "%s", rows[i].why);
        cr_expect_eq(c->line, rows[i].line, "%s: line %u", rows[i].why, c->line);
        cr_expect_eq(c->flow, rows[i].flow, "%s", rows[i].why);
    }
    conf_free(d);
}

Test(toml, lists_of_tables) {
    struct conf_document *d = parse(CONTAINERD);
    const struct conf *registries = conf_get(conf_root(d), "registry");
    cr_assert_eq(registries->count, 2);
    cr_expect_str_eq(conf_get_string(registries->child, "prefix"), "a");
    const struct conf *mirrors = conf_get(registries->child, "mirror");
    cr_assert_eq(mirrors->count, 2);
    cr_expect_str_eq(conf_get_string(mirrors->child->next, "location"), "m2");
    cr_expect_eq(registries->child->next->count, 0);
    cr_expect_eq(registries->child->next->line, 12);
    conf_free(d);
}

Test(toml, keys_may_hold_anything) {
    struct conf_document *d = parse("\"\" = 1\n\"a\\u0000\" = 2\n'b.c' = 3\n1234 = 4\n");
    const struct conf *root = conf_root(d);
    cr_expect_eq(root->count, 4);
    cr_expect_eq(conf_get(root, "")->integer, 1);
    cr_expect_null(conf_get(root, "a"), "a key that goes on after a NUL");
    cr_expect_eq(root->child->next->key_len, 2);
    cr_expect_eq(conf_get(root, "b.c")->integer, 3);
    cr_expect_null(conf_get(root, "b"));
    cr_expect_eq(conf_get(root, "1234")->integer, 4);
    conf_free(d);
}

Test(toml, an_empty_text_is_an_empty_table) {
    const char *const texts[] = {"", "\n", "# nothing", "\xef\xbb\xbf", " \t\r\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct conf_document *d = parse(texts[i]);
        cr_expect_eq(conf_root(d)->type, CONF_TABLE);
        cr_expect_eq(conf_root(d)->count, 0);
        conf_free(d);
    }
}

static void expect_refused(const char *text, size_t len, const char *says) {
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_TOML, text, len, &err);
    cr_expect_null(d, "%s: accepted", says);
    cr_expect(strstr(err.text, says) != NULL, "%s: %s", says, err.text);
    conf_free(d);
}

Test(toml, bounds) {
    struct buf b;
    buf_init(&b, 2 * CONF_TEXT_MAX);
    buf_adds(&b, "a = ");
    for (int i = 0; i < 100000; i++)
        buf_adds(&b, "[");
    expect_refused(b.data, b.len, "nested deeper than 32 levels");
    buf_clear(&b);
    buf_adds(&b, "a");
    for (int i = 0; i < 100000; i++)
        buf_adds(&b, ".a");
    expect_refused(b.data, b.len, "a key of more than 32 parts");
    buf_clear(&b);
    buf_adds(&b, "a = [");
    for (int i = 0; i < CONF_VALUES_MAX; i++)
        buf_adds(&b, "1,");
    expect_refused(b.data, b.len, "more than 100000 values");
    buf_clear(&b);
    for (int i = 0; i < CONF_TEXT_MAX + 1; i++)
        buf_adds(&b, "\n");
    expect_refused(b.data, b.len, "longer than 1048576 bytes");
    buf_deinit(&b);
}

Test(toml, deep_enough_is_read) {
    char text[200] = "a = ";
    for (int i = 0; i < CONF_DEPTH_MAX - 1; i++)
        strcat(text, "[");
    strcat(text, "1");
    for (int i = 0; i < CONF_DEPTH_MAX - 1; i++)
        strcat(text, "]");
    conf_free(parse(text));
}
