// SPDX-License-Identifier: Apache-2.0
//
// TOML 1.0 made into a tree that knows its places in the text. Why a reader of our own: Debian 12 has no C library for
// TOML, and those that exist elsewhere forget where a value stood and what comments were around it.
//
// The rules that take care: a table is made once, by its header or by dotted keys, and neither adds to what the other
// made, but a header may follow for a table that was so far only named on the way to another; inline tables and arrays
// are closed at their brackets; [[a]] adds an element and later headers below `a` speak of the last one.

#include "gateway/formats/toml_lex.h"

#include <string.h>

enum { NAME_QUOTED_MAX = 64 };

static bool value(struct toml *p, struct conf_node *out);

static bool fail_named(struct toml *p, const struct toml_part *part, const char *what) {
    return err_set(p->err, "\"%.*s\" %s", NAME_QUOTED_MAX, part->name, what);
}

static struct conf_node *add_part(struct toml *p, struct conf_node *parent, const struct toml_part *part,
                                  size_t statement) {
    struct conf_node *node = conf_add(p->document, parent, part->name, part->len, p->err);
    if (node == NULL)
        return NULL;
    node->pub.key_begin = part->begin;
    node->key_end = part->end;
    node->pub.begin = part->begin;
    node->pub.end = part->end;
    node->pub.line = conf_line(&p->lines, p->text, part->begin);
    node->statement = statement;
    return node;
}

// --- key = value ---

// The table of a dotted key's next part.
static struct conf_node *dotted_step(struct toml *p, struct conf_node *table, const struct toml_part *part,
                                     size_t statement) {
    struct conf_node *next = conf_find(p->document, table, part->name, part->len);
    if (next == NULL) {
        next = add_part(p, table, part, statement);
        if (next == NULL)
            return NULL;
        next->pub.type = CONF_TABLE;
        next->pub.flow = table->pub.flow;
        next->made = CONF_MADE_DOTTED;
    }
    if (next->pub.type == CONF_TABLE && next->made == CONF_MADE_DOTTED)
        return next;
    fail_named(p, part, "is given already, and not by dotted keys");
    return NULL;
}

static bool key_value(struct toml *p, struct conf_node *table) {
    struct toml_part parts[CONF_DEPTH_MAX + 1];
    size_t statement = p->at;
    size_t n = toml_key(p, parts);
    if (n == 0)
        return false;
    if (!toml_take(p, '='))
        return err_set(p->err, "'=' was expected after a key");
    for (size_t i = 0; i + 1 < n; i++) {
        table = dotted_step(p, table, &parts[i], statement);
        if (table == NULL)
            return false;
    }
    struct conf_node *node = add_part(p, table, &parts[n - 1], statement);
    toml_skip_blanks(p);
    return node != NULL && value(p, node);
}

// --- values ---

static bool array(struct toml *p, struct conf_node *out) {
    out->pub.type = CONF_LIST;
    out->pub.flow = true;
    for (p->at++;;) {
        if (!toml_skip_lines(p))
            return false;
        if (toml_take(p, ']'))
            return true;
        struct conf_node *item = conf_add(p->document, out, NULL, 0, p->err);
        if (item == NULL)
            return false;
        item->pub.key_begin = p->at;
        item->pub.line = conf_line(&p->lines, p->text, p->at);
        if (!value(p, item) || !toml_skip_lines(p))
            return false;
        if (toml_peek(p) != ']' && !toml_take(p, ','))
            return err_set(p->err, "',' or ']' was expected in an array");
    }
}

static bool inline_table(struct toml *p, struct conf_node *out) {
    out->pub.type = CONF_TABLE;
    out->pub.flow = true;
    p->at++;
    toml_skip_blanks(p);
    if (toml_take(p, '}'))
        return true;
    for (;;) {
        if (!key_value(p, out))
            return false;
        toml_skip_blanks(p);
        if (toml_take(p, '}'))
            return true;
        if (!toml_take(p, ','))
            return err_set(p->err, "',' or '}' was expected in an inline table");
        toml_skip_blanks(p);
    }
}

static bool string(struct toml *p, struct conf_node *out) {
    out->pub.type = CONF_STRING;
    if (!toml_string(p))
        return false;
    out->pub.string = conf_keep(p->document, p->scratch.data, p->scratch.len);
    out->pub.string_len = p->scratch.len;
    return true;
}

static bool any_value(struct toml *p, struct conf_node *out) {
    switch (toml_peek(p)) {
    case '"':
    case '\'':
        return string(p, out);
    case '[':
        return array(p, out);
    case '{':
        return inline_table(p, out);
    default:
        return toml_scalar(p, &out->pub);
    }
}

// conf_add() bounds the depth of the recursion.
static bool value(struct toml *p, struct conf_node *out) {
    size_t comments = p->comments;
    out->pub.begin = p->at;
    bool done = any_value(p, out);
    out->pub.end = p->at;
    out->has_comment = p->comments != comments;
    return done;
}

// --- headers ---

static void set_header(struct conf_node *node, size_t begin, size_t end) {
    node->pub.begin = begin;
    node->pub.end = end;
    node->statement = begin;
}

// The table that a header goes through on its way.
static struct conf_node *header_step(struct toml *p, struct conf_node *table, const struct toml_part *part,
                                     size_t begin) {
    struct conf_node *next = conf_find(p->document, table, part->name, part->len);
    if (next == NULL) {
        next = add_part(p, table, part, begin);
        if (next == NULL)
            return NULL;
        next->pub.type = CONF_TABLE;
        next->made = CONF_MADE_SUPER;
        return next;
    }
    if (next->made == CONF_MADE_ELEMENTS)
        return next->last;
    if (next->made != CONF_MADE_VALUE)
        return next;
    fail_named(p, part, "is given already as a value");
    return NULL;
}

static struct conf_node *table_header(struct toml *p, struct conf_node *parent, const struct toml_part *part,
                                      size_t begin) {
    struct conf_node *node = conf_find(p->document, parent, part->name, part->len);
    if (node == NULL)
        node = add_part(p, parent, part, begin);
    else if (node->made != CONF_MADE_SUPER)
        return fail_named(p, part, "is given already, and this header would make it again"), NULL;
    if (node == NULL)
        return NULL;
    node->pub.type = CONF_TABLE;
    node->made = CONF_MADE_HEADER;
    node->pub.key_begin = part->begin;
    node->key_end = part->end;
    node->pub.line = conf_line(&p->lines, p->text, part->begin);
    return node;
}

static struct conf_node *element_header(struct toml *p, struct conf_node *parent, const struct toml_part *part,
                                        size_t begin) {
    struct conf_node *list = conf_find(p->document, parent, part->name, part->len);
    if (list == NULL) {
        list = add_part(p, parent, part, begin);
        if (list == NULL)
            return NULL;
        list->pub.type = CONF_LIST;
        list->made = CONF_MADE_ELEMENTS;
    }
    if (list->made != CONF_MADE_ELEMENTS)
        return fail_named(p, part, "is given already, and is no list of tables made by such headers"), NULL;
    struct conf_node *node = conf_add(p->document, list, NULL, 0, p->err);
    if (node == NULL)
        return NULL;
    node->pub.type = CONF_TABLE;
    node->made = CONF_MADE_HEADER;
    node->pub.key_begin = begin;
    node->pub.line = conf_line(&p->lines, p->text, begin);
    return node;
}

static bool header(struct toml *p) {
    struct toml_part parts[CONF_DEPTH_MAX + 1];
    size_t begin = p->at;
    bool element = toml_next_is(p, "[[");
    p->at += element ? 2 : 1;
    toml_skip_blanks(p);
    size_t n = toml_key(p, parts);
    if (n == 0)
        return false;
    if (!toml_next_is(p, element ? "]]" : "]"))
        return err_set(p->err, "'%s' was expected at a header's end", element ? "]]" : "]");
    p->at += element ? 2 : 1;
    struct conf_node *table = p->document->root;
    for (size_t i = 0; i + 1 < n && table != NULL; i++)
        table = header_step(p, table, &parts[i], begin);
    if (table == NULL)
        return false;
    p->table = (element ? element_header : table_header)(p, table, &parts[n - 1], begin);
    if (p->table == NULL)
        return false;
    set_header(p->table, begin, p->at);
    if (element && p->table->parent->pub.count == 1)
        set_header(p->table->parent, begin, p->at);
    if (p->document->first_header == p->len)
        p->document->first_header = begin;
    return true;
}

// --- lines ---

// What stands after a header or a value on its line.
static bool line_end(struct toml *p, size_t begin) {
    toml_skip_blanks(p);
    if (!toml_skip_comment(p))
        return false;
    if (p->at < p->len && !toml_take_newline(p))
        return err_set(p->err, "the line's end was expected");
    p->table->body_end = p->at;
    p->table->last_line = begin;
    return true;
}

static bool read_lines(struct toml *p) {
    for (;;) {
        if (!toml_skip_lines(p))
            return false;
        if (p->at == p->len)
            return true;
        size_t begin = p->at;
        bool done = toml_peek(p) == '[' ? header(p) : key_value(p, p->table);
        if (!done || !line_end(p, begin))
            return false;
    }
}

static bool check_utf8(struct toml *p) {
    for (size_t at = p->at; at < p->len;) {
        size_t character = buf_utf8_len((const unsigned char *)p->text + at, p->len - at);
        if (character == 0) {
            p->at = at;
            return err_set(p->err, "not valid UTF-8");
        }
        at += character;
    }
    return true;
}

bool conf_read_toml(struct conf_document *d, const char *text, size_t len, struct err *err) {
    size_t bom = conf_bom(text, len);
    d->first_header = len;
    struct conf_node *root = conf_add(d, NULL, NULL, 0, err);
    root->pub.type = CONF_TABLE;
    root->pub.line = 1;
    root->pub.begin = bom;
    root->pub.end = len;
    root->made = CONF_MADE_ROOT;
    root->body_end = bom;
    struct toml p = {.text = text, .len = len, .at = bom, .document = d, .table = root, .err = err};
    buf_init(&p.scratch, CONF_TEXT_MAX);
    bool done = check_utf8(&p) && read_lines(&p);
    buf_deinit(&p.scratch);
    return done || err_prefix(err, "line %u: ", conf_line(&p.lines, text, p.at < len ? p.at : len));
}
