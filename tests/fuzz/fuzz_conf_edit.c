// SPDX-License-Identifier: Apache-2.0
//
// Edits of arbitrary texts. The first line says which: a letter for the format (t, y, j), the keys with '|' between
// them, and after '=' the value; without it, the path is removed. The rest is the text. What must hold: it is
// unchanged, or it now says so and nothing else than before; and the same edit again changes nothing.

#include "gateway/formats/conf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_LEN = 512, PRINT_MAX = 64 * 1024 * 1024 };

struct request {
    char line[LINE_MAX_LEN];
    enum conf_format format;
    const char *path[CONF_PATH_MAX + 2];
    const char *value;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static bool read_request(struct request *r, const char *line, size_t len) {
    if (len < 2 || len >= sizeof r->line)
        return false;
    memcpy(r->line, line, len);
    r->line[len] = '\0';
    r->format = *line == 't' ? CONF_TOML : *line == 'y' ? CONF_YAML : CONF_JSON;
    r->value = NULL;
    char *value = strchr(r->line, '=');
    if (value != NULL) {
        *value = '\0';
        r->value = value + 1;
    }
    size_t n = 0;
    char *rest = r->line + 1;
    for (char *key; n <= CONF_PATH_MAX && (key = strsep(&rest, "|")) != NULL;)
        r->path[n++] = key;
    r->path[n] = NULL;
    return true;
}

// --- a tree as sorted lines of a text ---

static void print_name(struct buf *b, const struct conf *c) {
    if (c->key != NULL)
        buf_add_json(b, c->key, c->key_len);
}

static void print_value(struct buf *b, const struct conf *c, const char *const *leave_out, bool name);

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_left_out(const struct conf *c, const char *const *path) {
    return path != NULL && c->key != NULL && path[0] != NULL && strlen(path[0]) == c->key_len &&
           memcmp(path[0], c->key, c->key_len) == 0;
}

static void print_members(struct buf *b, const struct conf *c, const char *const *leave_out) {
    char **texts = calloc(c->count + 1, sizeof *texts);
    size_t n = 0;
    for (const struct conf *m = c->child; m != NULL; m = m->next) {
        struct buf one;
        bool on_way = is_left_out(m, leave_out);
        buf_init(&one, PRINT_MAX);
        if (!on_way || (leave_out[1] != NULL && m->type == CONF_TABLE))
            print_value(&one, m, on_way ? leave_out + 1 : NULL, true);
        texts[n++] = buf_steal(&one);
    }
    if (c->type == CONF_TABLE)
        qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 0; i < n; i++) {
        buf_adds(b, texts[i]);
        free(texts[i]);
    }
    free(texts);
}

// Of tables on the way to what is left out only the members are printed, as such tables come and go.
static void print_value(struct buf *b, const struct conf *c, const char *const *leave_out, bool name) {
    struct buf members;
    buf_init(&members, PRINT_MAX);
    print_members(&members, c, leave_out);
    if (leave_out == NULL || members.len > 0) {
        if (name)
            print_name(b, c);
        buf_addf(b, " %d %d %lld %a ", c->type, c->boolean, (long long)c->integer, c->number);
        if (c->string != NULL)
            buf_add_json(b, c->string, c->string_len);
        buf_add(b, members.data, members.len);
        buf_adds(b, ";");
    }
    buf_deinit(&members);
}

static char *print_text(enum conf_format format, const char *text, size_t len, const char *const *leave_out) {
    struct conf_document *d = conf_parse(format, text, len, NULL);
    struct buf b;
    buf_init(&b, PRINT_MAX);
    require(d != NULL);
    print_value(&b, conf_root(d), leave_out, false);
    conf_free(d);
    return buf_steal(&b);
}

// --- the edit ---

static enum conf_edit edit(const struct request *r, struct buf *text, struct err *err) {
    return r->value == NULL ? conf_remove(r->format, text, r->path, err)
                            : conf_set(r->format, text, r->path, r->value, "what it is for\nin two lines", err);
}

static void check_changed(const struct request *r, const char *old, size_t old_len, struct buf *text) {
    bool blank = r->format == CONF_JSON && strspn(old, " \t\r\n") == old_len;
    char *before = print_text(r->format, blank ? "{}" : old, blank ? 2 : old_len, r->path);
    char *after = print_text(r->format, text->data, text->len, r->path);
    require(strcmp(before, after) == 0);
    free(before);
    free(after);
    char *once = strndup(text->data, text->len);
    size_t len = text->len;
    require(edit(r, text, NULL) == CONF_SAME && text->len == len && memcmp(once, text->data, len) == 0);
    free(once);
}

static void check_edit(const struct request *r, const char *old, size_t len) {
    struct err err = {0};
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    buf_add(&text, old, len);
    enum conf_edit result = edit(r, &text, &err);
    require((result == CONF_UNSAFE) == (err.text[0] != '\0'));
    if (result == CONF_CHANGED)
        check_changed(r, old, len, &text);
    else
        require(text.len == len && (len == 0 || memcmp(text.data, old, len) == 0));
    buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *newline = size == 0 ? NULL : memchr(data, '\n', size);
    struct request r = {0};
    if (newline == NULL || !read_request(&r, (const char *)data, (size_t)(newline - (const char *)data)))
        return 0;
    size_t len = size - (size_t)(newline + 1 - (const char *)data);
    char *old = strndup(newline + 1, len);
    if (strlen(old) == len) // A text with a NUL is read by no format.
        check_edit(&r, old, len);
    free(old);
    return 0;
}
