// SPDX-License-Identifier: Apache-2.0
//
// Strict JSON, read into a tree: yajl tokenises, the callbacks below build.
//
// The tree and all its strings live in a list of chunks that belongs to the root, so freeing is a
// loop whatever the shape of the tree. Keys seen so far are kept in one hash set for the document
// (keyed, see hash.h), so that a duplicate is found where it stands and at constant cost. No state
// between calls; any thread.

#include "mirrors/base/json.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/hash.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum {
    CHUNK_FIRST = 4 * 1024,
    CHUNK_LARGEST = 256 * 1024,
    KEYS_FIRST = 64,
    NUMBER_TEXT_MAX = 512, // Longer than any double or int64 needs.
    KEY_QUOTED_MAX = 64    // Of a stranger's key in an error text.
};

struct chunk {
    struct chunk *next;
    size_t used, cap;
    _Alignas(max_align_t) unsigned char data[];
};

// What json_parse() really returns; json_free() finds the chunks here.
struct document {
    struct json root; // First: a document's address is its root's.
    struct chunk *chunks;
};

struct seen_key {
    const struct json *object; // NULL: a free slot.
    const char *key;
    size_t len;
};

struct seen_keys {
    struct seen_key *slots;
    size_t cap, count; // `cap` is a power of two.
    struct hash_key hash;
};

struct open_node {
    struct json *node;
    struct json *last; // Its latest member.
};

struct parser {
    struct document *document;
    struct open_node open[JSON_DEPTH_MAX];
    size_t depth;
    const char *key; // Waits for its value.
    size_t key_len;
    size_t nodes;
    struct seen_keys seen;
    struct err *err;
};

// --- arena ---

static struct chunk *chunk_new(struct chunk *head, size_t need) {
    size_t cap = head == NULL ? CHUNK_FIRST : head->cap * 2;
    if (cap > CHUNK_LARGEST)
        cap = CHUNK_LARGEST;
    if (cap < need)
        cap = need;
    struct chunk *c = mem_alloc(sizeof *c + cap);
    c->next = head;
    c->used = 0;
    c->cap = cap;
    return c;
}

static void *arena_alloc(struct document *d, size_t size, size_t align) {
    struct chunk *c = d->chunks;
    size_t at = c == NULL ? 0 : (c->used + align - 1) & ~(align - 1);
    if (c == NULL || at > c->cap || size > c->cap - at) {
        c = d->chunks = chunk_new(c, size);
        at = 0;
    }
    c->used = at + size;
    return c->data + at;
}

static const char *arena_string(struct document *d, const unsigned char *s, size_t len) {
    char *copy = arena_alloc(d, len + 1, 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

// --- keys ---

static struct seen_key *seen_slot(const struct seen_keys *s, const struct json *object, const char *key, size_t len) {
    struct hash_key of_object = {s->hash.k0 ^ (uint64_t)(uintptr_t)object, s->hash.k1};
    size_t at = (size_t)hash_bytes(&of_object, key, len) & (s->cap - 1);
    for (;; at = (at + 1) & (s->cap - 1)) {
        struct seen_key *slot = &s->slots[at];
        bool same = slot->object == object && slot->len == len && memcmp(slot->key, key, len) == 0;
        if (slot->object == NULL || same)
            return slot;
    }
}

static void seen_grow(struct seen_keys *s) {
    struct seen_keys old = *s;
    if (old.cap == 0)
        hash_key_random(&s->hash);
    s->cap = old.cap == 0 ? KEYS_FIRST : old.cap * 2;
    s->slots = mem_zalloc(s->cap, sizeof *s->slots);
    for (size_t i = 0; i < old.cap; i++) {
        const struct seen_key *k = &old.slots[i];
        if (k->object != NULL)
            *seen_slot(s, k->object, k->key, k->len) = *k;
    }
    free(old.slots);
}

// False when the object has that key already.
static bool seen_add(struct seen_keys *s, const struct json *object, const char *key, size_t len) {
    if ((s->count + 1) * 2 > s->cap)
        seen_grow(s);
    struct seen_key *slot = seen_slot(s, object, key, len);
    if (slot->object != NULL)
        return false;
    *slot = (struct seen_key){object, key, len};
    s->count++;
    return true;
}

// --- building ---

// The new value in its place, or NULL after setting the error.
static struct json *add_node(struct parser *p, enum json_type type) {
    if (p->nodes >= JSON_NODES_MAX) {
        err_set(p->err, "more than %d values", JSON_NODES_MAX);
        return NULL;
    }
    p->nodes++;
    struct document *d = p->document;
    struct json *node = p->depth == 0 ? &d->root : arena_alloc(d, sizeof *node, _Alignof(struct json));
    *node = (struct json){.type = type, .key = p->key, .key_len = p->key_len};
    p->key = NULL;
    p->key_len = 0;
    if (p->depth == 0)
        return node;
    struct open_node *parent = &p->open[p->depth - 1];
    if (parent->last == NULL)
        parent->node->child = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->node->count++;
    return node;
}

static int open_container(struct parser *p, enum json_type type) {
    if (p->depth == JSON_DEPTH_MAX)
        return err_set(p->err, "nested deeper than %d levels", JSON_DEPTH_MAX);
    struct json *node = add_node(p, type);
    if (node == NULL)
        return 0;
    p->open[p->depth++] = (struct open_node){.node = node};
    return 1;
}

// yajl checks the shape of UTF-8 but lets overlong forms and surrogates pass.
static bool is_utf8(const unsigned char *s, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t character = buf_utf8_len(s + at, len - at);
        if (character == 0)
            return false;
        at += character;
    }
    return true;
}

static bool check_text(struct parser *p, const char *what, const unsigned char *s, size_t len) {
    if (len > 0 && memchr(s, '\0', len) != NULL)
        return err_set(p->err, "%s holds a NUL (\\u0000)", what);
    if (!is_utf8(s, len))
        return err_set(p->err, "%s is not valid UTF-8", what);
    return true;
}

static int on_null(void *ctx) {
    return add_node(ctx, JSON_NULL) != NULL;
}

static int on_boolean(void *ctx, int value) {
    struct json *node = add_node(ctx, JSON_BOOL);
    if (node == NULL)
        return 0;
    node->boolean = value != 0;
    return 1;
}

static bool is_digits(const char *s) {
    return *s != '\0' && s[strspn(s, "0123456789")] == '\0';
}

// Digits only: 1.0 and 1e3 are no integers here, as for the clients' decoders.
static bool exact_integer(const char *s, int64_t *out) {
    bool negative = *s == '-';
    s += negative;
    if (!is_digits(s))
        return false;
    int64_t value = 0;
    for (; *s != '\0'; s++) {
        int64_t digit = *s - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

static int on_number(void *ctx, const char *s, size_t len) {
    struct parser *p = ctx;
    char text[NUMBER_TEXT_MAX + 1];
    if (len > NUMBER_TEXT_MAX)
        return err_set(p->err, "a number of more than %d characters", NUMBER_TEXT_MAX);
    struct json *node = add_node(p, JSON_NUMBER);
    if (node == NULL)
        return 0;
    memcpy(text, s, len);
    text[len] = '\0';
    node->is_integer = exact_integer(text, &node->integer);
    node->number = strtod(text, NULL);
    return 1;
}

static int on_string(void *ctx, const unsigned char *s, size_t len) {
    struct parser *p = ctx;
    if (!check_text(p, "a string", s, len))
        return 0;
    struct json *node = add_node(p, JSON_STRING);
    if (node == NULL)
        return 0;
    node->string = arena_string(p->document, s, len);
    node->string_len = len;
    return 1;
}

static int on_key(void *ctx, const unsigned char *s, size_t len) {
    struct parser *p = ctx;
    if (!check_text(p, "a key", s, len))
        return 0;
    // Keys are bounded like values, before a value counts them.
    if (p->nodes >= JSON_NODES_MAX)
        return err_set(p->err, "more than %d values", JSON_NODES_MAX);
    p->key = arena_string(p->document, s, len);
    p->key_len = len;
    if (seen_add(&p->seen, p->open[p->depth - 1].node, p->key, len))
        return 1;
    return err_set(p->err, "the key \"%.*s\" is given twice in one object", KEY_QUOTED_MAX, p->key);
}

static int on_start_map(void *ctx) {
    return open_container(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx) {
    return open_container(ctx, JSON_ARRAY);
}

static int on_end(void *ctx) {
    struct parser *p = ctx;
    p->depth--;
    return 1;
}

static const yajl_callbacks CALLBACKS = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

// --- lone surrogates ---
//
// yajl turns half a surrogate pair into '?' or into another character than the one the clients
// read, and the callbacks no longer see the escape: the text is looked through beforehand.

static bool hex4(const char *s, size_t len, unsigned *out) {
    unsigned value = 0;
    if (len < 4)
        return false;
    for (size_t i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = s[i] == '\0' ? NULL : strchr(digits, s[i] >= 'A' && s[i] <= 'F' ? s[i] + ('a' - 'A') : s[i]);
        if (at == NULL)
            return false;
        value = value * 16 + (unsigned)(at - digits);
    }
    *out = value;
    return true;
}

// The bytes of the escape sequence at the backslash `s`, both halves of a pair together; 0 for half a pair.
static size_t escape_len(const char *s, size_t len) {
    unsigned first, second;
    if (len < 2 || s[1] != 'u' || !hex4(s + 2, len - 2, &first))
        return 2; // What is malformed is yajl's to refuse.
    if (first < 0xd800 || first > 0xdfff)
        return 6;
    bool pair = first < 0xdc00 && len >= 12 && s[6] == '\\' && s[7] == 'u' && hex4(s + 8, len - 8, &second) &&
                second >= 0xdc00 && second <= 0xdfff;
    return pair ? 12 : 0;
}

static size_t comment_len(const char *s, size_t len) {
    const char *end = NULL;
    if (len >= 2 && s[1] == '/') {
        end = memchr(s, '\n', len);
        return end == NULL ? len : (size_t)(end - s);
    }
    if (len >= 2 && s[1] == '*') {
        end = memmem(s + 2, len - 2, "*/", 2);
        return end == NULL ? len : (size_t)(end - s) + 2;
    }
    return 1;
}

// Where half a surrogate pair stands, or `len`.
static size_t find_lone_surrogate(const char *text, size_t len) {
    bool in_string = false;
    size_t at = 0;
    while (at < len) {
        size_t step = 1;
        if (text[at] == '"')
            in_string = !in_string;
        else if (in_string && text[at] == '\\')
            step = escape_len(text + at, len - at);
        else if (!in_string && text[at] == '/')
            step = comment_len(text + at, len - at);
        if (step == 0)
            return at;
        at += step;
    }
    return len;
}

// --- parsing ---

static void *yajl_malloc(void *ctx, size_t size) {
    return mem_alloc(size);
}

static void *yajl_realloc(void *ctx, void *old, size_t size) {
    return mem_resize(old, size, 1);
}

static void yajl_release(void *ctx, void *p) {
    free(p);
}

static size_t line_of(const char *text, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset; i++)
        line += text[i] == '\n';
    return line;
}

// yajl's own words, without the excerpt it can add: that may hold a secret.
static void set_yajl_error(struct err *err, yajl_handle yajl) {
    unsigned char *words = yajl_get_error(yajl, 0, NULL, 0);
    size_t len = strcspn((const char *)words, "\n");
    err_set(err, "%.*s", (int)len, (const char *)words);
    yajl_free_error(yajl, words);
}

// `err` has its sentence; put the line before it.
static bool fail_at(struct err *err, const char *text, size_t offset) {
    return err_prefix(err, "line %zu: ", line_of(text, offset));
}

// Of what was consumed the last byte is the culprit, but for a slash, which yajl takes back when comments are not asked
// for: it must not count when it is a line's end.
static size_t culprit(const char *text, size_t len, size_t consumed) {
    if (consumed < len && text[consumed] == '/')
        return consumed;
    return consumed > len ? len : consumed > 0 ? consumed - 1 : 0;
}

static bool run(yajl_handle yajl, const char *text, size_t len, struct err *err) {
    yajl_status status = yajl_parse(yajl, (const unsigned char *)text, len);
    size_t offset = culprit(text, len, yajl_get_bytes_consumed(yajl));
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(yajl);
        offset = len;
    }
    if (status == yajl_status_ok)
        return true;
    if (status == yajl_status_error)
        set_yajl_error(err, yajl);
    return fail_at(err, text, offset);
}

static bool has_prefix(const char *text, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(text, prefix, n) == 0;
}

static bool check_start(const char *text, size_t len, struct err *err) {
    if (has_prefix(text, len, "\xef\xbb\xbf"))
        return err_set(err, "line 1: begins with a byte order mark; save it as UTF-8 without one");
    if (has_prefix(text, len, "\xff\xfe") || has_prefix(text, len, "\xfe\xff"))
        return err_set(err, "line 1: begins with a UTF-16 byte order mark; save it as UTF-8 without one");
    size_t blank = 0;
    while (blank < len && text[blank] != '\0' && strchr(" \t\r\n", text[blank]) != NULL)
        blank++;
    return blank < len || err_set(err, "line 1: empty, where a JSON value was expected");
}

static bool check_surrogates(const char *text, size_t len, struct err *err) {
    size_t at = find_lone_surrogate(text, len);
    if (at == len)
        return true;
    err_set(err, "an escape that is half a surrogate pair (\\ud800 to \\udfff come in pairs)");
    return fail_at(err, text, at);
}

static bool build(struct parser *p, const char *text, size_t len, unsigned flags) {
    yajl_alloc_funcs memory = {.malloc = yajl_malloc, .realloc = yajl_realloc, .free = yajl_release};
    yajl_handle yajl = yajl_alloc(&CALLBACKS, &memory, p);
    yajl_config(yajl, yajl_allow_comments, (flags & JSON_COMMENTS) != 0);
    bool done = run(yajl, text, len, p->err);
    yajl_free(yajl);
    return done;
}

struct json *json_parse(const char *text, size_t len, unsigned flags, struct err *err) {
    if (!check_start(text, len, err) || !check_surrogates(text, len, err))
        return NULL;
    struct parser p = {.document = mem_zalloc(1, sizeof *p.document), .err = err};
    bool done = build(&p, text, len, flags);
    free(p.seen.slots);
    if (done)
        return &p.document->root;
    json_free(&p.document->root);
    return NULL;
}

void json_free(struct json *root) {
    if (root == NULL)
        return;
    struct document *d = (struct document *)root;
    for (struct chunk *c = d->chunks; c != NULL;) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(d);
}

// --- reading ---

const struct json *json_get(const struct json *object, const char *key) {
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    size_t len = strlen(key);
    for (const struct json *member = object->child; member != NULL; member = member->next)
        if (member->key_len == len && memcmp(member->key, key, len) == 0)
            return member;
    return NULL;
}

const char *json_get_string(const struct json *object, const char *key) {
    const struct json *member = json_get(object, key);
    return member != NULL && member->type == JSON_STRING ? member->string : NULL;
}

const char *json_type_words(enum json_type type) {
    switch (type) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return "a boolean";
    case JSON_NUMBER:
        return "a number";
    case JSON_STRING:
        return "a string";
    case JSON_ARRAY:
        return "a list";
    case JSON_OBJECT:
        return "an object";
    }
    return "something else";
}
