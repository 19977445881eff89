// SPDX-License-Identifier: Apache-2.0
//
// Edits of JSON: members are added at an object's end, in the lines and the indentation that it has.

#include "gateway/formats/edit.h"

#include <string.h>

struct span {
    const char *s;
    size_t len;
};

// The blanks before a value or key, when nothing else is before it on its line.
static bool own_line(const struct edit *e, size_t at, struct span *indent) {
    size_t begin = edit_line_begin(e, at), text = edit_skip_blanks(e, begin);
    *indent = (struct span){e->text + begin, (text < at ? text : at) - begin};
    return text == at;
}

// One step of indentation: that of the outermost object's first member.
static struct span unit_of(const struct edit *e) {
    const struct conf *first = conf_root(e->document)->child;
    struct span unit;
    bool found = first != NULL && own_line(e, first->key_begin, &unit) && unit.len > 0;
    return found ? unit : (struct span){"  ", 2};
}

static void new_line(const struct edit *e, struct buf *b, const struct buf *indent) {
    buf_adds(b, e->eol);
    buf_add(b, indent->data, indent->len);
}

// CONF_DEPTH_MAX bounds the recursion.
static void add_value(const struct edit *e, struct buf *b, struct buf *indent, const struct conf *value) {
    if (value->type != CONF_TABLE || value->count == 0) {
        edit_add_inline(e, b, value);
        return;
    }
    struct span unit = unit_of(e);
    size_t outer = indent->len;
    buf_add(indent, unit.s, unit.len);
    buf_adds(b, "{");
    for (const struct conf *m = value->child; m != NULL; m = m->next) {
        buf_adds(b, m == value->child ? "" : ",");
        new_line(e, b, indent);
        edit_add_quoted(b, m->key, m->key_len);
        buf_adds(b, ": ");
        add_value(e, b, indent, m);
    }
    indent->len = outer;
    new_line(e, b, indent);
    buf_adds(b, "}");
}

// The keys from `keys` on as a member, the tables on the way made; on one line when `flat`.
static void add_member(const struct edit *e, struct buf *b, struct buf *indent, size_t keys, bool flat) {
    struct span unit = unit_of(e);
    size_t outer = indent->len;
    for (size_t i = keys; i < e->keys; i++) {
        if (i > keys) {
            buf_adds(b, "{");
            buf_add(indent, unit.s, flat ? 0 : unit.len);
            if (!flat)
                new_line(e, b, indent);
        }
        edit_add_quoted(b, e->path[i], strlen(e->path[i]));
        buf_adds(b, ": ");
    }
    if (flat)
        edit_add_inline(e, b, e->value);
    else
        add_value(e, b, indent, e->value);
    for (size_t i = keys + 1; i < e->keys; i++) {
        indent->len = flat ? indent->len : indent->len - unit.len;
        if (!flat)
            new_line(e, b, indent);
        buf_adds(b, "}");
    }
    indent->len = outer;
}

static void add_to_empty(struct edit *e, const struct conf *table, size_t keys, struct buf *b, struct buf *indent) {
    struct span unit = unit_of(e), outer;
    own_line(e, table->key_begin, &outer);
    buf_add(indent, outer.s, outer.len);
    buf_add(indent, unit.s, unit.len);
    buf_adds(b, "{");
    new_line(e, b, indent);
    add_member(e, b, indent, keys, false);
    indent->len = outer.len;
    new_line(e, b, indent);
    buf_adds(b, "}");
    edit_splice(e, table->begin, table->end, b);
}

static void add_after_last(struct edit *e, const struct conf *table, size_t keys, struct buf *b, struct buf *indent) {
    struct span first;
    bool lines = own_line(e, table->child->key_begin, &first);
    size_t at = conf_node_of(table)->last->pub.end;
    buf_add(indent, first.s, first.len);
    buf_adds(b, lines ? "," : ", ");
    if (lines)
        new_line(e, b, indent);
    add_member(e, b, indent, keys, !lines);
    edit_splice(e, at, at, b);
}

static void change_value(struct edit *e, const struct conf *current, struct buf *b, struct buf *indent) {
    struct span outer;
    if (own_line(e, current->key_begin, &outer)) {
        buf_add(indent, outer.s, outer.len);
        add_value(e, b, indent, e->value);
    } else {
        edit_add_inline(e, b, e->value);
    }
    edit_splice(e, current->begin, current->end, b);
}

bool edit_json_set(struct edit *e) {
    size_t keys;
    const struct conf *table = edit_table_on_way(e, &keys), *current = edit_current(e);
    if (table == NULL)
        return false;
    struct buf b, indent;
    buf_init(&b, CONF_TEXT_MAX);
    buf_init(&indent, CONF_TEXT_MAX);
    if (current != NULL)
        change_value(e, current, &b, &indent);
    else if (table->count == 0)
        add_to_empty(e, table, keys, &b, &indent);
    else
        add_after_last(e, table, keys, &b, &indent);
    buf_deinit(&indent);
    buf_deinit(&b);
    return true;
}

static const struct conf *member_before(const struct conf *table, const struct conf *member) {
    const struct conf *before = NULL;
    for (const struct conf *m = table->child; m != member; m = m->next)
        before = m;
    return before;
}

bool edit_json_remove(struct edit *e) {
    size_t keys;
    const struct conf *table = edit_table_on_way(e, &keys), *current = edit_current(e);
    if (table == NULL)
        return false;
    const struct conf *before = member_before(table, current);
    struct buf nothing;
    buf_init(&nothing, 0);
    if (current->next != NULL)
        edit_splice(e, current->key_begin, current->next->key_begin, &nothing);
    else if (before != NULL)
        edit_splice(e, before->end, current->end, &nothing);
    else
        edit_splice(e, table->begin + 1, table->end - 1, &nothing);
    buf_deinit(&nothing);
    return true;
}
