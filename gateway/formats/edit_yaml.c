// SPDX-License-Identifier: Apache-2.0
//
// Edits of YAML in block style: members are added after the last of their table, in its column; a value is changed
// after its key. A value with comments between its parts is not replaced, as they would be lost.

#include "gateway/formats/edit.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { STEP = 2 }; // Of indentation, where the text shows none.

struct place {
    size_t begin, end;
};

// Where keys and scalars stand: a '#' in one of them begins no comment.
struct places {
    struct place *items;
    size_t count, cap;
};

// --- comments ---

static void add_place(struct places *p, size_t begin, size_t end) {
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 16 : p->cap * 2;
        p->items = mem_resize(p->items, p->cap, sizeof *p->items);
    }
    p->items[p->count++] = (struct place){begin, end};
}

// CONF_DEPTH_MAX bounds the recursion.
static void collect(const struct conf *value, struct places *p) {
    if (value->key != NULL)
        add_place(p, value->key_begin, conf_node_of(value)->key_end);
    if (value->child == NULL)
        add_place(p, value->begin, value->end);
    for (const struct conf *m = value->child; m != NULL; m = m->next)
        collect(m, p);
}

static int by_begin(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static struct places places_of(const struct conf *value) {
    struct places p = {0};
    collect(value, &p);
    qsort(p.items, p.count, sizeof *p.items, by_begin);
    return p;
}

// The first comment in [from, to), or `to`; `next` is the first place that may matter.
static size_t find_comment(const struct edit *e, const struct places *p, size_t *next, size_t from, size_t to) {
    for (size_t at = from; at < to; at++) {
        while (*next < p->count && p->items[*next].end <= at)
            (*next)++;
        if (*next < p->count && p->items[*next].begin <= at)
            at = p->items[*next].end - 1;
        else if (e->text[at] == '#')
            return at;
    }
    return to;
}

static bool has_comment(const struct edit *e, const struct conf *value, size_t from, size_t to) {
    struct places p = places_of(value);
    size_t next = 0;
    bool found = find_comment(e, &p, &next, from, to) < to;
    free(p.items);
    return found;
}

// --- writing ---

// A key that every reader takes for the text that it is.
static bool is_plain_key(const char *key, size_t len) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(key, words[i]) == 0)
            return false;
    return strlen(key) == len && strspn(key, letters) > 0 && strspn(key, more) == len;
}

static void add_key(struct buf *b, const char *key, size_t len) {
    if (is_plain_key(key, len))
        buf_add(b, key, len);
    else
        edit_add_quoted(b, key, len);
    buf_adds(b, ":");
}

static void add_spaces(struct buf *b, size_t n) {
    buf_addf(b, "%*s", (int)n, "");
}

static bool is_inline(const struct conf *value) {
    return value->child == NULL;
}

static void add_block(const struct edit *e, struct buf *b, size_t indent, const struct conf *value);

// What follows a key: on its line, or as a block below it.
static void add_after_key(const struct edit *e, struct buf *b, size_t indent, const struct conf *value) {
    if (is_inline(value)) {
        buf_adds(b, " ");
        edit_add_inline(e, b, value);
        buf_adds(b, e->eol);
    } else {
        buf_adds(b, e->eol);
        add_block(e, b, indent + STEP, value);
    }
}

static void add_members(const struct edit *e, struct buf *b, size_t indent, const struct conf *table, bool begun) {
    for (const struct conf *m = table->child; m != NULL; m = m->next) {
        if (!begun || m != table->child)
            add_spaces(b, indent);
        add_key(b, m->key, m->key_len);
        add_after_key(e, b, indent, m);
    }
}

// CONF_DEPTH_MAX bounds the recursion.
static void add_block(const struct edit *e, struct buf *b, size_t indent, const struct conf *value) {
    if (value->type == CONF_TABLE) {
        add_members(e, b, indent, value, false);
        return;
    }
    for (const struct conf *m = value->child; m != NULL; m = m->next) {
        add_spaces(b, indent);
        buf_adds(b, "- ");
        if (m->type == CONF_TABLE && !is_inline(m)) {
            add_members(e, b, indent + STEP, m, true);
        } else {
            edit_add_inline(e, b, m);
            buf_adds(b, e->eol);
        }
    }
}

// --- places ---

// The column of a key that is the first on its line, with spaces before it only.
static bool column_of(const struct edit *e, size_t key_begin, size_t *column) {
    size_t begin = edit_line_begin(e, key_begin);
    *column = key_begin - begin;
    for (size_t at = begin; at < key_begin; at++)
        if (e->text[at] != ' ')
            return err_set(e->err, "a key is not the first on its line");
    return true;
}

// Past the colon of a key.
static bool after_colon(const struct edit *e, const struct conf *member, size_t *at) {
    *at = edit_skip_blanks(e, conf_node_of(member)->key_end);
    if (*at >= e->len || e->text[*at] != ':')
        return err_set(e->err, "the key \"%.64s\" is written in an unusual way", member->key);
    ++*at;
    return true;
}

// The column of the first table below the outermost, which shows the text's step.
static size_t step_of(const struct edit *e) {
    for (const struct conf *m = conf_root(e->document)->child; m != NULL; m = m->next) {
        const struct conf_node *n = conf_node_of(m);
        size_t column = n->first_key - edit_line_begin(e, n->first_key);
        if (m->type == CONF_TABLE && !m->flow && !m->shared && column > 0)
            return column;
    }
    return STEP;
}

// --- adding ---

// The keys from `keys` on, the tables on the way made, and the value.
static void add_lines(const struct edit *e, struct buf *b, size_t column, size_t keys) {
    size_t step = step_of(e);
    for (size_t i = keys; i < e->keys; i++, column += step) {
        add_spaces(b, column);
        add_key(b, e->path[i], strlen(e->path[i]));
        if (i + 1 < e->keys)
            buf_adds(b, e->eol);
        else
            add_after_key(e, b, column, e->value);
    }
}

static void insert_at(struct edit *e, size_t from, size_t at, size_t column, size_t keys) {
    struct buf lines, indent;
    buf_init(&lines, CONF_TEXT_MAX);
    buf_init(&indent, CONF_TEXT_MAX);
    add_spaces(&indent, column);
    edit_add_comment(e, &lines, indent.data, indent.len, edit_line_begin(e, from), at);
    add_lines(e, &lines, column, keys);
    edit_insert_lines(e, at, &lines);
    buf_deinit(&indent);
    buf_deinit(&lines);
}

static bool insert_member(struct edit *e, const struct conf *table, size_t keys) {
    size_t column, colon, from = table->begin;
    // A text without any value.
    if (table == conf_root(e->document) && table->begin == e->len) {
        insert_at(e, conf_bom(e->text, e->len), e->len, 0, keys);
        return true;
    }
    if (!column_of(e, conf_node_of(table)->first_key, &column))
        return false;
    const struct conf *nothing = conf_get(table, e->path[keys]);
    if (nothing == NULL) {
        insert_at(e, table == conf_root(e->document) ? conf_bom(e->text, e->len) : from, edit_line_end(e, table->end),
                  column, keys);
        return true;
    }
    // A key with nothing after it.
    if (!after_colon(e, nothing, &colon))
        return false;
    insert_at(e, colon, edit_line_end(e, colon), column + step_of(e), keys + 1);
    return true;
}

// --- changing ---

static void trim_eol(const struct edit *e, struct buf *b) {
    size_t n = strlen(e->eol);
    if (b->len >= n)
        b->len -= n;
}

static bool change_value(struct edit *e, const struct conf *current) {
    size_t column, colon;
    if (current->shared)
        return err_set(e->err, "\"%s\" is made with an anchor, an alias or a merge key", e->path[e->keys - 1]);
    if (!after_colon(e, current, &colon) || !column_of(e, current->key_begin, &column))
        return false;
    size_t end = current->end > colon ? current->end : colon;
    if (has_comment(e, current, colon, end))
        return err_set(e->err, "\"%s\" has comments inside of it", e->path[e->keys - 1]);
    struct buf with;
    buf_init(&with, CONF_TEXT_MAX);
    if (current->flow) {
        buf_adds(&with, " ");
        edit_add_inline(e, &with, e->value);
    } else {
        add_after_key(e, &with, column, e->value);
        trim_eol(e, &with);
    }
    edit_splice(e, colon, end, &with);
    buf_deinit(&with);
    return true;
}

bool edit_yaml_set(struct edit *e) {
    size_t keys;
    const struct conf *table = edit_table_on_way(e, &keys), *current = edit_current(e);
    if (table == NULL)
        return false;
    return current != NULL ? change_value(e, current) : insert_member(e, table, keys);
}

// --- removing ---

// Leave out [from, to) but for lines that are a comment.
static void leave_out(struct edit *e, const struct conf *value, size_t from, size_t to) {
    struct places p = places_of(value);
    size_t next = 0;
    for (size_t at = from; at < to;) {
        size_t end = edit_line_end(e, at), text = edit_skip_blanks(e, at);
        if (text < end && find_comment(e, &p, &next, text, text + 1) == text)
            buf_add(&e->out, e->text + at, end - at);
        at = end;
    }
    free(p.items);
}

// The text up to the first line that goes. A table whose only member goes says that it is empty.
static bool add_before(struct edit *e, const struct conf *table, const struct conf *member, size_t from) {
    size_t colon = 0;
    bool only = conf_node_of(table)->first_key == member->key_begin && table->end == member->end;
    if (only && table->key != NULL) {
        if (!after_colon(e, table, &colon))
            return false;
        buf_add(&e->out, e->text, colon);
        buf_adds(&e->out, " {}");
    }
    buf_add(&e->out, e->text + colon, from - colon);
    return true;
}

bool edit_yaml_remove(struct edit *e) {
    size_t keys, column;
    const struct conf *table = edit_table_on_way(e, &keys), *current = edit_current(e);
    if (table == NULL)
        return false;
    if (current->shared)
        return err_set(e->err, "\"%s\" is made with an anchor, an alias or a merge key", e->path[e->keys - 1]);
    if (!column_of(e, current->key_begin, &column))
        return false;
    size_t key_end = conf_node_of(current)->key_end;
    size_t from = edit_line_begin(e, current->key_begin);
    size_t to = edit_line_end(e, current->end > key_end ? current->end : key_end);
    if (!add_before(e, table, current, from))
        return false;
    leave_out(e, current, from, to);
    buf_add(&e->out, e->text + to, e->len - to);
    return true;
}
