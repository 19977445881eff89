// SPDX-License-Identifier: Apache-2.0
//
// YAML, the first document of a text, from libyaml's events.
//
// Plain scalars are read as the clients' decoders (go-yaml v2) read them: YAML 1.1's booleans, YAML 1.2's numbers.
// Aliases and merge keys are copied in, each copy counting towards CONF_VALUES_MAX, so that a few lines of them cannot
// become a tree without end. A key given twice is an error. libyaml's marks count characters, not bytes.

#include "gateway/formats/node.h"

#include "mirrors/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { ANCHORS_MAX = 1000, DIRECTIVES_MAX = 100, NUMBER_MAX = 512 };

struct anchor {
    char *name;
    struct conf_node *node;
};

struct yaml {
    const char *text;
    size_t len, bom;
    uint32_t *offsets; ///< Byte of each character; NULL when all are ASCII.
    size_t characters;
    struct conf_document *document;
    struct conf_node *open[CONF_DEPTH_MAX + 1]; ///< Tables and lists that have begun.
    size_t depth;
    const char *key; ///< Waits for its value.
    size_t key_len, key_begin, key_end;
    unsigned key_line;
    bool key_merge; ///< It is the merge key, not a quoted "<<".
    struct anchor *anchors;
    size_t anchor_count;
    bool done;
    struct err *err;
};

// --- places ---

static void map_characters(struct yaml *y) {
    const unsigned char *s = (const unsigned char *)y->text + y->bom;
    size_t len = y->len - y->bom, at = 0;
    while (at < len && s[at] < 0x80)
        at++;
    if (at == len)
        return;
    y->offsets = mem_alloc((len + 1) * sizeof *y->offsets);
    for (at = 0; at < len; at++)
        if ((s[at] & 0xc0) != 0x80)
            y->offsets[y->characters++] = (uint32_t)at;
    y->offsets[y->characters] = (uint32_t)len;
}

static size_t place_of(const struct yaml *y, yaml_mark_t mark) {
    size_t most = y->offsets == NULL ? y->len - y->bom : y->characters;
    size_t index = mark.index > most ? most : mark.index;
    return y->bom + (y->offsets == NULL ? index : y->offsets[index]);
}

static bool fail_at(struct yaml *y, yaml_mark_t mark, const char *what) {
    return err_set(y->err, "line %zu: %s", mark.line + 1, what);
}

// --- plain scalars ---

static bool is_one_of(const char *s, const char *const *words) {
    for (; *words != NULL; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static bool plain_word(const char *s, struct conf *out) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON", NULL};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF", NULL};
    bool null = is_one_of(s, nulls), is_true = is_one_of(s, yes);
    if (!null && !is_true && !is_one_of(s, no))
        return false;
    out->type = null ? CONF_NULL : CONF_BOOL;
    out->boolean = is_true;
    return true;
}

static bool plain_special(const char *s, struct conf *out) {
    static const char *const inf[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL};
    static const char *const minus[] = {"-.inf", "-.Inf", "-.INF", NULL};
    static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
    if (is_one_of(s, inf))
        out->number = INFINITY;
    else if (is_one_of(s, minus))
        out->number = -INFINITY;
    else if (is_one_of(s, nan))
        out->number = NAN;
    else
        return false;
    out->type = CONF_FLOAT;
    return true;
}

static int base_of(const char *digits, size_t *skip) {
    static const struct {
        const char *prefix;
        int base;
    } bases[] = {{"0x", 16}, {"0o", 8}, {"0b", 2}};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        if (strncmp(digits, bases[i].prefix, 2) == 0 && digits[2] != '\0') {
            *skip = 2;
            return bases[i].base;
        }
    *skip = 0;
    return digits[0] == '0' && digits[1] != '\0' ? 8 : 10;
}

static bool plain_integer(const char *s, struct conf *out) {
    char text[NUMBER_MAX + 2];
    size_t sign = *s == '-' || *s == '+', skip;
    int base = base_of(s + sign, &skip);
    if (s[sign + skip] == '-' || s[sign + skip] == '+')
        return false;
    text[0] = *s == '-' ? '-' : '+';
    memcpy(text + 1, s + sign + skip, strlen(s + sign + skip) + 1);
    if (!conf_integer(text, strlen(text), base, &out->integer))
        return false;
    out->type = CONF_INTEGER;
    out->number = (double)out->integer;
    return true;
}

static bool plain_float(const char *s, struct conf *out) {
    const char *at = s + (*s == '-' || *s == '+');
    size_t whole = strspn(at, "0123456789");
    size_t fraction = at[whole] == '.' ? strspn(at + whole + 1, "0123456789") : 0;
    if (whole + fraction == 0)
        return false;
    at += whole + (at[whole] == '.') + fraction;
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        size_t exponent = strspn(at, "0123456789");
        if (exponent == 0)
            return false;
        at += exponent;
    }
    if (*at != '\0')
        return false;
    out->type = CONF_FLOAT;
    out->number = strtod(s, NULL);
    return true;
}

static bool plain_number(const char *s, size_t len, struct conf *out) {
    char text[NUMBER_MAX + 1];
    size_t n = 0;
    if (len > NUMBER_MAX || *s == '_')
        return false;
    for (; *s != '\0'; s++)
        if (*s != '_')
            text[n++] = *s;
    text[n] = '\0';
    return plain_integer(text, out) || plain_float(text, out);
}

static void resolve(const char *s, size_t len, struct conf *out) {
    out->type = CONF_STRING;
    if (strlen(s) == len && !plain_word(s, out) && !plain_special(s, out))
        plain_number(s, len, out);
}

static bool is_plain(const yaml_event_t *e) {
    const char *tag = (const char *)e->data.scalar.tag;
    static const char *const resolved[] = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG, YAML_FLOAT_TAG, NULL};
    return tag == NULL ? e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
                       : is_one_of(tag, resolved);
}

// --- building ---

static struct conf_node *top(const struct yaml *y) {
    return y->depth == 0 ? NULL : y->open[y->depth - 1];
}

static bool wants_key(const struct yaml *y) {
    return y->depth > 0 && top(y)->pub.type == CONF_TABLE && y->key == NULL;
}

static struct conf_node *add_value(struct yaml *y, const yaml_event_t *e) {
    struct conf_node *node = conf_add(y->document, top(y), y->key, y->key_len, y->err);
    if (node == NULL) {
        err_prefix(y->err, "line %zu: ", e->start_mark.line + 1);
        return NULL;
    }
    node->pub.begin = place_of(y, e->start_mark);
    node->pub.end = place_of(y, e->end_mark);
    node->pub.key_begin = y->key == NULL ? node->pub.begin : y->key_begin;
    node->key_end = y->key == NULL ? node->pub.begin : y->key_end;
    node->pub.line = y->key == NULL ? (unsigned)e->start_mark.line + 1 : y->key_line;
    node->merge = y->key != NULL && y->key_merge;
    y->key = NULL;
    y->key_len = 0;
    y->done = y->depth == 0;
    return node;
}

static bool add_anchor(struct yaml *y, const yaml_event_t *e, const yaml_char_t *name, struct conf_node *node) {
    if (name == NULL)
        return true;
    if (y->anchor_count == ANCHORS_MAX)
        return fail_at(y, e->start_mark, "more anchors than are read here");
    if (y->anchors == NULL)
        y->anchors = mem_alloc(ANCHORS_MAX * sizeof *y->anchors);
    y->anchors[y->anchor_count++] = (struct anchor){mem_strdup((const char *)name), node};
    node->pub.shared = true;
    return true;
}

// A block scalar's mark is past its line ends.
static void trim_end(const struct yaml *y, struct conf *c) {
    while (c->end > c->begin && strchr(" \t\r\n", y->text[c->end - 1]) != NULL)
        c->end--;
}

static bool on_key(struct yaml *y, const yaml_event_t *e) {
    if (e->type != YAML_SCALAR_EVENT || e->data.scalar.anchor != NULL)
        return fail_at(y, e->start_mark, "a key that is no plain or quoted text");
    y->key = conf_keep(y->document, (const char *)e->data.scalar.value, e->data.scalar.length);
    y->key_len = e->data.scalar.length;
    y->key_begin = place_of(y, e->start_mark);
    y->key_end = place_of(y, e->end_mark);
    y->key_line = (unsigned)e->start_mark.line + 1;
    struct conf_node *table = top(y);
    if (table->pub.child == NULL)
        table->first_key = y->key_begin;
    y->key_merge = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(y->key, "<<") == 0;
    return true;
}

static bool on_scalar(struct yaml *y, const yaml_event_t *e) {
    struct conf_node *node = add_value(y, e);
    if (node == NULL)
        return false;
    node->pub.type = CONF_STRING;
    node->pub.string = conf_keep(y->document, (const char *)e->data.scalar.value, e->data.scalar.length);
    node->pub.string_len = e->data.scalar.length;
    if (is_plain(e))
        resolve(node->pub.string, node->pub.string_len, &node->pub);
    if (node->pub.type != CONF_STRING)
        node->pub.string = NULL;
    trim_end(y, &node->pub);
    return add_anchor(y, e, e->data.scalar.anchor, node);
}

static bool on_start(struct yaml *y, const yaml_event_t *e) {
    bool table = e->type == YAML_MAPPING_START_EVENT;
    struct conf_node *node = add_value(y, e);
    if (node == NULL)
        return false;
    y->done = false;
    node->pub.type = table ? CONF_TABLE : CONF_LIST;
    node->pub.flow = table ? e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                           : e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    node->first_key = node->pub.begin;
    y->open[y->depth++] = node; // conf_add() has seen to the depth.
    return add_anchor(y, e, table ? e->data.mapping_start.anchor : e->data.sequence_start.anchor, node);
}

// --- aliases and merge keys ---

static bool copy_into(struct yaml *y, const struct conf *from, struct conf_node *to);

static bool copy_members(struct yaml *y, const struct conf *from, struct conf_node *to) {
    for (const struct conf *m = from->child; m != NULL; m = m->next) {
        struct conf_node *copy = conf_add(y->document, to, m->key, m->key_len, y->err);
        if (copy == NULL || !copy_into(y, m, copy))
            return false;
    }
    return true;
}

// conf_add() bounds the depth of the recursion.
static bool copy_into(struct yaml *y, const struct conf *from, struct conf_node *to) {
    struct conf c = *from;
    c.key = to->pub.key;
    c.key_len = to->pub.key_len;
    c.child = c.next = NULL;
    c.count = 0;
    c.shared = true;
    to->pub = c;
    to->key_end = conf_node_of(from)->key_end;
    to->copied = true;
    return copy_members(y, from, to);
}

static const struct conf_node *find_anchor(const struct yaml *y, const char *name) {
    for (size_t i = y->anchor_count; i > 0; i--)
        if (strcmp(y->anchors[i - 1].name, name) == 0)
            return y->anchors[i - 1].node;
    return NULL;
}

static bool is_open(const struct yaml *y, const struct conf_node *node) {
    for (size_t i = 0; i < y->depth; i++)
        if (y->open[i] == node)
            return true;
    return false;
}

static bool on_alias(struct yaml *y, const yaml_event_t *e) {
    const struct conf_node *from = find_anchor(y, (const char *)e->data.alias.anchor);
    if (from == NULL)
        return fail_at(y, e->start_mark, "an alias of no anchor");
    if (is_open(y, from))
        return fail_at(y, e->start_mark, "an alias inside of what it stands for");
    struct conf_node *node = add_value(y, e);
    if (node == NULL)
        return false;
    struct conf place = node->pub;
    if (!copy_into(y, &from->pub, node))
        return err_prefix(y->err, "line %zu: ", e->start_mark.line + 1);
    node->pub.begin = place.begin;
    node->pub.end = place.end;
    node->pub.key_begin = place.key_begin;
    node->pub.line = place.line;
    node->pub.flow = false;
    return true;
}

static bool merge_table(struct yaml *y, const struct conf *from, struct conf_node *to) {
    if (from->type != CONF_TABLE)
        return err_set(y->err, "a merge key with something else than tables");
    for (const struct conf *m = from->child; m != NULL; m = m->next) {
        if (conf_find(y->document, to, m->key, m->key_len) != NULL)
            continue;
        struct conf_node *copy = conf_add(y->document, to, m->key, m->key_len, y->err);
        if (copy == NULL || !copy_into(y, m, copy))
            return false;
    }
    return true;
}

static bool merge_value(struct yaml *y, const struct conf *from, struct conf_node *to) {
    if (from->type != CONF_LIST)
        return merge_table(y, from, to);
    for (const struct conf *m = from->child; m != NULL; m = m->next)
        if (!merge_table(y, m, to))
            return false;
    return true;
}

// Take the member that is the merge key out of the table, and in what it stands for.
static bool resolve_merge(struct yaml *y, struct conf_node *table) {
    struct conf_node *before = NULL, *found = NULL;
    for (const struct conf *m = table->pub.child; m != NULL && found == NULL; m = m->next) {
        if (conf_node_of(m)->merge)
            found = (struct conf_node *)m;
        else
            before = (struct conf_node *)m;
    }
    if (found == NULL)
        return true;
    if (before == NULL)
        table->pub.child = found->pub.next;
    else
        before->pub.next = found->pub.next;
    if (table->last == found)
        table->last = before;
    table->pub.count--;
    return merge_value(y, &found->pub, table);
}

static bool on_end(struct yaml *y, const yaml_event_t *e) {
    struct conf_node *node = y->open[--y->depth];
    if (node->pub.flow)
        node->pub.end = place_of(y, e->end_mark);
    else if (node->last != NULL)
        node->pub.end = node->last->pub.end;
    y->done = y->depth == 0;
    if (node->pub.type == CONF_TABLE && !resolve_merge(y, node))
        return err_prefix(y->err, "line %zu: ", e->start_mark.line + 1);
    return true;
}

// --- the text ---

static bool on_event(struct yaml *y, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return wants_key(y) ? on_key(y, e) : on_scalar(y, e);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return wants_key(y) ? on_key(y, e) : on_start(y, e);
    case YAML_ALIAS_EVENT:
        return wants_key(y) ? on_key(y, e) : on_alias(y, e);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return on_end(y, e);
    case YAML_STREAM_END_EVENT:
        y->done = true;
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    return true;
}

// libyaml's own words hold no text of the file.
static bool fail_parser(struct yaml *y, const yaml_parser_t *parser) {
    bool reader = parser->error == YAML_READER_ERROR;
    size_t offset = y->bom + parser->problem_offset;
    struct conf_lines lines = {0};
    size_t line =
        reader ? conf_line(&lines, y->text, offset < y->len ? offset : y->len) : parser->problem_mark.line + 1;
    return err_set(y->err, "line %zu: %s", line, parser->problem == NULL ? "cannot be read" : parser->problem);
}

static bool read_events(struct yaml *y, yaml_parser_t *parser) {
    while (!y->done) {
        yaml_event_t e;
        if (!yaml_parser_parse(parser, &e))
            return fail_parser(y, parser);
        bool fine = on_event(y, &e);
        yaml_event_delete(&e);
        if (!fine)
            return false;
    }
    return true;
}

// A text without a value is an empty table, as the decoders leave it.
static bool fill_empty(struct yaml *y) {
    struct conf_node *root = y->document->root;
    if (root == NULL)
        root = conf_add(y->document, NULL, NULL, 0, y->err);
    else if (root->pub.type != CONF_NULL || root->pub.begin != root->pub.end)
        return true;
    *root = (struct conf_node){.pub = {.type = CONF_TABLE, .begin = y->len, .end = y->len, .line = 1}};
    return true;
}

static void free_anchors(struct yaml *y) {
    for (size_t i = 0; i < y->anchor_count; i++)
        free(y->anchors[i].name);
    free(y->anchors);
}

// libyaml compares each %TAG with all before it.
static bool check_directives(const struct yaml *y) {
    // The last bytes of all that YAML 1.1 takes for line ends.
    static const char ends[] = "\n\r\x85\xa8\xa9";
    size_t count = 0;
    for (size_t at = y->bom; at < y->len; at++)
        count += y->text[at] == '%' && (at == y->bom || strchr(ends, y->text[at - 1]) != NULL);
    return count <= DIRECTIVES_MAX || err_set(y->err, "more than %d directives", DIRECTIVES_MAX);
}

bool conf_read_yaml(struct conf_document *d, const char *text, size_t len, struct err *err) {
    struct yaml y = {.text = text, .len = len, .bom = conf_bom(text, len), .document = d, .err = err};
    yaml_parser_t parser;
    if (!check_directives(&y))
        return false;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, "no memory");
    map_characters(&y);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text + y.bom, len - y.bom);
    bool done = read_events(&y, &parser) && fill_empty(&y);
    yaml_parser_delete(&parser);
    free_anchors(&y);
    free(y.offsets);
    return done;
}
