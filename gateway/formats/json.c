// SPDX-License-Identifier: Apache-2.0
//
// JSON with places. mirrors/base/json.h reads it with all its strictness (depth, NULs, keys given twice, UTF-8, no
// comments: Go's encoding/json knows none either); then the text, now known to be well formed, is walked beside that
// tree to find where each value stands.

#include "gateway/formats/node.h"

#include "mirrors/base/json.h"

#include <string.h>

struct walk {
    const char *text;
    size_t len, at;
    struct conf_lines lines;
    struct conf_document *document;
    struct err *err;
};

static bool is_between(char c) {
    return c != '\0' && strchr(" \t\r\n,:", c) != NULL;
}

// To the next value, key or closing bracket.
static void skip_between(struct walk *w) {
    while (w->at < w->len && is_between(w->text[w->at]))
        w->at++;
}

static void skip_string(struct walk *w) {
    for (w->at++; w->at < w->len && w->text[w->at] != '"'; w->at++)
        w->at += w->text[w->at] == '\\';
    w->at++;
}

static void skip_word(struct walk *w) {
    while (w->at < w->len && !is_between(w->text[w->at]) && strchr("]}", w->text[w->at]) == NULL)
        w->at++;
}

static void fill_scalar(struct walk *w, const struct json *from, struct conf *to) {
    to->boolean = from->boolean;
    to->integer = from->integer;
    to->number = from->number;
    if (from->type == JSON_STRING) {
        to->string = conf_keep(w->document, from->string, from->string_len);
        to->string_len = from->string_len;
        skip_string(w);
    } else {
        skip_word(w);
    }
}

static enum conf_type type_of(const struct json *from) {
    switch (from->type) {
    case JSON_NULL:
        return CONF_NULL;
    case JSON_BOOL:
        return CONF_BOOL;
    case JSON_NUMBER:
        return from->is_integer ? CONF_INTEGER : CONF_FLOAT;
    case JSON_STRING:
        return CONF_STRING;
    case JSON_ARRAY:
        return CONF_LIST;
    case JSON_OBJECT:
        return CONF_TABLE;
    }
    return CONF_NULL;
}

static bool walk_value(struct walk *w, const struct json *from, struct conf_node *to);

static bool walk_members(struct walk *w, const struct json *from, struct conf_node *to) {
    w->at++;
    for (const struct json *member = from->child; member != NULL; member = member->next) {
        const char *key = member->key == NULL ? NULL : conf_keep(w->document, member->key, member->key_len);
        struct conf_node *node = conf_add(w->document, to, key, member->key_len, w->err);
        if (node == NULL)
            return false;
        skip_between(w);
        node->pub.key_begin = w->at;
        if (key != NULL)
            skip_string(w);
        node->key_end = w->at;
        if (!walk_value(w, member, node))
            return false;
    }
    skip_between(w);
    w->at++;
    return true;
}

// JSON_DEPTH_MAX bounds the recursion.
static bool walk_value(struct walk *w, const struct json *from, struct conf_node *to) {
    skip_between(w);
    to->pub.type = type_of(from);
    to->pub.flow = true;
    to->pub.begin = w->at;
    if (to->pub.key == NULL)
        to->pub.key_begin = w->at;
    to->pub.line = conf_line(&w->lines, w->text, to->pub.key_begin);
    if (from->type == JSON_ARRAY || from->type == JSON_OBJECT) {
        if (!walk_members(w, from, to))
            return false;
    } else {
        fill_scalar(w, from, &to->pub);
    }
    to->pub.end = w->at;
    return true;
}

bool conf_read_json(struct conf_document *d, const char *text, size_t len, struct err *err) {
    struct json *json = json_parse(text, len, JSON_STRICT, err);
    if (json == NULL)
        return false;
    struct walk w = {.text = text, .len = len, .document = d, .err = err};
    struct conf_node *root = conf_add(d, NULL, NULL, 0, err);
    bool done = root != NULL && walk_value(&w, json, root);
    json_free(json);
    return done || err_prefix(err, "line %u: ", conf_line(&w.lines, text, w.at < len ? w.at : len));
}
