// SPDX-License-Identifier: Apache-2.0
//
// The parser, the JSON Schema and docs/configuration.md know the same keys: each is held against the others, both ways.

#include "gateway/config/config.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROJECT PULLGATE_CATALOG_SOURCE "/../.."

enum { TEXT_MAX = 1 << 20, KEYS_MAX = 500, SCHEMA_DEPTH_MAX = 32 };

struct keys {
    char *list[KEYS_MAX];
    size_t count;
};

static bool has(const struct keys *k, const char *key) {
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->list[i], key) == 0)
            return true;
    return false;
}

static void add(struct keys *k, const char *key) {
    if (has(k, key))
        return;
    cr_assert_lt(k->count, KEYS_MAX);
    k->list[k->count++] = mem_strdup(key);
}

static void keys_deinit(struct keys *k) {
    for (size_t i = 0; i < k->count; i++)
        free(k->list[i]);
}

static char *read_text(const char *path, size_t *len) {
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    char *text = mem_zalloc(1, TEXT_MAX);
    *len = fread(text, 1, TEXT_MAX - 1, f);
    fclose(f);
    return text;
}

// --- the parser ---

static void parser_keys(struct keys *out) {
    size_t count = 0;
    const char *const *list = config_keys(&count);
    cr_assert_gt(count, 50);
    for (size_t i = 0; i < count; i++)
        add(out, list[i]);
    cr_assert_eq(out->count, count, "no key twice");
}

// --- the schema ---

static const struct json *resolve(const struct json *root, const struct json *node) {
    static const char prefix[] = "#/$defs/";
    const char *ref = json_get_string(node, "$ref");
    if (ref == NULL)
        return node;
    cr_assert_eq(strncmp(ref, prefix, sizeof prefix - 1), 0, "%s", ref);
    const struct json *target = json_get(json_get(root, "$defs"), ref + sizeof prefix - 1);
    cr_assert_not_null(target, "%s leads nowhere", ref);
    return target;
}

static void visit(const struct json *root, const struct json *node, const char *path, int depth, struct keys *out);

static void visit_below(const struct json *root, const struct json *node, const char *path, const char *mark, int depth,
                        struct keys *out) {
    if (node == NULL || node->type != JSON_OBJECT)
        return;
    char *below = mem_printf("%s%s", path, mark);
    visit(root, node, below, depth + 1, out);
    free(below);
}

static void visit_properties(const struct json *root, const struct json *node, const char *path, int depth,
                             struct keys *out) {
    const struct json *properties = json_get(node, "properties");
    for (const struct json *p = properties != NULL ? properties->child : NULL; p != NULL; p = p->next) {
        char *key = mem_printf("%s%s%s", path, path[0] != '\0' ? "." : "", p->key);
        add(out, key);
        visit(root, p, key, depth + 1, out);
        free(key);
    }
    if (properties == NULL)
        return;
    const struct json *others = json_get(node, "additionalProperties");
    cr_expect(others != NULL && others->type == JSON_BOOL && !others->boolean, "%s: the schema is strict too", path);
    cr_expect_not_null(json_get(json_get(node, "patternProperties"), "^x-"), "%s: x- keys are permitted", path);
}

static void visit(const struct json *root, const struct json *node, const char *path, int depth, struct keys *out) {
    cr_assert_lt(depth, SCHEMA_DEPTH_MAX);
    node = resolve(root, node);
    visit_properties(root, node, path, depth, out);
    visit_below(root, json_get(node, "items"), path, "[]", depth, out);
    visit_below(root, json_get(node, "additionalProperties"), path, "{}", depth, out);
    const struct json *any = json_get(node, "anyOf");
    for (const struct json *a = any != NULL ? any->child : NULL; a != NULL; a = a->next)
        visit(root, a, path, depth + 1, out);
}

static void schema_keys(struct keys *out) {
    struct err err = {0};
    size_t len = 0;
    char *text = read_text(PROJECT "/gateway/config/schema.json", &len);
    struct json *root = json_parse(text, len, JSON_STRICT, &err);
    cr_assert_not_null(root, "%s", err.text);
    visit(root, root, "", 0, out);
    json_free(root);
    free(text);
}

// --- the document: the first cell of a table's row, in backticks ---

static void doc_keys(struct keys *out) {
    size_t len = 0;
    char *text = read_text(PROJECT "/docs/configuration.md", &len), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, "| `", 3) != 0)
            continue;
        char *end = strchr(line + 3, '`');
        cr_assert_not_null(end, "%s", line);
        *end = '\0';
        cr_expect_not(has(out, line + 3), "%s is described twice", line + 3);
        add(out, line + 3);
    }
    free(text);
}

// --- against each other ---

static void expect_within(const struct keys *a, const char *a_name, const struct keys *b, const char *b_name) {
    for (size_t i = 0; i < a->count; i++)
        cr_expect(has(b, a->list[i]), "%s has `%s`, %s does not", a_name, a->list[i], b_name);
}

Test(config_keys, agree) {
    struct keys parser = {0}, schema = {0}, doc = {0};
    parser_keys(&parser);
    schema_keys(&schema);
    doc_keys(&doc);
    expect_within(&parser, "the parser", &schema, "schema.json");
    expect_within(&schema, "schema.json", &parser, "the parser");
    expect_within(&parser, "the parser", &doc, "configuration.md");
    expect_within(&doc, "configuration.md", &parser, "the parser");
    keys_deinit(&parser);
    keys_deinit(&schema);
    keys_deinit(&doc);
}
