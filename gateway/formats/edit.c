// SPDX-License-Identifier: Apache-2.0
//
// Edits: read, compare, have the format's editor write, read again, and only then believe it. Pure; any thread.

#include "gateway/formats/edit.h"

#include <math.h>
#include <string.h>

enum { KEY_QUOTED_MAX = 64 };

// --- comparing ---

// Members keep their order through edits, so the search begins where the last one ended.
static const struct conf *find_from(const struct conf *table, const struct conf *from, const struct conf *key) {
    for (size_t pass = 0; pass < 2; pass++) {
        for (const struct conf *m = from; m != NULL; m = m->next)
            if (m->key_len == key->key_len && memcmp(m->key, key->key, key->key_len) == 0)
                return m;
        from = table->child;
    }
    return NULL;
}

static bool is_equal(const struct conf *a, const struct conf *b);

static bool lists_equal(const struct conf *a, const struct conf *b) {
    const struct conf *y = b->child;
    for (const struct conf *x = a->child; x != NULL; x = x->next, y = y->next)
        if (!is_equal(x, y))
            return false;
    return true;
}

static bool tables_equal(const struct conf *a, const struct conf *b) {
    const struct conf *from = b->child;
    for (const struct conf *x = a->child; x != NULL; x = x->next) {
        const struct conf *y = find_from(b, from, x);
        if (y == NULL || !is_equal(x, y))
            return false;
        from = y->next;
    }
    return true;
}

static bool numbers_equal(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

// CONF_DEPTH_MAX bounds the recursion.
static bool is_equal(const struct conf *a, const struct conf *b) {
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case CONF_NULL:
        return true;
    case CONF_BOOL:
        return a->boolean == b->boolean;
    case CONF_INTEGER:
        return a->integer == b->integer;
    case CONF_FLOAT:
        return numbers_equal(a->number, b->number);
    case CONF_STRING:
    case CONF_TIME:
        return a->string_len == b->string_len && memcmp(a->string, b->string, a->string_len) == 0;
    case CONF_LIST:
        return a->count == b->count && lists_equal(a, b);
    case CONF_TABLE:
        return a->count == b->count && tables_equal(a, b);
    }
    return false;
}

static bool is_key(const struct conf *member, const char *key) {
    size_t len = strlen(key);
    return member->key_len == len && memcmp(member->key, key, len) == 0;
}

// All members but `key` are the same.
static bool others_equal(const struct conf *old, const struct conf *new, const char *key) {
    size_t old_others = 0, new_others = 0;
    const struct conf *from = new->child;
    for (const struct conf *x = old == NULL ? NULL : old->child; x != NULL; x = x->next) {
        if (is_key(x, key))
            continue;
        const struct conf *y = find_from(new, from, x);
        if (y == NULL || !is_equal(x, y))
            return false;
        from = y->next;
        old_others++;
    }
    for (const struct conf *y = new->child; y != NULL; y = y->next)
        new_others += !is_key(y, key);
    return old_others == new_others;
}

// TOML: a table that was there only for what is gone goes with it.
static bool may_vanish(const struct conf *old, const char *const *path) {
    for (; *path != NULL; path++) {
        if (old == NULL || old->type != CONF_TABLE || old->count > 1)
            return false;
        old = conf_get(old, *path);
    }
    return true;
}

// `new` is `old` with `want` (NULL: nothing) at the path.
static bool is_as_asked(const struct conf *old, const struct conf *new, const char *const *path,
                        const struct conf *want) {
    if (new == NULL)
        return want == NULL && may_vanish(old, path);
    bool was_table = old != NULL && old->type == CONF_TABLE;
    bool may_begin = want != NULL && (old == NULL || old->type == CONF_NULL);
    if (new->type != CONF_TABLE || (!was_table && !may_begin) || !others_equal(old, new, *path))
        return false;
    const struct conf *was = conf_get(old, *path), *is = conf_get(new, *path);
    if (path[1] != NULL)
        return is_as_asked(was, is, path + 1, want);
    return want == NULL ? is == NULL : is != NULL && is_equal(is, want);
}

// --- what is there ---

const struct conf *edit_current(const struct edit *e) {
    return conf_at(conf_root(e->document), e->path);
}

static bool fail_way(struct edit *e, size_t keys, const char *what) {
    if (keys == 0)
        return err_set(e->err, "the outermost value %s", what);
    return err_set(e->err, "\"%.*s\" %s", KEY_QUOTED_MAX, e->path[keys - 1], what);
}

// What keeps an editor from going through or changing a value.
static const char *hindrance(const struct edit *e, const struct conf *c) {
    if (c->shared)
        return "is made with an anchor, an alias or a merge key";
    if (c->flow && e->format == CONF_TOML)
        return "is an inline table";
    if (c->flow && e->format == CONF_YAML)
        return "is written in braces";
    return NULL;
}

const struct conf *edit_table_on_way(struct edit *e, size_t *keys) {
    const struct conf *table = conf_root(e->document);
    for (*keys = 0;; (*keys)++) {
        const char *hinders = hindrance(e, table);
        if (table->type != CONF_TABLE)
            return fail_way(e, *keys, table->type == CONF_LIST ? "is a list, not a table" : "is not a table"), NULL;
        if (hinders != NULL)
            return fail_way(e, *keys, hinders), NULL;
        const struct conf *next = *keys + 1 < e->keys ? conf_get(table, e->path[*keys]) : NULL;
        // YAML: a key with nothing after it becomes a table.
        if (next == NULL || (next->type == CONF_NULL && next->begin == next->end && !next->shared))
            return table;
        table = next;
    }
}

// --- an edit ---

static bool write_text(struct edit *e) {
    switch (e->format) {
    case CONF_TOML:
        return e->value != NULL ? edit_toml_set(e) : edit_toml_remove(e);
    case CONF_YAML:
        return e->value != NULL ? edit_yaml_set(e) : edit_yaml_remove(e);
    case CONF_JSON:
        return e->value != NULL ? edit_json_set(e) : edit_json_remove(e);
    }
    return false;
}

static bool check_result(struct edit *e) {
    if (e->out.overflow)
        return err_set(e->err, "the text would become longer than %d bytes", CONF_TEXT_MAX);
    struct conf_document *new = conf_parse(e->format, e->out.data, e->out.len, e->err);
    if (new == NULL)
        return err_prefix(e->err, "cannot be edited at that spot, as the result would not be read: ");
    bool fine = is_as_asked(conf_root(e->document), conf_root(new), e->path, e->value);
    conf_free(new);
    return fine || err_set(e->err, "cannot be edited at that spot without changing something else");
}

static const char *eol_of(const struct buf *text) {
    const char *newline = text->len == 0 ? NULL : memchr(text->data, '\n', text->len);
    return newline != NULL && newline > text->data && newline[-1] == '\r' ? "\r\n" : "\n";
}

static bool is_blank(const struct buf *text) {
    return text->len == 0 || strspn(text->data, " \t\r\n") == text->len;
}

static bool replace(struct edit *e, struct buf *text) {
    if (e->out.len > text->max)
        return err_set(e->err, "the text would become longer than %zu bytes", text->max);
    buf_clear(text);
    return buf_add(text, e->out.data, e->out.len);
}

static enum conf_edit run(struct edit *e, struct buf *text) {
    const struct conf *current = edit_current(e);
    bool same = e->value == NULL ? current == NULL : current != NULL && is_equal(current, e->value);
    if (same)
        return CONF_SAME;
    buf_init(&e->out, CONF_TEXT_MAX);
    bool done = write_text(e) && check_result(e) && replace(e, text);
    buf_deinit(&e->out);
    return done ? CONF_CHANGED : CONF_UNSAFE;
}

static bool count_keys(struct edit *e) {
    while (e->keys <= CONF_PATH_MAX && e->path[e->keys] != NULL)
        e->keys++;
    if (e->keys == 0 || e->keys > CONF_PATH_MAX)
        return err_set(e->err, "a path of 1 to %d keys was expected", CONF_PATH_MAX);
    return true;
}

static enum conf_edit run_parsed(struct edit *e, struct buf *text) {
    // A blank daemon.json is read as an empty one.
    bool blank = e->format == CONF_JSON && is_blank(text);
    e->text = blank ? "{}\n" : text->len == 0 ? "" : text->data;
    e->len = blank ? strlen(e->text) : text->len;
    e->eol = eol_of(text);
    struct conf_document *old = conf_parse(e->format, e->text, e->len, e->err);
    if (old == NULL) {
        err_prefix(e->err, "cannot be read: ");
        return CONF_UNSAFE;
    }
    e->document = old;
    enum conf_edit result = run(e, text);
    conf_free(old);
    return result;
}

static enum conf_edit set_once(struct edit *e, struct buf *text) {
    struct conf_document *value = conf_parse(CONF_JSON, e->literal, strlen(e->literal), e->err);
    if (value == NULL) {
        err_prefix(e->err, "the value to write: ");
        return CONF_UNSAFE;
    }
    e->value = conf_root(value);
    enum conf_edit result = run_parsed(e, text);
    conf_free(value);
    return result;
}

enum conf_edit conf_set(enum conf_format format, struct buf *text, const char *const *path, const char *value,
                        const char *comment, struct err *err) {
    struct edit e = {.format = format, .path = path, .literal = value, .comment = comment, .err = err};
    return count_keys(&e) ? set_once(&e, text) : CONF_UNSAFE;
}

enum conf_edit conf_remove(enum conf_format format, struct buf *text, const char *const *path, struct err *err) {
    struct edit e = {.format = format, .path = path, .err = err};
    return count_keys(&e) ? run_parsed(&e, text) : CONF_UNSAFE;
}
