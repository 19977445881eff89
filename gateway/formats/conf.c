// SPDX-License-Identifier: Apache-2.0
//
// The tree of a configuration file: its arena, the index that finds a key given twice, and looking things up.
// No state between calls; any thread.

#include "gateway/formats/node.h"

#include "mirrors/base/hash.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_FIRST = 4 * 1024,
    CHUNK_LARGEST = 256 * 1024,
    INDEX_FIRST = 64,
    KEY_QUOTED_MAX = 64 // Of a key in an error text.
};

struct conf_chunk {
    struct conf_chunk *next;
    size_t used, cap;
    _Alignas(max_align_t) unsigned char data[];
};

// --- arena ---

static struct conf_chunk *chunk_new(struct conf_chunk *head, size_t need) {
    size_t cap = head == NULL ? CHUNK_FIRST : head->cap * 2;
    if (cap > CHUNK_LARGEST)
        cap = CHUNK_LARGEST;
    if (cap < need)
        cap = need;
    struct conf_chunk *c = mem_alloc(sizeof *c + cap);
    c->next = head;
    c->used = 0;
    c->cap = cap;
    return c;
}

static void *arena_alloc(struct conf_document *d, size_t size, size_t align) {
    struct conf_chunk *c = d->chunks;
    size_t at = c == NULL ? 0 : (c->used + align - 1) & ~(align - 1);
    if (c == NULL || at > c->cap || size > c->cap - at) {
        c = d->chunks = chunk_new(c, size);
        at = 0;
    }
    c->used = at + size;
    return c->data + at;
}

const char *conf_keep(struct conf_document *d, const char *s, size_t len) {
    char *copy = arena_alloc(d, len + 1, 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

// --- index ---

static struct conf_node **slot_of(const struct conf_document *d, const struct conf_node *table, const char *key,
                                  size_t len) {
    struct hash_key of_table = {d->index_key[0] ^ (uint64_t)(uintptr_t)table, d->index_key[1]};
    size_t at = (size_t)hash_bytes(&of_table, key, len) & (d->index_cap - 1);
    for (;; at = (at + 1) & (d->index_cap - 1)) {
        const struct conf_node *n = d->index[at];
        if (n == NULL || (n->parent == table && n->pub.key_len == len && memcmp(n->pub.key, key, len) == 0))
            return &d->index[at];
    }
}

static void index_grow(struct conf_document *d) {
    struct conf_node **old = d->index;
    size_t old_cap = d->index_cap;
    if (old_cap == 0) {
        struct hash_key random;
        hash_key_random(&random);
        d->index_key[0] = random.k0;
        d->index_key[1] = random.k1;
    }
    d->index_cap = old_cap == 0 ? INDEX_FIRST : old_cap * 2;
    d->index = mem_zalloc(d->index_cap, sizeof(struct conf_node *));
    for (size_t i = 0; i < old_cap; i++)
        if (old[i] != NULL)
            *slot_of(d, old[i]->parent, old[i]->pub.key, old[i]->pub.key_len) = old[i];
    free(old);
}

static void index_add(struct conf_document *d, struct conf_node *node) {
    if ((d->index_count + 1) * 2 > d->index_cap)
        index_grow(d);
    *slot_of(d, node->parent, node->pub.key, node->pub.key_len) = node;
    d->index_count++;
}

struct conf_node *conf_find(const struct conf_document *d, const struct conf_node *table, const char *key, size_t len) {
    return d->index_cap == 0 ? NULL : *slot_of(d, table, key, len);
}

// --- building ---

static void append(struct conf_node *parent, struct conf_node *node) {
    if (parent->last == NULL)
        parent->pub.child = &node->pub;
    else
        parent->last->pub.next = &node->pub;
    parent->last = node;
    parent->pub.count++;
}

struct conf_node *conf_add(struct conf_document *d, struct conf_node *parent, const char *key, size_t key_len,
                           struct err *err) {
    unsigned depth = parent == NULL ? 0 : parent->depth + 1;
    if (depth > CONF_DEPTH_MAX) {
        err_set(err, "nested deeper than %d levels", CONF_DEPTH_MAX);
        return NULL;
    }
    if (d->values >= CONF_VALUES_MAX) {
        err_set(err, "more than %d values", CONF_VALUES_MAX);
        return NULL;
    }
    if (key != NULL && conf_find(d, parent, key, key_len) != NULL) {
        err_set(err, "the key \"%.*s\" is given twice", KEY_QUOTED_MAX, key);
        return NULL;
    }
    d->values++;
    struct conf_node *node = arena_alloc(d, sizeof *node, _Alignof(struct conf_node));
    *node = (struct conf_node){.pub = {.key = key, .key_len = key_len}, .parent = parent, .depth = depth};
    if (parent == NULL)
        d->root = node;
    else
        append(parent, node);
    if (key != NULL)
        index_add(d, node);
    return node;
}

size_t conf_bom(const char *text, size_t len) {
    return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

unsigned conf_line(struct conf_lines *lines, const char *text, size_t offset) {
    if (offset < lines->at)
        *lines = (struct conf_lines){0};
    for (; lines->at < offset; lines->at++)
        lines->line += text[lines->at] == '\n';
    return lines->line + 1;
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

bool conf_integer(const char *s, size_t len, int base, int64_t *out) {
    size_t at = len > 0 && (*s == '-' || *s == '+');
    bool negative = at > 0 && *s == '-';
    if (at == len)
        return false;
    int64_t value = 0;
    for (; at < len; at++) {
        int digit = digit_of(s[at]);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

// --- documents ---

static bool read_format(struct conf_document *d, enum conf_format format, const char *text, size_t len,
                        struct err *err) {
    switch (format) {
    case CONF_TOML:
        return conf_read_toml(d, text, len, err);
    case CONF_YAML:
        return conf_read_yaml(d, text, len, err);
    case CONF_JSON:
        return conf_read_json(d, text, len, err);
    }
    return err_set(err, "an unknown format");
}

struct conf_document *conf_parse(enum conf_format format, const char *text, size_t len, struct err *err) {
    if (len > CONF_TEXT_MAX) {
        err_set(err, "longer than %d bytes", CONF_TEXT_MAX);
        return NULL;
    }
    struct conf_document *d = mem_zalloc(1, sizeof *d);
    bool done = read_format(d, format, len == 0 ? "" : text, len, err);
    free(d->index);
    d->index = NULL;
    if (done)
        return d;
    conf_free(d);
    return NULL;
}

void conf_free(struct conf_document *d) {
    if (d == NULL)
        return;
    for (struct conf_chunk *c = d->chunks; c != NULL;) {
        struct conf_chunk *next = c->next;
        free(c);
        c = next;
    }
    free(d);
}

// --- reading ---

const struct conf *conf_root(const struct conf_document *d) {
    return &d->root->pub;
}

const struct conf *conf_get(const struct conf *table, const char *key) {
    if (table == NULL || table->type != CONF_TABLE)
        return NULL;
    size_t len = strlen(key);
    for (const struct conf *m = table->child; m != NULL; m = m->next)
        if (m->key_len == len && memcmp(m->key, key, len) == 0)
            return m;
    return NULL;
}

const struct conf *conf_at(const struct conf *root, const char *const *path) {
    for (; *path != NULL && root != NULL; path++)
        root = conf_get(root, *path);
    return root;
}

const char *conf_get_string(const struct conf *table, const char *key) {
    const struct conf *member = conf_get(table, key);
    return member != NULL && member->type == CONF_STRING ? member->string : NULL;
}

const char *conf_type_words(enum conf_type type) {
    switch (type) {
    case CONF_NULL:
        return "null";
    case CONF_BOOL:
        return "a boolean";
    case CONF_INTEGER:
        return "an integer";
    case CONF_FLOAT:
        return "a number";
    case CONF_STRING:
        return "a string";
    case CONF_TIME:
        return "a date or time";
    case CONF_LIST:
        return "a list";
    case CONF_TABLE:
        return "a table";
    }
    return "something else";
}
