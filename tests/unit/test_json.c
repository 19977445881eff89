// SPDX-License-Identifier: Apache-2.0
//
// The strict JSON reader: what it must refuse decides what clients and pullgate may read differently.

#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct refusal {
    const char *why, *text;
    unsigned flags;
    const char *says; // Part of the error.
};

#define TEXT(s) s, sizeof(s) - 1

Test(json, what_is_refused) {
    const struct refusal rows[] = {
        {"empty", "", 0, "empty"},
        {"only blanks", " \n\t", 0, "empty"},
        {"cut", "{\"a\":", 0, "line 1: parse error: premature EOF"},
        {"cut in a string", "\n\"abc", 0, "line 2: "},
        {"cut list", "[1,", 0, "premature EOF"},
        {"two values", "{}{}", 0, "trailing"},
        {"trailing word", "1 x", 0, "line 1: "},
        {"trailing comma in a list", "[1,]", 0, "line 1: "},
        {"trailing comma in an object", "{\"a\":1,}", 0, "line 1: "},
        {"single quotes", "{'a':1}", 0, "lexical error"},
        {"a bare key", "{a:1}", 0, "lexical error"},
        {"a leading zero", "01", 0, "line 1: "},
        {"a plus", "+1", 0, "lexical error"},
        {"a lone minus", "-", 0, "line 1: "},
        {"a number without a fraction", "1.", 0, "line 1: "},
        {"NaN", "NaN", 0, "lexical error"},
        {"a raw line end in a string", "\"a\nb\"", 0, "line 1: lexical error"},
        {"an unknown escape", "\"\\x41\"", 0, "line 1: "},
        {"the line is named", "{\n\"a\": 1,\n\"b\": ?\n}", 0, "line 3: lexical error"},
        {"a NUL in a string", "{\n\"a\":\"docker.io\\u0000.evil\"}", 0, "line 2: a string holds a NUL"},
        {"a NUL in a key", "{\"a\\u0000\":1}", 0, "a key holds a NUL"},
        {"a key twice", "{\"a\":1,\n\"b\":2,\n\"a\":3\n\n}", 0, "line 3: the key \"a\" is given twice"},
        {"a key twice by an escape", "{\"a\":1,\"\\u0061\":2}", 0, "given twice"},
        {"the empty key twice", "{\"\":1,\"\":2}", 0, "given twice"},
        {"a key twice, the first of which was an object", "[{\"a\":{\"a\":1},\"a\":1}]", 0, "given twice"},
        {"comments unless asked for", "// no\n1", 0, "line 1: "},
        {"a comment on a line of its own", "{\n// no\n\"a\": 1}", 0, "line 2: "},
        {"a comment behind a value", "{\n\"a\": 1, // no\n\"b\": 2}", 0, "line 2: "},
        {"a comment of several lines begins it", "{\n\n/* no\n */}", 0, "line 3: "},
        {"a path as a string before what is wrong", "{\"a\": \"/x\",\n\"/y\" ?}", 0, "line 2: "},
        {"half a comment", "/* no", JSON_COMMENTS, "line 1: "},
        {"a byte order mark", "\xef\xbb\xbf{}", 0, "byte order mark"},
        {"a UTF-16 byte order mark", "\xff\xfe{", 0, "UTF-16"},
        {"bytes that are no UTF-8", "\"\xff\"", 0, "line 1: "},
        {"an overlong slash", "\"\xc0\xaf\"", 0, "UTF-8"},
        {"a surrogate in UTF-8", "\"\xed\xa0\x80\"", 0, "UTF-8"},
        {"an overlong key", "{\"\xe0\x80\xaf\":1}", 0, "UTF-8"},
        {"a high surrogate alone", "\n\"\\ud800\"", 0, "line 2: an escape that is half"},
        {"a low surrogate alone", "\"\\udc00\"", 0, "half a surrogate pair"},
        {"a high surrogate and a letter", "\"\\uD800\\u0041\"", 0, "half a surrogate pair"},
        {"a high surrogate, then the text ends", "\"\\ud800\\u", 0, "half a surrogate pair"},
        {"a surrogate in a key", "{\"ur\\ud83dls\":1}", 0, "half a surrogate pair"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct json *root = json_parse(rows[i].text, strlen(rows[i].text), rows[i].flags, &err);
        cr_expect_null(root, "%s: accepted", rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].why, err.text);
        cr_expect_null(json_parse(rows[i].text, strlen(rows[i].text), rows[i].flags, NULL), "%s", rows[i].why);
        json_free(root);
    }
}

Test(json, a_raw_nul_is_refused_everywhere) {
    const struct {
        const char *text;
        size_t len;
    } rows[] = {{TEXT("\0{}")}, {TEXT("{}\0")}, {TEXT("\"a\0b\"")}, {TEXT("[1,\0 2]")}, {TEXT("{\"a\0\":1}")}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_null(json_parse(rows[i].text, rows[i].len, 0, NULL), "row %zu", i);
}

struct good {
    const char *why, *text;
    unsigned flags;
    enum json_type type;
};

Test(json, what_is_accepted) {
    const struct good rows[] = {
        {"a number at the root", "12", 0, JSON_NUMBER},
        {"null", "null", 0, JSON_NULL},
        {"true", "true", 0, JSON_BOOL},
        {"blanks around", " \r\n{}\t\n", 0, JSON_OBJECT},
        {"the same key in different objects", "{\"a\":{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}}}", 0, JSON_OBJECT},
        {"keys that differ in case", "{\"a\":1,\"A\":2}", 0, JSON_OBJECT},
        {"comments when asked for", "// one\n{ /* two */ \"a\": 1 } // three\n", JSON_COMMENTS, JSON_OBJECT},
        {"a comment without a line end", "1 // end", JSON_COMMENTS, JSON_NUMBER},
        {"half a pair in a comment", "// \"\\ud800\n1", JSON_COMMENTS, JSON_NUMBER},
        {"slashes in strings are no comments", "{\"a\":\"http://x/*\"}", JSON_COMMENTS, JSON_OBJECT},
        {"a pair", "\"\\ud83d\\ude00\"", 0, JSON_STRING},
        {"an escaped backslash before u", "\"\\\\ud800\"", 0, JSON_STRING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct json *root = json_parse(rows[i].text, strlen(rows[i].text), rows[i].flags, &err);
        cr_expect_not_null(root, "%s: %s", rows[i].why, err.text);
        if (root != NULL)
            cr_expect_eq(root->type, rows[i].type, "%s", rows[i].why);
        json_free(root);
    }
}

struct number {
    const char *text;
    bool is_integer;
    int64_t integer;
    double number;
};

Test(json, numbers_are_exact) {
    const struct number rows[] = {
        {"0", true, 0, 0},
        {"-0", true, 0, 0},
        {"9223372036854775807", true, INT64_MAX, 9223372036854775807.0},
        {"-9223372036854775808", true, INT64_MIN, -9223372036854775808.0},
        {"9223372036854775808", false, 0, 9223372036854775808.0},
        {"-9223372036854775809", false, 0, -9223372036854775808.0},
        {"9007199254740993", true, 9007199254740993, 9007199254740992.0},
        {"1.0", false, 0, 1},
        {"1e3", false, 0, 1000},
        {"-2.5", false, 0, -2.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json *root = json_parse(rows[i].text, strlen(rows[i].text), 0, NULL);
        cr_assert_not_null(root, "%s", rows[i].text);
        cr_expect_eq(root->is_integer, rows[i].is_integer, "%s", rows[i].text);
        cr_expect(!rows[i].is_integer || root->integer == rows[i].integer, "%s", rows[i].text);
        cr_expect(root->number >= rows[i].number && root->number <= rows[i].number, "%s", rows[i].text);
        json_free(root);
    }
}

Test(json, the_tree) {
    const char *text = "{\"n\":null,\"b\":true,\"l\":[1,\"two\",{}],\"s\":\"\\u00e9\\n\",\"o\":{\"k\":\"v\"}}";
    struct json *root = json_parse(text, strlen(text), 0, NULL);
    cr_assert_not_null(root);
    cr_assert_eq(root->count, 5);
    cr_assert_null(root->key);
    cr_assert_str_eq(root->child->key, "n");
    cr_assert_eq(json_get(root, "b")->boolean, true);
    const struct json *list = json_get(root, "l");
    cr_assert_eq(list->count, 3);
    cr_assert_eq(list->child->integer, 1);
    cr_assert_null(list->child->key);
    cr_assert_str_eq(list->child->next->string, "two");
    cr_assert_eq(list->child->next->next->type, JSON_OBJECT);
    cr_assert_null(list->child->next->next->next);
    cr_assert_str_eq(json_get_string(root, "s"), "\u00e9\n");
    cr_assert_eq(json_get(root, "s")->string_len, 3);
    cr_assert_str_eq(json_get_string(json_get(root, "o"), "k"), "v");
    cr_assert_null(json_get_string(root, "b"));
    cr_assert_null(json_get(root, "N"), "keys have their case");
    cr_assert_null(json_get(list, "l"));
    cr_assert_null(json_get(NULL, "l"));
    cr_assert_str_eq(json_type_words(JSON_ARRAY), "a list");
    json_free(root);
    json_free(NULL);
}

static struct json *parse_nested(size_t depth, struct err *err) {
    char *text = mem_alloc(depth * 2);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    struct json *root = json_parse(text, depth * 2, 0, err);
    free(text);
    return root;
}

Test(json, depth_is_bounded) {
    struct err err = {0};
    struct json *root = parse_nested(JSON_DEPTH_MAX, &err);
    cr_assert_not_null(root, "%s", err.text);
    json_free(root);
    cr_assert_null(parse_nested(JSON_DEPTH_MAX + 1, &err));
    cr_assert(strstr(err.text, "nested deeper") != NULL, "%s", err.text);
    cr_assert_null(parse_nested((size_t)2 << 20, &err), "4 MiB of brackets");
}

static char *repeat(const char *open, const char *item, size_t count, const char *close) {
    struct buf b;
    buf_init(&b, 64u << 20);
    buf_adds(&b, open);
    for (size_t i = 0; i < count; i++)
        buf_addf(&b, "%s%s", i == 0 ? "" : ",", item);
    buf_adds(&b, close);
    return buf_steal(&b);
}

Test(json, values_are_bounded) {
    struct err err = {0};
    char *most = repeat("[", "0", JSON_NODES_MAX - 1, "]");
    struct json *root = json_parse(most, strlen(most), 0, &err);
    cr_assert_not_null(root, "%s", err.text);
    cr_assert_eq(root->count, JSON_NODES_MAX - 1);
    json_free(root);
    free(most);
    char *over = repeat("[", "{}", JSON_NODES_MAX, "]");
    cr_assert_null(json_parse(over, strlen(over), 0, &err));
    cr_assert(strstr(err.text, "more than 500000 values") != NULL, "%s", err.text);
    free(over);
}

Test(json, a_huge_object_takes_no_quadratic_time, .timeout = 20) {
    struct buf b;
    buf_init(&b, 64u << 20);
    buf_adds(&b, "{");
    for (int i = 0; i < JSON_NODES_MAX - 2; i++)
        buf_addf(&b, "\"key%d\":0,", i);
    size_t before = b.len;
    buf_adds(&b, "\"last\":0}");
    struct json *root = json_parse(b.data, b.len, 0, NULL);
    cr_assert_not_null(root);
    json_free(root);
    b.len = before;
    buf_adds(&b, "\"key0\":0}");
    struct err err = {0};
    cr_assert_null(json_parse(b.data, b.len, 0, &err));
    cr_assert(strstr(err.text, "\"key0\" is given twice") != NULL, "%s", err.text);
    buf_deinit(&b);
}

Test(json, errors_do_not_quote_the_document) {
    struct err err = {0};
    const char *text = "{\"password\": \"hunter2\" oops}";
    cr_assert_null(json_parse(text, strlen(text), 0, &err));
    cr_assert_null(strstr(err.text, "hunter2"), "%s", err.text);
}

Test(json, long_numbers_and_strings) {
    char *digits = mem_alloc(1000);
    memset(digits, '1', 1000);
    struct err err = {0};
    cr_assert_null(json_parse(digits, 1000, 0, &err));
    cr_assert(strstr(err.text, "a number of more than") != NULL, "%s", err.text);
    free(digits);
    size_t len = 1u << 20;
    char *text = mem_alloc(len);
    memset(text, 'a', len);
    text[0] = text[len - 1] = '"';
    struct json *root = json_parse(text, len, 0, &err);
    cr_assert_not_null(root, "%s", err.text);
    cr_assert_eq(root->string_len, len - 2);
    json_free(root);
    free(text);
}
