// SPDX-License-Identifier: Apache-2.0
//
// Objects, keys and the paths in error texts. See reader.h.

#include "gateway/config/reader.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST_TEXT_MAX = 40, PATH_TEXT_MAX = 512 };

// --- the path ---

void read_enter_key(struct reader *r, const char *key) {
    r->steps[r->depth++] = (struct reader_step){.key = key};
}

void read_enter_index(struct reader *r, size_t index) {
    r->steps[r->depth++] = (struct reader_step){.index = index};
}

void read_leave(struct reader *r) {
    r->depth--;
}

static bool is_plain_key(const char *key) {
    if (key[0] == '\0')
        return false;
    for (; *key != '\0'; key++)
        if (!isalnum((unsigned char)*key) && *key != '_' && *key != '-')
            return false;
    return true;
}

static void path_add_key(struct buf *b, const char *key) {
    const char *dot = b->len > 0 ? "." : "";
    int shown = (int)strnlen(key, READER_NAME_SHOWN_MAX);
    if (is_plain_key(key))
        buf_addf(b, "%s%.*s", dot, shown, key);
    else
        buf_addf(b, "%s\"%.*s\"", dot, shown, key);
}

static void path_format(const struct reader *r, struct buf *b) {
    for (size_t i = 0; i < r->depth; i++) {
        if (r->steps[i].key != NULL)
            path_add_key(b, r->steps[i].key);
        else
            buf_addf(b, "[%zu]", r->steps[i].index);
    }
}

bool read_fail_again(struct reader *r) {
    struct buf path;
    buf_init(&path, PATH_TEXT_MAX);
    path_format(r, &path);
    if (path.len > 0)
        err_prefix(r->err, "%s: ", path.data);
    if (r->file != NULL)
        err_prefix(r->err, "%s: ", r->file);
    buf_deinit(&path);
    return false;
}

bool read_fail(struct reader *r, const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(r->err, "%s", text);
    return read_fail_again(r);
}

bool read_expected(struct reader *r, const char *what, const struct json *found) {
    return read_fail(r, "expected %s, found %s", what, json_type_words(found->type));
}

// --- did you mean ---

/// Levenshtein's distance with a swap of neighbours as one step; both texts are at most NEAREST_TEXT_MAX long.
static size_t distance(const char *a, const char *b) {
    size_t rows[3][NEAREST_TEXT_MAX + 1], *before = rows[0], *above = rows[1], *now = rows[2];
    size_t an = strlen(a), bn = strlen(b);
    for (size_t j = 0; j <= bn; j++)
        above[j] = j;
    for (size_t i = 1; i <= an; i++) {
        now[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = above;
        above = now;
        now = spare;
    }
    return above[bn];
}

const char *nearest_word(const char *text, const char *const *words, size_t count) {
    size_t len = strnlen(text, NEAREST_TEXT_MAX + 1), best = len / 3 + 2;
    const char *found = NULL;
    if (len > NEAREST_TEXT_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(words[i]) > NEAREST_TEXT_MAX)
            continue;
        size_t d = distance(text, words[i]);
        if (d >= best)
            continue;
        best = d;
        found = words[i];
    }
    return found;
}

// --- objects ---

bool read_ignored(const struct json *member) {
    return strncmp(member->key, "x-", 2) == 0;
}

static size_t table_size(const struct read_key *keys) {
    size_t n = 0;
    while (keys[n].name != NULL)
        n++;
    return n;
}

static bool is_in_table(const struct read_key *keys, const char *name) {
    for (; keys->name != NULL; keys++)
        if (strcmp(keys->name, name) == 0)
            return true;
    return false;
}

static bool fail_unknown(struct reader *r, const struct read_key *keys, const char *name) {
    size_t count = table_size(keys);
    const char **words = mem_zalloc(count + 1, sizeof *words);
    for (size_t i = 0; i < count; i++)
        words[i] = keys[i].name;
    const char *near = nearest_word(name, words, count);
    if (near != NULL) {
        read_fail(r, "unknown key; did you mean \"%s\"?", near);
    } else {
        struct buf all;
        buf_init(&all, PATH_TEXT_MAX);
        for (size_t i = 0; i < count; i++)
            buf_addf(&all, "%s%s", i == 0 ? "" : ", ", words[i]);
        read_fail(r, "unknown key; the keys here are %s", all.data);
        buf_deinit(&all);
    }
    free(words);
    return false;
}

static bool check_known(struct reader *r, const struct json *object, const struct read_key *keys) {
    for (const struct json *m = object->child; m != NULL; m = m->next) {
        if (read_ignored(m) || is_in_table(keys, m->key))
            continue;
        read_enter_key(r, m->key);
        fail_unknown(r, keys, m->key);
        read_leave(r);
        return false;
    }
    return true;
}

static bool read_member(struct reader *r, const struct read_key *key, const struct json *object, void *into) {
    const struct json *value = json_get(object, key->name);
    if (value == NULL && !key->required)
        return true;
    if (value == NULL)
        return read_fail(r, "\"%s\" is missing: expected %s", key->name, key->expected);
    read_enter_key(r, key->name);
    bool ok = (key->takes & (1U << value->type)) != 0 ? key->read(r, key, value, into)
                                                      : read_expected(r, key->expected, value);
    read_leave(r);
    return ok;
}

bool read_object(struct reader *r, const struct json *object, const struct read_key *keys, void *into) {
    if (object->type != JSON_OBJECT)
        return read_expected(r, "an object", object);
    if (!check_known(r, object, keys))
        return false;
    for (const struct read_key *key = keys; key->name != NULL; key++)
        if (!read_member(r, key, object, into))
            return false;
    return true;
}

bool read_each(struct reader *r, const struct json *parent, bool (*visit)(struct reader *, const struct json *, void *),
               void *into) {
    size_t index = 0;
    bool ok = true;
    for (const struct json *m = parent->child; ok && m != NULL; m = m->next, index++) {
        if (parent->type == JSON_OBJECT && read_ignored(m))
            continue;
        if (parent->type == JSON_OBJECT)
            read_enter_key(r, m->key);
        else
            read_enter_index(r, index);
        ok = visit(r, m, into);
        read_leave(r);
    }
    return ok;
}
