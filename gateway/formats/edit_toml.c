// SPDX-License-Identifier: Apache-2.0
//
// Edits of TOML. A member is added after the last line of its table's own; a table, and a list of tables, by headers at
// the end, where they can be under any other. A value is changed in place. What a header or dotted keys made is
// changed by taking it out and adding it anew.

#include "gateway/formats/edit.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct range {
    size_t begin, end;
    bool header;
};

struct ranges {
    struct range *items;
    size_t count, cap;
};

// --- values ---

static bool has_null(const struct conf *value) {
    if (value->type == CONF_NULL)
        return true;
    for (const struct conf *m = value->child; m != NULL; m = m->next)
        if (has_null(m))
            return true;
    return false;
}

// A list that headers can write.
static bool is_table_list(const struct conf *value) {
    for (const struct conf *m = value->child; m != NULL; m = m->next)
        if (m->type != CONF_TABLE)
            return false;
    return value->type == CONF_LIST && value->count > 0;
}

static bool by_header(const struct conf *value) {
    return value->type == CONF_TABLE || is_table_list(value);
}

static void add_key_value(const struct edit *e, struct buf *b, const char *key, size_t len, const struct conf *value) {
    edit_add_toml_key(b, key, len);
    buf_adds(b, " = ");
    edit_add_inline(e, b, value);
    buf_adds(b, e->eol);
}

static void add_header_line(const struct edit *e, struct buf *b, const struct buf *name, bool element) {
    buf_adds(b, element ? "[[" : "[");
    buf_add(b, name->data, name->len);
    buf_adds(b, element ? "]]" : "]");
    buf_adds(b, e->eol);
}

static void add_name(struct buf *name, const char *key, size_t len) {
    if (name->len > 0)
        buf_adds(name, ".");
    edit_add_toml_key(name, key, len);
}

static void add_by_header(const struct edit *e, struct buf *b, struct buf *name, const struct conf *value);

static void add_table(const struct edit *e, struct buf *b, struct buf *name, const struct conf *table, bool element) {
    add_header_line(e, b, name, element);
    for (const struct conf *m = table->child; m != NULL; m = m->next)
        if (!by_header(m))
            add_key_value(e, b, m->key, m->key_len, m);
    for (const struct conf *m = table->child; m != NULL; m = m->next) {
        if (!by_header(m))
            continue;
        size_t len = name->len;
        buf_adds(b, e->eol);
        add_name(name, m->key, m->key_len);
        add_by_header(e, b, name, m);
        name->len = len;
    }
}

// CONF_DEPTH_MAX bounds the recursion.
static void add_by_header(const struct edit *e, struct buf *b, struct buf *name, const struct conf *value) {
    if (value->type == CONF_TABLE) {
        add_table(e, b, name, value, false);
        return;
    }
    for (const struct conf *m = value->child; m != NULL; m = m->next) {
        if (m != value->child)
            buf_adds(b, e->eol);
        add_table(e, b, name, m, true);
    }
}

// --- adding ---

// The comment lines that stand right above the end, so that they are not written again.
static size_t last_comments(const struct edit *e) {
    size_t at = e->len;
    while (at > 0) {
        size_t begin = edit_line_begin(e, at - 1);
        size_t text = edit_skip_blanks(e, begin);
        if (text >= e->len || (e->text[text] != '#' && !edit_is_blank_line(e, begin)) || begin >= at)
            break;
        at = begin;
        if (begin <= conf_bom(e->text, e->len))
            break;
    }
    return at;
}

// Something that begins with a header, at the end, set off by a blank line.
static void append_block(struct edit *e, const struct buf *block) {
    struct buf lines;
    buf_init(&lines, CONF_TEXT_MAX);
    bool cut = e->len > 0 && e->text[e->len - 1] != '\n';
    size_t last = e->len == 0 ? 0 : edit_line_begin(e, e->len - 1);
    if (e->len > conf_bom(e->text, e->len) && (cut || !edit_is_blank_line(e, last)))
        buf_adds(&lines, e->eol);
    buf_add(&lines, block->data, block->len);
    lines.overflow |= block->overflow;
    edit_insert_lines(e, e->len, &lines);
    buf_deinit(&lines);
}

static void add_comment_at_end(const struct edit *e, struct buf *b) {
    edit_add_comment(e, b, "", 0, last_comments(e), e->len);
}

static void append_headers(struct edit *e) {
    struct buf block, name;
    buf_init(&block, CONF_TEXT_MAX);
    buf_init(&name, CONF_TEXT_MAX);
    bool table = by_header(e->value);
    for (size_t i = 0; i + (table ? 0 : 1) < e->keys; i++)
        add_name(&name, e->path[i], strlen(e->path[i]));
    if (!table)
        add_header_line(e, &block, &name, false);
    add_comment_at_end(e, &block);
    if (table)
        add_by_header(e, &block, &name, e->value);
    else
        add_key_value(e, &block, e->path[e->keys - 1], strlen(e->path[e->keys - 1]), e->value);
    append_block(e, &block);
    buf_deinit(&name);
    buf_deinit(&block);
}

// Above the first header, and above the comment that belongs to it.
static size_t above_first_header(const struct edit *e) {
    if (e->document->first_header >= e->len)
        return e->len;
    size_t at = edit_line_begin(e, e->document->first_header);
    while (at > conf_bom(e->text, e->len)) {
        size_t above = edit_line_begin(e, at - 1);
        if (e->text[edit_skip_blanks(e, above)] != '#')
            break;
        at = above;
    }
    return at;
}

// The table, its header or the outermost, whose lines hold the dotted keys that made `table`.
static const struct conf_node *owner_of(const struct conf_node *table) {
    while (table->made == CONF_MADE_DOTTED)
        table = table->parent;
    return table;
}

// Where the own lines of a table by header (or the outermost) end; `like` is a line to take the indentation from.
static size_t end_of_lines(const struct edit *e, const struct conf_node *owner, size_t *like) {
    bool none = owner->made == CONF_MADE_ROOT && owner->body_end <= conf_bom(e->text, e->len);
    size_t at = none ? above_first_header(e) : owner->body_end;
    *like = none ? e->len : edit_line_begin(e, owner->last_line);
    return at;
}

static void add_dotted_names(struct buf *b, const struct conf_node *table) {
    const struct conf_node *way[CONF_DEPTH_MAX + 1];
    size_t n = 0;
    for (; table->made == CONF_MADE_DOTTED; table = table->parent)
        way[n++] = table;
    while (n > 0) {
        n--;
        edit_add_toml_key(b, way[n]->pub.key, way[n]->pub.key_len);
        buf_adds(b, ".");
    }
}

static void insert_member(struct edit *e, const struct conf_node *table) {
    const struct conf_node *owner = owner_of(table);
    size_t like, at = end_of_lines(e, owner, &like);
    size_t indent = edit_skip_blanks(e, like) - like;
    size_t from = owner->made == CONF_MADE_ROOT ? conf_bom(e->text, e->len) : owner->pub.begin;
    struct buf lines;
    buf_init(&lines, CONF_TEXT_MAX);
    edit_add_comment(e, &lines, e->text + like, indent, edit_line_begin(e, from), at);
    buf_add(&lines, e->text + like, indent);
    add_dotted_names(&lines, table);
    add_key_value(e, &lines, e->path[e->keys - 1], strlen(e->path[e->keys - 1]), e->value);
    if (like == e->len && at < e->len)
        buf_adds(&lines, e->eol);
    edit_insert_lines(e, at, &lines);
    buf_deinit(&lines);
}

// --- set ---

static bool change_value(struct edit *e, const struct conf *current) {
    if (conf_node_of(current)->has_comment)
        return err_set(e->err, "\"%s\" has comments inside of it", e->path[e->keys - 1]);
    struct buf with;
    buf_init(&with, CONF_TEXT_MAX);
    edit_add_inline(e, &with, e->value);
    edit_splice(e, current->begin, current->end, &with);
    buf_deinit(&with);
    return true;
}

static bool take_out_and_add(struct edit *e) {
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    buf_add(&text, e->text, e->len);
    bool done = conf_remove(CONF_TOML, &text, e->path, e->err) == CONF_CHANGED &&
                conf_set(CONF_TOML, &text, e->path, e->literal, e->comment, e->err) == CONF_CHANGED;
    buf_add(&e->out, text.data, text.len);
    buf_deinit(&text);
    return done;
}

bool edit_toml_set(struct edit *e) {
    size_t keys;
    if (has_null(e->value))
        return err_set(e->err, "TOML has no null");
    const struct conf *current = edit_current(e), *table = edit_table_on_way(e, &keys);
    if (table == NULL)
        return false;
    if (current != NULL && conf_node_of(current)->made != CONF_MADE_VALUE)
        return take_out_and_add(e);
    if (current != NULL)
        return change_value(e, current);
    bool own_lines = conf_node_of(table)->made != CONF_MADE_SUPER;
    if (keys + 1 == e->keys && own_lines && !by_header(e->value))
        insert_member(e, conf_node_of(table));
    else
        append_headers(e);
    return true;
}

// --- remove ---

static void add_range(struct ranges *r, size_t begin, size_t end, bool header) {
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 16 : r->cap * 2;
        r->items = mem_resize(r->items, r->cap, sizeof *r->items);
    }
    r->items[r->count++] = (struct range){begin, end, header};
}

// CONF_DEPTH_MAX bounds the recursion.
static void collect(const struct edit *e, const struct conf *value, struct ranges *r) {
    const struct conf_node *node = conf_node_of(value);
    bool leaf = node->made == CONF_MADE_VALUE, header = node->made == CONF_MADE_HEADER;
    if (leaf || header)
        add_range(r, edit_line_begin(e, node->statement), edit_line_end(e, value->end), header);
    for (const struct conf *m = leaf ? NULL : value->child; m != NULL; m = m->next)
        collect(e, m, r);
}

static int by_begin(const void *a, const void *b) {
    const struct range *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

// Ranges that touch become one.
static void join(struct ranges *r) {
    size_t n = 0;
    qsort(r->items, r->count, sizeof *r->items, by_begin);
    for (size_t i = 1; i < r->count; i++) {
        if (r->items[i].begin <= r->items[n].end) {
            r->items[n].end = r->items[i].end;
            r->items[n].header |= r->items[i].header;
        } else {
            r->items[++n] = r->items[i];
        }
    }
    r->count = n + 1;
}

// The blank line that set a header off goes with it.
static size_t begin_with_blank(const struct edit *e, const struct range *r, size_t from) {
    if (!r->header || r->begin <= from || !edit_is_blank_line(e, r->end))
        return r->begin;
    size_t above = edit_line_begin(e, r->begin - 1);
    return above >= from && edit_is_blank_line(e, above) ? above : r->begin;
}

static void cut_out(struct edit *e, const struct ranges *r) {
    size_t at = conf_bom(e->text, e->len);
    buf_add(&e->out, e->text, at);
    for (size_t i = 0; i < r->count; i++) {
        size_t begin = begin_with_blank(e, &r->items[i], at);
        buf_add(&e->out, e->text + at, begin - at);
        at = r->items[i].end;
    }
    buf_add(&e->out, e->text + at, e->len - at);
}

// When the last line had no end, the one that is the last now has none either.
static void trim_last_end(struct edit *e) {
    bool had = e->len == 0 || e->text[e->len - 1] == '\n';
    if (had || e->out.len == 0 || e->out.data[e->out.len - 1] != '\n')
        return;
    e->out.len--;
    if (e->out.len > 0 && e->out.data[e->out.len - 1] == '\r')
        e->out.len--;
    e->out.data[e->out.len] = '\0';
}

bool edit_toml_remove(struct edit *e) {
    size_t keys;
    struct ranges r = {0};
    if (edit_table_on_way(e, &keys) == NULL)
        return false;
    collect(e, edit_current(e), &r);
    if (r.count > 0) {
        join(&r);
        cut_out(e, &r);
        trim_last_end(e);
    }
    free(r.items);
    return r.count > 0 || err_set(e->err, "nothing was found to take out");
}
